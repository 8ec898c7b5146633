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
#: What libpq is told unless the URL says otherwise (PostgreSQL's manual, "Parameter Key Words"). The mediator serves nobody while it waits
#: for the database: seconds to connect to each address (psycopg takes no less than 2), milliseconds for a packet to be acknowledged, for a
#: statement, and for another program's lock.
PATIENCE = {
    "connect_timeout": "2",
    "tcp_user_timeout": "2000",
    "options": f"-c statement_timeout=5000 -c lock_timeout={BUSY_TIMEOUT * 1000:.0f}",
    "fallback_application_name": "userlan",
}

metadata = MetaData()

#: Names sort by code point, as in SQLite, whatever the language of the database.
_Name = String(63).with_variant(String(63, collation="C"), "postgresql")

schema_version = Table(
    "schema_version", metadata, Column("version", Integer, primary_key=True), Column("opened", Integer)
)

nodes = Table(
    "nodes",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("name", _Name, nullable=False),
    Column("ipv4", LargeBinary(4), nullable=False, unique=True),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

networks = Table(
    "networks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", _Name, nullable=False, unique=True),
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
    Column("name", _Name, nullable=False),
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
    Column("name", _Name, nullable=False),
    Column("since", Float, nullable=False),
    Column("denied", Boolean, nullable=False),
    Index("applicants_key", "key"),
)

notes = Table(
    "notes",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


def parse_store(store: str | Path) -> URL:
    """A database URL (``sqlite:///path``, ``postgresql://user@host/database``) or the plain path of an SQLite file.

    Raises:
        DirectoryError: a URL that SQLAlchemy cannot read.
    """
    text = str(store)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):         # the latter: a port that is no number
        scheme, _, rest = text.partition("://")
        shown = f"{scheme}://{'***@' if '@' in rest else ''}{rest.rpartition('@')[2]}"      # a password may stand before the @
        forms = "sqlite:///PATH, postgresql://USER@HOST/DATABASE or a plain path"
        raise DirectoryError(f"{shown!r} is no database URL; write {forms}") from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")     # SQLAlchemy before 2.1 means psycopg2 by it
    return url


def open_engine(store: str | Path) -> Engine:
    """Opens the database, makes the tables where it is empty, checks that it is ours and can be written.

    Raises:
        DirectoryError: what is wrong with it, in one line.
    """
    url = parse_store(store)
    server = url.drivername == "postgresql+psycopg"
    shown = str(url.database) if url.drivername.startswith("sqlite") else url.set(query={}).render_as_string(hide_password=True)
    try:
        engine = _make_engine(url)
    except (NoSuchModuleError, ImportError) as error:       # ImportError: psycopg without libpq
        remedy = '; pip install "userlan[postgresql]"' if server else ""
        raise DirectoryError(f"the database driver for {shown} is not installed: {plain_reason(error)}{remedy}") from None
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
        return _server_engine(url)
    engine = create_engine(
        url, poolclass=StaticPool, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _server_engine(url: URL) -> Engine:
    """One connection, for there is one thread, asked before each transaction whether it still stands and made again where it does not.

    SERIALIZABLE as SQLite's transactions are: whoever else writes into the database, a transaction sees it before or after, or is refused.
    """
    patience = PATIENCE if url.drivername == "postgresql+psycopg" else {}
    missing = {name: value for name, value in patience.items() if name not in url.query}
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT, "pool_pre_ping": True}
    return create_engine(url, isolation_level="SERIALIZABLE", connect_args=missing, **pool)


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
