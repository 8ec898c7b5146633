"""From what was seen to what the NAT does: pure, each answer with the evidence that it rests on.

The tests are RFC 5780's (4.3 mapping, 4.4 filtering, 4.5 hairpin, 4.6 lifetime) and those of RFC 4787's other axes::

    mapping      one socket asks several endpoints: is it seen at one port, at one for each address, or at one for each port?
    filtering    an answer by another host, or by another port, to a socket that has sent to neither
    allocation   many sockets ask one endpoint: ``allocation``
    early        the filter's test, then the own packet to the port that it came from: is the mapping still where it was?
    hairpin      two own sockets send to each other's outside endpoint
    nesting      a packet that only the first router lets out; a port mapping whose outside address is not where we are seen
"""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import Final, Generic, NamedTuple, TypeVar

from userlan.traversal.allocation import ENOUGH, Estimate, Mapped, estimate
from userlan.traversal.candidates import is_private
from userlan.traversal.evidence import Evidence, Sighting
from userlan.traversal.nat import Dependence, Ipv6, NatBehaviour, Policy, Pooling
from userlan.wire.endpoint import TCP, UDP

MAX_LINES: Final = 8
"""Lines of evidence for one property: more is not read."""

TOLD: Final = 10
"""Mappings named in one line."""

ENOUGH_FOR_A_POOL: Final = 4
"""Mappings that must have one outside address before it counts as the only one."""

SURE, ASSUMED = 0.95, 0.8
"""Confidence in a mapping that was seen from two hosts or more, and from one host only (address-dependent is rare: RFC 5780 2)."""

T = TypeVar("T")


class Finding(NamedTuple, Generic[T]):
    """A value, and one line for each thing that it rests on."""

    value: T
    lines: tuple[str, ...]


class Classification(NamedTuple):
    """``evidence``: for each property (``udp``, ``mapping``, ``filtering`` …) what was sent from where and what was seen."""

    nat: NatBehaviour
    evidence: dict[str, tuple[str, ...]]


class MappingFound(NamedTuple):
    """``hosts``: different addresses that one socket asked; ``agreement``: which part of the comparisons says the same."""

    dependence: Dependence = "unknown"
    hosts: int = 0
    agreement: float = 0.0


def classify(seen: Evidence) -> Classification:
    """What the NAT does, as far as the evidence goes; what it does not tell is ``unknown`` or None."""
    udp, tcp = seen.of(UDP), seen.of(TCP)
    mapping, tcp_mapping = mapping_of(udp), mapping_of(tcp)
    ports = estimate(_mapped(udp), _made(seen, UDP, mapping.dependence))
    tcp_ports = estimate(_mapped(tcp), _made(seen, TCP, tcp_mapping.dependence))
    translated = _translated(seen)
    filtering = _filtering(seen)
    passes, tcp_passes = _passes(seen, UDP), _passes(seen, TCP)
    pooling, hairpin, nested = _pooling(udp), _hairpin(seen, translated.value), _nested(seen)
    early, ipv6 = _early(seen, mapping.dependence), _ipv6(seen)
    nat = NatBehaviour(
        udp=_policy(passes.value, mapping, filtering.value, ports, seen.lifetime),
        tcp=_policy(tcp_passes.value, tcp_mapping, "unknown", tcp_ports, 0.0),
        translated=translated.value,
        pooling=pooling.value,
        hairpin=hairpin.value,
        nested=nested.value,
        early=early.value,  # type: ignore[arg-type]  # one of its words
        ipv6=ipv6.value,
        port_mapping=seen.port_mapping,
        confidence=_confidence(seen, mapping, ports, passes.value),
    )
    lines = {
        "udp": passes.lines,
        "translated": translated.lines,
        "mapping": _mapping_lines(udp, mapping),
        "filtering": filtering.lines,
        "allocation": _allocation_lines(udp, ports),
        "pooling": pooling.lines,
        "hairpin": hairpin.lines,
        "nested": nested.lines,
        "early": early.lines,
        "tcp": tcp_passes.lines + (_mapping_lines(tcp, tcp_mapping) + _allocation_lines(tcp, tcp_ports) if tcp else ()),
        "ipv6": ipv6.lines,
    }
    return Classification(nat, {name: found[:MAX_LINES] for name, found in lines.items()})


def _policy(passes: bool, mapping: MappingFound, filtering: Dependence, ports: Estimate, lifetime: float) -> Policy:
    return Policy(
        passes=passes,
        mapping=mapping.dependence,
        filtering=filtering,
        allocation=ports.kind,
        step=ports.step,
        low=ports.low,
        high=ports.high,
        rate=min(ports.rate, 100_000.0),
        lifetime=min(lifetime, 86_400.0),
    )


# --- mapping and allocation --------------------------------------------------------------------------------------------


def mapping_of(sightings: list[Sighting]) -> MappingFound:
    """What of the far end a mapping depends on (RFC 4787 4.1): each two sightings of one socket are compared, the majority decides."""
    ports, hosts = [0, 0], [0, 0]           # comparisons that differ, that agree: of one address's ports, of addresses
    asked: set[str] = set()
    for one, other in combinations(sightings, 2):
        if one.via != other.via or one.target == other.target:
            continue
        votes = ports if one.target[0] == other.target[0] else hosts
        votes[one.seen == other.seen] += 1
        asked |= {one.target[0], other.target[0]}
    if not asked:
        return MappingFound()
    by_port, by_host = ports[0] > ports[1], hosts[0] > hosts[1]
    every = sum(ports) + sum(hosts)
    if by_port:
        return MappingFound("address-and-port-dependent", len(asked), ports[0] / sum(ports))
    if by_host and ports[1]:
        return MappingFound("address-dependent", len(asked), (hosts[0] + ports[1]) / every)
    if by_host:
        return MappingFound("address-and-port-dependent", len(asked), hosts[0] / sum(hosts))
    return MappingFound("endpoint-independent", len(asked), (hosts[1] + ports[1]) / every)


def _mapped(sightings: list[Sighting]) -> list[Mapped]:
    """The distinct mappings behind the sightings, in the order in which they were made."""
    found: dict[tuple[int, tuple[str, int]], Mapped] = {}
    for one in sightings:
        found.setdefault((one.via, one.seen), Mapped(one.inside, *one.seen, one.at))
    return list(found.values())


def _made(seen: Evidence, transport: str, mapping: Dependence) -> list[float]:
    """When each of the own mappings was made, whether it was seen or not."""
    fields = {"endpoint-independent": 0, "address-dependent": 1}.get(mapping, 2)
    made: dict[tuple[object, ...], float] = {}
    for (sent, via, *target), at in seen.sent.items():
        if sent == transport and ":" not in str(target[0]):
            made.setdefault((via, *target[:fields]), at)
    return list(made.values())


def _mapping_lines(sightings: list[Sighting], mapping: MappingFound) -> tuple[str, ...]:
    if mapping.dependence == "unknown":
        return ("no socket was seen from two endpoints",)
    several = [one for one in sightings if any(one.via == other.via and one.target != other.target for other in sightings)]
    lines = tuple(str(one) for one in several[: MAX_LINES - 1])
    if mapping.hosts < 2 and mapping.dependence == "endpoint-independent":
        lines = ("only one address was asked: address-dependent would look the same, the usual one of the two is assumed", *lines)
    return lines


def _allocation_lines(sightings: list[Sighting], ports: Estimate) -> tuple[str, ...]:
    mapped = _mapped(sightings)
    if ports.kind == "unknown":
        return (f"{len(mapped)} mappings are too few to tell",)
    first = {
        "preserving": f"{ports.fit:.0%} of {len(mapped)} mappings have the port that the socket has",
        "incremental": f"each of {len(mapped)} mappings is {ports.step:+d} from the one before, others make {ports.rate:.0f} a second",
        "chunked": f"all {len(mapped)} mappings lie within ports {ports.low} to {ports.high}, in no order",
        "random": f"{len(mapped)} mappings lie in no order, within ports {ports.low} to {ports.high}",
    }[ports.kind]
    steps = " ".join(f"{one.inside or '?'}→{one.port}" for one in mapped[:TOLD])
    return (first, f"inside and outside ports as they were made: {steps}")


def _pooling(sightings: list[Sighting]) -> Finding[Pooling]:
    hosts: dict[str, int] = {}
    for one in _mapped(sightings):
        hosts[one.host] = hosts.get(one.host, 0) + 1
    if not hosts:
        return Finding("unknown", ("nothing was seen",))
    told = tuple(f"{count} mappings had the address {host}" for host, count in hosts.items())
    if len(hosts) > 1:
        return Finding("arbitrary", told)
    if sum(hosts.values()) < ENOUGH_FOR_A_POOL:
        return Finding("unknown", told)
    return Finding("single", told)


# --- the other properties ----------------------------------------------------------------------------------------------


def _passes(seen: Evidence, transport: str) -> Finding[bool]:
    """A transport counts as blocked only where another one passed: a computer without any network proves nothing."""
    asked, elsewhere = (seen.udp, seen.tcp.answered or seen.over_tcp) if transport == UDP else (seen.tcp, seen.udp.answered)
    lines = (f"{asked.answered} of {asked.asked} endpoints answered over {transport}",)
    if not asked.asked:
        return Finding(True, (f"no endpoint could be asked over {transport}",))
    if asked.answered:
        return Finding(True, lines)
    if elsewhere:
        return Finding(False, (*lines, "while the other transport passed"))
    return Finding(True, (*lines, "and nothing else passed either: is there a network at all?"))


def _translated(seen: Evidence) -> Finding[bool | None]:
    hosts = list(dict.fromkeys(one.seen[0] for one in seen.of(UDP) or seen.of(TCP)))
    own = sorted(host for host in seen.own_hosts if ":" not in host)
    if not hosts or not own:
        return Finding(None, ("the own address or the one that others see is not known",))
    line = f"own addresses {', '.join(own[:4])}; seen as {', '.join(hosts[:4])}"
    own_ones = seen.own_hosts | {host for host in hosts if ipaddress.ip_address(host).is_loopback}
    return Finding(any(host not in own_ones for host in hosts), (line,))


def _filtering(seen: Evidence) -> Finding[Dependence]:
    """RFC 5780 4.4; where no other host could answer, the stricter of two possible answers is given."""
    if seen.other_host:
        return Finding("endpoint-independent", ("another host's packet came through to a socket that had not sent to it",))
    if seen.other_port:
        line = "another port's packet came through to a socket that had not sent to it"
        if seen.other_host is None:
            return Finding("address-dependent", (line, "no other host could be asked: it may be endpoint-independent"))
        return Finding("address-dependent", (line, "another host's did not"))
    if seen.other_port is False:
        lost = ", nor did another host's" if seen.other_host is False else ""
        return Finding("address-and-port-dependent", (f"another port's packet did not come through in three tries{lost}",))
    if seen.other_host is False:
        line = "another host's packet did not come through; no other port of the same host could be asked: the stricter filter is assumed"
        return Finding("address-and-port-dependent", (line,))
    return Finding("unknown", ("no other port and no other host could be asked to answer",))


def _hairpin(seen: Evidence, translated: bool | None) -> Finding[bool | None]:
    if translated is False:
        return Finding(None, ("the address is not translated: nothing turns round",))
    if seen.hairpin is None:
        return Finding(None, ("not tried",))
    came = "came through" if seen.hairpin else "did not come through in three tries"
    return Finding(seen.hairpin, (f"a packet from one own socket to the other's outside endpoint {came}",))


def _nested(seen: Evidence) -> Finding[bool | None]:
    """More than one translation. An outer NAT that filters nothing, or only by address, shows in the addresses alone."""
    outside = {one.seen[0] for one in seen.of(UDP)}
    if seen.external and outside:
        line = f"the router calls {seen.external} its outside address; seen as {', '.join(sorted(outside))}"
        return Finding(seen.external not in outside or is_private(seen.external), (line,))
    tells = seen.other_port is False        # else the way in was open anyway
    if tells and seen.shallow is True:
        return Finding(False, ("what the first router alone had let out opened the whole way in",))
    if tells and seen.shallow is False:
        return Finding(True, ("what the first router alone had let out did not open the way in; what went further did",))
    return Finding(None, ("the router names no outside address, and the filter tells nothing of the way",))


def _early(seen: Evidence, mapping: Dependence) -> Finding[str]:
    if seen.moved is None or mapping != "endpoint-independent":
        return Finding("unknown", ("not tried: it shows only where the mapping stays and the filter refused a packet",))
    if seen.moved:
        return Finding("moves", ("after a packet that came before the own one, the mapping had another port",))
    return Finding("harmless", ("after a packet that came before the own one, the mapping was where it had been",))


def _ipv6(seen: Evidence) -> Finding[Ipv6]:
    own = sorted(host for host in seen.own_hosts if ":" in host and ipaddress.ip_address(host).is_global)
    if seen.udp6.answered:
        line = f"{seen.udp6.answered} of {seen.udp6.asked} endpoints answered over IPv6"
        if seen.other_host6 or seen.other_port6:
            return Finding("open", (line, "a packet came through from where nothing had been sent to"))
        if seen.other_host6 is None and seen.other_port6 is None:
            return Finding("unknown", (line, "no other port and no other host could be asked to answer"))
        return Finding("firewall", (line, "no packet came through from where nothing had been sent to"))
    if seen.udp6.asked:
        return Finding("none", (f"none of {seen.udp6.asked} endpoints answered over IPv6",))
    if not own and seen.own_hosts:
        return Finding("none", ("this computer has no IPv6 address of the Internet",))
    return Finding("unknown", ("no endpoint could be asked over IPv6",))


def _confidence(seen: Evidence, mapping: MappingFound, ports: Estimate, udp_passes: bool) -> float:
    """How sure the whole is: of mapping and allocation, since plans turn on them; each factor is 1 where nothing is left to wish."""
    if not udp_passes:
        return ASSUMED
    if mapping.dependence == "unknown":
        return 0.0
    count = len(_mapped(seen.of(UDP)))
    sampled = min(1.0, 0.5 + 0.5 * count / ENOUGH) if ports.kind != "unknown" else 0.5
    filtered = 1.0 if seen.other_port is not None or seen.other_host is not None else 0.9
    base = SURE if mapping.hosts > 1 or mapping.dependence == "address-and-port-dependent" else ASSUMED
    return round(base * mapping.agreement * sampled * filtered * (0.5 + 0.5 * ports.fit if ports.kind != "unknown" else 1.0), 3)
