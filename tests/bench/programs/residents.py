"""The members of one large network, each a real node with a socket and a chat of its own, as the company of one node that is weighed.

    python -m tests.bench.programs.residents FOLDER FIRST COUNT TOTAL SEED

Runs the members FIRST to FIRST+COUNT-1 of TOTAL, whose keys, network and port follow from SEED, as in :mod:`.chatterers`; member 0 is a
``userlan up`` of somebody else's, which begins with what the first of :func:`memories_of` says. Each of these has a tunnel to it alone,
since all their tunnels together (124,750 of five hundred) would be what is weighed. Their chats' histories are in FOLDER.

Prints ``ready`` once all serve. Then each line on its standard input is answered by a line of JSON::

    away N        the first N that are there take leave          back       those who are away come back, each as a new node
    heard         datagrams to everybody that they were told since they were asked last, ``count``, and when the last came, ``last``
                  (the system's monotonic clock)
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver

from bridges.chat import ChatBridge, ChatOptions
from tests.bench.programs.chatterers import FIRST_PORT, PORTS, Chatterer, host
from tests.node.acquainted import memories
from userlan.driver.bridge import BridgeStore
from userlan.driver.reactor import use_monotonic_time
from userlan.lan.secrets import SECRET_SIZE, NetworkSecret
from userlan.node.memory import Memory
from userlan.wire.endpoint import UDP, Endpoint

PACE = 0.02
"""Seconds between two that come back: people do not all come at one moment."""


def port_of(seed: str) -> int:
    """The port at which all of them are, each at its own address."""
    return FIRST_PORT + int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest(), "big") % PORTS


def keys_of(seed: str, total: int) -> list[bytes]:
    """Their private keys."""
    return [hashlib.blake2b(b"%d" % number, key=seed.encode(), digest_size=32).digest() for number in range(total)]


def memories_of(seed: str, total: int) -> list[Memory]:
    """What each remembers: the first one everybody, the others the first one."""
    secret = NetworkSecret(hashlib.blake2b(b"secret", key=seed.encode(), digest_size=SECRET_SIZE).digest())
    places = [Endpoint(UDP, host(number), port_of(seed)) for number in range(total)]
    return memories(keys_of(seed, total), places, secret, star=True)


class Resident(Chatterer):
    """A member with a chat."""

    def __init__(self, reactor: Any, folder: Path, number: int, port: int, key: bytes, memory: Memory) -> None:
        super().__init__(reactor, number, port, key, memory)
        self.number = number
        self.last = 0.0
        own = folder / str(number)
        own.mkdir(exist_ok=True)
        self.chat = ChatBridge(self.lan, ChatOptions(), BridgeStore(own / "chat.json"))

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        super().groupDatagramReceived(datagram, addr, group)
        self.last = self.engine.reactor.seconds()

    def leave(self) -> Deferred[Any]:
        """Say goodbye, as a node does that is told to end."""
        stopped: Deferred[Any] = self.chat.stop()
        stopped.addCallback(self._go)
        return stopped

    def _go(self, _: object) -> Deferred[None]:
        self.node.stop(self.engine.reactor.seconds())
        self.runner.touch()
        return self.engine.stop()


class Requests(LineReceiver):
    """What the section asks for."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, folder: Path, numbers: range, total: int, seed: str) -> None:
        self._reactor, self._folder, self._port = reactor, folder, port_of(seed)
        self._keys, self._memories = keys_of(seed, total), memories_of(seed, total)
        self._there: dict[int, Resident] = {}
        self._away: list[int] = []
        DeferredList([self._come(number) for number in numbers], fireOnOneErrback=True).addCallbacks(self._serve, self._failed)

    def lineReceived(self, line: bytes) -> None:
        word, *more = line.decode().split()
        if word == "away":
            self._away = list(self._there)[: int(more[0])]
            leaving = DeferredList([self._there.pop(number).leave() for number in self._away], fireOnOneErrback=True)
            leaving.addCallbacks(self._answered, self._failed, callbackArgs=({"away": len(self._away)},))
        elif word == "back":
            back, self._away = self._away, []
            for place, number in enumerate(back):
                self._reactor.callLater(place * PACE, self._come, number)
            self._answered(None, {"back": len(back)})
        elif word == "heard":
            heard = [one for one in self._there.values() if one.counts["heard broadcast"]]
            answer = {"count": sum(one.counts["heard broadcast"] for one in heard), "last": max((one.last for one in heard), default=0.0)}
            for one in heard:
                one.counts.clear()
            self._answered(None, answer)

    def connectionLost(self, reason: Any = None) -> None:
        self._reactor.stop()

    def _come(self, number: int) -> Deferred[None]:
        there = self._there[number] = Resident(
            self._reactor, self._folder, number, self._port, self._keys[number], self._memories[number]
        )
        return there.chat.start()

    def _serve(self, _: object) -> None:
        print("ready", flush=True)

    def _answered(self, _: object, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), flush=True)

    def _failed(self, failure: Any) -> None:
        failure.printTraceback()
        os._exit(1)


def main() -> None:
    """See the module."""
    from twisted.internet import reactor

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder, (first, count, total), seed = Path(sys.argv[1]), (int(word) for word in sys.argv[2:5]), sys.argv[5]
    use_monotonic_time(reactor)
    clock: Any = reactor
    StandardIO(Requests(clock, folder, range(first, first + count), total, seed))  # type: ignore[no-untyped-call]  # Twisted's is untyped
    clock.run()


if __name__ == "__main__":
    main()
