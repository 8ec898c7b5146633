"""``ping``: as many items as were asked for, then the end, whenever the answers come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.app.anna import Anna
from userlan.app.pinging import Pinging
from userlan.app.program import NodeProgram
from userlan.driver.commands import Reply
from userlan.node.node import Node
from userlan.stack.events import EchoFailed, EchoReply

IDENTIFIER = 77


class Told(Reply):
    """What the client gets."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.ended = 0

    def item(self, value: object) -> None:
        assert not self.ended, "an item behind the end"
        self.items.append(value)

    def done(self, value: object) -> None:
        self.ended += 1

    def refuse(self, text: str) -> None:
        self.ended += 1

    def on_cancel(self, action: Callable[[], object]) -> None:
        pass


class Program(Anna):
    """With what is tested."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.echoes: dict[int, Callable[[EchoReply | EchoFailed], None]] = {}
        self.ways = SimpleNamespace(measured=lambda key, seconds: None)
        self.runner = SimpleNamespace(touch=lambda: None)
        self.engine = SimpleNamespace(pump=self.pump)

    def pump(self) -> None:
        """What the node has to say is handled at once, as the engine does it."""
        self.lan.world.settle()
        events = self.lan.events(self.node)
        heard = [event for event in events if isinstance(event, EchoReply | EchoFailed) and event.identifier == IDENTIFIER]
        for event in heard:
            events.remove(event)
            if handler := self.echoes.get(event.identifier):
                handler(event)

    def run(self, seconds: float) -> None:
        """World and reactor go on together."""
        for _ in range(int(seconds / 0.05)):
            self.lan.world.run(0.05)
            self.pump()
            self.clock.advance(0.05)

    def ping(self, peer: Node, count: int | None) -> tuple[Pinging, Told]:
        told = Told()
        address = self.node.roster.own_ipv4 if peer is self.node else self.node.roster.peers[peer.key].ipv4
        assert address
        pinging = Pinging(cast(NodeProgram, self), told, IDENTIFIER, peer.key, "peer", address, count, 0.2, 56, 5.0)
        pinging.start()
        return pinging, told


@pytest.mark.parametrize("whom", ["node", "ben"])
@pytest.mark.parametrize("count", [1, 3])
def test_as_many_as_were_asked_for(tmp_path: Path, whom: str, count: int) -> None:
    """An echo to oneself is answered while it is being sent."""
    program = Program(tmp_path)
    _, told = program.ping(getattr(program, whom), count)
    program.run(2)
    assert [item["sequence"] for item in told.items] == list(range(1, count + 1))
    assert all(item["rtt_ms"] is not None for item in told.items)
    assert told.ended == 1
    assert not program.echoes
    assert not program.clock.getDelayedCalls()


@pytest.mark.parametrize("whom", ["node", "ben"])
def test_until_it_is_stopped(tmp_path: Path, whom: str) -> None:
    program = Program(tmp_path)
    pinging, told = program.ping(getattr(program, whom), None)
    program.run(2.05)
    assert len(told.items) >= 10
    assert not told.ended
    pinging.stop()
    before = len(told.items)
    program.run(6)
    assert len(told.items) == before
    assert not program.clock.getDelayedCalls()
