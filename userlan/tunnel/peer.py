"""One peer: its sessions, its timers, what waits for a session, and where it is."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from userlan.tunnel import messages
from userlan.tunnel.constants import (
    ANSWERED_WITHIN,
    DATAGRAM_SILENCE,
    FLOWING_BYTES,
    KEY_SIZE,
    PATH_PATIENCE,
    SESSIONS_NEXT,
    SESSIONS_PREVIOUS,
    WAY_INTERVAL,
)
from userlan.tunnel.events import Expired, HandshakeFailed, PathSilent, Roamed, SessionEstablished, WayHeard
from userlan.tunnel.initiations import Initiations, Outstanding
from userlan.tunnel.initiator import Initiator
from userlan.tunnel.session import Keyring, Session
from userlan.tunnel.shared import Shared
from userlan.tunnel.steering import Steering
from userlan.tunnel.suites import AES_256_GCM
from userlan.tunnel.timers import Action, Timers
from userlan.tunnel.ways import Ways
from userlan.wire.endpoint import TCP, UDP, Endpoint

NO_PRESHARED_KEY = bytes(KEY_SIZE)


class Peer:
    """Public: the fields up to `context`, and has_session. All else is the device's.

    endpoint: where authenticated packets came from last, or what was configured, or where the owner steers; None: unknown.
    endpoint_heard: when one came from just there last (monotonic seconds, -inf: never). last_received: when an
    authenticated packet came last; last_handshake: when the last session was established (monotonic seconds, None:
    never). handshake_took: seconds from the last initiation of ours that was answered to its answer (None: none was).
    rx_bytes, tx_bytes: whole datagrams. stock: the far end is stock WireGuard, so inner checksums are computed
    and checked, and no suite but its own is used. context: a free slot for the owner.
    """

    __slots__ = (
        "_datagram_heard",
        "_shared",
        "_way_told",
        "context",
        "endpoint",
        "endpoint_heard",
        "handshake_took",
        "initiations",
        "initiator",
        "keyring",
        "last_handshake",
        "last_initiation_received",
        "last_received",
        "last_timestamp",
        "preshared_keys",
        "public_key",
        "removed",
        "rx_bytes",
        "scheduled",
        "steering",
        "stock",
        "timers",
        "tx_bytes",
        "unknown",
        "ways",
    )

    def __init__(self, public_key: bytes, shared: Shared) -> None:
        self.public_key = public_key
        self.endpoint: Endpoint | None = None
        self.endpoint_heard = -inf
        self.steering = Steering()
        self.last_received: float | None = None
        self.last_handshake: float | None = None
        self.handshake_took: float | None = None
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
        self._way_told = -inf
        self.ways = Ways(self, shared)
        self._datagram_heard = -inf
        self._shared = shared

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

    def put(self, data: bytes, segment: int, endpoint: Endpoint | None, now: float) -> None:
        """Queue transport messages for an endpoint (a session always has one)."""
        if endpoint is not None:
            self._shared.outgoing.add(data, min(segment, len(data)), endpoint)
            self.tx_bytes += len(data)
            if endpoint is self.endpoint or endpoint == self.endpoint:
                self.timers.authenticated_sent(now)

    def keepalive(self, now: float, endpoint: Endpoint | None = None) -> None:
        """An empty message, by ``endpoint`` or the peer's, or a handshake where there is no session to send it in."""
        session = self.keyring.current
        if session is None or not session.can_send(now):
            self.begin_handshake(now)
            return
        data = session.seal([b""], self._shared.mtu)
        self.put(data, messages.TRANSPORT_MINIMUM, endpoint or self.endpoint, now)
        if session.renew_on_send(now):
            self.begin_handshake(now)

    def _drop_staged(self, reason: str, dropped: int) -> None:
        if dropped:
            self._shared.counters[reason] += dropped

    def begin_handshake(self, now: float) -> None:
        """A session is wanted, or a younger one."""
        self.initiator.begin(now)

    def ciphers_told(self, ciphers: Iterable[str], now: float) -> None:
        """The peer says what it takes beside ChaCha20-Poly1305."""
        before = self.ciphers
        self.initiator.choice.told(ciphers)
        if self.ciphers != before:
            self.initiator.upgrade(now)

    # --- sessions

    def response_received(self, outstanding: Outstanding, message: bytes, source: Endpoint, now: float) -> None:
        """A response (92 bytes) to one of our initiations, its mac1 checked."""
        suite = outstanding.state.suite
        held = self.has_session(now)
        overtaken = suite is not AES_256_GCM and self.initiations.overtaken(outstanding, AES_256_GCM)
        keys = self.initiations.complete(outstanding, self.preshared_keys, message)
        if keys is None:
            return
        self.handshake_took = now - outstanding.made_at
        session = Session(keys, now, suite)
        self._hold(session)
        self._release(self.keyring.complete(session, SESSIONS_PREVIOUS, now))
        self._count_received(len(message), now)
        if not self._beside(source, now) or not held:
            self._move_to(source, now)
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
        if source == self.endpoint:
            self.endpoint_heard = now
            if length < FLOWING_BYTES:
                self.timers.path_heard()
            else:
                self.timers.path_flows(now)
        else:
            self._heard_at(source, newest, now)
        self._count_received(length, now)
        if not session.confirmed:
            promoted, dropped = self.keyring.confirm(session, SESSIONS_PREVIOUS, now)
            self._release(dropped)
            if promoted:
                self._established(source, session, now)
        if session.renew_on_receive(now) and session is self.keyring.current:
            self.begin_handshake(now)

    def _established(self, source: Endpoint, session: Session, now: float, overtaken: bool = False) -> None:
        self.timers.handshake_complete()
        self.initiator.established()
        self.last_handshake = now
        self._shared.emit(SessionEstablished(self.public_key, source, session.initiator))
        if session.initiator or self.ways.staged:
            self.ways.flush(now)
        if self.initiator.choice.established(session.suite, overtaken):
            self._shared.counters["cipher-doubted"] += 1
        self.initiator.upgrade(now)

    def _count_received(self, length: int, now: float) -> None:
        self.rx_bytes += length
        self.last_received = now
        self.timers.authenticated_received(now)

    def _heard_at(self, source: Endpoint, newest: bool, now: float) -> None:
        """A packet came from elsewhere than the peer is: it has moved, if that is the newest one, unless it came by a way beside
        the one in use (it is seldom the newest that comes by a slower one)."""
        if not self._beside(source, now):
            if newest:
                self._move_to(source, now)
        elif source != self.ways.bulk and self._tell(source, now):
            self._shared.emit(WayHeard(self.public_key, source))

    def _beside(self, source: Endpoint, now: float) -> bool:
        """Whether what comes from there leaves the peer where it is: a way between which and the one in use the owner decides, or
        framed TCP beside UDP that is heard, too."""
        endpoint = self.endpoint
        if endpoint is None or source == endpoint:
            return False
        if self.steering.note(source, now):
            return True
        return source.transport == TCP and endpoint.transport == UDP and now - self._datagram_heard <= DATAGRAM_SILENCE

    def _tell(self, source: Endpoint, now: float) -> bool:
        if self.steering.knows(source):
            return self.steering.tell(source, now)
        if now - self._way_told < WAY_INTERVAL:
            return False
        self._way_told = now
        return True

    def _move_to(self, source: Endpoint, now: float) -> None:
        old = self.endpoint
        self._send_to(source)
        self.endpoint_heard = now
        if old is not None and old != source:
            self._shared.emit(Roamed(self.public_key, old, source))

    def _send_to(self, endpoint: Endpoint) -> None:
        if endpoint != self.endpoint:
            self.timers.path_heard()     # the new one has its own patience
        self.endpoint = endpoint
        if self.ways.bulk is not None and self.ways.bulk.host != endpoint.host:
            self.ways.use_bulk(None)

    def steer(self, endpoint: Endpoint) -> None:
        """The owner decides by which way packets leave from now on."""
        if endpoint == self.endpoint:
            return
        if self.endpoint is not None:
            self.steering.leave(self.endpoint, self.endpoint_heard)
        self.endpoint_heard = self.steering.heard_at(endpoint)
        self._send_to(endpoint)

    def heard_by(self, endpoint: Endpoint) -> float:
        """When an authenticated packet came by a way last: the one in use or another that the owner knows (-inf: never)."""
        return self.endpoint_heard if endpoint == self.endpoint else self.steering.heard_at(endpoint)

    def know(self, endpoints: Iterable[Endpoint]) -> None:
        """The owner says between which ways it decides."""
        self.steering.know(endpoints)
        self.timers.patience = PATH_PATIENCE

    def _hold(self, session: Session) -> None:
        self._shared.indices.sessions[session.head] = (self, session)

    def _release(self, sessions: list[Session]) -> None:
        for session in sessions:
            del self._shared.indices.sessions[session.head]
        self.timers.superseded(self.keyring.expiry())

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
                self.begin_handshake(now)
            case Action.SEND_KEEPALIVE:
                self.keepalive(now)
                self.timers.keepalive_sent(now)
            case Action.PERSISTENT_KEEPALIVE:
                if self.endpoint is not None:
                    self.keepalive(now)
            case Action.DROP_SUPERSEDED:
                self._release(self.keyring.expire(now))
            case Action.PATH_SILENT:
                if self.timers.path_flowed or self.timers.path_used_at - self.endpoint_heard > ANSWERED_WITHIN:
                    self.timers.path_flowed = False
                    self._shared.emit(PathSilent(self.public_key))
            case Action.DEFERRED_INITIATION:
                self.initiator.deferred_expired(now)
            case Action.GIVE_UP_HANDSHAKE:
                self._drop_staged("staged-given-up", self.ways.drop_staged())
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
        self.endpoint_taken(now)

    def endpoint_taken(self, now: float) -> None:
        """There is an endpoint, or another one: a handshake may go there."""
        if self.has_session(now):
            return
        if self.ways.staged:
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
        self._drop_staged("peer-removed", self.ways.clear())
