"""Timestamps: format, strict order, and the floor that carries them over a restart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.tunnel import tai64n
from userlan.tunnel.tai64n import StampSource


def test_the_epoch_is_ten_seconds_into_tai() -> None:
    assert tai64n.encode(0).hex() == "400000000000000a00000000"
    assert tai64n.encode(1_500_000_000).hex() == "400000000000000b1dcd6500"


@given(st.integers(0, 2**62))
@settings(deadline=None, max_examples=100)
def test_decode_inverts_encode(nanoseconds: int) -> None:
    assert tai64n.decode(tai64n.encode(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("size", [0, 11, 13])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        tai64n.decode(bytes(size))


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.floats(-1e6, 1e9),
)
@settings(deadline=None, max_examples=100)
def test_stamps_increase_even_if_the_clock_is_set_back_and_across_a_restart(
    first: list[float], second: list[float], change: float
) -> None:
    source = StampSource(1e9)
    stamps = [source.next(now) for now in first]
    assert source.reserved >= stamps[-1]
    after = StampSource(1e9 - change, source.reserved)
    stamps += [after.next(now) for now in second]
    assert stamps == sorted(set(stamps))


def test_the_precise_clock_is_not_shown() -> None:
    stamps = {StampSource(1e9).next(step / 10_000) for step in range(100)}
    assert len(stamps) == 1


def test_the_reserve_changes_rarely() -> None:
    source = StampSource(1e9)
    reserves = set()
    for second in range(120):
        source.next(float(second))
        reserves.add(source.reserved)
    assert len(reserves) <= 3
