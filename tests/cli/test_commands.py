"""The command line in this process: what it prints and how it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from userlan.cli.output import ago, byte_count, table
from userlan.cli.show_commands import describe, describe_connections, path_text
from userlan.stack.tcp import ConnectionInfo


def userlan(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    """The real command."""
    command = [sys.executable, "-m", "userlan", "--state", str(state), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("--help",), 0, "The LAN over the Internet"),
        (("--version",), 0, "userlan"),
        (("inbox", "accept"), 2, "userlan inbox accept: Missing argument"),
        (("service", "status", "--of", "x"), 2, "userlan service status: "),
        (("config", "check", "a", "b"), 2, "userlan config check: "),
        (("stauts",), 2, "did you mean 'status'"),
        (("ping",), 2, "PEER"),
        (("ping", "nas", "-c", "x"), 2, "-c"),
        (("status",), 1, "userlan up"),
        (("join", "userlan://x"), 1, "cut short"),
        (("join", "home"), 2, "--password-file"),
        (("password", "home"), 2, "--password-file"),
        (("password", "home", "--password-file", "/nowhere"), 1, "/nowhere"),
        (("unblock",), 2, "PEER"),
        (("approve",), 2, "MEMBER"),
        (("block",), 1, "userlan up"),
        (("lock", "home"), 1, "userlan up"),
        (("config", "check", "/nowhere"), 1, "userlan: /nowhere: cannot be read"),
        (("--config", "/nowhere", "up"), 1, "name another file with --config, or leave it out"),
        (("create", "home", "--password-file", "/nowhere"), 1, "/nowhere"),
        (("up", "--listen", "nonsense"), 2, "nonsense"),
        (("up", "--mediator", "http://x"), 1, "is userlan://HOST:PORT/KEY, as `userlan mediator` prints it"),
        (("join", "http://x"), 1, "as `userlan invite NETWORK` prints it"),
        (("join", f"userlan://h:1/{'A' * 43}"), 1, "as `userlan invite NETWORK` prints it"),
        (("relay",), 2, "--mediator"),
        (("relay", "--mediator", "http://x"), 1, "userlan://"),
        (("relay", "--mediator", f"userlan://h:1/{'A' * 43}", "--listen", "nonsense"), 2, "nonsense"),
        (("relay", "--mediator", f"userlan://h:1/{'A' * 43}", "--region", "x" * 41), 2, "40"),
        (("mediator", "--relay-key", "x"), 2, "--relay-key"),
    ],
)
def test_each_mistake_is_one_clear_line(tmp_path: Path, arguments: tuple[str, ...], status: int, part: str) -> None:
    result = userlan(*arguments, state=tmp_path / "state")
    told = result.stdout if status == 0 else result.stderr
    assert result.returncode == status, result.stderr
    assert part in told
    if status:
        assert len(told.strip().splitlines()) == 1


def test_a_wrong_configuration_is_told_by_its_first_mistake(tmp_path: Path) -> None:
    """The others by the command that lists them."""
    path = tmp_path / "a config.yaml"
    path.write_text("nmae: anna\n")
    first = f"userlan: {path}:1: nmae: unknown key: did you mean 'name'?"
    result = userlan("--config", str(path), "up", state=tmp_path / "state")
    assert (result.returncode, result.stderr) == (1, f"{first}\n")
    path.write_text("nmae: anna\nlisten: x\nlog: 3\n")
    result = userlan("--config", str(path), "up", state=tmp_path / "state")
    assert (result.returncode, result.stderr) == (1, f"{first} (and 2 more: `userlan config check '{path}'` lists them)\n")
    listed = userlan("config", "check", str(path), state=tmp_path / "state")
    assert len(listed.stderr.splitlines()) == 4


def test_no_configuration_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = userlan("config", "check", state=tmp_path / "state")
    assert (result.returncode, result.stderr) == (0, "")
    assert "every key has its default" in result.stdout


def peer(**changes: Any) -> dict[str, Any]:
    """A peer of the status."""
    base = {
        "name": "ben", "key": "k", "ipv4": "25.1.2.3", "ipv6": "fd75::1", "networks": ["home"], "state": "direct", "path": "udp",
        "endpoint": "203.0.113.9:41414", "rtt_ms": 12.345, "rx_bytes": 2048, "tx_bytes": 10, "last_seen": None,
        "cipher": "aes-256-gcm", "blocked": False,
    }
    return base | changes


def test_paths_in_words() -> None:
    assert path_text(peer()) == "direct udp 203.0.113.9:41414"
    assert path_text(peer(path="lan")) == "direct udp 203.0.113.9:41414 (lan)"
    assert path_text(peer(path="tcp")) == "direct tcp 203.0.113.9:41414"
    assert path_text(peer(state="relayed", path="relay", relay="fra1")) == "relay fra1"
    assert path_text(peer(state="connecting")) == "connecting"
    assert path_text(peer(state="offline", blocked=True, last_seen=1.0)) == "blocked"
    assert path_text(peer(state="offline")) == "offline"
    assert path_text(peer(state="offline", last_seen=time.time() - 180)) == "offline, last seen 3 min ago"


def network(**changes: Any) -> dict[str, Any]:
    """A network of the status."""
    base = {"name": "home", "owner": "mine", "locked": False, "approval": False, "applicants": [], "members": []}
    return base | changes


def test_the_status_in_columns() -> None:
    snapshot = {
        "self": {"name": "anna", "ipv4": "25.9.9.9", "ipv6": "fd75::9", "key": "mine", "nat": {}},
        "mediator": {"url": "userlan://h:1/k", "state": "offline", "reason": "silent"},
        "networks": [network()],
        "waiting": [], "denied": [],
        "peers": [peer()],
        "bridges": {"proxy": "127.0.0.1:1055", "forward": []},
    }
    told = describe(snapshot)
    assert "anna  25.9.9.9  fd75::9" in told
    assert "mediator  userlan://h:1/k  offline: silent" in told
    assert "home (yours)" in told
    assert "12.3 ms" in told
    assert "aes-256-gcm" not in told
    assert "aes-256-gcm" in describe(snapshot, verbose=True)
    assert "create NAME" in describe(snapshot | {"networks": [], "peers": []})
    other = network() | {"own_name": "ben-2"}
    assert "you are ben-2" in describe(snapshot | {"networks": [other]})
    assert "you are" not in told


def test_the_status_tells_who_waits_for_whom() -> None:
    applicants = [{"key": "k", "name": name, "since": 1.0} for name in ("ben", "carla", "dora", "emil")]
    snapshot: dict[str, Any] = {
        "self": {"name": "anna", "ipv4": "25.9.9.9", "ipv6": "fd75::9", "key": "mine", "nat": {}},
        "mediator": {"url": "userlan://h:1/k", "state": "connected", "reason": ""},
        "networks": [
            network(),
            network(name="club", owner="other", locked=True),
            network(name="den", approval=True, applicants=applicants[:1]),
            network(name="fort", approval=True, locked=True, applicants=applicants),
            network(name="keep", approval=True, unapproved=applicants),
        ],
        "waiting": [
            {"network": "games", "since": time.time() - 180, "owner": "gina"}, {"network": "work", "since": 0.0, "owner": ""},
        ],
        "denied": [{"network": "choir", "reason": "the owner of choir, otto, has denied this"}],
        "peers": [],
        "bridges": {},
    }  # fmt: skip
    told = describe(snapshot).splitlines()
    assert "waiting to join games: its owner gina has to approve, asked 3 min ago" in told
    assert "waiting to join work: its owner has to approve" in told
    assert "not in choir: the owner of choir, otto, has denied this" in told
    assert "home (yours)" in told
    assert "keep (yours), joined with approval; not let in, since its owner has not approved: ben, carla, dora and 1 more" in told
    assert "club, locked" in told
    assert "den (yours), joined with approval; ben waits: userlan approve" in told
    assert "fort (yours), locked, joined with approval; ben, carla, dora and 1 more wait: userlan approve" in told


def connection(**changes: Any) -> dict[str, Any]:
    end = (bytes(4), 1)
    told = {field.name: None for field in fields(ConnectionInfo)} | {
        "peer": "nas", "local_port": 50_000, "remote_port": 80, "remote": "25.1.2.3", "state": "ESTABLISHED", "passive": False,
        "rtt": 0.0123, "octets_sent": 2048, "octets_received": 0, "octets_retransmitted": 0, "send_queue": 1024,
        "receive_queue": 0, "cwnd": 14_600, "send_window": 65_536, "delivery_rate": 1.25e6, "congestion": "newreno",
        "mss": 1368, "local": end,
    }  # fmt: skip
    return told | changes


def test_the_connections_in_columns() -> None:
    rows = [connection(), connection(peer=None, passive=True, rtt=None, delivery_rate=None)]
    told = describe_connections({"total": 3, "memory": 0, "connections": rows}).splitlines()
    assert told[0].split()[:3] == ["PEER", "STATE", "RTT"]
    assert "50000 > nas:80" in told[1]
    assert "12.3 ms" in told[1]
    assert "10.0 Mbit/s" in told[1]
    assert "50000 < 25.1.2.3:80" in told[2]
    assert told[3] == "and 1 more, which moved less"
    assert describe_connections({"total": 0, "memory": 0, "connections": []}) == "no connections"
    told = describe_connections({"total": 0, "memory": 0, "refused": 7, "connections": []}).splitlines()
    assert told == ["no connections", "7 were refused: their members made too many in a short time"]


def test_units() -> None:
    assert [byte_count(n) for n in (0, 1023, 1024, 1536 << 20)] == ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]
    assert [ago(n) for n in (0, 59, 120, 7200, 200_000)] == ["0 s ago", "59 s ago", "2 min ago", "2 h ago", "2 d ago"]
    assert table([{"a": 1, "b_c": None}]) == "A  B C\n1  -"
