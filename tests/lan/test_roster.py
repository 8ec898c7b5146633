"""The roster: what a mediator claims is believed only as far as it can do no harm."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import public
from userlan.lan.addresses import AddressRange, ipv6_of, packed
from userlan.lan.members import StoredNetwork
from userlan.lan.roster import MAX_EVICTED, MAX_MEMBERS, MAX_NETWORKS, Changes, Member, Peer, Roster

OWN, ANNA, BEN, CARL = (public(name) for name in ("own", "anna", "ben", "carl"))
OWNER, SIGNING = public("owner"), public("signing")
HOSTS = {OWN: "25.1.0.1", ANNA: "25.1.0.2", BEN: "25.1.0.3", CARL: "25.1.0.4"}
NAMES = {OWN: "me", ANNA: "anna", BEN: "ben", CARL: "carl"}


def member(key: bytes, name: str = "", ipv4: str = "", online: bool = True, last_seen: float = 1e9) -> Member:
    host = ipv4 or HOSTS.get(key, "")
    return Member(key, name or NAMES[key], packed(host) if host else b"", online, last_seen)


def state(members: Sequence[Member], network: str = "home", **changes: object) -> StoredNetwork:
    plain = StoredNetwork(network, OWNER, SIGNING, b"a" * 32, False, 0, tuple(members))
    return msgspec.structs.replace(plain, **changes)


def roster(*networks: str) -> Roster:
    return Roster(OWN, networks or ("home",))


def filled() -> Roster:
    one = roster("home", "work")
    one.set_own("me", packed(HOSTS[OWN]))
    one.apply_network(state([member(OWN), member(ANNA), member(BEN)]))
    one.apply_network(state([member(OWN), member(BEN, "benjamin"), member(CARL, online=False)], "work"))
    return one


def test_peers_are_the_union_over_networks_without_the_node_itself() -> None:
    one = filled()
    assert set(one.peers) == {ANNA, BEN, CARL}
    ben = one.peer(BEN)
    assert ben == Peer(BEN, "ben", packed("25.1.0.3"), ipv6_of(BEN), True, 1e9, "node", ("home", "work"))
    assert ben.addresses == (packed("25.1.0.3"), ipv6_of(BEN))
    assert one.peer(OWN) is None
    assert OWN in one.networks["home"].members
    assert not one.counters


def test_the_name_that_a_network_gave() -> None:
    """Another member had the nickname there before: the members know this node by the other one."""
    one = filled()
    assert one.given_name == ""
    one.apply_member("work", member(OWN, "me-2"))
    assert (one.own_name, one.given_name) == ("me", "me-2")
    one.remove_network("work")
    assert one.given_name == ""


def test_a_step_says_what_changed() -> None:
    one = roster()
    assert one.apply_network(state([member(ANNA)])) == Changes(added=frozenset({ANNA}), any=True)
    assert one.apply_network(state([member(ANNA)])) == Changes()
    assert one.apply_network(state([member(ANNA)], locked=True)) == Changes(any=True)
    assert one.apply_member("home", member(BEN)) == Changes(added=frozenset({BEN}), any=True)
    assert one.apply_member("home", member(BEN, online=False)) == Changes(changed=frozenset({BEN}), any=True)
    assert one.apply_member("home", member(BEN, online=False)) == Changes()
    assert one.remove_member("home", BEN) == Changes(removed=frozenset({BEN}), any=True)
    assert one.remove_member("home", BEN) == Changes()
    assert one.remove_network("home") == Changes(removed=frozenset({ANNA}), any=True)
    assert one.remove_network("home") == Changes()
    assert one.apply_member("home", member(OWN)) == Changes()


def test_the_node_s_own_entry_is_shown_but_no_peer() -> None:
    one = roster()
    changes = one.apply_network(state([member(OWN)]))
    assert changes == Changes(any=True)
    assert one.networks["home"].members[OWN].name == "me"
    assert one.key_at(packed(HOSTS[OWN])) == OWN
    assert one.remove_member("home", OWN).removed == frozenset()


def test_leaving_one_of_two_networks_keeps_the_peer_and_its_addresses() -> None:
    one = filled()
    assert one.remove_network("home") == Changes(frozenset(), frozenset({ANNA}), frozenset({BEN}), True)
    assert one.peers[BEN].networks == ("work",)
    assert one.peers[BEN].name == "benjamin"
    assert one.key_at(packed("25.1.0.3")) == BEN
    assert one.key_at(packed("25.1.0.2")) is None
    assert one.key_at(ipv6_of(ANNA)) is None
    assert one.key_at(packed(HOSTS[OWN])) == OWN
    assert one.key_at(ipv6_of(OWN)) == OWN


def test_a_network_that_was_never_joined_is_ignored() -> None:
    one = roster("home")
    assert one.apply_network(state([member(ANNA)], "trap")) == Changes()
    assert one.apply_member("trap", member(ANNA)) == Changes()
    assert one.evict("trap", [ANNA], 1) == Changes()
    assert one.counters == {"network-unknown": 3}
    assert not one.peers


def test_an_unknown_ipv6_is_never_read() -> None:
    one = filled()
    assert one.peers[ANNA].ipv6 == ipv6_of(ANNA)
    assert one.addresses_of(ANNA)[1] == ipv6_of(ANNA)


@pytest.mark.parametrize("thief", [ANNA, OWN])
def test_of_two_members_with_one_ipv4_the_later_is_refused(thief: bytes) -> None:
    one = filled()
    refused = member(public("dora"), "dora", HOSTS[thief])
    assert one.apply_member("work", refused) == Changes()
    assert one.counters == {"address-taken": 1}
    assert one.key_at(packed(HOSTS[thief])) == thief
    assert public("dora") not in one.networks["work"].members


def test_a_refused_claim_leaves_the_member_as_it_was() -> None:
    one = filled()
    before = one.peers[ANNA]
    assert one.apply_member("home", member(ANNA, ipv4=HOSTS[BEN])) == Changes()
    assert one.peers[ANNA] == before


@pytest.mark.parametrize("ipv4", ["8.8.8.8", "25.0.0.1", "25.1.1.0", "25.1.1.255", "127.0.0.1"])
def test_an_ipv4_outside_the_range_or_the_rules_is_refused(ipv4: str) -> None:
    one = roster()
    one.apply_network(state([member(ANNA, ipv4=ipv4)]))
    assert not one.peers
    assert one.counters == {"address-out-of-range": 1}


def test_another_range_can_be_meant() -> None:
    one = Roster(OWN, ["home"], AddressRange.parse("10.20.0.0/16"))
    one.apply_network(state([member(ANNA, ipv4="10.20.3.4"), member(BEN)]))
    assert set(one.peers) == {ANNA}


def test_a_member_without_an_ipv4_has_its_ipv6() -> None:
    one = roster()
    one.apply_network(state([Member(ANNA, "anna")]))
    assert one.peers[ANNA].addresses == (ipv6_of(ANNA),)
    one.apply_member("home", member(ANNA))
    assert one.peers[ANNA].ipv4 == packed(HOSTS[ANNA])


@pytest.mark.parametrize("name", ["", "Anna", "x" * 64, "a b", "änna", "xn--nna-5na", "a\x1b[31m", "localhost", "12"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    one = roster()
    one.apply_network(state([Member(ANNA, name, packed(HOSTS[ANNA]))]))
    assert not one.peers
    assert one.counters == {"name-invalid": 1}


def test_a_key_of_another_size_is_refused() -> None:
    one = roster()
    one.apply_network(state([Member(b"short", "anna", packed(HOSTS[ANNA]))]))
    assert one.counters == {"key-malformed": 1}


@pytest.mark.parametrize("claimed", [math.nan, math.inf, -math.inf, -5.0, 1e300])
def test_a_time_that_cannot_be_is_mended(claimed: float) -> None:
    one = roster()
    one.apply_network(state([member(ANNA, last_seen=claimed)]))
    assert 0.0 <= one.peers[ANNA].last_seen < 1e10


def test_a_kind_that_is_none_counts_as_a_node() -> None:
    one = roster()
    one.apply_network(state([msgspec.structs.replace(member(ANNA), kind="<b>\n")]))
    assert one.peers[ANNA].kind == "node"


def test_members_beyond_the_cap_are_refused() -> None:
    one = roster()
    crowd = [Member(public(f"crowd {number}"), f"n{number}") for number in range(MAX_MEMBERS + 5)]
    one.apply_network(state(crowd))
    assert len(one.peers) == MAX_MEMBERS
    assert one.counters == {"members-excess": 5}
    one.apply_member("home", member(ANNA))
    assert ANNA not in one.peers
    one.remove_member("home", crowd[0].key)
    one.apply_member("home", member(ANNA))
    assert ANNA in one.peers


def test_networks_beyond_the_cap_cannot_be_joined() -> None:
    one = Roster(OWN, [f"n{number}" for number in range(MAX_NETWORKS)])
    one.expect("n0")
    with pytest.raises(ValueError, match="64 networks"):
        one.expect("one-more")
    one.forget("n0")
    one.expect("one-more")
    with pytest.raises(ValueError, match="network name"):
        one.expect("not a name")


def test_the_first_owner_stays_until_the_network_is_forgotten() -> None:
    one = filled()
    other = state([member(CARL)], owner_signing_public=public("mallory"))
    assert one.apply_network(other) == Changes()
    assert one.counters == {"owner-changed": 1}
    assert ANNA in one.peers
    one.remove_network("home")
    assert one.apply_network(other) == Changes()
    one.forget("home")
    one.expect("home")
    assert one.apply_network(other).any
    assert one.networks["home"].owner_signing_public == public("mallory")


def test_a_network_with_malformed_keys_is_refused() -> None:
    one = roster()
    for change in ({"owner": b""}, {"owner_signing_public": b"x"}, {"attestation": b"x" * 65}, {"serial": -1}):
        assert one.apply_network(state([member(ANNA)], **change)) == Changes()
    assert one.counters == {"network-malformed": 4}


def test_an_evicted_key_stays_out_whatever_the_mediator_says() -> None:
    one = filled()
    changes = one.evict("home", [ANNA, BEN], 3)
    assert changes == Changes(frozenset(), frozenset({ANNA}), frozenset({BEN}), True)
    assert one.networks["home"].serial == 3
    assert one.peers[BEN].networks == ("work",)
    one.apply_network(state([member(OWN), member(ANNA), member(BEN)]))
    one.apply_member("home", member(ANNA))
    assert one.counters == {"member-evicted": 3}
    assert set(one.networks["home"].members) == {OWN}
    assert one.evict("home", [ANNA, BEN], 3) == Changes()
    assert one.evicted("home") == {ANNA, BEN}
    assert one.evicted("work") == frozenset()


def test_an_eviction_may_come_before_the_network_s_state() -> None:
    one = roster()
    assert one.evict("home", [ANNA], 1).any
    one.apply_network(state([member(ANNA), member(BEN)]))
    assert set(one.peers) == {BEN}


def test_the_newest_document_s_keys_stay_when_there_are_too_many() -> None:
    one = roster()
    one.evict("home", [number.to_bytes(32, "big") for number in range(MAX_EVICTED)], 1)
    one.evict("home", [ANNA], 2)
    assert ANNA in one.evicted("home")
    assert len(one.evicted("home")) <= MAX_EVICTED
    assert one.counters["evicted-excess"] == 1


def test_own_name_and_address() -> None:
    one = roster()
    assert list(one.own_addresses) == [ipv6_of(OWN)]
    assert one.set_own("me", packed("25.1.0.1")) == Changes(any=True)
    assert one.set_own("me", packed("25.1.0.1")) == Changes()
    assert one.own_addresses == (packed("25.1.0.1"), ipv6_of(OWN))
    assert one.key_at(packed("25.1.0.1")) == OWN
    one.set_own("me", packed("25.1.0.9"))
    assert one.key_at(packed("25.1.0.1")) is None
    assert one.key_at(packed("25.1.0.9")) == OWN


def test_an_own_name_or_address_that_cannot_be_is_refused() -> None:
    one = filled()
    assert one.set_own("not a name", packed("8.8.8.8")) == Changes()
    assert one.set_own("me", packed(HOSTS[ANNA])) == Changes()
    assert one.counters == {"own-name-invalid": 1, "own-address-refused": 2}
    assert one.own_addresses[0] == packed(HOSTS[OWN])


def test_nobody_is_online_without_a_mediator() -> None:
    one = filled()
    assert one.all_offline() == Changes(changed=frozenset({ANNA, BEN}), any=True)
    assert not any(peer.online for peer in one.peers.values())
    assert set(one.peers) == {ANNA, BEN, CARL}
    assert one.all_offline() == Changes()


def test_a_renamed_member_is_found_by_its_new_name_only() -> None:
    one = filled()
    one.apply_member("home", member(ANNA, "anne"))
    assert one.keys_named("home", "anne") == {ANNA}
    assert one.keys_named("home", "anna") == frozenset()
    assert set(one.names("home")) == {"me", "anne", "ben"}


def test_members_cannot_be_changed_from_outside() -> None:
    one = filled()
    with pytest.raises(TypeError):
        one.networks["home"].members[CARL] = member(CARL)  # type: ignore[index]


def test_a_snapshot_restores_everything_but_presence() -> None:
    one = filled()
    one.evict("home", [CARL], 2)
    copied = json.loads(json.dumps(one.snapshot()))
    other = roster("home", "work")
    changes = other.restore(copied)
    assert changes.added == {ANNA, BEN, CARL}
    one.all_offline()
    assert other.snapshot() == one.snapshot()
    assert dict(other.peers) == dict(one.peers)
    other.apply_member("home", member(CARL))
    assert other.counters == {"member-evicted": 1}
    other.remove_network("home")
    assert other.apply_network(state([], owner_signing_public=public("mallory"))) == Changes()


def test_a_snapshot_brings_no_network_that_was_left() -> None:
    other = roster("work")
    other.restore(filled().snapshot())
    assert set(other.networks) == {"work"}


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"own_key": "AAAA"}, {"networks": 3}, {"evicted": [1]}, {"networks": [{"network": "home"}]}],
)
def test_a_snapshot_that_is_none_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="this"):
        roster().restore(filled().snapshot() | change)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(JSON)
def test_any_json_is_no_snapshot(value: object) -> None:
    with pytest.raises(ValueError, match="this is no roster"):
        roster().restore(value)


KEYS = [OWN, ANNA, BEN, CARL]
MEMBERS = st.builds(
    Member,
    st.sampled_from([*KEYS, b"", b"x" * 31]),
    st.sampled_from(["anna", "ben", "x", "", "not a name"]),
    st.sampled_from([packed(f"25.1.0.{last}") for last in range(1, 5)] + [b"", b"abc", b"\x08\x08\x08\x08"]),
    st.booleans(),
    st.floats(),
    st.text(max_size=20),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("network"), st.sampled_from(["home", "work", "trap"]), st.lists(MEMBERS, max_size=6)),
        st.tuples(st.just("member"), st.sampled_from(["home", "work", "trap"]), MEMBERS),
        st.tuples(st.just("gone"), st.sampled_from(["home", "work", "trap"]), st.sampled_from(KEYS)),
        st.tuples(st.just("forget"), st.sampled_from(["home", "work", "trap"]), st.none()),
        st.tuples(st.just("evict"), st.sampled_from(["home", "work"]), st.sampled_from(KEYS)),
        st.tuples(st.just("own"), st.sampled_from(["me", "", "anna"]), st.sampled_from(["25.1.0.1", "25.1.0.2"])),
        st.tuples(st.just("offline"), st.none(), st.none()),
    ),
    max_size=25,
)


def do(one: Roster, step: tuple[str, object, object]) -> Changes:
    match step:
        case ("network", str(network), list(members)):
            return one.apply_network(state(members, network))
        case ("member", str(network), Member() as claim):
            return one.apply_member(network, claim)
        case ("gone", str(network), bytes(key)):
            return one.remove_member(network, key)
        case ("forget", str(network), _):
            changes = one.forget(network)
            one.expect(network if network != "trap" else "home")
            return changes
        case ("evict", str(network), bytes(key)):
            return one.evict(network, [key], 1)
        case ("own", str(name), str(literal)):
            return one.set_own(name, packed(literal))
        case _:
            return one.all_offline()


@settings(deadline=None, max_examples=300)
@given(STEPS)
def test_whatever_is_claimed_the_roster_is_consistent(steps: list[tuple[str, object, object]]) -> None:
    one = roster("home", "work")
    known: dict[bytes, Peer] = {}
    for step in steps:
        changes = do(one, step)
        assert changes.added == set(one.peers) - set(known)
        assert changes.removed == set(known) - set(one.peers)
        assert changes.changed == {key for key, peer in one.peers.items() if known.get(key, peer) != peer}
        known = dict(one.peers)
        seen: dict[bytes, bytes] = dict.fromkeys(one.own_addresses, OWN)
        for name, network in one.networks.items():
            assert not set(network.members) & one.evicted(name)
            for key, found in network.members.items():
                for address in filter(None, (found.ipv4, found.ipv6)):
                    assert seen.setdefault(address, key) == key
                assert key in one.keys_named(name, found.name)
                assert key == OWN or name in one.peers[key].networks
        for last in range(1, 5):
            address = packed(f"25.1.0.{last}")
            assert one.key_at(address) == seen.get(address)
    other = Roster(OWN, ["home", "work"])
    other.restore(json.loads(json.dumps(one.snapshot())))
    one.all_offline()
    assert set(other.peers) == set(one.peers)


def test_an_own_address_that_an_own_membership_still_has_stays_the_node_s() -> None:
    one = roster()
    one.set_own("me", packed("25.1.0.1"))
    one.apply_network(state([member(OWN)]))
    one.set_own("me", packed("25.1.0.9"))
    assert one.key_at(packed("25.1.0.1")) == OWN
    one.apply_member("home", member(OWN, ipv4="25.1.0.9"))
    assert one.key_at(packed("25.1.0.1")) is None
    assert one.key_at(packed("25.1.0.9")) == OWN
