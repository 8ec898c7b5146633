"""The tables of the chat's database, and what is done with a file that is none, is damaged, or is newer than this program."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

VERSION = 1
"""Of the tables (``PRAGMA user_version``). A later program brings the tables of an earlier one up to its own; an earlier one does not
touch a later one's."""

APPLICATION = 0x756C6368
"""``PRAGMA application_id``: "ulch"."""

SYNCHRONOUS = "FULL"
"""A transaction that has ended is on the disk: what is acknowledged is not lost when the power is."""

BUSY_TIMEOUT = 5.0
"""Seconds to wait for somebody else who looks at the file (sqlite3, a backup)."""

TABLES = """
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    conversation TEXT NOT NULL,
    author TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    time REAL NOT NULL,
    own INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL
);
CREATE INDEX messages_of_conversation ON messages (conversation, seq);
CREATE INDEX messages_of_author ON messages (author, conversation, seq, size);
CREATE TABLE outbox (
    recipient TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (recipient, seq)
) WITHOUT ROWID;
CREATE INDEX outbox_of_message ON outbox (seq);
CREATE TABLE seen (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (author, id)
);
CREATE INDEX seen_of_author ON seen (author, number);
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    read INTEGER NOT NULL DEFAULT 0,
    muted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The database cannot be used; ``str()`` is one line that says what is wrong and what to do."""


def open_database(path: Path, report: Callable[[str], None]) -> sqlite3.Connection:
    """The database in ``path``, made where there is none; StoreError when it is newer than this program or the disk does not let it be
    opened. A damaged one is renamed to ``*.corrupt`` and told to ``report``."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with contextlib.suppress(OSError):
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"chat is off: {path} cannot be opened: {error.strerror}") from error
    try:
        return _opened(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise StoreError(f"chat is off: {path} cannot be opened: {error}") from error
        set_aside(path)
        report(f"{path} is damaged ({error}); it was set aside as {path.name}.corrupt, going on without its messages")
        return open_fresh(path)


def open_fresh(path: Path) -> sqlite3.Connection:
    """An empty one in place of what was set aside; StoreError when the disk does not take it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return _opened(path)
    except (OSError, sqlite3.DatabaseError) as error:
        raise StoreError(f"chat is off: {path} cannot be made: {error}") from error


def set_aside(path: Path) -> None:
    """Rename a damaged file; what belongs to it goes with it."""
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{path}.corrupt{ending}")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        version = _version(connection)
        if version > VERSION:
            raise StoreError(f"chat is off: {path} is of a newer userlan (version {version}, this one knows {VERSION}): update userlan")
        for pragma in ("journal_mode = WAL", f"synchronous = {SYNCHRONOUS}", "secure_delete = ON", "journal_size_limit = 4194304"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        told = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if told != "ok":
            raise sqlite3.DatabaseError(str(told).replace("\n", " ")[:200])
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    """0 for a file that is empty. sqlite3.DatabaseError for one that is another program's."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != APPLICATION:
        raise sqlite3.DatabaseError("it is not a database of chat")
    if tables and version == 0:
        raise sqlite3.DatabaseError("it has tables and no version")
    return version

