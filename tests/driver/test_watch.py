"""Who watches a node's packets: how they are cut, who is told, and what is said of paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.lan import VirtualLan
from tests.relay.test_pairs import relayed_pair
from tests.wire.examples import BOB4, PAIRS, near_wrap, pairs, super_segment
from userlan.driver.watch import Seen, Watch
from userlan.wire import icmp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.endpoint import TCP, Endpoint
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags


def pieces(packet: SuperPacket) -> list[bytes]:
    return Seen(None, "in", b"", packet, None, 0.0).wire()  # type: ignore[arg-type]  # who watches is not asked


@given(
    st.binary(min_size=1, max_size=5_000), st.integers(1, 1_500), pairs, near_wrap,
    st.sampled_from((0, Flags.PSH, Flags.CWR, Flags.FIN)),
)
def test_a_unit_of_tcp_is_what_hardware_would_make_of_it(
    payload: bytes, size: int, addresses: tuple[bytes, bytes], seq: int, flags: int
) -> None:
    packet = super_segment(payload, size, addresses, seq=seq, flags=Flags.ACK | flags)
    assert pieces(packet) == cut(packet, True)
    assert all(transport_ok(parse(piece)) for piece in pieces(packet))


@given(st.binary(min_size=1, max_size=5_000), st.integers(1, 1_500), pairs, st.booleans())
def test_so_is_one_of_datagrams(payload: bytes, size: int, addresses: tuple[bytes, bytes], may_be_cut: bool) -> None:
    """RFC 768: a checksum of zero is sent as all ones; RFC 6864 4.2: without "don't fragment" each has its own identification."""
    packet = udp.build(udp.Datagram(5, 6, payload, segment_size=size), *addresses)
    if may_be_cut and packet.version == 4:
        packet = SuperPacket(packet.header[:6] + b"\0" + packet.header[7:], packet.payload, size, True)
    assert pieces(packet) == cut(packet, True)
    assert all(transport_ok(parse(piece)) for piece in pieces(packet))


def test_a_checksum_that_comes_to_zero_is_sent_as_ones() -> None:
    """RFC 768: of two datagrams in one unit, the first is made to sum up to nothing."""
    for filling in range(1 << 16):
        payload = filling.to_bytes(2, "big") + b"xy"
        first = pieces(udp.build(udp.Datagram(5, 6, payload, segment_size=2), *PAIRS[0]))[0]
        if first[26:28] == b"\xff\xff":
            return
    pytest.fail("none of all fillings gave all ones")


def test_single_packets_and_fragments_stay_as_they_are() -> None:
    ping = icmp.build(icmp.Echo(True, 1, 2, b"abc"), *PAIRS[0])
    assert pieces(ping) == cut(ping, True)
    assert len(pieces(ping)) == 1


class Site:
    """Anna and ben, who have a tunnel; what is seen at anna's."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        self.anna = self.lan.node("anna", self.lan.internet, "198.51.100.1")
        self.ben = self.lan.node("ben", self.lan.internet, "198.51.100.2")
        self.lan.ready(self.anna, self.ben)
        self.lan.network(self.anna, self.ben)
        self.lan.direct(self.anna, self.ben)
        self.watch = Watch(self.anna)

    def ping(self) -> None:
        self.lan.ping(self.anna, self.ben.ipv6)


def test_observers_come_and_go(tmp_path: Path) -> None:
    site = Site(tmp_path)
    first: list[Seen] = []
    second: list[Seen] = []
    stop_first, stop_second = site.watch.add(first.append), site.watch.add(second.append)
    site.ping()
    stop_first()
    stop_first()
    heard = len(first)
    site.ping()
    stop_second()
    assert {(one.direction, one.key, one.cast) for one in first} >= {("out", site.ben.key, "unicast"), ("in", site.ben.key, "unicast")}
    assert (len(first), len(second) > heard > 0) == (heard, True)
    before = len(second)
    site.ping()
    assert len(second) == before
    assert site.anna.device.sent is None, "nobody is asked any more"


def test_one_that_fails_is_logged_and_hinders_nobody(tmp_path: Path, logged_failures: list[Any]) -> None:
    site = Site(tmp_path)
    heard: list[Seen] = []

    def failing(seen: Seen) -> None:
        raise RuntimeError("on purpose")

    site.watch.add(failing)
    site.watch.add(heard.append)
    site.ping()
    assert len(heard) >= 2
    assert [str(failure.value) for failure in logged_failures] == ["on purpose"], "and not called again"
    logged_failures.clear()


def test_a_path_is_told_and_told_anew(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.watch.path(site.ben.key) == "direct udp 198.51.100.2:41414"
    assert site.watch.path(bytes(32)) == ""
    tunnel = site.anna.device.peer(site.ben.key)
    assert tunnel is not None
    tunnel.ways.bulk = Endpoint(TCP, "198.51.100.2", 41415)
    assert site.watch.path(site.ben.key) == "direct udp 198.51.100.2:41414, bulk tcp 198.51.100.2:41415"


def test_a_path_by_a_relay_has_its_name(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    seen: list[str] = []
    Watch(anna).add(lambda one: seen.append(one.path) if one.key == ben.key else None)
    lan.ping(anna, ben.ipv6)
    assert set(seen) == {"relay near (203.0.113.1:41414)"}


def test_whom_a_packet_is_for(tmp_path: Path) -> None:
    site = Site(tmp_path)
    found = []
    for address in (BOB4, b"\xff" * 4, bytes((25, 255, 255, 255)), bytes((239, 1, 2, 3)), bytes.fromhex("ff02" + "0" * 27 + "1")):
        source = site.anna.ipv6 if len(address) == 16 else BOB4
        found.append(Seen(site.watch, "out", b"", udp.build(udp.Datagram(1, 2, b""), source, address), None, 0.0).cast)
    assert found == ["unicast", "broadcast", "broadcast", "multicast", "multicast"]
