"""Plans: the matrix cell by cell, and what no plan ever does, whatever it is told of the two NATs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.node.punching import FEW_CONNECTIONS, connections
from userlan.traversal.ends import achievable, kind, meets, reduce, technique_for
from userlan.traversal.nat import NatBehaviour, Policy
from userlan.traversal.plans import PATIENT_HOLD, Side, Sighting, make_plans
from userlan.traversal.punch import MAX_PROBES, cost
from userlan.traversal.sides import Transport
from userlan.traversal.step import MAX_SOCKETS, Plan
from userlan.traversal.techniques import CALM_TCP_SOCKETS, MEASURING_PAUSE, ROW_TCP_SOCKETS

LEVELS = ("endpoint-independent", "address-dependent", "address-and-port-dependent")
HOSTS = ("203.0.113.1", "198.51.100.7")
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")
HANDFUL = 500
"""Packets that a hopeless pair may cost, both sides."""


def nat(mapping: str, filtering: str, allocation: str = "preserving", **more: object) -> NatBehaviour:
    """Both transports treated alike."""
    policy = msgspec.convert({"mapping": mapping, "filtering": filtering, "allocation": allocation, **more}, Policy)
    return NatBehaviour(policy, policy, translated=True, early="harmless")


EIM, ADM, APDM = LEVELS
OPEN = NatBehaviour(nat(EIM, EIM).udp, nat(EIM, EIM).tcp, translated=False)
EIF, ADF, PDF = (nat(EIM, level) for level in LEVELS)
SI = nat(APDM, APDM, "incremental", step=1)
SR = nat(APDM, APDM, "random")
CHUNK = nat(APDM, APDM, "chunked", low=2048, high=2559)
AMI = nat(ADM, APDM, "incremental", step=1)
AMR = nat(ADM, APDM, "random")
AMR_ADF = nat(ADM, ADM, "random")
SR_ADF = nat(APDM, ADM, "random")
NO_UDP = NatBehaviour(Policy(passes=False), PDF.tcp, translated=True)

MATRIX = [
    (OPEN, SR, "reversal"), (OPEN, PDF, "reversal"), (EIF, EIF, "simultaneous"), (EIF, PDF, "simultaneous"), (PDF, PDF, "simultaneous"),
    (EIF, SR, "one-first"), (ADF, SI, "one-first"), (ADF, SR, "one-first"), (PDF, SI, "prediction"), (PDF, AMI, "prediction"),
    (PDF, SR, "birthday"), (PDF, AMR, "birthday"), (PDF, CHUNK, "chunked"), (SI, SI, "both-incremental"), (AMI, SI, "both-incremental"),
    (AMI, AMI, "both-incremental"), (AMR_ADF, SR, "birthday"), (AMR_ADF, SI, "birthday"), (SR_ADF, SR_ADF, "birthday"),
    (AMI, SR, "aimed-birthday"), (AMI, CHUNK, "aimed-birthday"), (SI, SR, "relay"), (SR, SR, "relay"), (SR_ADF, SR, "relay"),
    (AMR, SR, "relay"), (CHUNK, CHUNK, "relay"), (NO_UDP, PDF, "tcp-simultaneous"), (NO_UDP, SI, "prediction"), (NO_UDP, SR, "relay"),
    (NO_UDP, OPEN, "reversal"), (SR_ADF, nat(APDM, EIM, "random"), "one-first"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "technique"), MATRIX)
def test_each_cell_has_its_technique_in_both_orders(a: NatBehaviour, b: NatBehaviour, technique: str) -> None:
    for one, other in ((a, b), (b, a)):
        verdict = make_plans(Side(one, HOSTS[0], 5000), Side(other, HOSTS[1], 6000))
        assert verdict.technique == technique
        assert verdict.possible is (technique != "relay")


def test_the_birthday_is_what_the_formula_says() -> None:
    assert meets(256, 174, 64511) == pytest.approx(0.50, abs=0.01)
    assert meets(256, 1024, 64511) == pytest.approx(0.984, abs=0.002)
    assert meets(256, 2048, 64511) == pytest.approx(0.9997, abs=0.0002)
    assert meets(8, 512, 512) == 1.0


def test_what_is_achievable_is_symmetrical_and_none_for_the_hopeless() -> None:
    for a, b, technique in MATRIX:
        for transport in TRANSPORTS:
            rate = achievable(a, b, transport)
            assert rate == pytest.approx(achievable(b, a, transport))
            assert 0.0 <= rate <= 1.0
        assert (achievable(a, b) == 0.0) is (technique == "relay" or NO_UDP in (a, b))
    assert achievable(AMR_ADF, SR) > 0.999
    assert achievable(PDF, SR, "tcp") == 0.0


def test_without_udp_who_has_an_address_of_his_own_is_dialled_whether_a_firewall_guards_him_or_not() -> None:
    """Over TCP nobody can tell that but who tries; what fails is not tried again."""
    own = NatBehaviour(Policy(passes=False), nat(EIM, EIM).tcp, translated=False)
    unsure = msgspec.structs.replace(own, tcp=msgspec.structs.replace(own.tcp, filtering="unknown"))
    guarded = msgspec.structs.replace(own, tcp=msgspec.structs.replace(own.tcp, filtering=APDM))
    other = Side(SR, HOSTS[1])
    for sides in ((Side(unsure, HOSTS[0]), other), (other, Side(unsure, HOSTS[0]))):
        verdict = make_plans(*sides)
        assert (verdict.technique, verdict.transport, verdict.possible) == ("reversal", "tcp", True)
        assert [plan.streams for plan in verdict.plans] == [0.0, 0.0]
        assert make_plans(*sides, experience={"reversal": -0.9}).technique == "relay"
    assert make_plans(Side(guarded, HOSTS[0]), other).technique == "relay"
    assert achievable(own, SR, "tcp") == achievable(SR, own, "tcp") == 1.0
    assert achievable(guarded, SR, "tcp") == 0.0


def test_over_tcp_a_known_port_may_be_that_of_one_host_alone_and_each_likely_one_gets_a_row() -> None:
    sought = tuple(Sighting(number, HOSTS[1], 6000 + number, 10.0) for number in range(16))
    sides = Side(NO_UDP, HOSTS[0], 0, (Sighting(0, HOSTS[0], 5000, 10.0),)), Side(SI, HOSTS[1], 0, sought)
    verdict = make_plans(*sides, start=10.2)
    assert verdict.technique == "tcp-prediction"
    swept, rows_ = verdict.plans
    assert [step.first for step in rows_.steps] == [5000, 5001, 5002, 5003]
    assert {step.sockets for step in rows_.steps} == {CALM_TCP_SOCKETS}
    aimed = {step.first + number * step.stride for step in swept.steps for number in range(step.count)}
    for first in range(6016, 6020):         # wherever the first of the rows begins, each of them is hit
        for row in range(4):
            begin = first + row * CALM_TCP_SOCKETS
            assert aimed & set(range(begin, begin + CALM_TCP_SOCKETS))


def test_two_incremental_ones_over_tcp_are_measured_with_a_pause_and_open_rows() -> None:
    blocked = NatBehaviour(Policy(passes=False), SI.tcp, translated=True)
    sides = Side(blocked, HOSTS[0]), Side(blocked, HOSTS[1])
    first = make_plans(*sides)
    assert (first.measure, first.pause) == ((ROW_TCP_SOCKETS, ROW_TCP_SOCKETS), MEASURING_PAUSE)
    half = ROW_TCP_SOCKETS // 2
    seen = [
        tuple(Sighting(number, host, 6000 + number + 25 * (number >= half), 10.0 + 0.25 * (number >= half)) for number in range(2 * half))
        for host in HOSTS
    ]
    plans = make_plans(*(side._replace(measured=one) for side, one in zip(sides, seen, strict=True)), start=10.4).plans
    for plan, peer in zip(plans, HOSTS[::-1], strict=True):
        assert len(plan.steps) >= 2
        assert {(step.host, step.count, step.transport, step.fresh) for step in plan.steps} == {(peer, 1, "tcp", True)}
        assert all(6056 < step.first < 6056 + 100 for step in plan.steps), "others took 100 a second, and go on"


def test_kinds_are_short_words() -> None:
    assert [kind(one) for one in (PDF, SI, AMR_ADF, NO_UDP)] == ["known/2", "each-step/2", "one-random/1", "blocked"]


def test_a_nat_that_moves_its_port_gets_no_packet_before_its_own_side_has_sent() -> None:
    moves = NatBehaviour(PDF.udp, PDF.tcp, translated=True, early="moves")
    gentle, other = make_plans(Side(PDF, HOSTS[0], 5000), Side(moves, HOSTS[1], 6000)).plans
    assert gentle.hold > 0
    assert [(step.host, step.first, step.ttl, step.start) for step in gentle.steps] == [(HOSTS[1], 6000, 2, 0.0)]
    assert (other.hold, other.steps) == (0.0, ())
    searching, opened = make_plans(Side(moves, HOSTS[0], 5000), Side(SR, HOSTS[1], 6000)).plans
    assert all(step.ttl for step in opened.steps)
    assert not any(step.ttl for step in searching.steps)


def test_of_two_nats_that_move_their_ports_one_side_comes_first_and_the_other_waits_to_be_found() -> None:
    moves = NatBehaviour(PDF.udp, PDF.tcp, translated=True, early="moves")
    first, second = make_plans(Side(moves, HOSTS[0], 5000, jitter=0.05), Side(moves, HOSTS[1], 6000, jitter=0.05)).plans
    assert all(step.ttl for plan in (first, second) for step in plan.steps)
    assert 0.2 <= first.hold < second.hold - 0.3
    alone, _ = make_plans(Side(PDF, HOSTS[0], 5000), Side(moves, HOSTS[1], 6000)).plans
    assert alone.hold == second.hold


@pytest.mark.parametrize("other", [OPEN, PDF, SI, SR, CHUNK, AMI, AMR])
def test_whoever_faces_a_nat_that_moves_its_port_keeps_its_candidates_back(other: NatBehaviour) -> None:
    """One early packet would spoil the mapping for all peers."""
    moves = NatBehaviour(PDF.udp, PDF.tcp, translated=True, early="moves")
    plans = make_plans(Side(other, HOSTS[0], 5000), Side(moves, HOSTS[1], 6000)).plans
    assert [plan.hold >= PATIENT_HOLD for plan in plans] == [True, False]
    turned = make_plans(Side(moves, HOSTS[1], 6000), Side(other, HOSTS[0], 5000)).plans
    assert [plan.hold >= PATIENT_HOLD for plan in turned] == [False, True]


def test_a_nat_that_moves_its_port_is_never_hurried_by_who_is_predicted() -> None:
    moves = NatBehaviour(PDF.udp, PDF.tcp, translated=True, early="moves")
    seen = tuple(Sighting(number, HOSTS[1], 4000 + number, 10.0) for number in range(8))
    verdict = make_plans(Side(moves, HOSTS[0], 5000), Side(SI, HOSTS[1], 6000, seen), start=10.1)
    assert verdict.technique == "prediction"
    assert verdict.plans[1].steps
    assert all(step.ttl for step in verdict.plans[1].steps)


def test_what_failed_before_is_not_tried_again() -> None:
    sides = Side(PDF, HOSTS[0], 5000), Side(SI, HOSTS[1], 6000)
    assert make_plans(*sides, experience={"prediction": -0.9}).technique == "birthday"
    both = {"prediction": -0.9, "birthday": -0.9}
    assert make_plans(*sides, experience=both).possible is False


def test_a_measurement_without_order_makes_a_birthday_of_a_prediction() -> None:
    ports = (4001, 33000, 1200, 60000, 20000, 7000, 50000, 9000)
    seen = tuple(Sighting(number, HOSTS[1], port, 10.0) for number, port in enumerate(ports))
    odd = nat(APDM, APDM, "incremental", step=0)
    verdict = make_plans(Side(PDF, HOSTS[0], 5000), Side(odd, HOSTS[1], 6000, seen[:1]), start=10.1)
    assert verdict.technique == "birthday"


POLICIES = st.builds(
    Policy,
    passes=st.booleans(),
    mapping=st.sampled_from(("unknown", *LEVELS)),
    filtering=st.sampled_from(("unknown", *LEVELS)),
    allocation=st.sampled_from(("unknown", "preserving", "incremental", "chunked", "random")),
    step=st.integers(-4096, 4096),
    low=st.integers(0, 65535),
    high=st.integers(0, 65535),
    rate=st.floats(0, 100_000),
)
NATS = st.builds(
    NatBehaviour,
    udp=POLICIES, tcp=POLICIES, translated=st.sampled_from((None, True, False)), hairpin=st.sampled_from((None, True, False)),
    nested=st.sampled_from((None, True, False)), early=st.sampled_from(("unknown", "harmless", "moves")),
)  # fmt: skip
SEEN = st.lists(st.tuples(st.integers(1, 65535), st.floats(9, 10)), max_size=32)


def side(nat_: NatBehaviour, host: str, port: int, seen: list[tuple[int, float]], one_way: float, mapped: bool) -> Side:
    sightings = tuple(Sighting(number, host, port, at) for number, (port, at) in enumerate(seen))
    return Side(nat_, host, port, sightings, one_way, one_way / 4, 7000 if mapped else 0)


@settings(max_examples=300)
@given(
    NATS, NATS, SEEN, SEEN, st.integers(0, 65535), st.floats(0, 1), st.floats(9, 12), st.booleans(),
    st.dictionaries(st.sampled_from(("prediction", "birthday", "lan", "ipv6")), st.floats(-1, 1)),
)  # fmt: skip
def test_no_plan_exceeds_its_caps_or_names_another_host(
    a: NatBehaviour, b: NatBehaviour, seen_a: list[tuple[int, float]], seen_b: list[tuple[int, float]], port: int, one_way: float,
    start: float, mapped: bool, experience: dict[str, float],
) -> None:  # fmt: skip
    sides = side(a, HOSTS[0], port, seen_a, one_way, mapped), side(b, HOSTS[1], 6000, seen_b, one_way, False)
    verdict = make_plans(*sides, start=start, experience=experience)
    for plan, peer in zip(verdict.plans, HOSTS[::-1], strict=True):
        assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan        # every field is within its own bounds
        assert {step.host for step in plan.steps} <= {peer}
        assert cost(plan) <= MAX_PROBES // 2
        assert max((step.sockets for step in plan.steps), default=0) <= MAX_SOCKETS
        assert all(1 <= step.first + step.stride * (step.count - 1) <= 65535 for step in plan.steps if not step.scattered)
        assert all(step.transport == verdict.transport for step in plan.steps)
        assert sum(connections(step) for step in plan.steps) <= FEW_CONNECTIONS         # what a node allows, whoever asks for it
    assert all(0 <= wanted <= 64 for wanted in verdict.measure)
    if not verdict.possible:
        assert sum(cost(plan) for plan in verdict.plans) < HANDFUL // 4
        assert verdict.measure == (0, 0)
    if technique_for(reduce(a), reduce(b))[0] == "relay" and a.udp.passes and b.udp.passes:
        assert not any(step.transport == "udp" and step.count > 1 for plan in verdict.plans for step in plan.steps)
