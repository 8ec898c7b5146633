"""A companion's life in its own process: which networks it joins and leaves, what it tells, and when it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from userlan.app.companions import FIRST_AGAIN, LAST_AGAIN, Companion, Companions, as_companion
from userlan.app.program import Options
from userlan.driver.bridge import CommandError
from userlan.lan.addresses import AddressRange
from userlan.node.config import defaults
from userlan.traversal.nat import UNKNOWN


class Program:
    """A node that joins and leaves at once, unless it is told otherwise."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.refusal = ""
        self.waiting = False
        self.saved: dict[str, Any] = {}
        self.stopped = False
        self.seat_ended = False
        keyring = _Keyring(self.held)
        own = SimpleNamespace(name="phone", ipv4=bytes((25, 1, 2, 3)), ipv6=bytes.fromhex("fd756c616e00") + bytes(10))
        self.node = SimpleNamespace(
            key=bytes(32), keyring=keyring, lookup=SimpleNamespace(own_info=lambda: own),
            roster=SimpleNamespace(address_range=AddressRange.parse("25.0.0.0/8")), host=SimpleNamespace(mtu=1420),
            whereabouts=SimpleNamespace(offered=(), method=""), reachability=SimpleNamespace(nat=UNKNOWN, at=None, sightings=_Nobody()),
            mediators=SimpleNamespace(primary=lambda: None), membership=SimpleNamespace(observed={}),
        )  # fmt: skip
        self.api = SimpleNamespace(membership=SimpleNamespace(join=self._join, leave=self._leave, invites=lambda: {"home": "i"}))
        self.folder = SimpleNamespace(load=self.saved.get, save=self.saved.__setitem__)
        self.local = object()
        self.bridges = {"guests": SimpleNamespace(status=lambda: None, stop=self._end_seat)}
        self.options = SimpleNamespace(config_path=None)

    def _end_seat(self) -> None:
        self.seat_ended = True

    def _answer(self, value: Any) -> Deferred[Any]:
        return fail(CommandError(self.refusal)) if self.refusal else succeed(value)

    def _join(self, arguments: dict[str, Any]) -> Deferred[Any]:
        self.asked.append(("join", arguments["invite"]))
        if not self.refusal:
            self.held[arguments["invite"]] = SimpleNamespace(confirmed=not self.waiting)
        return self._answer({"waiting": True} if self.waiting else {})

    def _leave(self, arguments: dict[str, Any]) -> Deferred[Any]:
        self.asked.append(("leave", arguments["network"]))
        if not self.refusal:
            self.held.pop(arguments["network"], None)
        return self._answer({})

    def stop(self) -> Deferred[Any]:
        self.stopped = True
        return succeed(None)

    def stop_failed(self, failure: Any) -> None:
        """Never."""


class _Keyring:
    def __init__(self, held: dict[str, Any]) -> None:
        self._held = held
        self.get = held.get

    def __iter__(self) -> Any:
        return iter(tuple(self._held))


class _Nobody:
    def hosts(self, key: bytes) -> tuple[str, ...]:
        return ()


class Scene:
    """The companion and the node's end of its pipes. An invite is written as its network's name."""

    def __init__(self, program: Program | None = None) -> None:
        self.clock = Clock()
        self.clock.callWhenRunning = lambda call, *arguments: None  # type: ignore[attr-defined]  # the pipes are the test's
        self.program = program or Program()
        self.companion = Companion(self.clock, cast(Any, self.program))
        self.lines: list[bytes] = []
        self.companion._channel.transport = SimpleNamespace(write=self.lines.append)

    def order(self, *networks: str) -> None:
        self.companion.ordered(msgspec.json.encode({"networks": {name: name for name in networks}}))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.companion._look()

    @property
    def told(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(self.lines[-1])["companion"])


def test_it_is_in_the_networks_that_it_is_told() -> None:
    scene = Scene()
    scene.wait(5)
    assert scene.program.asked == [], "nothing was said yet"
    scene.order("home", "work")
    assert scene.program.asked == [("join", "home"), ("join", "work")]
    assert scene.told["networks"] == ["home", "work"]
    scene.order("work")
    assert scene.program.asked[2:] == [("leave", "home")]
    scene.order()
    assert scene.told["networks"] == []
    assert scene.program.saved["joined"] == []


def test_what_it_tells() -> None:
    scene = Scene()
    scene.order("home")
    assert (scene.told["ipv4"], scene.told["ipv6"], scene.told["range"]) == ("25.1.2.3/8", "fd75:6c61:6e00::/48", "25.0.0.0/8")
    count = len(scene.lines)
    scene.wait(1)
    assert len(scene.lines) == count, "what is no news is not said"


def test_a_network_that_refuses_is_asked_more_and_more_seldom() -> None:
    scene = Scene()
    scene.program.refusal = "the mediator does not answer"
    scene.order("home")
    assert scene.told["trouble"] == {"home": "the mediator does not answer"}
    at: list[float] = []
    while scene.clock.seconds() < 2000:
        count = len(scene.program.asked)
        scene.wait(1)
        if len(scene.program.asked) > count:
            at.append(scene.clock.seconds())
    gaps = [later - earlier for earlier, later in zip([0.0, *at], at, strict=False)]
    assert gaps[:4] == [FIRST_AGAIN, 4, 8, 16]
    assert gaps[-1] == LAST_AGAIN
    scene.program.refusal = ""
    scene.order("home")
    assert (scene.told["networks"], scene.told["trouble"]) == (["home"], {})


def test_where_the_owner_has_to_approve() -> None:
    scene = Scene()
    scene.program.waiting = True
    scene.order("home")
    assert "approve" in scene.told["trouble"]["home"]
    scene.wait(60)
    assert len(scene.program.asked) == 1
    scene.program.held["home"].confirmed = True
    scene.wait(1)
    assert (scene.told["networks"], scene.told["trouble"]) == (["home"], {})


def test_who_was_not_approved_does_not_ask_again() -> None:
    scene = Scene()
    scene.program.waiting = True
    scene.order("home")
    del scene.program.held["home"]
    scene.wait(2 * LAST_AGAIN)
    assert "not approved" in scene.told["trouble"]["home"]
    assert len(scene.program.asked) == 1


def test_an_application_ends_with_the_wish() -> None:
    scene = Scene()
    scene.program.waiting = True
    scene.order("home")
    scene.order()
    assert scene.program.asked == [("join", "home"), ("leave", "home")]
    assert scene.told["trouble"] == {}


def test_evicted_it_stays_out() -> None:
    """And after the next start, too, until the node itself has left and come back."""
    scene = Scene()
    scene.order("home", "work")
    del scene.program.held["home"]
    scene.wait(1)
    assert "evicted" in scene.told["trouble"]["home"]
    again = Scene(scene.program)
    again.order("home", "work")
    assert scene.program.asked == [("join", "home"), ("join", "work")]
    assert "evicted" in again.told["trouble"]["home"]
    again.order("work")
    assert again.told["trouble"] == {}
    again.order("home", "work")
    assert again.told["networks"] == ["home", "work"]


def test_it_leaves_for_good() -> None:
    """The guest is out at once; what its mediator has to hear is tried until it has."""
    scene = Scene()
    scene.order("home")
    scene.program.refusal = "the mediator does not answer"
    scene.companion.ordered(b'{"leave": true}')
    assert scene.program.seat_ended
    assert not scene.told["left"]
    scene.program.refusal = ""
    scene.wait(FIRST_AGAIN)
    assert scene.told["left"]
    assert scene.told["networks"] == []


def test_it_ends_with_its_node() -> None:
    scene = Scene()
    scene.order("home")
    scene.companion._channel.connectionLost()
    assert scene.program.stopped
    count = len(scene.lines)
    scene.wait(1)
    assert len(scene.lines) == count


@pytest.mark.parametrize("line", [b"", b"{", b"7", b'{"networks": 7}', b'{"unknown": 1}'])
def test_what_is_no_order_changes_nothing(line: bytes, logged: list[Any]) -> None:
    scene = Scene()
    scene.order("home")
    scene.companion.ordered(line)
    assert scene.told["networks"] == ["home"]


@pytest.fixture
def logged() -> list[Any]:
    """What is logged is no failure here."""
    return []


def test_the_command_line(tmp_path: Path) -> None:
    program = Program()
    companions = Companions(cast(Any, program))
    command = companions.command(tmp_path / "phone", 51820)
    assert command == [sys.executable, "-m", "userlan", "--state", str(tmp_path / "phone"), "up", "--background", "--companion", "51820"]
    program.options.config_path = tmp_path / "config.yaml"
    assert companions.command(tmp_path / "phone", 1)[5:7] == ["--config", str(tmp_path / "config.yaml")]
    assert companions.invites() == {"home": "i"}


def test_its_options() -> None:
    """None of the node's own bridges, ports or mediators: only what is made for it."""

    class Guests:
        companion = object()

    config = defaults({})
    made = as_companion(Options(config, None, {"guests": cast(Any, Guests), "proxy": cast(Any, object)}, None, None, True), "phone", 7)
    assert made.bridges == {"guests": Guests.companion}
    assert (made.port, made.config.name, made.config.mediator, made.config.embedded_mediator) == (7, "phone", None, "never")
    assert made.config.page.listen == "none"
    assert made.config.tunnel == config.tunnel
