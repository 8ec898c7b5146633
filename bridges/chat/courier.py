"""Brings what waits to the members: the connections that ``Post`` asks for, each filled from the store and emptied by answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Set
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from bridges.chat.alarm import Alarm
from bridges.chat.frames import BAD_TEXT, PORT
from bridges.chat.incoming import Cut, Send
from bridges.chat.outgoing import Delivered, Effect, Opened, Outgoing, Rejected
from bridges.chat.post import Connect, Disconnect, Post
from bridges.chat.records import Message
from bridges.chat.store import Store
from bridges.chat.who import Roll
from userlan.driver.lan import PeerInfo
from userlan.driver.reasons import error

CONNECT_TIMEOUT = 20.0
"""Seconds that a member may take to answer: a path may have to be found first."""

LATER = 1.0
"""Seconds from the start to the first connections: paths are only just coming about."""

REFUSALS, REFUSED_FOR = 3, 60.0
"""Refused connections in a row, and the seconds from the first to the last, by which a member who is there is known to have no chat: it is
switched off, or its userlan is too old. One that is just starting is not refused for that long."""

NO_CHAT = "the recipient is there, and has no chat"

NOT_TAKEN = "the recipient's userlan does not take it"

Run = Callable[[Callable[[Store], Any]], Deferred[Any]]


class Delivery(Protocol):
    """One connection to a member."""

    transport: Any

    def __init__(self, courier: Courier, key: str) -> None:
        self.key = key
        self._courier = courier
        self._reactor = courier.reactor
        self._alarm = Alarm(self._reactor, self._tick)
        self.core = Outgoing(self._reactor.seconds())
        self.offered = 0
        """The last message that was offered in this connection."""
        self.fetching = False
        self.more = True
        """Whether there may be something that was not offered."""
        self.rejected = False
        """Whether something was refused that may be taken later."""
        self.over = False
        """Whether it has ended, or is about to."""

    def connectionMade(self) -> None:
        self.carry_out(self.core.start())

    def dataReceived(self, data: bytes) -> None:
        if not self.over:
            self.carry_out(self.core.receive(data, self._reactor.seconds()))

    def connectionLost(self, reason: Any = None) -> None:
        self.over = True
        self._alarm.set(None)
        self._courier.ended(self)

    def abort(self) -> None:
        """End it at once."""
        if not self.over:
            self.over = True
            self._alarm.set(None)
            self.transport.abortConnection()

    def carry_out(self, effects: list[Effect]) -> None:
        """What the core wants done."""
        for effect in effects:
            if self.over:
                return
            match effect:
                case Send(data):
                    self.transport.write(data)
                case Cut():
                    self.abort()
                case Opened():
                    self._courier.opened(self)
                case Delivered(seq):
                    self._courier.delivered(self, seq)
                case Rejected(seq, reason):
                    self._courier.rejected(self, seq, reason)
        if not self.over:
            self._alarm.set(self.core.deadline())
            self._courier.fill(self)

    def _tick(self) -> None:
        self.carry_out(self.core.tick(self._reactor.seconds()))


class Courier:
    """See the module. ``run``: something to do with the store; ``wall``: wall seconds; ``told``: one of our messages has changed."""

    _log = Logger()

    def __init__(self, roll: Roll, run: Run, wall: Callable[[], float], told: Callable[[Message], None]) -> None:
        self.reactor: Any = roll.lan.reactor
        self._roll, self._run, self._wall, self._told = roll, run, wall, told
        self._post = Post(random.random)
        self._alarm = Alarm(self.reactor, self._turn)
        self._deliveries: dict[str, Delivery] = {}
        self._connecting: dict[str, Deferred[Any]] = {}
        self._refusals: dict[str, tuple[int, float]] = {}
        """How often, and since when, members have refused a connection; for members alone for whom something waits."""
        self._stopped = False

    def __len__(self) -> int:
        """Connections."""
        return len(self._deliveries)

    def wake(self, keys: Iterable[str]) -> None:
        """Something new waits for these members."""
        now = self.reactor.seconds()
        for key in keys:
            delivery = self._deliveries.get(key)
            self._post.wake(key, now)
            if delivery is not None:
                delivery.more = True
                self.fill(delivery)
        self._turn()

    def only(self, keys: Set[str]) -> None:
        """These members are all for whom something waits; those who were not known of are connected to a moment later."""
        self._post.keep_only(keys)
        for key in self._refusals.keys() - keys:
            del self._refusals[key]
        for key in keys:
            if key not in self._deliveries:
                self._post.note(key, self.reactor.seconds() + LATER)
        self._turn()

    def reached(self, peer: PeerInfo) -> None:
        """There is a way to this member that there was not, or another one."""
        now = self.reactor.seconds()
        delivery = self._deliveries.get(peer.key)
        connecting = self._connecting.get(peer.key)
        if connecting is not None:
            connecting.cancel()         # what it has sent went nowhere, and TCP would wait before it sends again
        if delivery is not None and delivery.core.stalled(now):
            delivery.abort()
        self._post.reached(peer.key, now)
        self._turn()

    def members_changed(self) -> None:
        """Who is a member no more, or was blocked, is sent nothing."""
        for key, delivery in list(self._deliveries.items()):
            if self._roll.reachable(key) is None:
                delivery.abort()

    def stop(self) -> None:
        """End everything; what is not answered is sent again another time."""
        self._stopped = True
        self._alarm.set(None)
        for connecting in list(self._connecting.values()):
            connecting.cancel()
        for delivery in list(self._deliveries.values()):
            delivery.abort()

    # --- of the connections ------------------------------------------------------------------------------------------

    def opened(self, delivery: Delivery) -> None:
        """It can be used."""
        self._refusals.pop(delivery.key, None)
        self._post.connected(delivery.key)

    def fill(self, delivery: Delivery) -> None:
        """Offer what waits, as much as may be without an answer."""
        room = delivery.core.room
        if delivery.over or not room or delivery.fetching:
            return
        if delivery.more:
            delivery.fetching, delivery.more = True, False
            key, offered = delivery.key, delivery.offered
            fetched = self._run(lambda store: store.waiting(key, offered, room))
            fetched.addCallbacks(self._fetched, self._not_fetched, (delivery, room), errbackArgs=(delivery,))
        elif delivery.core.idle:
            self._settled(delivery)

    def delivered(self, delivery: Delivery, seq: int) -> None:
        """The recipient has it."""
        self._post.succeeded(delivery.key)
        self._run(lambda store: store.delivered(delivery.key, seq)).addCallbacks(self._changed, self._failed)

    def rejected(self, delivery: Delivery, seq: int, reason: str) -> None:
        """The recipient does not take it: for good, or for now."""
        if reason == BAD_TEXT:
            self._run(lambda store: store.failed(delivery.key, seq, NOT_TAKEN)).addCallbacks(self._changed, self._failed)
        else:
            delivery.rejected = True

    def ended(self, delivery: Delivery) -> None:
        """The connection is over."""
        if self._deliveries.get(delivery.key) is delivery:
            del self._deliveries[delivery.key]
            self._post.lost(delivery.key, self.reactor.seconds())
            self._turn()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._stopped:
            return
        for effect in self._post.tick(self.reactor.seconds()):
            match effect:
                case Connect(key):
                    self._connect(key)
                case Disconnect(key):
                    self._deliveries.pop(key).abort()
        self._alarm.set(self._post.deadline())

    def _connect(self, key: str) -> None:
        peer = self._roll.reachable(key)
        if peer is None:
            self._post.lost(key, self.reactor.seconds())
            return
        endpoint = self._roll.lan.client_endpoint(peer.ipv6 or peer.ipv4, PORT, CONNECT_TIMEOUT)
        connecting: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: self._delivery(key)))
        self._connecting[key] = connecting
        connecting.addBoth(self._connected, key)

    def _delivery(self, key: str) -> Delivery:
        delivery = self._deliveries[key] = Delivery(self, key)
        return delivery

    def _connected(self, result: Any, key: str) -> None:
        self._connecting.pop(key, None)
        if not isinstance(result, Delivery) and key not in self._deliveries:
            self._log.debug("{key}: {reason}", key=key, reason=result.getErrorMessage())
            self._post.lost(key, self.reactor.seconds())
            if not self._stopped:
                self._note(result, key)
                self._alarm.set(self._post.deadline())

    def _note(self, failure: Any, key: str) -> None:
        """A connection was not made: one that was refused is told apart, since the member is there."""
        if not failure.check(error.ConnectionRefusedError):
            self._refusals.pop(key, None)
            return
        now = self.reactor.seconds()
        count, since = self._refusals.get(key, (0, now))
        self._refusals[key] = count + 1, since
        if count + 1 >= REFUSALS and now - since >= REFUSED_FOR:
            del self._refusals[key]
            self._post.drop(key)
            self._run(lambda store: store.failed_all(key, None, NO_CHAT)).addCallbacks(self._all_changed, self._failed)

    def _fetched(self, messages: list[Message], delivery: Delivery, room: int) -> None:
        delivery.fetching = False
        if delivery.over:
            return
        if messages:
            delivery.offered = messages[-1].seq
            delivery.more = delivery.more or len(messages) == room
            self._post.busy(delivery.key)
        delivery.carry_out(delivery.core.offer(messages, self._wall(), self.reactor.seconds()))

    def _not_fetched(self, failure: Any, delivery: Delivery) -> None:
        self._failed(failure)
        delivery.abort()

    def _settled(self, delivery: Delivery) -> None:
        """All has been offered and answered."""
        if delivery.rejected:
            delivery.abort()        # and again after a pause
        else:
            self._post.settled(delivery.key, self.reactor.seconds())
            self._turn()

    def _changed(self, message: Message | None) -> None:
        if message is not None:
            self._told(message)

    def _all_changed(self, messages: list[Message]) -> None:
        for message in messages:
            self._told(message)

    def _failed(self, failure: Any) -> None:
        """The outbox keeps what it has; it is sent, and answered, again."""
        if not self._stopped:
            self._log.warn("the outbox: {reason}", reason=failure.getErrorMessage())
