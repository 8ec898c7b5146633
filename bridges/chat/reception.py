"""The port at which members bring messages: who they are, how many connections they may have, and what becomes of what they bring."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from bridges.chat.alarm import Alarm
from bridges.chat.allowance import Allowance
from bridges.chat.frames import PORT, Text
from bridges.chat.incoming import Cut, Effect, Incoming, Keep, Send
from bridges.chat.who import Roll
from userlan.driver.lan import PeerInfo

MAX_OF_AUTHOR = 2
"""Connections of one member: one, and that before it of which only this side does not know yet that it is dead. The oldest gives way."""

MAX_ARRIVALS = 1024
"""Connections of all of them: as many as a network has members. The one that has been silent for longest gives way."""

Taken = Callable[[PeerInfo, Text], Deferred[str]]
"""Keeps what a member says; the Deferred gives the reason why it is refused, or nothing. It fails where it could not be kept, though it may
be later."""


@implementer(IPushProducer)
class Arrival(Protocol):
    """One connection. It is the producer of its own answers, so as to know whether they are read."""

    transport: Any

    def __init__(self, reception: Reception, key: str, allowance: Allowance) -> None:
        self.key = key
        self._reception = reception
        self._reactor = reception.lan.reactor
        self._alarm = Alarm(self._reactor, self._tick)
        self._unread = False
        self._paused = False
        self.over = False
        self._effects: deque[Effect] = deque()
        self._busy = False
        self.core = Incoming(allowance, self._reactor.seconds())

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._carry_out([])

    def dataReceived(self, data: bytes) -> None:
        if not self.over:
            self._carry_out(self.core.receive(data, self._reactor.seconds()))

    def connectionLost(self, reason: Any = None) -> None:
        self.over = True
        self._alarm.set(None)
        self._reception.arrivals.pop(self, None)

    def pauseProducing(self) -> None:
        """The answers are not read: nothing more is read of who does not."""
        self._unread = True
        self._carry_out([])

    def resumeProducing(self) -> None:
        """They have been."""
        self._unread = False
        self._carry_out([])

    def stopProducing(self) -> None:
        """``connectionLost`` follows."""

    def abort(self) -> None:
        """End it at once."""
        if not self.over:
            self.over = True
            self._alarm.set(None)
            self.transport.abortConnection()

    def settled(self, identifier: str, reason: str) -> None:
        """A message is kept, or will not be."""
        self._carry_out(self.core.settle(identifier, reason, self._reactor.seconds()))

    def _tick(self) -> None:
        self._carry_out(self.core.tick(self._reactor.seconds()))

    def _carry_out(self, effects: list[Effect]) -> None:
        """In order: what an effect brings about comes behind those that are there already."""
        self._effects += effects
        if self._busy:
            return
        self._busy = True
        while self._effects and not self.over:
            match self._effects.popleft():
                case Keep(text):
                    self._reception.keep(self, text)
                case Send(data):
                    self.transport.write(data)
                case Cut(reason):
                    self._reception.counters[reason] += 1
                    self.abort()
        self._busy = False
        if self.over:
            return
        self._alarm.set(self.core.deadline())
        paused = self.core.paused or self._unread
        if paused is not self._paused:
            self._paused = paused
            (self.transport.pauseProducing if paused else self.transport.resumeProducing)()


class Reception(Factory):
    """See the module."""

    noisy = False
    _log = Logger()

    def __init__(self, roll: Roll, taken: Taken) -> None:
        self.lan = roll.lan
        self.arrivals: dict[Arrival, None] = {}
        """The oldest first."""
        self.counters: Counter[str] = Counter()
        """Why connections were cut, and what was refused."""
        self.problem = ""
        """Why nothing can arrive; empty where it can."""
        self._roll, self._taken = roll, taken
        self._allowances: dict[str, Allowance] = {}
        self._port: Any = None

    def start(self) -> Deferred[None]:
        """Listen; a port that somebody has is told by ``problem``."""
        listening: Deferred[Any] = self.lan.server_endpoint(PORT).listen(self)
        return listening.addCallbacks(self._listening, self._not_listening)

    def stop(self) -> Deferred[None]:
        """Listen no more, and end what there is. Idempotent."""
        port, self._port = self._port, None
        for arrival in list(self.arrivals):
            arrival.abort()
        return succeed(None) if port is None else port.stopListening()

    def buildProtocol(self, addr: Any) -> Arrival | None:
        """For a member; none (reset at once) for anybody else."""
        peer = self.lan.peer_at(addr.host)
        if peer is None or peer.blocked or peer.key == self.lan.own().key:
            self.counters["no member"] += 1
            return None
        of_author = [arrival for arrival in self.arrivals if arrival.key == peer.key]
        if len(of_author) >= MAX_OF_AUTHOR:
            self._give_way(of_author[0])
        if len(self.arrivals) >= MAX_ARRIVALS:
            self._give_way(min(self.arrivals, key=lambda arrival: arrival.core.active))
        allowance = self._allowances.setdefault(peer.key, Allowance(self.lan.reactor.seconds()))
        arrival = Arrival(self, peer.key, allowance)
        self.arrivals[arrival] = None
        return arrival

    def keep(self, arrival: Arrival, text: Text) -> None:
        """A message has arrived. Whether its author still is a member, and of what, is asked for each."""
        peer = self._roll.reachable(arrival.key)
        if peer is None:
            arrival.abort()
            return
        self._taken(peer, text).addCallbacks(self._kept, self._not_kept, (arrival, text.id), errbackArgs=(arrival,))

    def members_changed(self) -> None:
        """Who is a member no more, or was blocked, is heard no more; nothing is remembered of who is none."""
        for arrival in [arrival for arrival in self.arrivals if self._roll.reachable(arrival.key) is None]:
            arrival.abort()
        for key in [key for key in self._allowances if key not in self._roll.peers]:
            del self._allowances[key]

    def _kept(self, reason: str, arrival: Arrival, identifier: str) -> None:
        if reason:
            self.counters[f"refused: {reason}"] += 1
        arrival.settled(identifier, reason)

    def _not_kept(self, failure: Any, arrival: Arrival) -> None:
        """It is not on the disk: its author keeps it, and comes again."""
        self.counters["not kept"] += 1
        if not arrival.over:
            self._log.warn("a message was not kept: {reason}", reason=failure.getErrorMessage())
            arrival.abort()

    def _give_way(self, arrival: Arrival) -> None:
        self.counters["gave way"] += 1
        self.arrivals.pop(arrival, None)
        arrival.abort()

    def _listening(self, port: Any) -> None:
        self._port, self.problem = port, ""

    def _not_listening(self, failure: Any) -> None:
        failure.trap(CannotListenError)
        self.problem = f"nobody can write to this node: port {PORT} of the LAN is in use (`userlan expose`?)"
        self._log.warn("{problem}", problem=self.problem)
