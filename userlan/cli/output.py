"""How things are printed: JSON with stable keys for programs, aligned columns for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def as_json(value: Any) -> str:
    """Indented, keys in the order that the contract gives; what is no visible text, and may be a terminal's command, escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if text.replace("\n", "").isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


def printable(text: str) -> str:
    """Somebody else's text for a terminal: nothing that moves its cursor, or that cannot be seen."""
    return "".join(character if character.isprintable() else "�" for character in text)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as aligned columns, the keys in capitals on top; what members have said is made printable."""
    keys = list(rows[0])
    cells = [[key.upper().replace("_", " ") for key in keys]] + [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


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
