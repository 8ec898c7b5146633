"""Somebody else's name for a file, a peer's or the page's, and the name that it gets here.

What comes out is one part of a path on every system: no separators, no control or invisible characters (overrides of the writing
direction among them, by which ``gpj.exe`` is shown as ``exe.jpg``), no leading dot (hidden) or hyphen (an option to programs), no
trailing dot or space (Windows drops them), none of the characters and device names that Windows and FAT keep for themselves, and not
longer than file systems take. The extension is kept.

Rules of names: "Naming Files, Paths, and Namespaces" of the Windows documentation; POSIX.1-2017, 3.170 and 4.7.
"""

from __future__ import annotations

import re
import unicodedata

MAX_OCTETS = 200
"""Octets of a name in UTF-8: file systems take 255 (NAME_MAX), and a number may have to fit in beside it."""
MAX_EXTENSION = 24
"""Octets of an extension that is kept where a name is cut; what is longer is none."""
FALLBACK = "file"
"""What a file is called of whose name nothing is left."""

_SEPARATORS = re.compile(r"[/\\]")
_RESERVED = re.compile(r'[<>:"|?*]')
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *(f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³")]
)
_DOUBLE = re.compile(r"\.tar\.[A-Za-z0-9]{1,5}$")


def safe_name(told: str) -> str:
    """The name under which a file that somebody calls ``told`` may be kept. ``safe_name`` of it is the same again."""
    name = told
    for _ in range(8):        # what one rule takes away may be what kept another one from applying
        cleaned = _cleaned(name)
        if cleaned == name:
            break
        name = cleaned
    return name or FALLBACK


def numbered(name: str, number: int) -> str:
    """``report (2).pdf``: the name to try where ``name`` is taken already; 1 is the name itself."""
    if number == 1:
        return name
    stem, extension = split_extension(name)
    return _fitted(stem, f" ({number}){extension}")


def split_extension(name: str) -> tuple[str, str]:
    """``("report", ".pdf")``, ``("src", ".tar.gz")``, ``("README", "")``."""
    double = _DOUBLE.search(name)
    place = double.start() if double else name.rfind(".")
    if place <= 0 or len(name[place:].encode()) > MAX_EXTENSION:
        return name, ""
    return name[:place], name[place:]


def _cleaned(name: str) -> str:
    name = _SEPARATORS.split(name)[-1]
    name = "".join(" " if unicodedata.category(one) == "Zs" else one for one in name)
    name = "".join(one for one in name if one.isprintable())
    name = unicodedata.normalize("NFC", name)
    name = _RESERVED.sub("_", name)
    name = name.lstrip(". ").rstrip(". ")
    if name.startswith("-"):
        name = "_" + name[1:]
    if name.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        name = "_" + name
    if len(name.encode()) > MAX_OCTETS:
        name = _fitted(*split_extension(name))
    return name


def _fitted(stem: str, ending: str) -> str:
    """Both together, the stem cut so that they are short enough."""
    room = MAX_OCTETS - len(ending.encode())
    return stem.encode()[: max(0, room)].decode("utf-8", "ignore").rstrip(". ") + ending
