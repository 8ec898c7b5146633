"""The owner's approvals are signed: a mediator that lists somebody else gets nobody in, whatever it says, and whatever was restarted."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from tests.node.hostile import say
from tests.node.lan import VirtualLan
from tests.node.test_applications import FAR, OTHER, SECRET, apply, judge, node, restart, scene, told
from userlan.control.messages import EvictionNotice, MemberState, Message, NetworkState
from userlan.lan.names import UnknownName
from userlan.mediator.desk import Desk
from userlan.node.events import MemberUnapproved, RequestDone
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.ownership import Ownership
from userlan.node.status import snapshot


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def admit(lan: VirtualLan, joiner: Node) -> None:
    """Mediator and applicant are in league: it is let in without the owner's word, as if that had been given, and all are told."""
    record, now = lan.directory.network("home"), lan.world.now
    assert record is not None
    effects = lan.mediator._desk._requests._applications.approve(record, joiner.key, now)
    lan.mediator._desk._apply(effects, now)
    lan.world.touch(lan.mediator_attachment)
    lan.world.run_until(lambda: "home" in joiner.roster.networks, 10)


def ask_and_approve(lan: VirtualLan, owner: Node, joiner: Node) -> None:
    apply(lan, joiner)
    lan.world.run_until(lambda: joiner.key in owner.membership.applications.applicants.get("home", {}), 10)
    assert isinstance(judge(lan, owner, joiner.key, True), RequestDone)


def join(lan: VirtualLan, owner: Node, *joiners: Node) -> None:
    """All are approved, and see each other."""
    for joiner in joiners:
        ask_and_approve(lan, owner, joiner)
    lan.direct(owner, *joiners)


def serial(node: Node) -> int:
    return node.keyring.serial("home")


def kept_out(node: Node, *keys: bytes) -> bool:
    return all(key not in node.roster.peers and node.device.peer(key) is None for key in keys)


def test_an_applicant_that_the_mediator_lists_by_itself_is_let_in_by_nobody(lan: VirtualLan) -> None:
    anna, ben, xena = scene(lan, "anna", "ben", "xena")
    join(lan, anna, ben)
    apply(lan, xena)
    lan.world.run(1)
    admit(lan, xena)
    assert {anna.key, ben.key} <= set(xena.roster.peers)      # it knows all, and tries
    lan.world.run(30)
    for member in (anna, ben):
        assert kept_out(member, xena.key)
        assert member.roster.counters["member-unapproved"] > 0
        assert told(lan, member, MemberUnapproved) == [MemberUnapproved("home", xena.key, "xena")]
        (shown,) = snapshot(member, lan.world.now)["networks"]
        assert [one["name"] for one in shown["unapproved"]] == ["xena"]
        assert shown["approved"]
        with pytest.raises(UnknownName, match="has not approved"):
            member.lookup.resolver.find("xena")
    assert all(xena.peers.shown(member.key)[0] not in ("direct", "relayed") for member in (anna, ben))
    assert not snapshot(xena, lan.world.now)["networks"][0]["approved"]
    assert lan.ping(anna, ben.ipv6) < 0.2
    assert isinstance(judge(lan, anna, xena.key, True), RequestDone)      # the owner finds that it is right
    lan.direct(anna, ben, xena, seconds=90)
    assert not anna.roster.approvals.withheld("home")


def test_it_is_remembered_and_obeyed_after_a_restart_without_and_with_the_mediator(lan: VirtualLan) -> None:
    anna, ben, xena = scene(lan, "anna", "ben", "xena")
    join(lan, anna, ben)
    apply(lan, xena)
    lan.world.run(1)
    lan.kill_mediator()
    anna, ben = restart(lan, anna, "anna", 1), restart(lan, ben, "ben", 2)
    lan.direct(anna, ben, seconds=60)
    lan.start_mediator()
    lan.world.run_until(lambda: all(lan.mediator._sessions.ready(one.key) is not None for one in (anna, ben, xena)), 120)
    admit(lan, xena)
    lan.world.run(20)
    assert kept_out(anna, xena.key)
    assert kept_out(ben, xena.key)
    lan.direct(anna, ben)
    ben = restart(lan, ben, "ben", 2)       # whom the mediator tells of xena with the first list
    lan.direct(anna, ben, seconds=60)
    lan.world.run(20)
    assert kept_out(ben, xena.key)


def test_a_newcomer_to_whom_the_mediator_says_nothing_hears_it_from_a_member(lan: VirtualLan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst that a mediator can do: no documents, and the network said to be open. It lasts until the first tunnel to a member."""
    anna, ben, xena = scene(lan, "anna", "ben", "xena")
    send, publish = Desk._send, Desk._publish

    def lying(desk: Desk, session: object, message: Message) -> None:
        if isinstance(message, NetworkState):
            message = structs.replace(message, approval=False, serial=0)
        if not isinstance(message, EvictionNotice):
            send(desk, session, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Desk, "_send", lying)
    monkeypatch.setattr(Desk, "_publish", lambda desk, one: None if isinstance(one.message, EvictionNotice) else publish(desk, one))
    apply(lan, xena)
    lan.world.run(1)
    admit(lan, xena)
    join(lan, anna, ben)
    lan.world.run_until(lambda: serial(ben) == serial(anna) > 0, 20)
    lan.world.run(30)
    assert kept_out(ben, xena.key)
    assert kept_out(anna, xena.key)
    assert ben.roster.networks["home"].approval
    assert lan.ping(ben, anna.ipv6) < 0.2


def test_who_was_away_meets_whom_the_owner_has_approved_meanwhile_without_the_owner(lan: VirtualLan) -> None:
    anna, ben, carla = scene(lan, "anna", "ben", "carla")
    join(lan, anna, ben)
    memory = Memory.load(ben.save().dump())
    lan.kill("ben")
    join(lan, anna, carla)
    lan.kill("anna")
    back = node(lan, "ben", 2, memory)
    lan.direct(back, carla, seconds=60)
    lan.world.run(20)
    assert told(lan, back, MemberUnapproved) == []      # that the document comes after the list is no news


def test_members_of_a_network_from_before_are_approved_when_its_owner_starts(lan: VirtualLan, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(Ownership, "approve", lambda *_: None)
        anna, ben, carla, xena = scene(lan, "anna", "ben", "carla", "xena")
        join(lan, anna, ben, carla)
        assert serial(anna) == 0
    apply(lan, xena)
    lan.world.run(1)
    ben = restart(lan, ben, "ben", 2)       # the owner's node is as it was, and so is all
    lan.direct(anna, ben, carla, seconds=60)
    lan.kill("carla")
    anna = restart(lan, anna, "anna", 1)
    held = anna.keyring.get("home")
    assert held is not None
    assert held.approved == frozenset((anna.key, ben.key, carla.key))
    lan.world.run_until(lambda: serial(ben) == 1, 60)
    admit(lan, xena)
    carla = node(lan, "carla", 3, Memory.load(carla.save().dump()))
    lan.direct(anna, ben, carla, seconds=60)
    lan.world.run(20)
    assert all(kept_out(one, xena.key) for one in (anna, ben, carla))
    assert told(lan, anna, MemberUnapproved) == [MemberUnapproved("home", xena.key, "xena")]


def test_evictions_and_another_secret_leave_the_others_approved(lan: VirtualLan) -> None:
    anna, ben, carla, xena = scene(lan, "anna", "ben", "carla", "xena")
    join(lan, anna, ben, carla)
    assert isinstance(lan.finish(anna, anna.evict("home", carla.key, lan.world.now)), RequestDone)
    number = anna.asked(anna.membership.owner.password("home", OTHER, lan.world.now), lan.world.now)
    assert isinstance(lan.finish(anna, number), RequestDone)
    lan.world.run_until(lambda: serial(ben) == serial(anna), 20)
    for one in (anna, ben):
        held = one.keyring.get("home")
        assert held is not None
        assert held.approved == frozenset((anna.key, ben.key))
    assert isinstance(apply(lan, xena, OTHER), RequestDone)
    lan.world.run(1)
    admit(lan, xena)
    lan.world.run(20)
    assert kept_out(anna, xena.key)
    assert kept_out(ben, xena.key)
    judge(lan, anna, xena.key, True)
    lan.direct(anna, ben, xena, seconds=90)


def test_a_later_document_without_approvals_takes_nothing_back(lan: VirtualLan) -> None:
    """As the owner's program of before makes them."""
    anna, ben = scene(lan, "anna", "ben")
    join(lan, anna, ben)
    lan.world.run_until(lambda: serial(ben) == serial(anna), 10)
    held = anna.keyring.get("home")
    assert held is not None
    approved = held.approved
    document = anna.keyring.make_eviction("home", [bytes(32)], [], SECRET, lan.world.entropy())
    assert document.approved is None
    say(lan, ben, EvictionNotice("home", document.to_bytes()), seconds=2)
    assert serial(ben) == document.serial
    again = Memory.load(ben.save().dump()).networks["home"]
    assert again.approved == sorted(approved or ())


def test_an_older_program_s_memory_and_one_that_an_older_program_wrote_over_load(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    join(lan, anna, ben)
    lan.world.run_until(lambda: serial(ben) == serial(anna), 10)
    written = ben.save().dump()
    assert isinstance(written, dict)
    del written["networks"]["home"]["approved"]     # which that program does not know, and so leaves out
    back = Node(bytes([2]) * 32, Memory.load(written), name="ben", entropy=lan.world.entropy(), now=lan.world.now, wall_offset=0.0)
    held = back.keyring.get("home")
    assert held is not None
    assert held.approved == frozenset((anna.key, ben.key))
    written["networks"]["home"]["eviction"] = ""
    first = Node(bytes([2]) * 32, Memory.load(written), name="ben", entropy=lan.world.entropy(), now=lan.world.now, wall_offset=0.0)
    assert set(first.roster.peers) == {anna.key}
    assert not first.roster.approvals.needed("home")


def test_a_mediator_that_lists_a_crowd_is_told_of_little(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    join(lan, anna, ben)
    record = lan.directory.network("home")
    assert record is not None
    state = lan.mediator._desk._accounts.network_state(record)
    keys = [number.to_bytes(32, "big") for number in range(2, 1000)]
    crowd = [MemberState(key, f"x{number}", bytes((25, 9, number >> 8, number & 255))) for number, key in enumerate(keys)]
    say(lan, ben, structs.replace(state, members=(*state.members, *crowd), approval=False), seconds=30)
    assert set(ben.roster.peers) == {anna.key}
    assert len(told(lan, ben, MemberUnapproved)) == 64
    assert len(snapshot(ben, lan.world.now)["networks"][0]["unapproved"]) == 64
