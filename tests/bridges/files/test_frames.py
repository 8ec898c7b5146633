"""Frames: whatever way they are cut, they come out whole; what is none is refused."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.files.frames import (
    MAX_BLOCK,
    MAX_MESSAGE,
    Begin,
    Broken,
    Fetch,
    Hello,
    MalformedError,
    Message,
    Noted,
    Octets,
    Offer,
    Reader,
    Refused,
    State,
    Trailer,
    Unknown,
    Withdraw,
    block_header,
    encode,
)

TOKEN = "0123456789abcdef" * 2
TOKENS = st.binary(min_size=16, max_size=16).map(bytes.hex)
TEXTS = st.text(max_size=300)
SIZES = st.integers(0, 1 << 53)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello),
    st.builds(Offer, TOKENS, st.text(max_size=300), SIZES, st.integers(-(2**62), 2**62)),
    st.builds(State, TOKENS, st.sampled_from(("offered", "accepted", "done", "declined", "failed", "cancelled")), TEXTS),
    st.builds(Withdraw, TOKENS, st.sampled_from(("cancelled", "failed")), TEXTS),
    st.builds(Noted, TOKENS),
    st.builds(Fetch, TOKENS, SIZES),
    st.builds(Begin, TOKENS, SIZES, SIZES),
    st.builds(Trailer, TOKENS, st.binary(min_size=32, max_size=32).map(bytes.hex)),
    st.builds(Broken, TOKENS, TEXTS, st.booleans()),
    st.builds(Refused, TOKENS, TEXTS, st.booleans()),
)


def read(data: bytes, cuts: list[int], blocks: bool = True) -> list[object]:
    """What comes out; octets of blocks that lie next to each other joined."""
    reader = Reader(blocks)
    heard: list[Any] = []
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        for one in reader.feed(data[begin:end]):
            if isinstance(one, Octets) and heard and isinstance(heard[-1], bytes):
                heard[-1] += bytes(one.data)
            else:
                heard.append(bytes(one.data) if isinstance(one, Octets) else one)
    return heard


@given(st.lists(st.one_of(MESSAGES, st.binary(min_size=1, max_size=200)), max_size=8), st.lists(st.integers(0, 5000), max_size=12))
def test_frames_come_out_as_they_went_in(said: list[Message | bytes], cuts: list[int]) -> None:
    data = b"".join(block_header(len(one)) + one if isinstance(one, bytes) else encode(one) for one in said)
    wanted: list[object] = []
    for one in said:
        if isinstance(one, bytes) and wanted and isinstance(wanted[-1], bytes):
            wanted[-1] += one
        else:
            wanted.append(one)
    assert read(data, cuts) == wanted


@given(st.binary(max_size=400), st.booleans())
def test_noise_is_refused_or_held(data: bytes, blocks: bool) -> None:
    try:
        for heard in Reader(blocks).feed(data):
            assert isinstance(heard, Message | Octets | Unknown)
    except MalformedError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        (MAX_MESSAGE + 1).to_bytes(4, "big"),
        bytes(4),
        block_header(MAX_BLOCK + 1),
        block_header(0),
        b"\0\0\0\1\xc1",
        b"\0\0\0\1\x80",
    ],
)
def test_what_is_no_frame_ends_it_before_more_is_held(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(Reader(True).feed(data))


def test_blocks_come_only_to_whoever_fetches() -> None:
    with pytest.raises(MalformedError):
        list(Reader(False).feed(block_header(5)))


@pytest.mark.parametrize(
    "fields",
    [
        {"t": "offer", "token": "x", "name": "a", "size": 1},
        {"t": "offer", "token": TOKEN.upper(), "name": "a", "size": 1},
        {"t": "offer", "token": TOKEN, "name": "a" * 1025, "size": 1},
        {"t": "offer", "token": TOKEN, "name": "a", "size": -1},
        {"t": "offer", "token": TOKEN, "name": "a", "size": 1 << 54},
        {"t": "state", "token": TOKEN, "state": "active"},
        {"t": "fetch", "token": TOKEN, "offset": 1.5},
        {"t": "trailer", "token": TOKEN, "sha256": "00"},
    ],
)
def test_values_out_of_bounds_are_refused(fields: dict[str, object]) -> None:
    body = msgspec.msgpack.encode(fields)
    with pytest.raises(MalformedError):
        list(Reader(False).feed(len(body).to_bytes(4, "big") + body))


def test_newer_versions_may_say_more() -> None:
    more = msgspec.msgpack.encode({"t": "noted", "token": TOKEN, "mood": "good"})
    other = msgspec.msgpack.encode({"t": "folder", "token": TOKEN})
    data = b"".join(len(body).to_bytes(4, "big") + body for body in (more, other))
    assert list(Reader(False).feed(data)) == [Noted(TOKEN), Unknown("folder")]
