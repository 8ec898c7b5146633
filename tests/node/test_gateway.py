"""The gateway of a link: what is held, answered, refused, and forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.gateway_link import OWN, THERE, Link
from userlan.lan.addresses import GATEWAY6, RESOLVER, packed
from userlan.node import gateway as module
from userlan.node.gateway import (
    ADDRESS_LINGER,
    HELD_TIME,
    OPENING_TIME,
    DatagramsArrived,
    EchoAsked,
    Flow,
    StreamAbandoned,
)
from userlan.node.refusal import Refusal
from userlan.stack import EchoFailed, EchoReply, TcpEvent, UdpReadable
from userlan.stack.tcp import Events, State
from userlan.wire import icmp, icmpv6, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, Segment, build, parse_segment

versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def link() -> Link:
    return Link()


def test_who_is_beyond(link: Link) -> None:
    for host in ("192.0.2.1", "10.0.0.1", "192.168.1.255", "2001:db8::1", "fd00::1", "64:ff9b::7f00:1"):
        assert link.gateway.takes(packed(host)), host
    for host in (
        "25.0.0.1", "25.255.255.255", "fd75:6c61:6e00::1234", "127.0.0.1", "127.9.0.2", "0.0.0.0", "169.254.169.254", "224.0.0.251",
        "255.255.255.255", "240.0.0.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:192.0.2.1", "fe80::1", "febf::1", "fec0::1", "ff02::fb",
    ):  # fmt: skip
        assert not link.gateway.takes(packed(host)), host
    assert link.gateway.takes(RESOLVER)
    assert link.gateway.takes(GATEWAY6)
    assert Link(internet=False).gateway.takes(packed("192.0.2.1")), "so that it is refused instead of silent"


# ---------------------------------------------------------------------- streams


@versions
def test_a_syn_is_answered_when_the_far_side_is_there(link: Link, version: int) -> None:
    near = link.connect(version)
    (flow,) = link.asked()
    assert flow == Flow(OWN[version], near.local[1], THERE[version], 80)
    link.run(5)
    assert len(link.asked()) == 1, "a repeated SYN asks for nothing new"
    assert (near.state, link.crossed) == (State.SYN_SENT, [])
    link.gateway.open(flow, link.now)
    link.run()
    (far,) = link.opened()
    assert (near.state, far.state) == (State.ESTABLISHED, State.ESTABLISHED)
    assert far.local == (THERE[version], 80)
    data = bytes(range(256)) * 2000
    for sender, receiver in ((near, far), (far, near)):
        sender.send(data, link.now)
        got = bytearray()
        while len(got) < len(data):
            link.run(0.1)
            while receiver.readable:
                got += receiver.receive(1 << 20)
        assert got == data


@versions
def test_a_stream_that_is_refused_is_refused_at_once(link: Link, version: int) -> None:
    """RFC 9293 3.10.7.1; the first answer that the kernel gets, and the last."""
    near = link.connect(version)
    (flow,) = link.asked()
    link.gateway.refuse(flow, Refusal.REFUSED, link.now)
    link.run()
    assert (near.state, near.error) == (State.CLOSED, "refused")
    assert len(link.crossed) == 1
    assert not link.gateway.streams
    link.gateway.refuse(flow, Refusal.REFUSED, link.now)
    link.gateway.open(flow, link.now)
    link.run(100)
    assert len(link.crossed) == 1


@versions
@pytest.mark.parametrize("why", [Refusal.UNREACHABLE, Refusal.PROHIBITED, Refusal.SILENT])
def test_why_there_is_no_stream(link: Link, version: int, why: Refusal) -> None:
    link.connect(version)
    link.gateway.refuse(link.asked()[0], why, link.now)
    link.run()
    assert not link.gateway.streams
    if why is Refusal.SILENT:
        assert not link.crossed
        link.run(1.5)
        assert len(link.asked()) == 2, "the repeated SYN asks again"
        return
    (packet,) = link.crossed
    assert packet.source == THERE[version]
    assert transport_ok(SuperPacket(packet.header, packet.payload))
    message: Any = icmp.parse(packet) if version == 4 else icmpv6.parse(packet)
    prohibited = why is Refusal.PROHIBITED
    assert message.code == ((13 if prohibited else 1) if version == 4 else (1 if prohibited else 3))
    quote = bytes(message.quoted)
    assert (quote[12:16], quote[16:20]) == (OWN[4], THERE[4]) if version == 4 else quote[24:40] == THERE[6]


def test_streams_to_one_place_beside_each_other(link: Link) -> None:
    nears = [link.connect() for _ in range(5)]
    flows = link.asked()
    for flow in (flows[0], flows[2], flows[1]):
        link.gateway.open(flow, link.now)
    link.gateway.refuse(flows[3], Refusal.REFUSED, link.now)
    link.run()
    assert [near.state for near in nears] == [*[State.ESTABLISHED] * 3, State.CLOSED, State.SYN_SENT]
    link.gateway.open(flows[4], link.now)
    link.run()
    assert nears[4].state is State.ESTABLISHED
    assert link.gateway.streams == 4
    for far in link.opened():
        far.abort(link.now)
        link.gateway.host._tcp.touched[far] = None
    link.run()
    assert link.gateway.streams == 0
    assert {near.error for near in nears} == {"reset", "refused"}


def test_what_is_of_no_stream_is_reset(link: Link) -> None:
    """RFC 9293 3.10.7.1."""
    segment = Segment(40_000, 80, 1000, 2000, Flags.ACK)
    link.gateway.receive(build(segment, OWN[4], THERE[4]), link.now)
    (packet,) = link.gateway.packets(link.now)
    answer = parse_segment(packet)
    assert (answer.flags & Flags.RST, answer.seq) == (Flags.RST, 2000)
    link.gateway.receive(build(Segment(40_000, 80, 1000, 2000, Flags.RST), OWN[4], THERE[4]), link.now)
    assert link.gateway.packets(link.now) == []


def test_the_kernel_gives_a_stream_up(link: Link) -> None:
    """Before the far side was there, and between it and the end of the handshake."""
    near = link.connect()
    (flow,) = link.asked()
    reset = Segment(flow.source_port, 80, near.initial + 1, 0, Flags.RST)
    link.gateway.receive(build(reset, OWN[4], THERE[4]), link.now)
    assert link.gateway.events() == [StreamAbandoned(flow)]
    assert link.gateway.streams == 0
    near.abort(link.now)
    link.kernel._tcp.touched[near] = None
    link.run()
    near = link.connect(port=81)
    flow = link.asked()[-1]
    near.abort(link.now)            # in SYN-SENT nothing is said: the SYN-ACK is what is answered by a RST
    link.kernel._tcp.touched[near] = None
    link.run()
    link.gateway.open(flow, link.now)
    link.run()
    assert link.told[-1] == StreamAbandoned(flow)
    assert (link.gateway.streams, link.opened()) == (0, [])


def test_what_waits_for_too_long_is_forgotten(link: Link) -> None:
    near = link.connect()
    (flow,) = link.asked()
    near.abort(link.now)
    link.kernel._tcp.touched[near] = None
    link.run(HELD_TIME + 10)
    assert link.told[-1] == StreamAbandoned(flow)
    assert link.gateway.streams == 0
    near = link.connect()
    flow = link.asked()[-1]
    link.kernel.remove_address(OWN[4])      # it hears nothing more, and answers nothing
    link.gateway.open(flow, link.now)
    link.run(OPENING_TIME + 10)
    assert link.told[-1] == StreamAbandoned(flow)
    assert link.gateway.streams == 0


def test_an_address_is_answered_for_until_its_last_stream_is_over(link: Link) -> None:
    """TIME-WAIT: the last ACK may have been lost (RFC 9293 3.6.1)."""
    near, far = link.open()
    for connection, host in ((far, link.gateway.host), (near, link.kernel)):
        connection.close(link.now)
        host._tcp.touched[connection] = None
        link.run(0.1)
    assert near.state is State.CLOSED
    assert link.gateway.streams == 0
    assert THERE[4] in link.gateway.host.addresses
    again = Segment(near.local[1], 80, near.sender.nxt - 1, near.receiver.next, Flags.FIN | Flags.ACK)
    link.crossed.clear()
    link.gateway.receive(build(again, OWN[4], THERE[4]), link.now)
    link.run()
    assert any(parse_segment(packet).flags & Flags.ACK for packet in link.crossed)
    link.run(ADDRESS_LINGER + 10)
    assert THERE[4] not in link.gateway.host.addresses
    assert sorted(link.gateway.host.addresses) == sorted((RESOLVER, GATEWAY6))
    assert link.gateway.deadline() is None, "nothing is left to be looked after"


def test_a_port_is_used_again_while_its_last_stream_is_in_time_wait(link: Link) -> None:
    """RFC 6191: the newer SYN takes its place, once its own far side is there."""
    near, far = link.open()
    port = near.local[1]
    assert link.kernel.tcp_states()[State.ESTABLISHED] == 1
    for connection, host in ((far, link.gateway.host), (near, link.kernel)):
        connection.close(link.now)
        host._tcp.touched[connection] = None
        link.run(0.1)
    link.now += 2
    link.kernel._ports.keep_to(port, port)
    second = link.connect()
    assert second.local[1] == port
    assert len(link.asked()) == 2
    link.gateway.open(link.asked()[-1], link.now)
    link.run()
    assert second.state is State.ESTABLISHED


def test_no_more_than_so_many_streams(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 3)
    for port in range(5):
        link.connect(port=1000 + port)
    assert len(link.asked()) == link.gateway.streams == 3
    assert link.gateway.counters["streams-full"] == 2
    monkeypatch.setattr(module, "MAX_ADDRESSES", 2)
    for flow in link.asked():
        link.gateway.refuse(flow, Refusal.REFUSED, link.now)
    for last in range(6):
        _, far = link.open(there=bytes((192, 0, 2, last + 1)))
        far.abort(link.now)
        link.gateway.host._tcp.touched[far] = None
        link.run()
    assert len(list(link.gateway.host.addresses)) <= 2 + 3


# ---------------------------------------------------------------------- datagrams and echoes


@versions
def test_datagrams_both_ways(link: Link, version: int) -> None:
    socket = link.kernel.udp_bind(5000)
    socket.send(b"hello", (THERE[version], 53), link.now, OWN[version])
    link.run()
    (arrived,) = link.told
    assert isinstance(arrived, DatagramsArrived)
    assert (arrived.flow, bytes(arrived.payload)) == (Flow(OWN[version], 5000, THERE[version], 53), b"hello")
    for payload in (b"world", bytes(9000)):
        link.gateway.send_datagram(arrived.flow, payload)
        link.run()
        received = socket.receive()
        assert received is not None
        assert (bytes(received.payload), received.source) == (payload, (THERE[version], 53))
    link.gateway.send_datagram(arrived.flow, bytes(65_536))
    assert link.gateway.packets(link.now) == []


@versions
def test_fragments_and_bursts_arrive_whole(link: Link, version: int) -> None:
    payload = bytes(range(250)) * 40
    whole = udp.build(udp.Datagram(5000, 53, payload), OWN[version], THERE[version])
    for part in reversed(fragment(whole, 1420, 77)):
        link.gateway.receive(part, link.now)
    (arrived,) = link.gateway.events()
    assert isinstance(arrived, DatagramsArrived)
    assert bytes(arrived.payload) == payload
    link.gateway.receive(SuperPacket(whole.header, whole.payload, 1000, True), link.now)
    (arrived,) = link.gateway.events()
    assert isinstance(arrived, DatagramsArrived)
    assert arrived.segment_size == 1000


@versions
def test_a_datagram_that_nobody_takes(link: Link, version: int) -> None:
    socket = link.kernel.udp_bind(5000)
    socket.connect((THERE[version], 9))
    socket.send(b"hello", None, link.now, OWN[version])
    link.run()
    link.gateway.refuse_packet(link.told[0].quoted, Refusal.REFUSED, link.now)
    link.run()
    error = socket.take_error()
    assert error is not None
    assert (error.reason, error.remote) == ("port-unreachable", (THERE[version], 9))


@versions
def test_echo(link: Link, version: int) -> None:
    link.kernel.ping(THERE[version], 7, 1, b"payload", link.now, OWN[version])
    link.run()
    (asked,) = link.told
    assert isinstance(asked, EchoAsked)
    assert asked[:5] == (OWN[version], THERE[version], 7, 1, b"payload")
    link.gateway.send_echo(asked.destination, asked.source, 7, 1, asked.payload)
    link.run()
    assert next(event for event in link.heard if isinstance(event, EchoReply)).payload == b"payload"
    link.kernel.ping(THERE[version], 7, 2, b"", link.now, OWN[version])
    link.run()
    link.gateway.refuse_packet(link.told[-1].quoted, Refusal.UNREACHABLE, link.now)
    link.run()
    (failed,) = [event for event in link.heard if isinstance(event, EchoFailed)]
    assert failed.sequence == 2


def test_own_addresses_are_a_hosts(link: Link) -> None:
    """What listens there is reached; all of it answers pings, refuses what is closed."""
    for address in (RESOLVER, GATEWAY6):
        link.kernel.ping(address, 7, 1, b"", link.now)
    link.run()
    assert {event.source for event in link.heard if isinstance(event, EchoReply)} == {RESOLVER, GATEWAY6}
    server = link.gateway.host.udp_bind(53)
    link.gateway.host.tcp_listen(53)
    client = link.kernel.udp_bind()
    client.send(b"query", (RESOLVER, 53), link.now)
    near = link.kernel.tcp_connect((RESOLVER, 53), link.now)
    closed = link.kernel.tcp_connect((RESOLVER, 54), link.now)
    link.run()
    assert any(isinstance(event, UdpReadable) and event.socket is server for event in link.told)
    assert near.state is State.ESTABLISHED
    assert (closed.state, closed.error) == (State.CLOSED, "refused")
    assert not link.asked()


@versions
def test_unknown_protocols_are_refused(link: Link, version: int) -> None:
    """RFC 1122 3.2.2.1, RFC 8200 4."""
    header = bytearray(udp.build(udp.Datagram(1, 2, b""), OWN[version], THERE[version]).header[: 20 if version == 4 else 40])
    header[9 if version == 4 else 6] = 132
    link.gateway.receive(SuperPacket(bytes(header), bytes(8), 0, True), link.now)
    (packet,) = link.gateway.packets(link.now)
    message: Any = icmp.parse(packet) if version == 4 else icmpv6.parse(packet)
    if version == 4:
        assert message.code == icmp.CODE_PROTOCOL_UNREACHABLE
    else:
        assert (message.code, message.pointer) == (1, 6)


# ---------------------------------------------------------------------- without the Internet


@versions
def test_without_internet_it_is_prohibited_at_once(version: int) -> None:
    """RFC 1812 5.2.7.1: code 13; RFC 4443 3.1: code 1."""
    link = Link(internet=False)
    link.connect(version)
    socket = link.kernel.udp_bind(5000)
    socket.connect((THERE[version], 9))
    socket.send(b"x", None, link.now, OWN[version])
    link.kernel.ping(THERE[version], 7, 1, b"", link.now, OWN[version])
    link.run()
    codes = [(icmp.parse(packet) if version == 4 else icmpv6.parse(packet)).code for packet in link.crossed]  # type: ignore[union-attr]
    assert codes == [13 if version == 4 else 1] * 3
    assert link.told == []
    error = socket.take_error()
    assert error is not None
    assert error.reason == "prohibited"


def test_prohibitions_are_limited_and_none_is_about_an_error_or_a_later_fragment() -> None:
    """RFC 1122 3.2.2, RFC 1812 4.3.2.8."""
    link = Link(internet=False)
    one = udp.build(udp.Datagram(1, 2, bytes(4000)), OWN[4], THERE[4])
    for part in fragment(one, 1420, 7):
        link.gateway.receive(part, link.now)
    error = icmp.build(icmp.Unreachable(1, one.header), OWN[4], THERE[4])
    link.gateway.receive(error, link.now)
    assert len(link.gateway.packets(link.now)) == 1
    for _ in range(200):
        link.gateway.receive(one, link.now)
    assert len(link.gateway.packets(link.now)) == 49
    assert link.gateway.counters["icmp-error-limited"] == 151


# ---------------------------------------------------------------------- anything


def test_wrong_checksums_are_dropped(link: Link) -> None:
    good = bytearray(cut(udp.build(udp.Datagram(1, 2, b"abc"), OWN[4], THERE[4]), True)[0])
    good[-1] ^= 1
    link.gateway.receive(parse(bytes(good)), link.now)
    assert link.gateway.events() == []
    assert link.gateway.counters["checksum"] == 1


def test_what_is_not_drained_is_bounded(link: Link) -> None:
    flow = Flow(OWN[4], 1, THERE[4], 2)
    for _ in range(5000):
        link.gateway.send_datagram(flow, b"x")
    assert len(link.gateway.packets(link.now)) == module.MAX_WAITING


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([1, 6, 17, 58, 44, 0, 132]), st.binary(max_size=80), st.booleans()), max_size=20))
def test_anything_from_the_kernel(packets: list[tuple[int, bytes, bool]]) -> None:
    link = Link()
    for protocol, payload, four in packets:
        version = 4 if four else 6
        header = bytearray(udp.build(udp.Datagram(1, 2, b""), OWN[version], THERE[version]).header[: 20 if four else 40])
        header[9 if four else 6] = protocol
        size = len(payload) + (20 if four else 0)
        header[2 if four else 4 : 4 if four else 6] = size.to_bytes(2, "big")
        try:
            packet = parse(bytes(header) + payload, True)
        except WireError:
            continue
        link.gateway.receive(packet, link.now)
        link.run(1)
    for flow in link.asked():
        link.gateway.open(flow, link.now)
    link.run(300)
    assert link.gateway.streams == 0


def test_every_end_of_a_stream_is_noticed(link: Link) -> None:
    for how in ("near", "far", "near-abort", "far-abort"):
        near, far = link.open(port=len(how))
        connection, host = (near, link.kernel) if how.startswith("near") else (far, link.gateway.host)
        if how.endswith("abort"):
            connection.abort(link.now)
        else:
            connection.close(link.now)
        host._tcp.touched[connection] = None
        link.run(0.1)
        if not how.endswith("abort"):
            other, host = (far, link.gateway.host) if how == "near" else (near, link.kernel)
            other.close(link.now)
            host._tcp.touched[other] = None
            link.run(70)
        assert link.gateway.streams == 0, how
    assert sum(bool(event.flags & Events.CLOSED) for event in link.told if isinstance(event, TcpEvent)) == 4
