"""One peer's paths, driven by hand: what is asked when, what makes a path one to send by, and what ends it."""

from __future__ import annotations

from math import inf

import pytest

from userlan.node.paths import (
    DOUBTED_FOR,
    FORGET_AFTER,
    HURRY_LEAST,
    MAX_PATHS,
    MEASURE_INTERVAL,
    QUESTIONS,
    PathAsked,
    PathChosen,
    PathEffect,
    PathSet,
    PathsKnown,
    RelaysDoubted,
)
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

DIRECT = Endpoint(UDP, "203.0.113.9", 41414)
OTHER = Endpoint(UDP, "203.0.113.10", 41414)
STREAM = Endpoint(TCP, "203.0.113.9", 41414)
RELAYED = Endpoint(RELAY, "192.0.2.7", 41414, 1)


class Scene:
    """A set of paths; those in ``rtt`` answer so many seconds later, by the way by which they were asked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.paths = PathSet()
        self.rtt: dict[Endpoint, float] = {}
        self.by: dict[Endpoint, Endpoint] = {}
        """By which way the answer comes, where it is another one."""
        self.heard: dict[Endpoint, float] = {}
        self.asked: list[tuple[float, Endpoint]] = []
        self.chosen: list[tuple[float, Endpoint]] = []
        self.known: list[PathsKnown] = []
        self.relays_doubted = 0
        self._answers: list[tuple[float, int, Endpoint]] = []

    def up(self, endpoint: Endpoint, rtt: float) -> Scene:
        """The tunnel was made by this path."""
        self.rtt[endpoint] = rtt
        self.heard[endpoint] = self.now
        self.paths.established(endpoint, self.now)
        self.paths.follow(endpoint, self.now)
        return self

    def add(self, endpoint: Endpoint, rtt: float | None = None) -> Scene:
        if rtt is not None:
            self.rtt[endpoint] = rtt
        self.paths.add(endpoint, self.now)
        return self

    def run(self, seconds: float) -> Scene:
        end = self.now + seconds
        while True:
            self._carry_out(self.paths.tick(lambda endpoint: self.heard.get(endpoint, -inf), self.now))
            due = [at for at, _, _ in self._answers]
            deadline = self.paths.deadline()
            due += [deadline] if deadline is not None else []
            following = max(self.now, min(due, default=inf))
            if following > end:
                self.now = end
                return self
            self.now = following
            for answer in [answer for answer in self._answers if answer[0] <= self.now]:
                self._answers.remove(answer)
                self.heard[answer[2]] = self.now
                self.paths.answered(answer[1], answer[2], self.now)

    def _carry_out(self, effects: list[PathEffect]) -> None:
        for effect in effects:
            if isinstance(effect, PathAsked):
                self.asked.append((self.now, effect.endpoint))
                if effect.endpoint in self.rtt:
                    answer = self.now + self.rtt[effect.endpoint], effect.sequence, self.by.get(effect.endpoint, effect.endpoint)
                    self._answers.append(answer)
            elif isinstance(effect, PathChosen):
                self.chosen.append((self.now, effect.endpoint))
            elif isinstance(effect, RelaysDoubted):
                self.relays_doubted += 1
            else:
                self.known.append(effect)

    def times(self, endpoint: Endpoint) -> list[float]:
        return [at for at, way in self.asked if way == endpoint]


def test_a_path_alone_is_measured_once_and_then_left_alone() -> None:
    scene = Scene().up(DIRECT, 0.04).run(600)
    assert len(scene.times(DIRECT)) == 1
    (path,) = scene.paths.paths()
    assert path.rtt == pytest.approx(0.04)
    assert scene.chosen == []


def test_a_direct_path_is_taken_a_round_trip_after_it_is_known_and_the_relay_kept() -> None:
    scene = Scene().up(RELAYED, 0.12).run(5).add(DIRECT, 0.04)
    began = scene.now
    scene.run(1)
    assert [way for _, way in scene.chosen] == [DIRECT]
    assert scene.chosen[0][0] == pytest.approx(began + 0.04)
    scene.run(600)
    gaps = [later - one for one, later in zip(scene.times(RELAYED), scene.times(RELAYED)[1:], strict=False)]
    assert max(gaps[1:]) <= MEASURE_INTERVAL + 1
    assert min(gaps[1:]) >= MEASURE_INTERVAL - 1
    assert [path.endpoint for path in scene.paths.paths()] == [DIRECT, RELAYED]


def test_a_path_that_does_not_answer_is_never_taken_and_is_forgotten() -> None:
    scene = Scene().up(RELAYED, 0.12).run(5).add(DIRECT).run(60)
    assert scene.chosen == []
    assert QUESTIONS <= len(scene.times(DIRECT)) <= QUESTIONS + DOUBTED_FOR + 3
    assert not scene.paths.has(DIRECT)
    assert scene.known[-1].endpoints == (RELAYED,)


def test_a_silent_path_is_left_after_three_questions_and_the_next_one_is_proved_by_then() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.12).run(20)
    del scene.rtt[DIRECT]
    began = scene.now
    scene.paths.silent(began)
    scene.run(2)
    assert [at - began for at in scene.times(DIRECT) if at >= began][:3] == pytest.approx([0.0, HURRY_LEAST, 2 * HURRY_LEAST])
    assert [way for _, way in scene.chosen] == [RELAYED]
    assert scene.chosen[0][0] == pytest.approx(began + 3 * HURRY_LEAST)
    assert scene.relays_doubted == 1, "the relays hear where we are before they are needed"


@pytest.mark.parametrize("rtt", [0.01, 0.1, 0.3, 0.6])
def test_a_dead_path_is_left_in_time_however_long_its_round_trip(rtt: float) -> None:
    """With the half second before the first question: within six."""
    scene = Scene().up(DIRECT, rtt).add(RELAYED, rtt).run(20)
    del scene.rtt[DIRECT]
    began = scene.now
    scene.paths.silent(began)
    scene.run(5.5)
    assert [way for _, way in scene.chosen] == [RELAYED]
    assert scene.chosen[0][0] - began <= 3.0


def test_one_lost_question_changes_nothing() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.12).run(20)
    rtt = scene.rtt.pop(DIRECT)
    scene.paths.silent(scene.now)
    scene.run(HURRY_LEAST / 2)
    scene.rtt[DIRECT] = rtt
    scene.run(20)
    assert scene.chosen == []


def test_who_is_followed_leaves_at_once() -> None:
    """The peer is heard by a relay while the path in use has left two questions unanswered: it has gone over."""
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.12).run(20)
    del scene.rtt[DIRECT]
    began = scene.now
    scene.paths.silent(began)
    scene.run(1.5 * HURRY_LEAST + 0.01)
    scene.paths.heard_elsewhere(RELAYED, lambda endpoint: scene.heard.get(endpoint, -inf), scene.now)
    scene.run(0.01)
    assert [way for _, way in scene.chosen] == [RELAYED]


def test_a_path_that_lives_again_is_taken_again_and_owes_more_each_time() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.12).run(20)
    needed = []
    for _ in range(3):
        del scene.rtt[DIRECT]
        scene.paths.silent(scene.now)
        scene.run(3)
        assert scene.chosen[-1][1] == RELAYED
        scene.rtt[DIRECT] = 0.04
        began = scene.now
        scene.run(DOUBTED_FOR)
        assert scene.chosen[-1][1] == DIRECT
        needed.append(len([at for at in scene.times(DIRECT) if began <= at <= scene.chosen[-1][0]]))
    assert needed == [1, 2, 3]


def test_an_answer_by_another_way_proves_the_path_and_measures_nothing() -> None:
    """An older node's stack answers by the way that it prefers."""
    scene = Scene().up(RELAYED, 0.12).run(5)
    scene.by[DIRECT] = RELAYED
    scene.add(DIRECT, 0.08)
    scene.run(1.0)
    assert [way for _, way in scene.chosen] == [DIRECT]
    assert next(path.rtt for path in scene.paths.paths() if path.endpoint == DIRECT) is None
    scene.run(100)
    assert len(scene.times(DIRECT)) < 10, "what cannot be measured is not asked again and again"


def test_after_a_change_of_the_own_address_nothing_is_believed_and_all_is_asked() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.12).add(STREAM, 0.05).run(20)
    began = scene.now
    del scene.rtt[STREAM]
    scene.paths.network_changed(began)
    scene.run(1)
    assert {way for at, way in scene.asked if at == began} == {DIRECT, RELAYED, STREAM}
    assert [way for _, way in scene.chosen] == [RELAYED, DIRECT], "by the relay until the direct one has answered"
    assert scene.chosen[-1][0] == pytest.approx(began + 0.04)


def test_a_peer_that_moved_is_sent_to_where_it_is_and_the_old_path_must_prove_itself() -> None:
    scene = Scene().up(DIRECT, 0.04).run(20)
    scene.rtt = {OTHER: 0.05}
    scene.paths.moved(DIRECT, OTHER, scene.now)
    scene.heard[OTHER] = scene.now
    scene.run(60)
    assert scene.paths.current == OTHER
    assert scene.chosen == []
    assert not scene.paths.has(DIRECT)


def test_a_peer_heard_by_a_worse_path_is_sent_to_by_the_better_one_that_still_works() -> None:
    scene = Scene().up(DIRECT, 0.02).run(20)
    scene.rtt[OTHER] = 0.09
    scene.paths.moved(DIRECT, OTHER, scene.now)
    scene.heard[OTHER] = scene.now
    scene.run(5)
    assert scene.paths.current == DIRECT


def test_without_any_path_that_works_the_owner_is_told() -> None:
    scene = Scene().up(DIRECT, 0.04).run(20)
    assert not scene.paths.dead
    del scene.rtt[DIRECT]
    scene.paths.silent(scene.now)
    scene.run(3)
    assert scene.paths.dead
    assert scene.paths.current == DIRECT
    scene.rtt[DIRECT] = 0.04
    scene.run(3)
    assert not scene.paths.dead


def test_the_number_of_paths_is_capped_and_those_that_work_stay() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.1).run(1)
    for number in range(100):
        scene.add(Endpoint(UDP, "198.51.100.1", 1000 + number))
        scene.run(0.0)
    assert len(scene.paths.paths()) == MAX_PATHS
    assert scene.paths.has(DIRECT)
    assert scene.paths.has(RELAYED)


def test_a_path_that_nobody_uses_is_forgotten() -> None:
    scene = Scene().up(DIRECT, 0.04).add(OTHER, 0.05).run(20)
    assert scene.paths.has(OTHER)
    del scene.rtt[OTHER]
    scene.run(FORGET_AFTER)
    assert not scene.paths.has(OTHER)


def test_what_is_left_of_a_peer_that_is_gone_are_its_relays() -> None:
    scene = Scene().up(DIRECT, 0.04).add(RELAYED, 0.1).add(STREAM, 0.1).run(20)
    scene.paths.reset()
    assert [path.endpoint for path in scene.paths.paths()] == [RELAYED]
    assert scene.paths.deadline() is None
    assert scene.paths.relay() == RELAYED
    scene.up(RELAYED, 0.1).add(DIRECT, 0.04).run(1)
    assert scene.paths.current == DIRECT


def test_equal_paths_whose_round_trips_wander_do_not_flap() -> None:
    scene = Scene().up(DIRECT, 0.040).add(OTHER, 0.041).run(5)
    for step in range(200):
        scene.rtt[DIRECT] = 0.040 + 0.004 * (step % 3)
        scene.rtt[OTHER] = 0.044 - 0.004 * (step % 5 > 1)
        scene.run(7)
    assert scene.chosen == []
