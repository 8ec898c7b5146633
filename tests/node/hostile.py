"""A mediator that is an enemy, over its real session with a node; and what leaves a node, by host and second."""

from __future__ import annotations

from collections import Counter

from tests.node.lan import VirtualLan
from userlan.control.messages import MemberChanged, MemberState, Message
from userlan.node.node import Node
from userlan.tunnel.primitives import public_key
from userlan.wire.burst import Burst
from userlan.wire.endpoint import RELAY


class Tap:
    """Counts the datagrams (and attempts to connect) that a node lets out, by host and second; ``octets`` by host."""

    def __init__(self, node: Node) -> None:
        self.by_second: Counter[tuple[str, int]] = Counter()
        self.octets: Counter[str] = Counter()
        self.ports: dict[str, set[int]] = {}
        self._datagrams = node.datagrams
        node.datagrams = self.datagrams  # type: ignore[method-assign]

    def datagrams(self, now: float) -> list[Burst]:
        bursts = self._datagrams(now)
        for burst in bursts:
            endpoint = burst.endpoint
            assert endpoint.transport != RELAY
            segment = burst.segment or len(burst.data) or 1
            self.by_second[endpoint.host, int(now)] += max(1, -(-len(burst.data) // segment))
            self.octets[endpoint.host] += len(burst.data)
            self.ports.setdefault(endpoint.host, set()).add(endpoint.port)
        return bursts

    def of(self, *hosts: str) -> list[int]:
        """Packets in each second, the first one first, to any of these."""
        seconds: Counter[int] = Counter()
        for (host, second), count in self.by_second.items():
            if host in hosts:
                seconds[second] += count
        return [seconds[one] for one in range(min(seconds), max(seconds) + 1)] if seconds else []


def say(lan: VirtualLan, node: Node, *messages: Message, seconds: float = 0.0) -> None:
    """The mediator says whatever a hostile one would."""
    session = lan.mediator._sessions.ready(node.key)
    assert session is not None
    for message in messages:
        lan.mediator._desk._send(session, message)
    lan.world.run(seconds)


def crowd(lan: VirtualLan, node: Node, count: int, name: str = "home") -> list[bytes]:
    """Members that the mediator invents, beside those that there are; their keys."""
    keys = [public_key((number + 1).to_bytes(32, "big")) for number in range(count)]
    for number, key in enumerate(keys, 1):
        say(lan, node, MemberChanged(name, MemberState(key, f"x{number}", bytes((25, 1, number >> 8, number & 255)), True)))
    lan.world.run(1.0)
    assert all(key in node.roster.peers for key in keys)
    return keys
