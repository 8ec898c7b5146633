"""Sequence numbers modulo 2**32 (RFC 9293 3.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.tcp.seq import is_older, near, on_wire

POSITIONS = st.integers(min_value=-(1 << 40), max_value=1 << 48)


@given(POSITIONS, st.integers(min_value=-(1 << 31), max_value=(1 << 31) - 1))
def test_a_position_is_found_again_beside_any_reference_within_half_the_space(reference: int, distance: int) -> None:
    position = reference + distance
    assert near(on_wire(position), reference) == position


@given(POSITIONS)
def test_the_wire_number_has_32_bits(position: int) -> None:
    assert 0 <= on_wire(position) < 1 << 32
    assert (position - on_wire(position)) % (1 << 32) == 0


def test_numbers_wrap() -> None:
    assert near(5, 0xFFFFFFFA) == 0x100000005
    assert near(0xFFFFFFFA, 0x100000005) == 0xFFFFFFFA


@given(st.integers(0, 0xFFFFFFFF), st.integers(1, 0x7FFFFFFF))
def test_older_is_what_lies_up_to_half_the_space_before(number: int, ahead: int) -> None:
    later = (number + ahead) & 0xFFFFFFFF
    assert is_older(number, later)
    assert not is_older(later, number)
    assert not is_older(number, number)
