"""Messages and conversations as a terminal shows them. What others have written stays text: it moves no cursor, and no part of it
passes for another message."""

from __future__ import annotations

import time
from typing import Any

from userlan.cli.output import printable, table

INDENT = "       "
"""Before the further lines of a message: none begins where a message does."""
DAY = "%A, %d %B %Y"
PREVIEW = 60
"""Characters of the last message in the list of conversations."""


def lines(text: str) -> list[str]:
    """A text, line by line, for a terminal."""
    return [printable(line.expandtabs(4)) for line in text.split("\n")]


def preview(text: str, limit: int = PREVIEW) -> str:
    """A text in one short line."""
    line = " ".join(" ".join(lines(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def message_text(message: dict[str, Any]) -> str:
    """``14:03  ben: hello``; of own ones what has become of them, where it is not that they are there."""
    first, *rest = lines(message["text"])
    rest = [INDENT + line for line in rest]
    mark = _mark(message)
    clock = time.strftime("%H:%M", time.localtime(message["time"]))
    return "\n".join([f"{clock}  {printable(message['name'])}: {first}", *rest]) + (f"  ({mark})" if mark else "")


def day_text(message: dict[str, Any]) -> str:
    """The day of a message."""
    return time.strftime(DAY, time.localtime(message["time"]))


class Printer:
    """Messages one after the other, and the day where it is another one than that of the message before."""

    def __init__(self) -> None:
        self._day = ""

    def text(self, message: dict[str, Any], where: str = "") -> str:
        """One message; ``where``: the network or peer, put before it."""
        day = day_text(message)
        head = f"— {day} —\n" if day != self._day else ""
        self._day = day
        return head + (f"[{where}] " if where else "") + message_text(message)


def state_text(message: dict[str, Any], to: str) -> str:
    """What has become of an own message; ``to``: as the recipient was written."""
    there, wanted = message["delivered"], message["recipients"]
    if message["state"] == "failed":
        return f"not delivered: {printable(message['reason'])}"
    if message["state"] == "waiting":
        whom = to if message["conversation"].startswith("peer:") else "a member"
        return f"delivered to {there} of {wanted}, kept until the others are seen" if there else f"kept until {whom} is seen"
    return f"delivered to {there} of {wanted}; else: {printable(message['reason'])}" if there < wanted else "delivered"


def _mark(message: dict[str, Any]) -> str:
    """The same in a word; nothing where all is well."""
    there, wanted = message["delivered"], message["recipients"]
    if there >= wanted:
        return ""
    if message["state"] == "failed":
        return f"not delivered: {printable(message['reason'])}"
    return f"{there} of {wanted} have it" if there else "kept"


def conversations_text(rows: list[dict[str, Any]]) -> str:
    """The conversations in columns."""
    if not rows:
        return "nobody has written yet: `userlan chat PEER TEXT` writes to one, `userlan chat NETWORK TEXT` to all of a network"
    return table([_row(row) for row in rows])


def _row(row: dict[str, Any]) -> dict[str, Any]:
    last = row["last"]
    when = time.localtime(last["time"])
    today = time.strftime(DAY, when) == time.strftime(DAY)
    return {
        "with": row["title"] + (" (network)" if row["kind"] == "network" else ""),
        "unread": row["unread"] or None,
        "last": time.strftime("%H:%M" if today else "%Y-%m-%d", when),
        "text": f"{'me' if last['own'] else last['name']}: {preview(last['text'])}",
    }
