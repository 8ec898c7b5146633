"""Guests from the node's side: records, configurations, and the processes that are started, told, watched and ended."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from bridges import guest_record
from bridges.guest_process import FIRST_PAUSE, LAST_PAUSE, LONG_LIFE, MAX_LOG, STOP_PATIENCE, GuestProcess
from bridges.guest_record import Record, split_endpoint
from bridges.guests import LEAVE_PATIENCE, MAX_GUESTS, MEASURING_PATIENCE, START_PATIENCE, GuestsBridge, GuestsOptions
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.guest import guest_keys

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
            reactor=self.reactor, companions=companions, mtu=1420, own=lambda: SimpleNamespace(name="anna"),
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


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def failure(result: Deferred[Any]) -> str:
    found: list[Failure] = []
    result.addErrback(found.append)
    (one,) = found
    assert isinstance(one.value, CommandError), one
    return str(one.value)


# --- what is printed


def test_the_configuration(scene: Scene) -> None:
    result = scene.add()
    lines = result["config"].splitlines()
    record = guest_record.load(scene.folder / "guests" / "phone", print)
    assert record is not None
    assert lines == [
        "[Interface]",
        "# phone, a guest of userlan",
        f"PrivateKey = {record.private}",
        "Address = 25.1.2.3/8, fd75:6c61:6e00::7/48",
        "DNS = fd75:6c61:6e00::53, internal",
        "MTU = 1280",
        "",
        "[Peer]",
        f"PublicKey = {base64.b64encode(bytes(range(32))).decode()}",
        f"PresharedKey = {record.preshared}",
        "AllowedIPs = 25.0.0.0/8, fd75:6c61:6e00::/48, 255.255.255.255/32, 224.0.0.0/4, ff00::/8",
        "Endpoint = 44.0.0.2:51820",
        "PersistentKeepalive = 25",
    ]
    assert scene.ask("guest-show", name="PHONE")["config"] == result["config"]
    assert (result["reach"], result["sure"], result["configured_endpoint"]) == ("open", True, "44.0.0.2:51820")


def test_what_was_asked_for(scene: Scene) -> None:
    result = scene.add(endpoint="vpn.example.org", mtu=1400, dns=False, networks=["home"])
    assert "Endpoint = vpn.example.org:51820\n" in result["config"]
    assert "MTU = 1400" in result["config"]
    assert "DNS" not in result["config"]
    assert (result["reach"], result["sure"]) == ("given", True)
    assert scene.process.told == [{"networks": {"home": "userlan://home"}}]


def test_keys_are_as_wireguard_makes_them() -> None:
    """RFC 7748 5: clamped, and the public key belongs to the private one."""
    keys = guest_keys(lambda size: bytes([0xFF]) * size)
    private = base64.b64decode(keys.private)
    assert (private[0] & 7, private[31] >> 6) == (0, 1)
    assert len(base64.b64decode(keys.public)) == len(base64.b64decode(keys.preshared)) == 32
    assert keys.private not in repr(keys)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("vpn.example.org", ("vpn.example.org", 0)),
        ("vpn.example.org:4000", ("vpn.example.org", 4000)),
        ("44.0.0.9:1", ("44.0.0.9", 1)),
        ("[2001:db8::1]:4000", ("[2001:db8::1]", 4000)),
        ("[2001:db8::1]", ("[2001:db8::1]", 0)),
    ],
)
def test_endpoints(written: str, expected: tuple[str, int]) -> None:
    assert split_endpoint(written) == expected


@pytest.mark.parametrize(
    "written",
    ["", ":1", "a:0", "a:65536", "a:b", "a b", "a\nPostUp = rm", "[::1", "2001:db8::1", "[zz::1]:1", "-a:1", "é:1"],
)
def test_endpoints_that_are_none(written: str) -> None:
    """Nothing that is asked for may become a line of the configuration of its own (``PostUp`` is a command)."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_endpoint(written)


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "no name"}, "wrong arguments"),
        ({"name": "../up"}, "wrong arguments"),
        ({"name": "ben"}, "a member is called ben already"),
        ({"name": "anna"}, "a member is called anna already"),
        ({"name": "x", "mtu": 1279}, "1280 to 1420"),
        ({"name": "x", "mtu": 1421}, "1280 to 1420"),
        ({"name": "x", "networks": ["nowhere"]}, "no network 'nowhere' (it is in: home, work)"),
        ({"name": "x", "endpoint": "a b"}, "HOST:PORT"),
        ({}, "wrong arguments"),
    ],
)
def test_what_cannot_be(scene: Scene, arguments: dict[str, Any], expected: str) -> None:
    assert expected in failure(scene.ask("guest-add", **arguments))
    assert not scene.reactor.processes
    assert not (scene.folder / "guests").exists()


def test_no_network_no_guest(scene: Scene) -> None:
    scene.invites.clear()
    assert "in no network" in failure(scene.ask("guest-add", name="phone"))


def test_there_are_so_many_guests_and_no_more(scene: Scene) -> None:
    for number in range(MAX_GUESTS):
        scene.add(f"guest{number}")
    assert "32 guests" in failure(scene.ask("guest-add", name="one-more"))
    assert len({row["port"] for row in scene.ask("guest-list")["guests"]}) == MAX_GUESTS


def test_the_same_name_twice(scene: Scene) -> None:
    scene.add()
    assert "guest show phone" in failure(scene.ask("guest-add", name="phone"))


def test_a_node_in_another_program_takes_in_nobody(scene: Scene) -> None:
    scene.lan.companions = None
    assert "another program" in failure(scene.ask("guest-add", name="phone"))


# --- companions


def test_a_companion_that_does_not_come_up_leaves_nothing(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(0.1)
    scene.process.end("userlan: UDP 0.0.0.0:51820 is in use")
    scene.run(FIRST_PAUSE + 0.1)
    scene.process.end("userlan: UDP 0.0.0.0:51820 is in use")
    scene.run(1)
    assert results == ["phone did not come up: UDP 0.0.0.0:51820 is in use"]
    assert not (scene.folder / "guests" / "phone").exists()
    assert scene.bridge.status() is None


def test_a_mediator_that_does_not_answer(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(0.1)
    scene.process.say(ipv4=None, networks=[], trouble={"home": "the mediator cannot be reached"})
    scene.run(START_PATIENCE + 0.5)
    assert scene.process.closed
    scene.process.end()
    assert results == ["phone did not come up: the mediator cannot be reached"]


def test_a_network_whose_owner_has_to_approve(scene: Scene) -> None:
    """The guest is there, and waits; where this node is the owner, its key is known before it asks."""
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addCallback(results.append)
    scene.run(0.1)
    scene.process.say(networks=[], waiting=["home"], trouble={"home": "asked to join: its owner has to approve"})
    scene.run(0.2)
    assert results[0]["trouble"] == "home: asked to join: its owner has to approve"
    assert scene.lan.companions.ours == {KEY}


def test_an_endpoint_is_waited_for(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addCallback(results.append)
    scene.run(0.1)
    scene.process.say(measured=False)
    scene.run(MEASURING_PATIENCE - 1)
    assert not results
    scene.run(2)
    assert len(results) == 1, "the next best is named"


def test_networks_follow_the_nodes(scene: Scene) -> None:
    scene.add()
    scene.add("tablet", networks=["work"])
    del scene.invites["work"]
    for _ in range(2):
        for changed in scene.observers:
            changed()
    phone, tablet = scene.reactor.processes
    home, work = {"home": "userlan://home"}, {"work": "userlan://work"}
    assert phone.told == [{"networks": home | work}, {"networks": home}]
    assert tablet.told == [{"networks": work}, {"networks": {}}]


def test_back_off(scene: Scene) -> None:
    """One that dies is started again: soon at first, then more and more seldom, and soon again after a long life."""
    scene.add()
    pauses = []
    for _ in range(9):
        count, before = len(scene.reactor.processes), scene.reactor.seconds()
        scene.process.end("2026-01-01 [app#info] ben is direct\nuserlan: out of luck")
        assert scene.ask("guest-list")["guests"][0]["state"] == "failed"
        assert scene.ask("guest-list")["guests"][0]["trouble"] == "out of luck"
        while len(scene.reactor.processes) == count:
            scene.reactor.advance(0.5)
        pauses.append(round(scene.reactor.seconds() - before))
    assert pauses == [1, 2, 4, 8, 16, 32, LAST_PAUSE, LAST_PAUSE, LAST_PAUSE]
    scene.reactor.advance(LONG_LIFE)
    count = len(scene.reactor.processes)
    scene.process.end()
    assert scene.ask("guest-list")["guests"][0]["trouble"] == "exit status 0"
    scene.reactor.advance(FIRST_PAUSE)
    assert len(scene.reactor.processes) == count + 1
    assert scene.process.told, "it is told its networks each time"
    assert "out of luck" in (scene.folder / "guests" / "phone" / "node.log").read_text()


def test_a_program_that_is_not_there(scene: Scene) -> None:
    scene.reactor.refuse = True
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(4)
    assert results == ["phone did not come up: it cannot be started: No such file or directory"]


def test_what_a_companion_says_is_not_trusted_to_be_short_or_right(scene: Scene) -> None:
    scene.add()
    before = scene.ask("guest-list")
    for data in (b"ready phone\n", b"{\n", b"[]\n", b'{"companion": 7}\n', b"{" * (2 << 20), b"\n"):
        scene.process.protocol.outReceived(data)
    assert scene.ask("guest-list") == before
    for _ in range(20):
        scene.process.protocol.errReceived(b"x" * (MAX_LOG // 8))
    assert (scene.folder / "guests" / "phone" / "node.log").stat().st_size <= MAX_LOG


def test_they_end_with_the_node_and_come_up_with_it(scene: Scene) -> None:
    ports = {name: scene.add(name)["port"] for name in ("phone", "tablet")}
    ended: list[Any] = []
    scene.bridge.stop().addCallback(ended.append)
    assert [process.closed for process in scene.reactor.processes] == [True, True]
    scene.reactor.processes[0].end()
    assert not ended
    scene.run(STOP_PATIENCE + 0.1)
    assert scene.reactor.processes[1].killed
    scene.reactor.processes[1].end()
    assert ended == [None]
    assert not scene.observers
    assert not scene.reactor.getDelayedCalls()
    scene.again()
    scene.run(2)
    assert [process.command[1:] for process in scene.reactor.processes[2:]] == [
        [str(scene.folder / "guests" / name), str(port)] for name, port in ports.items()
    ]
    assert [row["state"] for row in scene.ask("guest-list")["guests"]] == ["starting", "starting"]
    with pytest.raises(CommandError, match="starting"):
        scene.ask("guest-show", name="phone")


def test_a_node_that_stops_while_one_waits_to_be_started_again(scene: Scene) -> None:
    scene.add()
    scene.process.end()
    scene.bridge.stop()
    scene.run(5)
    assert len(scene.reactor.processes) == 1


def test_nothing_of_the_service_managers_is_handed_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_notify(3): the state of the service is the node's to tell."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "USERLAN_STATE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    scene.add()
    environment = scene.process.environment
    assert environment["LANG"] == "C.UTF-8"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "USERLAN_STATE"} & environment.keys()


# --- what is shown, kept and removed


def test_a_guest_that_is_there(scene: Scene) -> None:
    scene.add()
    seat = {"online": True, "endpoint": "203.0.113.7:9", "handshake": 17, "rx_bytes": 1, "tx_bytes": 2, "counters": {}}
    scene.process.say(bridges={"guests": seat}, trouble={"work": "refused"})
    (row,) = scene.ask("guest-list")["guests"]
    assert (row["state"], row["endpoint"], row["handshake"], row["rx_bytes"]) == ("online", "203.0.113.7:9", 17, 1)
    assert (row["ipv4"], row["ipv6"], row["networks"], row["trouble"]) == ("25.1.2.3", "fd75:6c61:6e00::7", ["home"], "work: refused")
    assert scene.bridge.status() == [row]
    assert not {"private", "preshared", "config"} & row.keys()


def test_an_endpoint_that_is_another_one_is_told(scene: Scene) -> None:
    """The configuration on the phone names the old one."""
    scene.add()
    scene.process.say(end={"host": "44.0.0.3", "port": 51820, "kind": "mapped", "sure": True})
    (row,) = scene.ask("guest-list")["guests"]
    assert row["trouble"] == "its configuration says 44.0.0.2:51820, and it would be reached at 44.0.0.3:51820 now"
    assert "44.0.0.3:51820" in scene.ask("guest-show", name="phone")["config"]
    assert scene.ask("guest-list")["guests"][0]["trouble"] is None


def test_what_is_kept_is_nobody_elses(scene: Scene) -> None:
    scene.add()
    folder = scene.folder / "guests"
    kept = (folder, folder / "phone", folder / "phone" / "guest.json")
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o700, 0o700, 0o600]


def test_removed(scene: Scene) -> None:
    """Its keys are forgotten before anything else; it leaves its networks, and then nothing is left."""
    scene.add()
    results: list[Any] = []
    scene.ask("guest-remove", name="phone").addCallback(results.append)
    kept = (scene.folder / "guests" / "phone" / "guest.json").read_text()
    assert json.loads(kept)["private"] == json.loads(kept)["preshared"] == ""
    assert scene.process.told[-1] == {"leave": True}
    assert scene.bridge.status() is None
    assert "being removed" in failure(scene.ask("guest-add", name="phone"))
    scene.process.say(left=True, networks=[])
    assert scene.process.closed
    scene.process.end()
    scene.run(0.2)
    assert results == [{"name": "phone", "left": True}]
    assert not (scene.folder / "guests" / "phone").exists()
    with pytest.raises(CommandError, match="no guest 'phone'"):
        scene.ask("guest-show", name="phone")


def test_removed_while_the_mediator_is_away(scene: Scene) -> None:
    """It is made up for, by the next run of the node if need be."""
    scene.add()
    results: list[Any] = []
    scene.ask("guest-remove", name="phone").addCallback(results.append)
    scene.run(LEAVE_PATIENCE + 0.2)
    assert results == [{"name": "phone", "left": False}]
    scene.bridge.stop()
    scene.process.end()
    scene.again()
    scene.run(0.5)
    assert scene.bridge.status() is None
    assert scene.process.told == [{"leave": True}]
    scene.process.say(left=True)
    scene.process.end()
    assert not (scene.folder / "guests" / "phone").exists()


@pytest.mark.parametrize("text", ["{", '{"name": 7}', '{"name": "phone", "port": 1, "version": 99}', '{"name": "other", "port": 1}'])
def test_a_record_that_cannot_be_read_is_left_alone(scene: Scene, text: str) -> None:
    folder = scene.folder / "guests" / "phone"
    folder.mkdir(parents=True)
    (folder / "guest.json").write_text(text)
    scene.again()
    scene.run(1)
    assert not scene.reactor.processes
    assert folder.exists()


def test_a_record_of_a_later_version_with_more_in_it(tmp_path: Path) -> None:
    """Fields that this version does not know are no reason to lose a guest."""
    guest_record.save(tmp_path / "guests" / "x", Record("x", 1))
    path = tmp_path / "guests" / "x" / "guest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert guest_record.load(path.parent, print) == Record("x", 1)


def test_a_process_that_is_gone_when_it_is_to_be_killed(tmp_path: Path) -> None:
    reactor = Reactor()
    process = GuestProcess(reactor, tmp_path, ["userlan"], lambda: None)
    process.start()
    reactor.advance(0)
    process.stop()
    reactor.processes[0].gone = True
    reactor.advance(STOP_PATIENCE)
    reactor.processes[0].protocol.processEnded(ended())
    assert not reactor.getDelayedCalls()
