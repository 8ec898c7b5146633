"""systemd-resolved is told of the LAN's names, where it runs and its links are ours. What it makes of it is its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from userlan.driver.tap import names

RECORDER = """#!/bin/sh
echo "$@" >> {told}
{then}
"""


class Resolved:
    """A socket as resolved's, and a ``resolvectl`` that keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        self.told = folder / "told"
        self.program = folder / "resolvectl"
        self.place = folder / "io.systemd.Resolve"
        self.then("exit 0")

    def listen(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(str(self.place))
        made.listen()
        return made

    def then(self, what: str) -> None:
        self.program.write_text(RECORDER.format(told=self.told, then=what))
        self.program.chmod(0o755)

    def lines(self) -> list[str]:
        return self.told.read_text().splitlines() if self.told.exists() else []


@pytest.fixture
def resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolved]:
    made = Resolved(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(names, "SERVICE", made.place)
    own = Path("/proc/self/ns/net")
    monkeypatch.setattr(names, "NAMESPACES", (own, own))
    with made.listen():
        yield made


def test_the_link_is_for_the_lans_names_and_for_no_others(resolved: Resolved) -> None:
    assert names.point("lan0") == ""
    assert resolved.lines() == ["dns lan0 fd75:6c61:6e00::53", "domain lan0 ~internal", "default-route lan0 false"]


def test_where_it_does_not_run_nothing_is_done(resolved: Resolved) -> None:
    """A socket that was left behind, and none at all: resolvectl would start it."""
    resolved.place.unlink()
    resolved.listen().close()
    assert names.point("lan0") == ""
    resolved.place.unlink()
    assert names.point("lan0") == ""
    assert resolved.lines() == []


def test_one_of_another_network_namespace_is_not_ours(resolved: Resolved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface goes by its number there, and that number is somebody else's."""
    other = tmp_path / "net"
    other.symlink_to("net:[1]")
    monkeypatch.setattr(names, "NAMESPACES", (other, Path("/proc/self/ns/net")))
    assert names.point("lan0") == ""
    monkeypatch.setattr(names, "NAMESPACES", (tmp_path / "hidden", Path("/proc/self/ns/net")))
    assert names.point("lan0") == ""
    assert resolved.lines() == []


def test_its_refusal_is_told_in_one_line(resolved: Resolved) -> None:
    resolved.then('echo trouble >&2; echo "Failed to set DNS: access denied" >&2; exit 1')
    assert names.point("lan0") == "names of the LAN are not resolved by systemd-resolved: Failed to set DNS: access denied"
    resolved.then("exit 1")
    assert names.point("lan0").endswith(": no reason is given")
    assert len(resolved.lines()) == 2, "nothing more is asked of it"


def test_it_is_not_waited_for_without_end(resolved: Resolved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "PATIENCE", 0.2)
    resolved.then("exec sleep 60")
    begin = time.monotonic()
    assert names.point("lan0") == "resolvectl cannot be asked: TimeoutExpired"
    assert time.monotonic() - begin < 40
