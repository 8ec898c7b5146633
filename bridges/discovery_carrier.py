"""One profile, carried: what its programs say here goes to the LAN, and what they say there comes here.

::

    pickup      a local program told everybody     ──→ LanEnd of its port ──→ the same group or broadcast of the LAN
    from_local  a local program told a mirror      ──→ LanEnd of its port ──→ that peer's port
    from_lan    a peer told everybody              ──→ its Mirror ──→ everybody here who listens on the port
                a peer told a local program's port ──→ its Mirror ──→ that program

An *answer* is what goes to who has asked everybody: a server's, so that what the profile says is reached afterwards is exposed on
the answering side and forwarded on the asking one. The same holds for announcements, of profiles whose role is that.

A profile that is shared with some only: what local programs tell everybody is sent to each of these alone, as unicasts. (Groups
reach whoever listens, and a restricted profile must not be told to the others.)
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

from bridges.discovery_ends import LanEnd, Mirror, to_everybody
from bridges.discovery_guard import Bucket, Sighting
from bridges.discovery_local import LOOPBACK, LocalSocket, hear
from bridges.discovery_translation import Inward, Outward, client_filters, server_filters
from bridges.filtered import Filter
from bridges.on_demand import FIRST_USER_PORT, LINGER, OnDemandError
from bridges.profiles import Channel, Profile
from bridges.rewrite import CODECS
from bridges.sharing import Policy
from userlan.driver.lan import PeerInfo

if TYPE_CHECKING:
    from bridges.discovery_relay import Relay

ANSWER_WINDOW = 60.0
"""Seconds after a question to everybody in which what comes back is an answer: a person's browser of servers stands open longer, and
asks again."""

NO_LOW_PORT = "the system lets this user have no port below 1024" + (
    ": `sudo sysctl net.ipv4.ip_unprivileged_port_start=137` changes that" if sys.platform == "linux" else ""
)

OUTWARD_RATE, OUTWARD_BURST = 50.0, 200.0
"""Datagrams to everybody that are carried for one profile a second, and at once: a browser of servers asks eight ports at once, an
announcer speaks once in a second or two."""

MAX_UNICASTS = 64
"""Members that a datagram to everybody is sent to one by one, where a profile is shared with some only."""


class Carrier:
    """A profile that is switched on."""

    def __init__(self, relay: Relay, profile: Profile, policy: Policy, search: bool | None) -> None:
        """``search``: whether local programs' questions and announcements are picked up, which takes holding the profile's ports beside
        them; None: where these are known to share them."""
        self.relay = relay
        self.profile = profile
        self.policy = policy
        self.search = search
        self.counters: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        """Why what is not held is not, by what it is."""
        self._codec = CODECS.get(profile.codec)
        self._channels: dict[int, LanEnd] = {}
        self._pickups: dict[tuple[str, int], LocalSocket] = {}
        self._rate = Bucket(OUTWARD_RATE, OUTWARD_BURST)
        self._numbers = {port for channel in profile.channels for port in channel.ports} | {one.port for one in profile.reached}
        http = self._codec is not None and self._codec.http
        self._client_rewrite = self.client_filters if http else None
        self._server_rewrite = self.server_filters if http else None

    # what is held

    def open(self) -> None:
        """Hold what is not held yet; what cannot be is tried again later, and told in :attr:`problems`."""
        self.problems.clear()
        for channel in self.profile.channels:
            for port in channel.ports:
                self._open_lan(channel, port)
                if channel.reuse if self.search is None else self.search:
                    self._open_pickups(channel, port)

    def close_pickups(self) -> None:
        """Let go of local ports: this computer's addresses have changed, or it is in the LAN by an interface."""
        for pickup in self._pickups.values():
            pickup.close()
        self._pickups.clear()

    def close(self) -> None:
        """Hold nothing any more."""
        self.close_pickups()
        for end in self._channels.values():
            end.close()
        self._channels.clear()
        self.problems.clear()
        self.relay.forget(self)

    @property
    def picks_up(self) -> bool:
        """Whether what local programs tell everybody is picked up, somewhere."""
        return bool(self._pickups)

    def _open_lan(self, channel: Channel, port: int) -> None:
        if port not in self._channels:
            end = LanEnd(self, port, channel)
            try:
                end.open(self.relay.lan)
            except CannotListenError:
                self.problems[f"port {port} of the LAN"] = "another profile has it"
                return
            self._channels[port] = end

    def _open_pickups(self, channel: Channel, port: int) -> None:
        surroundings = self.relay.surroundings
        for address in (*(surroundings.broadcasts if channel.broadcast else ()), *channel.groups4):
            if (address, port) not in self._pickups:
                received = partial(self._picked_up, channel, port, address)
                try:
                    self._pickups[address, port] = hear(self.relay.lan.reactor, address, port, surroundings.addresses, received)
                except PermissionError:
                    if self.search:         # else it is as the profile's note has it: nobody has asked for it
                        self.problems[f"port {port}"] = NO_LOW_PORT
                except OSError as error:
                    self.problems[f"port {port}"] = f"a local program has it for itself ({error.strerror})"

    # from local programs

    def _picked_up(self, channel: Channel, port: int, address: str, datagram: bytes, source: tuple[str, int]) -> None:
        relay, now = self.relay, self.relay.now()
        if not relay.surroundings.is_own(source[0]):
            return
        if not self._rate.take(now):
            self.counters["outward-rate"] += 1
            return
        end = self.end_of(source[0], source[1])
        carried = self._translated(datagram, Outward(self, None), True)
        if end is None or carried is None:
            return
        end.asked = now
        relay.carried.note(source[1], port, datagram, now)
        if channel.role == "announce":
            self._expose_reached(source[1])
        self._tell(end, carried, to_everybody(address), port)

    def _tell(self, end: LanEnd, datagram: bytes, group: str, port: int) -> None:
        """To everybody with whom the profile is shared."""
        targets = [group]
        if self.policy.networks or self.policy.peers or self.policy.deny:
            admitted = [peer for peer in self.relay.lan.members() if self.policy.admits(self.relay.lan, peer)]
            targets = [peer.ipv4 or peer.ipv6 for peer in admitted[:MAX_UNICASTS]]
        for target in targets:
            self.counters["out" if end.write(datagram, (target, port)) else "unsent"] += 1

    def from_local(self, mirror: Mirror, datagram: bytes, source: tuple[str, int]) -> None:
        """A local program speaks to a peer's mirror."""
        if source[0] != LOOPBACK and not self.relay.surroundings.is_own(source[0]):
            self.counters["stranger"] += 1
            return
        if not self.policy.admits(self.relay.lan, mirror.peer):
            self.counters["forbidden"] += 1
            return
        end = self.end_of(source[0], source[1])
        if end is None:
            return
        answer = self.relay.now() - mirror.emitted < ANSWER_WINDOW and self._servers_listen
        if answer:
            self._expose_reached(source[1])
        carried = self._translated(datagram, Outward(self, mirror.peer, exposes=answer), False)
        if carried is None:
            return
        self.relay.use(mirror)
        self.counters["out" if end.write(carried, (mirror.address, mirror.port)) else "unsent"] += 1

    def end_of(self, host: str, port: int) -> LanEnd | None:
        """The port of the LAN that stands for a local program's; None when there is none left."""
        end = self._channels.get(port) or self.relay.mapped(self, port)
        if end is not None:
            end.seen(host, self.relay.now())
        return end

    # from the LAN

    def from_lan(self, end: LanEnd, datagram: bytes, source: tuple[str, int], group: str) -> None:
        """A peer speaks to everybody (``group``: by which address), or to a local program's port."""
        relay = self.relay
        peer = relay.peer_at(source[0])
        if peer is None or relay.attached:
            return
        if not self.policy.admits(relay.lan, peer):
            self.counters["forbidden"] += 1
            return
        known = relay.now() - end.heard < LINGER
        if end.channel is not None and (group or not known):
            self._told(end.channel, end.local_port, peer, datagram, source, group)
        elif not group:
            self._told_one(end, peer, datagram, source)

    def _told(
        self, channel: Channel, port: int, peer: PeerInfo, datagram: bytes, source: tuple[str, int], destination: str
    ) -> None:
        relay, now = self.relay, self.relay.now()
        if not relay.rate_of(peer).take(now):
            self.counters["inward-rate"] += 1
            return
        if relay.carried.knows(source[1], port, datagram, now) and relay.lives_here(peer):
            self.counters["heard-already"] += 1
            return
        mirror = relay.mirror(self, peer, source)
        if mirror is None:
            return
        carried = self._translated(datagram, self._inward(mirror), True)
        if carried is None:
            return
        mirror.emitted = now
        if channel.role == "announce":
            self._forward_reached(mirror)
        told = mirror.tell(carried, channel, port, destination, relay.surroundings.primary)
        self.counters["in" if told else "undelivered"] += 1

    def _told_one(self, end: LanEnd, peer: PeerInfo, datagram: bytes, source: tuple[str, int]) -> None:
        relay = self.relay
        mirror = relay.mirror(self, peer, source)
        if mirror is None:
            return
        relay.use(end)
        if relay.now() - end.asked < ANSWER_WINDOW and self._servers_listen:
            self._forward_reached(mirror)
        carried = self._translated(datagram, self._inward(mirror), False)
        if carried is None:
            return
        self.counters["in" if mirror.send(carried, (end.host, end.local_port)) else "undelivered"] += 1

    def _inward(self, mirror: Mirror) -> Inward:
        here = self.profile.deliver == "interface"
        return Inward(self, mirror.peer, "" if here else mirror.local[0])

    # what packets name

    def own_host(self, host: str) -> str:
        """As ``Surroundings.own``."""
        return self.relay.surroundings.own(host)

    def alias(self, peer: PeerInfo) -> str:
        """Where local programs see a peer."""
        return (peer.loopback_alias if self.relay.on_demand.aliases else "") or LOOPBACK

    def exposed(self, host: str, port: int, only: PeerInfo | None = None) -> int | None:
        """The LAN port of a local TCP service, exposed to whom the profile is shared with (``only``: to that one of them)."""

        def admit(peer: PeerInfo) -> bool:
            return (only is None or peer.key == only.key) and self.policy.admits(self.relay.lan, peer)

        holder: object = self if only is None else (self, only.key)
        try:
            return self.relay.on_demand.expose(
                host, port, "tcp", admit, holder, rewrite=self._server_rewrite, idle=LINGER, why=self.profile.name
            )
        except OnDemandError:
            self.counters["not-exposed"] += 1
            return None

    def forwarded(self, peer: PeerInfo, port: int, protocol: str, number: int | None = None) -> tuple[str, int] | None:
        """The local place of a peer's port. ``number``: as in ``OnDemand.forward``."""
        if protocol == "udp":
            mirror = self.relay.mirror(self, peer, (peer.ipv4 or peer.ipv6, port))
            place = None if mirror is None else mirror.local
        else:
            wanted = number if number is not None or port not in self._numbers else 0
            try:
                place = self.relay.on_demand.forward(
                    peer, port, "tcp", self, rewrite=self._client_rewrite, number=wanted, idle=LINGER, why=self.profile.name
                )
            except OnDemandError:
                place = None
        if place is None:
            self.counters["not-forwarded"] += 1
            return None
        now = self.relay.now()
        address = peer.ipv4 or peer.ipv6
        self.relay.found.note(Sighting(self.profile.name, peer.name, peer.key, address, *place, port, protocol, now))
        return place

    def keeps_number(self, port: int) -> bool:
        """Whether a mirror of a peer's port may hold the same number here.

        Not one that the profile's own programs use, since a local server would not start while it is held, unless they share it; and
        even so not where TCP goes to the port of the same number, which nobody shares. Who has the profile's ports held has chosen to
        search: then it does, since some clients (Teeworlds 0.7) take no answer from another port than they asked. What packets of a
        codec name can be any. Nor one of the system's own services: which ports a peer speaks from is its own choice.
        """
        channel = self.profile.channel_of(port)
        if channel is not None:
            tcp = any(not one.port and one.protocol == "tcp" for one in self.profile.reached)
            return bool(self.search) or (channel.reuse and not tcp)
        return port >= FIRST_USER_PORT and (port not in self._numbers or self._codec is None)

    def client_filters(self, peer: PeerInfo) -> tuple[Filter, Filter]:
        """For streams of local clients."""
        return client_filters(self, peer)

    def server_filters(self, peer: PeerInfo) -> tuple[Filter, Filter]:
        """For streams to local servers."""
        return server_filters(self, peer)

    @property
    def _servers_listen(self) -> bool:
        return any(channel.servers_listen for channel in self.profile.channels)

    def _expose_reached(self, replied: int) -> None:
        """What clients reach after an answer or announcement from the local port ``replied``."""
        host = self.own_host("")
        for reached in self.profile.reached:
            if reached.protocol == "tcp":
                self.exposed(host, reached.port or replied)
            else:
                self.end_of(host, reached.port or replied)

    def _forward_reached(self, mirror: Mirror) -> None:
        """What local programs reach after an answer or announcement of a mirror's peer: at the port that they see it come from, and at
        fixed ones of the same number, but where a codec tells them another."""
        for reached in self.profile.reached:
            number = None
            if not reached.port:
                number = mirror.local[1]
            elif self._codec is None or reached.port < FIRST_USER_PORT:
                number = reached.port
            self.forwarded(mirror.peer, reached.port or mirror.port, reached.protocol, number)

    def _translated(self, datagram: bytes, translation: Any, must: bool) -> bytes | None:
        """A datagram for the other side. What the codec does not know is dropped only where it ``must`` be the profile's, or nothing else
        is spoken there: what goes on between two programs that have found each other may be anything."""
        if self._codec is None:
            return datagram
        carried = self._codec.rewrite(datagram, translation)
        if carried is None and (must or self._codec.strict):
            self.counters["not-understood"] += 1
            return None
        return datagram if carried is None else carried
