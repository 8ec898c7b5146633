"""Lines of a script, the words in them, and the values that they may ask for."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack.tcp.notation import PEER_ISN, signed
from userlan.stack.tcp import Connection

TOLERANCE = 1e-6
"""Of times in seconds, and of other numbers with a fraction."""

VALUES: dict[str, Callable[[Connection], Any]] = {
    "cwnd": lambda connection: connection.sender.congestion.window,
    "ssthresh": lambda connection: connection.sender.congestion.threshold,
    "flight": lambda connection: connection.sender.board.in_flight,
    "mss": lambda connection: connection.sender.segment,
    "rto": lambda connection: connection.sender.rtt.timeout,
    "srtt": lambda connection: connection.sender.rtt.smoothed,
    "backoff": lambda connection: connection.sender.rtt.backoffs,
    "una": lambda connection: connection.sender.una - connection.initial - 1,
    "nxt": lambda connection: connection.sender.nxt - connection.initial - 1,
    "snd_wnd": lambda connection: connection.sender.window,
    "rcv_nxt": lambda connection: signed(connection.receiver.next - PEER_ISN - 1),
    "rcv_wnd": lambda connection: connection.receiver.advertised - connection.receiver.next,
    "room": lambda connection: connection.send_room,
    "unsent": lambda connection: connection.unsent,
    "readable": lambda connection: connection.receiver.buffer.length,
}

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": lambda got, wanted: got == wanted or (isinstance(got, float) and abs(got - wanted) <= TOLERANCE),
}


@dataclass(frozen=True)
class Line:
    number: int
    time: float | None
    relative: bool
    words: list[str]
    text: str


def cases(path: Path) -> Iterator[tuple[str, str]]:
    """The cases of a file: name and script. Empty lines stand for what is left out, so that line numbers are the file's."""
    lines = path.read_text().splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("==")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start].lstrip("= "), "\n".join([""] * (start + 1) + lines[start + 1 : end])


def read_lines(script: str) -> Iterator[Line]:
    """The lines that say something."""
    for number, raw in enumerate(script.splitlines(), 1):
        words = raw.split("#")[0].split()
        if not words or raw.startswith("=="):
            continue
        time, relative = None, False
        if words[0][0] in "+.0123456789" and words[0] != "...":
            relative = words[0].startswith("+")
            time = float(words.pop(0))
        yield Line(number, time, relative, words or ["quiet"], raw.strip())


def options_of(words: list[str]) -> dict[str, Any]:
    pairs = (word.partition("=") for word in words)
    return {name: literal(value) if mark else True for name, mark, value in pairs}


def literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
