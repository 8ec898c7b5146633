"""IPv4 headers: lengths, options, source routes, building."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, BOB4
from userlan.wire import ipv4
from userlan.wire.errors import WireError
from userlan.wire.superpacket import parse


def packet(options: bytes = b"", body: bytes = b"body", **changes: int) -> bytes:
    """A packet of an unassigned protocol with these option octets; `changes` by name of the field."""
    header = bytearray(ipv4.build_header(ALICE4, BOB4, 200, len(options) + len(body)) + options)
    header[0] = 0x40 | changes.get("header_words", len(header) // 4)
    header[2:4] = changes.get("total", len(header) + len(body)).to_bytes(2, "big")
    return ipv4.with_checksum(bytes(header)) + body


def reason(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse(data)
    return caught.value.reason


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 255),
    st.integers(0, 1400),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
)
def test_parse_undoes_build(
    protocol: int, length: int, hop_limit: int, traffic_class: int, identification: int
) -> None:
    header = ipv4.build_header(
        ALICE4, BOB4, protocol, length, hop_limit=hop_limit, traffic_class=traffic_class, identification=identification
    )
    assert ipv4.checked_lengths(header + bytes(length), verified=True) == (20, 20 + length)
    assert (header[8], header[9], header[1], int.from_bytes(header[4:6], "big")) == (
        hop_limit,
        protocol,
        traffic_class,
        identification,
    )
    assert not ipv4.is_fragment(header)
    assert header[6:8] == b"\x40\0"
    assert ipv4.with_checksum(ipv4.with_checksum(header)) == ipv4.with_checksum(header)
    assert ipv4.checked_lengths(ipv4.with_checksum(header) + bytes(length), verified=False)


def test_lengths_that_cannot_be() -> None:
    assert reason(packet(header_words=4)) == "ipv4-header-length"
    assert reason(packet(total=19)) == "ipv4-total-length"
    assert reason(packet(total=25)) == "ipv4-truncated"
    assert reason(packet()[:19]) == "ipv4-truncated"
    assert reason(packet(header_words=15, total=24)) == "ipv4-total-length"
    damaged = bytearray(packet())
    damaged[10] ^= 0xFF
    assert reason(bytes(damaged)) == "ipv4-checksum"
    with pytest.raises(WireError):
        ipv4.build_header(ALICE4, BOB4, 6, 65516)


def test_options_are_part_of_the_header() -> None:
    data = packet(bytes.fromhex("01" "9404" "0000" "000000"))
    parsed = parse(data)
    assert (parsed.transport_offset, bytes(parsed.payload), parsed.protocol) == (28, b"body", 200)
    assert ipv4.options(parsed.header) == [(0x94, b"\0\0")]
    assert not ipv4.source_routed(parsed.header)


@pytest.mark.parametrize("options", ["94000000", "94010000", "94050000", "01010194", "00000000" "94"])
def test_option_lengths_that_cannot_be(options: str) -> None:
    data = bytes.fromhex(options)
    if data[0] == 0:
        assert ipv4.options(parse(packet(data + bytes(3))).header) == []
    else:
        assert reason(packet(data)) == "ipv4-option"


@pytest.mark.parametrize(("option", "routed"), [("83", True), ("89", True), ("07", False)])
def test_source_routes_are_detected(option: str, routed: bool) -> None:
    data = packet(bytes.fromhex("01" + option + "0704" + "19010101"))
    assert ipv4.source_routed(parse(data).header) is routed
    assert not ipv4.source_routed(parse(packet()).header)


@pytest.mark.parametrize(
    ("word", "expected"), [(0, False), (0x4000, False), (0x8000, False), (0x2000, True), (1, True)]
)
def test_fragments_are_told_apart(word: int, expected: bool) -> None:
    header = ipv4.build_header(ALICE4, BOB4, 6, 40, fragment=word)
    assert ipv4.is_fragment(header) is expected
    parsed = parse(header + bytes(12) + b"\x50" + bytes(27), verified=True)
    assert parsed.fragment is expected
    assert len(parsed.header) == (20 if expected else 40)
