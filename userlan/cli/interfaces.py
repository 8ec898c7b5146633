"""This computer's own addresses, and those of others by their names."""

from __future__ import annotations

import ipaddress
import socket


def local_addresses() -> list[str]:
    """Addresses of the interfaces that are up, numeric: no loopback, no link-local (its zone means nothing elsewhere), IPv4 first."""
    import ifaddr

    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            host = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            address = ipaddress.ip_address(host)
            if not (address.is_loopback or address.is_link_local or address.is_multicast):
                found.append(str(address))
    return sorted(dict.fromkeys(found), key=lambda host: ":" in host)


def look_up(host: str) -> tuple[str, ...]:
    """The numeric addresses of a host; none where it does not resolve. Blocks: for a thread."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
