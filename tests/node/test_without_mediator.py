"""What people ask for while the mediator is away: what holds by itself is done at once, what needs the mediator says so soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, VirtualLan
from userlan.control.mediation import BACKOFF_LAST, STEP_TIMEOUT, LinkState
from userlan.control.messages import ApplicantState
from userlan.lan.secrets import NetworkSecret
from userlan.node.departures import MAX_DEPARTURES, Departures
from userlan.node.events import RequestDone, RequestRefused
from userlan.node.memory import Memory, SavedDeparture
from userlan.node.node import Node
from userlan.node.requests import DOUBTFUL, SOON

HOSTS = {"anna": "198.51.100.1", "ben": "198.51.100.2", "carl": "198.51.100.3"}


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


def members(lan: VirtualLan, *names: str) -> list[Node]:
    """Members of ``home``, which the first one owns, all direct."""
    nodes = [lan.node(name, lan.internet, HOSTS[name]) for name in names]
    lan.ready(*nodes)
    lan.network(*nodes)
    lan.direct(*nodes)
    return nodes


def away(lan: VirtualLan) -> None:
    """The mediator dies, and everybody has noticed."""
    lan.kill_mediator()
    lan.world.run(20.0)


def back(lan: VirtualLan, *nodes: Node) -> None:
    """It comes back, and everybody is welcomed."""
    lan.start_mediator()
    lan.world.run_until(lambda: all(link.state is LinkState.READY for node in nodes for link in node.links.values()), 40)
    lan.world.run(2.0)


def listed(lan: VirtualLan) -> set[bytes]:
    """Who is a member of ``home``, by the mediator."""
    record = lan.directory.network("home")
    return set() if record is None else {member.key for member in lan.directory.members(record.identifier)}


def restart(lan: VirtualLan, name: str, gone: Node, key: bytes) -> Node:
    """A node's process ends and is started again."""
    memory = Memory.load(gone.save().dump())
    lan.kill(name)
    return lan.node(name, lan.internet, HOSTS[name], memory=memory, key=key)


def test_an_eviction_is_done_at_once_and_the_mediator_hears_of_it_later(lan: VirtualLan) -> None:
    anna, ben, carl = members(lan, "anna", "ben", "carl")
    away(lan)
    began = lan.world.now
    number = anna.evict("home", carl.key, began)
    assert lan.finish(anna, number) == RequestDone(number, "home", "", later=True)
    assert lan.world.now - began < 0.1
    lan.world.run_until(lambda: carl.key not in ben.roster.peers, 5)
    second = anna.evict("home", ben.key, lan.world.now)
    assert lan.finish(anna, second) == RequestDone(second, "home", "", later=True)
    back(lan, anna)
    assert listed(lan) == {anna.key}
    lan.world.run_until(lambda: "home" not in ben.keyring and "home" not in carl.keyring, 40)


@pytest.mark.parametrize("again", [False, True])
def test_a_join_that_was_refused_while_the_answer_was_under_way(lan: VirtualLan, again: bool) -> None:
    """Who is told that nothing came of it is no member for the others either, unless it asks again."""
    [anna] = members(lan, "anna")
    ben = lan.node("ben", lan.internet, HOSTS["ben"])
    lan.ready(ben)
    secret = anna.keyring.get("home")
    assert secret is not None
    number = ben.join("home", lan.mediator.public_key, secret.secrets[0], lan.world.now)
    lan.world.run_until(lambda: ben.key in listed(lan), 5)
    lan.attachments["ben"].unplug()
    lan.world.run(0.1)
    lan.kill_mediator()
    lan.attachments["ben"].plug(lan.internet, HOSTS["ben"])
    assert isinstance(lan.finish(ben, number, 60), RequestRefused)
    assert "home" not in ben.keyring
    back(lan, anna, ben)
    if again:
        repeated = ben.join("home", lan.mediator.public_key, secret.secrets[0], lan.world.now)
        assert isinstance(lan.finish(ben, repeated, 60), RequestDone)
        away(lan)
        back(lan, anna, ben)
    assert (ben.key in listed(lan)) is again
    assert (ben.key in anna.roster.peers) is again


def test_a_new_password_too(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    away(lan)
    secret = NetworkSecret.generate(lan.world.entropy())
    number = anna.asked(anna.membership.owner.password("home", secret, lan.world.now), lan.world.now)
    assert lan.finish(anna, number) == RequestDone(number, "home", "", later=True)
    back(lan, anna, ben)
    carl = lan.node("carl", lan.internet, HOSTS["carl"])
    lan.ready(carl)
    joined = lan.finish(carl, carl.join("home", lan.mediator.public_key, secret, lan.world.now))
    assert isinstance(joined, RequestDone), "the mediator has it"
    assert not joined.later


def test_a_mediator_that_has_just_died_is_not_waited_for_long(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    lan.kill_mediator()
    began = lan.world.now
    number = anna.evict("home", ben.key, began)
    assert lan.finish(anna, number) == RequestDone(number, "home", "", later=True)
    assert SOON - 0.1 < lan.world.now - began < SOON + 0.5
    lan.world.run(20.0)     # until the link's silence is noticed
    back(lan, anna)
    assert listed(lan) == {anna.key}


def test_who_leaves_is_out_at_once_and_the_mediator_is_told_after_a_restart(lan: VirtualLan) -> None:
    key = lan.world.entropy()(32)
    anna, ben = lan.node("anna", lan.internet, HOSTS["anna"]), lan.node("ben", lan.internet, HOSTS["ben"], key=key)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    away(lan)
    number = ben.leave("home", lan.world.now)
    assert lan.finish(ben, number) == RequestDone(number, "home", "", later=True)
    assert "home" not in ben.keyring
    assert not ben.roster.peers, "the tunnels are closed"
    lan.until_state(anna, ben, "offline", 60)
    ben = restart(lan, "ben", ben, key)
    assert ben.save().departures == [SavedDeparture(lan.mediator.public_key, "home")]
    back(lan, anna, ben)
    assert listed(lan) == {anna.key}
    assert ben.key not in anna.roster.peers
    assert not ben.roster.networks, "the late roster puts nobody back in"
    assert not ben.save().departures


def test_what_is_shared_in_another_network_goes_on(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    lan.network(anna, ben, name="club")
    away(lan)
    lan.finish(ben, ben.leave("home", lan.world.now))
    assert ben.roster.peers[anna.key].networks == ("club",)
    lan.world.run(400.0)    # beyond the session's end: a new handshake, with the network that is left
    assert lan.ping(ben, anna.ipv6) < 1
    back(lan, anna, ben)
    assert listed(lan) == {anna.key}
    assert anna.roster.peers[ben.key].networks == ("club",)


def secret_of(node: Node) -> NetworkSecret:
    """Of home, as a member holds it."""
    held = node.keyring.get("home")
    assert held is not None
    return held.secrets[0]


def test_who_joins_again_before_the_mediator_has_heard_is_no_leaver(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    secret = secret_of(ben)
    away(lan)
    lan.finish(ben, ben.leave("home", lan.world.now))
    number = ben.join("home", lan.mediator.public_key, secret, lan.world.now)
    lan.start_mediator()
    assert isinstance(lan.finish(ben, number), RequestDone)
    back(lan, anna, ben)
    assert listed(lan) == {anna.key, ben.key}
    assert not ben.save().departures
    lan.direct(anna, ben, seconds=90)


def test_who_tries_in_vain_to_join_again_has_left(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    secret = secret_of(ben)
    away(lan)
    lan.finish(ben, ben.leave("home", lan.world.now))
    refused = lan.finish(ben, ben.join("home", lan.mediator.public_key, secret, lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert ben.save().departures
    back(lan, anna, ben)
    assert listed(lan) == {anna.key}
    assert "home" not in ben.keyring


def test_a_nickname_is_in_the_next_greeting(lan: VirtualLan) -> None:
    anna, ben = members(lan, "anna", "ben")
    away(lan)
    (number,) = ben.nick("quentin", lan.world.now)
    assert lan.finish(ben, number) == RequestDone(number, "", "", later=True)
    ben.renamed("quentin")
    back(lan, anna, ben)
    lan.world.run_until(lambda: anna.roster.name_of(ben.key) == "quentin", 5)


@pytest.mark.parametrize("what", ["create", "join", "lock", "unlock", "approve", "deny"])
def test_what_needs_the_mediator_says_so_soon(lan: VirtualLan, what: str) -> None:
    (anna,) = members(lan, "anna")
    away(lan)
    began, secret, mediator = lan.world.now, NetworkSecret(bytes(16)), lan.mediator.public_key
    if what == "create":
        number = anna.create("club", mediator, secret, began)
    elif what == "join":
        number = anna.join("club", mediator, secret, began)
    elif what in ("lock", "unlock"):
        number = anna.asked(anna.membership.owner.lock("home", what == "lock", began), began)
    else:
        anna.membership.applications.are("home", (ApplicantState(b"b" * 32, "ben", 5.0),))
        number = anna.asked(anna.membership.owner.judge("home", b"b" * 32, what == "approve", began), began)
    refused = lan.finish(anna, number)
    assert isinstance(refused, RequestRefused)
    assert lan.world.now - began <= DOUBTFUL + 0.1
    assert "needs the mediator: try again when it is back" in refused.text
    assert MEDIATOR_HOST in refused.text
    assert "\n" not in refused.text
    assert "club" not in anna.keyring


def test_who_asks_does_not_wait_for_the_next_try_of_the_link(lan: VirtualLan) -> None:
    (anna,) = members(lan, "anna")
    lan.kill_mediator()
    lan.world.run(120.0)
    (link,) = anna.links.values()
    lan.world.run_until(lambda: link.state is LinkState.WAITING, 10)
    lan.world.run(0.5)
    lan.start_mediator()
    number = anna.asked(anna.membership.owner.lock("home", True, lan.world.now), lan.world.now)
    began = lan.world.now
    assert isinstance(lan.finish(anna, number), RequestDone)
    assert lan.world.now - began < 1


def test_a_mediator_that_comes_back_is_found_within_its_greatest_wait(lan: VirtualLan) -> None:
    (anna,) = members(lan, "anna")
    (link,) = anna.links.values()
    for _ in range(3):
        lan.kill_mediator()
        lan.world.run(120.0 + STEP_TIMEOUT / 3)
        lan.start_mediator()
        began = lan.world.now
        lan.world.run_until(lambda: link.state is LinkState.READY, 60)
        assert lan.world.now - began < BACKOFF_LAST + STEP_TIMEOUT


def test_departures_are_bounded_and_of_their_mediator() -> None:
    departures = Departures()
    for number in range(MAX_DEPARTURES + 1):
        departures.add(b"m" * 32, f"net{number}")
    assert len(departures.of(b"m" * 32)) == MAX_DEPARTURES
    assert (b"m" * 32, "net0") not in departures
    assert not departures.of(b"o" * 32)
    departures.restore([SavedDeparture(b"short", "home"), SavedDeparture(b"o" * 32, "No Name"), SavedDeparture(b"o" * 32, "home")])
    assert departures.of(b"o" * 32) == ["home"]
    assert departures.end(b"o" * 32, "home")
    assert not departures.end(b"o" * 32, "home")
