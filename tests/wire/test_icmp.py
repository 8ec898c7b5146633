"""ICMP and ICMPv6 messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, raw
from userlan.wire import icmp, icmpv6, tcp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut, parse

octet = st.integers(0, 255)
word = st.integers(0, 0xFFFF)
long = st.integers(0, 0xFFFFFFFF)
body = st.binary(max_size=100)
code = octet.filter(lambda value: value != icmp.CODE_FRAGMENTATION_NEEDED)
known = (0, 3, 8, 11, 12)
known6 = (1, 2, 3, 4, 128, 129)

MESSAGES4 = (
    st.builds(icmp.Echo, st.booleans(), word, word, body)
    | st.builds(icmp.Unreachable, code, body, st.just(0))
    | st.builds(icmp.Unreachable, st.just(icmp.CODE_FRAGMENTATION_NEEDED), body, word)
    | st.builds(icmp.TimeExceeded, octet, body)
    | st.builds(icmp.ParameterProblem, octet, octet, body)
    | st.builds(icmp.Other, octet.filter(lambda kind: kind not in known), octet, st.binary(min_size=4, max_size=50))
)
MESSAGES6 = (
    st.builds(icmpv6.Echo, st.booleans(), word, word, body)
    | st.builds(icmpv6.Unreachable, octet, body)
    | st.builds(icmpv6.PacketTooBig, long, body)
    | st.builds(icmpv6.TimeExceeded, octet, body)
    | st.builds(icmpv6.ParameterProblem, octet, long, body)
    | st.builds(icmpv6.Other, octet.filter(lambda kind: kind not in known6), octet, st.binary(min_size=4, max_size=50))
)


@settings(deadline=None, max_examples=200)
@given(MESSAGES4)
def test_parse_undoes_build_icmp(message: icmp.Message) -> None:
    packet = icmp.build(message, ALICE4, BOB4, hop_limit=9, traffic_class=4)
    again = parse(cut(packet, True)[0])
    assert transport_ok(again)
    assert icmp.parse(again) == message
    assert (again.hop_limit, again.traffic_class, again.source, again.destination) == (9, 4, ALICE4, BOB4)


@settings(deadline=None, max_examples=200)
@given(MESSAGES6)
def test_parse_undoes_build_icmpv6(message: icmpv6.Message) -> None:
    packet = icmpv6.build(message, ALICE6, BOB6, hop_limit=9, traffic_class=4)
    again = parse(cut(packet, True)[0])
    assert transport_ok(again)
    assert icmpv6.parse(again) == message
    assert (again.hop_limit, again.traffic_class, again.source, again.destination) == (9, 4, ALICE6, BOB6)


def test_quotes_are_cut_to_the_size_of_an_error() -> None:
    quoted = memoryview(bytes(5000))
    for message4 in (icmp.Unreachable(3, quoted), icmp.TimeExceeded(1, quoted), icmp.ParameterProblem(0, 20, quoted)):
        assert icmp.build(message4, ALICE4, BOB4).length == 576
    for message6 in (
        icmpv6.Unreachable(4, quoted),
        icmpv6.PacketTooBig(1280, quoted),
        icmpv6.TimeExceeded(1, quoted),
        icmpv6.ParameterProblem(1, 6, quoted),
    ):
        assert icmpv6.build(message6, ALICE6, BOB6).length == 1280


def test_an_echo_is_not_cut() -> None:
    assert icmp.build(icmp.Echo(True, 1, 2, bytes(65507)), ALICE4, BOB4).length == 65535
    assert icmpv6.build(icmpv6.Echo(True, 1, 2, memoryview(bytes(65487))), ALICE6, BOB6).length == 65535
    with pytest.raises(WireError):
        icmp.build(icmp.Echo(True, 1, 2, bytes(65508)), ALICE4, BOB4)
    with pytest.raises(WireError):
        icmpv6.build(icmpv6.Echo(True, 1, 2, bytes(65488)), ALICE6, BOB6)


def test_what_is_cut_off_or_something_else_is_refused() -> None:
    echo4 = icmp.build(icmp.Echo(True, 1, 2, b""), ALICE4, BOB4)
    echo6 = icmpv6.build(icmpv6.Echo(True, 1, 2, b""), ALICE6, BOB6)
    for length in range(8):
        with pytest.raises(WireError):
            icmp.parse(SuperPacket(echo4.header, echo4.payload[:length]))
        with pytest.raises(WireError):
            icmpv6.parse(SuperPacket(echo6.header, echo6.payload[:length]))
    other = tcp.build(tcp.Segment(), ALICE4, BOB4)
    with pytest.raises(WireError):
        icmp.parse(other)
    with pytest.raises(WireError):
        icmpv6.parse(other)


def test_icmp_of_the_other_family_is_refused() -> None:
    four = bytearray(raw(icmp.build(icmp.Echo(True, 1, 2, b""), ALICE4, BOB4)))
    four[9] = 58
    with pytest.raises(WireError):
        icmpv6.parse(parse(bytes(four), verified=True))
    six = bytearray(raw(icmpv6.build(icmpv6.Echo(True, 1, 2, b""), ALICE6, BOB6)))
    six[6] = 1
    with pytest.raises(WireError):
        icmp.parse(parse(bytes(six), verified=True))
