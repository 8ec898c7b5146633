"""What a file is told to be, and which part of it is wanted (RFC 9110 13 and 14, RFC 6266). Sans-IO."""

from __future__ import annotations

import mimetypes
import os
import re
from typing import Final
from urllib.parse import quote

_TYPES: Final = mimetypes.MimeTypes(filenames=())
"""Python's own table: what the system has beside it differs from computer to computer."""
for _type, _ending in (
    ("text/plain", ".md"), ("text/plain", ".log"), ("text/plain", ".ini"), ("text/plain", ".yaml"), ("text/plain", ".yml"),
    ("image/webp", ".webp"), ("image/avif", ".avif"), ("audio/flac", ".flac"), ("audio/ogg", ".ogg"), ("audio/opus", ".opus"),
    ("audio/mp4", ".m4a"), ("video/mp4", ".m4v"), ("video/webm", ".webm"), ("video/x-matroska", ".mkv"), ("application/epub+zip", ".epub"),
):
    _TYPES.add_type(_type, _ending)

OCTETS: Final = "application/octet-stream"
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""
CLOSED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content Security Policy: nothing at all, where a page adds nothing to it."""
SANDBOX: Final = f"sandbox; {CLOSED}; style-src 'unsafe-inline'; img-src data:"
"""Of files: neither scripts, nor forms, nor an origin."""
PASSIVE: Final = f"{CLOSED}; img-src 'self'; media-src 'self'; object-src 'self'; style-src 'unsafe-inline'"
"""Of files that a browser shows in a viewer of its own, which a sandbox would keep from it."""
_SHOWN: Final = ("image/", "audio/", "video/", "text/", "application/pdf", "application/json")
_RANGE: Final = re.compile(rb"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)


def type_of(name: str) -> str:
    """The media type, by the name."""
    kind, encoding = _TYPES.guess_type(f"x{os.path.splitext(name)[1]}" if "." in name else "x")
    if kind is None or encoding is not None:
        return OCTETS
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def policy_of(kind: str) -> str:
    """The Content Security Policy of a file of this type."""
    viewer = kind.startswith(("image/", "audio/", "video/", "application/pdf")) and not kind.startswith("image/svg")
    return PASSIVE if viewer else SANDBOX


def disposition_of(name: str, kind: str) -> str:
    """Content-Disposition (RFC 6266): shown where browsers can, else kept. No octet of a name is one of the header's own."""
    how = "inline" if kind.startswith(_SHOWN) else "attachment"
    return f"{how}; filename*=UTF-8''{quote(os.fsencode(name), safe='')}"


def tag_of(status: os.stat_result) -> bytes:
    """The ETag: another one whenever the file was written to (RFC 9110 8.8.3)."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'.encode()


def is_known(written: bytes | None, tag: bytes) -> bool:
    """Whether If-None-Match names the tag (RFC 9110 13.1.2)."""
    return any(one.strip().removeprefix(b"W/") in (tag, b"*") for one in (written or b"").split(b","))


def part_of(written: bytes | None, condition: bytes | None, tag: bytes, size: int) -> tuple[int, int] | None:
    """The (first octet, number) that Range asks for; None: the whole. Raises ValueError for a part that is not there (RFC 9110 15.5.17).

    Several parts at once are answered by the whole, as is what cannot be understood (RFC 9110 14.2), and a part of another file than
    there was (If-Range, 13.1.5; a date is never the same: it is too coarse to tell).
    """
    found = _RANGE.fullmatch((written or b"").strip())
    if found is None or (condition is not None and condition.strip() != tag):
        return None
    first, last = found[1], found[2]
    if not first:
        if not last:
            return None
        length = min(int(last), size)
        if not length:
            raise ValueError("an empty part")
        return size - length, length
    begin, end = int(first), int(last) if last else size - 1
    if last and end < begin:
        return None
    if begin >= size:
        raise ValueError("a part behind the end")
    return begin, min(end, size - 1) - begin + 1
