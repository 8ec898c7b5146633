"""The commands of who is in which network, with a program around them that answers as a test wants."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from tests.node.lan import MEDIATOR_HOST, VirtualLan
from userlan.app.membership_api import MembershipApi
from userlan.app.program import NodeProgram
from userlan.control.messages import ApplicantState
from userlan.driver.bridge import CommandError
from userlan.lan.addresses import key_text
from userlan.lan.invite import Invite
from userlan.lan.members import Member, StoredNetwork
from userlan.lan.roster import Roster
from userlan.node.applications import Applications
from userlan.node.blocking import Blocked
from userlan.node.events import Admitted, ApplicantCame, ApplicationRefused, MemberUnapproved, MemoryChanged, RequestDone, RequestRefused


def api_of(numbers: list[int]) -> tuple[MembershipApi, dict[int, Deferred[Any]]]:
    """An API whose node asks ``numbers`` of its mediators, and the answers that are waited for."""
    node = SimpleNamespace(nick=lambda name, now: numbers, renamed=lambda name: None)
    program = SimpleNamespace(
        node=node, waiting={}, reactor=SimpleNamespace(seconds=lambda: 0.0), runner=SimpleNamespace(touch=lambda: None)
    )
    return MembershipApi(cast(NodeProgram, program)), program.waiting


def test_two_mediators_may_answer_in_any_order() -> None:
    api, waiting = api_of([1, 2])
    told: list[Any] = []
    api.nick({"name": "nas"}).addCallback(told.append)
    waiting.pop(2).callback(RequestDone(2, "", "nas"))
    waiting.pop(1).callback(RequestDone(1, "", "nas"))
    assert told == [{"name": "nas", "later": False}]


def test_whoever_renames_is_told_that_a_mediator_hears_of_it_later() -> None:
    api, waiting = api_of([1, 2])
    told: list[Any] = []
    api.nick({"name": "nas"}).addCallback(told.append)
    waiting.pop(1).callback(RequestDone(1, "", "nas"))
    waiting.pop(2).callback(RequestDone(2, "", "", later=True))
    assert told == [{"name": "nas", "later": True}]


@pytest.mark.parametrize("later", [False, True])
def test_what_holds_without_the_mediator_is_done_and_says_so(later: bool) -> None:
    api, waiting = api_of([])
    node = cast(Any, api.node)
    node.key, node.leave, node.evict = b"a" * 32, lambda network, now: 1, lambda network, key, now: 2
    members = dict.fromkeys((node.key, BEN))
    node.roster = SimpleNamespace(peers=members, networks={"home": SimpleNamespace(owner=node.key, members=members)})
    told: list[Any] = []
    api.leave({"network": "Home"}).addCallback(told.append)
    waiting.pop(1).callback(RequestDone(1, "home", "", later=later))
    api.evict({"member": key_text(BEN)}).addCallback(told.append)
    waiting.pop(2).callback(RequestDone(2, "home", "", later=later))
    assert told == [{"network": "home", "later": later}, {"name": key_text(BEN), "network": "home", "later": later}]


def test_the_first_refusal_is_told_and_the_second_is_no_unhandled_error() -> None:
    api, waiting = api_of([1, 2])
    told: list[Any] = []
    api.nick({"name": "nas"}).addErrback(lambda failure: told.append(failure.value))
    waiting.pop(2).errback(CommandError("taken"))
    waiting.pop(1).errback(CommandError("taken too"))
    assert [str(error) for error in told] == ["taken"]


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    api, waiting = api_of([1])
    command = api.nick({"name": "nas"})
    command.addErrback(lambda _: None)
    command.cancel()
    assert waiting == {}


def test_who_is_blocked_is_listed_by_the_name_of_now_or_of_then() -> None:
    api, _ = api_of([])
    blocked = Blocked({key_text(BEN): "ben", key_text(CARLA): "carla"})
    names = {BEN: "benjamin"}
    api.node = cast(Any, SimpleNamespace(
        blocking=SimpleNamespace(blocked=blocked), roster=SimpleNamespace(name_of=lambda key: names.get(key, ""))
    ))  # fmt: skip
    assert api.blocked({}) == [{"name": "benjamin", "key": key_text(BEN)}, {"name": "carla", "key": key_text(CARLA)}]


ANNA, BEN, CARLA = b"a" * 32, b"b" * 32, b"c" * 32


class Owner:
    """A program whose node owns networks for which some wait; ``judged``: what its mediator was asked."""

    def __init__(self, *rows: tuple[str, bytes, str]) -> None:
        self.judged: list[tuple[str, bytes, bool]] = []
        applications = Applications()
        for network in sorted({network for network, _, _ in rows}):
            applications.are(network, tuple(ApplicantState(key, name, 5.0) for where, key, name in rows if where == network))
        owner = SimpleNamespace(judge=self.judge)
        membership = SimpleNamespace(applications=applications, owner=owner)
        self.news: list[tuple[str, ...]] = []
        self.waiting: dict[int, Deferred[Any]] = {}
        self.roster = Roster(ANNA, ["den"])
        node = SimpleNamespace(key=ANNA, membership=membership, roster=self.roster, asked=lambda number, now: number)
        self.program = SimpleNamespace(
            node=node,
            waiting=self.waiting,
            reactor=SimpleNamespace(seconds=lambda: 0.0),
            runner=SimpleNamespace(touch=lambda: None),
            lan=SimpleNamespace(tell_news=lambda *what: self.news.append(what), companions=SimpleNamespace(ours=set())),
        )
        self.api = MembershipApi(cast(NodeProgram, self.program))

    def judge(self, network: str, key: bytes, approved: bool, now: float) -> int:
        self.judged.append((network, key, approved))
        return 1

    def ask(self, approved: bool, **arguments: Any) -> Any:
        """The answer, the mediator's done presumed; or the error's line."""
        told: list[Any] = []
        self.api.judge(arguments, approved).addCallbacks(told.append, lambda failure: told.append(failure.getErrorMessage()))
        if 1 in self.waiting:
            self.waiting.pop(1).callback(None)
        return told[0]


def test_an_applicant_is_named_by_its_name_or_key() -> None:
    owner = Owner(("home", BEN, "ben"), ("home", CARLA, "carla"))
    assert owner.ask(True, member="Ben") == {"network": "home", "name": "ben", "key": key_text(BEN)}
    assert owner.ask(False, member=key_text(CARLA), network="Home") == {"network": "home", "name": "carla", "key": key_text(CARLA)}
    assert owner.judged == [("home", BEN, True), ("home", CARLA, False)]
    assert owner.api.applicants({})[0] == {"network": "home", "key": key_text(BEN), "name": "ben", "since": 5.0}


def test_who_is_listed_without_approval_can_be_approved_by_the_owner_alone() -> None:
    owner, other = Owner(), Owner()
    for one, made_by in ((owner, ANNA), (other, CARLA)):
        one.roster.approve("den", [])
        one.roster.apply_network(StoredNetwork("den", made_by, b"s" * 32, b"t" * 32, False, 0, (Member(BEN, "ben"),)))
    assert owner.ask(False, member="ben") == "nobody called 'ben' waits: see `userlan applicants`"
    assert owner.ask(True, member="ben") == {"network": "den", "name": "ben", "key": key_text(BEN)}
    assert owner.judged == [("den", BEN, True)]
    assert "nobody called 'ben' waits" in other.ask(True, member="ben")
    with capturedLogs() as lines:
        owner.api.happened(MemberUnapproved("den", BEN, "ben"))
    (line,) = lines
    assert f"the mediator lists ben in den, whom its owner has not approved: not let in ({key_text(BEN)})" == formatEvent(line)


def test_who_is_meant_must_be_clear() -> None:
    owner = Owner(("club", BEN, "ben"), ("home", BEN, "ben"), ("work", CARLA, "ben"))
    assert "one by its key" in owner.ask(True, member="ben")
    assert "club and home: say which" in owner.ask(True, member=key_text(BEN))
    assert "nobody called 'dora' waits: see" in owner.ask(True, member="dora")
    assert "nobody called 'ben' waits to join elsewhere" in owner.ask(True, member="ben", network="elsewhere")
    assert owner.judged == []
    assert owner.ask(True, member="ben", network="work")["key"] == key_text(CARLA)


def test_the_person_is_told_of_who_waits_and_of_what_became_of_ones_own_wish() -> None:
    owner = Owner()
    for event in (ApplicantCame("home", BEN, "ben"), Admitted("club"), ApplicationRefused("work", "no"), MemoryChanged()):
        owner.api.happened(event)
    assert [(kind, title) for kind, title, _, _ in owner.news] == [
        ("member", "ben wants to join home"),
        ("member", "You are in club"),
        ("member", "You are not in work"),
    ]
    assert len({subject for *_, subject in owner.news}) == 3


def test_a_companion_of_this_node_is_approved_by_it() -> None:
    """Whoever made a guest has said so already; nobody else profits."""
    owner = Owner(("home", BEN, "ben"), ("home", CARLA, "carla"))
    owner.program.lan.companions.ours.add(key_text(CARLA))
    for key, name in ((BEN, "ben"), (CARLA, "carla")):
        owner.api.happened(ApplicantCame("home", key, name))
    assert owner.judged == [("home", CARLA, True)]
    assert [title for _, title, _, _ in owner.news] == ["ben wants to join home"]


def test_a_join_that_fails_does_not_take_another_ones_mediator_away(tmp_path: Path) -> None:
    """By invites of one mediator that is new to this node: the last of the joins at it that fails takes it along."""
    lan = VirtualLan(tmp_path)
    anna = lan.node("anna", lan.internet, "198.51.100.1")
    ben = lan.node("ben", lan.internet, "198.51.100.2", mediator=False)
    lan.ready(anna)
    invites = [str(Invite(lan.url.endpoints, lan.url.mediator_key, "home", bytes(16)))]
    lan.network(anna)
    secret = lan.network(anna, name="work")
    invites.append(str(Invite(lan.url.endpoints, lan.url.mediator_key, "work", secret.value)))

    def resolve(key: bytes) -> None:
        ben.links[key].resolved(MEDIATOR_HOST, (MEDIATOR_HOST,), lan.world.now)

    waiting: dict[int, Deferred[Any]] = {}
    program = SimpleNamespace(
        node=ben, waiting=waiting, embedded=None, resolve=resolve,
        reactor=SimpleNamespace(seconds=lambda: lan.world.now), runner=SimpleNamespace(touch=lambda: None),
    )  # fmt: skip
    api = MembershipApi(cast(NodeProgram, program))

    def observe(event: object) -> None:
        if isinstance(event, RequestDone):
            waiting.pop(event.number).callback(event)
        elif isinstance(event, RequestRefused):
            waiting.pop(event.number).errback(CommandError(event.text))

    lan.attachments["ben"].handler = observe
    told: list[Any] = []
    for invite in (invites[0], invites[1]):
        api.join({"invite": invite}).addCallbacks(lambda done: told.append(done["network"]), lambda failure: told.append("refused"))
    lan.world.run_until(lambda: len(told) == 2, 30)
    assert told == ["refused", "work"]
    assert list(ben.links) == [lan.mediator.public_key]
    lan.direct(anna, ben)
    lan.finish(anna, anna.leave("work", lan.world.now))
    api.leave({"network": "work"}).addCallback(lambda done: told.append(done["network"]))
    lan.world.run_until(lambda: len(told) == 3, 30)
    ben.mediators.remove(lan.mediator.public_key, lan.world.now)
    api.join({"invite": invites[0]}).addErrback(lambda failure: told.append(failure.getErrorMessage()))
    lan.world.run_until(lambda: len(told) == 4, 30)
    assert not ben.links, "it was asked for nothing else"
