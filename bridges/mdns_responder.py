"""Offering services: probing, announcing, answering, goodbye (RFC 6762 6, 8, 10).

::

    offer ─▶ probing ── three times, 250 ms apart ──▶ announcing ── twice, 1 s apart ──▶ offered ─▶ withdraw: goodbye
                │ somebody else has the name                                               │ somebody else says to have it
                ▼                                                                          ▼
             Conflict: the caller offers it under another name                          probing, once more (9)

Two services that are offered here under one name are a conflict as well, of which no probe would tell: what two members call the same is
shown side by side, and whoever is the second to say it takes nothing from the first.

Only the instance's name is probed for: that of the host is known to be nobody else's (a member's nickname, which the mediator keeps
unique), and all other records are shared.

A service may be meant for some alone, its *audience*: it is then never said to the group, but to each of them by unicast, unasked when
it is announced and to the asker when one of them asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable

import attrs

from bridges.mdns_records import META, Service, addresses, pointers, type_pointer, unique
from bridges.mdns_wire import ANY, NSEC, PTR, SRV, TXT, Message, Name, Question, Record, Srv, fold, name_data

PORT = 5353
Host = tuple[str, int]
Audience = tuple[tuple[str, ...], ...]
"""Of each who may know: its addresses."""

PROBES = 3
PROBE_INTERVAL = 0.25
"""RFC 6762 8.1; the first after as much by chance."""
LOST_TIE = 1.0
"""Seconds until one who has lost a tie probes again (RFC 6762 8.2)."""
ANNOUNCEMENTS = 2
ANNOUNCE_INTERVAL = 1.0
"""RFC 6762 8.3."""
CONFLICTS_AT_ONCE = 15
CONFLICT_PAUSE = 5.0
"""So many conflicts in ten seconds, and each further probe has to wait (RFC 6762 8.1)."""
CONFLICT_SPAN = 10.0
CAREFUL = 60.0
"""Seconds without a conflict until that is over."""
SHARED_DELAY = (0.02, 0.12)
"""Seconds before records are sent that others may send as well (RFC 6762 6)."""
TRUNCATED_DELAY = (0.4, 0.5)
"""Seconds while more known answers may come (RFC 6762 7.2)."""
SPACING, PROBE_SPACING = 1.0, 0.25
"""Seconds between two times that a record is sent to the group; in defence against a probe (RFC 6762 6)."""
MAX_PENDING = 128
"""Answers that wait for their moment: each is a question of somebody within the last half second."""
MAX_QUESTIONS = 64
"""Questions of one message that are answered: more than a browser has at once."""
MAX_LEGACY_TTL = 10
"""Seconds that a plain resolver may keep an answer (RFC 6762 6.7)."""


@attrs.frozen
class Conflict:
    """Somebody else has the name of what was offered as ``key``; it is not offered any more."""

    key: Hashable


@attrs.define(eq=False)
class Owned:
    """One service and how far it is."""

    key: Hashable
    service: Service
    audience: Audience | None
    next_at: float
    probes: int = 0
    """How many were sent."""
    established: bool = False
    """Its name is its own for sure: as long after the last probe as between two of them (RFC 6762 8.1), with the first announcement and
    not before, so that whatever was answered was announced and is taken back by a goodbye."""
    announcements: int = 0
    records: list[Record] = attrs.field(init=False)
    told: dict[object, Record] = attrs.field(init=False, factory=dict)
    """The pointers that were announced last, and those that were answered since (no more than ``LOOK_PAUSE`` has changes in a second, at
    which the next announcement is): those of them that there are no more are taken back with the next announcement."""

    def __attrs_post_init__(self) -> None:
        self.becomes(self.service)

    def becomes(self, service: Service) -> None:
        """The service, and what is said of it (the type's pointer last)."""
        if self.established:
            self.told |= _by_identity(pointers(self.service))
        self.service = service
        self.records = [*pointers(service), *unique(service), *addresses(service), type_pointer(service)]

    def taken_back(self) -> list[Record]:
        """What a goodbye names: all that was announced or answered."""
        return list((self.told | _by_identity([*pointers(self.service), *unique(self.service)])).values())

    def knows(self, host: str) -> bool:
        """Whether somebody may know of it."""
        return self.audience is None or any(host in member for member in self.audience)


@attrs.define(eq=False)
class _Pending:
    """An answer that waits. ``to``: None for the group."""

    asker: Host
    to: Host | None
    due: float
    answers: dict[object, Record]
    additionals: dict[object, Record]
    legacy: Message | None = None
    """The question of a plain resolver, to be repeated to it (RFC 6762 6.7)."""


class Responder:
    """Sans-IO. ``chance`` gives numbers from 0 to 1; ``unicast``: whether single hosts may be answered. ``yields``: who probes for one of
    our names gets it, since it is at home on this link, and what we offer is not."""

    def __init__(self, chance: Callable[[], float], unicast: bool, yields: bool = False) -> None:
        self.counters: Counter[str] = Counter()
        self.asked_for: dict[Name, None] = {}
        """Names of pointers that somebody has asked for and that nobody here has; for the reader to clear."""
        self._chance = chance
        self._unicast = unicast
        self._yields = yields
        self._owned: dict[Hashable, Owned] = {}
        self._index: dict[Name, list[tuple[Owned, Record]]] | None = None
        self._pending: list[_Pending] = []
        self._sent: dict[object, float] = {}
        self._goodbyes: list[tuple[Audience | None, list[Record]]] = []
        self._conflicts: dict[Hashable, Name] = {}
        """What nobody was told of yet, and the name that it is about."""
        self._conflict_times: list[float] = []
        self._careful_until = float("-inf")

    def offer(self, key: Hashable, service: Service, audience: Audience | None, now: float) -> None:
        """Offer a service, or say that one has changed. Another's name is a ``Conflict`` at once."""
        old = self._owned.get(key)
        if (old is not None and (old.service, old.audience) == (service, audience)) or self._conflicts.get(key) == fold(service.name):
            return
        if old is not None and old.service.name == service.name and (old.audience is None) == (audience is None):
            self._change(old, service, audience, now)
            return
        self.withdraw(key)
        if any(fold(other.service.name) == fold(service.name) for other in self._owned.values()):
            self._conflicts[key] = fold(service.name)       # no probe tells: what is sent here comes from one host
            return
        begin = now + (CONFLICT_PAUSE if now < self._careful_until else 0.0)
        owned = Owned(key, service, audience, begin + PROBE_INTERVAL * self._chance())
        if audience is not None:
            owned.probes, owned.next_at = PROBES, begin     # a probe would tell everybody
        self._owned[key] = owned
        self._index = None

    def withdraw(self, key: Hashable) -> None:
        """Offer it no more: those who may know of it are told, and an answer that waits does not bring it back behind that."""
        self._conflicts.pop(key, None)
        owned = self._owned.pop(key, None)
        if owned is not None:
            self._take_back(owned, owned.taken_back())

    def owned(self) -> list[Owned]:
        """What is offered, in whatever state."""
        return list(self._owned.values())

    def again(self, now: float) -> None:
        """Announce everything anew."""
        for owned in self._owned.values():
            if owned.established:
                owned.announcements, owned.next_at = 0, now

    def greet(self, host: str) -> None:
        """Somebody has come who has heard none of the announcements: tell all that it may know."""
        records = [record for owned in self._owned.values() if owned.established and owned.knows(host) for record in owned.records]
        if records:
            self._pending.append(_Pending((host, PORT), (host, PORT), float("-inf"), _by_identity(records), {}))

    # -- what comes

    def asked(self, message: Message, asker: Host, now: float) -> None:
        """A query of somebody."""
        self._tie(message, asker, now)
        if self._yields:
            self._yield_to(message)
        known = {record.identity: record.ttl for record in message.answers}
        if not message.questions:       # more of what the asker knows (7.2)
            for pending in self._pending:
                if pending.asker == asker:
                    pending.answers = {identity: one for identity, one in pending.answers.items() if not _covers(known, one)}
            return
        if len(self._pending) >= MAX_PENDING:
            self.counters["pending-full"] += 1
            return
        legacy = asker[1] != PORT
        group: dict[object, Record] = {}
        single: dict[object, Record] = {}
        for question in list(dict.fromkeys(message.questions))[:MAX_QUESTIONS]:
            for owned, record in self._matching(question, asker[0]):
                if _covers(known, record):
                    continue
                direct = legacy or owned.audience is not None or (question.unicast and self._unicast and self._recent(record, now))
                (single if direct else group)[record.identity] = record
        probe = bool(message.authorities)
        if single and (self._unicast or legacy):
            self._answer_directly(single, message, asker, legacy, now)
        if group:
            alone = all(record.flush for record in group.values())
            low, high = TRUNCATED_DELAY if message.truncated else (0.0, 0.0) if alone or probe else SHARED_DELAY
            due = now + low + (high - low) * self._chance()
            spacing = PROBE_SPACING if probe else SPACING
            group = {identity: one for identity, one in group.items() if now - self._sent.get(identity, -SPACING) >= spacing}
            if group:
                self._pending.append(_Pending(asker, None, due, group, self._additionals(group, None)))

    def heard(self, message: Message, deaf: bool, now: float) -> None:
        """A response of somebody: it may have our name, or say what we were about to (7.4). ``deaf``: who says it does not hear us, so
        that no probe finds out whether it is still there."""
        said = [*message.answers, *message.additionals]
        disputed: dict[Hashable, Owned] = {}
        for record in said:
            if record.type in (SRV, TXT) and record.ttl:
                same = self._named(record.name)
                for owned in {owned.key: owned for owned, own in same if own.type == record.type}.values():
                    if all(own.identity != record.identity for _, own in same):
                        disputed[owned.key] = owned
        for owned in disputed.values():
            self._conflicts_with(owned, deaf, now)
        ttls = {record.identity: record.ttl for record in said}
        for pending in self._pending:
            if pending.to is None:
                pending.answers = {
                    identity: one for identity, one in pending.answers.items() if one.flush or ttls.get(identity, 0) < one.ttl / 2
                }

    # -- what goes

    def deadline(self) -> float | None:
        """When :meth:`messages` has something, or would have."""
        if self._goodbyes or self._conflicts:
            return float("-inf")
        times = [pending.due for pending in self._pending]
        times += [owned.next_at for owned in self._owned.values() if owned.announcements < ANNOUNCEMENTS]
        return min(times, default=None)

    def conflicts(self) -> list[Conflict]:
        """What must have another name."""
        conflicts, self._conflicts = self._conflicts, {}
        return [Conflict(key) for key in conflicts]

    def messages(self, now: float) -> list[tuple[Message, Host | None]]:
        """What is to be sent now, and to whom (None: the group)."""
        out: list[tuple[Message, Host | None]] = []
        goodbyes, self._goodbyes = self._goodbyes, []
        for audience, records in goodbyes:
            out += self._tell([record._replace(ttl=0) for record in records], audience)
        probing, announcing = [], []
        for owned in self._owned.values():
            if owned.announcements >= ANNOUNCEMENTS or owned.next_at > now:
                continue
            if owned.probes >= PROBES:
                owned.established = True
                owned.announcements += 1
                owned.next_at = now + ANNOUNCE_INTERVAL
                announcing.append(owned)
            else:
                probing.append(owned)
                owned.probes += 1
                owned.next_at = now + PROBE_INTERVAL
        if probing:
            questions = [Question(owned.service.name, ANY, self._unicast and owned.probes == 1) for owned in probing]
            wishes = [record._replace(flush=False) for owned in probing for record in unique(owned.service)]
            out.append((Message(False, questions, authorities=wishes), None))
        for owned in announcing:
            there = {record.identity for record in owned.records}
            gone = [record._replace(ttl=0) for identity, record in owned.told.items() if identity not in there]
            owned.told = _by_identity(pointers(owned.service))
            out += self._tell([*owned.records, *gone], owned.audience)
        out += self._answers(now)
        for message, to in out:
            if message.response and to is None:
                self._sent.update((record.identity, now) for record in message.answers)
        if len(self._sent) > 4 * (16 + sum(len(owned.records) for owned in self._owned.values())):
            self._sent = {identity: when for identity, when in self._sent.items() if now - when < max(SPACING, 1200.0)}
        return out

    def _answers(self, now: float) -> list[tuple[Message, Host | None]]:
        due = [pending for pending in self._pending if pending.due <= now]
        self._pending = [pending for pending in self._pending if pending.due > now]
        answers: dict[object, Record] = {}
        additionals: dict[object, Record] = {}
        out: list[tuple[Message, Host | None]] = []
        for pending in due:
            if pending.to is not None:
                questions = pending.legacy.questions if pending.legacy is not None else ()
                identifier = pending.legacy.identifier if pending.legacy is not None else 0
                more = list(pending.additionals.values())
                out.append((Message(True, questions, list(pending.answers.values()), (), more, False, identifier), pending.to))
            elif pending.answers:
                answers |= pending.answers
                additionals |= pending.additionals
        if answers:
            rest = [record for identity, record in additionals.items() if identity not in answers]
            out.append((Message(True, (), list(answers.values()), (), rest), None))
        return out

    def _tell(self, records: list[Record], audience: Audience | None) -> list[tuple[Message, Host | None]]:
        message = Message(True, (), records)
        if audience is None:
            return [(message, None)]
        return [(message, (member[0], PORT)) for member in audience if member]

    # -- parts

    def _change(self, owned: Owned, service: Service, audience: Audience | None, now: float) -> None:
        """Something else is to be said under a name, or to others. Who may know it still is not told that it is gone: it would close
        whatever leads there."""
        before = {record.identity for record in owned.records}
        if owned.audience is not None and audience is not None:
            still = {host for member in audience for host in member}
            left = tuple(member for member in owned.audience if still.isdisjoint(member))
            if left and owned.told:
                self._goodbyes.append((left, owned.taken_back()))
                self._strip(before, {host for member in left for host in member})
        owned.audience = audience
        owned.becomes(service)
        self._index = None
        self._strip(before - {record.identity for record in owned.records})
        owned.announcements = 0
        owned.next_at = max(now, owned.next_at) if owned.established else owned.next_at     # a second after the last announcement

    def _take_back(self, owned: Owned, records: list[Record]) -> None:
        """What is not offered any more."""
        self._index = None
        self._strip({record.identity for record in owned.taken_back()})
        if owned.told:
            self._goodbyes.append((owned.audience, records))

    def _strip(self, gone: set[object], hosts: set[str] | None = None) -> None:
        """Take records out of the answers that wait; ``hosts``: of those to these alone."""
        for pending in self._pending:
            if hosts is None or (pending.to is not None and pending.to[0] in hosts):
                pending.answers = {identity: one for identity, one in pending.answers.items() if identity not in gone}
                pending.additionals = {identity: one for identity, one in pending.additionals.items() if identity not in gone}
        self._pending = [pending for pending in self._pending if pending.answers]

    def _named(self, name: Name) -> list[tuple[Owned, Record]]:
        """All our records of a name, whatever their state."""
        if self._index is None:
            self._index = {}
            for owned in self._owned.values():
                for record in owned.records:
                    self._index.setdefault(fold(record.name), []).append((owned, record))
        return self._index.get(fold(name), [])

    def _matching(self, question: Question, host: str) -> Iterable[tuple[Owned, Record]]:
        """What we have for a question, as far as its asker may know."""
        name = fold(question.name)
        found = False
        for owned, record in self._named(question.name):
            if not owned.established or not owned.knows(host):
                continue
            if question.type in (record.type, ANY):
                found = True
                yield owned, record
            elif record.type == NSEC:
                found = True
                if not _has(record, question.type):
                    yield owned, record
        if not found and question.type == PTR and name != META:
            self.asked_for[question.name] = None

    def _additionals(self, answers: dict[object, Record], host: str | None) -> dict[object, Record]:
        """What an asker will want next (RFC 6763 12); ``host``: of whom it is known, None for the group."""
        found: dict[object, Record] = {}
        names = {fold(record.data) for record in answers.values() if isinstance(record.data, tuple)}
        names |= {fold(record.name) for record in answers.values() if isinstance(record.data, Srv)}
        for owned in self._owned.values():
            hidden = owned.audience is not None if host is None else not owned.knows(host)
            if hidden or fold(owned.service.name) not in names:
                continue
            for record in (*unique(owned.service), *addresses(owned.service), *pointers(owned.service)[1:]):
                if record.identity not in answers:
                    found[record.identity] = record
        return found

    def _answer_directly(self, answers: dict[object, Record], message: Message, asker: Host, legacy: bool, now: float) -> None:
        more = self._additionals(answers, asker[0])
        if legacy:
            plain = [record._replace(ttl=min(record.ttl, MAX_LEGACY_TTL), flush=False) for record in answers.values()]
            rest = [record._replace(ttl=min(record.ttl, MAX_LEGACY_TTL), flush=False) for record in more.values()]
            answers, more = _by_identity(plain), _by_identity(rest)
        self._pending.append(_Pending(asker, asker, now, answers, more, message if legacy else None))

    def _recent(self, record: Record, now: float) -> bool:
        """The group has heard it within a quarter of its TTL (5.4)."""
        return now - self._sent.get(record.identity, float("-inf")) < record.ttl / 4

    def _tie(self, message: Message, asker: Host, now: float) -> None:
        """Somebody probes for a name that we are probing for: the later data wins (8.2)."""
        for owned in self.owned():
            if owned.established or owned.audience is not None or not message.authorities:
                continue        # what is meant for some alone was not probed for, and is not from now on
            name = fold(owned.service.name)
            theirs = sorted(_rank(record) for record in message.authorities if fold(record.name) == name)
            ours = sorted(_rank(record) for record in unique(owned.service))
            if theirs and theirs > ours:
                owned.probes, owned.next_at = 0, now + LOST_TIE
                self.counters["ties-lost"] += 1

    def _yield_to(self, probe: Message) -> None:
        """Give up what somebody else probes for."""
        wanted: dict[Name, list[object]] = {}
        for record in probe.authorities:
            if record.type in (SRV, TXT):
                wanted.setdefault(fold(record.name), []).append(record.identity)
        for owned in self.owned():
            theirs = wanted.get(fold(owned.service.name), [])
            if owned.established and not {record.identity for record in unique(owned.service)}.issuperset(theirs):
                self.withdraw(owned.key)
                self._conflicts[owned.key] = fold(owned.service.name)

    def _conflicts_with(self, owned: Owned, deaf: bool, now: float) -> None:
        if not owned.probes and not deaf:
            return          # the probe will tell
        self.counters["conflicts"] += 1
        if owned.established and owned.audience is None and not deaf:
            owned.probes, owned.announcements, owned.established = 0, 0, False      # section 9: ask whether it is still there
            owned.next_at = now + PROBE_INTERVAL * self._chance()
            return
        del self._owned[owned.key]
        self._take_back(owned, [record for record in unique(owned.service) if record.type == SRV])     # all else may be the winner's, too
        self._conflict_times = [*(when for when in self._conflict_times if now - when < CONFLICT_SPAN), now][-CONFLICTS_AT_ONCE:]
        if len(self._conflict_times) >= CONFLICTS_AT_ONCE or now < self._careful_until:
            self._careful_until = now + CAREFUL
        self._conflicts[owned.key] = fold(owned.service.name)


def _by_identity(records: list[Record]) -> dict[object, Record]:
    """Each once."""
    return {record.identity: record for record in records}


def _covers(known: dict[object, int], record: Record) -> bool:
    """The asker knows it, for at least half of its life (7.1)."""
    return known.get(record.identity, -1) >= record.ttl / 2


def _has(record: Record, kind: int) -> bool:
    """Whether an NSEC record's bitmap has a type."""
    assert isinstance(record.data, bytes)
    bitmap = record.data[len(name_data(record.name)) + 2 :]
    return kind == ANY or (kind // 8 < len(bitmap) and bool(bitmap[kind // 8] & 0x80 >> kind % 8))


def _rank(record: Record) -> tuple[int, bytes]:
    """What is compared of two who want the same name: type, then the data as it is on the wire."""
    data = record.data
    if isinstance(data, Srv):
        packed = data.priority.to_bytes(2, "big") + data.weight.to_bytes(2, "big") + data.port.to_bytes(2, "big") + name_data(data.target)
        return record.type, packed
    return record.type, data if isinstance(data, bytes) else name_data(data)
