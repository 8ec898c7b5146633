"""Urgent data (RFC 9293 3.8.5, with the pointer as RFC 6093 3 says: it names the octet that follows the urgent data).

New applications are not to use it (RFC 6093 5), and nothing in this project does; a stack has to have it (MUST-30 to
MUST-33 and MUST-62). The octets are ordinary ones, in their place in the stream: what is urgent is only to read as far
as there. The record of it is made when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.stack.tcp.seq import SEQUENCE_MASK
from userlan.stack.tcp.state import Events
from userlan.wire.tcp import Flags, Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection

MAX_POINTER = 65_535
"""The urgent field has 16 bits; an end that lies further is told by later segments (MUST-31: any length)."""


class Urgent:
    """SND.UP and RCV.UP as positions after the last urgent octet."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0


def of(connection: Connection) -> Urgent:
    """The connection's record."""
    if connection.urgent is None:
        connection.urgent = Urgent()
    return connection.urgent


def arrived(connection: Connection, seq: int, pointer: int) -> None:
    """An acceptable segment at position ``seq`` has URG: the application is told when the urgent data goes further than
    it knew (MUST-32)."""
    end = seq + pointer
    urgent = of(connection)
    if connection.reads and end > max(urgent.received, connection.receiver.next):
        urgent.received = end
        connection.report(Events.URGENT)


def left(connection: Connection) -> int:
    """Octets to be read until the end of the urgent data, 0 without any (MUST-33)."""
    if connection.urgent is None:
        return 0
    receiver = connection.receiver
    return max(0, connection.urgent.received - (receiver.next - receiver.buffer.length))


def marked(connection: Connection, segments: list[Segment], sent: int) -> list[Segment]:
    """What leaves, with URG on every segment up to the end of what was sent as urgent. Wire segments, since the pointer is
    relative to each one's own sequence number."""
    made: list[Segment] = []
    for segment in segments:
        ahead = (sent - segment.seq) & SEQUENCE_MASK
        if not segment.payload or not 0 < ahead <= SEQUENCE_MASK >> 1:
            made.append(segment)
            continue
        for piece in _pieces(segment):
            ahead = (sent - piece.seq) & SEQUENCE_MASK
            if 0 < ahead <= SEQUENCE_MASK >> 1:
                piece.flags |= Flags.URG
                piece.urgent = min(ahead, MAX_POINTER)
            made.append(piece)
    return made


def _pieces(segment: Segment) -> list[Segment]:
    """The wire segments of a super-segment."""
    size, unit = len(segment.payload), segment.segment_size or len(segment.payload)
    view = memoryview(segment.payload)
    pieces = []
    for start in range(0, size, unit):
        last = start + unit >= size
        flags = segment.flags if last else segment.flags & ~(Flags.FIN | Flags.PSH)
        if start:
            flags &= ~Flags.CWR
        pieces.append(
            Segment(
                segment.source_port,
                segment.destination_port,
                (segment.seq + start) & SEQUENCE_MASK,
                segment.ack,
                flags,
                segment.window,
                payload=view[start : start + unit],
                timestamp=segment.timestamp,
                ecn=segment.ecn,
            )
        )
    return pieces
