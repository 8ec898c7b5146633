"""Whom an ICMP error is about: both versions' errors as one value (RFC 792, RFC 1122 3.2.2 and 4.2.3.9, RFC 4443).

::

    IPv4 code or type                       IPv6                                  reason                  hard
    3/3 port                                1/4 port                              port-unreachable        yes
    3/2 protocol                            4/1 unknown next header               protocol-unreachable    yes
    3/9, 10, 13 prohibited                  1/1, 5, 6 prohibited, policy          prohibited              no
    3/0, 1, 5 to 8, 11, 12, 14, 15          1/0, 2, 3 no route, scope, address    unreachable             no
    3/4 fragmentation needed                2 packet too big                      packet-too-big          -
    11 time exceeded                        3 time exceeded                       time-exceeded           no
    12 parameter problem                    4/0, 2 and others                     parameter-problem       no
"""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire import icmp, icmpv6
from userlan.wire.ipv6 import PROBLEM_UNKNOWN_NEXT_HEADER
from userlan.wire.numbers import Buffer
from userlan.wire.quote import Quote, parse_quote

PORT_UNREACHABLE = "port-unreachable"
PROTOCOL_UNREACHABLE = "protocol-unreachable"
PROHIBITED = "prohibited"
UNREACHABLE = "unreachable"
PACKET_TOO_BIG = "packet-too-big"
TIME_EXCEEDED = "time-exceeded"
PARAMETER_PROBLEM = "parameter-problem"
"""Values of ``Report.reason``."""

_HARD = frozenset((PORT_UNREACHABLE, PROTOCOL_UNREACHABLE))
_IPV4_PROHIBITED = frozenset((9, 10, 13))
_IPV6_PROHIBITED = frozenset((1, 5, 6))


class Report(NamedTuple):
    """An error about one packet that we sent, or are said to have sent."""

    reason: str
    mtu: int
    """Octets, of "packet too big"; else 0."""
    quote: Quote
    length: int
    """Octets of the quoted packet, by its own header."""
    reporter: bytes
    """Who sent the error."""

    @property
    def hard(self) -> bool:
        """Trying again is of no use (RFC 1122 4.2.3.9)."""
        return self.reason in _HARD


def report(message: icmp.Message | icmpv6.Message, reporter: bytes) -> Report | None:
    """The error in a message; None when it is none. Raises WireError when what it quotes is no use."""
    mtu = 0
    match message:
        case icmp.Unreachable(code, quoted, reported):
            reason = _ipv4_reason(code)
            mtu = reported
        case icmpv6.Unreachable(code, quoted):
            reason = _ipv6_reason(code)
        case icmpv6.PacketTooBig(reported, quoted):
            reason = PACKET_TOO_BIG
            mtu = reported
        case icmp.TimeExceeded(_, quoted) | icmpv6.TimeExceeded(_, quoted):
            reason = TIME_EXCEEDED
        case icmpv6.ParameterProblem(code, _, quoted):
            reason = PROTOCOL_UNREACHABLE if code == PROBLEM_UNKNOWN_NEXT_HEADER else PARAMETER_PROBLEM
        case icmp.ParameterProblem(_, _, quoted):
            reason = PARAMETER_PROBLEM
        case _:
            return None
    return Report(reason, mtu, parse_quote(quoted), _quoted_length(quoted), reporter)


def _ipv4_reason(code: int) -> str:
    if code in _IPV4_PROHIBITED:
        return PROHIBITED
    return {2: PROTOCOL_UNREACHABLE, 3: PORT_UNREACHABLE, 4: PACKET_TOO_BIG}.get(code, UNREACHABLE)


def _ipv6_reason(code: int) -> str:
    if code in _IPV6_PROHIBITED:
        return PROHIBITED
    return PORT_UNREACHABLE if code == icmpv6.CODE_PORT_UNREACHABLE else UNREACHABLE


def _quoted_length(quoted: Buffer) -> int:
    if quoted[0] >> 4 == 4:
        return quoted[2] << 8 | quoted[3]
    return 40 + (quoted[4] << 8 | quoted[5])
