"""How much of what goes to many is let through: token buckets, and repetitions (RFC 4732 2.1.2; what switches call storm control).

::

    packet of a sender to a group ──▶ the same again and again? ──▶ sender's bucket ──▶ bucket of sender and group ──▶ through
                                            │ yes: "repeated"         │ empty: "sender-rate"   │ empty: "group-rate"
                                            ▼                         ▼                        ▼
                                         dropped, counted by reason

One packet that is sent to a group becomes as many as it has hearers, so that a sender in a loop, or two computers that bridge the LAN to
the same network, would fill every member's line. Each node judges what comes from each member, and what it sends itself: so an honest
node never floods, and a dishonest one is stopped by each of its victims.

**Repetition.** A loop brings the very same packet round, as fast as the lines allow; a program that says the same again does it some
times a second. What a sender has sent ``MAX_SAME`` times within ``WINDOW`` is dropped for the rest of it.

**Limits.** Buckets of groups live in the sender's own small table; a sender with more groups at a time shares one bucket among the
surplus. Digests of one window are as many as the sender's rate lets through, and ``MAX_DIGESTS`` at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

SENDER_RATE = 500
"""Packets a second of one sender to all groups together: a game that broadcasts its state to a LAN sends 30 to 60, a stream of
4 Mbit/s in a group 400; with fifty hearers it is all that one processor's Python can seal."""

GROUP_RATE = 400
"""The same, to one group: one program cannot take everything from the others."""

BURST_SECONDS = 2.0
"""What a sender may save up: a program that starts tells all that it has at once."""

WINDOW = 1.0
MAX_SAME = 60
"""Seconds, and times that the same may be said in them: once a frame of a game's; a loop does it thousands of times."""

MAX_DIGESTS = 512
"""Digests that are kept for one sender within a window; beyond that they are forgotten, and the rates have to do."""

MAX_GROUP_BUCKETS = 64
"""Groups with a bucket of their own, of one sender: more at a time than the discovery protocols of a computer use."""


class _Bucket:
    """Tokens; one that is full again is as good as none, so that it can be forgotten."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._tokens = rate * BURST_SECONDS
        self._at = now

    def has(self, rate: float, count: int, now: float) -> bool:
        """Whether ``count`` tokens are there. More than the bucket holds pass when it is full."""
        most = rate * BURST_SECONDS
        if now > self._at:
            self._tokens = min(most, self._tokens + (now - self._at) * rate)
            self._at = now
        return self._tokens >= min(count, most)

    def take(self, count: int) -> None:
        self._tokens -= count

    def full(self, rate: float, now: float) -> bool:
        return self._tokens + (now - self._at) * rate >= rate * BURST_SECONDS


class _Sender:
    """What one sender has sent of late."""

    __slots__ = ("bucket", "groups", "same", "since")

    def __init__(self, rate: float, now: float) -> None:
        self.bucket = _Bucket(rate, now)
        self.groups: dict[bytes, _Bucket] = {}
        self.same: dict[int, int] = {}
        self.since = now


class Storms:
    """Judges packets. ``sender_rate`` and ``group_rate``: packets a second, 0: no limit. ``counters``: by reason what was dropped."""

    def __init__(self, sender_rate: float = SENDER_RATE, group_rate: float = GROUP_RATE) -> None:
        self.counters: Counter[str] = Counter()
        self._sender_rate = sender_rate
        self._group_rate = group_rate
        self._senders: dict[bytes, _Sender] = {}

    def refuses(self, sender: bytes, group: bytes, count: int, digests: Iterable[int], now: float) -> str:
        """Why a unit of ``count`` packets, with these digests, is dropped (a counter's name, which has counted it); empty: it passes.

        ``sender``: a member's key, whose number the roster bounds; ``forget`` it when it is none any more.
        """
        one = self._senders.get(sender)
        if one is None:
            one = self._senders[sender] = _Sender(self._sender_rate, now)
        reason = self._reason(one, group, count, digests, now)
        if reason:
            self.counters[reason] += count
        return reason

    def limit(self, sender_rate: float, group_rate: float) -> None:
        """Other rates from now on; what somebody has saved up is cut to them with the next packet that comes later."""
        self._sender_rate, self._group_rate = sender_rate, group_rate

    def forget(self, sender: bytes) -> None:
        """Somebody is no member any more."""
        self._senders.pop(sender, None)

    def _reason(self, one: _Sender, group: bytes, count: int, digests: Iterable[int], now: float) -> str:
        if self._repeated(one, digests, now):
            return "repeated"
        if self._sender_rate and not one.bucket.has(self._sender_rate, count, now):
            return "sender-rate"
        if self._group_rate:
            bucket = self._group(one, group, now)
            if not bucket.has(self._group_rate, count, now):
                return "group-rate"
            bucket.take(count)
        if self._sender_rate:
            one.bucket.take(count)
        return ""

    def _repeated(self, one: _Sender, digests: Iterable[int], now: float) -> bool:
        same = one.same
        if not one.since <= now < one.since + WINDOW or len(same) >= MAX_DIGESTS:
            same.clear()
            one.since = now
        most = 0
        for digest in digests:
            times = same[digest] = same.get(digest, 0) + 1
            most = max(most, times)
        return most > MAX_SAME

    def _group(self, one: _Sender, group: bytes, now: float) -> _Bucket:
        buckets = one.groups
        bucket = buckets.get(group)
        if bucket is None:
            if len(buckets) >= MAX_GROUP_BUCKETS:
                for other in [other for other, held in buckets.items() if other and held.full(self._group_rate, now)]:
                    del buckets[other]
                if len(buckets) >= MAX_GROUP_BUCKETS:
                    group = b""
            bucket = buckets.get(group)
            if bucket is None:
                bucket = buckets[group] = _Bucket(self._group_rate, now)
        return bucket
