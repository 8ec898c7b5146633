"""Two connections joined by a path that loses, reorders, duplicates, delays and limits, in virtual time, from a
seed."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.stack.tcp.scene import LOCAL, MTU, REMOTE, entropy
from userlan.stack.tcp import Config, Connection, Endpoint, InitialNumbers, Listener, State
from userlan.stack.tcp.ecn import CE
from userlan.wire.tcp import Flags, Segment

HEADERS = 52
"""Octets of IP and TCP headers with timestamps, for the rate of the path."""

CHUNK = 61_560
"""Octets that the application writes at once: 45 segments of 1368."""


@dataclass(frozen=True)
class Path:
    """Both directions. Seconds, probabilities, bits a second (0: no limit), octets. ``jitter`` keeps the order. What is
    capable of ECN and meets a queue of more than ``mark`` octets is marked."""

    delay: float = 0.010
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    queue: int = 1 << 20
    mark: int = 1 << 30


class Direction:
    """Cuts super-segments into wire segments, mistreats them, and joins those that stay together, as GSO and GRO do."""

    def __init__(self, path: Path, random: Random) -> None:
        self.path = path
        self.counters: Counter[str] = Counter()
        self.longest_queue = 0.0
        self._random = random
        self._free_at = 0.0
        self._last = 0.0
        self._marked = False

    def carry(self, segment: Segment, now: float) -> list[tuple[float, Segment]]:
        """The arrivals that a segment causes."""
        arrivals: list[tuple[float, Segment]] = []
        unit = segment.segment_size or max(1, len(segment.payload))
        size = len(segment.payload)
        group: list[tuple[int, int]] = []
        arrival = 0.0
        for start in range(0, max(size, 1), unit):
            end = min(start + unit, size)
            arrives = self._arrival(end - start, now)
            if arrives is None:
                if group:
                    arrivals.append((arrival, piece(segment, group[0][0], group[-1][1])))
                    group = []
                continue
            for _ in range(2 if self._random.random() < self.path.duplicate else 1):
                if self._random.random() < self.path.reorder:
                    arrivals.append((arrives + self.path.delay, piece(segment, start, end)))
                else:
                    group.append((start, end))
                    arrival = arrives
                    if len(group) > 1 and group[-2][1] != start:
                        arrivals.append((arrival, piece(segment, *group.pop())))
                    if self._marked and segment.ecn:
                        self.counters["marked"] += 1
                        start, end = group.pop()
                        if group:
                            arrivals.append((arrival, piece(segment, group[0][0], group[-1][1])))
                            group = []
                        arrivals.append((arrival, piece(segment, start, end)))
                        arrivals[-1][1].ecn = CE
        if group:
            arrivals.append((arrival, piece(segment, group[0][0], group[-1][1])))
        return arrivals

    def _arrival(self, size: int, now: float) -> float | None:
        path = self.path
        self.counters["sent"] += 1
        if self._random.random() < path.loss:
            self.counters["lost"] += 1
            return None
        leaves = now
        self._marked = False
        if path.rate:
            free = max(self._free_at, now)
            if (free - now) * path.rate / 8 > path.queue:
                self.counters["queue-full"] += 1
                return None
            self._marked = (free - now) * path.rate / 8 > path.mark
            leaves = self._free_at = free + (size + HEADERS) * 8 / path.rate
            self.longest_queue = max(self.longest_queue, leaves - now)
        self._last = max(self._last, leaves + path.delay + self._random.random() * path.jitter)
        return self._last


def piece(segment: Segment, start: int, end: int) -> Segment:
    """Octets ``start`` to ``end`` of a super-segment as a segment."""
    size = len(segment.payload)
    flags = segment.flags if end >= size else segment.flags & ~(Flags.FIN | Flags.PSH)
    if start:
        flags &= ~Flags.CWR
    unit = segment.segment_size
    return Segment(
        segment.source_port,
        segment.destination_port,
        (segment.seq + start) & 0xFFFFFFFF,
        segment.ack,
        flags,
        segment.window,
        0,
        bytes(memoryview(segment.payload)[start:end]),
        unit if end - start > unit else 0,
        segment.mss,
        segment.window_scale,
        segment.sack_permitted,
        segment.sack,
        segment.timestamp,
        segment.ecn,
    )


class Side:
    """An application that sends ``total`` octets, reads what comes (``reads_per_second`` octets, None: at once) and
    shuts down."""

    def __init__(self, seed: int, total: int, reads_per_second: float | None = None) -> None:
        self.connection: Connection | None = None
        self.total = total
        self.sent = 0
        self.received = 0
        self.sent_hash = hashlib.sha256()
        self.received_hash = hashlib.sha256()
        self.eof_at: float | None = None
        self.reads_per_second = reads_per_second
        self.largest_backlog = 0
        self._block = Random(seed).randbytes(CHUNK)
        self._began: float | None = None

    def work(self, now: float) -> None:
        connection = self.connection
        if connection is None:
            return
        while self.sent < self.total and connection.send_room:
            chunk = self._block[: min(CHUNK, self.total - self.sent, connection.send_room)]
            taken = connection.send(chunk, now)
            self.sent_hash.update(chunk[:taken])
            self.sent += taken
        if self.sent >= self.total and connection.state is not State.SYN_SENT:
            connection.shutdown(now)
        self.largest_backlog = max(self.largest_backlog, connection.receiver.buffer.length)
        if self._began is None:
            self._began = now
        while connection.readable:
            limit = 65_536
            if self.reads_per_second is not None:
                limit = min(limit, int((now - self._began) * self.reads_per_second) - self.received)
            data = connection.receive(limit)
            if not data:
                break
            self.received_hash.update(data)
            self.received += len(data)
        if connection.eof and self.eof_at is None:
            self.eof_at = now


class Pair:
    """``run`` until both ends are closed."""

    def __init__(
        self, a: Side, b: Side, path: Path, *, seed: int = 1, config: Config | None = None, simultaneous: bool = False
    ) -> None:
        self.a, self.b = a, b
        self.now = 100.0
        self.started = self.now
        random = Random(seed)
        self.config = config or Config()
        self.forward = Direction(path, random)
        self.backward = Direction(path, random)
        self.numbers = InitialNumbers(entropy)
        self.listener = Listener((None, REMOTE[1]), self.config, self.numbers)
        self._heap: list[tuple[float, int, Side, Segment]] = []
        self._order = count()
        a.connection = self._connect(LOCAL, REMOTE)
        if simultaneous:
            b.connection = self._connect(REMOTE, LOCAL)

    def _connect(self, local: Endpoint, remote: Endpoint) -> Connection:
        return Connection.connect(local, remote, self.config, self.numbers.numbers(local, remote, self.now), MTU,
        self.now)

    def _pump(self, side: Side, direction: Direction, other: Side) -> None:
        side.work(self.now)
        if side.connection is None:
            return
        for segment in side.connection.transmit(self.now):
            for arrives, arrived in direction.carry(segment, self.now):
                heapq.heappush(self._heap, (arrives, next(self._order), other, arrived))

    def _deliver(self, side: Side, segment: Segment) -> None:
        if side.connection is None:
            made = self.listener.segment_arrived(segment, REMOTE, LOCAL, MTU, self.now)
            side.connection = made if isinstance(made, Connection) else None
        else:
            side.connection.segment_arrived(segment, self.now)

    def run(self, seconds: float, poll: float | None = None) -> float:
        """Run until both are closed, or for ``seconds``; returns the seconds that passed. ``poll``: applications wake
        that often."""
        end = self.started + seconds
        for _ in range(2_000_000):
            self._pump(self.a, self.forward, self.b)
            self._pump(self.b, self.backward, self.a)
            if self.finished:
                return self.now - self.started
            times = [self._heap[0][0]] if self._heap else []
            for side in (self.a, self.b):
                deadline = side.connection.deadline() if side.connection is not None else None
                if deadline is not None:
                    times.append(deadline)
            if poll is not None:
                times.append(self.now + poll)
            if not times or min(times) > end:
                return seconds
            self.now = max(self.now, min(times))
            while self._heap and self._heap[0][0] <= self.now:
                _, _, side, segment = heapq.heappop(self._heap)
                self._deliver(side, segment)
            for side in (self.a, self.b):
                if side.connection is not None:
                    deadline = side.connection.deadline()
                    if deadline is not None and deadline <= self.now:
                        side.connection.tick(self.now)
        raise AssertionError("the pair does not come to rest")

    @property
    def finished(self) -> bool:
        over = (State.CLOSED, State.TIME_WAIT)
        return all(
            side.connection is not None and side.connection.state in over and not side.connection.readable
            for side in (self.a, self.b)
        )

    def check(self) -> None:
        """Each side received exactly what the other sent, and both ended well."""
        for side, other in ((self.a, self.b), (self.b, self.a)):
            assert side.connection is not None
            assert side.connection.error is None
            assert side.received == other.total
            assert side.received_hash.digest() == other.sent_hash.digest()
            assert side.connection.eof


def transfer(total: int, path: Path, *, seed: int = 1, config: Config | None = None, seconds: float = 600) -> Pair:
    """One side sends ``total`` octets; asserts that they arrive exactly."""
    pair = Pair(Side(seed, total), Side(seed + 1, 0), path, seed=seed, config=config)
    pair.run(seconds)
    pair.check()
    return pair
