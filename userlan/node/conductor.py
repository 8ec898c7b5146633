"""What happened in one part of a node is carried to the others: the one place that knows who must hear of what.

::

    device ── session, moved, bulk … ──┐                      ┌──▶ peers, bulk, gossip
    host ──── TCP, echo replies ───────┼──▶ Conductor.process ┼──▶ membership, memory
    mediators ── messages, lost ───────┘    until quiet       └──▶ the node's own events, for the program
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.control.mediation import Failed, LinkState, Lost, MediatorLink, Received
from userlan.control.meeting import Introduce, Measure, RelayOffers, RelayPool, Vantages
from userlan.control.messages import Candidates, Meet, Observed, Welcome
from userlan.lan.roster import Peer
from userlan.node.events import LinkChanged, MemoryChanged, PeerChanged, Ready, TimestampReserved
from userlan.node.path_echoes import PROBE_IDENTIFIER
from userlan.node.peer_table import ECHO_IDENTIFIER
from userlan.node.punching import PunchEnded
from userlan.relay.client import RelayBound
from userlan.stack.events import EchoReply, TcpAccepted, TcpEvent, UdpReadable
from userlan.traversal.punch import PathAnswered, PathHeard
from userlan.tunnel.events import (
    BulkStalled,
    BulkTraffic,
    LargeSent,
    PathSilent,
    Roamed,
    SessionEstablished,
    TimestampAdvanced,
    WayHeard,
)
from userlan.wire.endpoint import TCP, UDP, Endpoint

if TYPE_CHECKING:
    from userlan.node.node import Node

MAX_LOOPS = 16
"""Rounds in which the host may answer itself within one call; a node that talks to itself goes on at the next one."""


class Conductor:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def process(self, now: float) -> bool:
        """Carry what happened in one part to the others, until nothing happens. Whether anything did."""
        node, stirred = self._node, False
        for _ in range(MAX_LOOPS):
            happened = self._tunnel_events(now)
            happened |= self._stack_events(now)
            happened |= self._link_events(now)
            if happened or node.restless:
                node.stir()
                node.restless = False
                self._resting_parts(now)
            if node.peers.news:
                node.stir()
                self._peers_changed(now)
            if not happened:
                break
            stirred = True
        return stirred

    def _resting_parts(self, now: float) -> None:
        """Those that have nothing to say while tunnels carry packets, and nothing else happens."""
        node = self._node
        for mediator, message in node.reachability.messages():
            node.send_to_mediator(mediator, message, now)
        node.introducer.behaves(node.reachability.nat, now)
        self._relay_events(now)
        for key, ciphers in node.introducer.ciphers().items():
            node.gossip.ciphers_said(key, ciphers, now)
        if node.gossip.news:
            self._members_said(now)
        for introduced in node.introducer.introduced():
            self._introduce(introduced.message, b"", introduced.observed, None, now)
        self._punching_events(now)
        node.pending += node.membership.events()

    def _members_said(self, now: float) -> None:
        node = self._node
        for notice in node.gossip.notices():
            node.membership.eviction_notice(notice.message, node, now)
        for key in node.gossip.proven():
            node.membership.owner.reseal(key, now)
            node.pending.append(MemoryChanged())
        if node.gossip.learnt():
            node.pending.append(MemoryChanged())

    def _peers_changed(self, now: float) -> None:
        node = self._node
        for key, endpoints in node.peers.known():
            node.encounters.paths_are(key, endpoints)
        for key in node.peers.doubted():
            node.relays.client.check(key, now)
        for key in node.peers.meets():
            self._meet(key, now)
        for event in node.peers.events():
            node.pending.append(event)
            if isinstance(event, PeerChanged):
                self._relays_needed(event, now)
            if isinstance(event, PeerChanged) and event.state in ("direct", "relayed"):
                node.pending.append(MemoryChanged())
                self._proved_by_tunnel(event.key, now)
                node.introducer.tell(event.key, now)
                node.flooding.came_up(event.key, now)

    def _tunnel_events(self, now: float) -> bool:
        events = self._node.device.events()
        for event in events:
            if isinstance(event, SessionEstablished):
                link = self._node.links.get(event.public_key)
                if link is not None:
                    link.hello = self._node.hello(link.key)
                    link.session_established(now)
                self._node.peers.session_established(event, now)
                self._node.encounters.tunnel_heard(event.public_key, event.endpoint, now)
                self._node.flooding.renewed(event.public_key, now)
            elif isinstance(event, Roamed):
                self._node.peers.roamed(event.public_key, event.old, event.new, now)
                self._node.encounters.tunnel_heard(event.public_key, event.new, now)
            elif isinstance(event, PathSilent):
                self._node.peers.path_silent(event.public_key, now)
            elif isinstance(event, LargeSent):
                self._node.peers.large_sent(event.public_key, now)
            elif isinstance(event, BulkTraffic | BulkStalled | WayHeard):
                self._node.bulk.happened(event, now)
                if isinstance(event, WayHeard):
                    self._way_heard(event.public_key, event.endpoint, now)
            elif isinstance(event, TimestampAdvanced):
                self._node.memory.timestamp = event.value
                self._node.pending.append(TimestampReserved())
        return bool(events)

    def _stack_events(self, now: float) -> bool:
        events = self._node.host.events()
        for event in events:
            if isinstance(event, TcpEvent) and isinstance(event.connection.context, MediatorLink):
                event.connection.context.tcp_event(event.connection, event.flags, now)
            elif isinstance(event, TcpEvent) and event.connection.context is self._node.gossip:
                self._node.gossip.tcp_event(event.connection, event.flags, now)
            elif isinstance(event, TcpAccepted) and self._node.gossip.accepted(event, now):
                continue
            elif isinstance(event, UdpReadable) and self._node.introducer.owns(event.socket):
                self._node.introducer.readable(now)
            elif isinstance(event, EchoReply) and event.identifier == ECHO_IDENTIFIER:
                self._node.peers.echo_reply(event.source, event.sequence, now)
            elif isinstance(event, EchoReply) and event.identifier == PROBE_IDENTIFIER:
                self._node.peers.probe_answered(event.source, event.sequence, now)
            else:
                self._node.pending.append(event)
        return bool(events)

    def _link_events(self, now: float) -> bool:
        happened = False
        for key, link in list(self._node.links.items()):
            for event in link.events():
                happened = True
                if isinstance(event, Received):
                    self._mediator_said(key, link, event, now)
                elif isinstance(event, Lost | Failed):
                    self._node.membership.requests.resend(key)
                    if isinstance(event, Failed):
                        self._node.membership.give_up(key, "unreachable", event.reason, now)
                    else:
                        self._presence_unknown(now)
                    self._node.pending.append(LinkChanged(key, False, event.reason))
        return happened

    def _relay_events(self, now: float) -> None:
        relays = self._node.relays
        for event in relays.events():
            if isinstance(event, RelayBound):
                self._node.peers.relay_bound(event.peer, event.endpoint, now)
            else:
                self._node.peers.path_lost(event.peer, event.endpoint, now)
        if relays.measured():
            for key, link in self._node.links.items():
                self._delays_told(key, link, now)

    def _delays_told(self, key: bytes, link: MediatorLink, now: float) -> None:
        """A mediator hears how far its relays are: after each round, and what the last one found in each session, with the pool."""
        report = self._node.relays.report(key)
        if report is not None:
            link.send(report, now)

    def _presence_unknown(self, now: float) -> None:
        if not any(link.state is LinkState.READY for link in self._node.links.values()):
            self._node.roster_changed(self._node.roster.all_offline(), now)

    def _mediator_said(self, key: bytes, link: MediatorLink, event: Received, now: float) -> None:
        message = event.message
        if isinstance(message, Introduce):
            if not self._node.membership.introduces(key, message.peer):
                self._node.counters["introduction-refused"] += 1
                return
            peer = self._node.device.peer(key)
            host = peer.endpoint.host if peer is not None and peer.endpoint is not None else None
            named = {candidate.host for candidate in message.candidates if candidate.kind == "observed"}
            common = next((own for own in self._node.reachability.sightings.hosts(key) if own in named), None)
            self._introduce(message, key, common or self._node.membership.observed.get(key), host, now)
            self._relays_named(key, message, now)
            return
        if isinstance(message, RelayPool) or (isinstance(message, RelayOffers) and self._node.membership.introduces(key, message.peer)):
            self._relays_named(key, message, now)
            if isinstance(message, RelayPool):
                self._node.reachability.relay_pool(key, message, now)
                self._delays_told(key, link, now)
            return
        if isinstance(message, Measure):
            message = self._node.reachability.placed(key, message)
            self._node.punching.measure(message, key, (*link.endpoints(UDP), *link.endpoints(TCP)), now)
            return
        if isinstance(message, Vantages):
            self._node.reachability.vantages(key, message, now)
            return
        if isinstance(message, Welcome | Observed):
            self._node.reachability.observed(key, message.observed.host, now)
        if isinstance(message, Welcome):
            self.welcomed(key, message)
        self._node.membership.received(key, message, self._node, now)
        if isinstance(message, Welcome):
            if link.hello is not None and link.hello.candidates != self._node.whereabouts.offered:
                link.send(Candidates(self._node.whereabouts.offered), now)      # they changed while the greeting was under way
            self._node.membership.link_ready(key, self._node, now)

    def _introduce(self, message: Introduce, mediator: bytes, observed: str | None, host: str | None, now: float) -> None:
        """Punch towards a peer. ``mediator``: who said so, empty: a member; ``observed`` and ``host``: where it sees us, and is."""
        if message.peer in self._node.peers.blocked:
            return
        usable = self._node.peers.introduce(message, observed, host, now)
        if not message.candidates and not message.plan.steps and not message.plan.give_up:
            return          # only the relays are named; without candidates it may still be the peer who comes, and its probes are answered
        if message.peer in self._node.peers.links and self._node.punching.introduce(message, usable, now):
            self._node.encounters.introduced(message, mediator, now)

    def _way_heard(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A peer is heard by another way than the one in use: a path, unless it is a bulk way and this node wants none."""
        if endpoint.transport != TCP or endpoint.via or self._node.bulk.enabled:
            self._node.peers.way_heard(key, endpoint, now)
        self._node.encounters.tunnel_heard(key, endpoint, now)

    def _punching_events(self, now: float) -> None:
        """What probes found is for the tunnel to try; what came of it is for the mediator to know."""
        for event in self._node.punching.events():
            known = event.peer in self._node.peers.links
            if isinstance(event, PunchEnded) and not event.met:
                self._node.reachability.contradicted(now)
            if isinstance(event, PathHeard | PathAnswered):
                self._node.peers.path_found(event.peer, event.endpoint, now)
            self._node.encounters.happened(event, self._node.peers.shown(event.peer)[1] if known else "none", now)
        for report in self._node.encounters.reports():
            link = self._node.links.get(report.mediator)
            if link is not None and link.state is LinkState.READY:
                link.send(report.outcome, now)

    def _relays_needed(self, event: PeerChanged, now: float) -> None:
        """A peer that is reached directly needs its relays no more for now; one that is not, does."""
        if event.state == "direct":
            self._node.relays.client.rest(event.key, now)
        elif event.state != "offline":
            self._node.relays.client.want(event.key, now)

    def _relays_named(self, key: bytes, message: RelayPool | RelayOffers | Introduce, now: float) -> None:
        if not isinstance(message, RelayPool) and message.peer in self._node.peers.blocked:
            return
        peer = self._node.device.peer(key)
        host = peer.endpoint.host if peer is not None and peer.endpoint is not None else None
        self._node.relays.met(key, self._node.membership.observed.get(key), host)
        self._node.relays.said(key, message, now)
        if not isinstance(message, RelayPool):
            self._node.pending.append(MemoryChanged())

    def welcomed(self, key: bytes, message: Welcome) -> None:
        """A mediator has taken the greeting: it gave an address."""
        if not self._node.roster.own_ipv4 or self._node.mediators.primary() == key:
            before = self._node.roster.own_ipv4
            self._node.roster.set_own(message.name, message.ipv4)     # by the roster's rules: no address of the Internet's or of a member's
            if before and before != self._node.roster.own_ipv4:
                self._node.host.remove_address(before)
            if self._node.roster.own_ipv4:
                self._node.host.add_address(self._node.roster.own_ipv4)
        ready = Ready(self._node.roster.own_name, self._node.roster.own_ipv4)
        self._node.pending += (LinkChanged(key, True, ""), ready, MemoryChanged())

    def _proved_by_tunnel(self, key: bytes, now: float) -> None:
        """A tunnel came up with a pre-shared key: of their one common network, where there is only one; else ``gossip`` asks for proofs."""
        peer = self._node.roster.peers.get(key)
        if peer is not None and len(peer.networks) == 1 and self._node.peers.links[key].session_networks == peer.networks:
            held = self._node.keyring.get(peer.networks[0])
            if held is not None:
                held.proven.add(key)
            self._node.membership.owner.reseal(key, now)

    def _meet(self, key: bytes, now: float) -> None:
        """Ask the mediators of the common networks for an introduction, or members where none of those is there."""
        if key in self._node.peers.blocked:
            return
        if key in self._node.peers.links and self._node.peers.shown(key)[0] != "direct":
            self._node.relays.client.want(key, now)
        peer: Peer | None = self._node.roster.peers.get(key)
        asked: set[bytes] = set()
        for network in peer.networks if peer is not None else ():
            held = self._node.keyring.get(network)
            link = self._node.links.get(held.mediator) if held is not None else None
            if link is not None and link.key not in asked and link.state is LinkState.READY:
                asked.add(link.key)
                link.send(Meet(key), now)
        if not asked:
            self._node.introducer.ask(key, now)
