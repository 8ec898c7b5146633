"""Send and receive buffers: exact octets, no copies of large chunks, bounded overhead for small ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.tcp.receive_buffer import ReceiveBuffer
from userlan.stack.tcp.send_buffer import SMALL, SendBuffer


@given(st.data())
def test_a_slice_is_what_was_appended(data: st.DataObject) -> None:
    buffer = SendBuffer(1000)
    whole = bytearray()
    for size in data.draw(st.lists(st.integers(0, 3 * SMALL), max_size=8)):
        chunk = bytes((len(whole) + index) & 0xFF for index in range(size))
        buffer.append(chunk)
        whole += chunk
    assert len(buffer) == len(whole)
    released = data.draw(st.integers(0, len(whole)))
    buffer.release(1000 + released)
    start = data.draw(st.integers(released, len(whole)))
    length = data.draw(st.integers(0, len(whole) - start))
    assert bytes(buffer.slice(1000 + start, length)) == whole[start : start + length]
    assert len(buffer) == len(whole) - released


def test_a_large_chunk_is_not_copied() -> None:
    buffer = SendBuffer(0)
    chunk = bytes(100_000)
    buffer.append(chunk)
    view = buffer.slice(10, 61_560)
    assert isinstance(view, memoryview)
    assert view.obj is chunk
    assert buffer.slice(0, 100_000) is chunk


def test_small_writes_are_merged_without_changing_what_was_handed_out() -> None:
    buffer = SendBuffer(0)
    buffer.append(b"ab")
    before = buffer.slice(0, 1)
    buffer.append(b"cd")
    assert bytes(before) == b"a"
    assert bytes(buffer.slice(0, 4)) == b"abcd"


@pytest.mark.parametrize("position", [-5, 0])
def test_releasing_what_is_gone_does_nothing(position: int) -> None:
    buffer = SendBuffer(0)
    buffer.append(b"abc")
    buffer.release(position)
    assert bytes(buffer.slice(0, 3)) == b"abc"


@given(st.lists(st.binary(max_size=2 * SMALL), max_size=10), st.integers(1, 70_000))
def test_what_is_taken_is_what_was_put_in(chunks: list[bytes], limit: int) -> None:
    buffer = ReceiveBuffer()
    for chunk in chunks:
        buffer.append(chunk)
    assert buffer.length == sum(map(len, chunks))
    taken = bytearray()
    while piece := buffer.take(limit):
        assert len(piece) <= limit
        taken += piece
    assert bytes(taken) == b"".join(chunks)
    assert buffer.length == 0


def test_a_large_chunk_is_handed_through() -> None:
    buffer = ReceiveBuffer()
    chunk = bytes(50_000)
    buffer.append(chunk)
    assert buffer.take(65_536) is chunk


def test_single_octets_come_in_one_piece() -> None:
    buffer = ReceiveBuffer()
    for value in range(200):
        buffer.append(bytes([value]))
    assert bytes(buffer.take(1000)) == bytes(range(200))
    assert buffer.take(0) == b""


def test_a_piece_that_ended_inside_a_chunk_is_followed_by_the_rest_of_the_chunk() -> None:
    """So that the super-segments after it are whole chunks again, which nobody has to copy."""
    buffer = SendBuffer(0)
    for _ in range(3):
        buffer.append(bytes(45_000))
    assert buffer.whole(0, 45_000, 1000) == 45_000
    assert buffer.whole(10_000, 45_000, 1000) == 35_000
    assert buffer.whole(45_000, 45_000, 1000) == 45_000
    assert buffer.whole(10_500, 45_000, 1000) == 45_000
    short = SendBuffer(0)
    for _ in range(20):
        short.append(bytes(8_000))
    assert short.whole(4_000, 45_000, 1000) == 45_000
