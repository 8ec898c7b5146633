"""How each peer is reached, for ``path``: what the node knows, and the round trips of the last ten minutes.

A ring for each peer holds one cell for each ``STEP``: the round trip that was measured in it (an echo of the node's own, or of a
``ping`` of anybody's; the shortest of several), and the peer's state. The node asks a quiet peer every ten seconds and a busy one every
thirty, so most cells say only that the peer was there: they are told as ``null``, and nothing is made up between two measurements.
"""

from __future__ import annotations

from array import array
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any

from userlan.driver.bridge import CommandError
from userlan.lan.names import UnknownName
from userlan.node.path_report import path_report
from userlan.node.peers import PeerState

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

STEP = 5.0
"""Seconds of one cell."""
CELLS = 120
"""Cells of one ring: ten minutes."""
MAX_RINGS = 1024
"""Peers with a ring of their own, 700 octets each: the members of a full network."""

STATES = ("", *(state.value for state in PeerState))


class _Ring:
    """Of one peer. The cells are those of a common clock."""

    __slots__ = ("rtt", "states", "told_at")

    def __init__(self) -> None:
        self.rtt = array("f", [nan]) * CELLS
        self.states = bytearray(CELLS)
        self.told_at = -inf

    def begin(self, cell: int) -> None:
        self.rtt[cell] = nan
        self.states[cell] = 0

    def measured(self, cell: int, seconds: float) -> None:
        before = self.rtt[cell]
        self.rtt[cell] = seconds if isnan(before) else min(before, seconds)


class Ways:
    """Of one program. Everything in the reactor's thread."""

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._rings: dict[bytes, _Ring] = {}
        self._cell = 0
        self._call: Any = None

    def start(self) -> None:
        """Look at all peers each ``STEP`` seconds from now on."""
        self._look()
        self._call = self._program.reactor.callLater(STEP, self._next)

    def stop(self) -> None:
        """No more."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def measured(self, key: bytes, seconds: float) -> None:
        """Somebody has measured a round trip to a peer, by a path that is its own."""
        ring = self._rings.get(key)
        if ring is not None:
            ring.measured(self._cell, seconds)

    def path(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """``path``: how the peer named by ``peer`` is reached, and why so; ``history`` is the oldest cell first."""
        node, now = self._program.node, self._program.reactor.seconds()
        written = arguments.get("peer")
        if not isinstance(written, str) or not written:
            raise CommandError("the argument 'peer' is missing")
        try:
            key = node.lookup.resolver.find(written).key
        except UnknownName as error:
            raise CommandError(str(error)) from None
        if key == node.key:
            raise CommandError(f"{written} is this node itself")
        self._look()
        return path_report(node, key, now) | {"history": self._history(key, now + node.wall_offset)}

    def _next(self) -> None:
        self._cell = (self._cell + 1) % CELLS
        for ring in self._rings.values():
            ring.begin(self._cell)
        self._look()
        self._call = self._program.reactor.callLater(STEP, self._next)

    def _look(self) -> None:
        """Each peer's state now, and its last echo where that is new."""
        links = self._program.node.peers.links
        for key in [key for key in self._rings if key not in links]:
            del self._rings[key]
        for key, link in links.items():
            ring = self._rings.get(key)
            if ring is None:
                if len(self._rings) >= MAX_RINGS:
                    continue
                ring = self._rings[key] = _Ring()
            ring.states[self._cell] = STATES.index(link.state.value)
            if link.liveness.sampled_at > ring.told_at:
                ring.told_at = link.liveness.sampled_at
                ring.measured(self._cell, link.liveness.sample)

    def _history(self, key: bytes, wall: float) -> dict[str, Any]:
        ring = self._rings.get(key) or _Ring()
        order = [(self._cell + 1 + place) % CELLS for place in range(CELLS)]
        return {
            "step": STEP,
            "until": wall,
            "rtt_ms": [None if isnan(ring.rtt[cell]) else round(ring.rtt[cell] * 1000, 3) for cell in order],
            "states": [STATES[ring.states[cell]] or None for cell in order],
        }
