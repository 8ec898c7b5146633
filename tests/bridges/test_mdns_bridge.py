"""Two nodes on one computer, over the real LAN between them, and python-zeroconf as the local programs, all on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

from bridges.expose import ExposeBridge, ExposeOptions, aliases_bindable
from bridges.folders import FoldersBridge, FoldersOptions
from bridges.mdns import MdnsBridge
from bridges.mdns_records import Service, addresses, parse_type, pointers, unique
from bridges.mdns_responder import ANNOUNCEMENTS
from bridges.mdns_settings import MdnsOptions
from bridges.mdns_sides import LocalSide
from tests.bridges.conftest import until
from tests.bridges.harness import Loop, MemoryStore, dial, read_response, site
from tests.bridges.stacked import MEMBERS, StackedPair
from userlan.driver.bridge import BridgeStore
from userlan.driver.interfaces import Interface

HTTP = "_http._tcp.local."
LOOPBACK = "127.0.0.1"


class Scene:
    def __init__(self, loop: Loop, folder: Path, **options: MdnsOptions) -> None:
        self.loop = loop
        self.pair: StackedPair = loop.call(StackedPair, loop.reactor)
        self.bridges: dict[str, MdnsBridge] = {}
        self.exposing: dict[str, ExposeBridge] = {}
        self.folders: dict[str, FoldersBridge] = {}
        for name in ("me", "nas"):
            (folder / name).mkdir()
            store: Any = MemoryStore()
            self.exposing[name] = ExposeBridge(self.pair.lans[name], ExposeOptions(), store)
            self.bridges[name] = MdnsBridge(self.pair.lans[name], options.get(name, MdnsOptions()), store, list)
            self.folders[name] = FoldersBridge(self.pair.lans[name], FoldersOptions(), BridgeStore(folder / name / "folders.json"))
            loop.call(self.exposing[name].start)
            loop.call(self.folders[name].start)
            loop.call(self.bridges[name].start)

    def services(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.loop.call(lambda: self.bridges[name].commands()["services"]({}))
        return rows

    def names(self, name: str) -> set[str]:
        return {row["name"] for row in self.services(name)}

    def offered(self, name: str) -> list[dict[str, Any]]:
        status: Any = self.loop.call(self.bridges[name].status)
        rows: list[dict[str, Any]] = status["offered"] if status is not None else []
        return rows

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, self.loop)

    def stop(self) -> None:
        for name in self.bridges:
            self.loop.call(self.bridges[name].stop)
            self.loop.call(self.exposing[name].stop)
            self.loop.call(self.folders[name].stop)
        self.loop.call(self.pair.stop)


@pytest.fixture
def scenes(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(**options: MdnsOptions) -> Scene:
        made.append(Scene(loop, tmp_path_factory.mktemp("state"), **options))
        return made[-1]

    yield make
    for scene in made:
        scene.stop()


@pytest.fixture
def programs() -> Iterator[Zeroconf]:
    zeroconf = Zeroconf(interfaces=[LOOPBACK])
    yield zeroconf
    zeroconf.close()


def publish(programs: Zeroconf, name: str, port: int, **text: str) -> ServiceInfo:
    info = ServiceInfo(
        HTTP, f"{name}.{HTTP}", port, properties=text, server=f"{name.lower()}-pc.local.", addresses=[socket.inet_aton(LOOPBACK)]
    )
    programs.register_service(info, cooperating_responders=True)
    return info


class Browser:
    def __init__(self, programs: Zeroconf) -> None:
        self.programs = programs
        self.names: set[str] = set()
        self._browser = ServiceBrowser(programs, HTTP, handlers=[self._heard])

    def _heard(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
        (self.names.discard if state_change.name == "Removed" else self.names.add)(name.removesuffix(f".{HTTP}"))


def test_there_and_gone_again_and_never_in_circles(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    """Both nodes hear the program: both offer it, each shows the other's under another name, and neither offers what the other shows."""
    scene = scenes()
    browser = Browser(programs)
    with site(LOOPBACK) as port:
        info = publish(programs, "Web", port, path="/x")
        scene.until(lambda: bool(scene.services("me") and scene.services("nas")))
        scene.until(lambda: len(browser.names) == 3)
        assert "Web" in browser.names
        [row] = scene.services("me")
        assert (row["peer"], row["type"], row["source"], row["text"]) == ("nas", "_http._tcp", "bonjour", {"path": "/x"})
        if aliases_bindable():
            assert row["where"].startswith("127.9.0.2:")
        assert row["url"] == f"http://{row['where']}/x"
        host, _, local = row["where"].rpartition(":")
        with dial((host, int(local))) as connection:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert read_response(connection)[0] == 200
        assert [len(scene.offered(name)) for name in ("me", "nas")] == [1, 1]
        programs.unregister_service(info)
    scene.until(lambda: not scene.services("me") and not scene.services("nas"))
    scene.until(lambda: not browser.names)
    assert not scene.offered("me")
    assert not scene.offered("nas")


def test_the_policy_says_what_is_offered_and_what_is_shown(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    scene = scenes(me=MdnsOptions(offer=("_http._tcp",), deny=("sec*",)), nas=MdnsOptions(offer=(), show=False))
    browser = Browser(programs)
    publish(programs, "Web", 9001)
    publish(programs, "Secret", 9002)

    def told_of() -> dict[str, Any]:
        told: dict[str, Any] = scene.loop.call(scene.bridges["me"].diagnosis, None)
        return told

    scene.until(lambda: {"name": "Secret", "type": "_http._tcp"} in told_of()["held_back"] and scene.names("nas") == {"Web"})
    scene.until(lambda: browser.names == {"Web", "Secret"})
    assert scene.names("me") == set()
    assert scene.names("nas") == {"Web"}
    told = told_of()
    assert "Web" not in [one["name"] for one in told["held_back"]]
    assert (told["enabled"], told["show"], told["deny"], told["admits"]) == (True, True, ["sec*"], None)
    assert scene.loop.call(scene.bridges["nas"].diagnosis, None)["show"] is False


def test_for_some_alone(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    scene = scenes(me=MdnsOptions(networks=("elsewhere",)), nas=MdnsOptions(peers=("me",)))
    publish(programs, "Web", 9001)
    scene.until(lambda: len(scene.names("me")) == 1)
    assert scene.names("nas") == set()
    assert not scene.offered("me")


def test_exposed_by_hand(scenes: Callable[..., Scene]) -> None:
    scene = scenes()
    expose = scene.exposing["me"].commands()["expose"]
    for given in (
        {"service": "8000", "name": "Site"},
        {"service": "9/udp"},
        {"service": "22", "name": "Shell", "allow": ["nobody"]},
        {"service": "445", "allow": ["nas"]},
        {"service": "4999", "port": 8080, "name": "Wiki"},
    ):
        scene.loop.call(expose, given)
    scene.until(lambda: len(scene.services("nas")) == 4)
    rows = {row["name"]: row for row in scene.services("nas")}
    assert {name: (row["type"], row["source"]) for name, row in rows.items()} == {
        "Site": ("_http._tcp", "exposed"), "me:9": ("_userlan-svc._udp", "exposed"), "me:445": ("_smb._tcp", "exposed"),
        "Wiki": ("_http._tcp", "exposed"),
    }
    assert rows["Site"]["url"] == f"http://{rows['Site']['where']}/"
    assert rows["me:445"]["url"].startswith("smb://")
    assert rows["me:9"]["url"] == ""
    scene.loop.call(lambda: scene.exposing["me"].commands()["unexpose"]({"service": "8000"}))
    scene.until(lambda: scene.names("nas") == {"me:9", "me:445", "Wiki"})


def test_shared_folders(scenes: Callable[..., Scene], tmp_path: Path) -> None:
    """RFC 6763 6.3: the path of an ``_http._tcp`` is in its TXT data. One that is for others is not announced to this member."""
    scene = scenes()
    commands = scene.folders["me"].commands()
    for given in ({"name": "Für alle"}, {"name": "Secret", "allow": ["nobody"]}, {"name": "Yours", "allow": ["nas"]}):
        scene.loop.call(commands["folder-add"], {"path": str(tmp_path), **given})
    scene.until(lambda: scene.names("nas") == {"Für alle", "Yours"})
    (row,) = [row for row in scene.services("nas") if row["name"] == "Für alle"]
    assert (row["type"], row["source"], row["text"]["folder"]) == ("_http._tcp", "exposed", "yes")
    assert row["url"] == f"http://{row['where']}/F%C3%BCr%20alle/"
    assert row["lan"] == "25.9.0.1:41417"
    scene.loop.call(commands["folder-remove"], {"name": "Für alle"})
    scene.until(lambda: scene.names("nas") == {"Yours"})


def test_exposed_under_the_name_that_the_members_know(scenes: Callable[..., Scene]) -> None:
    """Where another member had the nickname, the network has given another one, maybe later than the service was first told."""
    scene = scenes()
    scene.loop.call(scene.exposing["me"].commands()["expose"], {"service": "9"})
    scene.until(lambda: scene.names("nas") == {"me:9"})
    scene.pair.members["me"].own = scene.pair.members["me"].own._replace(given="me-2")
    scene.loop.call(scene.pair.lans["me"].members_changed)
    scene.until(lambda: scene.names("nas") == {"me-2:9"})


@pytest.mark.parametrize(("names", "hosts"), [((), ("127.9.0.7", "127.9.0.8")), (("eth1",), ("127.9.0.8",)), (("lo",), (LOOPBACK,))])
def test_interfaces_by_name(loop: Loop, names: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    """All addresses are this computer's own, whichever interfaces are spoken on."""
    found = [Interface(name, 1, (IPv4Interface(f"127.9.0.{last}/24"),)) for name, last in (("eth0", 7), ("eth1", 8))]
    side = LocalSide(loop.reactor, lambda event: None, False, False, lambda: found, names)
    loop.call(side.look, ())
    try:
        assert (side.hosts, side.error) == (hosts, "")
        assert {"127.9.0.7", "127.9.0.8"} <= side.own
    finally:
        loop.call(side.close)


def test_a_member_is_believed_of_itself_alone(scenes: Callable[..., Scene]) -> None:
    """It cannot have us lead programs to a third one, nor to this computer."""
    scene = scenes()
    link = scene.bridges["me"]._lan_side.link

    def offer(title: str, address: str) -> None:
        one = Service(title.encode(), parse_type("_http._tcp"), (title.lower().encode(), b"local"), 80, b"\0", (address,))
        link.offer(title, one, None, scene.loop.reactor.seconds())
        scene.bridges["me"]._lan_side.touch()

    for title, address in (("Loopback", LOOPBACK), ("Third", "25.9.0.9"), ("You", "25.9.0.2"), ("Own", "25.9.0.1")):
        scene.loop.call(offer, title, address)
    scene.until(lambda: scene.names("nas") == {"Own"})
    scene.until(lambda: len(scene.loop.call(lambda: scene.bridges["nas"]._lan_side.link.querier.services())) == 4)
    assert scene.names("nas") == {"Own"}


def test_members_that_leave_take_theirs_with_them(
    scenes: Callable[..., Scene], programs: Zeroconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes(nas=MdnsOptions(offer=()))
    publish(programs, "Web", 9001)
    scene.until(lambda: scene.names("nas") == {"Web"})
    monkeypatch.delitem(MEMBERS, "me")
    scene.loop.call(scene.pair.lans["nas"].members_changed)
    scene.until(lambda: scene.names("nas") == set())


def test_what_is_said_before_the_members_list_tells_of_it_is_believed_then(
    scenes: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member's new address comes from the mediator, what it says by the tunnel: either may be the first. Nothing is said again."""
    scene = scenes()
    link, given = scene.bridges["nas"]._lan_side.link, MEMBERS["me"]
    monkeypatch.setitem(MEMBERS, "me", given._replace(ipv4=bytes((25, 9, 0, 77)), ipv6=b""))
    one = Service(b"Early", parse_type("_http._tcp"), (b"me", b"local"), 80, b"\0", ("25.9.0.1",))

    def say() -> None:
        records = [*pointers(one), *unique(one), *addresses(one)]
        link.querier.answered(scene.pair.lans["nas"].members()[0].key, records, scene.loop.reactor.seconds())
        scene.bridges["nas"]._lan_side.touch()

    scene.loop.call(scene.pair.lans["nas"].members_changed)
    scene.loop.call(say)
    scene.until(lambda: len(scene.loop.call(link.querier.services)) == 1)
    assert scene.names("nas") == set()
    monkeypatch.setitem(MEMBERS, "me", given)
    scene.loop.call(scene.pair.lans["nas"].members_changed)
    assert scene.names("nas") == {"Early"}


def test_a_computer_that_is_being_attached_is_relayed_nothing_from_then_on(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    """Before the interface has its address: as soon as it has, its programs speak there, and would have everything twice."""
    scene = scenes(nas=MdnsOptions(offer=(), show=False))
    publish(programs, "Own", 8000)
    scene.loop.call(scene.exposing["nas"].commands()["expose"], {"service": "8001", "name": "Theirs"})
    scene.until(lambda: "Theirs" in scene.names("me") and [one["name"] for one in scene.offered("me")] == ["Own"])
    assert next(row for row in scene.services("me") if row["name"] == "Theirs")["where"].startswith("127.")
    scene.loop.call(scene.pair.lans["me"].computer_attached, True)
    assert scene.offered("me") == []
    assert next(row for row in scene.services("me") if row["name"] == "Theirs")["where"].startswith("25."), "where it is in the LAN"
    scene.loop.call(scene.pair.lans["me"].computer_attached, False)
    assert [one["name"] for one in scene.offered("me")] == ["Own"]


def test_members_that_are_reached_again_are_told_and_asked(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    """Neither has heard the other's announcements: the tunnel was not there."""
    scene = scenes(nas=MdnsOptions(offer=()))
    publish(programs, "Web", 9001)
    scene.until(lambda: scene.names("nas") == {"Web"})
    nas, offering = scene.bridges["nas"], scene.bridges["me"]._lan_side.link.responder
    scene.until(lambda: all(owned.announcements == ANNOUNCEMENTS for owned in scene.loop.call(offering.owned)))
    scene.loop.call(nas._lan_side.link.querier.forget, scene.loop.call(lambda: scene.pair.lans["nas"].members()[0].key))
    scene.loop.call(nas._lan_side.touch)
    scene.until(lambda: scene.names("nas") == set())
    scene.loop.call(scene.pair.lans["nas"].member_reached, MEMBERS["me"].key)
    scene.until(lambda: scene.names("nas") == {"Web"})


def test_switched_off(scenes: Callable[..., Scene], programs: Zeroconf) -> None:
    scene = scenes(nas=MdnsOptions(enabled=False))
    scene.loop.call(lambda: scene.exposing["nas"].commands()["expose"]({"service": "8000"}))
    publish(programs, "Web", 9001)
    scene.until(lambda: len(scene.offered("me")) == 1)
    assert scene.services("me") == scene.services("nas") == []
    assert scene.loop.call(scene.bridges["nas"].status) is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"offer": ("_http",)}, "offer: '_http' is not a service's type"),
        ({"deny": ("",)}, "deny: '' is neither"),
        ({"networks": ("a b",)}, "'a b' is not the name of a network"),
        ({"peers": ("a b",)}, "'a b' is neither"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        MdnsOptions(**options)


def test_rules_name_types_and_names() -> None:
    options = MdnsOptions(offer=("_ipp._tcp", "box*"), deny=("*garage*",))

    def offered(title: str, kind: str) -> bool:
        return options.offers(Service(title.encode(), parse_type(kind), (b"x", b"local"), 1))

    assert offered("Laser", "_ipp._tcp")
    assert offered("Box 2", "_http._tcp")
    assert not offered("Box in the Garage", "_http._tcp")
    assert not offered("Site", "_http._tcp")
    assert not MdnsOptions().offers(Service(b"x", parse_type("_userlan._udp"), (b"x", b"local"), 1)), "how nodes find each other on a link"




class Kernel(DatagramProtocol):
    """A multicast DNS program beside a node: it hears what is said to all, and not what is said to the node."""

    noisy = False

    def __init__(self) -> None:
        self.heard = 0

    def startProtocol(self) -> None:
        transport: Any = self.transport
        transport.joinGroup("224.0.0.251")

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        self.heard += b"Attic" in datagram and bool(datagram[2] & 0x80)


def test_who_comes_late_is_told_by_the_group(scenes: Callable[..., Scene]) -> None:
    scene = scenes(nas=MdnsOptions(enabled=False))
    kernel, pair = Kernel(), scene.pair
    scene.loop.call(pair.lans["nas"].datagram_port, kernel, 5353)
    with site(LOOPBACK) as port:
        scene.loop.call(lambda: scene.exposing["me"].commands()["expose"]({"service": str(port), "name": "Attic"}))
        scene.until(lambda: kernel.heard >= 2)     # that it has joined may be known after the first probe
        said = kernel.heard
        scene.loop.call(lambda: pair.lans["me"].member_reached(MEMBERS["nas"].key))
        scene.until(lambda: kernel.heard >= said + 2)
