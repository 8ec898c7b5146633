"""No parser lets any exception but WireError escape, whatever the bytes are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, PAIRS, raw, segments
from userlan.wire import checksum, fragment, icmp, icmpv6, igmp, ipv4, ipv6, mld, quote, tcp, udp
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut, join, parse

PARSERS: tuple[Callable[[SuperPacket], object], ...] = (
    tcp.parse_segment,
    udp.parse_datagram,
    icmp.parse,
    icmpv6.parse,
    igmp.parse,
    mld.parse,
    fragment.parse_fragment,
    checksum.transport_ok,
)


def refused(call: Callable[[], object]) -> bool:
    """Whether `call` ends in a WireError, which must be a proper one; anything else escapes and fails the test."""
    try:
        call()
    except WireError as caught:
        error = caught
    else:
        return False
    assert error.reason
    assert "\n" not in str(error)
    return True


def exercise(data: bytes) -> None:
    """Every parser on `data`, and on what `parse` makes of it."""
    for verified in (False, True):
        if refused(partial(parse, data, verified)):
            continue
        packet = parse(data, verified)
        assert raw(packet) == data[: packet.length]
        for parser in PARSERS:
            refused(partial(parser, packet))
        assert cut(packet, False) == [raw(packet)]
        whole = cut(packet, True)[0]
        assert len(whole) == packet.length
        assert parse(whole).protocol == packet.protocol
        if not refused(partial(fragment.fragment, packet, 128, 7)):
            parts = fragment.fragment(packet, 128, 7)
            assert sum(len(part.payload) for part in parts) >= len(packet.payload)
        if packet.version == 4:
            ipv4.source_routed(packet.header)
        elif packet.transport_offset > ipv6.HEADER_LENGTH:
            assert ipv6.walk(packet.header, len(packet.header)).protocol == packet.protocol
    refused(partial(quote.parse_quote, data))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120))
@example(b"")
@example(b"\x45")
@example(b"\x60" + bytes(39))
def test_random_bytes(data: bytes) -> None:
    exercise(data)


@st.composite
def nearly_ipv4(draw: st.DrawFn) -> bytes:
    """An IPv4 header whose lengths are near the truth, around random bytes."""
    options = draw(st.binary(max_size=40).map(lambda data: data + bytes(-len(data) % 4)))
    body = draw(st.binary(max_size=80))
    length = 20 + len(options) + len(body) + draw(st.integers(-4, 4))
    fragment_word = draw(st.sampled_from((0, 0x4000, 0x2000, 0x2001, 0x1FFF)))
    protocol = draw(st.sampled_from((1, 2, 6, 17, 41, 58, 255)))
    head = bytes((0x45 + len(options) // 4, 0)) + max(length, 0).to_bytes(2, "big") + bytes(2)
    head += fragment_word.to_bytes(2, "big") + bytes((64, protocol, 0, 0)) + ALICE4 + BOB4 + options
    return ipv4.with_checksum(head) + body


@st.composite
def nearly_ipv6(draw: st.DrawFn) -> bytes:
    """An IPv6 header with a chain of extension headers whose lengths are near the truth."""
    kinds = draw(st.lists(st.sampled_from((0, 43, 44, 60)), max_size=11))
    kinds.append(draw(st.sampled_from((1, 6, 17, 58, 59, 200, 255))))
    body = b""
    for following in kinds[1:]:
        extra = draw(st.sampled_from((0, 0, 0, 1, 2, 40, 255)))
        body += bytes((following, extra)) + draw(st.binary(min_size=6, max_size=6)) + bytes(8 * min(extra, 40))
    body += draw(st.binary(max_size=60))
    length = max(0, len(body) + draw(st.sampled_from((0, 0, 0, -1, 1, -8))))
    return b"\x60\0\0\0" + length.to_bytes(2, "big") + bytes((kinds[0], 64)) + ALICE6 + BOB6 + body


@settings(deadline=None, max_examples=300)
@given(nearly_ipv4() | nearly_ipv6())
def test_nearly_right_packets(data: bytes) -> None:
    exercise(data)


@settings(deadline=None, max_examples=200)
@given(segments(), st.sampled_from(PAIRS), st.integers(0, 2**32), st.integers(0, 4))
def test_damaged_segments(segment: tcp.Segment, addresses: tuple[bytes, bytes], seed: int, damage: int) -> None:
    data = bytearray(cut(tcp.build(segment, *addresses), True)[0])
    chance = random.Random(seed)
    for _ in range(damage):
        data[chance.randrange(len(data))] = chance.randrange(256)
    exercise(bytes(data[: chance.randrange(len(data) + 1)]))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.binary(max_size=90) | nearly_ipv4() | nearly_ipv6(), max_size=8), st.booleans())
def test_join_counts_what_it_leaves_out(packets: list[bytes], verified: bool) -> None:
    counters: Counter[str] = Counter()
    joined = join(packets, verified, counters)
    assert sum(packet.wire_count for packet in joined) + counters.total() == len(packets)
    assert all(reason == reason.lower() and " " not in reason for reason in counters)
