"""The files of one node, with everything that is not sans-IO: connections of the LAN, threads, the timer, the disk, those who watch."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.files.answers import Answers
from bridges.files.arriving import Arriving, Result
from bridges.files.correspondents import Unasked
from bridges.files.effects import Announce, Answered, Changed, Discard, Drop, Effect, Gone, Unspool, Visit
from bridges.files.exchange import Exchange
from bridges.files.frames import Message, News, Offer, Request
from bridges.files.hashing import Hashing
from bridges.files.inbox import Inbox
from bridges.files.source import SourceError
from bridges.files.spool import Spool
from bridges.files.threads import Threads
from bridges.files.transfer import Transfer, size_text
from bridges.files.visited import Visited, VisitedFactory
from bridges.files.visiting import Fetching, Telling
from bridges.files.visiting import Visit as Visiting
from bridges.notices import Notices
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan import ports

PORT: Final = ports.FILES
"""TCP port of the LAN at which members are visited."""
MAX_CONNECTIONS_OF_PEER: Final = 8
"""Connections of one member: it needs one for news and two for files, and dead ones may not be known as such yet."""
MAX_CONNECTIONS: Final = 256
"""Of all members."""
MAX_HASHINGS: Final = 64
"""Transfers whose hashes are remembered while they pause; others are hashed from their beginning again."""
SAVE_DELAY: Final = 0.5
"""Seconds from a change to its being on disk: a burst is written once. What is lost in them the other member says again."""
DOUBT: Final = 2.0
"""Seconds in which something must come over a fetch whose sender has turned up anew: else it hangs on a connection that is no more."""


class Service:
    """See the module. ``policy`` and ``unasked``: as ``Answers``'; everything in the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        lan: Lan,
        store: BridgeStore,
        inbox: Path,
        policy: Callable[[PeerInfo], bool | None],
        at_once: int,
        unasked: Unasked | None = None,
    ) -> None:
        self.reactor = lan.reactor
        self.lan = lan
        self.threads = Threads(lan.reactor)
        self.exchange = Exchange(os.urandom, time.time, at_once)
        self.inbox = Inbox(inbox)
        self.spool = Spool(store.path.parent / "uploads")
        self.answers = Answers(self.exchange, self._policy, self.inbox.room, unasked)
        self.watchers: dict[Callable[[dict[str, Any]], None], None] = {}
        self.running = False
        self._store = store
        self._admits = policy
        self._visits: dict[Visiting, None] = {}
        self._visited: dict[Visited, None] = {}
        self._connecting: dict[Deferred[Any], None] = {}
        self._arrivals: dict[Arriving, Fetching] = {}
        self._hashings: dict[str, Hashing] = {}
        self._timer: Any = None
        self._deadline: float | None = None
        self._save_timer: Any = None
        self._saving: Deferred[None] | None = None
        self._port: Any = None
        self._observed: Callable[[], None] | None = None
        self._idle: list[Deferred[None]] = []

    # --- start and stop ----------------------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Go on from what was kept, and let members in."""
        self.threads.start()
        self.running = True
        kept = self._store.load()
        if kept is not None:
            try:
                self.exchange.load(kept, self.now())
            except ValueError as error:
                self._log.warn("what was kept of files is not understood ({error}); it is begun anew", error=error)
        for transfer in self.exchange.table:
            if transfer.direction == "in" and not transfer.ended:
                transfer.done = self.inbox.length(transfer.id)
        self.threads.run(self.inbox.sweep, {one.id for one in self.exchange.table}).addErrback(self._unexpected)
        self.threads.run(self.spool.sweep, {one.path for one in self.exchange.table if one.spooled}).addErrback(self._unexpected)
        self._observed = self.lan.observe_reached(self._reached)
        listening = self.lan.server_endpoint(PORT).listen(VisitedFactory(self))

        def listens(port: Any) -> None:
            self._port = port
            self.carry_out()

        def cannot(failure: Failure) -> None:
            raise CommandError(f"files: port {PORT} of the LAN cannot be listened at: {failure.getErrorMessage()}")

        listening.addCallbacks(listens, cannot)
        return listening

    def stop(self) -> Deferred[None]:
        """Leave everything so that it can be gone on with. Idempotent."""
        if not self.running:
            return succeed(None)
        self.running = False
        if self._observed is not None:
            self._observed()
        for timer in (self._timer, self._save_timer):
            if timer is not None and timer.active():
                timer.cancel()
        port, self._port = self._port, None
        ended = [port.stopListening()] if port is not None else []
        for connecting in list(self._connecting):
            connecting.cancel()
        for visit in list(self._visits):
            visit.abort()
        for visited in list(self._visited):
            visited.abort()
        for arriving in list(self._arrivals):
            arriving.stop()
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._look_idle()
        return DeferredList([*ended, idle]).addCallback(self._stopped)

    def _look_idle(self) -> None:
        if not self.running and not self._visits and not self._visited and not self._arrivals:
            waiting, self._idle = self._idle, []
            for one in waiting:
                one.callback(None)

    def _stopped(self, _: object) -> None:
        self.threads.stop()
        self._keep(self.exchange.table.dump())

    def now(self) -> float:
        """Monotonic seconds."""
        seconds: float = self.reactor.seconds()
        return seconds

    # --- effects -----------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the core wants done, and set the timer."""
        while effects := self.exchange.effects():
            for effect in effects:
                self._do(effect)
        if not self.running:
            return
        deadline = self.exchange.deadline
        if deadline == self._deadline and self._timer is not None:
            return
        self._deadline = deadline
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if deadline is not None:
            self._timer = self.reactor.callLater(max(0.01, deadline - self.now()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.exchange.tick(self.now())
        self.carry_out()

    def _do(self, effect: Effect) -> None:
        match effect:
            case Changed():
                self._tell({"transfer": self.exchange.view(effect.transfer, self.now())})
                if effect.lasting:
                    self._save_soon()
                if effect.transfer.ended:
                    self._hashings.pop(effect.transfer.id, None)
            case Gone():
                self._tell({"gone": effect.id})
                self._save_soon()
            case Visit():
                self._visit(effect.key, effect.fetching)
            case Drop():
                self._drop(effect.id)
            case Discard():
                if not any(arriving.transfer.id == effect.id for arriving in self._arrivals):
                    self.threads.run(self.inbox.discard, effect.id).addErrback(self._unexpected)
            case Unspool():
                self.threads.run(self.spool.remove, effect.path).addErrback(self._unexpected)
            case Announce(transfer):
                text = f"offers {transfer.file} ({size_text(transfer.size)})"
                Notices.of(self.lan).tell("file", transfer.name, text, subject=transfer.id)
            case Answered():
                Notices.of(self.lan).withdraw(effect.id)

    def _tell(self, item: dict[str, Any]) -> None:
        for watcher in list(self.watchers):
            watcher(item)

    def _drop(self, identifier: str) -> None:
        for arriving, visit in list(self._arrivals.items()):
            if arriving.transfer.id == identifier:
                visit.drop()
        for visited in list(self._visited):
            if visited.sending is not None and visited.sending.transfer.id == identifier:
                visited.abort()

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("files: something failed", failure)

    # --- what is kept ------------------------------------------------------------------------------------------------

    def save(self) -> Deferred[None]:
        """Keep everything now; fires once it is on disk."""
        if self._save_timer is not None and self._save_timer.active():
            self._save_timer.cancel()
        self._save_timer = None
        value = self.exchange.table.dump()
        before = self._saving if self._saving is not None else succeed(None)
        saving: Deferred[None] = Deferred()
        self._saving = saving
        before.addCallback(lambda _: self.threads.run(self._keep, value)).addErrback(self._unexpected)
        before.addCallback(lambda _: self._saved(saving))
        done: Deferred[None] = Deferred()
        saving.addCallback(lambda _: done.callback(None))
        return done

    def _saved(self, saving: Deferred[None]) -> None:
        if self._saving is saving:
            self._saving = None
        saving.callback(None)

    def _keep(self, value: object) -> None:
        try:
            self._store.save(value)
        except CommandError as error:
            self._log.warn("{error}", error=error)

    def _save_soon(self) -> None:
        if self._save_timer is None and self.running:
            self._save_timer = self.reactor.callLater(SAVE_DELAY, self.save)

    # --- members -----------------------------------------------------------------------------------------------------

    def member(self, key: str) -> PeerInfo | None:
        """A member by its key."""
        return next((peer for peer in self.lan.members() if peer.key == key), None)

    def _policy(self, key: str) -> bool | None:
        peer = self.member(key)
        return False if peer is None else self._admits(peer)

    def _reached(self, peer: PeerInfo) -> None:
        self._renew(peer.key)
        self.exchange.reached(peer.key, peer.name, self.now())
        self.carry_out()

    def _renew(self, key: str) -> None:
        """A member has turned up anew: what hangs on a connection to it as it was before, begins again."""
        for visit in list(self._visits):
            if visit.key == key and isinstance(visit, Fetching) and not visit.doubted:
                visit.doubted = True
                self.reactor.callLater(DOUBT, self._still_silent, visit, visit.heard_at)

    def _still_silent(self, visit: Fetching, heard_at: float) -> None:
        visit.doubted = False
        if visit.heard_at == heard_at and visit.waits:
            visit.abort()

    def _visit(self, key: str, fetching: bool) -> None:
        telling = next((one for one in self._visits if one.key == key and isinstance(one, Telling)), None)
        if telling is not None and not fetching:
            if telling.transport is not None:
                telling.go_on()
            return
        peer = self.member(key)
        if peer is None or not self.running:
            self.exchange.visit_ended(key, fetching, True, self.now(), coming=fetching)
            return
        visit = Fetching(self, key) if fetching else Telling(self, key)
        connecting = self.lan.client_endpoint(peer.ipv6 or peer.ipv4, PORT).connect(_Once(visit))
        self._visits[visit] = None
        self._connecting[connecting] = None
        connecting.addCallbacks(lambda _: None, lambda _: self.over(visit, True))
        connecting.addBoth(lambda _: self._connecting.pop(connecting, None))

    # --- Traveller ---------------------------------------------------------------------------------------------------

    def news(self, key: str) -> News | None:
        """The next thing to tell a member."""
        return self.exchange.news(key)

    def answered(self, key: str, said: News, answer: Message) -> None:
        """A member has answered."""
        self.exchange.answered(key, said, answer, self.now())
        self.carry_out()

    def next_fetch(self, key: str) -> Transfer | None:
        """The next file to fetch from a member."""
        transfer = self.exchange.next_fetch(key, self.now()) if self.running else None
        self.carry_out()
        return transfer

    def crowded(self) -> bool:
        """Whether a member waits for one that is fetched from to make room."""
        return self.exchange.crowded(self.now())

    def begun(self, key: str) -> None:
        """A member sends what was asked of it."""
        self.exchange.correspondent(key, self.now()).succeeded(self.now())

    def arriving(self, visit: Fetching, transfer: Transfer, pause: Callable[[bool], None], ended: Callable[[Result], None]) -> Arriving:
        """Where the octets of a file go that a visit fetches."""

        def moved(octets: int) -> None:
            self.exchange.progress(transfer, octets, self.now())
            self.carry_out()

        arriving = Arriving(self.threads, self.inbox, transfer, pause, moved, ended)
        self._arrivals[arriving] = visit
        return arriving

    def open(self, arriving: Arriving) -> Deferred[int]:
        """The offset to fetch from, once the part is open."""
        others = [one.transfer for one in self._arrivals if one is not arriving]
        promised = sum(max(0, one.size - one.done) for one in others)
        return arriving.open(promised, self._hashings.pop(arriving.transfer.id, None))

    def arrived(self, arriving: Arriving, result: Result) -> None:
        """How it has ended."""
        self._arrivals.pop(arriving, None)
        transfer = arriving.transfer
        if result.outcome == "done" and result.path is not None:
            transfer.path, transfer.sha256 = str(result.path), result.sha256
        elif arriving.hashing is not None and not arriving.unwanted and len(self._hashings) < MAX_HASHINGS:
            self._hashings[transfer.id] = arriving.hashing
        self.exchange.fetched(transfer, result.outcome, result.text, self.now())
        self.carry_out()
        if result.outcome == "done":
            self.save().addCallback(lambda _: self.threads.run(self.inbox.discard, transfer.id)).addErrback(self._unexpected)

    def over(self, visit: Visiting, failed: bool) -> None:
        """A visit has ended."""
        if visit in self._visits:
            del self._visits[visit]
            coming = isinstance(visit, Fetching) and visit.coming
            self.exchange.visit_ended(visit.key, visit.fetching, failed, self.now(), coming)
            self.carry_out()
            self._look_idle()

    # --- Host --------------------------------------------------------------------------------------------------------

    def who(self, address: str) -> tuple[str, str] | None:
        """The member that visits from an address, unless it visits too often."""
        peer = self.lan.peer_at(address)
        counts = Counter(visited.key for visited in self._visited)
        if peer is None or counts[peer.key] >= MAX_CONNECTIONS_OF_PEER or counts.total() >= MAX_CONNECTIONS:
            self.answers.counters["connections refused"] += 1
            return None
        return peer.key, peer.name

    def arrives(self, visited: Visited) -> None:
        """A member has come."""
        self._visited[visited] = None
        self._renew(visited.key)

    def left(self, visited: Visited) -> None:
        """A member has gone; what it had fetched and not said to have waits until it says so."""
        self._visited.pop(visited, None)
        for identifier in visited.fetched:
            transfer = self.exchange.table.get(identifier)
            elsewhere = any(identifier in other.fetched for other in self._visited)
            if transfer is not None and transfer.state == "active" and not elsewhere:
                whole = transfer.done >= transfer.size
                text = f"{transfer.name} has all of it, and checks it" if whole else f"{transfer.name} broke off: it goes on by itself"
                self.exchange.move(transfer, "paused", text, told=transfer.told)
        self.carry_out()
        self._look_idle()

    def asked(self, key: str) -> None:
        """A member has made a request."""
        self.exchange.correspondent(key, self.now()).asked(self.now())

    def owes(self, key: str) -> float:
        """Seconds for which no more of a member's requests are to be read."""
        return self.exchange.correspondent(key, self.now()).owes(self.now())

    def heard(self, key: str, name: str, request: Request) -> Message | Transfer:
        """The answer to a member's request."""
        if isinstance(request, Offer):
            self._renew(key)
        answer = self.answers.heard(key, name, request, self.now())
        self.carry_out()
        return answer

    def hashing(self, identifier: str) -> Hashing:
        """What was hashed of a file that is sent; nobody else's until it is given back."""
        return self._hashings.pop(identifier, None) or Hashing()

    def hashed(self, transfer: Transfer, hashing: Hashing) -> None:
        """It is given back."""
        if not transfer.ended and len(self._hashings) < MAX_HASHINGS:
            self._hashings[transfer.id] = hashing

    def serving(self, visited: Visited, transfer: Transfer, offset: int) -> None:
        """A file begins to be sent; whoever fetched it before does so no more."""
        for other in list(self._visited):
            if other is not visited and other.sending is not None and other.sending.transfer is transfer:
                other.fetched.discard(transfer.id)
                other.abort()
        transfer.done = offset
        self.exchange.move(transfer, "active", told=True)
        self.exchange.progress(transfer, offset, self.now())
        self.carry_out()

    def sent(self, transfer: Transfer, octets: int) -> None:
        """So much of it has been sent."""
        self.exchange.progress(transfer, octets, self.now())
        self.carry_out()

    def served(self, visited: Visited, transfer: Transfer, error: SourceError | None) -> None:
        """It has been sent, or cannot be."""
        if error is not None:
            visited.fetched.discard(transfer.id)
            self.exchange.move(transfer, "failed" if error.final else "paused", str(error), told=True)
        self.carry_out()


class _Once(Factory):
    """Gives one protocol that was made before."""

    noisy = False

    def __init__(self, protocol: Visiting) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Visiting:
        return self._protocol
