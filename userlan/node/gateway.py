"""What an attached kernel finds on its link beyond the members of the LAN: a computer that answers for all addresses.

::

    kernel ──▶ Attachment ──▶ Gateway.receive          fragments wait until they are whole; checksums are checked
                                 │
                                 ├─ to an own address (resolver, router) ─────▶ Host: its sockets, its echo
                                 ├─ internet is off ──────────────────────────▶ ICMP: administratively prohibited, at once
                                 ├─ TCP   a SYN ────────▶ held; StreamAsked ─┬─ open():   the held SYN goes to Host ─▶ StreamOpened
                                 │                                           └─ refuse(): RST, ICMP unreachable
                                 │        of a stream ──▶ Host
                                 ├─ UDP ────────────────▶ DatagramsArrived ──── send_datagram(), refuse_packet()
                                 ├─ echo request ───────▶ EchoAsked ─────────── send_echo(), refuse_packet()
                                 └─ any other protocol ─▶ ICMP: protocol unreachable, parameter problem

A SYN is answered when its far side is known to take the connection, and not before: a program sees "connection refused"
where the far side refused, and a time-out where it was silent. For as long, the SYN is held, and a repetition takes its
place, whose timestamp is the fresher one. Then a listener for that address and port exists for as long as a stream of
them is being opened, and the SYN is fed to the host as if it had just arrived: all of TCP is the stack's.

An address of the outside is the host's own while streams have it, and for ``ADDRESS_LINGER`` longer, in which TIME-WAIT
answers.

Why not the stack's own UDP for datagrams to the outside: its sockets belong to own addresses and ports, and one for each
destination would be the opposite of a mapping that does not depend on it (RFC 4787, REQ-1).

Nobody but the kernel, which is one computer under its user's control, sends anything here; all it could fill has a cap
all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from userlan.lan.addresses import GATEWAY6, RESOLVER
from userlan.node.refusal import Refusal, may_be_told, quoted, unreachable
from userlan.stack.addresses import is_group, is_martian
from userlan.stack.config import HostConfig
from userlan.stack.errors import StackError
from userlan.stack.events import TcpAccepted, TcpEvent
from userlan.stack.host import Host
from userlan.stack.limiter import TokenBucket
from userlan.stack.reassembly import Reassembler
from userlan.stack.tcp import Connection, Events, Listener, reset_reply
from userlan.wire import icmp, icmpv6, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, Buffer
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, build, parse_segment

MAX_STREAMS = 4_096
"""Streams at a time, held ones included: what one computer's programs have open, a busy browser a few hundred."""

HELD_TIME = 120.0
"""Seconds that a SYN waits for its far side: as long as Linux repeats one (``tcp_syn_retries`` of 6: 127 s)."""

OPENING_TIME = 40.0
"""Seconds in which the kernel must complete a handshake; the stack gives up a little sooner (``half_open_timeout``)."""

ADDRESS_LINGER = 75.0
"""Seconds an address is answered for after its last stream: TIME-WAIT takes 60 (``userlan.stack.tcp``)."""

MAX_ADDRESSES = 8_192
"""Addresses of the outside that are answered for at a time: those of all streams and as many that linger."""

SWEEP_INTERVAL = 5.0
"""Seconds between two looks at what has waited for too long: none of these times is one that a program waits for."""

ERRORS_A_SECOND, ERROR_BURST = 100.0, 50
"""ICMP errors to the kernel, as in ``userlan.node.attachment``."""

MAX_WAITING = 2_048
"""Packets for the kernel that wait to be drained, TCP's not counted: a batch of the outside's datagrams is far smaller."""

OWN = (RESOLVER, GATEWAY6)
_IPV4_LINK_LOCAL = bytes((169, 254))


class Flow(NamedTuple):
    """Both ends of what the kernel sends: its own, and the one outside; addresses packed."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int


class StreamAsked(NamedTuple):
    """The kernel wants a connection; its SYN is held until ``open`` or ``refuse``."""

    flow: Flow


class StreamOpened(NamedTuple):
    """A connection that was asked for is established."""

    flow: Flow
    connection: Connection


class StreamAbandoned(NamedTuple):
    """A connection that was asked for will not come to be: the kernel has given it up."""

    flow: Flow


class DatagramsArrived(NamedTuple):
    """One datagram, or several of ``segment_size`` octets back to back. ``quoted``: what ``refuse_packet`` needs."""

    flow: Flow
    payload: Buffer
    segment_size: int
    quoted: bytes


class EchoAsked(NamedTuple):
    """An echo request to somebody outside."""

    source: bytes
    destination: bytes
    identifier: int
    sequence: int
    payload: bytes
    quoted: bytes


GatewayEvent = StreamAsked | StreamOpened | StreamAbandoned | DatagramsArrived | EchoAsked


class Gateway:
    """See the module. After any call drain ``packets`` and ``events`` and ask ``deadline``."""

    def __init__(
        self, *, entropy: Callable[[int], bytes], is_lan: Callable[[bytes], bool], internet: bool, mtu: int
    ) -> None:
        """``is_lan``: whether a packed address lies in the LAN's ranges; ``mtu``: of the link, octets."""
        self.internet = internet
        self.host = Host(entropy=entropy, config=HostConfig(mtu=mtu, max_connections=2 * MAX_STREAMS))
        self.counters: Counter[str] = self.host.counters
        for address in OWN:
            self.host.add_address(address)
        self._is_lan = is_lan
        self._reassembler = Reassembler(self.counters)
        self._errors = TokenBucket(ERRORS_A_SECOND, ERROR_BURST)
        self._held: dict[Flow, tuple[SuperPacket, float]] = {}
        """SYNs, and when each was asked about."""
        self._opening: dict[Flow, float] = {}
        """Streams whose SYN the host has got, and since when."""
        self._open: dict[Flow, None] = {}
        self._listeners: dict[tuple[bytes, int], Listener] = {}
        self._expected: Counter[tuple[bytes, int]] = Counter()
        """How many of the opening streams each listener is for."""
        self._uses: Counter[bytes] = Counter()
        """How many streams, opening ones included, each outside address has."""
        self._lingering: dict[bytes, float] = {}
        """Addresses without streams, and when each had its last: in that order."""
        self._waiting: list[SuperPacket] = []
        self._events: list[GatewayEvent] = []
        self._sweep_at: float | None = None
        self._now = 0.0

    @property
    def streams(self) -> int:
        """How many there are, held ones included."""
        return len(self._held) + len(self._opening) + len(self._open)

    def takes(self, destination: bytes) -> bool:
        """Whether a packed address is answered for here: an own one, or one host outside of the LAN, beyond this link."""
        if destination in OWN:
            return True
        return not (
            self._is_lan(destination) or is_group(destination) or is_martian(destination) or _is_link_local(destination)
        )

    # ------------------------------------------------------------------ from the kernel

    def receive(self, packet: SuperPacket, now: float) -> None:
        """A packet of the kernel to an address that is answered for. What is wrong is dropped and counted."""
        self._now = now
        if packet.destination in OWN:
            self.host.receive(packet, now)
            return
        if not self.internet:
            self.counters["prohibited"] += 1
            self._error(packet, Refusal.PROHIBITED, now)
            return
        try:
            whole = self._reassembler.add(packet, now) if packet.fragment else packet
            if whole is not None and not whole.verified and not transport_ok(whole):
                self.counters["checksum"] += 1
            elif whole is not None:
                self._deliver(whole, now)
        except WireError as error:
            self.counters[error.reason] += 1

    def _deliver(self, packet: SuperPacket, now: float) -> None:
        protocol = packet.protocol
        if protocol == PROTOCOL_TCP:
            self._segment(packet, now)
        elif protocol == PROTOCOL_UDP:
            datagram = udp.parse_datagram(packet)
            flow = Flow(packet.source, datagram.source_port, packet.destination, datagram.destination_port)
            self._events.append(DatagramsArrived(flow, datagram.payload, datagram.segment_size, quoted(packet)))
        elif protocol == (PROTOCOL_ICMP if packet.version == 4 else PROTOCOL_ICMPV6):
            self._control(packet, now)
        else:
            self.counters["protocol-unknown"] += 1
            self._error(packet, Refusal.PROTOCOL, now)

    def _control(self, packet: SuperPacket, now: float) -> None:
        message = icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet)
        if isinstance(message, icmp.Echo | icmpv6.Echo):
            if message.request:
                ends = packet.source, packet.destination, message.identifier, message.sequence
                self._events.append(EchoAsked(*ends, bytes(message.payload), quoted(packet)))
        elif packet.destination in self.host.addresses:
            self.host.receive(packet, now)
        else:
            self.counters["icmp-ignored"] += 1

    def _segment(self, packet: SuperPacket, now: float) -> None:
        """TCP: a SYN of no stream is held; what is of none and no SYN is refused (RFC 9293 3.10.7.1)."""
        segment = parse_segment(packet)
        flow = Flow(packet.source, segment.source_port, packet.destination, segment.destination_port)
        opens = segment.flags & (Flags.SYN | Flags.ACK | Flags.RST) == Flags.SYN
        if flow in self._open:
            self.host.receive(packet, now)
        elif flow in self._opening:
            self.host.receive(packet, now)
            if segment.flags & Flags.RST:
                self._abandoned(flow, now)
        elif flow in self._held:
            if opens:
                self._held[flow] = packet, self._held[flow][1]
            elif segment.flags & Flags.RST:
                del self._held[flow]
                self._events.append(StreamAbandoned(flow))
        elif opens:
            if self.streams >= MAX_STREAMS:
                self.counters["streams-full"] += 1
                return      # the kernel asks again
            self._held[flow] = packet, now
            self._events.append(StreamAsked(flow))
            self._want_sweep(now)
        elif packet.destination in self.host.addresses:
            self.host.receive(packet, now)
        elif (answer := reset_reply(segment)) is not None:
            self.counters["tcp-reset-sent"] += 1
            self._say(build(answer, packet.destination, packet.source))

    # ------------------------------------------------------------------ what becomes of a stream

    def open(self, flow: Flow, now: float) -> None:
        """The far side takes the connection: ``StreamOpened`` follows, or ``StreamAbandoned``."""
        held = self._held.pop(flow, None)
        if held is None:
            return
        self._now = now
        address = flow.destination
        try:
            self._use(address)
            place = address, flow.destination_port
            if place not in self._listeners:
                self._listeners[place] = self.host.tcp_listen(flow.destination_port, address, MAX_STREAMS)
        except (StackError, ValueError):
            self.counters["not-answerable"] += 1
            self._unuse(address, now)
            self._events.append(StreamAbandoned(flow))
            return
        self._expected[place] += 1
        self._opening[flow] = now
        self.host.receive(held[0], now)

    def refuse(self, flow: Flow, why: Refusal, now: float) -> None:
        """It does not."""
        held = self._held.pop(flow, None)
        if held is None:
            return
        self._now = now
        packet = held[0]
        self.counters[f"stream-{why.value}"] += 1
        if why is Refusal.REFUSED:
            answer = reset_reply(parse_segment(packet))
            if answer is not None:
                self._say(build(answer, packet.destination, packet.source))
        else:
            self._error(packet, why, now)

    def _use(self, address: bytes) -> None:
        """Answer for an address."""
        self._uses[address] += 1
        self._lingering.pop(address, None)
        while len(self._uses) + len(self._lingering) > MAX_ADDRESSES and self._lingering:
            self._let_go(next(iter(self._lingering)))
        self.host.add_address(address)

    def _unuse(self, address: bytes, now: float) -> None:
        self._uses[address] -= 1
        if self._uses[address] <= 0:
            del self._uses[address]
            self._lingering[address] = now
            self._want_sweep(now)

    def _let_go(self, address: bytes) -> None:
        del self._lingering[address]
        self.host.remove_address(address)

    def _opened(self, flow: Flow, now: float) -> None:
        """The handshake of a stream is over, one way or the other: no further one is expected there, unless another opens."""
        del self._opening[flow]
        place = flow.destination, flow.destination_port
        self._expected[place] -= 1
        if not self._expected[place]:
            del self._expected[place]
            self.host.tcp_unlisten(self._listeners.pop(place), now)

    def _abandoned(self, flow: Flow, now: float) -> None:
        if flow in self._opening:
            self._opened(flow, now)
        self._unuse(flow.destination, now)
        self._events.append(StreamAbandoned(flow))

    # ------------------------------------------------------------------ from the outside

    def send_datagram(self, flow: Flow, payload: Buffer) -> None:
        """A datagram for the kernel; ``flow`` as the kernel's own packets had it."""
        try:
            packet = udp.build(udp.Datagram(flow.destination_port, flow.source_port, payload), flow.destination, flow.source)
        except WireError as error:
            self.counters[error.reason] += 1
            return
        self._say(packet)

    def send_echo(self, source: bytes, destination: bytes, identifier: int, sequence: int, payload: bytes) -> None:
        """The reply to an echo request, from ``source`` outside."""
        try:
            if len(source) == 4:
                self._say(icmp.build(icmp.Echo(False, identifier, sequence, payload), source, destination))
            else:
                self._say(icmpv6.build(icmpv6.Echo(False, identifier, sequence, payload), source, destination))
        except WireError as error:
            self.counters[error.reason] += 1

    def refuse_packet(self, packet: bytes, why: Refusal, now: float) -> None:
        """What an event quoted did not get through."""
        self._now = now
        self._build_error(SuperPacket(packet, b""), why, now)

    # ------------------------------------------------------------------ drained by the owner

    def packets(self, now: float) -> list[SuperPacket]:
        """What is due for the kernel."""
        self._now = now
        waiting, self._waiting = self._waiting, []
        return waiting + self.host.packets(now)

    def events(self) -> list[object]:
        """What happened since the last call; the host's own events are among them."""
        found: list[object] = []
        for event in self.host.events():
            if isinstance(event, TcpAccepted) and (flow := _flow_of(event.connection)) in self._opening:
                self._opened(flow, self._now)
                self._open[flow] = None
                found.append(StreamOpened(flow, event.connection))
                continue
            if isinstance(event, TcpAccepted) and event.connection.local[0] not in OWN:
                event.connection.abort(self._now)
                continue
            found.append(event)
            if isinstance(event, TcpEvent) and event.flags & Events.CLOSED and (flow := _flow_of(event.connection)) in self._open:
                del self._open[flow]
                self._unuse(flow.destination, self._now)
        events, self._events = self._events, []
        return events + found

    def deadline(self) -> float | None:
        """When ``tick`` is to be called at the latest."""
        if self._waiting or self._events:
            return self._now
        times = (self.host.deadline(), self._reassembler.deadline(), self._sweep_at)
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        self.host.tick(now)
        self._reassembler.tick(now)
        if self._sweep_at is None or now < self._sweep_at:
            return
        self._sweep_at = None
        for flow, (_, since) in list(self._held.items()):
            if now - since >= HELD_TIME:
                del self._held[flow]
                self._events.append(StreamAbandoned(flow))
        for flow, since in list(self._opening.items()):
            if now - since >= OPENING_TIME:
                self._abandoned(flow, now)
        for address, since in list(self._lingering.items()):
            if now - since < ADDRESS_LINGER:
                break
            self._let_go(address)
        if self._held or self._opening or self._lingering:
            self._sweep_at = now + SWEEP_INTERVAL

    def _want_sweep(self, now: float) -> None:
        if self._sweep_at is None:
            self._sweep_at = now + SWEEP_INTERVAL

    # ------------------------------------------------------------------ inside

    def _say(self, packet: SuperPacket) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self.counters["waiting-full"] += 1
        else:
            self._waiting.append(packet)

    def _error(self, packet: SuperPacket, why: Refusal, now: float) -> None:
        """An ICMP error about a packet, where one may be sent (RFC 1122 3.2.2, RFC 4443 2.4(e) and (f))."""
        if may_be_told(packet):
            self._build_error(packet, why, now)

    def _build_error(self, packet: SuperPacket, why: Refusal, now: float) -> None:
        if why is Refusal.SILENT:
            return
        if not self._errors.allow(now):
            self.counters["icmp-error-limited"] += 1
            return
        self._say(unreachable(packet, why))


def _flow_of(connection: Connection) -> Flow:
    return Flow(*connection.remote, *connection.local)


def _is_link_local(address: bytes) -> bool:
    """RFC 3927, RFC 4291 2.5.6; the deprecated site-local ones too (RFC 3879): they lead nowhere."""
    if len(address) == 4:
        return address.startswith(_IPV4_LINK_LOCAL)
    return address[0] == 0xFE and address[1] & 0x80 == 0x80
