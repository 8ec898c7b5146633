"""How many connections a member may make in a short time: over all ports, and without harm to the others."""

from __future__ import annotations

from tests.driver.memory import ADDRESSES, World
from tests.driver.protocols import Made
from userlan.driver.arrivals import BURST, MAX_ADDRESSES, RATE, Arrivals
from userlan.lan.addresses import packed
from userlan.stack.addresses import Addresses
from userlan.stack.host import TOO_FAST

OWN, EVE, ANNA = (packed(f"25.0.0.{number}") for number in (1, 2, 3))


def own() -> Addresses:
    addresses = Addresses()
    addresses.add(OWN)
    return addresses


def admitted(arrivals: Arrivals, address: bytes, tries: int, now: float) -> int:
    return sum(arrivals.admit(address, now) for _ in range(tries))


def test_so_many_at_once_and_so_many_a_second() -> None:
    arrivals = Arrivals(own(), rate=10, burst=50)
    assert admitted(arrivals, EVE, 80, 1.0) == 50
    assert admitted(arrivals, ANNA, 80, 1.0) == 50, "each has its own"
    assert admitted(arrivals, EVE, 80, 3.0) == 20
    assert admitted(arrivals, EVE, 80, 1000.0) == 50, "no more is saved up"
    assert admitted(arrivals, OWN, 500, 1.0) == 500, "this computer's own programs"
    assert len(arrivals) == 2


def test_the_usual_is_far_below() -> None:
    """A browser has six connections to a host and opens dozens at once (RFC 9110 names no number); a load test a thousand."""
    arrivals = Arrivals(own())
    assert admitted(arrivals, EVE, 1000, 0.0) == 1000
    assert sum(admitted(arrivals, EVE, 60, float(second)) for second in range(1, 600)) == 60 * 599
    assert (BURST, RATE) >= (1000, 60)


def test_accounts_are_bounded_and_the_quietest_gives_way() -> None:
    arrivals = Arrivals(own(), rate=1, burst=1)
    assert [arrivals.admit(EVE, 0.0), arrivals.admit(ANNA, 0.0)] == [True, True]
    for number in range(MAX_ADDRESSES - 1):
        arrivals.admit(EVE, 0.0)
        arrivals.admit(number.to_bytes(16, "big"), 0.0)
    assert len(arrivals) == MAX_ADDRESSES
    assert not arrivals.admit(EVE, 0.0), "it is no way to a new account to be loud"
    assert arrivals.admit(ANNA, 0.0)


def test_over_all_ports_and_told_by_a_reset() -> None:
    world = World()
    web, shell = Made(), Made()
    for port, factory in ((80, web), (22, shell)):
        world.result(world.nas.server_endpoint(port).listen(factory))
    runner = world.cores[1].runner
    runner.arrivals = Arrivals(runner.host.addresses, rate=1, burst=3)
    clients = [world.result(world.me.client_endpoint("nas", port).connect(Made())) for port in (80, 22, 80)]
    late = [world.result(world.me.client_endpoint("nas", port).connect(Made())) for port in (22, 80)]
    world.run(lambda: all(one.lost is not None for one in late))
    assert (len(web.made), len(shell.made), runner.host.counters[TOO_FAST]) == (2, 1, 2)
    assert all(one.lost is None for one in clients), "what was taken stays"
    assert world.result(world.me.client_endpoint(world.nas.own().ipv6, 80).connect(Made())), "the other address has its own"
    world.run(1.5)
    again = world.result(world.me.client_endpoint(ADDRESSES["nas"], 22).connect(Made()))
    world.run(lambda: len(shell.made) == 2)
    assert again.lost is None
