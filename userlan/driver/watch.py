"""What passes at the border of this node, for whoever wants to look: each inner packet to or from a peer, and what was dropped.

::

    Node.watch ──▶ Watch ──▶ one observer, another …        a Seen each; no call at all while there is no observer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from twisted.logger import Logger

from userlan.lan.addresses import is_multicast
from userlan.wire.endpoint import RELAY, Endpoint, host_port
from userlan.wire.superpacket import SuperPacket, cut

Direction = Literal["in", "out"]


class Seen:
    """One unit that was seen. Its payload is valid during the call only: that may be memory that is used again.

    ``direction``: "in" from a peer, "out" to it. ``key``: the peer's public key, empty: it was for no single peer. ``packet``: up to
    64 KB of one flow. ``reason``: why it went no further, the name of a counter; None where it did. ``now``: monotonic seconds.
    """

    __slots__ = ("_watch", "direction", "key", "now", "packet", "reason")

    def __init__(self, watch: Watch, direction: Direction, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
        self.direction = direction
        self.key = key
        self.packet = packet
        self.reason = reason
        self.now = now
        self._watch = watch

    @property
    def cast(self) -> Literal["unicast", "multicast", "broadcast"]:
        """To whom it is."""
        destination = self.packet.destination
        if is_multicast(destination):
            return "multicast"
        return "broadcast" if self._watch.of_many(destination) else "unicast"

    @property
    def path(self) -> str:
        """How the peer is reached at this moment, for people; empty for no single peer."""
        return self._watch.path(self.key) if self.key else ""

    def wire(self) -> list[bytes]:
        """The IP packets that it stands for, each as it would be on a wire: their checksums are right, unless one came wrong."""
        return cut(self.packet, True)


Observer = Callable[[Seen], None]


class Watch:
    """Of one node. ``core``: a ``userlan.node.node.Node``."""

    _log = Logger()

    def __init__(self, core: Any) -> None:
        self._node = core
        self._observers: dict[Observer, None] = {}
        self._paths: dict[bytes, tuple[tuple[Endpoint | None, Endpoint | None], str]] = {}
        """What was last said of a peer's path, with what it follows from; forgotten with the last observer."""
        self.of_many: Callable[[bytes], bool] = core.host.addresses.of_many
        """Whether a packed address is a group or a broadcast of the LAN."""

    def add(self, observer: Observer) -> Callable[[], None]:
        """Have ``observer`` called with each unit until what is returned is called. One that raises is logged and called no more."""
        if not self._observers:
            self._node.watch(self)
        self._observers[observer] = None
        return lambda: self._remove(observer)

    def packet(self, direction: Direction, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
        """A unit passes, or does not (``userlan.node.intake.Observer``)."""
        seen = Seen(self, direction, key, packet, reason, now)
        for observer in list(self._observers):
            try:
                observer(seen)
            except Exception:
                self._log.failure("an observer of packets failed")
                self._remove(observer)

    def path(self, key: bytes) -> str:
        """How a peer is reached: ``direct udp HOST:PORT``, ``relay NAME (HOST:PORT)``, and whether bulk has a connection beside it."""
        tunnel = self._node.device.peer(key)
        way = (tunnel.endpoint, tunnel.ways.bulk) if tunnel is not None else (None, None)
        said = self._paths.get(key)
        if said is None or said[0] != way:
            said = self._paths[key] = (way, self._told(*way))
        return said[1]

    def _told(self, endpoint: Endpoint | None, bulk: Endpoint | None) -> str:
        if endpoint is None:
            return "none"
        where = host_port(endpoint.host, endpoint.port)
        if endpoint.transport == RELAY:
            return f"relay {self._node.relays.client.name_of(endpoint)} ({where})".replace("  ", " ")
        beside = f", bulk tcp {host_port(bulk.host, bulk.port)}" if bulk is not None else ""
        return f"direct {endpoint.transport} {where}{beside}"

    def _remove(self, observer: Observer) -> None:
        if self._observers.pop(observer, self) is not self and not self._observers:
            self._node.watch(None)
            self._paths.clear()
