"""Channels: who may bind, what proves an address, what an attacker gets (nothing, or three times what he sent: RFC 9000 8.1)."""

from __future__ import annotations

import pytest

from tests.relay.ends import ANNA, BEN, CARLA, UNLIMITED, Peer, Scene, pair
from userlan.control import grants
from userlan.relay import datagrams
from userlan.relay.allocation import AMPLIFICATION, HELD_FOR, IDLE, Limits
from userlan.relay.datagrams import BIND_SIZE, BOUND_SIZE
from userlan.traversal.kinds import RELAY_BIND
from userlan.wire.endpoint import TCP, Endpoint

VICTIM = Endpoint("udp", "203.0.113.9", 9)


def test_an_end_is_bound_at_once_and_proven_by_its_cookie() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    first, second = anna.bind(), anna.bind()
    assert (first.status, first.flags & datagrams.VALIDATED) == (datagrams.BOUND, 0)
    assert second.flags & datagrams.VALIDATED
    assert not second.flags & datagrams.PRESENT


def test_an_end_is_told_whether_the_other_is_there() -> None:
    scene = Scene()
    anna, ben = Peer(scene, (ANNA, BEN), "192.0.2.1"), Peer(scene, (BEN, ANNA), "192.0.2.2")
    assert not anna.bind().flags & datagrams.PRESENT
    assert ben.bind().flags & datagrams.PRESENT
    assert anna.bind().flags & datagrams.PRESENT
    scene.now += IDLE + 1
    assert not anna.bind().flags & datagrams.PRESENT


def test_no_answer_is_longer_than_its_question() -> None:
    assert BOUND_SIZE < BIND_SIZE


@pytest.mark.parametrize("octet", [4, 12, 40, 76, 85, 111])
def test_a_bind_that_was_changed_anywhere_meets_silence(octet: int) -> None:
    scene = Scene()
    datagram = bytearray(Peer(scene, (ANNA, BEN), "192.0.2.1").datagram())
    datagram[octet] ^= 1
    assert scene.take(bytes(datagram), VICTIM) is None
    assert len(scene.allocations) == 0


@pytest.mark.parametrize("datagram", [b"", RELAY_BIND, bytes(112), RELAY_BIND + bytes(108), bytes(65535)])
def test_rubbish_meets_silence(datagram: bytes) -> None:
    scene = Scene()
    assert scene.take(datagram, VICTIM) is None


def test_the_other_ends_secret_does_not_bind_this_end() -> None:
    scene = Scene()
    anna, ben = Peer(scene, (ANNA, BEN), "192.0.2.1"), Peer(scene, (BEN, ANNA), "192.0.2.2")
    anna.offer = anna.offer._replace(secret=ben.offer.secret)
    assert scene.take(anna.datagram(), anna.endpoint) is None


def test_a_grant_of_a_mediator_of_another_pool_meets_silence() -> None:
    scene = Scene()
    scene.allocations.keys.clear()
    assert scene.take(Peer(scene, (ANNA, BEN), "192.0.2.1").datagram(), VICTIM) is None


def test_what_was_overheard_cannot_be_used_again() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    overheard = anna.datagram()
    scene.take(overheard, anna.endpoint)
    answer = scene.take(overheard, VICTIM)
    assert answer is not None
    bound = datagrams.decode_bound(answer.datagram)
    assert bound is not None
    assert (bound.status, bound.newest) == (datagrams.STALE, anna.counter)
    assert [endpoint for endpoint, *_ in scene.data(ben.header + b"x", 0, ben.endpoint)] == [anna.endpoint]


def test_an_end_that_moves_is_sent_to_where_it_says_at_once() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    anna.endpoint = Endpoint("udp", "198.51.100.1", 7)
    bound = anna.bind()
    assert bound.flags & datagrams.MOVED
    assert [endpoint for endpoint, *_ in scene.data(ben.header + b"x", 0, ben.endpoint)] == [anna.endpoint]


def test_an_address_that_has_not_echoed_its_cookie_gets_three_times_what_came_from_it() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    scene.take(anna.datagram(), VICTIM)         # its sender can seal BINDs, but does not receive at the victim's address
    flood = (ben.header + bytes(1000)) * 40
    sent = sum(len(data) for _ in range(100) for _, data, _ in scene.data(flood, 1012, ben.endpoint))
    single = sum(len(data) for _ in range(100) for _, data, _ in scene.data(ben.header + bytes(8), 0, ben.endpoint))
    assert sent + single + BOUND_SIZE <= AMPLIFICATION * BIND_SIZE
    assert scene.counters["data-unproven"] > 4000


def test_a_cookie_is_for_the_address_that_it_was_sent_to() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    anna.prove()
    anna.endpoint = VICTIM
    assert not anna.bind().flags & datagrams.VALIDATED


def test_a_cookie_is_good_for_two_periods() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    anna.bind()
    cookie = anna.cookie
    scene.now += 60
    anna.endpoint = Endpoint("udp", "192.0.2.1", 5)     # somewhere else in between: it is not proven any more
    anna.bind()
    anna.endpoint, anna.cookie = Endpoint("udp", "192.0.2.1", 41414), cookie
    assert anna.bind().flags & datagrams.VALIDATED


def test_framed_tcp_proves_an_address_by_itself() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    anna.endpoint = Endpoint(TCP, "192.0.2.1", 5555)
    assert anna.bind().flags & datagrams.VALIDATED


def test_nothing_is_sent_towards_a_client_whose_connection_ended() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    anna.endpoint = Endpoint(TCP, "192.0.2.1", 5555)
    anna.bind()
    scene.allocations.way_lost(anna.endpoint)
    assert scene.data(ben.header + bytes(500), 0, ben.endpoint) == []
    assert scene.counters["data-peer-absent"] == 1


def test_an_expired_grant_is_taken_while_its_mediator_is_away_and_not_for_ever() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1", lifetime=-10.0)
    assert anna.bind().status == datagrams.EXPIRED
    scene.orphaned = True
    assert anna.bind().status == datagrams.BOUND
    ancient = Peer(scene, (ANNA, BEN), "192.0.2.1", lifetime=-10.0 - grants.GRACE)
    assert ancient.bind().status == datagrams.EXPIRED


def test_a_flood_of_channels_stops_at_the_cap_and_ends_with_time() -> None:
    scene = Scene(UNLIMITED._replace(channels=50, bind_burst=1e6))
    peers = [Peer(scene, (ANNA, bytes([9, number]) * 16), "192.0.2.1", 1000 + number) for number in range(60)]
    assert [peer.bind().status for peer in peers] == [datagrams.BOUND] * 50 + [datagrams.FULL] * 10
    scene.now += IDLE + 1
    assert peers[-1].bind().status == datagrams.BOUND
    assert len(scene.allocations) == 1


def test_one_client_does_not_take_all_channels() -> None:
    scene = Scene(UNLIMITED._replace(channels_of_client=3))
    peers = [Peer(scene, (ANNA, bytes([9, number]) * 16), "192.0.2.1", 1000 + number) for number in range(4)]
    assert [peer.bind().status for peer in peers][-1] == datagrams.FULL
    assert Peer(scene, (BEN, CARLA), "192.0.2.7").bind().status == datagrams.BOUND


def test_binds_of_one_source_address_are_limited_and_others_are_not_touched() -> None:
    scene = Scene(Limits(bind_burst=5.0, bind_rate=1.0))
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    for _ in range(5):
        anna.bind()
    assert scene.take(anna.datagram(), anna.endpoint) is None
    assert Peer(scene, (BEN, ANNA), "192.0.2.2").bind().status == datagrams.BOUND


def test_what_comes_before_the_other_end_is_there_reaches_it_when_it_binds() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    anna.prove()
    assert scene.data(anna.header + b"hello", 0, anna.endpoint) == []
    ben = Peer(scene, (BEN, ANNA), "192.0.2.2")
    ben.bind()
    assert scene.sent() == [(ben.endpoint, anna.header + b"hello", 17)]


def test_what_was_kept_for_too_long_is_dropped() -> None:
    scene = Scene()
    anna = Peer(scene, (ANNA, BEN), "192.0.2.1")
    anna.prove()
    scene.data(anna.header + b"hello", 0, anna.endpoint)
    scene.now += HELD_FOR + 0.1
    Peer(scene, (BEN, ANNA), "192.0.2.2").bind()
    assert scene.sent() == []


def test_another_rate_holds_at_once_for_clients_and_from_the_next_bind_for_channels() -> None:
    scene = Scene()
    anna, ben = Peer(scene, (ANNA, BEN), "192.0.2.1"), Peer(scene, (BEN, ANNA), "192.0.2.2")
    anna.bind()
    (channel,) = scene.allocations.channels.values()
    before = channel.quota.rate
    scene.allocations.limit(1_000.0)
    assert [end.client.quota.rate for end in channel.ends] == [1_000.0, 1_000.0]
    assert channel.quota.rate == before
    ben.bind()
    assert channel.quota.rate == 1_000.0
    Peer(scene, (ANNA, CARLA), "192.0.2.1").bind()
    assert {end.client.quota.rate for one in scene.allocations.channels.values() for end in one.ends} == {1_000.0}
