"""How one member is reached, and why so: the facts behind ``userlan path PEER`` and the page's path view.

``why`` is a list of words with stable meaning, the most telling first; whoever shows them has the sentences:

==========================  ====================================================================================================
of a direct path
``same-computer``           the peer is on this computer
``same-network``            by a private address: both are in one house, or in one company
``ipv6``                    by IPv6, where nothing is translated
``mapped-here`` ``-there``  a router lets packets in by a port mapping (PCP, NAT-PMP, UPnP)
``open-here`` ``-there``    no NAT there
``punched``                 both sent at one moment, so that each NAT took the other's packets for answers
``remembered``              where it was reached the last time, before anybody introduced the two
``framed-tcp``              by TCP, since UDP does not pass
of a relayed one
``udp-blocked-here`` ``-there``   UDP does not pass
``unforeseeable-both``      both NATs give each destination another port, and neither can be foreseen
``unforeseeable-here`` ``-there``  one of them does, so that it is found by chance, if at all
``failed``                  a direct way was tried and not found
``trying``                  it is being tried
``untried``                 nobody has introduced the two yet; the relay carries meanwhile
of none
``offline``                 no mediator and no member says that the peer is there
``silent``                  it is said to be there, and does not answer
``no-mediator``             no mediator is connected who could introduce the two
==========================  ====================================================================================================

Times are seconds since 1970, ``null``: never, or not known. The peer's NAT is what the peer says of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from math import inf
from typing import Any

from userlan.control.mediation import LinkState
from userlan.control.messages import Candidate
from userlan.lan.addresses import key_text
from userlan.node.encounters import Tried
from userlan.node.nat_report import behaviour, seen
from userlan.node.node import Node
from userlan.traversal.candidates import is_loopback, is_private
from userlan.traversal.ends import reduce
from userlan.traversal.nat import UNKNOWN, NatBehaviour
from userlan.wire.endpoint import RELAY, TCP, Endpoint, host_port

Whys = list[str]


def path_report(node: Node, key: bytes, now: float) -> dict[str, Any]:
    """Of the member with this key, which is in the roster."""
    peer, link, tunnel = node.roster.peers[key], node.peers.links[key], node.device.peer(key)
    state, path = node.peers.shown(key)
    endpoint = tunnel.endpoint if tunnel is not None and link.up else None
    bulk = tunnel.ways.bulk if tunnel is not None and link.up else None
    handshake = tunnel.last_handshake if tunnel is not None else None
    heard = tunnel.last_received if tunnel is not None else None
    theirs = node.introducer.nat_of(key)
    tried = node.encounters.tried(key)
    return {
        "name": peer.name,
        "key": key_text(key),
        "state": state,
        "path": path,
        "endpoint": _text(endpoint),
        "rtt_ms": _ms(link.rtt if link.up else None),
        "cipher": tunnel.cipher(now) if tunnel is not None else "",
        "bulk": _text(bulk),
        "mtu": link.path_mtu.mtu if link.path_mtu.known else None,
        "online": peer.online,
        "handshake": _wall(node, handshake),
        "heard": _wall(node, heard),
        "mediator": _mediator_ready(node),
        "why": why(node, key, endpoint),
        "own": {
            "name": node.lookup.own_info().name,
            "nat": behaviour(node.reachability.nat),
            "seen": seen(node),
            "candidates": _candidates(node.introducer.candidates),
        },
        "theirs": {
            "nat": behaviour(theirs) if theirs is not None else None,
            "seen": _seen(tried),
            "candidates": _candidates(tried[-1].candidates if tried else node.introducer.candidates_of(key)),
            "cached": [f"{one.transport} {_text(one)}" for one in link.cached],
        },
        "relay": _relay(node, endpoint),
        "relays": [_relay(node, one) for one in node.relays.client.endpoints(key)],
        "paths": _paths(node, key, endpoint),
        "tried": [_tried(node, one) for one in tried],
    }


# --- why -------------------------------------------------------------------------------------------------------------


def why(node: Node, key: bytes, endpoint: Endpoint | None) -> Whys:
    """The words above. ``endpoint``: by which the peer is reached, None: it is not."""
    own, theirs = node.reachability.nat, node.introducer.nat_of(key) or UNKNOWN
    tried = node.encounters.tried(key)
    if endpoint is None:
        return _unreached(node, key, tried)
    if endpoint.transport == RELAY:
        return _relayed(own, theirs, tried)
    return _direct(own, theirs, endpoint, tried)


def _direct(own: NatBehaviour, theirs: NatBehaviour, endpoint: Endpoint, tried: tuple[Tried, ...]) -> Whys:
    found: Whys = []
    if endpoint.transport == TCP:
        found.append("framed-tcp")
        found += _blocked(own, theirs)
    if is_loopback(endpoint.host):
        return ["same-computer", *found]
    if is_private(endpoint.host):
        return ["same-network", *found]
    if ipaddress.ip_address(endpoint.host).version == 6:
        return ["ipv6", *found]
    for side, nat in (("here", own), ("there", theirs)):
        if nat.translated is False:
            found.append(f"open-{side}")
        elif nat.port_mapping:
            found.append(f"mapped-{side}")
    met = any(one.path not in ("", "none") for one in tried)
    return found or (["punched"] if met else ["remembered"])


def _relayed(own: NatBehaviour, theirs: NatBehaviour, tried: tuple[Tried, ...]) -> Whys:
    found = _blocked(own, theirs)
    ends = {"here": reduce(own, mapped=bool(own.port_mapping)), "there": reduce(theirs, mapped=bool(theirs.port_mapping))}
    random = [side for side, end in ends.items() if end.drawn in ("random", "block")]
    if len(random) == 2:
        found.append("unforeseeable-both")
    elif random:
        found.append(f"unforeseeable-{random[0]}")
    if any(one.seconds is not None for one in tried):
        found.append("failed")
    if any(one.seconds is None for one in tried[-1:]):
        found.append("trying")
    return found if tried else [*found, "untried"]


def _unreached(node: Node, key: bytes, tried: tuple[Tried, ...]) -> Whys:
    peer, link = node.roster.peers[key], node.peers.links[key]
    found: Whys = []
    if link.attempting or any(one.seconds is None for one in tried[-1:]):
        found.append("trying")
    if peer.online:
        found += [*_blocked(node.reachability.nat, UNKNOWN), *([] if found else ["silent"])]
    elif not found:
        found.append("offline")
    if not _mediator_ready(node):
        found.append("no-mediator")
    return found


def _blocked(own: NatBehaviour, theirs: NatBehaviour) -> Whys:
    return [f"udp-blocked-{side}" for side, nat in (("here", own), ("there", theirs)) if not nat.udp.passes]


# --- facts -----------------------------------------------------------------------------------------------------------


def _mediator_ready(node: Node) -> bool:
    return any(link.state is LinkState.READY for link in node.links.values())


def _seen(tried: tuple[Tried, ...]) -> str | None:
    """Where a mediator saw the peer, at its last introduction."""
    hosts = (one.host for each in reversed(tried) for one in each.candidates if one.kind == "observed")
    return next(hosts, None)


def _candidates(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    return [{"kind": one.kind, "transport": one.transport, "endpoint": host_port(one.host, one.port)} for one in candidates]


def _relay(node: Node, endpoint: Endpoint | None) -> dict[str, Any] | None:
    """A relay between the two. ``rtt_ms``: from here to it and back."""
    if endpoint is None or endpoint.transport != RELAY:
        return None
    client, name = node.relays.client, node.relays.client.name_of(endpoint)
    info = next((one for one in node.relays.pool if one.name == name), None)
    delay = client.rtt(endpoint)
    if delay is None and info is not None:
        delay = node.relays.delays.get(info.key)
    return {"name": name or endpoint.host, "region": info.region or None if info is not None else None, "rtt_ms": _ms(delay)}


def _paths(node: Node, key: bytes, used: Endpoint | None) -> list[dict[str, Any]]:
    rows = []
    for one in node.peers.links[key].paths.paths():
        heard = one.heard_at > -inf
        rows.append(
            {
                "transport": one.endpoint.transport,
                "endpoint": _text(one.endpoint),
                "relay": node.relays.client.name_of(one.endpoint) or None,
                "used": one.endpoint == used,
                "sound": not one.doubted,
                "rtt_ms": _ms(one.rtt),
                "heard": one.heard_at + node.wall_offset if heard else None,
            }
        )
    return rows


def _tried(node: Node, one: Tried) -> dict[str, Any]:
    return {
        "technique": one.technique,
        "by": "member" if one.by_member else "mediator",
        "time": one.at + node.wall_offset,
        "seconds": round(one.seconds, 3) if one.seconds is not None else None,
        "packets": one.packets,
        "path": one.path or None,
        "met": None if one.seconds is None else one.path != "none",
    }


def _wall(node: Node, at: float | None) -> float | None:
    return at + node.wall_offset if at is not None else None


def _ms(seconds: float | None) -> float | None:
    return round(seconds * 1000, 3) if seconds is not None else None


def _text(endpoint: Endpoint | None) -> str | None:
    return host_port(endpoint.host, endpoint.port) if endpoint is not None else None
