"""One forward, or one exposed service, on demand (see on_demand.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from bridges.acceptor import MAX_STREAMS, Acceptor
from bridges.dial import DIAL_TIMEOUT, Cause, DialError, connect, connect_numeric, is_loopback
from bridges.expose import SERVICE_TIMEOUT
from bridges.filtered import Filter, FilteringSplices
from bridges.forward import BACKLOG
from bridges.leg import Leg, LegOwner
from bridges.listen import listen_error
from bridges.splice import Splices
from bridges.udp_expose import UdpExpose
from bridges.udp_forward import UdpForward
from userlan.driver.interfaces import local_addresses
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.hostport import join_host_port
from userlan.lan.ports import built_in

Admit = Callable[[PeerInfo], bool]
"""Whether a peer may reach a service."""

Rewrite = Callable[[PeerInfo], tuple[Filter, Filter]]
"""Makes the filters of one stream with a peer: for what goes to the service, and for what comes from it."""

FALLBACK = "127.0.0.1"
"""Where a forward listens when a peer has no alias that can be bound."""


MAX_FILTERED = 256
"""Streams of one port at a time whose contents are rewritten: each can make us hold a text."""


class OnDemandError(Exception):
    """A port cannot be had; ``str()`` is one line."""


@attrs.frozen
class _Hold:
    idle: float | None
    """Seconds; None for good."""
    asked: float
    why: str


class Way:
    """What both have in common."""

    def __init__(self, lan: Lan, key: tuple[object, ...], protocol: str, rewrite: Rewrite | None) -> None:
        self.key = key
        self.protocol = protocol
        self.holds: dict[object, _Hold] = {}
        self.used: float = lan.reactor.seconds()
        """When somebody last asked for it or a stream was seen."""
        self.listening: Any = None
        self._lan = lan
        self.splices = Splices(lan.reactor) if rewrite is None else FilteringSplices(lan.reactor, self._filters)
        self.acceptor = Acceptor(self.splices, self._connect, MAX_STREAMS if rewrite is None else MAX_FILTERED)
        self.udp: UdpForward | UdpExpose | None = None
        self._rewrite = rewrite

    @property
    def streams(self) -> int:
        """Streams or UDP flows at this moment."""
        return len(self.acceptor) if self.udp is None else len(self.udp)

    def hold(self, holder: object, idle: float | None, why: str, now: float) -> None:
        """Somebody needs it (again)."""
        self.holds[holder] = _Hold(idle, now, why)
        self.used = now

    def let_go(self, holder: object, now: float) -> None:
        """One holder needs it no more."""
        self.holds.pop(holder, None)
        if not self.holds:
            self.used = max(self.used, now)

    def look(self, now: float) -> None:
        """Note whether it is used."""
        if self.streams:
            self.used = now

    def lapsed(self, now: float) -> list[object]:
        """Holders whose hold ends, since nothing happened for too long."""
        return [holder for holder, hold in self.holds.items() if hold.idle is not None and now - max(hold.asked, self.used) >= hold.idle]

    def may_go(self) -> bool:
        """Whether nobody holds it for good."""
        return all(hold.idle is not None for hold in self.holds.values())

    def close(self) -> Deferred[Any]:
        """Stop listening, abort what passes."""
        listening, self.listening = self.listening, None
        self.acceptor.abort_all()
        if self.udp is not None:
            self.udp.close()
        return succeed(None) if listening is None else maybeDeferred(listening.stopListening)

    def close_when_quiet(self) -> None:
        """Stop listening; streams that pass end by themselves (UDP flows at once: nothing tells their end)."""
        if self.udp is not None:
            self.close()
        elif self.listening is not None:
            listening, self.listening = self.listening, None
            listening.stopListening()

    def describe(self) -> dict[str, object]:
        """For people and programs."""
        return {
            "protocol": self.protocol,
            "streams": self.streams,
            "held": bool(self.holds),
            "why": sorted({hold.why for hold in self.holds.values() if hold.why}),
            "error": self.acceptor.last_error,
        }

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        return fail(DialError(Cause.FAILED, "it leads nowhere"))

    def _filters(self, near: Leg) -> tuple[Filter, Filter]:
        assert self._rewrite is not None
        return self._rewrite(self._peer_of(near))

    def _peer_of(self, near: Leg) -> PeerInfo:
        raise LookupError("nobody's stream")


class ForwardWay(Way):
    """A local port that leads to a peer's."""

    def __init__(
        self, lan: Lan, key: tuple[object, ...], peer: PeerInfo, port: int, protocol: str, rewrite: Rewrite | None
    ) -> None:
        super().__init__(lan, key, protocol, rewrite)
        self.peer = peer
        self.peer_port = port
        self.linger: float | None = None
        """Seconds that it stays unused when nobody holds it; None: as all."""
        self.local: tuple[str, int] = ("", 0)

    def open(self, wanted: str, number: int) -> None:
        """Listen at an address ("" for whichever there is) and port; raises OnDemandError."""
        problem: CannotListenError | None = None
        for host, port in [(wanted, number), (wanted, 0)] if wanted else [(FALLBACK, 0)]:
            try:
                self.listening = self._listen(host, port)
            except CannotListenError as error:
                problem = error
                continue
            self.local = host, self.listening.getHost().port
            return
        assert problem is not None
        raise OnDemandError(listen_error(problem))

    def describe(self) -> dict[str, object]:
        """As ``Way.describe``, with both ends."""
        local, far = join_host_port(*self.local), join_host_port(self.peer.name, self.peer_port)
        ends = {"listen": local, "peer": self.peer.name, "key": self.peer.key, "port": self.peer_port, "to": far}
        return {"kind": "forward", **ends, **super().describe()}

    def _listen(self, host: str, port: int) -> Any:
        if self.protocol == "tcp":
            return self._lan.reactor.listenTCP(port, self.acceptor, BACKLOG, host)
        udp = UdpForward(self._lan, self._address(), self.peer_port)
        listening = udp.open(host, port)
        self.udp = udp
        return listening

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        address = self._address()
        return connect(self._lan.client_endpoint(address, self.peer_port, DIAL_TIMEOUT), self.peer.name, self.peer_port, owner)

    def _peer_of(self, near: Leg) -> PeerInfo:
        return self.peer

    def _address(self) -> str:
        """The peer's address now: its IPv4 one may have changed; the IPv6 one follows from its key."""
        known = self._lan.peer_at(self.peer.ipv6) if self.peer.ipv6 else None
        peer = self.peer if known is None else known
        return peer.ipv4 or peer.ipv6


class ExposureWay(Way):
    """A LAN port that leads to a local service."""

    def __init__(
        self,
        lan: Lan,
        key: tuple[object, ...],
        host: str,
        port: int,
        protocol: str,
        rewrite: Rewrite | None,
        aliases: bool,
    ) -> None:
        super().__init__(lan, key, protocol, rewrite)
        self.admits: dict[object, Admit] = {}
        self._admitted: WeakKeyDictionary[Leg, PeerInfo] = WeakKeyDictionary()
        self.host = host
        self.service_port = port
        self.port = 0
        """Its number on the LAN."""
        self._own = is_loopback(host) or host in local_addresses()
        self._aliases = aliases and self._own and ":" not in host

    def open(self) -> None:
        """Listen on the LAN; raises OnDemandError."""
        problem: Exception = OnDemandError("no port of the LAN is free")
        for port in (0,) if built_in(self.protocol, self.service_port) else (self.service_port, 0):
            try:
                self.listening = self._listen(port)
            except (CannotListenError, OSError) as error:
                problem = error
                continue
            self.port = self.listening.getHost().port
            return
        raise OnDemandError(f"no port of the LAN can be had for {join_host_port(self.host, self.service_port)}: {problem}")

    def let_go(self, holder: object, now: float) -> None:
        """Who lets in by this holder's word alone, does no more."""
        super().let_go(holder, now)
        self.admits.pop(holder, None)

    def describe(self) -> dict[str, object]:
        """As ``Way.describe``, with both ends."""
        target = join_host_port(self.host, self.service_port)
        return {"kind": "exposed", "port": self.port, "target": target, **super().describe()}

    def _listen(self, port: int) -> Any:
        if self.protocol == "tcp":
            return _result(self._lan.server_endpoint(port).listen(self.acceptor))
        udp = UdpExpose(self._lan, self._admit, self.host, self.service_port, self._aliases, own=self._own)
        listening = udp.open(port)
        self.udp = udp
        return listening

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        peer = self._admit(near.transport.getPeer().host)
        if peer is None:
            return fail(DialError(Cause.FORBIDDEN, f"{near.transport.getPeer().host} is not allowed to use this service"))
        if self._rewrite is not None:
            self._admitted[near] = peer
        bind = (peer.loopback_alias, 0) if self._aliases and peer.loopback_alias else None
        return connect_numeric(self._lan.reactor, self.host, self.service_port, owner, SERVICE_TIMEOUT, bind)

    def _peer_of(self, near: Leg) -> PeerInfo:
        return self._admitted[near]

    def _admit(self, address: str) -> PeerInfo | None:
        peer = self._lan.peer_at(address)
        return peer if peer is not None and any(admit(peer) for admit in self.admits.values()) else None


def _result(listening: Deferred[Any]) -> Any:
    """What an endpoint of the LAN gives at once: it has nothing to wait for. Raises what it fails with."""
    outcome: list[Any] = []
    listening.addBoth(outcome.append)
    if not outcome:
        listening.cancel()
        raise OSError("listening on the LAN takes too long")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
