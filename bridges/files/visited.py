"""The side that is visited: answers a member's requests, and sends the files that it fetches.

A member that asks without reading its answers is not read any more; one that says anything while its file is being sent breaks the
protocol, and is cut off.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from bridges.files.frames import (
    OLDEST,
    VERSION,
    Begin,
    Buffer,
    Fetch,
    Heard,
    Hello,
    MalformedError,
    Message,
    Offer,
    Reader,
    Refused,
    State,
    Unknown,
    Withdraw,
    encode,
)
from bridges.files.hashing import Hashing
from bridges.files.sending import Sending, broken
from bridges.files.source import SourceError
from bridges.files.threads import Threads
from bridges.files.transfer import Transfer

IDLE_LIMIT: Final = 60.0
"""Seconds without a request after which a member is hung up on."""
STALL_LIMIT: Final = 90.0
"""Seconds in which a member must have taken something of a file that it fetches: it can ask for the rest later."""
THROTTLE: Final = 1.0
"""Seconds for which it is not read at least."""


class Host(Protocol):
    """The node, for a member that visits."""

    reactor: Any
    threads: Threads

    def who(self, address: str) -> tuple[str, str] | None:
        """Key and nickname of the member at an address, unless it has too many connections here already."""

    def asked(self, key: str) -> None:
        """A member has made a request, over whatever connection."""

    def owes(self, key: str) -> float:
        """Seconds for which no more of its requests are to be read, as there were too many."""

    def heard(self, key: str, name: str, request: Any) -> Message | Transfer: ...
    def arrives(self, visited: Visited) -> None: ...
    def hashing(self, identifier: str) -> Hashing: ...
    def hashed(self, transfer: Transfer, hashing: Hashing) -> None: ...
    def serving(self, visited: Visited, transfer: Transfer, offset: int) -> None: ...
    def sent(self, transfer: Transfer, octets: int) -> None: ...
    def served(self, visited: Visited, transfer: Transfer, error: SourceError | None) -> None: ...
    def left(self, visited: Visited) -> None: ...


@implementer(IPushProducer)
class Visited(TwistedProtocol):
    """One connection of a member that visits."""

    transport: Any
    takes_views = True

    def __init__(self, host: Host, key: str, name: str) -> None:
        self.key = key
        self.sending: Sending | None = None
        self.fetched: set[str] = set()
        """Ids of transfers that were sent over it."""
        self._name = name
        self._host = host
        self._reader = Reader(blocks=False)
        self._greeted = False
        self._timer: Any = None
        self._full = False
        self._throttle: Any = None
        """The timer that ends a time in which it is not read because it had asked too often."""

    # IProtocol

    def connectionMade(self) -> None:
        self._host.arrives(self)
        self.transport.registerProducer(self, True)
        self._wait(IDLE_LIMIT)
        self._slow_down()

    def dataReceived(self, data: Buffer) -> None:
        try:
            for heard in self._reader.feed(data):
                if self.transport is None or self.transport.disconnecting:
                    return
                self._heard(heard)
        except MalformedError:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timers()
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.stopProducing()
        self.transport = None
        self._host.left(self)

    # IPushProducer: of the answers

    def pauseProducing(self) -> None:
        """The member does not read its answers."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It has read them."""
        self._full = False
        if self._throttle is None:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """connectionLost follows."""

    # inside: requests

    def abort(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _heard(self, heard: Heard) -> None:
        self._wait(IDLE_LIMIT)
        if not self._greeted:
            self._greet(heard)
            return
        match heard:
            case Offer() | State() | Withdraw() | Fetch() if self.sending is None:
                self._pay()
                self._answer(heard)
            case Unknown():
                self._pay()
                self.transport.write(encode(Refused(text="this version does not know that request")))
            case _:
                raise MalformedError("not a request")

    def _greet(self, heard: Heard) -> None:
        if not isinstance(heard, Hello):
            raise MalformedError("no greeting")
        self._greeted = True
        self.transport.write(encode(Hello()))
        if heard.version < OLDEST or heard.oldest > VERSION:
            self.transport.write(encode(Refused(text="its version of userlan is too far from this one: upgrade the older")))
            self.transport.loseConnection()

    def _answer(self, request: Offer | State | Withdraw | Fetch) -> None:
        answer = self._host.heard(self.key, self._name, request)
        if isinstance(answer, Transfer):
            assert isinstance(request, Fetch)
            self._send(answer, request.offset)
        else:
            self.transport.write(encode(answer))

    def _pay(self) -> None:
        """Count a request."""
        self._host.asked(self.key)
        self._slow_down()

    def _slow_down(self) -> None:
        """Where there were too many requests, no more are read until they would have been few."""
        owed = self._host.owes(self.key)
        if owed > 0 and self._throttle is None:
            self.transport.pauseProducing()
            self._throttle = self._host.reactor.callLater(max(THROTTLE, owed), self._read_on)

    def _read_on(self) -> None:
        self._throttle = None
        self._slow_down()
        if self._throttle is None and not self._full:
            self.transport.resumeProducing()

    # inside: files

    def _send(self, transfer: Transfer, offset: int) -> None:
        self.transport.unregisterProducer()
        self._wait(STALL_LIMIT)
        sending = self.sending = Sending(
            self.transport,
            self._host.reactor,
            self._host.threads,
            transfer,
            lambda octets: self._moved(transfer, octets),
            lambda error: self._sent(transfer, error),
            lambda hashing: self._host.hashed(transfer, hashing),
        )
        self.fetched.add(transfer.id)
        self._host.serving(self, transfer, offset)
        opened = sending.start(offset, self._host.hashing(transfer.id))
        opened.addCallbacks(self._opened, self._not_opened, (sending, offset), None, (sending,))

    def _opened(self, _: object, sending: Sending, offset: int) -> None:
        if self.sending is sending:
            self.transport.write(encode(Begin(sending.transfer.token, offset, sending.transfer.size)))
            sending.go()

    def _not_opened(self, failure: Failure, sending: Sending) -> None:
        error = failure.value
        if not isinstance(error, SourceError):
            self.abort()
            failure.raiseException()
        elif self.sending is sending:
            self.transport.write(encode(broken(sending.transfer.token, error)))
            self._sent(sending.transfer, error)

    def _moved(self, transfer: Transfer, octets: int) -> None:
        self._wait(STALL_LIMIT)
        self._host.sent(transfer, octets)

    def _sent(self, transfer: Transfer, error: SourceError | None) -> None:
        self.sending = None
        self._host.served(self, transfer, error)
        if self.transport is None:
            return
        self.transport.registerProducer(self, True)
        self._wait(IDLE_LIMIT)

    # inside: patience

    def _wait(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(seconds)
        else:
            self._timer = self._host.reactor.callLater(seconds, self._expired)

    def _expired(self) -> None:
        self._timer = None
        self.abort()

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._throttle):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._throttle = None


class VisitedFactory(Factory):
    """Lets members in."""

    noisy = False

    def __init__(self, host: Host) -> None:
        self._host = host

    def buildProtocol(self, addr: Any) -> Visited | None:
        who = self._host.who(addr.host)
        return None if who is None else Visited(self._host, *who)
