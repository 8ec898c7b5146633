"""Negotiations: measured, planned with what was seen, started together, one at a time behind an incremental NAT."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from tests.mediator.street import INCREMENTAL, MEASURED, Router, Street, cone, incremental, last, tight
from userlan.control.meeting import OfferList, Outcome, RelayInfo, RelayOffer
from userlan.mediator.matchmaker import SLACK
from userlan.mediator.negotiations import MEASURE_GRACE, MEASURE_LONGEST, SILENT_HOLD
from userlan.mediator.site_locks import MAX_HOLD
from userlan.traversal.plans import Experience, Side, Verdict
from userlan.traversal.step import Plan, Step
from userlan.wire.endpoint import Endpoint

# --- one pair --------------------------------------------------------------------------------------------------------


def test_a_side_whose_port_must_be_predicted_is_measured_right_before() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental(), 0.03), street.move_in(2, cone(2), 0.08)
    street.ready(ann, bob)
    street.run(2.0)
    ((asked, measure),) = ann.asked
    assert bob.asked == []
    assert asked == pytest.approx(100.03)
    assert measure.sockets == MEASURED
    ((told, to_ann),), ((_, to_bob),) = ann.told, bob.told
    assert to_ann.token == to_bob.token == measure.token
    assert told == pytest.approx(asked + 0.06), "as soon as the sockets were seen, and not by a time-out"
    assert to_bob.plan.steps == (Step(ann.router.host, 30_000 + 1 + MEASURED + 1),)
    assert to_ann.first != to_bob.first
    assert bob.key in ann.met
    assert ann.key in bob.met
    assert street.core.counters["met"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_both_first_packets_leave_together_over_jittered_links(seed: int) -> None:
    """Skew below the one-way delay, as NATs that punish early packets want it; it is what the links jitter, no more."""
    jitter = 0.012
    street = Street(jitter=jitter, seed=seed)
    ann, bob = street.move_in(1, incremental(), 0.01), street.move_in(2, cone(2), 0.12)
    street.ready(ann, bob)
    street.run(3.0)
    ((one, _),), ((two, _),) = ann.first_packet.values(), bob.first_packet.values()
    assert abs(one - two) <= jitter
    assert abs(one - two) < ann.one_way + bob.one_way


def test_the_time_since_the_measurement_goes_into_the_plan() -> None:
    starts: list[tuple[float, float]] = []

    def planner(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        if a.measured:
            starts.append((start, a.measured[-1].at))
        return tight(a, b, start=start, experience=experience)

    street = Street(planner)
    ann, bob = street.move_in(1, incremental(), 0.03), street.move_in(2, cone(2), 0.08)
    street.ready(ann, bob)
    street.run(2.0)
    ((start, seen),) = starts
    assert start == pytest.approx(ann.first_packet[last(ann).token][0])
    assert start - seen == pytest.approx(0.08 + SLACK)


def test_a_measurement_that_does_not_come_is_not_waited_for() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental(), 0.03), street.move_in(2, cone(2), 0.04)
    ann.answers = False
    street.ready(ann, bob)
    street.run(5.0)
    ((told, message),) = bob.told
    assert told - 100.0 == pytest.approx(0.04 + 2 * 0.08 + MEASURE_GRACE)
    assert message.plan.steps == ()
    assert street.core.counters["measurements-missed"] == 1


def test_a_slow_link_does_not_stretch_the_measurement_without_end() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental(), 30.0), street.move_in(2, cone(2), 0.04)
    ann.answers = False
    street.ready(ann, bob)
    street.run(5.0)
    assert bob.told[0][0] - 100.0 <= MEASURE_LONGEST + 0.04 + 0.001


def test_a_part_of_the_sockets_seen_is_better_than_nothing() -> None:
    street = Street()
    ann, bob = street.move_in(1, incremental()), street.move_in(2, cone(2))
    ann.answers = False
    street.ready(ann, bob)
    street.run(0.045)
    street.see(ann, ann.asked[0][1].token, 1, Endpoint("udp", ann.router.host, 31_000))
    street.run(2.0)
    assert last(bob).plan.steps == (Step(ann.router.host, 31_001),)


def test_members_behind_one_address_are_not_measured() -> None:
    street = Street()
    router = incremental()
    ann, bob = street.move_in(1, router), street.move_in(2, router)
    street.ready(ann, bob)
    street.run(2.0)
    assert ann.asked == bob.asked == []
    assert [len(resident.told) for resident in (ann, bob)] == [1, 1]


def test_a_member_that_leaves_while_it_is_measured_is_not_introduced() -> None:
    street = Street()
    router = incremental()
    ann, bob, carol = street.move_in(1, router), street.move_in(2, cone(2)), street.move_in(3, router)
    ann.answers = False
    street.ready(ann, bob)
    street.run(0.1)
    street.core.departed(ann.key)
    street.run(0.1)
    street.ready(carol)
    street.run(5.0)
    assert {message.peer for _, message in bob.told} == {carol.key}
    assert carol.key in bob.met


# --- serialised ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 20])
def test_members_behind_one_incremental_nat_are_taken_one_after_the_other(number: int) -> None:
    """They come at one moment, and each meets at the one port that was predicted: nobody opened a mapping in between."""
    street = Street(jitter=0.004)
    router = incremental()
    inside = [street.move_in(1 + n, router, 0.02 + n / 1000) for n in range(number)]
    outside = street.move_in(90, cone(90), 0.05)
    street.ready(outside, *inside)
    street.run(20.0)
    assert len(outside.met) == number
    assert outside.failed == []
    assert all(outside.key in resident.met for resident in inside)
    spans = sorted((resident.asked[0][0], resident.met[outside.key]) for resident in inside)
    assert all(one[1] < two[0] for one, two in pairwise(spans))
    together = [message for _, message in inside[0].told if message.peer != outside.key]
    assert len(together) == number - 1
    assert max(end for _, end in spans) - 100.0 < number * 0.6


def test_unrelated_pairs_go_in_parallel() -> None:
    """As many as they are, each is as quick as if it were alone, while others wait in line behind one NAT."""
    street = Street()
    router = incremental(1)
    line = [street.move_in(1 + n, router) for n in range(5)]
    pairs = [
        (street.move_in(20 + n, incremental(20 + n), network=n), street.move_in(40 + n, cone(40 + n), network=n))
        for n in range(2, 12)
    ]
    plain = street.move_in(60, cone(60), network=99), street.move_in(61, cone(61), network=99)
    end_of_line = street.move_in(70, cone(70))
    street.ready(*line, end_of_line, *(resident for pair in pairs for resident in pair), *plain)
    street.run(10.0)
    assert plain[0].told[0][0] == pytest.approx(100.04), "no measurement, no lock"
    assert [one.met[other.key] - 100.0 for one, other in pairs] == [pytest.approx(pairs[0][0].met[pairs[0][1].key] - 100.0)] * 10
    assert pairs[0][0].met[pairs[0][1].key] - 100.0 < 0.4
    assert len(end_of_line.met) == 5


def test_two_incremental_sides_are_both_measured_and_both_locked() -> None:
    street = Street()
    one, two = incremental(1), incremental(2)
    ann, bob = street.move_in(1, one), street.move_in(2, two)
    neighbours = street.move_in(3, one, network=2), street.move_in(4, two, network=2)
    street.ready(ann, bob, *neighbours)
    street.run(5.0)
    assert len(ann.asked) == len(bob.asked) == 1
    assert bob.key in ann.met
    assert neighbours[1].key in neighbours[0].met
    assert neighbours[0].asked[0][0] > ann.met[bob.key], "crossed pairs behind the same two NATs"


def test_a_member_that_never_reports_does_not_hold_its_neighbours_for_long() -> None:
    street = Street()
    router = incremental()
    mallory, bob = street.move_in(1, router), street.move_in(9, cone(9))
    mallory.answers = mallory.reports = False
    bob.reports = False
    street.ready(mallory, bob)
    street.run(10.0)
    for _ in range(2):
        street.core.meet(mallory.key, bob.key, street.now)
        street.run(40.0)
    mallory.answers = True
    street.core.located(mallory.key, Endpoint("udp", router.host, 999), False, street.now)
    street.run(0.001)
    began, ann = street.now, street.move_in(2, router)
    street.ready(ann)
    street.run(10.0)
    assert mallory.asked[-1][0] >= began, "it had the lock"
    assert ann.met[bob.key] - began < SILENT_HOLD + 1.0 < MAX_HOLD
    assert bob.failed[-1] < ann.met[bob.key] or not bob.failed


def test_a_plan_that_would_disturb_a_neighbours_prediction_waits_too() -> None:
    def searching(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        if {a.port, b.port} & {30_002}:
            plans = [Plan("search", (Step(side.host, 1024, 500),), give_up=1.0) for side in (b, a)]
            return Verdict((plans[0], plans[1]), technique="search")
        return tight(a, b, start=start, experience=experience)

    street = Street(searching)
    router = incremental()
    ann, bob = street.move_in(1, router), street.move_in(2, router)
    carol = street.move_in(9, cone(9))
    street.ready(ann, carol)
    street.run(0.0)
    street.ready(bob)
    street.run(5.0)
    assert ann.met[carol.key] < bob.first_packet[last(bob).token][0]
    assert carol.key in ann.met


def test_a_member_makes_one_search_at_a_time() -> None:
    """Its own caps on sockets and packets would refuse the second one; pairs of others go on meanwhile."""

    def searching(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        plans = [Plan("birthday", (Step(side.host, 1024, 500),), give_up=1.0) for side in (b, a)]
        return Verdict((plans[0], plans[1]), technique="birthday")

    street = Street(searching)
    ann, *others = (street.move_in(number, cone(number)) for number in range(1, 5))
    apart = street.move_in(20, cone(20), network=2), street.move_in(21, cone(21), network=2)
    street.ready(ann, *others, *apart)
    street.run(20.0)
    begun = sorted(time for time, message in ann.told if message.plan.technique == "birthday")
    assert len(begun) == 3
    assert all(after - before > 0.05 for before, after in pairwise(begun)), "the next one begins when the one before has ended"
    assert apart[0].told[0][0] == pytest.approx(100.04)


def test_measuring_a_nat_that_does_not_count_takes_no_lock() -> None:
    """A carrier's NAT whose block is looked for: neighbours do not move its ports."""
    random = msgspec.structs.replace(
        INCREMENTAL, udp=msgspec.structs.replace(INCREMENTAL.udp, allocation="random", step=0)
    )

    def planner(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
        wanted = [2 * (side.nat.udp.allocation == "random" and not side.measured) for side in (a, b)]
        return Verdict((Plan("chunked"), Plan("chunked")), (wanted[0], wanted[1]), technique="chunked")

    street = Street(planner)
    router = Router("198.18.2.1", random)
    inside = [street.move_in(1 + n, router) for n in range(5)]
    outside = street.move_in(90, cone(90))
    street.ready(outside, *inside)
    street.run(0.2)
    assert [len(resident.asked) for resident in inside] == [1] * 5
    assert street.core.counters["locks-waited-for"] == 0


# --- relays ----------------------------------------------------------------------------------------------------------


def offers(a: bytes, b: bytes, now: float) -> tuple[OfferList, OfferList]:
    relay = RelayInfo(bytes(32), "relay", ())
    return (RelayOffer(relay, b"grant", bytes(8), a),), (RelayOffer(relay, b"grant", bytes(8), b),)


def test_who_has_to_wait_is_given_its_relays_first() -> None:
    street = Street(offers=offers)
    router = incremental()
    ann, bob, carol = street.move_in(1, router), street.move_in(2, router), street.move_in(9, cone(9))
    street.ready(carol, ann, bob)
    street.run(5.0)
    for resident in (ann, bob):
        (first, relayed), (_, introduced) = (told for told in resident.told if told[1].peer == carol.key)
        assert first == pytest.approx(100.04), "the tunnel is there at once"
        assert (relayed.plan.technique, relayed.candidates, relayed.plan.give_up) == ("relay", (), 0.0)
        assert relayed.token != introduced.token
        assert relayed.relays[0].secret == introduced.relays[0].secret == resident.key
        assert carol.key in resident.met
        street.core.outcome(resident.key, Outcome(carol.key, relayed.token, "none"), street.now)
    assert street.core.counters["outcomes-unknown"] == 0
    together = [message for _, message in ann.told if message.peer == bob.key]
    assert all(message.relays for message in together)
