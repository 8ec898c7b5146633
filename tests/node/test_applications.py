"""Networks whose owner approves new members, from end to end in virtual time: asked, told, restarted, approved, denied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import Admitted, ApplicantCame, ApplicantGone, ApplicationRefused, RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.requests import RefusalError

FAR = LinkProfile(delay=0.02)
SECRET = NetworkSecret(b"the secret: home")
OTHER = NetworkSecret(b"another secret..")


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def node(lan: VirtualLan, name: str, number: int, memory: Memory | None = None) -> Node:
    key = bytes([number]) * 32
    return lan.node(name, lan.internet, f"203.0.113.{number}", profile=FAR, key=key, memory=memory)


def scene(lan: VirtualLan, *names: str) -> list[Node]:
    """The owner of ``home``, whose new members it approves, and others that have nothing to do with it yet."""
    nodes = [node(lan, name, number) for number, name in enumerate(names, 1)]
    lan.ready(*nodes)
    made = nodes[0].create("home", lan.mediator.public_key, SECRET, lan.world.now, approval=True)
    assert isinstance(lan.finish(nodes[0], made), RequestDone)
    return nodes


def apply(lan: VirtualLan, joiner: Node, secret: NetworkSecret = SECRET) -> RequestDone | RequestRefused:
    return lan.finish(joiner, joiner.join("home", lan.mediator.public_key, secret, lan.world.now))


def judge(lan: VirtualLan, owner: Node, key: bytes, approved: bool) -> RequestDone | RequestRefused:
    now = lan.world.now
    return lan.finish(owner, owner.asked(owner.membership.owner.judge("home", key, approved, now), now))


def told(lan: VirtualLan, node: Node, kind: type) -> list[object]:
    return [event for event in lan.events(node) if isinstance(event, kind)]


def restart(lan: VirtualLan, gone: Node, name: str, number: int) -> Node:
    memory = Memory.load(gone.save().dump())
    lan.kill(name)
    return node(lan, name, number, memory)


def test_an_applicant_waits_its_owner_is_told_and_it_becomes_a_member_by_itself(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    assert anna.roster.networks["home"].approval
    asked = apply(lan, ben)
    assert asked == RequestDone(asked.number, "home", "anna", waiting=True)
    lan.world.run_until(lambda: bool(told(lan, anna, ApplicantCame)), 5)
    assert told(lan, anna, ApplicantCame) == [ApplicantCame("home", ben.key, "ben")]
    (waiting,) = anna.membership.applications.applicants["home"].values()
    assert waiting.since == pytest.approx(1_700_000_000 + lan.world.now, abs=5)
    assert not ben.roster.networks
    assert ben.key not in anna.roster.peers
    assert isinstance(judge(lan, anna, ben.key, True), RequestDone)
    lan.direct(anna, ben)
    assert told(lan, ben, Admitted) == [Admitted("home")]
    assert told(lan, anna, ApplicantGone) == [ApplicantGone("home", ben.key)]
    assert not ben.membership.applications.waiting
    assert lan.ping(ben, anna.ipv6) < 0.2
    assert "home" in ben.save().networks
    assert not ben.save().applications


def test_both_ends_and_the_mediator_may_be_restarted_meanwhile(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    lan.world.run(1)
    ben, anna = restart(lan, ben, "ben", 2), restart(lan, anna, "anna", 1)
    lan.kill_mediator()
    lan.start_mediator()
    assert ben.membership.applications.waiting["home"].owner == "anna"
    lan.world.run_until(lambda: bool(told(lan, anna, ApplicantCame)), 90)
    lan.kill("ben")
    assert isinstance(judge(lan, anna, ben.key, True), RequestDone)
    assert anna.roster.networks["home"].members[ben.key].name == "ben"
    back = node(lan, "ben", 2, Memory.load(ben.save().dump()))
    lan.direct(anna, back, seconds=60)
    assert told(lan, back, Admitted) == [Admitted("home")]
    assert back.roster.own_ipv4 == ben.roster.own_ipv4


def test_a_denied_applicant_is_told_and_cannot_ask_again_at_once(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    lan.world.run(1)
    assert isinstance(judge(lan, anna, ben.key, False), RequestDone)
    lan.world.run_until(lambda: bool(told(lan, ben, ApplicationRefused)), 5)
    (refused,) = told(lan, ben, ApplicationRefused)
    assert isinstance(refused, ApplicationRefused)
    assert "anna" in refused.reason
    assert "home" not in ben.keyring
    assert ben.membership.applications.refused == {"home": refused.reason}
    again = apply(lan, ben)
    assert isinstance(again, RequestRefused)
    assert again.code == "denied"
    assert not anna.membership.applications.applicants["home"]
    lan.world.run(600)
    assert isinstance(apply(lan, ben), RequestDone)
    assert ben.membership.applications.refused == {}


def test_who_is_denied_while_away_is_told_when_it_is_back(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    lan.world.run(1)
    lan.kill("ben")
    judge(lan, anna, ben.key, False)
    back = node(lan, "ben", 2, Memory.load(ben.save().dump()))
    lan.world.run_until(lambda: bool(told(lan, back, ApplicationRefused)), 30)
    assert "home" not in back.keyring
    assert not back.save().applications


def test_a_wrong_secret_is_no_application_and_spoils_none(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    refused = apply(lan, ben, OTHER)
    assert isinstance(refused, RequestRefused)
    assert refused.code == "wrong-secret"
    assert "home" not in ben.keyring
    apply(lan, ben)
    assert isinstance(apply(lan, ben, OTHER), RequestRefused)
    assert "home" in ben.membership.applications.waiting
    lan.world.run(1)
    assert len(told(lan, anna, ApplicantCame)) == 1
    judge(lan, anna, ben.key, True)
    lan.direct(anna, ben)


def test_leaving_ends_an_application(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    with pytest.raises(RefusalError, match="waits to join"):
        ben.create("home", lan.mediator.public_key, OTHER, lan.world.now)
    assert isinstance(lan.finish(ben, ben.leave("home", lan.world.now)), RequestDone)
    lan.world.run_until(lambda: bool(told(lan, anna, ApplicantGone)), 5)
    assert "home" not in ben.keyring
    assert not ben.save().applications
    with pytest.raises(RefusalError, match="nobody"):
        anna.membership.owner.judge("home", ben.key, True, lan.world.now)


def test_an_owner_that_leaves_has_no_applicants_any_more(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    lan.world.run_until(lambda: bool(told(lan, anna, ApplicantCame)), 5)
    assert isinstance(lan.finish(anna, anna.leave("home", lan.world.now)), RequestDone)
    assert told(lan, anna, ApplicantGone) == [ApplicantGone("home", ben.key)]


def test_another_secret_ends_applications(lan: VirtualLan) -> None:
    anna, ben = scene(lan, "anna", "ben")
    apply(lan, ben)
    lan.world.run(1)
    number = anna.asked(anna.membership.owner.password("home", OTHER, lan.world.now), lan.world.now)
    assert isinstance(lan.finish(anna, number), RequestDone)
    lan.world.run_until(lambda: bool(told(lan, ben, ApplicationRefused)), 5)
    assert "home" not in ben.keyring
    assert not anna.membership.applications.applicants["home"]
    assert isinstance(apply(lan, ben, OTHER), RequestDone)


def test_only_the_owner_has_a_say(lan: VirtualLan) -> None:
    anna, ben, carla = scene(lan, "anna", "ben", "carla")
    apply(lan, ben)
    lan.world.run(1)
    judge(lan, anna, ben.key, True)
    lan.direct(anna, ben)
    apply(lan, carla)
    lan.world.run(1)
    assert told(lan, ben, ApplicantCame) == []
    now = lan.world.now
    with pytest.raises(RefusalError, match="that is anna"):
        ben.membership.owner.judge("home", carla.key, True, now)
    with pytest.raises(RefusalError, match="that is anna"):
        ben.membership.owner.lock("home", True, now)
    with pytest.raises(RefusalError, match="that is anna"):
        ben.membership.owner.password("home", OTHER, now)


def test_a_mediator_without_its_directory_gets_such_a_network_again_and_its_members_come_back(lan: VirtualLan) -> None:
    anna, ben, carla = scene(lan, "anna", "ben", "carla")
    apply(lan, ben)
    lan.world.run(1)
    judge(lan, anna, ben.key, True)
    lan.direct(anna, ben)
    lan.kill_mediator()
    for file in lan.folder.glob("directory.sqlite*"):
        file.unlink()
    lan.start_mediator()
    lan.world.run_until(lambda: lan.directory.network("home") is not None, 120)
    made = lan.directory.network("home")
    assert made is not None
    assert made.approval
    ben = restart(lan, ben, "ben", 2)       # whom the mediator does not know any more, but anna does
    apply(lan, carla)
    lan.direct(anna, ben, seconds=60)
    assert [event.key for event in told(lan, anna, ApplicantCame)] == [ben.key, carla.key]  # type: ignore[attr-defined]
    assert list(anna.membership.applications.applicants["home"]) == [carla.key]
    assert lan.ping(ben, anna.ipv6) < 0.2
