"""Networks that this node has left, and whose mediators have yet to hear of it.

::

    leave ──▶ all forgotten here at once; (mediator, network) is kept ──Leave, in each session──▶ Done: it is kept no longer
    join the same again ──▶ the mediator is not told; its Done or Applied ends the departure, a refusal revives it
    a join, or a network made, that went unanswered ──▶ kept, too: whoever waited was told that nothing came of it

Why: who leaves does so by itself, with or without a mediator; but a mediator that was away would go on to list this node, and to introduce
members to it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from userlan.lan.addresses import KEY_SIZE
from userlan.lan.labels import check_network
from userlan.node.memory import SavedDeparture

MAX_DEPARTURES = 64
"""As many as a node can be in networks. Beyond it the oldest is dropped: its mediator then lists this node until somebody evicts it."""


class Departures:
    """Of one node, by mediator and network: two mediators can have networks of one name."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def add(self, mediator: bytes, network: str) -> None:
        """This node has left a network. Idempotent."""
        self._left[mediator, network] = None
        while len(self._left) > MAX_DEPARTURES:
            self._left.popitem(last=False)

    def end(self, mediator: bytes, network: str) -> bool:
        """The mediator has heard of it, or this node is back; whether it was kept. Idempotent."""
        return self._left.pop((mediator, network), self) is not self

    def __contains__(self, departure: tuple[bytes, str]) -> bool:
        return departure in self._left

    def of(self, mediator: bytes) -> list[str]:
        """The networks of one mediator."""
        return [network for key, network in self._left if key == mediator]

    def save(self) -> list[SavedDeparture]:
        """For the node's memory."""
        return [SavedDeparture(mediator, network) for mediator, network in self._left]

    def restore(self, saved: Iterable[SavedDeparture]) -> None:
        """From the node's memory; what does not read is left out."""
        for one in saved:
            try:
                network = check_network(one.network)
            except ValueError:
                continue
            if len(one.mediator) == KEY_SIZE:
                self.add(one.mediator, network)
