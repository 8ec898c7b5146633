"""The reading half of framed TCP alone: frames are found however the stream is cut, and copied only where they must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.driver.frames import LENGTH, MAX_FRAME, FrameReader


def framed(*datagrams: bytes) -> bytes:
    return b"".join(len(datagram).to_bytes(LENGTH, "big") + datagram for datagram in datagrams)


def fed(reader: FrameReader, *pieces: bytes) -> list[bytes]:
    return [bytes(frame) for piece in pieces for frame in reader.feed(piece)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_cut_of_a_stream_gives_the_same_frames(size: int) -> None:
    sent = [b"a", b"", b"bc" * 100, b"\0\0", b"d" * 999, b""]
    stream = framed(*sent)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert fed(FrameReader(), *pieces) == sent


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 30), max_size=60))
def test_any_frames_and_any_cuts(sent: list[bytes], cuts: list[int]) -> None:
    stream, reader, found = framed(*sent), FrameReader(), []
    for cut in cuts:
        found += fed(reader, stream[:cut])
        stream = stream[cut:]
    assert found + fed(reader, stream) == sent


def test_a_frame_in_one_piece_is_not_copied() -> None:
    """The bulk path: a view of what was read."""
    piece = framed(b"x" * 60_000, b"y" * 10)
    first, second = FrameReader().feed(piece)
    assert first.obj is piece
    assert second.obj is piece


def test_a_frame_that_was_cut_stays_as_it_is_while_others_are_read() -> None:
    """It is a view, too: of memory that the next frame does not use again."""
    stream, reader = framed(b"x" * 1000, b"y" * 1000, b"z" * 1000), FrameReader()
    (one,) = (*reader.feed(stream[:500]), *reader.feed(stream[500:1500]))
    (two,) = reader.feed(stream[1500:2500])
    assert (bytes(one), bytes(two)) == (b"x" * 1000, b"y" * 1000)


def test_no_more_than_one_frame_is_held() -> None:
    reader = FrameReader()
    stream = framed(bytes(MAX_FRAME)) * 3
    for start in range(0, len(stream), 1000):
        reader.feed(stream[start : start + 1000])
        assert len(reader._rest) <= LENGTH + MAX_FRAME
