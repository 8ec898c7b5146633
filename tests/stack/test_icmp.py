"""Echo, the errors that are sent and those that are not, and the attacks by forged errors of RFC 5927."""

from __future__ import annotations

import pytest

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
    message,
    on_the_wire,
    own,
    packed,
    peer,
    tcp_packet,
    udp_packet,
    unreachable,
)
from tests.stack.test_pmtu import established, in_flight, quotable
from userlan.stack import EchoFailed, EchoReply, StackError, TcpEvent
from userlan.stack.tcp import Events, State
from userlan.wire import icmp, icmpv6, ipv4, ipv6
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, Segment, parse_segment

VERSIONS = pytest.mark.parametrize("version", [4, 6])


@VERSIONS
def test_an_echo_request_is_answered(version: int) -> None:
    (reply,) = answers(host(), echo_packet(peer(version), own(version), b"payload"))
    found = message(reply)
    assert isinstance(found, icmp.Echo | icmpv6.Echo)
    assert (found.request, found.identifier, found.sequence, bytes(found.payload)) == (False, 7, 1, b"payload")
    assert (reply.source, reply.destination) == (packed(own(version)), packed(peer(version)))


@VERSIONS
def test_our_request_and_its_answer(version: int) -> None:
    asker, answerer = host(), host()
    answerer.add_address(packed(peer(version)))
    asker.ping(packed(peer(version)), 5, 6, b"abc", NOW)
    (request,) = asker.packets(NOW)
    answerer.remove_address(packed(own(version)))
    (reply,) = answers(answerer, on_the_wire(request))
    asker.receive(on_the_wire(reply), NOW + 0.25)
    assert asker.events() == [EchoReply(packed(peer(version)), 5, 6, b"abc", 0.25)]
    asker.receive(on_the_wire(reply), NOW + 0.5)
    assert asker.events() == []
    assert asker.counters["echo-reply-unexpected"] == 1


@VERSIONS
def test_an_error_about_our_request(version: int) -> None:
    asker = host()
    asker.ping(packed(peer(version)), 5, 6, b"abc", NOW)
    (request,) = asker.packets(NOW)
    answers(asker, unreachable(OTHER4 if version == 4 else PEER6, request, port=False))
    reporter = packed(OTHER4 if version == 4 else PEER6)
    assert asker.events() == [EchoFailed(packed(peer(version)), 5, 6, "unreachable", reporter)]
    answers(asker, unreachable(OTHER4 if version == 4 else PEER6, request, port=False))
    assert asker.events() == []
    assert asker.counters["icmp-implausible"] == 1


@VERSIONS
def test_to_oneself_and_to_nowhere(version: int) -> None:
    asker = host()
    asker.ping(packed(own(version)), 1, 1, bytes(3000), NOW)
    assert asker.packets(NOW) == []
    assert asker.events() == [EchoReply(packed(own(version)), 1, 1, bytes(3000), 0.0)]
    asker.remove_address(packed(own(version)))
    with pytest.raises(StackError, match="no address"):
        asker.ping(packed(peer(version)), 1, 1, b"", NOW)
    with pytest.raises(StackError):
        host().ping(packed(peer(version)), 1, 1, bytes(70_000), NOW)


def test_requests_without_answers_are_bounded_and_forgotten() -> None:
    asker = host(max_echo_outstanding=10)
    for sequence in range(20):
        asker.ping(packed(PEER4), 1, sequence, b"", NOW)
    for sequence in range(20):
        answers(asker, echo_reply(sequence))
    assert [event.sequence for event in asker.events() if isinstance(event, EchoReply)] == list(range(10, 20))
    asker.ping(packed(PEER4), 1, 1, b"", NOW)
    asker.ping(packed(PEER4), 1, 2, b"", NOW + 61)
    answers(asker, echo_reply(1), NOW + 61)
    assert asker.events() == []


def echo_reply(sequence: int) -> SuperPacket:
    return on_the_wire(icmp.build(icmp.Echo(False, 1, sequence, b""), packed(PEER4), packed(OURS4)))


def test_floods_are_answered_at_a_bounded_rate() -> None:
    target = host(icmp_error_burst=5, icmp_errors_a_second=10.0, echo_burst=3, echoes_a_second=1.0)
    assert len(answers(target, [udp_packet(PEER4, OURS4, 1, 9, b"")] * 50)) == 5
    assert target.counters["icmp-error-limited"] == 45
    assert len(answers(target, [udp_packet(PEER4, OURS4, 1, 9, b"")] * 50, NOW + 0.25)) == 2
    assert len(answers(target, [echo_packet(PEER4, OURS4)] * 50)) == 3
    assert target.counters["echo-limited"] == 47


def unknown_protocol(version: int, destination: str) -> SuperPacket:
    source = packed(peer(version))
    if version == 4:
        header = ipv4.with_checksum(ipv4.build_header(source, packed(destination), 253, 8))
    else:
        header = ipv6.build_header(source, packed(destination), 253, 8)
    return parse(header + bytes(8))


@VERSIONS
def test_an_unknown_protocol(version: int) -> None:
    target = host()
    (sent,) = answers(target, unknown_protocol(version, own(version)))
    found = message(sent)
    if version == 4:
        assert isinstance(found, icmp.Unreachable)
        assert found.code == icmp.CODE_PROTOCOL_UNREACHABLE
    else:
        assert isinstance(found, icmpv6.ParameterProblem)
        assert (found.code, found.pointer) == (ipv6.PROBLEM_UNKNOWN_NEXT_HEADER, 6)
    assert target.counters["protocol-unknown"] == 1


def with_options(destination: str, option: bytes) -> SuperPacket:
    """An IPv6 packet whose destination options header holds one option of 6 octets."""
    extension = bytes((17, 0)) + option
    udp = udp_packet(PEER6, destination, 1, 9, b"")
    body = extension + udp.header[40:]
    return parse(ipv6.build_header(packed(PEER6), packed(destination), 60, len(body)) + body)


def test_an_unknown_option_that_asks_for_it_is_a_parameter_problem() -> None:
    option = bytes((0x80 | 5, 4)) + bytes(4)
    (sent,) = answers(host(), with_options(OURS6, option))
    found = message(sent)
    assert isinstance(found, icmpv6.ParameterProblem)
    assert (found.code, found.pointer) == (ipv6.PROBLEM_UNKNOWN_OPTION, 42)
    assert answers(host(), with_options("ff02::1", option)) == []


def test_no_next_header_is_no_error() -> None:
    header = ipv6.build_header(packed(PEER6), packed(OURS6), 59, 4)
    assert answers(host(), parse(header + bytes(4))) == []


@VERSIONS
def test_never_about_errors_groups_later_fragments_or_false_sources(version: int) -> None:
    target = host()
    about = udp_packet(own(version), peer(version), 1, 2, b"x")
    error = unreachable(peer(version), about)
    nested = unreachable(peer(version), unreachable(own(version), udp_packet(peer(version), own(version), 1, 9, b"")))
    assert answers(target, [error, nested]) == []
    group = "255.255.255.255" if version == 4 else "ff02::1"
    assert answers(target, [udp_packet(peer(version), group, 1, 9, b"x"), unknown_protocol(version, group)]) == []
    for source in ("127.0.0.1", "0.0.0.0", "224.0.0.5", OURS4) if version == 4 else ("::1", "::", "ff02::1", OURS6):
        assert answers(target, [udp_packet(source, own(version), 1, 9, b"x"), echo_packet(source, own(version))]) == []
    assert target.counters["source-martian"] == 8
    later = fragment(udp_packet(peer(version), own(version), 1, 9, bytes(3000)), 1280, 1)[1:]
    answers(target, later)
    target.tick(NOW + 100)
    assert target.packets(NOW + 100) == []


def test_source_routes_are_refused() -> None:
    target = host()
    header = bytearray(ipv4.build_header(packed(PEER4), packed(OURS4), 1, 12) + bytes((131, 3, 4, 0)))
    header[0] = 0x46
    packet = parse(ipv4.with_checksum(bytes(header)) + bytes(8))
    assert answers(target, packet) == []
    assert target.counters["ipv4-source-route"] == 1


def test_wrong_checksums_are_dropped_and_verified_ones_not_looked_at() -> None:
    target = host()
    for version in (4, 6):
        whole = bytearray(cut(echo_packet(peer(version), own(version)), False)[0])
        whole[-1] ^= 1
        assert answers(target, parse(bytes(whole))) == []
        assert len(answers(target, parse(bytes(whole), verified=True))) == 1
    assert target.counters["checksum"] == 2


# ---------------------------------------------------------------------- forged errors about connections (RFC 5927)


@VERSIONS
def test_a_hard_error_about_our_syn_ends_the_attempt(version: int) -> None:
    target = host()
    connection = target.tcp_connect((packed(peer(version)), 80), NOW)
    (syn,) = target.packets(NOW)
    answers(target, unreachable(peer(version), syn, port=False))
    assert connection.state is State.SYN_SENT, "a soft one does not"
    answers(target, unreachable(peer(version), syn))
    assert (connection.state, connection.error) == (State.CLOSED, "refused")
    assert target.events() == [TcpEvent(connection, Events.CLOSED)]
    assert target.deadline() is None


@VERSIONS
def test_a_guessed_error_does_not_end_the_attempt(version: int) -> None:
    target = host()
    connection = target.tcp_connect((packed(peer(version)), 80), NOW)
    syn = parse_segment(target.packets(NOW)[0])
    for guess in (syn.seq + 1, syn.seq - 1, syn.seq + 2**31, 0):
        forged = Segment(syn.source_port, 80, guess % 2**32, 0, Flags.SYN, 1)
        answers(target, unreachable(peer(version), tcp_packet(own(version), peer(version), forged)))
    assert connection.state is State.SYN_SENT
    assert target.counters["icmp-implausible"] == 4


@VERSIONS
def test_no_error_ends_an_established_connection(version: int) -> None:
    target, connection, _ = established(version)
    sent = quotable(in_flight(target, connection))
    answers(target, [unreachable(peer(version), sent), unreachable(peer(version), sent, port=False)])
    assert connection.state is State.ESTABLISHED
    assert target.counters["icmp-implausible"] == 0


@VERSIONS
def test_what_the_owner_cannot_route_fails_at_once(version: int) -> None:
    target = host()
    connection = target.tcp_connect((packed(peer(version)), 80), NOW)
    socket = target.udp_bind()
    socket.connect((packed(peer(version)), 9))
    socket.send(bytes(100), None, NOW)
    target.ping(packed(peer(version)), 1, 2, b"", NOW)
    for packet in target.packets(NOW):
        target.unreachable(packet, NOW)
    events = target.events()
    assert (connection.state, connection.error) == (State.CLOSED, "unreachable")
    assert TcpEvent(connection, Events.CLOSED) in events
    assert EchoFailed(packed(peer(version)), 1, 2, "unreachable", packed(own(version))) in events
    error = socket.take_error()
    assert error is not None
    assert error.reason == "unreachable"


def test_an_error_that_is_cut_off_is_counted() -> None:
    target = host()
    whole = icmp.build(icmp.Unreachable(3, b"E" * 10), packed(PEER4), packed(OURS4))
    assert answers(target, on_the_wire(whole)) == []
    whole6 = icmpv6.build(icmpv6.PacketTooBig(1280, b""), packed(PEER6), packed(OURS6))
    assert answers(target, on_the_wire(whole6)) == []
    assert target.counters["quote-truncated"] == 2
