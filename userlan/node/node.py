"""A node: one member of the LAN, composed of its parts. Sans-IO, like all of them::

        programs (driver, bridges)
              │ host.tcp_connect …           │ create, join …       │ status
    ┌─────────┴───────────────┐   ┌──────────┴─────────┐   ┌────────┴───────┐
    │ host (stack in memory)  │   │ membership, gossip │   │ snapshot       │
    └─────────┬───────────────┘   └──────────┬─────────┘   └────────────────┘
         switch: destination → peer,     mediator links, peer table
         source must be the peer's own       │
    ┌─────────┴──────────────────────────────┴─────────────────────────────┐
    │ device (tunnels)                                                     │
    └─────────┬────────────────────────────────────────────────────────────┘
              │ bursts of datagrams

The node is the only place that connects parts: each returns what happened, and this module carries it on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

from userlan.control.mediation import LinkState
from userlan.control.messages import PROTOCOL_VERSION, Hello, Message
from userlan.lan.addresses import AddressRange, ipv6_of
from userlan.lan.invite import Invite
from userlan.lan.roster import Changes, Roster
from userlan.lan.secrets import NetworkSecret
from userlan.lan.storm import Storms
from userlan.lan.switch import Switch
from userlan.node.blocking import Blocked, Blocking
from userlan.node.bulk import BulkWays
from userlan.node.conductor import Conductor
from userlan.node.encounters import Encounters
from userlan.node.events import MemoryChanged, NodeEvent, RosterChanged
from userlan.node.flooding import Flooding
from userlan.node.gossip import Gossip
from userlan.node.intake import Intake, Observer
from userlan.node.introducer import Introducer
from userlan.node.keyring import Keyring
from userlan.node.lookup import Lookup
from userlan.node.mediators import Mediators
from userlan.node.membership import Membership
from userlan.node.memory import Memory
from userlan.node.neighbours import Neighbours
from userlan.node.own_host import own_host
from userlan.node.peer_table import PeerTable
from userlan.node.punching import Punching
from userlan.node.reachability import Reachability
from userlan.node.relays import Relays
from userlan.node.remembering import remember
from userlan.node.sockets import Sockets
from userlan.node.whereabouts import Whereabouts
from userlan.stack.events import Event
from userlan.traversal.kinds import RELAY_BOUND, RELAY_DATA
from userlan.traversal.nat import PortMapping
from userlan.traversal.sorting import TUNNEL, parts, tunnel_alone
from userlan.tunnel.device import Device
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket


class Timed(Protocol):
    """A part with a deadline of its own."""

    def deadline(self) -> float | None: ...


class Node:
    """One member of the LAN. ``entropy(n)`` gives n random octets; times are monotonic seconds; ``wall_offset`` makes them wall-clock.

    ``aes``: this computer seals faster with AES-256-GCM than with ChaCha20-Poly1305, so it is used with peers of which the same is true.
    ``storms``: how much that goes to many is let through, None: the defaults.
    """

    def __init__(
        self,
        private_key: bytes,
        memory: Memory,
        *,
        name: str,
        entropy: Callable[[int], bytes],
        now: float,
        wall_offset: float,
        address_range: AddressRange | None = None,
        mtu: int = 1420,
        keepalive: float = 5.0,
        bulk_over_tcp: bool = True,
        agent: str = "userlan",
        aes: bool = False,
        storms: Storms | None = None,
    ) -> None:
        self.memory = memory
        self.name = memory.name or name
        self.wall_offset = wall_offset
        self.counters: Counter[str] = Counter()
        self.device = Device(
            private_key, entropy=entropy, now=now, wall_offset=wall_offset, timestamp_floor=memory.timestamp, mtu=mtu, aes=aes
        )
        self.key = self.device.public_key
        self.ipv6 = ipv6_of(self.key)
        self.keyring = Keyring(self.key, private_key)
        self.keyring.restore(memory.networks)
        self.roster = Roster(self.key, self.keyring, address_range)
        self.host = own_host(entropy, mtu, self.ipv6, self.roster.address_range.broadcast)
        self.switch = Switch(address_range)
        blocked = Blocked(memory.blocked)
        self.lookup = Lookup(self.roster, self.name, blocked)
        self.membership = Membership(self.key, self.roster, self.keyring, entropy)
        self.membership.bind(self)
        self.membership.departures.restore(memory.departures)
        self.membership.applications.restore(memory.applications, self.keyring, self.roster)
        self.peers = PeerTable(self.device, self.host, self.roster, self.keyring, memory, keepalive, blocked)
        self.flooding = Flooding(self.host, self.switch, self.peers, self.device, storms or Storms(), entropy, now)
        self.bulk = BulkWays(self.device, self.peers.links, bulk_over_tcp)
        self.gossip = Gossip(self.host, self.roster, self.keyring, self.device)
        self.introducer = Introducer(self.host, self.roster, self.device, self.peers.links, entropy)
        self.mediators = Mediators(self.device, self.host, self.roster, self.keyring, memory, self.counters, entropy)
        self.links = self.mediators.links
        self.intake = Intake(self.host, self.switch, self.mediators, self.peers, self.flooding, self.device)
        self.relays = Relays(self.key, entropy, wall_offset)
        self.sockets = Sockets()
        self.reachability = Reachability(self.links, self.device, self.sockets, entropy, now)
        self.punching = Punching(self.key, entropy, self.sockets)
        self.encounters = Encounters(self.device, self.punching)
        self.blocking = Blocking(self, blocked)
        relays: tuple[Timed, ...] = (self.relays.client, self.relays.measuring)
        resting: tuple[Timed, ...] = (self.gossip, self.membership.requests, *relays, self.reachability, self.punching, self.encounters)
        resting += (self.flooding,)
        self._resting_deadlines = tuple(part.deadline for part in resting)
        self._deadlines = (self.host.deadline, self.device.deadline, self.peers.deadline)
        self.restless = True
        self._unsent = True
        self._rested_until: float | None = None
        self._agent = agent
        self._keepalive = keepalive
        self.whereabouts = Whereabouts(self)
        self.neighbours = Neighbours(self.key, self.roster, self.keyring, entropy)
        self.pending: list[NodeEvent | Event] = []
        self.conductor = Conductor(self)
        self._now = now
        self._stirred = False
        self._restore(now)

    # --- what the driver feeds ---------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is for this node: its device, its relays' client, its probes, an answer to its questions."""
        parts_of_it = (self.device, self.relays, self.punching, self.reachability)
        return any(part.owns(data) for part in parts_of_it)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        """Datagrams of ``segment`` octets back to back from one endpoint."""
        self._now = now
        if tunnel_alone(data, segment):
            self._receive(data, segment, source, now)
            return
        for kind, run, size in parts(data, segment):
            if kind != TUNNEL:
                self.stir()
            if kind == TUNNEL:
                self._receive(run, size, source, now)
            elif kind in (RELAY_DATA, RELAY_BOUND):
                for unwrapped in self.relays.receive(run, size, source, now) or ():
                    self._receive(unwrapped.data, unwrapped.segment, unwrapped.source, now)
            else:
                for start in range(0, len(run), size):
                    self._answered(run[start : start + size], source, now)

    def _answered(self, datagram: Buffer, source: Endpoint, now: float) -> None:
        """A probe, or an answer to something that a part of this node has asked."""
        if self.punching.owns(datagram):
            self.punching.receive(datagram, source, now)
        elif self.reachability.owns(datagram):
            self.reachability.receive(datagram, source, now)
        else:
            self.relays.receive(datagram, len(datagram), source, now)

    def _receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        receive = self.intake.receive
        for inbound in self.device.receive(data, segment, source, now):
            key = inbound.peer.public_key
            if self.peers.heard(key, source, now):
                self.gossip.tell(key, now)
                self.stir()
            for packet in inbound.packets:
                receive(key, packet, source, now)

    def flood(self, packet: SuperPacket, now: float) -> None:
        """A packet of this node's, or of a kernel's that shares its addresses, to a group or broadcast: it leaves for all who hear that."""
        reason = self.flooding.send(packet, now)
        if reason:
            self.intake.dropped(packet, reason, now)

    def watch(self, observer: Observer | None) -> None:
        """Let ``observer`` see every inner packet that is sent to or received from a peer, and what is dropped; None: nobody."""
        self.intake.watch(observer)

    def datagrams(self, now: float) -> list[Burst]:
        """The bursts that are due. Drained. What happened is carried on by ``events``: an answer must not wait for that."""
        self._now = now
        self._stirred = False
        for packet in self.host.packets(now):
            self._route(packet, now)
        bursts = self.relays.outward(self.device.datagrams(now), now)
        if not self._unsent:
            return bursts
        self._unsent = False
        own = [*self.punching.datagrams(now), *self.reachability.datagrams(now), *self.relays.datagrams(now)]
        return own + bursts if own else bursts

    def answers(self, now: float) -> list[Burst]:
        """Echo replies alone: they leave before what happened is carried on."""
        if not self.host.has_answers:
            return []
        for packet in self.host.answers(now):
            self._route(packet, now)
        return self.relays.outward(self.device.datagrams(now), now)

    @property
    def backlog(self) -> bool:
        """Whether ``datagrams`` would give more at once."""
        return self.device.backlog

    def hold(self, way: Endpoint | str, now: float) -> None:
        """A way out is full: what is for it waits, by flow."""
        for one in (way, *self.relays.client.held(way)):
            self.device.hold(one, now)

    def release(self, way: Endpoint | str) -> None:
        """It has room again."""
        for one in (way, *self.relays.client.released(way)):
            self.device.release(one)

    def way_opened(self, endpoint: Endpoint) -> None:
        """A framed TCP connection is established."""
        self.stir()
        self.bulk.opened(endpoint, self._now)
        self.reachability.way_opened(endpoint, self._now)
        self.punching.way_opened(endpoint, self._now)

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended."""
        self.stir()
        self.bulk.lost(endpoint, self._now)
        self.reachability.way_lost(endpoint)
        self.device.way_lost(endpoint)
        for one in self.relays.client.released(endpoint):
            self.device.release(one)
        self.relays.client.way_lost(endpoint, self._now)
        self.peers.way_lost(endpoint, self._now)

    def way_lossy(self, endpoint: Endpoint) -> None:
        """The kernel has to retransmit on a framed TCP connection."""
        self.bulk.lossy(endpoint, self._now)

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        """A numbered socket of this node's was opened at a local port."""
        self.stir()
        self.sockets.opened(via, transport, port)

    def dismissed(self) -> list[int]:
        """Numbers of sockets to be closed. Drained."""
        return self.sockets.dismissed()

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; now where parts have acted and nothing was sent since."""
        if self._stirred:
            return self._now
        if self._rested_until is None:
            self._rested_until = _nearest(inf, self._resting_deadlines)
        nearest = _nearest(self._rested_until, self._deadlines)
        nearest = _nearest(nearest, [link.deadline for link in self.links.values()])
        return nearest if nearest < inf else None

    def stir(self) -> None:
        """Something came that is more than packets of tunnels, or somebody acted: all parts are to be asked what they have to say.

        Why: most turns carry nothing but tunnelled packets, and ten parts that are asked in vain make them half as dear again.
        """
        self.restless = self._unsent = True
        self._rested_until = None

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        self.stir()
        self.device.tick(now)
        self.host.tick(now)
        for link in list(self.links.values()):
            link.tick(now)
        self.relays.tick(now)
        self.peers.tick(now)
        self.gossip.tick(now)
        self.flooding.tick(now)
        self.reachability.tick(now)
        self.peers.keep_alive(self.reachability.keepalive(self._keepalive))
        self.encounters.tick(now)
        self.punching.tick(now)
        self.membership.tick(now)
        for mediator in self.membership.requests.due(now):
            known = self.links.get(mediator)
            if known is not None and known.state is LinkState.READY:    # else it is asked in the next session
                self.membership.link_ready(mediator, self, now)
        self.carry_on(now)

    def events(self) -> list[NodeEvent | Event]:
        """The node's own events, and those of the host that are none of its own connections'. Drained."""
        self.carry_on(self._now)
        events, self.pending = self.pending, []
        return events

    def carry_on(self, now: float) -> None:
        """Let the other parts hear of what was done to one."""
        if self.conductor.process(now):
            self._stirred = True

    # --- what people ask for -----------------------------------------------------------------------------------------

    def create(self, network: str, mediator: bytes, secret: NetworkSecret, now: float, approval: bool = False) -> int:
        """Make a network; its end comes as RequestDone or RequestRefused with the number returned. RefusalError where it cannot be."""
        return self.asked(self.membership.create(network, mediator, secret, now, approval), now)

    def join(self, network: str, mediator: bytes, secret: NetworkSecret, now: float) -> int:
        """Join a network; as ``create``."""
        return self.asked(self.membership.join(network, mediator, secret, now), now)

    def leave(self, network: str, now: float) -> int:
        """Leave a network; as ``create``."""
        return self.asked(self.membership.leave(network, now), now)

    def evict(self, network: str, key: bytes, now: float) -> int:
        """Put a member out; as ``create``."""
        return self.asked(self.membership.owner.evict(network, key, now), now)

    def asked(self, number: int, now: float) -> int:
        """What ``membership`` was asked for goes to its mediator, where that is reached; the same number, as of ``create``."""
        self.stir()
        pending = self.membership.requests.get(number)
        link = self.links.get(pending.mediator) if pending is not None else None
        if link is not None and link.state is LinkState.READY:
            self.membership.link_ready(link.key, self, now)
        elif link is None or link.hasten(now):
            self.membership.doubtful(number, link.reason if link is not None else "this node does not use it any more", now)
        return number

    def nick(self, name: str, now: float) -> list[int]:
        """Change the nickname, at every mediator; one number for each (those that are not reached hear it in the next greeting)."""
        numbers = [self.asked(self.membership.nick(name, key, now), now) for key in self.links]
        if not numbers:
            self.renamed(name)
        return numbers

    def renamed(self, name: str) -> None:
        """The nickname changed: it is used in greetings from now on."""
        self.name = self.memory.name = self.lookup.wanted_name = name
        if self.roster.own_name:
            self.roster.set_own(name, self.roster.own_ipv4)
        self.pending.append(MemoryChanged())

    def keep_alive(self, interval: float) -> None:
        """Another interval of the signs of life, in seconds, from the next tick on."""
        self._keepalive = interval

    def set_local_endpoints(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """This computer's own outer addresses with the ports that are listened on; told to mediators when they change."""
        self.stir()
        self.whereabouts.own(endpoints, now)

    def set_mapped_endpoints(self, endpoints: Iterable[Endpoint], now: float, method: PortMapping = "") -> None:
        """The external endpoints at which a router lets the peers in, and by which protocol it was asked; told to mediators likewise."""
        self.stir()
        self.whereabouts.mapped(endpoints, now, method)

    def neighbour_found(self, key: bytes, endpoints: Iterable[Endpoint], now: float) -> None:
        """A member was recognised on the own link (``neighbours``): it is tried there, with no mediator's help."""
        self.peers.neighbour(key, endpoints, now)
        self.carry_on(now)

    def start(self, now: float) -> None:
        """Reach for the peers where they were last, without waiting for a mediator."""
        self.stir()
        self.peers.start(now)
        self.relays.start((key for key, link in self.peers.links.items() if not link.cached), now)
        self.carry_on(now)

    def stop(self, now: float) -> None:
        """Say goodbye to the mediators (the peers hear it from them)."""
        for link in self.links.values():
            link.stop(now)

    def save(self) -> Memory:
        """The memory, brought up to date."""
        return remember(self)

    # --- Effects for membership --------------------------------------------------------------------------------------

    def roster_changed(self, changes: Changes, now: float) -> None:
        """The roster changed: tunnels and switch follow."""
        self.switch.follow(self.roster, changes)
        self.peers.follow(changes, now)
        for key in changes.removed:
            self.bulk.forget(key)
            self.introducer.forget(key)
            self.encounters.forget(key)
            self.flooding.forget(key)
            self.relays.client.forget(key)
        for address in self.roster.own_addresses:
            self.host.add_address(address)
        self.pending.append(RosterChanged())

    def secrets_changed(self, network: str) -> None:
        """A network's secret was rotated."""
        self.peers.refresh_secrets(network)

    def send_to_mediator(self, mediator: bytes, message: Message, now: float) -> None:
        """A message for a mediator's link."""
        link = self.links.get(mediator)
        if link is not None:
            link.send(message, now)

    def eviction_learnt(self, network: str, now: float) -> None:
        """Tell the members that can be reached."""
        for key, peer in self.roster.peers.items():
            if network in peer.networks and self.peers.links[key].up:
                self.gossip.tell(key, now)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _restore(self, now: float) -> None:
        self.relays.restore(self.memory)
        for saved in list(self.memory.mediators):
            try:
                self.mediators.add(Invite.parse(saved.url), now, saved.embedded)
            except ValueError:
                self.counters["mediator-unreadable"] += 1
        for network in self.keyring:
            self.membership.obey_approvals(network, now)
        if self.memory.roster:
            try:
                changes = self.roster.restore(self.memory.roster)
            except ValueError:
                self.counters["roster-unreadable"] += 1
            else:
                self.roster_changed(changes, now)
        self.membership.owner.start(now)

    def hello(self, mediator: bytes) -> Hello:
        """The greeting for one mediator, which hears of its own networks only."""
        return Hello(PROTOCOL_VERSION, self.name, self._agent, self.whereabouts.offered, evictions=self.keyring.serials(mediator))

    def _route(self, packet: SuperPacket, now: float) -> None:
        destination = packet.destination
        key = self.mediators.at(destination)
        if key is None:
            key = self.switch.route(destination)
            if key is None and self.switch.is_group(destination):
                self.flood(packet, now)
                return
            if key is None or not self.peers.wanted(key, now):
                self.intake.dropped(packet, "no-route" if key is None else "unreachable", now, key or b"")
                self.host.unreachable(packet, now)
                return
        self.device.send(key, packet, now)


def _nearest(time: float, deadlines: Iterable[Callable[[], float | None]]) -> float:
    """The earliest of ``time`` and all deadlines."""
    for ask in deadlines:
        deadline = ask()
        if deadline is not None and deadline < time:
            time = deadline
    return time
