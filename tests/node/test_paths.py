"""What a path carries, and the ways that a pair has: real transfers between the stacks of two nodes, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.node.lan import PORT, Sink, Source, VirtualLan
from tests.sim.internet import FIRST_TCP_PORT
from tests.sim.link import LinkProfile
from userlan.node.bulk import RETRY_FIRST
from userlan.node.node import Node
from userlan.node.peers import UPGRADE_INTERVAL
from userlan.node.status import snapshot
from userlan.wire.endpoint import TCP, Endpoint

ANNA, BEN = "198.51.100.1", "203.0.113.1"
NEAR = LinkProfile(delay=0.0005)
"""A round trip of 2 ms."""
FAST = LinkProfile(delay=0.0005, rate=400e6)
"""Three times what makes a node look for a bulk way."""


class Two:
    """Two nodes that are direct, and the network between them. ``mtu``: octets of a UDP payload."""

    def __init__(self, folder: Path, mtu: int = 65_535, profile: LinkProfile = NEAR) -> None:
        self.lan = VirtualLan(folder)
        self.world = self.lan.world
        self.profile = replace(profile, mtu=mtu)
        self.anna = self.lan.node("anna", self.lan.internet, ANNA, profile=self.profile)
        self.ben = self.lan.node("ben", self.lan.internet, BEN, profile=self.profile)
        self.lan.ready(self.anna, self.ben)
        self.lan.network(self.anna, self.ben)
        self.lan.direct(self.anna, self.ben)
        self._port = 8000

    def narrow(self, mtu: int) -> None:
        """The path carries UDP payloads of so many octets from now on."""
        for attachment in self.lan.attachments.values():
            attachment.up.profile = attachment.down.profile = replace(self.profile, mtu=mtu)

    def mtu(self, node: Node) -> int:
        peer = node.device.peer((self.ben if node is self.anna else self.anna).key)
        assert peer is not None
        return peer.ways.mtu

    def way(self, node: Node) -> Endpoint | None:
        peer = node.device.peer((self.ben if node is self.anna else self.anna).key)
        assert peer is not None
        return peer.ways.bulk

    def path(self, node: Node) -> str:
        peer = (self.ben if node is self.anna else self.anna).key
        return node.peers.shown(peer)[1]

    def transfer(self, size: int, back: bool = False) -> Transfer:
        """From anna to ben; ``back``: from ben to anna."""
        self._port += 1
        return Transfer(self, size, self._port, back)


class Transfer:
    """A TCP connection between the nodes that carries ``size`` octets; its content does not repeat."""

    def __init__(self, two: Two, size: int, port: int, back: bool) -> None:
        self.two = two
        self.data = Random(size).randbytes(size)
        source, sink = (two.ben, two.anna) if back else (two.anna, two.ben)
        self.sink = Sink(two.lan, sink, port)
        self.source = Source(two.lan, source, sink.ipv6, port, self.data)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> Transfer:
        self.two.world.run_until(condition, seconds)
        return self

    def part(self, share: float) -> Transfer:
        """Until so much has arrived."""
        return self.until(lambda: len(self.sink.data) >= share * len(self.data))

    def finish(self, seconds: float = 60) -> float:
        """To the end; the seconds that it took."""
        begun = self.two.world.now
        self.until(lambda: self.sink.done, seconds)
        assert bytes(self.sink.data) == self.data
        assert self.source.error is None
        return self.two.world.now - begun


# --- RFC 8899


@pytest.mark.parametrize(("outer", "inner"), [(1300, 1264), (1452, 1420), (8952, 8920), (65_535, 65_475), (1240, 1200)])
def test_the_size_of_a_path_is_found_and_used(tmp_path: Path, outer: int, inner: int) -> None:
    """RFC 8899 5.3, from both sides; a transfer fills datagrams of that size, and none is larger than the path."""
    two = Two(tmp_path, outer)
    two.transfer(100_000).finish()
    two.transfer(100_000, back=True).finish()
    two.world.run(60)
    assert {two.mtu(two.anna), two.mtu(two.ben)} <= set(range(inner - 7, inner + 1))
    up = two.lan.attachments["anna"].up
    before = up.counters["too-big"]
    two.transfer(1_000_000).finish()
    assert up.counters["too-big"] == before


def test_a_transfer_over_a_path_below_the_base_begins_at_once(tmp_path: Path) -> None:
    """The path carries not even IPv6's minimum: whoever connects right away is not kept waiting for the search's end."""
    two = Two(tmp_path, 1240)
    assert two.transfer(300_000).finish() < 15


@pytest.mark.parametrize("narrow", [1360, 1300, 1100])
def test_a_path_that_shrinks_in_mid_transfer_is_survived(tmp_path: Path, narrow: int) -> None:
    """RFC 8899 4.3, RFC 2923 2.1: no ICMP message says anything; the transfer goes on within seconds."""
    two = Two(tmp_path, 1452, replace(NEAR, rate=20e6))
    two.world.run(10)
    assert two.mtu(two.anna) == 1420
    transfer = two.transfer(10_000_000).part(0.4)
    two.narrow(narrow)
    begun = two.world.now
    arrived = len(transfer.sink.data)
    transfer.until(lambda: len(transfer.sink.data) > arrived + 200_000, 12)
    assert two.world.now - begun < 12
    transfer.finish(60)
    assert two.mtu(two.anna) <= narrow - 32
    assert two.path(two.anna) == "udp"


def test_a_path_that_widens_is_found_wider_later(tmp_path: Path) -> None:
    """RFC 8899 5.1.1: PMTU_RAISE_TIMER."""
    two = Two(tmp_path, 1300)
    two.world.run(60)
    two.narrow(9000)
    two.world.run(630)
    two.transfer(100_000).finish()
    two.world.run(1)
    assert two.mtu(two.anna) == 8920


def test_losses_do_not_lower_the_size(tmp_path: Path) -> None:
    """One per cent each way, for the time of a transfer and beyond."""
    two = Two(tmp_path, 1452, replace(NEAR, loss=0.01, rate=10e6))
    two.world.run(20)
    two.transfer(8_000_000).finish(200)
    assert two.mtu(two.anna) == 1420


# --- bulk by framed TCP


def test_bulk_opens_a_way_that_both_use(tmp_path: Path) -> None:
    two = Two(tmp_path, profile=FAST)
    two.world.run(2)
    transfer = two.transfer(40_000_000)
    transfer.until(lambda: two.way(two.anna) is not None)
    assert two.way(two.anna) == Endpoint(TCP, BEN, PORT)
    assert two.way(two.ben) == Endpoint(TCP, ANNA, FIRST_TCP_PORT)
    assert (two.path(two.anna), two.path(two.ben)) == ("udp", "udp"), "all else goes on by UDP"
    transfer.finish()
    for node, other in ((two.anna, BEN), (two.ben, ANNA)):
        (peer,) = snapshot(node, two.world.now)["peers"]
        assert peer["bulk"].startswith(f"{other}:")
    back = two.lan.attachments["ben"]
    assert back.reset(two.lan.attachments["anna"]) == 1


def test_small_transfers_open_none(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.world.run(2)
    for _ in range(3):
        two.transfer(1_000_000).finish()
        two.world.run(1)
    assert two.way(two.anna) is None
    (peer,) = snapshot(two.anna, two.world.now)["peers"]
    assert peer["bulk"] is None


def test_a_far_peer_gets_none(tmp_path: Path) -> None:
    """Beyond 30 ms a kernel's recovery beneath the stack's own costs more than it saves."""
    two = Two(tmp_path, profile=replace(FAST, delay=0.01))
    two.world.run(2)
    two.transfer(30_000_000).finish()
    assert two.way(two.anna) is None


def test_a_way_that_ends_in_mid_transfer_loses_nothing_and_comes_back_later(tmp_path: Path) -> None:
    two = Two(tmp_path, profile=FAST)
    two.world.run(2)
    transfer = two.transfer(40_000_000)
    transfer.until(lambda: two.way(two.anna) is not None)
    anna, ben = (two.lan.attachments[name] for name in ("anna", "ben"))
    assert anna.reset(ben) == 1
    assert (two.way(two.anna), two.way(two.ben)) == (None, None)
    lost = two.world.now
    transfer.finish()
    two.transfer(30_000_000).finish()
    assert two.way(two.anna) is None
    two.world.run(lost + RETRY_FIRST - two.world.now)
    again = two.transfer(40_000_000)
    again.until(lambda: two.way(two.anna) is not None and two.way(two.ben) is not None)
    again.finish()


def test_a_way_that_is_cut_without_a_word_is_left_within_seconds(tmp_path: Path) -> None:
    """TCP vanishes on its way: what it took is sent again by UDP, and nobody waits for a kernel's timeout."""
    two = Two(tmp_path, profile=FAST)
    two.world.run(2)
    transfer = two.transfer(60_000_000)
    transfer.until(lambda: two.way(two.anna) is not None).part(0.3)
    two.lan.internet.blocked = {"tcp"}
    arrived = len(transfer.sink.data)
    begun = two.world.now
    transfer.until(lambda: len(transfer.sink.data) > arrived + 500_000, 10)
    assert two.world.now - begun < 3
    transfer.finish()
    two.world.run(30)
    assert two.way(two.anna) is None
    assert two.path(two.anna) == "udp"


def test_a_pair_whose_udp_dies_goes_on_by_tcp_and_returns(tmp_path: Path) -> None:
    """What UDP leaves unanswered is asked by the bulk way, too: that is a path to the peer, and is taken as soon as UDP is known dead."""
    two = Two(tmp_path, profile=FAST)
    two.world.run(2)
    transfer = two.transfer(80_000_000)
    transfer.until(lambda: two.way(two.anna) is not None and two.way(two.ben) is not None).part(0.3)
    two.lan.internet.blocked = {"udp"}
    died = two.world.now
    two.world.run_until(lambda: two.path(two.anna) == two.path(two.ben) == "tcp", 20)
    assert two.world.now - died < 3
    assert two.anna.peers.shown(two.ben.key)[0] == "direct"
    transfer.finish()
    two.lan.internet.blocked = set()
    two.world.run_until(lambda: two.path(two.anna) == two.path(two.ben) == "udp", UPGRADE_INTERVAL + 20)
    two.transfer(1_000_000).finish()
    assert two.mtu(two.anna) > 1280


def test_a_member_that_wants_none_has_none(tmp_path: Path) -> None:
    """``bulk_over_tcp: false`` on either side."""
    two = Two(tmp_path, profile=FAST)
    two.ben.bulk.enabled = False
    two.world.run(2)
    two.transfer(40_000_000).finish()
    assert (two.way(two.anna), two.way(two.ben)) == (None, None)


def test_a_move_that_was_undone_before_it_was_told_is_none(tmp_path: Path) -> None:
    """The tunnel was moved, and steered back, within one turn: what is thought of the path follows what the tunnel does."""
    two = Two(tmp_path)
    peers, key = two.anna.peers, two.ben.key
    tunnel = two.anna.device.peer(key)
    assert tunnel is not None
    used = tunnel.endpoint
    assert used is not None
    elsewhere = Endpoint(used.transport, used.host, used.port + 1)
    peers.links[key].paths.established(elsewhere, two.world.now)
    assert peers.links[key].paths.current == tunnel.endpoint == used
    peers.roamed(key, used, elsewhere, two.world.now)
    assert peers.links[key].paths.current == tunnel.endpoint == used
    two.world.run(30)
    assert peers.links[key].paths.current == tunnel.endpoint == used
    assert peers.shown(key) == ("direct", "udp")

