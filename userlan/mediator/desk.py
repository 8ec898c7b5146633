"""The desk: what each message of a session leads to, and who is told what of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from userlan.control import refusals
from userlan.control.frames import Undecodable, encode
from userlan.control.meeting import Outcome, PoolKey, Proof, Reachability, RelayDelays, Serve, Sighted, Vantages
from userlan.control.messages import (
    PROTOCOL_VERSION,
    Approve,
    Bye,
    Candidate,
    Candidates,
    Create,
    Deny,
    Evict,
    Hello,
    Join,
    Leave,
    Lock,
    Meet,
    Message,
    Nick,
    Observed,
    Ping,
    Pong,
    Prove,
    Refused,
    Welcome,
)
from userlan.mediator.accounts import Account, Accounts
from userlan.mediator.effects import Effect, Entered, Parted, Publish, RefusalError, Tell
from userlan.mediator.events import MediatorEvent, NodeOffline, NodeOnline, RelayGone, RelayJoined, StoreFailed
from userlan.mediator.limits import Buckets, Limits, source_name
from userlan.mediator.matchmaker import Matchmaker
from userlan.mediator.presence import PING_INTERVAL, Presence
from userlan.mediator.reach import accepted, is_colocated
from userlan.mediator.records import UNUSABLE, DirectoryError
from userlan.mediator.relays import Relays
from userlan.mediator.requests import Requests
from userlan.mediator.session import Phase, Session
from userlan.mediator.sessions import Sessions
from userlan.wire.endpoint import TCP, Endpoint, unmapped

#: The oldest protocol that is still spoken.
OLDEST_PROTOCOL = 1
#: What a relay is told as its address: it has none (RFC 1122, 3.2.1.3 a).
NO_ADDRESS = bytes(4)


class Desk:
    """Reads messages, keeps presence and matchmaker informed, writes to sessions. Never touches tunnel or host."""

    def __init__(
        self,
        accounts: Accounts,
        requests: Requests,
        sessions: Sessions,
        presence: Presence,
        matchmaker: Matchmaker,
        relays: Relays,
        own_hosts: Collection[str],
        agent: str,
        limits: Limits,
    ) -> None:
        self._accounts = accounts
        self._requests = requests
        self._sessions = sessions
        self._presence = presence
        self._matchmaker = matchmaker
        self._relays = relays
        self._own_hosts = own_hosts
        self._agent = agent
        self._changes = Buckets(limits.change_rate, limits.change_burst, limits.remembered)
        self._reachabilities = Buckets(limits.reachability_rate, limits.reachability_burst, limits.remembered)
        self._written: dict[Session, None] = {}
        self._members: dict[bytes, None] = {}
        self._events: list[MediatorEvent] = []
        self._token = 0
        self.vantages: Callable[[], Vantages] | None = None
        """What members are told, after ``Welcome``, of where they can ask from where they are seen."""
        self.proven: Callable[[Sequence[Proof], float], tuple[Endpoint, ...]] | None = None
        """Which of a member's endpoints beside its session were seen here."""
        self.counters: Counter[str] = Counter()

    # --- drained by the service --------------------------------------------------------------------------------------

    def written(self) -> list[Session]:
        """The sessions that were written to."""
        written, self._written = list(self._written), {}
        return written

    def members_known(self) -> list[bytes]:
        """Keys that turned out to be, or became, members of a network."""
        members, self._members = list(self._members), {}
        return members

    def events(self) -> list[MediatorEvent]:
        """For the log."""
        events, self._events = self._events, []
        return events

    # --- messages ----------------------------------------------------------------------------------------------------

    def message(self, session: Session, message: Message | Undecodable, endpoint: Endpoint, now: float) -> str:
        """One message of a session whose datagrams come from ``endpoint``; returns why the session must end, or ""."""
        if isinstance(message, Undecodable):
            return self._undecodable(session, message, now)
        self.counters["messages"] += 1
        match message:
            case Ping():
                self._send(session, Pong(message.token))
                return ""
            case Pong():
                self._pong(session, message, now)
                return ""
            case Bye():
                return "it said goodbye"
            case Hello():
                greet = self._relay_hello if message.kind == "relay" else self._hello
                return greet(session, message, endpoint, now)
            case Serve() if session.key in self._relays:
                self._relays.serve(session.key, message, now)
                return ""
        account = self._accounts.get(session.key) if session.phase is Phase.READY else None
        if account is None:
            self._refuse(session, refusals.OUT_OF_ORDER, "the first message of a session must be Hello")
            return "its first message was not Hello"
        match message:
            case Candidates() | RelayDelays() if not self._changes.take(session.key, now):
                self.counters["changes-limited"] += 1
            case Candidates():
                self._matchmaker.offers(session.key, accepted(message.candidates), now)
            case RelayDelays():
                self._relays.measured(session.key, message)
            case Meet():
                if not self._matchmaker.meet(session.key, message.peer, now):
                    self.counters["meetings-refused"] += 1
                    self._refuse(session, refusals.NO_SUCH_PEER, "no such peer is online in your networks")
            case Reachability():
                if self._reachabilities.take(session.key, now):
                    self._matchmaker.classified(session.key, message.nat, now)
                else:
                    self.counters["reachability-limited"] += 1
            case Sighted() if self.proven is not None:
                seen = (one for one in self.proven(message.proofs, now) if not is_colocated(one, self._own_hosts))
                self._matchmaker.sighted(session.key, tuple(seen), now)
            case Outcome():
                self._matchmaker.outcome(session.key, message, now)
            case Create() | Join() | Prove() | Leave() | Nick() | Lock() | Approve() | Deny() | Evict():
                self._apply(self._requests.handle(account, message, now), now)
        return ""

    def roamed(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A peer's datagrams come from another endpoint now."""
        session, account, seen = self._sessions.ready(key), self._accounts.get(key), _plain(endpoint)
        self._relays.moved(key, seen, now)
        if session is None or account is None:
            return
        account.source = source_name(seen.host)
        self._matchmaker.located(key, seen, is_colocated(seen, self._own_hosts), now)
        self._send(session, Observed(_observed(seen)))

    def tell_more(self, session: Session, now: float) -> bool:
        """Tells a session of its next networks while its connection takes them; False when the directory fails."""
        account = self._accounts.get(session.key) if session.untold else None
        while account is not None and session.untold and not session.crowded:
            try:
                effects = self._accounts.tell(account, session.untold.pop())
            except DirectoryError as error:
                self._events.append(StoreFailed(str(error)))
                return False
            self._apply(effects, now)
        return True

    def ping(self, key: bytes, now: float) -> None:
        """Measures a session's link and asks for a sign of life."""
        session = self._sessions.ready(key)
        if session is None or (session.ping_token and now - session.ping_sent < PING_INTERVAL / 2):
            return
        self._token = self._token % (2**32 - 1) + 1
        session.ping_token, session.ping_sent = self._token, now
        self._send(session, Ping(self._token))

    def tell(self, key: bytes, message: Message) -> None:
        """A message for whoever has a session under a key."""
        session = self._sessions.ready(key)
        if session is not None:
            self._send(session, message)

    def introduce(self, now: float) -> None:
        """Sends the introductions and measurements that are due."""
        for introduction in self._matchmaker.due(now):
            session = self._sessions.ready(introduction.key)
            if session is not None:
                self._send(session, introduction.message)
        for key, told in self._relays.due(now):
            session = self._sessions.ready(key)
            if session is not None:
                self._send(session, told)

    def ended(self, key: bytes, reason: str, now: float) -> None:
        """A key's live session ended."""
        account = self._accounts.get(key)
        if key in self._relays:
            self._presence.departed(key, now)
            self._relays.left(key, now)
            self._events.append(RelayGone(key, reason))
        if account is None:
            return
        self._presence.departed(key, now)
        self._relays.departed(key)
        self._matchmaker.departed(key)
        self._apply(self._accounts.logout(key), now)
        self._events.append(NodeOffline(key, account.name, reason))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _hello(self, session: Session, hello: Hello, endpoint: Endpoint, now: float) -> str:
        if session.phase is not Phase.GREETING or session.key in self._relays:
            self._refuse(session, refusals.OUT_OF_ORDER, "this session has greeted already")
            return ""
        version, text = _negotiate(hello)
        if text:
            self._refuse(session, refusals.PROTOCOL_VERSION, text)
            return f"it speaks protocol {hello.version}"
        seen = _plain(endpoint)
        was_online = self._presence.online(session.key)
        self._presence.arrived(session.key, now)
        try:
            account, effects = self._accounts.login(session.key, hello.name, source_name(seen.host), now)
            untold = self._accounts.untold(account, hello.evictions)
        except (RefusalError, DirectoryError, ValueError) as error:
            if self._accounts.get(session.key) is None:
                self._presence.departed(session.key, now)
            return self._no_login(session, error)
        self._sessions.greeted(session)
        session.greeted()
        self._welcome(session, account, version, seen, now)
        self._matchmaker.arrived(
            session.key,
            account.memberships,
            seen,
            accepted(hello.candidates),
            is_colocated(seen, self._own_hosts),
            now,
        )
        session.untold = untold[::-1]
        self._relays.arrived(session.key)
        self._apply(effects, now)
        self._mark(account)
        if not was_online:
            self._events.append(NodeOnline(session.key, account.name, account.ipv4, seen, len(account.memberships)))
        return ""

    def _relay_hello(self, session: Session, hello: Hello, endpoint: Endpoint, now: float) -> str:
        """A relay greets: it gets no account, no address and no network."""
        version, text = _negotiate(hello)
        refusal = self._relays.refusal(session.key)
        if session.phase is not Phase.GREETING or self._accounts.get(session.key) is not None:
            refusal = "this key has greeted already, or is a node's"
        if text or refusal:
            self._refuse(session, refusals.PROTOCOL_VERSION if text else refusals.FULL, text or refusal)
            return f"the relay was refused: {text or refusal}"
        seen = _plain(endpoint)
        self._presence.arrived(session.key, now)
        self._sessions.greeted(session)
        session.greeted()
        self._sessions.set_member(session.key, True)
        self._members[session.key] = None
        self._relays.joined(session.key, hello.name, seen, now)
        wall, where = self._accounts.wall(now), str(self._accounts.range)
        self._send(session, Welcome(version, hello.name, NO_ADDRESS, where, _observed(seen), wall, agent=self._agent))
        self._send(session, PoolKey(self._relays.pool_key(session.key)))
        self.ping(session.key, now)
        self._events.append(RelayJoined(session.key, hello.name, seen))
        return ""

    def _welcome(self, session: Session, account: Account, version: int, seen: Endpoint, now: float) -> None:
        """The ping goes right behind: what is measured must not wait for the networks' states."""
        welcome = Welcome(
            version,
            account.name,
            account.ipv4,
            str(self._accounts.range),
            _observed(seen),
            self._accounts.wall(now),
            tuple(membership.network for membership in account.memberships.values()),
            self._agent,
        )
        self._send(session, welcome)
        self.ping(session.key, now)
        if self.vantages is not None:
            self._send(session, self.vantages())

    def _no_login(self, session: Session, error: Exception) -> str:
        if isinstance(error, RefusalError):
            self._refuse(session, error.code, str(error))
        else:
            self._refuse(session, refusals.UNAVAILABLE, UNUSABLE if isinstance(error, DirectoryError) else str(error))
            self._events.append(StoreFailed(str(error)))
        return f"it was refused: {error}"

    def _pong(self, session: Session, pong: Pong, now: float) -> None:
        if session.ping_token and pong.token == session.ping_token:
            session.ping_token = 0
            self._matchmaker.measured(session.key, now - session.ping_sent, now)
        else:
            self.counters["pongs-unasked"] += 1

    def _undecodable(self, session: Session, message: Undecodable, now: float) -> str:
        self.counters[message.reason] += 1
        self._send(session, Refused(message.request, message.reason, message.text))
        if session.phase is Phase.GREETING:
            return f"its first message was unreadable: {message.text}"
        return "" if session.rubbish(now) else "it sent too many unreadable messages"

    def _apply(self, effects: Iterable[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Tell():
                    session = self._sessions.ready(effect.key)
                    if session is not None:
                        self._send(session, effect.message)
                case Publish():
                    self._publish(effect)
                case Entered():
                    self._matchmaker.joined(effect.key, effect.network, now)
                    self._remark(effect.key)
                case Parted():
                    self._matchmaker.parted(effect.key, effect.network)
                    self._remark(effect.key)
                case StoreFailed():
                    self._events.append(effect)

    def _publish(self, publish: Publish) -> None:
        frame = encode(publish.message)
        for key in self._accounts.online(publish.network):
            session = self._sessions.ready(key) if key != publish.besides else None
            if session is not None:
                session.send_frame(frame)
                self._written[session] = None

    def _remark(self, key: bytes) -> None:
        account = self._accounts.get(key)
        if account is not None:
            self._mark(account)

    def _mark(self, account: Account) -> None:
        member = bool(account.memberships)
        self._sessions.set_member(account.key, member)
        if member:
            self._members[account.key] = None

    def _refuse(self, session: Session, code: str, text: str) -> None:
        self.counters["refused"] += 1
        self._send(session, Refused(0, code, text))

    def _send(self, session: Session, message: Message) -> None:
        session.send(message)
        self._written[session] = None


def _negotiate(hello: Hello) -> tuple[int, str]:
    """The protocol that both speak, or why there is none."""
    oldest = hello.oldest or hello.version
    if oldest > PROTOCOL_VERSION:
        return 0, f"this mediator speaks protocol {PROTOCOL_VERSION}, the node {oldest} or newer: upgrade the mediator"
    if hello.version < OLDEST_PROTOCOL:
        return (
            0,
            f"this mediator speaks protocol {OLDEST_PROTOCOL} or newer, the node {hello.version}: upgrade the node",
        )
    return min(hello.version, PROTOCOL_VERSION), ""


def _plain(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.transport, unmapped(endpoint.host), endpoint.port)


def _observed(endpoint: Endpoint) -> Candidate:
    return Candidate(endpoint.host, endpoint.port, "tcp" if endpoint.transport == TCP else "udp", "observed")
