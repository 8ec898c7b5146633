"""This computer's network interfaces and their addresses."""

from __future__ import annotations

import ipaddress

import attrs


@attrs.frozen
class Interface:
    """An interface that has an address, without loopback ones."""

    name: str
    index: int
    """The scope of its link-local addresses (RFC 4007, section 6)."""
    ipv4: tuple[ipaddress.IPv4Interface, ...] = ()
    ipv6: tuple[ipaddress.IPv6Interface, ...] = ()
    """Link-local ones too, without their zone."""


def interfaces() -> list[Interface]:
    """All interfaces that have an address other than a loopback one."""
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        ipv4, ipv6 = [], []
        for entry in adapter.ips:
            if isinstance(entry.ip, str):
                ipv4.append(ipaddress.IPv4Interface(f"{entry.ip}/{entry.network_prefix}"))
            else:
                ipv6.append(ipaddress.IPv6Interface(f"{entry.ip[0]}/{entry.network_prefix}"))
        ipv4 = [one for one in ipv4 if not one.is_loopback]
        ipv6 = [one for one in ipv6 if not one.is_loopback]
        if ipv4 or ipv6:
            found.append(Interface(adapter.nice_name, adapter.index or 0, tuple(ipv4), tuple(ipv6)))
    return found


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
