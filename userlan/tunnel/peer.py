"""One peer: its sessions, its timers, what waits for a session, and where it is."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from userlan.tunnel import messages
from userlan.tunnel.constants import (
    BURST_BYTES,
    BURST_SEGMENTS,
    DATAGRAM_SILENCE,
    KEY_SIZE,
    LARGE_INTERVAL,
    LEAST_MTU,
    MAX_DATAGRAM,
    SESSIONS_NEXT,
    SESSIONS_PREVIOUS,
)
from userlan.tunnel.events import BulkTraffic, Expired, HandshakeFailed, LargeSent, Roamed, SessionEstablished, WayHeard
from userlan.tunnel.flows import BULK_RATE, BulkFlows, FlowQueues, bucket_of
from userlan.tunnel.initiations import Initiations, Outstanding
from userlan.tunnel.initiator import Initiator
from userlan.tunnel.outgoing import Staged
from userlan.tunnel.session import Keyring, Session, padding
from userlan.tunnel.shared import Shared
from userlan.tunnel.suites import AES_256_GCM
from userlan.tunnel.timers import Action, Timers
from userlan.wire.endpoint import TCP, UDP, Endpoint
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut

NO_PRESHARED_KEY = bytes(KEY_SIZE)


class Peer:
    """Public: the fields up to `context`, and has_session. All else is the device's.

    endpoint: where authenticated packets came from last, or what was configured; None: unknown. last_received: when an
    authenticated packet came last; last_handshake: when the last session was established (monotonic seconds, None:
    never). rx_bytes, tx_bytes: whole datagrams. stock: the far end is stock WireGuard, so inner checksums are computed
    and checked, and no suite but its own is used. context: a free slot for the owner. bulk: the framed TCP connection that bulk flows
    take, None: they go where all else goes.
    """

    def __init__(self, public_key: bytes, shared: Shared) -> None:
        self.public_key = public_key
        self.endpoint: Endpoint | None = None
        self.last_received: float | None = None
        self.last_handshake: float | None = None
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.stock = False
        self.context: object = None
        self.preshared_keys: tuple[bytes, ...] = (NO_PRESHARED_KEY,)
        self.keyring = Keyring()
        self.timers = Timers()
        self.initiations = Initiations(self, shared)
        self.initiator = Initiator(self, shared)
        self.last_timestamp = b""
        self.last_initiation_received = -inf
        self.unknown = False
        self.removed = False
        self.scheduled = inf
        self.bulk: Endpoint | None = None
        self._queues = FlowQueues()
        self._bulk_queues = FlowQueues()
        self._bulk_flows = BulkFlows()
        self._bulk_told = 0.0
        self._mtu = 0
        self._large_told = -inf
        self._way_told: Endpoint | None = None
        self._datagram_heard = -inf
        self._shared = shared
        self._staged = Staged()

    def has_session(self, now: float) -> bool:
        """Whether a packet could be sealed and sent now."""
        session = self.keyring.current
        return session is not None and session.can_send(now)

    @property
    def ciphers(self) -> tuple[str, ...] | None:
        """What the peer takes beside ChaCha20-Poly1305, None: unknown."""
        return self.initiator.choice.ciphers

    def cipher(self, now: float) -> str:
        """Of what would be sent now; empty without a session."""
        session = self.keyring.current
        return session.suite.name if session is not None and session.can_send(now) else ""

    # --- sending

    def send(self, packet: SuperPacket, now: float) -> None:
        """Queue a packet to be sealed by ``drain``, or stage it and see to a session."""
        session = self.keyring.current
        if session is None or not session.can_send(now, packet.wire_count):
            dropped = self._staged.add(packet)
            if dropped:
                self._shared.counters["staged-overflow"] += dropped
            self._begin_handshake(now)
            return
        bucket = bucket_of(packet)
        bulk = self._bulk_flows.note(packet, bucket, now)
        if bulk and self.bulk is not None:
            self._bulk_queues.add(packet, bucket, now)
        else:
            self._queues.add(packet, bucket, now)
            if bulk and self._bulk_flows.rate >= BULK_RATE and self._bulk_told != (rate := self._bulk_flows.rate):
                self._bulk_told = rate
                self._shared.emit(BulkTraffic(self.public_key))
        self._shared.waiting[self] = None

    def drain(self, budget: int, now: float) -> int:
        """Seal what waits, for ``budget`` octets and no more than a packet beyond it; returns the octets.

        What waits for a way out that is full stays where it is; what goes the peer's own way comes first.
        """
        held = self._shared.held
        drained = 0
        if not self._way_held(self.endpoint, held):
            drained = self._drain(self._queues, self.endpoint, budget, now)
        if self._bulk_queues and drained < budget and not self._way_held(self.bulk, held):
            drained += self._drain(self._bulk_queues, self.bulk, budget - drained, now)
        if not self._queues and not self._bulk_queues:
            self._shared.waiting.pop(self, None)
        return drained

    def _drain(self, queues: FlowQueues, way: Endpoint | None, budget: int, now: float) -> int:
        drained = 0
        while drained < budget:
            packet = queues.take(now)
            if packet is None:
                break
            session = self.keyring.current
            if session is None or not session.can_send(now, packet.wire_count):
                self._stage(packet, queues, now)
                break
            drained += packet.length
            self._transmit(session, packet, way, now)
        if queues.dropped:
            self._shared.counters["flows-dropped"] += queues.dropped
            queues.dropped = 0
        return drained

    def _stage(self, first: SuperPacket, queues: FlowQueues, now: float) -> None:
        """The session has ended under what waits: it waits for the next one."""
        packet: SuperPacket | None = first
        while packet is not None:
            self._staged.add(packet)
            packet = queues.take(now)
        self._begin_handshake(now)

    def use_bulk(self, endpoint: Endpoint | None, now: float) -> None:
        """Bulk flows take this framed TCP connection from now on; None: they go where all else goes."""
        self.bulk = endpoint
        self._way_told = endpoint
        if endpoint is None:
            while (packet := self._bulk_queues.take(now)) is not None:
                self._queues.add(packet, bucket_of(packet), now)

    def can_drain(self) -> bool:
        """Whether packets wait, and not all of them for a way out that is full."""
        held = self._shared.held
        if self._queues and not self._way_held(self.endpoint, held):
            return True
        return bool(self._bulk_queues) and not self._way_held(self.bulk, held)

    @staticmethod
    def _way_held(way: Endpoint | None, held: set[Endpoint | str]) -> bool:
        return bool(held) and way is not None and (UDP if way.transport == UDP else way) in held

    def _transmit(self, session: Session, packet: SuperPacket, endpoint: Endpoint | None, now: float) -> None:
        shared = self._shared
        try:
            packets = cut(packet, self.stock, self._limit(endpoint))
        except WireError as error:
            shared.counters[error.reason] += 1
            return
        first = len(packets[0])
        segment = first + padding(first, shared.mtu) + messages.TRANSPORT_OVERHEAD
        if segment > MAX_DATAGRAM:
            shared.counters["oversized"] += 1
            return
        most = max(1, min(BURST_BYTES // segment, BURST_SEGMENTS))
        if len(packets) <= most:
            self._put(session.seal(packets, shared.mtu), segment, endpoint, now)
        else:
            for start in range(0, len(packets), most):
                self._put(session.seal(packets[start : start + most], shared.mtu), segment, endpoint, now)
        self.timers.data_sent(now)
        if first > LEAST_MTU and now >= self._large_told and endpoint is not None and endpoint.transport == UDP:
            self._large_told = now + LARGE_INTERVAL
            shared.emit(LargeSent(self.public_key))
        if session.renew_on_send(now):
            self._begin_handshake(now)

    def probe(self, packet: SuperPacket, now: float) -> None:
        """Send a packet by itself in one datagram that nobody may fragment; dropped without a session, or by TCP."""
        session, endpoint = self.keyring.current, self.endpoint
        if session is None or endpoint is None or endpoint.transport != UDP or not session.can_send(now):
            return
        data = session.seal([cut(packet, False)[0]], self._shared.mtu)
        if len(data) <= BURST_BYTES:
            self._shared.outgoing.add(data, len(data), endpoint, True)
            self.tx_bytes += len(data)

    def _limit(self, endpoint: Endpoint | None) -> int:
        """Octets of the largest inner packet on the way to ``endpoint``; 0: as it was made."""
        if self.stock:
            return 0
        if endpoint is not None and endpoint.transport == TCP:
            return MAX_DATAGRAM - messages.TRANSPORT_OVERHEAD
        return self._mtu

    @property
    def mtu(self) -> int:
        """Octets of the largest inner packet that the datagram path is known to carry."""
        return self._mtu or self._shared.mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        self._mtu = value

    def _put(self, data: bytes, segment: int, endpoint: Endpoint | None, now: float) -> None:
        """Queue transport messages for an endpoint (a session always has one)."""
        if endpoint is not None:
            self._shared.outgoing.add(data, min(segment, len(data)), endpoint)
            self.tx_bytes += len(data)
        self.timers.authenticated_sent(now)

    def keepalive(self, now: float, endpoint: Endpoint | None = None) -> None:
        """An empty message, by ``endpoint`` or the peer's, or a handshake where there is no session to send it in."""
        session = self.keyring.current
        if session is None or not session.can_send(now):
            self._begin_handshake(now)
            return
        data = session.seal([b""], self._shared.mtu)
        self._put(data, messages.TRANSPORT_MINIMUM, endpoint or self.endpoint, now)
        if session.renew_on_send(now):
            self._begin_handshake(now)

    def _drop_staged(self, reason: str) -> None:
        dropped = len(self._staged.take()) + self._queues.clear() + self._bulk_queues.clear()
        self._shared.waiting.pop(self, None)
        if dropped:
            self._shared.counters[reason] += dropped

    def _flush(self, now: float) -> None:
        """Send what waited for a session; at least an empty message, which confirms the keys to the responder."""
        packets = self._staged.take()
        for packet in packets:
            self.send(packet, now)
        if not packets:
            self.keepalive(now)

    def _begin_handshake(self, now: float) -> None:
        self.initiator.begin(now)

    def ciphers_told(self, ciphers: Iterable[str], now: float) -> None:
        """The peer says what it takes beside ChaCha20-Poly1305."""
        self.initiator.choice.told(ciphers)
        self.initiator.upgrade(now)

    # --- sessions

    def response_received(self, outstanding: Outstanding, message: bytes, source: Endpoint, now: float) -> None:
        """A response (92 bytes) to one of our initiations, its mac1 checked."""
        suite = outstanding.state.suite
        overtaken = suite is not AES_256_GCM and self.initiations.overtaken(outstanding, AES_256_GCM)
        keys = self.initiations.complete(outstanding, self.preshared_keys, message)
        if keys is None:
            return
        session = Session(keys, now, suite)
        self._hold(session)
        self._release(self.keyring.complete(session, SESSIONS_PREVIOUS, now))
        self._count_received(len(message), now)
        self._move_to(source)
        self.timers.session_derived(now)
        self._established(source, session, now, overtaken)

    def response_sent(self, session: Session, message: bytes, source: Endpoint, now: float) -> None:
        """We answered an initiation of the peer: the session waits for confirmation, the response goes out."""
        session.response_mac1 = message[-messages.MACS_SIZE : -messages.MAC_SIZE]
        if session.suite is AES_256_GCM:
            self.initiator.choice.told((AES_256_GCM.name,))
        self._hold(session)
        self._release(self.keyring.derive(session, SESSIONS_NEXT))
        self.initiator.responded(now)
        self._count_received(messages.INITIATION_SIZE, now)
        if self.endpoint is None:
            self.endpoint = source
        self._shared.outgoing.add(message, len(message), source)
        self.tx_bytes += len(message)
        self.timers.session_derived(now)
        self.timers.authenticated_sent(now)

    def transport_received(self, session: Session, length: int, newest: bool, source: Endpoint, now: float) -> None:
        """Authenticated datagrams of `length` bytes in all. newest: one of them is the newest of its session so far."""
        if source.transport == UDP:
            self._datagram_heard = now
        if source != self.endpoint and (newest or source.transport == TCP):
            self._heard_at(source, newest, now)
        self._count_received(length, now)
        if not session.confirmed:
            promoted, dropped = self.keyring.confirm(session, SESSIONS_PREVIOUS, now)
            self._release(dropped)
            if promoted:
                self._established(source, session, now)
        if session.renew_on_receive(now) and session is self.keyring.current:
            self._begin_handshake(now)

    def _established(self, source: Endpoint, session: Session, now: float, overtaken: bool = False) -> None:
        self.timers.handshake_complete()
        self.initiator.established()
        self.last_handshake = now
        self._shared.emit(SessionEstablished(self.public_key, source, session.initiator))
        if session.initiator or len(self._staged):
            self._flush(now)
        if self.initiator.choice.established(session.suite, overtaken):
            self._shared.counters["cipher-doubted"] += 1
        self.initiator.upgrade(now)

    def _count_received(self, length: int, now: float) -> None:
        self.rx_bytes += length
        self.last_received = now
        self.timers.authenticated_received(now)

    def _heard_at(self, source: Endpoint, newest: bool, now: float) -> None:
        """A packet came from elsewhere than the peer is: it has moved, if that is the newest one, unless framed TCP
        came beside UDP (what comes by a connection that has to be opened first is seldom the newest)."""
        endpoint = self.endpoint
        beside = source.transport == TCP and endpoint is not None and endpoint.transport == UDP
        if not beside or now - self._datagram_heard > DATAGRAM_SILENCE:
            if newest:
                self._move_to(source)
        elif source not in (self.bulk, self._way_told):
            self._way_told = source
            self._shared.emit(WayHeard(self.public_key, source))

    def _move_to(self, source: Endpoint) -> None:
        old, self.endpoint = self.endpoint, source
        if old is not None and old != source:
            self._shared.emit(Roamed(self.public_key, old, source))

    def _hold(self, session: Session) -> None:
        self._shared.indices.sessions[session.head] = (self, session)

    def _release(self, sessions: list[Session]) -> None:
        for session in sessions:
            del self._shared.indices.sessions[session.head]

    # --- time

    def tick(self, now: float) -> bool:
        """Do what is due. True when the last key material of the peer went."""
        actions = self.timers.expired(now)
        for action in actions:
            self._react(action, now)
        self.timers.settle()
        return Action.ZERO_KEY_MATERIAL in actions

    def _react(self, action: Action, now: float) -> None:
        match action:
            case Action.RETRANSMIT_HANDSHAKE:
                self.initiator.repeat(now)
            case Action.NEW_HANDSHAKE:
                self._begin_handshake(now)
            case Action.SEND_KEEPALIVE:
                self.keepalive(now)
                self.timers.keepalive_sent(now)
            case Action.PERSISTENT_KEEPALIVE:
                if self.endpoint is not None:
                    self.keepalive(now)
            case Action.DEFERRED_INITIATION:
                self.initiator.deferred_expired(now)
            case Action.GIVE_UP_HANDSHAKE:
                self._drop_staged("staged-given-up")
                self.initiator.gave_up()
                self._shared.emit(HandshakeFailed(self.public_key))
            case Action.ZERO_KEY_MATERIAL:
                self.forget_keys()
                self._shared.emit(Expired(self.public_key))

    def endpoint_configured(self, endpoint: Endpoint, now: float) -> None:
        """The owner says where the peer is; if packets wait for a session, go there at once."""
        if endpoint == self.endpoint:
            return
        self.endpoint = endpoint
        if self.has_session(now):
            return
        if len(self._staged):
            self.timers.defer_initiation(now)
        self.timers.persistent_keepalive_due(now)

    def persistent_keepalive_configured(self, interval: float, now: float) -> None:
        """The owner wants an authenticated packet at least every `interval` seconds; 0: no more."""
        if interval != self.timers.persistent_interval:
            self.timers.persistent_interval = interval
            self.timers.persistent_keepalive_due(now)

    def forget_keys(self) -> None:
        """Drop all key material of sessions and handshakes."""
        self._release(self.keyring.clear())
        self.initiations.clear()

    def remove(self) -> None:
        """The device forgets the peer."""
        self.removed = True
        self.forget_keys()
        self.initiations.clear(secrets=True)
        self.timers.stop()
        self._drop_staged("peer-removed")
