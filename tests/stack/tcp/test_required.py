"""MUSTs of RFC 9293 (the list is in its appendix B) that no other file tests: by their numbers."""

from __future__ import annotations

import pytest

from tests.stack.packets import NOW, OURS4, OURS6, PEER4, PEER6, answers, host, packed, tcp_packet
from tests.stack.tcp.scene import Scene, established
from userlan.stack import StackError
from userlan.stack.tcp import Events, State
from userlan.stack.tcp.urgent import MAX_POINTER
from userlan.wire.tcp import Flags, Segment, parse_segment


@pytest.mark.parametrize("address", ["224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0", "ff02::1", "::"])
def test_a_connection_to_what_is_not_one_host_is_refused(address: str) -> None:
    """MUST-46."""
    with pytest.raises(StackError) as refusal:
        host().tcp_connect((packed(address), 80), NOW)
    assert refusal.value.reason == "no-host"


@pytest.mark.parametrize(("ours", "source"), [(OURS4, "224.0.0.1"), (OURS4, "255.255.255.255"), (OURS6, "ff02::1"), (OURS6, "::")])
def test_a_syn_from_what_is_not_one_host_is_ignored(ours: str, source: str) -> None:
    """MUST-57, and no answer reveals the port."""
    target = host()
    target.tcp_listen(80)
    assert answers(target, tcp_packet(source, ours, Segment(1, 80, flags=Flags.SYN))) == []
    assert target.tcp_states() == {}


@pytest.mark.parametrize(("peer", "group"), [(PEER4, "224.0.0.1"), (PEER4, "255.255.255.255"), (PEER6, "ff02::1")])
def test_a_syn_to_a_group_is_ignored(peer: str, group: str) -> None:
    """MUST-63."""
    target = host()
    target.tcp_listen(80)
    assert answers(target, tcp_packet(peer, group, Segment(1, 80, flags=Flags.SYN))) == []
    assert target.counters["tcp-to-group"] == 1


@pytest.mark.parametrize(("ours", "peer"), [(OURS4, PEER4), (OURS6, PEER6)])
def test_the_application_chooses_the_differentiated_services_field(ours: str, peer: str) -> None:
    """MUST-48; 46 is expedited forwarding (RFC 3246)."""
    target = host()
    connection = target.tcp_connect((packed(peer), 80), NOW)
    connection.traffic_class = 46 << 2
    (packet,) = target.packets(NOW)
    assert packet.traffic_class >> 2 == 46


def test_one_address_serves_the_whole_connection() -> None:
    """MUST-44 and MUST-45: the application may name it, and it does not change."""
    target = host()
    target.add_address(packed("10.0.0.77"))
    connection = target.tcp_connect((packed(PEER4), 80), NOW, packed("10.0.0.77"))
    (first,) = target.packets(NOW)
    target.tick(NOW + 1)
    (second,) = target.packets(NOW + 1)
    assert first.source == second.source == connection.local[0] == packed("10.0.0.77")


def test_an_option_may_come_in_any_segment() -> None:
    """MUST-5 and MUST-6: one that nobody knows is skipped."""
    target = host()
    connection = target.tcp_connect((packed(PEER4), 80), NOW)
    (packet,) = target.packets(NOW)
    syn = parse_segment(packet)
    reply = tcp_packet(PEER4, OURS4, Segment(80, syn.source_port, 1, syn.seq + 1, Flags.SYN | Flags.ACK, 5000, mss=1000))
    header = bytearray(reply.header)
    offset = reply.transport_offset
    header[offset + 12] += 1 << 4
    header += b"\xfd\x04\x00\x00"
    header[2:4] = len(header).to_bytes(2, "big")
    target.receive(type(reply)(bytes(header), b"", verified=True), NOW)
    assert connection.state is State.ESTABLISHED


# ---------------------------------------------------------------------- urgent data


def urgent(scene: Scene, data: bytes, pointer: int, at: int = 0) -> None:
    segment = scene.segment("AU", data, at=at)
    segment.urgent = pointer
    scene.connection.segment_arrived(segment, scene.now)


def test_the_application_is_told_of_urgent_data_and_how_much_is_left() -> None:
    """MUST-32 and MUST-33: before it arrives, when it goes further, and while it is read."""
    scene = established()
    urgent(scene, b"ab", 5)
    assert scene.take_events() & Events.URGENT
    assert scene.connection.urgent_left == 5
    assert bytes(scene.connection.receive(1)) == b"a"
    assert scene.connection.urgent_left == 4
    urgent(scene, b"cd", 3, at=2)
    assert not scene.take_events() & Events.URGENT
    urgent(scene, b"e!", 2, at=4)
    assert scene.take_events() & Events.URGENT
    assert scene.connection.urgent_left == 5
    assert scene.read() == b"bcde!"
    assert scene.connection.urgent_left == 0


def test_a_pointer_to_what_was_read_or_without_an_end_is_nothing_new() -> None:
    scene = established()
    scene.inject("A", b"abc")
    scene.read()
    urgent(scene, b"", 0, at=3)
    urgent(scene, b"bc", 2, at=1)
    assert not scene.take_events() & Events.URGENT
    assert scene.connection.urgent_left == 0


def test_urgent_data_is_sent_with_a_pointer_that_is_right_in_each_wire_segment() -> None:
    """MUST-30; the pointer names the octet behind the urgent data (MUST-62, RFC 6093 3)."""
    scene = established()
    scene.connection.send(bytes(2500), scene.now)
    assert scene.connection.send_urgent(b"!", scene.now) == 1
    scene.connection.send(bytes(3000), scene.now)
    scene.drain()
    told = [(len(segment.payload), segment.flags & Flags.URG != 0, segment.urgent) for segment in scene.last]
    assert told[:3] == [(1000, True, 2501), (1000, True, 1501), (1000, True, 501)]
    assert told[3:] == [(1000, False, 0), (1000, False, 0), (501, False, 0)]
    assert all(not segment.segment_size for segment in scene.last)
    scene.inject("A", ack=5000)
    assert all(not segment.flags & Flags.URG for segment in scene.last)


def test_urgent_data_of_any_length() -> None:
    """MUST-31."""
    scene = established(window=60_000)
    scene.connection.send_urgent(bytes(200_000), scene.now)
    scene.drain()
    assert scene.last[0].urgent == MAX_POINTER
