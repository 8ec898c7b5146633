"""The pool: who gets in, where nodes are sent, what a pair is offered and when it is told anew."""

from __future__ import annotations

import pytest

from userlan.control import grants
from userlan.control.meeting import MAX_RELAYS, RelayDelays, RelayOffers, RelayPool, Serve, ServerEndpoint
from userlan.mediator.relays import MAX_PAIRS, RENEW_BEFORE, SETTLE, TELL_BURST, Relays
from userlan.wire.endpoint import TCP, UDP, Endpoint

SECRET = bytes(range(32))
WALL = 1_700_000_000.0
ANNA, BEN, CARLA = (bytes([number]) * 32 for number in (11, 12, 13))
R1, R2, R3, R4 = (bytes([number]) * 32 for number in (1, 2, 3, 4))


def pool(*relays: bytes, allowed: tuple[bytes, ...] = (), own: tuple[str, ...] = ()) -> Relays:
    """A pool with these relays, each at a host of its own."""
    made = Relays(SECRET, allowed, own, WALL, 0.0)
    for number, key in enumerate(relays, 1):
        join(made, key, f"198.51.100.{number}")
    return made


def join(made: Relays, key: bytes, host: str, *named: ServerEndpoint, load: float = 0.0) -> None:
    assert made.refusal(key) == ""
    made.joined(key, f"relay{key[0]}", Endpoint(UDP, host, 50_000), 0.0)
    made.serve(key, Serve(named or (ServerEndpoint(host, 41414), ServerEndpoint(host, 443, TCP)), load=load), 0.0)


def endpoints(made: Relays) -> tuple[ServerEndpoint, ...]:
    made.arrived(ANNA)
    (_, told), *_ = made.due(10.0)
    assert isinstance(told, RelayPool)
    return told.relays[0].endpoints


def order(made: Relays, now: float = 1.0, a: bytes = ANNA, b: bytes = BEN) -> list[bytes]:
    return [offer.relay.key for offer in made.offers_for(a, b, now)[0]]


def test_both_ends_get_the_same_relays_and_channels_and_secrets_of_their_own() -> None:
    made = pool(R1, R2, R3, R4)
    for_anna, for_ben = made.offers_for(ANNA, BEN, 1.0)
    assert len(for_anna) == 3
    for one, other in zip(for_anna, for_ben, strict=True):
        assert (one.relay, one.grant, one.channel) == (other.relay, other.grant, other.channel)
        assert one.secret != other.secret
        key = grants.pool_key(SECRET, one.relay.key)
        assert grants.for_end(key, one.grant, 0) == (one.grant, one.channel, one.secret)
        said = grants.opened(key, one.grant)
        assert said is not None
        assert said.expiry == pytest.approx(WALL + 1.0 + grants.LIFETIME, abs=1)


def test_asked_again_and_the_other_way_round_it_says_the_same() -> None:
    made = pool(R1, R2)
    assert made.offers_for(ANNA, BEN, 1.0) == made.offers_for(BEN, ANNA, 60.0)[::-1]


def test_the_relay_with_the_least_sum_of_delays_is_first() -> None:
    made = pool(R1, R2, R3)
    for node, delays in ((ANNA, {R1: 0.02, R2: 0.05, R3: 0.3}), (BEN, {R1: 0.2, R2: 0.05, R3: 0.3})):
        made.arrived(node)
        made.measured(node, RelayDelays(delays))
    assert order(made) == [R2, R1, R3]
    assert made.offers_for(ANNA, BEN, 1.0)[0][0].delay == pytest.approx(0.10)


def test_a_node_that_lies_moves_its_own_pairs_alone() -> None:
    made = pool(R1, R2)
    for node in (ANNA, BEN, CARLA):
        made.arrived(node)
        made.measured(node, RelayDelays({R1: 0.02, R2: 0.2}))
    made.measured(CARLA, RelayDelays({R1: 9.0, R2: 0.0}))
    assert order(made) == [R1, R2]
    assert order(made, a=ANNA, b=CARLA) == [R2, R1]


def test_delays_of_unknown_relays_and_impossible_ones_are_not_kept() -> None:
    made = pool(R1)
    made.arrived(ANNA)
    made.measured(ANNA, RelayDelays({R1: 11.0, R2: 0.1}))
    made.measured(BEN, RelayDelays({R1: 0.1}))
    assert made.delays_of(ANNA) == {}
    assert made.delays_of(BEN) == {}


def test_an_open_pool_sends_nodes_only_to_where_the_relay_was_seen() -> None:
    made = pool()
    named = (ServerEndpoint("203.0.113.66", 53), ServerEndpoint("0.0.0.0", 41414), ServerEndpoint("2001:db8::1", 41414))
    join(made, R1, "198.51.100.1", *named)
    assert {one.host for one in endpoints(made)} == {"198.51.100.1"}


def test_a_relay_that_the_owner_named_may_name_its_addresses() -> None:
    made = pool(allowed=(R1,))
    join(made, R1, "198.51.100.1", ServerEndpoint("198.51.100.1", 41414), ServerEndpoint("2001:db8::1", 41414))
    assert {one.host for one in endpoints(made)} == {"198.51.100.1", "2001:db8::1"}
    assert made.refusal(R2) != ""


def test_a_relay_on_the_mediators_own_computer_may_name_its_addresses_but_not_loopback_to_others() -> None:
    made = pool(own=("198.51.100.9",))
    join(made, R1, "198.51.100.9", ServerEndpoint("192.168.1.9", 41414), ServerEndpoint("127.0.0.1", 41414))
    assert {one.host for one in endpoints(made)} == {"192.168.1.9", "198.51.100.9"}


def test_the_pool_is_capped() -> None:
    made = pool(*(bytes([number]) * 32 for number in range(MAX_RELAYS)))
    assert made.refusal(b"\xff" * 32) != ""
    assert made.refusal(bytes([0]) * 32) == ""


def test_nodes_are_told_of_a_change_once_and_at_a_bounded_rate() -> None:
    made = pool(R1)
    nodes = [number.to_bytes(2, "big") * 16 for number in range(500)]
    for node in nodes:
        made.arrived(node)
    join(made, R2, "198.51.100.2")
    assert len(made.due(0.0)) == TELL_BURST
    told = [key for second in range(1, 11) for key, message in made.due(second * SETTLE) if isinstance(message, RelayPool)]
    assert set(told) == set(nodes)
    assert made.due(20.0) == []


def test_when_a_relay_leaves_its_pairs_are_told_of_others_and_only_they() -> None:
    made = pool(R1, R2)
    for node in (ANNA, BEN, CARLA):
        made.arrived(node)
        made.measured(node, RelayDelays({R1: 0.01, R2: 0.2}))
    made.due(5.0)
    made.offers_for(ANNA, BEN, 5.0)
    made.left(R1, 6.0)
    offers = {key: message for key, message in made.due(8.0) if isinstance(message, RelayOffers)}
    assert set(offers) == {ANNA, BEN}
    assert [offer.relay.key for offer in offers[ANNA].relays] == [R2]
    assert offers[ANNA].peer == BEN


def test_small_changes_of_delays_are_told_to_nobody_and_large_ones_to_both() -> None:
    made = pool(R1, R2)
    for node in (ANNA, BEN):
        made.arrived(node)
        made.measured(node, RelayDelays({R1: 0.050, R2: 0.060}))
    made.due(5.0)
    made.offers_for(ANNA, BEN, 5.0)
    made.measured(ANNA, RelayDelays({R1: 0.055, R2: 0.048}))
    assert made.due(6.0) == []
    made.measured(ANNA, RelayDelays({R1: 0.055, R2: 0.010}))
    assert {key for key, _ in made.due(7.0)} == {ANNA, BEN}
    assert order(made, 7.0) == [R2, R1]


def test_grants_are_renewed_before_they_end() -> None:
    made = pool(R1)
    for node in (ANNA, BEN):
        made.arrived(node)
    made.due(5.0)
    before = made.offers_for(ANNA, BEN, 5.0)[0][0]
    due = 5.0 + grants.LIFETIME - RENEW_BEFORE
    assert made.due(due - 1.0) == []
    assert made.deadline() == pytest.approx(due)
    offers = dict(made.due(due + 1.0))
    renewed = offers[ANNA]
    assert isinstance(renewed, RelayOffers)
    assert renewed.relays[0].grant != before.grant
    assert renewed.relays[0].channel == before.channel


def test_pairs_are_capped_and_those_of_who_is_gone_are_forgotten_in_time() -> None:
    made = pool(R1)
    made.arrived(ANNA)
    for number in range(MAX_PAIRS // 10):
        made.offers_for(ANNA, number.to_bytes(2, "big") * 16, 1.0)
    made.due(2.0)
    assert made.due(2.0 + grants.LIFETIME) == []
    assert made.deadline() is None


def test_without_a_relay_there_is_nothing_to_offer() -> None:
    assert pool().offers_for(ANNA, BEN, 1.0) == ((), ())
