"""What is known of the own NAT, for people and programs: the keys are the contract of ``userlan netcheck --json``."""

from __future__ import annotations

from typing import Any

from userlan.lan.addresses import key_text
from userlan.node.node import Node
from userlan.traversal.nat import NatBehaviour, Policy


def chances(nat: NatBehaviour) -> str:
    """Whether others reach this node directly: ``yes``, ``most`` of them, ``hardly``, or ``unknown``.

    ``yes``: with all that can be reached at all; ``most``: not where the other side's ports cannot be foreseen either;
    ``hardly``: UDP does not pass, TCP has to do it alone.
    """
    udp = nat.udp
    if not udp.passes:
        return "hardly"
    if nat.port_mapping or nat.translated is False or nat.ipv6 == "open":
        return "yes"
    if udp.mapping == "unknown":
        return "unknown"
    if udp.mapping == "endpoint-independent" or udp.allocation == "preserving":
        return "yes"
    return "most"


def seen(node: Node) -> dict[str, str | None]:
    """Where the primary mediator sees this node by each family, and names it to others; ``None``: not at all."""
    key = node.mediators.primary()
    hosts = [] if key is None else [node.membership.observed.get(key), *node.reachability.sightings.hosts(key)]
    known = [host for host in hosts if host is not None]
    return {
        "ipv4": next((host for host in known if ":" not in host), None),
        "ipv6": next((host for host in known if ":" in host), None),
    }


def short(node: Node) -> dict[str, Any]:
    """``self.nat`` of ``userlan status --json``."""
    nat = node.reachability.nat
    key = node.mediators.primary()
    return {
        "observed": node.membership.observed.get(key) if key is not None else None,
        "seen": seen(node),
        "direct": chances(nat),
        "udp": nat.udp.passes,
        "mapping": nat.udp.mapping,
        "filtering": nat.udp.filtering,
        "allocation": nat.udp.allocation,
        "confidence": nat.confidence,
    }


def report(node: Node) -> dict[str, Any]:
    """``userlan netcheck --json``. Times are seconds unless their key says otherwise; ``null``: not known."""
    watch = node.reachability
    nat, found = watch.nat, watch.classification
    key = node.mediators.primary()
    return {
        "direct": chances(nat),
        "observed": node.membership.observed.get(key) if key is not None else None,
        "seen": seen(node),
        **_facts(nat),
        "keepalive": watch.lifetime.keepalive,
        "confidence": nat.confidence,
        "measured": watch.at + node.wall_offset if watch.at is not None else None,
        "relays": _relays(node),
        "evidence": {name: list(lines) for name, lines in found.evidence.items()} if found is not None else {},
    }


def behaviour(nat: NatBehaviour) -> dict[str, Any]:
    """What a NAT does, this node's or a member's."""
    return {"direct": chances(nat), **_facts(nat), "confidence": nat.confidence}


def _facts(nat: NatBehaviour) -> dict[str, Any]:
    return {
        "udp": _policy(nat.udp),
        "tcp": _policy(nat.tcp),
        "translated": nat.translated,
        "pooling": nat.pooling,
        "hairpin": nat.hairpin,
        "early": nat.early,
        "nested": nat.nested,
        "ipv6": nat.ipv6,
        "port_mapping": nat.port_mapping or None,
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "passes": policy.passes,
        "mapping": policy.mapping,
        "filtering": policy.filtering,
        "allocation": policy.allocation,
        "step": policy.step or None,
        "low": policy.low or None,
        "high": policy.high or None,
        "others_a_second": round(policy.rate, 1),
        "lifetime": policy.lifetime or None,
    }


def _relays(node: Node) -> list[dict[str, Any]]:
    delays = node.relays.delays
    rows = [
        {
            "name": info.name,
            "key": key_text(info.key),
            "region": info.region or None,
            "rtt_ms": round(delays[info.key] * 1000, 1) if info.key in delays else None,
        }
        for info in node.relays.pool
    ]
    return sorted(rows, key=lambda row: (row["rtt_ms"] is None, row["rtt_ms"] or 0.0, row["name"]))
