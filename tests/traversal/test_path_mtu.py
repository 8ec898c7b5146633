"""The search for the size that a path carries (RFC 8899), in virtual time, over a path of any size, loss and delay."""

from __future__ import annotations

import heapq
from itertools import pairwise
from random import Random

import pytest

from userlan.traversal.path_mtu import (
    BASE,
    CONFIRM_INTERVAL,
    JUMBO,
    LEAST,
    MAX_PROBES,
    PROBE_TIMER,
    RAISE_TIMER,
    STEP,
    PathMtuSearch,
)

LAN = 1420


class Path:
    """One direction of a path, with the peer's answers. ``carries``: octets; ``loss``: share of probes that get no answer."""

    def __init__(self, carries: int, ceiling: int = LAN, delay: float = 0.02, loss: float = 0.0, seed: int = 1) -> None:
        self.search = PathMtuSearch(ceiling)
        self.carries = carries
        self.delay = delay
        self.loss = loss
        self.alive = True
        self.bulk = False
        self.now = 100.0
        self.probes: list[tuple[float, int]] = []
        self.sizes: list[tuple[float, int]] = []
        self._random = Random(seed)
        self._answers: list[tuple[float, int]] = []
        self._heard = self.now
        self.search.start(self.now)

    def run(self, seconds: float) -> Path:
        """Let time pass: probes leave and are answered; while ``bulk``, a large packet leaves every 10 ms and its answer is heard."""
        end = self.now + seconds
        while self.now < end:
            self._note()
            times = [end, *self._answers[:1], self.search.deadline()]
            moments = [time if isinstance(time, float) else time[0] for time in times if time is not None]
            if self.bulk:
                moments.append(self.now + 0.01)
            self.now = max(self.now, min(moments))
            while self._answers and self._answers[0][0] <= self.now:
                self._heard = self.now
                self._sent(self.search.answered(heapq.heappop(self._answers)[1], self.now))
            if self.bulk and self.alive:
                self._heard = self.now
                self.search.large_sent(self.now)
            deadline = self.search.deadline()
            if deadline is not None and deadline <= self.now:
                self._sent(self.search.tick(self._heard, self.now))
        return self

    def hear(self) -> None:
        """Something else comes from the peer."""
        self._heard = self.now

    def _sent(self, probe: tuple[int, int] | None) -> None:
        if probe is None:
            return
        size, sequence = probe
        self.probes.append((self.now, size))
        if self.alive and size <= self.carries and self._random.random() >= self.loss:
            heapq.heappush(self._answers, (self.now + self.delay, sequence))

    def _note(self) -> None:
        if not self.sizes or self.sizes[-1][1] != self.search.mtu:
            self.sizes.append((self.now, self.search.mtu))


def heard(path: Path, seconds: float) -> Path:
    """As ``run``, with the peer's other traffic heard every half second."""
    for _ in range(int(seconds * 2)):
        path.hear()
        path.run(0.5)
    return path


def busy(path: Path, seconds: float) -> Path:
    """As ``run``, with large packets all the while."""
    path.bulk = True
    return path.run(seconds)


# --- RFC 8899 5.2, 5.3: the search


@pytest.mark.parametrize("carries", [*range(1280, 1421, 7), 1279, 1200, 1100, 1024])
def test_every_size_up_to_the_lans_is_found(carries: int) -> None:
    """RFC 8899 5.3.1: the search ends when it knows the size within its step, and never uses more than the path carries."""
    path = heard(Path(carries), 40)
    assert carries - STEP < path.search.mtu <= carries
    assert max((size for _, size in path.sizes[1:]), default=0) <= max(carries, BASE)
    assert path.search.deadline() is not None
    assert len(path.probes) < MAX_PROBES * 8


def test_the_usual_path_takes_two_round_trips() -> None:
    """RFC 8899 5.2: the base is confirmed, then what is most likely is asked for first."""
    path = Path(LAN).run(0.05)
    assert [size for _, size in path.probes] == [BASE, LAN]
    assert path.search.mtu == LAN
    assert path.sizes == [(100.0, BASE), (pytest.approx(100.04), LAN)]


def test_more_than_the_lans_is_asked_for_once_large_packets_are_sent() -> None:
    """An idle pair of a large LAN need not know; whoever sends in bulk knows after two round trips."""
    path = heard(Path(65_535), 60)
    assert ([size for _, size in path.probes], path.search.mtu) == ([BASE, LAN], LAN)
    path.bulk, begun = True, path.now
    path.run(0.1)
    assert path.search.mtu == JUMBO[-1]
    assert [(size, at - begun < 0.05) for at, size in path.probes[2:4]] == [(size, True) for size in JUMBO]


@pytest.mark.parametrize(("carries", "found"), [(8919, LAN), (8920, 8920), (9000, 8920), (65_474, 8920), (65_475, 65_475)])
def test_jumbo_frames_and_the_loopback(carries: int, found: int) -> None:
    """Beyond the LAN's MTU: Ethernet's 9000, and the loopback's 64 KB."""
    assert busy(Path(carries), 10).search.mtu == found


def test_a_lan_with_the_least_mtu_and_a_large_one() -> None:
    assert heard(Path(1280, ceiling=1280), 10).search.mtu == 1280
    assert busy(Path(9000, ceiling=8000), 10).search.mtu == 8920
    assert heard(Path(7000, ceiling=8000), 60).search.mtu in range(7000 - STEP, 7001)
    assert PathMtuSearch(100).ceiling == BASE


@pytest.mark.parametrize("seed", range(20))
def test_the_search_bears_losses(seed: int) -> None:
    """RFC 8899 4.3: an isolated loss is no sign; up to MAX_PROBES of one size may be lost."""
    path = heard(Path(1350, loss=0.1, seed=seed), 60)
    assert path.search.mtu > 1300
    assert path.search.mtu <= 1350


def test_probes_keep_to_the_timer() -> None:
    """RFC 8899 5.1.1: PROBE_TIMER is a second at least; no more than MAX_PROBES of one size."""
    path = heard(Path(1300), 60)
    sent: dict[int, list[float]] = {}
    for at, size in path.probes:
        sent.setdefault(size, []).append(at)
    for size, times in sent.items():
        assert len(times) <= MAX_PROBES
        assert all(later - one >= PROBE_TIMER for one, later in pairwise(times)), size


def test_an_answer_may_take_longer_than_the_timer() -> None:
    """A round trip of 1.7 s: the answer to the first probe comes after the second was sent, and counts."""
    path = heard(Path(LAN, delay=1.7), 20)
    assert path.search.mtu == LAN
    path = heard(Path(LAN, delay=1.2), 20)
    path.bulk = True
    assert path.run(30).search.mtu == LAN, "nor do confirmations get lost by that"


def test_answers_to_nothing_are_ignored() -> None:
    """A peer cannot raise the size by answers that were not asked for, nor by repeating one."""
    path = Path(1300)
    for sequence in (0, 7, 65_535):
        assert path.search.answered(sequence, 100.0) is None
    size, sequence = path.search.tick(100.0, 100.0) or (0, 0)
    assert size == BASE
    following = path.search.answered(sequence, 100.0)
    assert following is not None
    assert path.search.answered(sequence, 100.0) is None
    assert path.search.mtu == BASE


# --- RFC 8899 5.1.1, 4.3: confirmation, black holes


def test_a_path_that_shrinks_is_noticed_in_less_than_four_seconds_and_searched_again() -> None:
    """RFC 8899 4.3, 5.2 (black hole detection): back to the base, then to what the path carries now."""
    path = Path(LAN).run(10)
    path.bulk = True
    path.run(5)
    assert path.search.mtu == LAN
    path.carries, shrunk = 1350, path.now
    path.run(60)
    fell = next(at for at, size in path.sizes if at > shrunk)
    assert fell - shrunk < 4
    assert next(size for at, size in path.sizes if at == fell) == BASE
    assert 1350 - STEP < path.search.mtu <= 1350


def test_a_path_that_shrinks_below_the_base_is_survived() -> None:
    """RFC 8899 5.2 (ERROR): the least size is used, and more as far as it is carried."""
    path = Path(8920).run(10)
    path.bulk = True
    path.run(5)
    assert path.search.mtu == 8920
    path.carries, shrunk = 1240, path.now
    path.run(60)
    assert next(at for at, size in path.sizes if at > shrunk and size <= 1240) - shrunk < 8
    assert 1240 - STEP < path.search.mtu <= 1240
    path.carries, shrunk = 1100, path.now
    path.run(60)
    assert 1100 - STEP < path.search.mtu <= 1100


def test_losses_without_a_hole_do_not_lower_it() -> None:
    """One probe in twenty is lost, for five minutes of bulk: three of them in a row are never seen as a smaller path."""
    path = Path(LAN, loss=0.05, seed=3)
    path.bulk = True
    path.run(5)
    assert path.search.mtu == LAN
    path.run(300)
    assert path.search.mtu == LAN
    assert [size for _, size in path.sizes] == [BASE, LAN]


def test_a_dead_peer_is_no_black_hole() -> None:
    """Losses count only while the peer is heard: a path that ended says nothing of its size."""
    path = Path(LAN).run(5)
    path.bulk = True
    path.run(5)
    path.alive = False
    path.run(30)
    assert path.search.mtu == LAN
    path.alive = True
    path.run(5)
    assert [size for _, size in path.sizes] == [BASE, LAN]


def test_a_path_that_carries_nothing_large_is_not_confirmed_while_idle() -> None:
    """RFC 8899 5.1.1: confirmations accompany traffic; an idle pair sends nothing."""
    path = heard(Path(LAN), 30)
    sent = len(path.probes)
    heard(path, RAISE_TIMER - 60)
    assert len(path.probes) == sent


def test_confirmations_come_every_two_seconds_while_bulk_is_sent() -> None:
    path = busy(Path(LAN), 10)
    before = len(path.probes)
    path.run(20)
    assert len(path.probes) - before == pytest.approx(20 / CONFIRM_INTERVAL, abs=1)
    assert {size for _, size in path.probes[before:]} == {LAN}


# --- RFC 8899 5.1.1: PMTU_RAISE_TIMER


@pytest.mark.parametrize("narrow", [1100, 1300])
def test_larger_sizes_are_tried_again_after_ten_minutes(narrow: int) -> None:
    path = heard(Path(narrow), 60)
    assert path.search.mtu <= narrow
    path.carries = 9000
    heard(path, RAISE_TIMER - 70)
    assert path.search.mtu <= narrow
    heard(path, 90)
    assert path.search.mtu == LAN
    assert busy(path, 1).search.mtu == 8920


def test_a_new_path_begins_at_the_base_and_none_is_searched_without_one() -> None:
    """RFC 8899 5.2: what one path carries says nothing of another."""
    path = heard(Path(9000), 10)
    assert path.search.known
    path.search.start(path.now)
    assert (path.search.mtu, path.search.known) == (BASE, False)
    path.search.stop()
    assert path.search.deadline() is None
    assert path.search.tick(path.now, path.now + 1000) is None
    assert LEAST < BASE
