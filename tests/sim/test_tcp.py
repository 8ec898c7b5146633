"""Connections come to be, and fail to, as RFC 9293, RFC 5382 and measurements on Linux have it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.attachment import Attachment
from tests.sim.internet import FIRST_TCP_PORT, Internet
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat, NatBehaviour
from tests.sim.nat_behaviour import (
    ENDPOINT_INDEPENDENT,
    HOME_ROUTER,
    ICMP,
    INCREMENTAL_SYMMETRIC,
    RESET,
    WEB_ONLY,
)
from tests.sim.packet import SYN, Packet
from tests.sim.sockets import MAX_SOCKETS
from tests.sim.talker import Talker, tcp, udp
from tests.sim.tcp import PUNCH_TIMEOUT
from tests.sim.world import World
from userlan.wire.endpoint import Endpoint

ONE_WAY = 0.04


class Pair:
    """Two members behind boxes, 40 ms apart; each has the TCP group 1."""

    def __init__(self, first: NatBehaviour, second: NatBehaviour) -> None:
        self.world = World()
        self.internet = Internet(self.world)
        self.anna, self.ben = Talker(), Talker()
        self.boxes: list[Nat] = []
        self.attachments: list[Attachment] = []
        for core, address, behaviour in ((self.anna, "198.51.100.1", first), (self.ben, "203.0.113.1", second)):
            self.boxes.append(Nat(self.internet, address, LinkProfile(delay=ONE_WAY / 2), behaviour))
            self.attachments.append(self.boxes[-1].inside.attach(core, "192.168.1.2"))
            core.say(b"", udp("192.0.2.1", 41414, 1))     # a UDP socket of the same number is another socket
        self.world.run(0.1)
        self.ports = [attachment.sockets.open("tcp", 1, attachment.core) for attachment in self.attachments]

    def remote(self, of: int) -> Endpoint:
        socket = self.ports[1 - of]
        assert socket is not None
        return tcp(("203.0.113.1", "198.51.100.1")[of], socket.port, 1)

    def punch(self, skew: float, seconds: float = 3.0) -> bool:
        """Both connect, Ben ``skew`` later; whether both heard of a connection."""
        self.anna.say(b"", self.remote(0))
        self.world.run(skew)
        self.ben.say(b"", self.remote(1))
        self.world.run(seconds)
        return [("opened", self.remote(0))] == self.anna.ways and self.ben.ways == [("opened", self.remote(1))]


@pytest.mark.parametrize("skew", [0.0, 0.02, 0.06, 0.5])
def test_simultaneous_open_through_boxes_that_drop(skew: float) -> None:
    """RFC 9293 3.5, Figure 7; the later one's SYN finds the other's box open."""
    pair = Pair(HOME_ROUTER, HOME_ROUTER)
    assert pair.punch(skew)
    pair.anna.say(b"a frame", pair.remote(0))
    pair.ben.say(b"another", pair.remote(1))
    pair.world.run(0.1)
    assert (pair.anna.got[0][::2], pair.ben.got[0][::2]) == ((b"another", pair.remote(0)), (b"a frame", pair.remote(1)))


@pytest.mark.parametrize("refusal", [RESET, ICMP])
def test_a_box_that_refuses_lets_only_crossing_syns_connect_at_once(refusal: str) -> None:
    """Measured on Linux: a skew of 0 to 30 ms connects at 40 ms one way, 60 ms and more ends in ECONNREFUSED."""
    refusing = replace(HOME_ROUTER, unsolicited=refusal)
    crossing = Pair(refusing, refusing)
    assert crossing.punch(0.03)
    assert [attachment.kernel.syns for attachment in crossing.attachments] == [1, 1]
    late = Pair(refusing, refusing)
    assert late.punch(0.06), "the driver's next attempts, not in lockstep, cross some time"
    assert late.attachments[0].kernel.syns > 1


def test_a_group_gives_up_an_endpoint_that_never_answers() -> None:
    pair = Pair(HOME_ROUTER, replace(HOME_ROUTER, unsolicited=RESET))
    pair.anna.say(b"", pair.remote(0))
    pair.world.run(PUNCH_TIMEOUT + 1)
    assert pair.anna.ways == [("lost", pair.remote(0))]
    assert PUNCH_TIMEOUT / 0.25 < pair.attachments[0].kernel.syns < PUNCH_TIMEOUT / 0.1


def test_an_attempt_of_no_group_ends_with_its_refusal() -> None:
    pair = Pair(HOME_ROUTER, replace(HOME_ROUTER, unsolicited=RESET))
    pair.anna.say(b"hello", tcp("203.0.113.1"))
    pair.world.run(1)
    assert pair.anna.ways == [("lost", tcp("203.0.113.1"))]


def test_a_closed_port_answers_with_rst_and_a_listener_takes_the_connection() -> None:
    world = World()
    internet = Internet(world)
    anna, server = Talker(), Talker()
    Nat(internet, "198.51.100.1").inside.attach(anna, "192.168.1.2")
    internet.attach(server, "192.0.2.1", "192.0.2.2").listen(443, via=7, address="192.0.2.2")
    for host in ("192.0.2.1", "192.0.2.2"):
        anna.say(b"hello", tcp(host, 443))
    world.run(1)
    assert anna.ways == [("lost", tcp("192.0.2.1", 443)), ("opened", tcp("192.0.2.2", 443))]
    assert server.ways == [("opened", tcp("198.51.100.1", FIRST_TCP_PORT + 1, 7))]
    assert server.sources() == [tcp("198.51.100.1", FIRST_TCP_PORT + 1, 7)]


def test_a_lost_syn_is_sent_again_after_1_3_and_7_seconds() -> None:
    """RFC 6298 2: the first timeout is a second, and it doubles."""
    world = World()
    internet = Internet(world)
    anna, server = Talker(), Talker()
    here = internet.attach(anna, "192.0.2.9")
    internet.attach(server, "192.0.2.1")
    here.up.profile = LinkProfile(loss=1.0)
    anna.say(b"hello", tcp("192.0.2.1"))
    world.run(6.9)
    assert here.up.counters["lost"] == 3
    here.up.profile = LinkProfile(delay=0.0)
    world.run(0.2)
    assert server.texts() == [b"hello"]
    silent = tcp("192.0.2.77")
    anna.say(b"hello", silent)
    world.run(11)
    assert anna.ways[-1] == ("lost", silent)


def test_a_syn_with_a_low_ttl_kills_its_attempt() -> None:
    """Measured on Linux: EHOSTUNREACH. The box stays open for the other side's SYN, which then finds nobody."""
    pair = Pair(HOME_ROUTER, HOME_ROUTER)
    pair.anna.say(b"", pair.remote(0)._replace(via=0), ttl=2)
    pair.world.run(0.2)
    assert pair.anna.ways == [("lost", pair.remote(0)._replace(via=0))]


def test_a_reset_closes_the_box_until_the_next_syn_outwards() -> None:
    """conntrack: CLOSE, in which a SYN from outside is invalid."""
    pair = Pair(HOME_ROUTER, replace(HOME_ROUTER, unsolicited=RESET))
    pair.anna.say(b"", tcp("203.0.113.1", 41414, 1))
    pair.world.run(0.09)
    ours = pair.ports[0]
    assert ours is not None
    pair.boxes[0].arrived(Packet("tcp", ("203.0.113.1", 41414), ("198.51.100.1", ours.port), b"", SYN))
    assert pair.boxes[0].counters["filtered"] == 1


def test_only_443_passes() -> None:
    world = World()
    internet = Internet(world)
    anna, server = Talker(), Talker()
    Nat(internet, "198.51.100.1", behaviour=WEB_ONLY).inside.attach(anna, "192.168.1.2")
    internet.attach(server, "192.0.2.1").listen(443, via=1)
    anna.say(b"by udp", udp("192.0.2.1"))
    anna.say(b"by tcp", tcp("192.0.2.1"))
    anna.say(b"by https's port", tcp("192.0.2.1", 443))
    world.run(1)
    assert server.texts() == [b"by https's port"]


def test_hairpin_is_said_for_each_transport() -> None:
    """RFC 5382 REQ-8."""
    for hairpin in (True, False):
        world = World()
        internet = Internet(world)
        behaviour = NatBehaviour(hairpin=True, filtering=ENDPOINT_INDEPENDENT, tcp=NatBehaviour(hairpin=hairpin))
        box = Nat(internet, "198.51.100.1", behaviour=behaviour)
        anna, ben = Talker(), Talker()
        box.inside.attach(anna, "192.168.1.2")
        box.inside.attach(ben, "192.168.1.3", port=5000)
        box.open_port(("192.168.1.3", 5000), 5000, "tcp")
        anna.say(b"hello", tcp("198.51.100.1", 5000))
        world.run(1)
        assert ben.texts() == ([b"hello"] if hairpin else [])


def test_the_group_shares_a_port_and_ends_when_it_is_dismissed() -> None:
    world = World()
    internet = Internet(world)
    anna, one, other = Talker(), Talker(), Talker()
    here = Nat(internet, "198.51.100.1", behaviour=INCREMENTAL_SYMMETRIC).inside.attach(anna, "192.168.1.2")
    internet.attach(one, "192.0.2.1")
    internet.attach(other, "192.0.2.2")
    for host in ("192.0.2.1", "192.0.2.2"):
        anna.say(b"", tcp(host, 41414, 4))
    anna.say(b"x", udp("192.0.2.1", 41414, 4))
    world.run(0.1)
    assert len({way.local for way in here.kernel.ways.values()}) == 1
    assert set(anna.opened) == {("tcp", 4), ("udp", 4)}
    assert anna.ways == [("opened", tcp("192.0.2.1", 41414, 4)), ("opened", tcp("192.0.2.2", 41414, 4))]
    anna.to_dismiss = [4]
    world.run(0.1)
    assert here.sockets.opened == 0
    assert (one.ways[-1][0], other.ways[-1][0]) == ("lost", "lost")
    one.say(b"too late", one.sources()[0])
    world.run(0.1)
    assert here.counters["port-closed"] == 1


def test_sockets_of_a_core_have_a_cap() -> None:
    world = World()
    internet = Internet(world)
    anna = Talker()
    here = internet.attach(anna, "192.0.2.9")
    for via in range(1, MAX_SOCKETS + 3):
        anna.say(b"x", udp("192.0.2.1", 41414, via))
    world.run(0.1)
    assert (here.sockets.opened, here.counters["sockets-refused"]) == (MAX_SOCKETS, 2)
