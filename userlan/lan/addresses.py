"""Addresses of the virtual LAN: who gets which, and how keys and addresses are written.

Every node has two addresses for life::

    IPv6   fd75:6c61:6e00::/48 + 80 bits of BLAKE2s(public key)        nobody hands it out: it follows from the key
    IPv4   25.a.b.c, handed out once by the mediator, kept by key       a ≠ 0, c ≠ 0, c ≠ 255

The IPv4 rules make ``25.a.b.c ⇄ 127.a.b.c`` a bijection that never touches 127.0.0.0/16, where a computer keeps its own
loopback services (127.0.0.1, Debian's 127.0.1.1, systemd-resolved's 127.0.0.53): that is the alias under which local
services see a peer.

Inside the program an address is its packed bytes (4 or 16), a key its 32 bytes; text only at the edges.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

#: Octets of an X25519 or Ed25519 public key (RFC 7748 section 5, RFC 8032 section 5.1.5).
KEY_SIZE = 32
#: Characters of a key's text: base64url (RFC 4648 section 5) of 32 octets without padding.
KEY_TEXT_SIZE = 43
#: fd75:6c61:6e00::/48, a unique local prefix (RFC 4193) that spells "ulan".
IPV6_PREFIX = bytes.fromhex("fd756c616e00")
#: ff12::756c:616e:97, a transient group of link-local scope (RFC 4291 section 2.7): the members that have a kernel attached hear
#: in it frames that are not IP, by EtherIP (protocol 97).
ETHERIP_GROUP = bytes.fromhex("ff120000000000000000756c616e0097")
#: Where a kernel that is attached finds its resolver, and its router: no key leads there, but for one in 2^80.
RESOLVER = bytes.fromhex("fd756c616e0000000000000000000053")
GATEWAY6 = bytes.fromhex("fd756c616e0000000000000000000001")
#: Octets of BLAKE2s that fill the prefix up: 80 bits, so that finding a second key for an address takes 2^80 tries.
IPV6_SUFFIX_SIZE = 10
#: The class A range of the virtual IPv4 addresses.
DEFAULT_RANGE = "25.0.0.0/8"
#: Shortest prefix of a range: the second to fourth octet must tell addresses apart, else loopback aliases would meet.
SHORTEST_PREFIX = 8
#: Longest prefix of a range: below it there is room for two hosts at most.
LONGEST_PREFIX = 29
#: Addresses tried at pseudo-random places before the range is walked in order. In a range that is half full, 2^-64.
SCATTERED_TRIES = 64
#: Addresses walked in order before the range counts as full. Bounds one allocation to well under a second.
WALKED_TRIES = 65_536


class RangeFullError(ValueError):
    """No free address was found in the range."""


def ipv6_of(public_key: bytes) -> bytes:
    """The node's packed IPv6 address. ValueError unless the key has 32 octets."""
    _check_key(public_key)
    return IPV6_PREFIX + hashlib.blake2s(public_key, digest_size=IPV6_SUFFIX_SIZE).digest()


def is_lan_ipv6(address: bytes) -> bool:
    """Whether a packed address lies in the LAN's IPv6 prefix."""
    return len(address) == 16 and address.startswith(IPV6_PREFIX)


def is_multicast(address: bytes) -> bool:
    """Whether a packed address is a multicast one (RFC 5771: 224.0.0.0/4; RFC 4291 section 2.7: ff00::/8)."""
    if len(address) == 4:
        return address[0] & 0xF0 == 0xE0
    return len(address) == 16 and address[0] == 0xFF


def loopback_alias(ipv4: bytes) -> str:
    """The address of 127.0.0.0/8 under which local services see the peer: 25.a.b.c → ``"127.a.b.c"``.

    ValueError for what allocation never hands out, so that no peer passes for 127.0.0.1.
    """
    if len(ipv4) != 4 or not _usable_octets(ipv4):
        raise ValueError("only an allocated IPv4 address of the LAN has a loopback alias")
    return f"127.{ipv4[1]}.{ipv4[2]}.{ipv4[3]}"


@lru_cache(maxsize=4096)
def text(address: bytes) -> str:
    """A packed address as people write it (IPv6: RFC 5952). ValueError unless it has 4 or 16 octets."""
    if len(address) not in (4, 16):
        raise ValueError(f"an address has 4 or 16 octets, not {len(address)}")
    return str(ipaddress.ip_address(address))


def packed(literal: str) -> bytes:
    """A numeric IPv4 or IPv6 literal as packed bytes. ValueError otherwise, also for an IPv6 zone (``%eth0``)."""
    if "%" not in literal and len(literal) <= 45:
        try:
            return ipaddress.ip_address(literal).packed
        except ValueError:
            pass
    raise ValueError(f"{shown(literal)} is not a numeric IPv4 or IPv6 address")


def key_text(key: bytes) -> str:
    """A key as text: base64url without padding, 43 characters. ValueError unless the key has 32 octets."""
    _check_key(key)
    return base64url_text(key)


def key_bytes(written: str) -> bytes:
    """The key that ``key_text`` wrote. ValueError, one line that says what is wrong, for anything else."""
    if len(written) != KEY_TEXT_SIZE:
        cut = "cut short" if len(written) < KEY_TEXT_SIZE else "too long"
        raise ValueError(f"the key is {cut}: {len(written)} characters, not {KEY_TEXT_SIZE}")
    try:
        return base64url_bytes(written)
    except ValueError as error:
        raise ValueError(f"the key is mistyped: {error}") from None


def base64url_text(value: bytes) -> str:
    """Bytes as base64url (RFC 4648 section 5) without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def base64url_bytes(written: str) -> bytes:
    """Base64url without padding → bytes, only in its one canonical spelling. ValueError otherwise."""
    for character in written:
        if not (character.isascii() and (character.isalnum() or character in "-_")):
            raise ValueError(f"{character!r} does not belong in it")
    try:
        value = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
    except binascii.Error:
        raise ValueError(f"{len(written)} characters are not a whole number of octets") from None
    if base64url_text(value) != written:
        raise ValueError(f"it cannot end in {written[-1]!r}")
    return value


class AddressRange:
    """A range of virtual IPv4 addresses and the rules of who gets which.

    ``AddressRange.parse("25.0.0.0/8")``; immutable, compared by value.
    """

    __slots__ = ("_network", "broadcast", "first", "mask")

    #: What its text form is called in messages to people.
    EXPECTED: ClassVar[str] = f"an IPv4 range such as {DEFAULT_RANGE}"

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self._network = network
        #: Packed broadcast address of the range.
        self.broadcast = network.broadcast_address.packed
        #: First address and mask as integers: ``contains`` is on the data path.
        self.first = int(network.network_address)
        self.mask = int(network.netmask)

    @classmethod
    def parse(cls, written: str) -> AddressRange:
        """From ``ADDRESS/BITS``. ValueError, one line, for what is no range or holds no address by the rules."""
        address, slash, bits = written.partition("/")
        try:
            if not (slash and bits.isascii() and bits.isdigit() and len(bits) <= 2):
                raise ValueError
            network = ipaddress.IPv4Network(f"{address}/{int(bits)}", strict=False)
        except ValueError:
            raise ValueError(f"{shown(written)} is not an IPv4 range such as {DEFAULT_RANGE}") from None
        if str(network.network_address) != address:
            raise ValueError(f"{shown(written)} has bits set after /{bits}: did you mean {network}?")
        if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
            raise ValueError(f"the range must have /{SHORTEST_PREFIX} to /{LONGEST_PREFIX}, not /{network.prefixlen}")
        octets = network.network_address.packed
        if octets[0] in (0, 127) or octets[0] >= 224:
            raise ValueError(f"{network} is reserved and cannot be the LAN's range")
        if network.prefixlen >= 16 and octets[1] == 0:
            raise ValueError(f"{network} has 0 as its second octet in every address: such ones are never handed out")
        return cls(network)

    def __str__(self) -> str:
        return str(self._network)

    def __repr__(self) -> str:
        return f"AddressRange({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AddressRange) and self._network == other._network

    def __hash__(self) -> int:
        return hash(self._network)

    def contains(self, address: bytes) -> bool:
        """Whether a packed address (of any length) lies in the range."""
        return len(address) == 4 and int.from_bytes(address, "big") & self.mask == self.first

    def usable(self, address: bytes) -> bool:
        """Whether the rules let a node have this packed address."""
        return self.contains(address) and _usable_octets(address) and address != self.broadcast

    def allocate(self, public_key: bytes, taken: Callable[[bytes], bool]) -> bytes:
        """A free packed address for a new node; ``taken`` says whether somebody has it.

        The first try follows from the key, so that a mediator that lost its directory hands out the same addresses
        again, nearly all. RangeFullError when none was found.
        """
        _check_key(public_key)
        size = self._network.num_addresses
        place = 0
        for attempt in range(SCATTERED_TRIES):
            digest = hashlib.blake2s(bytes([attempt]) + public_key, digest_size=8, person=b"ul-ipv4").digest()
            place = int.from_bytes(digest, "big") % size
            address = self._at(place)
            if self.usable(address) and not taken(address):
                return address
        for step in range(1, min(size, WALKED_TRIES) + 1):
            address = self._at((place + step) % size)
            if self.usable(address) and not taken(address):
                return address
        raise RangeFullError(f"no free address is left in {self}")

    def _at(self, place: int) -> bytes:
        return (self.first + place).to_bytes(4, "big")


def _usable_octets(address: bytes) -> bool:
    return address[1] != 0 and address[3] not in (0, 255)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key has {KEY_SIZE} octets, not {len(key)}")


def shown(written: str) -> str:
    """Somebody's text, quoted for one line of a message and not longer than it helps."""
    return repr(written if len(written) <= 60 else written[:57] + "…")
