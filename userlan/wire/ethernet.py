"""Ethernet II frames (IEEE 802.3, RFC 894, RFC 2464), without preamble and check sequence, as a TAP has them.

    | destination, 6 octets | source, 6 octets | type, 2 octets | payload |
"""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.errors import WireError
from userlan.wire.numbers import Buffer

HEADER_LENGTH = 14
"""Octets in front of the payload; a frame with a VLAN tag is one of another type here."""

ADDRESS_LENGTH = 6
"""Octets of a hardware address."""

TYPE_IPV4 = 0x0800
TYPE_ARP = 0x0806
TYPE_RARP = 0x8035
TYPE_VLAN = 0x8100
TYPE_IPV6 = 0x86DD
TYPE_PROVIDER_VLAN = 0x88A8
TYPE_OLDER_PROVIDER_VLAN = 0x9100
FIRST_TYPE = 0x0600
"""Types (IANA "IEEE 802 Numbers"); below FIRST_TYPE the field is the length of an 802.3 frame."""

BROADCAST = b"\xff" * ADDRESS_LENGTH


class Frame(NamedTuple):
    """One frame; the addresses are packed."""

    destination: bytes
    source: bytes
    type: int
    payload: Buffer


def parse(frame: Buffer) -> Frame:
    """The fields of a frame. Raises WireError when it is shorter than its header."""
    if len(frame) < HEADER_LENGTH:
        raise WireError("ethernet-truncated", f"an Ethernet frame of {len(frame)} octets is shorter than its header")
    return Frame(bytes(frame[:6]), bytes(frame[6:12]), frame[12] << 8 | frame[13], frame[HEADER_LENGTH:])


def build_header(destination: bytes, source: bytes, kind: int) -> bytes:
    """The 14 octets in front of a payload."""
    return destination + source + kind.to_bytes(2, "big")


def group_address(destination: bytes) -> bytes:
    """The hardware address of a packed IP multicast group (RFC 1112 6.4: 23 bits; RFC 2464 7: 32 bits), or of the limited
    broadcast."""
    if len(destination) == 16:
        return b"\x33\x33" + destination[12:]
    if destination[0] & 0xF0 == 0xE0:
        return bytes((0x01, 0x00, 0x5E, destination[1] & 0x7F)) + destination[2:]
    return BROADCAST


def is_group(address: Buffer) -> bool:
    """Whether a hardware address is a multicast or the broadcast one (IEEE 802: the individual/group bit)."""
    return bool(address[0] & 1)
