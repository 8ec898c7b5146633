"""The ways out to a peer: full ones hold their own packets only, bulk takes its way, and nothing is lost when one ends."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from tests.tunnel.virtual import ADDRESS_A, ADDRESS_B, Network, Side, connected, device, endpoint, pair
from userlan.tunnel.constants import (
    BULK_STALL,
    DATAGRAM_SILENCE,
    DRAIN_BYTES,
    QUEUED_BYTES,
    QUEUED_SHARE,
    REJECT_AFTER_TIME,
    STAGED_BYTES,
    STAGED_PACKETS,
    WAY_INTERVAL,
)
from userlan.tunnel.endpoint import Burst
from userlan.tunnel.events import BulkStalled, BulkTraffic, LargeSent, Roamed, WayHeard
from userlan.tunnel.flows import BULK_TIME
from userlan.wire import tcp, udp
from userlan.wire.endpoint import TCP, UDP, Endpoint
from userlan.wire.superpacket import SuperPacket

WAY = Endpoint(TCP, "192.0.2.2", 41414)
"""Framed TCP to where B is."""
BACK = Endpoint(TCP, "192.0.2.1", 50_000)
"""The same connection as B sees it."""


def small(number: int, port: int = 5000) -> SuperPacket:
    return udp.build(udp.Datagram(port, 7, number.to_bytes(4, "big")), ADDRESS_A, ADDRESS_B)


def large(number: int, port: int = 80, length: int = 60_000) -> SuperPacket:
    """A super-segment of a TCP flow; its number is its sequence number."""
    segment = tcp.Segment(port, 9999, seq=number, flags=tcp.Flags.ACK, payload=bytes(length))
    built = tcp.build(segment, ADDRESS_A, ADDRESS_B)
    return SuperPacket(built.header, built.payload, 1200, True)


def numbers(packets: Iterable[SuperPacket]) -> list[int]:
    """The numbers of super-packets as they came, whatever they were cut to."""
    found: list[int] = []
    for one in packets:
        at = one.transport_offset
        found.append(int.from_bytes(one.header[at + 4 : at + 8] if one.protocol == 6 else one.payload[:4], "big"))
    return found


class Pair:
    """A with a session to B, driven by hand: nothing leaves before ``drain``."""

    def __init__(self, seed: object = 1) -> None:
        self.a, self.b, self.network = connected(seed)
        self.now = self.network.now
        self.key = self.b.device.public_key
        self.peer = self.a.device.peer(self.key)
        assert self.peer is not None
        self.ways = self.peer.ways

    def send(self, *packets: SuperPacket) -> None:
        for one in packets:
            self.a.device.send(self.key, one, self.now)

    def drain(self) -> list[Burst]:
        """All that leaves now, in one call of ``datagrams`` for each budget."""
        bursts = self.a.device.datagrams(self.now)
        while self.a.device.backlog:
            bursts += self.a.device.datagrams(self.now)
        return bursts

    def arrive(self, bursts: list[Burst], source: Endpoint | None = None) -> list[SuperPacket]:
        """B takes bursts in, by the way that they took."""
        packets: list[SuperPacket] = []
        for burst in bursts:
            where = source or (BACK if burst.endpoint.transport == TCP else self.a.endpoint)
            for inbound in self.b.device.receive(burst.data, burst.segment, where, self.now):
                packets += inbound.packets
        return packets


@pytest.fixture
def ends() -> Pair:
    return Pair()


def ways_of(bursts: list[Burst]) -> set[str]:
    return {burst.endpoint.transport for burst in bursts}


# --- full ways


def test_what_is_for_a_full_way_waits_and_the_other_goes_on(ends: Pair) -> None:
    ends.ways.use_bulk(WAY)
    ends.a.device.hold(UDP, ends.now)
    ends.send(small(1), large(2))
    assert ways_of(ends.drain()) == {TCP}
    ends.a.device.release(UDP)
    ends.a.device.hold(WAY, ends.now)
    ends.send(large(3))
    bursts = ends.drain()
    assert numbers(ends.arrive(bursts)) == [1]
    assert not ends.a.device.backlog, "what waits for a full way is no backlog"
    ends.a.device.release(WAY)
    assert ends.a.device.backlog
    assert numbers(ends.arrive(ends.drain())) == [3]


def test_one_call_gives_no_more_than_its_budget_and_says_that_there_is_more(ends: Pair) -> None:
    ends.send(*(large(number) for number in range(20)))
    bursts = ends.a.device.datagrams(ends.now)
    given = sum(len(burst.data) for burst in bursts)
    assert DRAIN_BYTES <= given < DRAIN_BYTES * 1.1 + 65_535
    assert ends.a.device.backlog
    assert len(ends.arrive(bursts + ends.drain())) == 20
    assert not ends.a.device.backlog


def test_a_keystroke_leaves_before_a_backlog(ends: Pair) -> None:
    """RFC 8290 4.2, through the device."""
    ends.send(*(large(number) for number in range(20)))
    ends.arrive(ends.a.device.datagrams(ends.now))
    ends.send(small(77))
    assert numbers(ends.arrive(ends.a.device.datagrams(ends.now)))[0] == 77


def test_peers_share_the_budget() -> None:
    """No peer waits for the others' backlogs."""
    source = Many(4)
    for number in range(30):
        source.device.send(source.keys[0], large(number), source.network.now)
    for key in source.keys[1:]:
        source.device.send(key, small(1), source.network.now)
    endpoints = {burst.endpoint for burst in source.device.datagrams(source.network.now)}
    assert len(endpoints) == 4
    assert source.device.backlog


# --- bulk


def test_a_bulk_flow_takes_its_way_with_its_small_packets_and_no_other_does(ends: Pair) -> None:
    ends.ways.use_bulk(WAY)
    ends.send(large(0), large(100_000), large(200_000, length=100), small(9))
    by_way = {UDP: [], TCP: []}  # type: dict[str, list[Burst]]
    for burst in ends.drain():
        by_way[burst.endpoint.transport].append(burst)
    assert numbers(ends.arrive(by_way[TCP])) == [0, 100_000, 200_000]
    assert numbers(ends.arrive(by_way[UDP])) == [9]


def test_one_super_packet_is_one_datagram_of_framed_tcp(ends: Pair) -> None:
    ends.ways.use_bulk(WAY)
    ends.send(large(0))
    (burst,) = ends.drain()
    assert len(burst.data) == burst.segment > 60_000
    (whole,) = ends.arrive([burst])
    assert len(whole.payload) == 60_000


def test_the_largest_super_packet_is_cut_for_a_frame(ends: Pair) -> None:
    """A frame has 65,535 octets (two of length), of which the tunnel takes 32."""
    ends.ways.use_bulk(WAY)
    ends.send(large(0, length=65_535 - 40))
    assert sum(len(one.payload) for one in ends.arrive(ends.drain())) == 65_495
    assert ends.a.device.counters["oversized"] == 0


def test_a_flow_takes_along_what_it_has_waiting(ends: Pair) -> None:
    """No overtaking within a flow: the way opens while UDP is full."""
    ends.a.device.hold(UDP, ends.now)
    ends.send(*(large(100_000 * number) for number in range(3)), small(9))
    assert ends.drain() == []
    ends.ways.use_bulk(WAY)
    ends.send(large(300_000))
    bursts = ends.drain()
    assert ways_of(bursts) == {TCP}
    assert numbers(ends.arrive(bursts)) == [0, 100_000, 200_000, 300_000]
    ends.a.device.release(UDP)
    assert numbers(ends.arrive(ends.drain())) == [9]


def test_a_flow_that_paused_waits_behind_what_it_has_waiting(ends: Pair) -> None:
    """No overtaking within a flow: its small packets would take UDP again, but the earlier ones are still here."""
    ends.ways.use_bulk(WAY)
    ends.a.device.hold(WAY, ends.now)
    ends.send(large(0))
    ends.now += BULK_STALL / 2
    ends.send(large(100_000, length=100))
    assert ends.drain() == []
    ends.a.device.release(WAY)
    assert numbers(ends.arrive(ends.drain())) == [0, 100_000]


def test_no_flow_overtakes_itself_while_ways_come_go_and_fill(ends: Pair) -> None:
    sent: dict[int, list[int]] = {port: [] for port in (80, 81, 82)}
    arrived: dict[int, list[int]] = {port: [] for port in sent}

    def take(bursts: list[Burst]) -> None:
        for one in ends.arrive(bursts):
            at = one.transport_offset
            port = int.from_bytes(one.header[at : at + 2], "big")
            arrived[port].append(int.from_bytes(one.header[at + 4 : at + 8], "big"))

    for step in range(400):
        ends.now += 0.003
        match step * 7 % 23:
            case 3:
                ends.a.device.hold(UDP, ends.now)
            case 5:
                ends.a.device.hold(WAY, ends.now)
            case 9:
                ends.a.device.release(UDP)
            case 11:
                ends.a.device.release(WAY)
            case 13:
                ends.ways.use_bulk(WAY)
            case 17 if step % 3 == 0:
                ends.a.device.way_lost(WAY)
        port = 80 + step % 3
        length = 30_000 if step % 5 else 100
        ends.send(large(len(sent[port]) * 100_000, port, length))
        sent[port].append(len(sent[port]) * 100_000)
        if step % 4 == 0:
            take(ends.drain())
    ends.a.device.release(UDP)
    ends.a.device.release(WAY)
    take(ends.drain())
    dropped = ends.a.device.counters["flows-dropped"]
    for port, expected in sent.items():
        firsts = [number for number in arrived[port] if number % 100_000 == 0]
        assert all(one < later for one, later in pairwise(firsts)), "overtaken"
        assert len(expected) - len(firsts) <= dropped


def test_a_lost_way_loses_no_packet(ends: Pair) -> None:
    ends.ways.use_bulk(WAY)
    ends.a.device.hold(WAY, ends.now)
    ends.send(*(large(100_000 * number) for number in range(40)))
    ends.now += BULK_STALL * 0.9
    assert ends.drain() == []
    ends.a.device.way_lost(WAY)
    bursts = ends.drain()
    assert ways_of(bursts) == {UDP}
    assert sum(len(one.payload) for one in ends.arrive(bursts)) == 40 * 60_000
    assert ends.a.device.counters["flows-dropped"] == 0


def test_a_way_that_takes_nothing_is_left(ends: Pair) -> None:
    """A connection that was cut without a word: its kernel takes no more, and does not say why for a long time."""
    ends.ways.use_bulk(WAY)
    ends.send(large(0))
    ends.drain()
    ends.a.device.hold(WAY, ends.now)
    ends.send(large(100_000))
    ends.now += BULK_STALL * 0.9
    assert ends.drain() == []
    ends.now += BULK_STALL * 0.2
    bursts = ends.drain()
    assert (ways_of(bursts), ends.ways.bulk) == ({UDP}, None)
    assert numbers(ends.arrive(bursts))[0] == 100_000
    assert BulkStalled(ends.key, WAY) in ends.a.device.events()
    assert ends.a.device.counters["bulk-stalled"] == 1


def test_a_way_that_takes_something_now_and_then_is_kept(ends: Pair) -> None:
    ends.ways.use_bulk(WAY)
    for number in range(5):
        ends.send(large(100_000 * number))
        ends.a.device.release(WAY)
        assert ways_of(ends.drain()) == {TCP}
        ends.a.device.hold(WAY, ends.now)
        ends.now += BULK_STALL * 0.9
    assert ends.ways.bulk == WAY


def test_bulk_traffic_is_told_while_there_is_no_way(ends: Pair) -> None:
    def told(seconds: float, rate: float) -> int:
        events = []
        for number in range(int(seconds * rate / 50_000)):
            ends.now += 50_000 / rate
            ends.send(large(number, length=50_000))
            ends.drain()
            events += ends.a.device.events()
        return sum(isinstance(event, BulkTraffic) for event in events)

    assert told(2.0, 10e6) == 0, "80 Mbit/s is no reason"
    intervals = 2.0 / BULK_TIME
    assert 0.4 * intervals <= told(2.0, 40e6) <= intervals, "once in a measuring interval"
    ends.ways.use_bulk(WAY)
    assert told(2.0, 40e6) == 0


# --- hearing of ways


def heard(ends: Pair, source: Endpoint, number: int = 0) -> list[object]:
    """What B says when something of A's comes from ``source``."""
    ends.send(small(number))
    ends.b.device.events()
    ends.arrive(ends.drain(), source)
    return [event for event in ends.b.device.events() if isinstance(event, WayHeard | Roamed)]


def test_framed_tcp_beside_udp_is_a_way_and_not_a_move(ends: Pair) -> None:
    key = ends.a.device.public_key
    assert heard(ends, ends.a.endpoint) == []
    assert heard(ends, BACK) == [WayHeard(key, BACK)]
    assert heard(ends, BACK) == [], "once a second at most"
    peer = ends.b.device.peer(key)
    assert peer is not None
    assert peer.endpoint == ends.a.endpoint
    ends.now += WAY_INTERVAL
    assert heard(ends, BACK) == [WayHeard(key, BACK)], "again, or a way that was lost could not come back"
    ends.now += WAY_INTERVAL
    peer.ways.use_bulk(BACK)
    assert heard(ends, BACK) == [], "it is in use"


def test_a_peer_whose_udp_is_silent_is_where_its_tcp_comes_from(ends: Pair) -> None:
    """Section 2.1 of the white paper (roaming), eight seconds later where UDP was there."""
    assert heard(ends, ends.a.endpoint) == []
    ends.now += DATAGRAM_SILENCE * 0.9
    assert [type(event) for event in heard(ends, BACK)] == [WayHeard]
    ends.now += DATAGRAM_SILENCE * 0.2
    assert heard(ends, BACK) == [Roamed(ends.a.device.public_key, ends.a.endpoint, BACK)]
    assert heard(ends, ends.a.endpoint) == [Roamed(ends.a.device.public_key, BACK, ends.a.endpoint)], "and back at once"


def test_a_replayed_datagram_is_no_way(ends: Pair) -> None:
    """White paper 5.4.6: only what is new and authentic counts; an old datagram from another address moves nothing."""
    ends.send(small(1))
    bursts = ends.drain()
    ends.arrive(bursts)
    ends.b.device.events()
    assert ends.arrive(bursts, Endpoint(TCP, "203.0.113.66", 1)) == []
    assert ends.b.device.events() == []


def test_a_peer_that_moves_to_another_address_leaves_its_way(ends: Pair) -> None:
    key = ends.a.device.public_key
    peer = ends.b.device.peer(key)
    assert peer is not None
    heard(ends, ends.a.endpoint)
    peer.ways.use_bulk(BACK)
    heard(ends, ends.a.endpoint._replace(port=999))
    assert peer.ways.bulk == BACK, "another port of the same host: its router's doing"
    heard(ends, Endpoint(UDP, "198.51.100.7", 41414))
    assert peer.ways.bulk is None


def test_a_knock_is_an_empty_message_by_the_way_asked_for(ends: Pair) -> None:
    ends.a.device.knock(ends.key, WAY, ends.now)
    (burst,) = ends.drain()
    assert (burst.endpoint, len(burst.data)) == (WAY, 32)
    ends.arrive([burst])
    ends.a.device.knock(bytes(32), WAY, ends.now)
    assert ends.drain() == []


# --- sessions


def test_a_session_that_ends_under_a_queue_loses_no_order() -> None:
    """White paper 6.2: what cannot be sealed waits for the next session, before what comes later."""
    a, b, network = connected(3)
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    peer.ways.use_bulk(WAY)
    now = network.now
    a.device.hold(UDP, now)
    a.device.hold(WAY, now)
    for number in range(4):
        a.device.send(b.device.public_key, small(number), now)
    long = udp.build(udp.Datagram(80, 7, bytes(20_000)), ADDRESS_A, ADDRESS_B)
    a.device.send(b.device.public_key, long, now)
    network.now = now + REJECT_AFTER_TIME
    a.device.release(UDP)
    a.device.send(b.device.public_key, small(4), network.now)
    assert (peer.ways.staged, peer.ways.queued) == (6, 0)
    peer.ways.use_bulk(None)
    network.run(network.now + 12)
    got = [int.from_bytes(payload[at : at + 4], "big") for payload in b.received if len(payload) < 100 for at in range(0, len(payload), 4)]
    assert 20_000 in map(len, b.received)
    assert got == [0, 1, 2, 3, 4]


def test_what_is_staged_is_bounded_and_leaves_in_budgets() -> None:
    """1 MB waits for a session; once there is one, no call gives more than its budget, which a socket's queue can hold."""
    a, b, network = pair(4)
    for number in range(40):
        a.device.send(b.device.public_key, large(100_000 * number), 0.0)
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    assert peer.ways.staged <= STAGED_BYTES // 60_000
    initiation = a.device.datagrams(0.0)
    assert len(initiation) == 1
    b.device.receive(initiation[0].data, 0, a.endpoint, 0.0)
    response = b.device.datagrams(0.0)
    a.device.receive(response[0].data, 0, b.endpoint, 0.0)
    calls = []
    while a.device.backlog:
        calls.append(a.device.datagrams(0.0))
        assert sum(len(burst.data) for burst in calls[-1]) < DRAIN_BYTES * 1.1 + 2 * 65_535
    assert len(calls) >= STAGED_BYTES // DRAIN_BYTES - 1
    arrived = [one for call in calls for burst in call for inbound in b.device.receive(burst.data, burst.segment, a.endpoint, 0.0)
               for one in inbound.packets]
    assert sum(len(one.payload) for one in arrived) == STAGED_BYTES // 60_000 * 60_000
    assert network.now == 0.0


def test_an_initiator_confirms_its_session_though_its_way_is_full() -> None:
    """White paper 5.4.6: the responder waits for a message under the new keys."""
    a, b, network = pair(5)
    a.device.send(b.device.public_key, small(1), 0.0)
    a.device.hold(UDP, 0.0)
    network.run(1.0)
    assert b.established == 1
    assert b.received == []
    a.device.release(UDP)
    network.run(1.1)
    assert len(b.received) == 1


def test_the_queues_of_all_peers_are_capped_together() -> None:
    """32 MB for all: a peer that has more than its share gives way, the others keep theirs."""
    source = Many(7)
    source.device.hold(UDP, source.network.now)
    for number in range(110):
        for key in source.keys:
            source.device.send(key, large(100_000 * number), source.network.now)
    queued = [peer.ways.queued for peer in source.device.peers()]
    assert sum(queued) <= QUEUED_BYTES + 65_535
    assert min(queued) >= min(QUEUED_SHARE - 60_000, 1)
    source.device.release(UDP)
    while source.device.backlog:
        source.device.datagrams(source.network.now)
    assert source.device.counters["flows-dropped"] > 0
    assert [peer.ways.queued for peer in source.device.peers()] == [0] * len(queued)


class Many:
    """One device with sessions to eight."""

    def __init__(self, count: int) -> None:
        hub = Side(device("hub"), endpoint(100))
        sides = [Side(device(("spoke", number)), endpoint(number + 1)) for number in range(count)]
        for side in sides:
            hub.device.add_peer(side.device.public_key, endpoint=side.endpoint)
            side.device.add_peer(hub.device.public_key)
        self.network = Network(hub, *sides)
        self.device = hub.device
        self.keys = [side.device.public_key for side in sides]
        for key in self.keys:
            self.device.send(key, small(1), 0.0)
        self.network.run(1.0)


def test_staged_packets_are_capped_by_number() -> None:
    a, b, _ = pair(8)
    for number in range(3 * STAGED_PACKETS):
        a.device.send(b.device.public_key, small(number), 0.0)
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    assert peer.ways.staged == STAGED_PACKETS
    assert a.device.counters["staged-overflow"] == 2 * STAGED_PACKETS


# --- sizes


@pytest.mark.parametrize("mtu", [1024, 1240, 1280, 1420, 8920])
def test_tcp_is_cut_for_the_path_and_told_when_large(ends: Pair, mtu: int) -> None:
    ends.ways.mtu = mtu
    ends.a.device.events()
    ends.send(large(0))
    bursts = ends.drain()
    assert max(burst.segment for burst in bursts) <= mtu + 15 + 32
    assert sum(len(one.payload) for one in ends.arrive(bursts)) == 60_000
    told = [event for event in ends.a.device.events() if isinstance(event, LargeSent)]
    assert len(told) == (1 if mtu > 1024 else 0)


def test_a_probe_travels_alone_and_whole(ends: Pair) -> None:
    """RFC 8899 4.4: nobody may fragment it."""
    ends.ways.mtu = 1280
    packet = udp.build(udp.Datagram(1, 2, bytes(5000)), ADDRESS_A, ADDRESS_B)
    ends.send(small(1))
    ends.a.device.probe(ends.key, packet, ends.now)
    bursts = ends.drain()
    (probe,) = [burst for burst in bursts if burst.whole]
    assert len(probe.data) == packet.length + 32
    assert len(ends.arrive(bursts)) == 2
