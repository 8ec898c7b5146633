"""A NAT in userspace, for what nftables cannot do. No I/O: packets and the time in, packets out; ``tests.lab.internet`` carries them.

Every axis of RFC 4787, 5382 and 5508 that the lab varies is a field of :class:`Character`. Packets are raw IPv4; addresses and ports are
rewritten in place and the checksums adjusted by RFC 1624's equation 3, so that a wrong checksum stays wrong.

    inside ──outward()──▶ key of the mapping (RFC 4787 4.1) ─▶ Mapping ─▶ source rewritten ──▶ outside
    inside ◀── destination rewritten ◀─ filter (RFC 4787 5) ◀─ Mapping by its outside endpoint ◀──inward()── outside
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

from userlan.wire.checksum import internet_checksum

ICMP, TCP, UDP = 1, 6, 17
ERRORS = frozenset((3, 11, 12))
"""ICMP types that carry the packet they are about (RFC 792)."""
ECHO, ECHO_REPLY = 8, 0
PROHIBITED = 13
"""Code of destination unreachable: by the administration (RFC 1812 5.2.7.1)."""
MAX_MAPPINGS = 60_000
"""Mappings of one box, fewer than there are ports."""
TCP_LIFETIME = 7440.0
"""Seconds without packets that a TCP mapping lives (RFC 5382 REQ-5)."""
ICMP_LIFETIME = 60.0
"""The same for echo (RFC 5508 REQ-1)."""

INSIDE, OUTSIDE = "inside", "outside"
Sent = Iterator[tuple[str, bytes]]
"""Packets and the side to which they go."""


class Character(NamedTuple):
    """How the NAT behaves. ``step``, ``noise`` (mappings a second that others make) are for incremental allocation, ``block`` (ports of one
    inside host) for chunked; ``lifetime``: seconds without packets that a UDP mapping lives; ``unsolicited``: the answer to a SYN that may
    not pass."""

    mapping: Literal["endpoint", "address", "address-and-port"] = "endpoint"
    filtering: Literal["endpoint", "address", "address-and-port"] = "address-and-port"
    allocation: Literal["preserving", "random", "incremental", "chunked"] = "preserving"
    step: int = 1
    noise: float = 0.0
    block: int = 512
    low: int = 1024
    high: int = 65535
    pooling: Literal["paired", "arbitrary"] = "paired"
    hairpin: bool = False
    lifetime: float = 120.0
    inbound_refresh: bool = True
    unsolicited: Literal["drop", "rst", "icmp"] = "drop"


class Mapping:
    """One inside endpoint (four octets of address, two of port) and its outside one."""

    __slots__ = ("inside", "key", "last", "outside", "permitted")

    def __init__(self, key: bytes, inside: bytes, outside: bytes) -> None:
        self.key = key
        self.inside = inside
        self.outside = outside
        self.last = 0.0
        self.permitted: dict[bytes, float] = {}


class Ports:
    """The allocation of outside endpoints."""

    def __init__(self, character: Character, addresses: tuple[bytes, ...], chance: random.Random) -> None:
        self._character = character
        self._addresses = addresses
        self._chance = chance
        self._paired: dict[bytes, bytes] = {}
        self._blocks: dict[bytes, int] = {}
        self._next: dict[int, int] = {}
        self._noise_at: dict[int, float] = {}

    def candidates(self, protocol: int, inside: bytes, now: float) -> Iterator[bytes]:
        """Outside endpoints in the order of preference; the first free one is taken."""
        character, host = self._character, inside[:4]
        if character.pooling == "arbitrary":
            address = self._chance.choice(self._addresses)
        else:
            address = self._paired.setdefault(host, self._addresses[len(self._paired) % len(self._addresses)])
        if character.allocation == "preserving":
            yield address + inside[4:]
        low, high = character.low, character.high
        if character.allocation == "incremental":
            for _ in range(low, high + 1):
                yield address + self._following(protocol, now).to_bytes(2, "big")
            return
        if character.allocation == "chunked":
            low += self._blocks.setdefault(host, len(self._blocks)) * character.block
            high = low + character.block - 1
        for _ in range(4 * (high - low + 1)):
            yield address + self._chance.randint(low, high).to_bytes(2, "big")

    def _following(self, protocol: int, now: float) -> int:
        """The next port of an incremental allocation, after those that others took since the last one."""
        character, size = self._character, self._character.high - self._character.low + 1
        others = self._poisson(character.noise * (now - self._noise_at.get(protocol, now)))
        self._noise_at[protocol] = now
        offset = self._next.get(protocol, self._chance.randrange(size)) + others * character.step
        self._next[protocol] = offset + character.step
        return character.low + offset % size

    def _poisson(self, mean: float) -> int:
        """Knuth's method for small means, the normal distribution for others."""
        if mean > 50:
            return max(0, round(self._chance.gauss(mean, math.sqrt(mean))))
        limit, count, product = math.exp(-mean), 0, self._chance.random()
        while product > limit:
            count += 1
            product *= self._chance.random()
        return count


class Box:
    """The NAT: mappings, filter, translation. ``addresses``: its public ones, four octets each."""

    def __init__(self, character: Character, addresses: tuple[bytes, ...], seed: int) -> None:
        self.character = character
        self.addresses = addresses
        self.counters: Counter[str] = Counter()
        self._ports = Ports(character, addresses, random.Random(seed))
        self._by_inside: dict[bytes, Mapping] = {}
        self._by_outside: dict[bytes, Mapping] = {}
        self._key_end = {"endpoint": 0, "address": 4, "address-and-port": 6}[character.mapping]
        self._filter_end = {"endpoint": 0, "address": 4, "address-and-port": 6}[character.filtering]

    def outward(self, packet: bytearray, now: float) -> Sent:
        """A packet from inside."""
        where = _Where.of(packet)
        if where is None:
            self.counters["not-translatable"] += 1
            return
        if where.error:
            yield from self._error_outward(packet, where, now)
            return
        mapping = self._mapping(packet, where, now)
        if mapping is None:
            self.counters["no-port"] += 1
            return
        mapping.last = now
        mapping.permitted[where.remote_of_source(packet)[: self._filter_end]] = now
        where.rewrite_source(packet, mapping.outside)
        if bytes(packet[16:20]) in self.addresses:
            if self.character.hairpin:
                yield from self.inward(packet, now)
            else:
                self.counters["hairpin"] += 1
            return
        yield OUTSIDE, bytes(packet)

    def inward(self, packet: bytearray, now: float) -> Sent:
        """A packet from outside (or a hairpinned one)."""
        where = _Where.of(packet)
        if where is None:
            self.counters["not-translatable"] += 1
            return
        if where.error:
            yield from self._error_inward(packet, where, now)
            return
        mapping = self._alive(self._by_outside.get(where.protocol + where.destination(packet)), now)
        if mapping is None or not self._passes(mapping, where.remote_of_destination(packet), now):
            self.counters["filtered"] += 1
            yield from self._unsolicited(packet, where)
            return
        if self.character.inbound_refresh:
            mapping.last = now
        where.rewrite_destination(packet, mapping.inside)
        yield INSIDE, bytes(packet)

    def endpoints(self) -> int:
        """Mappings that are held."""
        return len(self._by_inside)

    def _lifetime(self, protocol: int) -> float:
        return self.character.lifetime if protocol == UDP else TCP_LIFETIME if protocol == TCP else ICMP_LIFETIME

    def _alive(self, mapping: Mapping | None, now: float) -> Mapping | None:
        if mapping is not None and now - mapping.last > self._lifetime(mapping.key[0]):
            self._forget(mapping)
            return None
        return mapping

    def _forget(self, mapping: Mapping) -> None:
        self.counters["expired"] += 1
        self._by_inside.pop(mapping.key, None)
        self._by_outside.pop(mapping.key[:1] + mapping.outside, None)

    def _passes(self, mapping: Mapping, source: bytes, now: float) -> bool:
        since = mapping.permitted.get(source[: self._filter_end])
        return since is not None and (self._filter_end == 0 or now - since <= self._lifetime(mapping.key[0]))

    def _mapping(self, packet: bytearray, where: _Where, now: float) -> Mapping | None:
        """The mapping for a packet from inside; a new one where there is none."""
        inside = where.source(packet)
        key = where.protocol + inside + where.remote_of_source(packet)[: self._key_end]
        mapping = self._alive(self._by_inside.get(key), now)
        if mapping is not None or len(self._by_inside) >= MAX_MAPPINGS:
            return mapping
        for outside in self._ports.candidates(key[0], inside, now):
            if self._alive(self._by_outside.get(where.protocol + outside), now) is None:
                mapping = Mapping(key, inside, outside)
                self._by_inside[key] = self._by_outside[where.protocol + outside] = mapping
                self.counters["mappings"] += 1
                return mapping
        return None

    def _unsolicited(self, packet: bytearray, where: _Where) -> Sent:
        """The answer to a SYN for which there is no way in (RFC 5382 REQ-4)."""
        if where.protocol[0] != TCP or packet[where.start + 13] & 0x12 != 0x02:
            return
        if self.character.unsolicited == "rst":
            yield OUTSIDE, reset(packet, where.start)
        elif self.character.unsolicited == "icmp":
            yield OUTSIDE, unreachable(packet, bytes(packet[16:20]), PROHIBITED)

    def _error_inward(self, packet: bytearray, where: _Where, now: float) -> Sent:
        """RFC 5508 REQ-4: by the mapping of the packet inside."""
        inner = where.embedded(packet)
        if inner is None:
            return
        about = packet[where.start + 8 :]
        mapping = self._alive(self._by_outside.get(inner.protocol + inner.source(about)), now)
        if mapping is None or not self._passes(mapping, inner.destination(about), now):
            self.counters["filtered"] += 1
            return
        inner.rewrite_source(about, mapping.inside)
        yield INSIDE, _with_error(packet, where, about, destination=mapping.inside[:4])

    def _error_outward(self, packet: bytearray, where: _Where, now: float) -> Sent:
        """RFC 5508 REQ-5: the error names the mapping's outside endpoint."""
        inner = where.embedded(packet)
        if inner is None:
            return
        about = packet[where.start + 8 :]
        key = inner.protocol + inner.destination(about) + inner.source(about)[: self._key_end]
        mapping = self._alive(self._by_inside.get(key), now)
        if mapping is None:
            return
        inner.rewrite_destination(about, mapping.outside)
        yield OUTSIDE, _with_error(packet, where, about, source=mapping.outside[:4])


class _Where(NamedTuple):
    """Where the fields of one packet are. ``start``: of the transport header. An echo's identifier takes the place of both ports."""

    protocol: bytes
    start: int
    source_port: int
    destination_port: int
    sum_at: int
    error: bool = False

    @classmethod
    def of(cls, packet: bytearray, whole: bool = True) -> _Where | None:
        """None for what this NAT does not translate: later fragments, other protocols, what is cut short."""
        if len(packet) < 28 or packet[0] >> 4 != 4 or packet[6] & 0x1F or packet[7]:
            return None
        protocol, start = packet[9], (packet[0] & 15) * 4
        if start < 20 or len(packet) < start + (20 if protocol == TCP and whole else 8):
            return None
        if protocol == UDP:
            return cls(b"\x11", start, start, start + 2, start + 6)
        if protocol == TCP:
            return cls(b"\x06", start, start, start + 2, start + 16)
        if protocol == ICMP and packet[start] in (ECHO, ECHO_REPLY):
            return cls(b"\x01", start, start + 4, start + 4, start + 2)
        if protocol == ICMP and packet[start] in ERRORS and whole:
            return cls(b"\x01", start, 0, 0, start + 2, True)
        return None

    def embedded(self, packet: bytearray) -> _Where | None:
        """The fields of the packet that an error is about, counted from its own beginning."""
        return _Where.of(packet[self.start + 8 :], whole=False)

    def source(self, packet: bytearray) -> bytes:
        """Address and port."""
        return bytes(packet[12:16] + packet[self.source_port : self.source_port + 2])

    def destination(self, packet: bytearray) -> bytes:
        """Address and port."""
        return bytes(packet[16:20] + packet[self.destination_port : self.destination_port + 2])

    def remote_of_source(self, packet: bytearray) -> bytes:
        """The other end, as mappings and filters are keyed: an echo has no port there."""
        return self.destination(packet) if self.source_port != self.destination_port else bytes(packet[16:20]) + b"\0\0"

    def remote_of_destination(self, packet: bytearray) -> bytes:
        """The same of a packet from outside."""
        return self.source(packet) if self.source_port != self.destination_port else bytes(packet[12:16]) + b"\0\0"

    def rewrite_source(self, packet: bytearray, endpoint: bytes) -> None:
        """With both checksums."""
        self._rewrite(packet, 12, self.source_port, endpoint)

    def rewrite_destination(self, packet: bytearray, endpoint: bytes) -> None:
        """With both checksums."""
        self._rewrite(packet, 16, self.destination_port, endpoint)

    def _rewrite(self, packet: bytearray, address_at: int, port_at: int, endpoint: bytes) -> None:
        old_address, old_port = packet[address_at : address_at + 4], packet[port_at : port_at + 2]
        packet[address_at : address_at + 4] = endpoint[:4]
        packet[port_at : port_at + 2] = endpoint[4:]
        adjust(packet, 10, old_address, endpoint[:4])
        if len(packet) < self.sum_at + 2 or (self.protocol[0] == UDP and packet[self.sum_at : self.sum_at + 2] == b"\0\0"):
            return      # cut short inside an error; or sent without one (RFC 768)
        if self.protocol[0] == ICMP:
            adjust(packet, self.sum_at, old_port, endpoint[4:])
        else:
            adjust(packet, self.sum_at, bytes(old_address + old_port), endpoint)
            if self.protocol[0] == UDP and packet[self.sum_at : self.sum_at + 2] == b"\0\0":
                packet[self.sum_at : self.sum_at + 2] = b"\xff\xff"


def adjust(packet: bytearray, at: int, old: bytes | bytearray, new: bytes | bytearray) -> None:
    """The checksum at ``at`` after the even number of octets ``old`` became ``new``: HC' = ~(~HC + ~m + m') (RFC 1624 3)."""
    total = ~(packet[at] << 8 | packet[at + 1]) & 0xFFFF
    for index in range(0, len(old), 2):
        total += (~(old[index] << 8 | old[index + 1]) & 0xFFFF) + (new[index] << 8 | new[index + 1])
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    packet[at : at + 2] = total.to_bytes(2, "big")


def _with_error(packet: bytearray, where: _Where, about: bytearray, source: bytes = b"", destination: bytes = b"") -> bytes:
    """An ICMP error with another outer address and another packet inside."""
    result = packet[: where.start + 8] + about
    for at, address in ((12, source), (16, destination)):
        if address:
            old = result[at : at + 4]
            result[at : at + 4] = address
            adjust(result, 10, old, address)
    result[where.sum_at : where.sum_at + 2] = b"\0\0"
    result[where.sum_at : where.sum_at + 2] = internet_checksum(result[where.start :]).to_bytes(2, "big")
    return bytes(result)


def ipv4(source: bytes, destination: bytes, protocol: int, body: bytes, ttl: int = 64) -> bytes:
    """A packet without options."""
    start = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + bytes(4)
    header = bytearray(start + bytes((ttl, protocol, 0, 0)) + source + destination)
    header[10:12] = internet_checksum(header).to_bytes(2, "big")
    return bytes(header) + body


def unreachable(packet: bytes | bytearray, source: bytes, code: int, kind: int = 3) -> bytes:
    """An ICMP error about a packet, to its sender (RFC 792): ``kind`` 3 destination unreachable, 11 time exceeded."""
    body = bytearray(bytes((kind, code)) + bytes(6) + packet[:28])
    body[2:4] = internet_checksum(body).to_bytes(2, "big")
    return ipv4(source, bytes(packet[12:16]), ICMP, bytes(body))


def reset(packet: bytearray, start: int) -> bytes:
    """The RST that answers a SYN (RFC 9293 3.10.7.1)."""
    ports = bytes(packet[start + 2 : start + 4] + packet[start : start + 2])
    acknowledged = (int.from_bytes(packet[start + 4 : start + 8], "big") + 1) & 0xFFFFFFFF
    body = bytearray(ports + bytes(4) + acknowledged.to_bytes(4, "big") + b"\x50\x14" + bytes(6))
    source, destination = bytes(packet[16:20]), bytes(packet[12:16])
    body[16:18] = internet_checksum(source + destination + b"\0\x06" + len(body).to_bytes(2, "big") + body).to_bytes(2, "big")
    return ipv4(source, destination, TCP, bytes(body))
