"""The mediator as a vantage point: its ports and addresses, who hears of what is seen, and relays that answer as another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mediator.harness import MEDIATOR_ADDRESS, Client, Lab
from tests.sim.internet import Attachment
from tests.traversal.vantages import Ways
from userlan.control.meeting import Reflect, RelayInfo, Serve, ServerEndpoint, Vantages
from userlan.mediator.relays import Relays
from userlan.mediator.service import Mediator
from userlan.mediator.vantage_points import VantagePoints
from userlan.traversal.observation import OTHER_HOST, Reply, Request, Seal, Wanted, tag_of
from userlan.traversal.vantage import Observation
from userlan.wire.burst import Burst
from userlan.wire.endpoint import UDP, Endpoint

SECOND = "192.0.2.2"
ASKER = Endpoint(UDP, "198.51.100.7", 40_000)


class Socket(Ways):
    """One socket that asks the mediator."""

    def __init__(self, key: bytes) -> None:
        self.seal = Seal(key)
        self.out: list[Burst] = []
        self.replies: list[tuple[Endpoint, Reply]] = []

    def owns(self, data: bytes) -> bool:
        return True

    def ask(self, target: Endpoint, wanted: Wanted = Wanted.SAME, cookie: bytes = bytes(8), tag: bytes = bytes(8)) -> None:
        datagram = self.seal.request(Request(tag, b"transact", 4, wanted, cookie))
        self.out.append(Burst(datagram, len(datagram), target))

    def receive(self, data: bytes, segment: int, source: Endpoint, now: float) -> None:
        reply = self.seal.read_reply(data)
        assert reply is not None
        self.replies.append((source, reply))

    def datagrams(self, now: float) -> list[Burst]:
        out, self.out = self.out, []
        return out

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A mediator with two ports of its first address and one of a second."""
    made = Lab(tmp_path)
    made.mediator.listening(0, MEDIATOR_ADDRESS, 41414)
    made.attachment.listen(41415, 1, MEDIATOR_ADDRESS)
    made.mediator.listening(1, MEDIATOR_ADDRESS, 41415)
    made.internet.members[SECOND] = made.attachment
    made.attachment.addresses += (SECOND,)
    made.attachment.listen(41416, 2, SECOND)
    made.mediator.listening(2, SECOND, 41416)
    return made


def asker(lab: Lab) -> tuple[Socket, Attachment]:
    socket = Socket(lab.mediator.public_key)
    return socket, lab.internet.attach(socket, ASKER.host, port=ASKER.port)


def test_members_are_told_after_welcome_where_they_can_ask(lab: Lab) -> None:
    alice: Client = lab.login("alice")
    told = alice.expect(Vantages)
    assert [(one.host, one.port) for one in told.own if one.transport == UDP] == [
        (MEDIATOR_ADDRESS, 41414), (MEDIATOR_ADDRESS, 41415), (SECOND, 41416)
    ]
    assert {one.transport for one in told.own} == {"udp", "tcp"}
    assert told.others == ()


@pytest.mark.parametrize(("wanted", "source"), [
    (Wanted.SAME, (MEDIATOR_ADDRESS, 41414)),
    (Wanted.OTHER_PORT, (MEDIATOR_ADDRESS, 41415)),
    (Wanted.OTHER_HOST, (SECOND, 41416)),
])
def test_each_of_its_sockets_answers(lab: Lab, wanted: Wanted, source: tuple[str, int]) -> None:
    """RFC 5780 4.4; the answer leaves by the socket that it says."""
    socket, _ = asker(lab)
    target = Endpoint(UDP, MEDIATOR_ADDRESS, 41414)
    socket.ask(target)
    lab.world.run_until(lambda: len(socket.replies) == 1)
    socket.ask(target, wanted, socket.replies[0][1].cookie)
    lab.world.run_until(lambda: len(socket.replies) == 2)
    assert socket.replies[1][0][1:3] == source
    assert socket.replies[1][1].host == ASKER.host


def test_what_is_seen_is_the_matchmakers_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Observation] = []
    monkeypatch.setattr(lab.mediator._matchmaker, "observed", seen.append)
    socket, _ = asker(lab)
    socket.ask(Endpoint(UDP, MEDIATOR_ADDRESS, 41415), tag=tag_of(b"t" * 16))
    lab.world.run_until(lambda: bool(socket.replies))
    (observation,) = seen
    assert (observation.tag, observation.index, observation.endpoint.host) == (tag_of(b"t" * 16), 4, ASKER.host)


def test_strangers_get_silence_and_are_counted(lab: Lab) -> None:
    socket, _ = asker(lab)
    socket.seal = Seal(b"x" * 32)
    socket.ask(Endpoint(UDP, MEDIATOR_ADDRESS, 41414))
    lab.run(1)
    assert socket.replies == []
    assert lab.mediator.status()["counters"]["observe-not-genuine"] == 1  # type: ignore[index]


class Pool:
    """Relays, as the mediator knows them."""

    def __init__(self, *hosts: str) -> None:
        self.relays = [RelayInfo(bytes([n]) * 32, f"relay {n}", (ServerEndpoint(host, 3478),)) for n, host in enumerate(hosts)]

    def reflectors(self) -> list[RelayInfo]:
        return self.relays


def reflected(points: VantagePoints, source: Endpoint = ASKER) -> list[tuple[bytes, Reflect]]:
    seal = Seal(b"m" * 32)
    points.receive(seal.request(Request(bytes(8), b"transact")), 72, source, 1.0)
    (burst,) = points.datagrams()
    reply = seal.read_reply(burst.data)
    assert reply is not None
    request = Request(bytes(8), b"transact", wanted=Wanted.OTHER_HOST, cookie=reply.cookie)
    return points.receive(seal.request(request), 72, source, 1.0)


def test_relays_take_turns_to_answer_as_another_host() -> None:
    points = VantagePoints(b"m" * 32, Pool("192.0.2.77", "192.0.2.78"), lambda size: bytes(size))
    points.listening(0, "0.0.0.0", 41414)
    asked = [reflected(points)[0] for _ in range(4)]
    assert {key for key, _ in asked} == {bytes(32), b"\1" * 32}
    target, datagram = asked[0][1].target, asked[0][1].datagram
    assert (target.host, target.port) == (ASKER.host, ASKER.port)
    reply = Seal(b"m" * 32).read_reply(datagram)
    assert reply is not None
    assert reply.source == OTHER_HOST
    assert points.message().others == (ServerEndpoint("192.0.2.77", 3478), ServerEndpoint("192.0.2.78", 3478))


def test_a_relay_of_the_other_family_is_not_asked() -> None:
    points = VantagePoints(b"m" * 32, Pool("2001:db8::7"), lambda size: bytes(size))
    points.listening(0, "0.0.0.0", 41414)
    points.listening(0, "::", 41414)
    assert reflected(points) == []
    assert len(reflected(points, Endpoint(UDP, "2001:db8::99", 4000))) == 1
    assert reflected(points, ASKER._replace(host="::ffff:198.51.100.7")) == []


def test_a_relay_on_the_mediators_own_computer_is_no_other_host() -> None:
    relays = Relays(bytes(32), None, ("192.0.2.1",), 0.0, 0.0)
    for key, host in ((b"a" * 32, "192.0.2.1"), (b"b" * 32, "203.0.113.5")):
        relays.joined(key, "relay", Endpoint(UDP, host, 3478), 0.0)
        relays.serve(key, Serve((ServerEndpoint("0.0.0.0", 3478),)), 0.0)
    assert [info.key for info in relays.reflectors()] == [b"b" * 32]


def test_the_mediator_owns_questions(lab: Lab) -> None:
    mediator: Mediator = lab.mediator
    assert mediator.owns(Seal(mediator.public_key).request(Request(bytes(8), bytes(8))))
    assert not mediator.owns(b"\x21\0\0\0" + bytes(68))
