"""The chat of one node: the store, the ways to the members, the notices, and whoever watches, put together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.logger import Logger

from bridges.chat.absences import Absences
from bridges.chat.alarm import Alarm
from bridges.chat.bell import Bell
from bridges.chat.courier import Courier
from bridges.chat.frames import BAD_TEXT, NOT_IN_NETWORK, Text
from bridges.chat.reception import Reception
from bridges.chat.records import MAX_PREVIEW, NETWORK, PEER, Conversation, Message, clean, kind_of, network_of
from bridges.chat.schema import StoreError
from bridges.chat.store import Store
from bridges.chat.watchers import Watchers
from bridges.chat.who import Roll, Target
from bridges.chat.worker import Worker
from bridges.notices import Notices
from userlan.driver.bridge import CommandError
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.addresses import base64url_text

ID_SIZE = 16
"""Octets of a message's id: chosen at random, so that no two of one author are the same."""

DAY = 86400.0
"""Seconds."""

MAX_AGE = 366 * DAY
"""Seconds that a message may have been on its way; what is said to be older is taken to be that old."""

REVIEW_DELAY = 2.0
"""Seconds from a change of the members to a look at who waits: changes come in bursts."""

REVIEW_INTERVAL = 3600.0
"""Seconds between two looks without a change: for what waits for too long."""

Result = TypeVar("Result")


class Service:
    """Everything in the reactor's thread. ``keep``: seconds that a message waits for a member; ``wall``: wall seconds."""

    _log = Logger()

    def __init__(self, lan: Lan, worker: Worker, keep: float, wall: Callable[[], float] = time.time) -> None:
        self.lan = lan
        self.roll = Roll(lan)
        self.watchers = Watchers(lan.reactor)
        self.problem = "chat is off: the node has not started it"
        """Why nothing can be said or read; empty where it can."""
        self._wall, self._keep = wall, keep
        self._worker = worker
        self._reception = Reception(self.roll, self._arrived)
        self._courier = Courier(self.roll, self.run, wall, self.watchers.told)
        self._bell = Bell(Notices.of(lan), lan.reactor, self._ring)
        self._review = Alarm(lan.reactor, self._look)
        self._absences = Absences()
        self._expiry = lan.reactor.seconds()
        self._ends: list[Callable[[], object]] = []

    def start(self) -> Deferred[None]:
        """Open the store and serve; what is wrong with it is told by the commands and the log, and keeps nothing else from starting."""
        return self._worker.start().addCallbacks(self._opened, self._not_opened)

    def stop(self) -> Deferred[None]:
        """Serve no more; what was asked of the store is done. Idempotent."""
        if self.problem:
            return succeed(None)
        self.problem = "chat is off: the node stops"
        for end in self._ends:
            end()
        self._review.set(None)
        self._bell.stop()
        self.watchers.stop()
        self._courier.stop()
        return self._reception.stop().addCallback(lambda _: self._worker.stop())

    def status(self) -> object:
        """What is wrong, where something is."""
        return self.problem or self._reception.problem or None

    def counters(self) -> dict[str, int]:
        """What was refused and cut, and how many connections there are."""
        return {**self._reception.counters, "arrivals": len(self._reception.arrivals), "deliveries": len(self._courier)}

    def check(self) -> None:
        """CommandError where there is no chat."""
        if self.problem:
            raise CommandError(self.problem)

    def run(self, job: Callable[[Store], Result]) -> Deferred[Result]:
        """Something to do with the store; fails with CommandError."""
        if self.problem:
            return fail(CommandError(self.problem))
        return self._worker.run(job).addErrback(_as_command_error)

    # --- what people do ----------------------------------------------------------------------------------------------

    @inlineCallbacks
    def send(self, target: Target, text: str, wait: float = 0.0) -> Any:
        """The message, kept; waits ``wait`` seconds for its delivery."""
        own, now = self.lan.own(), self._wall()
        identifier = base64url_text(secrets.token_bytes(ID_SIZE))
        message: Message = yield self.run(
            lambda store: store.add_own(
                identifier, target.conversation, target.title, own.key, own.called, text, now, target.recipients
            )
        )
        self.watchers.tell({"message": message.shown()})
        self._courier.wake(target.recipients)
        if wait > 0:
            message = yield self.watchers.wait(message, wait)
            if message.state == "waiting":
                message = (yield self.run(lambda store: store.message(message.seq))) or message
        return message

    @inlineCallbacks
    def read(self, conversation: str) -> Any:
        """A person has seen all of it."""
        self._bell.silence(conversation)
        news = yield self.run(lambda store: store.read(conversation))
        if news:
            self.watchers.tell({"read": {"conversation": conversation}})

    def cleared(self, conversation: str) -> None:
        """It is gone, with what waited."""
        self._bell.silence(conversation)
        self.watchers.tell({"cleared": {"conversation": conversation}})

    @inlineCallbacks
    def tell_conversation(self, conversation: str) -> Any:
        """Those who watch learn what it is like now."""
        found = yield self.run(lambda store: store.conversations(conversation))
        for one in found:
            self.watchers.tell({"conversation": self.shown(one)})

    def shown(self, one: Conversation) -> dict[str, Any]:
        """A conversation as the commands give it."""
        return one.shown(self.roll.title(one.id, one.title), self.roll.is_here(one.id))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _opened(self, _: None) -> Deferred[None]:
        self.problem = ""
        self._ends = [self.lan.observe(self._members_changed), self.lan.observe_reached(self._courier.reached)]
        self._look()
        return self._reception.start()

    def _not_opened(self, failure: Any) -> None:
        failure.trap(StoreError)
        self.problem = failure.getErrorMessage()
        self._log.warn("{problem}", problem=self.problem)

    def _members_changed(self) -> None:
        self.roll.changed()
        self._reception.members_changed()
        self._courier.members_changed()
        self._review.set_sooner(self.lan.reactor.seconds() + REVIEW_DELAY)

    @inlineCallbacks
    def _arrived(self, peer: PeerInfo, text: Text) -> Any:
        """A member has written: why that is refused, or nothing once it is kept."""
        said = clean(text.text)
        if not said:
            return BAD_TEXT
        if text.network and text.network not in peer.networks:
            return NOT_IN_NETWORK
        conversation = NETWORK + text.network if text.network else PEER + peer.key
        written = self._wall() - min(text.age, MAX_AGE)
        message = yield self.run(
            lambda store: store.add_received(text.id, conversation, text.network or peer.name, peer.key, peer.name, said, written)
        )
        if message is not None:
            self.watchers.tell({"message": message.shown()})
            self._bell.arrived(conversation)
        return ""

    @inlineCallbacks
    def _ring(self, conversation: str) -> Any:
        """Whether, and what, the desktop is told of a conversation: title, text, and how many are not read."""
        found = yield self.run(lambda store: store.conversations(conversation))
        one = next((one for one in found if one.unread and not one.muted and one.last is not None), None)
        if one is None:
            return None
        where = f" in {one.title}" if kind_of(conversation) == "network" else ""
        return f"{one.last.name}{where}", one.last.text[:MAX_PREVIEW], one.unread

    @inlineCallbacks
    def _look(self) -> Any:
        """Who waits for something: wake the way to him; tell whose messages cannot be delivered any more."""
        now = self.lan.reactor.seconds()
        self._review.set(now + REVIEW_INTERVAL)
        try:
            self._given_up((yield self._expired(now)))
            waiting = yield self.run(lambda store: store.recipients())
            for recipient, conversation in self._absences.look(waiting, self._is_absent, now):
                reason = self._reason(conversation)
                failed = partial(Store.failed_all, recipient=recipient, conversation=conversation, reason=reason)
                self._given_up((yield self.run(failed)))
        except CommandError as error:
            if not self.problem:
                self._log.warn("the outbox: {reason}", reason=error)
            return
        keys = {to for to, conversation in waiting if self.roll.reachable(to) and not self._is_absent(to, conversation)}
        self._courier.only(keys)
        due = self._absences.deadline()
        if due is not None:
            self._review.set_sooner(due)

    def _given_up(self, messages: list[Message]) -> None:
        """Told as soon as it is so: later, a delivery to another recipient may have been told, and what is older would follow it."""
        for message in messages:
            self.watchers.told(message)

    def _expired(self, now: float) -> Deferred[list[Message]]:
        """What has waited for too long, looked for once in ``REVIEW_INTERVAL``."""
        if now < self._expiry:
            return succeed([])
        self._expiry = now + REVIEW_INTERVAL
        before, reason = self._wall() - self._keep, f"not seen for {self._keep / DAY:.0f} days"
        return self.run(lambda store: store.expired(before, reason))

    def _is_absent(self, recipient: str, conversation: str) -> bool:
        """Whether a recipient is not in the network that a message is of, or is no member at all."""
        peer, network = self.roll.peers.get(recipient), network_of(conversation)
        return peer is None or (bool(network) and network not in peer.networks)

    def _reason(self, conversation: str) -> str:
        network = network_of(conversation)
        if not network:
            return "not in any of your networks any more"
        return f"not in {network} any more" if network in self.lan.own().networks else f"this node has left {network}"


def _as_command_error(failure: Any) -> Any:
    failure.trap(StoreError)
    raise CommandError(failure.getErrorMessage())
