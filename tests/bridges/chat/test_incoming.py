"""A connection by which a member brings messages, in virtual time: in order, at a bounded rate, for a bounded time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.chat.allowance import BURST, OCTET_BURST, OCTET_RATE, RATE, Allowance
from bridges.chat.frames import MAX_FRAME, Hello, Lines, Refused, Taken, Text, decode, encode
from bridges.chat.incoming import FRAME_TIMEOUT, HELLO_TIMEOUT, IDLE_TIMEOUT, MAX_UNSETTLED, Cut, Incoming, Keep, Send

HELLO = encode(Hello(1))


def identifier(number: int) -> str:
    return f"{number:022d}"


def message(number: int, size: int = 1) -> bytes:
    return encode(Text(identifier(number), "x" * size))


class Line:
    """One connection whose messages are kept at once, or when told to."""

    def __init__(self, allowance: Allowance | None = None, at_once: bool = True) -> None:
        self.now = 1000.0
        self.core = Incoming(allowance or Allowance(self.now), self.now)
        self.at_once = at_once
        self.kept: list[str] = []
        self.cut = ""
        self.answers: list[Any] = []
        self._lines = Lines()
        self._waiting: list[Any] = []

    def send(self, data: bytes) -> None:
        self._effects(self.core.receive(data, self.now))

    def settle(self, number: int, reason: str = "") -> None:
        self._effects(self.core.settle(identifier(number), reason, self.now))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.core.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self._effects(self.core.tick(self.now))
        self.now = end

    def _effects(self, effects: list[Any]) -> None:
        self._waiting += effects
        while self._waiting:
            match self._waiting.pop(0):
                case Keep(text):
                    self.kept.append(text.id)
                    if self.at_once:
                        self._waiting += self.core.settle(text.id, "", self.now)
                case Send(data):
                    self._lines.feed(data)
                    while (line := self._lines.take()) is not None:
                        self.answers.append(decode(line))
                case Cut(reason):
                    self.cut = reason


def test_hello_then_messages_then_answers() -> None:
    line = Line()
    line.send(HELLO + message(1) + message(2))
    assert line.kept == [identifier(1), identifier(2)]
    assert line.answers == [Hello(1), Taken(identifier(1)), Taken(identifier(2))]


def test_no_answer_before_it_is_kept() -> None:
    line = Line(at_once=False)
    line.send(HELLO + message(1) + message(2))
    assert line.answers == [Hello(1)]
    line.settle(2)
    line.settle(1, "network")
    assert line.answers[1:] == [Taken(identifier(2)), Refused(identifier(1), "network")]


def test_the_same_twice_is_kept_once_and_answered_twice() -> None:
    line = Line(at_once=False)
    line.send(HELLO + message(1) + message(1))
    assert line.kept == [identifier(1)]
    line.settle(1)
    assert line.answers[1:] == [Taken(identifier(1))] * 2
    line.settle(1)
    assert len(line.answers) == 3


@pytest.mark.parametrize("data", [message(1), b"GET / HTTP/1.1\r\n", b"\n", encode(Taken(identifier(1)))])
def test_the_first_frame_is_hello(data: bytes) -> None:
    line = Line()
    line.send(data)
    assert line.cut
    assert line.kept == []


@pytest.mark.parametrize("data", [b"{}\n", b"\xff\n", b"x" * (MAX_FRAME + 1)])
def test_what_is_no_frame_ends_it(data: bytes) -> None:
    line = Line()
    line.send(HELLO + message(1) + data + message(2))
    assert line.cut
    assert identifier(2) not in line.kept
    assert line.core.paused
    assert line.core.deadline() is None


def test_frames_of_later_versions_are_passed_over() -> None:
    line = Line()
    line.send(HELLO + b'{"type":"typing"}\n' + encode(Taken(identifier(9))) + HELLO + message(1))
    assert not line.cut
    assert line.kept == [identifier(1)]


def test_hello_has_to_come() -> None:
    line = Line()
    line.pass_time(HELLO_TIMEOUT - 0.1)
    line.send(HELLO[:5])
    line.pass_time(0.2)
    assert line.cut == "no hello came"


def test_slowloris() -> None:
    """A frame that comes octet by octet has its time, and no more."""
    line = Line()
    line.send(HELLO)
    for octet in message(1, 5000):
        line.send(bytes([octet]))
        line.pass_time(FRAME_TIMEOUT / 20)
        if line.cut:
            break
    assert line.cut
    assert line.now <= 1000 + FRAME_TIMEOUT + FRAME_TIMEOUT / 10


def test_silence_ends_it() -> None:
    line = Line()
    line.send(HELLO)
    line.pass_time(IDLE_TIMEOUT - 1)
    line.send(message(1))
    line.pass_time(IDLE_TIMEOUT - 1)
    assert not line.cut
    line.pass_time(2)
    assert line.cut


def test_a_slow_disk_is_not_the_authors_fault() -> None:
    line = Line(at_once=False)
    line.send(HELLO + message(1))
    line.pass_time(3 * IDLE_TIMEOUT)
    assert not line.cut
    line.settle(1)
    assert line.answers[-1] == Taken(identifier(1))


def test_so_many_wait_for_the_disk() -> None:
    line = Line(at_once=False)
    line.send(HELLO + b"".join(message(number) for number in range(MAX_UNSETTLED + 5)))
    assert len(line.kept) == MAX_UNSETTLED
    assert line.core.paused
    line.settle(0)
    assert len(line.kept) == MAX_UNSETTLED + 1
    for number in range(1, 10):
        line.settle(number)
    assert len(line.kept) == MAX_UNSETTLED + 5
    assert not line.core.paused


def test_a_flood_waits_with_its_author() -> None:
    line = Line()
    line.send(HELLO + b"".join(message(number) for number in range(1000)))
    assert len(line.kept) == BURST
    assert line.core.paused
    line.pass_time(10)
    assert len(line.kept) == pytest.approx(BURST + 10 * RATE, abs=1)
    line.pass_time(100)
    assert [int(one) for one in line.kept] == list(range(1000)), "nothing is lost, and nothing overtakes"
    assert not line.cut
    assert not line.core.paused


def test_so_do_long_ones() -> None:
    line = Line()
    line.send(HELLO + b"".join(message(number, 8000) for number in range(200)))
    assert sum(len(message(1, 8000)) for _ in line.kept) <= OCTET_BURST
    before = len(line.kept)
    line.pass_time(60)
    assert (len(line.kept) - before) * 8000 <= 60 * OCTET_RATE + 8192


def test_more_connections_are_not_more_allowance() -> None:
    allowance = Allowance(1000.0)
    lines = [Line(allowance) for _ in range(4)]
    for line in lines:
        line.send(HELLO + b"".join(message(number) for number in range(1000)))
    assert sum(len(line.kept) for line in lines) <= BURST


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, MAX_FRAME)), max_size=200))
def test_the_allowance_is_never_exceeded(asked: list[tuple[float, int]]) -> None:
    allowance, now, octets, count = Allowance(0.0), 0.0, 0, 0
    for passed, size in asked:
        now += passed
        wait = allowance.take(size, now)
        if wait > 0:
            now += wait
            assert allowance.take(size, now + 1e-6) == 0.0, "it is worth asking again when it was said to be"
        octets, count = octets + size, count + 1
        assert octets <= OCTET_BURST + OCTET_RATE * now + 1
        assert count <= BURST + RATE * now + 1
