"""What an ICMP error quotes."""

from __future__ import annotations

import pytest

from tests.wire.examples import ALICE4, BOB4, PAIRS, raw
from userlan.wire import fragment, icmp, tcp, udp
from userlan.wire.errors import WireError
from userlan.wire.quote import parse_quote


@pytest.mark.parametrize("addresses", PAIRS)
def test_eight_octets_of_the_transport_suffice(addresses: tuple[bytes, bytes]) -> None:
    packet = tcp.build(tcp.Segment(4000, 80, seq=123456, payload=bytes(100)), *addresses)
    data = raw(packet)[: packet.transport_offset + 8]
    quote = parse_quote(data)
    assert (quote.source, quote.destination) == addresses
    assert (quote.protocol, quote.source_port, quote.destination_port, quote.sequence) == (6, 4000, 80, 123456)
    assert quote.transport == data[-8:]
    for length in range(len(data)):
        with pytest.raises(WireError):
            parse_quote(data[:length])
    datagram = parse_quote(raw(udp.build(udp.Datagram(5, 6, b"x"), *addresses)))
    assert (datagram.protocol, datagram.source_port, datagram.destination_port, datagram.sequence) == (17, 5, 6, None)


def test_an_echo_has_no_ports() -> None:
    quote = parse_quote(raw(icmp.build(icmp.Echo(True, 7, 8, b""), ALICE4, BOB4)))
    assert (quote.protocol, quote.source_port, quote.destination_port) == (1, 0, 0)
    assert quote.transport[4:8] == bytes((0, 7, 0, 8))


@pytest.mark.parametrize("addresses", PAIRS)
def test_the_first_fragment_tells_and_later_ones_do_not(addresses: tuple[bytes, bytes]) -> None:
    parts = fragment.fragment(udp.build(udp.Datagram(5, 6, bytes(3000)), *addresses), 1280, 9)
    assert parse_quote(raw(parts[0])).destination_port == 6
    for part in parts[1:]:
        with pytest.raises(WireError) as caught:
            parse_quote(raw(part))
        assert caught.value.reason == "quote-fragment"


def test_nonsense() -> None:
    overlong = b"\x60" + bytes(5) + b"\0" + bytes(33) + b"\0\xff" + bytes(6)
    for data in (b"", b"\x30" + bytes(60), b"\x42" + bytes(60), overlong):
        with pytest.raises(WireError):
            parse_quote(data)
    endless = b"\x60" + bytes(5) + b"\x3c" + bytes(33) + b"\x3c\0\0\0\0\0\0\0" * 20
    with pytest.raises(WireError) as caught:
        parse_quote(endless)
    assert caught.value.reason == "quote-extension-count"
