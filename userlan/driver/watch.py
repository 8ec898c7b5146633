"""What passes at the border of this node, for whoever wants to look: each inner packet to or from a peer, and what was dropped.

::

    Node.watch ──▶ Watch ──▶ one observer, another …        a Seen each; no call at all while there is no observer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from twisted.logger import Logger

from userlan.lan.addresses import is_multicast
from userlan.wire.checksum import finish, pseudo_residue, residue
from userlan.wire.endpoint import RELAY, Endpoint, host_port
from userlan.wire.numbers import PROTOCOL_TCP, PROTOCOL_UDP
from userlan.wire.superpacket import SuperPacket, cut

Direction = Literal["in", "out"]

_CHECKSUM_AT = {PROTOCOL_TCP: 16, PROTOCOL_UDP: 6}
"""Where a transport's header has its checksum (RFC 9293 3.1, RFC 768)."""


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
        """How the peer is reached at this moment, for people; empty for no single peer, and while it is not."""
        return self._watch.path(self.key) if self.key else ""

    def wire(self) -> list[bytes]:
        """The IP packets that it stands for, each as it would be on a wire: their checksums are right, unless one came wrong."""
        packet = self.packet
        alike = packet.version == 6 or packet.header[6] & 0x40       # else each has an identification of its own
        if alike and packet.wire_count > 1 and not packet.fragment and packet.protocol in _CHECKSUM_AT:
            return _with_checksums(packet, cut(packet, False))
        return cut(packet, True)


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
        """How a peer is reached: ``direct udp HOST:PORT``, ``relay NAME (HOST:PORT)``, and whether bulk has a connection
        beside it; empty where there is no path."""
        tunnel = self._node.device.peer(key)
        way = (tunnel.endpoint, tunnel.ways.bulk) if tunnel is not None else (None, None)
        said = self._paths.get(key)
        if said is None or said[0] != way:
            said = self._paths[key] = (way, self._told(*way))
        return said[1]

    def _told(self, endpoint: Endpoint | None, bulk: Endpoint | None) -> str:
        if endpoint is None:
            return ""
        where = host_port(endpoint.host, endpoint.port)
        if endpoint.transport == RELAY:
            return f"relay {self._node.relays.client.name_of(endpoint)} ({where})".replace("  ", " ")
        beside = f", bulk tcp {host_port(bulk.host, bulk.port)}" if bulk is not None else ""
        return f"direct {endpoint.transport} {where}{beside}"

    def _remove(self, observer: Observer) -> None:
        if self._observers.pop(observer, self) is not self and not self._observers:
            self._node.watch(None)
            self._paths.clear()


def _with_checksums(packet: SuperPacket, pieces: list[bytes]) -> list[bytes]:
    """The pieces of a packet whose checksums are zero, with them; the IP headers of pieces of one length are the same.

    Why beside ``cut``: in half of its time, which at full speed decides how much is captured.
    """
    start, version, protocol = packet.transport_offset, packet.version, packet.protocol
    place = start + _CHECKSUM_AT[protocol]
    size, pseudo, network = 0, 0, b""
    done = []
    for piece in pieces:
        if len(piece) != size:
            size = len(piece)
            pseudo = pseudo_residue(packet.source, packet.destination, protocol, size - start)
            network = piece[:start]
            if version == 4:
                network = b"".join((network[:10], finish(residue(network)).to_bytes(2, "big"), network[12:]))
        checksum = finish(pseudo + residue(piece[start:]))
        if checksum == 0 and protocol == PROTOCOL_UDP:
            checksum = 0xFFFF
        done.append(b"".join((network, piece[start:place], checksum.to_bytes(2, "big"), piece[place + 2 :])))
    return done
