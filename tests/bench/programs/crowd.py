"""Hundreds of real nodes in one process, each with sockets of its own, as the peers of one node that is weighed.

    python -m tests.bench.programs.crowd HOST COUNT KEY INVITE…

Members of a network all build tunnels to each other: 500 nodes would have 125,000, and the crowd would be what is weighed. So each of
these nodes keeps a tunnel to the weighed node alone (``KEY``) and answers none of the others, and they are spread over the networks of
the invites, so that their rosters are short. To the weighed node they are 500 peers like any others, whose handshakes, echoes and
presence it sees whole.

Prints ``joined`` once all are members, and serves until it is ended; a refused request ends it with the reason.
"""

from __future__ import annotations

import base64
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from userlan.driver.engine import Engine
from userlan.driver.reactor import use_monotonic_time
from userlan.lan.invite import Invite
from userlan.lan.roster import Changes
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import Ready, RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

KEEPALIVE = 60.0
"""Seconds between signs of life that the crowd asks for; the weighed node asks at its own pace."""
ATTEMPTS = 5
"""Requests to join that may go unanswered: the crowd is one process, which other work on the machine starves."""
PACE = 0.05
"""Seconds between two starts: faster than people come, slow enough for one core to keep up."""


class Guest(Node):
    """A node that has a tunnel to one member alone."""

    host_key = b""

    def roster_changed(self, changes: Changes, now: float) -> None:
        """The others of the network are known by name and no more."""
        only = {self.host_key}
        mine = changes._replace(added=changes.added & only, removed=changes.removed & only, changed=changes.changed & only)
        super().roster_changed(mine, now)


class Member:
    """One node of the crowd: it joins its network once the mediator is there."""

    def __init__(self, reactor: Any, host: str, name: str, invite: Invite, key: bytes, joined: Callable[[], None]) -> None:
        self._reactor, self._joined, self._invite, self._asked = reactor, joined, invite, False
        self._attempts = 0
        engine = Engine(reactor)
        port = engine.listen(host, 0)
        now = reactor.seconds()
        self.node = Guest(
            os.urandom(32), Memory(), name=name, entropy=os.urandom, now=now, wall_offset=time.time() - now, keepalive=KEEPALIVE
        )
        self.node.host_key = key
        self._runner = engine.add(self.node, self._observe)
        self._mediator = self.node.mediators.add(invite.mediator, now)
        for place, _ in invite.endpoints:
            self.node.links[self._mediator].resolved(place, (place,), now)
        self.node.set_local_endpoints([Endpoint(UDP, host, port)], now)
        self.node.start(now)
        self._runner.touch()

    def _join(self) -> None:
        self._attempts += 1
        network, secret = self._invite.network, self._invite.secret
        if network is None or secret is None:
            sys.exit("an invite without a network and its secret")
        self.node.join(network, self._mediator, NetworkSecret(secret), self._reactor.seconds())
        self._runner.touch()

    def _observe(self, event: object) -> None:
        if isinstance(event, Ready) and not self._asked:
            self._asked = True
            self._join()
        elif isinstance(event, RequestDone):
            self._joined()
        elif isinstance(event, RequestRefused) and event.code == "unreachable" and self._attempts < ATTEMPTS:
            self._join()
        elif isinstance(event, RequestRefused):
            print(f"{self.node.name}: {event.text}", file=sys.stderr, flush=True)
            os._exit(1)


def main() -> None:
    """See the module."""
    from twisted.internet import reactor

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, count, key = sys.argv[1], int(sys.argv[2]), base64.urlsafe_b64decode(sys.argv[3] + "=")
    invites = [Invite.parse(link) for link in sys.argv[4:]]
    use_monotonic_time(reactor)
    clock: Any = reactor
    missing = [count]

    def joined() -> None:
        missing[0] -= 1
        if missing[0] == 0:
            print("joined", flush=True)

    for number in range(count):
        clock.callLater(number * PACE, Member, clock, host, f"crowd{number}", invites[number % len(invites)], key, joined)
    clock.run()


if __name__ == "__main__":
    main()
