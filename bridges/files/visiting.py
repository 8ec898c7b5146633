"""The side that visits: tells a member the news, or fetches files from it, one after the other.

Both kinds of visit begin with ``Hello`` and end with nothing more to do; what waits for an answer has a time limit, and so has a fetch
over which nothing comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from bridges.files import frames
from bridges.files.arriving import Arriving, Result
from bridges.files.frames import Buffer, Heard, Hello, MalformedError, Message, News, Octets, Reader, encode
from bridges.files.transfer import Transfer, plain

WINDOW: Final = 32
"""News that are told before the first one is answered: hundreds of offers take a few round trips."""
ANSWER_LIMIT: Final = 30.0
"""Seconds in which a member must answer."""
LINGER: Final = 10.0
"""Seconds for which a connection is kept once all is told: there is more news soon, where files are being fetched."""
STALL_LIMIT: Final = 30.0
"""Seconds without an octet after which a fetch begins anew: the tunnel is back long before TCP's own patience has run out."""

TURN, SLOW = 60.0, 16 << 10
"""Seconds after which a fetch makes room for members who wait, where fewer octets a second than that came: who sends one now and then, or
hashes without end, must not keep all others from being fetched from. It goes on later, where it was."""


class Traveller(Protocol):
    """The node that visits."""

    reactor: Any

    def news(self, key: str) -> News | None: ...
    def answered(self, key: str, said: News, answer: Message) -> None: ...
    def next_fetch(self, key: str) -> Transfer | None: ...
    def begun(self, key: str) -> None: ...
    def crowded(self) -> bool: ...
    def arriving(self, visit: Fetching, transfer: Transfer, pause: Callable[[bool], None], ended: Callable[[Result], None]) -> Arriving: ...
    def open(self, arriving: Arriving) -> Any: ...
    def arrived(self, arriving: Arriving, result: Result) -> None: ...
    def over(self, visit: Visit, failed: bool) -> None: ...


class Visit(TwistedProtocol):
    """What both kinds share: frames, the greeting, patience. ``self.over`` is called once, when nothing of the visit is left."""

    transport: Any
    takes_views = True
    fetching = False

    def __init__(self, traveller: Traveller, key: str) -> None:
        self.key = key
        self.traveller = traveller
        self.failed = True
        """Whether the member did not answer, or broke off: until the visit has come to its end in order."""
        self._reader = Reader(blocks=self.fetching)
        self._greeted = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        self.transport.write(encode(Hello()))
        self.wait(ANSWER_LIMIT)
        self.go_on()

    def dataReceived(self, data: Buffer) -> None:
        try:
            for heard in self._reader.feed(data):
                if self.transport is None or self.transport.disconnecting:
                    return
                self._heard(heard)
        except MalformedError:
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.wait(None)
        self.transport = None
        self.lost()

    def abort(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abortConnection()

    def leave(self) -> None:
        """End it in order: all is done."""
        self.failed = False
        self.wait(None)
        if self.transport is not None:
            self.transport.loseConnection()

    def wait(self, seconds: float | None) -> None:
        """Call :meth:`expired` after so many seconds from now, or not at all."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if seconds is not None and self.transport is not None:
            self._timer = self.traveller.reactor.callLater(seconds, self.expired)

    def expired(self) -> None:
        """Nothing has come in time."""
        self.abort()

    def go_on(self) -> None:
        """Say what there is to be said."""

    def said(self, heard: Heard) -> None:
        """The member has said something. Raises MalformedError."""

    def lost(self) -> None:
        """The connection is gone."""
        self.traveller.over(self, self.failed)

    def _heard(self, heard: Heard) -> None:
        if self._greeted:
            self.said(heard)
        elif isinstance(heard, Hello):
            self._greeted = True
        else:
            raise MalformedError("no greeting")


class Telling(Visit):
    """A visit with news."""

    def __init__(self, traveller: Traveller, key: str) -> None:
        super().__init__(traveller, key)
        self._asked: dict[str, News] = {}

    def go_on(self) -> None:
        while self.transport is not None and len(self._asked) < WINDOW and (message := self.traveller.news(self.key)) is not None:
            self._asked[message.token] = message
            self.transport.write(encode(message))
            self.wait(ANSWER_LIMIT)
        if not self._asked:
            self.wait(LINGER)

    def said(self, heard: Heard) -> None:
        if not isinstance(heard, frames.State | frames.Noted | frames.Refused):
            raise MalformedError("not an answer")
        message = self._asked.pop(heard.token, None)
        if message is None:
            raise MalformedError("an answer to nothing")
        self.failed = False
        self.traveller.answered(self.key, message, heard)
        self.go_on()

    def expired(self) -> None:
        if self._asked:
            self.abort()
        else:
            self.leave()

    def lost(self) -> None:
        self.traveller.over(self, self.failed or bool(self._asked))


class Fetching(Visit):
    """A visit that fetches."""

    fetching = True

    def __init__(self, traveller: Traveller, key: str) -> None:
        super().__init__(traveller, key)
        self.arriving: Arriving | None = None
        self.heard_at = traveller.reactor.seconds()
        """When something came last."""
        self.doubted = False
        """Whether it is being looked whether something still comes."""
        self.coming = True
        """Whether it is about to ask what to fetch."""
        self._begun = False
        self._paused = False
        self._open = False
        """Whether the answer to a ``Fetch`` has not come to its end."""
        self._offset = 0
        self._came = 0
        """Octets of this turn."""
        self._turn: Any = None

    @property
    def waits(self) -> bool:
        """Whether something is to come from the member now."""
        return self._open and not self._paused

    def go_on(self) -> None:
        self.coming = False
        transfer = self.traveller.next_fetch(self.key)
        if transfer is None:
            self.leave()
            return
        self._begun = False
        arriving = self.arriving = self.traveller.arriving(self, transfer, self._pause, self._ended)
        self.wait(None)
        self._begin_turn()
        self.traveller.open(arriving).addCallback(self._opened, arriving)

    def said(self, heard: Heard) -> None:
        arriving = self.arriving
        self.heard_at = self.traveller.reactor.seconds()
        if arriving is None:
            raise MalformedError("an answer to nothing")
        if not self._paused:
            self.wait(STALL_LIMIT)
        match heard:
            case Octets() if self._begun:
                self._came += len(heard.data)
                arriving.octets(heard.data)
            case frames.Hashing() if self._begun:
                pass
            case frames.Trailer() if self._begun:
                self.wait(None)
                self._open = False
                arriving.trailer(heard.sha256)
            case frames.Begin() if not self._begun:
                self._begin(heard, arriving)
            case frames.Broken() | frames.Refused():
                later = heard.later if isinstance(heard, frames.Refused) else not heard.final
                self.wait(None)
                self._open = False
                arriving.end(Result("later" if later else "failed", plain(heard.text) or "it cannot be fetched"))
            case _:
                raise MalformedError("not an answer")

    def lost(self) -> None:
        arriving = self.arriving
        self._end_turn()
        if arriving is None:
            self.traveller.over(self, self.failed)
        else:
            arriving.end(Result("broken", f"{arriving.transfer.name} is not reached at the moment: it goes on by itself"))

    def drop(self) -> None:
        """The file that comes is not wanted any more."""
        if self.arriving is not None:
            self.arriving.unwanted = True
        self.abort()

    def _begin_turn(self) -> None:
        self._end_turn()
        self._came = 0
        self._turn = self.traveller.reactor.callLater(TURN, self._turn_over)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.active():
            turn.cancel()

    def _turn_over(self) -> None:
        arriving = self.arriving
        if arriving is not None and self.waits and self._came < TURN * SLOW and self.traveller.crowded():
            arriving.end(Result("later", f"{arriving.transfer.name} sends slowly, and others wait: it goes on by itself"))
        elif arriving is not None:
            self._begin_turn()

    def _opened(self, offset: int, arriving: Arriving) -> None:
        if self.transport is not None:
            self.wait(ANSWER_LIMIT)
            self.heard_at = self.traveller.reactor.seconds()
            self._offset, self._open = offset, True
            self.transport.write(encode(frames.Fetch(arriving.transfer.token, offset)))

    def _begin(self, begin: frames.Begin, arriving: Arriving) -> None:
        transfer = arriving.transfer
        if (begin.token, begin.offset, begin.size) != (transfer.token, self._offset, transfer.size):
            arriving.end(Result("failed", f"{transfer.name} sends another file than it had offered"))
            return
        self._begun = True
        self.traveller.begun(self.key)

    def _pause(self, paused: bool) -> None:
        """The disk is slower than the network, or has caught up."""
        self._paused = paused
        if self.transport is None:
            return
        if paused:
            self.wait(None)
            self.transport.pauseProducing()
        else:
            self.wait(STALL_LIMIT)
            self.transport.resumeProducing()

    def _ended(self, result: Result) -> None:
        arriving, self.arriving = self.arriving, None
        assert arriving is not None
        self.coming = True
        self.traveller.arrived(arriving, result)
        if self.transport is None:
            self.traveller.over(self, self.failed and result.outcome == "broken")
        elif self._open or self.transport.disconnecting:
            self.abort()
        else:
            self.go_on()
