"""Addresses, strategies and small helpers that the tests of the wire formats share."""

from __future__ import annotations

from hypothesis import strategies as st

from userlan.wire import tcp
from userlan.wire.numbers import Buffer
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment

ALICE4, BOB4 = bytes((25, 1, 2, 3)), bytes((25, 4, 5, 6))
ALICE6 = bytes.fromhex("fd756c616e00000000000000000000a1")
BOB6 = bytes.fromhex("fd756c616e00000000000000000000b2")
PAIRS = ((ALICE4, BOB4), (ALICE6, BOB6))

port = st.integers(0, 0xFFFF)
number = st.integers(0, 0xFFFFFFFF)
near_wrap = number | st.integers(0xFFFFFFFF - 70000, 0xFFFFFFFF)
pairs = st.sampled_from(PAIRS)


def raw(packet: SuperPacket) -> bytes:
    """The one IP packet, exactly as header and payload have it."""
    return packet.header + bytes(packet.payload)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Any segment whose options survive the wire: SYN options with SYN only, SACK blocks as many as fit."""
    flags = draw(st.integers(0, 255))
    syn = bool(flags & Flags.SYN)
    timestamp = draw(st.none() | st.tuples(number, number))
    blocks = 0 if syn else 3 if timestamp else 4
    return Segment(
        source_port=draw(port),
        destination_port=draw(port),
        seq=draw(near_wrap),
        ack=draw(number),
        flags=flags,
        window=draw(port),
        urgent=draw(port),
        payload=draw(st.binary(max_size=200)),
        mss=draw(st.none() | port) if syn else None,
        window_scale=draw(st.none() | st.integers(0, 14)) if syn else None,
        sack_permitted=draw(st.booleans()) if syn else False,
        sack=tuple(draw(st.lists(st.tuples(number, number), max_size=blocks))),
        timestamp=timestamp,
    )


def super_segment(
    payload: Buffer,
    size: int,
    addresses: tuple[bytes, bytes] = PAIRS[0],
    *,
    seq: int = 1000,
    flags: int = Flags.ACK,
    traffic_class: int = 0,
    timestamp: tuple[int, int] | None = (11, 22),
) -> SuperPacket:
    """A TCP super-packet of data."""
    segment = Segment(
        source_port=4000,
        destination_port=80,
        seq=seq,
        ack=77,
        flags=flags,
        window=512,
        payload=payload,
        segment_size=size,
        timestamp=timestamp,
    )
    return tcp.build(segment, *addresses, traffic_class=traffic_class)
