"""A connection by which messages are brought to a member, in virtual time: answers are believed from the recipient alone, once."""

from __future__ import annotations

import pytest

from bridges.chat.frames import BAD_TEXT, Hello, Lines, Refused, Taken, Text, decode, encode
from bridges.chat.incoming import HELLO_TIMEOUT, Cut, Send
from bridges.chat.outgoing import ANSWER_TIMEOUT, IDLE_TIMEOUT, MAX_UNASKED, STALLED, WINDOW, Delivered, Effect, Opened, Outgoing, Rejected
from bridges.chat.records import Message

HELLO = encode(Hello(1))


def identifier(number: int) -> str:
    return f"{number:022d}"


def message(number: int, network: str = "", time: float = 5000.0) -> Message:
    place = f"network:{network}" if network else "peer:ben"
    return Message(number, identifier(number), place, "me", "me", f"text {number}", time, True, 1, 0, 0, "")


def opened(now: float = 0.0) -> Outgoing:
    core = Outgoing(now)
    assert core.start() == [Send(HELLO)]
    assert core.room == 0
    assert core.receive(HELLO, now) == [Opened()]
    return core


def said(effects: list[Effect]) -> list[object]:
    lines = Lines()
    frames: list[object] = []
    for effect in effects:
        assert isinstance(effect, Send)
        lines.feed(effect.data)
    while (line := lines.take()) is not None:
        frames.append(decode(line))
    return frames


def test_messages_and_answers() -> None:
    core = opened()
    frames = said(core.offer([message(1), message(2, "home")], 5003.0, 1.0))
    assert frames == [Text(identifier(1), "text 1", "", 3.0), Text(identifier(2), "text 2", "home", 3.0)]
    assert core.room == WINDOW - 2
    assert core.receive(encode(Taken(identifier(2))) + encode(Refused(identifier(1), BAD_TEXT)), 2.0) == [
        Delivered(2), Rejected(1, BAD_TEXT),
    ]  # fmt: skip
    assert core.idle


def test_an_own_clock_that_went_back_makes_no_negative_age() -> None:
    assert said(opened().offer([message(1, time=9000.0)], 5000.0, 1.0)) == [Text(identifier(1), "text 1", "", 0.0)]


def test_an_answer_counts_once_and_only_for_what_was_asked() -> None:
    core = opened()
    core.offer([message(1)], 5000.0, 0.0)
    assert core.receive(encode(Taken(identifier(7))), 0.0) == []
    assert core.receive(encode(Taken(identifier(1))) * 3, 0.0) == [Delivered(1)]


def test_who_babbles_is_cut() -> None:
    core = opened()
    core.offer([message(1)], 5000.0, 0.0)
    effects = core.receive(encode(Taken(identifier(7))) * (MAX_UNASKED + 1) + encode(Taken(identifier(1))), 0.0)
    assert [type(effect) for effect in effects] == [Cut]
    assert core.room == 0


@pytest.mark.parametrize("data", [b"\xff\n", encode(Taken(identifier(1))), b"x" * 70_000])
def test_the_recipient_says_hello_first(data: bytes) -> None:
    core = Outgoing(0.0)
    assert [type(effect) for effect in core.receive(data, 0.0)] == [Cut]


def test_a_hello_that_does_not_come() -> None:
    core = Outgoing(0.0)
    assert core.deadline() == HELLO_TIMEOUT
    assert core.tick(HELLO_TIMEOUT - 1) == []
    assert [type(effect) for effect in core.tick(HELLO_TIMEOUT)] == [Cut]
    assert core.deadline() is None


def test_an_answer_that_does_not_come() -> None:
    core = opened()
    core.offer([message(1), message(2)], 5000.0, 10.0)
    core.receive(encode(Taken(identifier(1))), 50.0)
    assert core.tick(50.0 + ANSWER_TIMEOUT - 1) == [], "each answer gives more time"
    assert core.tick(50.0 + ANSWER_TIMEOUT) == [Cut("no answer came in time")]


def test_more_that_is_asked_gives_no_more_time() -> None:
    core = opened()
    for number in range(10):
        core.offer([message(number)], 5000.0, number * 20.0)
    assert core.deadline() == ANSWER_TIMEOUT


def test_nothing_to_ask_for_long() -> None:
    core = opened()
    assert core.tick(IDLE_TIMEOUT) == [Cut("")]


def test_stalled() -> None:
    core = opened()
    assert not core.stalled(100.0), "nothing is owed"
    core.offer([message(1)], 5000.0, 100.0)
    assert not core.stalled(100.0 + STALLED / 2)
    assert core.stalled(100.0 + STALLED)
