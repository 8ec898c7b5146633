"""The stack of a node: its host on the LAN, and where the LAN asks for other settings than the stack's own."""

from __future__ import annotations

from collections.abc import Callable

from userlan.stack.config import HostConfig
from userlan.stack.host import Host
from userlan.stack.tcp.config import Config as TcpConfig

LAN_TCP = TcpConfig(user_timeout=120.0, keepalive_idle=60.0, keepalive_interval=15.0, keepalive_probes=4)
"""Connections of the LAN wait two minutes for a silent peer, whichever side is waiting (RFC 5482; RFC 1122, 4.2.3.6): a session survives a
router's restart or a tunnel ride, and a program whose peer is gone for good is told before its user gives up."""

GROUP_ANSWERS = 2.0
"""Reports a second that queries may call forth: members are told unasked (``flooding``), and each answer goes to all of them, so that a
member who asks all the time would have all tell all."""


def own_host(entropy: Callable[[int], bytes], mtu: int, ipv6: bytes, broadcast: bytes) -> Host:
    """With the address that follows from the key; ``broadcast``: that of the LAN's range. Both packed."""
    host = Host(entropy=entropy, config=HostConfig(mtu=mtu, tcp=LAN_TCP, group_answers_a_second=GROUP_ANSWERS))
    host.add_address(ipv6)
    host.add_broadcast(broadcast)
    return host
