"""The mediator composed: a tunnel device, a host in memory with the control service, and the parts that decide."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection

from userlan.control import grants
from userlan.control.frames import ControlError, Undecodable
from userlan.control.messages import CONTROL_PORT, Bye, Message
from userlan.lan.addresses import DEFAULT_RANGE, ipv6_of
from userlan.mediator.accounts import Accounts
from userlan.mediator.desk import Desk
from userlan.mediator.events import MediatorEvent, StoreFailed
from userlan.mediator.limits import Buckets, Limits
from userlan.mediator.matchmaker import Matchmaker
from userlan.mediator.presence import Presence
from userlan.mediator.records import DirectoryError, DirectoryStore
from userlan.mediator.relays import Relays
from userlan.mediator.requests import Requests
from userlan.mediator.session import Phase, Session
from userlan.mediator.sessions import Sessions
from userlan.mediator.vantage_points import VantagePoints
from userlan.stack.config import HostConfig
from userlan.stack.events import TcpAccepted, TcpEvent
from userlan.stack.host import Host
from userlan.stack.tcp.config import Config as TcpConfig
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events
from userlan.traversal.kinds import OBSERVE_REQUEST
from userlan.traversal.sorting import Part, parts
from userlan.tunnel.device import Device, Inbound
from userlan.tunnel.endpoint import Burst
from userlan.tunnel.events import Expired, Roamed, TimestampAdvanced, UnknownPeer
from userlan.tunnel.peer import Peer
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket

#: The note in the directory that holds the tunnel's timestamp floor.
TIMESTAMP_NOTE = "timestamp"
#: TCP's number in the IP header (RFC 9293).
TCP_PROTOCOL = 6
#: Connections that wait to be accepted: they are taken at once, so this bounds one batch of datagrams.
BACKLOG = 512
#: Times that packets lead to events and those to packets before the driver is let go on.
MAX_TURNS = 8
#: Seconds in which a key that nobody knows must have opened its control connection, else its tunnel is dropped.
VISIT = 30.0
#: Octets: a full NetworkState goes out in two round trips; an eviction document comes in in four.
CONTROL_TCP = TcpConfig(
    nagle=False,
    receive_window=64 * 1024,
    receive_window_max=256 * 1024,
    send_buffer=256 * 1024,
    send_buffer_max=1024 * 1024,
    user_timeout=30.0,
    time_wait=5.0,
    fin_wait_2=10.0,
)


class Mediator:
    """The core that the driver feeds; see the package for what it does.

    ``directory`` is the only I/O. ``own_hosts`` are the numeric addresses of the computer that it runs on: a member
    seen at one of them (or on loopback) is ``colocated``. Times are monotonic seconds, wall = now + ``wall_offset``.
    ``relay_keys``: the relays that may join the pool, none named: any.

    Raises:
        DirectoryError: the directory cannot be read or written, or has addresses of another range.
        ValueError: ``address_range`` is none, or the private key has not 32 bytes.
    """

    def __init__(
        self,
        private_key: bytes,
        directory: DirectoryStore,
        *,
        entropy: Callable[[int], bytes],
        now: float,
        wall_offset: float,
        address_range: str = DEFAULT_RANGE,
        own_hosts: Collection[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - immutable
        agent: str = "",
        relay_keys: Collection[bytes] = (),
    ) -> None:
        floor = directory.note(TIMESTAMP_NOTE) or b""
        self._device = Device(
            private_key,
            entropy=entropy,
            now=now,
            wall_offset=wall_offset,
            timestamp_floor=floor,
            accept_unknown=True,
            max_unknown=limits.visitors,
        )
        self.public_key = self._device.public_key
        #: Packed address at which the control service listens, on ``CONTROL_PORT``.
        self.ipv6 = ipv6_of(self.public_key)
        self.host = Host(entropy=entropy, config=HostConfig(max_connections=2 * limits.sessions, tcp=CONTROL_TCP))
        self.host.add_address(self.ipv6)
        self.host.tcp_listen(CONTROL_PORT, self.ipv6, backlog=BACKLOG)
        self.counters: Counter[str] = Counter()
        self._directory = directory
        self._limits = limits
        self._presence = Presence(wall_offset, now)
        self._relays = Relays(grants.secret_from(private_key), relay_keys, own_hosts, wall_offset, now)
        self._matchmaker = Matchmaker(entropy=entropy, now=now, offers=self._relays.offers_for)
        self._sessions = Sessions(limits)
        accounts = Accounts(directory, self._presence, limits, address_range, wall_offset)
        requests = Requests(accounts, self.public_key, entropy)
        self._desk = Desk(
            accounts,
            requests,
            self._sessions,
            self._presence,
            self._matchmaker,
            self._relays,
            frozenset(own_hosts),
            agent,
            limits,
        )
        self._points = VantagePoints(self.public_key, self._relays, entropy, own_hosts)
        self._desk.vantages = self._points.message
        self._desk.proven = self._points.proven
        self._keys: dict[bytes, bytes] = {}  # inner address → key, of the device's peers
        self._openings = Buckets(limits.opening_rate, limits.opening_burst, limits.remembered)
        self._visits: OrderedDict[bytes, float] = OrderedDict()  # unknown keys that must open a session by then
        self._events: list[MediatorEvent] = []

    # --- the core interface ------------------------------------------------------------------------------------------

    def owns(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether a datagram is for this core: its tunnel's, or a question from where one is seen."""
        return self._device.owns(data) or self._points.owns(data)

    def listening(self, via: int, host: str, port: int) -> None:
        """Socket ``via`` (0: the main one) listens at a numeric ``host``, which may be a wildcard, and ``port``, for UDP and TCP."""
        self._points.listening(via, host, port)
        self._matchmaker.vantages(self._points.endpoints)

    def receive(self, data: bytes | bytearray | memoryview, segment: int, source: Endpoint, now: float) -> None:
        """Datagrams came from ``source``: one, or several of ``segment`` bytes each in one buffer."""
        for part in parts(data, segment):
            if part.kind == OBSERVE_REQUEST:
                self._asked(part, source, now)
                continue
            for inbound in self._device.receive(part.data, part.segment, source, now):
                self._inbound(inbound, now)
        self._work(now)

    def datagrams(self, now: float) -> list[Burst]:
        """What has to be sent now."""
        for _ in range(MAX_TURNS):
            for packet in self.host.packets(now):
                key = self._keys.get(packet.destination)
                if key is None:
                    self.counters["packets-without-peer"] += 1
                else:
                    self._device.send(key, packet, now)
            if not self._work(now):
                break
        return self._points.datagrams() + self._device.datagrams(now)

    def answers(self, now: float) -> list[Burst]:
        """Nothing here is in such a hurry."""
        return []

    @property
    def backlog(self) -> bool:
        """Whether ``datagrams`` would give more at once."""
        return self._device.backlog

    def hold(self, way: Endpoint | str, now: float) -> None:
        """A way out is full: what is for it waits, by flow."""
        self._device.hold(way, now)

    def release(self, way: Endpoint | str) -> None:
        """It has room again."""
        self._device.release(way)

    def way_opened(self, endpoint: Endpoint) -> None:
        """Clients open them; what they have to say follows."""

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended."""
        self._device.way_lost(endpoint)

    def way_lossy(self, endpoint: Endpoint) -> None:
        """Nothing else would be better: clients come by framed TCP where UDP is blocked."""

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        """It opens none: those that it is given are listened on."""

    def dismissed(self) -> list[int]:
        """Nor does it close any."""
        return []

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [
            self._device.deadline(),
            self.host.deadline(),
            self._presence.deadline(),
            self._matchmaker.deadline(),
            self._relays.deadline(),
            self._sessions.deadline(),
            next(iter(self._visits.values()), None),
        ]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Does what is due."""
        self._device.tick(now)
        self.host.tick(now)
        for session in self._sessions.ungreeted(now):
            self._end(session, "it did not greet", now, hard=True)
        for session in self._sessions.resumed(now):
            self._read(session, now)
        ping, overdue = self._presence.due(now)
        for key in overdue:
            silent = self._sessions.get(key)
            if silent is not None:
                self._end(silent, "it fell silent", now, hard=True)
        for key in ping:
            self._desk.ping(key, now)
        while self._visits and next(iter(self._visits.values())) <= now:
            key, _ = self._visits.popitem(last=False)
            if self._sessions.get(key) is None:
                self._forget(key)
        self._write(now)
        self._work(now)

    def events(self) -> list[MediatorEvent]:
        """What the log may want to know; drained."""
        events, self._events = self._events + self._desk.events(), []
        return events

    # --- besides -----------------------------------------------------------------------------------------------------

    def stop(self, now: float) -> None:
        """An orderly end: says goodbye, writes down when all were last seen. ``datagrams`` is due once more."""
        for session in self._sessions:
            session.send(Bye("the mediator is stopping"))
            session.close(now)
        try:
            self._directory.seen(self._presence.all_unwritten())
        except DirectoryError as error:
            self._events.append(StoreFailed(str(error)))

    def status(self) -> dict[str, object]:
        """Figures for a person who looks after the mediator, fit for JSON."""
        counters = self.counters + self._desk.counters + self._matchmaker.counters + self._points.counters
        return {
            "sessions": len(self._sessions),
            "online": len(self._presence),
            "waiting": sum(session.waiting for session in self._sessions),
            "introductions": self._matchmaker.status(),
            "counters": dict(sorted(counters.items())),
        }

    def _asked(self, part: Part, source: Endpoint, now: float) -> None:
        """Somebody asks from where it is seen; the matchmaker hears of it, too."""
        for relay, message in self._points.receive(part.data, part.segment, source, now):
            self._desk.tell(relay, message)
        for observation in self._points.observations():
            self._matchmaker.observed(observation)

    # --- tunnel ------------------------------------------------------------------------------------------------------

    def _inbound(self, inbound: Inbound, now: float) -> None:
        key = inbound.peer.public_key
        address = self._address(inbound.peer)
        for packet in inbound.packets:
            if packet.source != address:
                self.counters["source-forged"] += 1
            elif _opens(packet) and not self._openings.take(key, now):
                self.counters["openings-dropped"] += 1
            else:
                self.host.receive(packet, now)
        self._presence.heard(key, now)

    def _address(self, peer: Peer) -> bytes:
        """The only inner address of a peer; from now on packets to it go to this peer."""
        if not isinstance(peer.context, bytes):
            peer.context = ipv6_of(peer.public_key)
        self._keys[peer.context] = peer.public_key
        return peer.context

    def _tunnel_events(self, now: float) -> None:
        for event in self._device.events():
            match event:
                case TimestampAdvanced():
                    self._note_timestamp(event.value)
                case Roamed():
                    self._desk.roamed(event.public_key, event.new, now)
                case UnknownPeer():
                    self._visiting(event.public_key, now)
                case Expired():
                    if self._sessions.get(event.public_key) is None:
                        self._forget(event.public_key)

    def _note_timestamp(self, value: bytes) -> None:
        try:
            self._directory.set_note(TIMESTAMP_NOTE, value)
        except DirectoryError as error:
            self._events.append(StoreFailed(str(error)))

    def _visiting(self, key: bytes, now: float) -> None:
        """A tunnel of an unknown key has no session: it is dropped soon unless it gets one."""
        peer = self._device.peer(key)
        if peer is not None and peer.unknown:
            self._visits[key] = now + VISIT
            self._visits.move_to_end(key)

    def _forget(self, key: bytes) -> None:
        self._keys.pop(ipv6_of(key), None)
        self._device.remove_peer(key)

    # --- sessions ----------------------------------------------------------------------------------------------------

    def _work(self, now: float) -> bool:
        """Whatever the tunnel, the host and the matchmaker have to say; then everything that was written goes out.

        Returns whether there was anything, so that the host may have packets.
        """
        self._tunnel_events(now)
        events = self.host.events()
        for event in events:
            if isinstance(event, TcpAccepted):
                self._accept(event.connection, now)
            elif isinstance(event, TcpEvent):
                self._connection_event(event.connection, event.flags, now)
        self._desk.introduce(now)
        busy = bool(events)
        while written := self._desk.written():
            busy = True
            for session in written:
                self._flush(session, now)
        for key in self._desk.members_known():
            self._device.add_peer(key)
        return busy

    def _accept(self, connection: Connection, now: float) -> None:
        key = self._keys.get(connection.remote[0])
        if key is None:
            connection.abort(now)
            return
        session = Session(key, connection, self._limits, now)
        connection.context = session
        superseded, crowded = self._sessions.add(session, now)
        if superseded is not None:
            self.counters["sessions-superseded"] += 1
            superseded.abort(now)
        if crowded is not None:
            self.counters["sessions-crowded-out"] += 1
            crowded.abort(now)
            self._desk.ended(crowded.key, "too many strangers", now)
            self._visiting(crowded.key, now)

    def _connection_event(self, connection: Connection, flags: int, now: float) -> None:
        session = connection.context
        if not isinstance(session, Session) or session.phase is Phase.ENDED:
            return
        self._flush(session, now)
        self._read(session, now)
        if flags & (Events.EOF | Events.CLOSED):
            self._end(
                session, f"its connection ended ({connection.error or 'closed'})", now, hard=bool(flags & Events.CLOSED)
            )

    def _flush(self, session: Session, now: float) -> None:
        session.flush(now)
        if session.waiting > self._limits.outgoing:
            self._end(session, "it does not read what it is sent", now, hard=True)
        elif not self._desk.tell_more(session, now):
            self._end(session, "the directory cannot be read", now, hard=False)
        elif session.stalled and not session.crowded:
            self._read(session, now)

    def _read(self, session: Session, now: float) -> None:
        try:
            while session.phase is not Phase.ENDED:
                message = session.next_message(now)
                if message is None:
                    break
                self._message(session, message, now)
        except ControlError as error:
            self.counters[error.reason] += 1
            self._end(session, f"it sent rubbish: {error}", now, hard=True)
            return
        resume_at = session.resume_at(now)
        if resume_at is not None:
            self.counters["sessions-paused"] += 1
            self._sessions.pause(session, resume_at)

    def _message(self, session: Session, message: Message | Undecodable, now: float) -> None:
        peer = self._device.peer(session.key)
        if peer is None or peer.endpoint is None:
            self._end(session, "its tunnel is gone", now, hard=True)
            return
        reason = self._desk.message(session, message, peer.endpoint, now)
        if reason:
            self._end(session, reason, now, hard=False)

    def _end(self, session: Session, reason: str, now: float, hard: bool) -> None:
        if hard:
            session.abort(now)
        else:
            session.close(now)
        if self._sessions.remove(session):
            self._desk.ended(session.key, reason, now)
            self._visiting(session.key, now)

    def _write(self, now: float) -> None:
        try:
            self._directory.seen(self._presence.to_write(now))
        except DirectoryError as error:
            self.counters["last-seen-not-written"] += 1
            self._events.append(StoreFailed(str(error)))


def _opens(packet: SuperPacket) -> bool:
    """Whether a packet asks for a new TCP connection: SYN without ACK (RFC 9293 section 3.1, octet 13)."""
    flags_at = packet.transport_offset + 13
    return packet.protocol == TCP_PROTOCOL and len(packet.header) > flags_at and packet.header[flags_at] & 0x12 == 0x02
