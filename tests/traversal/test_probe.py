"""Probes: what is sealed is opened by the other end alone, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.kinds import PROBE, PROBE_ANSWER
from userlan.traversal.probe import SIZE, Probe, ProbeKey, attempt_of, is_probe
from userlan.wire.endpoint import Endpoint

TOKEN = bytes(range(16))
TARGETS = st.builds(
    Endpoint,
    st.just("udp"),
    st.one_of(st.ip_addresses(v=4).map(str), st.sampled_from(["2001:db8::1", "fd00::2", "fe80::3"])),
    st.integers(1, 65535),
)
NUMBERS = st.integers(0, 2**64 - 1)


@given(TARGETS, NUMBERS, NUMBERS, st.sampled_from([0, 1]))
def test_what_one_end_seals_the_other_opens(target: Endpoint, number: int, time: int, role: int) -> None:
    sealed = ProbeKey(TOKEN, role).probe(target, number, time)
    probe = ProbeKey(TOKEN, 1 - role).open(sealed)
    assert probe == Probe(False, role, target.host, target.port, number, time)
    assert is_probe(sealed)
    assert len(sealed) == SIZE
    assert sealed[:4] == PROBE


@given(TARGETS, TARGETS, NUMBERS, NUMBERS)
def test_an_answer_echoes_number_and_time_and_is_no_larger(target: Endpoint, seen: Endpoint, number: int, time: int) -> None:
    near, far = ProbeKey(TOKEN, 0), ProbeKey(TOKEN, 1)
    sealed = near.probe(target, number, time)
    asked = far.open(sealed)
    assert asked is not None
    answered = far.answer(asked, seen)
    assert len(answered) <= len(sealed)
    assert answered[:4] == PROBE_ANSWER
    assert near.open(answered) == Probe(True, 1, seen.host, seen.port, number, time)


def test_a_probe_that_comes_back_is_none() -> None:
    near = ProbeKey(TOKEN, 0)
    assert near.open(near.probe(Endpoint("udp", "192.0.2.1", 9), 1, 2)) is None


def test_another_attempt_has_another_name_and_key() -> None:
    one, other = ProbeKey(TOKEN, 0), ProbeKey(bytes(16), 1)
    sealed = one.probe(Endpoint("udp", "192.0.2.1", 9), 1, 2)
    assert one.attempt == attempt_of(sealed) != other.attempt
    assert other.open(sealed) is None
    assert other.open(sealed[:4] + other.attempt + sealed[12:]) is None


@given(st.binary(max_size=80))
def test_any_octets_are_no_probe(data: bytes) -> None:
    assert ProbeKey(TOKEN, 1).open(data) is None
    assert ProbeKey(TOKEN, 1).open((PROBE + ProbeKey(TOKEN, 0).attempt + data).ljust(SIZE, b"\0")[:SIZE]) is None


@given(st.integers(0, SIZE * 8 - 1))
def test_no_bit_may_be_changed(bit: int) -> None:
    sealed = bytearray(ProbeKey(TOKEN, 0).probe(Endpoint("udp", "192.0.2.1", 9), 1, 2))
    sealed[bit // 8] ^= 1 << bit % 8
    assert ProbeKey(TOKEN, 1).open(sealed) is None
    assert ProbeKey(TOKEN, 1).open(sealed[:-1]) is None
