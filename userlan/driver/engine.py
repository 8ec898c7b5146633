"""The loop that feeds the cores: one for a process.

::

    readable ──► receive ──► ┌─ round ───────────────────────────────┐
    timer ─────► tick ─────► │ what was put off · events · datagrams  │ ──► again while something is marked (bounded) ──► timer
    end of turn ───────────► └────────────────────────────────────────┘

Re-entrancy: a pump never runs inside a pump. What an application does inside an event is carried by a later round of
the same pump; what it does outside is carried by one pump at the end of the reactor's turn.

Timer: one DelayedCall, set to the nearest deadline of all cores. Deadlines mostly move away (each acknowledgement
restarts a retransmission timer): then the call is left alone and set again when it fires, which costs nothing for
each packet. Where it fires late, what has come meanwhile is read first: a core that judges by its clock alone that nobody has answered
would give up those whose answers wait in its own socket, and ask them again.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from userlan.driver.datagram import DatagramPort
from userlan.driver.framed import FramedPort
from userlan.driver.numbered import NumberedPorts
from userlan.driver.reactor import DelayedCall, Reactor
from userlan.driver.runner import Buffer, Burst, Core, CoreRunner
from userlan.wire.endpoint import TCP, UDP, Endpoint

MAX_ROUNDS = 16
"""Rounds of one pump: enough for a chain of effects (data in, answer out, connection closed), and the reactor is
never held longer."""

MAX_ROUTES = 4096
"""Remote endpoints whose receiving socket is remembered, where a family has several:
forgotten ones use the first socket."""

PORT_ATTEMPTS = 16
"""Attempts to find a port number that is free for both UDP and TCP when any will do."""

LATE = 0.02
"""Seconds behind its time at which a timer finds this process to be late: twice what a scheduler's turn takes."""

LINGER = 2.0
"""Seconds that :meth:`Engine.stop` waits for the last bytes of closed streams:
some round trips and one retransmission (RFC 6298: 1 s)."""

LINGER_POLL = 0.05
"""Seconds between two looks at what still lingers."""


class Engine:
    """Feeds cores from sockets and the clock, and carries their effects out. All calls in the reactor's thread."""

    _log = Logger()

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.counters: Counter[str] = Counter()
        """Datagrams and connections that were dropped, by reason, beside what is counted in the cores."""
        self.datagram_ports: list[DatagramPort] = []
        """The main sockets, by which endpoints without a number are reached."""
        self.framed = FramedPort(self, reactor, self._local_host)
        self.numbered = NumberedPorts(self, reactor, self._local_host)
        self._routes: dict[Endpoint, DatagramPort] = {}
        self._runners: list[CoreRunner] = []
        self._outer: list[CoreRunner] = []
        """Those of them that datagrams are for."""
        self._dirty: list[CoreRunner] = []
        self._put_off: list[Callable[[], None]] = []
        self._backlog: list[CoreRunner] = []
        """Cores that have more to send, after the sockets have been read again."""
        self._batch = False
        self._pumping = False
        self._stopped = False
        self._turn: DelayedCall | None = None
        self._timer: DelayedCall | None = None
        self._timer_at = 0.0

    # -- cores

    def add(self, core: Core, observer: Callable[[Any], None], *, inner: bool = False) -> CoreRunner:
        """Feed ``core`` from now on; ``observer`` gets the events that belong to none of its streams and sockets.

        ``inner``: no datagram is for it, so that none is looked at on its account.
        """
        runner = CoreRunner(self, core, observer)
        self._runners.append(runner)
        if not inner:
            self._outer.append(runner)
        runner.touch()
        return runner

    def remove(self, runner: CoreRunner) -> None:
        """Feed a core no longer; its streams stay as they are. Idempotent."""
        if runner in self._runners:
            self._runners.remove(runner)
            if runner in self._outer:
                self._outer.remove(runner)
            self.numbered.forget(runner)

    # -- sockets

    def listen(self, host: str, port: int, via: int = 0, owner: CoreRunner | None = None) -> int:
        """Open UDP and framed TCP on a numeric ``host`` and one port number (0: a free one), which is returned.

        ``via``: the number that sources and targets there have, for servers with several ports; each family may have one socket of that
        number. ``owner``: the core whose alone the number is, needed where another one in this process numbers sockets, too.
        Raises CannotListenError, one clear line, when either is in use.
        """
        for _ in range(PORT_ATTEMPTS - 1 if port == 0 else 0):
            with contextlib.suppress(CannotListenError):
                return self._listen(host, port, via, owner)
        return self._listen(host, port, via, owner)

    def _listen(self, host: str, port: int, via: int, owner: CoreRunner | None) -> int:
        datagrams = DatagramPort(self, self.reactor, host, port, via, owner=owner)
        try:
            self.framed.listen(host, datagrams.port, via)
        except CannotListenError:
            datagrams.close()
            raise
        datagrams.start()
        if via:
            self.numbered.add(datagrams)
        else:
            self.datagram_ports.append(datagrams)
        return datagrams.port

    def listen_dual(self, port: int, via: int = 0, owner: CoreRunner | None = None) -> int:
        """:meth:`listen` on all IPv4 and all IPv6 addresses under one number;
        a computer without IPv6 listens on IPv4 only."""
        number = self.listen("0.0.0.0", port, via, owner)
        try:
            self.listen("::", number, via, owner)
        except CannotListenError as error:
            self._log.debug("no IPv6: {error}", error=str(error.socketError))
        return number

    def owns(self, data: Buffer) -> bool:
        """Whether any core takes this datagram for its own."""
        return any(runner.core.owns(data) for runner in self._outer)

    def received(self, data: memoryview, segment: int, source: Endpoint, port: DatagramPort | None) -> None:
        """Datagrams of ``segment`` bytes back to back from a socket, which calls :meth:`pump` once it has handed
        over its batch."""
        self._batch = True
        now = self.reactor.seconds()
        if port is not None:
            if port.owner is not None:
                if port.owner in self._runners:
                    port.owner.receive(data, segment, source, now)
                return
            if not port.via and len(self.datagram_ports) > 1 and self._routes.get(source) is not port:
                if len(self._routes) >= MAX_ROUTES:
                    self._routes.clear()
                self._routes[source] = port
        if len(self._outer) == 1:
            self._outer[0].receive(data, segment, source, now)
            return
        for runner, part in self._shares(data, segment):
            if runner is None:
                self.counters["unowned"] += 1
            else:
                runner.receive(part, segment, source, now)

    def _shares(self, data: memoryview, segment: int) -> list[tuple[CoreRunner | None, memoryview]]:
        """Runs of neighbouring datagrams that belong to one core.

        Datagrams of one sender and size are coalesced by the kernel whatever they are for. Those that share their
        first 8 bytes (the type and receiver index of WireGuard's transport messages) share their core, so that only
        the first one's is looked up.
        """
        if segment <= 0 or len(data) <= segment:
            return [(self._owner(data), data)]
        shares: list[tuple[CoreRunner | None, memoryview]] = []
        start, known, owner = 0, b"", None
        for offset in range(0, len(data), segment):
            prefix = bytes(data[offset : offset + 8])
            if prefix != known or prefix[0] != 4:
                current = self._owner(data[offset : offset + segment])
                if current is not owner and offset > start:
                    shares.append((owner, data[start:offset]))
                    start = offset
                owner, known = current, prefix
        shares.append((owner, data[start:]))
        return shares

    def _owner(self, datagram: memoryview) -> CoreRunner | None:
        for runner in self._outer:
            if runner.core.owns(datagram):
                return runner
        return None

    def _send_one(self, burst: Burst, runner: CoreRunner) -> None:
        """An endpoint that the system does not take costs its own datagrams and nothing else: an exception here would
        end in the reactor, which then closes the socket that was being read."""
        try:
            self._send(burst, runner)
        except Exception:
            self.counters["send-failed"] += 1
            self._log.failure("a burst to {endpoint} could not be sent", endpoint=burst.endpoint)

    def _send(self, burst: Burst, runner: CoreRunner) -> None:
        endpoint = burst.endpoint
        port: DatagramPort | None = None
        if endpoint.transport == TCP:
            self.framed.send(burst.data, burst.segment, endpoint)
            return
        if endpoint.transport == UDP:
            if endpoint.via:
                port = self.numbered.port_for(endpoint, runner)
            else:
                port = self._routes.get(endpoint) or self._first_port(endpoint)
        if port is None:
            self.counters["no-socket"] += 1
        else:
            port.send(burst.data, burst.segment, endpoint, burst.whole, burst.ttl)

    def _first_port(self, endpoint: Endpoint) -> DatagramPort | None:
        version = 6 if ":" in endpoint.host else 4
        for port in self.datagram_ports:
            if port.version == version:
                return port
        return None

    def _local_host(self, version: int) -> str:
        """The host at which further sockets of a family are bound: that of the main one; all addresses where there is none."""
        for port in self.datagram_ports:
            if port.version == version:
                return port.host
        return "::" if version == 6 else "0.0.0.0"

    # -- ways out

    def socket_opened(self, via: int, transport: str, port: int, runner: CoreRunner | None = None) -> None:
        """A numbered socket was opened at a local port; told to one core or to all."""
        for told in self._runners if runner is None else (runner,):
            told.tell(lambda core: core.socket_opened(via, transport, port))

    def _dismiss(self, runner: CoreRunner) -> None:
        for via in runner.dismissed():
            self.numbered.dismiss(via, runner)
            self.framed.punches.dismiss(via)

    def hold(self, way: Endpoint | str) -> None:
        """A socket is full: the cores are to keep what is for it."""
        now = self.reactor.seconds()
        for runner in self._runners:
            runner.core.hold(way, now)

    def release(self, way: Endpoint | str) -> None:
        """It has room again: "udp" once no socket of it is full."""
        if way == UDP and (self.numbered.full or any(port.full for port in self.datagram_ports)):
            return
        for runner in self._runners:
            runner.tell(lambda core: core.release(way))

    def way_opened(self, endpoint: Endpoint) -> None:
        """A framed TCP connection is established."""
        for runner in self._runners:
            runner.tell(lambda core: core.way_opened(endpoint))

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended."""
        for runner in self._runners:
            runner.tell(lambda core: core.way_lost(endpoint))

    def way_lossy(self, endpoint: Endpoint) -> None:
        """The kernel has to retransmit much on a framed TCP connection, or hears no acknowledgement."""
        for runner in self._runners:
            runner.tell(lambda core: core.way_lossy(endpoint))

    # -- schedule

    def touched(self, runner: CoreRunner) -> None:
        """A core has, or may have, something to send."""
        self._dirty.append(runner)
        self._need_turn()

    def soon(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the next round of the pump, within this turn of the reactor."""
        self._put_off.append(call)
        self._need_turn()

    def _need_turn(self) -> None:
        if not (self._pumping or self._batch or self._stopped) and self._turn is None:
            self._turn = self.reactor.callLater(0, self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._turn = None
        self.pump()

    def pump(self) -> None:
        """Carry out everything that is due; does nothing inside itself."""
        if self._pumping or self._stopped:
            return
        for runner in self._runners:
            if runner.link is not None:
                runner.link.flush()
        self._pumping = True
        self._batch = False
        try:
            rounds = 0
            while (self._dirty or self._put_off) and rounds < MAX_ROUNDS:
                rounds += 1
                self._round()
        finally:
            self._pumping = False
        if self._backlog:
            backlog, self._backlog = self._backlog, []
            for runner in backlog:
                runner.touch()
        if self._dirty or self._put_off:
            self._need_turn()
        self._arm()

    def _round(self) -> None:
        if self._put_off:
            calls, self._put_off = self._put_off, []
            for call in calls:
                try:
                    call()
                except Exception:
                    self._log.failure("a call that was put off failed")
        dirty, self._dirty = self._dirty, []
        now = self.reactor.seconds()
        for runner in dirty:
            for burst in runner.answers(now):
                self._send_one(burst, runner)
            runner.dispatch()
            # What the events' handlers did goes out with the datagrams that follow: it needs no round of its own.
            runner.dirty = False
            for burst in runner.datagrams(now):
                self._send_one(burst, runner)
            self._dismiss(runner)
            if runner.dispatch():
                runner.touch()
            elif runner.core.backlog:
                self._backlog.append(runner)

    def _arm(self) -> None:
        """Set the one timer to the nearest deadline."""
        nearest: float | None = None
        for runner in self._runners:
            deadline = runner.core.deadline()
            if deadline is not None and (nearest is None or deadline < nearest):
                nearest = deadline
        if nearest is None or (self._timer is not None and self._timer_at <= nearest):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = nearest
        self._timer = self.reactor.callLater(max(0.0, nearest - self.reactor.seconds()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self.reactor.seconds()
        if now - self._timer_at > LATE:
            for port in list(self.datagram_ports):
                port.catch_up()
            self.pump()
            now = self.reactor.seconds()
        for runner in self._runners:
            deadline = runner.core.deadline()
            if deadline is not None and deadline <= now:
                runner.tick(now)
        self.pump()

    # -- end

    def stop(self, linger: float = LINGER) -> Deferred[None]:
        """Let what was written to closed streams leave (at most ``linger`` seconds), then close every socket.

        Idempotent.
        """
        if self._stopped:
            return succeed(None)
        for runner in self._runners:
            for stream in list(runner.streams):
                stream.finish()
        finished: Deferred[None] = Deferred()
        self._linger(self.reactor.seconds() + linger, finished)
        return finished

    def _linger(self, until: float, finished: Deferred[None]) -> None:
        self.pump()
        flushed = all(stream.flushed for runner in self._runners for stream in (*runner.streams, *runner.lingering))
        if not flushed and self.reactor.seconds() < until:
            self.reactor.callLater(LINGER_POLL, self._linger, until, finished)
            return
        self._stopped = True
        for call in (self._turn, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._timer = None
        for port in self.datagram_ports:
            port.close()
        self.datagram_ports.clear()
        self.numbered.close()
        self.framed.stop().addBoth(lambda _: finished.callback(None))
