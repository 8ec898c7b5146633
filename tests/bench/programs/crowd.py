"""Hundreds of real nodes in one process, each with a socket of its own, as the peers of one node that is weighed.

    python -m tests.bench.programs.crowd HOST COUNT INVITE…

Nodes of one network all build tunnels to each other, so that one network of 500 would be 125,000 tunnels. The crowd is therefore
spread over many networks, each with ten of the crowd in it: those of the invites, and others that the crowd makes itself and whose
invites it prints, for the weighed node to join (a node may own 16 networks and be in 64). To the weighed node they are 500 peers like
any others.

Prints ``{"invites": […]}`` once those networks exist, and serves until it is ended.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from userlan.driver.engine import Engine
from userlan.driver.reactor import use_monotonic_time
from userlan.lan.invite import Invite
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import Ready, RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

MEMBERS = 11
"""Of the crowd in one network."""
KEEPALIVE = 60.0
"""Seconds between signs of life that the crowd asks for; the weighed node asks at its own pace."""
PACE = 0.03
"""Seconds between two starts."""


def networks_needed(count: int) -> int:
    """How many networks hold a crowd."""
    return -(-count // MEMBERS)


class Member:
    """One node of the crowd."""

    def __init__(self, reactor: Any, host: str, name: str, mediator: Invite, done: Callable[[], None]) -> None:
        self._reactor, self._done = reactor, done
        engine = Engine(reactor)
        port = engine.listen(host, 0)
        now = reactor.seconds()
        self.node = Node(
            os.urandom(32), Memory(), name=name, entropy=os.urandom, now=now, wall_offset=time.time() - now, keepalive=KEEPALIVE
        )
        self._runner = engine.add(self.node, self._observe)
        self._mediator = self.node.mediators.add(mediator.mediator, now)
        for place, _ in mediator.endpoints:
            self.node.links[self._mediator].resolved(place, (place,), now)
        self.node.set_local_endpoints([Endpoint(UDP, host, port)], now)
        self.node.start(now)
        self._wanted: tuple[str, NetworkSecret, bool] | None = None
        self._runner.touch()

    def want(self, network: str, secret: NetworkSecret, make: bool) -> None:
        """Join a network, or make it, once the mediator is there."""
        self._wanted = (network, secret, make)

    def _observe(self, event: object) -> None:
        if isinstance(event, Ready) and self._wanted is not None:
            network, secret, make = self._wanted
            self._wanted = None
            ask = self.node.create if make else self.node.join
            ask(network, self._mediator, secret, self._reactor.seconds())
            self._runner.touch()
        elif isinstance(event, RequestDone):
            self._done()
        elif isinstance(event, RequestRefused):
            sys.exit(f"{self.node.name}: {event.text}")


def main() -> None:
    """See the module."""
    from twisted.internet import reactor

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, count, *links = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    invites = [Invite.parse(link) for link in links]
    use_monotonic_time(reactor)
    made: list[Invite] = []
    places = []
    for number in range(networks_needed(count)):
        if number < len(invites):
            network, secret = invites[number].network, invites[number].secret
            assert network is not None
            assert secret is not None
            places.append((network, NetworkSecret(secret), 0))
        else:
            invite = Invite(invites[0].endpoints, invites[0].mediator_key, f"crowd{number}", os.urandom(16))
            made.append(invite)
            places.append((f"crowd{number}", NetworkSecret(invite.secret or b""), MEMBERS))
    waiting = {"made": len(made)}

    def done() -> None:
        waiting["made"] -= 1
        if waiting["made"] == 0:
            tell()

    def tell() -> None:
        print(json.dumps({"invites": [str(invite) for invite in made]}), flush=True)

    def start(number: int) -> None:
        place, first = number // MEMBERS, number % MEMBERS == 0
        network, secret, own = places[place]
        make = bool(own) and first
        member = Member(reactor, host, f"crowd{number}", invites[0], done if make else lambda: None)
        member.want(network, secret, make)

    clock: Any = reactor
    firsts = [number for number in range(count) if number % MEMBERS == 0]
    others = [number for number in range(count) if number % MEMBERS]
    for position, number in enumerate(firsts + others):     # the makers first: the others find their networks made
        clock.callLater(position * PACE + (2.0 if number % MEMBERS else 0.0), start, number)
    if not made:
        clock.callLater(0, tell)
    clock.run()


if __name__ == "__main__":
    main()
