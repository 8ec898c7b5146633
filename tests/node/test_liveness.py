"""Who asks whom whether the path is alive, how often, and when a peer is gone."""

from __future__ import annotations

import heapq
from itertools import pairwise
from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.node.test_peers import HERE, direct, run, state
from userlan.node.liveness import ECHO_GRID, ECHO_INTERVAL, LEAST_ASKED, RTT_INTERVAL, SILENCE
from userlan.node.peer_table import PEERS_A_TICK
from userlan.node.peers import DOUBT, EchoDue, PeerLink, PeerState

NAT_MAPPING = 25.0
"""Seconds: the shortest mappings last 30."""


class Pair:
    """Two links, one way that takes ``delay`` seconds (or loses everything), each side with a clock of its own."""

    def __init__(self, delay: float = 0.05, offset: float = 0.1, interval: float = ECHO_INTERVAL) -> None:
        self.now, self.delay, self.broken = 0.0, delay, False
        self.offsets = (0.0, offset)
        self.links = tuple(direct_at(offset, interval, second) for offset, second in zip(self.offsets, (False, True), strict=True))
        self.asked: list[tuple[float, int]] = []
        self.sent: tuple[list[float], list[float]] = ([], [])
        self._flight: list[tuple[float, int, int, int, bool]] = []
        self._count = 0

    def send(self, side: int, sequence: int, reply: bool) -> None:
        self.sent[side].append(self.now)
        self._count += 1
        if not self.broken:
            heapq.heappush(self._flight, (self.now + self.delay, self._count, 1 - side, sequence, reply))

    def run(self, until: float) -> None:
        while True:
            deadlines = [link.deadline() for link in self.links]
            local = [at - offset for at, offset in zip(deadlines, self.offsets, strict=True) if at is not None]
            due = min([*local, *(entry[0] for entry in self._flight)], default=until)
            if due >= until:
                self.now = until
                return
            self.now = max(self.now, due)
            while self._flight and self._flight[0][0] <= self.now:
                _, _, side, sequence, reply = heapq.heappop(self._flight)
                self.links[side].heard(HERE, self.now + self.offsets[side])
                if reply:
                    self.links[side].echo_reply(sequence, self.now + self.offsets[side])
                else:
                    self.send(side, sequence, True)
            for side, link in enumerate(self.links):
                at = link.deadline()
                if at is not None and at - self.offsets[side] <= self.now:
                    for effect in link.tick(True, max(at, self.now + self.offsets[side])):
                        if isinstance(effect, EchoDue):
                            self.asked.append((self.now, side))
                            self.send(side, effect.sequence, False)


def direct_at(now: float, interval: float, second: bool) -> PeerLink:
    link = PeerLink(bytes(32), now, interval, second=second)
    link.presence(True, now)
    link.session_established(now)
    link.heard(HERE, now)
    link.path_mtu.stop()                        # its probes have echoes beside them while nothing is heard, and nobody answers them here
    assert state(link) is PeerState.DIRECT
    return link


@pytest.mark.parametrize("delay", [0.0005, 0.02, 0.12, 0.4])
@pytest.mark.parametrize("offset", [0.0, 0.1, 0.24, 1000.13])
def test_two_idle_nodes_take_turns_and_ask_half_as_often(delay: float, offset: float) -> None:
    pair = Pair(delay, offset)
    pair.run(10.0)
    pair.asked.clear()
    pair.run(310.0)
    by_side = [sum(side == one for _, side in pair.asked) for one in (0, 1)]
    assert sum(by_side) <= 300 / (ECHO_INTERVAL - ECHO_GRID) + 1
    assert min(by_side) >= 300 / (2 * (ECHO_INTERVAL + ECHO_GRID) + 4 * delay) - 1
    for link in pair.links:
        assert link.rtt == pytest.approx(2 * delay)
    for sent in pair.sent:
        gaps = [later - earlier for earlier, later in pairwise(sent)]
        assert max(gaps) <= ECHO_INTERVAL + ECHO_GRID + 2 * delay < NAT_MAPPING


@pytest.mark.parametrize("broken_at", [10.0, 11.3, 12.6, 13.9, 14.9])
def test_both_sides_notice_a_dead_path_in_time(broken_at: float) -> None:
    pair = Pair()
    pair.run(broken_at)
    pair.broken = True
    pair.run(broken_at + SILENCE + 2 * pair.delay)
    assert [state(link) for link in pair.links] == [PeerState.CONNECTING] * 2


def test_a_peer_that_is_slow_is_not_gone() -> None:
    """Both are busy, and their answers take ever longer, up to far beyond three questions a second apart."""
    pair = Pair()
    pair.run(10.0)
    for pair.delay in (1.0, 4.0, 9.0, 1.0, 0.05):
        for _ in range(600):
            pair.run(pair.now + 0.1)
            assert [state(link) for link in pair.links] == [PeerState.DIRECT] * 2
    begun = pair.now
    pair.asked.clear()
    pair.run(begun + 300.0)
    assert len(pair.asked) <= 300 / (ECHO_INTERVAL - ECHO_GRID) + 20, "and once they are quick again they are asked as before"
    pair.broken = True
    pair.run(pair.now + SILENCE + 2 * pair.delay)
    assert [state(link) for link in pair.links] == [PeerState.CONNECTING] * 2


def test_a_lost_echo_is_repeated_and_nobody_is_gone() -> None:
    pair = Pair()
    pair.run(10.0)
    for start in (10.0, 30.0, 50.0):
        pair.broken = True
        pair.run(start + ECHO_INTERVAL + ECHO_GRID + 0.1)
        pair.broken = False
        pair.run(start + 15.0)
        assert [state(link) for link in pair.links] == [PeerState.DIRECT] * 2


def test_echoes_of_many_peers_fall_together() -> None:
    """Whatever the phase in which they began."""
    times = set()
    for number in range(100):
        link = direct(number * 0.0371)
        for at, effect in run(link, number * 0.0371, 60.0):
            if isinstance(effect, EchoDue) and at > 20.0:
                times.add(at)
    assert len(times) <= 40 / ECHO_GRID + 1
    assert all(at % ECHO_GRID == 0 for at in times)


def test_a_process_that_stood_still_takes_nobody_for_gone() -> None:
    """Answers of before wait in the socket, and the others were not asked."""
    link = direct()
    run(link, 0.0, 20.0)
    late = 20.0 + 10 * SILENCE
    effects = link.tick(True, late)
    assert [type(effect) for effect in effects] == [EchoDue]
    assert state(link) is PeerState.DIRECT
    run(link, late, late + 60)
    assert state(link) is PeerState.DIRECT
    assert link.rtt == pytest.approx(0.01)


def test_after_a_standstill_a_silent_peer_is_asked_three_times_then_gone() -> None:
    link = direct()
    run(link, 0.0, 20.0)
    late = 20.0 + 10 * SILENCE
    link.online = False
    effects = run(link, late, late + LEAST_ASKED - 0.1, answer=False)
    assert [at - late for at, effect in effects if isinstance(effect, EchoDue)] == [0.0, 1.0, 2.0]
    assert state(link) is PeerState.DIRECT
    run(link, late + LEAST_ASKED - 0.1, late + LEAST_ASKED + 0.1, answer=False)
    assert state(link) is PeerState.OFFLINE


def test_a_standstill_while_the_mediators_word_is_checked() -> None:
    link = direct()
    run(link, 0.0, 20.0)
    link.presence(False, 20.0)
    run(link, 20.0, 20.1, answer=False)
    link.tick(True, 20.0 + 3 * DOUBT)
    assert state(link) is PeerState.DIRECT


def test_who_is_heard_is_asked_for_the_round_trip_alone() -> None:
    link = direct()
    asked = []
    for step in range(1, 3000):
        now = step * 0.1
        link.heard(HERE, now)
        deadline = link.deadline()
        if deadline is not None and deadline <= now:
            for effect in link.tick(True, now):
                if isinstance(effect, EchoDue):
                    asked.append(now)
                    link.echo_reply(effect.sequence, now + 0.03)
    assert 300 / RTT_INTERVAL - 1 <= len(asked) <= 300 / RTT_INTERVAL + 2
    assert link.rtt == pytest.approx(0.03)


def test_what_comes_by_another_way_says_nothing_of_the_peers_own() -> None:
    link = direct()
    asked = 0
    for step in range(1, 1000):
        now = step * 0.1
        link.heard(HERE, now)
        for effect in link.tick(True, now, beside=True):
            if isinstance(effect, EchoDue):
                asked += 1
                link.echo_reply(effect.sequence, now)
    assert 100 / (ECHO_INTERVAL + ECHO_GRID) - 1 <= asked <= 100 / ECHO_INTERVAL + 2


def test_addresses_that_change_are_reason_enough_to_ask_a_peer_that_is_heard() -> None:
    link = direct()
    run(link, 0.0, 20.0)
    link.heard(HERE, 20.0)
    link.network_changed(20.0)
    assert any(isinstance(effect, EchoDue) for effect in link.tick(True, 20.0))


def test_many_peers_that_are_due_at_once_do_not_hold_the_others_up(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    node = lan.node("anna", lan.internet, "192.0.2.7")
    lan.ready(node)
    table, now = node.peers, lan.world.now
    links = [PeerLink(bytes([number]) * 32, now) for number in range(1, 4 * PEERS_A_TICK // 2)]
    for link in links:
        link.session_established(now)
        link.heard(HERE, now)
        table.links[link.key] = link
        table._settle(link, now)
    table.tick(now)
    assert len([link for link in links if link.liveness.next > now]) == PEERS_A_TICK
    assert table.deadline() == now
    table.tick(now)
    deadline = table.deadline()
    assert deadline is not None
    assert deadline > now


def test_idle_nodes_exchange_an_echo_and_its_answer_in_five_seconds(tmp_path: Path) -> None:
    """Whole nodes: each sends at least every 25 s, and both have measured the round trip."""
    lan = VirtualLan(tmp_path)
    anna, ben = lan.node("anna", lan.internet, "192.0.2.7"), lan.node("ben", lan.internet, "198.51.100.8")
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run(20.0)
    ends = [(anna, ben), (ben, anna)]
    peers = [one.device.peer(other.key) for one, other in ends]
    before = [peer.tx_bytes if peer is not None else 0 for peer in peers]
    lan.world.run(100.0)
    for (one, other), peer, earlier in zip(ends, peers, before, strict=True):
        assert peer is not None
        datagrams = (peer.tx_bytes - earlier) / (32 + 64)
        assert 18 <= datagrams <= 24, datagrams
        assert one.peers.links[other.key].state is PeerState.DIRECT
        assert one.peers.links[other.key].rtt is not None
