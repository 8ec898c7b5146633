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

from twisted.internet.defer import Deferred

from userlan.driver.commands import Commands, Reply
from userlan.driver.threads import in_thread
from userlan.lan.filenames import safe_name
from userlan.web.checks import Refusal

if TYPE_CHECKING:
    from userlan.web.request import PageRequest

MAX_UPLOADS = 4
"""Uploads at once; the page sends one file after the other."""
MAX_ARGUMENT = 1024
"""Octets of a name or a receiver in the request's query."""
RESERVE = 256 << 20
"""Octets of the disk that an upload leaves free."""
HOLD = 1 << 20
"""Octets that wait for the disk before the browser has to."""
PART = ".part"
COMMAND = "files-send"


class Spool:
    """One upload on its way to the disk: what comes is written in a thread, one step after the other, while more comes.

    ``pause`` is called with whether the browser is to wait. What goes wrong is told once: ``error``.
    """

    def __init__(self, uploads: Uploads, folder: Path, name: str, to: str, size: int, pause: Callable[[bool], None]) -> None:
        self.path = folder / name
        self.to = to
        self.left = size
        self.error = ""
        self._uploads = uploads
        self._folder = folder
        self._pause = pause
        self._file: BinaryIO | None = (folder / PART).open("xb", buffering=0)
        self._held: list[bytes] = []
        self._size = 0
        self._busy = self._paused = False
        self._then: Callable[[bool], object] | None = None

    def write(self, data: bytes) -> None:
        """The next octets; a disk that is full ends it."""
        if self._file is None or self.error:
            return
        self.left -= len(data)
        self._held.append(data)
        self._size += len(data)
        if self._size > HOLD and not self._paused:
            self._paused = True
            self._pause(True)
        self._step()

    def complete(self, then: Callable[[bool], object]) -> None:
        """All has come: ``then`` is called with whether the file is there under its name."""
        self._then = then
        self._step()

    def discard(self) -> None:
        """It does not come to its end; one that has come already does. Idempotent."""
        if self._then is None:
            self.error = self.error or "it was broken off"
            self._held.clear()
            self._step()

    def remove(self) -> Deferred[None]:
        """Nobody needs it; fires when it is gone."""
        return self._uploads.run(self._remove)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Do the next thing, unless one is being done."""
        file = self._file
        if self._busy:
            return
        if file is None:
            self._uploads.ended(self)
            then, self._then = self._then, None
            if then is not None:
                then(not self.error)
        elif self._held and not self.error:
            data, self._held, self._size = b"".join(self._held), [], 0
            self._run(_write, file, data)
        elif self.error:
            self._file = None
            self._run(self._give_up, file)
        elif self._then is not None:
            self._file = None
            self._run(self._finish, file)

    def _run(self, function: Callable[..., None], *arguments: object) -> None:
        self._busy = True
        self._uploads.run(function, *arguments).addErrback(self._failed).addCallback(self._went_on)

    def _failed(self, failure: Any) -> None:
        self.error = getattr(failure.value, "strerror", None) or failure.getErrorMessage()
        self._held.clear()

    def _went_on(self, _: object) -> None:
        self._busy = False
        if self._paused and (self.error or not self._held):
            self._paused = False
            self._pause(False)
        self._step()

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _finish(self, file: BinaryIO) -> None:
        try:
            file.close()
            (self._folder / PART).rename(self.path)
        except OSError:
            self._remove()
            raise

    def _give_up(self, file: BinaryIO) -> None:
        file.close()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class Uploads:
    """All uploads of one page."""

    def __init__(self, reactor: Any, folder: Path, commands: Commands, free: Callable[[Path], int] | None = None) -> None:
        """``free``: octets that are free where a folder is."""
        self._reactor = reactor
        self._folder = folder
        self._commands = commands
        self._free = free or (lambda path: shutil.disk_usage(path).free)
        self._active: set[Spool] = set()
        self._idle: list[Deferred[None]] = []

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

    def begin(
        self, query: dict[bytes, list[bytes]], length: int, pause: Callable[[bool], None]
    ) -> tuple[Spool | None, Refusal | None]:
        """Make its place. ``pause``: has the browser wait, or go on."""
        try:
            to, name = (query[key][0][:MAX_ARGUMENT].decode() for key in (b"to", b"name"))
        except (KeyError, UnicodeDecodeError):
            return None, Refusal(400, "an upload says to whom it goes and what it is called: ?to=…&name=…")
        folder = self._folder / secrets.token_hex(8)
        try:
            folder.mkdir(mode=0o700)
            spool = Spool(self, folder, safe_name(name), to, length, pause)
        except OSError as error:
            return None, Refusal(507, f"the file cannot be kept: {error.strerror}")
        self._active.add(spool)
        return spool, None

    def ended(self, spool: Spool) -> None:
        """It takes no place any more. Idempotent."""
        self._active.discard(spool)
        if not self._active:
            waiting, self._idle = self._idle, []
            for one in waiting:
                one.callback(None)

    def stop(self) -> Deferred[None]:
        """Break off what is on its way; called back when nothing touches the disk any more."""
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        for spool in list(self._active):
            spool.discard()
        if not self._active:
            self._idle.remove(idle)
            idle.callback(None)
        return idle

    def run(self, function: Callable[..., None], *arguments: object) -> Deferred[None]:
        """What blocks, in a thread."""
        return in_thread(self._reactor, function, *arguments)

    def received(self, request: PageRequest) -> None:
        """The body is there: offer the file. The browser that goes away now goes too late."""
        spool, request.spool = request.spool, None
        answer = Offered(request, spool)
        request.notifyFinish().addErrback(answer.gone)
        spool.complete(lambda kept: self._offer(spool, answer) if kept else answer.not_kept())

    def _offer(self, spool: Spool, answer: Offered) -> None:
        self._commands.serve(COMMAND, {"to": spool.to, "paths": [str(spool.path)], "spooled": True}, answer)


class Offered(Reply):
    """The answer to ``files-send`` as that of the upload."""

    def __init__(self, request: PageRequest, spool: Spool) -> None:
        self._request: PageRequest | None = request
        self._spool = spool

    def item(self, value: object) -> None:
        """The progress is told by ``files-watch``."""

    def done(self, value: object) -> None:
        self._answer(200, value)

    def refuse(self, text: str) -> None:
        self._spool.remove().addCallback(lambda _: self._answer(409, {"error": text}))

    def on_cancel(self, action: Callable[[], object]) -> None:
        """It is not called off: the file is there, whoever has gone away."""

    def not_kept(self) -> None:
        """The disk did not take it."""
        request, self._request = self._request, None
        if request is not None:
            request.refuse(Refusal(507, f"the file cannot be kept: {self._spool.error}"))

    def gone(self, _: Any) -> None:
        """The browser went away: the file is there, and goes its way."""
        self._request = None

    def _answer(self, code: int, value: object) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.answer_json(code, value)
