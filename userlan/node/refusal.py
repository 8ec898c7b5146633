"""What a kernel is told about a packet that does not get beyond its link: ICMP, and which message (RFC 792; RFC 1812 5.2.7.1; RFC 4443 3).

::

    reason         IPv4                                 IPv6
    refused        3/3 port unreachable                 1/4 port unreachable
    unreachable    3/1 host unreachable                 1/3 address unreachable
    prohibited     3/13 administratively prohibited     1/1 administratively prohibited
    protocol       3/2 protocol unreachable             4/1 unknown next header, and where it stands
    silent         nothing: the program's own patience decides

The message comes from the address that was not reached: from one of the kernel's own it would be taken for forged.
"""

from __future__ import annotations

from enum import Enum

from userlan.stack.addresses import is_group
from userlan.stack.icmp import is_error
from userlan.wire import icmp, icmpv6, ipv6
from userlan.wire.superpacket import SuperPacket

QUOTED = 1_280
"""Octets of a packet that are at hand for an error to quote; ``icmp`` and ``icmpv6`` cut them to size."""


class Refusal(Enum):
    """Why something does not get through, as the kernel's programs see it."""

    REFUSED = "refused"
    """Nobody listens there: "connection refused"."""
    UNREACHABLE = "unreachable"
    """No way leads there: "no route to host"."""
    PROHIBITED = "prohibited"
    """It is not allowed."""
    PROTOCOL = "protocol"
    """Nobody here speaks that protocol."""
    SILENT = "silent"
    """Nothing is said: the program's own patience decides."""


_IPV4_CODES = {
    Refusal.REFUSED: icmp.CODE_PORT_UNREACHABLE,
    Refusal.UNREACHABLE: icmp.CODE_HOST_UNREACHABLE,
    Refusal.PROHIBITED: icmp.CODE_ADMINISTRATIVELY_PROHIBITED,
    Refusal.PROTOCOL: icmp.CODE_PROTOCOL_UNREACHABLE,
}
_IPV6_CODES = {
    Refusal.REFUSED: icmpv6.CODE_PORT_UNREACHABLE,
    Refusal.UNREACHABLE: icmpv6.CODE_ADDRESS_UNREACHABLE,
    Refusal.PROHIBITED: icmpv6.CODE_ADMINISTRATIVELY_PROHIBITED,
}


def quoted(packet: SuperPacket) -> bytes:
    """The head of a packet."""
    return packet.header + bytes(packet.payload[: max(0, QUOTED - len(packet.header))])


def may_be_told(packet: SuperPacket) -> bool:
    """Whether there may be an error about a packet (RFC 1122 3.2.2, RFC 4443 2.4(e))."""
    return not (is_error(packet) or is_group(packet.destination) or _is_later_fragment(packet))


def unreachable(packet: SuperPacket, why: Refusal) -> SuperPacket:
    """The error about a packet; ``why`` is not SILENT."""
    ends, quote = (packet.destination, packet.source), quoted(packet)
    if packet.version == 4:
        return icmp.build(icmp.Unreachable(_IPV4_CODES[why], quote), *ends)
    if why is Refusal.PROTOCOL:
        chain = ipv6.walk(packet.header, len(packet.header))
        return icmpv6.build(icmpv6.ParameterProblem(ipv6.PROBLEM_UNKNOWN_NEXT_HEADER, chain.pointer, quote), *ends)
    return icmpv6.build(icmpv6.Unreachable(_IPV6_CODES[why], quote), *ends)


def _is_later_fragment(packet: SuperPacket) -> bool:
    """Whether it is a fragment other than the first; an IPv6 one's header ends with the fragment header (RFC 8200 4.5)."""
    if not packet.fragment:
        return False
    field = packet.header[6:8] if packet.version == 4 else packet.header[-6:-4]
    return bool(int.from_bytes(field, "big") & (0x1FFF if packet.version == 4 else 0xFFF8))
