"""The end of a node that is asked for from outside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from userlan.app.api import Api
from userlan.app.foreground import Foreground
from userlan.app.program import NodeProgram


class Program(Foreground):
    """Ends as it is told."""

    def __init__(self, end: Deferred[Any]) -> None:
        self.stops = 0
        clock: Any = Clock()
        clock.running = True
        clock.stop = self._stopped
        super().__init__(clock)
        self.node = SimpleNamespace(ipv6=bytes(16))
        self._end = end

    def _stopped(self) -> None:
        self.stops += 1

    def stop(self, status: int = 0) -> Deferred[Any]:
        self.begins_to_end(status)
        return self._end.addCallback(lambda _: self.ended())


def api_of(program: Program) -> Api:
    return Api(cast(NodeProgram, program))


def test_a_node_says_that_it_is_about_to_end_from_the_first_word_on() -> None:
    """The answer leaves before the end begins; a command that comes in between starts another one."""
    end: Deferred[Any] = Deferred()
    program = Program(end)
    api = api_of(program)
    assert api.hello({})["ending"] is False
    assert api.down({}) == {}
    assert api.hello({})["ending"] is True
    program.reactor.advance(1)
    assert (program.ending, program.stops) == (True, 0)
    end.callback(None)
    assert (program.stops, program.exit_status) == (1, 0)
    assert api_of(program).hello({})["ending"] is True, "whoever has ended it"


def test_a_node_that_does_not_stop_in_order_ends_all_the_same(logged_failures: list[Any]) -> None:
    program = Program(fail(OSError("a bridge")))
    api_of(program).down({})
    program.reactor.advance(1)
    assert (program.stops, program.exit_status) == (1, 1)
    assert logged_failures.pop().check(OSError)
