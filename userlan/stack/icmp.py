"""Echo both ways, and the errors that this host sends (RFC 792, RFC 1122 3.2.2, RFC 4443).

Whom an error of somebody else is about is in ``quoted``; what comes of it, in ``host``.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import Enum

from userlan.stack.addresses import Addresses, is_martian
from userlan.stack.config import HostConfig
from userlan.stack.events import EchoFailed, EchoReply, Event
from userlan.stack.limiter import TokenBucket
from userlan.stack.quoted import Report, report
from userlan.wire import icmp, icmpv6, ipv4, ipv6
from userlan.wire.checksum import adjusted, residue
from userlan.wire.fragment import HEADER_LENGTH as FRAGMENT_HEADER
from userlan.wire.numbers import PROTOCOL_ICMP, PROTOCOL_ICMPV6, Buffer
from userlan.wire.quote import Quote
from userlan.wire.superpacket import SuperPacket

ECHO_TIMEOUT = 60.0
"""Seconds after which an echo request that nobody answered is forgotten; whoever pings gives up sooner."""

_REQUEST = {4: icmp.TYPE_ECHO_REQUEST, 6: icmpv6.TYPE_ECHO_REQUEST}
_REPLY = {4: icmp.TYPE_ECHO_REPLY, 6: icmpv6.TYPE_ECHO_REPLY}

_IPV4_ERRORS = frozenset((3, 4, 5, 11, 12))
"""ICMP types that are errors, source quench and redirect among them (RFC 1122 3.2.2)."""


class Problem(Enum):
    """What this host finds wrong with a packet."""

    PORT = "port-unreachable"
    PROTOCOL = "protocol-unreachable"
    REASSEMBLY = "reassembly-time-exceeded"
    FIELD = "parameter-problem"


def is_error(packet: SuperPacket) -> bool:
    """Whether a packet, or a first fragment, is an ICMP error, or ICMP that is too short to say."""
    protocol = packet.protocol
    if packet.version == 6 and packet.fragment:
        protocol = packet.header[packet.transport_offset - FRAGMENT_HEADER]
    if protocol == PROTOCOL_ICMP and packet.version == 4:
        return not packet.payload or packet.payload[0] in _IPV4_ERRORS
    if protocol == PROTOCOL_ICMPV6 and packet.version == 6:
        return not packet.payload or packet.payload[0] < icmpv6.FIRST_INFORMATIONAL_TYPE
    return False


class Icmp:
    """Messages to and from one host. ``outgoing`` and ``events`` are drained by their owner."""

    def __init__(self, config: HostConfig, addresses: Addresses, counters: Counter[str]) -> None:
        self.outgoing: list[SuperPacket] = []
        self.events: list[Event] = []
        self._counters = counters
        self._addresses = addresses
        self._hop_limit = config.hop_limit
        self._max_outstanding = config.max_echo_outstanding
        self._errors = TokenBucket(config.icmp_errors_a_second, config.icmp_error_burst)
        self._echoes = TokenBucket(config.echoes_a_second, config.echo_burst)
        self._broadcast_echoes = TokenBucket(config.broadcast_echoes_a_second, config.broadcast_echo_burst)
        self._outstanding: OrderedDict[tuple[bytes, int, int], float] = OrderedDict()

    def ping(
        self, source: bytes, destination: bytes, identifier: int, sequence: int, payload: Buffer, now: float
    ) -> SuperPacket:
        """An echo request, whose answer becomes an ``EchoReply``."""
        outstanding = self._outstanding
        while outstanding and next(iter(outstanding.values())) + ECHO_TIMEOUT <= now:
            outstanding.popitem(last=False)
        outstanding[destination, identifier, sequence] = now
        outstanding.move_to_end((destination, identifier, sequence))
        if len(outstanding) > self._max_outstanding:
            outstanding.popitem(last=False)
        return self._echo(source, destination, True, identifier, sequence, payload)

    def receive(self, packet: SuperPacket, now: float) -> Report | None:
        """A message to this host; an error is handed back. Raises WireError when malformed."""
        payload = packet.payload
        if len(payload) >= icmp.HEADER_LENGTH and payload[0] == _REQUEST[packet.version] and not packet.fragment:
            self._answer(packet, now)
            return None
        message = icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet)
        match message:
            case icmp.Echo() | icmpv6.Echo():
                self._answered(packet, message, now)
                return None
        found = report(message, packet.source)
        if found is None:
            self._counters["icmp-ignored"] += 1
        return found

    def echo_failed(self, found: Report) -> bool:
        """An error about an echo request; whether one of ours is meant."""
        key = self._echo_key(found.quote)
        if key is None or key not in self._outstanding:
            return False
        del self._outstanding[key]
        self.events.append(EchoFailed(*key, found.reason, found.reporter))
        return True

    def expects(self, source: bytes, identifier: int, sequence: int) -> bool:
        """Whether an echo reply from there answers a request of this host."""
        return (source, identifier, sequence) in self._outstanding

    def is_outstanding(self, quote: Quote) -> bool:
        """Whether the quoted packet is an echo request of ours that was not answered yet."""
        return self._echo_key(quote) in self._outstanding

    def error(self, packet: SuperPacket, problem: Problem, now: float, code: int = 0, pointer: int = 0) -> None:
        """Tell the sender of ``packet`` what is wrong with it, where that is allowed (RFC 1122 3.2.2, RFC 4443
        2.4(e))."""
        source = packet.source
        of_many = self._addresses.of_many
        if of_many(packet.destination) or of_many(source) or is_martian(source) or is_error(packet):
            return
        if not self._errors.allow(now):
            self._counters["icmp-error-limited"] += 1
            return
        self._counters[f"sent-{problem.value}"] += 1
        quoted = packet.header + bytes(packet.payload[: icmpv6.MAX_ERROR_LENGTH])
        if packet.version == 4:
            answer = icmp.build(_ipv4_error(problem, quoted, pointer), packet.destination, source, self._hop_limit)
        else:
            answer = icmpv6.build(
                _ipv6_error(problem, quoted, code, pointer), packet.destination, source, self._hop_limit
            )
        self.outgoing.append(answer)

    def _answer(self, packet: SuperPacket, now: float) -> None:
        """An echo request turned round: all but its type comes back as it was (RFC 792, RFC 4443 4.2).

        Who asks everybody is answered from the own address (RFC 1122 3.2.2.6, RFC 4443 4.2), a few times a second; who asks a group, not.
        """
        own: bytes | None = packet.destination
        limit = self._echoes
        if self._addresses.of_many(packet.destination):
            own = self._addresses.source_for(packet.source) if self._addresses.of_everybody(packet.destination) else None
            limit = self._broadcast_echoes
        if own is None:
            self._counters["echo-to-group"] += 1
        elif not limit.allow(now):
            self._counters["echo-limited"] += 1
        else:
            payload = packet.payload
            request, reply = _REQUEST[packet.version], _REPLY[packet.version]
            words = (request << 8 | payload[1], reply << 8)
            number = adjusted(payload[2] << 8 | payload[3], *words)
            if own != packet.destination and packet.version == 6:     # which ICMPv6's covers
                number = adjusted(number, residue(packet.destination), residue(own))
            checksum = number.to_bytes(2, "big")
            body = b"".join((bytes((reply, 0)), checksum, payload[4:]))
            build_header = ipv4.build_header if packet.version == 4 else ipv6.build_header
            header = build_header(
                own, packet.source, packet.protocol, len(body), hop_limit=self._hop_limit
            )
            self.outgoing.append(SuperPacket(header, body, 0, True))

    def _answered(self, packet: SuperPacket, message: icmp.Echo | icmpv6.Echo, now: float) -> None:
        sent_at = self._outstanding.pop((packet.source, message.identifier, message.sequence), None)
        if sent_at is None:
            self._counters["echo-reply-unexpected"] += 1
            return
        payload = bytes(message.payload)
        self.events.append(EchoReply(packet.source, message.identifier, message.sequence, payload, now - sent_at))

    def _echo(
        self, source: bytes, destination: bytes, request: bool, identifier: int, sequence: int, payload: Buffer
    ) -> SuperPacket:
        data = bytes(payload)
        if len(source) == 4:
            return icmp.build(icmp.Echo(request, identifier, sequence, data), source, destination, self._hop_limit)
        return icmpv6.build(icmpv6.Echo(request, identifier, sequence, data), source, destination, self._hop_limit)

    def _echo_key(self, quote: Quote) -> tuple[bytes, int, int] | None:
        head = quote.transport
        if (quote.protocol, head[0]) not in (
            (PROTOCOL_ICMP, icmp.TYPE_ECHO_REQUEST),
            (PROTOCOL_ICMPV6, icmpv6.TYPE_ECHO_REQUEST),
        ):
            return None
        return quote.destination, int.from_bytes(head[4:6], "big"), int.from_bytes(head[6:8], "big")


def _ipv4_error(problem: Problem, quoted: bytes, pointer: int) -> icmp.Message:
    if problem is Problem.REASSEMBLY:
        return icmp.TimeExceeded(icmp.CODE_REASSEMBLY, quoted)
    if problem is Problem.FIELD:
        return icmp.ParameterProblem(0, pointer, quoted)
    port = problem is Problem.PORT
    return icmp.Unreachable(icmp.CODE_PORT_UNREACHABLE if port else icmp.CODE_PROTOCOL_UNREACHABLE, quoted)


def _ipv6_error(problem: Problem, quoted: bytes, code: int, pointer: int) -> icmpv6.Message:
    if problem is Problem.REASSEMBLY:
        return icmpv6.TimeExceeded(icmpv6.CODE_REASSEMBLY, quoted)
    if problem is Problem.PORT:
        return icmpv6.Unreachable(icmpv6.CODE_PORT_UNREACHABLE, quoted)
    if problem is Problem.PROTOCOL:
        code = ipv6.PROBLEM_UNKNOWN_NEXT_HEADER
    return icmpv6.ParameterProblem(code, pointer, quoted)
