"""The switch: packets go to whom the address belongs, and are believed from nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.lan.test_roster import ANNA, BEN, CARL, HOSTS, OWN, STEPS, do, filled, member, roster, state
from userlan.lan.addresses import AddressRange, ipv6_of, packed
from userlan.lan.switch import MAX_ADDRESSES, Switch


def following() -> Switch:
    switch = Switch()
    one = roster("home")
    switch.follow(one, one.apply_network(state([member(OWN), member(ANNA), member(BEN)])))
    return switch


def test_both_addresses_of_a_member_lead_to_it_and_are_believed_from_it() -> None:
    switch = following()
    for address in (packed(HOSTS[ANNA]), ipv6_of(ANNA)):
        assert switch.route(address) == ANNA
        assert switch.permitted(ANNA, address)
    assert not switch.counters


@pytest.mark.parametrize(
    "source",
    [packed(HOSTS[ANNA]), ipv6_of(ANNA), packed(HOSTS[OWN]), ipv6_of(OWN), packed("25.9.9.9"), packed("8.8.8.8"), b""],
)
def test_a_forged_source_is_refused_and_counted(source: bytes) -> None:
    switch = following()
    assert not switch.permitted(BEN, source)
    assert switch.counters == {"source-forged": 1}


def test_nothing_of_a_stranger_is_believed() -> None:
    switch = following()
    assert not switch.permitted(CARL, ipv6_of(CARL))
    assert not switch.permitted(CARL, packed(HOSTS[CARL]))


@pytest.mark.parametrize(
    ("destination", "counter"),
    [
        ("25.9.9.9", "no-route"),
        ("fd75:6c61:6e00::1", "no-route"),
        ("8.8.8.8", "no-route"),
        (HOSTS[OWN], "no-route"),
    ],
)
def test_what_goes_to_nobody_is_counted(destination: str, counter: str) -> None:
    switch = following()
    assert switch.route(packed(destination)) is None
    assert switch.counters == {counter: 1}


@pytest.mark.parametrize("group", ["224.0.0.251", "239.255.255.250", "ff02::fb", "ff3e::1", "255.255.255.255", "25.255.255.255"])
def test_what_goes_to_many_is_told_apart_and_has_no_single_peer(group: str) -> None:
    switch = following()
    assert switch.route(packed(group)) is None
    assert switch.is_group(packed(group))
    assert switch.is_broadcast(packed(group)) == group.endswith(".255.255.255")
    assert not switch.counters


@pytest.mark.parametrize("address", [HOSTS[ANNA], "25.9.9.9", "8.8.8.8", "240.0.0.1", "fe80::1", "10.255.255.255"])
def test_a_host_s_address_is_no_group(address: str) -> None:
    switch = following()
    assert not switch.is_group(packed(address))
    assert not switch.is_broadcast(packed(address))


def test_the_broadcast_address_is_the_range_s() -> None:
    switch = Switch(AddressRange.parse("10.20.0.0/16"))
    assert switch.is_broadcast(packed("10.20.255.255"))
    assert not switch.is_broadcast(packed("25.255.255.255"))


def test_a_peer_that_left_is_forgotten_and_one_that_moved_is_found() -> None:
    one = filled()
    switch = Switch()
    switch.follow(one, one.all_offline()._replace(added=frozenset(one.peers)))
    switch.follow(one, one.remove_network("home"))
    assert switch.route(packed(HOSTS[ANNA])) is None
    assert not switch.permitted(ANNA, ipv6_of(ANNA))
    assert switch.route(packed(HOSTS[BEN])) == BEN
    switch.follow(one, one.apply_member("work", member(BEN, "benjamin", "25.7.7.7")))
    assert switch.route(packed("25.7.7.7")) == BEN
    assert switch.route(packed(HOSTS[BEN])) is None
    assert switch.addresses(BEN) == (packed("25.7.7.7"), ipv6_of(BEN))


def test_an_address_that_another_peer_has_is_refused() -> None:
    switch = following()
    switch.learn(CARL, [packed(HOSTS[ANNA]), packed(HOSTS[CARL])])
    assert switch.route(packed(HOSTS[ANNA])) == ANNA
    assert switch.addresses(CARL) == (packed(HOSTS[CARL]),)
    assert switch.counters == {"address-taken": 1}


def test_a_peer_has_no_more_addresses_than_the_cap() -> None:
    switch = Switch()
    switch.learn(ANNA, [packed(f"25.1.1.{last}") for last in range(1, 9)])
    assert len(switch.addresses(ANNA)) == MAX_ADDRESSES
    switch.forget(ANNA)
    switch.forget(ANNA)
    assert switch.addresses(ANNA) == ()


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_the_table_is_the_roster_s_whatever_is_claimed(steps: list[tuple[str, object, object]]) -> None:
    one, switch = roster("home", "work"), Switch()
    for step in steps:
        switch.follow(one, do(one, step))
        for key, peer in one.peers.items():
            assert all(switch.route(address) == key and switch.permitted(key, address) for address in peer.addresses)
        for key in (OWN, ANNA, BEN, CARL):
            assert set(switch.addresses(key)) == set(one.addresses_of(key) if key != OWN else ())
