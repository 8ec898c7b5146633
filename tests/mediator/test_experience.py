"""What the mediator learns: techniques by kinds of NAT, how busy an address is, and how long to leave a pair alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.mediator.background import MAX_RATE, MAX_SITES, Background
from userlan.mediator.backoff import BASE, BY_ROUNDS, LONGEST, MAX_PAIRS, Backoff
from userlan.mediator.experience import EXPLORE, HALF_LIFE, MAX_ENTRIES, REPORTS, Experience, kinds
from userlan.traversal.ends import ROUNDS
from userlan.traversal.nat import NatBehaviour, Policy

CONE = NatBehaviour(udp=Policy(mapping="endpoint-independent", filtering="address-and-port-dependent"))
RANDOM = NatBehaviour(udp=Policy(mapping="address-and-port-dependent", allocation="random"))
PAIR = kinds(CONE, RANDOM, False)


def sites(number: int) -> tuple[bytes, bytes]:
    return (bytes((198, 51, 100, number)), bytes((203, 0, 113, number)))


# --- techniques ------------------------------------------------------------------------------------------------------


def test_a_pair_of_kinds_has_no_order_and_numbers_that_vary_do_not_count() -> None:
    busier = NatBehaviour(udp=Policy(mapping="address-and-port-dependent", allocation="random", low=1, high=9, rate=3.0))
    assert kinds(RANDOM, CONE, False) == kinds(CONE, busier, False)
    assert kinds(RANDOM, CONE, True) != PAIR
    one, two = (
        NatBehaviour(udp=Policy(mapping="address-and-port-dependent", allocation="incremental", step=step)) for step in (1, 2)
    )
    assert kinds(one, CONE, False) != kinds(two, CONE, False)
    blocked = NatBehaviour(udp=Policy(passes=False, mapping="endpoint-independent"))
    assert kinds(blocked, CONE, False) == kinds(NatBehaviour(udp=Policy(passes=False)), CONE, False)


def test_what_works_is_liked_and_what_never_works_is_hopeless() -> None:
    experience = Experience()
    for number in range(20):
        assert experience.record(PAIR, "birthday", True, sites(number), 0.0)
        assert experience.record(PAIR, "prediction", False, sites(number), 0.0)
    scores = experience.of(PAIR, 0.0)
    assert scores["birthday"] > 0.8
    assert scores["prediction"] == -1.0
    assert experience.of(kinds(CONE, CONE, False), 0.0) == {}


def test_a_hopeless_technique_is_tried_now_and_then() -> None:
    experience = Experience()
    for number in range(20):
        experience.record(PAIR, "prediction", False, sites(number), 0.0)
    scores = [experience.of(PAIR, 0.0)["prediction"] for _ in range(4 * EXPLORE)]
    assert scores.count(0.0) == 4
    experience.record(PAIR, "prediction", True, sites(99), 0.0)
    assert -1.0 < experience.of(PAIR, 0.0)["prediction"] < 0.0


def test_what_was_learned_wears_off() -> None:
    experience = Experience()
    for number in range(20):
        experience.record(PAIR, "prediction", False, sites(number), 0.0)
    later = experience.of(PAIR, 4 * HALF_LIFE)["prediction"]
    assert -0.2 > later > -0.5
    for number in range(20):
        experience.record(PAIR, "prediction", True, sites(number), 4 * HALF_LIFE)
    assert experience.of(PAIR, 4 * HALF_LIFE)["prediction"] > 0.7


def test_one_liar_poisons_nothing() -> None:
    """It makes all its punches fail, with peers of many addresses and with keys without number."""
    experience = Experience()
    liar = bytes((192, 0, 2, 66))
    counted = [experience.record(PAIR, "birthday", False, (liar, sites(n)[1]), float(n)) for n in range(200)]
    assert sum(counted) == REPORTS
    assert experience.of(PAIR, 200.0)["birthday"] > -0.7
    assert experience.counters["experience-not-counted"] == 200 - REPORTS
    for number in range(20):
        experience.record(PAIR, "birthday", True, sites(number), 200.0)
    assert experience.of(PAIR, 200.0)["birthday"] > 0.5


def test_made_up_kinds_do_not_fill_the_memory() -> None:
    experience = Experience()
    made_up = NatBehaviour(udp=Policy(mapping="address-and-port-dependent", allocation="incremental"))
    for step in range(MAX_ENTRIES + 500):
        other = NatBehaviour(tcp=Policy(allocation="incremental", step=step % 4096), nested=step >= 4096)
        experience.record(kinds(made_up, other, False), "birthday", True, sites(step % 250), 0.0)
    assert len(experience) == MAX_ENTRIES
    assert experience.of(kinds(made_up, NatBehaviour(tcp=Policy(allocation="incremental"), nested=False), False), 0.0) == {}


# --- background ------------------------------------------------------------------------------------------------------

SITE = bytes((198, 51, 100, 1))


def test_mappings_of_others_within_a_measurement_are_their_rate() -> None:
    background = Background()
    assert background.rate(SITE) == 0.0
    background.measured(SITE, [(30_000, 10.0), (30_002, 10.05), (30_012, 10.1)], 1)
    assert background.rate(SITE) == pytest.approx(100.0)


@pytest.mark.parametrize("step", [1, 2, -3, 17])
def test_mappings_between_two_measurements_are_less_the_own_ones(step: int) -> None:
    background = Background()
    background.measured(SITE, [(40_000, 10.0)], step)
    background.opened(SITE, 15)
    background.measured(SITE, [(40_000 + step * (16 + 40), 12.0)], step)
    assert background.rate(SITE) == pytest.approx(20.0)


def test_a_quiet_address_is_believed_to_be_quiet_by_and_by() -> None:
    background = Background()
    background.measured(SITE, [(30_000, 0.0), (30_011, 0.1)], 1)
    assert background.rate(SITE) == pytest.approx(100.0)
    for second in range(1, 20):
        background.measured(SITE, [(30_011 + second, float(second))], 1)
    assert background.rate(SITE) < 1.0


@given(st.lists(st.tuples(st.integers(1, 65535), st.floats(0, 1e6)), max_size=20), st.integers(-4096, 4096))
@settings(max_examples=200)
def test_no_sightings_lead_to_an_absurd_rate(seen: list[tuple[int, float]], step: int) -> None:
    background = Background()
    for port, at in seen:
        background.measured(SITE, [(port, at), (port, at + 0.1)], step)
        assert 0.0 <= background.rate(SITE) <= MAX_RATE


def test_addresses_are_forgotten_beyond_a_number() -> None:
    background = Background()
    for number in range(MAX_SITES + 10):
        background.measured(number.to_bytes(4, "big"), [(30_000, 0.0)], 1)
    assert len(background) == MAX_SITES


# --- back-off --------------------------------------------------------------------------------------------------------


def test_pauses_double_and_end_when_something_changed() -> None:
    backoff = Backoff()
    pair = (b"a", b"b")
    assert not backoff.waits(pair, 1, 0.0)
    pauses = [backoff.failed(pair, 1, 0.0) / BASE for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert backoff.waits(pair, 1, LONGEST * BASE - 0.1)
    assert not backoff.waits(pair, 1, LONGEST * BASE)
    assert not backoff.waits(pair, 2, 0.0), "another address or NAT"
    assert backoff.failed(pair, 2, 0.0) == BASE
    backoff.met(pair)
    assert not backoff.waits(pair, 2, 0.0)


def test_rows_are_tried_in_three_rounds_before_the_pause() -> None:
    backoff = Backoff()
    pair = (b"a", b"b")
    waits = []
    for _ in range(2 * ROUNDS):
        rounds = backoff.rounds(pair, 1)
        waits.append((rounds, backoff.failed(pair, 1, 0.0, BY_ROUNDS) / BASE))
    assert waits[:ROUNDS] == [(0, 0), (1, 0), (2, 1)]
    assert waits[ROUNDS:] == [(0, 1), (1, 1), (2, 2)], "who is asked for it meanwhile does not shorten the pause"
    assert backoff.rounds(pair, 2) == 0, "another address or NAT"
    assert backoff.failed(pair, 2, 0.0, "prediction") == BASE, "one failure of anything else is enough"


def test_what_failed_by_ipv6_makes_no_pause_for_ipv4() -> None:
    backoff = Backoff()
    pair = (b"a", b"b")
    assert backoff.failed(pair, 1, 0.0, "ipv6") == 0.0
    assert not backoff.waits(pair, 1, 0.0)
    assert backoff.technique(pair, 1) == "ipv6"
    assert backoff.technique(pair, 2) == "", "another address: IPv6 may do now"
    assert backoff.failed(pair, 1, 0.0, "birthday") == BASE
    assert backoff.technique(pair, 1) == "birthday"
    assert backoff.failed(pair, 1, 1.0, "ipv6") == BASE - 1.0, "the other one's pause goes on"
    assert backoff.failed(pair, 1, BASE, "birthday") == 2 * BASE


def test_the_pairs_that_failed_are_bounded() -> None:
    backoff = Backoff()
    for number in range(MAX_PAIRS + 100):
        backoff.failed((b"a", number.to_bytes(4, "big")), 1, 0.0)
    assert len(backoff) == MAX_PAIRS
