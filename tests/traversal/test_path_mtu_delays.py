"""The search for a datagram path's MTU (RFC 8899), with a path in virtual time."""

from __future__ import annotations

import heapq

from userlan.traversal.path_mtu import BASE, CONFIRM_INTERVAL, JUMBO, MAX_PROBES, PROBE_TIMER, PathMtuSearch

LAN = 1420


class Path:
    """Carries probes of ``mtu`` octets at most, and answers after ``round_trip`` seconds."""

    def __init__(self, mtu: int, round_trip: float) -> None:
        self.mtu = mtu
        self.round_trip = round_trip
        self.now = 0.0
        self.search = PathMtuSearch(LAN)
        self.sent: list[int] = []
        self._answers: list[tuple[float, int]] = []
        self.search.start(0.0)

    def _leave(self, probe: tuple[int, int] | None) -> None:
        if probe is None:
            return
        size, sequence = probe
        self.sent.append(size)
        if size <= self.mtu:
            heapq.heappush(self._answers, (self.now + self.round_trip, sequence))

    def run(self, seconds: float, busy: bool = False) -> None:
        """Time passes; ``busy``: large packets are sent all the while. The peer is heard all the time."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            if busy:
                self.search.large_sent(self.now)
            while self._answers and self._answers[0][0] <= self.now:
                self._leave(self.search.answered(heapq.heappop(self._answers)[1], self.now))
            self._leave(self.search.tick(self.now, self.now))


def test_the_lans_mtu_is_found_and_confirmed() -> None:
    path = Path(LAN, 0.02)
    path.run(20.0, busy=True)
    assert path.search.mtu == LAN
    assert path.sent[:5] == [BASE, LAN, *[JUMBO[0]] * MAX_PROBES]
    assert path.sent.count(LAN) > 20.0 / CONFIRM_INTERVAL - 4


def test_a_smaller_path_is_found_within_eight_octets() -> None:
    path = Path(1371, 0.02)
    path.run(60.0)
    assert 1371 - 8 <= path.search.mtu <= 1371


def test_a_round_trip_beyond_the_timer_loses_nothing() -> None:
    """RFC 8899 5.1.1: whoever delays the answers, a full queue or somebody on the path, does not pin us to the base."""
    path = Path(LAN, 1.2 * PROBE_TIMER)
    path.run(20.0)
    assert path.search.mtu == LAN
    path.run(30.0, busy=True)
    assert path.search.mtu == LAN


def test_a_path_that_shrinks_is_noticed() -> None:
    path = Path(LAN, 0.02)
    path.run(10.0, busy=True)
    path.mtu = BASE
    path.run(5.0, busy=True)
    assert path.search.mtu == BASE


def test_an_answer_to_nothing_that_was_asked_changes_nothing() -> None:
    """A peer cannot raise the size by answers to numbers that are used later, or were used for other sizes."""
    search = PathMtuSearch(LAN)
    search.start(0.0)
    search.large_sent(0.0)
    assert search.tick(0.0, 0.0) == (BASE, 1)
    assert search.answered(1, 0.0) == (LAN, 2)
    for sequence in (0, 1, 3, 0xFFFF):
        assert search.answered(sequence, 0.1) is None
    assert search.mtu == BASE
    following = search.answered(2, 0.1)
    assert following is not None
    assert search.mtu == LAN
    assert search.answered(2, 0.2) is None
    assert search.mtu == LAN
