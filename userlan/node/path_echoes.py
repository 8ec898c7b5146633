"""A path's questions and answers on the wire: ICMPv6 echoes inside the tunnel, answered by the way by which they came.

::

    A ── echo request, identifier "un", by one certain path ──▶ B
    A ◀── echo reply, by the endpoint from which it came ────── B         the round trip of that path, both ways

Why inside the tunnel, and ICMP: the tunnel authenticates it and refuses replays; a node that knows nothing of it answers as any IPv6 host
does (RFC 4443 4.2), by its own choice of path, and so proves at least that the question arrived.

Probes of a path's MTU have another identifier, "um", and are answered here, too, without what they were filled with.

Why: only their size in one direction is asked for (RFC 8899 4.1 lets an acknowledgement have any size), and a stack sends 64 KB back, in
fifty fragments where that direction is not known to carry more.

Where the path goes on behind the node, to a guest (``guest``), what that does not take is not answered: so its MTU is what is measured.
"""

from __future__ import annotations

from userlan.lan.addresses import ipv6_of
from userlan.stack.limiter import TokenBucket
from userlan.tunnel.device import Device
from userlan.wire import icmpv6
from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import MAX_PACKET, PROTOCOL_ICMPV6
from userlan.wire.superpacket import SuperPacket

PATH_IDENTIFIER = 0x756E
"""ICMP identifier ("un"); programs that ping through the node get others."""
PROBE_IDENTIFIER = 0x756D
"""ICMP identifier of probes of a path's MTU."""
PATH_PAYLOAD = b"userlan path"
"""Twelve octets: more than nothing, for the NATs that ignore empty datagrams."""
MAX_PAYLOAD = 64
"""Octets of a question that is answered; a longer one is left to the stack."""
PROBE_ANSWER = len(PATH_PAYLOAD)
"""Octets of a probe that its answer brings back."""
ANSWERS_A_SECOND, ANSWER_BURST = 1000.0, 2000
"""Answers to all peers together: 500 peers that all lost their paths ask 2,000 times in 0.75 s."""


class PathEchoes:
    """Of one node."""

    def __init__(self, device: Device) -> None:
        self.largest = MAX_PACKET
        """Octets of the largest probe that is answered."""
        self._device = device
        self._own = ipv6_of(device.public_key)
        self._answers = TokenBucket(ANSWERS_A_SECOND, ANSWER_BURST)

    def ask(self, key: bytes, sequence: int, endpoint: Endpoint, now: float) -> None:
        """Send a question to a peer by one path; ``sequence`` has 16 bits."""
        self._send(key, icmpv6.Echo(True, PATH_IDENTIFIER, sequence, PATH_PAYLOAD), endpoint, now)

    def received(self, key: bytes, packet: SuperPacket, source: Endpoint, now: float) -> int | None:
        """A packet of the peer's, whose inner source was checked, came by ``source``. None: it is not for here. Otherwise it is dealt with:
        the sequence number of an answer, -1 for a question."""
        payload = packet.payload
        if packet.protocol != PROTOCOL_ICMPV6 or len(payload) < icmpv6.HEADER_LENGTH:
            return None
        if len(payload) > icmpv6.HEADER_LENGTH + MAX_PAYLOAD and payload[0] != icmpv6.TYPE_ECHO_REQUEST:
            return None
        if packet.fragment or packet.destination != self._own or packet.source != ipv6_of(key):
            return None
        message = icmpv6.parse(packet)
        if not isinstance(message, icmpv6.Echo):
            return None
        if message.identifier == PROBE_IDENTIFIER and message.request and bytes(message.payload).count(0) == len(message.payload):
            if packet.length > self.largest:
                return -1
            message = message._replace(payload=message.payload[:PROBE_ANSWER])
        elif message.identifier != PATH_IDENTIFIER or len(message.payload) > MAX_PAYLOAD:
            return None
        if not message.request:
            return message.sequence
        if self._answers.allow(now):
            self._send(key, message._replace(request=False), source, now)
        return -1

    def _send(self, key: bytes, message: icmpv6.Echo, endpoint: Endpoint, now: float) -> None:
        self._device.send_by(key, icmpv6.build(message, self._own, ipv6_of(key)), endpoint, now)
