"""The store's own thread: the reactor never waits for the disk, and what is asked for at the same time shares one end of a transaction.

::

    reactor: run(job) ──▶ queue ──▶ thread: BEGIN, job, job, … COMMIT (the disk has it) ──▶ reactor: the Deferreds fire, in order
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bridges.chat.store import Store
from userlan.driver.reasons import failure_of

Result = TypeVar("Result")
Job = Callable[[Store], Any]

MAX_BATCH = 256
"""Jobs of one transaction: what waits for its end waits for all of them."""


class Worker:
    """Runs jobs on a store in a thread, one after the other."""

    def __init__(self, reactor: Any, open_store: Callable[[], Store]) -> None:
        self._reactor = reactor
        self._open = open_store
        self._jobs: queue.SimpleQueue[tuple[Job, Deferred[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Open the store; fails with StoreError."""
        opened: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._main, args=(opened,), name="chat", daemon=True)
        self._thread.start()
        return opened

    def run(self, job: Callable[[Store], Result]) -> Deferred[Result]:
        """The job's result, once the disk has what it wrote; fails with StoreError where that cannot be, else with what the job raises."""
        done: Deferred[Result] = Deferred()
        self._jobs.put((job, done))
        return done

    def stop(self) -> Deferred[None]:
        """Do what was asked for, then close. Called once, after ``start`` has ended well."""
        self._closed = Deferred()
        self._jobs.put(None)
        return self._closed

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _main(self, opened: Deferred[None]) -> None:
        try:
            store = self._open()
        except BaseException:
            self._reactor.callFromThread(opened.errback, failure_of())
            return
        self._reactor.callFromThread(opened.callback, None)
        last = False
        while not last:
            batch, last = self._batch()
            if batch:
                self._reactor.callFromThread(_tell, self._carry_out(store, batch))
        try:
            store.close()
        finally:
            self._reactor.callFromThread(self._ended)

    def _batch(self) -> tuple[list[tuple[Job, Deferred[Any]]], bool]:
        """What there is to do, at least one; and whether it is the last."""
        batch: list[tuple[Job, Deferred[Any]]] = []
        one = self._jobs.get()
        while one is not None:
            batch.append(one)
            if len(batch) >= MAX_BATCH:
                return batch, False
            try:
                one = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    @staticmethod
    def _carry_out(store: Store, batch: list[tuple[Job, Deferred[Any]]]) -> list[tuple[Deferred[Any], Any]]:
        results: list[tuple[Deferred[Any], Any]] = []
        try:
            with store.transaction():
                for job, done in batch:
                    try:
                        with store.part():
                            results.append((done, job(store)))
                    except sqlite3.DatabaseError:
                        raise
                    except Exception:
                        results.append((done, failure_of()))
        except BaseException:
            failure = failure_of()     # none of it has happened
            return [(done, failure) for _, done in batch]
        return results

    # --- in the reactor ----------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._closed is not None:
            self._closed.callback(None)


def _tell(results: list[tuple[Deferred[Any], Any]]) -> None:
    for done, result in results:
        if isinstance(result, Failure):
            done.errback(result)
        else:
            done.callback(result)
