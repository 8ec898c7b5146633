"""The local API: requests, items, errors, raw streams, clients that vanish or misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.driver.loop import Loop
from tests.driver.protocols import HalfNotes, Notes
from userlan.driver import local
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands, Reply
from userlan.driver.local import LocalServer


class Client:
    """A blocking-free client of the socket."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.loop = loop
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(path.parent, os.O_RDONLY)
        self.socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        self.socket.setblocking(False)
        self.data = b""
        self.ended = False

    def ask(self, command: str, **arguments: Any) -> None:
        self.socket.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")

    def poll(self) -> bool:
        """Take what has come; whether the end has."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while not self.ended:
                data = self.socket.recv(65536)
                self.data += data
                self.ended = not data
        return self.ended

    def answers(self, count: int | None = None) -> list[Any]:
        """All answers up to the end, or the first few."""
        self.loop.until(lambda: self.poll() or (count is not None and self.data.count(b"\n") >= count))
        return [json.loads(line) for line in self.data.splitlines()]


class Scene:
    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.commands = Commands()
        self.server = LocalServer(loop.reactor, folder, self.commands)
        self.clients: list[Client] = []
        loop.result(self.server.start())

    def client(self) -> Client:
        made = Client(self.loop, self.server.path)
        self.clients.append(made)
        return made

    def ask(self, command: str, **arguments: Any) -> list[Any]:
        client = self.client()
        client.ask(command, **arguments)
        return client.answers()


@pytest.fixture
def scene(loop: Loop, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(loop, tmp_path)
    yield made
    for client in made.clients:
        client.socket.close()
    loop.result(made.server.stop())
    loop.until(lambda: not made.server.clients)


def test_a_value_and_a_deferred(scene: Scene) -> None:
    later: Deferred[object] = Deferred()
    scene.commands.register("now", lambda arguments: {"got": arguments})
    scene.commands.register("later", lambda arguments: later)
    assert scene.ask("now", peer="nas", port=22) == [{"done": {"got": {"peer": "nas", "port": 22}}}]
    client = scene.client()
    client.ask("later")
    scene.loop.run(0.05)
    assert not client.poll()
    later.callback([1, "ä"])
    assert client.answers() == [{"done": [1, "ä"]}]


def test_a_command_that_is_not_there_yet_waits_for_the_start(scene: Scene) -> None:
    scene.commands.begin()
    early, gone = scene.client(), scene.client()
    early.ask("tap")
    gone.ask("tap")
    scene.loop.run(0.05)
    assert not early.poll()
    gone.socket.close()
    scene.loop.until(lambda: len(scene.server.clients) == 1)
    calls: list[object] = []

    def attach(arguments: object) -> str:
        calls.append(arguments)
        return "attached"

    scene.commands.register("tap", attach)
    scene.commands.complete()
    assert early.answers() == [{"done": "attached"}]
    assert len(calls) == 1, "who has gone is not served"
    (refused,) = scene.ask("nonsense")
    assert "does not know the command" in refused["error"]


def test_a_start_that_fails_tells_who_waits_for_it(scene: Scene) -> None:
    scene.commands.begin()
    early = scene.client()
    early.ask("tap")
    scene.loop.run(0.05)
    scene.commands.complete("proxy: 127.0.0.1:1055 is in use by another program")
    assert early.answers() == [{"error": "proxy: 127.0.0.1:1055 is in use by another program"}]


def test_only_the_owner_may_connect(scene: Scene) -> None:
    assert scene.server.path.stat().st_mode & 0o777 == 0o600


def test_errors_are_one_line(scene: Scene, logged_failures: list[Any]) -> None:
    def refuse(arguments: object) -> None:
        raise CommandError("port 80 is in use: choose another one")

    def fail(arguments: object) -> None:
        raise ZeroDivisionError("bug")

    scene.commands.register("refuse", refuse)
    scene.commands.register("fail", fail)
    scene.commands.register("unserialisable", lambda arguments: object())
    assert scene.ask("refuse") == [{"error": "port 80 is in use: choose another one"}]
    assert scene.ask("fail") == [{"error": "the node failed: bug"}]
    assert "failed" in scene.ask("unserialisable")[0]["error"]
    assert "does not know the command 'nothing'" in scene.ask("nothing")[0]["error"]
    assert len(logged_failures) == 2
    logged_failures.clear()


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"[]", b"{}", b'{"command": 7}', b'{"command": "now", "arguments": []}', b"[" * 100_000]
)
def test_what_is_no_request(scene: Scene, line: bytes) -> None:
    scene.commands.register("now", lambda arguments: None)
    client = scene.client()
    client.socket.sendall(line + b"\n")
    (answer,) = client.answers()
    assert set(answer) <= {"error", "done"}
    assert b'"arguments": []' in line or "a request is one line" in answer["error"]


def test_a_request_that_never_ends_is_refused(scene: Scene) -> None:
    client = scene.client()
    client.socket.setblocking(True)
    client.socket.settimeout(0.0)
    sent = 0
    while sent <= local.MAX_REQUEST and not client.poll():
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            sent += client.socket.send(b"x" * 65536)
        scene.loop.turn()
    assert "longer than" in client.answers()[0]["error"]


def test_a_client_that_says_nothing_is_sent_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "REQUEST_TIMEOUT", 0.05)
    client = scene.client()
    assert client.answers() == [{"error": "no request came"}]


def test_items_then_the_result(scene: Scene) -> None:
    def count(arguments: dict[str, Any], reply: Reply) -> None:
        for number in range(arguments["to"]):
            reply.item(number)
        reply.done("counted")

    scene.commands.register_streaming("count", count)
    assert scene.ask("count", to=3) == [{"item": 0}, {"item": 1}, {"item": 2}, {"done": "counted"}]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_goes_away_calls_its_command_off(scene: Scene, streaming: bool) -> None:
    cancelled: list[str] = []
    replies: list[Reply] = []

    def ping(arguments: object, reply: Reply) -> None:
        reply.on_cancel(lambda: cancelled.append("ping"))
        replies.append(reply)
        reply.item("pong")

    scene.commands.register_streaming("ping", ping)
    scene.commands.register("wait", lambda arguments: Deferred(lambda _: cancelled.append("wait")))
    client = scene.client()
    client.ask("ping" if streaming else "wait")
    scene.loop.run(0.05)
    client.socket.close()
    scene.loop.until(lambda: cancelled)
    for reply in replies:
        reply.item("nobody hears this")
        reply.done(None)
    scene.loop.until(lambda: not scene.server.clients)
    assert cancelled == ["ping" if streaming else "wait"]


def test_a_client_that_does_not_read_is_cut_off(scene: Scene) -> None:
    replies: list[Reply] = []
    cancelled: list[bool] = []

    def flood(arguments: object, reply: Reply) -> None:
        reply.on_cancel(lambda: cancelled.append(True))
        replies.append(reply)

    scene.commands.register_streaming("flood", flood)
    scene.client().ask("flood")
    scene.loop.until(lambda: replies)
    for _ in range(100):
        replies[0].item("x" * 100_000)
        scene.loop.turn()
        if cancelled:
            break
    assert cancelled


def test_a_raw_stream_with_halves_of_its_own(scene: Scene) -> None:
    streams: list[Any] = []

    def nc(arguments: object, reply: Reply) -> None:
        streams.append(HalfNotes())
        reply.upgrade(streams[0])

    scene.commands.register_streaming("nc", nc)
    client = scene.client()
    client.ask("nc")
    assert client.answers(1) == [{"stream": True}]
    client.data = b""
    client.socket.sendall(bytes(range(256)))
    scene.loop.until(lambda: len(streams[0].data) == 256)
    client.socket.shutdown(socket.SHUT_WR)
    scene.loop.until(lambda: streams[0].halves == ["read"])
    streams[0].transport.write(b"answer\n{}\n")
    streams[0].transport.loseWriteConnection()
    scene.loop.until(client.poll)
    assert client.data == b"answer\n{}\n"
    assert streams[0].data == bytes(range(256))
    scene.loop.until(lambda: streams[0].lost is not None)


def test_what_was_sent_before_the_stream_began_is_not_lost(scene: Scene) -> None:
    replies: list[Reply] = []
    scene.commands.register_streaming("nc", lambda arguments, reply: replies.append(reply))
    client = scene.client()
    client.ask("nc")
    client.socket.sendall(b"early " * 20_000)
    client.socket.shutdown(socket.SHUT_WR)
    scene.loop.until(lambda: replies)
    scene.loop.run(0.05)
    stream: Any = HalfNotes()
    replies[0].upgrade(stream)
    scene.loop.until(lambda: stream.halves)
    assert stream.data == b"early " * 20_000
    stream.transport.loseConnection()
    scene.loop.until(client.poll)


def test_a_stream_for_a_client_that_is_gone(scene: Scene) -> None:
    replies: list[Reply] = []
    scene.commands.register_streaming("nc", lambda arguments, reply: replies.append(reply))
    client = scene.client()
    client.ask("nc")
    scene.loop.until(lambda: replies)
    client.socket.close()
    scene.loop.run(0.05)
    stream = Notes()
    replies[0].upgrade(stream)
    scene.loop.until(lambda: stream.lost is not None)


def test_clients_are_capped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_CLIENTS", 3)
    first = [scene.client() for _ in range(3)]
    scene.loop.until(lambda: len(scene.server.clients) == 3)
    fourth = scene.client()
    scene.loop.until(fourth.poll)
    assert fourth.data == b""
    first[0].socket.close()
    scene.loop.until(lambda: len(scene.server.clients) == 2)
    scene.commands.register("now", lambda arguments: True)
    assert scene.ask("now") == [{"done": True}]


def test_a_socket_that_a_killed_node_left_is_replaced(loop: Loop, tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    scene = Scene(loop, tmp_path)
    scene.commands.register("now", lambda arguments: True)
    assert scene.ask("now") == [{"done": True}]
    loop.result(scene.server.stop())
    loop.result(scene.server.stop())
    assert list(tmp_path.iterdir()) == []
    scene.clients[0].socket.close()
    loop.until(lambda: not scene.server.clients)


def test_a_deep_folder(loop: Loop, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 200
    scene = Scene(loop, deep)
    scene.commands.register("now", lambda arguments: True)
    assert scene.ask("now") == [{"done": True}]
    loop.result(scene.server.stop())
    assert list(deep.iterdir()) == []
    scene.clients[0].socket.close()


def test_a_folder_that_takes_no_socket(loop: Loop, tmp_path: Path) -> None:
    server = LocalServer(loop.reactor, tmp_path / "missing", Commands())
    with pytest.raises(CommandError, match="cannot be made"):
        loop.result(server.start())


def test_a_loopback_port_with_a_token(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    server = LocalServer(loop.reactor, tmp_path, Commands())
    server.commands.register("now", lambda arguments: True)
    loop.result(server.start())
    place = json.loads((tmp_path / "control.json").read_text())
    assert (tmp_path / "control.json").stat().st_mode & 0o777 == 0o600
    for token, answer in ((place["token"], {"done": True}), ("guess", {"error": "the token is wrong"})):
        client = socket.create_connection(("127.0.0.1", place["port"]))
        client.sendall(token.encode() + b'\n{"command": "now"}\n')
        client.setblocking(False)
        data = bytearray()

        def ended(client: socket.socket = client, data: bytearray = data) -> bool:
            with contextlib.suppress(BlockingIOError):
                piece = client.recv(65536)
                data.extend(piece)
                return not piece
            return False

        loop.until(ended)
        assert json.loads(data) == answer
        client.close()
    loop.result(server.stop())
    assert list(tmp_path.iterdir()) == []
    loop.until(lambda: not server.clients)


def test_a_descriptor_comes_with_a_request(scene: Scene) -> None:
    """SCM_RIGHTS (unix(7)): one is kept for the command that asks for it, others are closed."""
    held: list[int] = []
    replies: list[Reply] = []

    def take(arguments: object, reply: Reply) -> None:
        descriptor = reply.descriptor()
        assert descriptor is not None
        held.append(descriptor)
        replies.append(reply)
        assert reply.descriptor() is None

    scene.commands.register_streaming("take", take)
    scene.commands.register("leave", lambda arguments: None)
    reading, writing = os.pipe()
    client = scene.client()
    socket.send_fds(client.socket, [b'{"command": "take"}\n'], [writing, writing])
    scene.loop.until(lambda: held)
    socket.send_fds(client.socket, [b"late"], [writing])
    other = scene.client()
    socket.send_fds(other.socket, [b'{"command": "leave"}\n'], [writing])
    assert other.answers() == [{"done": None}]
    os.close(writing)
    os.write(held[0], b"through it")
    os.close(held[0])
    replies[0].done(None)
    client.answers()
    assert os.read(reading, 100) == b"through it"
    assert os.read(reading, 100) == b"", "somebody else has it open still"
    os.close(reading)
