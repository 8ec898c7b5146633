"""Who hears what: which members listen to which groups, as their reports have told (IGMP and MLD snooping, RFC 4541).

::

    a member's report (IGMPv1-3, MLDv1-2) ── Listeners.heard ──▶ table: member, group → State ── hearers ──▶ who gets a packet
                                                                    │ 260 s without a report of it
                                                                    ▼ forgotten

The LAN is a switch of which each node is one port, and every tunnel leads to one member: so a report is its tunnel's, whatever address
it names, nobody can speak for another, and who leaves a group is out of it at once: no query has to ask for others behind the same port
(RFC 3376 6.4.2, RFC 3810 7.4.2 are about shared links).

**State** of a member towards a group, by the rules for routers with one host (RFC 3376 6.4.1, RFC 3810 7.4.1)::

    record      EXCLUDE: all but `excluded`, until the group's timer ends         INCLUDE: `included`, each until its own timer ends
    IS_EX, TO_EX (B)    EXCLUDE B
    TO_IN (B)           INCLUDE B, at once
    IS_IN, ALLOW (B)    B is heard, too, for 260 s, whatever the mode
    BLOCK (B)           B is heard no more

Older versions: a report is IS_EX {}, a farewell TO_IN {} (RFC 3376 7.3.2, RFC 3810 8.3.2).

**Everybody** hears the broadcasts, and the groups by which links are run, 224.0.0.x and ff02::x (RFC 4541 2.1.2 (2), 3), so reports, too.
Not so 224.0.0.251 and .252, ff02::fb and ff02::1:3 (multicast DNS, RFC 6762; LLMNR, RFC 4795): they carry traffic of programs, and all
stacks here report them.

**Limits**: groups and sources of one member, and groups of all. What is beyond is counted and not heard: the loss is the sender's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf

from userlan.wire.membership import Leave, Member, Message, Record, RecordType, Report

MEMBERSHIP_INTERVAL = 260.0
"""Seconds for which a report is believed: robustness 2 × query interval 125 s + response time 10 s (RFC 3376 8.4, RFC 3810 9.4)."""

MAX_GROUPS = 1024
"""Groups of one member: as many as its stack may join (``HostConfig.max_memberships``)."""

MAX_ALL_GROUPS = 32_768
LEAST_GROUPS = 32
"""Groups of all members together, 15 MB; and what each may have even so, so that a few who take them all harm nobody else's discovery."""

MAX_SOURCES = 1024
"""Sources in all filters of one member: a tenth of what its stack could tell, and more than any program does. With all of its groups,
half a megabyte a member."""

CONTROL_IPV4 = bytes((224, 0, 0))
"""224.0.0.0/24, "local network control block" (RFC 5771 4)."""
CONTROL_IPV6 = bytes.fromhex("ff02") + bytes(12)
"""ff02::/112: the groups of link-local scope that have a well-known number under 65,536 (RFC 2375 2.2)."""
SNOOPED = frozenset((bytes((224, 0, 0, 251)), bytes((224, 0, 0, 252)), bytes.fromhex("ff02" + 24 * "0" + "00fb")))
"""Multicast DNS and LLMNR, of those. (LLMNR's ff02::1:3 is none of ff02::/112.)"""

_NO_SOURCES: frozenset[bytes] = frozenset()
_WIDENED = RecordType.CHANGE_TO_EXCLUDE_MODE
"""What becomes of an exclusion that is too long: more is heard than was wanted, and no harm done (RFC 3376 4.2.16)."""


def for_everybody(destination: bytes) -> bool:
    """Whether a packed multicast group is heard by every member, whether it reported it or not."""
    control = destination.startswith(CONTROL_IPV4 if len(destination) == 4 else CONTROL_IPV6)
    return control and destination not in SNOOPED


class _State:
    """What one member wants of one group. Times are monotonic seconds."""

    __slots__ = ("exclude_until", "excluded", "included", "included_until")

    def __init__(self) -> None:
        self.exclude_until = -inf
        self.excluded: set[bytes] | frozenset[bytes] = _NO_SOURCES
        self.included: dict[bytes, float] = {}
        self.included_until = -inf
        """When the last of these ends, or a little later: one that was blocked may have been the last."""

    @property
    def sources(self) -> int:
        return len(self.excluded) + len(self.included)

    @property
    def until(self) -> float:
        """When nothing is wanted any more, at the latest. At hand: reports have thousands of records, and each asks."""
        return max(self.exclude_until, self.included_until if self.included else -inf)

    def admits(self, source: bytes, now: float) -> bool:
        if now < self.exclude_until:
            return source not in self.excluded
        return now < self.included.get(source, -inf)

    def apply(self, kind: RecordType, sources: Sequence[bytes], until: float) -> None:
        """See the module's table. ``until``: no earlier than at any time before."""
        if sources and kind is not RecordType.BLOCK_OLD_SOURCES:
            self.included_until = until
        if kind in (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE_MODE):
            self.exclude_until, self.excluded, self.included = until, set(sources) or _NO_SOURCES, {}
        elif kind is RecordType.CHANGE_TO_INCLUDE_MODE:
            self.exclude_until, self.excluded, self.included = -inf, _NO_SOURCES, dict.fromkeys(sources, until)
        elif kind is RecordType.BLOCK_OLD_SOURCES:
            if self.exclude_until > -inf and sources:
                self._excluding().update(sources)
            for source in sources:
                self.included.pop(source, None)
        else:
            if self.excluded and sources:
                self._excluding().difference_update(sources)
            self.included.update(dict.fromkeys(sources, until))

    def _excluding(self) -> set[bytes]:
        """What is excluded, to be changed: most states share one empty set."""
        if not isinstance(self.excluded, set):
            self.excluded = set(self.excluded)
        return self.excluded


class Listeners:
    """The table. ``counters``: ``groups-excess``, ``sources-excess``."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._groups: dict[bytes, dict[bytes, _State]] = {}
        """By group, then member."""
        self._members: dict[bytes, dict[bytes, _State]] = {}
        """The same, by member, then group."""
        self._sources: Counter[bytes] = Counter()
        """Sources by member."""
        self._count = 0
        self._sweep_at = inf

    def __len__(self) -> int:
        """Groups that are held, each member's counted."""
        return self._count

    def heard(self, member: bytes, message: Message, now: float) -> None:
        """A member's report or farewell; a query says nothing of who listens."""
        if isinstance(message, Report):
            for record in message.records:
                self._record(member, record, now)
        elif isinstance(message, Member):
            self._record(member, Record(RecordType.MODE_IS_EXCLUDE, message.group), now)
        elif isinstance(message, Leave):
            self._record(member, Record(RecordType.CHANGE_TO_INCLUDE_MODE, message.group), now)

    def hearers(self, group: bytes, source: bytes, now: float) -> tuple[bytes, ...]:
        """The members that listen to a packed group, and to this source in it."""
        return tuple(member for member, state in self._groups.get(group, {}).items() if state.admits(source, now))

    def groups(self, member: bytes, now: float) -> tuple[bytes, ...]:
        """The groups that a member listens to, sorted."""
        return tuple(sorted(group for group, state in self._members.get(member, {}).items() if now < state.until))

    def forget(self, member: bytes) -> None:
        """Somebody is no member any more."""
        for group in list(self._members.get(member, ())):
            self._drop(member, group)

    # ------------------------------------------------------------------ time

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._sweep_at if self._sweep_at < inf else None

    def tick(self, now: float) -> None:
        """Forget what nobody has reported for long. It is not heard before that either; this frees the memory."""
        if now < self._sweep_at:
            return
        for member, groups in list(self._members.items()):
            for group in [group for group, state in groups.items() if state.until <= now]:
                self._drop(member, group)
        self._sweep_at = now + MEMBERSHIP_INTERVAL if self._count else inf

    # ------------------------------------------------------------------ inside

    def _record(self, member: bytes, record: Record, now: float) -> None:
        group = record.group
        if for_everybody(group):
            return
        state = self._members.get(member, {}).get(group)
        if state is None:
            state = self._admitted(member, record)
            if state is None:
                return
        before = state.sources
        state.apply(record.type, record.sources, now + MEMBERSHIP_INTERVAL)
        if self._sources[member] + state.sources - before > MAX_SOURCES:
            self.counters["sources-excess"] += 1
            state.apply(_WIDENED if state.exclude_until > -inf else RecordType.CHANGE_TO_INCLUDE_MODE, (), now + MEMBERSHIP_INTERVAL)
        self._sources[member] += state.sources - before
        until = state.until
        if until <= now:
            self._drop(member, group)
        else:
            self._sweep_at = min(self._sweep_at, until)

    def _admitted(self, member: bytes, record: Record) -> _State | None:
        """A new entry; None where the record asks for nothing, or there are too many."""
        asks = record.type in (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE_MODE) or (
            bool(record.sources) and record.type is not RecordType.BLOCK_OLD_SOURCES
        )
        if not asks:
            return None
        groups = self._members.get(member, {})
        if len(groups) >= (MAX_GROUPS if self._count < MAX_ALL_GROUPS else LEAST_GROUPS):
            self.counters["groups-excess"] += 1
            return None
        state = _State()
        self._members.setdefault(member, {})[record.group] = state
        self._groups.setdefault(record.group, {})[member] = state
        self._count += 1
        return state

    def _drop(self, member: bytes, group: bytes) -> None:
        state = self._members[member].pop(group)
        if not self._members[member]:
            del self._members[member]
        del self._groups[group][member]
        if not self._groups[group]:
            del self._groups[group]
        self._sources[member] -= state.sources
        if not self._sources[member]:
            del self._sources[member]
        self._count -= 1
