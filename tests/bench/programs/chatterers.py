"""Real nodes that know each other and talk to all, each with a socket of its own on a loopback address.

    python -m tests.bench.programs.chatterers FIRST COUNT TOTAL SEED [mesh]

Runs the nodes FIRST to FIRST+COUNT-1 of TOTAL, whose keys, network and port follow from SEED. Node 0 is the one that is weighed: it has a
tunnel to each other. The others have one to it alone, since all their tunnels together (1,225 of fifty nodes) would be what is weighed; to
node 0 they are members like any others, and what it does is what each of fifty would do. ``mesh``: each has a tunnel to each.

Prints ``met`` once each of its nodes reaches all that it knows, and the seconds of processor time that this took. Then each line on its
standard input is a phase::

    SECONDS RATE SIZE        every node of this process broadcasts RATE datagrams of SIZE octets a second; every fourth goes to a group,
                             which every fifth member has joined, instead

and is answered by a line of JSON: ``sent`` and ``heard`` (datagrams of the programs, by ``broadcast`` and ``group``), ``cpu`` and
``seconds``, and ``gone``, how often a node has lost a member that it reached, since it began. What is under way when a phase ends is
waited for.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections import Counter
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver

from tests.node.acquainted import memories
from userlan.driver.ciphers import aes_pays
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.reactor import use_monotonic_time
from userlan.lan.secrets import SECRET_SIZE, NetworkSecret
from userlan.lan.storm import Storms
from userlan.node.events import PeerChanged
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

FIRST_PORT, PORTS, TALK_PORT = 20_000, 10_000, 6_000
"""The nodes' port is one of these, below those that systems give out: two runs on one computer do not meet."""
GROUP, BROADCAST = "239.7.7.7", "255.255.255.255"
GROUP_TURN, LISTENER_TURN = 4, 5
"""Every fourth datagram goes to the group, which every fifth member has joined."""
START = 0.5
"""Seconds from the command to the first word: by then the other processes have heard theirs."""
LAST_WORDS, MOST_WORDS = 1.0, 20
"""Seconds without anything heard after which a phase is over, and how often they are waited for: a busy machine has much in its sockets."""


def host(number: int) -> str:
    """Each its own address: what goes to one host is limited."""
    return f"127.7.{number // 250}.{number % 250 + 1}"


def processor_time() -> float:
    """Of this process, seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Chatterer(DatagramProtocol):
    """One node and its talkative program."""

    transport: Any

    def __init__(self, reactor: Any, number: int, port: int, key: bytes, memory: Memory) -> None:
        self.counts: Counter[str] = Counter()
        self.said = 0
        engine = self.engine = Engine(reactor)
        engine.listen(host(number), port)
        now = reactor.seconds()
        self.node = Node(
            key, memory, name=memory.name, entropy=os.urandom, now=now, wall_offset=time.time() - now, bulk_over_tcp=False, aes=aes_pays(),
            storms=Storms(0, 0),
        )
        self.gone = 0
        self._reached: set[bytes] = set()
        runner = self.runner = engine.add(self.node, self._happened)
        self.node.set_local_endpoints([Endpoint(UDP, host(number), port)], now)
        self.lan = Lan(runner, self.node.lookup)
        self.lan.datagram_port(self, TALK_PORT)
        if number % LISTENER_TURN == 0:
            self.transport.joinGroup(GROUP)
        self.transport.setLoopbackMode(False)
        self.node.start(now)
        runner.touch()

    @property
    def met(self) -> bool:
        return all(link.up for link in self.node.peers.links.values())

    def _happened(self, event: object) -> None:
        if isinstance(event, PeerChanged):
            reached = event.state in ("direct", "relayed")
            self.gone += event.key in self._reached and not reached
            self._reached = self._reached | {event.key} if reached else self._reached - {event.key}

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        self.counts["heard group" if group == GROUP else "heard broadcast"] += 1

    def talk(self, size: int) -> None:
        """Say the next thing."""
        self.said += 1
        to_group = self.said % GROUP_TURN == 0
        self.counts["sent group" if to_group else "sent broadcast"] += 1
        self.transport.write(self.said.to_bytes(8, "big").ljust(size, b"."), (GROUP if to_group else BROADCAST, TALK_PORT))


class Commands(LineReceiver):
    """The phases."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, nodes: list[Chatterer]) -> None:
        self._reactor = reactor
        self._nodes = nodes

    def lineReceived(self, line: bytes) -> None:
        for node in self._nodes:
            node.counts.clear()
        self._reactor.callLater(START, self._begin, *(float(word) for word in line.split()))

    def _begin(self, seconds: float, rate: float, size: float) -> None:
        loops = []
        for place, node in enumerate(self._nodes if rate else ()):     # not all at one moment
            loop = LoopingCall(node.talk, int(size))
            loop.clock = self._reactor
            loops.append(loop)
            self._reactor.callLater(place / len(self._nodes) / rate, loop.start, 1 / rate)
        self._reactor.callLater(seconds, self._quiet, loops, self._reactor.seconds(), processor_time())

    def _quiet(self, loops: list[LoopingCall], began: float, cpu: float) -> None:
        for loop in loops:
            loop.stop()
        told = {"seconds": self._reactor.seconds() - began, "cpu": processor_time() - cpu}
        self._reactor.callLater(LAST_WORDS, self._answer, told, self._total(), MOST_WORDS)

    def _total(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for node in self._nodes:
            total += node.counts
        return total

    def _answer(self, told: dict[str, Any], before: Counter[str], left: int) -> None:
        total = self._total()
        if total != before and left:
            self._reactor.callLater(LAST_WORDS, self._answer, told, total, left - 1)
            return
        for word in ("sent", "heard"):
            told[word] = {to: total[f"{word} {to}"] for to in ("broadcast", "group")}
        told["gone"] = sum(node.gone for node in self._nodes)
        print(json.dumps(told), flush=True)

    def connectionLost(self, reason: Any = None) -> None:
        self._reactor.stop()


def main() -> None:
    """See the module."""
    from twisted.internet import reactor

    first, count, total = (int(word) for word in sys.argv[1:4])
    seed = sys.argv[4].encode()
    port = FIRST_PORT + int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest(), "big") % PORTS
    use_monotonic_time(reactor)
    clock: Any = reactor
    keys = [hashlib.blake2b(b"%d" % number, key=seed, digest_size=32).digest() for number in range(total)]
    secret = NetworkSecret(hashlib.blake2b(b"secret", key=seed, digest_size=SECRET_SIZE).digest())
    remembered = memories(keys, [Endpoint(UDP, host(number), port) for number in range(total)], secret, star="mesh" not in sys.argv[5:])
    begun = processor_time()
    nodes = [Chatterer(clock, number, port, keys[number], remembered[number]) for number in range(first, first + count)]
    StandardIO(Commands(clock, nodes))  # type: ignore[no-untyped-call]  # Twisted's is untyped

    def look() -> None:
        if all(node.met for node in nodes):
            looking.stop()
            print(f"met {processor_time() - begun:.3f}", flush=True)

    looking = LoopingCall(look)
    looking.clock = clock
    looking.start(0.2)
    clock.run()


if __name__ == "__main__":
    main()
