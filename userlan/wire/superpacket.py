"""The super-packet: one header and up to 64 KB of payload, as one unit.

    header   | IP header | extension headers (IPv6) | TCP header and options, or UDP header |
    payload  | segment_size | segment_size | segment_size | ... | the rest |

`parse` makes one of an IP packet, `cut` cuts one into wire packets (what hardware calls GSO), `join` joins wire packets
into as few as it can (GRO). TCP and UDP are cut; TCP alone is joined, since joined datagrams would lose their borders
in any reader that does not ask for them.
"""

from __future__ import annotations

from userlan.wire import ipv4, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import MAX_PACKET, PROTOCOL_FRAGMENT, PROTOCOL_TCP, PROTOCOL_UDP, Buffer

MAX_LENGTH = MAX_PACKET
"""Octets of header and payload together: the IP length field describes the whole."""

MAX_PAYLOAD = MAX_PACKET - ipv6.HEADER_LENGTH - 60
"""Octets of payload that fit behind any header that is built here (IPv6, TCP with all its options)."""

TCP_MINIMUM = 20
UDP_LENGTH = 8
"""Octets of the shortest TCP header (RFC 9293 3.1) and of the UDP header (RFC 768)."""


class SuperPacket:
    """One IP packet, or several of one flow that differ in sequence and length only.

    `header` holds the IP header, its extension headers, and the TCP header with options or the UDP header; for every
    other protocol, and for fragments, the IP part only. Its length fields describe the whole. `segment_size` is 0 for one
    IP packet, else the payload octets of every wire packet but the last. `verified` says that the transport checksum need
    not be checked. The header must be well formed, as `parse` and the builders leave it. Treat every field as read-only.
    """

    __slots__ = (
        "destination",
        "fragment",
        "header",
        "payload",
        "protocol",
        "segment_size",
        "source",
        "transport_offset",
        "verified",
        "version",
    )

    def __init__(self, header: bytes, payload: Buffer, segment_size: int = 0, verified: bool = False) -> None:
        self.header = header
        self.payload = payload
        self.segment_size = segment_size
        self.verified = verified
        self.version = header[0] >> 4
        """4 or 6."""
        self.protocol: int
        """Of the transport; PROTOCOL_FRAGMENT for an IPv6 fragment, PROTOCOL_RESERVED: not to be processed."""
        self.transport_offset: int
        """Where the TCP or UDP header starts in `header`; for others the length of `header`."""
        if self.version == 4:
            self.protocol = header[9]
            self.transport_offset = (header[0] & 0x0F) * 4
            self.fragment = header[6] & 0x3F != 0 or header[7] != 0
            self.source = header[12:16]
            self.destination = header[16:20]
        else:
            self.protocol = header[6]
            self.transport_offset = ipv6.HEADER_LENGTH
            if self.protocol in ipv6.EXTENSION_HEADERS:
                self.protocol, self.transport_offset, _, _ = ipv6.walk(header, len(header))
            self.fragment = self.protocol == PROTOCOL_FRAGMENT
            self.source = header[8:24]
            self.destination = header[24:40]

    @property
    def length(self) -> int:
        """Octets of header and payload."""
        return len(self.header) + len(self.payload)

    @property
    def wire_count(self) -> int:
        """How many IP packets `cut` makes of it."""
        size = self.segment_size
        if size == 0 or len(self.payload) <= size:
            return 1
        return (len(self.payload) + size - 1) // size

    @property
    def traffic_class(self) -> int:
        """DSCP and ECN, 8 bits (RFC 2474, RFC 3168)."""
        if self.version == 4:
            return self.header[1]
        return (self.header[0] & 0x0F) << 4 | self.header[1] >> 4

    @property
    def hop_limit(self) -> int:
        """Time to live or hop limit."""
        return self.header[8] if self.version == 4 else self.header[7]

    def __repr__(self) -> str:
        return (
            f"SuperPacket(version={self.version}, protocol={self.protocol}, source={self.source.hex()}, "
            f"destination={self.destination.hex()}, header={len(self.header)}, payload={len(self.payload)}, "
            f"segment_size={self.segment_size}, verified={self.verified})"
        )


def parse(packet: Buffer, verified: bool = False) -> SuperPacket:
    """One IP packet as a SuperPacket; octets after its length are padding and fall away.

    Unless `verified`, the checksum of the IPv4 header is checked; that of the transport is left to
    `checksum.transport_ok`. The payload is a slice of `packet` (a view, when that is a memoryview). Raises WireError when malformed.
    """
    if not packet:
        raise WireError("ip-empty", "an empty packet")
    version = packet[0] >> 4
    if version == 4:
        offset, end = ipv4.checked_lengths(packet, verified)
        protocol = -1 if ipv4.is_fragment(packet) else packet[9]
    elif version == 6:
        end = ipv6.checked_length(packet)
        protocol = packet[6]
        offset = ipv6.HEADER_LENGTH
        if protocol in ipv6.EXTENSION_HEADERS:
            protocol, offset, _, _ = ipv6.walk(packet, end)
    else:
        raise WireError("ip-version", f"IP version {version} is not known")
    if end > MAX_LENGTH:
        raise WireError("ip-too-long", f"a packet of {end} octets exceeds {MAX_LENGTH}")
    if protocol == PROTOCOL_TCP:
        offset += _tcp_header_length(packet, offset, end)
    elif protocol == PROTOCOL_UDP:
        _check_udp(packet, offset, end)
        offset += UDP_LENGTH
    return SuperPacket(bytes(packet[:offset]), packet[offset:end], 0, verified)


def _tcp_header_length(packet: Buffer, offset: int, end: int) -> int:
    """Octets of the TCP header at `offset`. Raises WireError."""
    if end - offset < TCP_MINIMUM:
        raise WireError("tcp-truncated", f"a TCP segment of {end - offset} octets is shorter than its header")
    length = (packet[offset + 12] >> 4) * 4
    if length < TCP_MINIMUM:
        raise WireError("tcp-data-offset", f"a TCP data offset of {length} octets is below 20")
    if offset + length > end:
        raise WireError("tcp-truncated", f"a TCP header of {length} octets came with {end - offset}")
    return length


def _check_udp(packet: Buffer, offset: int, end: int) -> None:
    """Raises WireError when the UDP header at `offset` is cut off or its length impossible."""
    if end - offset < UDP_LENGTH:
        raise WireError("udp-truncated", f"a UDP datagram of {end - offset} octets is shorter than its header")
    length = packet[offset + 4] << 8 | packet[offset + 5]
    if length < UDP_LENGTH:
        raise WireError("udp-length", f"a UDP length of {length} is below 8")
    if length > end - offset:
        raise WireError("udp-truncated", f"a UDP datagram of {length} octets came with {end - offset}")
