"""What a folder holds, as a page: no script, nothing from elsewhere, and names are never markup. Sans-IO."""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from bridges.folders.content import CLOSED
from bridges.folders.tree import Entry, Listed

STYLE: Final = """
:root { color-scheme: light dark; --paper: light-dark(#fdf8ee, #1f1a16); --ink: light-dark(#2e2721, #f2e9dc);
  --soft: light-dark(#65594e, #bcae9d); --line: light-dark(#dfd2bd, #473c33); --link: light-dark(#1f5f7a, #8ccbe4); }
body { background: var(--paper); color: var(--ink); font: 1rem/1.5 Seravek, Ubuntu, Calibri, "DejaVu Sans", sans-serif;
  margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
p { color: var(--soft); }
table { border-collapse: collapse; width: 100%; }
th { color: var(--soft); font-weight: normal; text-align: start; }
td, th { border-bottom: 1px solid var(--line); padding: .45rem .3rem; vertical-align: baseline; }
td:first-child { overflow-wrap: anywhere; }
td a { display: block; }
td:nth-child(n+2) { color: var(--soft); white-space: nowrap; }
.number { font-variant-numeric: tabular-nums; text-align: end; }
@media (max-width: 34rem) { .date { display: none; } td a { padding: .3rem 0; } }
"""
POLICY: Final = f"{CLOSED}; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""Content Security Policy of these pages: their own style alone."""
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


def readable(name: str) -> str:
    """A name as it is shown: what is no character, or turns the direction of the text around, is replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def link(parts: Sequence[str], is_folder: bool = True) -> str:
    """The path of a request for what lies at the end of ``parts``."""
    return "/" + "".join(f"{quote(os.fsencode(part), safe='')}/" for part in parts)[: None if is_folder else -1]


def folder_page(parts: Sequence[str], listed: Listed) -> bytes:
    """The page of a folder: ``parts[0]`` is the name under which it is shared."""
    rows = [_row(parts, entry) for entry in listed.entries]
    said = []
    if listed.more or listed.seen > len(rows):
        said.append(f"{len(rows):,} of {listed.seen:,}{' or more' if listed.more else ''} entries are shown.")
    elif not rows:
        said.append("This folder is empty.")
    crumbs = ['<a href="/">Folders</a>']
    crumbs += [f'<a href="{link(parts[: depth + 1])}"><bdi>{_text(part)}</bdi></a>' for depth, part in enumerate(parts[:-1])]
    heading = " / ".join([*crumbs, f"<bdi>{_text(parts[-1])}</bdi>"])
    return _page(readable(parts[-1]), heading, said, rows)


def index_page(names: Sequence[str]) -> bytes:
    """The page of all folders that somebody may see."""
    rows = [_row((), Entry(name, True)) for name in names]
    return _page("Folders", "Folders", [] if rows else ["Nothing is shared."], rows)


def notice_page(title: str, words: str) -> bytes:
    """Something that is to be said instead."""
    return _page(title, html.escape(title), [html.escape(words)], [])


def size_text(size: int) -> str:
    """Octets for people."""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{size} B" if not unit else f"{number:.1f} {_UNITS[unit]}" if number < 9.95 else f"{number:.0f} {_UNITS[unit]}"


def _text(name: str) -> str:
    return html.escape(readable(name))


def _row(parts: Sequence[str], entry: Entry) -> str:
    name = f'<a href="{link([*parts, entry.name], entry.is_folder)}"><bdi>{_text(entry.name)}</bdi>{"/" if entry.is_folder else ""}</a>'
    size = "" if entry.is_folder else size_text(entry.size)
    return f'<tr><td>{name}</td><td class="number">{size}</td><td class="date">{_date(entry.modified)}</td></tr>'


def _date(seconds: float) -> str:
    if not seconds:
        return ""
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):    # a date that nobody's calendar has
        return ""
    return f"<time datetime=\"{when:%Y-%m-%dT%H:%MZ}\">{when:%Y-%m-%d %H:%M}</time>"


def _page(title: str, heading: str, said: Sequence[str], rows: Sequence[str]) -> bytes:
    head = '<tr><th scope="col">Name</th><th scope="col" class="number">Size</th><th scope="col" class="date">Changed (UTC)</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>\n" if rows else ""
    words = "".join(f"<p>{one}</p>\n" for one in said)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{heading}</h1>\n{words}{table}"
        "</main>\n</body>\n</html>\n"
    ).encode()
