"""PROBE and PROBE_ANSWER: how two ends find out by which endpoints they reach each other, before any tunnel is there.

Both are 64 octets, so that nothing is won by provoking an answer::

     0        4                12       13     14          16             32        40       48         64
    +--------+----------------+--------+------+-----------+--------------+---------+--------+----------+
    | kind   | attempt        | role   | zero | to: port  | to: address  | number  | time   | MAC      |
    +--------+----------------+--------+------+-----------+--------------+---------+--------+----------+

``attempt`` is of the introduction's token and tells attempts apart; the key of the MAC (keyed BLAKE2s, RFC 7693 2.9) is of the token, too,
so it keeps out everybody but the two ends and who introduced them: what really proves an end is the tunnel's handshake afterwards.
``role`` says which end sent it, so that a probe that comes back (a NAT that turns round, a third party's echo) is none. ``to`` is where
its sender sent it (IPv4 as IPv4-mapped IPv6, RFC 4291 2.5.5.2): an answer so tells its reader from where it was seen. ``number`` counts a
sender's probes and comes back with the answer, as does ``time``, microseconds of the prober's own clock.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from typing import Final, NamedTuple

from userlan.traversal.kinds import PROBE, PROBE_ANSWER
from userlan.wire.endpoint import Endpoint, unmapped
from userlan.wire.numbers import Buffer

SIZE: Final = 64
"""Octets of either."""
MAC_SIZE: Final = 16
ATTEMPT_SIZE: Final = 8

_LAYOUT: Final = struct.Struct(">4s8sBxH16sQQ")
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Probe(NamedTuple):
    """What one says. ``answer``: it answers the one with this ``number``. ``host`` and ``port``: where its sender sent it."""

    answer: bool
    role: int
    host: str
    port: int
    number: int
    time: int


def is_probe(data: Buffer) -> bool:
    """Whether a datagram claims to be one; cheap."""
    return len(data) == SIZE and bytes(data[:4]) in (PROBE, PROBE_ANSWER)


def attempt_of(data: Buffer) -> bytes:
    """The attempt that a datagram of ``is_probe`` names."""
    return bytes(data[4 : 4 + ATTEMPT_SIZE])


class ProbeKey:
    """One end's codec for one attempt. ``role`` is 0 for the end with the lesser public key, 1 for the other."""

    __slots__ = ("_key", "attempt", "role")

    def __init__(self, token: bytes, role: int) -> None:
        self.attempt = hashlib.blake2s(token, digest_size=ATTEMPT_SIZE, person=b"attempt").digest()
        self.role = role
        self._key = hashlib.blake2s(token, person=b"probekey").digest()

    def probe(self, target: Endpoint, number: int, time: int) -> bytes:
        """A probe for ``target``."""
        return self._seal(PROBE, target, number, time)

    def answer(self, probe: Probe, target: Endpoint) -> bytes:
        """The answer to a probe that came from ``target``."""
        return self._seal(PROBE_ANSWER, target, probe.number, probe.time)

    def open(self, data: Buffer) -> Probe | None:
        """What the other end says; None where it is of another attempt, not authentic, or this end's own."""
        if not is_probe(data):
            return None
        content = bytes(data)
        kind, attempt, role, port, address, number, time = _LAYOUT.unpack_from(content)
        if attempt != self.attempt or role != 1 - self.role or not hmac.compare_digest(self._mac(content[:-MAC_SIZE]), content[-MAC_SIZE:]):
            return None
        host = unmapped(str(ipaddress.IPv6Address(address)))
        return Probe(kind == PROBE_ANSWER, role, host, port, number, time)

    def _seal(self, kind: bytes, target: Endpoint, number: int, time: int) -> bytes:
        packed = ipaddress.ip_address(target.host).packed
        address = _MAPPED + packed if len(packed) == 4 else packed
        content = _LAYOUT.pack(kind, self.attempt, self.role, target.port, address, number, time)
        return content + self._mac(content)

    def _mac(self, content: bytes) -> bytes:
        return hashlib.blake2s(content, digest_size=MAC_SIZE, key=self._key).digest()
