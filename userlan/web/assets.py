"""The page's own files: read out of the package once, and looked up by name.

No path of a request ever becomes a path of the disk: what is not among the names that were found is not there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import attrs

CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain; charset=utf-8",
}
"""By a name's ending. A file with another ending is not served: with nosniff a browser would make nothing of it."""
INDEX = "index.html"
MAX_DEPTH = 4
"""Folders inside each other: bounds the walk through a package that was tampered with."""


@attrs.frozen
class Asset:
    """One file. ``etag`` (RFC 9110 section 8.8.3) is its contents' hash."""

    data: bytes
    content_type: bytes
    etag: bytes


class Assets:
    """All of them, by the path of a request (``/app.js``)."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """``folder``: the package's own, where none is given."""
        self._found = {f"/{name}".encode(): asset for name, asset in _read(folder or files("userlan.web") / "static", "", MAX_DEPTH)}
        self._found[b"/"] = self._found[f"/{INDEX}".encode()]

    def get(self, path: bytes) -> Asset | None:
        """The file of a request's path, exactly as it is written."""
        return self._found.get(path)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._found)


def _read(folder: Traversable, prefix: str, depth: int) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        kind = CONTENT_TYPES.get(entry.name.rpartition(".")[2])
        if entry.is_dir() and depth > 1:
            yield from _read(entry, f"{prefix}{entry.name}/", depth - 1)
        elif kind is not None and entry.is_file():
            data = entry.read_bytes()
            tag = hashlib.blake2b(data, digest_size=12).hexdigest()
            yield prefix + entry.name, Asset(data, kind.encode(), f'"{tag}"'.encode())
