"""Create, join, leave, nick, lock, evict: what the asker and the others are told, and every refusal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mediator.harness import WALL_OFFSET, Client, Lab, states
from userlan.control import messages, refusals
from userlan.control.frames import Undecodable
from userlan.control.messages import (
    Challenge,
    Create,
    Done,
    EvictionNotice,
    Hello,
    Join,
    Leave,
    Lock,
    MemberChanged,
    MemberGone,
    NetworkGone,
    NetworkLocked,
    NetworkState,
    Nick,
    Prove,
    Refused,
    Welcome,
)
from userlan.lan.addresses import AddressRange
from userlan.lan.eviction import Eviction
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.limits import Limits

SECRET = NetworkSecret(b"s" * 16)
OTHER = NetworkSecret(b"o" * 16)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.directory.close()


def refused(outcome: Done | Refused, code: str, text: str = "") -> None:
    assert isinstance(outcome, Refused)
    assert outcome.code == code
    assert text in outcome.text
    assert outcome.text
    assert "\n" not in outcome.text


def home(lab: Lab, *names: str) -> list[Client]:
    """A network ``home`` with these members, the first its owner, nothing left unread."""
    clients = [lab.login(name) for name in names]
    assert isinstance(clients[0].create("home", SECRET), Done)
    for client in clients[1:]:
        assert isinstance(client.join("home", SECRET), Done)
    lab.run(1.0)
    for client in clients:
        client.received.clear()
    return clients


def test_hello_is_answered_by_welcome(lab: Lab) -> None:
    client = lab.client("Nas", "198.51.100.7")
    welcome = client.login()
    assert welcome.version == messages.PROTOCOL_VERSION
    assert welcome.name == "nas"
    assert welcome.range == "25.0.0.0/8"
    assert AddressRange.parse(welcome.range).usable(welcome.ipv4)
    assert (welcome.observed.host, welcome.observed.port, welcome.observed.kind) == ("198.51.100.7", 41414, "observed")
    assert welcome.wall == pytest.approx(WALL_OFFSET + lab.world.now, abs=1.0)
    assert welcome.networks == ()


def test_create_then_join(lab: Lab) -> None:
    ann, bob = lab.login("ann"), lab.login("bob")
    assert ann.create("home", SECRET) == Done(1, "ann")
    state = states(ann)["home"]
    assert (state.owner, [member.name for member in state.members]) == (ann.key, ["ann"])
    assert SECRET.verify_owner(state.attestation, "home", ann.key, state.owner_signing_public)
    ann.received.clear()
    assert bob.join("HOME", SECRET) == Done(1, "bob")
    state = states(bob)["home"]
    assert {member.name: member.online for member in state.members} == {"ann": True, "bob": True}
    assert {member.key: member.ipv4 for member in state.members}.keys() == {ann.key, bob.key}
    (changed,) = ann.take(MemberChanged)
    assert (changed.network, changed.member.key, changed.member.name, changed.member.online) == (
        "home",
        bob.key,
        "bob",
        True,
    )
    assert ann.all(NetworkState) == []
    assert bob.all(MemberChanged) == []


def test_a_member_joins_again_without_a_proof(lab: Lab) -> None:
    _, bob = home(lab, "ann", "bob")
    assert bob.request(Join(77, "home")) == Done(77, "bob")
    assert bob.take(Challenge) == []
    assert len(states(bob)["home"].members) == 2


def test_creating_again_after_a_lost_answer_is_no_error_but_another_network_is(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert isinstance(ann.create("home", SECRET), Done)
    refused(ann.create("home", OTHER), refusals.NETWORK_EXISTS, "home")
    refused(bob.create("Home", SECRET), refusals.NETWORK_EXISTS, "home")


@pytest.mark.parametrize("name", ["under_score", "-x", "näs", "123", "a.b", "localhost"])
def test_names_that_break_the_rules(lab: Lab, name: str) -> None:
    ann = lab.login("ann")
    refused(ann.create(name, SECRET), refusals.BAD_NAME)
    refused(ann.request(Join(50, name)), refusals.BAD_NAME)
    refused(ann.request(Nick(51, name)), refusals.BAD_NAME)
    rude = lab.client(name)
    rude.connect()
    refused(rude.expect(Refused), refusals.BAD_NAME)
    lab.run(1.0)
    assert rude.ended


def test_wrong_secret_then_too_many_attempts_then_the_right_one(lab: Lab) -> None:
    _, eve = home(lab, "ann")[0], lab.login("eve")
    for _ in range(lab.limits.failures_key + 1):
        refused(eve.join("home", OTHER), refusals.WRONG_SECRET, "home")
    refused(eve.join("home", SECRET), refusals.TOO_MANY_ATTEMPTS, "try again in")
    lab.run(lab.limits.wait_first + 0.1)
    assert isinstance(eve.join("home", SECRET), Done)


def test_the_wait_cannot_be_dodged_by_new_keys_from_one_address(lab: Lab) -> None:
    home(lab, "ann")
    outcomes = []
    for number in range(lab.limits.failures_address + 2):
        thief = lab.client(f"thief{number}", "198.51.99.9")
        thief.login()
        outcome = thief.join("home", OTHER)
        assert isinstance(outcome, Refused)
        outcomes.append(outcome.code)
        thief.bye()
        lab.run(0.1)
        thief.attachment.unplug()
    assert outcomes.count(refusals.WRONG_SECRET) == lab.limits.failures_address + 1
    assert outcomes[-1] == refusals.TOO_MANY_ATTEMPTS
    assert isinstance(lab.login("honest").join("home", SECRET), Done)


def test_guessing_network_names_costs_attempts_too(lab: Lab) -> None:
    eve = lab.login("eve")
    for number in range(lab.limits.failures_key + 1):
        refused(eve.join(f"guess-{number}", SECRET), refusals.NO_SUCH_NETWORK, f"guess-{number}")
    refused(eve.join("guess-x", SECRET), refusals.TOO_MANY_ATTEMPTS)


def test_a_signature_is_good_for_one_challenge_one_node_and_one_network(lab: Lab) -> None:
    (ann,) = home(lab, "ann")
    assert isinstance(ann.create("work", SECRET), Done)
    bob = lab.login("bob")
    bob.send(Join(1, "home"))
    nonce = bob.expect(Challenge).nonce
    for key, network, mediator in ((ann.key, "home", bob.mediator_key), (bob.key, "work", bob.mediator_key)):
        bob.send(Join(2, "home"))
        fresh = bob.expect(Challenge).nonce
        refused(bob.request(Prove(2, SECRET.sign_admission(fresh, key, network, mediator))), refusals.WRONG_SECRET)
    bob.send(Join(3, "home"))
    bob.expect(Challenge)
    old = SECRET.sign_admission(nonce, bob.key, "home", bob.mediator_key)
    refused(bob.request(Prove(3, old)), refusals.WRONG_SECRET)


def test_a_proof_without_a_challenge_and_one_that_comes_too_late(lab: Lab) -> None:
    home(lab, "ann")
    bob = lab.login("bob")
    refused(bob.request(Prove(1, b"s" * 64)), refusals.OUT_OF_ORDER)
    bob.send(Join(2, "home"))
    challenge = bob.expect(Challenge)
    proof = SECRET.sign_admission(challenge.nonce, bob.key, "home", bob.mediator_key)
    refused(bob.request(Prove(3, proof)), refusals.OUT_OF_ORDER)
    bob.send(Join(4, "home"))
    challenge = bob.expect(Challenge)
    lab.run(lab.limits.challenge + 1.0)
    proof = SECRET.sign_admission(challenge.nonce, bob.key, "home", bob.mediator_key)
    refused(bob.request(Prove(4, proof)), refusals.CHALLENGE_EXPIRED)


def test_names_are_unique_within_a_network(lab: Lab) -> None:
    ann, pc, pc_two, pc_three = home(lab, "ann", "pc", "PC", "pc")
    assert [member.name for member in lab.directory.members(1)] == ["ann", "pc", "pc-2", "pc-3"]
    refused(ann.request(Nick(9, "PC")), refusals.NAME_TAKEN, "home")
    assert ann.request(Nick(10, "Boss")) == Done(10, "boss")
    for client in (ann, pc, pc_two, pc_three):
        (changed,) = client.take(MemberChanged)
        assert (changed.member.key, changed.member.name) == (ann.key, "boss")
    ann.bye()
    lab.run(1.0)
    again = lab.client("boss", private_key=ann.private_key)
    assert again.login().name == "boss"


def test_a_node_that_comes_back_with_another_name_is_renamed(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    bob.bye()
    lab.run(1.0)
    ann.received.clear()
    again = lab.client("ann", private_key=bob.private_key)
    assert again.login().name == "ann"
    lab.run(0.5)
    assert [(changed.member.name, changed.member.online) for changed in ann.take(MemberChanged)] == [("ann-2", True)]


def test_leave(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert bob.request(Leave(9, "home")) == Done(9)
    assert bob.take(NetworkGone) == [NetworkGone("home", "left")]
    assert ann.take(MemberGone) == [MemberGone("home", bob.key, "left")]
    refused(bob.request(Leave(10, "home")), refusals.NOT_A_MEMBER)
    refused(bob.request(Leave(11, "nowhere")), refusals.NOT_A_MEMBER)
    assert isinstance(ann.request(Leave(12, "home")), Done)
    refused(bob.join("home", SECRET), refusals.NO_SUCH_NETWORK)


def test_lock(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    carol = lab.login("carol")
    refused(bob.request(Lock(9, "home", True)), refusals.NOT_THE_OWNER)
    refused(carol.request(Lock(9, "home", True)), refusals.NOT_A_MEMBER)
    carol.send(Join(1, "home"))
    challenge = carol.expect(Challenge)
    assert isinstance(ann.request(Lock(10, "home", True)), Done)
    assert bob.expect(NetworkLocked) == NetworkLocked("home", True)
    proof = SECRET.sign_admission(challenge.nonce, carol.key, "home", carol.mediator_key)
    refused(carol.request(Prove(1, proof)), refusals.LOCKED, "home")
    refused(carol.join("home", SECRET), refusals.LOCKED)
    assert isinstance(bob.join("home", SECRET), Done)
    assert isinstance(ann.request(Lock(11, "home", False)), Done)
    assert isinstance(carol.join("home", SECRET), Done)


def test_evict(lab: Lab) -> None:
    ann, bob, carol = home(lab, "ann", "bob", "carol")
    evict = ann.evict("home", 1, [bob.key], OTHER, [ann.key, carol.key])
    assert isinstance(ann.request(evict), Done)
    lab.run(0.5)
    assert bob.take(NetworkGone) == [NetworkGone("home", "evicted")]
    for client in (ann, bob, carol):
        assert client.take(EvictionNotice) == [EvictionNotice("home", evict.document)]
    for client in (ann, carol):
        assert client.take(MemberGone) == [MemberGone("home", bob.key, "evicted")]
    assert Eviction.from_bytes(evict.document).open(carol.private_key) == OTHER
    refused(bob.join("home", OTHER), refusals.EVICTED, "home")
    # Those who stay are members as before, without a new proof; newcomers need the new secret and learn who is out.
    assert carol.request(Join(9, "home")) == Done(9, "carol")
    dave = lab.login("dave")
    refused(dave.join("home", SECRET), refusals.WRONG_SECRET)
    assert isinstance(dave.join("home", OTHER), Done)
    assert dave.take(EvictionNotice) == [EvictionNotice("home", evict.document)]
    assert states(dave)["home"].serial == 1
    assert ann.request(evict) == Done(evict.request)


def test_who_was_away_learns_of_its_eviction_at_login(lab: Lab) -> None:
    ann, bob, carol = home(lab, "ann", "bob", "carol")
    for client in (bob, carol):
        client.bye()
    lab.run(1.0)
    evict = ann.evict("home", 1, [bob.key], OTHER, [ann.key, carol.key])
    assert isinstance(ann.request(evict), Done)
    for client in (bob, carol):
        client.received.clear()
        assert client.login().networks == (() if client is bob else ("home",))
        lab.run(0.5)
        assert client.take(EvictionNotice) == [EvictionNotice("home", evict.document)]
    assert bob.take(NetworkGone) == [NetworkGone("home", "evicted")]
    carol.greet = False
    carol.connect()
    lab.run(0.5)
    carol.received.clear()
    carol.send(Hello(1, "carol", evictions={"home": 1}))
    carol.expect(NetworkState)
    assert carol.take(EvictionNotice) == []


def test_evictions_that_are_refused(lab: Lab) -> None:
    ann, bob, carol = home(lab, "ann", "bob", "carol")
    good = ann.evict("home", 5, [bob.key], OTHER, [ann.key, carol.key])
    refused(carol.request(good), refusals.NOT_THE_OWNER)
    refused(ann.request(messages.Evict(80, "home", b"rubbish")), refusals.BAD_EVICTION)
    elsewhere = ann.evict("work", 5, [bob.key], OTHER, [ann.key])
    refused(ann.request(messages.Evict(81, "home", elsewhere.document)), refusals.BAD_EVICTION, "work")
    forged = carol.evict("home", 5, [bob.key], OTHER, [carol.key])
    refused(ann.request(messages.Evict(82, "home", forged.document)), refusals.BAD_EVICTION)
    altered = bytearray(good.document)
    altered[-1] ^= 1
    refused(ann.request(messages.Evict(83, "home", bytes(altered))), refusals.BAD_EVICTION, "signed")
    assert isinstance(ann.request(good), Done)
    older = ann.evict("home", 4, [carol.key], SECRET, [ann.key])
    refused(ann.request(older), refusals.STALE_EVICTION, "5")
    assert lab.directory.is_member(1, carol.key)


def test_a_later_eviction_can_let_somebody_back_in(lab: Lab) -> None:
    ann, bob, carol = home(lab, "ann", "bob", "carol")
    assert isinstance(ann.request(ann.evict("home", 1, [bob.key], OTHER, [ann.key, carol.key])), Done)
    third = NetworkSecret(b"t" * 16)
    assert isinstance(ann.request(ann.evict("home", 2, [carol.key], third, [ann.key])), Done)
    refused(bob.join("home", OTHER), refusals.WRONG_SECRET)
    assert isinstance(bob.join("home", third), Done)


def test_limits_on_networks_and_members(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(networks_owned=2, networks_joined=3, members=3, create_burst=4.0))
    ann, bob = lab.login("ann"), lab.login("bob")
    for name in ("one", "two"):
        assert isinstance(ann.create(name, SECRET), Done)
    refused(ann.create("three", SECRET), refusals.FULL, "2")
    assert isinstance(bob.create("four", SECRET), Done)
    for name in ("one", "two"):
        assert isinstance(bob.join(name, SECRET), Done)
    carol = lab.login("carol")
    assert isinstance(carol.create("five", SECRET), Done)
    refused(bob.join("five", SECRET), refusals.FULL, "leave one")
    assert isinstance(carol.join("one", SECRET), Done)
    refused(lab.login("dave").join("one", SECRET), refusals.FULL, "3 members")
    lab.directory.close()


def test_networks_made_from_one_address_are_paced(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(create_burst=3.0))
    outcomes = []
    for number in range(5):
        client = lab.client(f"pc{number}", "198.51.99.9")
        client.login()
        outcomes.append(client.create(f"net{number}", SECRET))
        client.bye()
        lab.run(0.1)
        client.attachment.unplug()
    assert [isinstance(outcome, Done) for outcome in outcomes] == [True, True, True, False, False]
    refused(outcomes[-1], refusals.TOO_MANY_REQUESTS)
    assert isinstance(lab.login("elsewhere").create("elsewhere", SECRET), Done)
    lab.directory.close()


def test_nicknames_are_paced(lab: Lab) -> None:
    (ann,) = home(lab, "ann")
    outcomes = [ann.request(Nick(100 + number, f"name{number}")) for number in range(12)]
    assert isinstance(outcomes[0], Done)
    refused(outcomes[-1], refusals.TOO_MANY_REQUESTS)


@pytest.mark.parametrize(
    ("version", "oldest", "chosen"), [(1, 0, 1), (1, 1, 1), (7, 1, 1), (7, 0, 0), (7, 2, 0), (0, 0, 0)]
)
def test_version_negotiation(lab: Lab, version: int, oldest: int, chosen: int) -> None:
    client = lab.client("pc")
    client.greet = False
    client.connect()
    lab.run(0.5)
    client.send(Hello(version, "pc", oldest=oldest))
    if chosen:
        assert client.expect(Welcome).version == chosen
    else:
        refusal = client.expect(Refused)
        assert refusal.code == refusals.PROTOCOL_VERSION
        assert "upgrade" in refusal.text
        assert str(oldest or version) in refusal.text
        lab.run(0.5)
        assert client.ended


def test_strangers_are_not_written_down(lab: Lab) -> None:
    client = lab.login("visitor")
    assert lab.directory.node(client.key) is None
    refused(client.join("nowhere", SECRET), refusals.NO_SUCH_NETWORK)
    assert lab.directory.node(client.key) is None
    assert isinstance(client.request(Nick(50, "guest")), Done)
    assert isinstance(client.create("home", SECRET), Done)
    node = lab.directory.node(client.key)
    assert node is not None
    assert node.name == "guest"


def test_a_locked_directory_refuses_and_changes_nothing(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    lab.directory.close()
    lab.path.rename(lab.path.with_suffix(".away"))
    lab.path.mkdir()
    refused(ann.request(Leave(9, "home")), refusals.UNAVAILABLE)
    refused(bob.request(Nick(10, "robert")), refusals.UNAVAILABLE)
    assert not any(isinstance(message, Undecodable) for _, message in ann.received)
    assert ann.take(NetworkGone) == []
    assert bob.take(MemberGone) == []


def test_create_needs_all_its_fields(lab: Lab) -> None:
    ann = lab.login("ann")
    assert isinstance(ann.request(Create(5, "home", b"a" * 31, b"b" * 32, b"c" * 32)), Refused)
    assert isinstance(ann.create("home", SECRET), Done)
