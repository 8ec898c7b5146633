"""A node with guests, whose processes are the test's."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from bridges.guests import GuestsBridge, GuestsOptions
from userlan.driver.bridge import BridgeStore, CommandError

KEY = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
TOLD = {
    "key": KEY, "ipv4": "25.1.2.3/8", "ipv6": "fd75:6c61:6e00::7/48", "range": "25.0.0.0/8", "networks": ["home"],
    "waiting": [], "trouble": {},
    "left": False, "end": {"host": "44.0.0.2", "port": 51820, "kind": "open", "sure": True}, "measured": True, "bridges": {"guests": None},
}  # fmt: skip


def ended() -> Any:
    """Why a process has ended, as the reactor says it."""
    return Failure(ProcessDone(0))  # type: ignore[no-untyped-call]  # Twisted's, without types


class Process:
    """A process of the reactor's: what it was told, and how it is made to say something and to end."""

    pid = 4711

    def __init__(self, protocol: Any, command: list[str], environment: dict[str, str]) -> None:
        self.protocol, self.command, self.environment = protocol, command, environment
        self.told: list[Any] = []
        self.closed = self.killed = self.gone = False

    def write(self, data: bytes) -> None:
        self.told += [json.loads(line) for line in data.splitlines()]

    def closeStdin(self) -> None:
        self.closed = True

    def signalProcess(self, name: str) -> None:
        if self.gone:
            raise ProcessExitedAlready
        self.killed = name == "KILL"

    def say(self, **changed: Any) -> None:
        self.protocol.outReceived(json.dumps({"companion": {**TOLD, **changed}}).encode() + b"\n")

    def end(self, error: str = "") -> None:
        self.gone = True
        if error:
            self.protocol.errReceived(error.encode() + b"\n")
        self.protocol.processEnded(ended())


class Reactor(Clock):
    """Virtual time, and processes that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.refuse = False

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], env: dict[str, str]) -> Any:
        if self.refuse:
            raise FileNotFoundError(2, "No such file or directory")
        process = Process(protocol, args, env)
        protocol.makeConnection(process)
        self.processes.append(process)
        return process


class Scene:
    """A bridge in a LAN with the networks ``home`` and ``work``."""

    def __init__(self, folder: Path) -> None:
        self.reactor = Reactor()
        self.folder = folder
        self.invites = {"home": "userlan://home", "work": "userlan://work"}
        self.observers: list[Callable[[], None]] = []
        companions = SimpleNamespace(
            ours=set(), command=lambda state, port: ["userlan", str(state), str(port)], invites=lambda: dict(self.invites)
        )
        self.lan: Any = SimpleNamespace(
            reactor=self.reactor, companions=companions, mtu=1420, own=lambda: SimpleNamespace(name="anna", called="anna-2"),
            members=lambda: [SimpleNamespace(name="ben")], observe=self._observe,
        )  # fmt: skip
        self.bridge = self.again()

    def _observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        self.observers.append(changed)
        return lambda: self.observers.remove(changed)

    def again(self) -> GuestsBridge:
        """The node's next run."""
        self.bridge = GuestsBridge(self.lan, GuestsOptions(), BridgeStore(self.folder / "guests.json"))
        self.bridge.start()
        return self.bridge

    @property
    def process(self) -> Process:
        return self.reactor.processes[-1]

    def ask(self, command: str, **arguments: Any) -> Any:
        return self.bridge.commands()[command](arguments)

    def run(self, seconds: float) -> None:
        self.reactor.pump([0.1] * round(seconds * 10))

    def add(self, name: str = "phone", **arguments: Any) -> dict[str, Any]:
        results: list[Any] = []
        self.ask("guest-add", name=name, **arguments).addBoth(results.append)
        self.run(0.1)
        self.process.say()
        self.run(0.2)
        (result,) = results
        assert isinstance(result, dict), result
        return result


def failure(result: Deferred[Any]) -> str:
    found: list[Failure] = []
    result.addErrback(found.append)
    (one,) = found
    assert isinstance(one.value, CommandError), one
    return str(one.value)
