"""Explicit congestion notification (RFC 3168) from end to end; the exact segments are in ``scripts/ecn.txt``."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.stack.tcp.pair import Path, transfer
from userlan.stack.tcp import Config
from userlan.stack.tcp.ecn import CE, ECT0, Ecn
from userlan.wire import superpacket, tcp
from userlan.wire.tcp import Flags, Segment, parse_segment

MIB = 1 << 20
MARKING = Path(delay=0.020, rate=50e6, queue=400_000, mark=60_000)
ADDRESSES = {4: (b"\x19\0\0\x01", b"\x19\0\0\x02"), 6: (bytes(15) + b"\x01", bytes(15) + b"\x02")}


@pytest.mark.parametrize(
    ("flags", "wanted", "agreed"),
    [
        (Flags.ECE, True, True),
        (Flags.ECE | Flags.CWR, True, False),
        (0, True, False),
        (Flags.CWR, True, False),
        (Flags.ECE, False, False),
    ],
)
def test_what_a_syn_ack_agrees_to(flags: int, wanted: bool, agreed: bool) -> None:
    """RFC 3168 6.1.1."""
    ecn = Ecn()
    ecn.answered(flags | Flags.SYN | Flags.ACK, wanted)
    assert ecn.enabled is agreed


def test_marks_take_the_place_of_losses() -> None:
    """A queue that marks early: the window is reduced, nothing is lost or sent again, and the link is in use."""
    pair = transfer(30 * MIB, MARKING)
    assert pair.a.connection is not None
    assert pair.forward.counters["marked"] > 0
    assert pair.a.connection.counters["ecn-reduced"] > 0
    assert pair.forward.counters["queue-full"] == 0
    assert pair.a.connection.counters["retransmitted"] == 0
    assert 30 * MIB * 8 / (pair.now - pair.started) > 35e6


def test_without_ecn_nothing_is_marked() -> None:
    pair = transfer(4 * MIB, MARKING, config=Config(ecn=False))
    assert pair.forward.counters["marked"] == 0


def test_marks_and_losses_together_leave_the_stream_whole() -> None:
    pair = transfer(2 * MIB, Path(delay=0.010, rate=20e6, queue=100_000, mark=20_000, loss=0.02, reorder=0.02))
    assert pair.forward.counters["marked"] > 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_segment_carries_its_codepoint_in_the_ip_header(version: int) -> None:
    source, destination = ADDRESSES[version]
    segment = Segment(1, 2, 3, 4, Flags.ACK, 5, payload=b"data", ecn=ECT0)
    packet = tcp.build(segment, source, destination, traffic_class=0xB8)
    assert packet.traffic_class == 0xB8 | ECT0
    assert parse_segment(packet).ecn == ECT0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("verified", [True, False])
def test_packets_of_different_codepoints_are_not_joined(version: int, verified: bool) -> None:
    """RFC 3168 5.3 as for fragments: else a mark would be lost, or be on all."""
    source, destination = ADDRESSES[version]
    packets = []
    for index, codepoint in enumerate((ECT0, ECT0, CE, ECT0, ECT0)):
        segment = Segment(1, 2, 1000 * index, 4, Flags.ACK, 5, payload=bytes(1000), ecn=codepoint)
        packets += superpacket.cut(tcp.build(segment, source, destination), not verified)
    joined = [parse_segment(packet) for packet in superpacket.join(packets, verified, Counter())]
    assert [(segment.ecn, len(segment.payload)) for segment in joined] == [(ECT0, 2000), (CE, 1000), (ECT0, 2000)]


def test_cwr_is_on_the_first_wire_segment_alone() -> None:
    """RFC 3168 6.1.2."""
    source, destination = ADDRESSES[4]
    segment = Segment(1, 2, 0, 4, Flags.ACK | Flags.CWR, 5, payload=bytes(3000), segment_size=1000, ecn=ECT0)
    pieces = superpacket.cut(tcp.build(segment, source, destination), True)
    flags = [parse_segment(superpacket.parse(piece)).flags & Flags.CWR for piece in pieces]
    assert flags == [Flags.CWR, 0, 0]
