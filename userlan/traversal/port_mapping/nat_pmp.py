"""NAT-PMP's messages (RFC 6886): the external address as a probe, a mapping for each transport.

Layout (3.2, 3.3), octets::

    address request    version=0 (1) | opcode=0 (1)
    address response   version (1) | 128 (1) | result (2) | epoch (4) | address (4)
    mapping request    version=0 (1) | 1 UDP, 2 TCP (1) | reserved (2) | internal port (2) | external port (2) | lifetime (4)
    mapping response   version (1) | 129, 130 (1) | result (2) | epoch (4) | internal port (2) | external port (2) | lifetime (4)
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from userlan.wire.endpoint import TCP, UDP

VERSION: Final = 0
ADDRESS: Final = 0
OPCODES: Final = {UDP: 1, TCP: 2}
RESPONSE: Final = 0x80
SUCCESS: Final = 0

_ADDRESS = struct.Struct("!BBHI4s")
_REQUEST = struct.Struct("!BBHHHI")
_MAPPING = struct.Struct("!BBHIHHI")
_ERROR = struct.Struct("!BBHI")


class Answer(NamedTuple):
    """A response: of the address (opcode 0), or of a mapping. ``epoch`` and ``lifetime`` in seconds."""

    opcode: int
    result: int
    epoch: int
    internal_port: int = 0
    external_port: int = 0
    lifetime: int = 0
    external_host: str = ""


def address_request() -> bytes:
    """Asks for the external address; changes nothing (3.2)."""
    return bytes((VERSION, ADDRESS))


def map_request(transport: str, internal: int, external: int, lifetime: int) -> bytes:
    """A mapping request (3.3). ``external`` is a suggestion. ``lifetime`` in seconds; 0, with ``external`` 0: delete (3.4)."""
    return _REQUEST.pack(VERSION, OPCODES[transport], 0, internal, external, lifetime)


def parse(data: bytes) -> Answer | None:
    """A server's response; None where it is none. An error has no more than its head (3.5 leaves the rest open)."""
    if len(data) < _ERROR.size:
        return None
    version, kind, result, epoch = _ERROR.unpack_from(data)
    opcode = kind & ~RESPONSE
    if version != VERSION or not kind & RESPONSE or opcode > 2:
        return None
    if result != SUCCESS:
        internal = int.from_bytes(data[8:10], "big") if len(data) >= _MAPPING.size else 0
        return Answer(opcode, result, epoch, internal)
    if opcode == ADDRESS:
        if len(data) < _ADDRESS.size:
            return None
        return Answer(opcode, result, epoch, external_host=str(ipaddress.IPv4Address(data[8:12])))
    if len(data) < _MAPPING.size:
        return None
    _, _, _, _, internal, external, lifetime = _MAPPING.unpack_from(data)
    return Answer(opcode, result, epoch, internal, external, lifetime)


def epoch_continues(before: int, before_at: float, epoch: int, now: float) -> bool:
    """Whether a server has kept its state between two answers with these epochs (3.6): at least 7/8 of the time, less two seconds."""
    return epoch >= before + (now - before_at) * 7 / 8 - 2
