"""The store's thread: durable before it is told, in order, and many with one end of a transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.python.failure import Failure

from bridges.chat.records import Message
from bridges.chat.schema import StoreError
from bridges.chat.store import Store
from bridges.chat.worker import Worker
from tests.bridges.harness import Loop


def store(path: Path) -> Store:
    return Store(path, 1000, 1 << 20, lambda text: None)


def add(identifier: str) -> Any:
    return lambda one: one.add_received(identifier, "peer:ben", "ben", "ben", "ben", identifier, 1.0)


def test_jobs_are_done_in_order_and_are_on_the_disk_when_told(loop: Loop, tmp_path: Path) -> None:
    worker = Worker(loop.reactor, lambda: store(tmp_path / "chat.sqlite"))
    loop.call(worker.start)
    seen: list[tuple[str, int]] = []

    def kept(message: Message) -> None:
        with sqlite3.connect(tmp_path / "chat.sqlite") as other:
            seen.append((message.id, other.execute("SELECT count(*) FROM messages").fetchone()[0]))
        other.close()

    def ask() -> Any:
        for number in range(100):
            last = worker.run(add(str(number))).addCallback(kept)
        return last

    loop.call(ask)
    assert [identifier for identifier, _ in seen] == [str(number) for number in range(100)]
    assert all(count > number for number, (_, count) in enumerate(seen))
    assert seen[1][1] > 2, "what is asked for at once shares a transaction"
    loop.call(worker.stop)


def test_the_reactor_does_not_wait(loop: Loop, tmp_path: Path) -> None:
    worker = Worker(loop.reactor, lambda: store(tmp_path / "chat.sqlite"))
    loop.call(worker.start)
    release, threads = threading.Event(), []

    def slow(one: Store) -> None:
        threads.append(threading.current_thread().name)
        release.wait(10)

    done: list[object] = []
    loop.call(lambda: (worker.run(slow).addCallback(done.append), None)[1])
    for _ in range(20):
        loop.call(lambda: None)
    assert done == []
    release.set()
    loop.call(worker.run, add("x"))
    assert (done, threads) == ([None], ["chat"])
    loop.call(worker.stop)


def test_a_job_that_fails_takes_no_other_with_it(loop: Loop, tmp_path: Path) -> None:
    worker = Worker(loop.reactor, lambda: store(tmp_path / "chat.sqlite"))
    loop.call(worker.start)

    def broken(one: Store) -> None:
        add("gone")(one)
        raise ValueError("broken")

    results: list[Any] = []

    def ask() -> Any:
        worker.run(add("a")).addBoth(results.append)
        worker.run(broken).addBoth(results.append)
        return worker.run(add("b")).addBoth(results.append)

    loop.call(ask)
    assert isinstance(results[0], Message)
    assert isinstance(results[1], Failure)
    assert isinstance(results[1].value, ValueError)
    assert isinstance(results[2], Message)
    history, _ = loop.call(worker.run, lambda one: one.history("peer:ben", None, 9))
    assert [message.id for message in history] == ["a", "b"]
    loop.call(worker.stop)


def test_a_database_that_is_locked_is_told_and_not_the_end(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.chat.schema.BUSY_TIMEOUT", 0.05)
    path = tmp_path / "chat.sqlite"
    worker = Worker(loop.reactor, lambda: store(path))
    loop.call(worker.start)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        loop.call(worker.run, add("a"))
    other.execute("ROLLBACK")
    other.close()
    assert loop.call(worker.run, add("a")) is not None
    loop.call(worker.stop)


def test_a_newer_one_is_told_to_whoever_starts(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    store(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(StoreError, match="newer userlan"):
        loop.call(Worker(loop.reactor, lambda: store(path)).start)


def test_what_was_asked_for_is_done_before_the_end(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    worker = Worker(loop.reactor, lambda: store(path))
    loop.call(worker.start)

    def ask_and_stop() -> Any:
        for number in range(300):
            worker.run(add(str(number)))
        return worker.stop()

    begin = time.monotonic()
    loop.call(ask_and_stop)
    assert time.monotonic() - begin < 30
    again = store(path)
    assert len(again.history("peer:ben", None, 1000)[0]) == 300
    again.close()
