"""A guest: a stock WireGuard peer as the kernel that has a node's addresses, against members of the LAN, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.guest_scene import MTU, PRESHARED, SEAT_KEY, Kernel, Phone, Scene, Watching
from tests.node.lan import PORT, Sink, Source
from tests.sim.nat import Nat
from tests.wire.examples import super_segment
from userlan.lan.addresses import ETHERIP_GROUP, RESOLVER
from userlan.node.guest import GRACE, HEARD_WITHIN, MAX_ARRIVED, Guest
from userlan.stack.events import EchoReply
from userlan.wire import icmp, icmpv6, igmp, mld, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.fragment import parse_fragment
from userlan.wire.membership import Query, Record, RecordType, Report
from userlan.wire.numbers import PROTOCOL_TCP
from userlan.wire.superpacket import SuperPacket, parse

STRANGER = {4: bytes((25, 77, 77, 77)), 6: bytes.fromhex("fd756c616e00") + bytes(10)}
versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.run()
    return made


def correct(packet: SuperPacket) -> bool:
    """Whether a stock peer would take it: TCP is checked when it is joined."""
    return packet.protocol == PROTOCOL_TCP or packet.fragment or transport_ok(packet)


# --- the tunnel


def test_the_guest_comes_by_itself(scene: Scene) -> None:
    """A handshake with the pre-shared key at the node's own port, through the NAT."""
    state = scene.guest.state(scene.lan.world.now)
    assert state.online
    assert state.endpoint is not None
    assert state.endpoint.host == "203.0.113.7"
    assert scene.phone.device.public_key not in scene.seat.peers.links, "it is no member"


def test_another_preshared_key_is_nobodys(scene: Scene) -> None:
    stranger = Phone(scene, bytes(32))
    scene.home.inside.attach(stranger, "192.168.1.9")
    stranger.device.initiate(stranger.server, (Endpoint(UDP, "198.51.100.3", PORT),), scene.lan.world.now)
    scene.run(2)
    peer = stranger.device.peer(stranger.server)
    assert peer is not None
    assert not peer.has_session(scene.lan.world.now)


def test_it_roams(scene: Scene) -> None:
    handshakes = scene.guest.state(scene.lan.world.now).handshake
    scene.leave()
    scene.place = Nat(scene.lan.internet, "203.0.113.8").inside.attach(scene.phone, "10.0.0.2")
    scene.from_phone(scene.datagram(4))
    state = scene.guest.state(scene.lan.world.now)
    assert state.endpoint is not None
    assert state.endpoint.host == "203.0.113.8"
    assert state.online
    assert state.handshake is not None
    assert handshakes is not None
    assert state.handshake > handshakes, "it is the same session"


def test_a_node_that_starts_again_calls_it_where_it_was(scene: Scene) -> None:
    """The phone has nothing to say for 25 s, and does not know that its session is gone: it is called."""
    last = scene.guest.state(scene.lan.world.now).endpoint
    memory = scene.seat.save()
    scene.lan.kill("seat")
    scene.run(1)
    scene.sit(last, scene.lan.node("seat", scene.lan.internet, "198.51.100.3", memory=memory, key=SEAT_KEY))
    scene.run(2)
    assert scene.guest.state(scene.lan.world.now).online


def test_a_guest_that_leaves_is_told_of(scene: Scene) -> None:
    """RFC 792, RFC 4443 3.1: who sends something to a guest that is not there hears that."""
    scene.leave()
    scene.run(HEARD_WITHIN + 1)
    assert not scene.guest.state(scene.lan.world.now).online
    scene.run(200)
    heard: list[SuperPacket] = []
    scene.anna.intake.watch(Watching(heard))
    for version in (4, 6):
        scene.to_phone(version, b"are you there?")
    kinds = [icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet) for packet in heard]
    first, second = (kind for kind in kinds if isinstance(kind, icmp.Unreachable | icmpv6.Unreachable))
    assert first.code == icmp.CODE_HOST_UNREACHABLE
    assert second.code == icmpv6.CODE_ADDRESS_UNREACHABLE


def test_before_it_came_for_the_first_time_nobody_is_told_for_a_while(scene: Scene) -> None:
    scene.leave()
    scene.guest.close()
    scene.sit()
    heard: list[SuperPacket] = []
    scene.anna.intake.watch(Watching(heard))
    scene.to_phone(4, b"?")
    assert not [packet for packet in heard if packet.version == 4]
    scene.run(GRACE)
    scene.to_phone(4, b"?")
    assert [packet for packet in heard if packet.version == 4]


# --- from the guest


@versions
def test_its_packets_reach_a_member(scene: Scene, version: int) -> None:
    socket = scene.anna.host.udp_bind(9)
    scene.from_phone(scene.datagram(version, b"one"), scene.datagram(version, bytes(900)))
    got = [socket.receive(), socket.receive()]
    assert [bytes(one.payload) for one in got if one is not None] == [b"one", bytes(900)]


@versions
def test_its_source_is_its_own_and_no_other(scene: Scene, version: int) -> None:
    """White paper, 5.4.6: a packet whose inner source is not the peer's own is dropped."""
    socket = scene.anna.host.udp_bind(9)
    forged = (STRANGER[version], scene.address(scene.anna, version))
    scene.from_phone(*(scene.datagram(version, source=source) for source in forged))
    assert socket.receive() is None
    assert scene.attachment.counters["source-foreign"] == 2


def test_a_wrong_checksum_goes_no_further(scene: Scene) -> None:
    """Between own nodes nobody checks it again."""
    socket = scene.anna.host.udp_bind(9)
    packet = scene.datagram(4, b"x")
    header = bytearray(parse(_with_checksum(packet)).header)
    header[26] ^= 1
    scene.from_phone(SuperPacket(bytes(header), packet.payload, 0, False))
    assert socket.receive() is None
    assert scene.guest.counters == {"checksum": 1}


def _with_checksum(packet: SuperPacket) -> bytes:
    from userlan.wire.superpacket import cut

    return cut(packet, True)[0]


def test_what_came_together_is_carried_on_together(scene: Scene) -> None:
    """Two streams whose segments alternate, each datagram by itself: one packet each; and no more is kept than one may have to keep."""
    carried: list[SuperPacket] = []
    scene.guest.close()
    now, key = scene.lan.world.now, scene.phone.device.public_key
    guest = Guest(scene.seat, key, PRESHARED, MTU, lambda packets, now: carried.extend(packets), now)
    ends = scene.seat.ipv6, scene.anna.ipv6
    for start in range(0, 5000, 500):
        for pair in (ends, ends[::-1]):
            assert guest.receive(super_segment(bytes(500), 0, pair, seq=1000 + start), now) == ""
    assert carried == []
    guest.flush(now)
    assert [(packet.source, len(packet.payload), packet.segment_size) for packet in carried] == [
        (ends[0], 5000, 500),
        (ends[1], 5000, 500),
    ]
    carried.clear()
    for _ in range(MAX_ARRIVED):
        guest.receive(scene.datagram(4), now)
    assert len(carried) == MAX_ARRIVED


def test_streams_of_a_guest_end_at_a_members_stack(scene: Scene) -> None:
    """Both ways, whole: the phone's own stack is a host in memory with the guest's addresses."""
    kernel = Kernel(scene)
    sink = Sink(scene.lan, scene.anna, 80)
    data = bytes(range(256)) * 2000
    kernel.send_stream(scene.address(scene.anna, 4), 80, data)
    scene.lan.world.run_until(lambda: kernel.turn() or sink.done, 30)
    assert sink.data == data


@versions
def test_a_members_stream_is_cut_for_the_guest(scene: Scene, version: int) -> None:
    """By own nodes a segment is as large as the way allows; the guest gets none larger than its MTU, and each with its checksum."""
    kernel = Kernel(scene)
    kernel.listen(80)
    data = bytes(range(256)) * 2000
    Source(scene.lan, scene.anna, scene.address(scene.seat, version), 80, data)
    scene.lan.world.run_until(lambda: kernel.turn() or kernel.done, 30)
    assert kernel.data == data
    assert 1000 < kernel.largest <= MTU


# --- for the guest


@versions
def test_what_fits_comes_as_it_was(scene: Scene, version: int) -> None:
    scene.to_phone(version, bytes(1200))
    (packet,) = [one for one in scene.phone.taken() if one.protocol == 17]
    assert correct(packet)
    assert len(packet.payload) == 1200


def test_a_larger_datagram_comes_in_fragments_that_add_up(scene: Scene) -> None:
    """RFC 791 2.3: the checksum is over the whole, and computed before it is cut."""
    scene.to_phone(4, bytes(range(220)) * 6, may_be_cut=True)
    parts = [one for one in scene.phone.taken() if one.fragment]
    assert [one.length <= MTU for one in parts] == [True, True]
    whole = _reassembled(parts)
    assert transport_ok(whole)
    assert bytes(whole.payload) == bytes(range(220)) * 6


def test_dont_fragment_is_answered(scene: Scene) -> None:
    """RFC 1191 4: the MTU of the next hop, from the host that was asked."""
    heard: list[SuperPacket] = []
    scene.anna.intake.watch(Watching(heard))
    packet = scene.to_phone(4, bytes(1300))
    assert packet.header[6] & 0x40
    (error,) = [one for one in heard if one.version == 4]
    message = icmp.parse(error)
    assert isinstance(message, icmp.Unreachable)
    assert (message.code, message.mtu) == (icmp.CODE_FRAGMENTATION_NEEDED, MTU)
    assert scene.guest.counters["too-big"] == 1


def test_ipv6_is_cut_here(scene: Scene) -> None:
    scene.to_phone(6, bytes(range(250)) * 5)
    parts = [one for one in scene.phone.taken() if one.fragment]
    assert len(parts) == 2
    whole = _reassembled(parts)
    assert transport_ok(whole)
    assert bytes(whole.payload) == bytes(range(250)) * 5


def _reassembled(parts: list[SuperPacket]) -> SuperPacket:
    from collections import Counter

    from userlan.stack.reassembly import Reassembler

    assert all(parse_fragment(part) for part in parts)
    reassembler = Reassembler(Counter())
    whole = [reassembler.add(part, 0.0) for part in parts][-1]
    assert whole is not None
    return whole


def test_members_measure_the_path_to_the_guest(scene: Scene) -> None:
    """RFC 8899: probes of more than the guest's MTU are not answered, so its members send no more."""
    scene.run(40)
    assert scene.anna.peers.links[scene.seat.key].path_mtu.mtu == MTU
    assert scene.anna.host.path_mtu(scene.seat.ipv6) == MTU
    assert scene.anna.host.path_mtu(scene.seat.roster.own_ipv4) == MTU


def test_an_echo_is_the_guests_to_answer(scene: Scene) -> None:
    """But not those by which nodes ask for each other: a phone that sleeps does not make its companion go away."""
    scene.anna.host.ping(scene.seat.ipv6, 7, 1, b"there?", scene.lan.world.now)
    scene.run(1)
    (request,) = [one for one in scene.phone.taken() if one.protocol == 58]
    message = icmpv6.parse(request)
    assert isinstance(message, icmpv6.Echo)
    assert message.identifier == 7
    answer = icmpv6.build(message._replace(request=False), scene.seat.ipv6, scene.anna.ipv6)
    scene.from_phone(answer)
    assert [event.identifier for event in scene.lan.events(scene.anna) if isinstance(event, EchoReply)] == [7]
    scene.leave()
    scene.run(100)
    assert scene.anna.peers.shown(scene.seat.key)[0] == "direct"


def test_frames_that_are_not_ip_are_not_for_a_guest(scene: Scene) -> None:
    assert ETHERIP_GROUP not in scene.seat.host.groups()
    header = scene.datagram(6).header[:40]
    frame = SuperPacket(header[:6] + bytes((97,)) + header[7:8] + scene.anna.ipv6 + scene.seat.ipv6, b"\x30\0" + bytes(20), 0, True)
    scene.guest.send((frame,), scene.lan.world.now)
    assert scene.guest.counters == {"not-ip": 1}


# --- groups


def test_it_hears_the_groups_that_it_reports(scene: Scene) -> None:
    """RFC 3376 6, RFC 3810 7: by both; it is asked by IGMP alone, from an address that its tunnel lets in."""
    group, other = bytes((239, 7, 7, 7)), b"\xff\x05" + bytes(13) + b"\x77"
    own = scene.seat.roster.own_ipv4
    scene.from_phone(igmp.build(Report((Record(RecordType.CHANGE_TO_EXCLUDE_MODE, group, ()),)), own))
    link_local = bytes.fromhex("fe80") + bytes(13) + b"\1"
    scene.from_phone(mld.build(Report((Record(RecordType.CHANGE_TO_EXCLUDE_MODE, other, ()),)), link_local))
    assert {group, other} <= set(scene.seat.host.groups())
    scene.phone.taken()
    for target in (group, other):
        source = scene.anna.roster.own_ipv4 if len(target) == 4 else scene.anna.ipv6
        scene.anna.flood(udp.build(udp.Datagram(9, 7, b"all"), source, target), scene.lan.world.now)
    scene.run()
    assert {packet.destination for packet in scene.phone.taken()} == {group, other}
    scene.run(600)
    asked = [packet for packet in scene.phone.taken() if packet.protocol == 2]
    assert len(asked) > 2
    assert {packet.source for packet in asked} == {bytes((25, 0, 0, 1))}
    assert isinstance(igmp.parse(asked[0]), Query)
    assert group not in scene.seat.host.groups(), "it was asked, and did not say so again (RFC 3376 6.2.2)"
    assert other in scene.seat.host.groups(), "it cannot be asked, so it is believed"


def test_broadcasts(scene: Scene) -> None:
    everybody = bytes((25, 255, 255, 255))
    scene.anna.flood(udp.build(udp.Datagram(9, 7, b"all"), scene.anna.roster.own_ipv4, everybody), scene.lan.world.now)
    scene.run()
    assert everybody in {packet.destination for packet in scene.phone.taken()}
    socket = scene.anna.host.udp_bind(9)
    own = scene.seat.roster.own_ipv4
    scene.from_phone(udp.build(udp.Datagram(9, 9, b"me"), own, everybody))
    heard = socket.receive()
    assert heard is not None
    assert bytes(heard.payload) == b"me"


# --- the end


def test_a_guest_no_longer(scene: Scene) -> None:
    """Its keys are forgotten: what it sends is nobody's."""
    socket = scene.anna.host.udp_bind(9)
    scene.guest.close()
    scene.from_phone(scene.datagram(4))
    assert socket.receive() is None
    assert scene.seat.device.peer(scene.phone.device.public_key) is None
    assert not scene.guest.state(scene.lan.world.now).online


def test_a_members_key_cannot_be_a_guests(scene: Scene) -> None:
    with pytest.raises(ValueError, match="not a member's"):
        Guest(scene.seat, scene.anna.key, PRESHARED, MTU, scene.attachment.send, scene.lan.world.now)


def test_the_resolvers_address_is_no_members(scene: Scene) -> None:
    """What is not beyond either is unreachable, and the phone hears it (RFC 4443 3.1)."""
    packet = udp.build(udp.Datagram(40_000, 53, b"?"), scene.seat.ipv6, RESOLVER)
    scene.from_phone(packet)
    errors = [icmpv6.parse(one) for one in scene.phone.taken() if one.protocol == 58]
    assert [type(error) for error in errors] == [icmpv6.Unreachable]
