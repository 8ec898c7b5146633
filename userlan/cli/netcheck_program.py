"""A netcheck without a node: one measures from own sockets, under a key that is forgotten afterwards, and ends."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.internet.error import CannotListenError

from userlan import __version__
from userlan.app.interfaces import local_addresses
from userlan.cli.client import ApiError
from userlan.cli.links import mediator_link
from userlan.cli.main import Settings
from userlan.driver.engine import Engine
from userlan.driver.reasons import listen_error
from userlan.node.memory import Memory, SavedMediator
from userlan.node.nat_report import report
from userlan.node.node import Node
from userlan.wire.endpoint import TCP, UDP, Endpoint

PATIENCE = 12.0
"""Seconds for the mediator to be reached (by TCP too) and for the measurement."""
RELAYS = 3.5
"""Seconds for which the delays of relays are waited for after it: one round of ``userlan.node.relay_delays`` takes 2.7."""
POLL = 0.05


def measure(settings: Settings, mediator: str | None) -> dict[str, Any]:
    """The report. ``mediator`` is its link; without one, those of the state folder are asked. ApiError where nobody answers."""
    known = [str(mediator_link(mediator).mediator)] if mediator is not None else remembered(settings)
    if not known:
        raise ApiError("no mediator is known that could be asked: name one by --mediator URL, or join a network first")
    from twisted.internet import reactor as installed

    from userlan.driver.reactor import use_monotonic_time

    reactor: Any = installed
    use_monotonic_time(reactor)
    program = Measurement(reactor, known)
    reactor.callWhenRunning(program.start)
    reactor.run()
    if program.failure:
        raise ApiError(program.failure)
    return program.told


def remembered(settings: Settings) -> list[str]:
    """The mediators that the node of the state folder has used; its own, embedded one cannot run now. The folder is not held for it: a node
    that starts just then would not."""
    from userlan.driver.state import load_json

    try:
        memory = Memory.load(load_json(settings.state / "memory.json", lambda text: None))
    except ValueError as error:
        raise ApiError(str(error)) from None
    return [saved.url for saved in memory.mediators if not saved.embedded]


class Measurement:
    """One node that measures and goes. ``told`` is its report, ``failure`` why there is none."""

    def __init__(self, reactor: Any, mediators: list[str]) -> None:
        self.told: dict[str, Any] = {}
        self.failure = ""
        self._reactor = reactor
        self._engine = Engine(reactor)
        now = reactor.seconds()
        self._until = now + PATIENCE
        self._node = Node(
            os.urandom(32),
            Memory(mediators=[SavedMediator(url) for url in mediators]),
            name="netcheck",
            entropy=os.urandom,
            now=now,
            wall_offset=time.time() - now,
            agent=f"userlan {__version__}",
        )

    def start(self) -> None:
        """Listen on a free port, reach the mediators, measure."""
        try:
            port = self._engine.listen_dual(0)
        except CannotListenError as error:
            self._end(listen_error(error))
            return
        self._runner = self._engine.add(self._node, lambda event: None)
        now = self._reactor.seconds()
        hosts = local_addresses() or ["127.0.0.1"]
        self._node.set_local_endpoints([Endpoint(transport, host, port) for transport in (UDP, TCP) for host in hosts], now)
        for link in self._node.links.values():
            for host, _ in link.addresses:
                self._resolve(link, host)
        self._node.start(now)
        self._runner.touch()
        self._look()

    def _resolve(self, link: Any, host: str) -> None:
        from twisted.internet.threads import deferToThread

        from userlan.app.interfaces import look_up

        def resolved(numbers: tuple[str, ...]) -> None:
            link.resolved(host, numbers, self._reactor.seconds())
            self._runner.tick(self._reactor.seconds())
            self._engine.pump()

        deferToThread(look_up, host).addCallback(resolved)

    def _look(self) -> None:
        """Whether it is done: the measurement, and the relays' delays soon after."""
        now = self._reactor.seconds()
        watch = self._node.reachability
        waits = watch.at is not None and self._node.relays.pool and not self._node.relays.delays and now < watch.at + RELAYS
        if watch.at is not None and not waits:
            self.told = report(self._node)
            self._end("")
        elif now >= self._until:
            reasons = [link.reason for link in self._node.links.values() if link.reason]
            self._end(reasons[0] if reasons else "the mediator does not tell from where one is seen: is it an older one?")
        else:
            self._reactor.callLater(POLL, self._look)

    def _end(self, failure: str) -> None:
        self.failure = failure
        self._node.stop(self._reactor.seconds())
        self._engine.stop(0.1).addBoth(lambda _: self._reactor.stop())
