"""The packet that an ICMP or ICMPv6 error quotes: enough of it to find the connection that it is about.

A quote is the head of a packet and nearly always cut off, so nothing of `superpacket.parse` but the addresses, the
protocol and the first octets of the transport header can be asked of it (RFC 792: eight octets; RFC 4443 2.4 c: as
much as fits).
"""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire import ipv4, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_FRAGMENT, PROTOCOL_TCP, PROTOCOL_UDP, Buffer


class Quote(NamedTuple):
    """`source` and `destination` packed; the ports are 0 when the protocol has none; `sequence` is TCP's, else None."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int
    sequence: int | None
    transport: bytes


def parse_quote(data: Buffer) -> Quote:
    """What an error quotes. Raises WireError when less than 8 octets of the transport, or a later fragment, are
    quoted."""
    if not data:
        raise WireError("quote-truncated", "an ICMP error quotes nothing")
    version = data[0] >> 4
    if version == 4 and len(data) >= ipv4.HEADER_LENGTH:
        offset = (data[0] & 0x0F) * 4
        if offset < ipv4.HEADER_LENGTH:
            raise WireError("quote-header-length", f"a quoted IPv4 header length of {offset} octets is below 20")
        if (data[6] << 8 | data[7]) & ipv4.FRAGMENT_OFFSET_MASK:
            raise WireError("quote-fragment", "an ICMP error quotes a later fragment")
        protocol = data[9]
        source, destination = bytes(data[12:16]), bytes(data[16:20])
    elif version == 6 and len(data) >= ipv6.HEADER_LENGTH:
        protocol, offset = _chain(data)
        source, destination = bytes(data[8:24]), bytes(data[24:40])
    else:
        raise WireError("quote-truncated", "an ICMP error quotes no whole IP header")
    transport = bytes(data[offset:])
    if len(transport) < 8:
        raise WireError("quote-truncated", "an ICMP error quotes less than 8 octets of the transport header")
    source_port = destination_port = 0
    sequence = None
    if protocol in (PROTOCOL_TCP, PROTOCOL_UDP):
        source_port = int.from_bytes(transport[:2], "big")
        destination_port = int.from_bytes(transport[2:4], "big")
    if protocol == PROTOCOL_TCP:
        sequence = int.from_bytes(transport[4:8], "big")
    return Quote(source, destination, protocol, source_port, destination_port, sequence, transport)


def _chain(data: Buffer) -> tuple[int, int]:
    """`(protocol, offset)` behind the extension headers of a quoted IPv6 packet; a first fragment's header is one of
    them.

    Raises WireError.
    """
    protocol = data[6]
    offset = ipv6.HEADER_LENGTH
    for _ in range(ipv6.MAX_EXTENSION_HEADERS + 1):
        if protocol not in ipv6.EXTENSION_HEADERS:
            return protocol, offset
        if offset + 8 > len(data):
            raise WireError("quote-truncated", "an ICMP error quotes a part of the IPv6 extension headers")
        length = 8
        if protocol != PROTOCOL_FRAGMENT:
            length = (data[offset + 1] + 1) * 8
        elif data[offset + 2] or data[offset + 3] & 0xF8:
            raise WireError("quote-fragment", "an ICMP error quotes a later fragment")
        protocol = data[offset]
        offset += length
    raise WireError("quote-extension-count", "an ICMP error quotes too many IPv6 extension headers")
