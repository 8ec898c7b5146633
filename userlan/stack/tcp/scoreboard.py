"""What is in flight, as runs of octets: when each was sent, what was selectively acknowledged, what is lost.

::

    SND.UNA                                             SND.NXT
      |  run  | sacked |   run (lost)  | run (again) | run |
                                                            a run is what one transmission carried: up to 64 KB

The work of an ACK depends on the runs that it changes, not on wire packets: a run is split only where a SACK block
ends inside it. Each run knows the time of its last transmission and the state of delivery at that time, which is what
RTT samples, the delivery rate and RACK (:mod:`.rack`, which finds the losses) need.

The segments of a run left in one burst, so they share its time; their order within it is that of their sequence
numbers, and RACK compares (time, end). A burst of which the middle was delivered is thus a run in three parts, of
which the first was sent before the second.

Without SACK every duplicate ACK stands for one segment that left the network (RFC 6582).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter

DUPLICATE_THRESHOLD = 3
"""Segments (RFC 5681 3.2, RFC 6675 2, RFC 8985 5.4)."""

MAX_RUNS = 2048
"""Runs; SACK blocks that would split finer are ignored, and no new octets are sent. 32 MiB in flight are 550 runs and two
for each loss; a receiver such as ours keeps 1024 ranges, with a hole before each."""

NOTHING = 1 << 62
"""A position beyond all."""

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

    __slots__ = (
        "_runs",
        "ambiguous_after",
        "duplicates",
        "first_original",
        "highest",
        "lost",
        "newest",
        "reordered",
        "retransmitted_to",
        "sacked",
    )

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self.sacked = 0
        self.lost = 0
        """Octets that were found lost and not sent again."""
        self.duplicates = 0
        """Octets that left the network by duplicate ACKs, without SACK."""
        self.retransmitted_to = 0
        """Beyond this position nothing was sent more than once."""
        self.highest = 0
        """The highest position that was delivered: RACK.fack."""
        self.newest: Run | None = None
        """Of what the ACK under way delivered, the run that was sent last; ambiguous ones do not count."""
        self.first_original = NOTHING
        """Where the first octet lies that the ACK under way delivered by its only transmission."""
        self.reordered = False
        """The ACK under way delivered what was sent once, below what had been delivered (RFC 8985 6.2, step 3)."""
        self.ambiguous_after = 0.0
        """Seconds: what was sent again later than this cannot have been answered yet, an earlier transmission was."""

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

    def begin(self, ambiguous_after: float) -> None:
        """An ACK is about to be processed, first its cumulative part, then its SACK blocks in ascending order."""
        self.newest = None
        self.first_original = NOTHING
        self.reordered = False
        self.ambiguous_after = ambiguous_after

    def acknowledge(self, position: int) -> int:
        """Everything before ``position`` arrived. Returns how many octets of it had not been SACKed before."""
        runs = self._runs
        count = 0
        delivered = 0
        highest = self.highest
        for run in runs:
            start = run.start
            if start >= position:
                break
            end = run.end
            if end > position:
                runs.insert(count + 1, run.tail(position))
                end = position
            count += 1
            if run.sacked:
                self.sacked -= end - start
                continue
            if run.lost:
                self.lost -= end - start
            delivered += end - start
            if run.retransmitted or end < highest:
                self._delivered(run)
            else:
                if start < self.first_original:
                    self.first_original = start
                if (newest := self.newest) is None or run.sent_at >= newest.sent_at:
                    self.newest = run
            if end == position:
                break
        del runs[:count]
        if position > self.highest:
            self.highest = position
        if self.duplicates:
            self.duplicates = max(0, self.duplicates - delivered)
        return delivered

    def _delivered(self, run: Run) -> None:
        """Note what the delivery of a run tells (RFC 8985 6.2, steps 2 and 3)."""
        if run.retransmitted:
            if run.sent_at > self.ambiguous_after:
                return
        else:
            if run.start < self.first_original:
                self.first_original = run.start
            if run.end < self.highest:
                self.reordered = True
        newest = self.newest
        if newest is None or run.sent_at >= newest.sent_at:
            self.newest = run

    def sack(self, left: int, right: int) -> int:
        """The octets from ``left`` to ``right`` arrived. Returns as :meth:`acknowledge`; what is not in flight is
        ignored."""
        runs = self._runs
        if not runs:
            return 0
        left = max(left, runs[0].start)
        right = min(right, runs[-1].end)
        if left >= right:
            return 0
        delivered = 0
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
            self._delivered(run)
            if run.end > self.highest:
                self.highest = run.end
            index = self._merge_sacked(index) + 1
        return delivered

    def _merge_sacked(self, index: int) -> int:
        """Join the sacked run at ``index`` with sacked neighbours; returns where it is then."""
        runs = self._runs
        end = runs[index].end
        if index + 1 < len(runs) and runs[index + 1].sacked:
            end = runs.pop(index + 1).end
        if index and runs[index - 1].sacked:
            del runs[index]
            index -= 1
            runs[index].end = end
        elif end != runs[index].end:
            run = runs[index]
            runs[index] = Run(run.start, end, run.sent_at)
            runs[index].sacked = True
        return index

    # ------------------------------------------------------------------ losses

    def many_sacked(self, segment: int) -> bool:
        """Whether DupThresh segments of ``segment`` octets were SACKed (RFC 8985 6.2): so many octets as take so many
        segments, or so many separate runs."""
        if self.sacked > (DUPLICATE_THRESHOLD - 1) * segment:
            return True
        separate = 0
        for run in reversed(self._runs):
            if run.sacked:
                separate += 1
                if separate >= DUPLICATE_THRESHOLD:
                    return True
        return False

    def mark_sent_before(self, sent_at: float, end: int, latest: float) -> tuple[int, float]:
        """Mark as lost what was sent before the transmission at ``sent_at`` that ended at ``end``, and not after
        ``latest`` (s).

        Returns how many octets were marked, and when the last of what was sent before it, but after ``latest``, was
        sent (0: there is none). What was sent once was sent in the order of its positions, so it ends the search.
        """
        marked = 0
        waits = 0.0
        for run in self._runs:
            if run.sacked or run.lost:
                continue
            sent = run.sent_at
            if sent > sent_at or (sent == sent_at and run.end > end):
                if not run.retransmitted:
                    break
            elif sent <= latest:
                marked += self._mark(run)
            elif sent > waits:
                waits = sent
        return marked, waits

    def mark_older(self, latest: float) -> int:
        """The retransmission timer ran out (RFC 8985 6.3): the first run is lost, and what was not sent after
        ``latest`` (s). Returns the octets. A receiver that took back its SACKs (:meth:`mark_all_lost`) gets all."""
        runs = self._runs
        if not runs or runs[0].sacked:
            return self.mark_all_lost()
        marked = 0 if runs[0].lost else self._mark(runs[0])
        for run in runs:
            if not run.sacked and not run.lost and run.sent_at <= latest:
                marked += self._mark(run)
        return marked

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

    def last_segment(self, segment: int) -> Run | None:
        """The last ``segment`` octets, or fewer, that are in flight and not SACKed, as a run that is sent again from now
        on (a loss probe, RFC 8985 7.3). The caller sends it and stamps it."""
        runs = self._runs
        index = len(runs) - 1
        while index >= 0 and runs[index].sacked:
            index -= 1
        if index < 0:
            return None
        run = runs[index]
        if run.end - run.start > segment:
            run = run.tail(run.end - segment)
            runs.insert(index + 1, run)
        if run.lost:
            run.lost = False
            self.lost -= run.end - run.start
        run.retransmitted = True
        self.retransmitted_to = max(self.retransmitted_to, run.end)
        return run

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
        self.retransmitted_to = max(self.retransmitted_to, run.end)
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
