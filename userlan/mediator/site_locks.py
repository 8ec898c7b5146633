"""Locks of public addresses: behind one incremental NAT only one prediction is made and tried at a time.

Whoever predicts the next port of an incremental NAT is wrong as soon as a neighbour opens a mapping meanwhile, and two
negotiations behind the same NAT are certain to do that to each other. So a negotiation takes the lock of each public
address whose ports it predicts, from the measurement until its end.

A negotiation that needs two takes both at once or none, when its ticket is the first in the queues of both. All tickets
have one order, so the first of all is first wherever it waits: nothing waits in a circle. Whoever holds a lock for
longer than it said loses it.

The order is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) between members: a ticket starts where the
one before of the same member ends, or at the ticket that was served last, whichever is later. A member with many peers
thereby takes turns with its neighbours instead of keeping them waiting, and nobody starves, since each ticket served
moves the start of all new ones on.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Hashable
from typing import NamedTuple

#: Seconds that one negotiation may hold locks at most, whatever its plan says.
MAX_HOLD = 8.0
#: Tickets that wait for one address: half an hour of failures, or a few minutes of successes.
MAX_QUEUE = 512
#: Tickets of one member that wait for one address; those beyond it can as well wait elsewhere.
MAX_QUEUE_MEMBER = 32
#: Tickets that wait in all, about 500 octets each.
MAX_TICKETS = 20_000
#: Members whose last ticket's end is remembered before those that matter no more are forgotten.
MAX_ENDS = 40_000

Site = bytes
_Order = tuple[int, int]  # its start, and its number


class _Ticket(NamedTuple):
    order: _Order
    sites: tuple[Site, ...]
    members: tuple[bytes, ...]  # one a site


class SiteLocks:
    """Who holds and who waits for which address. Owners are any hashable names. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._holders: dict[Site, Hashable] = {}
        self._held: dict[Hashable, tuple[tuple[Site, ...], float]] = {}
        self._expiry: list[tuple[float, int, Hashable]] = []
        self._queues: dict[Site, list[tuple[_Order, Hashable]]] = {}  # heaps; who left is still in them
        self._tickets: dict[Hashable, _Ticket] = {}
        self._queued: Counter[tuple[Site, bytes]] = Counter()
        self._changed: dict[Site, None] = {}  # whose first ticket may have its turn
        self._ends: dict[bytes, int] = {}
        self._served = 0  # start of the ticket that was served last
        self._count = 0
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._tickets)

    def take(self, owner: Hashable, needs: Collection[tuple[Site, bytes]], until: float) -> bool | None:
        """Asks for the locks of all sites, each with the member that needs it.

        True: they are held until ``until``; False: the owner waits, and ``granted`` names it when its turn comes; None:
        too many wait, ask later. An owner asks once.
        """
        needed = sorted(dict(needs).items())
        sites, members = tuple(site for site, _ in needed), tuple(member for _, member in needed)
        free = not any(site in self._holders or site in self._queues for site in sites)
        if not free and (len(self._tickets) >= MAX_TICKETS or any(self._full(*need) for need in needed)):
            self.counters["locks-crowded"] += 1
            return None
        self._count += 1
        ticket = _Ticket((self._start(members), self._count), sites, members)
        if free:
            self._grant(owner, ticket, until)
            return True
        self._tickets[owner] = ticket
        for site, member in needed:
            heapq.heappush(self._queues.setdefault(site, []), (ticket.order, owner))
            self._queued[site, member] += 1
            self._queued[site, b""] += 1
            self._changed[site] = None
        self.counters["locks-waited-for"] += 1
        return False

    def hold(self, owner: Hashable, until: float) -> None:
        """Shortens the time for which the owner's locks are held."""
        sites, before = self._held.get(owner, ((), 0.0))
        if until < before:
            self._expire(owner, sites, until)

    def release(self, owner: Hashable) -> None:
        """The owner needs its locks, or its places in the queues, no more."""
        for site in self._held.pop(owner, ((), 0.0))[0]:
            del self._holders[site]
            self._changed[site] = None
        ticket = self._tickets.pop(owner, None)
        if ticket is not None:
            self._leave(ticket)

    def granted(self, now: float, until: float) -> list[Hashable]:
        """Takes the locks away that were held too long; who has got theirs since, held until ``until``."""
        while self._expiry and self._expiry[0][0] <= now:
            expiry, _, owner = heapq.heappop(self._expiry)
            if owner in self._held and self._held[owner][1] == expiry:
                self.counters["locks-expired"] += 1
                self.release(owner)
        turned: list[Hashable] = []
        while self._changed:
            site, _ = self._changed.popitem()
            first = self._first(site)
            if first is not None and self._ready(first):
                ticket = self._tickets.pop(first)
                self._leave(ticket)
                self._grant(first, ticket, until)
                turned.append(first)
        return turned

    def deadline(self) -> float | None:
        """When ``granted`` takes a lock away."""
        while self._expiry and self._held.get(self._expiry[0][2], ((), None))[1] != self._expiry[0][0]:
            heapq.heappop(self._expiry)
        return self._expiry[0][0] if self._expiry else None

    def holds(self, owner: Hashable) -> bool:
        """Whether the owner has locks."""
        return owner in self._held

    # --- inside ------------------------------------------------------------------------------------------------------

    def _full(self, site: Site, member: bytes) -> bool:
        return self._queued[site, b""] >= MAX_QUEUE or self._queued[site, member] >= MAX_QUEUE_MEMBER

    def _start(self, members: tuple[bytes, ...]) -> int:
        """Where the next ticket of these members starts; theirs after it start later."""
        start = max(self._served, *(self._ends.get(member, 0) for member in members))
        for member in members:
            self._ends[member] = start + 1
        if len(self._ends) > MAX_ENDS:
            self._ends = {member: end for member, end in self._ends.items() if end > self._served}
        return start

    def _first(self, site: Site) -> Hashable | None:
        """Who is first in a site's queue, those that left taken out of it."""
        queue = self._queues.get(site, [])
        while queue:
            order, owner = queue[0]
            ticket = self._tickets.get(owner)
            if ticket is not None and ticket.order == order:
                return owner
            heapq.heappop(queue)
        self._queues.pop(site, None)
        return None

    def _ready(self, owner: Hashable) -> bool:
        """Whether an owner that waits could have all its locks now."""
        sites = self._tickets[owner].sites
        return all(site not in self._holders and self._first(site) == owner for site in sites)

    def _grant(self, owner: Hashable, ticket: _Ticket, until: float) -> None:
        self._served = max(self._served, ticket.order[0])
        for site in ticket.sites:
            self._holders[site] = owner
        self._expire(owner, ticket.sites, until)

    def _expire(self, owner: Hashable, sites: tuple[Site, ...], until: float) -> None:
        self._count += 1
        self._held[owner] = (sites, until)
        heapq.heappush(self._expiry, (until, self._count, owner))

    def _leave(self, ticket: _Ticket) -> None:
        for site, member in zip(ticket.sites, ticket.members, strict=True):
            self._changed[site] = None
            for name in (member, b""):
                self._queued[site, name] -= 1
                if not self._queued[site, name]:
                    del self._queued[site, name]
