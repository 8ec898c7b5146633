"""A path that was dead and is there again, as the owner of a host knows (RFC 6069's idea, with more to go by than an ICMP error)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.lan import packed, pair
from tests.sim.link import LinkProfile
from tests.sim.world import World
from userlan.stack import TcpAccepted
from userlan.stack.config import HostConfig
from userlan.stack.tcp import Config, Connection
from userlan.stack.tcp.output import INTERRUPTED

GOOD = LinkProfile(delay=0.02)
OUTAGE = 4.0
"""Seconds; the fifth back-off then waits for more than three."""


class Two:
    """A connection on which the client has just written when the path dies."""

    def __init__(self) -> None:
        self.world = World(3)
        config = HostConfig(tcp=Config(keepalive_idle=60.0))
        self.client, self.server = pair(self.world, "10.0.0.1", "10.0.0.2", GOOD, config=config)
        self.server.core.tcp_listen(80)
        self.near = self.client.core.tcp_connect((packed("10.0.0.2"), 80), self.world.now)
        self.world.run(1.0)
        (accepted,) = self.server.take(TcpAccepted)
        assert isinstance(accepted, TcpAccepted)
        self.far: Connection = accepted.connection
        self.far.send(b"hello", self.world.now)
        self.near.send(b"hello", self.world.now)
        self.world.run(1.0)
        assert bytes(self.far.receive()) == bytes(self.near.receive()) == b"hello"

    def lines(self, loss: float) -> None:
        for host in (self.client, self.server):
            host.up.profile = replace(GOOD, loss=loss)

    def waits(self) -> float:
        """Seconds until what the client wrote in the outage arrives."""
        began = self.world.now
        self.world.run_until(lambda: bool(self.far.receive()), 30)
        return self.world.now - began


@pytest.mark.parametrize("told", [True, False])
def test_what_waits_for_a_timer_that_is_backed_off_leaves_at_once(told: bool) -> None:
    two = Two()
    two.lines(1.0)
    two.near.send(b"lost", two.world.now)
    two.world.run(OUTAGE)
    two.lines(0.0)
    if told:
        two.client.core.path_restored(packed("10.0.0.2"), two.world.now)
    waited = two.waits()
    assert (waited < 0.1) is told
    two.world.run(0.1)
    assert two.near.info(two.world.now).backoff == 0


def test_who_only_receives_says_what_has_arrived() -> None:
    """Its ACKs went by the dead path, so the sender would wait."""
    two = Two()
    before = two.server.up.counters["sent"]
    two.server.core.path_restored(packed("10.0.0.1"), two.world.now)
    two.world.run(0.01)
    assert two.server.up.counters["sent"] - before == 1


def test_a_connection_that_was_idle_for_long_says_nothing() -> None:
    two = Two()
    two.world.run(INTERRUPTED)
    before = two.server.up.counters["sent"]
    two.server.core.path_restored(packed("10.0.0.1"), two.world.now)
    two.world.run(0.01)
    assert two.server.up.counters["sent"] == before


def test_other_destinations_do_not_hear_of_it() -> None:
    two = Two()
    before = two.server.up.counters["sent"]
    two.server.core.path_restored(packed("10.0.0.9"), two.world.now)
    two.world.run(0.01)
    assert two.server.up.counters["sent"] == before
