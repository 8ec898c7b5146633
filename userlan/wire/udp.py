"""UDP datagrams (RFC 768).

    |          source port          |       destination port        |
    |            length             |           checksum            |
"""

from __future__ import annotations

import struct

from userlan.wire import ipv4, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_UDP, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 8
"""Octets of the header."""

MAX_PAYLOAD_IPV4 = 65507
MAX_PAYLOAD_IPV6 = 65487
"""Octets that fit behind the headers into 65,535 (RFC 768, RFC 8200)."""

_HEADER = struct.Struct("!HHHH")


class Datagram:
    """One UDP datagram; with a `segment_size`, several: of that many payload octets each, the last may be shorter."""

    __slots__ = ("destination_port", "payload", "segment_size", "source_port")

    def __init__(
        self, source_port: int = 0, destination_port: int = 0, payload: Buffer = b"", segment_size: int = 0
    ) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.payload = payload
        self.segment_size = segment_size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Datagram):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # a mutable value

    def __repr__(self) -> str:
        return f"Datagram({self.source_port}>{self.destination_port} length={len(self.payload)})"


def parse_datagram(packet: SuperPacket) -> Datagram:
    """The datagram in a super-packet, cut to its own length field. Raises WireError when not whole UDP."""
    if packet.protocol != PROTOCOL_UDP or packet.fragment:
        raise WireError("udp-protocol", "the packet holds no whole UDP datagram")
    source_port, destination_port, length, _ = _HEADER.unpack_from(packet.header, packet.transport_offset)
    payload = packet.payload
    if len(payload) != length - HEADER_LENGTH:
        payload = payload[: length - HEADER_LENGTH]
    return Datagram(source_port, destination_port, payload, packet.segment_size)


def build(
    datagram: Datagram, source: bytes, destination: bytes, hop_limit: int = 64, traffic_class: int = 0
) -> SuperPacket:
    """The super-packet of a datagram between two packed addresses of one family; `traffic_class` holds DSCP and ECN.

    IPv4 gets "don't fragment" and identification 0. Checksums are left zero for `cut` to fill in; `verified` is true.
    Raises WireError when header and payload exceed 65,535 octets.
    """
    length = HEADER_LENGTH + len(datagram.payload)
    ip = ipv4 if len(source) == 4 else ipv6
    header = ip.build_header(
        source, destination, PROTOCOL_UDP, length, hop_limit=hop_limit, traffic_class=traffic_class
    )
    transport = _HEADER.pack(datagram.source_port, datagram.destination_port, length, 0)
    return SuperPacket(header + transport, datagram.payload, datagram.segment_size, True)
