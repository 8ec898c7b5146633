"""The descriptor of a TAP in the reactor: frames in by the batch, frames out as they come."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.link import LanLink
from userlan.driver.tap.foreign import Foreign, carries_frame, is_foreign
from userlan.driver.tap.frames import FRAME_SIZE, packets_of
from userlan.driver.tap.neighbours import GATEWAY, Neighbours, interface_address
from userlan.driver.tap.outward import Outward
from userlan.wire.coalesce import coalesced
from userlan.wire.superpacket import SuperPacket

FRAMES_A_WAKEUP = 256
"""Frames read in one go: a third of a millisecond for small ones. On a busy computer we are woken seldom; what is left in
the kernel's queue then is what the next burst of datagrams does not fit into."""

BYTES_A_WAKEUP = 1024 * 1024
"""Octets read in one go: sixteen super-packets. The tunnel seals a quarter of that in a turn, and what waits for it
waits by flow, which it does not in the kernel."""

@implementer(IReadDescriptor)
class TapPort:
    """Reads frames for the LAN and writes those that come from it; owns the descriptor."""

    def __init__(self, reactor: Any, descriptor: int, lost: Callable[[str], None]) -> None:
        """``lost(why)`` is called when the device goes away by itself. Nothing happens before :meth:`start`."""
        self.counters: Counter[str] = Counter()
        """Frames that were dropped or answered here, by reason, and ``frames-in``, ``frames-out``."""
        self.hardware = b""
        """The hardware address that the interface is to have."""
        self._reactor = reactor
        self._descriptor = descriptor
        self._lost = lost
        self._link: LanLink
        self._outward: Outward
        self._neighbours: Neighbours
        self._foreign: Foreign

    def start(self, link: LanLink, mtu: int) -> None:
        """Begin to carry frames for ``link``; ``mtu``: that of the interface, octets."""
        self._link = link
        ipv6 = link.addresses[-1][0]
        self.hardware = interface_address(ipv6)
        self._outward = Outward(self.hardware, GATEWAY, mtu, link.broadcast)
        self._foreign = Foreign(self.hardware, ipv6, link.member_ending, self.counters)
        self._neighbours = Neighbours(self.hardware, link.knows, self.counters)
        self._reactor.addReader(self)

    def close(self) -> None:
        """Close the device, which takes the interface with it. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(descriptor)

    # -- IReadDescriptor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "tap"

    def connectionLost(self, reason: object) -> None:
        """The reactor ends, or gave up on the descriptor."""
        if self._descriptor >= 0:
            self._lost("the interface was removed")

    def doRead(self) -> Exception | None:
        """A batch of frames to the LAN; those that are no plain IP are answered, carried as they are, or dropped."""
        frames: list[bytes] = []
        room = BYTES_A_WAKEUP
        try:
            while room > 0 and len(frames) < FRAMES_A_WAKEUP:
                frame = os.read(self._descriptor, FRAME_SIZE)
                frames.append(frame)
                room -= len(frame)
        except BlockingIOError:
            pass
        except OSError as error:
            return error
        if not frames:
            return None
        self.counters["frames-in"] += len(frames)
        packets, others = packets_of(frames, self.counters)
        packets = coalesced(packets)
        for frame in others:
            if is_foreign(frame):
                carrier = self._foreign.packet_of(frame)
                if carrier is not None:
                    packets.append(carrier)
                continue
            answer = self._neighbours.answer(frame)
            if answer is not None:
                self._write(answer, b"")
        if packets:
            self._link.send(packets)
        return None

    # -- from the LAN

    def deliver(self, packets: Sequence[SuperPacket]) -> None:
        """Hand packets to the kernel."""
        frames = self._outward.frames
        for packet in coalesced(packets):
            if carries_frame(packet):
                frame = self._foreign.frame_of(packet)
                if frame is not None:
                    self._write(frame, b"")
                continue
            for start, payload in frames(packet, self.counters):
                if not self._write(start, payload):
                    self._refused(packet)
                    break

    def _write(self, start: bytes, payload: Any) -> bool:
        """Write one frame; False when the kernel does not know its form."""
        try:
            os.writev(self._descriptor, (start, payload))
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False
            self.counters[f"write-{errno.errorcode.get(error.errno or 0, 'error').lower()}"] += 1
            return True
        self.counters["frames-out"] += 1
        return True

    def _refused(self, packet: SuperPacket) -> None:
        """A kernel before 6.2 does not take several datagrams in one frame: it is not asked again."""
        self.counters["write-einval"] += 1
        if packet.wire_count > 1 and self._outward.udp_segmentation:
            self._outward.udp_segmentation = False
            for start, payload in self._outward.frames(packet, self.counters):
                self._write(start, payload)
