"""Art-Net: the address that a node says it has (Art-Net 4, ArtPollReply).

::

    "Art-Net" 00 ‖ opcode 2, little-endian ‖ address 4 ‖ … ‖ address of the root device 4 (at 207) ‖ …

Both addresses of an ArtPollReply (opcode 0x2100) get the other side's; controllers send their data there. All other
packets name none.
"""

from __future__ import annotations

import ipaddress

from bridges.rewrite.translation import Translation

MAX_SIZE = 1_500
"""Bytes of a packet; ArtDmx has 530."""

_IDENTITY = b"Art-Net\0"
_POLL_REPLY = b"\x00\x21"
_ADDRESS = 10
_ROOT_ADDRESS = 207


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """A packet with the other side's addresses; None for what is no Art-Net, and for a node that has none there."""
    if len(datagram) > MAX_SIZE or not datagram.startswith(_IDENTITY) or len(datagram) < _ADDRESS:
        return None
    if datagram[8:10] != _POLL_REPLY:
        return datagram
    written = bytearray(datagram)
    for offset in (_ADDRESS, _ROOT_ADDRESS):
        address = datagram[offset : offset + 4]
        if len(address) < 4 or not any(address):
            continue
        moved = translation.host(str(ipaddress.IPv4Address(address)))
        packed = b"" if moved is None else ipaddress.ip_address(moved).packed
        if len(packed) != 4:
            return None
        written[offset : offset + 4] = packed
    return bytes(written)
