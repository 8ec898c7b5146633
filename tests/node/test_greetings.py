"""What changes between a greeting and its answer: a mediator hears of it as one hears that has answered already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.node.lan import VirtualLan
from tests.relay.lan import RelayedLan
from tests.sim.link import LinkProfile
from userlan.control.mediation import LinkState, MediatorLink
from userlan.control.meeting import RelayDelays
from userlan.control.messages import Candidates, Hello, Nick
from userlan.node.events import RequestDone
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

SLOW = LinkProfile(delay=0.05)
HOST, MAPPED = "198.51.100.1", Endpoint(UDP, "203.0.113.9", 50000)
UNDER_WAY = (LinkState.CONNECTING, LinkState.GREETING)


def link_of(node: Node) -> MediatorLink:
    (link,) = node.links.values()
    return link


def until(lan: VirtualLan, node: Node, state: LinkState) -> None:
    lan.world.run_until(lambda: link_of(node).state is state, 30)


@pytest.mark.parametrize("state", UNDER_WAY)
def test_an_endpoint_that_a_router_maps_just_then_is_known_to_the_mediator(tmp_path: Path, state: LinkState) -> None:
    lan = VirtualLan(tmp_path)
    anna = lan.node("anna", lan.internet, HOST, profile=SLOW)
    until(lan, anna, state)
    anna.set_mapped_endpoints([MAPPED], lan.world.now, "pcp")
    until(lan, anna, LinkState.READY)
    lan.world.run(1.0)
    offered = lan.mediator._matchmaker._members[anna.key].sight.offered
    assert MAPPED in [Endpoint(one.transport, one.host, one.port) for one in offered]


def test_a_greeting_that_is_still_true_is_not_said_again(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    anna = lan.node("anna", lan.internet, HOST, profile=SLOW)
    link: Any = link_of(anna)
    send, sent = link.send, []

    def note(message: Any, now: float) -> None:
        sent.append(message)
        send(message, now)

    link.send = note
    until(lan, anna, LinkState.READY)
    lan.world.run(1.0)
    assert [message for message in sent if isinstance(message, Hello | Candidates | Nick)] == [link.hello]


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_nickname_that_no_mediator_is_waited_for_is_told_all_the_same(tmp_path: Path, state: LinkState) -> None:
    """The greeting is written before this node is renamed, and answered after it."""
    lan = VirtualLan(tmp_path)
    anna, ben = lan.node("anna", lan.internet, HOST), lan.node("ben", lan.internet, "198.51.100.2", profile=SLOW)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.kill_mediator()
    lan.world.run(20.0)
    lan.start_mediator()
    until(lan, ben, state)
    (number,) = ben.nick("quentin", lan.world.now)
    assert lan.finish(ben, number) == RequestDone(number, "", "", later=True)
    assert link_of(ben).state is state
    ben.renamed("quentin")
    lan.world.run_until(lambda: anna.roster.name_of(ben.key) == "quentin", 15)


def test_what_is_said_before_the_greeting_is_not_the_first_word(tmp_path: Path) -> None:
    """A round of the relays may end just then; a mediator refuses a session that does not begin with a greeting."""
    lan = VirtualLan(tmp_path)
    anna = lan.node("anna", lan.internet, HOST, profile=SLOW)
    until(lan, anna, LinkState.CONNECTING)
    anna.send_to_mediator(lan.mediator.public_key, RelayDelays({}), lan.world.now)
    until(lan, anna, LinkState.READY)
    assert lan.mediator._desk.counters["refused"] == 0
    assert link_of(anna).reason == ""


def test_a_mediator_that_comes_back_hears_how_far_its_relays_are(tmp_path: Path) -> None:
    """In the session, not with the next round, up to five minutes later."""
    lan = RelayedLan(tmp_path)
    lan.relay("near", "203.0.113.1", 0.01)
    lan.world.run(2.0)
    anna = lan.member("anna", 1)
    lan.ready(anna)
    known = lan.mediator._relays.delays_of
    lan.world.run_until(lambda: bool(known(anna.key)), 10)
    lan.kill_mediator()
    lan.world.run(20.0)
    lan.start_mediator()
    known = lan.mediator._relays.delays_of
    lan.world.run_until(lambda: bool(known(anna.key)), 30)
