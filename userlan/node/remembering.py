"""What is in a node's memory when it is saved: each part's share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.lan.addresses import key_text
from userlan.node.memory import Memory

if TYPE_CHECKING:
    from userlan.node.node import Node


def remember(node: Node) -> Memory:
    """The memory, brought up to date."""
    memory, links = node.memory, node.peers.links
    memory.name = node.name
    memory.ipv4 = node.roster.own_ipv4
    memory.networks = node.keyring.save()
    memory.applications = node.membership.applications.save(node.keyring)
    memory.departures = node.membership.departures.save()
    memory.blocked = node.peers.blocked.save()
    memory.roster = node.roster.snapshot()
    memory.endpoints = {key_text(key): [endpoint[:3] for endpoint in link.cached] for key, link in links.items() if link.cached}
    tunnels = {key: node.device.peer(key) for key in links}
    told = {key: one.ciphers for key, one in tunnels.items() if one is not None and one.ciphers is not None}
    memory.ciphers = {key_text(key): list(ciphers) for key, ciphers in told.items()}
    node.relays.save(memory)
    return memory
