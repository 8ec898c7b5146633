"""The host: it checks packets and hands them on, and collects what its parts have to send and to tell.

See the package for the order of the checks and who answers what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from userlan.stack import errors
from userlan.stack.addresses import Addresses, is_martian
from userlan.stack.config import HostConfig
from userlan.stack.demux import TcpDemux
from userlan.stack.errors import StackError
from userlan.stack.events import EchoFailed, EchoReply, Event, TcpAccepted, TcpEvent, UdpReadable
from userlan.stack.groups import Groups
from userlan.stack.icmp import Icmp, Problem
from userlan.stack.outgoing import Outgoing
from userlan.stack.pmtu import PathMtu
from userlan.stack.ports import Ports
from userlan.stack.quoted import PACKET_TOO_BIG, UNREACHABLE, Report
from userlan.stack.reassembly import Reassembler
from userlan.stack.sharing import Distant, Sharing
from userlan.stack.tcp import Config, Connection, ConnectionInfo, InitialNumbers, Listener, State
from userlan.stack.udp import UdpSocket, UdpTable
from userlan.wire import ipv4, ipv6
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.numbers import (
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_NO_NEXT_HEADER,
    PROTOCOL_RESERVED,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Buffer,
)
from userlan.wire.quote import parse_quote
from userlan.wire.superpacket import SuperPacket

__all__ = [
    "EchoFailed",
    "EchoReply",
    "Event",
    "Host",
    "HostConfig",
    "TcpAccepted",
    "TcpEvent",
    "UdpReadable",
]

MAX_TURNS = 64
"""Rounds of packets to own addresses in one ``packets``; what is left waits for the next, so that two own connections
cannot keep it."""

ECHO_HEADER = 8
"""Octets in front of an echo's data (RFC 792, RFC 4443 4.1)."""

IPV4_PROTOCOL_FIELD = 9
"""Where an IPv4 header names its protocol (RFC 791 3.1)."""

TOO_FAST = "tcp-too-fast"
"""In ``Host.counters``: connections that the host's owner has reset, since their remote had made too many in a short time."""


class Host:
    """A host in memory with any number of IPv4 and IPv6 addresses, packed.

    ``entropy(n)`` gives n random octets. After any call, or one on a connection or socket of it, drain ``packets`` and
    ``events`` and ask ``deadline``. ``counters`` says how often what was dropped or refused, by reason.
    """

    def __init__(self, *, entropy: Callable[[int], bytes], config: HostConfig | None = None) -> None:
        config = config or HostConfig()
        self.config = config
        self.counters: Counter[str] = Counter()
        self.addresses = Addresses()
        self._path_mtu = PathMtu()
        ports = self._ports = Ports(entropy)
        self._outgoing = Outgoing(config.outgoing_bytes, entropy, self.counters)
        self._reassembler = Reassembler(self.counters)
        self._icmp = Icmp(config, self.addresses, self.counters)
        self._groups = Groups(config, self.addresses, entropy, self.counters)
        self._udp = UdpTable(config, self.addresses, ports, self._groups, self._outgoing, self.counters)
        self._tcp = TcpDemux(
            config, self.addresses, ports, InitialNumbers(entropy), self._path_mtu, self.counters
        )
        self._sharing = Sharing(self.addresses, self._groups, self._tcp, self._udp, self._icmp, self.counters)
        self.unclaimed: list[SuperPacket] | None = None
        """While the addresses are shared: packets that are nobody's here. Drained by whoever shares them."""
        self._now = 0.0

    # ------------------------------------------------------------------ addresses and paths

    def groups(self) -> tuple[bytes, ...]:
        """The multicast groups that this host listens to, packed; without those that every host hears."""
        return self._groups.joined()

    def group_reports(self) -> list[SuperPacket]:
        """What this host listens to, as reports that nobody asked for: for a member of the link that has just come (IGMPv3, MLDv2)."""
        return self._groups.reports()

    @property
    def mtu(self) -> int:
        """Octets of the largest packet on the first hop; a new value holds for new connections and datagrams."""
        return self._tcp.mtu

    @mtu.setter
    def mtu(self, value: int) -> None:
        self._tcp.mtu = value

    def add_address(self, address: bytes) -> None:
        """Answer to one more packed address. Raises ValueError for what cannot be a host's."""
        self.addresses.add(address)

    def remove_address(self, address: bytes) -> None:
        """Answer to it no more; connections from it hear nothing from now on and time out, unless it comes back."""
        self.addresses.remove(address)

    def add_broadcast(self, address: bytes) -> None:
        """Everybody on the host's link hears what is sent to this packed IPv4 address, too: every UDP socket on the port does.
        Raises ValueError for what cannot be one."""
        if len(address) != 4 or is_martian(address):
            raise ValueError(f"{address.hex()} cannot be a broadcast address")
        self.addresses.broadcasts.add(address)

    def share(self, first_port: int, last_port: int, groups: Iterable[bytes] = (), distant: Distant | None = None) -> None:
        """A kernel has the same addresses from now on: what is nobody's here goes to ``unclaimed`` instead of being
        refused, and ephemeral ports are taken from this range, which must not be the kernel's (see ``sharing``).

        It gets a copy of what is to all, to a group that it has reported (``kernel_reports``), and to one of ``groups``. ``distant``: it
        is that of another computer.
        """
        self.unclaimed = []
        self._ports.keep_to(first_port, last_port)
        self._sharing.distant = distant
        self._groups.share(groups, None if distant is None else distant.querier)

    def kernel_reports(self, packet: SuperPacket, now: float) -> None:
        """A packet of the kernel's for which ``groups.takes`` holds: what it wants to hear of groups (IGMP, MLD). It goes
        no further; this host tells the network. A malformed one is dropped and counted."""
        self._now = now
        try:
            self._groups.kernel_says(packet)
        except WireError as error:
            self.counters[error.reason] += 1

    def unshare(self) -> None:
        """The addresses are this host's alone again."""
        self.unclaimed = self._sharing.distant = None
        self._ports.keep_to()
        self._groups.unshare()

    def path_mtu(self, destination: bytes) -> int:
        """Octets of the largest packet that is sent to ``destination``."""
        return self._path_mtu.get(destination, self.mtu)

    # ------------------------------------------------------------------ the program's calls

    def tcp_connect(
        self,
        remote: tuple[bytes, int],
        now: float,
        local_address: bytes | None = None,
        config: Config | None = None,
    ) -> Connection:
        """Open a connection; a ``TcpEvent`` tells of its success or end. Raises StackError: no-host, no-address,
        no-port, too-many."""
        return self._tcp.connect(remote, now, local_address, config)

    def tcp_listen(
        self, port: int, address: bytes | None = None, backlog: int = 128, config: Config | None = None
    ) -> Listener:
        """Accept connections to ``port`` (0: a free one) of one own address or all; each becomes a ``TcpAccepted``.

        Raises StackError: no-address, address-in-use, no-port.
        """
        return self._tcp.listen(port, address, backlog, config)

    def tcp_unlisten(self, listener: Listener, now: float) -> None:
        """Free the port; connections that were accepted go on."""
        self._tcp.unlisten(listener, now)

    def udp_bind(self, port: int = 0, address: bytes | None = None, weak: bool = False) -> UdpSocket:
        """A UDP socket on ``port`` (0: a free one) of one own address or all; ``weak``: in nobody's way (``UdpTable.bind``).

        Raises StackError: too-many, no-address, address-in-use, no-port.
        """
        return self._udp.bind(port, address, weak)

    def ping(
        self,
        destination: bytes,
        identifier: int,
        sequence: int,
        payload: Buffer,
        now: float,
        source: bytes | None = None,
    ) -> None:
        """Send an echo request (both numbers 16 bits): ``EchoReply`` or ``EchoFailed`` follow, or nothing does.

        Raises StackError: no-address, too-long.
        """
        source = source or self.addresses.source_for(destination)
        if source is None or source not in self.addresses or len(source) != len(destination):
            raise StackError(errors.NO_ADDRESS, "this host has no address to reach that destination from")
        try:
            packet = self._icmp.ping(source, destination, identifier, sequence, payload, now)
        except WireError as error:
            raise StackError(errors.TOO_LONG, str(error)) from error
        self._outgoing.add(packet)

    def echo_request(self, destination: bytes, identifier: int, sequence: int, length: int, now: float) -> SuperPacket:
        """An echo request whose whole IP packet has ``length`` octets, not queued and never cut: a probe of the path's
        MTU. The caller sends it; the answer is an ``EchoReply``. Raises StackError: no-address."""
        source = self.addresses.source_for(destination)
        if source is None:
            raise StackError(errors.NO_ADDRESS, "this host has no address to reach that destination from")
        headers = (ipv4.HEADER_LENGTH if len(destination) == 4 else ipv6.HEADER_LENGTH) + ECHO_HEADER
        return self._icmp.ping(source, destination, identifier, sequence, bytes(max(0, length - headers)), now)

    def path_carries(self, destination: bytes, mtu: int, now: float) -> None:
        """The owner has measured that the path to ``destination`` carries packets of ``mtu`` octets and no larger."""
        if self._path_mtu.measured(destination, mtu, self.mtu, now):
            self._tcp.path_mtu_changed(destination, now)

    def path_restored(self, destination: bytes, now: float) -> None:
        """The path to ``destination`` was dead, as the owner knows, and another one has taken its place."""
        self._tcp.path_restored(destination, now)

    def tcp_states(self) -> Counter[State]:
        """How many TCP connections are in each state."""
        return self._tcp.count()

    def tcp_connections(self, now: float) -> list[ConnectionInfo]:
        """What each TCP connection is doing (those in TIME-WAIT excepted), in the order in which they were opened."""
        return self._tcp.connections(now)

    @property
    def tcp_memory(self) -> int:
        """Octets that all TCP connections hold; ``HostConfig.tcp_memory`` bounds them."""
        return self._tcp.memory.used

    # ------------------------------------------------------------------ from the network

    def receive(self, packet: SuperPacket, now: float) -> None:
        """A packet from the network. What is not for this host, or wrong, is dropped and counted; nothing is raised."""
        self._now = now
        source = packet.source
        if source in self.addresses or source in self.addresses.broadcasts or (is_martian(source) and not self._groups.from_nobody(packet)):
            self.counters["source-martian"] += 1
            return
        self._accept(packet, now)

    def unreachable(self, packet: SuperPacket, now: float) -> None:
        """A packet of this host's cannot be sent on, as its owner knows: whoever sent it hears at once.

        What an error from the network only hints at is certain here: an opening connection ends. A packet to a group
        is never unreachable (RFC 1122 3.2.2): it reached all who listen, be it nobody.
        """
        self._now = now
        if self.addresses.of_many(packet.destination):
            return
        try:
            quote = parse_quote(packet.header + bytes(packet.payload[:64]))
        except WireError:
            return
        self._failed(Report(UNREACHABLE, 0, quote, packet.length, packet.source), True, now)

    def _accept(self, packet: SuperPacket, now: float) -> None:
        destination = packet.destination
        if destination not in self.addresses and not self._groups.admits(packet):
            self.counters["destination-not-ours"] += 1
            return
        try:
            if packet.version == 4 and ipv4.source_routed(packet.header):
                self.counters["ipv4-source-route"] += 1
                return
            if packet.fragment:
                self._fragment(packet, now)
            else:
                self._deliver(packet, now)
        except WireError as error:
            self.counters[error.reason] += 1

    def _fragment(self, packet: SuperPacket, now: float) -> None:
        """Keep a part; RFC 8200 4.5 has an answer for a first fragment whose length is no multiple of 8."""
        try:
            whole = self._reassembler.add(packet, now)
        except WireError as error:
            if error.reason == "fragment-unaligned" and packet.version == 6 and _is_first(packet):
                self._icmp.error(packet, Problem.FIELD, now, ipv6.PROBLEM_ERRONEOUS_FIELD, pointer=4)
            raise
        if whole is not None:
            self._deliver(whole, now)

    def _deliver(self, packet: SuperPacket, now: float) -> None:
        """A whole packet, to its transport. Raises WireError when malformed."""
        if not packet.verified and not transport_ok(packet):
            self.counters["checksum"] += 1
            return
        if self.unclaimed is not None and not self._sharing.is_ours(packet, self.unclaimed):
            return
        protocol = packet.protocol
        if protocol == PROTOCOL_TCP:
            if packet.destination in self.addresses:
                self._tcp.receive(packet, now)
            else:
                self.counters["tcp-to-group"] += 1
        elif protocol == PROTOCOL_UDP:
            if not self._udp.receive(packet):
                self.counters["udp-port-closed"] += 1
                self._icmp.error(packet, Problem.PORT, now)
        elif self._groups.takes(packet):
            self._groups.receive(packet, now)
        elif protocol == (PROTOCOL_ICMP if packet.version == 4 else PROTOCOL_ICMPV6):
            found = self._icmp.receive(packet, now)
            if found is not None:
                self._failed(found, found.hard, now)
        else:
            self._unknown(packet, now)

    def _unknown(self, packet: SuperPacket, now: float) -> None:
        """A protocol that nobody here speaks, or a header that the walk of the chain stopped at."""
        if packet.version == 4:
            self.counters["protocol-unknown"] += 1
            self._icmp.error(packet, Problem.PROTOCOL, now, pointer=IPV4_PROTOCOL_FIELD)
            return
        if packet.protocol == PROTOCOL_NO_NEXT_HEADER:
            self.counters["no-next-header"] += 1
            return
        chain = ipv6.walk(packet.header, len(packet.header))
        if packet.protocol == PROTOCOL_RESERVED:
            self.counters["header-refused"] += 1
        else:
            self.counters["protocol-unknown"] += 1
        self._icmp.error(packet, Problem.FIELD, now, chain.code, chain.pointer)

    # ------------------------------------------------------------------ errors about what was sent

    def _failed(self, found: Report, hard: bool, now: float) -> None:
        """Believe an error as far as the packet that it quotes can be ours (RFC 5927)."""
        quote = found.quote
        if quote.source not in self.addresses:
            self.counters["icmp-quote-not-ours"] += 1
        elif found.reason == PACKET_TOO_BIG:
            self._too_big(found, now)
        elif quote.protocol == PROTOCOL_TCP:
            connection = self._tcp.flight(quote)
            if connection is None:
                self.counters["icmp-implausible"] += 1
            else:
                connection.unreachable(hard, found.reason, now)
                self._tcp.touched[connection] = None
        elif not (quote.protocol == PROTOCOL_UDP and self._udp.failed(found)) and not self._icmp.echo_failed(found):
            self.counters["icmp-implausible"] += 1

    def _too_big(self, found: Report, now: float) -> None:
        """Lower the path MTU, when the packet that did not fit is one that we can have sent."""
        quote = found.quote
        length = min(found.length, self.mtu)
        if quote.protocol == PROTOCOL_TCP:
            connection = self._tcp.flight(quote)
            mtu = self._path_mtu.plausible(quote.destination, found.mtu, length)
            plausible = connection is not None and mtu is not None
            if connection is not None and mtu is not None and not connection.too_big(mtu, quote.sequence or 0, now):
                self.counters["path-mtu-doubted"] += 1
                return
        elif quote.protocol == PROTOCOL_UDP:
            plausible = self._udp.may_have_sent(found)
        else:
            plausible = self._icmp.is_outstanding(quote)
        if not plausible or self._path_mtu.reduce(quote.destination, found.mtu, length, self.mtu, now) is None:
            self.counters["icmp-implausible"] += 1
            return
        self.counters["path-mtu-reduced"] += 1
        self._tcp.path_mtu_changed(quote.destination, now)

    # ------------------------------------------------------------------ drained by the owner

    def packets(self, now: float) -> list[SuperPacket]:
        """Everything that is due, whole: whoever sends it cuts it. What is for this host itself turns round here."""
        self._now = now
        packets: list[SuperPacket] = []
        own = self.addresses
        for _ in range(MAX_TURNS):
            turned = False
            for packet in self._produce(now):
                if packet.destination in own:
                    self._accept(packet, now)
                    turned = True
                else:
                    packets.append(packet)
            if not turned:
                break
        return packets

    @property
    def has_answers(self) -> bool:
        """Whether ``answers`` would give something."""
        return bool(self._icmp.outgoing)

    def answers(self, now: float) -> list[SuperPacket]:
        """What ``packets`` would give of ICMP, and of UDP if there is some: what does not depend on what programs make
        of the events that came with it, so that an echo is answered before they are told."""
        self._now = now
        for packet in self._icmp.outgoing:
            self._outgoing.add(packet)
        self._icmp.outgoing.clear()
        own = self.addresses
        packets = self._outgoing.take(self._path_mtu, self.mtu)
        for packet in packets:
            if packet.destination in own:
                self._accept(packet, now)
        return [packet for packet in packets if packet.destination not in own]

    def _produce(self, now: float) -> list[SuperPacket]:
        packets = self._tcp.packets(now)
        if self._icmp.outgoing:
            for packet in self._icmp.outgoing:
                self._outgoing.add(packet)
            self._icmp.outgoing.clear()
        for packet in self._groups.packets(now):
            self._outgoing.add(packet)
        if self._outgoing:
            packets += self._outgoing.take(self._path_mtu, self.mtu)
        return packets

    def events(self) -> list[Event]:
        """What happened since the last call, in order for each connection and socket."""
        events = self._tcp.events()
        if self._udp.readable:
            events += map(UdpReadable, self._udp.readable)
            self._udp.readable.clear()
        if self._icmp.events:
            events += self._icmp.events
            self._icmp.events.clear()
        return events

    def deadline(self) -> float | None:
        """When ``tick`` is to be called at the latest; in the past when ``packets`` has something to give."""
        if self._tcp.pending or self._outgoing or self._icmp.outgoing or self._groups.pending:
            return self._now
        first = self._tcp.deadline()
        for time in (self._reassembler.deadline(), self._path_mtu.deadline(), self._groups.deadline()):
            if time is not None and (first is None or time < first):
                first = time
        return first

    def tick(self, now: float) -> None:
        """Time has passed; drain ``packets`` and ``events`` afterwards."""
        self._now = now
        self._tcp.tick(now)
        self._groups.tick(now)
        if self.unclaimed is not None:
            self.unclaimed += self._groups.kernel_queries(now)
        for first in self._reassembler.tick(now):
            self._icmp.error(first, Problem.REASSEMBLY, now)
        for destination in self._path_mtu.expired(now):
            self._tcp.path_mtu_changed(destination, now)


def _is_first(packet: SuperPacket) -> bool:
    """Whether an IPv6 fragment has offset 0: its header ends with the fragment header."""
    return int.from_bytes(packet.header[-6:-4], "big") & 0xFFF8 == 0
