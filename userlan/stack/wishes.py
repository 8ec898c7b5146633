"""What a kernel beside the stack wants to hear of groups: its IGMP and MLD reports, read as by the router of a link with one
host (RFC 3376 6, RFC 3810 7).

::

    kernel ── report, leave ──▶ Wishes: group → Filter ──▶ Groups: one wish beside those of the sockets ──▶ Reporter
      ▲                            │
      └── general queries ─────────┘  1 s after it was attached, and every 125 s

So a kernel's memberships are the node's own: its reports never leave the computer, and routers (the switches of the other
members) hear one host.

**Nothing expires by the clock alone.** The link loses next to nothing, and computers sleep: a wish is forgotten when two
queries in a row have called forth no report of it (a leave was lost), not when time has passed. The group of each kind in
which every IPv6 address has neighbour discovery is left out: that never passes a tunnel.

**A kernel at the end of a tunnel** (``sharing.Distant``) is asked by IGMP alone, from an address that its tunnel lets pass: MLD's queries
must come from a link-local one (RFC 3810 5.1.14), which it does not. What it wants of IPv6 holds until it says otherwise.

**Limits.** As many groups and sources as sockets may have (``HostConfig.max_memberships``, ``max_group_sources``); a filter
with more sources is widened, since the kernel filters once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from userlan.stack.config import HostConfig
from userlan.stack.filters import ANYTHING, NOTHING, Filter
from userlan.wire import igmp, mld
from userlan.wire.membership import Leave, Member, Message, Query, Record, RecordType, Report
from userlan.wire.superpacket import SuperPacket

QUERY_INTERVAL = 125
"""Seconds from one general query to the next (RFC 3376 8.2)."""

FIRST_QUERY = 1.0
"""Seconds after which it is asked for the first time: a new interface is not up at once, and tells by itself what is joined
then; one that was there before must be asked."""

RESPONSE = 1_000
"""Milliseconds in which the kernel answers (RFC 3376 8.3 has 10 s, for many hosts): it is alone."""

ROBUSTNESS = 2
"""Queries without an answer that end a wish (RFC 3376 8.1)."""

QUERIER = bytes.fromhex("fe8000000000000000000000756c616e")
"""Who asks by MLD: it must be a link-local address (RFC 3810 5.1.14); nobody has it. By IGMP it is 0.0.0.0 (RFC 4541 2.1.1)."""

SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
"""The prefix of the groups of neighbour discovery (RFC 4291 2.7.1)."""


class _Wish:
    __slots__ = ("filter", "missed")

    def __init__(self, wanted: Filter) -> None:
        self.filter = wanted
        self.missed = 0
        """Queries since it was heard of."""


class Wishes:
    """The memberships of one kernel. ``fixed``: groups that are wanted for it whatever it says. ``querier``: the packed IPv4 address from
    which it is asked, and then by IGMP alone; None: nobody's, and by both."""

    def __init__(self, config: HostConfig, fixed: Iterable[bytes], counters: Counter[str], querier: bytes | None = None) -> None:
        self._querier = querier
        self._config = config
        self._counters = counters
        self._fixed = frozenset(fixed)
        self._known: dict[bytes, _Wish] = {}
        self._query_at: float | None = None

    @property
    def groups(self) -> frozenset[bytes]:
        """All that are wanted."""
        return self._fixed.union(self._known)

    def of(self, group: bytes) -> Filter:
        """Whom it wants to hear in a group."""
        if group in self._fixed:
            return ANYTHING
        wish = self._known.get(group)
        return NOTHING if wish is None else wish.filter

    def hear(self, message: Message) -> list[bytes]:
        """A message of the kernel's; the groups about which it may have changed its mind."""
        match message:
            case Report(records):
                return [record.group for record in records if self._record(record)]
            case Member(_, group):
                return [group] if self._set(group, ANYTHING) else []
            case Leave(group):
                return [group] if self._set(group, NOTHING) else []
            case Query():
                self._counters["kernel-query-ignored"] += 1
        return []

    def _record(self, record: Record) -> bool:
        """One group of a report of the newest versions (RFC 3376 6.4)."""
        before, sources = self.of(record.group), frozenset(record.sources)
        match record.type:
            case RecordType.MODE_IS_INCLUDE | RecordType.CHANGE_TO_INCLUDE_MODE:
                wanted = Filter(False, sources)
            case RecordType.MODE_IS_EXCLUDE | RecordType.CHANGE_TO_EXCLUDE_MODE:
                wanted = Filter(True, sources)
            case RecordType.ALLOW_NEW_SOURCES:
                wanted = before._replace(sources=before.sources - sources if before.exclude else before.sources | sources)
            case RecordType.BLOCK_OLD_SOURCES:
                wanted = before._replace(sources=before.sources | sources if before.exclude else before.sources - sources)
        return self._set(record.group, wanted)

    def _set(self, group: bytes, wanted: Filter) -> bool:
        if group in self._fixed or group.startswith(SOLICITED_NODE):
            return False
        if len(wanted.sources) > self._config.max_group_sources:
            wanted = ANYTHING
        if wanted == NOTHING:
            return self._known.pop(group, None) is not None
        wish = self._known.get(group)
        if wish is None:
            if len(self._known) >= self._config.max_memberships:
                self._counters["kernel-memberships-full"] += 1
                return False
            self._known[group] = _Wish(wanted)
            return True
        changed, wish.filter, wish.missed = wish.filter != wanted, wanted, 0
        return changed

    def deadline(self) -> float:
        """When ``queries`` has something to give; in the past as long as it was never asked."""
        return 0.0 if self._query_at is None else self._query_at

    def queries(self, now: float) -> tuple[list[SuperPacket], list[bytes]]:
        """The queries to the kernel that are due, and the groups of which it said nothing more when it was asked."""
        if self._query_at is None:
            self._query_at = now + FIRST_QUERY
        if now < self._query_at:
            return [], []
        asked = {group: wish for group, wish in self._known.items() if self._querier is None or len(group) == len(self._querier)}
        gone = [group for group, wish in asked.items() if wish.missed >= ROBUSTNESS]
        for group in gone:
            del self._known[group]
        for wish in asked.values():
            wish.missed += 1
        self._query_at = now + QUERY_INTERVAL
        both = [
            Query(version, group, RESPONSE, robustness=ROBUSTNESS, interval=QUERY_INTERVAL)
            for version, group in ((igmp.NEWEST_VERSION, igmp.NOBODY), (mld.NEWEST_VERSION, mld.NOBODY))
        ]
        if self._querier is not None:
            return [igmp.build(both[0], self._querier)], gone
        return [igmp.build(both[0], igmp.NOBODY), mld.build(both[1], QUERIER)], gone
