"""IPv6: the chain of extension headers, its caps, and what must be answered with a parameter problem."""

from __future__ import annotations

import pytest

from tests.wire.examples import ALICE6, BOB6
from userlan.wire import ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_FRAGMENT, PROTOCOL_RESERVED
from userlan.wire.superpacket import SuperPacket, parse

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
UNASSIGNED = 200
PADDING = bytes((1, 4, 0, 0, 0, 0))


def chain(
    *headers: tuple[int, bytes], last: int = UNASSIGNED, body: bytes = b"body", destination: bytes = BOB6
) -> bytes:
    """A packet with extension headers given as `(kind, what follows the length octet)`, padded by the caller."""
    kinds = [kind for kind, _ in headers] + [last]
    extension = b"".join(
        bytes((following, 0 if kind == FRAGMENT else (len(data) + 2) // 8 - 1)) + data
        for (kind, data), following in zip(headers, kinds[1:], strict=True)
    )
    return ipv6.build_header(ALICE6, destination, kinds[0], len(extension) + len(body)) + extension + body


def reason(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse(data)
    return caught.value.reason


def problem(data: bytes) -> tuple[int, int]:
    """`(code, pointer)` for a packet that must not be processed, as its header alone tells."""
    packet = parse(data)
    assert packet.protocol == PROTOCOL_RESERVED
    found = ipv6.walk(packet.header, len(packet.header))
    assert found.protocol == PROTOCOL_RESERVED
    return found.code, found.pointer


def test_build() -> None:
    header = ipv6.build_header(ALICE6, BOB6, 17, 8, hop_limit=3, traffic_class=0xAB, flow_label=0xCDEF1)
    assert header.hex() == "6abcdef1" "0008" "11" "03" + ALICE6.hex() + BOB6.hex()
    packet = SuperPacket(header, b"")
    assert (packet.traffic_class, packet.hop_limit) == (0xAB, 3)
    with pytest.raises(WireError):
        ipv6.build_header(ALICE6, BOB6, 17, 65496)


def test_known_headers_are_skipped() -> None:
    data = chain((HOP_BY_HOP, PADDING), (DESTINATION, PADDING), (ROUTING, b"\2\0" + bytes(4)), (DESTINATION, PADDING))
    packet = parse(data)
    assert (packet.protocol, packet.transport_offset, bytes(packet.payload)) == (UNASSIGNED, 72, b"body")
    assert SuperPacket(packet.header, packet.payload).transport_offset == 72


def test_an_unknown_next_header_is_reported_with_its_place() -> None:
    plain = parse(chain())
    assert (plain.protocol, plain.transport_offset) == (UNASSIGNED, 40)
    assert ipv6.walk(plain.header, 40) == (UNASSIGNED, 40, 6, ipv6.PROBLEM_UNKNOWN_NEXT_HEADER)
    behind = parse(chain((DESTINATION, PADDING), (DESTINATION, PADDING)))
    found = ipv6.walk(behind.header, len(behind.header))
    assert (found.protocol, found.pointer, found.code) == (UNASSIGNED, 48, ipv6.PROBLEM_UNKNOWN_NEXT_HEADER)
    assert behind.header[found.pointer] == UNASSIGNED


def test_hop_by_hop_is_only_the_first() -> None:
    data = chain((DESTINATION, PADDING), (HOP_BY_HOP, PADDING))
    assert problem(data) == (ipv6.PROBLEM_UNKNOWN_NEXT_HEADER, 40)


def test_caps() -> None:
    most = [(DESTINATION, PADDING)] * ipv6.MAX_EXTENSION_HEADERS
    assert parse(chain(*most)).protocol == UNASSIGNED
    assert reason(chain(*most, (DESTINATION, PADDING))) == "ipv6-extension-count"
    long = b"\x1e\xff" + bytes(255) + b"\x1e\xfb" + bytes(251)
    assert len(long) == 512 - 2
    assert parse(chain((DESTINATION, long), (DESTINATION, long))).transport_offset == 40 + 1024
    assert reason(chain((DESTINATION, long), (DESTINATION, long), (DESTINATION, PADDING))) == "ipv6-extension-size"
    crowded = bytes(ipv6.MAX_OPTIONS)
    assert parse(chain((DESTINATION, crowded[:30]))).protocol == UNASSIGNED
    assert reason(chain((DESTINATION, bytes(38)))) == "ipv6-option-count"


@pytest.mark.parametrize("cut_off", [1, 4, 8, 9])
def test_a_chain_that_is_cut_off(cut_off: int) -> None:
    data = chain((DESTINATION, PADDING), (DESTINATION, PADDING + bytes(8)), body=b"")[:-cut_off]
    data = data[:4] + (len(data) - 40).to_bytes(2, "big") + data[6:]
    assert reason(data) == "ipv6-extension-truncated"


def test_lengths_that_cannot_be() -> None:
    assert reason(chain()[:39]) == "ipv6-truncated"
    assert reason(chain()[:-1]) == "ipv6-truncated"


def test_jumbograms_are_refused() -> None:
    jumbo = b"\xc2\4" + (70000).to_bytes(4, "big")
    assert reason(chain((HOP_BY_HOP, jumbo))) == "ipv6-jumbo"
    data = chain((HOP_BY_HOP, jumbo))
    assert reason(data[:4] + b"\0\0" + data[6:]) == "ipv6-jumbo"


def test_routing_headers() -> None:
    assert reason(chain((ROUTING, b"\0\1" + bytes(4)))) == "ipv6-routing"
    assert reason(chain((ROUTING, b"\0\0" + bytes(4)))) == "ipv6-routing"
    assert problem(chain((ROUTING, b"\4\1" + bytes(4)))) == (ipv6.PROBLEM_ERRONEOUS_FIELD, 42)
    assert parse(chain((ROUTING, b"\4\0" + bytes(4)))).protocol == UNASSIGNED


def test_options_by_what_they_ask_for() -> None:
    assert parse(chain((HOP_BY_HOP, b"\5\2\0\0\1\0"))).protocol == UNASSIGNED  # router alert
    assert parse(chain((DESTINATION, b"\x1e\4" + bytes(4)))).protocol == UNASSIGNED
    assert reason(chain((DESTINATION, b"\x5e\4" + bytes(4)))) == "ipv6-option-discard"
    assert problem(chain((DESTINATION, b"\0\0\x9e\2\0\0"))) == (ipv6.PROBLEM_UNKNOWN_OPTION, 44)
    assert problem(chain((DESTINATION, b"\xde\4" + bytes(4)))) == (ipv6.PROBLEM_UNKNOWN_OPTION, 42)
    group = bytes.fromhex("ff020000000000000000000000000001")
    assert problem(chain((DESTINATION, b"\x9e\4" + bytes(4)), destination=group)) == (2, 42)
    assert reason(chain((DESTINATION, b"\xde\4" + bytes(4)), destination=group)) == "ipv6-option-discard"


@pytest.mark.parametrize("options", ["1e0500000000", "0000000000" "1e", "1eff00000000"])
def test_an_option_beyond_its_header(options: str) -> None:
    assert reason(chain((DESTINATION, bytes.fromhex(options)))) == "ipv6-option"


def test_fragments() -> None:
    whole = bytes((0, 0)) + (7).to_bytes(4, "big")
    packet = parse(chain((FRAGMENT, whole)))
    assert (packet.protocol, packet.fragment, packet.transport_offset) == (UNASSIGNED, False, 48)
    for word in (1, 8, 9, 0xFFF8):
        packet = parse(chain((DESTINATION, PADDING), (FRAGMENT, word.to_bytes(2, "big") + bytes(4)), last=6))
        assert (packet.protocol, packet.fragment, packet.transport_offset) == (PROTOCOL_FRAGMENT, True, 56)
        assert packet.payload == b"body"
