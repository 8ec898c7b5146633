"""A file on its way in: blocks of what arrives are written and hashed in threads, one step after the other.

::

    connection ──▶ held (a block is written once BLOCK octets are there) ──thread──▶ Part
         ▲                │
         └── paused while more than HOLD octets wait for the disk
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bridges.files.frames import Buffer
from bridges.files.hashing import Hashing
from bridges.files.inbox import Inbox, InboxError, Part
from bridges.files.threads import Threads
from bridges.files.transfer import Transfer

BLOCK: Final = 1 << 20
"""Octets written in one step, at least."""
HOLD: Final = 6 << 20
"""Octets that may wait for the disk, or for a thread's turn; one step takes all of them."""
SYNCHRONISE: Final = 64 << 20
"""Octets after which the disk is told to write what it has, beside what goes on: else all of it were to be waited for at the end."""

Outcome: TypeAlias = Literal["done", "broken", "later", "held-up", "differs", "failed"]


@attrs.frozen
class Result:
    """How it has ended. ``text``: what is wrong, one line; ``path``, ``sha256``: where it is done."""

    outcome: Outcome
    text: str = ""
    path: Path | None = None
    sha256: str = ""


class Arriving:
    """One file that is being fetched. ``pause``: called with whether the connection is to wait; ``ended``: once, when nothing of it
    touches the disk any more."""

    def __init__(
        self,
        threads: Threads,
        inbox: Inbox,
        transfer: Transfer,
        pause: Callable[[bool], None],
        moved: Callable[[int], None],
        ended: Callable[[Result], None],
    ) -> None:
        self.transfer = transfer
        self.unwanted = False
        """Nobody wants it any more: the part is removed when it is closed."""
        self.hashing: Hashing | None = None
        """What was hashed, once it has ended and may be gone on with."""
        self._threads = threads
        self._inbox = inbox
        self._pause = pause
        self._moved = moved
        self._ended = ended
        self._part: Part | None = None
        self._held: list[Buffer] = []
        self._held_size = 0
        self._busy = False
        self._synchronising = False
        self._synchronised = 0
        self._paused = False
        self._expected = 0
        self._digest = ""
        self._result: Result | None = None

    def open(self, promised: int, hashing: Hashing | None) -> Deferred[int]:
        """Open the part; the offset to fetch from. Where that fails it has ended, and the Deferred never fires."""
        self._busy = True
        opened: Deferred[int] = Deferred()
        step = self._threads.run(self._inbox.open_part, self.transfer.id, self.transfer.size, promised, hashing)
        step.addCallbacks(self._opened, self._failed, (opened,))
        return opened

    def octets(self, data: Buffer) -> None:
        """Octets of the file, in order."""
        if self._result is not None:
            return
        self._expected -= len(data)
        if self._expected < 0:
            self.end(Result("failed", f"{self.transfer.name} sent more than it had offered"))
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > HOLD and not self._paused:
            self._paused = True
            self._pause(True)
        if self._held_size >= BLOCK:
            self._step()

    def trailer(self, digest: str) -> None:
        """That was all; ``digest``: what the sender's octets hash to."""
        if self._expected:
            self.end(Result("failed", f"{self.transfer.name} sent less than it had offered"))
            return
        self._digest = digest
        self._step()

    def end(self, result: Result) -> None:
        """No more will come, for whatever reason; what has come is written first, where it is to be gone on with. Once all has come, the
        connection is not needed any more, and its end means nothing."""
        if self._result is None and not (self._digest and result.outcome == "broken" and not self.unwanted):
            self._result = result
            if result.outcome == "failed" or self.unwanted:
                self._drop_held()
            self._step()

    def stop(self) -> None:
        """The node stops: it goes on when it is started again."""
        if self._result is None:
            self._result = Result("broken", "it goes on by itself")
            self._step()

    # inside: one step at a time

    def _opened(self, part: Part, opened: Deferred[int]) -> None:
        self._busy = False
        self._part = part
        self._expected = self.transfer.size - part.size
        self._synchronised = part.size
        if self._result is not None:
            self._step()
            return
        self._moved(part.size)
        opened.callback(part.size)

    def _step(self) -> None:
        """Do the next thing, unless one is being done."""
        if self._busy:
            return
        part = self._part
        if part is None:
            self._over()
        elif self._held and (self._held_size >= BLOCK or self._digest or self._result is not None):
            buffers, self._held, self._held_size = self._held, [], 0
            self._run(self._written, part.append, buffers)
        elif self._synchronising and (self._digest or self._result is not None):
            return      # the part is not to be closed meanwhile
        elif self._result is not None:
            self._close()
        elif self._digest:
            self._run(self._hashed, part.hash_on)

    def _run(self, then: Callable[[Any], None], function: Callable[..., Any], *arguments: object) -> None:
        self._busy = True
        self._threads.run(function, *arguments).addCallbacks(then, self._failed)

    def _written(self, _: None) -> None:
        self._busy = False
        part = self._part
        if part is not None:
            self._moved(part.size)
            if part.size - self._synchronised >= SYNCHRONISE and not self._synchronising:
                self._synchronising, self._synchronised = True, part.size
                self._threads.run(part.synchronise).addBoth(self._synchronised_some)
        if self._paused and self._held_size <= HOLD // 2:
            self._paused = False
            self._pause(False)
        self._step()

    def _synchronised_some(self, _: object) -> None:
        """What is wrong with the disk is told by the next write, or at the end."""
        self._synchronising = False
        self._step()

    def _hashed(self, complete: bool) -> None:
        self._busy = False
        part = self._part
        if self._result is not None or part is None or not complete:
            self._step()
        elif part.hashing.hexdigest() != self._digest:
            self._run(self._emptied, part.restart)
        else:
            self._run(self._finished, part.finish, self.transfer.file, self.transfer.mtime)

    def _emptied(self, _: None) -> None:
        self._busy = False
        self.end(Result("differs", f"what came is not what {self.transfer.name} sent (their SHA-256 differ)"))

    def _finished(self, path: Path) -> None:
        self._busy = False
        self._part = None
        self._result = Result("done", path=path, sha256=self._digest)
        self._over()

    def _failed(self, failure: Failure) -> None:
        self._busy = False
        self._drop_held()
        known = isinstance(failure.value, InboxError)
        text = str(failure.value) if known else f"the part could not be read again ({failure.getErrorMessage()})"
        self._result = Result("held-up", text)
        self._step()

    def _drop_held(self) -> None:
        self._held, self._held_size = [], 0

    def _close(self) -> None:
        if self._part is not None:
            self.hashing = self._part.hashing
            self._part.close()
            self._part = None
        self._over()

    def _over(self) -> None:
        """Tell, once."""
        result = self._result
        if result is None:
            return
        if self.unwanted and result.outcome != "done":
            self._threads.run(self._inbox.discard, self.transfer.id)
        ended, self._ended = self._ended, _nobody
        ended(result)


def _nobody(result: Result) -> None:
    """It was told already."""
