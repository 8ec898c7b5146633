"""Framed TCP beside UDP: a second way to a peer, for bulk alone.

A datagram of framed TCP carries a whole super-packet, so that one seal and one system call do what UDP needs 46
datagrams for; a bulk transfer between two computers that reach each other costs a third of the time. What is
interactive stays on UDP and waits behind nothing::

    bulk flows move 128 Mbit/s or more        ──▶ a connection of framed TCP to where the peer is, and an empty message by it
    the peer hears it, and answers by the same ──▶ both use the connection for their bulk flows
    the connection ends, or retransmits        ──▶ UDP again; another attempt later

Only an address at which the peer is already (its tunnel came up there) is ever knocked at, or accepted from: who can
replay a datagram gains no way by it. It is tried only on short
round trips: on long ones a kernel's TCP underneath adds its own recovery to the inner one's, and one loss stops all
flows at once; and not again for a minute where the kernel had to retransmit.
"""

from __future__ import annotations

from userlan.node.peers import PeerLink, PeerState
from userlan.tunnel.device import Device
from userlan.wire.endpoint import TCP, UDP, Endpoint

LONGEST_ROUND_TRIP = 0.030
"""Seconds: beyond it a loss stops everything for too long."""

RETRY_FIRST = 10.0
RETRY_LAST = 600.0
"""Seconds between attempts that had no success; doubles (most peers behind NATs cannot be reached by TCP)."""

MAX_OPENING = 64
"""Connections that are being opened; the oldest is forgotten."""

LOSSY_PAUSE = 60.0
"""Seconds for which a path that lost segments is left to UDP."""


class BulkWays:
    """Decides for all peers of a node. The device does the sending, and tells of answers."""

    def __init__(self, device: Device, links: dict[bytes, PeerLink], enabled: bool) -> None:
        self.enabled = enabled
        self._device = device
        self._links = links
        self._retry: dict[bytes, tuple[float, float]] = {}
        """Peer's key → not before, and the pause after the next attempt; bounded by the roster (see ``forget``)."""
        self._opening: dict[Endpoint, bytes] = {}
        """Connections asked for and not established yet → the peer they are for."""

    def traffic(self, key: bytes, now: float) -> None:
        """Bulk flows to a peer move much: open a way for them, where there is none."""
        link, peer = self._links.get(key), self._device.peer(key)
        if not self.enabled or link is None or peer is None or peer.ways.bulk is not None or peer.stock:
            return
        endpoint = peer.endpoint
        if link.state is not PeerState.DIRECT or endpoint is None or endpoint.transport != UDP:
            return
        not_before, pause = self._retry.get(key, (0.0, RETRY_FIRST))
        if now < not_before or link.rtt is None or link.rtt > LONGEST_ROUND_TRIP:
            return
        self._retry[key] = (now + pause, min(2 * pause, RETRY_LAST))
        same_host = [one for one in link.candidates if one.transport == TCP and one.host == endpoint.host]
        target = same_host[0] if same_host else Endpoint(TCP, endpoint.host, endpoint.port)
        self._opening[target] = key
        if len(self._opening) > MAX_OPENING:
            del self._opening[next(iter(self._opening))]
        self._device.open_way(target)

    def opened(self, endpoint: Endpoint, now: float) -> None:
        """A connection is established: if it is one that was asked for here, say who is there."""
        key = self._opening.pop(endpoint, None)
        if key is not None:
            self._device.knock(key, endpoint, now)

    def heard(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """Authenticated packets of a peer came by framed TCP beside UDP: use it, and say so by an answer."""
        peer = self._device.peer(key)
        if not self.enabled or key not in self._links or peer is None or peer.ways.bulk is not None:
            return
        if peer.endpoint is None or peer.endpoint.host != endpoint.host:
            return
        peer.ways.use_bulk(endpoint, now)
        self._retry[key] = (0.0, RETRY_FIRST)
        self._device.knock(key, endpoint, now)

    def lossy(self, endpoint: Endpoint, now: float) -> None:
        """The kernel had to retransmit on a connection: leave the path to UDP for a while."""
        for key in self._links:
            peer = self._device.peer(key)
            if peer is not None and peer.ways.bulk == endpoint:
                peer.ways.use_bulk(None, now)
                self._retry[key] = (now + LOSSY_PAUSE, RETRY_FIRST)

    def forget(self, key: bytes) -> None:
        """The peer left the roster."""
        self._retry.pop(key, None)
