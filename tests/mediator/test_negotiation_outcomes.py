"""What came of negotiations: pauses after failures, what is learned, and what members that mean harm get out of it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from tests.mediator.street import CONE, INCREMENTAL, MEASURED, Street, cone, incremental, last, tight
from userlan.control.meeting import Outcome
from userlan.mediator.backoff import BASE
from userlan.traversal.plans import Experience, Side, Verdict
from userlan.traversal.step import Plan, Step
from userlan.wire.endpoint import Endpoint

VICTIM = "203.0.113.66"


# --- back-off --------------------------------------------------------------------------------------------------------


def failing(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
    """A port that is not the right one."""
    del start, experience
    plans = [Plan("prediction", (Step(side.host, 7, 20),), give_up=1.0) for side in (b, a)]
    return Verdict((plans[0], plans[1]), technique="prediction")


def test_a_pair_that_failed_is_asked_for_in_vain_for_longer_and_longer() -> None:
    street = Street(failing)
    ann, bob = street.move_in(1, incremental(1)), street.move_in(2, incremental(2))
    street.ready(ann, bob)
    for _ in range(60):
        street.run(60.0)
        street.core.meet(ann.key, bob.key, street.now)
    costly = [told for told, message in ann.told if message.plan.steps]
    gaps = [later - earlier for earlier, later in pairwise(costly)]
    assert gaps == [pytest.approx(60.0 * max(1, 2**n / 2), abs=61.0) for n in range(len(gaps))]
    assert len(costly) == 7
    assert len(ann.told) > 50, "but the candidates, and the relays, are told of each time"


def test_another_address_or_nat_ends_the_pause() -> None:
    street = Street(failing)
    ann, bob = street.move_in(1, incremental(1)), street.move_in(2, incremental(2))
    street.ready(ann, bob)
    street.run(5.0)
    street.core.meet(ann.key, bob.key, street.now)
    street.run(5.0)
    assert [bool(message.plan.steps) for _, message in ann.told] == [True, False]
    street.core.classified(bob.key, CONE, street.now)
    street.run(5.0)
    street.core.located(ann.key, Endpoint("udp", "198.18.2.9", 4000), False, street.now)
    street.run(5.0)
    assert [bool(message.plan.steps) for _, message in ann.told] == [True, False, True, True]
    assert street.core.counters["failed"] == 4


def test_a_pair_that_has_met_is_not_disturbed_by_a_new_word_on_a_nat() -> None:
    street = Street()
    ann, bob = street.move_in(1, cone(1)), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(5.0)
    street.core.classified(ann.key, INCREMENTAL, street.now)
    street.run(5.0)
    assert len(ann.told) == 1
    street.core.located(bob.key, Endpoint("udp", bob.router.host, 5002), False, street.now)
    street.run(0.01)
    assert len(ann.told) == 1, "the same address"
    street.core.located(ann.key, Endpoint("udp", "198.18.2.9", 4000), False, street.now)
    street.run(5.0)
    assert len(ann.told) == 2, "a new address is another matter"


def test_a_word_on_a_nat_that_comes_before_the_outcome_does_not_disturb_the_pair_either() -> None:
    street = Street()
    ann, bob = street.move_in(1, cone(1)), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(0.1)
    street.core.classified(ann.key, INCREMENTAL, street.now)
    street.run(10.0)
    assert bob.key in ann.met
    assert len(ann.told) == 1


def test_who_moved_before_the_outcome_is_introduced_again() -> None:
    """What is reported is of where it was before."""
    street = Street()
    ann, bob = street.move_in(1, cone(1)), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(0.1)
    street.core.located(ann.key, Endpoint("udp", "198.18.2.9", 4000), False, street.now)
    street.run(10.0)
    assert street.core.counters["met"] == 1
    assert [message.candidates[0].host for _, message in bob.told] == [ann.router.host, "198.18.2.9"]


def test_both_sides_asking_at_once_get_one_introduction() -> None:
    street = Street()
    ann, bob = street.move_in(1, cone(1)), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(10.0)
    street.core.meet(ann.key, bob.key, street.now)
    street.run(0.04)
    street.core.meet(bob.key, ann.key, street.now)
    street.run(10.0)
    assert len(ann.told) == 2


def test_asking_while_it_is_under_way_changes_nothing() -> None:
    street = Street(failing)
    ann, bob = street.move_in(1, incremental(1)), street.move_in(2, incremental(2))
    street.ready(ann, bob)
    for _ in range(20):
        street.run(0.06)
        assert street.core.meet(ann.key, bob.key, street.now)
    assert len(ann.told) == 1


# --- learning --------------------------------------------------------------------------------------------------------


def test_what_came_of_it_reaches_the_planner() -> None:
    heard: list[dict[str, float]] = []

    def planner(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        heard.append(dict(experience or {}))
        return failing(a, b, start=start)

    street = Street(planner)
    for number in range(1, 9):
        street.ready(street.move_in(number, incremental(number)))
    street.run(20.0)
    street.ready(street.move_in(99, incremental(99)))
    street.run(5.0)
    assert heard[0] == {}
    assert heard[-1] == {"prediction": -1.0}


def test_a_failed_prediction_lowers_the_trust_in_that_nat_until_it_is_classified_anew() -> None:
    confidences: list[float] = []

    def planner(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        confidences.append(a.nat.confidence)
        verdict = tight(a, b, start=start)
        wrong = tuple(
            msgspec.structs.replace(plan, steps=tuple(msgspec.structs.replace(step, first=9) for step in plan.steps))
            for plan in verdict.plans
        )
        return verdict._replace(plans=(wrong[0], wrong[1]))

    street = Street(planner)
    ann, bob = street.move_in(1, incremental()), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(BASE + 10.0)
    street.core.meet(ann.key, bob.key, street.now)
    street.run(5.0)
    assert confidences[0] == 0.9
    assert confidences[-1] == pytest.approx(0.45)
    street.core.classified(ann.key, INCREMENTAL, street.now)
    street.run(2 * BASE + 10.0)
    street.core.meet(ann.key, bob.key, street.now)
    street.run(5.0)
    assert confidences[-1] == 0.9


def test_sides_that_contradict_each_other_teach_nothing() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental()), street.move_in(2, cone(2))
    bob.reports = False
    street.ready(ann, bob)
    street.run(0.3)
    street.core.outcome(bob.key, Outcome(ann.key, last(bob).token, "none"), street.now)
    street.run(5.0)
    assert street.core.counters["outcomes-contrary"] == 1
    assert street.core.status()["learned"] == 0


# --- hostile ---------------------------------------------------------------------------------------------------------


def test_outcomes_that_nobody_asked_for_are_ignored_and_counted() -> None:
    street = Street()
    ann, bob, eve = street.move_in(1, cone(1)), street.move_in(2, cone(2)), street.move_in(3, cone(3), network=2)
    ann.reports = bob.reports = False
    street.ready(ann, bob, eve)
    street.run(0.2)
    token = last(ann).token
    good = Outcome(bob.key, token, "direct")
    for key, outcome in (
        (ann.key, Outcome(bob.key, bytes(16), "direct")),
        (eve.key, Outcome(bob.key, token, "direct")),
        (ann.key, Outcome(eve.key, token, "direct")),
        (ann.key, Outcome(ann.key, token, "direct")),
    ):
        street.core.outcome(key, outcome, street.now)
    assert street.core.counters["outcomes-unknown"] == 4
    street.core.outcome(ann.key, good, street.now)
    street.core.outcome(ann.key, good, street.now)
    assert street.core.counters["outcomes-out-of-turn"] == 1
    street.core.outcome(bob.key, Outcome(ann.key, token, "direct"), street.now)
    street.core.outcome(bob.key, Outcome(ann.key, token, "direct"), street.now)
    assert street.core.counters["met"] == 1
    assert street.core.counters["outcomes-unknown"] == 5


def test_a_forged_sighting_names_nobody_elses_address() -> None:
    """A member sends its request with the source address of a third party."""
    street = Street()
    mallory, bob = street.move_in(1, incremental()), street.move_in(2, cone(2))
    mallory.answers = False
    street.ready(mallory, bob)
    street.run(0.05)
    for index in range(MEASURED):
        street.see(mallory, mallory.asked[0][1].token, index, Endpoint("udp", VICTIM, 53))
    street.run(5.0)
    assert street.core.counters["observations-elsewhere"] == MEASURED
    named = {candidate.host for _, message in bob.told for candidate in message.candidates}
    aimed = {step.host for _, message in bob.told for step in message.plan.steps}
    assert VICTIM not in named | aimed
    assert len(bob.told) == 1


def test_no_step_goes_anywhere_but_to_the_peers_own_address() -> None:
    def planner(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        return Verdict((Plan("x", (Step(VICTIM, 53), Step(b.host, 1))), Plan("x", (Step(a.host, 1), Step(VICTIM, 53)))))

    street = Street(planner)
    ann, bob = street.move_in(1, cone(1)), street.move_in(2, cone(2))
    street.ready(ann, bob)
    street.run(1.0)
    assert last(ann).plan.steps == (Step(bob.router.host, 1),)
    assert last(bob).plan.steps == (Step(ann.router.host, 1),)


def test_sightings_of_sockets_that_were_not_asked_for_are_ignored() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental()), street.move_in(2, cone(2))
    ann.answers = False
    street.ready(ann, bob)
    street.run(0.05)
    token = ann.asked[0][1].token
    for index in (MEASURED, 60_000):
        street.see(ann, token, index, Endpoint("udp", ann.router.host, 40_000))
    for port in (31_000, 31_500):
        street.see(ann, token, 0, Endpoint("udp", ann.router.host, port))
    street.see(ann, bytes(16), 0, Endpoint("udp", ann.router.host, 41_000))
    street.run(5.0)
    assert last(bob).plan.steps == (Step(ann.router.host, 31_001),), "the first of each socket counts"


def test_everything_ends() -> None:
    """Nothing is kept of what is over, whatever became of it."""
    street = Street(jitter=0.01)
    router = incremental()
    residents = [street.move_in(n, router if n % 3 else cone(n)) for n in range(1, 16)]
    for number, resident in enumerate(residents):
        resident.answers, resident.reports = bool(number % 4), bool(number % 5)
    street.ready(*residents)
    street.run(30.0)
    for resident in residents[::2]:
        street.core.departed(resident.key)
    street.run(300.0)
    status = street.core.status()
    assert (status["waiting"], status["measuring"], status["introduced"]) == (0, 0, 0)
    assert street.core.deadline() is None
