"""RST segments (RFC 9293 3.5.2)."""

from __future__ import annotations

from userlan.stack.tcp.seq import SEQUENCE_MASK
from userlan.wire.tcp import Flags, Segment


def reset(source_port: int, destination_port: int, seq: int) -> Segment:
    """<SEQ=seq><CTL=RST>: for a segment whose ACK is of nothing that was sent."""
    return Segment(source_port, destination_port, seq & SEQUENCE_MASK, 0, Flags.RST)


def reset_reply(segment: Segment) -> Segment | None:
    """What a closed port answers to a segment (RFC 9293 3.10.7.1); None for a RST, which is never answered."""
    flags = segment.flags
    if flags & Flags.RST:
        return None
    source, destination = segment.destination_port, segment.source_port
    if flags & Flags.ACK:
        return reset(source, destination, segment.ack)
    length = len(segment.payload) + bool(flags & Flags.SYN) + bool(flags & Flags.FIN)
    return Segment(source, destination, 0, (segment.seq + length) & SEQUENCE_MASK, Flags.RST | Flags.ACK)
