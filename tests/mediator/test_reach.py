"""Which endpoints are named to whom: the table of ``reach``, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.control.messages import MAX_CANDIDATES, Candidate
from userlan.mediator.reach import Sight, accepted, is_colocated, named, scope
from userlan.wire.endpoint import Endpoint

PUBLIC, OTHER_PUBLIC = "198.51.101.7", "203.0.114.9"


def sight(host: str, *offered: Candidate, port: int = 5000, transport: str = "udp", own: tuple[str, ...] = ()) -> Sight:
    endpoint = Endpoint(transport, host, port)
    return Sight(endpoint, offered, is_colocated(endpoint, own))


def observed(host: str, port: int = 5000) -> Candidate:
    return Candidate(host, port, "udp", "observed")


LOCAL = Candidate("192.168.1.5", 41414)
LOCAL_TCP = Candidate("192.168.1.5", 41414, "tcp")


@pytest.mark.parametrize(
    ("member", "reader", "expected"),
    [
        # two sites: the observed endpoint alone
        (sight(PUBLIC, LOCAL), sight(OTHER_PUBLIC), [observed(PUBLIC)]),
        # one public address: private ones too
        (sight(PUBLIC, LOCAL, LOCAL_TCP), sight(PUBLIC, port=6000), [observed(PUBLIC), LOCAL, LOCAL_TCP]),
        # the member's own public address, another transport
        (
            sight(PUBLIC, Candidate(PUBLIC, 41414, "tcp"), LOCAL),
            sight(OTHER_PUBLIC),
            [observed(PUBLIC), Candidate(PUBLIC, 41414, "tcp")],
        ),
        # a public address that nobody saw is a third party
        (sight(PUBLIC, Candidate("192.0.3.1", 53)), sight(OTHER_PUBLIC), [observed(PUBLIC)]),
        (sight(PUBLIC, Candidate("192.0.3.1", 53)), sight(PUBLIC), [observed(PUBLIC)]),
        # a mediator on the LAN sees private addresses
        (sight("192.168.1.5", LOCAL), sight("192.168.1.6"), [observed("192.168.1.5"), LOCAL]),
        # the member on the mediator's LAN, the reader outside: the private address is no help and is not named as seen
        (sight("192.168.1.5"), sight(PUBLIC), []),
        # loopback is for those on loopback
        (
            sight("127.0.0.1", Candidate("127.0.0.1", 41414, "tcp"), port=1),
            sight("127.0.0.1", port=2),
            [
                observed("127.0.0.1", 1),
                Candidate("", 1, "udp", "colocated"),
                Candidate("", 41414, "tcp", "colocated"),
                Candidate("127.0.0.1", 41414, "tcp"),
            ],
        ),
        # colocated with the mediator: the other puts in the address by which it reaches the mediator
        (
            sight("127.0.0.1", LOCAL_TCP, port=41414),
            sight("192.168.1.6"),
            [Candidate("", 41414, "udp", "colocated"), Candidate("", 41414, "tcp", "colocated"), LOCAL_TCP],
        ),
        (
            sight("192.168.1.5", port=41414, own=("192.168.1.5",)),
            sight(PUBLIC),
            [Candidate("", 41414, "udp", "colocated")],
        ),
        # framed TCP: nothing listens at the observed port
        (sight(PUBLIC, LOCAL, transport="tcp"), sight(PUBLIC), [LOCAL]),
        (sight(PUBLIC, LOCAL, transport="tcp"), sight(OTHER_PUBLIC), []),
        # IPv6: one /64 is one site
        (
            sight("2606:4700:1:2::5", Candidate("fd00::5", 1)),
            sight("2606:4700:1:2:aaaa::6"),
            [observed("2606:4700:1:2::5"), Candidate("fd00::5", 1)],
        ),
    ],
)
def test_what_is_named(member: Sight, reader: Sight, expected: list[Candidate]) -> None:
    assert list(named(member, reader)) == expected


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("100.64.1.1", "private"),
        ("169.254.1.1", "private"),
        ("fe80::1", "private"),
        ("fd00::1", "private"),
        ("8.8.8.8", "public"),
        ("2606:4700::1", "public"),
        ("224.0.0.1", "unusable"),
        ("ff02::1", "unusable"),
        ("0.0.0.0", "unusable"),
        ("::", "unusable"),
        ("255.255.255.255", "unusable"),
        ("240.0.0.1", "unusable"),
        ("example.org", "unusable"),
        ("", "unusable"),
    ],
)
def test_scopes(host: str, kind: str) -> None:
    assert scope(host) == kind


def test_what_a_node_offers_is_cleaned() -> None:
    offered = [
        Candidate("192.168.1.5", 1),
        Candidate("::ffff:192.168.1.5", 1),
        Candidate("224.0.0.1", 1),
        Candidate("", 1, "udp", "colocated"),
        Candidate("fe80::1%eth0", 1, "udp", "observed"),
        Candidate("localhost", 1),
    ]
    assert accepted(offered) == (Candidate("192.168.1.5", 1), Candidate("fe80::1", 1))


hosts = st.one_of(st.ip_addresses().map(str), st.sampled_from(["192.168.1.1", "127.0.0.1", "10.0.0.1", PUBLIC]))
candidates = st.builds(Candidate, hosts, st.integers(1, 65535), st.sampled_from(["udp", "tcp"]))
sights = st.builds(
    lambda host, port, offered: Sight(Endpoint("udp", host, port), accepted(offered), scope(host) == "loopback"),
    hosts,
    st.integers(1, 65535),
    st.lists(candidates, max_size=16),
)


@given(sights, sights)
@settings(deadline=None, max_examples=300)
def test_nobody_is_ever_sent_to_a_third_party(member: Sight, reader: Sight) -> None:
    chosen = named(member, reader)
    assert len(chosen) <= MAX_CANDIDATES
    assert len(set(chosen)) == len(chosen)
    for candidate in chosen:
        if candidate.kind == "colocated":
            assert candidate.host == ""
            assert member.colocated
        elif candidate.host != member.observed.host:
            assert scope(candidate.host) in ("private", "loopback")


MAPPED = Candidate(PUBLIC, 50000, "udp", "mapped")


@pytest.mark.parametrize(
    ("member", "reader", "expected"),
    [
        # the router maps another port of the address that the mediator sees
        (sight(PUBLIC, MAPPED), sight(OTHER_PUBLIC), [observed(PUBLIC), MAPPED]),
        # a session by framed TCP shows no port to send to, but the host
        (sight(PUBLIC, MAPPED, transport="tcp"), sight(OTHER_PUBLIC), [MAPPED]),
        # a third party's address, and a router's own private one
        (sight(PUBLIC, Candidate("192.0.3.1", 53, "udp", "mapped")), sight(OTHER_PUBLIC), [observed(PUBLIC)]),
        (sight(PUBLIC, Candidate("192.168.1.9", 53, "udp", "mapped")), sight(PUBLIC, port=6000), [observed(PUBLIC)]),
        # an address of the mediator's own network means something else to who is outside of it
        (sight("10.0.0.1", Candidate("10.0.0.1", 53, "udp", "mapped")), sight(PUBLIC), []),
        (
            sight("10.0.0.1", Candidate("10.0.0.1", 53, "udp", "mapped")),
            sight("10.0.0.2"),
            [observed("10.0.0.1"), Candidate("10.0.0.1", 53, "udp", "mapped")],
        ),
    ],
)
def test_a_mapped_endpoint_is_named_only_at_the_observed_host(member: Sight, reader: Sight, expected: list[Candidate]) -> None:
    assert list(named(member, reader)) == expected
