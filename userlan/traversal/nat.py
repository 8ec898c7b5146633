"""What a NAT does to this computer's packets, in RFC 4787's and RFC 5382's words: the value that all of traversal turns on.

It is measured by ``netcheck``, told to the mediator, and turned into a plan for each pair (``plans``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Dependence = Literal["unknown", "endpoint-independent", "address-dependent", "address-and-port-dependent"]
"""Of a mapping (RFC 4787 4.1) or of a filter (RFC 4787 5)."""
Allocation = Literal["unknown", "preserving", "incremental", "chunked", "random"]
"""How the outside port follows (RFC 4787 4.2): the inside one, the one before, one of a small block, or nothing."""
Pooling = Literal["unknown", "single", "paired", "arbitrary"]
"""One outside address, or several: always the same one for this computer, or not (RFC 4787 4.1)."""
PortMapping = Literal["", "pcp", "nat-pmp", "upnp"]
Ipv6 = Literal["unknown", "none", "open", "firewall"]

Fraction = Annotated[float, Meta(ge=0, le=1)]
PortNumber = Annotated[int, Meta(ge=0, le=65535)]


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the NAT does for one transport.

    ``passes``: whether it passes at all. ``step``: from one outside port to the next, where the allocation is incremental. ``low`` and
    ``high``: the outside ports seen, or of the block. ``rate``: new mappings a second that others make (0: none seen).
    ``lifetime``: seconds without packets for which a mapping was seen to live, 0: unknown.
    """

    passes: bool = True
    mapping: Dependence = "unknown"
    filtering: Dependence = "unknown"
    allocation: Allocation = "unknown"
    step: Annotated[int, Meta(ge=-4096, le=4096)] = 0
    low: PortNumber = 0
    high: PortNumber = 0
    rate: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    lifetime: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


class NatBehaviour(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it, with how sure it is.

    ``translated``: False where the own address is the one that others see. ``nested``: more than one NAT lies in the way.
    ``early``: what a packet does that comes before the own one: nothing, or it moves the port ("moves"). ``confidence`` falls when a
    punch shows another behaviour.
    """

    udp: Policy = Policy()
    tcp: Policy = Policy()
    translated: bool | None = None
    pooling: Pooling = "unknown"
    hairpin: bool | None = None
    nested: bool | None = None
    early: Literal["unknown", "harmless", "moves"] = "unknown"
    ipv6: Ipv6 = "unknown"
    port_mapping: PortMapping = ""
    confidence: Fraction = 0.0

    def policy(self, transport: Literal["udp", "tcp"]) -> Policy:
        """What it does for a transport. Of TCP less is known, and later: until then it is taken to be treated as UDP, and to be as busy."""
        if transport == "udp":
            return self.udp
        if self.tcp.passes and self.tcp.mapping == "unknown" and self.udp.passes and self.udp.mapping != "unknown":
            return self.udp
        return msgspec.structs.replace(self.tcp, rate=max(self.tcp.rate, self.udp.rate))


UNKNOWN = NatBehaviour()
