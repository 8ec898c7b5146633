"""IGMP and MLD: every message there and back, the codes of time, and what a careful host refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, raw
from userlan.wire import igmp, ipv4, ipv6, mld
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.membership import (
    BYTE_MANTISSA,
    WORD_MANTISSA,
    Leave,
    Member,
    Message,
    Query,
    Record,
    RecordType,
    Report,
    decoded,
    encoded,
)
from userlan.wire.superpacket import SuperPacket, cut, parse

LINK_LOCAL = bytes.fromhex("fe800000000000000000000000000007")
GROUP4, GROUP6 = bytes((239, 1, 2, 3)), bytes.fromhex("ff050000000000000000000000001234")
PROTOCOLS = pytest.mark.parametrize("protocol", [igmp, mld], ids=["igmp", "mld"])

groups4 = st.binary(min_size=3, max_size=3).map(lambda rest: b"\xe8" + rest)
groups6 = st.binary(min_size=15, max_size=15).map(lambda rest: b"\xff" + rest)


def sender(protocol: ModuleType) -> bytes:
    return ALICE4 if protocol is igmp else LINK_LOCAL


def group(protocol: ModuleType) -> bytes:
    return GROUP4 if protocol is igmp else GROUP6


def messages(protocol: ModuleType) -> st.SearchStrategy[Message]:
    """Every message that a packet can hold, times exactly as they can be written."""
    four = protocol is igmp
    size, names = (4, groups4) if four else (16, groups6)
    tick, mantissa = (100, BYTE_MANTISSA) if four else (1, WORD_MANTISSA)
    sources = st.lists(st.binary(min_size=size, max_size=size), max_size=9).map(tuple)
    code = st.integers(0, (16 << mantissa) - 1)
    newest = st.builds(
        Query,
        st.just(protocol.NEWEST_VERSION),
        names | st.just(bytes(size)),
        code.map(lambda value: decoded(value, mantissa) * tick),
        st.booleans(),
        st.integers(0, 7),
        st.integers(0, 255).map(lambda value: decoded(value, BYTE_MANTISSA)),
        sources,
    )
    record = st.builds(Record, st.sampled_from(RecordType), names, sources)
    if four:
        older = st.tuples(names, st.integers(1, 255)).map(lambda pair: Query(2, pair[0], pair[1] * tick))
        older |= st.just(Query(1, bytes(4)))
    else:
        older = st.tuples(names | st.just(bytes(16)), st.integers(0, 0xFFFF)).map(lambda pair: Query(1, *pair))
    return (
        newest
        | older
        | st.builds(Report, st.lists(record, max_size=6).map(tuple))
        | st.builds(Member, st.integers(1, protocol.NEWEST_VERSION - 1), names)
        | st.builds(Leave, names)
    )


@PROTOCOLS
@settings(max_examples=150)
@given(data=st.data())
def test_parse_undoes_build(protocol: ModuleType, data: st.DataObject) -> None:
    message = data.draw(messages(protocol))
    packet = parse(cut(protocol.build(message, sender(protocol)), True)[0])
    assert transport_ok(packet)
    assert packet.hop_limit == 1
    assert protocol.parse(packet) == message


@pytest.mark.parametrize("mantissa", [BYTE_MANTISSA, WORD_MANTISSA])
@given(data=st.data())
def test_codes_of_time_round_down(mantissa: int, data: st.DataObject) -> None:
    """RFC 3376 4.1.1, RFC 3810 5.1.3: the largest that can be written and is not above."""
    largest = (1 << (mantissa + 4)) - 1
    value = data.draw(st.integers(0, decoded(largest, mantissa) + 1000))
    code = encoded(value, mantissa)
    assert 0 <= code <= largest
    assert decoded(code, mantissa) <= value
    assert code == largest or decoded(code + 1, mantissa) > value
    assert encoded(decoded(code, mantissa), mantissa) == code


def test_the_codes_that_the_documents_give() -> None:
    assert (decoded(0x7F, BYTE_MANTISSA), decoded(0x80, BYTE_MANTISSA), decoded(0xFF, BYTE_MANTISSA)) == (127, 128, 31_744)
    assert (decoded(0x7FFF, WORD_MANTISSA), decoded(0x8000, WORD_MANTISSA)) == (32_767, 32_768)
    assert decoded(0xFFFF, WORD_MANTISSA) == 8_387_584
    with pytest.raises(ValueError, match="negative"):
        encoded(-1, BYTE_MANTISSA)


def test_where_messages_go() -> None:
    """RFC 3376 4.1.12, 4.2.14 and 7.2.1; RFC 3810 5.1.14 and 5.2.14; RFC 2710 5."""
    record = Record(RecordType.ALLOW_NEW_SOURCES, GROUP4, (ALICE4,))
    for message, destination in (
        (Query(3, bytes(4)), "e0000001"),
        (Query(2, GROUP4, 100), "ef010203"),
        (Report((record,)), "e0000016"),
        (Member(1, GROUP4), "ef010203"),
        (Leave(GROUP4), "e0000002"),
    ):
        packet = igmp.build(message, ALICE4)
        assert packet.destination.hex() == destination
        assert (packet.traffic_class, ipv4.router_alert(packet.header)) == (0xC0, True)
    for message6, destination in (
        (Query(2, bytes(16)), "ff020000000000000000000000000001"),
        (Query(1, GROUP6, 100), GROUP6.hex()),
        (Report(()), "ff020000000000000000000000000016"),
        (Member(1, GROUP6), GROUP6.hex()),
        (Leave(GROUP6), "ff020000000000000000000000000002"),
    ):
        packet = mld.build(message6, LINK_LOCAL)
        assert packet.destination.hex() == destination
        assert ipv6.router_alert(packet.header) == ipv6.ALERT_MLD


def test_unknown_record_types_and_what_follows_are_ignored() -> None:
    """RFC 3376 4.2.10 to 4.2.12: auxiliary data, additional data, types to come."""
    body = bytes((0x22, 0, 0, 0, 0, 0, 0, 3))
    body += bytes((9, 2, 0, 1)) + GROUP4 + ALICE4 + b"auxiliar"
    body += bytes((2, 1, 0, 0)) + GROUP4 + b"aux."
    body += bytes((1, 0, 0, 1)) + GROUP4 + ALICE4 + b"additional"
    template = igmp.build(Report(()), ALICE4)
    assert igmp.parse(SuperPacket(template.header, body)) == Report(
        (Record(RecordType.MODE_IS_EXCLUDE, GROUP4), Record(RecordType.MODE_IS_INCLUDE, GROUP4, (ALICE4,)))
    )


@PROTOCOLS
def test_every_truncation_is_refused(protocol: ModuleType) -> None:
    name = group(protocol)
    records = (Record(RecordType.MODE_IS_EXCLUDE, name, (name[1:] + b"1",) * 3), Record(RecordType.MODE_IS_INCLUDE, name))
    everything: list[Message] = [
        Query(protocol.NEWEST_VERSION, name, 1000, sources=(name[1:] + b"1",) * 3),
        Report(records),
        Member(1, name),
        Leave(name),
    ]
    older = 8 if protocol is igmp else 24
    for message in everything:
        packet = protocol.build(message, sender(protocol))
        for length in range(len(packet.payload)):
            if isinstance(message, Query) and length == older:
                continue
            with pytest.raises(WireError):
                protocol.parse(SuperPacket(packet.header, packet.payload[:length]))


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(WireError) as caught:
        call()
    return caught.value.reason


def without_alert(packet: SuperPacket) -> SuperPacket:
    """An IGMP packet with plain padding where the router alert was."""
    return SuperPacket(packet.header[:20] + bytes((1, 1, 1, 0)), packet.payload)


def to(packet: SuperPacket, destination: bytes) -> SuperPacket:
    header = packet.header
    if packet.version == 4:
        return SuperPacket(header[:16] + destination + header[20:], packet.payload)
    return SuperPacket(header[:24] + destination + header[40:], packet.payload)


def test_queries_that_a_host_ignores() -> None:
    """RFC 3376 9.1: those of version 2 and 3 without router alert, general ones to another group; 4.1.12: unicast is
    fine."""
    for query in (Query(2, bytes(4), 100), Query(3, GROUP4, 100)):
        assert reason(partial(igmp.parse, without_alert(igmp.build(query, ALICE4)))) == "igmp-router-alert"
    assert igmp.parse(without_alert(igmp.build(Query(1, bytes(4)), ALICE4))) == Query(1, bytes(4))
    general = igmp.build(Query(3, bytes(4), 100), ALICE4)
    assert reason(lambda: igmp.parse(to(general, GROUP4))) == "igmp-destination"
    assert igmp.parse(to(general, ALICE4)) == Query(3, bytes(4), 100)
    general6 = mld.build(Query(2, bytes(16), 100), LINK_LOCAL)
    assert reason(lambda: mld.parse(to(general6, GROUP6))) == "mld-destination"
    assert mld.parse(to(general6, ALICE6)) == Query(2, bytes(16), 100)


def test_what_comes_from_beyond_the_link_is_refused() -> None:
    """RFC 3810 6.2: a hop limit of 1, a router alert, a link-local source; 5.2.13: reports from :: as well."""
    query = mld.build(Query(2, bytes(16), 100), LINK_LOCAL)
    far = SuperPacket(query.header[:7] + b"\x02" + query.header[8:], query.payload)
    assert reason(lambda: mld.parse(far)) == "mld-hop-limit"
    plain = SuperPacket(query.header[:42] + bytes((1, 4, 0, 0, 0, 0)), query.payload)
    assert reason(lambda: mld.parse(plain)) == "mld-router-alert"
    other = SuperPacket(query.header[:44] + bytes((0, 1)) + query.header[46:], query.payload)
    assert reason(lambda: mld.parse(other)) == "mld-router-alert"
    for message in (Query(2, bytes(16), 100), Leave(GROUP6), Report(()), Member(1, GROUP6)):
        assert reason(partial(mld.parse, mld.build(message, ALICE6))) == "mld-source"
    assert mld.parse(mld.build(Report(()), mld.NOBODY)) == Report(())
    assert reason(lambda: mld.parse(mld.build(Leave(GROUP6), mld.NOBODY))) == "mld-source"


@PROTOCOLS
def test_what_is_about_no_group_is_refused(protocol: ModuleType) -> None:
    name, source = f"{protocol.__name__.rpartition('.')[2]}-group", sender(protocol)
    everything: list[Message] = [
        Query(2, source, 100),
        Report((Record(RecordType.MODE_IS_EXCLUDE, source),)),
        Member(1, source),
        Leave(source),
    ]
    for message in everything:
        assert reason(partial(protocol.parse, protocol.build(message, source))) == name
    stray = to(protocol.build(Member(1, group(protocol)), source), protocol.ALL_ROUTERS)
    assert reason(lambda: protocol.parse(stray)).endswith("-destination")


def test_other_protocols_types_and_lengths_are_refused() -> None:
    query = igmp.build(Query(3, bytes(4), 100), ALICE4)
    assert reason(lambda: igmp.parse(SuperPacket(query.header, b"\x13" + query.payload[1:4] + GROUP4))) == "igmp-type"
    assert reason(lambda: igmp.parse(SuperPacket(query.header, bytes(query.payload[:10])))) == "igmp-query-length"
    query6 = mld.build(Query(2, bytes(16), 100), LINK_LOCAL)
    assert reason(lambda: mld.parse(SuperPacket(query6.header, bytes(query6.payload[:26])))) == "mld-query-length"
    assert reason(lambda: mld.parse(query)) == "mld-protocol"
    assert reason(lambda: igmp.parse(query6)) == "igmp-protocol"
    echo = SuperPacket(query6.header, b"\x80" + bytes(query6.payload[1:]))
    assert not mld.is_mld(echo)
    assert not mld.is_mld(SuperPacket(query6.header, b""))


def test_a_wrong_checksum_shows() -> None:
    for packet in (igmp.build(Leave(GROUP4), ALICE4), mld.build(Leave(GROUP6), LINK_LOCAL)):
        data = bytearray(cut(packet, True)[0])
        assert transport_ok(parse(bytes(data)))
        data[-1] ^= 1
        assert not transport_ok(parse(bytes(data)))
        assert raw(parse(bytes(data))) == bytes(data)
