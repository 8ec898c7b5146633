"""EtherIP: one Ethernet frame in an IP packet, protocol 97 (RFC 3378).

    |  version = 3  |              0, 12 bits               |   Ethernet frame, without preamble and check sequence   |

The frame may be an Ethernet II one or one of 802.3, which has a length in the place of the type.
"""

from __future__ import annotations

from userlan.wire import ethernet, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ETHERIP, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER = b"\x30\x00"
"""Version 3 in the first four bits, the others reserved: zero (RFC 3378 2)."""

HOP_LIMIT = 64


def build(frame: Buffer, source: bytes, destination: bytes, hop_limit: int = HOP_LIMIT) -> SuperPacket:
    """A frame in a packet between two packed IPv6 addresses; the second one may be a group. Raises WireError when the frame
    is shorter than its header or does not fit."""
    ethernet.parse(frame)
    payload = HEADER + bytes(frame)
    header = ipv6.build_header(source, destination, PROTOCOL_ETHERIP, len(payload), hop_limit=hop_limit)
    return SuperPacket(header, payload, 0, True)


def parse(packet: SuperPacket) -> Buffer:
    """The frame in a packet. Raises WireError for another protocol, for a version or reserved bits that are not known (to be
    discarded: RFC 3378 3), and when the frame is shorter than its header."""
    if packet.protocol != PROTOCOL_ETHERIP or packet.fragment:
        raise WireError("etherip-protocol", "the packet holds no whole frame")
    data = packet.payload
    if len(data) < len(HEADER) + ethernet.HEADER_LENGTH:
        raise WireError("etherip-truncated", f"an EtherIP packet of {len(data)} octets is shorter than its headers")
    if data[: len(HEADER)] != HEADER:
        raise WireError("etherip-version", "an EtherIP packet is not of version 3")
    return data[len(HEADER) :]
