"""Where datagrams go on the outer network: a transport, a numeric host and a port.

It lives at the bottom because the tunnel, the traversal and the control messages all speak of it and are siblings.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

UDP: Final = "udp"
TCP: Final = "tcp"
"""The same datagrams, length-prefixed over a TCP connection with that remote address (where UDP cannot pass)."""
RELAY: Final = "relay"
"""The same datagrams, each behind a channel's header, by way of the relay with that address (``userlan.relay``)."""
RELAY_HEADER: Final = 12
"""Octets of a channel's header: the datagram's type and the channel (``userlan.relay``)."""


class Endpoint(NamedTuple):
    """One outer address. ``host`` is a numeric IPv4 or IPv6 literal without brackets; ``port`` is 1 to 65535.

    ``via`` is the number of the own socket by which it is reached, 0: the main one. Behind a NAT each socket has a mapping of its own,
    so that the same remote address by another socket is another path. With ``relay`` it is the number of the channel.
    """

    transport: str
    host: str
    port: int
    via: int = 0

    def __str__(self) -> str:
        return f"{self.transport} {host_port(self.host, self.port)}"


def host_port(host: str, port: int) -> str:
    """``HOST:PORT``, an IPv6 literal in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unmapped(host: str) -> str:
    """A numeric host as IPv4 where it is an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), without a zone; ValueError when not numeric."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
