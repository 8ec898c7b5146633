"""The super-packet: one header and up to 64 KB of payload, as one unit.

    header   | IP header | extension headers (IPv6) | TCP header and options, or UDP header |
    payload  | segment_size | segment_size | segment_size | ... | the rest |

`parse` makes one of an IP packet, `cut` cuts one into wire packets (what hardware calls GSO), `join` joins wire packets
into as few as it can (GRO). Of TCP the borders do not matter; joined datagrams keep theirs by `segment_size`, so they
are joined only where all but the last have one size, and whoever takes them has to ask for it.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

from userlan.wire import ipv4, ipv6
from userlan.wire.checksum import finish, pseudo_residue, residue, transport_ok
from userlan.wire.datagram_run import continuing
from userlan.wire.errors import WireError
from userlan.wire.numbers import MAX_PACKET, PROTOCOL_FRAGMENT, PROTOCOL_TCP, PROTOCOL_UDP, Buffer

MAX_LENGTH = MAX_PACKET
"""Octets of header and payload together: the IP length field describes the whole."""

MAX_PAYLOAD = MAX_PACKET - ipv6.HEADER_LENGTH - 60
"""Octets of payload that fit behind any header that is built here (IPv6, TCP with all its options)."""

TCP_MINIMUM = 20
UDP_LENGTH = 8
"""Octets of the shortest TCP header (RFC 9293 3.1) and of the UDP header (RFC 768)."""


_SEQUENCE_MASK = 0xFFFFFFFF
_FIN, _SYN, _RST, _PSH, _ACK, _URG, _CWR = 1, 2, 4, 8, 16, 32, 128
"""TCP control bits (RFC 9293 3.1, RFC 3168 6.1); `tcp.Flags`, which stands above this module, names them."""


class SuperPacket:
    """One IP packet, or several of one flow that differ in sequence and length only.

    `header` holds the IP header, its extension headers, and the TCP header with options or the UDP header; for every
    other protocol, and for fragments, the IP part only. Its length fields describe the whole. `segment_size` is 0 for
    one IP packet, else the payload octets of every wire packet but the last. `verified`: the transport checksum need
    not be checked. The header must be well formed, as `parse` and the builders leave it. Every field is read-only.
    """

    __slots__ = (
        "destination",
        "fragment",
        "header",
        "payload",
        "protocol",
        "segment_size",
        "source",
        "transport_offset",
        "verified",
        "version",
    )

    def __init__(self, header: bytes, payload: Buffer, segment_size: int = 0, verified: bool = False) -> None:
        self.header = header
        self.payload = payload
        self.segment_size = segment_size
        self.verified = verified
        self.version = header[0] >> 4
        """4 or 6."""
        self.protocol: int
        """Of the transport; PROTOCOL_FRAGMENT for an IPv6 fragment, PROTOCOL_RESERVED: not to be processed."""
        self.transport_offset: int
        """Where the TCP or UDP header starts in `header`; for others the length of `header`."""
        if self.version == 4:
            self.protocol = header[9]
            self.transport_offset = (header[0] & 0x0F) * 4
            self.fragment = header[6] & 0x3F != 0 or header[7] != 0
            self.source = header[12:16]
            self.destination = header[16:20]
        else:
            self.protocol = header[6]
            self.transport_offset = ipv6.HEADER_LENGTH
            if self.protocol in ipv6.EXTENSION_HEADERS:
                self.protocol, self.transport_offset, _, _ = ipv6.walk(header, len(header))
            self.fragment = self.protocol == PROTOCOL_FRAGMENT
            self.source = header[8:24]
            self.destination = header[24:40]

    @property
    def length(self) -> int:
        """Octets of header and payload."""
        return len(self.header) + len(self.payload)

    @property
    def wire_count(self) -> int:
        """How many IP packets `cut` makes of it."""
        size = self.segment_size
        if size == 0 or len(self.payload) <= size:
            return 1
        return (len(self.payload) + size - 1) // size

    @property
    def traffic_class(self) -> int:
        """DSCP and ECN, 8 bits (RFC 2474, RFC 3168)."""
        if self.version == 4:
            return self.header[1]
        return (self.header[0] & 0x0F) << 4 | self.header[1] >> 4

    @property
    def hop_limit(self) -> int:
        """Time to live or hop limit."""
        return self.header[8] if self.version == 4 else self.header[7]

    def __repr__(self) -> str:
        return (
            f"SuperPacket(version={self.version}, protocol={self.protocol}, source={self.source.hex()}, "
            f"destination={self.destination.hex()}, header={len(self.header)}, payload={len(self.payload)}, "
            f"segment_size={self.segment_size}, verified={self.verified})"
        )


def parse(packet: Buffer, verified: bool = False) -> SuperPacket:
    """One IP packet as a SuperPacket; octets after its length are padding and fall away.

    Unless `verified`, the checksum of the IPv4 header is checked; that of the transport is left to
    `checksum.transport_ok`. The payload is a slice of `packet` (a view, when that is a memoryview). Raises WireError.
    """
    if not packet:
        raise WireError("ip-empty", "an empty packet")
    version = packet[0] >> 4
    if version == 4:
        offset, end = ipv4.checked_lengths(packet, verified)
        protocol = -1 if ipv4.is_fragment(packet) else packet[9]
    elif version == 6:
        end = ipv6.checked_length(packet)
        protocol = packet[6]
        offset = ipv6.HEADER_LENGTH
        if protocol in ipv6.EXTENSION_HEADERS:
            protocol, offset, _, _ = ipv6.walk(packet, end)
    else:
        raise WireError("ip-version", f"IP version {version} is not known")
    if end > MAX_LENGTH:
        raise WireError("ip-too-long", f"a packet of {end} octets exceeds {MAX_LENGTH}")
    if protocol == PROTOCOL_TCP:
        offset += _tcp_header_length(packet, offset, end)
    elif protocol == PROTOCOL_UDP:
        _check_udp(packet, offset, end)
        offset += UDP_LENGTH
    return SuperPacket(bytes(packet[:offset]), packet[offset:end], 0, verified)


def _tcp_header_length(packet: Buffer, offset: int, end: int) -> int:
    """Octets of the TCP header at `offset`. Raises WireError."""
    if end - offset < TCP_MINIMUM:
        raise WireError("tcp-truncated", f"a TCP segment of {end - offset} octets is shorter than its header")
    length = (packet[offset + 12] >> 4) * 4
    if length < TCP_MINIMUM:
        raise WireError("tcp-data-offset", f"a TCP data offset of {length} octets is below 20")
    if offset + length > end:
        raise WireError("tcp-truncated", f"a TCP header of {length} octets came with {end - offset}")
    return length


def _check_udp(packet: Buffer, offset: int, end: int) -> None:
    """Raises WireError when the UDP header at `offset` is cut off or its length impossible."""
    if end - offset < UDP_LENGTH:
        raise WireError("udp-truncated", f"a UDP datagram of {end - offset} octets is shorter than its header")
    length = packet[offset + 4] << 8 | packet[offset + 5]
    if length < UDP_LENGTH:
        raise WireError("udp-length", f"a UDP length of {length} is below 8")
    if length > end - offset:
        raise WireError("udp-truncated", f"a UDP datagram of {length} octets came with {end - offset}")


def cut(packet: SuperPacket, checksums: bool, limit: int = 0) -> list[bytes]:
    """The IP packets that a super-packet stands for, complete.

    TCP: the sequence number advances, FIN and PSH are on the last only, CWR on the first only (RFC 3168 6.1.2).
    UDP: one datagram each. Without "don't fragment" the IPv4 identification counts up from the header's own (RFC 6864
    4.2).
    `checksums`: compute those of TCP, UDP and IPv4; else they stay as in the header, or zero when there are several.
    A single packet that is not `verified` keeps the transport checksum that it arrived with.
    `limit`: octets of the largest IP packet that the path carries; 0: what `segment_size` makes. A TCP segment has no
    borders that matter, so it is cut as coarsely as the path allows, in multiples of `segment_size`, or finer than that
    where the path has become narrower; other packets keep theirs, and so does TCP with SYN, RST or URG, whose pieces would say other
    things.
    """
    if packet.fragment:
        return [_whole(packet, checksums)]
    if packet.protocol == PROTOCOL_TCP:
        size = _tcp_size(packet, limit)
        if size >= len(packet.payload):
            return [_whole(packet, checksums)]
        if checksums or (packet.version == 4 and not packet.header[6] & 0x40):
            return _cut_each(packet, size, checksums)
        return _cut_tcp(packet, size)
    if packet.protocol == PROTOCOL_UDP and packet.wire_count > 1:
        if checksums or (packet.version == 4 and not packet.header[6] & 0x40):
            return _cut_each(packet, packet.segment_size, checksums)
        return _cut_udp(packet)
    return [_whole(packet, checksums)]


def _tcp_size(packet: SuperPacket, limit: int) -> int:
    """Octets of TCP payload in each wire packet on a path that carries `limit` octets (0: unknown)."""
    size = packet.segment_size or len(packet.payload)
    room = limit - len(packet.header)
    if room <= 0 or not size or packet.header[packet.transport_offset + 13] & (_SYN | _RST | _URG):
        return size
    return room // size * size if room >= size else room


def _ip_part(packet: SuperPacket, payload_length: int, index: int, checksums: bool) -> bytes:
    """The IP header and its extensions for wire packet `index`, which carries `payload_length` octets."""
    header = packet.header[: packet.transport_offset]
    total = len(packet.header) + payload_length
    if packet.version == 6:
        return header[:4] + (total - ipv6.HEADER_LENGTH).to_bytes(2, "big") + header[6:]
    identification = header[4:6]
    if index and not header[6] & 0x40:
        identification = (int.from_bytes(identification, "big") + index & 0xFFFF).to_bytes(2, "big")
    header = b"".join((header[:2], total.to_bytes(2, "big"), identification, header[6:10], b"\0\0", header[12:]))
    return ipv4.with_checksum(header) if checksums else header


def _tcp_tail(packet: SuperPacket, flags: int) -> bytes:
    """The TCP header from behind the sequence number on, with these flags and a zero checksum."""
    header = packet.header
    offset = packet.transport_offset
    window = header[offset + 14 : offset + 16]
    return b"".join((header[offset + 8 : offset + 13], bytes((flags,)), window, b"\0\0", header[offset + 18 :]))


def _cut_tcp(packet: SuperPacket, size: int) -> list[bytes]:
    """The quick way: no checksums, one identification; every packet is prefix, sequence number, suffix, payload."""
    header = packet.header
    payload = packet.payload
    offset = packet.transport_offset
    last = (len(payload) - 1) // size * size
    flags = header[offset + 13]
    sequence = int.from_bytes(header[offset + 4 : offset + 8], "big")
    ports = header[offset : offset + 4]
    prefix = _ip_part(packet, size, 0, False) + ports
    suffix = _tcp_tail(packet, flags & ~(_FIN | _PSH | _CWR))
    pack = struct.Struct(f"!{len(prefix)}sI{len(suffix)}s").pack
    packets = [
        pack(prefix, sequence + start & _SEQUENCE_MASK, suffix) + payload[start : start + size]
        for start in range(0, last, size)
    ]
    if flags & _CWR:
        packets[0] = pack(prefix, sequence, _tcp_tail(packet, flags & ~(_FIN | _PSH))) + payload[:size]
    prefix = _ip_part(packet, len(payload) - last, 0, False) + ports
    suffix = _tcp_tail(packet, flags & ~_CWR)
    packets.append(pack(prefix, sequence + last & _SEQUENCE_MASK, suffix) + payload[last:])
    return packets


def _cut_udp(packet: SuperPacket) -> list[bytes]:
    """The quick way: all datagrams but the last begin with the same octets."""
    payload = packet.payload
    size = packet.segment_size
    last = (packet.wire_count - 1) * size
    prefix = _ip_part(packet, size, 0, False) + _transport_part(packet, 0, 1, size)
    packets = [prefix + payload[start : start + size] for start in range(0, last, size)]
    rest = len(payload) - last
    packets.append(b"".join((_ip_part(packet, rest, 0, False), _transport_part(packet, 0, 1, rest), payload[last:])))
    return packets


def _cut_each(packet: SuperPacket, size: int, checksums: bool) -> list[bytes]:
    """The general way: each wire packet gets its own IP header, transport header and, if asked for, checksums."""
    payload = packet.payload
    count = -(-len(payload) // size)
    shared = packet.version == 6 or bool(packet.header[6] & 0x40)
    network = _ip_part(packet, size, 0, checksums)
    packets: list[bytes] = []
    for index in range(count):
        chunk = payload[index * size : (index + 1) * size]
        if index and (not shared or index == count - 1):
            network = _ip_part(packet, len(chunk), index, checksums)
        transport = _transport_part(packet, index * size, count - 1 - index, len(chunk))
        if checksums:
            transport = _with_checksum(packet, transport, chunk)
        packets.append(b"".join((network, transport, chunk)))
    return packets


def _transport_part(packet: SuperPacket, start: int, following: int, payload_length: int) -> bytes:
    """The TCP or UDP header of the wire packet whose payload begins at `start`, its checksum zero; `following` more
    come after it."""
    header = packet.header
    offset = packet.transport_offset
    if packet.protocol == PROTOCOL_UDP:
        return header[offset : offset + 4] + (UDP_LENGTH + payload_length).to_bytes(2, "big") + b"\0\0"
    flags = header[offset + 13]
    if start:
        flags &= ~_CWR
    if following:
        flags &= ~(_FIN | _PSH)
    sequence = int.from_bytes(header[offset + 4 : offset + 8], "big") + start & _SEQUENCE_MASK
    return header[offset : offset + 4] + sequence.to_bytes(4, "big") + _tcp_tail(packet, flags)


def _with_checksum(packet: SuperPacket, transport: bytes, payload: Buffer) -> bytes:
    """A TCP or UDP header whose checksum is zero, with it computed."""
    position = 16 if packet.protocol == PROTOCOL_TCP else 6
    total = pseudo_residue(packet.source, packet.destination, packet.protocol, len(transport) + len(payload))
    checksum = finish(total + residue(transport) + residue(payload))
    if checksum == 0 and packet.protocol == PROTOCOL_UDP:
        checksum = 0xFFFF
    return transport[:position] + checksum.to_bytes(2, "big") + transport[position + 2 :]


def _whole(packet: SuperPacket, checksums: bool) -> bytes:
    """The one IP packet of a super-packet that is not cut."""
    header = packet.header
    if checksums:
        offset = packet.transport_offset
        network, transport = header[:offset], header[offset:]
        if packet.version == 4:
            network = ipv4.with_checksum(network)
        if packet.verified and transport and not packet.fragment:
            position = 16 if packet.protocol == PROTOCOL_TCP else 6
            blank = transport[:position] + b"\0\0" + transport[position + 2 :]
            transport = _with_checksum(packet, blank, packet.payload)
        header = network + transport
    return b"".join((header, packet.payload))


def join(packets: Sequence[Buffer], verified: bool, counters: Counter[str]) -> list[SuperPacket]:
    """IP packets as few super-packets, in the same order: runs of TCP data of one flow, contiguous, and of equally
    long datagrams of one flow become one each.

    A run shares every header field but sequence, lengths, identification and checksums; its packets carry payloads of
    one size, of TCP the last may be shorter; PSH and FIN end it, CWR is on its first only. Unless `verified`, each TCP
    checksum is checked here (it cannot be, once joined), so what holds TCP comes out verified, and datagrams stay
    alone. Malformed packets are left out and counted by reason.
    """
    result: list[SuperPacket] = []
    count = len(packets)
    index = 0
    while index < count:
        buffer = packets[index]
        index += 1
        try:
            packet = _checked(buffer, verified)
        except WireError as error:
            counters[error.reason] += 1
            continue
        if index < count and packet.protocol == PROTOCOL_TCP and _starts_run(packet):
            index, packet = _join_run(packets, index, packet, verified)
        elif index < count and verified and packet.protocol == PROTOCOL_UDP and _starts_burst(packet):
            index, packet = _join_datagrams(packets, index, packet)
        result.append(packet)
    return result


def _checked(buffer: Buffer, verified: bool) -> SuperPacket:
    """One packet; TCP comes out verified. Raises WireError, also for a wrong TCP checksum."""
    packet = parse(buffer, verified)
    if not verified and packet.protocol == PROTOCOL_TCP and not packet.fragment:
        if not transport_ok(packet):
            raise WireError("tcp-checksum", "a TCP checksum is wrong")
        packet.verified = True
    return packet


def _starts_run(packet: SuperPacket) -> bool:
    """Whether more data may be appended: plain data behind an IP header without options or extensions."""
    offset = packet.transport_offset
    if offset != (20 if packet.version == 4 else 40) or packet.fragment or not packet.payload:
        return False
    return packet.header[offset + 13] & (_FIN | _SYN | _RST | _PSH | _ACK | _URG) == _ACK


def _join_run(
    packets: Sequence[Buffer], index: int, first: SuperPacket, verified: bool
) -> tuple[int, SuperPacket]:
    """Append to `first` what continues it, from `packets[index]` on: `(index of the next packet, the super-packet)`."""
    header = first.header
    size = len(first.payload)
    length = len(header)
    offset = first.transport_offset
    prefix = header[: offset + 4]
    flags = header[offset + 13] & ~_CWR
    suffix = header[offset + 8 : offset + 13] + bytes((flags,)) + header[offset + 14 :]
    sequence = int.from_bytes(header[offset + 4 : offset + 8], "big")
    layout = f"!{len(prefix)}sI{len(suffix)}s{size}s"
    unpack = struct.Struct(layout).unpack_from
    end = len(packets)
    full_end = index - 1 + (MAX_LENGTH - length) // size
    parts: list[Buffer] = [first.payload]
    if verified:
        alike = _alike(packets[index : min(end, full_end)], layout, prefix, sequence + size, suffix)
        parts += alike
        index += len(alike)
        sequence += size * len(alike)
    while index < end:
        buffer = packets[index]
        sequence = sequence + size & _SEQUENCE_MASK
        if verified and index < full_end and len(buffer) >= length + size:
            start, number, rest, payload = unpack(buffer)
            if number != sequence:
                break
            if start == prefix and rest == suffix:
                parts.append(payload)
                index += 1
                continue
        ending = _continues(first, buffer, sequence, verified)
        if ending is None or length + len(parts) * size + len(ending.payload) > MAX_LENGTH:
            break
        parts.append(ending.payload)
        index += 1
        ending_flags = ending.header[offset + 13] & (_PSH | _FIN)
        if ending_flags or len(ending.payload) < size:
            flags |= ending_flags
            break
    if len(parts) == 1:
        return index, first
    joined = b"".join(parts)
    flags |= header[offset + 13] & _CWR
    network = _ip_part(first, len(joined), 0, False)
    whole = b"".join((network, header[offset : offset + 8], _tcp_tail(first, flags)))
    return index, SuperPacket(whole, joined, size, True)


def _alike(packets: Sequence[Buffer], layout: str, prefix: bytes, sequence: int, suffix: bytes) -> Sequence[bytes]:
    """The payloads of the packets at the beginning that have one length and all continue a run, looked at together; none
    where any of them does not, or there are few: then each is looked at alone."""
    if len(packets) < 3:
        return ()
    size = len(packets[0])
    count = next((number for number, packet in enumerate(packets) if len(packet) != size), len(packets))
    padding = size - struct.calcsize(layout)
    if count < 2 or padding < 0:
        return ()
    rows = struct.iter_unpack(f"{layout}{padding}x", b"".join(packets[:count]))
    starts, numbers, rests, payloads = zip(*rows, strict=True)
    step = len(payloads[0])
    right = starts.count(prefix) == rests.count(suffix) == count and numbers == tuple(
        range(sequence, sequence + count * step, step)
    )
    return payloads if right else ()


def _continues(first: SuperPacket, buffer: Buffer, sequence: int, verified: bool) -> SuperPacket | None:
    """The packet in `buffer`, when it carries on `first` at `sequence`: the careful comparison, field by field."""
    try:
        packet = _checked(buffer, verified)
    except WireError:
        return None
    header, other = first.header, packet.header
    offset = first.transport_offset
    if len(header) != len(other) or not 0 < len(packet.payload) <= len(first.payload):
        return None
    if other[offset + 4 : offset + 8] != sequence.to_bytes(4, "big") or packet.fragment:
        return None
    if other[offset + 13] & ~(_PSH | _FIN) != header[offset + 13] & ~_CWR:
        return None
    return packet if _invariant(header, offset) == _invariant(other, offset) else None


def _invariant(header: bytes, offset: int) -> tuple[bytes, ...]:
    """What all packets of a run share: all but lengths, identification, checksums, sequence number and flags."""
    if offset == ipv4.HEADER_LENGTH:
        network = (header[:2], header[6:10], header[12:24])
    else:
        network = (header[:4], header[6:44], b"")
    return (*network, header[offset + 8 : offset + 13], header[offset + 14 : offset + 16], header[offset + 18 :])


def _starts_burst(packet: SuperPacket) -> bool:
    """Whether more datagrams may be appended: a whole one, not empty, behind a header without options."""
    offset = packet.transport_offset
    if offset != (20 if packet.version == 4 else 40) or packet.fragment or not packet.payload:
        return False
    return int.from_bytes(packet.header[offset + 4 : offset + 6], "big") == UDP_LENGTH + len(packet.payload)


def _join_datagrams(packets: Sequence[Buffer], index: int, first: SuperPacket) -> tuple[int, SuperPacket]:
    """As `_join_run`, for datagrams."""
    header, offset, size = first.header, first.transport_offset, len(first.payload)
    parts = continuing(packets, index, header, size, (MAX_LENGTH - len(header)) // size - 1)
    if not parts:
        return index, first
    joined = b"".join((first.payload, *parts))
    length = (UDP_LENGTH + len(joined)).to_bytes(2, "big")
    whole = b"".join((_ip_part(first, len(joined), 0, False), header[offset : offset + 4], length, b"\0\0"))
    return index + len(parts), SuperPacket(whole, joined, size, True)
