"""What a TAP gives, as super-packets. Sans-IO.

Each frame begins with a header that says what the sender left to the device (virtio 1.2, 5.1.6; Linux, virtio_net.h)::

    | flags | GSO type | header length, 16 bits | GSO size | checksum start | checksum offset |   the computer's byte order

Frames with an IP packet, be it to a host or a group, become super-packets: those of a GSO type are one already, equally long datagrams of
one flow in a row become one, every other packet is parsed. All count as ``verified``: what of the transport's checksum
is missing is computed where it is needed, which is never between own nodes.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

from userlan.wire import ndp
from userlan.wire.errors import WireError
from userlan.wire.ethernet import HEADER_LENGTH as ETHERNET_LENGTH
from userlan.wire.numbers import PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP
from userlan.wire.superpacket import MAX_LENGTH, TCP_MINIMUM, UDP_LENGTH, SuperPacket, parse

VNET = struct.Struct("=BBHHHH")
"""``struct virtio_net_hdr`` without the buffer count, in the byte order of the computer (TUNSETVNETLE was not called)."""

NEEDS_CHECKSUM = 1
"""The flag: the transport's checksum field holds the pseudo-header's sum, the rest is to be added."""

GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP = 0, 1, 4, 5
GSO_ECN = 0x80
"""GSO types; GSO_ECN: the first segment has CWR set (RFC 3168 6.1.2)."""

START = VNET.size + ETHERNET_LENGTH
"""Where the IP packet begins."""

FRAME_SIZE = START + MAX_LENGTH + 1
"""Octets to read: the longest frame and one more."""

_SHORTEST = START + 20 + 8
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_KIND = slice(START - 2, START)
_DESTINATION = VNET.size

# Two datagrams that agree in these octets belong to one run; the Ethernet header and the IP length among them.
_HEAD4, _MIDDLE4, _TAIL4 = slice(_DESTINATION, START + 4), slice(START + 6, START + 10), slice(START + 12, START + 26)
_HEAD6 = slice(_DESTINATION, START + 46)
_DATA4, _DATA6 = START + 28, START + 48
_FRAGMENT4 = slice(START + 6, START + 8)
_WHOLE = (b"\x40\x00", b"\x00\x00")


def packets_of(frames: Sequence[bytes], counters: Counter[str]) -> tuple[list[SuperPacket], list[bytes]]:
    """The super-packets in frames as read, in order, and the frames that are no plain IP: for ``Neighbours`` and ``Foreign``.

    Malformed ones are left out and counted by reason.
    """
    packets: list[SuperPacket] = []
    others: list[bytes] = []
    index, count = 0, len(frames)
    while index < count:
        frame = frames[index]
        index += 1
        kind = frame[_KIND]
        if len(frame) < _SHORTEST or (kind != _IPV4 and kind != _IPV6):
            others.append(frame)
            continue
        try:
            if frame[1] != GSO_NONE:
                packets.append(_segmented(frame))
                continue
            if kind == _IPV4:
                if frame[START + 9] == PROTOCOL_UDP and index < count and _plain4(frame):
                    index, packet = _run4(frames, index, frame)
                    packets.append(packet)
                    continue
            elif frame[START + 6] == PROTOCOL_UDP:
                if index < count and _plain6(frame):
                    index, packet = _run6(frames, index, frame)
                    packets.append(packet)
                    continue
            elif frame[START + 6] == PROTOCOL_ICMPV6 and len(frame) > START + 40 and frame[START + 40] in ndp.TYPES:
                others.append(frame)
                continue
            packets.append(parse(frame[START:], True))
        except WireError as error:
            counters[error.reason] += 1
    return packets, others


def _segmented(frame: bytes) -> SuperPacket:
    """A frame that the kernel has left to be cut. Raises WireError when its description does not fit it."""
    _, kind, _, size, start, _ = VNET.unpack_from(frame)
    kind &= ~GSO_ECN
    start += VNET.size
    if kind in (GSO_TCP4, GSO_TCP6) and START + 20 <= start <= len(frame) - TCP_MINIMUM:
        protocol, end = PROTOCOL_TCP, start + (frame[start + 12] >> 4) * 4
    elif kind == GSO_UDP and START + 20 <= start <= len(frame) - UDP_LENGTH:
        protocol, end = PROTOCOL_UDP, start + UDP_LENGTH
    else:
        raise WireError("gso-type", f"a frame of GSO type {kind} is not known")
    length = len(frame) - START
    version = frame[START] >> 4
    if version == 4:
        stated = frame[START + 2] << 8 | frame[START + 3]
    else:
        stated = (frame[START + 4] << 8 | frame[START + 5]) + 40
    fits = stated == length <= MAX_LENGTH and end <= len(frame) and (version == 4) == (frame[_KIND] == _IPV4)
    if not size or not fits:
        raise WireError("gso-length", f"a frame of {length} octets does not fit its description")
    payload = memoryview(frame)[end:]
    packet = SuperPacket(frame[START:end], payload, size if len(payload) > size else 0, True)
    if packet.protocol != protocol or packet.transport_offset != start - START:
        raise WireError("gso-header", "the transport of a frame is not where its description says")
    return packet


def _plain4(frame: bytes) -> bool:
    """Whether an IPv4 frame holds one whole UDP datagram with data, and no options."""
    length = len(frame) - START
    return (
        frame[START] == 0x45
        and frame[_FRAGMENT4] in _WHOLE
        and length > 28
        and frame[START + 2] << 8 | frame[START + 3] == length
        and frame[START + 24] << 8 | frame[START + 25] == length - 20
    )


def _plain6(frame: bytes) -> bool:
    """As ``_plain4``."""
    length = len(frame) - START
    return length > 48 and frame[START + 4 : START + 6] == frame[START + 44 : START + 46] == (length - 40).to_bytes(2, "big")


def _run4(frames: Sequence[bytes], index: int, first: bytes) -> tuple[int, SuperPacket]:
    """What continues the run of datagrams that ``first`` begins: the index of the next frame, and the super-packet."""
    head, middle, tail = first[_HEAD4], first[_MIDDLE4], first[_TAIL4]
    size = len(first) - _DATA4
    parts = [first[_DATA4:]]
    number = None if first[START + 6] else first[START + 4] << 8 | first[START + 5]
    for frame in frames[index : index + (MAX_LENGTH - 28) // size - 1]:
        if frame[_HEAD4] != head or frame[_TAIL4] != tail or frame[_MIDDLE4] != middle or frame[1]:
            break
        if number is not None and frame[START + 4] << 8 | frame[START + 5] != number + len(parts) & 0xFFFF:
            break
        parts.append(frame[_DATA4:])
    if len(parts) == 1:
        return index, parse(first[START:], True)
    payload = b"".join(parts)
    header = bytearray(first[START:_DATA4])
    header[2:4] = (28 + len(payload)).to_bytes(2, "big")
    header[24:26] = (8 + len(payload)).to_bytes(2, "big")
    return index + len(parts) - 1, SuperPacket(bytes(header), payload, size, True)


def _run6(frames: Sequence[bytes], index: int, first: bytes) -> tuple[int, SuperPacket]:
    """As ``_run4``."""
    head = first[_HEAD6]
    size = len(first) - _DATA6
    parts = [first[_DATA6:]]
    for frame in frames[index : index + (MAX_LENGTH - 48) // size - 1]:
        if frame[_HEAD6] != head or frame[1]:
            break
        parts.append(frame[_DATA6:])
    if len(parts) == 1:
        return index, parse(first[START:], True)
    payload = b"".join(parts)
    header = bytearray(first[START:_DATA6])
    header[4:6] = header[44:46] = (8 + len(payload)).to_bytes(2, "big")
    return index + len(parts) - 1, SuperPacket(bytes(header), payload, size, True)
