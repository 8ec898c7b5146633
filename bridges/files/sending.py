"""A file on its way out over a connection: read in threads, a block ahead of what the connection takes.

::

    Reader ──thread──▶ ready (AHEAD blocks at most) ──▶ transport       paused: they wait here, and no more are read
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from bridges.files import frames
from bridges.files.frames import HEADER, MAX_BLOCK, Broken, Trailer, encode
from bridges.files.hashing import Hashing
from bridges.files.source import Reader, SourceError
from bridges.files.threads import Threads
from bridges.files.transfer import Transfer

STEP: Final = 3
"""Blocks that are read in one step: a thread may have to wait for its turn, and does not for each."""
AHEAD: Final = 2 * STEP
"""Blocks that are read before the connection takes them: while one step's leave, the next ones are read."""
HASHING_INTERVAL: Final = 5.0
"""Seconds between two signs of life while the whole is still being hashed."""


@implementer(IPushProducer)
class Sending:
    """One file, or the rest of it. ``ended``: told once how it ended: None (all was sent), or what was wrong; not where it was stopped.
    ``released``: told once what was hashed, when no thread touches it any more."""

    def __init__(
        self,
        transport: Any,
        reactor: Any,
        threads: Threads,
        transfer: Transfer,
        moved: Callable[[int], None],
        ended: Callable[[SourceError | None], None],
        released: Callable[[Hashing], None],
    ) -> None:
        self.transfer = transfer
        self._transport = transport
        self._reactor = reactor
        self._threads = threads
        self._moved = moved
        self._ended = ended
        self._released = released
        self._reader: Reader | None = None
        self._ready: list[memoryview] = []
        self._reading = False
        self._at_end = False
        self._paused = False
        self._stopped = False
        self._sent = 0
        self._told_at = 0.0

    def start(self, offset: int, hashing: Hashing) -> Any:
        """Open the file; a Deferred that fires once it is (then :meth:`go`), and fails with SourceError."""
        self._sent = offset
        self._reading = True
        opened = self._threads.run(Reader, self.transfer.path, self.transfer.source, offset, hashing)
        return opened.addCallback(self._opened)

    def go(self) -> None:
        """Let the octets run."""
        unit = getattr(self._transport, "unit", 0) or MAX_BLOCK
        self._most = max(unit, MAX_BLOCK // unit * unit) - HEADER
        self._most = min(self._most, MAX_BLOCK)
        self._transport.registerProducer(self, True)
        self._read()

    # IPushProducer

    def pauseProducing(self) -> None:
        """The connection is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It takes more."""
        self._paused = False
        self._write()

    def stopProducing(self) -> None:
        """The connection is gone, or nobody wants it any more. Idempotent."""
        self._stopped = True
        self._ready.clear()
        self._close()

    # inside

    def _opened(self, reader: Reader) -> None:
        self._reader = reader
        self._reading = False
        if self._stopped:
            self._close()

    def _close(self) -> None:
        if self._reader is not None and not self._reading:
            reader, self._reader = self._reader, None
            reader.close()
            self._released(reader.hashing)

    def _read(self) -> None:
        if self._reading or self._stopped or self._at_end or len(self._ready) > AHEAD - STEP or self._reader is None:
            return
        self._reading = True
        self._threads.run(self._reader.blocks, self._most, STEP).addCallbacks(self._have_read, self._failed)

    def _have_read(self, blocks: list[memoryview]) -> None:
        self._reading = False
        if self._stopped:
            self._close()
        else:
            self._at_end = len(blocks) < STEP
            self._ready += blocks
            self._write()

    def _write(self) -> None:
        self._read()
        while self._ready and not self._paused and not self._stopped:
            block = self._ready.pop(0)
            self._sent += len(block) - HEADER
            self._transport.write(block)
            self._moved(self._sent)
        if self._at_end and not self._ready and not self._stopped:
            self._hash_on()
        else:
            self._read()

    def _hash_on(self) -> None:
        """All has been written: the trailer follows once the whole is hashed."""
        if self._reading or self._reader is None:
            return
        self._reading = True
        self._threads.run(self._reader.hash_on).addCallbacks(self._hashed, self._failed)

    def _hashed(self, complete: bool) -> None:
        self._reading = False
        if self._stopped:
            self._close()
        elif not complete:
            self._say_hashing()
            self._hash_on()
        elif self._reader is not None:
            self._finish(encode(Trailer(self.transfer.token, self._reader.hashing.hexdigest())), None)

    def _say_hashing(self) -> None:
        now = self._reactor.seconds()
        if now - self._told_at >= HASHING_INTERVAL:
            self._told_at = now
            self._transport.write(encode(frames.Hashing(self.transfer.token)))
            self._moved(self._sent)

    def _failed(self, failure: Failure) -> None:
        self._reading = False
        if self._stopped:
            self._close()
            return
        error = failure.value
        if not isinstance(error, SourceError):
            self._transport.abortConnection()
            failure.raiseException()
        self._finish(encode(broken(self.transfer.token, error)), error)

    def _finish(self, last: bytes, error: SourceError | None) -> None:
        self._transport.unregisterProducer()
        self._transport.write(last)
        self._stopped = True
        self._close()
        self._ended(error)


def broken(token: str, error: SourceError) -> Broken:
    """What the receiver is told of a file that cannot be sent."""
    return Broken(token, str(error)[:300], error.final)
