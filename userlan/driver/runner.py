"""One core under the engine: what it is fed with, and where its events go.

A transport, a listener and a datagram port hold the runner of their core: it tells them the time, hands them the
stack's events, and is told by them when the core has something to send (:meth:`CoreRunner.touch`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from userlan.driver.arrivals import Arrivals
from userlan.driver.reactor import Reactor
from userlan.stack.host import Host, TcpAccepted, TcpEvent, UdpReadable
from userlan.stack.tcp.connection import Connection
from userlan.wire.endpoint import Endpoint

Buffer = bytes | bytearray | memoryview


class Burst(Protocol):
    """One or more datagrams of equal size back to back, the last may be shorter (``userlan.tunnel``'s own fits)."""

    @property
    def data(self) -> Buffer: ...
    @property
    def segment(self) -> int: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def whole(self) -> bool: ...
    @property
    def ttl(self) -> int: ...


class Core(Protocol):
    """What the engine feeds: a node or a mediator. ``now`` is monotonic seconds."""

    @property
    def host(self) -> Host: ...

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is for this core; cheap, and needed only where several cores share a port."""

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        """Datagrams of ``segment`` bytes back to back.

        ``data`` is valid during the call only: its memory is used again.
        """

    def datagrams(self, now: float) -> Any:
        """The bursts (list of ``Burst``) that are due; each is given once. A core may keep some back (``backlog``)."""

    def answers(self, now: float) -> Any:
        """The bursts that are due whatever programs make of what happened: echo replies. Cheap where there are none."""

    @property
    def backlog(self) -> bool:
        """Whether ``datagrams`` would give more at once: it gives so much in one call as makes a short turn."""

    def hold(self, way: Endpoint | str, now: float) -> None:
        """A way out is full: an endpoint of framed TCP, or "udp". What is for it should wait in the core."""

    def release(self, way: Endpoint | str) -> None:
        """It has room again."""

    def way_opened(self, endpoint: Endpoint) -> None:
        """A framed TCP connection is established, by whichever side."""

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended."""

    def way_lossy(self, endpoint: Endpoint) -> None:
        """The kernel has to retransmit much on a framed TCP connection, or hears no acknowledgement."""

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        """The socket with number ``via`` (of framed TCP: the group of connections) was opened, since a burst named it, at a local port.

        Said before anything that arrives there. Both families may have a socket under one number.
        """

    def dismissed(self) -> list[int]:
        """Numbers whose sockets and connections are needed no more. Drained."""

    def deadline(self) -> float | None: ...
    def tick(self, now: float) -> None: ...
    def events(self) -> list[Any]: ...


class StreamOwner:
    """Base of what sits in ``Connection.context``: gets the flags of that connection's events."""

    __slots__ = ()

    def stack_events(self, flags: int) -> None:
        """``flags`` as ``Connection.take_events``."""
        raise TypeError(f"{type(self).__name__} does not take a connection's events")

    @property
    def flushed(self) -> bool:
        """Whether nothing of this stream is on its way any more."""
        return True

    def finish(self) -> None:
        """The process ends: end the stream, soon."""


class Scheduler(Protocol):
    """What a runner needs of the engine."""

    reactor: Reactor
    counters: Counter[str]

    def touched(self, runner: CoreRunner) -> None:
        """The core has, or may have, something to send: pump before this turn of the reactor ends."""

    def soon(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the next round of the pump (within this turn), never inside the caller."""

    def pump(self) -> None:
        """Carry out everything that is due, now; does nothing inside itself."""

    def add(self, core: Core, observer: Callable[[Any], None], *, inner: bool = False) -> CoreRunner:
        """Feed a core from now on; ``inner``: its packets come and go by no socket of the engine's."""

    def remove(self, runner: CoreRunner) -> None:
        """Feed a core no longer."""


class Link(Protocol):
    """Takes what comes for a kernel that is attached beside the stack (``userlan.driver.link``)."""

    in_the_way: str
    """What whoever wants another one is told."""

    def flush(self) -> None:
        """The core has received what there was: hand on what its stack did not claim."""


class CoreRunner:
    """A core, its handlers and its place in the engine's schedule."""

    _log = Logger()

    def __init__(self, scheduler: Scheduler, core: Core, observer: Callable[[Any], None]) -> None:
        """``observer`` gets every event that belongs to no transport, listener or datagram port of this runner."""
        self.reactor = scheduler.reactor
        self.core = core
        self.host: Host = core.host
        self.arrivals = Arrivals(core.host.addresses)
        """Asked for each connection that a member makes to a port of :class:`~userlan.driver.endpoints.LanPort`."""
        self.dirty = False
        self.lingering: set[StreamOwner] = set()
        """Streams that their application has closed and whose last bytes are still on the way."""
        self.streams: set[StreamOwner] = set()
        """Streams that an application holds."""
        self.link: Link | None = None
        self._scheduler = scheduler
        self._observer = observer
        self._handlers: dict[object, Callable[[Any], None]] = {}

    def now(self) -> float:
        """Monotonic seconds."""
        return float(self.reactor.seconds())

    def touch(self) -> None:
        """Say that the core may have something to send, after any call to its host or a connection."""
        if not self.dirty:
            self.dirty = True
            self._scheduler.touched(self)

    def soon(self, call: Callable[[], None]) -> None:
        """Run ``call`` within this turn of the reactor, but not inside the caller."""
        self._scheduler.soon(call)

    def pump(self) -> None:
        """Carry out what is due without waiting for the end of this turn."""
        self._scheduler.pump()

    def beside(self, core: Core, observer: Callable[[Any], None]) -> CoreRunner:
        """Run a further core, whose packets come and go by no socket of the engine's, in the same schedule."""
        return self._scheduler.add(core, observer, inner=True)

    def leave(self) -> None:
        """End what :meth:`beside` began. Idempotent."""
        self._scheduler.remove(self)

    def handle(self, source: object, handler: Callable[[Any], None]) -> None:
        """Hand the events of a listener (TcpAccepted) or a UDP socket (UdpReadable) to ``handler``."""
        self._handlers[source] = handler

    def forget(self, source: object) -> None:
        """End what :meth:`handle` began. Idempotent."""
        self._handlers.pop(source, None)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        """Feed the core; marks it, the caller pumps."""
        try:
            self.core.receive(data, segment, source, now)
        except Exception:
            self._failed("receive")
        self.touch()

    def tick(self, now: float) -> None:
        """Let the core's timers run; marks it, the caller pumps."""
        try:
            self.core.tick(now)
        except Exception:
            self._failed("tick")
        self.touch()

    def datagrams(self, now: float) -> Any:
        """The bursts that are due."""
        try:
            return self.core.datagrams(now)
        except Exception:
            self._failed("datagrams")
            return ()

    def tell(self, call: Callable[[Core], None]) -> None:
        """Tell the core about a way out, and see what it makes of it."""
        try:
            call(self.core)
        except Exception:
            self._failed("way")
        self.touch()

    def answers(self, now: float) -> Any:
        """The bursts that do not wait for events."""
        try:
            return self.core.answers(now)
        except Exception:
            self._failed("answers")
            return ()

    def dismissed(self) -> Any:
        """The numbers of the sockets to be closed."""
        try:
            return self.core.dismissed()
        except Exception:
            self._failed("dismissed")
            return ()

    def dispatch(self) -> bool:
        """Hand out the core's events; whether there were any."""
        try:
            events = self.core.events()
        except Exception:
            self._failed("events")
            return False
        for event in events:
            try:
                self._dispatch(event)
            except Exception:
                self._failed("event")
        return bool(events)

    def _dispatch(self, event: Any) -> None:
        handler: Callable[[Any], None] | None
        if isinstance(event, TcpEvent):
            owner = event.connection.context
            if isinstance(owner, StreamOwner):
                owner.stack_events(event.flags)
                return
            handler = None
        elif isinstance(event, TcpAccepted):
            handler = self._handlers.get(event.listener)
        elif isinstance(event, UdpReadable):
            handler = self._handlers.get(event.socket)
        else:
            handler = None
        (handler or self._observer)(event)

    def _failed(self, place: str) -> None:
        """A core must not raise; if one does, the other connections of this process go on."""
        self._scheduler.counters[f"{place}-failed"] += 1
        self._log.failure("a core failed in {place}", place=place)


def own(connection: Connection, owner: StreamOwner) -> None:
    """Hand a connection's events to ``owner`` from now on."""
    connection.context = owner
