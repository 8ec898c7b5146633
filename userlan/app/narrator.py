"""What happens in the parts that do no I/O and so write no log themselves, told in their names (``log.parts``)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.logger import Logger

from userlan.lan.addresses import key_text
from userlan.node.events import LinkChanged, PeerChanged, RequestDone, RequestRefused
from userlan.node.node import Node
from userlan.wire.endpoint import host_port

DROPS_INTERVAL = 30.0
"""Seconds between two looks at what the tunnels have dropped."""


class Narrator:
    """Of one node. All of it is ``debug``."""

    def __init__(self, node: Node) -> None:
        # Not of the class: Twisted calls those by the class's name, whatever they are given.
        self._tunnel = Logger(namespace="userlan.tunnel")
        self._control = Logger(namespace="userlan.control")
        self._node = Logger(namespace="userlan.node")
        self._of = node
        self._dropped: Counter[str] = Counter()
        self._looked_at = float("-inf")

    def tell(self, event: Any, now: float) -> None:
        """Something has happened."""
        match event:
            case PeerChanged():
                self._peer(event, now)
            case LinkChanged():
                state = "is up" if event.ready else f"is down: {event.reason}"
                self._control.debug("the link to the mediator {key} {state}", key=key_text(event.key), state=state)
            case RequestDone():
                self._node.debug("request {number} for {network} was carried out", number=event.number, network=event.network or "all")
            case RequestRefused():
                self._node.debug("request {number} was refused: {text}", number=event.number, text=event.text)

    def look(self, now: float) -> None:
        """To be called now and then."""
        if now - self._looked_at < DROPS_INTERVAL:
            return
        self._looked_at = now
        counted = self._of.device.counters
        fresh = counted - self._dropped
        if fresh:
            self._dropped = Counter(counted)
            what = ", ".join(f"{name} {count}" for name, count in sorted(fresh.items()))
            self._tunnel.debug("counted since the last time: {what}", what=what, counters=dict(fresh))

    def _peer(self, event: PeerChanged, now: float) -> None:
        tunnel = self._of.device.peer(event.key)
        if tunnel is None or tunnel.endpoint is None:
            self._tunnel.debug("{name}: no way", name=event.name)
            return
        where = f"{tunnel.endpoint.transport} {host_port(tunnel.endpoint.host, tunnel.endpoint.port)}"
        heard = f"heard {now - tunnel.last_received:.1f} s ago" if tunnel.last_received is not None else "never heard"
        self._tunnel.debug(
            "{name}: {where}, {cipher}, {heard}", name=event.name, where=where, cipher=tunnel.cipher(now) or "no session", heard=heard
        )
