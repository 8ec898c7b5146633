"""ICMP errors by name, for both versions (RFC 792, RFC 4443)."""

from __future__ import annotations

from collections.abc import Callable

from userlan.wire import icmp, icmpv6
from userlan.wire.superpacket import SuperPacket

REASONS: dict[str, tuple[Callable[[bytes, int], icmp.Message], Callable[[bytes, int], icmpv6.Message]]] = {
    "too-big": (
        lambda quoted, mtu: icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, quoted, mtu),
        lambda quoted, mtu: icmpv6.PacketTooBig(mtu, quoted),
    ),
    "net-unreachable": (lambda quoted, _: icmp.Unreachable(0, quoted), lambda quoted, _: icmpv6.Unreachable(0, quoted)),
    "host-unreachable": (lambda quoted, _: icmp.Unreachable(1, quoted), lambda quoted, _: icmpv6.Unreachable(3, quoted)),
    "protocol-unreachable": (
        lambda quoted, _: icmp.Unreachable(2, quoted),
        lambda quoted, _: icmpv6.ParameterProblem(1, 6, quoted),
    ),
    "port-unreachable": (lambda quoted, _: icmp.Unreachable(3, quoted), lambda quoted, _: icmpv6.Unreachable(4, quoted)),
    "prohibited": (lambda quoted, _: icmp.Unreachable(13, quoted), lambda quoted, _: icmpv6.Unreachable(1, quoted)),
    "time-exceeded": (lambda quoted, _: icmp.TimeExceeded(0, quoted), lambda quoted, _: icmpv6.TimeExceeded(0, quoted)),
    "parameter-problem": (
        lambda quoted, _: icmp.ParameterProblem(0, 20, quoted),
        lambda quoted, _: icmpv6.ParameterProblem(0, 40, quoted),
    ),
}
"""By name: what makes the message of each version from the quoted octets and an MTU."""


def report(reason: str, about: bytes, mtu: int, source: bytes, to: bytes) -> SuperPacket:
    """An error about the packet ``about``, from one packed address to another."""
    ipv4, ipv6 = REASONS[reason]
    return icmp.build(ipv4(about, mtu), source, to) if len(to) == 4 else icmpv6.build(ipv6(about, mtu), source, to)
