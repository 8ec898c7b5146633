"""The commands of who is in which network, with a program around them that answers as a test wants."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred

from userlan.app.membership_api import MembershipApi
from userlan.app.program import NodeProgram
from userlan.driver.bridge import CommandError


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
    waiting.pop(2).callback(None)
    waiting.pop(1).callback(None)
    assert told == [{"name": "nas"}]


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
