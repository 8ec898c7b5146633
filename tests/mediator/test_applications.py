"""Networks whose owner approves: what applicant, owner and members are told, what is kept, every refusal and every cap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.mediator.harness import WALL_OFFSET, Client, Lab, states
from userlan.control import refusals
from userlan.control.meeting import Introduce
from userlan.control.messages import (
    Applicants,
    ApplicantState,
    ApplicationEnded,
    Applied,
    Approve,
    Challenge,
    CreateWithApproval,
    Deny,
    Done,
    Join,
    Leave,
    Lock,
    MemberChanged,
    MemberGone,
    NetworkState,
    Nick,
    Prove,
    Refused,
)
from userlan.lan.eviction import NOBODY
from userlan.lan.secrets import NetworkSecret, OwnerSigning
from userlan.mediator.directory import Directory
from userlan.mediator.limits import Limits

SECRET = NetworkSecret(b"s" * 16)
OTHER = NetworkSecret(b"o" * 16)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.directory.close()


def create(client: Client, name: str = "home") -> Done | Refused:
    signing = OwnerSigning(client.private_key).public
    attestation = SECRET.attest_owner(name, client.key, signing)
    return client.request(CreateWithApproval(client.number(), name, SECRET.admission_public, signing, attestation))


def waits(outcome: Done | Refused) -> bool:
    return isinstance(outcome, Refused) and outcome.code == refusals.WAITING


def code(outcome: Done | Refused) -> str:
    assert isinstance(outcome, Refused)
    assert outcome.text
    assert "\n" not in outcome.text
    return outcome.code


def home(lab: Lab, *names: str) -> list[Client]:
    """The owner of ``home`` and others that are online, nothing left unread."""
    clients = [lab.login(name) for name in names]
    assert isinstance(create(clients[0]), Done)
    lab.run(0.5)
    for client in clients:
        client.received.clear()
    return clients


def listed(client: Client) -> list[str]:
    """Who waits, as the owner was told last."""
    return [one.name for one in client.all(Applicants)[-1].applicants]


def test_an_applicant_is_told_for_whom_it_waits_and_the_owner_who_asks(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    outcome = bob.join("HOME", SECRET)
    assert waits(outcome)
    assert "ann" in getattr(outcome, "text", "")
    (applied,) = bob.take(Applied)
    assert (applied.network, applied.owner, applied.owner_name) == ("home", ann.key, "ann")
    assert applied.since == pytest.approx(WALL_OFFSET + lab.world.now, abs=1)
    assert ann.expect(Applicants) == Applicants("home", (ApplicantState(bob.key, "bob", applied.since),))
    assert bob.all(NetworkState) == []
    assert lab.directory.node(bob.key) is None      # nothing is written for life yet
    lab.run(2)
    assert ann.all(Introduce) == []


def test_asking_again_is_the_same_application(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    assert waits(bob.join("home", SECRET))
    assert len({applied.since for applied in bob.take(Applied)}) == 1
    assert len(ann.all(Applicants)) == 1


def test_approval_makes_a_member_and_everybody_hears_of_it(lab: Lab) -> None:
    ann, bob, cat = home(lab, "ann", "bob", "cat")
    assert waits(bob.join("home", SECRET))
    assert ann.request(Approve(90, "home", bob.key)) == Done(90)
    lab.run(0.5)
    state = states(bob)["home"]
    assert state.approval
    assert sorted(member.name for member in state.members) == ["ann", "bob"]
    assert [change.member.name for change in ann.take(MemberChanged)] == ["bob"]
    assert listed(ann) == []
    assert ann.request(Approve(91, "home", bob.key)) == Done(91)      # asked again after a lost answer
    assert waits(cat.join("home", SECRET))
    assert bob.all(Applicants) == []        # the owner's matter alone
    lab.run(2)
    assert bob.key in {introduce.peer for introduce in ann.all(Introduce)}


def test_approval_of_one_that_is_away(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    bob.bye()
    lab.run(1)
    assert ann.request(Approve(90, "home", bob.key)) == Done(90)
    lab.run(0.5)
    (changed,) = ann.take(MemberChanged)
    assert (changed.member.name, changed.member.online) == ("bob", False)
    bob.received.clear()
    welcome = bob.login()
    assert welcome.networks == ("home",)
    assert welcome.ipv4 == changed.member.ipv4
    assert "home" in states(bob) or bob.expect(NetworkState).network == "home"


def test_denial(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    assert ann.request(Deny(90, "home", bob.key)) == Done(90)
    ended = bob.expect(ApplicationEnded)
    assert (ended.network, ended.code) == ("home", refusals.DENIED)
    assert listed(ann) == []
    assert ann.request(Deny(91, "home", bob.key)) == Done(91)
    assert code(ann.request(Approve(92, "home", bob.key))) == refusals.NO_SUCH_APPLICANT
    assert code(bob.join("home", SECRET)) == refusals.DENIED
    assert lab.directory.node(bob.key) is None
    lab.run(lab.limits.denied)
    assert code(ann.request(Deny(93, "home", bob.key))) == refusals.NO_SUCH_APPLICANT, "what has lapsed is no application"
    assert waits(bob.join("home", SECRET))
    assert listed(ann) == ["bob"]


def test_leaving_ends_an_application(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    assert bob.request(Leave(90, "home")) == Done(90)
    assert listed(ann) == []
    assert code(bob.request(Leave(91, "home"))) == refusals.NOT_A_MEMBER
    assert code(ann.request(Approve(92, "home", bob.key))) == refusals.NO_SUCH_APPLICANT


def test_an_applicant_that_is_renamed_asks_under_its_new_name(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    assert bob.request(Nick(90, "Robert")) == Done(90, "robert")
    assert listed(ann) == ["robert"]
    assert ann.request(Approve(91, "home", bob.key)) == Done(91)
    assert [change.member.name for change in ann.take(MemberChanged)] == ["robert"]


def test_only_the_owner_approves_and_denies(lab: Lab) -> None:
    ann, bob, cat = home(lab, "ann", "bob", "cat")
    bob.join("home", SECRET)
    ann.request(Approve(90, "home", bob.key))
    assert waits(cat.join("home", SECRET))
    assert code(bob.request(Approve(91, "home", cat.key))) == refusals.NOT_THE_OWNER
    assert code(bob.request(Deny(92, "home", cat.key))) == refusals.NOT_THE_OWNER
    assert code(cat.request(Approve(93, "home", cat.key))) == refusals.NOT_A_MEMBER
    assert code(ann.request(Approve(94, "home", bytes(32)))) == refusals.NO_SUCH_APPLICANT


def test_the_secret_is_proved_before_anybody_is_asked(lab: Lab) -> None:
    ann, eve = home(lab, "ann", "eve")
    for _ in range(lab.limits.failures_key + 1):
        assert code(eve.join("home", OTHER)) == refusals.WRONG_SECRET
    assert code(eve.join("home", SECRET)) == refusals.TOO_MANY_ATTEMPTS
    eve.send(Join(70, "home"))
    lab.run(lab.limits.wait_first)
    eve.send(Join(71, "home"))
    eve.expect(Challenge)
    assert code(eve.request(Prove(71, bytes(64)))) == refusals.WRONG_SECRET
    assert ann.all(Applicants) == []


def test_a_locked_network_takes_no_applications_but_keeps_those_it_has(lab: Lab) -> None:
    ann, bob, cat = home(lab, "ann", "bob", "cat")
    assert waits(bob.join("home", SECRET))
    ann.request(Lock(80, "home", True))
    assert code(cat.join("home", SECRET)) == refusals.LOCKED
    assert waits(bob.join("home", SECRET))
    assert ann.request(Approve(81, "home", bob.key)) == Done(81)


def test_another_secret_ends_the_applications_of_the_one_before(lab: Lab) -> None:
    """Rotated by a document that evicts nobody, which is how a password is changed."""
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    assert isinstance(ann.request(ann.evict("home", 1, [NOBODY], OTHER, [ann.key])), Done)
    assert bob.expect(ApplicationEnded).code == refusals.WRONG_SECRET
    assert listed(ann) == []
    assert ann.all(MemberGone) == []
    assert code(bob.join("home", SECRET)) == refusals.WRONG_SECRET
    assert waits(bob.join("home", OTHER))


def test_the_same_secret_sealed_to_more_members_ends_nothing(lab: Lab) -> None:
    ann, bob, cat = home(lab, "ann", "bob", "cat")
    assert isinstance(ann.request(ann.evict("home", 1, [NOBODY], OTHER, [ann.key])), Done)
    assert waits(bob.join("home", OTHER))
    assert waits(cat.join("home", OTHER))
    assert isinstance(ann.request(ann.evict("home", 2, [NOBODY, cat.key], OTHER, [ann.key, b"k" * 32])), Done)
    assert bob.all(ApplicationEnded) == []
    assert code(ann.request(Approve(89, "home", cat.key))) == refusals.NO_SUCH_APPLICANT
    assert ann.request(Approve(90, "home", bob.key)) == Done(90)


def test_an_owner_that_logs_in_is_told_who_waits(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    ann.bye()
    lab.run(1)
    assert waits(bob.join("home", SECRET))
    ann.received.clear()
    ann.login()
    assert [one.name for one in ann.expect(Applicants).applicants] == ["bob"]
    lab.kill()
    lab.start()
    for client in (ann, bob):
        client.received.clear()
        client.device.initiate(client.mediator_key, [client.server], lab.world.now)
        lab.run(0.5)
        client.login()
    assert [one.name for one in ann.expect(Applicants).applicants] == ["bob"]
    assert ann.request(Approve(90, "home", bob.key)) == Done(90)
    assert bob.expect(NetworkState).network == "home"


def test_the_owner_that_left_comes_back_without_being_asked(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    bob.join("home", SECRET)
    ann.request(Approve(90, "home", bob.key))
    ann.request(Leave(91, "home"))
    assert isinstance(ann.join("home", SECRET), Done)


def test_caps(tmp_path: Path) -> None:
    """Of one network's applicants, one key's applications, one address's rate, and of what is kept of the denied."""
    lab = Lab(tmp_path, limits=Limits(applicants=2, applications=2, apply_burst=3, apply_rate=1 / 1000))
    ann = lab.login("ann")
    for name in ("one", "two", "three"):
        assert isinstance(create(ann, name), Done)
    bob = lab.login("bob", address="198.51.100.200")
    assert waits(bob.join("one", SECRET))
    assert waits(bob.join("two", SECRET))
    assert code(bob.join("three", SECRET)) == refusals.FULL
    cat, dan = (lab.login(name, address=f"198.51.100.{number}") for number, name in enumerate(("cat", "dan"), 201))
    assert waits(cat.join("one", SECRET))
    assert code(dan.join("one", SECRET)) == refusals.FULL
    for number, other in enumerate((bob, cat)):
        assert ann.request(Deny(80 + number, "one", other.key)) == Done(80 + number)
        lab.run(1)
    assert waits(dan.join("one", SECRET))
    assert ann.request(Deny(82, "one", dan.key)) == Done(82)
    record = lab.directory.network("one")
    assert record is not None
    assert [row.key for row in lab.directory.applicants(record.identifier)] == [cat.key, dan.key]   # bob's was forgotten
    outcomes = []
    for number, name in enumerate(("one", "two", "three") * 2):
        outcomes.append(code(lab.login(f"n{number}", address="198.51.100.204").join(name, SECRET)))
    assert outcomes == [*3 * [refusals.WAITING], refusals.TOO_MANY_REQUESTS, refusals.FULL, refusals.TOO_MANY_REQUESTS]
    lab.directory.close()


def test_a_network_that_ends_takes_its_applications_with_it(lab: Lab) -> None:
    ann, bob = home(lab, "ann", "bob")
    assert waits(bob.join("home", SECRET))
    ann.request(Leave(90, "home"))
    assert lab.directory.applied(bob.key) == []
    assert code(bob.join("home", SECRET)) == refusals.NO_SUCH_NETWORK
    assert isinstance(bob.create("home", OTHER), Done)


class Story(RuleBasedStateMachine):
    """Applicants ask, leave, are approved, denied and evicted in any order: what the owner is told is what a simple model says."""

    folder: Path
    number = 0

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        Story.number += 1
        folder = self.folder / str(Story.number)
        folder.mkdir()
        self.lab = Lab(folder, seed=seed, limits=Limits(apply_burst=1000))
        self.owner, *self.others = home(self.lab, "ann", "bob", "cat", "dan")
        self.waiting: set[str] = set()
        self.members: set[str] = set()
        self.denied: set[str] = set()
        self.random = Random(seed)

    @rule(index=st.integers(0, 2))
    def ask(self, index: int) -> None:
        client = self.others[index]
        outcome = client.join("home", SECRET)
        if client.name in self.members:
            assert isinstance(outcome, Done)
        elif client.name in self.denied:
            assert code(outcome) == refusals.DENIED
        else:
            assert waits(outcome)
            self.waiting.add(client.name)

    @rule(index=st.integers(0, 2), approve=st.booleans())
    def judge(self, index: int, approve: bool) -> None:
        client = self.others[index]
        outcome = self.owner.request((Approve if approve else Deny)(self.owner.number(), "home", client.key))
        if client.name in self.waiting:
            assert isinstance(outcome, Done)
            self.waiting.discard(client.name)
            (self.members if approve else self.denied).add(client.name)
        elif (approve and client.name in self.members) or (not approve and client.name in self.denied):
            assert isinstance(outcome, Done)
        else:
            assert code(outcome) == refusals.NO_SUCH_APPLICANT

    @rule(index=st.integers(0, 2))
    def leave(self, index: int) -> None:
        client = self.others[index]
        outcome = client.request(Leave(client.number(), "home"))
        assert isinstance(outcome, Done) is (client.name in self.waiting | self.members)
        self.waiting.discard(client.name)
        self.members.discard(client.name)

    @rule(index=st.integers(0, 2))
    def go_and_come(self, index: int) -> None:
        client = self.others[index]
        client.bye()
        self.lab.run(1)
        welcome = client.login()
        assert (welcome.networks == ("home",)) is (client.name in self.members)

    @precondition(lambda self: self.denied)
    @rule()
    def wait(self) -> None:
        self.lab.run(self.lab.limits.denied)
        self.denied.clear()

    @invariant()
    def the_owner_knows(self) -> None:
        self.lab.run(0.2)
        told = self.owner.all(Applicants)
        assert {one.name for one in told[-1].applicants} == self.waiting if told else not self.waiting
        record = self.lab.directory.network("home")
        assert record is not None
        assert {member.name for member in self.lab.directory.members(record.identifier)} == {"ann", *self.members}

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.lab.directory.close()


def test_any_story_leaves_owner_and_directory_of_one_mind(tmp_path: Path) -> None:
    Story.folder, Story.number = tmp_path, 0
    run_state_machine_as_test(
        Story,
        settings=settings(max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_the_directory_orders_applicants_by_time(tmp_path: Path) -> None:
    from tests.mediator.test_directory import address, key, network
    from userlan.mediator.records import ApplicantRecord

    directory = Directory(tmp_path / "directory.sqlite")
    directory.register(key(1), "ann", address(1), 1.0)
    made = directory.create_network(network("home", key(1))._replace(approval=True), "ann", 1.0)
    assert directory.network("home") == made
    rows = [ApplicantRecord(key(number), f"pc{number}", 100.0 - number, False) for number in (2, 3, 4)]
    for row in rows:
        directory.apply(made.identifier, row)
    assert directory.applicants(made.identifier) == rows[::-1]
    directory.apply(made.identifier, rows[0]._replace(denied=True))
    assert (directory.applied(key(2)), directory.applied(key(3))) == ([], [made])
    directory.register(key(3), "pc3", address(3), 1.0)
    directory.add_member(made.identifier, key(3), "pc3", 2.0)
    assert [row.key for row in directory.applicants(made.identifier)] == [key(4), key(2)]
    directory.withdraw(made.identifier)
    assert directory.applicants(made.identifier) == []
    directory.close()
