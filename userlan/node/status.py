"""The snapshot of a node for people and programs: plain values with stable keys, no keys' private halves, no secrets.

The keys are the contract of ``userlan status --json``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from userlan.control.mediation import LinkState
from userlan.lan.addresses import key_text, text
from userlan.lan.roster import Network, Peer
from userlan.node.applications import Waiting
from userlan.node.nat_report import short
from userlan.node.node import Node
from userlan.stack.host import TOO_FAST
from userlan.stack.tcp import ConnectionInfo
from userlan.wire.endpoint import host_port


def snapshot(node: Node, now: float) -> dict[str, Any]:
    """``{"self", "mediator", "networks", "waiting", "denied", "peers", "groups"}``; the program adds "bridges", "page", "configuration"."""
    return {
        "self": _self(node),
        "mediator": _mediator(node),
        "networks": [_network(node, network) for _, network in sorted(node.roster.networks.items())],
        "waiting": [_waiting(name, one) for name, one in sorted(node.membership.applications.waiting.items())],
        "denied": [{"network": name, "reason": reason} for name, reason in sorted(node.membership.applications.refused.items())],
        "peers": sorted((_peer(node, peer, now) for peer in node.roster.peers.values()), key=lambda peer: peer["name"]),
        "groups": _groups(node, now),
    }


MAX_GROUPS_TOLD = 64
"""Multicast groups of one member in the status: whoever has more is no riddle for want of the others' names."""

MAX_UNAPPROVED_TOLD = 64
"""Of one network in the status: as many as can apply. One is told of in the log, and enough to look into it."""

MAX_CONNECTIONS_TOLD = 2_000
"""Connections in one answer, those that moved most: two megabytes of JSON, and more than anybody reads."""


def connections(node: Node, now: float) -> dict[str, Any]:
    """``userlan status --connections --json``: ``total``, ``memory`` (octets that they buffer), ``refused`` (those that were
    reset since their member had made too many in a short time), and ``connections``, one object for each TCP connection of the LAN, with
    the peer's name.

    Its keys are those of :class:`userlan.stack.tcp.ConnectionInfo` (times in seconds, sizes in octets, rates in octets a
    second), with the addresses as ``local``, ``local_port``, ``remote``, ``remote_port``, and ``peer``.
    """
    every = node.host.tcp_connections(now)
    told = sorted(every, key=lambda info: -info.octets_sent - info.octets_received)[:MAX_CONNECTIONS_TOLD]
    refused = node.host.counters[TOO_FAST]
    return {"total": len(every), "memory": node.host.tcp_memory, "refused": refused, "connections": _connections(node, told)}


def _connections(node: Node, told: list[ConnectionInfo]) -> list[dict[str, Any]]:
    rows = []
    for info in told:
        row = asdict(info)
        (local, local_port), (remote, remote_port) = row.pop("local"), row.pop("remote")
        peer = node.lookup.peer_info(remote)
        ends = {"local": text(local), "local_port": local_port, "remote": text(remote), "remote_port": remote_port}
        rows.append({"peer": peer.name if peer is not None else None, **ends, **row})
    return sorted(rows, key=lambda row: (row["peer"] or "", row["remote"], row["local_port"], row["remote_port"]))


def _self(node: Node) -> dict[str, Any]:
    own = node.lookup.own_info()
    return {
        "name": own.name,
        "ipv4": text(own.ipv4) if own.ipv4 else None,
        "ipv6": text(own.ipv6),
        "key": key_text(node.key),
        "nat": short(node),
    }


def _groups(node: Node, now: float) -> dict[str, Any]:
    """Multicast groups that are listened to: ``own``, and ``peers`` by key; of each the first ``MAX_GROUPS_TOLD``."""
    flooding = node.flooding
    dropped = flooding.counters + flooding.storms.counters + flooding.listeners.counters
    return {
        "own": _group_texts(node.host.groups()),
        "peers": {key_text(key): _group_texts(groups) for key, groups in flooding.groups(now).items()},
        "dropped": dict(sorted(dropped.items())),
    }


def _group_texts(groups: Iterable[bytes]) -> list[str]:
    return [text(group) for group in sorted(groups, key=lambda group: (len(group), group))[:MAX_GROUPS_TOLD]]


def _mediator(node: Node) -> dict[str, Any]:
    key = node.mediators.primary()
    link = node.links.get(key) if key is not None else None
    if key is None or link is None:
        return {"url": None, "state": "none", "reason": "", "path": "none"}
    url = next((saved.url for saved in node.memory.mediators if saved.url.find(key_text(key)) >= 0), None)
    peer = node.device.peer(key)
    ready = link.state is LinkState.READY
    return {
        "url": url,
        "state": "connected" if ready else ("offline" if link.state is LinkState.WAITING else "connecting"),
        "reason": "" if ready else link.reason,
        "path": peer.endpoint.transport if ready and peer is not None and peer.endpoint is not None else "none",
    }


def _network(node: Node, network: Network) -> dict[str, Any]:
    mine = network.owner == node.key
    me = network.members.get(node.key)
    return {
        "name": network.name,
        "own_name": node.roster.own_name if me is None else me.name,
        "owner": key_text(network.owner),
        "mine": mine,
        "locked": network.locked,
        "approval": network.approval,
        "approved": node.roster.approvals.confirms(network.name, node.key),
        "unapproved": unapproved(node, network.name),
        "applicants": applicants(node, network.name) if mine else [],
        "members": [key_text(key) for key in network.members],
    }


def applicants(node: Node, network: str) -> list[dict[str, Any]]:
    """Who waits for this node's word to join a network that it owns, the first one first."""
    waiting = node.membership.applications.applicants.get(network, {}).values()
    return [{"key": key_text(one.key), "name": one.name, "since": one.since} for one in waiting]


def unapproved(node: Node, network: str) -> list[dict[str, Any]]:
    """Whom the mediator lists in a network, and its owner has not approved; of them the first ``MAX_UNAPPROVED_TOLD``."""
    listed = list(node.roster.approvals.withheld(network).items())[:MAX_UNAPPROVED_TOLD]
    return [{"key": key_text(key), "name": one.name} for key, one in listed]


def _waiting(network: str, waiting: Waiting) -> dict[str, Any]:
    return {"network": network, "since": waiting.since, "owner": waiting.owner}


def _peer(node: Node, peer: Peer, now: float) -> dict[str, Any]:
    state, path = node.peers.shown(peer.key)
    link = node.peers.links[peer.key]
    tunnel = node.device.peer(peer.key)
    endpoint = tunnel.endpoint if tunnel is not None and link.up else None
    bulk = tunnel.ways.bulk if tunnel is not None and link.up else None
    heard = tunnel.last_received if tunnel is not None else None
    last_seen = max(heard + node.wall_offset if heard is not None else 0.0, peer.last_seen)
    return {
        "name": peer.name,
        "key": key_text(peer.key),
        "ipv4": text(peer.ipv4) if peer.ipv4 else None,
        "ipv6": text(peer.ipv6),
        "networks": list(peer.networks),
        "state": state,
        "blocked": link.blocked,
        "path": path,
        "relay": node.relays.client.name_of(tunnel.endpoint) or None if tunnel is not None and tunnel.endpoint is not None else None,
        "endpoint": host_port(endpoint.host, endpoint.port) if endpoint is not None else None,
        "bulk": host_port(bulk.host, bulk.port) if bulk is not None else None,
        "cipher": tunnel.cipher(now) if tunnel is not None else "",
        "rtt_ms": round(link.rtt * 1000, 3) if link.rtt is not None and link.up else None,
        "rx_bytes": tunnel.rx_bytes if tunnel is not None else 0,
        "tx_bytes": tunnel.tx_bytes if tunnel is not None else 0,
        "last_seen": last_seen if last_seen > 0 else None,
    }
