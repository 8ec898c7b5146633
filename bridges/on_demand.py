"""Forwards and exposed services that nobody asked for by hand: made when a program was found, for as long as it is used.

::

    discovery, mdns ── forward(peer, port) ──→ 127.a.b.c:port ──→ the peer's port        a local program clicks or joins
                    ── expose(host, port)  ──→ port of the LAN ──→ the local service     a peer does

One table for all bridges of a node (``OnDemand.of(lan)``): two that find the same service share one port. What is made
is held by its *holders*, any objects; each says whether its hold is for good (until :meth:`OnDemand.release`) or lapses
after some idle seconds. A forward that nobody holds stays while streams pass and ``LINGER`` after; an exposed service
that nobody holds takes nobody new, at once.

Both are the parts that ``userlan forward`` and ``userlan expose`` are made of, so that streams pass at the same speed,
peers are seen under their alias, and what is behind a port can be told from outside by nothing.

Bounds: each of the two tables has a cap, and so has what one peer can cause; the one that nobody uses and that was used
longest ago gives way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import LoopingCall

from bridges.expose import aliases_bindable
from bridges.on_demand_ways import Admit, ExposureWay, ForwardWay, OnDemandError, Rewrite, Way
from userlan.driver.lan import Lan, PeerInfo

__all__ = ["FIRST_USER_PORT", "LINGER", "MAX_EXPOSURES", "MAX_FORWARDS", "MAX_OF_PEER", "OnDemand", "OnDemandError"]

LINGER = 600.0
"""Seconds that a forward stays when it is neither held nor used: a person may come back to the program's list."""

FIRST_USER_PORT = 1024
"""Below are the system's own services."""

MAX_FORWARDS = 512
"""Forwards on demand: each is a listening socket, and a peer's announcement makes one."""

MAX_OF_PEER = 64
"""Forwards to one peer: a chatty peer must not take the room of the others."""

MAX_EXPOSURES = 256
"""Services exposed on demand: as many as may be exposed by hand."""

SWEEP_INTERVAL = 15.0
"""Seconds between two looks for what is idle."""

_TABLES: WeakKeyDictionary[Lan, ref[OnDemand]] = WeakKeyDictionary()


class OnDemand:
    """All forwards and exposed services on demand of one node. Everything in the reactor's thread."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.aliases = aliases_bindable()
        """Whether loopback aliases can be bound here."""
        self.others: list[Callable[[], list[dict[str, object]]]] = []
        """Who has forwards of its own kind, to be listed with those here (those by which found programs speak UDP)."""
        self._users: set[object] = set()
        self._forwards: dict[tuple[object, ...], ForwardWay] = {}
        self._exposures: dict[tuple[object, ...], ExposureWay] = {}
        self._sweep = LoopingCall(self._expire)
        self._sweep.clock = lan.reactor

    @classmethod
    def of(cls, lan: Lan) -> OnDemand:
        """The one of a LAN; made when the first asks."""
        known = _TABLES.get(lan)
        table = None if known is None else known()
        if table is None:
            table = cls(lan)
            _TABLES[lan] = ref(table)
        return table

    def join(self, user: object) -> None:
        """A bridge starts to use the table."""
        self._users.add(user)

    def leave(self, user: object) -> Deferred[None]:
        """A bridge stops: with the last one everything is closed. Idempotent; what ``user`` itself holds is released."""
        self.release(user)
        self._users.discard(user)
        if self._users:
            return succeed(None)
        ways = self._all()
        self._forwards.clear()
        self._exposures.clear()
        if self._sweep.running:
            self._sweep.stop()
        return DeferredList([way.close() for way in ways]).addCallback(lambda _: None)

    def forward(
        self,
        peer: PeerInfo,
        port: int,
        protocol: str,
        holder: object,
        *,
        rewrite: Rewrite | None = None,
        bind: str = "",
        number: int | None = None,
        idle: float | None = None,
        why: str = "",
    ) -> tuple[str, int]:
        """The local (host, port) that leads to a peer's port: its alias and the same port where these can be bound, else another
        port of it, or of 127.0.0.1. What there is already is kept as it is.

        ``protocol``: tcp or udp. ``rewrite``: filters for each stream (tcp only). ``bind``: a numeric address of this computer to listen
        on instead. ``number``: of the port to listen on, where it is not to be the same (0: any): while a listener holds a number, a
        local server that wants it for all addresses does not start. So ports below ``FIRST_USER_PORT``, which a node of root could have,
        are held only where they are asked for by this: else a member that offers ssh keeps this computer's from starting.
        ``idle``: seconds without use, or another call, after which the holder's hold lapses; None for never. ``why``: for
        :meth:`listing`. Raises OnDemandError.
        """
        key = (peer.key, port, protocol, bind, rewrite)
        way = self._forwards.get(key)
        if way is None:
            of_peer = [other for other in self._forwards.values() if other.peer.key == peer.key]
            self._make_room(of_peer, self._forwards, MAX_OF_PEER, f"forwards to {peer.name}")
            self._make_room(list(self._forwards.values()), self._forwards, MAX_FORWARDS, "forwards on demand")
            way = ForwardWay(self.lan, key, peer, port, protocol, rewrite)
            same = port if port >= FIRST_USER_PORT else 0
            way.open(bind or (peer.loopback_alias if self.aliases else ""), same if number is None else number)
            self._forwards[key] = way
        way.linger = None
        self._hold(way, holder, idle, why)
        return way.local

    def expose(
        self,
        host: str,
        port: int,
        protocol: str,
        admit: Admit,
        holder: object,
        *,
        rewrite: Rewrite | None = None,
        idle: float | None = None,
        why: str = "",
    ) -> int:
        """The LAN port under which the peers that ``admit`` lets in reach a local service (``host``: numeric); the same number where it
        is free. It lets in whom any of its holders does, asked anew for each stream and datagram. Otherwise as :meth:`forward`.
        """
        key = (host, port, protocol, rewrite)
        way = self._exposures.get(key)
        if way is None:
            self._make_room(list(self._exposures.values()), self._exposures, MAX_EXPOSURES, "services exposed on demand")
            way = ExposureWay(self.lan, key, host, port, protocol, rewrite, self.aliases)
            way.open()
            self._exposures[key] = way
        way.admits[holder] = admit
        self._hold(way, holder, idle, why)
        return way.port

    def release(self, holder: object) -> None:
        """The holder needs nothing of what it holds any more."""
        for way in self._all():
            if holder in way.holds:
                self._let_go(way, holder)

    def release_all(self, of: Callable[[object], bool]) -> None:
        """All holders that ``of`` says are meant need nothing any more, and nobody comes back to it: what is not used is closed."""
        for way in self._all():
            holders = [holder for holder in way.holds if of(holder)]
            for holder in holders:
                self._let_go(way, holder)
            if holders and isinstance(way, ForwardWay) and not way.holds:
                way.linger = 0.0
                self._close_unused(way, self.lan.reactor.seconds())

    def leads_to(self, host: str, port: int, protocol: str) -> tuple[PeerInfo, int] | None:
        """Whose port a local (host, port) of a forward is: so that nobody offers to the LAN what comes from it."""
        for way in self._forwards.values():
            if way.local == (host, port) and way.protocol == protocol:
                return way.peer, way.peer_port
        return None

    def exposed_as(self, host: str, port: int, protocol: str) -> int | None:
        """The LAN port of a local service that is exposed on demand already."""
        for way in self._exposures.values():
            if (way.host, way.service_port, way.protocol) == (host, port, protocol):
                return way.port
        return None

    def serves(self, port: int, protocol: str) -> tuple[str, int] | None:
        """The local service behind a LAN port that was made on demand."""
        for way in self._exposures.values():
            if (way.port, way.protocol) == (port, protocol):
                return way.host, way.service_port
        return None

    def listing(self) -> list[dict[str, object]]:
        """All of them, for ``status`` and ``doctor``."""
        return [way.describe() for way in self._all()] + [row for other in self.others for row in other()]

    def _all(self) -> list[Way]:
        return [*self._forwards.values(), *self._exposures.values()]

    def _hold(self, way: Way, holder: object, idle: float | None, why: str) -> None:
        way.hold(holder, idle, why, self.lan.reactor.seconds())
        if not self._sweep.running:
            self._sweep.start(SWEEP_INTERVAL, now=False)

    def _let_go(self, way: Way, holder: object) -> None:
        way.let_go(holder, self.lan.reactor.seconds())
        if isinstance(way, ExposureWay) and not way.holds:
            self._remove(way, False)

    def _make_room(self, of: list[Any], table: dict[tuple[object, ...], Any], cap: int, what: str) -> None:
        if len(of) < cap:
            return
        idle = [way for way in of if not way.streams and way.may_go()]
        if not idle:
            raise OnDemandError(f"there are {cap} {what} already")
        self._remove(min(idle, key=lambda way: way.used), True)

    def _remove(self, way: Way, at_once: bool) -> None:
        """Take out of its table; ``at_once``: abort its streams, else they end when they end."""
        table: dict[tuple[object, ...], Any] = self._forwards if isinstance(way, ForwardWay) else self._exposures
        if table.get(way.key) is way:
            del table[way.key]
        (way.close if at_once else way.close_when_quiet)()

    def _close_unused(self, way: ForwardWay, now: float) -> None:
        if not way.streams and now - way.used >= (LINGER if way.linger is None else way.linger):
            self._remove(way, True)

    def _expire(self) -> None:
        now = self.lan.reactor.seconds()
        for way in self._all():
            way.look(now)
            for holder in way.lapsed(now):
                self._let_go(way, holder)
            if isinstance(way, ForwardWay) and not way.holds:
                self._close_unused(way, now)
        if not self._forwards and not self._exposures:
            self._sweep.stop()


