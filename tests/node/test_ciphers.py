"""Members tell each other which ciphers they take: AES-256-GCM between those that both do, ChaCha20-Poly1305 with all others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.control.frames import Undecodable, encode, peer_framer
from userlan.control.messages import PROTOCOL_VERSION, Message, PeerHello
from userlan.lan.addresses import key_text
from userlan.node.events import MemoryChanged
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.status import snapshot

FAR = LinkProfile(delay=0.02)
AES, CHACHA = "aes-256-gcm", "chacha20-poly1305"


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def node(lan: VirtualLan, name: str, number: int, **options: object) -> Node:
    return lan.node(name, lan.internet, f"203.0.113.{number}", profile=FAR, key=bytes([number]) * 32, **options)  # type: ignore[arg-type]


def cipher(lan: VirtualLan, one: Node, other: Node) -> str:
    """As ``status --json`` says it."""
    peers = {peer["key"]: peer["cipher"] for peer in snapshot(one, lan.world.now)["peers"]}
    return str(peers[key_text(other.key)])


def test_two_that_take_aes_use_it_and_one_without_gets_chacha(lan: VirtualLan) -> None:
    anna, ben, old = node(lan, "anna", 1, aes=True), node(lan, "ben", 2, aes=True), node(lan, "old", 3)
    lan.ready(anna, ben, old)
    lan.network(anna, ben, old)
    lan.direct(anna, ben, old)
    lan.world.run_until(lambda: cipher(lan, anna, ben) == cipher(lan, ben, anna) == AES, 3.0)
    assert cipher(lan, anna, old) == cipher(lan, old, anna) == cipher(lan, ben, old) == CHACHA
    assert lan.ping(anna, ben.ipv6) < 0.1
    lan.world.run(400.0)
    tunnel = anna.device.peer(old.key)
    assert tunnel is not None
    assert tunnel.ciphers == ()
    assert cipher(lan, anna, ben) == AES
    assert cipher(lan, anna, old) == CHACHA
    assert old.device.counters["cipher-refused"] == 0, "it was never asked"


def test_no_session_has_no_cipher(lan: VirtualLan) -> None:
    anna, ben = node(lan, "anna", 1, aes=True), node(lan, "ben", 2, aes=True)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.kill("ben")
    lan.world.run(200.0)
    assert cipher(lan, anna, ben) == ""


def test_what_was_told_is_remembered_and_serves_the_next_start(lan: VirtualLan) -> None:
    anna, ben = node(lan, "anna", 1, aes=True), node(lan, "ben", 2, aes=True)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run_until(lambda: cipher(lan, anna, ben) == AES, 3.0)
    assert any(isinstance(event, MemoryChanged) for event in lan.events(anna))
    document = anna.save().dump()
    memory = Memory.load(document)
    assert memory.ciphers == {key_text(ben.key): [AES]}
    lan.kill("anna")
    lan.world.run(30.0)
    again = node(lan, "anna", 1, aes=True, memory=memory)
    tunnel = again.device.peer(ben.key)
    assert tunnel is not None
    assert tunnel.ciphers == (AES,)
    lan.direct(again, ben)
    lan.world.run_until(lambda: cipher(lan, again, ben) == AES, 0.5)


def test_a_peer_that_comes_back_on_a_slower_computer_is_believed(lan: VirtualLan) -> None:
    anna, ben = node(lan, "anna", 1, aes=True), node(lan, "ben", 2, aes=True)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run_until(lambda: cipher(lan, anna, ben) == AES, 3.0)
    memory = Memory.load(ben.save().dump())
    lan.kill("ben")
    again = node(lan, "ben", 2, memory=memory)
    lan.direct(again, anna, seconds=5.0)
    assert lan.ping(again, anna.ipv6) < 0.1
    lan.world.run(40.0)
    assert cipher(lan, anna, again) == cipher(lan, again, anna) == CHACHA
    tunnel = anna.device.peer(again.key)
    assert tunnel is not None
    assert tunnel.ciphers in ((), None)
    assert lan.ping(anna, again.ipv6) < 0.1


@pytest.mark.parametrize("older", [False, True])
def test_ciphers_come_with_the_first_datagram_or_are_asked_for(lan: VirtualLan, older: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's ``PeerSight`` says them, so that a connection for nothing else is spared; an older program's does not."""
    anna, *two = node(lan, "anna", 1, aes=True), node(lan, "ben", 2, aes=True), node(lan, "carl", 3, aes=True)
    connects: set[bytes] = set()
    for one in two:
        monkeypatch.setattr(one.host, "tcp_connect", partial(_connected, connects, one.host.tcp_connect))
        if older:
            monkeypatch.setattr(one.introducer, "ciphers", dict)
    lan.ready(anna, *two)
    lan.network(anna, *two)
    lan.direct(anna, *two)
    lan.world.run_until(lambda: cipher(lan, *two) == cipher(lan, *reversed(two)) == AES, 5.0)
    lan.world.run(5.0)
    assert bool({one.ipv6 for one in two} & connects) is older


def _connected(connects: set[bytes], connect: Callable[..., object], to: tuple[bytes, int], *more: object) -> object:
    connects.add(to[0])
    return connect(to, *more)


def test_a_memory_of_an_older_program_reads_and_an_older_program_reads_ours() -> None:
    assert Memory.load({"version": 1, "name": "anna"}).ciphers == {}
    newer = Memory(ciphers={"k": [AES]}).dump()
    assert isinstance(newer, dict)
    assert Memory.load(newer | {"field of the future": 1}).ciphers == {"k": [AES]}


class OldPeerHello(Message, frozen=True, tag="peer-hello"):
    """As the first programs had it."""

    version: int
    evictions: dict[str, int]
    proofs: dict[str, bytes]
    agent: str


def test_old_and_new_greetings_read_each_other() -> None:
    (heard,) = peer_framer().feed(encode(OldPeerHello(PROTOCOL_VERSION, {"home": 3}, {}, "")))
    assert heard == PeerHello(PROTOCOL_VERSION, {"home": 3})
    body = encode(PeerHello(PROTOCOL_VERSION, {"home": 3}, {}, "new", ciphers=(AES, "aegis-256")))[4:]
    fields = msgspec.msgpack.decode(body)
    assert fields.pop("ciphers") == [AES, "aegis-256"]
    read = msgspec.convert(fields | {"proofs": {}, "ciphers": ["unknown to it"]}, OldPeerHello)
    assert read == OldPeerHello(PROTOCOL_VERSION, {"home": 3}, {}, "new")


@pytest.mark.parametrize("ciphers", [("x",) * 9, ("x" * 41,)])
def test_a_greeting_with_too_many_or_too_long_names_is_refused(ciphers: tuple[str, ...]) -> None:
    (heard,) = peer_framer().feed(encode(PeerHello(PROTOCOL_VERSION, ciphers=ciphers)))
    assert isinstance(heard, Undecodable)
