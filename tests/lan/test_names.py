"""Names: what is one, and which member it means."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import public
from tests.lan.test_roster import ANNA, BEN, CARL, OWN, filled, member, state
from userlan.lan import names
from userlan.lan.addresses import ipv6_of, key_text, packed, text
from userlan.lan.hostport import check_host, split_host_port
from userlan.lan.names import AmbiguousName, Resolver, UnknownName, check_network, check_nick, suggest_nick
from userlan.lan.roster import Member, Roster

LABEL = set(string.ascii_lowercase + string.digits + "-")


@pytest.mark.parametrize("name", ["nas", "NAS", "a", "my-nas-2", "x" * 63, "0day", "de"])
def test_what_is_a_name(name: str) -> None:
    assert check_nick(name) == name.lower()
    assert check_network(name) == name.lower()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("x" * 64, "too long: 64"),
        ("my nas", "' '"),
        ("my_nas", "'_'"),
        ("nаs", "'а'"),  # a Cyrillic letter that looks like the Latin one
        ("na\u212a", "only letters"),
        ("nas\n", "only letters"),
        ("nas.home", "'.'"),
        ("-nas", "hyphen"),
        ("nas-", "hyphen"),
        ("12345", "number"),
        ("0x7f", "number"),
        ("xn--80ak6aa92e", "reserved"),
        ("localhost", "reserved"),
        ("WPAD", "reserved"),
    ],
)
def test_what_is_none_says_why(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        check_nick(name)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match="network name"):
        check_network(name)


@pytest.mark.parametrize(
    ("hostname", "nick"),
    [
        ("MacBook Pro von Jürgen", "macbook-pro-von-juergen"),
        ("Jürgen’s MacBook.local", "juergens-macbook-local"),
        ("Ju\u0308rgen", "juergen"),
        ("MacBook-Pro.local", "macbook-pro"),
        ("nas.example.com", "nas"),
        ("DESKTOP_4F2", "desktop-4f2"),
        ("Łódź", "lodz"),
        ("１２３", "node-123"),
        ("localhost.localdomain", "node-localhost"),
        ("0x12", "node-0x12"),
        ("客厅", "node"),
        ("", "node"),
        ("---", "node"),
        ("a" * 100, "a" * 63),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_a_nickname_is_suggested(hostname: str, nick: str) -> None:
    assert suggest_nick(hostname) == nick


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=100))
def test_any_host_name_gives_a_nickname(hostname: str) -> None:
    nick = suggest_nick(hostname)
    assert check_nick(nick) == nick
    assert set(nick) <= LABEL


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=70) | st.text(alphabet="abAB09-x.", max_size=70))
def test_any_text_is_a_name_or_a_value_error(written: str) -> None:
    try:
        name = check_nick(written)
    except ValueError:
        return
    assert check_nick(name) == name
    assert 1 <= len(name) <= 63
    assert set(name) <= LABEL


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert names.distinct_nick("nas", {"other"}) == "nas"
    assert names.distinct_nick("nas", {"nas", "nas-2"}) == "nas-3"
    long = "x" * 61 + "-y"
    assert names.distinct_nick(long, {long}) == "x" * 61 + "-2"


@pytest.mark.parametrize(
    "name", ["anna", "ANNA", "anna.", "anna.home", "Anna.Home.Internal.", "25.1.0.2", text(ipv6_of(ANNA))]
)
def test_ways_to_name_a_member(name: str) -> None:
    resolver = Resolver(filled())
    assert resolver.find(name).key == ANNA
    assert resolver.find(name).name == "anna"
    assert resolver.is_lan(name)
    literal = ipv6_of(ANNA) if ":" in name else packed("25.1.0.2")
    assert resolver.resolve(name) == literal


def test_a_key_means_its_member_whoever_has_the_name() -> None:
    resolver = Resolver(filled())
    for key in (BEN, OWN):
        assert resolver.find(key_text(key)).key == key
    with pytest.raises(UnknownName):
        resolver.find(key_text(b"\x01" * 32))


def test_an_ipv6_literal_may_stand_in_brackets() -> None:
    assert Resolver(filled()).resolve(f"[{text(ipv6_of(ANNA))}]") == ipv6_of(ANNA)


def test_addresses_come_with_ipv4_first() -> None:
    assert Resolver(filled()).find("anna").addresses == (packed("25.1.0.2"), ipv6_of(ANNA))


@pytest.mark.parametrize("name", ["me", "ME.home", "me.work.internal", "25.1.0.1", text(ipv6_of(OWN))])
def test_ways_to_name_the_node_itself(name: str) -> None:
    assert Resolver(filled()).find(name).key == OWN


def test_the_own_name_resolves_before_any_network_is_known() -> None:
    one = Roster(OWN)
    one.set_own("me", packed("25.1.0.1"))
    assert Resolver(one).find("me").addresses == (packed("25.1.0.1"), ipv6_of(OWN))
    assert Resolver(one).is_lan("me")


def test_a_member_may_have_another_name_in_each_network() -> None:
    resolver = Resolver(filled())
    assert resolver.find("ben").key == resolver.find("benjamin").key == BEN
    assert resolver.find("benjamin.work").key == BEN
    with pytest.raises(UnknownName, match=r"no member is called 'benjamin' in the network 'home'"):
        resolver.find("benjamin.home")


def test_a_short_name_of_two_members_names_the_choices() -> None:
    one = filled()
    one.apply_member("work", member(CARL, "anna"))
    with pytest.raises(AmbiguousName) as caught:
        Resolver(one).resolve("anna")
    assert str(caught.value) == "'anna' is the name of 2 members: say anna.home or anna.work"
    assert caught.value.nearest == ("anna.home", "anna.work")
    assert Resolver(one).find("anna.work").key == CARL
    assert Resolver(one).is_lan("anna")


def test_the_own_name_is_ambiguous_too_when_a_peer_has_it() -> None:
    one = filled()
    one.remove_member("work", OWN)
    one.apply_member("work", member(CARL, "me"))
    with pytest.raises(AmbiguousName, match=r"say me\.home or me\.work"):
        Resolver(one).resolve("me")


def test_a_peer_that_bears_the_name_that_this_node_wanted_is_meant_by_it() -> None:
    """Two people of one computer: the second one is me-2 in the network, and `me` there is the first one."""
    one = filled()
    one.remove_member("work", OWN)
    one.apply_member("home", member(OWN, "me-2"))
    one.apply_member("work", member(CARL, "me"))
    assert Resolver(one).find("me").key == CARL
    assert Resolver(one).find("me-2").key == OWN


def test_one_name_twice_in_one_network_is_told_by_address() -> None:
    one = filled()
    one.apply_member("home", Member(public("dora"), "anna", packed("25.1.0.9")))
    for name in ("anna", "anna.home"):
        with pytest.raises(AmbiguousName, match=r"say 25\.1\.0\.2 or 25\.1\.0\.9"):
            Resolver(one).resolve(name)


def test_an_unknown_name_says_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no member is called 'ana': did you mean 'anna'") as caught:
        Resolver(filled()).resolve("ana")
    assert caught.value.nearest[0] == "anna"
    with pytest.raises(UnknownName, match="in no network 'hom': did you mean 'home'"):
        Resolver(filled()).resolve("anna.hom.internal")


@pytest.mark.parametrize("name", ["25.9.9.9", "fd75:6c61:6e00::1", "8.8.8.8"])
def test_an_address_that_no_member_has(name: str) -> None:
    with pytest.raises(UnknownName, match="no member has the address"):
        Resolver(filled()).resolve(name)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("anna", True),
        ("ana", False),
        ("ana.home", False),
        ("ana.home.internal", True),
        ("metadata.google.internal", False),
        ("example.com", False),
        ("anna.home.example.com", False),
        ("25.9.9.9", True),
        ("fd75:6c61:6e00::1", True),
        ("8.8.8.8", False),
        ("::1", False),
        ("", False),
        ("a b", False),
        ("x" * 300, False),
    ],
)
def test_which_hosts_are_the_lan_s(host: str, ours: bool) -> None:
    assert Resolver(filled()).is_lan(host) is ours


@pytest.mark.parametrize("network", ["com", "de"])
def test_a_network_named_as_a_public_domain_takes_nobody_s_name(network: str) -> None:
    one = Roster(OWN, [network, "home"])
    one.apply_network(state([Member(ANNA, "google", packed("25.1.0.2"))], network))
    resolver = Resolver(one)
    assert not resolver.is_lan(f"google.{network}")
    with pytest.raises(UnknownName):
        resolver.resolve(f"google.{network}")
    assert resolver.find(f"google.{network}.internal").key == ANNA
    one.apply_network(state([Member(BEN, "google", packed("25.1.0.3"))]))
    with pytest.raises(AmbiguousName, match=rf"google\.{network}\.internal or google\.home"):
        resolver.resolve("google")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=80) | st.text(alphabet="anhome.25:[]I ", max_size=20))
def test_any_text_resolves_or_is_unknown(written: str) -> None:
    resolver = Resolver(filled())
    try:
        answer = resolver.find(written)
    except UnknownName:
        return
    assert answer.addresses
    assert resolver.is_lan(written)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("nas:80", ("nas", 80)),
        ("NAS.Home.:65535", ("nas.home.", 65535)),
        ("[FD75::1]:1", ("fd75::1", 1)),
        ("25.1.2.3:22", ("25.1.2.3", 22)),
    ],
)
def test_host_and_port(written: str, read: tuple[str, int]) -> None:
    assert split_host_port(written) == read


@pytest.mark.parametrize(
    "written",
    [
        *("nas", "nas:", ":80", "nas:0", "nas:65536", "nas:8 0", "nas:\u0663", "nas..x:1", "a b:1"),
        *("fd75::1", "[nas]:1", "[::1", "[::1]x", "[::1%eth0]:1", "1.2.3:1", "1.2.3.4.:1:1"),
    ],
)
def test_what_is_no_host_and_port_says_why(written: str) -> None:
    with pytest.raises(ValueError, match=r"'") as caught:
        split_host_port(written)
    assert len(str(caught.value).splitlines()) == 1


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | st.text(alphabet="a1.:[]-", max_size=20))
def test_any_text_is_host_and_port_or_a_value_error(written: str) -> None:
    try:
        host, port = split_host_port(written, 41414)
    except ValueError:
        return
    assert check_host(host) == host
    assert 1 <= port <= 65535
