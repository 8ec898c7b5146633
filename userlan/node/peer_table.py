"""All peers of a node: follows the roster, carries out what each ``PeerLink`` asks for, and keeps a budget for each target."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from userlan.control.meeting import Introduce
from userlan.lan.addresses import key_text
from userlan.lan.roster import Changes, Roster
from userlan.node.blocking import Blocked, BlockedLink
from userlan.node.events import NodeEvent, PeerChanged
from userlan.node.keyring import Keyring
from userlan.node.memory import Memory
from userlan.node.pace import Pace
from userlan.node.path_echoes import PROBE_IDENTIFIER, PathEchoes
from userlan.node.paths import PathAsked, PathChosen, PathEffect, PathsKnown, RelaysDoubted
from userlan.node.peers import EchoDue, InitiateDue, MeetDue, PeerEffect, PeerLink, PeerState, ProbeDue, path_of
from userlan.stack.host import Host
from userlan.traversal.candidates import TargetBudget, is_loopback, is_private, select
from userlan.tunnel.device import Device
from userlan.tunnel.events import SessionEstablished
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint
from userlan.wire.superpacket import SuperPacket

ECHO_IDENTIFIER = 0x756C
"""ICMP identifier of the node's own echoes ("ul"); programs that ping through the node get others."""
ECHO_PAYLOAD = b"userlan liveness"
"""Sixteen bytes: some NATs ignore empty datagrams, and no filter takes these for anything else."""

TOTAL_RATE = 2000.0
"""Initiations a second to all targets together, 2.8 Mbit/s: a mediator that names ever new targets gets no more out of a node."""
TOTAL_BURST = 8000.0
"""Initiations that may leave beyond that rate: 500 members with four addresses each come online at one moment."""


ANSWERED = 0.25
"""Seconds after an initiation of a peer's was answered for which no own one is sent: the session is there once the answer is."""

PEERS_A_TICK = 64
"""Peers whose turn comes in one call: their echoes take some ten milliseconds."""


class PeerTable:
    """The peers by key. Lower layers are called; what the mediator must hear is in ``meets``, what changed in ``events``."""

    def __init__(
        self, device: Device, host: Host, roster: Roster, keyring: Keyring, memory: Memory, keepalive: float, blocked: Blocked
    ) -> None:
        self.blocked = blocked
        self.links: dict[bytes, PeerLink] = {}
        self.own_endpoints: frozenset[Endpoint] = frozenset()
        self.budget = TargetBudget()
        self._total = TargetBudget(TOTAL_RATE, TOTAL_BURST)
        self._pace = Pace()
        self._device = device
        self._host = host
        self._roster = roster
        self._keyring = keyring
        self._memory = memory
        self.echoes = PathEchoes(device)
        self._keepalive = keepalive
        self._meets: list[bytes] = []
        self._doubted: list[bytes] = []
        self._known: dict[bytes, frozenset[Endpoint]] = {}
        self._events: list[NodeEvent] = []
        self._shown: dict[bytes, tuple[str, str]] = {}
        self._due: list[tuple[float, bytes]] = []
        self._due_at: dict[bytes, float] = {}

    def keep_alive(self, interval: float) -> None:
        """Seconds of silence after which peers are asked, from now on."""
        if interval != self._keepalive:
            self._keepalive = interval
            for link in self.links.values():
                link.liveness.keep(interval)

    # --- what happens ------------------------------------------------------------------------------------------------

    def follow(self, changes: Changes, now: float) -> None:
        """The roster changed: peers come, go, or have other networks in common."""
        for key in changes.removed:
            if self.links.pop(key, None) is not None:
                self._known[key] = frozenset()
            self._shown.pop(key, None)
            self._due_at.pop(key, None)
            self._device.remove_peer(key)
        for key in sorted(changes.added | changes.changed):      # in one order, whatever a set's is
            peer = self._roster.peers.get(key)
            if peer is None:
                continue
            link = self.links.get(key)
            first = link is None
            if link is None:
                link = self._link(key, now, self._memory.endpoints_of(key_text(key)))
            self._share(key, peer.networks)
            if first and key_text(key) in self._memory.ciphers:
                self._device.ciphers_told(key, self._memory.ciphers[key_text(key)], now)
            link.presence(peer.online, now)
            self._settle(link, now)

    def blocking_changed(self, key: bytes, now: float) -> None:
        """A peer was blocked, and is gone at once, or unblocked, and is sought at once."""
        peer, before = self._roster.peers.get(key), self.links.get(key)
        if peer is None or before is None or before.blocked is (key in self.blocked):
            return
        link = self._link(key, now, before.cached)
        self._known[key] = frozenset()
        self._share(key, peer.networks)
        link.presence(peer.online, now)
        link.try_cached(now)
        if not link.blocked:
            self._meets.append(key)
        self._settle(link, now)

    def _link(self, key: bytes, now: float, cached: list[Endpoint]) -> PeerLink:
        kind = BlockedLink if key in self.blocked else PeerLink
        link = self.links[key] = kind(key, now, self._keepalive, self._host.mtu, self._device.public_key > key)
        link.cached = cached
        return link

    def refresh_secrets(self, network: str) -> None:
        """A network's secret changed: its members' tunnels shall use it from their next handshake on."""
        for key, peer in self._roster.peers.items():
            if network in peer.networks and key in self.links:
                self._share(key, peer.networks)

    def introduce(self, message: Introduce, observed: str | None, mediator_host: str | None, now: float) -> tuple[Endpoint, ...]:
        """The mediator names a peer's candidates; only those that the client's own rules allow are used: those, and where it was last."""
        link = self.links.get(message.peer)
        if link is None or link.blocked:
            return ()
        seen = [candidate.host for candidate in message.candidates if candidate.kind == "observed"]
        peer_observed = observed if observed in seen else next(iter(seen), None)
        endpoints = []
        for candidate in message.candidates:
            host = (mediator_host or "") if candidate.kind == "colocated" and not candidate.host else candidate.host
            endpoints.append(Endpoint(candidate.transport, host, candidate.port))
        if mediator_host is not None and any(candidate.kind == "colocated" for candidate in message.candidates):
            peer_observed = peer_observed or mediator_host
        if mediator_host is None or not is_loopback(mediator_host):
            endpoints = [one for one in endpoints if not is_loopback(one.host)]     # only who is on this computer knows of it
        usable = select(endpoints, observed, peer_observed, self.own_endpoints)
        link.introduce(usable, message.delay, now, message.first, punched=True)
        self._settle(link, now)
        return tuple(dict.fromkeys((*usable, *(one for one in link.cached if one.transport in (UDP, TCP) and not one.via))))

    def neighbour(self, key: bytes, endpoints: Iterable[Endpoint], now: float) -> None:
        """A peer was seen on the own link; one that is reached just there is left alone. Private addresses only."""
        link, peer = self.links.get(key), self._device.peer(key)
        here = [one for one in endpoints if is_private(one.host) and not is_loopback(one.host)]
        usable = select(here, None, None, self.own_endpoints)
        if link is None or not usable:
            return
        if link.state is PeerState.DIRECT and peer is not None and peer.endpoint in usable:
            return
        link.nearby(usable, now)
        self._tick(link, now)

    # --- paths -------------------------------------------------------------------------------------------------------

    def relay_bound(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A relay carries packets between a peer and us, by a channel whose endpoint this is."""
        link, peer = self.links.get(key), self._device.peer(key)
        if link is not None:
            link.relay_bound(endpoint, peer is not None and peer.has_session(now), now)
            self._tick(link, now)

    def path_found(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A probe passed by a way: it may be a path, and is asked if the tunnel is up."""
        link = self.links.get(key)
        if link is not None:
            link.paths.add(endpoint, now)
            self._tick(link, now)

    def path_lost(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A path of a peer's is no more, a relay's or a connection."""
        link = self.links.get(key)
        if link is not None:
            link.paths.lost(endpoint)
            self._tick(link, now)

    def way_lost(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection has ended, whosever it was."""
        for key, link in self.links.items():
            if link.paths.has(endpoint):
                self.path_lost(key, endpoint, now)

    def way_heard(self, key: bytes, endpoint: Endpoint, now: float) -> None:
        """A peer is heard by another path than the one in use."""
        link, peer = self.links.get(key), self._device.peer(key)
        if link is not None and peer is not None:
            link.paths.add(endpoint, now)
            if not link.up and self.heard(key, endpoint, now):     # an empty message, which nothing else tells of
                return
            link.paths.heard_elsewhere(endpoint, peer.heard_by, now)
            self._tick(link, now)

    def path_silent(self, key: bytes, now: float) -> None:
        """Data left for a peer, and nothing came back by the path in use."""
        link = self.links.get(key)
        if link is not None:
            link.paths.silent(now)
            self._tick(link, now)

    def path_echo(self, key: bytes, packet: SuperPacket, source: Endpoint, now: float) -> bool:
        """Whether a packet of a peer's, by ``source``, was a path's question or the answer to one, and is dealt with by this."""
        link = self.links.get(key)
        answer = self.echoes.received(key, packet, source, now) if link is not None else None
        if link is None or answer is None:
            return False
        if answer >= 0:
            dead = link.paths.dead
            link.paths.answered(answer, source, now)
            self._tick(link, now)
            if dead and not link.paths.dead:
                self._restored(key, now)
        return True

    # --- the peers ---------------------------------------------------------------------------------------------------

    def heard(self, key: bytes, source: Endpoint, now: float) -> bool:
        """An authenticated packet came from a peer, by ``source``; True when it is reached by this."""
        link = self.links.get(key)
        if link is None:
            return False
        if link.up:
            return link.heard(None, now)
        peer = self._device.peer(key)
        if peer is not None and peer.endpoint != source and link.paths.has(source):
            self._device.steer(key, source, now)     # where it was is where it was lost
        if not link.heard(peer.endpoint if peer is not None else None, now):
            return False
        if peer is not None and peer.endpoint is not None:
            link.paths.follow(peer.endpoint, now)
        self._tick(link, now)
        return True

    def session_established(self, event: SessionEstablished, now: float) -> None:
        """A session with a peer, made by way of an endpoint: an echo proves it."""
        link, tunnel = self.links.get(event.public_key), self._device.peer(event.public_key)
        if link is None:
            return
        if event.initiator and tunnel is not None and tunnel.handshake_took is not None:
            self._pace.took(tunnel.handshake_took, now)
        peer = self._roster.peers.get(event.public_key)
        link.session_networks = peer.networks if peer is not None else ()
        link.session_established(now, event.endpoint)
        link.paths.established(event.endpoint, now)
        self._tick(link, now)

    def roamed(self, key: bytes, old: Endpoint, new: Endpoint, now: float) -> None:
        """A peer's authenticated endpoint changed."""
        link, peer = self.links.get(key), self._device.peer(key)
        if link is None or peer is None:
            return
        if peer.endpoint == new:
            link.reached(new, now)
            link.paths.moved(old, new, now)
        else:       # steered elsewhere before this was told: a path that was heard, and is not in use
            link.paths.add(new, now)
            link.paths.ask(new, now)
        self._tick(link, now)
        self._restored(key, now)

    def probe_answered(self, source: bytes, sequence: int, now: float) -> None:
        """A probe of the path's MTU was answered."""
        key = self._roster.key_at(source)
        link = self.links.get(key) if key is not None else None
        if link is not None:
            self._carry_out(link, link.probe_answered(sequence, now), now)

    def large_sent(self, key: bytes, now: float) -> None:
        """Large packets are sent to a peer: the size in use is to be confirmed now and then."""
        link = self.links.get(key)
        if link is not None:
            link.path_mtu.large_sent(now)
            self._settle(link, now)

    def echo_reply(self, source: bytes, sequence: int, now: float) -> None:
        """One of our echoes was answered."""
        key = self._roster.key_at(source)
        link = self.links.get(key) if key is not None else None
        if link is not None:
            link.echo_reply(sequence, now)
            self._settle(link, now)

    def wanted(self, key: bytes, now: float) -> bool:
        """A packet for a peer came from above; False when the peer is known to be away, so that the sender can be told."""
        link = self.links.get(key)
        if link is None or link.blocked:
            return False
        if link.up:
            return True
        peer = self._device.peer(key)
        if peer is not None and peer.has_session(now):
            return True
        if link.state is PeerState.OFFLINE and not link.online and link.attempt is None and not link.cached:
            return False
        away = link.state is PeerState.OFFLINE and not link.online
        link.wanted(now)
        self._tick(link, now)
        return not away or link.attempt is not None

    def start(self, now: float) -> None:
        """Try every peer where it was last, at once: a restarted node needs no mediator for that."""
        for link in self.links.values():
            link.try_cached(now)
            self._settle(link, now)

    def network_changed(self, now: float) -> None:
        """This computer's addresses changed."""
        for link in self.links.values():
            link.network_changed(now)
            self._tick(link, now)

    # --- time and results --------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do: a heap with entries that may be stale, so that thousands of peers cost nothing."""
        while self._due:
            at, key = self._due[0]
            if self._due_at.get(key) == at:
                return at
            heapq.heappop(self._due)
        return None

    def tick(self, now: float) -> None:
        """Do what is due, each peer once, a few at a time: what is left is due at once, after the sockets have been read."""
        due: dict[bytes, None] = {}
        while self._due and self._due[0][0] <= now and len(due) < PEERS_A_TICK:
            at, key = heapq.heappop(self._due)
            if self._due_at.get(key) == at:
                del self._due_at[key]
                due[key] = None
        for key in due:
            link = self.links.get(key)
            if link is not None:
                self._tick(link, now)

    @property
    def news(self) -> bool:
        """Whether one of the following, or ``events``, has anything."""
        return bool(self._meets or self._known or self._doubted or self._events)

    def meets(self) -> list[bytes]:
        """Peers to whom the mediator shall introduce us. Drained."""
        meets, self._meets = self._meets, []
        return meets

    def known(self) -> list[tuple[bytes, frozenset[Endpoint]]]:
        """Peers whose set of paths is another one. Drained."""
        known, self._known = self._known, {}
        return list(known.items())

    def doubted(self) -> list[bytes]:
        """Peers whose path may be dead, so that their relays are to be told where we are. Drained."""
        doubted, self._doubted = self._doubted, []
        return doubted

    def events(self) -> list[NodeEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    def shown(self, key: bytes) -> tuple[str, str]:
        """State and path of a peer, in the words of ``status``."""
        link = self.links[key]
        peer = self._device.peer(key)
        return link.state.value, path_of(peer.endpoint if peer is not None else None, link.state)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _tick(self, link: PeerLink, now: float) -> None:
        peer = self._device.peer(link.key)
        has_session = peer is not None and peer.has_session(now)
        beside = peer is not None and peer.ways.bulk is not None
        if link.attempting:
            patience = self._pace.patience(now)
            link.wait_for_answers(patience, peer is not None and now - peer.last_initiation_received < max(ANSWERED, patience))
        effects: list[PeerEffect | PathEffect] = [*link.tick(has_session, now, beside)]
        if peer is not None and link.up:
            effects += link.paths.tick(peer.heard_by, now)
            if link.paths.dead:
                link.path_dead(now)
        effects += link.paths.news()
        self._carry_out(link, effects, now)

    def _carry_out(self, link: PeerLink, effects: Sequence[PeerEffect | PathEffect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, ProbeDue):
                self._probe(link.key, effect, now)
            elif isinstance(effect, PathAsked):
                self._ask(link.key, effect, now)
            elif isinstance(effect, PathChosen):
                self._device.steer(link.key, effect.endpoint, now)
                link.reached(effect.endpoint, now)
                self._restored(link.key, now)
            elif isinstance(effect, PathsKnown):
                self._device.know(link.key, effect.endpoints)
                self._known[link.key] = frozenset(effect.endpoints)
            elif isinstance(effect, RelaysDoubted):
                self._doubted.append(link.key)
            elif isinstance(effect, EchoDue):
                roster_peer = self._roster.peers.get(link.key)
                if roster_peer is not None:
                    self._host.ping(roster_peer.ipv6, ECHO_IDENTIFIER, effect.sequence, ECHO_PAYLOAD, now)
                if effect.hurried:
                    self._knock(link.key, now)
            elif isinstance(effect, InitiateDue):
                self._initiate(link.key, effect.endpoints, now)
            elif isinstance(effect, MeetDue):
                self._meets.append(link.key)
        self._follow_mtu(link, now)
        self._settle(link, now)

    def _knock(self, key: bytes, now: float) -> None:
        """An echo by the peer's own way was not answered: let it hear by the bulk way that there is another one."""
        peer = self._device.peer(key)
        if peer is not None and peer.ways.bulk is not None:
            self._device.knock(key, peer.ways.bulk, now)

    def _restored(self, key: bytes, now: float) -> None:
        """There is a path that works: whatever was lost by the one before need not wait for a timer."""
        roster_peer = self._roster.peers.get(key)
        for address in roster_peer.addresses if roster_peer is not None else ():
            self._host.path_restored(address, now)

    def _ask(self, key: bytes, asked: PathAsked, now: float) -> None:
        """Where the peer never was, somebody says that it may be: the budget counts."""
        if asked.proved or asked.endpoint.transport == RELAY or self._allowed(asked.endpoint, now):
            self.echoes.ask(key, asked.sequence, asked.endpoint, now)

    def _allowed(self, endpoint: Endpoint, now: float) -> bool:
        return self.budget.allow(endpoint.host, now) and self._total.allow("", now)

    def _probe(self, key: bytes, probe: ProbeDue, now: float) -> None:
        roster_peer = self._roster.peers.get(key)
        if roster_peer is not None:
            packet = self._host.echo_request(roster_peer.ipv6, PROBE_IDENTIFIER, probe.sequence, probe.size, now)
            self._device.probe(key, packet, now)

    def _follow_mtu(self, link: PeerLink, now: float) -> None:
        """Tunnel and stack send what the path is known to carry."""
        peer, roster_peer = self._device.peer(link.key), self._roster.peers.get(link.key)
        if peer is None or roster_peer is None:
            return
        peer.ways.mtu = link.path_mtu.mtu
        for address in roster_peer.addresses if link.path_mtu.known else ():
            self._host.path_carries(address, link.path_mtu.mtu, now)

    def _share(self, key: bytes, networks: Sequence[str]) -> None:
        """Bring a tunnel's pre-shared keys up to date; without one there is no tunnel."""
        keys = self._keyring.preshared_keys(key, networks) if key not in self.blocked else ()
        if keys:
            self._device.add_peer(key, preshared_keys=keys)
        else:
            self._device.remove_peer(key)

    def _initiate(self, key: bytes, endpoints: Sequence[Endpoint], now: float) -> None:
        allowed = [endpoint for endpoint in endpoints if self._allowed(endpoint, now)]
        if allowed:
            self._device.initiate(key, allowed, now)

    def _settle(self, link: PeerLink, now: float) -> None:
        """After anything happened to a link: note its deadline, and tell when what is shown changed."""
        times = (link.deadline(), link.paths.deadline() if link.up else None)
        deadline = min((time for time in times if time is not None), default=None)
        if deadline is not None and self._due_at.get(link.key) != deadline:
            self._due_at[link.key] = deadline
            heapq.heappush(self._due, (deadline, link.key))
        elif deadline is None:
            self._due_at.pop(link.key, None)
        shown = self.shown(link.key)
        if self._shown.get(link.key, ("offline", "none")) != shown:
            self._shown[link.key] = shown
            self._events.append(PeerChanged(link.key, self._roster.name_of(link.key), *shown))
