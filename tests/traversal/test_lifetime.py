"""The mapping's lifetime is learnt behind simulated NATs without keeping it alive (RFC 4787 4.3, RFC 5780 4.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.sim.internet import Internet
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import HOME_ROUTER, SYMMETRIC, NatBehaviour
from tests.sim.world import World
from tests.traversal.vantages import FIRST, KEY, MAIN, Server, Ways
from userlan.node.sockets import Sockets
from userlan.traversal.asking import Point
from userlan.traversal.lifetime import BETWEEN, LONGEST_PAUSE, MOST_KEEPALIVE, RESOLUTION, Lifetime, Stage
from userlan.wire.burst import Burst
from userlan.wire.endpoint import UDP, Endpoint


class Learner(Ways):
    """A core that does nothing else."""

    def __init__(self, world: World) -> None:
        self.sockets = Sockets()
        self.lifetime = Lifetime(self.sockets, world.entropy(), world.now)
        self.sent: list[Burst] = []

    def owns(self, data: Any) -> bool:
        return self.lifetime.owns(data)

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        if self.lifetime.owns(data):
            self.lifetime.receive(data, source, now)

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.sockets.opened(via, transport, port)

    def dismissed(self) -> list[int]:
        return self.sockets.dismissed()

    def datagrams(self, now: float) -> list[Burst]:
        out = self.lifetime.datagrams()
        self.sent += out
        return out

    def deadline(self) -> float | None:
        return self.lifetime.deadline()

    def tick(self, now: float) -> None:
        self.lifetime.tick(now)


def learner(behaviour: NatBehaviour, seed: int = 1, loss: float = 0.0) -> tuple[World, Learner]:
    world = World(seed)
    internet = Internet(world)
    server = Server(world)
    server.vantage.listening(0, FIRST, MAIN)
    internet.attach(server, FIRST, port=MAIN, profile=LinkProfile(delay=0.02, loss=loss))
    core = Learner(world)
    core.lifetime.use(Point(KEY, Endpoint(UDP, FIRST, MAIN)))
    Nat(internet, "198.51.100.1", behaviour=behaviour).inside.attach(core, "192.168.1.2", port=MAIN)
    return world, core


@pytest.mark.parametrize("timeout", [30.0, 47.0, 60.0, 120.0, 180.0])
@pytest.mark.parametrize("box", [HOME_ROUTER, SYMMETRIC, replace(HOME_ROUTER, refreshed_inbound=True)])
def test_the_lifetime_is_bounded_from_both_sides(box: NatBehaviour, timeout: float) -> None:
    world, core = learner(replace(box, timeout=timeout))
    world.run_until(lambda: core.lifetime.settled, 4 * 3600)
    assert core.lifetime.lower <= timeout + 0.1
    assert core.lifetime.upper >= timeout - 0.1
    assert core.lifetime.upper <= core.lifetime.lower * RESOLUTION
    assert core.lifetime.keepalive == pytest.approx(min(MOST_KEEPALIVE, core.lifetime.lower / 2))
    assert core.lifetime.keepalive < timeout
    assert len(core.sent) < 200


def test_what_lives_for_five_minutes_is_long_enough() -> None:
    world, core = learner(replace(HOME_ROUTER, timeout=3600.0))
    world.run_until(lambda: core.lifetime.settled, 4 * 3600)
    assert core.lifetime.lower == LONGEST_PAUSE
    assert core.lifetime.keepalive == MOST_KEEPALIVE
    assert core.lifetime.deadline() is None


@pytest.mark.parametrize("seed", range(8))
def test_loss_makes_it_shorter_at_worst(seed: int) -> None:
    world, core = learner(replace(HOME_ROUTER, timeout=60.0), seed, loss=0.1)
    world.run(6 * 3600)
    assert 0 < core.lifetime.lower <= 60.1
    assert core.lifetime.keepalive <= 30.0


def test_the_main_socket_takes_no_part_and_sockets_are_given_back() -> None:
    world, core = learner(replace(HOME_ROUTER, timeout=30.0))
    world.run_until(lambda: core.lifetime.settled, 4 * 3600)
    assert all(burst.endpoint.via > 0 for burst in core.sent)
    world.run(1)
    assert len(core.sockets) == 0


def test_without_an_answer_nothing_is_claimed() -> None:
    world, core = learner(replace(HOME_ROUTER, blocked=frozenset({"udp"})))
    world.run(2 * 3600)
    assert core.lifetime.lower == 0.0
    assert core.lifetime.upper == float("inf")
    assert core.lifetime.keepalive == 5.0
    assert len(core.sent) < 50


def test_another_network_is_learnt_anew() -> None:
    world, core = learner(replace(HOME_ROUTER, timeout=60.0))
    world.run_until(lambda: core.lifetime.lower > 0, 3600)
    core.lifetime.network_changed(world.now)
    assert core.lifetime.keepalive == 5.0
    assert core.lifetime.stage is Stage.RESTING
    assert core.lifetime.deadline() == world.now + BETWEEN
