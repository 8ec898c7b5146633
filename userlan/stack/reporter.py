"""One protocol's side of a host towards multicast routers and switches: what it tells them unasked, and when asked.

See ``groups`` for the theory; here is the machine of RFC 3376 5 and RFC 3810 6 for either protocol, and what it becomes
in the presence of an older querier (RFC 3376 7.2.1, RFC 3810 8.2.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from userlan.stack.filters import NOTHING, Change, Filter, current_sources, current_state, reports_of
from userlan.stack.limiter import TokenBucket
from userlan.wire.membership import Leave, Member, Message, Query, Record, Report
from userlan.wire.superpacket import SuperPacket

ROBUSTNESS = 2
"""How often news is told, as long as no querier says otherwise (RFC 3376 8.1, RFC 3810 9.1)."""

QUERY_INTERVAL = 125
MAX_QUERY_INTERVAL = 600
"""Seconds between two general queries: the default (RFC 3376 8.2), and the most that is believed: 31,744 can be written
and would keep this host in an older version's ways for two days after one forged query."""

UNSOLICITED_INTERVAL = 1.0
OLDER_UNSOLICITED_INTERVAL = 10.0
"""Seconds in which news is told again (RFC 3376 8.11, RFC 3810 9.11); of older versions (RFC 2236 8.10, RFC 2710 7.10)."""

IGMP1_RESPONSE = 10.0
"""Seconds in which version 1 of IGMP answers (RFC 3376 7.2.1)."""

MAX_ASKED_SOURCES = 256
"""Sources of one group that queries asked for and that wait for the answer; where more do, the answer is about the whole
group, which says as much (RFC 3376 5.2): bounds what forged queries can make us remember."""

REPORT_ROOM = 1280 - 40 - 8 - 8
"""Octets of records in one report: with all headers it fits every link that carries IPv6 (RFC 8200 5)."""


class Dialect(Protocol):
    """What ``userlan.wire.igmp`` and ``mld`` have in common."""

    NEWEST_VERSION: int

    def build(self, message: Message, source: bytes) -> SuperPacket: ...


class _Group:
    """One group: what is wanted, what is still to be told of it, and the answer that is due."""

    __slots__ = ("answer_at", "asked", "change", "filter", "repeat_at", "repeats")

    def __init__(self) -> None:
        self.filter = NOTHING
        self.change = Change()
        self.repeat_at: float | None = None
        self.repeats = 0
        """Older versions' reports that are still to be sent unasked."""
        self.answer_at: float | None = None
        self.asked: set[bytes] = set()
        """The sources that the answer is to be about; empty: the whole group."""


class Reporter:
    """The groups of one family, as routers are told of them. ``outgoing`` is drained by its owner."""

    def __init__(
        self,
        dialect: Dialect,
        source: Callable[[], bytes],
        entropy: Callable[[int], bytes],
        answers: TokenBucket,
        counters: Counter[str],
    ) -> None:
        """``source()``: the own address to report from; ``answers``: how many reports queries may call forth."""
        self.outgoing: list[SuperPacket] = []
        self._dialect = dialect
        self._source = source
        self._entropy = entropy
        self._answers = answers
        self._counters = counters
        self._robustness = ROBUSTNESS
        self._interval = QUERY_INTERVAL
        self._version = dialect.NEWEST_VERSION
        self._older_until: dict[int, float] = {}
        """Older Version Querier Present timers, by version."""
        self._groups: dict[bytes, _Group] = {}
        self._changed: dict[bytes, Filter] = {}
        self._general_at: float | None = None
        self._deadline: float | None = None

    # ------------------------------------------------------------------ what the host wants (RFC 3376 5.1)

    def change(self, group: bytes, state: Filter) -> None:
        """The host wants ``state`` of a group from now on; ``settle`` tells it."""
        self._changed[group] = state

    @property
    def pending(self) -> bool:
        """Whether ``settle`` or the owner has something to do at once."""
        return bool(self._changed or self.outgoing)

    def settle(self, now: float) -> None:
        """Tell what was changed since the last time, all in one report."""
        if not self._changed:
            return
        self._follow(now)
        changed, self._changed = self._changed, {}
        older = self._version < self._dialect.NEWEST_VERSION
        again = now + self._chance(OLDER_UNSOLICITED_INTERVAL if older else UNSOLICITED_INTERVAL)
        records: list[Record] = []
        for name, state in changed.items():
            group = self._groups.setdefault(name, _Group())
            before, group.filter = group.filter, state
            if older:
                self._tell_older(name, group, before)
            elif before != state:
                group.change.note(before, state, self._robustness)
                records += group.change.told(name, state)
            group.repeat_at = again if group.change.pending or group.repeats else None
            self._forget(name, group)
        self._send(records)
        self._schedule()

    def _tell_older(self, name: bytes, group: _Group, before: Filter) -> None:
        """Older versions know members only: no sources, and version 1 of IGMP no farewell."""
        if before == NOTHING and group.filter != NOTHING:
            group.repeats = self._robustness - 1
            self._say(Member(self._version, name))
        elif before != NOTHING and group.filter == NOTHING:
            group.repeats = 0
            if self._version == self._dialect.NEWEST_VERSION - 1:
                self._say(Leave(name))

    def current(self) -> list[SuperPacket]:
        """The state of all groups, as last settled, in reports of the newest version; they take no part in what is told to all."""
        records = [current_state(name, group.filter) for name, group in self._groups.items() if group.filter != NOTHING]
        return [self._dialect.build(Report(part), self._source()) for part in reports_of(records, REPORT_ROOM)]

    # ------------------------------------------------------------------ what others say (RFC 3376 5.2)

    def query(self, query: Query, now: float) -> None:
        """Somebody asks: choose the instant of the answer, at random so that not all members answer at once."""
        response = query.max_response / 1000
        if query.version == 1 and self._dialect.NEWEST_VERSION == 3:
            response = IGMP1_RESPONSE
        self._learn(query, response, now)
        self._follow(now)
        if self._version < self._dialect.NEWEST_VERSION:
            self._query_older(query, response, now)
        else:
            self._query_newest(query, now + self._chance(response))
        self._schedule()

    def heard(self, report: Member, now: float) -> None:
        """Another member reported in an older version's way: where that is spoken, one is enough (RFC 2236 3).

        Not so in the newest version, where RFC 3376 7.2.2 allows it too: routers there count on every host's own.
        """
        self._follow(now)
        group = self._groups.get(report.group)
        if self._version < self._dialect.NEWEST_VERSION and group is not None:
            group.answer_at = group.repeat_at = None
            group.repeats = 0
            self._schedule()

    def _learn(self, query: Query, response: float, now: float) -> None:
        """The querier's variables (RFC 3376 4.1.6 and 4.1.7; 0 says nothing), and its version, if older (8.12)."""
        if query.version == self._dialect.NEWEST_VERSION:
            self._robustness = query.robustness or ROBUSTNESS
            self._interval = min(query.interval or QUERY_INTERVAL, MAX_QUERY_INTERVAL)
        elif query.general:
            self._older_until[query.version] = now + self._robustness * self._interval + response

    def _follow(self, now: float) -> None:
        """Speak the oldest version that a querier of late has; a change cancels what is pending (RFC 3376 7.2.1)."""
        heard = (version for version, until in self._older_until.items() if now < until)
        version = min(heard, default=self._dialect.NEWEST_VERSION)
        if version == self._version:
            return
        self._version = version
        self._general_at = None
        for name, group in list(self._groups.items()):
            group.answer_at = group.repeat_at = None
            group.repeats = 0
            group.change = Change()
            self._forget(name, group)
        self._schedule()

    def _query_newest(self, query: Query, at: float) -> None:
        """The five rules of RFC 3376 5.2."""
        if self._general_at is not None and self._general_at <= at:
            return
        if query.general:
            self._general_at = at
            return
        group = self._groups.get(query.group)
        if group is None or group.filter == NOTHING:
            return
        if group.answer_at is None:
            group.answer_at = at
            group.asked.update(query.sources)
        else:
            group.answer_at = min(group.answer_at, at)
            if group.asked and query.sources:
                group.asked.update(query.sources)
            else:
                group.asked.clear()
        if len(group.asked) > MAX_ASKED_SOURCES:
            group.asked.clear()

    def _query_older(self, query: Query, response: float, now: float) -> None:
        """A timer for each group; one that runs is set anew only where it would be late (RFC 2236 3, RFC 2710 4)."""
        names = list(self._groups) if query.general else [query.group]
        for name in names:
            group = self._groups.get(name)
            if group is None or group.filter == NOTHING:
                continue
            if group.answer_at is None or group.answer_at > now + response:
                group.answer_at = now + self._chance(response)

    # ------------------------------------------------------------------ time

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._deadline

    def tick(self, now: float) -> None:
        """Send what is due."""
        if self._deadline is None or now < self._deadline:
            return
        self._follow(now)
        if self._version < self._dialect.NEWEST_VERSION:
            self._tick_older(now)
        else:
            self._answer(now)
            self._repeat(now)
        self._schedule()

    def _answer(self, now: float) -> None:
        """Current state records: of all groups, of one, or of some sources of one (RFC 3376 5.2)."""
        records: list[Record] = []
        if self._general_at is not None and self._general_at <= now:
            self._general_at = None
            records += (current_state(name, group.filter) for name, group in self._groups.items() if group.filter != NOTHING)
        for name, group in self._groups.items():
            if group.answer_at is None or group.answer_at > now:
                continue
            if not group.asked:
                records.append(current_state(name, group.filter))
            elif (record := current_sources(name, group.filter, group.asked)) is not None:
                records.append(record)
            group.answer_at = None
            group.asked.clear()
        self._send(records, self._answers, now)

    def _repeat(self, now: float) -> None:
        """State changes once more, those that are due together in one report (RFC 3376 5.1)."""
        again = now + self._chance(UNSOLICITED_INTERVAL)
        records: list[Record] = []
        for name, group in list(self._groups.items()):
            if group.repeat_at is not None and group.repeat_at <= now:
                records += group.change.told(name, group.filter)
                group.repeat_at = again if group.change.pending else None
                self._forget(name, group)
        self._send(records)

    def _tick_older(self, now: float) -> None:
        for name, group in self._groups.items():
            repeat = group.repeat_at is not None and group.repeat_at <= now
            if repeat:
                group.repeats -= 1
                group.repeat_at = now + self._chance(OLDER_UNSOLICITED_INTERVAL) if group.repeats > 0 else None
            answer = group.answer_at is not None and group.answer_at <= now
            if answer:
                group.answer_at = None
                answer = self._allowed(self._answers, now)
            if repeat or answer:
                self._say(Member(self._version, name))

    def _schedule(self) -> None:
        times = [self._general_at] if self._general_at is not None else []
        for group in self._groups.values():
            times += [at for at in (group.answer_at, group.repeat_at) if at is not None]
        self._deadline = min(times, default=None)

    # ------------------------------------------------------------------ inside

    def _chance(self, limit: float) -> float:
        """Seconds, uniform between 0 and ``limit``."""
        return int.from_bytes(self._entropy(4), "big") / 2**32 * limit

    def _forget(self, name: bytes, group: _Group) -> None:
        """A group that is left, and of which all is told."""
        if group.filter == NOTHING:
            group.answer_at = None
            group.asked.clear()
            if group.repeat_at is None:
                del self._groups[name]

    def _send(self, records: Iterable[Record], bucket: TokenBucket | None = None, now: float = 0.0) -> None:
        for part in reports_of(records, REPORT_ROOM):
            if bucket is None or self._allowed(bucket, now):
                self._say(Report(part))

    def _allowed(self, bucket: TokenBucket, now: float) -> bool:
        if bucket.allow(now):
            return True
        self._counters["group-answer-limited"] += 1
        return False

    def _say(self, message: Message) -> None:
        self.outgoing.append(self._dialect.build(message, self._source()))
