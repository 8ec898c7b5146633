"""What ``userlan doctor`` asks a node beside its status: plain values with stable keys.

Whoever asks judges; here is said only what the node knows. Times are seconds since 1970, ``null``: never, or not known.
"""

from __future__ import annotations

from typing import Any

from userlan.control.mediation import LinkState
from userlan.lan.addresses import key_text, text
from userlan.lan.names import AmbiguousName, Answer, UnknownName
from userlan.node.node import Node
from userlan.wire.endpoint import host_port

MAX_TRIED = 16
"""Endpoints of a peer that are told: as many as one introduction holds."""


def mediator(node: Node, now: float, wall: float) -> dict[str, Any]:
    """``since``: when the primary mediator was lost, or sought first; ``clock``: by how many seconds its clock is ahead of this
    computer's. ``wall``: seconds since 1970, now."""
    key = node.mediators.primary()
    link = node.links.get(key) if key is not None else None
    ahead = node.membership.clocks.get(key) if key is not None else None
    down = link.down_since if link is not None and link.state is not LinkState.READY else None
    return {
        "since": wall - (now - down) if down is not None else None,
        "clock": round(ahead + now - wall, 1) if ahead is not None else None,
        "addresses": [host_port(host, port) for host, port in link.addresses] if link is not None else [],
    }


def peer(node: Node, written: str, now: float, wall: float) -> dict[str, Any]:
    """Who a name means, and how far this node has come with that member. ``key`` is ``null`` where it means none, with ``error``,
    ``nearest`` (names to say instead), ``ambiguous``, and ``elsewhere`` (the networks in which somebody has the name)."""
    try:
        found = node.lookup.resolver.find(written)
    except UnknownName as error:
        short = written.lower().split(".")[0]
        return {
            "key": None,
            "name": written,
            "error": str(error),
            "nearest": list(error.nearest),
            "ambiguous": isinstance(error, AmbiguousName),
            "elsewhere": [network for network in sorted(node.roster.networks) if next(iter(node.roster.keys_named(network, short)), None)],
        }
    if found.key == node.key:
        return {"key": key_text(found.key), "name": found.name, "own": True}
    return _member(node, found, now, wall)


def _member(node: Node, found: Answer, now: float, wall: float) -> dict[str, Any]:
    link, tunnel = node.peers.links[found.key], node.device.peer(found.key)
    handshake = tunnel.last_handshake if tunnel is not None else None
    heard = tunnel.last_received if tunnel is not None else None
    return {
        "key": key_text(found.key),
        "name": found.name,
        "own": False,
        "address": text(found.addresses[0]),
        "online": node.roster.peers[found.key].online,
        "handshake": wall - (now - handshake) if handshake is not None else None,
        "heard": wall - (now - heard) if heard is not None else None,
        "tried": [f"{one.transport} {host_port(one.host, one.port)}" for one in (*link.candidates, *link.cached)][:MAX_TRIED],
        "mtu": link.path_mtu.mtu if link.path_mtu.known else None,
        "groups": [text(group) for group in node.flooding.listeners.groups(found.key, now)],
    }
