"""Which of the packets that follow a datagram continue its run: what may be joined by `superpacket.join`.

All datagrams of a run agree in every octet of their headers but the IPv4 identification and the checksums. Where a
router may fragment, the identification has to count up, as it will when the run is cut again (RFC 6864 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from userlan.wire.numbers import Buffer

_DONT_FRAGMENT = 0x40


@lru_cache(maxsize=256)
def _layout(version: int, size: int) -> Struct:
    """A packet with `size` octets of data: start, identification, middle, checksum, end, checksum, data."""
    return Struct(f"!4s2s4s2s14s2s{size}s" if version == 4 else f"!4s0s36s0s6s2s{size}s")


def continuing(packets: Sequence[Buffer], index: int, header: bytes, size: int, most: int) -> list[Buffer]:
    """The data of the packets from `packets[index]` on that continue the run, `most` at the most.

    `header`: that of the datagram before, IP header (without options) and UDP header; it carries `size` octets.
    """
    version = header[0] >> 4
    layout = _layout(version, size)
    unpack, length = layout.unpack_from, layout.size
    start, identification, middle, _, end, _, _ = unpack(header + bytes(size))
    counted = version == 4 and not header[6] & _DONT_FRAGMENT
    number = int.from_bytes(identification, "big")
    parts: list[Buffer] = []
    for buffer in packets[index : index + most]:
        if len(buffer) < length:
            break
        other, identification, between, _, ports, _, data = unpack(buffer)
        if other != start or between != middle or ports != end:
            break
        if counted and int.from_bytes(identification, "big") != number + len(parts) + 1 & 0xFFFF:
            break
        parts.append(data)
    return parts
