"""Two sides' NATs in, two plans out: what each side sends so that they meet. Pure; the mediator calls it for each pair.

It is called twice. The first verdict says how many fresh sockets are to be ``Measure``d on each side right before (0: none); with what was
seen of them (``Side.measured``) the second one's plans are for those sockets. Where nothing has to be measured the first is the last.

The candidates that an introduction names are probed by both sides whatever the plan says: that is all that most pairs need. Steps come on
top for the pairs that need more, as ``ends`` tells them apart. Where two techniques would do, the cheaper one comes first, unless it is
known to have failed for such a pair before (``experience``).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from userlan.traversal import techniques
from userlan.traversal.ends import End, reduce, technique_for
from userlan.traversal.nat import NatBehaviour
from userlan.traversal.sides import Side, Sighting, Transport, Verdict
from userlan.traversal.step import Plan, Step
from userlan.traversal.techniques import BUSY_SOCKETS, MEASURING_PAUSE, ROW_TCP_SOCKETS, TCP_SOCKETS, Ends, sockets_for

__all__ = ["Experience", "Side", "Sighting", "Verdict", "make_plans"]

Experience = Mapping[str, float]
"""By technique: what became of it for such a pair of NATs (``ends.kind`` of both), from -1 (it never met) to 1 (always); 0: unknown."""

FAILED = -0.5
"""An experience below which a technique is not tried first, and the dear ones not at all."""
BLOCK_SOCKETS = 8
"""Sockets that are measured to see which block a carrier's NAT gives right now."""
LEAST_HOLD, DOUBTFUL_HOLD, MOST_HOLD = 0.010, 0.060, 0.250
"""Seconds by which a side holds back what must not come to the other NAT before the other side's own first packet, where both have to:
one of them must be the first in the end. The second is the most where the NATs only may be such."""
PATIENT_HOLD = 2.5
"""The same where the other side comes by itself: its packets pass the opened NAT and are answered at once, so that to wait costs nothing,
and whatever delays the other side's start, by a busy computer or a lost segment, does no harm. It would be great: Linux gives a socket's
next mappings the port of one that it has moved, so that one early packet spoils the other side for all of its peers."""
HASTE = frozenset(("ipv6", "lan", "hairpin", "port-mapping", "simultaneous", "one-first"))
"""Techniques that look after such NATs themselves, or do not go through them."""
DOUBTFUL_SKEW = 0.020
"""Seconds of possible skew beyond which a NAT of which it is not known is taken for one that moves the port."""
RELAY_GIVE_UP = 2.0
"""Seconds after which a hopeless pair stops: four packets to each candidate."""


def make_plans(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
    """The plans of both sides. ``start``: the common start, seconds of the clock of ``Sighting.at``."""
    verdict = _verdict(a, b, start, experience or {})
    if verdict.technique in HASTE:
        return verdict
    plans = unhurried(verdict.plans, (a.nat, b.nat))
    return verdict._replace(plans=plans)


def unhurried(plans: tuple[Plan, Plan], nats: tuple[NatBehaviour, NatBehaviour]) -> tuple[Plan, Plan]:
    """No candidate of a NAT that moves its port is probed before its own side had its time. Where both are such, one of them waits."""
    first, second = (nat.early == "moves" for nat in nats)
    holds = PATIENT_HOLD if second and not first else 0.0, PATIENT_HOLD if first else 0.0
    one, other = (plan if plan.hold >= hold else replace(plan, hold=hold) for plan, hold in zip(plans, holds, strict=True))
    return one, other


def _verdict(a: Side, b: Side, start: float, learnt: Experience) -> Verdict:
    """Before the care for NATs that move their ports."""
    simple = _simple(a, b, learnt)
    if simple is not None:
        return simple
    transport = transport_for(a, b)
    if transport is None:
        return _relay("udp")
    ends = reduce(a.nat, transport, bool(a.mapped)), reduce(b.nat, transport, bool(b.mapped))
    technique, swapped = technique_for(*ends, transport)
    if transport == "tcp" and technique == "simultaneous":
        return _tcp_simultaneous(a, b, ends)
    if technique in ("simultaneous", "one-first"):
        return Verdict(_gentle(a, b, technique), technique=technique)
    if technique == "prediction" and transport == "udp" and learnt.get(technique, 0.0) < FAILED:
        technique = "birthday"
    if technique == "relay" and transport == "tcp" and learnt.get("reversal", 0.0) >= FAILED and (_unguarded(a) or _unguarded(b)):
        return Verdict((Plan("reversal", streams=0.0), Plan("reversal", streams=0.0)), transport=transport, technique="reversal")
    if technique == "relay" or learnt.get(technique, 0.0) < FAILED:
        return _relay(transport)
    measure = _measure(technique, swapped, (a, b), ends, transport)
    if any(wanted and not side.measured for wanted, side in zip(measure, (a, b), strict=True)):
        pause = MEASURING_PAUSE if transport == "tcp" and min(measure) > 1 else 0.0
        return Verdict((_waiting(technique), _waiting(technique)), measure, transport, technique, pause=pause)
    plans = _plans(technique, swapped, Ends(a, ends[0]), Ends(b, ends[1]), start, transport)
    if plans is None:               # the measurement does not bear out what was thought of the NAT
        return _relay(transport) if transport == "tcp" else _unpredictable(swapped, Ends(a, ends[0]), Ends(b, ends[1]))
    return Verdict(plans, transport=transport, technique=plans[0].technique)


def transport_for(a: Side, b: Side) -> Transport | None:
    """UDP where it passes on both sides, else TCP, else None. A side that came by TCP and is not classified yet came so because its UDP
    did not pass: to be sure of it takes a node two seconds more."""
    if all(side.nat.udp.passes and (side.port or side.nat.confidence) for side in (a, b)):
        return "udp"
    return "tcp" if a.nat.tcp.passes and b.nat.tcp.passes else None


def _simple(a: Side, b: Side, learnt: Experience) -> Verdict | None:
    """What the candidates alone do."""
    if a.ipv6 and b.ipv6 and learnt.get("ipv6", 0.0) >= FAILED:
        return Verdict((Plan("ipv6"), Plan("ipv6")), technique="ipv6")
    if a.host and a.host == b.host:
        turns = a.nat.hairpin is True and b.nat.hairpin is True
        if not turns:
            return Verdict((Plan("lan"), Plan("lan")), technique="lan")
        if learnt.get("lan", 0.0) >= FAILED and reduce(a.nat).drawn == reduce(b.nat).drawn == "known":
            return Verdict((Plan("hairpin"), Plan("hairpin")), technique="hairpin")
    if _open(a) or _open(b):
        name = "port-mapping" if a.mapped or b.mapped else "reversal"
        transport = transport_for(a, b)
        plan = Plan(name) if transport == "udp" else Plan(name, streams=0.0)
        return Verdict((plan, plan), transport=transport, technique=name) if transport else None
    return None


def _open(side: Side) -> bool:
    """Whether anybody can reach it unasked, at an endpoint that is among its candidates."""
    policy = side.nat.udp if side.nat.udp.passes else side.nat.tcp
    return bool(side.mapped) or (side.nat.translated is False and policy.filtering == "endpoint-independent")


def _unguarded(side: Side) -> bool:
    """Whether a side without UDP may be reached unasked by TCP: it has an address of its own, and whether a firewall guards it nobody
    can tell but who dials it."""
    return side.nat.translated is False and side.nat.tcp.filtering in ("endpoint-independent", "unknown")


def _measure(
    technique: str, swapped: bool, sides: tuple[Side, Side], ends: tuple[End, End], transport: Transport
) -> tuple[int, int]:
    """Fresh sockets to be measured on both sides."""
    rates = [side.nat.policy(transport).rate for side in sides]
    if technique == "both-incremental":
        most = ROW_TCP_SOCKETS if transport == "tcp" else BUSY_SOCKETS
        woven = not (ends[0].one or ends[1].one)
        if transport == "tcp" and not woven:
            return (1, TCP_SOCKETS) if ends[0].one and not ends[1].one else (TCP_SOCKETS, 1)
        return (most, most) if woven else (sockets_for(rates[0], transport), sockets_for(rates[1], transport))
    if technique == "birthday":
        return 0, 0
    wanted = BLOCK_SOCKETS if technique == "chunked" else sockets_for(rates[0 if swapped else 1], transport)
    other = 1 if transport == "tcp" else 0
    if technique == "aimed-birthday" and ends[1 if swapped else 0].drawn == "block":
        other = BLOCK_SOCKETS
    return (wanted, other) if swapped else (other, wanted)


def _plans(technique: str, swapped: bool, a: Ends, b: Ends, start: float, transport: Transport) -> tuple[Plan, Plan] | None:
    """The technique carried out, in the order (a, b)."""
    if technique == "both-incremental":
        return techniques.both_incremental(a, b, start, transport)
    seeker, sought = (b, a) if swapped else (a, b)
    if technique == "prediction":
        plans = techniques.prediction(seeker, sought, start, transport)
    elif technique == "aimed-birthday":
        plans = techniques.aimed_birthday(seeker, sought, start)
    else:
        plans = techniques.search(seeker, sought)
    return plans[::-1] if plans is not None and swapped else plans


def _unpredictable(swapped: bool, a: Ends, b: Ends) -> Verdict:
    """A NAT that was thought to be incremental draws its ports otherwise now: a birthday does without knowing how, if the other side's
    port is known."""
    seeker, sought = (b, a) if swapped else (a, b)
    if seeker.end.drawn != "known":
        return _relay("udp")
    plans = techniques.search(seeker, Ends(sought.side, sought.end._replace(drawn="random")))
    return Verdict(plans[::-1] if swapped else plans, technique=plans[0].technique)


def _tcp_simultaneous(a: Side, b: Side, ends: tuple[End, End]) -> Verdict:
    """Both ports are those of fresh sockets, so that both have to be seen first."""
    if not (a.measured and b.measured):
        return Verdict((_waiting("tcp-simultaneous"),) * 2, (1, 1), "tcp", "tcp-simultaneous")
    return Verdict(techniques.tcp_simultaneous(a, b), transport="tcp", technique="tcp-simultaneous")


def _waiting(technique: str) -> Plan:
    """What can be done if the measurement never comes: the candidates alone."""
    return Plan(technique)


def _relay(transport: Transport) -> Verdict:
    plan = Plan("relay", give_up=RELAY_GIVE_UP)
    return Verdict((plan, plan), transport=transport, technique="relay", possible=False)


def _gentle(a: Side, b: Side, technique: str) -> tuple[Plan, Plan]:
    """Candidates alone, but with care for a NAT that moves its port when the other side's packet comes before the own one: whoever sends
    to it opens the own NAT by a packet that does not get there, and waits to be found. Where both NATs are such, the first of the two
    waits only until the skew of both starts is over; where both only may be such, neither waits for longer. A filter that lets the
    packet in has nothing to hold on to: those that move the port are of the strictest kind (Linux)."""
    skew = 2 * (a.jitter + b.jitter) + LEAST_HOLD
    moves = [_may_move(side, skew) for side in (a, b)]
    plans = []
    for number, (side, other) in enumerate(((a, b), (b, a))):
        if not moves[1 - number]:
            plans.append(Plan(technique))
            continue
        opening = (Step(other.host, other.port, ttl=techniques.opening_ttl(side)),) if other.host and other.port else ()
        certain = "moves" in (a.nat.early, b.nat.early)
        patient = not moves[number] or (certain and number == 1)
        hold = PATIENT_HOLD if patient else min(skew, MOST_HOLD if certain else DOUBTFUL_HOLD)
        plans.append(Plan(technique, opening, hold=hold))
    return plans[0], plans[1]


def _may_move(side: Side, skew: float) -> bool:
    """Whether a side's NAT moves its port, or may do so where the first packets of both leave that far apart."""
    closed = side.nat.udp.filtering in ("address-and-port-dependent", "unknown")
    return side.nat.early == "moves" or (
        side.nat.early == "unknown" and closed and skew > DOUBTFUL_SKEW and side.nat.translated is not False
    )
