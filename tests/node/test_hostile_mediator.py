"""What a hostile mediator can make a node send to somebody who has nothing to do with it, by all that it may say, at once and for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.hostile import Tap, crowd, say
from tests.node.lan import MEDIATOR_HOST, VirtualLan
from userlan.control import grants
from userlan.control.meeting import Introduce, Measure, RelayInfo, RelayOffer, RelayOffers, RelayPool, ServerEndpoint, Vantages
from userlan.control.messages import Candidate, Message, Observed
from userlan.node.measuring import HOST_BURST, HOST_RATE
from userlan.node.node import Node
from userlan.node.punching import TARGET_BURST, TARGET_RATE, TOTAL_BURST, TOTAL_RATE
from userlan.traversal.probe import ProbeKey
from userlan.traversal.step import Plan, Step
from userlan.wire.endpoint import Endpoint

VICTIM = "198.51.100.200"
MEMBERS = 12
SECONDS = 8


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
        offers = tuple(
            RelayOffer(relay(64 + one, host, turn), bytes(grants.GRANT_SIZE), bytes([number, one]) * 4, bytes(32)) for one in range(3)
        )
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
    settled = each[2:-1]
    print(f"a second: {each}; {len(tap.ports[VICTIM])} ports, {tap.octets[VICTIM]} octets")
    assert max(each) < 3_400
    assert sum(settled) / len(settled) < 120


def test_the_hosts_of_a_whole_network_get_no_more_together_than_a_node_may_send_at_all(lan: VirtualLan) -> None:
    anna = lone(lan)
    peers = crowd(lan, anna, MEMBERS)
    tap = Tap(anna)
    hosts = [f"198.51.100.{number}" for number in range(1, 255)]
    for turn in range(2 * SECONDS):
        for number, peer in enumerate(peers):
            own = [hosts[(14 * (turn * MEMBERS + number) + one) % len(hosts)] for one in range(14)]
            offers = tuple(
                RelayOffer(
                    RelayInfo(bytes([turn, number, one]) * 10 + b"xx", "r", tuple(ServerEndpoint(host, 1 + turn) for host in own)),
                    bytes(grants.GRANT_SIZE), bytes([turn, number, one, 0]) * 2, bytes(32),
                )
                for one in range(3)
            )  # fmt: skip
            named = tuple(Candidate(host, 1 + turn, "udp", "observed") for host in own)
            say(lan, anna, Introduce(peer, named, 0.0, bytes([turn, number]) * 8, Plan(), offers))
        lan.world.run(0.5)
    each = tap.of(*hosts)
    print("a second, to 254 hosts:", each)
    assert max(each) < TOTAL_RATE + TOTAL_BURST + 2000
    assert max(tap.by_second[host, second] for host, second in tap.by_second if host in hosts) < 200


def test_a_relay_that_a_mediator_names_is_never_this_computer(lan: VirtualLan) -> None:
    """Unless the mediator is on it, too. It says where it sees this node, and may say anything."""
    anna = lone(lan)
    (peer,) = crowd(lan, anna, 1)
    tap = Tap(anna)
    here = tuple(ServerEndpoint(host, 6379, transport) for host in ("127.0.0.1", "::1") for transport in ("udp", "tcp"))
    info = RelayInfo(b"r" * 32, "r", here)
    offer = RelayOffer(info, bytes(grants.GRANT_SIZE), bytes(8), bytes(32))
    for seen in ("127.0.0.1", "10.0.0.1"):
        observed = Observed(Candidate(seen, 41414, "udp", "observed"))
        say(lan, anna, observed, Vantages(here, here), RelayPool((info,)), RelayOffers(peer, (offer,)), seconds=5.0)
    assert tap.of("127.0.0.1", "::1") == []


def test_a_mediator_whose_name_points_to_somebody_else_as_well_has_few_requests_sent_there(lan: VirtualLan) -> None:
    anna = lone(lan)
    (peer,) = crowd(lan, anna, 1)
    link = anna.links[lan.mediator.public_key]
    link.resolved(MEDIATOR_HOST, (MEDIATOR_HOST, VICTIM), lan.world.now)
    tap = Tap(anna)
    for turn in range(100):
        token = bytes([turn]) * 16
        say(lan, anna, Measure(token, 64, (ServerEndpoint(VICTIM, 53), ServerEndpoint(VICTIM, 54))), seconds=0.2)
        say(lan, anna, Introduce(peer, (), 0.0, token, Plan(give_up=0.0)), seconds=0.2)      # the sockets are free for the next ones
    each = tap.of(VICTIM)
    print(each)
    assert sum(each) <= HOST_BURST + HOST_RATE * 41 + 10 * len(each)


@pytest.mark.parametrize("first", [True, False])
def test_a_peer_that_forges_a_victims_address_has_little_sent_there(lan: VirtualLan, first: bool) -> None:
    """With the introduction's token its probes are genuine, and what is heard is answered, probed, and tried by the tunnel."""
    anna = lone(lan)
    (peer,) = crowd(lan, anna, 1)
    tap, forged = Tap(anna), 0
    for turn in range(20):
        token = bytes([turn]) * 16
        say(lan, anna, Introduce(peer, (), 0.0, token, Plan(give_up=30.0), first=first))
        lan.world.run(0.05)
        other = ProbeKey(token, int(peer > anna.key))
        for number in range(100):
            source = Endpoint("udp", VICTIM, 1 + number % 40)
            anna.receive(other.probe(Endpoint("udp", "192.0.2.33", 41414), number, 0), 64, source, lan.world.now)
            lan.world.touch(lan.attachments["anna"])
            forged += 64
            lan.world.run(0.02)
    each = tap.of(VICTIM)
    print(f"{each} a second; {tap.octets[VICTIM]} octets for {forged}: {tap.octets[VICTIM] / forged:.2f} times")
    assert 0 < tap.octets[VICTIM] <= 3 * forged
    assert sum(each) <= TARGET_BURST + (TARGET_RATE + 20) * (len(each) + 1)
