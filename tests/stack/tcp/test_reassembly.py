"""Octets out of order (RFC 9293 3.10.7.4) and SACK blocks (RFC 2018, RFC 2883)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.stack.tcp.reassembly import Reassembly

SPACE = 400


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, SPACE), st.integers(1, 60), st.integers(0, 255)), max_size=40))
def test_ranges_hold_what_came_first(pieces: list[tuple[int, int, int]]) -> None:
    reassembly = Reassembly(1000)
    model: dict[int, int] = {}
    for start, size, value in pieces:
        assert reassembly.insert(start, bytes([value]) * size)
        for position in range(start, start + size):
            model.setdefault(position, value)
    ranges = list(reassembly)
    assert all(left < right for left, right in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert {position for left, right in ranges for position in range(left, right)} == set(model)
    assert reassembly.length == len(model)
    for left, right in ranges:
        got = b"".join(bytes(chunk) for chunk in reassembly.advance(left))
        assert got == bytes(model[position] for position in range(left, right))
    assert not reassembly
    assert reassembly.length == 0


@given(st.lists(st.tuples(st.integers(0, SPACE), st.integers(1, 60)), max_size=30), st.integers(0, SPACE))
def test_advancing_into_a_range_gives_its_rest(pieces: list[tuple[int, int]], position: int) -> None:
    reassembly = Reassembly(1000)
    present: set[int] = set()
    for start, size in pieces:
        reassembly.insert(start, bytes(i & 255 for i in range(start, start + size)))
        present.update(range(start, start + size))
    end = position
    while end in present:
        end += 1
    got = b"".join(bytes(chunk) for chunk in reassembly.advance(position))
    assert got == bytes(i & 255 for i in range(position, end))
    assert all(left > end for left, _ in reassembly)
    assert reassembly.length == len([p for p in present if p > end])


def test_the_number_of_ranges_is_bounded() -> None:
    reassembly = Reassembly(3)
    assert all(reassembly.insert(start, b"x") for start in (10, 20, 30))
    assert not reassembly.insert(40, b"x")
    assert reassembly.insert(31, b"y")
    assert list(reassembly) == [(10, 11), (20, 21), (30, 32)]


def test_the_first_block_holds_the_latest_arrival() -> None:
    """RFC 2018 4: "the first SACK block MUST specify the contiguous block of data containing the segment which
    triggered this ACK"."""
    reassembly = Reassembly(100)
    for start in (100, 200, 300):
        reassembly.insert(start, b"0123456789")
        reassembly.blocks(3)
    reassembly.insert(110, b"0123456789")
    assert reassembly.blocks(3) == [[(100, 120), (300, 310), (200, 210)]]


def test_every_range_that_changed_in_a_batch_is_told() -> None:
    reassembly = Reassembly(100)
    for start in range(100, 800, 100):
        reassembly.insert(start, b"0123456789")
    told = reassembly.blocks(3)
    assert [len(option) for option in told] == [3, 3, 1]
    assert {left for option in told for left, _ in option} == set(range(100, 800, 100))
    assert reassembly.blocks(3) == [[(700, 710), (600, 610), (500, 510)]]


def test_so_many_changes_that_they_do_not_all_fit_are_told_as_far_as_they_do() -> None:
    reassembly = Reassembly(1000)
    for start in range(100, 50_000, 100):
        reassembly.insert(start, b"0123456789")
    told = reassembly.blocks(3)
    assert len(told) == 16
    assert told[0][0] == (49_900, 49_910)


def test_a_duplicate_is_told_once_and_first() -> None:
    """RFC 2883 4."""
    reassembly = Reassembly(100)
    reassembly.insert(100, b"0123456789")
    reassembly.duplicate = (10, 20)
    assert reassembly.blocks(3) == [[(10, 20), (100, 110)]]
    assert reassembly.blocks(3) == [[(100, 110)]]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 20)), max_size=150), st.integers(1, 4))
def test_blocks_are_always_ranges(pieces: list[tuple[int, int]], each: int) -> None:
    reassembly = Reassembly(100)
    for number, (start, size) in enumerate(pieces):
        reassembly.insert(start, bytes(size))
        if number % 7 == 0:
            reassembly.advance(start - 30)
        if number % 3 == 0:
            known = set(reassembly)
            for option in reassembly.blocks(each):
                assert len(option) <= each
                assert set(option) <= known


def chunks(reassembly: Reassembly) -> list[bytes | bytearray | memoryview]:
    return [chunk for kept in reassembly._ranges for chunk in kept.chunks]


def test_octets_that_come_one_by_one_are_kept_together() -> None:
    """Every second octet, and then those between: else each would be an object of its own, forty times as large."""
    reassembly = Reassembly(1024)
    for base in range(0, 20_000, 2_000):
        for parity in (0, 1):
            for position in range(base + parity, base + 2_000, 2):
                assert reassembly.insert(position, bytes([position & 255]))
    assert len(reassembly) == 1
    assert len(chunks(reassembly)) == 1
    assert b"".join(bytes(chunk) for chunk in reassembly.advance(0)) == bytes(i & 255 for i in range(20_000))


def test_a_small_part_of_a_large_segment_does_not_hold_all_of_it() -> None:
    """What overlaps is cut off; the rest must not keep the whole super-segment in memory, which nobody counts."""
    reassembly = Reassembly(1024)
    size, step = 60_000, 5_000
    for start in range(0, 1_000_000, step):
        assert reassembly.insert(start, bytes(size))
    owners: list[Any] = [chunk.obj if isinstance(chunk, memoryview) else chunk for chunk in chunks(reassembly)]
    assert sum({id(owner): len(owner) for owner in owners}.values()) <= 2 * reassembly.length
