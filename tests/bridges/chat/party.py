"""Members of one LAN in virtual time: each has a chat with a store of its own; what they say to each other takes ``DELAY``.

Nothing but the tunnel is left out, and the store's thread: jobs are done at once, each in a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from bridges.chat.commands import Commands
from bridges.chat.schema import StoreError
from bridges.chat.service import DAY, Service
from bridges.chat.store import Store
from bridges.notices import Notices
from userlan.driver.lan import PeerInfo
from userlan.driver.reasons import error, failure_of
from userlan.lan.addresses import key_text
from userlan.lan.names import UnknownName

DELAY = 0.05
"""Seconds one way."""
UNIT = 65536
WALL = 1_800_000_000.0
"""The wall clock when the virtual one says 0."""


class DirectWorker:
    """Stands for ``Worker``: no thread."""

    def __init__(self, path: Path, history: int = 1000, size: int = 1 << 24) -> None:
        self._limits = path, history, size
        self.store: Store | None = None
        self.full = False

    def start(self) -> Deferred[None]:
        try:
            self.store = Store(*self._limits, _unheard)
        except StoreError as problem:
            return fail(problem)
        return succeed(None)

    def run(self, job: Callable[[Store], Any]) -> Deferred[Any]:
        if self.full:
            return fail(StoreError("the disk is full"))
        assert self.store is not None
        try:
            with self.store.transaction():
                return succeed(job(self.store))
        except StoreError as problem:
            return fail(problem)

    def stop(self) -> Deferred[None]:
        assert self.store is not None
        self.store.close()
        return succeed(None)


def _unheard(text: str) -> None:
    """Mishaps of the store are not what is looked at here."""


class End:
    """One end of a connection: a transport, as the LAN's is."""

    def __init__(self, party: Party, local: str, remote: str) -> None:
        self.party, self.local, self.remote = party, local, remote
        self.other: End | None = None
        self.protocol: Any = None
        self.closed = False
        self.paused = False
        self.received = bytearray()
        self.ended: Exception | None = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if not self.closed:
            self.party.later(self.local, self.remote, lambda: self._there().arrive(data))

    def _there(self) -> End:
        assert self.other is not None
        return self.other

    def arrive(self, data: bytes) -> None:
        self.received += data
        self.party.clock.callLater(0, self.deliver)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.party.clock.callLater(0, self.deliver)

    def deliver(self) -> None:
        while self.received and not self.paused and not self.closed:
            unit, self.received = bytes(self.received[:UNIT]), self.received[UNIT:]
            self.protocol.dataReceived(unit)
        if self.ended is not None and not self.received:
            self.close(self.ended)

    def loseConnection(self) -> None:
        self._leave(error.ConnectionDone())

    def abortConnection(self) -> None:
        self._leave(error.ConnectionAborted())

    def _leave(self, reason: Exception) -> None:
        if not self.closed:
            self.party.clock.callLater(0, self.close, reason)
            self.party.later(self.local, self.remote, lambda: self._there().end(reason))

    def end(self, reason: Exception) -> None:
        self.ended = reason
        self.deliver()

    def close(self, reason: Exception) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(failure_of(reason))


class PartyLan:
    """Stands for ``Lan``, seen from one member."""

    def __init__(self, party: Party, name: str) -> None:
        self.party, self.name = party, name
        self.reactor = party.clock
        self.observers: list[Callable[[], None]] = []
        self.reached: list[Callable[[PeerInfo], None]] = []
        self.listening: dict[int, Any] = {}

    def own(self) -> PeerInfo:
        return self.party.info(self.name, self.name)

    def members(self) -> list[PeerInfo]:
        return [one for name in self.party.names if name != self.name and (one := self.party.info(name, self.name)).networks]

    def peer_at(self, address: str) -> PeerInfo | None:
        return next((peer for peer in [*self.members(), self.own()] if peer.ipv4 == address), None)

    def resolve(self, host: str) -> str:
        found = next((peer for peer in [*self.members(), self.own()] if host in (peer.name, peer.ipv4)), None)
        if found is None:
            raise UnknownName(f"no member is called {host!r}")
        return found.ipv4

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        self.observers.append(changed)
        return lambda: self.observers.remove(changed)

    def observe_reached(self, reached: Callable[[PeerInfo], None]) -> Callable[[], None]:
        self.reached.append(reached)
        return lambda: self.reached.remove(reached)

    def server_endpoint(self, port: int) -> Any:
        return _Listening(self, port)

    def client_endpoint(self, host: str, port: int, timeout: float = 30.0) -> Any:
        return _Dialling(self, host, port, timeout)


class _Listening:
    def __init__(self, lan: PartyLan, port: int) -> None:
        self._lan, self._port = lan, port

    def listen(self, factory: Any) -> Deferred[Any]:
        if self._port in self._lan.listening:
            return fail(error.CannotListenError("the LAN", self._port, OSError("in use")))
        self._lan.listening[self._port] = factory
        return succeed(self)

    def stopListening(self) -> Deferred[None]:
        self._lan.listening.pop(self._port, None)
        return succeed(None)


class _Dialling:
    def __init__(self, lan: PartyLan, host: str, port: int, timeout: float) -> None:
        self._lan, self._host, self._port, self._timeout = lan, host, port, timeout

    def connect(self, factory: Any) -> Deferred[Any]:
        party, own = self._lan.party, self._lan.name
        party.attempts.append((party.clock.seconds(), own))
        done: Deferred[Any] = Deferred(lambda _: timer.cancel())
        peer = next((name for name in party.names if party.address(name) == self._host), "")

        def answered() -> None:
            if not timer.active():
                return
            timer.cancel()
            listening = party.lans[peer].listening.get(self._port)
            ends = End(party, own, peer), End(party, peer, own)
            accepted = None if listening is None else listening.buildProtocol(IPv4Address("TCP", party.address(own), 40_000))
            if accepted is None:
                done.errback(error.ConnectionRefusedError())
                return
            for end, other, protocol in ((ends[0], ends[1], factory.buildProtocol(None)), (ends[1], ends[0], accepted)):
                end.other, end.protocol = other, protocol
                protocol.makeConnection(end)
            party.connections.append(ends)
            done.callback(ends[0].protocol)

        timer = party.clock.callLater(self._timeout, lambda: done.errback(error.TimeoutError()))
        party.later(own, peer, answered)
        return done


class Person:
    """A member with a chat; what it asks is answered at once, unless it waits for a delivery."""

    def __init__(self, party: Party, name: str, **limits: int) -> None:
        self.party, self.name = party, name
        lan: Any = party.lans[name]
        self.lan = lan
        self.worker = DirectWorker(party.folder / f"{name}.sqlite", **limits)
        worker: Any = self.worker
        self.service: Any = Service(lan, worker, 30 * DAY, lambda: WALL + party.clock.seconds() + party.skew.get(name, 0.0))
        self.commands = Commands(self.service)
        self.events: list[dict[str, Any]] = []
        started: list[object] = []
        self.service.start().addCallback(started.append)
        assert started == [None]
        watchers: Any = self.service.watchers
        watchers.tell = self.events.append

    def ask(self, command: str, **arguments: object) -> Any:
        answers: list[Any] = []
        self.commands.plain[command](arguments).addBoth(answers.append)
        self.party.clock.advance(0)
        assert answers, "no answer yet"
        if hasattr(answers[0], "raiseException"):
            answers[0].raiseException()
        return answers[0]

    def send(self, to: str, text: str) -> dict[str, Any]:
        message: dict[str, Any] = self.ask("chat-send", to=to, text=text)["message"]
        return message

    def history(self, conversation: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.ask("chat-history", conversation=conversation, limit=1000)["messages"]
        return messages

    def texts(self, conversation: str) -> list[str]:
        return [message["text"] for message in self.history(conversation)]

    def stop(self) -> None:
        self.service.stop()
        self.party.clock.advance(0)


class Party:
    """Names, networks, clocks and wires."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.clock: Any = Clock()
        self.names = list(names)
        self.nicks: dict[str, str] = {}
        self.networks: dict[str, set[str]] = {"home": set(names)}
        self.lans = {name: PartyLan(self, name) for name in names}
        self.away: set[str] = set()
        self.skew: dict[str, float] = {}
        self.blocked: set[tuple[str, str]] = set()
        """Who has blocked whom."""
        self.connections: list[tuple[End, End]] = []
        self.attempts: list[tuple[float, str]] = []
        self.notices: list[tuple[object, ...]] = []
        self.persons: dict[str, Person] = {}

    def open(self, name: str, **limits: int) -> Person:
        """Its node starts (again)."""
        self.away.discard(name)
        person = self.persons[name] = Person(self, name, **limits)
        return person

    def close(self, name: str) -> None:
        """Its node ends."""
        self.persons.pop(name).stop()
        self.away.add(name)

    def run(self, seconds: float) -> None:
        """Time passes; every timer goes off at its own time."""
        end = self.clock.seconds() + seconds
        for _ in range(200_000):
            calls = [call.getTime() for call in self.clock.getDelayedCalls()]
            if not calls or min(calls) > end:
                break
            self.clock.advance(max(0.0, min(calls) - self.clock.seconds()))
        else:
            raise AssertionError("it never comes to rest")
        self.clock.advance(end - self.clock.seconds())

    def later(self, sender: str, receiver: str, action: Callable[[], object]) -> None:
        """Something travels; it is lost where one of them is away when it arrives."""

        def arrive() -> None:
            parted = {(sender, receiver), (receiver, sender)} & self.blocked
            if not {sender, receiver} & self.away and not parted and receiver in self.lans:
                action()

        self.clock.callLater(DELAY, arrive)

    def reach(self, one: str, other: str) -> None:
        """Both learn that there is a way."""
        for here, there in ((one, other), (other, one)):
            for reached in list(self.lans[here].reached):
                reached(self.info(there, here))

    def changed(self) -> None:
        """All learn that the members have changed."""
        for lan in self.lans.values():
            for changed in list(lan.observers):
                changed()

    def info(self, name: str, seen_by: str) -> PeerInfo:
        shared = tuple(sorted(one for one, members in self.networks.items() if {name, seen_by} <= members))
        nick = self.nicks.get(name, name)
        return PeerInfo(nick, self.key(name), self.address(name), "", "", shared, (seen_by, name) in self.blocked)

    def key(self, name: str) -> str:
        return key_text(name.encode().ljust(32, b"."))

    def address(self, name: str) -> str:
        return f"25.9.1.{self.names.index(name) + 1}" if name in self.names else ""

    def hear_notices(self, name: str) -> None:
        """What the desktop of a member would be told."""
        notices: Any = Notices.of(self.lans[name])  # type: ignore[arg-type]
        notices.tell = lambda kind, title, text, subject="", total=0: self.notices.append((kind, title, text, subject, total))
        notices.withdraw = lambda subject: self.notices.append(("withdrawn", subject))
