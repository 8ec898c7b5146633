"""Neighbours of one TCP flow, among super-packets that came together, as fewer and larger ones.

A kernel with little to send for each of many flows makes small super-packets (it sizes them by the rate of each), and
what they cost is by the piece. Those that waited together are one where they could have been sent as one; nothing waits
for that. `superpacket.join` does this for wire packets that follow each other; here flows may alternate.

Joined is what continues its flow without a gap, in segments of one size, and agrees in every field but lengths,
identification, checksums, PSH and the timestamp's value (RFC 7323 3.2), of which the first one stands: that is what a
receiver that acknowledges several segments at once has to echo (RFC 7323 4.3). Whatever does not fit ends the run of its
flow, so that a flow's order is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from userlan.wire.numbers import PROTOCOL_TCP, Buffer
from userlan.wire.superpacket import MAX_LENGTH, SuperPacket

_FIN, _PSH, _ACK = 1, 8, 16
_SEQUENCE_MASK = 0xFFFFFFFF
_TIMESTAMP = b"\1\1\x08\x0a"
"""How the options of nearly every segment begin (RFC 7323 appendix A)."""


class _Run:
    """The packets of one flow that are one so far."""

    __slots__ = ("first", "flags", "following", "form", "length", "parts", "place", "size")

    def __init__(self, packet: SuperPacket, place: int, form: tuple[bytes, ...], sequence: int) -> None:
        self.first = packet
        self.place = place
        self.form = form
        self.size = packet.segment_size or len(packet.payload)
        self.parts: list[Buffer] = [packet.payload]
        self.length = len(packet.payload)
        self.following = sequence + self.length & _SEQUENCE_MASK
        self.flags = packet.header[packet.transport_offset + 13]

    def takes(self, packet: SuperPacket, form: tuple[bytes, ...], sequence: int) -> bool:
        """Whether a packet continues the run."""
        length = len(packet.payload)
        return (
            sequence == self.following
            and form == self.form
            and not self.flags & _FIN
            and self.length % self.size == 0
            and (packet.segment_size == self.size or (not packet.segment_size and length <= self.size))
            and len(self.first.header) + self.length + length <= MAX_LENGTH
        )

    def add(self, packet: SuperPacket) -> None:
        self.parts.append(packet.payload)
        self.length += len(packet.payload)
        self.following = self.following + len(packet.payload) & _SEQUENCE_MASK
        self.flags |= packet.header[packet.transport_offset + 13]

    def whole(self) -> SuperPacket:
        header = bytearray(self.first.header)
        offset = self.first.transport_offset
        total = len(header) + self.length
        if self.first.version == 4:
            header[2:4] = total.to_bytes(2, "big")
            header[10:12] = b"\0\0"
        else:
            header[4:6] = (total - 40).to_bytes(2, "big")
        header[offset + 13] = self.flags
        header[offset + 16 : offset + 18] = b"\0\0"
        return SuperPacket(bytes(header), b"".join(self.parts), self.size, True)


def coalesced(packets: Sequence[SuperPacket]) -> list[SuperPacket]:
    """The packets, as few as they can be; the IPv4 header checksum of what is joined is left zero."""
    result: list[SuperPacket] = []
    runs: dict[bytes, _Run] = {}
    for packet in packets:
        header, offset = packet.header, packet.transport_offset
        if packet.protocol != PROTOCOL_TCP or packet.fragment:
            result.append(packet)
            continue
        flow = header[12 : offset + 4] if packet.version == 4 else header[8 : offset + 4]
        form = _form(packet)
        run = runs.get(flow)
        if form is None:
            if run is not None:
                _end(runs.pop(flow), result)
            result.append(packet)
            continue
        sequence = int.from_bytes(header[offset + 4 : offset + 8], "big")
        if run is not None and run.takes(packet, form, sequence):
            run.add(packet)
            continue
        if run is not None:
            _end(run, result)
        runs[flow] = _Run(packet, len(result), form, sequence)
        result.append(packet)
    for run in runs.values():
        _end(run, result)
    return result


def _end(run: _Run, result: list[SuperPacket]) -> None:
    """A run is over: it stands where its first packet stood."""
    if len(run.parts) > 1:
        result[run.place] = run.whole()


def _form(packet: SuperPacket) -> tuple[bytes, ...] | None:
    """What all packets of a run share; None: a packet that is never part of one."""
    header, offset = packet.header, packet.transport_offset
    if not packet.payload or not packet.verified or header[offset + 13] & ~(_PSH | _FIN) != _ACK:
        return None
    if packet.version == 4:
        if offset != 20 or not header[6] & 0x40:
            return None
        network = (header[:2], header[6:10])
    else:
        if offset != 40:
            return None
        network = (header[:4], header[6:8])
    options = header[offset + 20 :]
    if options.startswith(_TIMESTAMP):
        options = options[8:]
    return (*network, header[offset + 8 : offset + 13], header[offset + 14 : offset + 16], header[offset + 18 : offset + 20], options)
