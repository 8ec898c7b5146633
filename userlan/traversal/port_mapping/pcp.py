"""The Port Control Protocol's messages (RFC 6887): ANNOUNCE as a probe, MAP as the request.

Layout (7.1, 7.2, 11.1), octets::

    request    version=2 (1) | R=0,opcode (1) | reserved (2) | lifetime (4) | client address (16)
    response   version=2 (1) | R=1,opcode (1) | reserved (1) | result (1) | lifetime (4) | epoch (4) | reserved (12)
    MAP        nonce (12) | protocol (1) | reserved (3) | internal port (2) | external port (2) | external address (16)
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from userlan.wire.endpoint import TCP, UDP, unmapped

PORT: Final = 5351
"""UDP port of the server (RFC 6887 19.1), NAT-PMP's too."""
ANNOUNCE_PORT: Final = 5350
"""UDP port at which clients hear the server's announcements, from its multicast (RFC 6887 14.1.3)."""
VERSION: Final = 2
ANNOUNCE: Final = 0
MAP: Final = 1
RESPONSE: Final = 0x80
NONCE_LENGTH: Final = 12
MAX_LENGTH: Final = 1100
"""Octets of a message (RFC 6887 7)."""
PROTOCOLS: Final = {UDP: 17, TCP: 6}
"""Numbers of the transports in the IP header."""

SUCCESS: Final = 0
UNSUPPORTED_VERSION: Final = 1
UNSUPPORTED_OPCODE: Final = 4

_REQUEST = struct.Struct("!BBHI16s")
_RESPONSE = struct.Struct("!BBBBII12x")
_MAP = struct.Struct("!12sB3xHH16s")


class Answer(NamedTuple):
    """A response. ``epoch`` and ``lifetime`` in seconds; ``lifetime`` of an error: for how long it will stay (RFC 6887 7.4).

    The rest is MAP's: 0 and empty with ANNOUNCE, and with errors that quote no request.
    """

    opcode: int
    result: int
    lifetime: int
    epoch: int
    nonce: bytes = b""
    protocol: int = 0
    internal_port: int = 0
    external_port: int = 0
    external_host: str = ""


def announce(own_host: str) -> bytes:
    """An ANNOUNCE request (RFC 6887 14.1): it asks for the epoch and changes nothing."""
    return _REQUEST.pack(VERSION, ANNOUNCE, 0, 0, _packed(own_host))


def map_request(own_host: str, nonce: bytes, transport: str, internal: int, external: int, lifetime: int, external_host: str = "") -> bytes:
    """A MAP request. ``external`` and ``external_host`` are suggestions, 0 and empty: none. ``lifetime`` in seconds, 0: delete."""
    suggested = external_host or ("::" if ":" in own_host else "0.0.0.0")
    body = _MAP.pack(nonce, PROTOCOLS[transport], internal, external, _packed(suggested))
    return _REQUEST.pack(VERSION, MAP, 0, lifetime, _packed(own_host)) + body


def parse(data: bytes) -> Answer | None:
    """A server's response; None where it is none (8.3: not of this version, no response, of a wrong length).

    A NAT-PMP server answers version 0 with its own layout (RFC 6887 9): that is none of PCP's.
    """
    if not _RESPONSE.size <= len(data) <= MAX_LENGTH or len(data) % 4:
        return None
    version, kind, _, result, lifetime, epoch = _RESPONSE.unpack_from(data)
    if version != VERSION or not kind & RESPONSE:
        return None
    opcode = kind & ~RESPONSE
    if opcode != MAP:
        return Answer(opcode, result, lifetime, epoch)
    if len(data) < _RESPONSE.size + _MAP.size:
        return None
    nonce, protocol, internal, external, host = _MAP.unpack_from(data, _RESPONSE.size)
    return Answer(opcode, result, lifetime, epoch, nonce, protocol, internal, external, unmapped(str(ipaddress.IPv6Address(host))))


def refuses_version(data: bytes) -> bool:
    """Whether an answer says that the server does not speak this version: a NAT-PMP server (RFC 6887 9), or one of another PCP."""
    if len(data) < 4 or not data[1] & RESPONSE:
        return False
    if data[0] == 0:
        return int.from_bytes(data[2:4], "big") == UNSUPPORTED_VERSION
    return data[3] == UNSUPPORTED_VERSION


def epoch_continues(before: int, before_at: float, epoch: int, now: float) -> bool:
    """Whether a server has kept its state between two answers with these epochs (RFC 6887 8.5). Times in seconds of one clock."""
    if epoch < before - 1:
        return False
    client, server = now - before_at, epoch - before
    return client + 2 >= server - server / 16 and server + 2 >= client - client / 16


def _packed(host: str) -> bytes:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed
