"""The client's own rules for targets hold whatever a mediator says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.candidates import MAX_CANDIDATES, MAX_TARGETS, TARGET_BURST, TargetBudget, is_private, select, subscriber, usable
from userlan.wire.endpoint import Endpoint

PUBLIC, OTHER = "198.51.100.1", "203.0.113.9"


@pytest.mark.parametrize(
    "host", ["224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0", "240.0.0.1", "ff02::1", "::", "nas", "", "1.2.3.4.5"]
)
def test_no_multicast_no_broadcast_no_reserved(host: str) -> None:
    assert not usable(Endpoint("udp", host, 41414), "10.0.0.1", True)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_are_ports(port: int) -> None:
    assert not usable(Endpoint("udp", OTHER, port), PUBLIC, False)


@pytest.mark.parametrize(
    ("host", "own", "same", "allowed"),
    [
        (OTHER, PUBLIC, False, True),
        ("192.168.1.5", PUBLIC, False, False),      # somebody else's private network
        ("192.168.1.5", PUBLIC, True, True),        # behind the same public address
        ("192.168.1.5", "192.168.1.2", False, True),     # the mediator is on the same site
        ("100.64.0.7", PUBLIC, False, False),
        ("fe80::1", PUBLIC, False, False),
        ("127.0.0.1", PUBLIC, False, False),
        ("127.0.0.1", "192.168.1.2", False, False),
        ("127.0.0.1", "127.0.0.1", False, True),    # everything on one computer
        ("2001:db8::7", PUBLIC, False, True),
    ],
)
def test_private_addresses_only_where_both_may_share_them(host: str, own: str, same: bool, allowed: bool) -> None:
    assert usable(Endpoint("udp", host, 41414), own, same) is allowed


def test_selection_is_capped_mixed_and_without_oneself() -> None:
    four = [Endpoint("udp", f"203.0.113.{n}", 41414) for n in range(1, 30)]
    six = [Endpoint("udp", f"2001:db8::{n}", 41414) for n in range(1, 30)]
    mapped = Endpoint("udp", "::ffff:203.0.113.1", 41414)
    chosen = select([*four, *six, mapped], PUBLIC, OTHER, frozenset({four[0]}))
    assert len(chosen) == MAX_CANDIDATES
    assert four[0] not in chosen
    assert {":" in endpoint.host for endpoint in chosen} == {True, False}


@given(st.lists(st.tuples(st.sampled_from(["udp", "tcp", "x"]), st.text(max_size=20), st.integers(-5, 70000)), max_size=40))
def test_any_claims_give_usable_endpoints_or_none(claims: list[tuple[str, str, int]]) -> None:
    for endpoint in select([Endpoint(*claim) for claim in claims], PUBLIC, OTHER):
        assert usable(endpoint, PUBLIC, False)
        assert not is_private(endpoint.host)


def test_a_target_has_a_budget_over_all_attempts() -> None:
    budget = TargetBudget()
    allowed = sum(budget.allow(OTHER, 0.0) for _ in range(1000))
    assert allowed == TARGET_BURST
    assert budget.refused == 1000 - allowed
    assert budget.allow("203.0.113.10", 0.0)
    assert sum(budget.allow(OTHER, 1.0) for _ in range(1000)) == 20
    for number in range(2 * MAX_TARGETS):
        budget.allow(f"host{number}", 2.0)
    assert budget.allow(OTHER, 100.0)


def test_whoever_names_ever_new_hosts_gives_none_its_budget_anew() -> None:
    budget = TargetBudget(50.0, 3072.0)
    now, sent = 0.0, 0
    for _ in range(5):
        sent += sum(budget.allow(OTHER, now) for _ in range(3072))
        for number in range(MAX_TARGETS + 1):       # one packet to each of so many others that the victim would be forgotten
            budget.allow(f"10.{number >> 8}.{number & 255}.1", now)
        now += 2.4      # 3,000 packets a second, as a node's punches may send in all
    assert sent <= 3072 + 50.0 * now
    assert len(budget) <= MAX_TARGETS


def test_a_host_is_refused_where_no_other_s_budget_is_whole() -> None:
    budget = TargetBudget(1.0, 2.0)
    assert all(budget.allow(f"10.{number >> 8}.{number & 255}.1", 0.0) for number in range(MAX_TARGETS))
    assert not budget.allow(OTHER, 0.0)
    assert budget.allow(OTHER, 2.0)


def test_the_addresses_of_one_ipv6_subscriber_have_one_budget() -> None:
    budget = TargetBudget(20.0, 40.0)       # RFC 6177: a /64 and no less is one site's
    assert sum(budget.allow(f"2001:db8:1:2::{number:x}", 0.0) for number in range(1000)) == 40
    assert budget.allow("2001:db8:1:3::1", 0.0)
    assert budget.allow("::ffff:192.0.2.1", 0.0)
    assert subscriber("::ffff:192.0.2.1") == subscriber("192.0.2.1") == "192.0.2.1"
    assert subscriber("fe80::1%eth0") == "fe80::"
