"""The directory: what it keeps, what it refuses to open, and that kill -9 loses nothing that was acknowledged."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from userlan.mediator.directory import Directory
from userlan.mediator.records import DirectoryError, NetworkRecord
from userlan.mediator.schema import SCHEMA_VERSION


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def address(number: int) -> bytes:
    return bytes((25, 1)) + number.to_bytes(2, "big")


def network(name: str, owner: bytes) -> NetworkRecord:
    return NetworkRecord(0, name, owner, b"s" * 32, b"a" * 32, b"t" * 32, False, 0)


@pytest.fixture
def directory(store: str) -> Iterator[Directory]:
    opened = Directory(store)
    yield opened
    opened.close()


def test_a_node_keeps_its_address_for_life(directory: Directory) -> None:
    first = directory.register(key(1), "nas", address(1), 100.0)
    again = directory.register(key(1), "other", address(2), 200.0)
    assert first == again
    assert directory.node(key(1)) == first
    assert directory.node(key(2)) is None
    assert directory.address_taken(address(1))
    assert not directory.address_taken(address(2))


def test_two_nodes_never_have_one_address(directory: Directory) -> None:
    directory.register(key(1), "nas", address(1), 100.0)
    with pytest.raises(DirectoryError, match="contradiction"):
        directory.register(key(2), "pc", address(1), 100.0)
    assert directory.node(key(2)) is None


def test_networks_and_members(directory: Directory) -> None:
    for number, name in enumerate(("ann", "bob", "carol"), start=1):
        directory.register(key(number), name, address(number), 10.0 * number)
    home = directory.create_network(network("home", key(1)), "ann", 100.0)
    work = directory.create_network(network("work", key(2)), "bob", 100.0)
    directory.add_member(home.identifier, key(3), "carol", 101.0)
    directory.add_member(work.identifier, key(3), "carol-2", 101.0)
    assert directory.network("home") == home
    assert directory.network("nowhere") is None
    assert directory.memberships(key(3)) == [(home, "carol"), (work, "carol-2")]
    assert [(m.key, m.name, m.ipv4, m.last_seen) for m in directory.members(home.identifier)] == [
        (key(1), "ann", address(1), 10.0),
        (key(3), "carol", address(3), 30.0),
    ]
    assert directory.is_member(home.identifier, key(3))
    assert not directory.is_member(home.identifier, key(2))
    assert (directory.owned(key(1)), directory.owned(key(3))) == (1, 0)


def test_names_are_unique_within_a_network_and_network_names_on_the_mediator(directory: Directory) -> None:
    for number in (1, 2):
        directory.register(key(number), "pc", address(number), 1.0)
    home = directory.create_network(network("home", key(1)), "pc", 1.0)
    with pytest.raises(DirectoryError, match="contradiction"):
        directory.add_member(home.identifier, key(2), "pc", 1.0)
    with pytest.raises(DirectoryError, match="contradiction"):
        directory.create_network(network("home", key(2)), "pc", 1.0)
    assert len(directory.members(home.identifier)) == 1


def test_rename_and_lock(directory: Directory) -> None:
    directory.register(key(1), "pc", address(1), 1.0)
    home = directory.create_network(network("home", key(1)), "pc", 1.0)
    work = directory.create_network(network("work", key(1)), "pc", 1.0)
    directory.rename(key(1), "nas", {home.identifier: "nas", work.identifier: "nas-2"})
    directory.set_locked(home.identifier, True)
    node = directory.node(key(1))
    assert node is not None
    assert node.name == "nas"
    assert directory.members(work.identifier)[0].name == "nas-2"
    locked = directory.network("home")
    assert locked is not None
    assert locked.locked


def test_a_network_ends_with_its_last_member(directory: Directory) -> None:
    for number in (1, 2):
        directory.register(key(number), f"pc{number}", address(number), 1.0)
    home = directory.create_network(network("home", key(1)), "pc1", 1.0)
    directory.add_member(home.identifier, key(2), "pc2", 1.0)
    directory.evict(home.identifier, 1, b"document", b"b" * 32, b"u" * 32, [key(7)])
    assert not directory.remove_member(home.identifier, key(1))
    assert directory.remove_member(home.identifier, key(2))
    assert directory.network("home") is None
    assert directory.evicted_from(key(7)) == []
    assert directory.node(key(1)) is not None


def test_an_eviction_replaces_the_admission_key_and_the_one_before(directory: Directory) -> None:
    for number in (1, 2, 3):
        directory.register(key(number), f"pc{number}", address(number), 1.0)
    home = directory.create_network(network("home", key(1)), "pc1", 1.0)
    for number in (2, 3):
        directory.add_member(home.identifier, key(number), f"pc{number}", 1.0)
    assert directory.eviction(home.identifier) is None
    assert directory.evict(home.identifier, 1, b"one", b"b" * 32, b"u" * 32, [key(2), key(9)]) == [key(2)]
    assert directory.is_evicted(home.identifier, key(9))
    assert directory.evicted_from(key(9)) == []  # it never was a member: nobody is told of networks of strangers
    assert directory.evict(home.identifier, 2, b"two", b"c" * 32, b"v" * 32, [key(3), key(4)]) == [key(3)]
    record = directory.network("home")
    assert record is not None
    assert (record.serial, record.admission_public, record.attestation) == (2, b"c" * 32, b"v" * 32)
    assert directory.eviction(home.identifier) == b"two"
    assert directory.evicted_from(key(2)) == []
    assert not directory.is_evicted(home.identifier, key(2))
    assert directory.evict(home.identifier, 3, b"two", b"c" * 32, b"v" * 32, [key(3), key(4)]) == []
    assert [found.name for found in directory.evicted_from(key(3))] == ["home"]
    assert [member.key for member in directory.members(home.identifier)] == [key(1)]


def test_last_seen_only_moves_forward(directory: Directory) -> None:
    for number in (1, 2):
        directory.register(key(number), f"pc{number}", address(number), 100.0)
    directory.seen({})
    directory.seen({key(1): 150.0, key(2): 50.0, key(3): 10.0})
    nodes = [directory.node(key(number)) for number in (1, 2, 3)]
    assert [node.last_seen if node else None for node in nodes] == [150.0, 100.0, None]


def test_notes(directory: Directory) -> None:
    assert directory.note("timestamp") is None
    directory.set_note("timestamp", b"one")
    directory.set_note("timestamp", b"two")
    assert directory.note("timestamp") == b"two"


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_path_and_a_url_open_the_same_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "with space & more.sqlite"
    first = Directory(form.format(path))
    first.register(key(1), "nas", address(1), 1.0)
    first.close()
    second = Directory(path)
    assert second.node(key(1)) is not None
    second.close()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def _newer(path: Path) -> None:
    Directory(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = ?", (SCHEMA_VERSION + 1,))
    connection.close()


def _damaged(path: Path) -> None:
    Directory(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE evictions")
    connection.close()


def _rubbish(path: Path) -> None:
    path.write_bytes(b"this is no database at all, only text " * 200)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_foreign, "another program"),
        (_newer, "newer userlan.*upgrade"),
        (_damaged, "lacks the table evictions"),
        (_rubbish, "not a database"),
        (_folder, "unable to open"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, make: object, text: str) -> None:
    path = tmp_path / "directory.sqlite"
    assert callable(make)
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(DirectoryError, match=text) as caught:
        Directory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(
    ("store", "text"),
    [("nonsense://x/y", "driver"), ("://", "no database URL"), ("/no/such/folder/at/all.sqlite", "unable to open")],
)
def test_a_store_that_cannot_be_opened(store: str, text: str) -> None:
    with pytest.raises(DirectoryError, match=text):
        Directory(store)


def test_a_file_locked_by_another_program_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    directory = Directory(path)
    directory.register(key(1), "nas", address(1), 1.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DirectoryError, match="locked"):
        directory.register(key(2), "pc", address(2), 1.0)
    other.execute("ROLLBACK")
    other.close()
    assert directory.node(key(2)) is None
    directory.register(key(2), "pc", address(2), 1.0)
    directory.close()


WRITER = """
import sys
from userlan.mediator.directory import Directory
from userlan.mediator.records import NetworkRecord
directory = Directory(sys.argv[1])
number = int(sys.argv[2])
while True:
    number += 1
    key = number.to_bytes(32, "big")
    directory.register(key, f"n{number}", bytes((25, 1)) + number.to_bytes(2, "big"), float(number))
    record = NetworkRecord(0, f"net{number}", key, b"s" * 32, b"a" * 32, b"t" * 32, False, 0)
    made = directory.create_network(record, f"n{number}", 1.0)
    directory.evict(made.identifier, 1, b"d" * 5000, b"b" * 32, b"u" * 32, [b"e" * 32])
    directory.seen({key: number + 0.5})
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite"
    acknowledged: list[int] = []
    last = 0
    for acknowledgements in (1, 7, 19, 4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(last)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert writer.stdout is not None
        with writer.stdout as output:
            acknowledged.extend(int(output.readline()) for _ in range(acknowledgements))
            writer.send_signal(signal.SIGKILL)
            acknowledged.extend(int(line) for line in output if line.endswith("\n"))
        assert writer.wait() == -signal.SIGKILL
        check = sqlite3.connect(path)
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert check.execute("PRAGMA foreign_key_check").fetchall() == []
        check.close()
        directory = Directory(path)
        for number in acknowledged:
            node = directory.node(key(number))
            record = directory.network(f"net{number}")
            assert node is not None
            assert record is not None
            assert (node.last_seen, record.serial) == (number + 0.5, 1)
            assert directory.eviction(record.identifier) == b"d" * 5000
        last = acknowledged[-1]
        while directory.node(key(last + 1)) is not None:  # what was under way when the kill came
            last += 1
        directory.close()
    assert len(acknowledged) >= 31
