"""The relay composed: the fast path between clients, and a tunnel to each mediator whose pool it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from userlan.control import grants
from userlan.control.mediation import Failed, LinkState, Lost, MediatorLink, Received, of_control_service
from userlan.control.meeting import MAX_ENDPOINTS, PoolKey, Reflect, Serve, ServerEndpoint
from userlan.control.messages import PROTOCOL_VERSION, Hello
from userlan.lan.addresses import ipv6_of
from userlan.lan.invite import Invite
from userlan.relay.allocation import Allocations, Limits
from userlan.relay.events import PoolJoined, PoolLost, RelayEvent, TimestampReserved
from userlan.relay.forwarding import Forwarding
from userlan.stack.events import TcpEvent
from userlan.stack.host import Host
from userlan.traversal.candidates import TargetBudget, is_private, usable
from userlan.traversal.kinds import RELAY_BIND, RELAY_DATA
from userlan.traversal.observation import is_reply
from userlan.traversal.vantage import Vantage
from userlan.tunnel.device import Device
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.tunnel.events import SessionEstablished, TimestampAdvanced
from userlan.wire.endpoint import UDP, Endpoint

SERVE_INTERVAL = 10.0
"""Seconds between looks at the load, which is told where it changed."""
LOAD_STEP = 0.05
"""Change of the load that is worth telling."""
DEFAULT_CAPACITY = 125e6
"""Octets a second that count as a load of 1: a gigabit line."""
MAX_LOOPS = 8
"""Rounds in which packets lead to events and those to packets before the driver is let go on."""
REFLECT_RATE, REFLECT_BURST = 10.0, 30.0
"""Answers a second, and at once, to one host that mediators may ask for: a netcheck needs three."""
REFLECT_TOTAL_RATE, REFLECT_TOTAL_BURST = 200.0, 600.0
"""The same to all hosts together: sixty netchecks a second."""
SOMEWHERE = "192.0.2.0"
"""An address of the documentation's (RFC 5737), for a mediator that is not to be seen."""
MAX_MEDIATORS = 8
"""Pools of one relay."""


class Relay:
    """The core that the driver feeds. ``entropy(n)`` gives n random octets, ``now`` is monotonic seconds, wall = now + ``wall_offset``.

    ``pool_keys``: by mediator's key, as PoolJoined told them in the runs before: with them grants are taken while a mediator is away.
    ``capacity``: octets a second. ValueError where there is no mediator, or too many.
    """

    def __init__(
        self,
        private_key: bytes,
        mediators: Iterable[Invite],
        *,
        name: str,
        entropy: Callable[[int], bytes],
        now: float,
        wall_offset: float,
        region: str = "",
        pool_keys: Mapping[bytes, bytes] | None = None,
        timestamp_floor: bytes = b"",
        limits: Limits = Limits(),  # noqa: B008 - immutable
        capacity: float = DEFAULT_CAPACITY,
        agent: str = "",
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.device = Device(private_key, entropy=entropy, now=now, wall_offset=wall_offset, timestamp_floor=timestamp_floor)
        self.public_key = self.device.public_key
        self.host = Host(entropy=entropy)
        self.host.add_address(ipv6_of(self.public_key))
        self.allocations = Allocations(entropy, limits, self.counters)
        self.forwarding = Forwarding(self.allocations, self.counters)
        self.vantage = Vantage(self.public_key, entropy)
        self.links: dict[bytes, MediatorLink] = {}
        self._name = name
        self._agent = agent
        self._region = region
        self._capacity = capacity
        self._wall_offset = wall_offset
        self._endpoints: tuple[ServerEndpoint, ...] = ()
        self._pools: dict[bytes, bytes] = {}
        """Mediators by the ids of their pool keys."""
        self._bounds: list[Burst] = []
        self._reflected: list[Burst] = []
        self._targets = TargetBudget(REFLECT_RATE, REFLECT_BURST)
        self._reflections = TargetBudget(REFLECT_TOTAL_RATE, REFLECT_TOTAL_BURST)
        self._events: list[RelayEvent] = []
        self._measured = (now, 0)
        self._load = self._told_load = 0.0
        self._next_serve = now + SERVE_INTERVAL
        for url in mediators:
            if len(self.links) >= MAX_MEDIATORS:
                raise ValueError(f"a relay joins {MAX_MEDIATORS} pools at most")
            self.links[url.mediator_key] = MediatorLink(url.mediator_key, url.endpoints, self.device, self.host, entropy)
        if not self.links:
            raise ValueError("a relay joins a mediator's pool, and none was named")
        self._addresses = {link.address: link.key for link in self.links.values()}
        for mediator, key in (pool_keys or {}).items():
            if mediator in self.links and len(key) == grants.KEY_SIZE:
                self._take_key(mediator, key)

    # --- the core interface ------------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is for this core."""
        return bytes(data[:4]) in (RELAY_DATA, RELAY_BIND) or self.vantage.owns(data) or self.device.owns(data)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        """Datagrams of ``segment`` octets back to back from one endpoint."""
        if data[:4] == RELAY_DATA:
            for datagram in self.forwarding.receive(data, segment, source, now):
                self._receive_one(datagram, source, now)
            return
        size = len(data)
        if not 0 < segment < size:
            segment = size
        for start in range(0, size, segment):
            self._receive_one(bytes(data[start : start + segment]), source, now)

    def datagrams(self, now: float) -> list[Burst]:
        """What has to be sent now."""
        bursts, self._bounds = self._bounds, []
        bursts += self.forwarding.datagrams()
        for _ in range(MAX_LOOPS):
            for packet in self.host.packets(now):
                key = self._addresses.get(packet.destination)
                if key is not None:
                    self.device.send(key, packet, now)
            if not self._work(now):
                break
        reflected, self._reflected = self._reflected, []
        return bursts + reflected + self.device.datagrams(now)

    def answers(self, now: float) -> list[Burst]:
        """What is forwarded does not wait for the conversation with the mediator."""
        return self.forwarding.datagrams()

    @property
    def backlog(self) -> bool:
        """Whether ``datagrams`` would give more at once."""
        return self.device.backlog

    def hold(self, way: Endpoint | str, now: float) -> None:
        """A way out is full. What is forwarded goes on: the driver's own queue is bounded, and a relay's another would only add delay."""
        self.device.hold(way, now)

    def release(self, way: Endpoint | str) -> None:
        """It has room again."""
        self.device.release(way)

    def way_opened(self, endpoint: Endpoint) -> None:
        """Clients open them; what they have to say follows."""

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended."""
        self.device.way_lost(endpoint)
        self.allocations.way_lost(endpoint)

    def way_lossy(self, endpoint: Endpoint) -> None:
        """Nothing else would be better."""

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        """Its sockets are those that it listens at."""

    def dismissed(self) -> list[int]:
        """None is ever closed."""
        return []

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [self._next_serve, self.device.deadline(), self.host.deadline(), self.allocations.deadline()]
        times += [link.deadline() for link in self.links.values()]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.device.tick(now)
        self.host.tick(now)
        self.allocations.expire(now)
        for link in self.links.values():
            link.tick(now)
        if now >= self._next_serve:
            self._look_at_load(now)
        self._work(now)

    def events(self) -> list[RelayEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    @property
    def pool_keys(self) -> dict[bytes, bytes]:
        """The keys of grants by mediator's key, for the next run."""
        return {mediator: self.allocations.keys[name] for name, mediator in self._pools.items()}

    # --- besides -----------------------------------------------------------------------------------------------------

    def set_endpoints(self, endpoints: Iterable[ServerEndpoint], now: float) -> None:
        """Where clients reach this relay, as far as it knows; mediators add the address from which they see it."""
        own = tuple(dict.fromkeys(endpoints))[:MAX_ENDPOINTS]
        if own != self._endpoints:
            self._endpoints = own
            self._serve(now)

    def limit(self, rate: float, capacity: float, region: str, now: float) -> None:
        """From now on, octets a second: each client and channel may send ``rate`` (0: any), and ``capacity`` counts as a full load."""
        self.allocations.limit(rate)
        if (capacity, region) != (self._capacity, self._region):
            self._capacity, self._region = capacity, region
            self._serve(now)

    def stop(self, now: float) -> None:
        """Say goodbye to the mediators: pairs are given other relays."""
        for link in self.links.values():
            link.stop(now)

    def status(self) -> dict[str, object]:
        """Figures for a person who looks after the relay, fit for JSON."""
        return {
            "pools": sum(link.state is LinkState.READY for link in self.links.values()),
            "channels": len(self.allocations),
            "clients": self.allocations.clients,
            "octets": self.forwarding.octets,
            "packets": self.forwarding.packets,
            "load": round(self._load, 3),
            "counters": dict(sorted(self.counters.items())),
        }

    # --- inside ------------------------------------------------------------------------------------------------------

    def _receive_one(self, datagram: bytes, source: Endpoint, now: float) -> None:
        kind = datagram[:4]
        if kind == RELAY_BIND:
            self._bind(datagram, source, now)
        elif kind == RELAY_DATA:
            self.forwarding.receive(datagram, 0, source, now)
        elif self.vantage.owns(datagram):
            self._bounds += self.vantage.receive(datagram, source, now)
            self.vantage.observations()
        else:
            self._tunnel(datagram, 0, source, now)

    def _bind(self, datagram: bytes, source: Endpoint, now: float) -> None:
        answer = self.allocations.bind(datagram, source, now, now + self._wall_offset, self._orphaned)
        if answer is None:
            return
        self._bounds.append(Burst(answer.datagram, len(answer.datagram), source))
        if answer.arrived is not None:
            self.forwarding.arrived(*answer.arrived, now)

    def _orphaned(self, key_id: bytes) -> bool:
        mediator = self._pools.get(key_id)
        return mediator is None or self.links[mediator].state is not LinkState.READY

    def _tunnel(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        for inbound in self.device.receive(data, segment, source, now):
            key = inbound.peer.public_key
            for packet in inbound.packets:
                if self._addresses.get(packet.source) == key and of_control_service(packet):
                    self.host.receive(packet, now)
                else:
                    self.counters["mediator-refused"] += 1

    def _work(self, now: float) -> bool:
        """Carry what happened in one part to the others; whether the host may have packets."""
        happened = False
        for event in self.device.events():
            if isinstance(event, SessionEstablished) and event.public_key in self.links:
                link = self.links[event.public_key]
                link.hello = Hello(PROTOCOL_VERSION, self._name, self._agent, kind="relay")
                link.session_established(now)
                happened = True
            elif isinstance(event, TimestampAdvanced):
                self._events.append(TimestampReserved(event.value))
        for stack_event in self.host.events():
            if isinstance(stack_event, TcpEvent) and isinstance(stack_event.connection.context, MediatorLink):
                stack_event.connection.context.tcp_event(stack_event.connection, stack_event.flags, now)
                happened = True
        for link in self.links.values():
            for said in link.events():
                happened = True
                self._said(link, said, now)
        return happened

    def _said(self, link: MediatorLink, event: Received | Lost | Failed, now: float) -> None:
        if not isinstance(event, Received):
            self._events.append(PoolLost(link.key, event.reason))
            return
        message = event.message
        if isinstance(message, PoolKey):
            self._take_key(link.key, message.key)
            self._events.append(PoolJoined(link.key, message.key))
            self._serve(now)
        elif isinstance(message, Reflect):
            self._reflect(link.key, message, now)

    def _take_key(self, mediator: bytes, key: bytes) -> None:
        """Grants of a mediator are sealed with this key from now on, and no more with the one before."""
        for old in [one for one, whose in self._pools.items() if whose == mediator]:
            del self._pools[old]
            self.allocations.keys.pop(old, None)
        name = grants.key_id(key)
        self._pools[name] = mediator
        self.allocations.keys[name] = key

    def _reflect(self, mediator: bytes, message: Reflect, now: float) -> None:
        """A mediator has an answer for a node that asked to hear another host: nothing else is sent for it, and not much.

        Into the relay's own private network only where the mediator is in it, too.
        """
        target = Endpoint(message.target.transport, message.target.host, message.target.port)
        peer = self.device.peer(mediator)
        host = peer.endpoint.host if peer is not None and peer.endpoint is not None else SOMEWHERE
        near = is_private(host)
        allowed = target.transport == UDP and is_reply(message.datagram) and usable(target, host if near else SOMEWHERE, near)
        if allowed and self._reflections.allow("", now) and self._targets.allow(target.host, now):
            self._reflected.append(Burst(message.datagram, len(message.datagram), target))
        else:
            self.counters["reflections-refused"] += 1

    def _look_at_load(self, now: float) -> None:
        since, octets = self._measured
        self._measured = (now, self.forwarding.octets)
        self._load = min(1.0, (self.forwarding.octets - octets) / max(now - since, 0.001) / self._capacity)
        self._next_serve = now + SERVE_INTERVAL
        if abs(self._load - self._told_load) >= LOAD_STEP or (self._told_load and not self._load):
            self._serve(now)

    def _serve(self, now: float) -> None:
        self._told_load = self._load
        serve = Serve(self._endpoints, self._region, self._capacity * 8, self._load, self.allocations.clients)
        for link in self.links.values():
            if link.state is LinkState.READY:
                link.send(serve, now)
