"""A directory in PostgreSQL: what is refused at its start, and that an outage costs one refusal a request and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import create_engine

from tests.mediator.harness import Lab, states
from tests.mediator.postgresql import Server
from userlan.control import refusals
from userlan.control.messages import Done, Nick, Refused
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.directory import PAUSE, Directory
from userlan.mediator.events import StoreFailed
from userlan.mediator.records import UNUSABLE, DirectoryError, NetworkRecord
from userlan.mediator.schema import SCHEMA_VERSION, parse_store

SECRET = NetworkSecret(b"s" * 16)
KEY, OTHER = (bytes([number]) * 32 for number in (1, 2))
ADDRESS = bytes((25, 1, 0, 1))


@pytest.fixture
def outage(postgresql_server: Server) -> Iterator[Server]:
    """The server, which runs again when the test is over, whatever the test did to it."""
    yield postgresql_server
    if not postgresql_server.running:
        postgresql_server.start()


def why(store: str) -> str:
    """How a store is refused."""
    with pytest.raises(DirectoryError) as caught:
        Directory(store)
    return str(caught.value)


def wait_for_answers(monkeypatch: pytest.MonkeyPatch, to_question: float, to_transaction: float) -> None:
    """In the next call, so many seconds instead of ``SILENCE``: whether the connection still stands, and then what it is for."""
    waits = iter((to_question, to_transaction))
    monkeypatch.setattr("userlan.mediator.directory.Timer", lambda _, *rest: Timer(next(waits), *rest))


def test_names_sort_as_in_sqlite(database: str) -> None:
    """A language would put ``b-`` behind ``ba`` and ``B`` among them."""
    directory = Directory(database)
    names = ["pc-2", "pc2", "pc", "pca", "PCB", "p-c"]
    for number, name in enumerate(names):
        directory.register(bytes([number]) * 32, name, bytes((25, 1, 0, number)), 1.0)
    home = directory.create_network(NetworkRecord(0, "home", bytes(32), KEY, KEY, KEY + KEY, False, 0), names[0], 1.0)
    for number, name in enumerate(names[1:], 1):
        directory.add_member(home.identifier, bytes([number]) * 32, name, 1.0)
    assert [one.name for one in directory.members(home.identifier)] == sorted(names)
    directory.close()


def test_networks_are_numbered_on_after_a_restart(database: str) -> None:
    for name in ("home", "work"):
        directory = Directory(database)
        directory.register(KEY, "pc", ADDRESS, 1.0)
        made = directory.create_network(NetworkRecord(0, name, KEY, KEY, KEY, KEY + KEY, False, 0), "pc", 1.0)
        assert directory.network(name) == made
        directory.close()


@pytest.mark.parametrize(
    ("made", "spoiled", "text"),
    [
        (False, "CREATE TABLE bookmarks (url TEXT)", "another program"),
        (True, f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}", "newer userlan.*upgrade"),
        (True, "DROP TABLE evictions", "lacks the table evictions"),
        (True, "ALTER DATABASE {name} SET default_transaction_read_only = on", "read-only"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_in_one_line(database: str, made: bool, spoiled: str, text: str) -> None:
    if made:
        Directory(database).close()
    Server.execute(database, spoiled.format(name=parse_store(database).database))
    with pytest.raises(DirectoryError, match=text) as caught:
        Directory(database)
    assert "postgresql" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_in_one_line_without_the_password(tmp_path: Path, postgresql_server: Server) -> None:
    told = why(f"postgresql://ann:hush@/directory?host={tmp_path}&sslpassword=hush")
    assert "cannot be used" in told
    assert str(tmp_path / ".s.PGSQL.5432") in told
    assert "hush" not in told
    assert "\n" not in told
    assert "does not exist" in why(postgresql_server.url("nowhere"))


def test_a_driver_that_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        told = why(f"{scheme}://ann:hush@db.example.com/directory")
        assert 'pip install "userlan[postgresql]"' in told
        assert "hush" not in told


@pytest.mark.parametrize("url", ["postgresql://ann:hush@db.example.com:port/directory", "post gres://ann:hush@db.example.com/directory"])
def test_a_url_that_is_none_is_shown_without_the_password(url: str) -> None:
    told = why(url)
    assert "no database URL" in told
    assert "db.example.com" in told
    assert "hush" not in told


def test_another_programs_lock_is_waited_for_in_vain_and_changes_nothing(database: str) -> None:
    directory = Directory(database)
    directory.register(KEY, "nas", ADDRESS, 1.0)
    engine = create_engine(parse_store(database))
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DirectoryError, match="lock timeout"):
            directory.register(OTHER, "pc", bytes((25, 1, 0, 2)), 1.0)
    engine.dispose()
    assert directory.node(OTHER) is None
    directory.register(OTHER, "pc", bytes((25, 1, 0, 2)), 1.0)
    directory.close()


def test_the_first_call_after_an_outage_finds_the_server_again(database: str, outage: Server) -> None:
    times = iter([0.0, 0.0, 2.0, 2.0 + 2 * PAUSE - 0.1, 2.0 + 2 * PAUSE])
    directory = Directory(database, clock=lambda: next(times))
    known = directory.register(KEY, "nas", ADDRESS, 1.0)                # at 0
    outage.stop()
    with pytest.raises(DirectoryError, match="cannot be reached") as caught:
        directory.node(KEY)                                             # at 0; it fails after 2 s
    outage.start()
    with pytest.raises(DirectoryError) as paused:
        directory.node(KEY)                                             # while nobody asks
    assert str(paused.value) == str(caught.value)
    assert directory.node(KEY) == known
    directory.close()


def test_a_restart_between_two_calls_is_not_noticed(database: str, outage: Server) -> None:
    directory = Directory(database)
    known = directory.register(KEY, "nas", ADDRESS, 1.0)
    outage.stop()
    outage.start()
    assert directory.node(KEY) == known
    directory.close()


@pytest.mark.usefixtures("postgresql_server")       # for its driver alone
def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """As one that is stopped or behind a network that loses all: the connection is taken, and nothing follows."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        assert "timeout" in why(f"postgresql://userlan@/directory?host={tmp_path}")


def test_a_server_process_that_is_stopped_is_cut_off(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel acknowledges what it is sent, and no timeout of its own runs; another process of the server answers at once."""
    directory = Directory(database)
    known = directory.register(KEY, "nas", ADDRESS, 1.0)
    engine = create_engine(parse_store(database))
    with engine.begin() as other:
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        stopped = other.exec_driver_sql(others).scalars().one()
    engine.dispose()
    wait_for_answers(monkeypatch, 0.2, 60.0)
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert directory.node(KEY) == known
    finally:
        os.kill(stopped, signal.SIGCONT)
    directory.close()


def test_a_statement_without_an_answer_is_cut_off(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory(f"{database}&options=-c%20lock_timeout%3D0")
    directory.register(KEY, "nas", ADDRESS, 1.0)
    engine = create_engine(parse_store(database))
    with engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE")
        wait_for_answers(monkeypatch, 60.0, 0.2)
        with pytest.raises(DirectoryError, match="cannot be"):
            directory.node(KEY)
    engine.dispose()
    wait_for_answers(monkeypatch, 60.0, 60.0)
    assert directory.node(KEY) is not None
    directory.close()


def test_a_mediator_goes_on_without_its_database_and_with_it_again(tmp_path: Path, database: str, outage: Server) -> None:
    lab = Lab(tmp_path, store=database)
    ann, bob = lab.login("ann"), lab.login("bob")
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(ann.request(Nick(1, "anna")), Done)
    outage.stop()
    for number in (2, 3):
        assert ann.request(Nick(number, "annika")) == Refused(number, refusals.UNAVAILABLE, UNUSABLE)
    assert ann.all(Refused) == []                       # one answer for each
    carol = lab.client("carol")
    carol.connect()
    assert carol.expect(Refused) == Refused(0, refusals.UNAVAILABLE, UNUSABLE)
    failures = lab.attachment.take(StoreFailed)
    assert ".s.PGSQL.5432" in str(failures)             # what the log is told, and nobody else
    lab.run(90)                                         # pings, last-seen times that cannot be written, new handshakes
    assert not ann.ended
    assert not bob.ended
    outage.start()
    assert isinstance(ann.request(Nick(4, "annika")), Done)
    assert isinstance(bob.join("home", SECRET), Done)
    assert {member.name for member in states(bob)["home"].members} == {"annika", "bob"}
    carol.device.initiate(carol.mediator_key, [carol.server], lab.world.now)      # her tunnel, of a stranger, was dropped meanwhile
    lab.run(0.5)
    assert carol.login().networks == ()
    lab.directory.close()
