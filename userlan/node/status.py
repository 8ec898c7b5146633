"""The snapshot of a node for people and programs: plain values with stable keys, no keys' private halves, no secrets.

The keys are the contract of ``userlan status --json``.
"""

from __future__ import annotations

from typing import Any

from userlan.lan.addresses import key_text, text
from userlan.lan.roster import Network, Peer
from userlan.node.mediation import LinkState
from userlan.node.node import Node
from userlan.wire.endpoint import host_port


def snapshot(node: Node, now: float) -> dict[str, Any]:
    """``{"self", "mediator", "networks", "peers"}``; the program adds "bridges"."""
    return {
        "self": _self(node),
        "mediator": _mediator(node),
        "networks": [_network(network) for _, network in sorted(node.roster.networks.items())],
        "peers": sorted((_peer(node, peer, now) for peer in node.roster.peers.values()), key=lambda peer: peer["name"]),
    }


def _self(node: Node) -> dict[str, Any]:
    own = node.lookup.own_info()
    key = node.primary_mediator()
    observed = node.membership.observed.get(key) if key is not None else None
    return {
        "name": own.name,
        "ipv4": text(own.ipv4) if own.ipv4 else None,
        "ipv6": text(own.ipv6),
        "key": key_text(node.key),
        "nat": {"observed": observed},
    }


def _mediator(node: Node) -> dict[str, Any]:
    key = node.primary_mediator()
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


def _network(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "owner": key_text(network.owner),
        "locked": network.locked,
        "members": [key_text(key) for key in network.members],
    }


def _peer(node: Node, peer: Peer, now: float) -> dict[str, Any]:
    state, path = node.peers.shown(peer.key)
    link = node.peers.links[peer.key]
    tunnel = node.device.peer(peer.key)
    endpoint = tunnel.endpoint if tunnel is not None and state == "direct" else None
    heard = tunnel.last_received if tunnel is not None else None
    last_seen = max(heard + node.wall_offset if heard is not None else 0.0, peer.last_seen)
    return {
        "name": peer.name,
        "key": key_text(peer.key),
        "ipv4": text(peer.ipv4) if peer.ipv4 else None,
        "ipv6": text(peer.ipv6),
        "networks": list(peer.networks),
        "state": state,
        "path": path,
        "endpoint": host_port(endpoint.host, endpoint.port) if endpoint is not None else None,
        "cipher": tunnel.cipher(now) if tunnel is not None else "",
        "rtt_ms": round(link.rtt * 1000, 3) if link.rtt is not None and state == "direct" else None,
        "rx_bytes": tunnel.rx_bytes if tunnel is not None else 0,
        "tx_bytes": tunnel.tx_bytes if tunnel is not None else 0,
        "last_seen": last_seen if last_seen > 0 else None,
    }
