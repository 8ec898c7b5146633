"""What goes to many: broadcasts and multicasts, to the members that hear them and from the members that send them.

::

    own stack, attached kernel                                                tunnel of a member
        │ flood(packet)                                                           │ arrived(key, packet)
        ▼                                                                         ▼
    leaves this host? (hop limit, scope, own source)              a report? ──▶ Listeners: what the member wants; ends here
        ▼                                                                         ▼
    Storms: not too much, not again and again                         the source is the member's own (Switch.permitted)
        ▼                                                                         ▼
    broadcasts, control groups, reports: all; else Listeners          Storms: not too much, not again and again
        ▼                                                                         ▼
    of those whose tunnel is up: Device.send_to_many                         Host.receive: whoever listens here

Every node sends to each member itself and hands on nothing: what comes from a tunnel ends in this host, so nothing is reflected and
nothing can go in circles within the LAN. A member that is away is not woken by what is meant for many.

**Telling.** A member whose tunnel comes up is told at once which groups this node listens to, and once more a second later, since the
first may be lost (RFC 3376 8.1: robustness 2); so is one that is up and has a new session: it may have restarted, and know nothing,
before anybody missed it; changes are told to all by the stack's ``Reporter``; all is told again every
``REFRESH`` seconds, so that no querier is needed. Reports of others end here: a host that heard them would keep its own to itself
(RFC 4541 2.1.1 (1b)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from userlan.lan.listeners import Listeners, for_everybody
from userlan.lan.storm import Storms
from userlan.lan.switch import Switch
from userlan.node.peer_table import PeerTable
from userlan.stack.groups import Groups, stays_here
from userlan.stack.host import Host
from userlan.tunnel.device import Device
from userlan.wire import igmp, mld
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.membership import Query
from userlan.wire.superpacket import SuperPacket

REFRESH = 125.0
"""Seconds between two tellings of all groups, as a querier would ask (RFC 3376 8.2); up to a tenth less, so that members do not fall
into step."""

AGAIN = 1.0
"""Seconds after which a member that has come up is told once more (RFC 3376 8.11)."""

OWN = b""
"""This node among the senders."""

SNOOPED = "snooped"
"""Why a report goes no further: it has done its work."""

UNHEARD = "nobody-hears"
"""Why a packet to many went to nobody."""

NOBODY = frozenset((igmp.NOBODY, mld.NOBODY))
"""Sources that a report may have instead of an address (RFC 3376 4.2.13, RFC 3810 5.2.13)."""


class Flooding:
    """Of one node. ``counters``: what was dropped, by reason, beside those of ``listeners`` and ``storms``."""

    def __init__(
        self, host: Host, switch: Switch, peers: PeerTable, device: Device, storms: Storms, entropy: Callable[[int], bytes], now: float
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.listeners = Listeners()
        self.storms = storms
        self._host = host
        self._switch = switch
        self._peers = peers
        self._device = device
        self._entropy = entropy
        self._again: dict[bytes, float] = {}
        """Members that are told once more, and when; in the order of time."""
        self._refresh_at = self._next_refresh(now)

    # ------------------------------------------------------------------ from this host

    def send(self, packet: SuperPacket, now: float) -> str:
        """A packet of this host's to a group or broadcast; why it was dropped (a counter's name), or nothing.

        Nobody listening is no failure and is not counted: it has reached all who do (RFC 1122 3.2.2). It is told, as ``UNHEARD``.
        """
        reason = self._stays(packet) or self.storms.refuses(OWN, packet.destination, packet.wire_count, _digests(packet), now)
        if reason:
            return reason
        hearers = self.hearers(packet, now)
        self._device.send_to_many(hearers, packet, now)
        return "" if hearers else UNHEARD

    def hearers(self, packet: SuperPacket, now: float) -> list[bytes]:
        """The members that get a packet: those that hear its group, and whose tunnel is up."""
        links, destination = self._peers.links, packet.destination
        if self._switch.is_broadcast(destination) or for_everybody(destination) or Groups.takes(packet):
            return [key for key, link in links.items() if link.up]
        heard = self.listeners.hearers(destination, packet.source, now)
        return [key for key in heard if key in links and links[key].up]

    def _stays(self, packet: SuperPacket) -> str:
        """Why a packet must not leave this host."""
        if packet.hop_limit == 0:
            reason = "hop-limit"
        elif stays_here(packet.destination):
            reason = "scope"
        elif packet.source in self._host.addresses or (packet.source in NOBODY and Groups.takes(packet)):
            return ""
        else:
            reason = "source-foreign"
        self.counters[reason] += 1
        return reason

    # ------------------------------------------------------------------ from members

    def arrived(self, key: bytes, packet: SuperPacket, now: float) -> str:
        """A packet of a member's to none of this host's addresses: why it ends here (a counter's name); nothing: the host takes it."""
        reports = Groups.takes(packet)
        if not (reports and packet.source in NOBODY) and not self._switch.permitted(key, packet.source):
            return "source-forged"
        if not self._switch.is_group(packet.destination):
            return ""
        reason = self.storms.refuses(key, packet.destination, packet.wire_count, _digests(packet), now)
        return reason or (self._snooped(key, packet, now) if reports else "")

    def _snooped(self, key: bytes, packet: SuperPacket, now: float) -> str:
        """A member's message about groups; queries alone are for the host."""
        try:
            if not packet.verified and not transport_ok(packet):
                raise WireError("checksum", "the checksum of a message about groups is wrong")
            message = igmp.parse(packet) if packet.version == 4 else mld.parse(packet)
        except WireError as error:
            self.counters[error.reason] += 1
            return error.reason
        if isinstance(message, Query):
            return ""
        self.listeners.heard(key, message, now)
        return SNOOPED

    # ------------------------------------------------------------------ members come and go

    def groups(self, now: float) -> dict[bytes, tuple[bytes, ...]]:
        """The groups that each member listens to, by key; those that listen to none are left out."""
        told = {key: self.listeners.groups(key, now) for key in self._peers.links}
        return {key: groups for key, groups in told.items() if groups}

    def came_up(self, key: bytes, now: float) -> None:
        """A member's tunnel has come up: it is told what this node listens to."""
        self._tell(key, now)
        self._again.pop(key, None)
        self._again[key] = now + AGAIN

    def renewed(self, key: bytes, now: float) -> None:
        """There is a new session with a member. One that was not away is told: whether it is another node now, nothing else says."""
        link = self._peers.links.get(key)
        if link is not None and link.up:
            self.came_up(key, now)

    def forget(self, key: bytes) -> None:
        """Somebody is no member any more."""
        self.listeners.forget(key)
        self.storms.forget(key)
        self._again.pop(key, None)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [self._refresh_at, *list(self._again.values())[:1]]
        sweep = self.listeners.deadline()
        return min(times if sweep is None else [*times, sweep])

    def tick(self, now: float) -> None:
        """Tell again what is due."""
        self.listeners.tick(now)
        for key in self._due(now):
            self._tell(key, now)
        if now >= self._refresh_at:
            self._refresh_at = self._next_refresh(now)
            up = [key for key, link in self._peers.links.items() if link.up]
            for report in self._host.group_reports():
                self._device.send_to_many(up, report, now)

    def _due(self, now: float) -> Iterator[bytes]:
        while self._again:
            key, at = next(iter(self._again.items()))
            if at > now:
                return
            del self._again[key]
            yield key

    def _tell(self, key: bytes, now: float) -> None:
        link = self._peers.links.get(key)
        if link is not None and link.up:
            for report in self._host.group_reports():
                self._device.send(key, report, now)

    def _next_refresh(self, now: float) -> float:
        return now + REFRESH * (1 - int.from_bytes(self._entropy(2), "big") / 2**16 / 10)


def _digests(packet: SuperPacket) -> list[int]:
    """What tells a packet from others, for each datagram of a unit."""
    size = packet.segment_size
    if not size:
        return [hash((packet.header, bytes(packet.payload)))]
    start = packet.transport_offset
    head = (packet.destination, packet.header[start : start + 4])
    return [hash((head, bytes(packet.payload[place : place + size]))) for place in range(0, len(packet.payload), size)]
