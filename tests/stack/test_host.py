"""The host as a whole: rubbish, who gets a segment, what a closed port answers, caps, own addresses, work when idle."""

from __future__ import annotations

import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.packets import (
    NOW,
    OTHER4,
    OURS4,
    OURS6,
    PEER4,
    PEER6,
    answers,
    echo_packet,
    host,
    own,
    packed,
    peer,
    tcp_packet,
    udp_packet,
)
from userlan.stack import Host, HostConfig, StackError, TcpAccepted, TcpEvent
from userlan.stack.tcp import Config, Connection, Events, Listener, State
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, Segment, parse_segment

VERSIONS = pytest.mark.parametrize("version", [4, 6])
SYN, ACK, RST, FIN = Flags.SYN, Flags.ACK, Flags.RST, Flags.FIN


def segments(packets: list[SuperPacket]) -> list[Segment]:
    return [parse_segment(packet) for packet in packets]


def busy_host() -> Host:
    """A host on which every kind of thing is open."""
    target = host()
    target.tcp_listen(80)
    target.udp_bind(53).connect((packed(PEER4), 53))
    target.tcp_connect((packed(PEER4), 80), NOW)
    target.tcp_connect((packed(PEER6), 80), NOW)
    target.ping(packed(PEER6), 7, 1, b"x", NOW)
    target.packets(NOW)
    return target


# ---------------------------------------------------------------------- rubbish


def take(target: Host, data: bytes, verified: bool, now: float) -> None:
    try:
        packet = parse(data, verified)
    except WireError:
        return
    target.receive(packet, now)
    target.packets(now)
    target.events()


@given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from([4, 6]), st.integers(0, 255), st.booleans())
@settings(max_examples=300)
def test_arbitrary_octets_behind_a_right_header(
    bodies: list[bytes], version: int, protocol: int, verified: bool
) -> None:
    """Whatever a header announces: nothing is raised, and each packet is answered, delivered or counted."""
    target = busy_host()
    for body in bodies:
        if version == 4:
            head = bytes((0x45, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes(4) + bytes((64, protocol, 0, 0))
            data = head + packed(PEER4) + packed(OURS4) + body
        else:
            head = bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big") + bytes((protocol, 64))
            data = head + packed(PEER6) + packed(OURS6) + body
        take(target, data, True, NOW)
        take(target, data, verified, NOW)
    deadline = target.deadline()
    assert deadline is not None
    target.tick(deadline)
    target.packets(deadline)


def samples() -> list[bytes]:
    """One good packet of each kind."""
    packets = [
        maker(peer(version), own(version))
        for version in (4, 6)
        for maker in (
            lambda source, target: tcp_packet(source, target, Segment(9, 80, 1, 0, SYN, 100, mss=1000)),
            lambda source, target: tcp_packet(source, target, Segment(9, 81, 1, 5, ACK, 100, payload=b"x")),
            lambda source, target: udp_packet(source, target, 53, 53, b"hello"),
            lambda source, target: udp_packet(source, target, 53, 54, b"hello"),
            echo_packet,
        )
    ]
    return [cut(packet, False)[0] for packet in packets]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 120), st.integers(0, 255)), max_size=12))
@settings(max_examples=300)
def test_flipped_octets(changes: list[tuple[int, int, int]]) -> None:
    target = busy_host()
    originals = samples()
    for step, (index, position, value) in enumerate(changes):
        data = bytearray(originals[index])
        data[position % len(data)] = value
        take(target, bytes(data), True, NOW + step)
        take(target, bytes(data[: position + 1]), True, NOW + step)


@VERSIONS
def test_what_is_not_for_us_is_counted(version: int) -> None:
    target = host()
    other = "10.9.9.9" if version == 4 else "fd00::99"
    assert answers(target, echo_packet(peer(version), other)) == []
    assert answers(target, tcp_packet(peer(version), "224.0.0.1" if version == 4 else "ff02::1", Segment(1, 2))) == []
    assert target.counters == {"destination-not-ours": 1, "tcp-to-group": 1}


# ---------------------------------------------------------------------- TCP: who gets a segment


@VERSIONS
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (SYN, (0, 101, RST | ACK)),
        (SYN | ACK, (77, 0, RST)),
        (ACK, (77, 0, RST)),
        (FIN, (0, 106, RST | ACK)),
        (0, (0, 105, RST | ACK)),
        (RST, None),
        (RST | ACK, None),
    ],
)
def test_a_closed_port_resets(version: int, flags: int, expected: tuple[int, int, int] | None) -> None:
    """RFC 9293 3.10.7.1: with an ACK the reset takes its number from it, else it acknowledges what came."""
    payload = b"" if flags & (SYN | RST | ACK) else b"12345"
    target = host()
    sent = answers(target, tcp_packet(peer(version), own(version), Segment(9, 80, 100, 77, flags, payload=payload)))
    assert [(one.seq, one.ack, one.flags) for one in segments(sent)] == ([expected] if expected else [])
    assert [(one.source_port, one.destination_port) for one in segments(sent)] == ([(80, 9)] if expected else [])


def accepted(target: Host, listener: Listener, version: int, port: int = 9, now: float = NOW) -> Connection:
    """Complete a handshake from the peer's ``port``; the peer's next number is 101."""
    here, there = own(version), peer(version)
    local = listener.local[1]
    syn = tcp_packet(there, here, Segment(port, local, 100, 0, SYN, 9000, mss=1000))
    (reply,) = segments(answers(target, syn, now))
    assert reply.flags == SYN | ACK
    answers(target, tcp_packet(there, here, Segment(port, local, 101, reply.seq + 1, ACK, 9000)), now)
    event = target.events()[0]
    assert isinstance(event, TcpAccepted)
    assert event.listener is listener
    return event.connection


@VERSIONS
def test_a_listener_accepts_and_its_owner_hears_once_the_handshake_is_complete(version: int) -> None:
    target = host()
    listener = target.tcp_listen(80)
    (reply,) = segments(
        answers(target, tcp_packet(peer(version), own(version), Segment(9, 80, 100, 0, SYN, 9000, mss=1000)))
    )
    assert target.events() == []
    last = Segment(9, 80, 101, reply.seq + 1, ACK, 9000, payload=b"hello")
    answers(target, tcp_packet(peer(version), own(version), last))
    first, second = target.events()
    assert isinstance(first, TcpAccepted)
    assert isinstance(second, TcpEvent)
    assert second == TcpEvent(first.connection, Events.READABLE)
    assert (first.listener, first.connection.local) == (listener, (packed(own(version)), 80))
    assert first.connection.remote == (packed(peer(version)), 9)
    assert bytes(first.connection.receive()) == b"hello"


def test_half_open_connections_that_end_are_never_heard_of() -> None:
    target = host()
    target.tcp_listen(80)
    answers(target, tcp_packet(PEER4, OURS4, Segment(9, 80, 100, 0, SYN, 9000)))
    answers(target, tcp_packet(PEER4, OURS4, Segment(9, 80, 101, 0, RST)))
    assert target.events() == []
    assert not target.tcp_states()
    assert target.deadline() is None


@VERSIONS
def test_a_closed_listener_refuses_and_its_connections_go_on(version: int) -> None:
    target = host()
    listener = target.tcp_listen(80)
    connection = accepted(target, listener, version)
    answers(target, tcp_packet(peer(version), own(version), Segment(10, 80, 100, 0, SYN, 9000)))
    target.tcp_unlisten(listener, NOW)
    assert [one.flags & RST for one in segments(target.packets(NOW))] == [RST], "the half-open one"
    (reset,) = segments(
        answers(target, tcp_packet(peer(version), own(version), Segment(11, 80, 100, 0, SYN, 9000)))
    )
    assert reset.flags & RST
    assert connection.state is State.ESTABLISHED
    assert target.tcp_listen(80).local == (None, 80)


def test_who_may_listen_where() -> None:
    target = host()
    assert target.tcp_listen(0).local[1] >= 32_768
    target.tcp_listen(80, packed(OURS4))
    target.tcp_listen(80, packed(OURS6))
    taken = "address-in-use"
    for address, reason in ((None, taken), (packed(OURS4), taken), (packed(OTHER4), "no-address")):
        with pytest.raises(StackError) as caught:
            target.tcp_listen(80, address)
        assert caught.value.reason == reason
    target.remove_address(packed(OURS4))
    with pytest.raises(StackError) as caught:
        target.tcp_connect((packed(PEER4), 80), NOW)
    assert caught.value.reason == "no-address"
    with pytest.raises(ValueError, match="cannot be a host's address"):
        target.add_address(packed("127.0.0.1"))


# ---------------------------------------------------------------------- caps


def test_connections_are_bounded_by_peers_and_by_the_program() -> None:
    target = host(max_connections=10)
    target.tcp_listen(80, backlog=100)
    answers(target, [tcp_packet(PEER4, OURS4, Segment(port, 80, 1, 0, SYN, 9000)) for port in range(1, 30)])
    assert target.tcp_states() == {State.SYN_RECEIVED: 10}
    assert target.counters["tcp-connections-full"] == 19
    with pytest.raises(StackError) as caught:
        target.tcp_connect((packed(PEER4), 80), NOW)
    assert caught.value.reason == "too-many"
    while (deadline := target.deadline()) is not None:
        target.tick(deadline)
        target.packets(deadline)
    assert not target.tcp_states()
    assert target.events() == []


def into_time_wait(target: Host, listener: Listener, port: int, now: float = NOW) -> None:
    """A connection that we close first, up to the peer's FIN."""
    connection = accepted(target, listener, 4, port, now)
    connection.shutdown(now)
    (fin,) = segments(target.packets(now))
    assert fin.flags & FIN
    answers(target, tcp_packet(PEER4, OURS4, Segment(port, 80, 101, fin.seq + 1, FIN | ACK, 9000)), now)
    events = [event for event in target.events() if isinstance(event, TcpEvent)]
    assert events[-1].flags & Events.CLOSED
    assert connection.error is None


def test_time_wait_is_bounded_and_makes_room() -> None:
    target = host(max_connections=10, max_time_wait=5)
    listener = target.tcp_listen(80)
    for port in range(1, 9):
        into_time_wait(target, listener, port)
    assert target.tcp_states() == {State.TIME_WAIT: 5}
    assert target.counters["tcp-time-wait-full"] == 3
    for port in range(101, 109):
        accepted(target, listener, 4, port)
    assert target.tcp_states() == {State.TIME_WAIT: 2, State.ESTABLISHED: 8}


def test_time_wait_answers_ends_and_gives_way_to_a_newer_syn() -> None:
    target = host(tcp=Config(time_wait=60.0))
    listener = target.tcp_listen(80)
    into_time_wait(target, listener, 9)
    (again,) = segments(answers(target, tcp_packet(PEER4, OURS4, Segment(9, 80, 101, 0, FIN | ACK, 9000)), NOW + 1))
    assert (again.flags, again.ack) == (ACK, 102)
    accepted(target, listener, 4, 8)
    (reply,) = segments(answers(target, tcp_packet(PEER4, OURS4, Segment(9, 80, 5000, 0, SYN, 9000)), NOW + 2))
    assert (reply.flags, reply.ack) == (SYN | ACK, 5001)
    assert target.tcp_states() == {State.SYN_RECEIVED: 1, State.ESTABLISHED: 1}


# ---------------------------------------------------------------------- own addresses


@VERSIONS
def test_a_connection_to_oneself(version: int) -> None:
    target = host()
    listener = target.tcp_listen(80)
    client = target.tcp_connect((packed(own(version)), 80), NOW)
    assert target.packets(NOW) == []
    events = target.events()
    assert TcpEvent(client, Events.CONNECTED) in events
    (server,) = (event.connection for event in events if isinstance(event, TcpAccepted))
    data = Random(1).randbytes(3_000_000)
    sent, received, now = 0, bytearray(), NOW
    for _ in range(1000):
        now += 0.001
        sent += client.send(memoryview(data)[sent:], now)
        assert target.packets(now) == []
        while part := server.receive():
            received += part
        if sent == len(data) and len(received) == len(data):
            break
    assert bytes(received) == data
    client.shutdown(now)
    server.shutdown(now)
    assert target.packets(now) == []
    assert server.eof
    assert client.eof
    assert target.tcp_states() == {State.TIME_WAIT: 2}, "they closed at the same time"
    assert listener.local == (None, 80)


def test_a_connection_to_oneself_that_nobody_accepts_is_refused() -> None:
    target = host()
    client = target.tcp_connect((packed(OURS4), 80), NOW)
    assert target.packets(NOW) == []
    assert target.events() == [TcpEvent(client, Events.CLOSED)]
    assert client.error == "refused"


def test_a_call_on_a_connection_makes_the_host_due() -> None:
    target = host()
    connection = accepted(target, target.tcp_listen(80), 4)
    target.packets(NOW + 5)
    before = target.deadline()
    assert before is None or before > NOW + 5
    connection.send(b"hello", NOW + 5)
    assert target.deadline() == NOW + 5
    assert len(target.packets(NOW + 5)) == 1


# ---------------------------------------------------------------------- work


def test_idle_connections_cost_no_work() -> None:
    """What one busy connection costs is the same, counted in calls, beside 5 and beside 2,000 idle ones."""

    def calls(idle: int) -> int:
        target = Host(entropy=Random(1).randbytes, config=HostConfig(tcp=Config(keepalive_idle=7200.0)))
        target.add_address(packed(OURS4))
        listener = target.tcp_listen(80)
        for number in range(idle):
            accepted(target, listener, 4, 1000 + number)
        busy = accepted(target, listener, 4, 9)
        target.tick(NOW + 100)
        target.packets(NOW + 100)
        assert target.tcp_states() == {State.ESTABLISHED: idle + 1}
        count = 0

        def counted(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(counted)
        try:
            for step in range(20):
                now = NOW + 101 + step
                busy.send(b"x", now)
                target.packets(now)
                target.events()
                deadline = target.deadline()
                if deadline is not None and deadline <= now:
                    target.tick(now)
        finally:
            sys.setprofile(None)
        return count

    few, many = calls(5), calls(2000)
    assert many <= few * 1.1
