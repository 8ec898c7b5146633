"""What a hostile mediator can make a node send to somebody who has nothing to do with it, by all that it may say, at once and for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.hostile import Tap, crowd, say
from tests.node.lan import MEDIATOR_HOST, VirtualLan
from userlan.control import grants
from userlan.control.meeting import Introduce, Measure, RelayInfo, RelayOffer, RelayOffers, RelayPool, ServerEndpoint, Vantages
from userlan.control.messages import Candidate, Message, Observed
from userlan.node.node import Node
from userlan.traversal.step import Plan, Step

VICTIM = "198.51.100.200"
MEMBERS = 8
SECONDS = 4


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


def lone(lan: VirtualLan) -> Node:
    """A node with a mediator and a network of its own."""
    node = lan.node("anna", lan.internet, "192.0.2.33")
    lan.ready(node)
    lan.network(node)
    return node


def endpoints(host: str, turn: int) -> tuple[ServerEndpoint, ...]:
    return tuple(ServerEndpoint(host, 1 + (16 * turn + number) % 65535, "tcp" if number % 2 else "udp") for number in range(16))


def relay(number: int, host: str, turn: int) -> RelayInfo:
    return RelayInfo(bytes([number]) * 32, f"r{number}", endpoints(host, turn))


def worst(peers: list[bytes], host: str, turn: int) -> list[Message]:
    """All that names a host, for one round: introductions with the greediest plans, offers, pools, vantages, measurements."""
    steps = tuple(
        Step(host, 1, 2048, last=65535, scattered=True, spacing=0.0, rounds=40, interval=0.0, sockets=sockets, transport=transport)
        for transport in ("udp", "tcp") for sockets in (0, 64)
    )  # fmt: skip
    named = tuple(Candidate(host, 1 + (16 * turn + number) % 65535, "udp", "observed") for number in range(14))
    said: list[Message] = [
        Observed(Candidate(f"203.0.113.{turn % 200}", 5, "udp", "observed")),
        Vantages(endpoints(host, turn), endpoints(host, turn)),
        RelayPool(tuple(relay(number, host, turn) for number in range(64))),
    ]
    for number, peer in enumerate(peers):
        token = bytes([turn & 255, number]) * 8
        offers = tuple(RelayOffer(relay(64 + one, host, turn), bytes(grants.GRANT_SIZE), bytes([number, one]) * 4, bytes(32)) for one in range(3))
        said.append(Measure(token, 64, (ServerEndpoint(MEDIATOR_HOST, 9), *endpoints(host, turn)[:4])))
        said.append(Introduce(peer, named, 0.0, token, Plan("simultaneous", steps, give_up=30.0), offers))
        said.append(RelayOffers(peer, offers))
    return said


def test_the_worst_sequence_of_messages_is_no_flood(lan: VirtualLan) -> None:
    anna = lone(lan)
    peers = crowd(lan, anna, MEMBERS)
    tap = Tap(anna)
    for turn in range(2 * SECONDS):
        say(lan, anna, *worst(peers, VICTIM, turn), seconds=0.5)
    each = tap.of(VICTIM)
    settled = sorted(each[-10:])
    print(f"most in a second {max(each)}, then {sum(settled) / len(settled):.0f}/s, {len(tap.ports[VICTIM])} ports, {tap.octets[VICTIM]} octets", each)
    assert max(each) < 3_200
    assert sum(settled) / len(settled) < 120
