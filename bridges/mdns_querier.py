"""Asking and finding: what the others of a link offer (RFC 6762 5, 7; RFC 6763 4, 9).

::

    all types ── META ──▶ a type ── PTR ──▶ an instance ── SRV, TXT ──▶ a host ── A, AAAA ──▶ Service
        asked at 1, 2, 4 … s, then every hour                each asked for a few times while it is missing

A question goes out with what is known already (7.1), not at all when somebody else has just asked the same knowing no more (7.3), and
records in use are asked for again before they expire (5.2). Questions that are due at nearly the same time share a datagram.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import attrs

from bridges.mdns_cache import Cache, Entry
from bridges.mdns_records import LOCAL, MAX_SUBTYPES, MAX_TEXT, META, Service, instance_of, subtype_of, type_of
from bridges.mdns_wire import AAAA, PTR, SRV, TXT, A, Message, Name, Question, Record, Srv, fold

FIRST_DELAY = (0.02, 0.12)
"""Seconds before the first question (RFC 6762 5.2)."""
FIRST_INTERVAL = 1.0
"""Seconds between the first two questions (RFC 6762 5.2: at least one)."""
LONGEST_INTERVAL = 3600.0
"""Seconds between questions that are asked for good (RFC 6762 5.2: may be capped at an hour)."""
ROUNDING = 0.1
"""Part of its interval by which a question may be early to share a datagram with others."""
RESOLVE_TRIES = 4
"""Questions for a record of an instance that is missing: over 7 seconds; another announcement begins anew."""
MAX_BROWSED = 256
"""Names browsed at once: types and subtypes; each is a question every hour."""
MAX_TYPES_OF_ORIGIN = 48
"""Types that one origin may have us browse."""
MAX_RESOLVED = 1024
"""Records asked for at once."""
MAX_RESOLVED_OF_ORIGIN = 256
"""Those of them that are about what one origin says: four for each of its services. All members hear what we ask."""
MAX_SERVICES_OF_ORIGIN = 64
"""Services of one origin that are told of."""
MAX_INSTANCES_OF_ORIGIN = 2 * MAX_SERVICES_OF_ORIGIN
"""Instances of one origin that are looked at, whether all of them is known or not: each change of one takes a look at all."""

LOOK_PAUSE = 0.1
"""Seconds between two looks at what an origin offers: one that changes something without end takes milliseconds for each."""


@attrs.frozen
class Seen:
    """Something about a service of an origin has changed: found (no ``before``), changed, or gone (no ``after``)."""

    origin: Hashable
    before: Service | None
    after: Service | None


@attrs.define(eq=False)
class _Asked:
    question: Question
    next_at: float
    interval: float = FIRST_INTERVAL
    left: int = -1
    """How often still; negative for ever."""
    origin: Hashable = None
    """Whose records made us ask, where it is not for ever."""


class Querier:
    """Sans-IO. ``unicast``: whether the first time an answer to us alone is asked for (RFC 6762 5.4), which takes a port of our own."""

    def __init__(self, cache: Cache, chance: Callable[[], float], unicast: bool) -> None:
        self.cache = cache
        self._chance = chance
        self._unicast = unicast
        self._asked: dict[tuple[Name, int], _Asked] = {}
        self._resolving: Counter[Hashable] = Counter()
        """How many of these each origin made us ask."""
        self._types: dict[Hashable, set[Name]] = {}
        self._known: dict[Hashable, dict[Name, Service]] = {}
        self._looked: dict[Hashable, float] = {}
        """Of whom was told within the last ``LOOK_PAUSE``, and when."""

    def browse(self, name: Name, now: float) -> None:
        """Ask for a name's pointers from now on."""
        key = fold(name), PTR
        if key not in self._asked and sum(one.left < 0 for one in self._asked.values()) < MAX_BROWSED:
            self._asked[key] = _Asked(Question(name, PTR, self._unicast), now + self._delay())

    def greeting(self) -> Message:
        """For somebody who has come and was not asked yet: all that is browsed."""
        return Message(False, [asked.question._replace(unicast=True) for asked in self._asked.values() if asked.left < 0])

    def again(self, now: float) -> None:
        """Ask all that is browsed from the beginning."""
        for asked in self._asked.values():
            if asked.left < 0:
                asked.interval, asked.next_at = FIRST_INTERVAL, min(asked.next_at, now + self._delay())

    def forget(self, origin: Hashable) -> None:
        """An origin is gone for good."""
        self.cache.forget(origin)
        types = self._types.pop(origin, set())
        for name in types.difference(*self._types.values()):
            self._asked.pop((name, PTR), None)

    def heard(self, message: Message, now: float) -> None:
        """Somebody else's question: ours need not be asked as well (7.3)."""
        if message.truncated or message.authorities:
            return
        for question in message.questions:
            asked = self._asked.get((fold(question.name), question.type))
            if asked is None or question.unicast:
                continue
            known = {entry.record.identity for entry in self.cache.find(question.name, question.type)}
            if all(record.identity in known for record in message.answers if record.key == (fold(question.name), question.type)):
                asked.next_at = max(asked.next_at, now + asked.interval)

    def answered(self, origin: Hashable, records: Sequence[Record], now: float) -> None:
        """What an origin says."""
        for record in records:
            if wanted(record):
                self.cache.add(origin, record, now)

    def tick(self, now: float) -> None:
        """Expire, and plan what is to be refreshed."""
        for entry in self.cache.due(now):
            name, kind = entry.record.name, entry.record.type
            if self._in_use(entry):
                self._resolve(entry.origin, name, kind, now, 1)
                asked = self._asked.get((fold(name), kind))
                if asked is not None:
                    asked.next_at = min(asked.next_at, now + self._delay())

    def deadline(self) -> float | None:
        """When :meth:`tick`, :meth:`messages` or :meth:`changes` has something to do."""
        times = [asked.next_at for asked in self._asked.values()]
        cached = self.cache.deadline()
        return min(times + ([] if cached is None else [cached]), default=None)

    def messages(self, now: float) -> list[Message]:
        """The questions that are due, with what is known already."""
        if not any(asked.next_at <= now for asked in self._asked.values()):
            return []
        due = [asked for asked in self._asked.values() if asked.next_at - ROUNDING * asked.interval <= now]
        questions, known = [], []
        for asked in due:
            questions.append(asked.question)
            if asked.question.type == PTR:
                known += [self._aged(entry, now) for entry in self.cache.find(asked.question.name, PTR) if self._fresh(entry, now)]
            self._was_asked(asked, now)
        groups: list[Message] = []
        for unicast in (True, False):
            some = [question for question in questions if question.unicast is unicast]
            if some:
                names = {(fold(question.name), question.type) for question in some}
                once = {record.identity: record for record in known if record.key in names}
                groups.append(Message(False, some, list(once.values())))
        return groups

    def changes(self, now: float) -> list[Seen]:
        """What has been found, changed and lost since the last time; what is missing is asked for."""
        self._looked = {origin: when for origin, when in self._looked.items() if now < when + LOOK_PAUSE}
        changed, seen = self.cache.changed - self._looked.keys(), []
        self.cache.changed -= changed
        for origin in changed:
            self._looked[origin] = now
            self._browse_types(origin, now)
            services = self._services(origin, now)
            before = self._known.get(origin, {})
            for name in {**before, **services}:
                old, new = before.get(name), services.get(name)
                if old != new:
                    seen.append(Seen(origin, old, new))
            if services:
                self._known[origin] = services
            else:
                self._known.pop(origin, None)
        return seen

    def changes_at(self) -> float | None:
        """When :meth:`changes` has something to tell; in the past for at once."""
        return min((self._looked.get(origin, float("-inf")) + LOOK_PAUSE for origin in self.cache.changed), default=None)

    def services(self) -> list[tuple[Hashable, Service]]:
        """All that are known."""
        return [(origin, service) for origin, services in self._known.items() for service in services.values()]

    # -- what is asked

    def _delay(self) -> float:
        low, high = FIRST_DELAY
        return low + (high - low) * self._chance()

    def _was_asked(self, asked: _Asked, now: float) -> None:
        asked.question = asked.question._replace(unicast=False)
        asked.next_at = now + asked.interval
        asked.interval = min(asked.interval * 2, LONGEST_INTERVAL)
        if asked.left > 0:
            asked.left -= 1
            if asked.left == 0:
                del self._asked[fold(asked.question.name), asked.question.type]
                self._resolving[asked.origin] -= 1
                if not self._resolving[asked.origin]:
                    del self._resolving[asked.origin]

    def _resolve(self, origin: Hashable, name: Name, kind: int, now: float, tries: int = RESOLVE_TRIES) -> None:
        key = fold(name), kind
        if key in self._asked or len(self._asked) >= MAX_RESOLVED or self._resolving[origin] >= MAX_RESOLVED_OF_ORIGIN:
            return
        self._resolving[origin] += 1
        self._asked[key] = _Asked(Question(name, kind, self._unicast and tries > 1), now + self._delay(), left=tries, origin=origin)

    def _browse_types(self, origin: Hashable, now: float) -> None:
        of_origin = self._types.setdefault(origin, set())
        for record in self.cache.of(origin):
            name = record.data if record.key == (META, PTR) else record.name if record.type == PTR else None
            if not isinstance(name, tuple) or type_of(name) is None or fold(name) in of_origin:
                continue
            if len(of_origin) < MAX_TYPES_OF_ORIGIN:
                of_origin.add(fold(name))
                self.browse(name, now)
            else:
                self.cache.counters["types-full"] += 1
        if not of_origin:
            del self._types[origin]

    def _in_use(self, entry: Entry) -> bool:
        """Whether a record still leads to a service: others may expire."""
        record, origin = entry.record, entry.origin
        if record.type == PTR:
            return (fold(record.name), PTR) in self._asked or subtype_of(record.name) is not None
        if record.type in (SRV, TXT):
            return fold(record.name) in self._known.get(origin, {})
        return any(fold(service.host) == fold(record.name) for service in self._known.get(origin, {}).values())

    @staticmethod
    def _fresh(entry: Entry, now: float) -> bool:
        """More than half of its lifetime is left (7.1)."""
        return entry.expires - now > (entry.expires - entry.received) / 2

    @staticmethod
    def _aged(entry: Entry, now: float) -> Record:
        return entry.record._replace(ttl=max(1, int(entry.expires - now)), flush=False)

    # -- what is found

    def _services(self, origin: Hashable, now: float) -> dict[Name, Service]:
        services: dict[Name, Service] = {}
        subtypes: dict[Name, set[bytes]] = {}
        instances: dict[Name, Name] = {}
        for record in self.cache.of(origin):
            if record.type != PTR or not isinstance(record.data, tuple) or instance_of(record.data) is None:
                continue
            under = subtype_of(record.name)
            if under is not None:
                subtypes.setdefault(fold(record.data), set()).add(under[0])
            instances.setdefault(fold(record.data), record.data)
        for place, (key, name) in enumerate(instances.items()):
            if len(services) >= MAX_SERVICES_OF_ORIGIN or place >= MAX_INSTANCES_OF_ORIGIN:
                self.cache.counters["services-full"] += 1
                break
            service = self._service(origin, name, tuple(sorted(subtypes.get(key, ()))[:MAX_SUBTYPES]), now)
            if service is not None:
                services[key] = service
        return services

    def _service(self, origin: Hashable, name: Name, subtypes: tuple[bytes, ...], now: float) -> Service | None:
        """The service of this name when all of it is known; what is missing is asked for."""
        parts = instance_of(name)
        located, texts = self.cache.find_of(origin, name, SRV), self.cache.find_of(origin, name, TXT)
        for kind, found in ((SRV, located), (TXT, texts)):
            if not found:
                self._resolve(origin, name, kind, now)
        if parts is None or not located or not texts:
            return None
        where, text = located[-1].data, texts[-1].data
        assert isinstance(where, Srv)
        assert isinstance(text, bytes)
        hosts = [self.cache.find_of(origin, where.target, kind) for kind in (A, AAAA)]
        packed = [record.data for found in hosts for record in found]
        if not packed:
            self._resolve(origin, where.target, A, now)
            self._resolve(origin, where.target, AAAA, now)
            return None
        addresses = tuple(sorted(address_text(one) for one in packed if isinstance(one, bytes)))
        return Service(parts[0], parts[1], where.target, where.port, text, addresses, subtypes)


def address_text(packed: bytes) -> str:
    """A packed address as text."""
    return str(ipaddress.ip_address(packed))


def wanted(record: Record) -> bool:
    """Whether a record can have to do with a service."""
    if record.type == PTR:
        shape = fold(record.name) == META or type_of(record.name) is not None or subtype_of(record.name) is not None
        return shape and isinstance(record.data, tuple) and (type_of(record.data) or instance_of(record.data)) is not None
    if record.type == TXT:
        return instance_of(record.name) is not None and isinstance(record.data, bytes) and len(record.data) <= MAX_TEXT
    if record.type == SRV:
        return instance_of(record.name) is not None and isinstance(record.data, Srv) and record.data.port > 0
    return record.type in (A, AAAA) and fold(record.name[-1:]) == LOCAL
