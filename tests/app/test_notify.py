"""What systemd is told (sd_notify(3)), through a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from userlan.app.notify import STATUS_INTERVAL, Manager


class Socket:
    """The manager's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self) -> list[dict[str, str]]:
        """The messages that have arrived."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                message = self.socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in message.split("\n")))


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[Socket]:
    listening = Socket(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": "/bin"}


def test_a_whole_life(manager_socket: Socket, environment: dict[str, str]) -> None:
    clock = Clock()
    manager = Manager(clock, environment)
    assert environment == {"PATH": "/bin"}, "children must not speak in this name"
    stands = ["nas, 1 of 2"]
    manager.ready(lambda: stands[0])
    assert manager_socket.told() == [{"READY": "1", "STATUS": "nas, 1 of 2"}]
    clock.advance(STATUS_INTERVAL)
    assert manager_socket.told() == []
    stands[0] = "nas, 2 of 2\nREADY=0\x1b"
    clock.advance(STATUS_INTERVAL)
    assert manager_socket.told() == [{"STATUS": "nas, 2 of 2 READY=0 "}]

    def reload() -> None:
        (begun,) = manager_socket.told()
        assert begun["RELOADING"] == "1"
        assert int(begun["MONOTONIC_USEC"]) > 0
        stands[0] = "nas"

    manager.reloading(reload)
    assert manager_socket.told() == [{"READY": "1", "STATUS": "nas"}]
    manager.stopping()
    manager.stopping()
    clock.advance(10 * STATUS_INTERVAL)
    assert manager_socket.told() == [{"STOPPING": "1", "STATUS": "ending"}]
    manager.close()


def test_a_sign_of_life_at_half_of_the_watchdogs_time(manager_socket: Socket, environment: dict[str, str]) -> None:
    """sd_watchdog_enabled(3): every half of the time is recommended."""
    clock = Clock()
    manager = Manager(clock, environment | {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    clock.advance(5)
    assert manager_socket.told() == [], "not before it serves"
    manager.ready(lambda: "x")
    clock.pump([0.5] * 9)
    assert [message for message in manager_socket.told() if "WATCHDOG" in message] == [{"WATCHDOG": "1"}] * 4
    manager.close()
    clock.advance(1.5)


@pytest.mark.parametrize("asked", [{"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {}])
def test_a_watchdog_of_another_process_or_none_gets_nothing(
    manager_socket: Socket, environment: dict[str, str], asked: dict[str, str]
) -> None:
    clock = Clock()
    manager = Manager(clock, environment | asked)
    manager.ready(lambda: "x")
    clock.pump([1.0] * 10)
    assert len(manager_socket.told()) == 1
    manager.close()


def test_an_abstract_socket(tmp_path: Path) -> None:
    listening = Socket(f"\0{tmp_path}")
    manager = Manager(Clock(), {"NOTIFY_SOCKET": f"@{tmp_path}"})
    manager.ready(lambda: "x")
    assert listening.told() == [{"READY": "1", "STATUS": "x"}]
    manager.close()
    listening.socket.close()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative", "/nowhere/notify"])
def test_where_nobody_listens_all_goes_on(address: str | None) -> None:
    manager = Manager(Clock(), {} if address is None else {"NOTIFY_SOCKET": address})
    done: list[str] = []
    manager.ready(lambda: "x")
    manager.reloading(lambda: done.append("reloaded"))
    manager.stopping()
    manager.close()
    assert done == ["reloaded"]
