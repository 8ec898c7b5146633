"""TCP segments (RFC 9293 3.1), window scale and timestamps (RFC 7323), selective acknowledgements (RFC 2018).

    |          source port          |       destination port        |
    |                        sequence number                        |
    |                    acknowledgment number                      |
    |offset |  0    |C E U A P R S F|            window             |
    |           checksum            |         urgent pointer        |
    |                   options, 0 to 40 octets                     |
"""

from __future__ import annotations

import struct
from typing import Final

from userlan.wire import ipv4, ipv6
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_TCP, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 20
"""Octets of a header without options."""

MAX_OPTIONS_LENGTH = 40
"""Octets: the data offset has 4 bits (RFC 9293 3.1)."""

MAX_SACK_BLOCKS = 4
"""Blocks that fit in the options; three beside a timestamp (RFC 2018 3)."""

MAX_WINDOW_SCALE = 14
"""A larger shift is taken for this one (RFC 7323 2.3)."""

OPTION_END = 0
OPTION_NOP = 1
OPTION_MSS = 2
OPTION_WINDOW_SCALE = 3
OPTION_SACK_PERMITTED = 4
OPTION_SACK = 5
OPTION_TIMESTAMP = 8
"""Option kinds (IANA "TCP Option Kind Numbers")."""

_HEADER = struct.Struct("!HHIIBBHHH")
_TWO = struct.Struct("!II")
_TIMESTAMP_PREFIX = b"\x01\x01\x08\x0a"
"""Two NOPs, kind and length: the layout of RFC 7323 appendix A, which nearly every segment has."""


class Flags:
    """The control bits (RFC 9293 3.1, RFC 3168 6.1)."""

    FIN: Final = 1
    SYN: Final = 2
    RST: Final = 4
    PSH: Final = 8
    ACK: Final = 16
    URG: Final = 32
    ECE: Final = 64
    CWR: Final = 128


class Segment:
    """One TCP segment, or a super-segment of several.

    `seq`, `ack`: modulo 2**32. `window`: as on the wire, unscaled. `segment_size`: as SuperPacket's. `mss` (octets),
    `window_scale` (a shift) and `sack_permitted` exist in SYN segments only. `sack`: up to four `(left, right)`.
    `timestamp`: `(TSval, TSecr)`. `ecn`: the codepoint in the IP header (RFC 3168 5).
    """

    __slots__ = (
        "ack",
        "destination_port",
        "ecn",
        "flags",
        "mss",
        "payload",
        "sack",
        "sack_permitted",
        "segment_size",
        "seq",
        "source_port",
        "timestamp",
        "urgent",
        "window",
        "window_scale",
    )

    def __init__(
        self,
        source_port: int = 0,
        destination_port: int = 0,
        seq: int = 0,
        ack: int = 0,
        flags: int = 0,
        window: int = 0,
        urgent: int = 0,
        payload: Buffer = b"",
        segment_size: int = 0,
        mss: int | None = None,
        window_scale: int | None = None,
        sack_permitted: bool = False,
        sack: tuple[tuple[int, int], ...] = (),
        timestamp: tuple[int, int] | None = None,
        ecn: int = 0,
    ) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = urgent
        self.payload = payload
        self.segment_size = segment_size
        self.mss = mss
        self.window_scale = window_scale
        self.sack_permitted = sack_permitted
        self.sack = sack
        self.timestamp = timestamp
        self.ecn = ecn

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # a mutable value

    def __repr__(self) -> str:
        every = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
        names = [name for name in every if self.flags & getattr(Flags, name)]
        parts = [f"{self.source_port}>{self.destination_port}", "|".join(names) or "-"]
        parts += [f"seq={self.seq}", f"ack={self.ack}", f"window={self.window}", f"length={len(self.payload)}"]
        for name in ("urgent", "segment_size", "mss", "window_scale", "sack_permitted", "sack", "timestamp", "ecn"):
            value = getattr(self, name)
            if value not in (0, None, False, ()):
                parts.append(f"{name}={value}")
        return f"Segment({' '.join(parts)})"


def parse_segment(packet: SuperPacket) -> Segment:
    """The segment in a super-packet. Raises WireError when it is not TCP, a fragment, or its options are malformed.

    An option with an impossible length refuses the segment (RFC 9293 3.2, MUST-7); unknown ones are skipped (MUST-6).
    """
    if packet.protocol != PROTOCOL_TCP or packet.fragment:
        raise WireError("tcp-protocol", "the packet holds no whole TCP segment")
    header = packet.header
    offset = packet.transport_offset
    source_port, destination_port, seq, ack, _, flags, window, _, urgent = _HEADER.unpack_from(header, offset)
    segment = Segment(
        source_port, destination_port, seq, ack, flags, window, urgent, packet.payload, packet.segment_size
    )
    segment.ecn = header[1] & 3 if packet.version == 4 else header[1] >> 4 & 3
    size = len(header) - offset - HEADER_LENGTH
    if size:
        start = offset + HEADER_LENGTH
        if size == 12 and header[start : start + 4] == _TIMESTAMP_PREFIX:
            segment.timestamp = _TWO.unpack_from(header, start + 4)
        else:
            _parse_options(segment, header, start)
    return segment


def _parse_options(segment: Segment, header: bytes, offset: int) -> None:
    """Read the options from `offset` to the end of `header` into `segment`. Raises WireError."""
    end = len(header)
    while offset < end:
        kind = header[offset]
        if kind == OPTION_END:
            return
        if kind == OPTION_NOP:
            offset += 1
            continue
        length = header[offset + 1] if offset + 1 < end else 0
        if length < 2 or offset + length > end:
            raise WireError("tcp-option", f"TCP option {kind} has an impossible length of {length}")
        _take_option(segment, kind, header[offset + 2 : offset + length])
        offset += length


def _take_option(segment: Segment, kind: int, data: bytes) -> None:
    """Keep one option. Raises WireError when a known one has a length other than its own."""
    size = len(data)
    if kind == OPTION_TIMESTAMP and size == 8:
        segment.timestamp = _TWO.unpack(data)
    elif kind == OPTION_SACK and size and size % 8 == 0:
        segment.sack = tuple(_TWO.iter_unpack(data))
    elif kind == OPTION_MSS and size == 2:
        if segment.flags & Flags.SYN:
            segment.mss = int.from_bytes(data, "big")
    elif kind == OPTION_WINDOW_SCALE and size == 1:
        if segment.flags & Flags.SYN:
            segment.window_scale = min(data[0], MAX_WINDOW_SCALE)
    elif kind == OPTION_SACK_PERMITTED and size == 0:
        if segment.flags & Flags.SYN:
            segment.sack_permitted = True
    elif kind in (OPTION_TIMESTAMP, OPTION_SACK, OPTION_MSS, OPTION_WINDOW_SCALE, OPTION_SACK_PERMITTED):
        raise WireError("tcp-option", f"TCP option {kind} has a wrong length of {size + 2}")


def _build_options(segment: Segment) -> bytes:
    """The options, padded to a multiple of 4 octets; SACK blocks beyond the room are left out, the last ones first."""
    parts: list[bytes] = []
    timestamp = segment.timestamp
    if segment.mss is not None:
        parts.append(b"\x02\x04" + segment.mss.to_bytes(2, "big"))
    if segment.sack_permitted:
        parts.append(b"\x04\x02" if timestamp else b"\x01\x01\x04\x02")
    if timestamp:
        if not segment.sack_permitted:
            parts.append(b"\x01\x01")
        parts.append(b"\x08\x0a" + _TWO.pack(*timestamp))
    if segment.window_scale is not None:
        parts.append(b"\x01\x03\x03" + segment.window_scale.to_bytes(1, "big"))
    if segment.sack:
        room = (MAX_OPTIONS_LENGTH - sum(map(len, parts)) - 4) // 8
        blocks = segment.sack[: min(room, MAX_SACK_BLOCKS)]
        if blocks:
            parts.append(b"\x01\x01\x05" + (2 + 8 * len(blocks)).to_bytes(1, "big"))
            parts.extend(_TWO.pack(left, right) for left, right in blocks)
    return b"".join(parts)


def build(
    segment: Segment, source: bytes, destination: bytes, hop_limit: int = 64, traffic_class: int = 0
) -> SuperPacket:
    """The super-packet of a segment between two packed addresses of one family; `traffic_class` holds DSCP and ECN,
    to which the segment's own `ecn` is added.

    IPv4 gets "don't fragment" and identification 0. Checksums are left zero for `cut` to fill in; `verified` is true.
    Raises WireError when header and payload exceed 65,535 octets.
    """
    options = b""
    timestamp = segment.timestamp
    if segment.sack or segment.flags & Flags.SYN:
        options = _build_options(segment)
    elif timestamp:
        options = _TIMESTAMP_PREFIX + _TWO.pack(*timestamp)
    length = HEADER_LENGTH + len(options)
    payload = segment.payload
    ip = ipv4 if len(source) == 4 else ipv6
    header = ip.build_header(
        source, destination, PROTOCOL_TCP, length + len(payload), hop_limit=hop_limit, traffic_class=traffic_class | segment.ecn
    )
    transport = _HEADER.pack(
        segment.source_port,
        segment.destination_port,
        segment.seq,
        segment.ack,
        length << 2,
        segment.flags,
        segment.window,
        0,
        segment.urgent,
    )
    return SuperPacket(header + transport + options, payload, segment.segment_size, True)
