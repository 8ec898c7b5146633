"""How things are printed: JSON with stable keys for programs, aligned columns for people.

Colours are for terminals alone (click takes them away elsewhere), and for those who have not set ``NO_COLOR`` (``main.wants_colours``);
whatever a colour says is said in words too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

json_option = click.option("--json", "json_output", is_flag=True, help="As JSON.")

SIGNALS: dict[str, dict[str, Any]] = {
    "direct": {"fg": "green"},
    "relayed": {"fg": "cyan"},
    "connecting": {"fg": "green", "blink": True},
    "offline": {"fg": "bright_black"},
    "blocked": {"fg": "bright_black"},
}
"""How each state of a peer looks, as in Hamachi: what people of its kind have known for twenty years."""


def say(result: Any, line: str, json_output: bool) -> None:
    """What a command has done: for programs, or for people."""
    click.echo(as_json(result) if json_output else line)


def signal(state: str, text: str) -> str:
    """Text in the colour of a peer's state."""
    return click.style(text, **SIGNALS.get(state, {}))


def as_json(value: Any) -> str:
    """Indented, keys in the order that the contract gives; what is no visible text, and may be a terminal's command, escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if text.replace("\n", "").isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


def heard_later(result: dict[str, Any]) -> str:
    """What is added to the word that something is done, where the mediator does not know yet; a result of an older node says nothing."""
    return "; the mediator learns it when it is back" if result.get("later") else ""


def printable(text: str) -> str:
    """Somebody else's text for a terminal: nothing that moves its cursor, or that cannot be seen."""
    return "".join(character if character.isprintable() else "�" for character in text)


def table(rows: Sequence[dict[str, Any]], paint: Callable[[int, str, str], str] | None = None) -> str:
    """Rows with the same keys as aligned columns, the keys in capitals on top; what members have said is made printable.

    ``paint``: gives a cell its colours, by the row's number, the key, and what stands there."""
    keys = list(rows[0])
    cells = [[key.upper().replace("_", " ") for key in keys]] + [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    lines = []
    for number, line in enumerate(cells, -1):
        gaps = [" " * (width - len(cell)) for cell, width in zip(line, widths, strict=True)]
        if paint is not None and number >= 0:
            line = [paint(number, key, cell) for key, cell in zip(keys, line, strict=True)]
        lines.append("  ".join(cell + gap for cell, gap in zip(line, gaps, strict=True)).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return printable(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def byte_count(count: float) -> str:
    """``1.4 GiB``: binary units, as the memory of the machine counts them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def ago(seconds: float) -> str:
    """``3 min ago``."""
    if seconds < 60:
        return f"{max(0, seconds):.0f} s ago"
    for limit, size, unit in ((3600, 60, "min"), (86400, 3600, "h"), (float("inf"), 86400, "d")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return ""
