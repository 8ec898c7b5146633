"""What all profiles of the discovery relay share: the tables of ends and mirrors, this computer's surroundings, the clock."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

from bridges.discovery_carrier import Carrier
from bridges.discovery_ends import UNSENT, LanEnd, Mirror
from bridges.discovery_guard import Bucket, Carried, Found
from bridges.discovery_local import REFRESH, Surroundings, mark
from bridges.flows import FLOW_IDLE, FlowTable
from bridges.on_demand import OnDemand
from bridges.profiles import Profile
from bridges.sharing import Policy
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.hostport import join_host_port

MAX_MIRRORS = 512
"""Peers' endpoints at this computer: each is a socket or two, and a peer's datagram makes one."""

MAX_MIRRORS_OF_PEER = 64
"""Those of one peer: it may use as many source ports as it likes, and must not take the room of the others."""

MAX_MAPPED = 256
"""Local programs' sockets that have a port on the LAN: as many as play or search at once, many times over."""

INWARD_RATE, INWARD_BURST = 50.0, 200.0
"""Datagrams to everybody that are taken of one peer a second, and at once: as many as a node sends for one profile."""

MAX_RATES = 1024
"""Peers whose rates are remembered; the oldest starts anew."""

RETRY = 30.0
"""Seconds between two tries for ports that somebody else has."""

MARK_PORT = 41413
"""UDP port that a node holds at its own loopback alias, which tells the others on this computer that it is here."""

HERE_LIFETIME = 30.0
"""Seconds that it is remembered whether a peer's node is on this computer."""

Key = tuple[object, ...]


class Relay:
    """The engine of the bridge."""

    def __init__(self, lan: Lan, surroundings: Surroundings) -> None:
        self.lan = lan
        self.surroundings = surroundings
        self.on_demand = OnDemand.of(lan)
        self.carried = Carried()
        self.found = Found()
        self.carriers: dict[str, Carrier] = {}
        self.counters: Counter[str] = Counter()
        self.attached = False
        """Whether this computer is in the LAN by an interface (a TAP): local programs hear everything by themselves then."""
        self._mirrors: FlowTable[Key, Mirror] = FlowTable(MAX_MIRRORS, FLOW_IDLE)
        self._of_peer: Counter[str] = Counter()
        self._mapped: FlowTable[Key, LanEnd] = FlowTable(MAX_MAPPED, FLOW_IDLE)
        self._rates: OrderedDict[str, Bucket] = OrderedDict()
        self._here: dict[str, tuple[bool, float]] = {}
        self._mark: socket.socket | None = None
        self._marked = ""
        self._retried = 0.0
        self._look_call = LoopingCall(self._look)
        self._look_call.clock = lan.reactor
        self._unobserve: Callable[[], object] | None = None

    def start(self) -> None:
        """Begin; carriers are added by :meth:`carry`."""
        self.on_demand.join(self)
        self.on_demand.others.append(self._speaking)
        self.surroundings.refresh()
        self._look_call.start(REFRESH)
        self._unobserve = self.lan.observe(self._lan_changed)

    def stop(self) -> Any:
        """A Deferred. Idempotent."""
        if self._speaking in self.on_demand.others:
            self.on_demand.others.remove(self._speaking)
        if self._unobserve is not None:
            self._unobserve()
        if self._look_call.running:
            self._look_call.stop()
        for name in list(self.carriers):
            self.drop(name)
        if self._mark is not None:
            self._mark.close()
            self._mark, self._marked = None, ""
        return self.on_demand.leave(self)

    def carry(self, profile: Profile, policy: Policy, search: bool | None) -> None:
        """Switch a profile on, or on anew."""
        self.drop(profile.name)
        carrier = self.carriers[profile.name] = Carrier(self, profile, policy, search)
        if not self.attached:
            carrier.open()

    def drop(self, name: str) -> None:
        """Switch a profile off."""
        carrier = self.carriers.pop(name, None)
        if carrier is not None:
            carrier.close()

    def forget(self, carrier: Carrier) -> None:
        """Close all that a carrier made."""
        for key, mirror in self._mirrors.items():
            if mirror.carrier is carrier:
                self._mirrors.remove(key)
                self._gone(mirror)
        for key, end in self._mapped.items():
            if end.carrier is carrier:
                self._mapped.remove(key)
                end.close()
        self.on_demand.release_all(lambda holder: holder is carrier or (isinstance(holder, tuple) and holder[0] is carrier))
        self.found.forget(carrier.profile.name)

    def now(self) -> float:
        """Monotonic seconds."""
        seconds: float = self.lan.reactor.seconds()
        return seconds

    def peer_at(self, address: str) -> PeerInfo | None:
        """The other member that has an address."""
        peer = self.lan.peer_at(address)
        return None if peer is None or peer.key == self.lan.own().key else peer

    def rate_of(self, peer: PeerInfo) -> Bucket:
        """How much a peer may tell everybody."""
        bucket = self._rates.get(peer.key)
        if bucket is None:
            bucket = self._rates[peer.key] = Bucket(INWARD_RATE, INWARD_BURST)
            while len(self._rates) > MAX_RATES:
                self._rates.popitem(last=False)
        return bucket

    def lives_here(self, peer: PeerInfo) -> bool:
        """Whether a peer's node runs on this computer, beside this one."""
        alias, now = peer.loopback_alias, self.now()
        if not alias or not self.on_demand.aliases:
            return False
        known = self._here.get(peer.key)
        if known is None or now >= known[1]:
            free = mark(alias, MARK_PORT)
            if free is not None:
                free.close()
            if len(self._here) >= MAX_RATES:
                self._here.clear()
            known = self._here[peer.key] = (free is None, now + HERE_LIFETIME)
        return known[0]

    # ends

    def mirror(self, carrier: Carrier, peer: PeerInfo, source: tuple[str, int]) -> Mirror | None:
        """The mirror of a peer's endpoint; None when there can be none."""
        key, now = (carrier.profile.name, *source), self.now()
        mirror = self._mirrors.use(key, now)
        if mirror is not None and mirror.peer.key == peer.key:
            return mirror
        if self._of_peer[peer.key] >= MAX_MIRRORS_OF_PEER:
            carrier.counters["mirrors-full"] += 1
            return None
        mirror = Mirror(carrier, peer, *source)
        channel = carrier.profile.channel_of(source[1])
        alias = peer.loopback_alias if self.on_demand.aliases else ""
        try:
            mirror.open(self.lan.reactor, alias, channel is not None, carrier.keeps_number(source[1]))
        except OSError:
            carrier.counters["no-socket"] += 1
            return None
        self._of_peer[peer.key] += 1
        for displaced in self._mirrors.add(key, mirror, now):
            self._gone(displaced)
        return mirror

    def mapped(self, carrier: Carrier, port: int) -> LanEnd | None:
        """The LAN port of a local program's; None when there can be none."""
        key, now = (carrier.profile.name, port), self.now()
        end = self._mapped.use(key, now)
        if end is None:
            end = LanEnd(carrier, port, None)
            try:
                end.open(self.lan)
            except UNSENT:
                carrier.counters["no-lan-port"] += 1
                return None
            for displaced in self._mapped.add(key, end, now):
                displaced.close()
        return end

    def use(self, one: Mirror | LanEnd) -> None:
        """It is in use."""
        if isinstance(one, Mirror):
            self._mirrors.use((one.carrier.profile.name, one.address, one.port), self.now())
        elif one.channel is None:
            self._mapped.use((one.carrier.profile.name, one.local_port), self.now())
        else:
            one.heard = max(one.heard, self.now())

    def _gone(self, mirror: Mirror) -> None:
        mirror.close()
        self._of_peer[mirror.peer.key] -= 1
        if self._of_peer[mirror.peer.key] <= 0:
            del self._of_peer[mirror.peer.key]

    # now and then

    def _lan_changed(self) -> None:
        if self.lan.attached != self.attached:
            self._look()

    def _look(self) -> None:
        now = self.now()
        for mirror in self._mirrors.expire(now):
            self._gone(mirror)
        for end in self._mapped.expire(now):
            end.close()
        changed = self.surroundings.refresh()
        own = self.lan.own()
        attached = self.lan.attached or (bool(own.ipv4) and self.surroundings.is_own(own.ipv4))
        if attached != self.attached:
            self.attached, changed = attached, True
        self._mark_own(own.loopback_alias)
        if changed:
            for carrier in self.carriers.values():
                carrier.close_pickups()
        if not self.attached and (changed or now - self._retried >= RETRY):
            self._retried = now
            for carrier in self.carriers.values():
                carrier.open()

    def _mark_own(self, alias: str) -> None:
        if alias == self._marked or not self.on_demand.aliases:
            return
        if self._mark is not None:
            self._mark.close()
        self._mark, self._marked = None, alias
        if alias:
            with contextlib.suppress(OSError):
                self._mark = mark(alias, MARK_PORT)

    def _speaking(self) -> list[dict[str, object]]:
        """What was found and is spoken to by UDP, as ``OnDemand.listing`` tells its own."""
        rows: list[dict[str, object]] = []
        for one in self.found.listing(self.now()):
            if one.protocol == "udp":
                listen, to = join_host_port(one.host, one.port), join_host_port(one.peer, one.peer_port)
                held = self._mirrors.peek((one.profile, one.address, one.peer_port)) is not None
                row = {"kind": "forward", "listen": listen, "peer": one.peer, "key": one.key, "port": one.peer_port, "to": to}
                row["protocol"] = one.protocol
                rows.append(row | {"streams": int(held), "held": held, "why": [one.profile], "error": ""})
        return rows

    def tables(self) -> dict[str, int]:
        """How full the tables are."""
        return {"mirrors": len(self._mirrors), "mapped": len(self._mapped)}
