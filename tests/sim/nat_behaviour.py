"""The axes of a NAT box, in RFC 4787's and RFC 5382's words, and boxes that are met in the wild."""

from __future__ import annotations

from dataclasses import dataclass, replace

ENDPOINT_INDEPENDENT = "endpoint-independent"
ADDRESS = "address-dependent"
ADDRESS_AND_PORT = "address-and-port-dependent"

PRESERVING = "preserving"
"""The inside port where it is free, else one at random (Linux, RFC 4787 4.2.1)."""
INCREMENTAL = "incremental"
"""``step`` after the one before, and up to ``noise`` more steps."""
CHUNKED = "chunked"
"""At random out of the block that the subscriber has (RFC 6888, RFC 7422)."""
RANDOM = "random"
"""At random out of the whole range (RFC 6056 3.3.1)."""
OVERLOADED = "overloaded"
"""The inside port, even if another has it (RFC 4787 4.2.1, "port overloading")."""

SINGLE, PAIRED, ARBITRARY = "single", "paired", "arbitrary"
"""One outside address; always the same one of several for a computer; any for each mapping (RFC 4787 4.1)."""

DROP, RESET, ICMP = "drop", "reset", "icmp"
"""What an unsolicited SYN meets (RFC 5382 REQ-4: nothing for 6 s)."""

HARMLESS, MOVES = "harmless", "moves"
"""What a packet that comes too early does. ``MOVES``: Linux' masquerade without a rule that drops it on INPUT. Its conntrack keeps
the packet's tuple as a connection of the box itself, so that the own packet to that far end gets another port."""

FIREWALL, OPEN, NONE = "firewall", "open", "none"
"""IPv6 behind the box: stateful, address-and-port-dependent (RFC 6092); passed freely; not there."""


@dataclass(frozen=True)
class NatBehaviour:
    """The default is what most homes have: endpoint-independent mapping, address-and-port-dependent filtering, ports kept.

    ``low`` to ``high``: outside ports in use (not with ``PRESERVING``); ``chunk``: ports of a subscriber's block.
    ``timeout``: seconds from the last packet outwards, or inwards too where ``refreshed_inbound`` (RFC 4787 4.3);
    ``established``: the same for a TCP connection that is open (RFC 5382 REQ-5). ``load``: mappings a second that others make, each
    of them alive for ``load_lifetime`` seconds. ``blocked``: transports that nobody may use; ``tcp_ports``: if there are any, the only
    ones to which TCP passes. ``tcp``: how TCP is treated where that differs (its ``blocked``, ``ipv6`` and ``pooling`` do not count).
    """

    mapping: str = ENDPOINT_INDEPENDENT
    filtering: str = ADDRESS_AND_PORT
    allocation: str = PRESERVING
    step: int = 1
    noise: int = 0
    low: int = 1024
    high: int = 65_535
    chunk: int = 512
    pooling: str = SINGLE
    hairpin: bool = False
    timeout: float = 120.0
    established: float = 7440.0
    refreshed_inbound: bool = False
    unsolicited: str = DROP
    early: str = HARMLESS
    load: float = 0.0
    load_lifetime: float = 60.0
    blocked: frozenset[str] = frozenset()
    tcp_ports: frozenset[int] = frozenset()
    ipv6: str = FIREWALL
    tcp: NatBehaviour | None = None

    def of(self, transport: str) -> NatBehaviour:
        """What holds for one transport."""
        return self.tcp if transport == "tcp" and self.tcp is not None else self


HOME_ROUTER = NatBehaviour()
FULL_CONE = NatBehaviour(filtering=ENDPOINT_INDEPENDENT)
RESTRICTED_CONE = NatBehaviour(filtering=ADDRESS)
RANDOM_PORT_CONE = NatBehaviour(allocation=RANDOM)
MASQUERADE = NatBehaviour(early=MOVES)
"""Linux without a rule that drops early packets."""
REFUSING = NatBehaviour(unsolicited=RESET, early=MOVES)
"""Linux that answers them with RST (or ICMP for UDP, which nobody hears)."""
SYMMETRIC = NatBehaviour(mapping=ADDRESS_AND_PORT, allocation=RANDOM)
INCREMENTAL_SYMMETRIC = NatBehaviour(mapping=ADDRESS_AND_PORT, allocation=INCREMENTAL)
CHUNKED_SYMMETRIC = NatBehaviour(mapping=ADDRESS_AND_PORT, allocation=CHUNKED)
ADDRESS_INCREMENTAL = NatBehaviour(mapping=ADDRESS, allocation=INCREMENTAL)
ADDRESS_RANDOM = NatBehaviour(mapping=ADDRESS, allocation=RANDOM)
CARRIER = NatBehaviour(allocation=CHUNKED, filtering=ENDPOINT_INDEPENDENT, hairpin=True)
"""As RFC 6888 asks for, with RFC 7422's blocks."""
WITHOUT_UDP = NatBehaviour(blocked=frozenset({"udp"}))
WEB_ONLY = replace(WITHOUT_UDP, tcp_ports=frozenset({443}))
