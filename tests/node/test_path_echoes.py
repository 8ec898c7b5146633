"""A path's questions: answered by the way by which they came, by older nodes as by any IPv6 host; what is none of them passes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.tunnel.virtual import Network, Side, connected
from userlan.lan.addresses import ipv6_of
from userlan.node.path_echoes import ANSWER_BURST, MAX_PAYLOAD, PATH_IDENTIFIER, PROBE_ANSWER, PROBE_IDENTIFIER, PathEchoes
from userlan.wire import icmpv6
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.superpacket import SuperPacket

WAY = Endpoint(UDP, "203.0.113.5", 7, 2)
"""By another own socket."""


class Scene:
    def __init__(self) -> None:
        self.a, self.b, self.network = connected(1)
        self.echoes = {side: PathEchoes(side.device) for side in (self.a, self.b)}

    def packet(self, message: icmpv6.Message, source: bytes = b"", destination: bytes = b"") -> SuperPacket:
        """From A to B."""
        ends = source or ipv6_of(self.a.device.public_key), destination or ipv6_of(self.b.device.public_key)
        return icmpv6.build(message, *ends)

    def received(self, packet: SuperPacket) -> int | None:
        return self.echoes[self.b].received(self.a.device.public_key, packet, WAY, self.network.now)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def bursts(side: Side, network: Network) -> list[Endpoint]:
    return [burst.endpoint for burst in side.device.datagrams(network.now)]


def test_a_question_goes_by_its_path_and_the_answer_by_where_it_came_from(scene: Scene) -> None:
    scene.echoes[scene.a].ask(scene.b.device.public_key, 7, WAY, scene.network.now)
    (question,) = scene.a.device.datagrams(scene.network.now)
    assert question.endpoint == WAY
    seen = Endpoint(UDP, "198.51.100.9", 4242)
    (inbound,) = scene.b.device.receive(bytes(question.data), 0, seen, scene.network.now)
    assert scene.echoes[scene.b].received(scene.a.device.public_key, inbound.packets[0], seen, scene.network.now) == -1
    (answer,) = scene.b.device.datagrams(scene.network.now)
    assert answer.endpoint == seen
    assert len(answer.data) == len(question.data), "no amplification"
    (inbound,) = scene.a.device.receive(bytes(answer.data), 0, WAY, scene.network.now)
    assert scene.echoes[scene.a].received(scene.b.device.public_key, inbound.packets[0], WAY, scene.network.now) == 7


@pytest.mark.parametrize("kind", ["identifier", "long", "error", "to another", "from another"])
def test_what_is_no_question_is_left_to_the_stack(scene: Scene, kind: str) -> None:
    echo = icmpv6.Echo(True, PATH_IDENTIFIER, 1, b"x")
    other = ipv6_of(bytes(32))
    packet = {
        "identifier": scene.packet(echo._replace(identifier=7)),
        "long": scene.packet(echo._replace(payload=bytes(MAX_PAYLOAD + 1))),
        "error": scene.packet(icmpv6.Unreachable(0, b"quoted")),
        "to another": scene.packet(echo, destination=other),
        "from another": scene.packet(echo, source=other),
    }[kind]
    assert scene.received(packet) is None
    assert bursts(scene.b, scene.network) == []


def test_a_probe_of_the_mtu_is_answered_in_few_octets(scene: Scene) -> None:
    """RFC 8899 4.1: what acknowledges a probe need not have its size; the answer to one is the stack's business."""
    probe = icmpv6.Echo(True, PROBE_IDENTIFIER, 9, bytes(60_000))
    assert scene.received(scene.packet(probe)) == -1
    (answer,) = scene.b.device.datagrams(scene.network.now)
    assert (answer.endpoint, len(answer.data) < 120) == (WAY, True)
    (inbound,) = scene.a.device.receive(bytes(answer.data), 0, WAY, scene.network.now)
    assert icmpv6.parse(inbound.packets[0]) == icmpv6.Echo(False, PROBE_IDENTIFIER, 9, bytes(PROBE_ANSWER))
    assert scene.echoes[scene.a].received(scene.b.device.public_key, inbound.packets[0], WAY, scene.network.now) is None


def test_a_program_whose_ping_has_the_same_identifier_gets_all_of_it_back(scene: Scene) -> None:
    """RFC 4443 4.2: it fills its echoes with something."""
    assert scene.received(scene.packet(icmpv6.Echo(True, PROBE_IDENTIFIER, 9, bytes(range(256))))) is None


def test_answers_are_limited(scene: Scene) -> None:
    question = scene.packet(icmpv6.Echo(True, PATH_IDENTIFIER, 1, b"x"))
    assert {scene.received(question) for _ in range(ANSWER_BURST + 500)} == {-1}
    answers = sum(len(burst.data) // burst.segment for burst in scene.b.device.datagrams(scene.network.now))
    assert answers == ANSWER_BURST


@pytest.mark.parametrize("older", ["neither", "ben"])
def test_a_pair_measures_and_keeps_its_paths_with_an_older_node_too(tmp_path: Path, older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that knows nothing of paths: its stack answers the echo (RFC 4443 4.2)."""
    lan = VirtualLan(tmp_path)
    anna, ben = lan.node("anna", lan.internet, "198.51.100.1"), lan.node("ben", lan.internet, "198.51.100.2")
    if older == "ben":
        monkeypatch.setattr(ben.peers, "path_echo", lambda *anything: False)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run(30.0)
    (path, *_) = anna.peers.links[ben.key].paths.paths()
    assert not path.doubted
    assert path.rtt == 0.0
    assert anna.peers.shown(ben.key)[0] == ben.peers.shown(anna.key)[0] == "direct"
