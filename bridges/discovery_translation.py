"""Where the other side reaches what a packet or a stream names: the relay's answers to the codecs (bridges/rewrite).

::

    outward   what local programs say: an own address → the node's virtual one, the port exposed on demand
                                       a forward      → the peer's own address and port
    inward    what a peer says:        its own address → its alias, the port forwarded on demand
                                       this node's     → the local service behind that exposed port

A peer can name none but itself: nobody is led into this computer's physical network, nor to a third member. And only a local
program itself can have a service of this computer exposed, in what it tells the LAN. Within a TCP stream the answers of a server are
no such word: who asks a server for ``/http://192.168.1.5:22/`` finds that in its error page. So responses name what is exposed
already, and requests of a local client may name ports from ``FIRST_USER_PORT`` on, for the one peer that they go to: where it is to be
called back, and in what it says itself those at the addresses of this computer's interfaces. (What a peer's page or playlist makes it
say, names what is exposed already: see ``HttpFilter``.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bridges.dial import is_loopback
from bridges.filtered import Filter
from bridges.leg import Buffer
from bridges.on_demand import FIRST_USER_PORT
from bridges.rewrite import SENDER, HttpFilter, Place
from userlan.driver.lan import PeerInfo

if TYPE_CHECKING:
    from bridges.discovery_carrier import Carrier


class Outward:
    """What is said from here to one peer, or (None) to all."""

    def __init__(self, carrier: Carrier, peer: PeerInfo | None, exposes: bool = True, first: int = 1, loopback: bool = True) -> None:
        """``exposes``: whether what is named is exposed when it is not yet, from the port ``first`` on. ``loopback``: also at addresses
        that no other computer reaches."""
        self._carrier = carrier
        self._peer = peer
        self._exposes = exposes
        self._first = first
        self._loopback = loopback

    def place(self, host: str, port: int, protocol: str) -> Place | None:
        """As ``Translation.place``."""
        relay = self._carrier.relay
        found = relay.on_demand.leads_to(host, port, protocol)
        if found is not None:
            return (found[0].ipv4 or found[0].ipv6), found[1]
        own = relay.lan.own()
        virtual = own.ipv4 or own.ipv6
        local = self._carrier.own_host(host)
        if not local or not virtual:
            return None
        if protocol == "udp":
            end = self._carrier.end_of(local, port) if self._exposes else None
            return None if end is None else (virtual, end.number)
        number = self._carrier.exposed(local, port, self._peer if self._first > 1 else None) if self._may(local, port) else None
        if number is None:
            number = relay.on_demand.exposed_as(local, port, protocol)
        return None if number is None else (virtual, number)

    def host(self, host: str) -> str | None:
        """As ``Translation.host``."""
        own = self._carrier.relay.lan.own()
        return (own.ipv4 or own.ipv6 or None) if self._carrier.own_host(host) else None

    def _may(self, host: str, port: int) -> bool:
        reached = self._loopback or not is_loopback(host) or self._carrier.relay.surroundings.is_own(host)
        return self._exposes and reached and port >= self._first


class Inward:
    """What one peer says here. ``seen_at``: the local address that its datagram comes from."""

    def __init__(self, carrier: Carrier, peer: PeerInfo, seen_at: str = "") -> None:
        self._carrier = carrier
        self._peer = peer
        self._seen_at = seen_at

    def place(self, host: str, port: int, protocol: str) -> Place | None:
        """As ``Translation.place``."""
        peer = self._peer
        if host in (SENDER, peer.ipv4, peer.ipv6):
            place = self._carrier.forwarded(peer, port, protocol)
            return None if place is None or (host == SENDER and self._seen_at and place[0] != self._seen_at) else place
        own = self._carrier.relay.lan.own()
        if host and host in (own.ipv4, own.ipv6):
            return self._carrier.relay.on_demand.serves(port, protocol)
        return None

    def host(self, host: str) -> str | None:
        """As ``Translation.host``."""
        return self._carrier.alias(self._peer) if host in (self._peer.ipv4, self._peer.ipv6) else None


class _Half:
    """One direction of an HTTP filter, as splices want it."""

    def __init__(self, feed: Callable[[bytes], Buffer], end: Callable[[], bytes]) -> None:
        self._feed = feed
        self.end = end

    def feed(self, data: bytes) -> bytes:
        """As ``Filter.feed``."""
        out = self._feed(data)
        return out if isinstance(out, bytes) else bytes(out)


def client_filters(carrier: Carrier, peer: PeerInfo) -> tuple[Filter, Filter]:
    """For a stream of a local client to a peer's server."""
    callbacks, bodies = (Outward(carrier, peer, first=FIRST_USER_PORT, loopback=loopback) for loopback in (True, False))
    return _halves(HttpFilter(callbacks, Inward(carrier, peer), bodies, Outward(carrier, peer, exposes=False)))


def server_filters(carrier: Carrier, peer: PeerInfo) -> tuple[Filter, Filter]:
    """For a stream of a peer's client to a local server."""
    return _halves(HttpFilter(Inward(carrier, peer), Outward(carrier, peer, exposes=False)))


def _halves(http: HttpFilter) -> tuple[Filter, Filter]:
    return _Half(http.client_data, http.client_ended), _Half(http.server_data, http.server_ended)
