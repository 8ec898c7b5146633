"""Members that lie, flood, stall and forge, over the real stack."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol, connectionDone

from bridges.files import correspondents
from bridges.files import visited as visited_module
from bridges.files import visiting as visiting_module
from bridges.files.frames import (
    Begin,
    Fetch,
    Hashing,
    Hello,
    Message,
    Noted,
    Offer,
    Reader,
    Refused,
    State,
    Trailer,
    block_header,
    encode,
)
from bridges.files.service import MAX_CONNECTIONS_OF_PEER, PORT
from tests.bridges.files.scene import Scene, until

TOKEN = "ab" * 16
DATA = b"0123456789"
Script = Callable[["Eve", Message], None]


class Eve(Protocol):
    """One end of a connection of ``nas``, which does what a test wants."""

    transport: Any

    def __init__(self, script: Script | None = None) -> None:
        self.heard: list[Any] = []
        self.lost = False
        self._script = script
        self._reader = Reader(blocks=True)

    def say(self, *what: Message | bytes) -> None:
        for one in what:
            self.transport.write(one if isinstance(one, bytes) else encode(one))

    def dataReceived(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            self.heard.append(message)
            if self._script is not None and isinstance(message, Message):
                self._script(self, message)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.lost = True


class Hostile:
    """``nas`` without its bridge: whatever a member can do by itself."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.lan = scene.pair.lans["nas"]
        self.met: list[Eve] = []
        self._port: Any = None
        scene.nas.stop()

    def connect(self, script: Script | None = None) -> Eve:
        eve = Eve(script)
        self.scene.loop.call(self.lan.client_endpoint("me", PORT).connect, Factory.forProtocol(lambda: eve))
        self.met.append(eve)
        return eve

    def say(self, eve: Eve, *what: Message | bytes) -> None:
        self.scene.loop.call(eve.say, *what)

    def listen(self, script: Script) -> None:
        def made() -> Eve:
            eve = Eve(script)
            self.met.append(eve)
            return eve

        self._port = self.scene.loop.call(self.lan.server_endpoint(PORT).listen, Factory.forProtocol(made))

    def offer(self, size: int = len(DATA)) -> str:
        """Offer a file, and have it accepted; its id at the receiver."""
        eve = self.connect()
        self.say(eve, Hello(), Offer(TOKEN, "../evil\x1b.txt", size))
        (row,) = self.scene.me.wait("offered")
        assert row["file"] == "evil.txt"
        identifier: str = row["id"]
        self.scene.me.call("files-accept", id=identifier)
        return identifier

    def stop(self) -> None:
        for eve in self.met:
            if not eve.lost:
                self.scene.loop.call(eve.transport.abortConnection)
        if self._port is not None:
            self.scene.loop.call(self._port.stopListening)


@pytest.fixture
def nas(scene: Scene) -> Iterator[Hostile]:
    hostile = Hostile(scene)
    yield hostile
    hostile.stop()


def sends(*what: Message | bytes) -> Script:
    """A sender that says this to each who fetches."""

    def script(eve: Eve, message: Message) -> None:
        if isinstance(message, Hello):
            eve.say(Hello())
        elif isinstance(message, Fetch):
            eve.say(*what)
        elif isinstance(message, State):
            eve.say(Noted(message.token))

    return script


def block(data: bytes) -> bytes:
    return block_header(len(data)) + data


BEGIN = Begin(TOKEN, 0, len(DATA))
RIGHT = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ((BEGIN, block(DATA + b"!"), Trailer(TOKEN, RIGHT)), "sent more than it had offered"),
        ((BEGIN, block(DATA[:-1]), Trailer(TOKEN, RIGHT)), "sent less than it had offered"),
        ((Begin(TOKEN, 0, 10**12), block(DATA)), "sends another file"),
        ((Begin(TOKEN, 5, len(DATA)), block(DATA[5:])), "sends another file"),
        ((Begin("00" * 16, 0, len(DATA)), block(DATA)), "sends another file"),
        ((BEGIN, block(DATA), Trailer(TOKEN, "00" * 32)), "SHA-256 differ"),
        ((Refused(TOKEN, "no\x1b[2J way"),), r"no\[2J way"),
    ],
)
def test_whoever_lies_about_a_file_is_found_out(scene: Scene, nas: Hostile, what: tuple[Message | bytes, ...], error: str) -> None:
    nas.listen(sends(*what))
    identifier = nas.offer()
    scene.me.wait("failed")
    assert re.search(error, scene.me.row(identifier)["error"])
    until(lambda: not any(scene.me.inbox.rglob("*.part")), lambda: "the part stays")
    assert scene.me.received() == {}


def test_what_differs_is_fetched_twice(scene: Scene, nas: Hostile) -> None:
    nas.listen(sends(BEGIN, block(DATA), Trailer(TOKEN, "00" * 32)))
    nas.offer()
    scene.me.wait("failed")
    fetches = [message for eve in nas.met for message in eve.heard if isinstance(message, Fetch)]
    assert [fetch.offset for fetch in fetches] == [0, 0]


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", block(DATA), b"\0\0\0\1\xc1", *map(encode, (Trailer(TOKEN, RIGHT), Noted(TOKEN), Begin(TOKEN, 0, 1)))],
)
def test_noise_in_place_of_an_answer_is_a_break_and_no_more(scene: Scene, nas: Hostile, noise: bytes) -> None:
    nas.listen(sends(noise))
    identifier = nas.offer()
    if noise == encode(Begin(TOKEN, 0, 1)):
        scene.me.wait("failed")
    else:
        (row,) = scene.me.wait("paused")
        assert (row["id"], row["done"]) == (identifier, 0)
    assert scene.me.received() == {}


def test_a_sender_that_falls_silent_is_left_and_asked_again(scene: Scene, nas: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visiting_module, "STALL_LIMIT", 0.3)
    fetches: list[int] = []

    def script(eve: Eve, message: Message) -> None:
        if isinstance(message, Hello):
            eve.say(Hello())
        elif isinstance(message, Fetch):
            fetches.append(message.offset)
            eve.say(Begin(TOKEN, message.offset, len(DATA)))
            if message.offset == 0:
                eve.say(block(DATA[:4]))
            else:
                eve.say(block(DATA[message.offset :]), Trailer(TOKEN, RIGHT))

    nas.listen(script)
    nas.offer()
    scene.me.wait("done")
    assert fetches == [0, 4]
    assert scene.me.received() == {"evil.txt": DATA}


def test_a_sender_that_hashes_without_end_makes_room_for_others(scene: Scene, nas: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its signs of life comes in time for a patience that every one renews."""
    monkeypatch.setattr(visiting_module, "TURN", 0.3)
    monkeypatch.setattr(scene.me.bridge.service, "crowded", lambda: True)
    nas.listen(sends(BEGIN, block(b"x"), Hashing(TOKEN)))
    nas.offer()
    (row,) = scene.me.wait("paused")
    assert row["error"] == "nas sends slowly, and others wait: it goes on by itself"
    until(lambda: all(eve.lost for eve in nas.met[1:]), lambda: "it is still connected")


def test_without_a_yes_nothing_is_fetched_and_nothing_written(scene: Scene, nas: Hostile) -> None:
    nas.listen(sends(BEGIN, block(DATA), Trailer(TOKEN, RIGHT)))
    eve = nas.connect()
    nas.say(eve, Hello(), Offer(TOKEN, "a", 10), State(TOKEN, "accepted"), State(TOKEN, "done"))
    until(lambda: len(eve.heard) == 4, lambda: str(eve.heard))
    assert [type(one) for one in eve.heard] == [Hello, State, Noted, Noted]
    assert scene.me.rows()[0]["state"] == "offered"
    assert not scene.me.inbox.exists()
    assert not [message for one in nas.met for message in one.heard if isinstance(message, Fetch)]


def test_foreign_tokens_are_answered_as_unknown_ones(scene: Scene, nas: Hostile) -> None:
    eve = nas.connect()
    nas.say(eve, Hello(), Fetch(TOKEN), Fetch("cd" * 16, 10**9))
    until(lambda: len(eve.heard) == 3, lambda: str(eve.heard))
    texts = {one.text for one in eve.heard[1:]}
    assert len(texts) == 1


@pytest.mark.parametrize(
    "noise",
    [b"\xff" * 100, encode(Noted(TOKEN)), encode(Fetch(TOKEN)), encode(Hello()) + encode(Noted(TOKEN)), encode(Hello()) + block(DATA)],
)
def test_noise_from_a_visitor_ends_its_connection(scene: Scene, nas: Hostile, noise: bytes) -> None:
    eve = nas.connect()
    nas.say(eve, noise)
    until(lambda: eve.lost, lambda: "it is still connected")


def test_newer_requests_are_refused_and_later_ones_answered(scene: Scene, nas: Hostile) -> None:
    eve = nas.connect()
    unknown = b"\x81\xa1t\xa6folder"
    nas.say(eve, Hello(), len(unknown).to_bytes(4, "big") + unknown, State(TOKEN, "done"))
    until(lambda: len(eve.heard) == 3, lambda: str(eve.heard))
    assert [type(one) for one in eve.heard] == [Hello, Refused, Noted]


def test_a_version_too_far_away_is_told_so(scene: Scene, nas: Hostile) -> None:
    eve = nas.connect()
    nas.say(eve, Hello(version=9, oldest=7))
    until(lambda: eve.lost, lambda: "it is still connected")
    assert "upgrade" in eve.heard[1].text


def test_too_many_connections_are_refused(scene: Scene, nas: Hostile) -> None:
    held = [nas.connect() for _ in range(MAX_CONNECTIONS_OF_PEER)]
    for eve in held:
        nas.say(eve, Hello())
    until(lambda: all(eve.heard for eve in held), lambda: "not all are served")
    more = nas.connect()
    until(lambda: more.lost, lambda: "one too many is served")
    scene.loop.call(held[0].transport.abortConnection)
    until(lambda: held[0].lost, lambda: "it stays")

    def served() -> bool:
        eve = nas.connect()
        nas.say(eve, Hello())
        until(lambda: eve.lost or bool(eve.heard), lambda: "neither")
        return bool(eve.heard)

    until(served, lambda: "its place is not free again")


def test_a_flood_of_requests_is_slowed(scene: Scene, nas: Hostile) -> None:
    eve = nas.connect()
    flood = encode(State(TOKEN, "done")) * 40_000
    begin = time.monotonic()
    nas.say(eve, Hello(), flood)
    time.sleep(1.0)
    answers, seconds = len(eve.heard), time.monotonic() - begin
    chunk = 2 * 65536 // len(encode(State(TOKEN, "done")))
    assert answers < correspondents.REQUEST_BURST + correspondents.REQUEST_RATE * seconds + chunk
    scene.me.call("files-list")


def test_a_flood_over_one_connection_after_the_other_is_slowed(scene: Scene, nas: Hostile) -> None:
    """A connection costs nothing: what a member may ask is counted for all of them."""
    flood = encode(State(TOKEN, "done")) * correspondents.REQUEST_BURST
    begin = time.monotonic()
    eves = []
    for number in range(4):
        eve = nas.connect()
        eves.append(eve)
        nas.say(eve, Hello(), flood)
        if not number:
            until(lambda: len(eves[0].heard) > correspondents.REQUEST_BURST, lambda: "the first are not answered")
            nas.scene.loop.call(eve.transport.loseConnection)
    time.sleep(1.0)
    answers, seconds = sum(len(eve.heard) for eve in eves), time.monotonic() - begin
    assert answers < 2 * correspondents.REQUEST_BURST + correspondents.REQUEST_RATE * max(seconds, 10.0)
    scene.me.call("files-list")


def test_those_who_say_nothing_are_hung_up_on(scene: Scene, nas: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visited_module, "IDLE_LIMIT", 0.2)
    eve = nas.connect()
    until(lambda: eve.lost, lambda: "it is still connected")


def test_a_fetcher_that_does_not_read_holds_little_and_not_for_long(scene: Scene, nas: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visited_module, "STALL_LIMIT", 1.0)
    tokens: list[str] = []

    def script(eve: Eve, message: Message) -> None:
        if isinstance(message, Hello):
            eve.say(Hello())
        elif isinstance(message, Offer):
            tokens.append(message.token)
            eve.say(State(message.token, "accepted"))

    nas.listen(script)
    path = scene.work / "big"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    (sent,) = scene.me.send("nas", path)
    until(lambda: bool(tokens), lambda: "it is not offered")
    eve = nas.connect()
    scene.loop.call(eve.transport.pauseProducing)
    nas.say(eve, Hello(), Fetch(tokens[0]))
    scene.me.wait("active")
    scene.me.wait("paused")
    assert scene.me.row(sent)["done"] < 64 << 20
    scene.loop.call(eve.transport.resumeProducing)
    until(lambda: eve.lost, lambda: "it is still connected")
