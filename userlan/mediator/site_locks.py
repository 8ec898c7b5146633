"""Locks of public addresses: behind one incremental NAT only one prediction is made and tried at a time.

Whoever predicts the next port of an incremental NAT is wrong as soon as a neighbour opens a mapping meanwhile, and two
negotiations behind the same NAT are certain to do that to each other. So a negotiation takes the lock of each public
address whose ports it predicts, from the measurement until its end. Those that predict nothing there but open a few
mappings share the lock, for the moment in which they do so: any number of them at once, but none during a prediction. Where a
carrier gives a household a block of some hundred ports, two searches with many sockets each would use it up: those too
have the address for themselves.

A negotiation that needs two takes both at once or none, when its ticket is the first in the queues of both. All tickets
have one order, so the first of all is first wherever it waits: nothing waits in a circle. Whoever holds a lock for
longer than it said loses it.

The order is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) between members: a ticket starts where the
one before of the same member ends, or at the ticket that was served last, whichever is later. A member with many peers
thereby takes turns with its neighbours instead of keeping them waiting, and nobody starves, since each ticket served
moves the start of all new ones on. Those that share come first in their round, since they all go at once; each member
has so many of them a round and no more.
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
#: Members whose last tickets' ends are remembered before those that matter no more are forgotten.
MAX_ENDS = 40_000

#: Tickets of one member that are as long as one round: those that share take a fraction of a second, together.
SHARED_A_ROUND = 16

Site = bytes
_Order = tuple[int, bool, int]  # its round, whether it goes last in it, and its number


class Need(NamedTuple):
    """An address, the member that is behind it, and whether others may have it at the same time, who all ``share`` it."""

    site: Site
    member: bytes
    shared: bool = False


class _Ticket(NamedTuple):
    order: _Order
    start: int
    needs: tuple[Need, ...]  # one a site


class _Held(NamedTuple):
    needs: tuple[Need, ...]
    until: float


class SiteLocks:
    """Who holds and who waits for which address. Owners are any hashable names. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._holders: dict[Site, dict[Hashable, bool]] = {}  # and whether they share it
        self._held: dict[Hashable, _Held] = {}
        self._expiry: list[tuple[float, int, Hashable]] = []
        self._queues: dict[Site, list[tuple[_Order, Hashable]]] = {}  # heaps; who left is still in them
        self._tickets: dict[Hashable, _Ticket] = {}
        self._queued: Counter[tuple[Site, bytes]] = Counter()
        self._changed: dict[Site, None] = {}  # whose first ticket may have its turn
        self._ends: dict[tuple[bytes, bool], int] = {}  # by member, those of its tickets that share apart
        self._served = 0  # start of the ticket that was served last
        self._count = 0
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._tickets)

    def take(self, owner: Hashable, needs: Collection[Need], until: float) -> bool | None:
        """Asks for the locks of all sites, each of them once.

        True: they are held until ``until``; False: the owner waits, and ``granted`` names it when its turn comes; None:
        too many wait, ask later. An owner asks once.
        """
        needed = tuple(sorted(needs))
        free = all(need.site not in self._queues and self._open_to(need) for need in needed)
        if not free and (len(self._tickets) >= MAX_TICKETS or any(self._full(need) for need in needed)):
            self.counters["locks-crowded"] += 1
            return None
        ticket = self._ticket(needed)
        if free:
            self._grant(owner, ticket, until)
            return True
        self._tickets[owner] = ticket
        for need in needed:
            heapq.heappush(self._queues.setdefault(need.site, []), (ticket.order, owner))
            self._queued[need.site, need.member] += 1
            self._queued[need.site, b""] += 1
            self._changed[need.site] = None
        self.counters["locks-waited-for"] += 1
        return False

    def hold(self, owner: Hashable, until: float) -> None:
        """Shortens the time for which the owner's locks are held."""
        held = self._held.get(owner)
        if held is not None and until < held.until:
            self._expire(owner, held.needs, until)

    def release(self, owner: Hashable) -> None:
        """The owner needs its locks, or its places in the queues, no more."""
        held = self._held.pop(owner, None)
        for site, _, _ in held.needs if held is not None else ():
            del self._holders[site][owner]
            if not self._holders[site]:
                del self._holders[site]
            self._changed[site] = None
        ticket = self._tickets.pop(owner, None)
        if ticket is not None:
            self._leave(ticket)

    def granted(self, now: float, until: float) -> list[Hashable]:
        """Takes the locks away that were held too long; who has got theirs since, held until ``until``."""
        while self._expiry and self._expiry[0][0] <= now:
            expiry, number, owner = heapq.heappop(self._expiry)
            if self._expires(expiry, number, owner):
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
        while self._expiry and not self._expires(*self._expiry[0]):
            heapq.heappop(self._expiry)
        return self._expiry[0][0] if self._expiry else None

    def holds(self, owner: Hashable) -> bool:
        """Whether the owner has locks."""
        return owner in self._held

    # --- inside ------------------------------------------------------------------------------------------------------

    def _full(self, need: Need) -> bool:
        every, own = self._queued[need.site, b""], self._queued[need.site, need.member]
        return every >= MAX_QUEUE or own >= MAX_QUEUE_MEMBER

    def _open_to(self, need: Need) -> bool:
        """Whether those who hold a site's lock leave room for this need."""
        holders = self._holders.get(need.site)
        return holders is None or (need.shared and all(holders.values()))

    def _expires(self, at: float, number: int, owner: Hashable) -> bool:
        """Whether an entry of the heap is what holds for its owner now."""
        del number
        held = self._held.get(owner)
        return held is not None and held.until == at

    def _ticket(self, needs: tuple[Need, ...]) -> _Ticket:
        """The next ticket of these members; theirs after it start later."""
        shared = all(need.shared for need in needs)
        names = [(need.member, shared) for need in needs]
        start = max(self._served, *(self._ends.get(name, 0) for name in names))
        for name in names:
            self._ends[name] = start + (1 if shared else SHARED_A_ROUND)
        if len(self._ends) > MAX_ENDS:
            recent = list(self._ends.items())[-MAX_ENDS // 2 :]      # whoever made up that many keys
            self._ends = {name: end for name, end in recent if end > self._served}
        self._count += 1
        return _Ticket((start // SHARED_A_ROUND, not shared, self._count), start, needs)

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
        return all(self._open_to(need) and self._first(need.site) == owner for need in self._tickets[owner].needs)

    def _grant(self, owner: Hashable, ticket: _Ticket, until: float) -> None:
        self._served = max(self._served, ticket.start)
        for need in ticket.needs:
            self._holders.setdefault(need.site, {})[owner] = need.shared
        self._expire(owner, ticket.needs, until)

    def _expire(self, owner: Hashable, needs: tuple[Need, ...], until: float) -> None:
        self._count += 1
        self._held[owner] = _Held(needs, until)
        heapq.heappush(self._expiry, (until, self._count, owner))

    def _leave(self, ticket: _Ticket) -> None:
        for site, member, _ in ticket.needs:
            self._changed[site] = None
            for name in (member, b""):
                self._queued[site, name] -= 1
                if not self._queued[site, name]:
                    del self._queued[site, name]
