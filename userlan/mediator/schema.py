"""The directory's tables, and opening a database that may be new, ours, somebody else's, newer or broken."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    false,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from userlan.mediator.records import DirectoryError

#: The layout below. A database with a higher one was written by a newer userlan; one with a lower one is brought up to it (``_upgrade``).
SCHEMA_VERSION = 2
#: Seconds to wait for another program's lock on the SQLite file; the mediator serves nobody meanwhile.
BUSY_TIMEOUT = 1.0

metadata = MetaData()

schema_version = Table(
    "schema_version", metadata, Column("version", Integer, primary_key=True), Column("opened", Integer)
)

nodes = Table(
    "nodes",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("ipv4", LargeBinary(4), nullable=False, unique=True),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

networks = Table(
    "networks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("owner", LargeBinary(32), nullable=False, index=True),
    Column("owner_signing_public", LargeBinary(32), nullable=False),
    Column("admission_public", LargeBinary(32), nullable=False),
    Column("attestation", LargeBinary(64), nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("serial", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("approval", Boolean, nullable=False, server_default=false()),
)

members = Table(
    "members",
    metadata,
    Column("network", Integer, ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    Column("key", LargeBinary(32), ForeignKey("nodes.key"), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("joined", Float, nullable=False),
    UniqueConstraint("network", "name", name="members_name"),
    Index("members_key", "key"),
)

evictions = Table(
    "evictions",
    metadata,
    Column("network", Integer, ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    Column("serial", Integer, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

evicted = Table(
    "evicted",
    metadata,
    Column("network", Integer, ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    Column("key", LargeBinary(32), primary_key=True),
    Column("was_member", Boolean, nullable=False),
    Index("evicted_key", "key"),
)

applicants = Table(
    "applicants",
    metadata,
    Column("network", Integer, ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    Column("key", LargeBinary(32), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("since", Float, nullable=False),
    Column("denied", Boolean, nullable=False),
    Index("applicants_key", "key"),
)

notes = Table(
    "notes",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


def parse_store(store: str | Path) -> URL:
    """A database URL (``sqlite:///path``, ``postgresql+psycopg://…``) or the plain path of an SQLite file.

    Raises:
        DirectoryError: a URL that SQLAlchemy cannot read.
    """
    text = str(store)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        return make_url(text)
    except ArgumentError:
        raise DirectoryError(f"{text!r} is no database URL; write sqlite:///PATH or a plain path") from None


def open_engine(store: str | Path) -> Engine:
    """Opens the database, makes the tables where it is empty, checks that it is ours and can be written.

    Raises:
        DirectoryError: what is wrong with it, in one line.
    """
    url = parse_store(store)
    shown = str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    try:
        engine = _make_engine(url)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DirectoryError(f"the database driver for {shown} is not installed: {error}") from None
    try:
        with engine.begin() as connection:
            _prepare(connection, shown)
    except DirectoryError:
        engine.dispose()
        raise
    except (SQLAlchemyError, sqlite3.Error) as error:
        engine.dispose()
        raise DirectoryError(f"the directory {shown} cannot be used: {plain_reason(error)}") from None
    return engine


def plain_reason(error: BaseException) -> str:
    """The database's own words, without SQLAlchemy's statement and link."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:200]


def _make_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url, poolclass=StaticPool, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _record: Any) -> None:
    """WAL with a full synchronisation: a commit that returned survives power loss and kill -9 (sqlite.org/wal.html)."""
    connection.isolation_level = None  # transactions are begun by _sqlite_begin, not by the driver
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {row[0] for row in cursor.fetchall()}
    if not tables or schema_version.name in tables:  # another program's file is left as it is
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare(connection: Connection, shown: str) -> None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION, opened=1))
        return
    if schema_version.name not in tables or nodes.name not in tables:
        raise DirectoryError(f"{shown} is a database of another program; give the mediator a file of its own")
    version = connection.execute(select(schema_version.c.version)).scalar()
    if not isinstance(version, int):
        raise DirectoryError(f"{shown} has no schema version; it was not written by userlan")
    if version > SCHEMA_VERSION:
        raise DirectoryError(
            f"{shown} was written by a newer userlan (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade userlan"
        )
    if version < SCHEMA_VERSION:
        _upgrade(connection)
        tables = set(inspect(connection).get_table_names())
    missing = set(metadata.tables) - tables
    if missing:
        raise DirectoryError(f"{shown} is damaged: it lacks the table {min(missing)}; restore it from a copy")
    # A write tells now, not at the first join, that the file or its folder is read-only.
    connection.execute(update(schema_version).values(opened=schema_version.c.opened + 1))


def _upgrade(connection: Connection) -> None:
    """From layout 1 to 2: networks whose owner approves, and who waits for that. In one transaction, as all that opens a database."""
    if networks.c.approval.name not in {column["name"] for column in inspect(connection).get_columns(networks.name)}:
        no = false().compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE networks ADD COLUMN approval BOOLEAN NOT NULL DEFAULT {no}")
    applicants.create(connection, checkfirst=True)
    connection.execute(update(schema_version).values(version=SCHEMA_VERSION))
