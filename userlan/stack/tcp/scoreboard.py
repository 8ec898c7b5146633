"""What is in flight, as runs of octets: when each was sent, what was selectively acknowledged, what is lost.

::

    SND.UNA                                             SND.NXT
      |  run  | sacked |   run (lost)  | run (again) | run |
                                                            a run is what one transmission carried: up to 64 KB

The work of an ACK depends on the runs that it changes, not on wire packets: a run is split only where a SACK block
ends inside it. Each run knows the time of its last transmission and the state of delivery at that time, which is what
RTT samples, the delivery rate, the recognition of lost retransmissions, and a RACK (RFC 8985) in a later version
need.

Losses are found as RFC 6675 says, in octets: what lies below more than ``DUPLICATE_THRESHOLD - 1`` segments' worth of
SACKed octets, or below that many separate SACKed runs, is lost. A retransmission is lost when something that was sent
a reordering window later was delivered (RFC 8985 6.2, for retransmissions alone). Without SACK every duplicate ACK
stands for one segment that left the network (RFC 6582).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter

DUPLICATE_THRESHOLD = 3
"""Segments (RFC 5681 3.2, RFC 6675 2)."""

MAX_RUNS = 1024
"""Runs; SACK blocks that would split finer are ignored. 8 MiB in flight are 140 runs and a few for each loss."""

_start = attrgetter("start")


class Run:
    """One stretch of octets (positions) that was sent in one transmission and has one fate since."""

    __slots__ = (
        "application_limited",
        "delivered",
        "delivered_at",
        "end",
        "first_sent_at",
        "lost",
        "retransmitted",
        "sacked",
        "sent_at",
        "start",
    )

    def __init__(self, start: int, end: int, sent_at: float) -> None:
        self.start = start
        self.end = end
        self.sent_at = sent_at
        self.sacked = False
        self.lost = False
        self.retransmitted = False
        self.delivered = 0
        self.delivered_at = sent_at
        self.first_sent_at = sent_at
        self.application_limited = False

    def tail(self, position: int) -> Run:
        """Cut at ``position``; this run keeps what is before it, the result is the rest."""
        rest = Run(position, self.end, self.sent_at)
        rest.sacked = self.sacked
        rest.lost = self.lost
        rest.retransmitted = self.retransmitted
        rest.delivered = self.delivered
        rest.delivered_at = self.delivered_at
        rest.first_sent_at = self.first_sent_at
        rest.application_limited = self.application_limited
        self.end = position
        return rest


class Scoreboard:
    """The runs between SND.UNA and SND.NXT, in order and without gaps."""

    __slots__ = ("_runs", "delivered_sent_at", "duplicates", "lost", "sacked")

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self.sacked = 0
        self.lost = 0
        """Octets that were found lost and not sent again."""
        self.duplicates = 0
        """Octets that left the network by duplicate ACKs, without SACK."""
        self.delivered_sent_at = 0.0
        """When the youngest transmission that was surely delivered had been sent; the caller keeps it."""

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def in_flight(self) -> int:
        """Octets thought to be in the network: RFC 6675's pipe."""
        runs = self._runs
        if not runs:
            return 0
        flight = runs[-1].end - runs[0].start - self.sacked - self.lost - self.duplicates
        return flight if flight > 0 else 0

    def runs(self) -> Iterable[Run]:
        """Every run in order, for reading only."""
        return iter(self._runs)

    def sent(self, run: Run) -> None:
        """New octets, which follow the last run, were sent."""
        self._runs.append(run)

    # ------------------------------------------------------------------ acknowledgements

    def acknowledge(self, position: int) -> tuple[int, Run | None]:
        """Everything before ``position`` arrived. Returns how many octets of it had not been SACKed before, and of
        the runs that they were in the one sent last."""
        runs = self._runs
        count = 0
        delivered = 0
        youngest: Run | None = None
        for run in runs:
            if run.start >= position:
                break
            if run.end > position:
                runs.insert(count + 1, run.tail(position))
            count += 1
            size = run.end - run.start
            if run.sacked:
                self.sacked -= size
                continue
            if run.lost:
                self.lost -= size
            delivered += size
            if youngest is None or run.sent_at >= youngest.sent_at:
                youngest = run
            if run.end >= position:
                break
        del runs[:count]
        if self.duplicates:
            self.duplicates = max(0, self.duplicates - delivered)
        return delivered, youngest

    def sack(self, left: int, right: int) -> tuple[int, Run | None]:
        """The octets from ``left`` to ``right`` arrived. Returns as :meth:`acknowledge`; what is not in flight is
        ignored."""
        runs = self._runs
        if not runs:
            return 0, None
        left = max(left, runs[0].start)
        right = min(right, runs[-1].end)
        if left >= right:
            return 0, None
        delivered = 0
        youngest: Run | None = None
        index = bisect_right(runs, left, key=_start) - 1
        while index < len(runs) and (run := runs[index]).start < right:
            if run.sacked:
                index += 1
                continue
            if (run.start < left or run.end > right) and len(runs) >= MAX_RUNS:
                index += 1
                continue
            if run.start < left:
                index += 1
                runs.insert(index, run.tail(left))
                continue
            if run.end > right:
                runs.insert(index + 1, run.tail(right))
            size = run.end - run.start
            delivered += size
            self.sacked += size
            run.sacked = True
            if run.lost:
                run.lost = False
                self.lost -= size
            if youngest is None or run.sent_at >= youngest.sent_at:
                youngest = run
            index = self._merge_sacked(index) + 1
        return delivered, youngest

    def _merge_sacked(self, index: int) -> int:
        """Join the sacked run at ``index`` with sacked neighbours; returns where it is then."""
        runs = self._runs
        run = runs[index]
        if index + 1 < len(runs) and runs[index + 1].sacked:
            run.end = runs.pop(index + 1).end
        if index and runs[index - 1].sacked:
            index -= 1
            runs[index].end = run.end
            del runs[index + 1]
        return index

    # ------------------------------------------------------------------ losses

    def find_losses(self, segment: int, threshold: int, reordering: float) -> int:
        """Mark what is lost by SACK; returns how many octets were marked.

        ``segment``: SMSS in octets; ``threshold``: DupThresh in segments; ``reordering``: seconds.
        """
        if not self.sacked:
            return 0
        edge = self._loss_edge(segment, threshold)
        latest = self.delivered_sent_at - reordering
        marked = 0
        for run in self._runs:
            if run.start >= edge:
                break
            if run.sacked or run.lost:
                continue
            if run.retransmitted and run.sent_at >= latest:
                continue
            marked += self._mark(run)
        return marked

    def _loss_edge(self, segment: int, threshold: int) -> int:
        """Below this position everything that is not SACKed is lost (IsLost of RFC 6675 4)."""
        above = 0
        separate = 0
        for run in reversed(self._runs):
            if run.sacked:
                above += run.end - run.start
                separate += 1
                if separate >= threshold or above > (threshold - 1) * segment:
                    return run.start
        return 0

    def mark_first_lost(self, segment: int) -> int:
        """Without SACK: the first segment in flight is lost (RFC 6582 3.2). Returns how many octets were marked."""
        runs = self._runs
        if not runs or runs[0].lost:
            return 0
        head = runs[0]
        if head.end - head.start > segment:
            runs.insert(1, head.tail(head.start + segment))
        return self._mark(head)

    def mark_all_lost(self) -> int:
        """The retransmission timer ran out, or the path changed: what was not SACKed is lost. Returns the octets.

        When the oldest octets themselves are SACKed, the receiver has taken it back (RFC 2018 8): then no SACK counts.
        """
        runs = self._runs
        if not runs:
            return 0
        if runs[0].sacked:
            for run in runs:
                run.sacked = False
            self.sacked = 0
        marked = 0
        for run in runs:
            if not run.sacked and not run.lost:
                marked += self._mark(run)
        self.duplicates = 0
        return marked

    def undo(self) -> None:
        """The timeout was spurious: what was marked and not sent again is in flight after all."""
        for run in self._runs:
            run.lost = False
        self.lost = 0

    def mark_lost(self, run: Run) -> None:
        """One run is known to be lost, from elsewhere."""
        if not run.sacked and not run.lost:
            self._mark(run)

    def _mark(self, run: Run) -> int:
        size = run.end - run.start
        run.lost = True
        self.lost += size
        return size

    # ------------------------------------------------------------------ retransmissions

    def next_lost(self, limit: int) -> Run | None:
        """The first octets that are to be sent again, ``limit`` of them at most, as one run that is in flight from
        now on.

        The caller sends it and stamps it. None: there is nothing. Neighbours that are lost too are joined to it.
        """
        if not self.lost:
            return None
        runs = self._runs
        index = 0
        while not runs[index].lost:
            index += 1
        run = runs[index]
        if run.end - run.start > limit:
            runs.insert(index + 1, run.tail(run.start + limit))
        else:
            stop = index + 1
            while stop < len(runs) and runs[stop].lost and runs[stop].end - run.start <= limit:
                stop += 1
            run.end = runs[stop - 1].end
            del runs[index + 1 : stop]
            if run.end - run.start < limit:
                self._borrow(index, limit)
        run.lost = False
        run.retransmitted = True
        self.lost -= run.end - run.start
        return run

    def _borrow(self, index: int, limit: int) -> None:
        """Lengthen the run at ``index`` to ``limit`` octets from the lost run that follows it and is too long to
        join."""
        runs = self._runs
        run = runs[index]
        if index + 1 < len(runs) and runs[index + 1].lost:
            following = runs[index + 1]
            taken = limit - (run.end - run.start)
            run.end += taken
            following.start += taken

    def clear(self) -> None:
        """Forget everything."""
        self._runs.clear()
        self.sacked = self.lost = self.duplicates = 0
