"""From a shared folder to what lies in it, and to nothing else.

Why not ``realpath`` and a look whether it begins as the folder does: between the look and the opening, whoever may write in the folder can
put a link there. Each part is opened in the descriptor of the one before it, and none that is a link (openat(2), ``O_NOFOLLOW``). Where a
system has no such thing, each part is looked at before the next.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Any, Final

import attrs

BY_DESCRIPTOR: Final = {os.open, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd
MAX_READ: Final = 20_000
"""Entries of a folder that are read: a seventh of a second, which other threads have to wait for in part."""
MAX_LISTED: Final = 5000
"""Of them, those that are shown: more is nothing that anybody reads, and a page of a megabyte."""
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_INSIDE: Final = os.O_RDONLY | reduce(
    or_, (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
)
_FOREIGN: Final = '\\:*?"<>|'
"""What Windows makes something else of than a name."""
_REPARSE_POINT: Final = 0x400
"""FILE_ATTRIBUTE_REPARSE_POINT: Windows' links and junctions."""

Place = int | str
"""A descriptor; of a folder, a path where there are none of folders."""


class AbsentError(Exception):
    """There is nothing that is served."""


class GoneError(AbsentError):
    """The shared folder itself is not there."""


@attrs.frozen
class Entry:
    """One line of a listing. ``size`` in octets, ``modified`` in seconds since 1970."""

    name: str
    is_folder: bool
    size: int = 0
    modified: float = 0.0


@attrs.frozen
class Listed:
    """What a folder holds. ``seen``: how many entries there are that could be shown; ``more``: and there are others that were not read."""

    entries: tuple[Entry, ...]
    seen: int
    more: bool = False


@attrs.frozen
class Opened:
    """A file: its descriptor is the caller's."""

    descriptor: int
    status: os.stat_result


def is_shown(name: str) -> bool:
    """Whether a name is one of those that are listed and served."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return False
    return os.name != "nt" or not (name.endswith((" ", ".")) or any(one in _FOREIGN for one in name))


def look(root: str, parts: Sequence[str], by_descriptor: bool = BY_DESCRIPTOR) -> Opened | Listed:
    """What is at the end of ``parts`` in a folder: a file, opened, or what a folder holds. Blocks. Raises AbsentError."""
    if not all(is_shown(part) for part in parts):
        raise AbsentError
    try:
        place: Place = os.open(root, _FOLDER) if by_descriptor else _existing(root)
    except (OSError, ValueError):
        raise GoneError from None
    try:
        status: os.stat_result | None = None
        for part in parts:
            if status is not None and not stat.S_ISDIR(status.st_mode):
                raise AbsentError
            inner, status = _step(place, part)
            _close(place)
            place = inner
        if status is None or stat.S_ISDIR(status.st_mode):
            return _listed(place)
        descriptor, place = place, ""
        assert isinstance(descriptor, int)
        return Opened(descriptor, status)
    except (OSError, ValueError):
        raise AbsentError from None
    finally:
        _close(place)


def _existing(root: str) -> str:
    if not os.path.isdir(root):
        raise FileNotFoundError
    return root


def _step(place: Place, part: str) -> tuple[Place, os.stat_result]:
    """What a name is in a place, opened. A device is not even opened: that alone may do something."""
    inside: dict[str, Any] = {"dir_fd": place} if isinstance(place, int) else {}
    path = part if isinstance(place, int) else os.path.join(place, part)
    before = os.stat(path, follow_symlinks=False, **inside)
    if not _is_served(before):
        raise AbsentError
    if isinstance(place, str) and stat.S_ISDIR(before.st_mode):
        return path, before
    descriptor = os.open(path, _INSIDE, **inside)
    status = os.fstat(descriptor)
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(before.st_mode):
        os.close(descriptor)
        raise AbsentError
    return descriptor, status


def _is_served(status: os.stat_result) -> bool:
    if getattr(status, "st_file_attributes", 0) & _REPARSE_POINT:
        return False
    return stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)


def _listed(place: Place) -> Listed:
    found: list[tuple[bool, str, os.DirEntry[str]]] = []
    more = True
    with os.scandir(place) as entries:
        for _ in range(MAX_READ):
            entry = next(entries, None)
            if entry is None:
                more = False
                break
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_shown(entry.name) and (is_folder or entry.is_file(follow_symlinks=False)):
                found.append((not is_folder, entry.name.casefold(), entry))
    found.sort(key=lambda one: (*one[:2], one[2].name))
    shown: list[Entry] = []
    for _, _, entry in found:
        if len(shown) >= MAX_LISTED:
            break
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if _is_served(status):
                shown.append(Entry(entry.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime))
    return Listed(tuple(shown), len(found), more)


def _close(place: Place) -> None:
    if isinstance(place, int):
        os.close(place)
