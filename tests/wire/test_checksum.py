"""The Internet checksum against its plain definition and against the RFC's example."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, PAIRS, raw
from userlan.wire import icmp, icmpv6, tcp, udp
from userlan.wire.checksum import adjusted, internet_checksum, residue, transport_ok
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut, parse


def plain(data: bytes) -> int:
    """RFC 1071 section 1, word by word."""
    total = 0
    for index in range(0, len(data) - 1, 2):
        total += data[index] << 8 | data[index + 1]
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_the_example_of_rfc_1071() -> None:
    assert plain(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=1, max_size=600), st.integers(0, 2000))
def test_equals_the_plain_definition(data: bytes, padding: int) -> None:
    long = data + bytes(padding) + data
    if any(long):
        assert internet_checksum(long) == plain(long)
    assert residue(memoryview(bytearray(long))) == residue(long)


@pytest.mark.parametrize("length", [89, 90, 91, 255, 256, 257, 258, 720, 1368, 1439, 1440, 1441, 61560, 65534, 65535])
@pytest.mark.parametrize("fill", [b"\xff", b"\x01", b"\xfe\x37\x80"])
def test_every_length_of_fold(length: int, fill: bytes) -> None:
    data = (fill * length)[:length]
    assert internet_checksum(data) == plain(data)


def rebuilt(packet: SuperPacket) -> SuperPacket:
    return parse(cut(packet, True)[0])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80), st.sampled_from(PAIRS), st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(payload: bytes, addresses: tuple[bytes, bytes], where: int, bit: int) -> None:
    echo = icmp if len(addresses[0]) == 4 else icmpv6
    packets = (
        tcp.build(tcp.Segment(1, 2, payload=payload), *addresses),
        udp.build(udp.Datagram(1, 2, payload), *addresses),
        echo.build(echo.Echo(True, 1, 2, payload), *addresses),
    )
    for packet in packets:
        good = rebuilt(packet)
        assert not good.verified
        assert transport_ok(good)
        data = bytearray(raw(good))
        start = good.transport_offset
        position = start + where % (len(data) - start)
        data[position] ^= 1 << bit
        try:
            damaged = parse(bytes(data))
        except WireError:
            continue
        if damaged.protocol == 17 and data[start + 6 : start + 8] == b"\0\0":
            continue
        if damaged.protocol == 17 and position in (start + 4, start + 5):
            continue  # a shorter UDP length may, once in a while, fit the sum
        assert not transport_ok(damaged)


def test_udp_without_a_checksum_is_accepted_over_ipv4_and_refused_over_ipv6() -> None:
    datagram = udp.Datagram(1, 2, b"hello")
    assert transport_ok(parse(cut(udp.build(datagram, ALICE4, BOB4), False)[0], verified=True))
    network = rebuilt(udp.build(datagram, ALICE4, BOB4))
    blank = network.header[:26] + b"\0\0"
    assert transport_ok(SuperPacket(blank, network.payload))
    six = parse(raw(udp.build(datagram, ALICE6, BOB6)))
    assert not transport_ok(six)
    assert transport_ok(SuperPacket(six.header, six.payload, 0, True))


def test_a_udp_sum_of_zero_is_sent_as_ones() -> None:
    for addresses in PAIRS:
        probe = rebuilt(udp.build(udp.Datagram(1, 2, b"\0\0"), *addresses))
        filler = probe.header[probe.transport_offset + 6 :]
        packet = rebuilt(udp.build(udp.Datagram(1, 2, filler), *addresses))
        assert packet.header[packet.transport_offset + 6 :] == b"\xff\xff"
        assert transport_ok(packet)


def test_a_protocol_without_a_known_checksum_passes() -> None:
    header = bytearray(rebuilt(icmp.build(icmp.Echo(True, 1, 1, b""), ALICE4, BOB4)).header)
    header[9] = 97
    assert transport_ok(SuperPacket(bytes(header), b"whatever"))


def test_the_example_of_rfc_1624() -> None:
    """RFC 1624 section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000, where the older equation gave 0xFFFF."""
    assert adjusted(0xDD2F, 0x5555, 0x3285) == 0x0000


@settings(deadline=None, max_examples=300)
@given(st.binary(min_size=4, max_size=200), st.integers(0, 10**6), st.integers(0, 0xFFFF))
def test_an_adjusted_checksum_is_that_of_the_changed_packet(data: bytes, where: int, new: int) -> None:
    """RFC 1624 3, equation 3: it verifies as if it had been computed anew, whichever of both zeroes it is."""
    data = data[: len(data) // 2 * 2]
    at = where % (len(data) // 2) * 2
    old = int.from_bytes(data[at : at + 2], "big")
    changed = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    checksum = adjusted(plain(data), old, new)
    assert 0 <= checksum <= 0xFFFF
    assert checksum % 0xFFFF == plain(changed) % 0xFFFF
    if any(changed):
        assert (residue(changed) + checksum) % 0xFFFF == 0


@pytest.mark.parametrize("addresses", PAIRS)
@pytest.mark.parametrize("size", [0, 1, 56, 1400, 9000])
def test_an_echo_that_is_turned_round_verifies(addresses: tuple[bytes, bytes], size: int) -> None:
    """RFC 792, RFC 4443 4.2: only the type changes (and the pseudo-header's addresses change places)."""
    echo = icmp if len(addresses[0]) == 4 else icmpv6
    request = rebuilt(echo.build(echo.Echo(True, 77, 99, bytes(range(256)) * (size // 256 + 1)), *addresses))
    body = bytes(request.payload)
    kinds = (8, 0) if echo is icmp else (128, 129)
    checksum = adjusted(int.from_bytes(body[2:4], "big"), kinds[0] << 8 | body[1], kinds[1] << 8)
    answer = echo.build(echo.Echo(False, 77, 99, body[8:]), addresses[1], addresses[0])
    turned = SuperPacket(answer.header, bytes((kinds[1], 0)) + checksum.to_bytes(2, "big") + body[4:])
    assert transport_ok(turned)
    assert bytes(turned.payload)[4:] == bytes(answer.payload)[4:]
