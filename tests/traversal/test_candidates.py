"""The client's own rules for targets hold whatever a mediator says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.candidates import MAX_CANDIDATES, MAX_TARGETS, TARGET_BURST, TargetBudget, is_private, select, usable
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
