"""The discovery relay between two members over the real LAN."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol

from bridges import discovery_carrier, discovery_relay, on_demand
from bridges.discovery_local import Surroundings
from bridges.discovery_settings import CustomProfile, Setting
from bridges.discovery_translation import client_filters
from bridges.expose import aliases_bindable
from tests.bridges.conftest import until
from tests.bridges.discovery_scene import EVERYBODY, GROUP, ME, NAS, Scene, free_port, heard, loopback_only, nothing_from, udp
from tests.bridges.harness import WAIT, Listener, Loop, dial, read_exactly
from tests.bridges.stacked import StackedPair
from userlan.driver.interfaces import Interface

pytestmark = pytest.mark.skipif(not aliases_bindable(), reason="this platform binds no loopback alias")


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.stop()


def test_a_server_is_found_by_a_question_and_joined(scene: Scene) -> None:
    """Question by broadcast, answer by unicast, then a TCP connection to the port that answered, and UDP from another socket."""
    port = free_port()
    scene.both(CustomProfile(port, "game", role="query"))
    with udp("", port) as server, udp() as client, udp() as game, Listener("127.0.0.1") as other:
        tcp = socket.create_server(("127.0.0.1", port))
        tcp.settimeout(WAIT)
        client.sendto(b"who?", (EVERYBODY, port))
        question, asker = heard(server, ME)
        assert (question, asker[1]) == (b"who?", client.getsockname()[1])
        server.sendto(b"I am", asker)
        answer, found = heard(client, NAS)
        assert answer == b"I am"
        game.sendto(b"move", found)
        move, player = heard(server, ME)
        assert (move, player[1]) == (b"move", game.getsockname()[1])
        server.sendto(b"moved", player)
        assert heard(game, NAS) == (b"moved", found)
        place = {(one["protocol"], one["address"]) for one in scene.listing("me")["found"]}
        assert ("udp", f"{NAS}:{found[1]}") in place
        assert ("tcp", f"{NAS}:{other.port}") not in place
        joined = next(address for protocol, address in place if protocol == "tcp")
        assert joined == f"{NAS}:{found[1]}", "at the number that the answer came from, whichever that is here"
        with dial(found) as connection:
            accepted, seen = tcp.accept()
            with accepted:
                assert seen[0] == ME
                accepted.sendall(b"welcome")
                assert read_exactly(connection, 7) == b"welcome"
        tcp.close()


def test_who_searches_no_more_can_start_a_server(scene: Scene) -> None:
    """It binds the game's port for all addresses and shares it with nobody."""
    port = free_port()
    scene.both(CustomProfile(port, "game", role="query"))
    with udp("", port) as server, udp() as client:
        client.sendto(b"who?", (EVERYBODY, port))
        server.sendto(b"here", heard(server, ME)[1])
        assert heard(client, NAS)[1] == (NAS, port), "the number that was asked"
    until(lambda: len(scene.listing("me")["found"]) == 2, scene.loop)
    scene.command("me", "share", profile="game", search=False)

    def starts() -> bool:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as starting, socket.create_server(("", port)):
                starting.bind(("", port))
        except OSError:
            return False
        return True

    until(starts, scene.loop)


def test_a_peer_that_speaks_from_the_games_port_keeps_no_server_from_starting(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp("", port) as client:
        client.sendto(b"who?", (EVERYBODY, port))
        until(lambda: scene.counters("nas", "game").get("in", 0) == 1, scene.loop)
        assert heard(client, ME)[1][1] != port
    scene.command("me", "unshare", profile="game")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as starting:
        starting.bind(("", port))


def test_a_peer_that_speaks_from_a_system_port_holds_none(scene: Scene) -> None:
    """A node of root could have it, and this computer's name server would not start."""
    port = free_port()
    scene.start("me", CustomProfile(port, "game"))
    carrier = scene.bridges["me"]._relay.carriers["game"]
    assert not any(map(carrier.keeps_number, (53, 123, 1023, port)))
    assert carrier.keeps_number(1024 if port != 1024 else 1025)


def test_an_announcement_to_a_group_names_a_port(scene: Scene) -> None:
    """As Minecraft does it: the port inside the packet leads to the server, at another number where that is taken."""
    scene.start("me", profiles={"minecraft": Setting(search=False)})
    scene.start("nas")
    with Listener("127.0.0.1") as world, udp("", 4445, "224.0.2.60") as player, udp() as announcer:
        announcer.sendto(b"[MOTD]world[/MOTD][AD]%d[/AD]" % world.port, ("224.0.2.60", 4445))
        announced, _ = heard(player, NAS)
        port = int(announced.partition(b"[AD]")[2].partition(b"[/AD]")[0])
        with dial((NAS, port)), world.accept() as accepted:
            assert accepted.getpeername()[0] == ME
        (found,) = scene.listing("me")["found"]
        assert (found["profile"], found["peer"], found["address"]) == ("minecraft", "nas", f"{NAS}:{port}")
        assert [one["kind"] for one in scene.listing("nas")["on_demand"]] == ["exposed"]


def test_several_programs_on_one_port_all_hear(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "group", groups=(GROUP,)))
    with udp("", port, GROUP) as one, udp("", port, GROUP) as two, udp(GROUP, port, GROUP) as three, udp() as asker:
        asker.sendto(b"who?", (GROUP, port))
        for program in (one, two, three):
            assert heard(program, ME)[0] == b"who?"


def test_a_server_that_answers_from_another_port_is_reached_there(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "game", role="query"))
    with udp("", port) as server, udp() as elsewhere, udp() as client:
        client.sendto(b"who?", (EVERYBODY, port))
        _, asker = heard(server, ME)
        elsewhere.sendto(b"here", asker)
        answer, found = heard(client, NAS)
        assert (answer, found[1]) == (b"here", elsewhere.getsockname()[1])
        client.sendto(b"hello", found)
        assert heard(elsewhere, ME)[0] == b"hello"


def test_nothing_goes_round(scene: Scene) -> None:
    """Both nodes pick up on one computer, and a program answers everybody with a broadcast: each is carried once."""
    port = free_port()
    custom = CustomProfile(port, "game", search=True)
    scene.start("me", custom)
    scene.start("nas", custom)
    with udp("", port) as program:
        program.sendto(b"hello", (EVERYBODY, port))
        until(lambda: scene.counters("me", "game").get("out", 0) == 1, scene.loop)
        until(lambda: scene.counters("nas", "game").get("out", 0) == 1, scene.loop)

        def counted(what: str) -> list[int]:
            return [scene.counters(name, "game").get(what, 0) for name in ("me", "nas")]

        until(lambda: sum(counted("heard-already")) + sum(counted("in")) >= 2, scene.loop)
        time.sleep(0.5)
        assert counted("out") == [1, 1]
        assert sum(counted("heard-already")) + sum(counted("in")) == 2
        assert sum(counted("heard-already")) >= 1, "the one that came later was known"


def test_what_others_and_aliases_say_is_not_carried(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp("127.9.0.77") as alias, udp("127.0.0.9") as other, udp() as own, udp("", port) as server:
        for program in (alias, other):
            program.sendto(b"mine", (EVERYBODY, port))
        own.sendto(b"carried", (EVERYBODY, port))
        assert heard(server, ME)[0] == b"carried"
        assert scene.counters("me", "game") == {"out": 1}


def test_a_time_to_live_of_zero_stays_here(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "group", groups=(GROUP,)))
    with udp() as own, udp("", port, GROUP) as server:
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        own.sendto(b"here", (GROUP, port))
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        own.sendto(b"all", (GROUP, port))
        assert heard(server, ME)[0] == b"all"


def test_a_service_on_the_loopback_alone_is_not_asked(scene: Scene) -> None:
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp("127.0.0.2", port) as private, udp() as client:
        client.sendto(b"who?", (EVERYBODY, port))
        until(lambda: scene.counters("nas", "game").get("in", 0) == 1, scene.loop)
        assert nothing_from(private, ME)


def test_a_port_that_a_program_has_for_itself_is_told_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_relay, "RETRY", 0.1)
    monkeypatch.setattr(discovery_relay, "REFRESH", 0.1)
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", port))
        scene.start("me", CustomProfile(port, "game", search=True))
        row = next(row for row in scene.listing("me")["profiles"] if row["profile"] == "game")
        assert not row["picks_up"]
        assert "for itself" in row["problems"][f"port {port}"]

    def held() -> bool:
        row = next(row for row in scene.listing("me")["profiles"] if row["profile"] == "game")
        return bool(row["picks_up"]) and not row["problems"]

    until(held, scene.loop)


def test_a_port_that_the_system_keeps_for_itself_is_told_to_who_asks_for_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every user lacks the ports of NetBIOS: that is no fault as long as nobody wants to search by it."""

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(discovery_carrier, "hear", refuse)
    scene.start("me")
    row = next(row for row in scene.listing("me")["profiles"] if row["profile"] == "netbios")
    assert (row["on"], row["picks_up"], row["problems"]) == (True, False, {})
    told = scene.command("me", "share", profile="netbios", search=True)
    assert set(told["problems"]) == {"port 137", "port 138"}
    assert "no port below 1024" in told["problems"]["port 137"]


def test_unicasts_to_a_shared_port_are_not_taken_from_the_program(scene: Scene) -> None:
    port = free_port()
    with udp("", port) as server, udp() as client:
        scene.start("me", CustomProfile(port, "game", search=True))
        for _ in range(5):
            client.sendto(b"you", ("127.0.0.1", port))
            assert server.recvfrom(100)[0] == b"you"
        assert scene.counters("me", "game") == {}


def test_a_peer_that_shouts_is_limited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_relay, "INWARD_RATE", 0.0)
    monkeypatch.setattr(discovery_relay, "INWARD_BURST", 3.0)
    monkeypatch.setattr(discovery_relay, "MAX_MIRRORS_OF_PEER", 2)
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    programs = [udp() for _ in range(3)]
    for program in (*programs, programs[0]):
        program.sendto(b"who?", (EVERYBODY, port))
        program.sendto(b"who?", (EVERYBODY, port)) if program is programs[2] else None
    until(lambda: scene.counters("nas", "game").get("inward-rate", 0) >= 1, scene.loop)
    counted = scene.counters("nas", "game")
    assert counted["in"] == 2
    assert counted["mirrors-full"] == 1
    for program in programs:
        program.close()


def test_a_program_that_shouts_is_limited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_carrier, "OUTWARD_RATE", 0.0)
    monkeypatch.setattr(discovery_carrier, "OUTWARD_BURST", 3.0)
    port = free_port()
    scene.start("me", CustomProfile(port, "game", search=True))
    with udp() as program:
        for _ in range(10):
            program.sendto(b"who?", (EVERYBODY, port))
        until(lambda: scene.counters("me", "game").get("outward-rate", 0) == 7, scene.loop)
        assert scene.counters("me", "game")["out"] == 3


def test_an_answer_leads_nobody_to_other_computers(scene: Scene) -> None:
    """Nor a packet that programs may read and the codec does not: on a port of such a protocol nothing else is spoken."""
    port = free_port()
    scene.both(CustomProfile(port, "upnp", codec="ssdp"))
    head = b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: "
    wrong = (
        head + b"http://192.168.1.1:80/\r\n\r\n",
        head + b"http://127.0.0.1:631/\r\n\r\n",
        head + b"http://192.168.1.1:80/\r\n" + b"X: y\r\n" * 70 + b"\r\n",
    )
    right = b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n"
    with udp("", port) as server, udp() as client:
        client.sendto(b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\n\r\n', (EVERYBODY, port))
        _, asker = heard(server, ME)
        # a member's own program on the LAN, behind no relay that would drop it there
        mirror = scene.loop.call(lambda: next(iter(scene.bridges["nas"]._relay._mirrors.items()))[1])
        end = scene.loop.call(lambda: scene.bridges["nas"]._relay.carriers["upnp"]._channels[port])
        for answer in (*wrong, right):
            assert scene.loop.call(end.write, answer, (mirror.address, mirror.port))
        assert heard(client, NAS)[0] == right
        assert scene.counters("me", "upnp")["not-understood"] == 3
        server.sendto(wrong[0], asker)
        until(lambda: scene.counters("nas", "upnp").get("not-understood", 0) == 1, scene.loop)


@pytest.mark.parametrize(
    ("request_of", "exposed"),
    [
        ("POST / HTTP/1.1\r\nSOAPACTION: x\r\n{body}http://192.0.2.5:8200/", ["192.0.2.5:8200"]),
        ("POST / HTTP/1.1\r\nSOAPACTION: x\r\n{body}http://127.0.0.1:9200/ ", []),
        ("POST / HTTP/1.1\r\nSOAPACTION: x\r\n{body}http://localhost:9200/ ", []),
        ("POST / HTTP/1.1\r\nSOAPACTION: x\r\n{body}http://192.0.2.5:22/   ", []),
        ("POST / HTTP/1.1\r\nOrigin: http://127.9.0.2\r\n{body}http://192.0.2.5:8200/", []),
        ("SUBSCRIBE / HTTP/1.1\r\nCALLBACK: <http://127.0.0.1:49152/>\r\n\r\n", ["127.0.0.1:49152"]),
        ("SUBSCRIBE / HTTP/1.1\r\nSec-Fetch-Mode: cors\r\nCALLBACK: <http://127.0.0.1:49152/>\r\n\r\n", []),
        ("GET / HTTP/1.1\r\nReferer: http://192.0.2.5:8200/\r\n\r\n", []),
    ],
)
def test_what_a_stream_to_a_peer_can_have_exposed(scene: Scene, request_of: str, exposed: list[str]) -> None:
    """Not what its server's pages and playlists make local programs say."""
    scene.interfaces = lambda: [Interface("eth0", 2, (ipaddress.IPv4Interface("192.0.2.5/24"),))]
    bridge = scene.start("me", CustomProfile(free_port(), "upnp", codec="ssdp"))
    peer = next(one for one in scene.pair.lans["me"].members() if one.name == "nas")
    to_peer, _ = client_filters(bridge._relay.carriers["upnp"], peer)
    scene.loop.call(to_peer.feed, request_of.format(body="Content-Type: text/xml\r\nContent-Length: 22\r\n\r\n").encode())
    assert [row["target"] for row in scene.listing("me")["on_demand"] if row["kind"] == "exposed"] == exposed


def test_idle_ends_are_let_go(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_relay, "FLOW_IDLE", 0.3)
    monkeypatch.setattr(discovery_relay, "REFRESH", 0.1)
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp() as client:
        client.sendto(b"who?", (EVERYBODY, port))
        until(lambda: scene.counters("nas", "game").get("in", 0) == 1, scene.loop)

    def tables() -> tuple[int, int]:
        status: Any = scene.loop.call(scene.bridges["me"].status)
        other: Any = scene.loop.call(scene.bridges["nas"].status)
        return status["tables"]["mapped"], other["tables"]["mirrors"]

    until(lambda: tables() == (0, 0), scene.loop)


def test_a_media_server_is_found_and_its_description_names_the_alias(scene: Scene) -> None:
    """SSDP: LOCATION is rewritten at both ends, and URLs in the answers of the server that it leads to."""
    scene.start("me", profiles={"ssdp": Setting(search=True)})
    scene.start("nas", profiles={"ssdp": Setting(search=False)})
    search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"
    with udp("", 1900, "239.255.255.250") as server, udp() as control, Listener("127.0.0.1") as web:
        control.sendto(search, ("239.255.255.250", 1900))
        # By the interface it is delivered from the own address, so that a socket of the bridge is the asker.
        asker = None
        while asker is None or asker == control.getsockname():
            _, asker = server.recvfrom(65536)
        location = b"http://127.0.0.1:%d/description.xml" % web.port
        server.sendto(b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nUSN: uuid:1\r\nLOCATION: " + location + b"\r\n\r\n", asker)
        answer, _ = heard(control, NAS)
        place = answer.partition(b"LOCATION: http://")[2].partition(b"/")[0].decode()
        assert place == f"{NAS}:{web.port}"
        with dial((NAS, web.port)) as client:
            client.sendall(b"GET /description.xml HTTP/1.1\r\nHost: " + place.encode() + b"\r\n\r\n")
            with web.accept() as served:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += served.recv(65536)
                assert b"Host: 127.0.0.1:%d\r\n" % web.port in request
                body = b"<URLBase>http://127.0.0.1:%d/</URLBase><other>http://127.0.0.1:22/</other>" % web.port
                served.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                told = b""
                while b"</other>" not in told:
                    told += client.recv(65536)
        assert f"<URLBase>http://{place}/".encode() in told
        assert b"http://127.0.0.1:22/" in told, "a server's answer exposes nothing"
        targets = {one["target"] for one in scene.listing("nas")["on_demand"]}
        assert targets == {f"127.0.0.1:{web.port}"}


def test_the_loopback_is_no_interface_of_the_surroundings() -> None:
    surroundings = Surroundings()
    surroundings.refresh()
    assert not any(address.startswith("127.") for address in surroundings.addresses)
    assert surroundings.broadcasts[0] == "255.255.255.255"
    assert struct.pack("4s", socket.inet_aton(surroundings.broadcasts[0])) == b"\xff" * 4
    assert surroundings.own("localhost") == "127.0.0.1"
    assert surroundings.own("192.0.2.200") == ""
    assert surroundings.own("") == (surroundings.primary or "127.0.0.1")


def test_a_computer_in_the_lan_by_an_interface_relays_nothing(scene: Scene) -> None:
    """Its programs hear everything by themselves: they would see each peer twice."""
    interfaces = [*loopback_only(), Interface("lan0", 2, (ipaddress.IPv4Interface("25.9.0.1/8"),))]
    scene.interfaces = lambda: interfaces
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    with udp("", port) as server, udp() as client:
        client.sendto(b"who?", (EVERYBODY, port))
        assert nothing_from(server, ME)
        assert scene.listing("me")["attached"]
        assert not any(row["picks_up"] for row in scene.listing("me")["profiles"])


def test_a_computer_that_is_being_attached_relays_nothing_from_then_on(scene: Scene) -> None:
    """Before the interface has its address: as soon as it has, a program may hear a peer by it."""
    port = free_port()
    scene.both(CustomProfile(port, "game"))
    assert any(row["picks_up"] for row in scene.listing("me")["profiles"])
    for attached in (True, False):
        scene.loop.call(scene.pair.lans["me"].computer_attached, attached)
        assert scene.listing("me")["attached"] == attached
        assert any(row["picks_up"] for row in scene.listing("me")["profiles"]) != attached


def test_where_no_alias_can_be_bound_peers_are_seen_at_127_0_0_1(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS. The computer's own address here is another one of its loopback's."""
    monkeypatch.setattr(on_demand, "aliases_bindable", lambda: False)
    scene.interfaces = lambda: [Interface("lo", 1, (ipaddress.IPv4Interface("127.0.0.5/8"),))]
    port = free_port()
    scene.both(CustomProfile(port, "game", role="query"))
    with udp("", port) as server, udp("127.0.0.5") as client, udp("127.0.0.5") as game:
        client.sendto(b"who?", (EVERYBODY, port))
        _, asker = heard(server, "127.0.0.1")
        server.sendto(b"here", asker)
        answer, found = heard(client, "127.0.0.1")
        assert (answer, found[1] != port) == (b"here", True)
        game.sendto(b"move", found)
        assert heard(server, "127.0.0.1")[0] == b"move"


def test_a_question_to_an_ipv6_group_of_the_lan_reaches_local_servers(scene: Scene) -> None:
    """A program behind a TAP asks by IPv6; local servers hear it as a broadcast, and their answer goes back to where it came from."""
    port = free_port()
    group = "ff12::7788"
    scene.start("nas", CustomProfile(port, "game", groups=(GROUP, group)))
    asking = Asking()
    lan_port = scene.loop.call(scene.pair.lans["me"].datagram_port, asking)
    with udp("", port, GROUP) as server:
        scene.loop.call(lan_port.write, b"who?", (group, port))
        _, asker = heard(server, ME)
        server.sendto(b"here", asker)
        until(lambda: bool(asking.got), scene.loop)
        assert asking.got == [(b"here", (StackedPair.ipv6("nas"), port))]
    scene.loop.call(lan_port.stopListening)


class Asking(DatagramProtocol):
    """A program on the LAN itself."""

    noisy = False

    def __init__(self) -> None:
        self.got: list[tuple[bytes, tuple[str, int]]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append((datagram, addr))


def test_what_the_doctor_is_told(scene: Scene) -> None:
    port = free_port()
    bridge = scene.start("me", CustomProfile(port, "game", role="query", search=True), deny=("nas",))
    nas = next(peer for peer in scene.pair.lans["me"].members() if peer.name == "nas")
    told = scene.loop.call(bridge.diagnosis, nas)
    row = next(one for one in told["profiles"] if one["profile"] == "game")
    assert (row["ports"], row["broadcast"], row["on"], row["picks_up"], row["admits"]) == ([port], True, True, True, False)
    assert next(one for one in scene.loop.call(bridge.diagnosis, None)["profiles"] if one["profile"] == "game")["admits"] is None
    ssdp = next(one for one in told["profiles"] if one["profile"] == "ssdp")
    assert ssdp["groups"] == ["239.255.255.250"]
    assert (told["attached"], told["addresses"]) == (False, ["127.0.0.1"])
