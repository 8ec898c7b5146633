"""A device: one static key and its peers. It tells datagrams apart, answers initiations, and keeps the time of all."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from userlan.tunnel import messages
from userlan.tunnel.constants import (
    DRAIN_BYTES,
    INNER_MTU,
    KEY_SIZE,
    MAX_DATAGRAM,
    PRESHARED_KEYS,
    UNDER_LOAD_RATE,
    UNKNOWN_PEERS,
)
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.tunnel.events import TunnelEvent
from userlan.tunnel.handshake import Identity
from userlan.tunnel.load import LoadMeter
from userlan.tunnel.peer import NO_PRESHARED_KEY, Peer
from userlan.tunnel.reception import Reception
from userlan.tunnel.session import Session
from userlan.tunnel.shared import Shared
from userlan.tunnel.suites import AES_256_GCM
from userlan.tunnel.tai64n import StampSource
from userlan.tunnel.unknown import UnknownPeers
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket, join

LEAST_VIEW = 16_384  # bytes: an opened packet of more is referred to, not copied
LEAST_SHARE = 16_384  # bytes: what a peer may send in a call however many others wait
_STALE_DEADLINES = 64  # deadlines that may be out of date before the heap is built anew, beside two for each peer


class Inbound(NamedTuple):
    """Packets that came from a peer, in order. Their source addresses are not checked."""

    peer: Peer
    packets: list[SuperPacket]


class Device:
    """See the package's description. Nothing that arrives makes a method raise: it is dropped and counted (`counters`).

    private_key: 32 bytes. entropy: as os.urandom. now: monotonic seconds, as everywhere; wall_offset: seconds since
    1970 at monotonic 0. timestamp_floor: the last TimestampAdvanced of the previous run. accept_unknown: take in up to
    max_unknown peers that were not added, without a pre-shared key. mtu: bytes of the largest inner packet.
    under_load_rate: handshake messages a second above which cookies are asked for. aes: AES-256-GCM is cheaper here than
    ChaCha20-Poly1305, so it is used with peers that take it, too (`ciphers_told`), and their initiations in it are answered.
    """

    def __init__(
        self,
        private_key: bytes,
        *,
        entropy: Callable[[int], bytes],
        now: float,
        wall_offset: float,
        timestamp_floor: bytes = b"",
        accept_unknown: bool = False,
        max_unknown: int = UNKNOWN_PEERS,
        mtu: int = INNER_MTU,
        under_load_rate: float = UNDER_LOAD_RATE,
        aes: bool = False,
    ) -> None:
        if len(private_key) != KEY_SIZE:
            raise ValueError(f"a private key has {KEY_SIZE} bytes, not {len(private_key)}")
        identity = Identity(private_key)
        self.public_key = identity.public
        self.ciphers = (AES_256_GCM.name,) if aes else ()
        self._shared = Shared(identity, entropy, StampSource(wall_offset, timestamp_floor), mtu, aes)
        self.counters: Counter[str] = self._shared.counters
        self._indices = self._shared.indices
        self._peers: dict[bytes, Peer] = {}
        self._unknown = UnknownPeers(max_unknown)
        unknown, load = self._unknown if accept_unknown else None, LoadMeter(now, under_load_rate)
        self._reception = Reception(self._shared, self._peers, unknown, self.remove_peer, load)
        self.sent: Callable[[bytes, SuperPacket, float], None] | None = None
        """Told of each packet that is given to be sent, with its peer's key; None: nobody wants to know."""
        self._deadlines: list[tuple[float, int, Peer]] = []
        self._deadline_number = 0
        self._now = now

    # --- peers

    def add_peer(
        self,
        public_key: bytes,
        *,
        preshared_keys: Sequence[bytes] = (),
        endpoint: Endpoint | None = None,
        persistent_keepalive: float = 0,
        stock: bool = False,
    ) -> Peer:
        """Add a peer, or bring one up to date; its sessions stay, and without an endpoint its endpoint stays.

        preshared_keys: 32 bytes each, at most 8; none: 32 zero bytes. The first is used to answer, each is tried on an
        answer. persistent_keepalive: seconds, 0: none. stock: see Peer. ValueError for keys that cannot be.
        """
        keys = tuple(preshared_keys) or (NO_PRESHARED_KEY,)
        if len(public_key) != KEY_SIZE or public_key == self.public_key:
            raise ValueError("a peer's public key has 32 bytes and is not the device's own")
        if len(keys) > PRESHARED_KEYS or any(len(key) != KEY_SIZE for key in keys):
            raise ValueError(f"at most {PRESHARED_KEYS} pre-shared keys of {KEY_SIZE} bytes")
        if not 0 <= persistent_keepalive < inf:
            raise ValueError("a persistent keepalive is a number of seconds, 0 for none")
        peer = self._peers.get(public_key)
        if peer is None:
            peer = self._peers[public_key] = Peer(public_key, self._shared)
        elif peer.unknown:
            self._unknown.discard(public_key)
            peer.unknown = False
        peer.preshared_keys = keys
        peer.stock = stock
        if endpoint is not None:
            peer.endpoint_configured(endpoint, self._now)
        peer.persistent_keepalive_configured(persistent_keepalive, self._now)
        self._schedule(peer)
        return peer

    def remove_peer(self, public_key: bytes) -> None:
        """Forget a peer and its keys, if it is here."""
        peer = self._peers.pop(public_key, None)
        if peer is not None:
            self._unknown.discard(public_key)
            peer.remove()

    def ciphers_told(self, public_key: bytes, ciphers: Iterable[str], now: float) -> None:
        """A peer said by authenticated means which ciphers it takes beside ChaCha20-Poly1305, as `ciphers` says it of this device.

        If it takes AES-256-GCM, and so do we, its session is renewed in it at once, and those that follow are set up in it.
        """
        self._now = now
        peer = self._peers.get(public_key)
        if peer is not None:
            peer.ciphers_told(ciphers, now)
            self._schedule(peer)

    def peer(self, public_key: bytes) -> Peer | None:
        """The peer of a key."""
        return self._peers.get(public_key)

    def peers(self) -> list[Peer]:
        """All peers, the unknown ones included."""
        return list(self._peers.values())

    # --- sending

    def send(self, public_key: bytes, packet: SuperPacket, now: float) -> None:
        """Seal a packet for a peer; without a session it is staged and a handshake begun."""
        self._now = now
        peer = self._peers.get(public_key)
        if peer is None:
            self.counters["no-peer"] += 1
            return
        if self.sent is not None:
            self.sent(public_key, packet, now)
        peer.ways.send(packet, now)
        if peer.timers.earliest < peer.scheduled:
            self._schedule(peer)

    def send_to_many(self, public_keys: Iterable[bytes], packet: SuperPacket, now: float) -> None:
        """Seal a packet for each of several peers, as ``send`` does; all share the one packet until then."""
        self._now = now
        bucket = -1
        for public_key in public_keys:
            peer = self._peers.get(public_key)
            if peer is None:
                self.counters["no-peer"] += 1
                continue
            if self.sent is not None:
                self.sent(public_key, packet, now)
            bucket = peer.ways.send(packet, now, bucket)
            if peer.timers.earliest < peer.scheduled:
                self._schedule(peer)

    def initiate(self, public_key: bytes, endpoints: Sequence[Endpoint], now: float) -> None:
        """Send a fresh initiation to each endpoint (the first 64); the peer will be where the answer comes from."""
        self._now = now
        peer = self._peers.get(public_key)
        if peer is None:
            self.counters["no-peer"] += 1
            return
        peer.initiator.initiate(endpoints, now)
        self._schedule(peer)

    def datagrams(self, now: float) -> list[Burst]:
        """What is to be sent, ``DRAIN_BYTES`` of packets at most; ``backlog`` tells whether there is more."""
        self._now = now
        waiting = self._shared.waiting
        if waiting:
            budget = DRAIN_BYTES
            for peer in list(waiting):
                share = max(budget // len(waiting), LEAST_SHARE) if waiting else budget
                budget -= peer.ways.drain(share, now)
                if peer.timers.earliest < peer.scheduled:
                    self._schedule(peer)
                if peer in waiting:
                    del waiting[peer]
                    waiting[peer] = None
                if budget <= 0:
                    break
        return self._shared.outgoing.drain()

    @property
    def backlog(self) -> bool:
        """Whether ``datagrams`` would give more at once: packets wait, and not for a way out that is full."""
        return any(peer.ways.can_drain() for peer in self._shared.waiting)

    def hold(self, way: Endpoint | str, now: float) -> None:
        """A way out is full: an endpoint of framed TCP, or "udp" as a whole. Packets for it wait, by flow. Said again when it
        took something, and is full again."""
        self._shared.held[way] = now

    def release(self, way: Endpoint | str) -> None:
        """A way out has room again."""
        self._shared.held.pop(way, None)

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended: bulk flows that took it go where all else goes."""
        self._shared.held.pop(endpoint, None)
        for peer in self._peers.values():
            if peer.ways.bulk == endpoint:
                peer.ways.use_bulk(None)

    def probe(self, public_key: bytes, packet: SuperPacket, now: float) -> None:
        """Send a packet alone in one datagram that nobody may fragment, whatever the path is known to carry."""
        peer = self._peers.get(public_key)
        if peer is not None:
            if self.sent is not None:
                self.sent(public_key, packet, now)
            peer.ways.probe(packet, now)

    def open_way(self, endpoint: Endpoint) -> None:
        """Open a connection of framed TCP, for nothing yet: what is sealed before it is there may be too old when it arrives."""
        self._shared.outgoing.add(b"", 0, endpoint, True)

    def know(self, public_key: bytes, endpoints: Iterable[Endpoint]) -> None:
        """From now on the owner decides by which of these ways (16 at most) packets for the peer leave (`steer`); what comes from
        none of them still moves it, as in WireGuard. See `steering`."""
        peer = self._peers.get(public_key)
        if peer is not None:
            peer.know(endpoints)

    def steer(self, public_key: bytes, endpoint: Endpoint, now: float) -> None:
        """Packets for the peer, those that wait included, leave by this way from now on."""
        peer = self._peers.get(public_key)
        if peer is not None:
            peer.steer(endpoint)
            peer.endpoint_taken(now)
            self._schedule(peer)

    def send_by(self, public_key: bytes, packet: SuperPacket, endpoint: Endpoint, now: float) -> None:
        """Seal a small packet and send it by this way, whatever waits; dropped without a session."""
        self._now = now
        peer = self._peers.get(public_key)
        if peer is not None:
            if self.sent is not None:
                self.sent(public_key, packet, now)
            peer.ways.send_by(packet, endpoint, now)
            if peer.timers.earliest < peer.scheduled:
                self._schedule(peer)

    def knock(self, public_key: bytes, endpoint: Endpoint, now: float) -> None:
        """An empty message to a peer by another way than its own; an answer comes as ``WayHeard``."""
        peer = self._peers.get(public_key)
        if peer is not None and peer.has_session(now):
            peer.keepalive(now, endpoint)
            if peer.timers.earliest < peer.scheduled:
                self._schedule(peer)

    def events(self) -> list[TunnelEvent]:
        """What happened since the last call."""
        events, self._shared.events = self._shared.events, []
        return events

    # --- receiving

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is for this device, as far as can be told cheaply."""
        kind = bytes(data[:4])
        if kind in messages.TRANSPORT_TYPES:
            return bytes(data[:8]) in self._indices.sessions
        if kind in messages.INITIATION_TYPES:
            size = messages.INITIATION_SIZE
            return len(data) >= size and self._reception.ours(data[:size])
        if kind in messages.RESPONSE_TYPES:
            return bytes(data[8:12]) in self._indices.initiations
        if kind == messages.TYPE_COOKIE_REPLY:
            index = bytes(data[4:8])
            return index in self._indices.initiations or self._indices.session(index) is not None
        return False

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> list[Inbound]:
        """Take in a datagram, or several of `segment` bytes (the last may be shorter) back to back.

        segment 0: one datagram. The buffer may be used again afterwards.
        """
        self._now = now
        size = len(data)
        if not 0 < segment < size:
            segment = size
        held = self._indices.sessions.get(bytes(data[:8]))
        if held is not None and segment <= MAX_DATAGRAM:
            peer, session = held
            if session.can_receive(now):
                packets = session.open_burst(data, segment)
                if packets is not None:
                    return self._opened(peer, session, packets, size, True, source, now)
        return self._receive_each(memoryview(data), segment, source, now)

    def _opened(
        self, peer: Peer, session: Session, packets: list[bytes], size: int, newest: bool, source: Endpoint, now: float
    ) -> list[Inbound]:
        """Authenticated packets of one session, in order; `size` is that of their datagrams."""
        peer.transport_received(session, size, newest, source, now)
        if peer.unknown and session.confirmed:
            self._unknown.confirmed(peer)
        if not packets[-1]:
            packets = [packet for packet in packets if packet]
        inbound: list[Inbound] = []
        if packets:
            peer.timers.data_received(now)
            views: Sequence[Buffer] = [memoryview(packet) for packet in packets] if len(packets[0]) > LEAST_VIEW else packets
            joined = join(views, not peer.stock, self.counters)
            if joined:
                inbound.append(Inbound(peer, joined))
        if peer.timers.earliest < peer.scheduled:
            self._schedule(peer)
        return inbound

    def _receive_each(self, view: memoryview, segment: int, source: Endpoint, now: float) -> list[Inbound]:
        """The general way: datagrams of any type and of several sessions, one by one; runs of one stay whole."""
        if not 0 < segment <= MAX_DATAGRAM:
            self.counters["malformed"] += 1
            return []
        inbound: list[Inbound] = []
        run: list[bytes] = []
        running: tuple[Peer, Session] | None = None
        size, newest = 0, False
        for start in range(0, len(view), segment):
            datagram = view[start : start + segment]
            held = self._indices.sessions.get(bytes(datagram[:8]))
            if running is not None and held is not running:
                inbound += self._opened(*running, _solid(run), size, newest, source, now)
                run, running, size, newest = [], None, 0, False
            if held is None:
                self._receive_message(bytes(datagram), source, now)
                continue
            session = held[1]
            before = session.replay.newest
            packet = self._open(session, datagram, now)
            if packet is None:
                continue
            run.append(packet)
            running = held
            size += len(datagram)
            newest |= session.replay.newest > before
        if running is not None:
            inbound += self._opened(*running, _solid(run), size, newest, source, now)
        return inbound

    def _open(self, session: Session, datagram: memoryview, now: float) -> bytes | None:
        if len(datagram) < messages.TRANSPORT_MINIMUM:
            self.counters["transport-truncated"] += 1
            return None
        if not session.can_receive(now):
            self.counters["transport-expired"] += 1
            return None
        return session.open(datagram, self.counters)

    def _receive_message(self, message: bytes, source: Endpoint, now: float) -> None:
        """One datagram that is not of a known session."""
        kind, size = message[:4], len(message)
        if kind in messages.INITIATION_TYPES and size == messages.INITIATION_SIZE:
            self._advanced(self._reception.initiation(message, source, now))
        elif kind in messages.RESPONSE_TYPES and size == messages.RESPONSE_SIZE:
            self._advanced(self._reception.response(message, source, now))
        elif kind == messages.TYPE_COOKIE_REPLY and size == messages.COOKIE_REPLY_SIZE:
            self._reception.cookie_reply(message, now)
        elif kind in messages.TRANSPORT_TYPES and size >= messages.TRANSPORT_MINIMUM:
            self.counters["transport-unknown-index"] += 1
        else:
            self.counters["malformed"] += 1

    def _advanced(self, peer: Peer | None) -> None:
        if peer is not None:
            self._schedule(peer)

    # --- time

    def deadline(self) -> float | None:
        """When tick is due next (monotonic seconds), None: never."""
        heap = self._deadlines
        while heap and (heap[0][2].removed or heap[0][2].scheduled != heap[0][0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        heap = self._deadlines
        while heap and heap[0][0] <= now:
            due, _, peer = heapq.heappop(heap)
            if peer.removed or peer.scheduled != due:
                continue
            peer.scheduled = inf
            if peer.tick(now) and peer.unknown:
                self.remove_peer(peer.public_key)
            else:
                self._schedule(peer)

    def _schedule(self, peer: Peer) -> None:
        """See to it that tick comes to the peer at its earliest timer. Later ones than planned wait for the tick."""
        due = peer.timers.earliest
        if due >= peer.scheduled or peer.removed:
            return
        peer.scheduled = due
        self._deadline_number += 1
        heapq.heappush(self._deadlines, (due, self._deadline_number, peer))
        if len(self._deadlines) > 2 * len(self._peers) + _STALE_DEADLINES:
            self._deadlines[:] = [
                entry for entry in self._deadlines if not entry[2].removed and entry[2].scheduled == entry[0]
            ]
            heapq.heapify(self._deadlines)


def _solid(packets: list[bytes]) -> list[bytes]:
    """The packets without the empty ones, unless there are no others."""
    return [packet for packet in packets if packet] or [b""]
