"""IP fragments of both versions: their fields for the reassembler, making them, and the whole packet out of them.

IPv4 (RFC 791 3.2) keeps identification, flags and offset in its header. IPv6 (RFC 8200 4.5) has a header for them:

    |  next header  |   reserved    |  fragment offset / 8    |0 0 M|
    |                        identification                         |

It stands behind the unfragmentable part (the headers that every hop looks at), which each fragment repeats. An IPv6
fragment that is alone (offset 0, no more) is no fragment for `superpacket.parse`, but an ordinary packet (RFC 6946).
"""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire import ipv4, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import (
    MAX_PACKET,
    PROTOCOL_DESTINATION_OPTIONS,
    PROTOCOL_FRAGMENT,
    PROTOCOL_HOP_BY_HOP,
    PROTOCOL_RESERVED,
    PROTOCOL_ROUTING,
    Buffer,
)
from userlan.wire.superpacket import SuperPacket, cut, parse

HEADER_LENGTH = 8
"""Octets of the IPv6 fragment header; also the unit of offsets (RFC 8200 4.5, RFC 791 3.1)."""

_UNIT = 8
_TOTAL_LENGTH = slice(2, 4)


class Fragment(NamedTuple):
    """One part of a packet. Those with equal `key` belong together."""

    source: bytes
    destination: bytes
    protocol: int
    """IPv4: the transport's. IPv6: what follows the fragment header; it is no part of the key (RFC 8200 4.5)."""
    identification: int
    offset: int
    """Octets from the start of the fragmentable part."""
    more: bool
    header: bytes
    """IPv4 header with options, or the unfragmentable part of IPv6: that of the first fragment serves `reassembled`."""
    payload: Buffer
    traffic_class: int
    """DSCP and ECN: those of the fragments have to be combined (RFC 3168 5.3)."""
    verified: bool

    @property
    def key(self) -> tuple[bytes, bytes, int, int]:
        """Source, destination, identification, and for IPv4 the protocol (RFC 791 3.2)."""
        protocol = self.protocol if len(self.source) == 4 else 0
        return self.source, self.destination, self.identification, protocol

    @property
    def end(self) -> int:
        """Octets from the start of the fragmentable part to the end of this one."""
        return self.offset + len(self.payload)


def parse_fragment(packet: SuperPacket) -> Fragment:
    """The fragment in a packet whose `fragment` is true.

    Raises WireError when it is none, is empty, ends beyond 65,535 octets, or is not the last and no multiple of 8
    octets.
    """
    if not packet.fragment:
        raise WireError("fragment-none", "the packet is no fragment")
    header = packet.header
    if packet.version == 4:
        word = header[6] << 8 | header[7]
        offset = (word & ipv4.FRAGMENT_OFFSET_MASK) * _UNIT
        more = bool(word & ipv4.MORE_FRAGMENTS)
        identification = header[4] << 8 | header[5]
        protocol = packet.protocol
        network = header
        overhead = len(header)
    else:
        start = packet.transport_offset - HEADER_LENGTH
        word = header[start + 2] << 8 | header[start + 3]
        offset = word & 0xFFF8
        more = bool(word & 1)
        identification = int.from_bytes(header[start + 4 : start + 8], "big")
        protocol = header[start]
        network = header[:start]
        overhead = start
    size = len(packet.payload)
    if size == 0:
        raise WireError("fragment-empty", "a fragment carries nothing")
    if more and size % _UNIT:
        raise WireError("fragment-unaligned", f"a fragment of {size} octets is not the last and no multiple of 8")
    end = overhead + offset + size
    if end > MAX_PACKET:
        raise WireError("fragment-too-long", f"a fragment ends at {end}, beyond {MAX_PACKET} octets")
    return Fragment(
        packet.source,
        packet.destination,
        protocol,
        identification,
        offset,
        more,
        network,
        packet.payload,
        packet.traffic_class,
        packet.verified,
    )


def reassembled(
    first: Fragment, payload: Buffer, verified: bool = False, congestion_experienced: bool = False
) -> SuperPacket:
    """The whole packet: the header of the fragment with offset 0, and the fragmentable part put together.

    `verified`: all fragments were. `congestion_experienced`: set ECN to CE (RFC 3168 5.3). Raises WireError when
    malformed.
    """
    network = bytearray(first.header)
    if len(network) + len(payload) > MAX_PACKET:
        raise WireError("fragment-too-long", f"a packet of {len(network) + len(payload)} octets exceeds {MAX_PACKET}")
    if len(first.source) == 4:
        network[6:8] = b"\0\0"
        network[_TOTAL_LENGTH] = (len(network) + len(payload)).to_bytes(2, "big")
        if congestion_experienced:
            network[1] |= 3
        header = ipv4.with_checksum(bytes(network))
    else:
        network[4:6] = (len(network) - ipv6.HEADER_LENGTH + len(payload)).to_bytes(2, "big")
        network[_next_header_position(network)] = first.protocol
        if congestion_experienced:
            network[1] |= 0x30
        header = bytes(network)
    packet = parse(b"".join((header, payload)), verified)
    if packet.fragment:
        raise WireError("fragment-nested", "a fragment within a fragment")
    return packet


def fragment(packet: SuperPacket, mtu: int, identification: int) -> list[SuperPacket]:
    """One IP packet (segment_size 0) as fragments of at most `mtu` octets each; alone and untouched when it fits.

    `identification` has 16 bits for IPv4 and 32 for IPv6. Transport checksums are computed first, since no fragment's
    can be. Raises WireError when the MTU leaves no room, when it is
    several packets, an IPv6 fragment, or must not be processed.
    """
    if packet.wire_count != 1:
        raise WireError("fragment-segmented", "a super-packet is cut before it is fragmented")
    if packet.length <= mtu:
        return [packet]
    if packet.version == 6 and packet.protocol in (PROTOCOL_FRAGMENT, PROTOCOL_RESERVED):
        raise WireError("fragment-refused", "an IPv6 fragment, or a packet that is not processed, is not cut further")
    whole = memoryview(cut(packet, True)[0])
    if packet.version == 4:
        head = bytes(whole[: packet.transport_offset])
        word = int.from_bytes(head[6:8], "big")
        return _fragment_ipv4(head, whole[len(head) :], mtu, identification, word, packet.verified)
    head = bytes(whole[: _unfragmentable_length(whole)])
    return _fragment_ipv6(head, whole[len(head) :], mtu, identification, packet.verified)


def _pieces(length: int, room: int) -> list[tuple[int, int]]:
    """`(start, end)` of each piece of at most `room` octets, all but the last multiples of 8. Raises WireError."""
    step = room // _UNIT * _UNIT
    if step < _UNIT:
        raise WireError("fragment-mtu", "the MTU leaves no room for a fragment")
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def _fragment_ipv4(
    head: bytes, body: memoryview, mtu: int, identification: int, word: int, verified: bool
) -> list[SuperPacket]:
    """Fragments of an IPv4 packet, or of a fragment; options without the copied bit stay in the first only."""
    later = head[: ipv4.HEADER_LENGTH] + _copied_options(head)
    packets = []
    for start, end in _pieces(len(body), mtu - len(head)):
        header = bytearray(later if start else head)
        header[0] = 0x40 | len(header) // 4
        header[_TOTAL_LENGTH] = (len(header) + end - start).to_bytes(2, "big")
        header[4:6] = identification.to_bytes(2, "big")
        more = end < len(body) or word & ipv4.MORE_FRAGMENTS
        position = (word & ipv4.FRAGMENT_OFFSET_MASK) + start // _UNIT
        header[6:8] = ((ipv4.MORE_FRAGMENTS if more else 0) | position).to_bytes(2, "big")
        packets.append(SuperPacket(ipv4.with_checksum(bytes(header)), body[start:end], 0, verified))
    return packets


def _copied_options(head: bytes) -> bytes:
    """The options that every fragment repeats, padded with ends to a multiple of 4 octets. Raises WireError."""
    copied = b"".join(
        bytes((kind, len(data) + 2)) + data for kind, data in ipv4.options(head) if kind & ipv4.OPTION_COPIED
    )
    return copied + bytes(-len(copied) % 4)


def _fragment_ipv6(
    head: bytes, body: memoryview, mtu: int, identification: int, verified: bool
) -> list[SuperPacket]:
    """Fragments of an IPv6 packet: each the unfragmentable part, a fragment header, and a piece."""
    position = _next_header_position(head)
    packets = []
    for start, end in _pieces(len(body), mtu - len(head) - HEADER_LENGTH):
        network = bytearray(head)
        network[position] = PROTOCOL_FRAGMENT
        network[4:6] = (len(head) - ipv6.HEADER_LENGTH + HEADER_LENGTH + end - start).to_bytes(2, "big")
        more = 1 if end < len(body) else 0
        extension = bytes((head[position], 0)) + (start | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
        packets.append(SuperPacket(bytes(network) + extension, body[start:end], 0, verified))
    return packets


def _unfragmentable_length(packet: Buffer) -> int:
    """Octets up to the last header that hops look at: hop-by-hop, routing, and destination options in front of
    routing."""
    protocol = packet[6]
    offset = end = ipv6.HEADER_LENGTH
    while protocol in (PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_DESTINATION_OPTIONS):
        length = (packet[offset + 1] + 1) * 8
        if protocol != PROTOCOL_DESTINATION_OPTIONS:
            end = offset + length
        protocol = packet[offset]
        offset += length
    return end


def _next_header_position(network: Buffer) -> int:
    """The octet that names what follows the last header of an unfragmentable part."""
    position = 6
    offset = ipv6.HEADER_LENGTH
    while offset < len(network):
        position = offset
        offset += (network[offset + 1] + 1) * 8
    return position
