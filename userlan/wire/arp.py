"""ARP for IPv4 over Ethernet (RFC 826).

    | hardware 1 | protocol 0x0800 | 6 | 4 | operation | sender: hardware, protocol | target: hardware, protocol |
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from userlan.wire.errors import WireError
from userlan.wire.ethernet import ADDRESS_LENGTH, TYPE_IPV4
from userlan.wire.numbers import Buffer

LENGTH = 28
"""Octets of a message; Ethernet pads it to 46."""

REQUEST = 1
REPLY = 2
"""Operations (RFC 826; IANA "ARP Parameters")."""

HARDWARE_ETHERNET = 1

_MESSAGE = struct.Struct("!HHBBH6s4s6s4s")


class Message(NamedTuple):
    """One message; all addresses packed. A probe (RFC 5227) has a sender address of zeros."""

    operation: int
    sender_hardware: bytes
    sender: bytes
    target_hardware: bytes
    target: bytes


def parse(payload: Buffer) -> Message:
    """The message in a frame's payload, padding ignored. Raises WireError when it is not IPv4 over Ethernet."""
    if len(payload) < LENGTH:
        raise WireError("arp-truncated", f"an ARP message of {len(payload)} octets is shorter than {LENGTH}")
    hardware, protocol, hardware_length, protocol_length, *fields = _MESSAGE.unpack_from(payload)
    if (hardware, protocol, hardware_length, protocol_length) != (HARDWARE_ETHERNET, TYPE_IPV4, ADDRESS_LENGTH, 4):
        raise WireError("arp-kind", "an ARP message is not about IPv4 over Ethernet")
    return Message(*fields)


def build(message: Message) -> bytes:
    """The payload of a frame."""
    return _MESSAGE.pack(HARDWARE_ETHERNET, TYPE_IPV4, ADDRESS_LENGTH, 4, *message)
