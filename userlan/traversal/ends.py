"""One side's NAT reduced to what decides how it can be met, and what can be achieved for each pair.

Two questions decide: is its outside port towards the peer known beforehand, and whom does its filter let in? ::

    port          known     endpoint-independent: the one that the mediator sees
                  one       address-dependent: one new port for all of the peer's ports
                  each      address-and-port-dependent: a new one for each of them
    drawn         step      the new port follows the one before (``prediction``)
                  block     out of a small block
                  random    out of a wide range
    filter        0 anybody, 1 the peer's host once it was sent to, 2 only the peer's very port

``technique_for`` is the matrix: the first line that fits.

=====================================================================  ================  =========================================
both sides' ports known                                                simultaneous      both send at one moment
one known with filter 0 or 1                                           one-first         the other one's packet tells its port
one known with filter 2, the other one drawn by step                   prediction        sockets in a row, hit by a comb
the same, drawn from a block                                           chunked           the block is searched
the same, random                                                       birthday          256 sockets, up to 2048 probes
none known, one with filter 0, the other with at most 1                one-first         what the mediator sees lets anybody in
none known, a filter of at most 1, and either one port or the
other filter at most 1 too                                             as above          its sockets are searched by the other side
none known, both by step                                               both-incremental  each draws, or opens rows to, the other's
one with one port by step, the other one random                        aimed-birthday    many sockets aim at it, it draws their ports
else                                                                   relay             nothing that is worth the packets
=====================================================================  ================  =========================================
"""

from __future__ import annotations

from math import exp
from typing import Literal, NamedTuple

from userlan.traversal.nat import NatBehaviour
from userlan.traversal.prediction import BLOCKS, FIRST_PORT, LAST_PORT
from userlan.traversal.sides import Transport

BIRTHDAY_SOCKETS = 256
BIRTHDAY_PROBES = 2048
"""Sockets × probes out of 64,512 ports: 99.97 %; the first hit comes after 252 probes on the average."""
BLOCK_SOCKETS = 32
"""Sockets in a carrier's block: it is shared by everything that the subscriber does, and blocks begin at 64 ports."""
PREDICTED = 0.997
"""A window of three standard deviations."""
ACROSS = 0.890
"""A row of ``prediction.SPAN`` = 3.2 standard deviations lies across the port that it is to have: erf(SPAN / 2 / √2). It is no longer,
since a node opens 64 TCP connections for a plan."""
ROUNDS = 3
"""Times that two rows are tried before their pair counts as failed, each with a fresh measurement: so each is a draw of its own."""
RANGES = ((49152, 65535), (32768, 60999), (32768, 65535), (FIRST_PORT, LAST_PORT))
"""Where random ports come from: RFC 6335's dynamic ports, Linux's, half of all, all but the well-known. The smallest that fits is taken."""

Drawn = Literal["known", "step", "block", "random"]
FILTERS = {"endpoint-independent": 0, "address-dependent": 1, "address-and-port-dependent": 2, "unknown": 2}


class End(NamedTuple):
    """``drawn``: how its port towards the peer comes about. ``one``: it is the same for all of the peer's ports. ``space``: the ports
    that it is drawn from, first and last."""

    passes: bool
    drawn: Drawn
    one: bool
    filter: int
    space: tuple[int, int] = (FIRST_PORT, LAST_PORT)

    @property
    def ports(self) -> int:
        """How many there are to draw from."""
        return self.space[1] - self.space[0] + 1


def reduce(nat: NatBehaviour, transport: Transport = "udp", mapped: bool = False) -> End:
    """What decides. ``mapped``: its router maps a port to it. What is unknown is taken for what most homes have: an
    endpoint-independent mapping behind the strictest filter; an unknown allocation is random, and so is one that preserves the port but
    depends on the destination all the same: it keeps it for one of them."""
    policy = nat.policy(transport)
    if mapped:
        return End(policy.passes, "known", True, 0)
    level = FILTERS[policy.filtering]
    if nat.translated is False or policy.mapping in ("endpoint-independent", "unknown"):
        return End(policy.passes, "known", True, level)
    one = policy.mapping == "address-dependent"
    if policy.allocation == "incremental":
        return End(policy.passes, "step", one, level)
    if policy.allocation == "chunked":
        low, high = (policy.low, policy.high) if 0 < policy.low < policy.high else (FIRST_PORT, FIRST_PORT + BLOCKS[-1] - 1)
        return End(policy.passes, "block", one, level, (low, high))
    return End(policy.passes, "random", one, level, wide(policy.low, policy.high))


def wide(low: int, high: int) -> tuple[int, int]:
    """The smallest usual range that random ports from ``low`` to ``high`` can come from."""
    if not low or not high:
        return RANGES[-1]
    return next(((first, last) for first, last in RANGES if first <= low and high <= last), (min(low, FIRST_PORT), LAST_PORT))


def technique_for(a: End, b: End, transport: Transport = "udp") -> tuple[str, bool]:
    """The technique, and whether the roles are swapped: as it is, ``b`` is the side whose sockets are sought, ``a`` the one that seeks."""
    if not (a.passes and b.passes):
        return "relay", False
    if a.drawn == "known" and b.drawn == "known":
        return "simultaneous", False
    if "known" in (a.drawn, b.drawn):
        swapped = b.drawn == "known"
        known, other = (b, a) if swapped else (a, b)
        if known.filter < 2 and transport == "udp":
            return "one-first", swapped
        return _search(other, transport), swapped
    if transport == "udp":
        if (a.filter == 0 and b.filter < 2) or (b.filter == 0 and a.filter < 2):
            return "one-first", b.filter != 0
        landings = [(_COST[sought.drawn], swapped) for sought, other, swapped in ((b, a, False), (a, b, True)) if lands(sought, other)]
        if landings:
            _, swapped = min(landings)
            return _search(a if swapped else b, transport), swapped
    if a.drawn == b.drawn == "step":
        return "both-incremental", False
    if transport == "udp" and "step" in (a.drawn, b.drawn):
        swapped = a.drawn == "step"
        if (a if swapped else b).one:
            return "aimed-birthday", swapped
    return "relay", False


_COST = {"known": 0, "step": 1, "block": 2, "random": 3}


def lands(sought: End, other: End) -> bool:
    """Whether a packet from an unknown port of ``other`` gets in to a socket of ``sought`` that spoke to its host, and the answer back."""
    return sought.filter < 2 and (sought.one or other.filter < 2)


def _search(sought: End, transport: Transport) -> str:
    if sought.drawn == "step":
        return "prediction"
    if transport == "tcp":
        return "relay"
    return "chunked" if sought.drawn == "block" else "birthday"


def block_sockets(ports: int) -> int:
    """Sockets to open in a block of ``ports``: an eighth of it at most."""
    return max(1, min(BLOCK_SOCKETS, ports // 8))


def meets(sockets: int, probes: int, ports: int) -> float:
    """Probability that one of ``probes`` different ports is one of ``sockets`` out of ``ports``: 1 - C(S-N, M)/C(S, M)."""
    if sockets + probes > ports:
        return 1.0
    missed = 1.0
    for number in range(sockets):
        missed *= 1 - probes / (ports - number)
    return 1.0 - missed


def achievable(a: NatBehaviour, b: NatBehaviour, transport: Transport = "udp") -> float:
    """The rate at which a pair can meet in theory, 0 to 1, with the caps of this package and without any loss of packets.

    Two that draw a port for each destination meet over TCP where both first rows of a round lie across their ports, ``ACROSS``². Where a
    NAT leaves out every third port only 2/3 of its rows have theirs, but there the rows are so short that four fit into a plan: with
    2/3 on both sides 1 - (1 - (2/3)² ACROSS²)⁴ = 0.82 a round, and 0.994 in three.
    """
    ends = reduce(a, transport), reduce(b, transport)
    if all(end.passes for end in ends) and any(one.translated is False and end.filter == 0 for one, end in zip((a, b), ends, strict=True)):
        return 1.0
    technique, swapped = technique_for(*ends, transport)
    sought = ends[0] if swapped else ends[1]
    other = ends[1] if swapped else ends[0]
    if technique == "birthday":
        return meets(BIRTHDAY_SOCKETS, BIRTHDAY_PROBES, sought.ports)
    if technique == "chunked":
        return meets(block_sockets(sought.ports), min(BIRTHDAY_PROBES, sought.ports), sought.ports)
    if technique == "aimed-birthday":
        sockets = block_sockets(other.ports) if other.drawn == "block" else BIRTHDAY_SOCKETS
        return PREDICTED * (1 - exp(-sockets * BIRTHDAY_PROBES / other.ports))
    if technique == "both-incremental" and transport == "tcp" and not (sought.one or other.one):
        return 1 - (1 - ACROSS**2) ** ROUNDS
    return {"prediction": PREDICTED, "both-incremental": PREDICTED**2, "relay": 0.0}.get(technique, 1.0)


def kind(nat: NatBehaviour, transport: Transport = "udp") -> str:
    """A NAT's class as a short word, for what is learnt of pairs: ``known/2``, ``each-step/2``, ``one-random/1``, ``blocked``."""
    end = reduce(nat, transport)
    if not end.passes:
        return "blocked"
    drawn = end.drawn if end.drawn == "known" else f"{'one' if end.one else 'each'}-{end.drawn}"
    return f"{drawn}/{end.filter}"
