"""A relay that is an enemy has the pair's secret, so that whatever it answers is authentic: what a node does then."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.relay.ends import BEN
from tests.relay.test_client import Wire
from userlan.relay import datagrams
from userlan.relay.datagrams import BOUND, COOKIE_SIZE, STALE, VALIDATED, Bound
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

VICTIM = Endpoint(UDP, "198.51.100.80", 53)
MOST = 2**64 - 1


class Enemy(Wire):
    """One relay, which answers the newest BIND of the client's with what the test says."""

    def __init__(self) -> None:
        super().__init__(1)
        self.dead = {0}
        (self.offer,) = self.offers()
        self.client.offer(BEN, [self.offer], self.now)
        self.counters: list[int] = []
        self.run(0.05)

    def last(self) -> int:
        (binding,) = self.client._numbers.values()
        return binding._counter

    def say(self, source: Endpoint, status: int, flags: int, newest: int, cookie: bytes = bytes(COOKIE_SIZE)) -> None:
        said = Bound(self.offer.channel, self.last(), status, flags, newest, cookie)
        data = datagrams.encode_bound(said, self.offer.secret)
        self.client.unwrap(data, len(data), source, self.now)

    def targets(self) -> set[Endpoint]:
        """Where data for the peer go."""
        return {one.endpoint for path in self.client.reachable(BEN) for one in self.client.wrap(Burst(b"x" * 1000, 1000, path), self.now)}


def test_it_cannot_have_a_node_send_its_data_to_a_third_party() -> None:
    """By a BOUND whose source is forged: the address of a binding is one that was named for the relay."""
    enemy = Enemy()
    for _ in range(3):
        enemy.say(VICTIM, BOUND, VALIDATED, 0)
        enemy.run(0.05)
    assert enemy.targets() == {Endpoint(UDP, "203.0.113.1", 41414)}
    assert VICTIM not in {endpoint for _, endpoint in enemy.binds}
    enemy.say(Endpoint(UDP, "203.0.113.1", 41414), BOUND, VALIDATED, 0)
    enemy.say(VICTIM, STALE, 0, 0)
    enemy.run(0.1)
    assert VICTIM not in {endpoint for _, endpoint in enemy.binds}


def test_the_greatest_counter_of_all_makes_nothing_raise() -> None:
    enemy = Enemy()
    here = Endpoint(UDP, "203.0.113.1", 41414)
    for newest in (MOST, MOST - 1, MOST, 0):
        enemy.say(here, STALE, 0, newest)
        enemy.run(0.1)
    enemy.say(here, BOUND, VALIDATED, 0)
    assert enemy.targets() == {here}


PLACES = some.sampled_from([Endpoint(UDP, "203.0.113.1", 41414), Endpoint(TCP, "203.0.113.1", 41414), VICTIM])
WORDS = some.tuples(PLACES, some.integers(0, 255), some.integers(0, 255), some.integers(0, MOST), some.binary(min_size=16, max_size=16))


@settings(max_examples=60)
@given(some.lists(WORDS, max_size=20))
def test_whatever_it_says_costs_binds_to_itself_at_a_bounded_rate(words: list[tuple[Endpoint, int, int, int, bytes]]) -> None:
    enemy = Enemy()
    for place, status, flags, newest, cookie in words:
        enemy.say(place, status, flags, newest, cookie)
        enemy.run(0.1)
    assert VICTIM not in enemy.targets()
    assert all(endpoint.host == "203.0.113.1" for _, endpoint in enemy.binds)
    assert len(enemy.binds) <= 60 + 20 * (0.1 * len(words) + 0.1)
