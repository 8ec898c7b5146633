"""Broadcast and multicast between nodes, in virtual time: whom they reach, and whom they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from userlan.lan.addresses import key_text
from userlan.node.attachment import Attachment
from userlan.node.events import PeerChanged
from userlan.node.flooding import UNHEARD
from userlan.node.intake import Direction
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.status import snapshot
from userlan.stack.udp import UdpSocket
from userlan.wire.membership import Member
from userlan.wire.numbers import PROTOCOL_UDP
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import Datagram, build

LIMITED, DIRECTED = b"\xff\xff\xff\xff", bytes((25, 255, 255, 255))
GROUP = bytes((239, 1, 2, 3))
GROUP6 = bytes.fromhex("ff15" + 27 * "0" + "1")
MDNS, MDNS6 = bytes((224, 0, 0, 251)), bytes.fromhex("ff02" + 24 * "0" + "00fb")
PORT = 7_000

groups = pytest.mark.parametrize("group", [GROUP, GROUP6, MDNS, MDNS6], ids=["ipv4", "ipv6", "mdns", "mdns6"])


class Site:
    """Nodes in one network that see each other, each with a socket on PORT."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.lan = VirtualLan(folder)
        self.nodes = {name: self.lan.node(name, self.lan.internet, f"198.51.100.{number}") for number, name in enumerate(names, 1)}
        nodes = list(self.nodes.values())
        self.lan.ready(*nodes)
        self.secret = self.lan.network(nodes[0], *nodes[1:])
        self.lan.direct(*nodes)
        self.sockets = {name: node.host.udp_bind(PORT) for name, node in self.nodes.items()}

    def act(self, name: str, call: Callable[[], object], seconds: float = 0.5) -> None:
        """A program of a node does something; then time passes."""
        call()
        self.lan.world.touch(self.lan.attachments[name])
        self.lan.world.run(seconds)

    def join(self, name: str, group: bytes) -> None:
        self.act(name, lambda: self.sockets[name].join(group))

    def say(self, name: str, group: bytes, payload: bytes = b"hello", seconds: float = 0.5) -> None:
        socket = self.sockets[name]
        socket.multicast_loop = False
        self.act(name, lambda: socket.send(payload, (group, PORT), self.lan.world.now), seconds)

    def heard(self) -> dict[str, list[bytes]]:
        """Who has heard what; nobody is left out who has heard something."""
        waiting = {name: drained(socket) for name, socket in self.sockets.items()}
        return {name: payloads for name, payloads in waiting.items() if payloads}


def drained(socket: UdpSocket) -> list[bytes]:
    return [bytes(received.payload) for received in iter(socket.receive, None)]


class Watcher:
    """Notes what it sees of datagrams to many; ``every``: of all packets to many, reports too."""

    def __init__(self, node: Node, every: bool = False) -> None:
        self.every = every
        self.seen: list[tuple[Direction, bytes, bytes, str | None]] = []
        self.node = node
        node.watch(self)

    def packet(self, direction: Direction, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
        if self.node.host.addresses.of_many(packet.destination) and (self.every or packet.protocol == PROTOCOL_UDP):
            self.seen.append((direction, key, packet.destination, reason))


# ------------------------------------------------------------------ whom it reaches


@pytest.mark.parametrize("broadcast", [LIMITED, DIRECTED], ids=["limited", "directed"])
def test_a_broadcast_reaches_every_member_once(tmp_path: Path, broadcast: bytes) -> None:
    """RFC 919, RFC 1122 3.3.6."""
    site = Site(tmp_path, "anna", "ben", "carl")
    site.say("anna", broadcast)
    assert site.heard() == {"ben": [b"hello"], "carl": [b"hello"]}


def test_a_broadcast_reaches_the_members_of_shared_networks_and_nobody_else(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    names = ("anna", "ben", "carl", "dora", "emil")
    nodes = {name: lan.node(name, lan.internet, f"198.51.100.{number}") for number, name in enumerate(names, 1)}
    lan.ready(*nodes.values())
    for network, members in (("home", ("anna", "ben")), ("work", ("anna", "carl")), ("club", ("dora", "emil"))):
        lan.network(*(nodes[name] for name in members), name=network)
        lan.direct(*(nodes[name] for name in members))
    sockets = {name: node.host.udp_bind(PORT) for name, node in nodes.items()}
    for sender, hearers in (("anna", ["ben", "carl"]), ("ben", ["anna"]), ("carl", ["anna"]), ("dora", ["emil"])):
        sockets[sender].send(b"x", (LIMITED, PORT), lan.world.now)
        lan.world.touch(lan.attachments[sender])
        lan.world.run(0.5)
        assert [name for name, socket in sockets.items() if drained(socket)] == hearers


@groups
def test_a_multicast_reaches_those_who_listen_and_nothing_is_sent_to_others(tmp_path: Path, group: bytes) -> None:
    """RFC 4541 2.1.2 (1): from the report to the farewell."""
    site = Site(tmp_path, "anna", "ben", "carl")
    site.join("carl", group)
    watcher = Watcher(site.nodes["anna"])
    site.say("anna", group)
    assert site.heard() == {"carl": [b"hello"]}
    assert watcher.seen == [("out", site.nodes["carl"].key, group, None)]
    site.act("carl", lambda: site.sockets["carl"].leave(group))
    site.nodes["anna"].watch(None)
    site.say("anna", group)
    assert site.heard() == {}


def test_a_filter_of_sources_is_kept_by_the_senders(tmp_path: Path) -> None:
    """RFC 3376 6.3."""
    site = Site(tmp_path, "anna", "ben", "carl")
    wanted = site.nodes["ben"].roster.own_ipv4
    site.act("carl", lambda: site.sockets["carl"].join(GROUP, [wanted]))
    watcher = Watcher(site.nodes["anna"])
    for sender in ("anna", "ben"):
        site.say(sender, GROUP, sender.encode())
    assert site.heard() == {"carl": [b"ben"]}
    assert watcher.seen == [("out", b"", GROUP, UNHEARD)]


@groups
def test_who_comes_later_is_told_what_the_others_listen_to(tmp_path: Path, group: bytes) -> None:
    site = Site(tmp_path, "anna", "ben")
    site.join("anna", group)
    carl = site.lan.node("carl", site.lan.internet, "198.51.100.3")
    site.lan.ready(carl)
    anna = site.nodes["anna"]
    site.lan.finish(carl, carl.join("home", site.lan.mediator.public_key, site.secret, site.lan.world.now))
    site.lan.direct(anna, carl)
    site.lan.world.run(0.2)
    site.nodes["carl"], site.sockets["carl"] = carl, carl.host.udp_bind(PORT)
    site.say("carl", group)
    assert site.heard() == {"anna": [b"hello"]}


@groups
def test_who_restarts_before_it_is_missed_is_told_what_the_others_listen_to(tmp_path: Path, group: bytes) -> None:
    """To them it was never away: a new session is all that they see of it."""
    site = Site(tmp_path, "anna")
    lan, anna, key = site.lan, site.nodes["anna"], bytes(range(32))
    ben = lan.node("ben", lan.internet, "198.51.100.2", key=key)
    lan.ready(ben)
    lan.finish(ben, ben.join("home", lan.mediator.public_key, site.secret, lan.world.now))
    lan.direct(anna, ben)
    site.join("anna", group)
    memory = ben.save()
    lan.kill("ben")
    lan.world.run(1)
    again = site.nodes["ben"] = lan.node("ben", lan.internet, "198.51.100.2", memory=Memory.load(memory.dump()), key=key)
    site.sockets["ben"] = again.host.udp_bind(PORT)
    lan.direct(again, anna)
    assert ("ben", "offline") not in [(event.name, event.state) for event in lan.events(anna) if isinstance(event, PeerChanged)]
    lan.world.run(1.5)
    site.say("ben", group)
    assert site.heard() == {"anna": [b"hello"]}


def test_the_first_telling_may_be_lost(tmp_path: Path) -> None:
    """RFC 3376 8.1: a robustness of 2."""
    site = Site(tmp_path, "anna", "ben")
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    site.join("ben", GROUP)
    site.lan.world.run(2)
    anna.flooding.forget(ben.key)
    site.act("ben", lambda: ben.flooding.came_up(anna.key, site.lan.world.now), 0.1)
    assert anna.flooding.listeners.groups(ben.key, site.lan.world.now) == (GROUP,)
    anna.flooding.forget(ben.key)
    site.say("anna", GROUP)
    assert site.heard() == {}
    site.lan.world.run(1)
    site.say("anna", GROUP)
    assert site.heard() == {"ben": [b"hello"]}


def test_listeners_are_told_of_again_and_again_and_forgotten_when_they_are_silent(tmp_path: Path) -> None:
    """RFC 3376 8.4."""
    site = Site(tmp_path, "anna", "ben")
    site.join("ben", GROUP)
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    for _ in range(6):
        site.lan.world.run(100)
        site.say("anna", GROUP)
        assert site.heard() == {"ben": [b"hello"]}
    site.lan.kill("ben")
    site.lan.world.run(300)
    assert anna.flooding.listeners.groups(ben.key, site.lan.world.now) == ()
    site.lan.world.run(300)
    assert len(anna.flooding.listeners) == 0


def test_a_large_datagram_arrives_whole(tmp_path: Path) -> None:
    """In fragments of the LAN's MTU."""
    site = Site(tmp_path, "anna", "ben", "carl")
    site.join("ben", GROUP6)
    for group in (LIMITED, GROUP6):
        site.say("anna", group, bytes(9_000))
    assert site.heard() == {"ben": [bytes(9_000)] * 2, "carl": [bytes(9_000)]}


def test_the_hop_limit_is_the_sender_s_own(tmp_path: Path) -> None:
    """The LAN is one link (RFC 1112 6.1: 1 reaches it all), and nothing with 0 leaves a host."""
    site = Site(tmp_path, "anna", "ben")
    site.join("ben", GROUP)
    for hops, heard in ((1, {"ben": [b"hello"]}), (0, {}), (7, {"ben": [b"hello"]})):
        site.sockets["anna"].multicast_hops = hops
        site.say("anna", GROUP)
        assert site.heard() == heard


@pytest.mark.parametrize("asked", [LIMITED, DIRECTED])
def test_a_ping_to_everybody_is_answered_by_each(tmp_path: Path, asked: bytes) -> None:
    site = Site(tmp_path, "anna", "ben", "carl")
    anna = site.nodes["anna"]
    site.act("anna", lambda: anna.host.ping(asked, 7, 1, b"x", site.lan.world.now))
    assert anna.host.counters["echo-reply-unexpected"] == 2, "from their own addresses, which were not asked by name"


# ------------------------------------------------------------------ what does not happen


def test_nothing_that_came_from_the_lan_is_sent_on(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben", "carl")
    site.join("carl", GROUP)
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    watcher = Watcher(ben)
    for group in (LIMITED, DIRECTED, GROUP):
        site.say("anna", group)
    assert watcher.seen == [("in", anna.key, LIMITED, None), ("in", anna.key, DIRECTED, None)]
    foreign = packet_of(site, "anna", LIMITED)
    ben.flood(foreign, site.lan.world.now)
    assert watcher.seen[2:] == [("out", b"", LIMITED, "source-foreign")]
    assert ben.flooding.counters == {"source-foreign": 1}


def packet_of(site: Site, name: str, group: bytes, payload: bytes = b"x", source: bytes = b"") -> SuperPacket:
    """A datagram of a node's to many, that does not leave it; with another source, if one is given."""
    own = site.nodes[name].roster.own_ipv4 if len(group) == 4 else site.nodes[name].ipv6
    return build(Datagram(PORT, PORT, payload), source or own, group, 1)


def test_a_member_that_is_away_is_not_woken(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben", "carl")
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    site.join("ben", GROUP)
    site.lan.kill("ben")
    site.lan.until_state(anna, ben, "offline", 300)
    site.lan.world.run(130)
    anna.flooding.listeners.heard(ben.key, Member(2, GROUP), site.lan.world.now)
    watcher = Watcher(anna)
    for group in (LIMITED, GROUP):
        site.say("anna", group)
    assert site.heard() == {"carl": [b"hello"]}
    assert watcher.seen == [("out", site.nodes["carl"].key, LIMITED, None), ("out", b"", GROUP, UNHEARD)]
    tunnel = anna.device.peer(ben.key)
    assert tunnel is not None
    assert (tunnel.ways.staged, anna.peers.shown(ben.key)[0]) == (0, "offline")


def test_an_own_program_that_floods_is_limited(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben")
    now = site.lan.world.now
    for number in range(3_000):
        site.sockets["anna"].send(b"%d" % number, (LIMITED, PORT), now)
    site.act("anna", lambda: None)
    assert site.heard() == {"ben": [b"%d" % number for number in range(800)]}
    assert site.nodes["anna"].flooding.storms.counters == {"group-rate": 2_200}


# ------------------------------------------------------------------ what is told


def test_the_status_names_the_groups(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben", "carl")
    site.join("anna", MDNS)
    for group in (GROUP, GROUP6):
        site.join("ben", group)
    assert snapshot(site.nodes["anna"], site.lan.world.now)["groups"] == {
        "own": ["224.0.0.251"],
        "peers": {key_text(site.nodes["ben"].key): ["239.1.2.3", "ff15::1"]},
        "dropped": {},
    }


def test_an_observer_sees_what_is_sent_received_and_dropped(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben")
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    seen: list[tuple[str, bytes, bytes, str | None]] = []

    class Notes:
        def packet(self, direction: Direction, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
            assert now == site.lan.world.now
            if packet.protocol == PROTOCOL_UDP:
                seen.append((direction, key, packet.destination, reason))

    site.lan.world.run(1)
    ben.watch(Notes())
    theirs, ours = anna.roster.own_ipv4, ben.roster.own_ipv4
    stranger = bytes((25, 9, 9, 9))
    site.say("anna", ours)
    site.say("ben", theirs)
    site.say("ben", stranger)
    closed = packet_of(site, "anna", ours)
    site.act("anna", lambda: anna.device.send(ben.key, closed, site.lan.world.now))
    site.act("ben", lambda: site.sockets["ben"].close())
    site.act("anna", lambda: anna.device.send(ben.key, closed, site.lan.world.now))
    site.act("anna", lambda: anna.device.send(ben.key, packet_of(site, "anna", ours, source=stranger), site.lan.world.now))
    assert seen == [
        ("in", anna.key, ours, None),
        ("out", anna.key, theirs, None),
        ("out", b"", stranger, "no-route"),
        ("in", anna.key, ours, None),
        ("in", anna.key, ours, "udp-port-closed"),
        ("in", anna.key, ours, "source-forged"),
    ]
    ben.watch(None)
    site.act("anna", lambda: anna.device.send(ben.key, closed, site.lan.world.now))
    assert len(seen) == 6


def test_an_observer_sees_what_a_kernel_sends_and_what_of_it_is_dropped(tmp_path: Path) -> None:
    site = Site(tmp_path, "anna", "ben")
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    kernel = Attachment(anna)
    watcher = Watcher(anna)
    sent = [packet_of(site, "anna", LIMITED), packet_of(site, "anna", LIMITED, source=bytes((25, 9, 9, 9)))]
    site.act("anna", lambda: kernel.send(sent, site.lan.world.now))
    assert watcher.seen == [("out", ben.key, LIMITED, None), ("out", b"", LIMITED, "source-foreign")]
    assert site.heard() == {"ben": [b"x"]}
