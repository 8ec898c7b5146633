"""The state folder: one holder, keys that are never replaced, caches that never stop a node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.state import StateError, StateFolder, holding_node, holds, write_atomically

KEY = bytes(range(32))


@pytest.fixture
def messages() -> list[str]:
    return []


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path, messages: list[str]) -> None:
    with StateFolder(tmp_path / "deep" / "state", messages.append) as folder:
        assert mode(folder.path) == 0o700
        assert folder.control_path == folder.path / "control.sock"
    assert messages == []


def test_a_folder_that_is_open_to_others_is_closed(tmp_path: Path, messages: list[str]) -> None:
    tmp_path.chmod(0o755)
    with StateFolder(tmp_path, messages.append):
        assert mode(tmp_path) == 0o700


def test_what_is_no_folder(tmp_path: Path, messages: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="state folder") as caught:
            StateFolder(path, messages.append)
        assert "\n" not in str(caught.value)


def test_who_has_the_lock_open_is_shown(tmp_path: Path, messages: list[str]) -> None:
    with StateFolder(tmp_path, messages.append):
        assert holding_node(tmp_path) == os.getpid()
        assert holds(os.getpid(), tmp_path) is (True if os.path.isdir("/proc/self/fd") else None)
    assert not holds(os.getpid(), tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not holds(ended.pid, tmp_path)


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path, messages: list[str]) -> None:
    first = StateFolder(tmp_path, messages.append)
    with pytest.raises(StateError, match=rf"held by another userlan \(process {os.getpid()}\)"):
        StateFolder(tmp_path, messages.append)
    first.close()
    first.close()
    StateFolder(tmp_path, messages.append).close()


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path, messages: list[str]) -> None:
    program = (
        "import sys, pathlib; from userlan.driver.state import StateFolder;"
        "folder = StateFolder(pathlib.Path(sys.argv[1]), print); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=str(holder.pid)):
            StateFolder(tmp_path, messages.append)
        holder.kill()
        holder.wait()
        StateFolder(tmp_path, messages.append).close()


def test_a_key_is_made_once(tmp_path: Path, messages: list[str]) -> None:
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.private_key("identity", lambda: KEY) == KEY
        assert mode(tmp_path / "identity.key") == 0o600
        (tmp_path / "identity.key").chmod(0o644)
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.private_key("identity", lambda: bytes(32)) == KEY
        assert folder.private_key("mediator", lambda: bytes(32)) == bytes(32)
        assert mode(tmp_path / "identity.key") == 0o600


@pytest.mark.parametrize("text", ["", "AAAA", "é" * 43, "A" * 44, "*" * 43, "A" * 1_000_000])
def test_a_damaged_key_is_an_error_and_stays(tmp_path: Path, messages: list[str], text: str) -> None:
    path = tmp_path / "identity.key"
    path.write_text(text)
    with StateFolder(tmp_path, messages.append) as folder, pytest.raises(StateError, match="damaged"):
        folder.private_key("identity", lambda: KEY)
    assert path.read_text() == text


def test_a_key_of_the_wrong_length_is_not_written(tmp_path: Path, messages: list[str]) -> None:
    with StateFolder(tmp_path, messages.append) as folder:
        with pytest.raises(ValueError, match="32"):
            folder.private_key("identity", lambda: b"short")
        assert not (tmp_path / "identity.key").exists()


def test_values_are_kept(tmp_path: Path, messages: list[str]) -> None:
    value = {"peers": [{"name": "nas", "port": 41414}], "text": "ä\n"}
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.load("memory") is None
        folder.save("memory", value)
        folder.save("memory", value)
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.load("memory") == value
    assert mode(tmp_path / "memory.json") == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "memory.json"]


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1}x'])
def test_a_damaged_cache_is_set_aside(tmp_path: Path, messages: list[str], text: bytes) -> None:
    (tmp_path / "memory.json").write_bytes(text)
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.load("memory") is None
        assert folder.load("memory") is None
    assert (tmp_path / "memory.json.corrupt").read_bytes() == text
    assert len(messages) == 1
    assert "memory.json is damaged" in messages[0]
    assert "\n" not in messages[0]


def test_a_cache_that_cannot_be_read_or_written_is_told(tmp_path: Path, messages: list[str]) -> None:
    (tmp_path / "memory.json").mkdir()
    with StateFolder(tmp_path, messages.append) as folder:
        assert folder.load("memory") is None
        folder.save("memory", {})
    assert ["cannot be read" in messages[0], "cannot be written" in messages[1]] == [True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "memory.json"], "no temporary file stays"


def test_a_crash_in_mid_write_leaves_the_old_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.json"
    write_atomically(path, b"old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bridges_store(tmp_path: Path) -> None:
    store = BridgeStore(tmp_path / "forward.json")
    assert store.load() is None
    store.save([{"port": 80}])
    assert BridgeStore(tmp_path / "forward.json").load() == [{"port": 80}]
    (tmp_path / "forward.json").write_text("{")
    assert store.load() is None
    with pytest.raises(CommandError, match=r"cannot be written"):
        BridgeStore(tmp_path / "missing" / "x.json").save([])
