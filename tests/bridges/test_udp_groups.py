"""SOCKS5 UDP ASSOCIATE to broadcasts and multicast groups of the LAN, over the real stack."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol

from bridges.proxy import ProxyBridge, ProxyOptions
from bridges.socks import build_datagram, parse_datagram
from tests.bridges.conftest import until
from tests.bridges.harness import Loop, MemoryStore, dial
from tests.bridges.stacked import StackedPair
from tests.bridges.test_udp_associate import associate, nothing_comes, udp

PORT = 6454
GROUPS = ["239.255.255.250", "ff15::77"]
NAS, OTHER = "25.9.0.2", bytes((25, 9, 0, 3))


class Server(DatagramProtocol):
    """A game's server: answers a broadcast from another port than it was asked at."""

    transport: Any

    def __init__(self, lan: Any, groups: list[str]) -> None:
        self.heard: list[tuple[bytes, str]] = []
        self.asked_by = ("", 0)
        lan.datagram_port(self, PORT)
        self.answering = lan.datagram_port(DatagramProtocol(), PORT + 1)
        for group in groups:
            self.transport.joinGroup(group)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.heard.append((datagram, ""))

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        self.heard.append((datagram, group))
        self.asked_by = addr
        self.answering.write(b"here: " + datagram, addr)


@pytest.fixture
def pair(loop: Loop) -> Iterator[StackedPair]:
    made: StackedPair = loop.call(StackedPair, loop.reactor)
    yield made
    loop.call(made.stop)


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with udp("127.0.0.1") as bound:
        yield bound


def proxy(loop: Loop, pair: StackedPair, **options: Any) -> ProxyBridge:
    store: Any = MemoryStore()
    bridge = ProxyBridge(pair.lans["me"], ProxyOptions(listen="127.0.0.1:0", **options), store)
    loop.call(bridge.start)
    return bridge


def address(bridge: ProxyBridge) -> tuple[str, int]:
    host, _, port = str(bridge.status()).rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("group", ["255.255.255.255", "25.255.255.255", *GROUPS])
def test_who_hears_it_is_reached_and_may_answer_from_any_port(loop: Loop, pair: StackedPair, client: socket.socket, group: str) -> None:
    """RFC 1928 7; RFC 4787 REQ-8 (a): replies are taken from whomever."""
    server = loop.call(Server, pair.lans["nas"], GROUPS)
    bridge = proxy(loop, pair)
    control, relay = associate(address(bridge))
    with control:
        client.sendto(build_datagram(group, PORT, b"who plays?"), relay)
        reply = parse_datagram(client.recv(2000))
        assert reply == (NAS if "." in group else pair.ipv6("nas"), PORT + 1, b"here: who plays?")
        assert server.heard == [(b"who plays?", group)]
    loop.call(bridge.stop)


def test_another_member_than_any_that_was_asked_may_answer(loop: Loop, pair: StackedPair, client: socket.socket) -> None:
    server = loop.call(Server, pair.lans["nas"], [])
    bridge = proxy(loop, pair)
    control, relay = associate(address(bridge))
    with control:
        client.sendto(build_datagram("25.255.255.255", PORT, b"who?"), relay)
        client.recv(2000)
        loop.call(_answer_as_another, pair, server.asked_by)
        assert parse_datagram(client.recv(2000)) == ("25.9.0.3", PORT + 2, b"me, too")
    loop.call(bridge.stop)


def _answer_as_another(pair: StackedPair, asked_by: tuple[str, int]) -> None:
    """From an address that nobody has asked."""
    wire = pair.wires["nas"]
    wire.host.add_address(OTHER)
    wire.host.udp_bind(PORT + 2, OTHER).send(b"me, too", (socket.inet_aton(asked_by[0]), asked_by[1]), 0.0)
    pair.lans["nas"].datagram_port(DatagramProtocol()).write(b"", asked_by)     # its engine is told that there is something to send


def test_groups_go_nowhere_where_that_is_refused(loop: Loop, pair: StackedPair, client: socket.socket) -> None:
    server = loop.call(Server, pair.lans["nas"], GROUPS)
    bridge = proxy(loop, pair, broadcast="refuse")
    control, relay = associate(address(bridge))
    with control:
        for group in ("255.255.255.255", "25.255.255.255", *GROUPS):
            client.sendto(build_datagram(group, PORT, b"x"), relay)
        until(lambda: bridge.context.counters["datagram-forbidden"] == 4, loop)
        client.sendto(build_datagram(NAS, PORT, b"to one"), relay)
        until(lambda: server.heard == [(b"to one", "")], loop)
        assert nothing_comes(client)
    loop.call(bridge.stop)


@pytest.mark.parametrize("host", ["25.255.255.255", "255.255.255.255", "239.1.1.1"])
def test_a_stream_to_many_is_refused(loop: Loop, pair: StackedPair, host: str) -> None:
    """RFC 9293 3.9.2.3: TCP is between two hosts."""
    bridge = proxy(loop, pair)
    with dial(address(bridge)) as control:
        control.sendall(b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack("!H", 80))
        reply = control.recv(100)
        assert reply[:2] == b"\x05\x00"
        assert (reply[2:] or control.recv(100))[1] != 0
    loop.call(bridge.stop)
