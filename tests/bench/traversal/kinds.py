"""The kinds of NATs of the matrix: the box in the simulation, and what a perfect classification would say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tests.sim.internet import Segment
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import (
    ADDRESS_INCREMENTAL,
    ADDRESS_RANDOM,
    CARRIER,
    CHUNKED,
    CHUNKED_SYMMETRIC,
    FULL_CONE,
    HOME_ROUTER,
    INCREMENTAL_SYMMETRIC,
    MASQUERADE,
    MOVES,
    RANDOM_PORT_CONE,
    REFUSING,
    RESTRICTED_CONE,
    SYMMETRIC,
    WEB_ONLY,
    WITHOUT_UDP,
    NatBehaviour,
)
from userlan.traversal import nat as words

HOUSEHOLD, OFFICE, CARRIER_LOAD = 0.3, 4.0, 100.0
"""New mappings a second of others behind the same box; Klinec and Matyas measured 48 to 266 behind busy ones."""


@dataclass(frozen=True)
class Kind:
    """``box``: the behaviour of the outermost NAT, None: no NAT; ``home``: of a further one inside it."""

    name: str
    text: str
    box: NatBehaviour | None
    home: NatBehaviour | None = None

    def build(self, outer: Segment, number: int, profile: LinkProfile) -> tuple[Segment, str, LinkProfile]:
        """Where member ``number`` (0, 1 …) is plugged in, its address there, and its own link's profile."""
        host = f"198.51.{100 + number}.7"
        if self.box is None:
            return outer, host, profile
        segment = Nat(outer, host, profile, self.box).inside
        if self.home is not None:
            segment = Nat(segment, "100.64.0.9", LinkProfile(delay=0.001), self.home).inside
        return segment, "192.168.1.2", PERFECT

    def truth(self, tcp_only: bool = False) -> words.NatBehaviour:
        """What a perfect classification says."""
        if self.box is None:
            return words.NatBehaviour(udp=_open(not tcp_only), tcp=_open(True), translated=False, confidence=1.0)
        udp, tcp = _policy(self.box, "udp"), _policy(self.box, "tcp")
        if self.home is not None:
            udp, tcp = _within(udp, self.home, "udp"), _within(tcp, self.home, "tcp")
        if tcp_only:
            udp = words.Policy(passes=False)
        moves = MOVES in (self.box.early, self.home.early if self.home else "")
        return words.NatBehaviour(
            udp=udp, tcp=tcp, translated=True, pooling="single", hairpin=self.box.hairpin, nested=self.home is not None,
            early="moves" if moves else "harmless", confidence=1.0,
        )


def _open(passes: bool) -> words.Policy:
    return words.Policy(passes, "endpoint-independent", "endpoint-independent", "preserving")


def _policy(box: NatBehaviour, transport: str) -> words.Policy:
    behaviour = box.of(transport)
    if transport in box.blocked or (transport == "tcp" and box.tcp_ports):
        return words.Policy(passes=False)
    narrow = behaviour.allocation == CHUNKED
    return words.Policy(
        True, behaviour.mapping, behaviour.filtering, behaviour.allocation,  # type: ignore[arg-type]  # the same words
        step=behaviour.step if behaviour.allocation == "incremental" else 0,
        low=behaviour.low, high=behaviour.low + behaviour.chunk - 1 if narrow else behaviour.high, rate=behaviour.load,
    )


def _within(policy: words.Policy, home: NatBehaviour, transport: str) -> words.Policy:
    """Two boxes: the inner one's filter holds as well, and its mapping where it is the stricter."""
    order = ("endpoint-independent", "address-dependent", "address-and-port-dependent")
    inner = _policy(home, transport)
    return words.Policy(
        policy.passes and inner.passes, max(policy.mapping, inner.mapping, key=order.index),
        max(policy.filtering, inner.filtering, key=order.index), policy.allocation, policy.step, policy.low, policy.high, policy.rate,
    )


def _busy(box: NatBehaviour, load: float, **changes: object) -> NatBehaviour:
    return replace(box, load=load, **changes)  # type: ignore[arg-type]  # the fields of the dataclass


_home: Callable[..., NatBehaviour] = partial(_busy, load=HOUSEHOLD)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("O", "no NAT, open to all", None),
        Kind("EIF", "endpoint-independent mapping and filter", _home(FULL_CONE)),
        Kind("ADF", "address-dependent filter", _home(RESTRICTED_CONE)),
        Kind("PDF", "address-and-port-dependent filter, ports kept (most homes)", _home(HOME_ROUTER)),
        Kind("PDR", "the same, one random port for each socket", _home(RANDOM_PORT_CONE)),
        Kind("MOV", "Linux masquerade: an early packet moves the port", _home(MASQUERADE)),
        Kind("RST", "the same, and it answers unasked SYNs with RST", _home(REFUSING)),
        Kind("SI1", "symmetric, ports one by one", _home(INCREMENTAL_SYMMETRIC)),
        Kind("SI2", "symmetric, by two with noise, an office behind it", _busy(INCREMENTAL_SYMMETRIC, OFFICE, step=2, noise=1)),
        Kind("SIB", "symmetric, one by one, 100 new mappings a second", _busy(INCREMENTAL_SYMMETRIC, CARRIER_LOAD)),
        Kind("CHK", "symmetric, at random in a block of 512 ports", CHUNKED_SYMMETRIC),
        Kind("AMI", "address-dependent mapping, one by one", _home(ADDRESS_INCREMENTAL)),
        Kind("AMR", "address-dependent mapping, random", _home(ADDRESS_RANDOM)),
        Kind("SR", "symmetric, random over all ports", _home(SYMMETRIC)),
        Kind("DBL", "a home NAT behind a carrier's (RFC 6888)", CARRIER, _home(HOME_ROUTER)),
        Kind("NOU", "no UDP", _home(WITHOUT_UDP)),
        Kind("WEB", "nothing but TCP to port 443", _home(WEB_ONLY)),
    )
}
"""In the order of the rows."""


def pairs() -> list[tuple[Kind, Kind]]:
    """Every cell of the matrix, each pair once."""
    kinds = list(KINDS.values())
    return [(first, second) for index, first in enumerate(kinds) for second in kinds[index:]]
