"""What travels between two chats: any octets in any pieces are frames, or one clear refusal."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.chat.frames import MAX_FRAME, FrameError, Hello, Lines, Refused, Taken, Text, decode, encode
from bridges.chat.records import MAX_TEXT, Message, clean

ID = "A" * 22

texts = st.text(st.characters(codec="utf-8"), max_size=200)
identifiers = st.text("abcXYZ019_-", min_size=22, max_size=22)
frames = st.one_of(
    st.builds(Hello, st.integers(1, 65535)),
    st.builds(Text, identifiers, texts, st.sampled_from(["", "home", "a" * 63]), st.floats(0, 1e9)),
    st.builds(Taken, identifiers),
    st.builds(Refused, identifiers, st.text("abc ", max_size=64)),
)


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, place = [], 0
    for size in sizes:
        pieces.append(data[place : place + size])
        place += size
    return [*pieces, data[place:]]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 50), max_size=20))
def test_whatever_is_said_is_heard(said: list[Hello | Text | Taken | Refused], sizes: list[int]) -> None:
    lines, heard = Lines(), []
    for piece in split(b"".join(map(encode, said)), sizes):
        lines.feed(piece)
        while (line := lines.take()) is not None:
            heard.append(decode(line))
    assert heard == said
    assert not lines.partial


@given(st.binary(max_size=300))
def test_any_octets_are_frames_or_refused(data: bytes) -> None:
    lines = Lines()
    lines.feed(data)
    while (line := lines.take()) is not None:
        with suppress(FrameError):
            decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[1]",
        b'{"type": 5}',
        b'{"id": "x"}',
        b'{"type": "message"}',
        b'{"type": "hello", "version": 0}',
        b'{"type": "hello", "version": "1"}',
        b'{"type": "taken", "id": "short"}',
        b'{"type": "taken", "id": "' + b"A" * 22 + b'\\n"}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "\xff"}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "\\ud800"}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "x", "age": -1}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "x", "age": 1e999}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "x", "age": NaN}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "x", "network": "' + b"n" * 64 + b'"}',
        b'{"type": "message", "id": "' + b"A" * 22 + b'", "text": "' + b"x" * (MAX_TEXT + 1) + b'"}',
        b"[" * 60_000,
        b'{"type": "taken", "more": ' + b"[" * 60_000,
    ],
)
def test_what_is_no_frame_is_refused(line: bytes) -> None:
    with pytest.raises(FrameError):
        decode(line)


def test_later_versions_may_say_more() -> None:
    assert decode(b'{"type": "typing", "seconds": 3}') is None
    assert decode(json.dumps({"type": "taken", "id": ID, "at": 5}).encode()) == Taken(ID)
    assert decode(b'{"type": "hello", "version": 9, "agent": "x"}') == Hello(9)


def test_a_line_has_an_end() -> None:
    lines = Lines()
    lines.feed(b"x" * MAX_FRAME)
    with pytest.raises(FrameError):
        lines.feed(b"x")
    with pytest.raises(FrameError):
        Lines().feed(b"x" * (MAX_FRAME + 1) + b"\n")


def test_the_longest_text_fits_a_frame() -> None:
    """Whatever its characters are: JSON escapes what is not printed with up to six octets."""
    for character in ("\x00", '"', "\u20ac", "\U0001f600", "\u2028"):
        assert len(encode(Text(ID, character * MAX_TEXT, "n" * 63, 1e9))) <= MAX_FRAME


@given(st.text())
def test_a_clean_text(text: str) -> None:
    kept = clean(text)
    assert clean(kept) == kept
    assert not any(ord(one) < 32 and one not in "\n\t" for one in kept)
    assert not any(0x7F <= ord(one) < 0xA0 or 0xD800 <= ord(one) < 0xE000 for one in kept)
    kept.encode()


def test_what_stays_of_a_text() -> None:
    assert clean("a\r\nb\rc\x1b[2J\x00\x9b\ttab \n\n") == "a\nb\nc[2J\ttab"
    assert clean(" \u202eabc\u202c e\u0301") == " \u202eabc\u202c e\u0301", "directions are part of a text; whoever shows it isolates it"
    assert clean("\x00\x1b\n ") == ""


def test_states() -> None:
    def state(own: bool, recipients: int, delivered: int, failed: int) -> str:
        return Message(1, ID, "peer:k", "k", "n", "t", 0.0, own, recipients, delivered, failed, "").state

    assert state(False, 0, 0, 0) == "received"
    assert [state(True, 3, *done) for done in ((0, 0), (2, 0), (1, 1))] == ["waiting"] * 3
    assert [state(True, 3, *done) for done in ((3, 0), (1, 2))] == ["delivered"] * 2
    assert state(True, 3, 0, 3) == "failed"
