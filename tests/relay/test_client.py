"""The node's side: what is bound, kept, noticed and wrapped, against a relay's real allocations with a wire in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.node.lan import Source
from tests.relay.ends import ANNA, BEN, KEY, WALL, Scene
from tests.relay.test_pairs import relayed_pair
from userlan.control import grants
from userlan.control.meeting import RelayInfo, RelayOffer, ServerEndpoint
from userlan.relay import datagrams
from userlan.relay.binding import KEEPALIVE_LEAST, KEEPALIVE_MOST
from userlan.relay.client import MAX_PEERS, MAX_RESTING, REST_AFTER, UNHEARD, RelayBound, RelayClient, RelayLost
from userlan.tunnel.constants import BURST_BYTES, BURST_SEGMENTS
from userlan.wire.burst import Burst
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

OWN = Endpoint(UDP, "192.0.2.1", 41414)
STEP = 0.05


class Wire:
    """A client and relays 20 ms away; ``dead``: relays that do not answer; ``blocked``: transports that do not pass."""

    def __init__(self, relays: int = 3) -> None:
        self.client = RelayClient(ANNA, WALL)
        self.scenes = [Scene() for _ in range(relays)]
        for number, scene in enumerate(self.scenes):
            scene.allocations.keys.clear()
            scene.allocations.keys[grants.key_id(self.key(number))] = self.key(number)
        self.dead: set[int] = set()
        self.blocked: set[str] = set()
        self.source = OWN
        self.now = 100.0
        self.binds: list[tuple[float, Endpoint]] = []
        self.lifetime = float("inf")
        """Seconds after which the NAT's mapping is gone, and another port is the source."""
        self.events: list[object] = []

    @staticmethod
    def key(number: int) -> bytes:
        return bytes([number]) + KEY[1:]

    def offers(self, own: bytes = ANNA, peer: bytes = BEN) -> list[RelayOffer]:
        found = []
        for number in range(len(self.scenes)):
            endpoints = tuple(ServerEndpoint(f"203.0.113.{number + 1}", 41414, transport) for transport in (UDP, TCP))
            told = grants.for_end(self.key(number), grants.seal(self.key(number), own, peer, WALL + 1e6), grants.role_of(own, peer))
            found.append(RelayOffer(RelayInfo(bytes([number]) * 32, f"r{number}", endpoints), *told))
        return found

    def run(self, seconds: float, every: Callable[[], None] | None = None) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += STEP
            deadline = self.client.deadline()
            if deadline is not None and deadline <= self.now:
                self.client.tick(self.now)
            if every is not None:
                every()
            for _ in range(4):
                self._carry()
            self.events += self.client.events()

    def _carry(self) -> None:
        for burst in self.client.datagrams(self.now):
            if self.binds and self.now - self.binds[-1][0] > self.lifetime:
                self.source = self.source._replace(port=self.source.port + 1)
            self.binds.append((self.now, burst.endpoint))
            number = int(burst.endpoint.host.rpartition(".")[2]) - 1
            if number in self.dead or burst.endpoint.transport in self.blocked:
                continue
            scene = self.scenes[number]
            scene.now = self.now
            answer = scene.take(bytes(burst.data), self.source._replace(transport=burst.endpoint.transport))
            if answer is not None:
                self.client.unwrap(answer.datagram, len(answer.datagram), burst.endpoint, self.now)

    def names(self) -> list[str]:
        return [self.client.name_of(endpoint) for endpoint in self.client.endpoints(BEN)]

    def send(self) -> None:
        for endpoint in self.client.endpoints(BEN)[:1]:
            self.client.wrap(Burst(b"x" * 100, 100, endpoint), self.now)


def test_the_best_two_of_the_list_are_bound_and_proven() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.2)
    assert wire.names() == ["r0", "r1"]
    assert [type(event) for event in wire.events] == [RelayBound, RelayBound]
    assert [len(scene.allocations) for scene in wire.scenes] == [1, 1, 0]
    assert all(end.proven for scene in wire.scenes for channel in scene.allocations.channels.values() for end in channel.ends[:1])


def test_a_datagram_may_follow_the_bind_at_once() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    endpoint = wire.client.reachable(BEN)[0]
    (burst,) = wire.client.wrap(Burst(b"hello", 5, endpoint), wire.now)
    assert burst.data == datagrams.data_header(wire.offers()[0].channel) + b"hello"
    assert burst.endpoint == Endpoint(UDP, "203.0.113.1", 41414)


def test_a_dead_best_relay_is_replaced_by_the_third() -> None:
    wire = Wire()
    wire.dead = {0}
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(8.0)
    assert wire.names() == ["r1", "r2"]


def test_a_relay_that_dies_in_use_is_lost_within_two_seconds_and_the_next_is_bound_already() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(1.0, wire.send)
    wire.dead, wire.events, died = {0}, [], wire.now
    wire.run(2.0, wire.send)
    lost = [event for event in wire.events if isinstance(event, RelayLost)]
    assert [wire.client.name_of(event.endpoint) for event in lost] == ["r0"]
    assert wire.names() == ["r1", "r2"]
    assert wire.now - died <= 2.0 + STEP


def test_a_relay_that_is_alive_is_not_lost_because_the_peer_says_nothing() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(30.0, wire.send)
    assert not any(isinstance(event, RelayLost) for event in wire.events)
    assert len(wire.binds) < 30 / 0.25 * 1.5


def test_who_sends_and_hears_nothing_of_the_peer_looks_for_it_at_the_third_relay() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.5)
    assert len(wire.names()) == 2
    wire.run(UNHEARD + 0.5, wire.send)
    assert len(wire.names()) == 3


def test_idle_bindings_cost_few_packets_and_stay() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(1.0)
    wire.binds.clear()
    wire.run(300.0)
    assert wire.names() == ["r0", "r1"]
    assert len(wire.binds) <= 2 * 300 / 15
    gaps = [later - earlier for (earlier, _), (later, _) in zip(wire.binds[-4::2], wire.binds[-2::2], strict=False)]
    assert all(gap <= KEEPALIVE_MOST + STEP for gap in gaps)


def test_the_keepalive_follows_a_mapping_that_lives_shortly() -> None:
    wire = Wire(relays=1)
    wire.lifetime = 8.0
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(60.0)
    wire.binds.clear()
    wire.run(60.0)
    asked = [at for at, _ in wire.binds]
    gaps = sorted(later - earlier for earlier, later in pairwise(asked))
    assert gaps[len(gaps) // 2] <= wire.lifetime
    assert len(asked) <= 2 * 60 / KEEPALIVE_LEAST


def test_where_udp_is_blocked_framed_tcp_is_bound_after_a_second_and_first_the_next_time() -> None:
    wire = Wire()
    wire.blocked = {UDP}
    wire.client.offer(BEN, wire.offers(), wire.now)
    began = wire.now
    wire.run(1.5)
    assert wire.names() == ["r0", "r1"]
    tcp = [at for at, endpoint in wire.binds if endpoint.transport == TCP]
    assert 1.0 <= min(tcp) - began < 1.0 + 4 * STEP
    wire.client.offer(b"\x03" * 32, wire.offers(peer=b"\x03" * 32), wire.now)
    began = wire.now
    wire.run(0.2)
    assert len(wire.client.endpoints(b"\x03" * 32)) == 2


def test_a_lost_connection_is_bound_anew() -> None:
    wire = Wire()
    wire.blocked = {UDP}
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(1.5)
    wire.client.way_lost(Endpoint(TCP, "203.0.113.1", 41414), wire.now)
    assert wire.names() == ["r1"]
    wire.run(0.3)
    assert wire.names() == ["r0", "r1"]


def test_when_the_network_changes_the_relays_hear_of_it_at_once() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(1.0)
    wire.source = Endpoint(UDP, "198.51.100.77", 9)
    wire.client.network_changed(wire.now)
    wire.run(STEP)
    channel = next(iter(wire.scenes[0].allocations.channels.values()))
    assert channel.ends[0].endpoint == wire.source


def test_a_peer_at_rest_keeps_its_best_binding_and_want_binds_the_second_again() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(1.0)
    wire.client.rest(BEN, wire.now)
    wire.run(REST_AFTER / 2)
    assert wire.names() == ["r0", "r1"]
    wire.events.clear()
    wire.run(REST_AFTER)
    assert wire.names() == ["r0"]
    assert [type(event) for event in wire.events] == [RelayLost]
    wire.client.want(BEN, wire.now)
    wire.run(0.2)
    assert wire.names() == ["r0", "r1"]


def test_of_many_peers_at_rest_those_that_rest_for_longest_cost_nothing() -> None:
    wire = Wire(relays=1)
    peers = [bytes([3, number]) * 16 for number in range(MAX_RESTING + 10)]
    for peer in peers:
        wire.client.offer(peer, wire.offers(peer=peer), wire.now)
        wire.run(0.1)
    for peer in peers:
        wire.client.rest(peer, wire.now)
    wire.run(3.0)
    bound = [bool(wire.client.endpoints(peer)) for peer in peers]
    assert bound == [False] * 10 + [True] * MAX_RESTING
    wire.client.want(peers[0], wire.now)
    wire.run(0.2)
    assert wire.client.endpoints(peers[0])


def test_offers_that_were_saved_are_bound_after_a_restart_though_the_clock_went_back() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(5.0)
    saved = wire.client.save()
    wire.client = RelayClient(ANNA, WALL - 3600.0)
    wire.client.restore(saved)
    assert wire.names() == []
    wire.client.want(BEN, wire.now)
    wire.run(0.5)
    assert wire.names() == ["r0", "r1"]


def test_a_renewed_list_keeps_what_is_bound_and_drops_what_is_gone() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.5)
    first, second = wire.client.endpoints(BEN)
    wire.events.clear()
    wire.client.offer(BEN, wire.offers()[1:], wire.now)
    wire.run(0.5)
    assert wire.client.endpoints(BEN)[0] == second
    assert [event.endpoint for event in wire.events if isinstance(event, RelayLost)] == [first]


@pytest.mark.parametrize(("segment", "count"), [(1452, 45), (1452, 1), (100, 64), (1023, 64), (9000, 7)])
def test_what_is_wrapped_is_unwrapped(segment: int, count: int) -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.5)
    endpoint = wire.client.endpoints(BEN)[0]
    data = b"".join(bytes([number]) * segment for number in range(count))[:-7]
    bursts = wire.client.wrap(Burst(data, segment, endpoint), wire.now)
    assert all(len(burst.data) <= BURST_BYTES and -(-len(burst.data) // burst.segment) <= BURST_SEGMENTS for burst in bursts)
    back = [run for burst in bursts for run in wire.client.unwrap(burst.data, burst.segment, burst.endpoint, wire.now)]
    assert b"".join(run.data for run in back) == data
    assert {run.source for run in back} == {endpoint}
    assert endpoint.transport == RELAY


def test_what_comes_from_elsewhere_than_the_relay_is_dropped() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.5)
    header = datagrams.data_header(wire.offers()[0].channel)
    assert wire.client.unwrap(header + b"x", 13, Endpoint(UDP, "203.0.113.2", 41414), wire.now) == []
    assert wire.client.counters["relay-data-misplaced"] == 1


@pytest.mark.parametrize("octet", [4, 12, 20, 24, 32, 63])
def test_a_forged_answer_changes_nothing(octet: int) -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    offer = wire.offers()[0]
    forged = bytearray(datagrams.encode_bound(datagrams.Bound(offer.channel, 1, 0, 3, 1, bytes(16)), offer.secret))
    forged[octet] ^= 1
    wire.client.unwrap(bytes(forged), len(forged), Endpoint(UDP, "203.0.113.1", 41414), wire.now)
    assert wire.names() == []


def test_an_answer_to_no_question_changes_nothing() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    offer = wire.offers()[0]
    late = datagrams.encode_bound(datagrams.Bound(offer.channel, 1, 0, 3, 1, bytes(16)), offer.secret)
    wire.client.unwrap(late, len(late), Endpoint(UDP, "203.0.113.1", 41414), wire.now)
    assert wire.names() == []


def test_a_mediator_cannot_fill_the_memory_or_make_the_node_a_weapon() -> None:
    wire = Wire(relays=1)
    for number in range(MAX_PEERS + 100):
        peer = number.to_bytes(2, "big") * 16
        wire.client.offer(peer, wire.offers(peer=BEN), wire.now)
    assert wire.client.counters["offers-refused"] >= 100
    assert len(wire.client.datagrams(wire.now)) <= 60
    assert wire.client.counters["binds-over-budget"] > 3_000


def test_a_relay_with_several_ports_is_bound_at_one_of_them() -> None:
    wire = Wire(relays=1)
    places = tuple(ServerEndpoint("203.0.113.1", port, UDP) for port in (443, 41414))
    offer = wire.offers()[0]
    named = RelayOffer(RelayInfo(offer.relay.key, "r0", places), offer.grant, offer.channel, offer.secret)
    wire.client.offer(BEN, [named], wire.now)
    wire.run(5.0)
    assert {endpoint.port for _, endpoint in wire.binds} == {443}
    assert len(wire.binds) <= 3


def test_what_was_held_for_a_full_way_is_released_wherever_it_goes_by_then() -> None:
    wire = Wire()
    wire.client.offer(BEN, wire.offers(), wire.now)
    wire.run(0.5)
    bound = set(wire.client.endpoints(BEN))
    assert set(wire.client.held(UDP)) == bound
    wire.blocked = {UDP}
    wire.client.network_changed(wire.now)
    wire.run(3.0)
    assert wire.client.held(Endpoint(TCP, "203.0.113.1", 41414)) != []
    assert set(wire.client.released(UDP)) == bound
    assert wire.client.released(UDP) == []
    assert wire.client.held(Endpoint(UDP, "198.51.100.1", 1)) == []


def test_a_node_waits_with_relayed_packets_while_the_socket_is_full(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    anna.hold(UDP, lan.world.now)
    Source(lan, anna, ben.ipv6, 80, b"x" * 1000)
    held = [burst for burst in anna.datagrams(lan.world.now) if burst.data[:4] == b"\x28\0\0\0"]
    assert held == []
    anna.release(UDP)
    assert [burst for burst in anna.datagrams(lan.world.now) if burst.data[:4] == b"\x28\0\0\0"] != []
