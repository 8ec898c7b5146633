"""Framed TCP beside UDP: a second way to a peer, for bulk alone.

A datagram of framed TCP carries a whole super-packet, so that one seal and one system call do what UDP needs 46
datagrams for; a bulk transfer between two computers that reach each other costs a third of the time. What is
interactive stays on UDP and waits behind nothing::

    bulk flows move 128 Mbit/s or more         ──▶ a connection of framed TCP to where the peer is, and an empty message by it
    the peer hears it, and answers by the same ──▶ both use the connection for their bulk flows
    the connection ends                        ──▶ UDP again; another attempt after ten seconds
    its kernel retransmits, or it takes nothing ──▶ UDP again; the connection rests, and is tried again later if it is still there

Who can make a node open a connection: a member to whom it sends much, for it is the own traffic that asks for a way, and
only to the address at which that member's tunnel is (its port there is what the mediator named, or the tunnel's own);
once in ten seconds, then less and less often. Who can make it use one: a member of that very address, by an authentic
packet that is new; who can hold back a datagram and send it by TCP gains a way by it only from there (the same computer,
or behind the same NAT).

It is tried only on short round trips: on long ones a kernel's TCP underneath adds its own recovery to the inner one's,
and one loss stops all flows at once.
"""

from __future__ import annotations

from userlan.node.peers import PeerLink, PeerState
from userlan.tunnel.device import Device
from userlan.tunnel.events import BulkStalled, BulkTraffic, WayHeard
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

STALLED_PAUSE = 10.0
"""Seconds for which a connection that took nothing rests: it ends in that time, if it is dead."""


class _Attempts:
    """What was tried with one peer. Monotonic seconds."""

    __slots__ = ("not_before", "pause", "rest_until", "resting")

    def __init__(self) -> None:
        self.not_before = 0.0
        """No attempt by this node earlier."""
        self.pause = RETRY_FIRST
        """Between the next attempt and the one after it."""
        self.rest_until = 0.0
        """No way at all earlier, whoever asks for it."""
        self.resting: Endpoint | None = None
        """The connection that was left, and is there."""


class BulkWays:
    """Decides for all peers of a node. The device does the sending, and tells of answers."""

    def __init__(self, device: Device, links: dict[bytes, PeerLink], enabled: bool) -> None:
        self.enabled = enabled
        self._device = device
        self._links = links
        self._attempts: dict[bytes, _Attempts] = {}
        """By the peer's key; bounded by the roster (see ``forget``)."""
        self._opening: dict[Endpoint, bytes] = {}
        """Connections asked for and not established yet → the peer they are for."""

    def happened(self, event: BulkTraffic | BulkStalled | WayHeard, now: float) -> None:
        """The device says something of a peer's ways."""
        if isinstance(event, BulkTraffic):
            self.traffic(event.public_key, now)
        elif isinstance(event, BulkStalled):
            self._rest(event.public_key, event.endpoint, STALLED_PAUSE, now)
        else:
            self.heard(event.public_key, event.endpoint, now)

    def traffic(self, key: bytes, now: float) -> None:
        """Bulk flows to a peer move much: open a way for them, where there is none."""
        link, peer = self._links.get(key), self._device.peer(key)
        if not self.enabled or link is None or peer is None or peer.ways.bulk is not None or peer.stock:
            return
        endpoint = peer.endpoint
        if link.state is not PeerState.DIRECT or endpoint is None or endpoint.transport != UDP:
            return
        attempts = self._of(key)
        if now < attempts.not_before or link.rtt is None or link.rtt > LONGEST_ROUND_TRIP:
            return
        if attempts.resting is not None:
            peer.ways.use_bulk(attempts.resting)
            attempts.resting = None
            return
        attempts.not_before = now + attempts.pause
        attempts.pause = min(2 * attempts.pause, RETRY_LAST)
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
        """Authenticated packets of a peer came by another way than the one in use: if that is framed TCP beside UDP, use it, and say so by
        an answer. A relay at the same address is none, nor is another of the peer's UDP ports."""
        peer = self._device.peer(key)
        if not self.enabled or key not in self._links or peer is None or peer.ways.bulk is not None:
            return
        attempts, used = self._of(key), peer.endpoint
        if now < attempts.rest_until or used is None or (used.transport, endpoint.transport) != (UDP, TCP) or used.host != endpoint.host:
            return
        peer.ways.use_bulk(endpoint)
        attempts.not_before, attempts.pause, attempts.resting = now + RETRY_FIRST, RETRY_FIRST, None
        self._device.knock(key, endpoint, now)

    def lossy(self, endpoint: Endpoint, now: float) -> None:
        """The kernel had to retransmit on a connection: leave the path to UDP for a while."""
        for key in self._users(endpoint):
            self._rest(key, endpoint, LOSSY_PAUSE, now)

    def lost(self, endpoint: Endpoint, now: float) -> None:
        """A connection has ended, or could not be established. To be said before the device is told."""
        self._opening.pop(endpoint, None)
        for attempts in self._attempts.values():
            if attempts.resting == endpoint:
                attempts.resting = None
        for key in self._users(endpoint):
            self._of(key).not_before = now + RETRY_FIRST

    def _rest(self, key: bytes, endpoint: Endpoint, pause: float, now: float) -> None:
        """Leave a connection for a while."""
        peer = self._device.peer(key)
        if peer is not None and key in self._links:
            peer.ways.use_bulk(None)
            attempts = self._of(key)
            attempts.not_before = attempts.rest_until = now + pause
            attempts.resting = endpoint

    def _users(self, endpoint: Endpoint) -> list[bytes]:
        """The peers whose bulk takes a connection."""
        peers = ((key, self._device.peer(key)) for key in self._links)
        return [key for key, peer in peers if peer is not None and peer.ways.bulk == endpoint]

    def _of(self, key: bytes) -> _Attempts:
        attempts = self._attempts.get(key)
        if attempts is None:
            attempts = self._attempts[key] = _Attempts()
        return attempts

    def forget(self, key: bytes) -> None:
        """The peer left the roster."""
        self._attempts.pop(key, None)
