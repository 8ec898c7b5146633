"""Files that the page hands over to be sent: spooled to the state folder, then offered by the command ``files-send``.

::

    STATE/uploads/ID/.part     while it comes in
    STATE/uploads/ID/NAME      complete; whoever sends the files removes it when it is not needed any more

A browser does not tell where a file is on the disk, so that its octets have to come here first. Nothing is written before the session and
the origin of the request were checked, nor more than the disk can take and still have room.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.logger import Logger

from userlan.driver.commands import Commands, Reply
from userlan.web.checks import Refusal

if TYPE_CHECKING:
    from userlan.web.request import PageRequest

MAX_UPLOADS = 4
"""Uploads at once; the page sends one file after the other."""
MAX_ARGUMENT = 1024
"""Octets of a name or a receiver in the request's query."""
MAX_NAME = 200
"""Octets of a file's name as it is kept: below the 255 of every file system, with room for a suffix."""
RESERVE = 256 << 20
"""Octets of the disk that an upload leaves free."""
PART = ".part"
COMMAND = "files-send"
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))})
"""Names of devices on Windows, with any suffix."""


def safe_name(written: str) -> str:
    """A file's name of somebody else's choice as one that is a plain file in any folder, on any system."""
    last = written.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character if character.isprintable() and character not in '<>:"|?*' else "_" for character in last)
    kept = kept.strip(" .") or "file"
    if kept.partition(".")[0].strip().lower() in RESERVED:
        kept = f"_{kept}"
    stem, dot, suffix = kept.rpartition(".")
    if dot and len(suffix.encode("utf-8", "replace")) <= 20:
        return f"{_cut(stem, MAX_NAME - 21)}.{suffix}"
    return _cut(kept, MAX_NAME)


def _cut(text: str, octets: int) -> str:
    return text.encode("utf-8", "replace")[:octets].decode("utf-8", "ignore")


class Spool:
    """One upload on its way to the disk."""

    def __init__(self, uploads: Uploads, folder: Path, name: str, to: str, size: int) -> None:
        self.path = folder / name
        self.to = to
        self.left = size
        self.error = ""
        self._uploads = uploads
        self._folder = folder
        self._file: BinaryIO | None = (folder / PART).open("xb")

    def write(self, data: bytes) -> None:
        """The next octets; a disk that is full ends it."""
        if self._file is None:
            return
        try:
            self._file.write(data)
            self.left -= len(data)
        except OSError as error:
            self.error = error.strerror or str(error)
            self.discard()

    def complete(self) -> bool:
        """All is there: it gets its name. Whether that is so."""
        file, self._file = self._file, None
        self._uploads.ended(self)
        if file is None:
            return False
        try:
            file.close()
            (self._folder / PART).rename(self.path)
        except OSError as error:
            self.error = error.strerror or str(error)
            self.remove()
            return False
        return True

    def discard(self) -> None:
        """It does not come to its end. Idempotent."""
        file, self._file = self._file, None
        self._uploads.ended(self)
        if file is not None:
            file.close()
            self.remove()

    def remove(self) -> None:
        """Nobody needs it."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Uploads:
    """All uploads of one page."""

    _log = Logger()

    def __init__(self, folder: Path, commands: Commands, free: Callable[[Path], int] | None = None) -> None:
        """``free``: octets that are free where a folder is."""
        self._folder = folder
        self._commands = commands
        self._free = free or (lambda path: shutil.disk_usage(path).free)
        self._active: set[Spool] = set()

    def sweep(self) -> None:
        """Remove what a node that was killed has left half done."""
        if self._folder.is_dir():
            for part in self._folder.glob(f"*/{PART}"):
                shutil.rmtree(part.parent, ignore_errors=True)

    def refuses(self, length: int | None) -> Refusal | None:
        """Before anything of it is read: an upload of so many octets (None: it does not say)."""
        if length is None:
            return Refusal(411, "an upload says how long it is")
        if COMMAND not in self._commands:
            return Refusal(503, "this node sends no files")
        if len(self._active) >= MAX_UPLOADS:
            return Refusal(503, f"{MAX_UPLOADS} files are being handed over already")
        expected = length + sum(spool.left for spool in self._active)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            free = self._free(self._folder)
        except OSError as error:
            return Refusal(507, f"the file cannot be kept: {error.strerror}")
        return Refusal(507, "the disk has no room for this file") if expected + RESERVE > free else None

    def begin(self, query: dict[bytes, list[bytes]], length: int) -> tuple[Spool | None, Refusal | None]:
        """Make its place."""
        try:
            to, name = (query[key][0][:MAX_ARGUMENT].decode() for key in (b"to", b"name"))
        except (KeyError, UnicodeDecodeError):
            return None, Refusal(400, "an upload says to whom it goes and what it is called: ?to=…&name=…")
        folder = self._folder / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700)
            spool = Spool(self, folder, safe_name(name), to, length)
        except OSError as error:
            return None, Refusal(507, f"the file cannot be kept: {error.strerror}")
        self._active.add(spool)
        return spool, None

    def ended(self, spool: Spool) -> None:
        """It takes no place any more."""
        self._active.discard(spool)

    def received(self, request: PageRequest) -> None:
        """The body is there: offer the file."""
        spool, request.spool = request.spool, None
        if not spool.complete():
            request.refuse(Refusal(507, f"the file cannot be kept: {spool.error or 'the disk is full'}"))
            return
        arguments = {"to": spool.to, "paths": [str(spool.path)], "spooled": True}
        answer = Offered(request, spool)
        request.notifyFinish().addErrback(answer.gone)
        self._commands.serve(COMMAND, arguments, answer)


class Offered(Reply):
    """The answer to ``files-send`` as that of the upload."""

    def __init__(self, request: PageRequest, spool: Spool) -> None:
        self._request: PageRequest | None = request
        self._spool = spool
        self._cancelled: Callable[[], object] | None = None

    def item(self, value: object) -> None:
        """The progress is told by ``files-watch``."""

    def done(self, value: object) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.answer_json(200, value)

    def refuse(self, text: str) -> None:
        self._spool.remove()
        request, self._request = self._request, None
        if request is not None:
            request.answer_json(409, {"error": text})

    def on_cancel(self, action: Callable[[], object]) -> None:
        self._cancelled = action

    def gone(self, _: Any) -> None:
        """The browser went away: the file is there, and goes its way."""
        self._request = None
