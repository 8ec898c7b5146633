"""A directory of the first layout, as earlier versions wrote it, is brought up to the present one where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from tests.mediator.harness import Lab, states
from userlan.control.messages import Applicants, Approve, Done, NetworkState, Refused
from userlan.lan.eviction import Eviction
from userlan.lan.secrets import NetworkSecret, OwnerSigning
from userlan.mediator.directory import Directory
from userlan.mediator.records import ApplicantRecord, DirectoryError
from userlan.mediator.schema import SCHEMA_VERSION, parse_store
from userlan.tunnel.primitives import public_key

FIRST = """
CREATE TABLE schema_version (version INTEGER NOT NULL, opened INTEGER, PRIMARY KEY (version));
CREATE TABLE nodes (
    "key" BLOB NOT NULL, name VARCHAR(63) NOT NULL, ipv4 BLOB NOT NULL, first_seen FLOAT NOT NULL, last_seen FLOAT NOT NULL,
    PRIMARY KEY ("key"), UNIQUE (ipv4)
);
CREATE TABLE networks (
    id INTEGER NOT NULL, name VARCHAR(63) NOT NULL, owner BLOB NOT NULL, owner_signing_public BLOB NOT NULL,
    admission_public BLOB NOT NULL, attestation BLOB NOT NULL, locked BOOLEAN NOT NULL, serial INTEGER NOT NULL,
    created FLOAT NOT NULL, PRIMARY KEY (id), UNIQUE (name)
);
CREATE INDEX ix_networks_owner ON networks (owner);
CREATE TABLE notes (name VARCHAR(63) NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name));
CREATE TABLE members (
    network INTEGER NOT NULL, "key" BLOB NOT NULL, name VARCHAR(63) NOT NULL, joined FLOAT NOT NULL,
    PRIMARY KEY (network, "key"), CONSTRAINT members_name UNIQUE (network, name),
    FOREIGN KEY(network) REFERENCES networks (id) ON DELETE CASCADE, FOREIGN KEY("key") REFERENCES nodes ("key")
);
CREATE INDEX members_key ON members ("key");
CREATE TABLE evictions (
    network INTEGER NOT NULL, serial INTEGER NOT NULL, document BLOB NOT NULL, PRIMARY KEY (network),
    FOREIGN KEY(network) REFERENCES networks (id) ON DELETE CASCADE
);
CREATE TABLE evicted (
    network INTEGER NOT NULL, "key" BLOB NOT NULL, was_member BOOLEAN NOT NULL, PRIMARY KEY (network, "key"),
    FOREIGN KEY(network) REFERENCES networks (id) ON DELETE CASCADE
);
CREATE INDEX evicted_key ON evicted ("key");
"""
"""Layout 1, as its own program wrote it (SQLite's ``sqlite_master``)."""
DIALECT = {"postgresql": (("BLOB", "BYTEA"), ("id INTEGER", "id SERIAL"))}
"""How it wrote the same into another database."""

ANN, BOB, EVE = (bytes([number]) * 32 for number in (1, 2, 3))
SECRET = NetworkSecret(b"s" * 16)



@contextmanager
def opened(store: str) -> Iterator[Connection]:
    """The database itself, in one transaction."""
    engine = create_engine(parse_store(store))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def first(store: str) -> None:
    """A directory of layout 1 with a network of ann's in which bob is, and from which eve was evicted."""
    keys = {private: public_key(private) for private in (ANN, BOB, EVE)}
    signing = OwnerSigning(ANN)
    document = Eviction.make("home", 1, [keys[EVE]], SECRET, [keys[ANN], keys[BOB]], keys[ANN], signing, lambda count: b"e" * count)
    network = ("home", keys[ANN], signing.public, SECRET.admission_public, document.attestation, True, 1, 100.0)
    people = enumerate(((ANN, "ann"), (BOB, "bob"), (EVE, "eve")), 1)
    with opened(store) as connection:

        def write(table: str, *values: object) -> None:
            named = {f"v{number}": value for number, value in enumerate(values)}
            connection.execute(text(f"INSERT INTO {table} VALUES (:{', :'.join(named)})"), named)

        layout = FIRST
        for here, there in DIALECT.get(connection.dialect.name, ()):
            layout = layout.replace(here, there)
        for statement in filter(str.strip, layout.split(";")):
            connection.exec_driver_sql(statement)
        write("schema_version", 1, 7)
        write("notes", "range", b"25.0.0.0/8")
        for number, (private, name) in people:
            write("nodes", keys[private], name, bytes((25, 1, 1, number)), 1.0, 2.0)
        write("networks", 1, *network)
        write("members", 1, keys[ANN], "ann", 3.0)
        write("members", 1, keys[BOB], "bob", 3.0)
        write("evictions", 1, 1, document.to_bytes())
        write("evicted", 1, keys[EVE], True)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT setval('networks_id_seq', 1)")     # as the INSERT of its own program leaves it


def rows(store: str) -> dict[str, list[tuple[object, ...]]]:
    """What the tables of layout 1 hold, column by column of that layout; and the version apart from it."""
    columns = dict.fromkeys(("nodes", "members", "evictions", "evicted"), "*")
    columns["networks"] = "id, name, owner, owner_signing_public, admission_public, attestation, locked, serial, created"
    with opened(store) as connection:
        return {table: [tuple(row) for row in connection.execute(text(f"SELECT {names} FROM {table}"))] for table, names in columns.items()}


def version(store: str) -> int:
    with opened(store) as connection:
        return int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())


def test_nothing_is_lost_and_the_new_is_there(store: str) -> None:
    first(store)
    before = rows(store)
    directory = Directory(store)
    home = directory.network("home")
    assert home is not None
    assert (home.approval, home.locked, home.serial) == (False, True, 1)
    assert directory.applicants(home.identifier) == []
    directory.apply(home.identifier, ApplicantRecord(public_key(EVE), "eve", 5.0, False))
    assert directory.applied(public_key(EVE)) == [home]
    directory.close()
    assert version(store) == SCHEMA_VERSION == 2
    assert rows(store) == before
    again = Directory(store)    # which is not upgraded twice
    assert [one.name for one in again.applicants(home.identifier)] == ["eve"]
    again.close()


def test_an_upgrade_that_was_cut_short_begins_again(store: str) -> None:
    """A database whose changes of tables are no part of a transaction may be left between two steps."""
    first(store)
    with opened(store) as connection:
        connection.execute(text("ALTER TABLE networks ADD COLUMN approval BOOLEAN NOT NULL DEFAULT FALSE"))
    directory = Directory(store)
    assert directory.network("home") is not None
    directory.close()
    assert version(store) == SCHEMA_VERSION


def test_what_cannot_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    first(str(path))
    before = path.read_bytes()
    with pytest.raises(DirectoryError, match="readonly"):
        Directory(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert path.read_bytes() == before


def test_its_members_go_on_and_its_owner_can_have_a_network_with_approval(tmp_path: Path, store: str) -> None:
    first(store)
    lab = Lab(tmp_path, store=store)
    ann, bob, eve = (lab.login(name, private_key=key) for name, key in (("ann", ANN), ("bob", BOB), ("eve", EVE)))
    lab.run(1)
    assert {member.name for member in states(ann)["home"].members} == {"ann", "bob"}
    assert states(bob)["home"].locked
    assert not states(bob)["home"].approval
    assert "home" not in states(eve)
    from tests.mediator.test_applications import create

    assert isinstance(create(ann, "club"), Done)
    refused = eve.join("club", SECRET)
    assert isinstance(refused, Refused)
    assert [one.name for one in ann.expect(Applicants).applicants] == ["eve"]
    eve.received.clear()
    assert ann.request(Approve(90, "club", eve.key)) == Done(90)
    assert eve.expect(NetworkState).network == "club"
    lab.directory.close()
