"""Source filters: whom a socket, and the host, want to hear in a group (RFC 3376 3 and 5, RFC 3810 4 and 6).

``INCLUDE {}``, nobody, is the same as no membership. Everything here is a value and a pure function.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from userlan.wire.membership import Record, RecordType

_NO_SOURCES: frozenset[bytes] = frozenset()


class Filter(NamedTuple):
    """INCLUDE: the ``sources`` alone; EXCLUDE: all but those. Addresses packed."""

    exclude: bool
    sources: frozenset[bytes]

    def admits(self, source: bytes) -> bool:
        """Whether what this source sends is wanted."""
        return (source in self.sources) is not self.exclude


NOTHING = Filter(False, _NO_SOURCES)
ANYTHING = Filter(True, _NO_SOURCES)


def merged(filters: Iterable[Filter]) -> Filter:
    """What the host wants, whose sockets want these (RFC 3376 3.2, RFC 3810 4.2).

    One EXCLUDE is enough: then exactly what no socket wants is kept out.
    """
    included: frozenset[bytes] = _NO_SOURCES
    excluded: frozenset[bytes] | None = None
    for each in filters:
        if not each.exclude:
            included |= each.sources
        else:
            excluded = each.sources if excluded is None else excluded & each.sources
    return Filter(False, included) if excluded is None else Filter(True, excluded - included)


def current_state(group: bytes, state: Filter) -> Record:
    """The answer to a query for the whole group (RFC 3376 5.2)."""
    kind = RecordType.MODE_IS_EXCLUDE if state.exclude else RecordType.MODE_IS_INCLUDE
    return Record(kind, group, tuple(sorted(state.sources)))


def current_sources(group: bytes, state: Filter, asked: Iterable[bytes]) -> Record | None:
    """The answer to a query for some sources: those of them that are wanted; None when none is (RFC 3376 5.2)."""
    wanted = tuple(sorted(source for source in asked if state.admits(source)))
    return Record(RecordType.MODE_IS_INCLUDE, group, wanted) if wanted else None


class Change:
    """How the state of one group has changed, as far as it is still to be told (RFC 3376 5.1, RFC 3810 6.1).

    Every source that changed, and the filter mode if that did, is told ``robustness`` times; a later change joins in.
    """

    __slots__ = ("_mode", "_sources")

    def __init__(self) -> None:
        self._mode = 0
        self._sources: dict[bytes, int] = {}

    @property
    def pending(self) -> bool:
        """Whether anything is still to be told."""
        return bool(self._mode or self._sources)

    def note(self, before: Filter, after: Filter, robustness: int) -> None:
        """The state has changed. A new mode is told with all its sources, so that older news of sources is moot."""
        if before.exclude is not after.exclude:
            self._mode = robustness
            self._sources.clear()
            return
        for source in before.sources ^ after.sources:
            self._sources[source] = robustness

    def told(self, group: bytes, state: Filter) -> list[Record]:
        """The records of the next state change report, which counts as sent."""
        if self._mode:
            self._mode -= 1
            kind = RecordType.CHANGE_TO_EXCLUDE_MODE if state.exclude else RecordType.CHANGE_TO_INCLUDE_MODE
            records = [Record(kind, group, tuple(sorted(state.sources)))]
        else:
            allowed = tuple(sorted(source for source in self._sources if state.admits(source)))
            blocked = tuple(sorted(source for source in self._sources if not state.admits(source)))
            both = ((RecordType.ALLOW_NEW_SOURCES, allowed), (RecordType.BLOCK_OLD_SOURCES, blocked))
            records = [Record(kind, group, sources) for kind, sources in both if sources]
        self._sources = {source: left - 1 for source, left in self._sources.items() if left > 1}
        return records


def reports_of(records: Iterable[Record], room: int) -> list[tuple[Record, ...]]:
    """Records as reports whose records take ``room`` octets at most (RFC 3376 4.2.16, RFC 3810 5.2.15).

    One that is too long is split; of one that excludes, what does not fit is left out: the rest is heard in vain only.
    """
    reports: list[tuple[Record, ...]] = []
    current: list[Record] = []
    used = 0
    for record in records:
        for piece in _pieces(record, room):
            if used + piece.length > room and current:
                reports.append(tuple(current))
                current, used = [], 0
            current.append(piece)
            used += piece.length
    return [*reports, tuple(current)] if current else reports


def _pieces(record: Record, room: int) -> list[Record]:
    most = (room - record._replace(sources=()).length) // len(record.group)
    if len(record.sources) <= most:
        return [record]
    if record.type in (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE_MODE):
        return [record._replace(sources=record.sources[:most])]
    starts = range(0, len(record.sources), most)
    return [record._replace(sources=record.sources[start : start + most]) for start in starts]
