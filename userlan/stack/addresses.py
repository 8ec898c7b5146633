"""Whose an address is: the host's own ones, those of many hosts, and sources that no packet may have."""

from __future__ import annotations

from collections.abc import Iterator

IPV4_BROADCAST = b"\xff\xff\xff\xff"
IPV4_ALL_HOSTS = bytes((224, 0, 0, 1))
IPV6_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_HOSTS = frozenset((IPV4_ALL_HOSTS, IPV6_ALL_NODES))
"""The groups that every host hears, whatever its sockets want (RFC 3376 5, RFC 4291 2.8)."""

_IPV6_UNSPECIFIED = bytes(16)
_IPV6_LOOPBACK = bytes(15) + b"\x01"
_LINK_LOCAL_SCOPE, _GLOBAL_SCOPE = 2, 14
_IPV4_MAPPED = bytes(10) + b"\xff\xff"


def is_group(address: bytes) -> bool:
    """Multicast, or IPv4's limited broadcast and the rest of class E, which never is one host."""
    return address[0] >= 224 if len(address) == 4 else address[0] == 0xFF


def is_multicast(address: bytes) -> bool:
    """A multicast group (RFC 1112 4, RFC 4291 2.7)."""
    return address[0] & 0xF0 == 0xE0 if len(address) == 4 else address[0] == 0xFF


def is_martian(source: bytes) -> bool:
    """A source that no packet on a network may have (RFC 1122 3.2.1.3, RFC 4291 2.5.2, 2.5.3, 2.5.5 and 2.7)."""
    if len(source) == 4:
        return source[0] in (0, 127) or source[0] >= 224
    return source[0] == 0xFF or source in (_IPV6_UNSPECIFIED, _IPV6_LOOPBACK) or source.startswith(_IPV4_MAPPED)


class Addresses:
    """The host's own addresses, packed, in the order of adding; ``broadcasts``: those of everybody on its links (RFC 1122 3.2.1.3)."""

    def __init__(self) -> None:
        self.broadcasts = {IPV4_BROADCAST}
        self._own: dict[bytes, None] = {}

    def __contains__(self, address: bytes) -> bool:
        return address in self._own

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._own)

    def add(self, address: bytes) -> None:
        """Raises ValueError for what cannot be a host's address."""
        if len(address) not in (4, 16) or is_martian(address):
            raise ValueError(f"{address.hex()} cannot be a host's address")
        self._own[address] = None

    def of_many(self, address: bytes) -> bool:
        """Whether an address is a group's, or a broadcast: no single host's."""
        return is_group(address) or address in self.broadcasts

    def of_everybody(self, address: bytes) -> bool:
        """Whether every host on the link hears what is sent there (RFC 1122 3.2.1.3)."""
        return address in ALL_HOSTS or address in self.broadcasts

    def remove(self, address: bytes) -> None:
        self._own.pop(address, None)

    def source_for(self, destination: bytes) -> bytes | None:
        """The own address to speak from: itself, or of the family the one whose scope reaches the destination, and no
        further than it must, with the longest common prefix (RFC 6724 5, rules 1, 2 and 8)."""
        if destination in self._own:
            return destination
        wanted, reach = int.from_bytes(destination, "big"), _scope(destination)
        candidates = [address for address in self._own if len(address) == len(destination)]

        def badness(own: bytes) -> tuple[bool, int, int]:
            scope = _scope(own)
            short = scope < reach
            return short, -scope if short else scope, (int.from_bytes(own, "big") ^ wanted).bit_length()

        return min(candidates, key=badness, default=None)


def _scope(address: bytes) -> int:
    """How far an address reaches (RFC 6724 3.1, RFC 4291 2.7); all of IPv4 alike, whose groups say nothing of it."""
    if len(address) == 4:
        return _GLOBAL_SCOPE
    if address[0] == 0xFF:
        return address[1] & 0x0F
    return _LINK_LOCAL_SCOPE if address[0] == 0xFE and address[1] & 0xC0 == 0x80 else _GLOBAL_SCOPE
