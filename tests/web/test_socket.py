"""The WebSocket: commands, many at once, and frames as no browser sends them."""

from __future__ import annotations

import json
import re
import zlib
from importlib.resources import files
from typing import Any

import pytest

from tests.web.harness import BINARY, CLOSE, FINAL, PING, PONG, RSV1, TEXT, Scene, frame
from userlan.driver.bridge import CommandError
from userlan.web.allowed import ALLOWED
from userlan.web.connection import MAX_MESSAGE, MAX_PIECES
from userlan.web.frames import FrameGuard
from userlan.web.socket import MAX_IN_FLIGHT, MAX_UNREAD, PageSocket


def test_a_value_a_deferred_and_an_error(scene: Scene) -> None:
    def refuse(arguments: object) -> None:
        raise CommandError("the network is full")

    scene.commands.register("join", refuse)
    page = scene.socket()
    page.message({"id": 1, "command": "netcheck"})
    page.message({"id": 2, "command": "status", "arguments": {"x": "ä"}})
    page.message({"id": 3, "command": "join"})
    assert page.messages(2) == [{"id": 2, "done": {"self": {"name": "nas"}}}, {"id": 3, "error": "the network is full"}]
    assert scene.asked == [{"x": "ä"}]
    scene.waiting[0].callback(["done"])
    assert page.messages(1) == [{"id": 1, "done": ["done"]}]


def test_a_failure_is_told_and_logged(scene: Scene, logged_failures: list[Any]) -> None:
    scene.commands.register("join", lambda arguments: 1 / 0)
    scene.commands.register("leave", lambda arguments: object())
    page = scene.socket()
    page.message({"id": 1, "command": "join"})
    page.message({"id": 2, "command": "leave"})
    assert ["failed" in message["error"] for message in page.messages(2)] == [True, True]
    assert len(logged_failures) == 2
    logged_failures.clear()


def test_a_stream_and_its_end(scene: Scene) -> None:
    page = scene.socket()
    page.message({"id": 1, "command": "watch"})
    scene.until(lambda: scene.replies)
    reply = scene.replies[0]
    reply.item({"n": 1})
    reply.item({"n": 2})
    reply.done({})
    reply.item({"n": 3})
    reply.refuse("too late")
    assert page.messages(3) == [{"id": 1, "item": {"n": 1}}, {"id": 1, "item": {"n": 2}}, {"id": 1, "done": {}}]
    page.message({"id": 1, "command": "status"})
    assert page.messages(1) == [{"id": 1, "done": {"self": {"name": "nas"}}}]


def test_what_is_called_off_sends_nothing_more(scene: Scene) -> None:
    page = scene.socket()
    page.message({"id": 1, "command": "watch"})
    page.message({"id": 2, "command": "netcheck"})
    scene.until(lambda: scene.replies and scene.waiting)
    page.message({"id": 1, "cancel": True})
    page.message({"id": 2, "cancel": True})
    page.message({"id": 3, "cancel": True})
    scene.until(lambda: len(scene.cancelled) == 2)
    scene.replies[0].item("too late")
    page.message({"id": 1, "command": "status"})
    assert page.messages(1) == [{"id": 1, "done": {"self": {"name": "nas"}}}]


def test_a_page_that_goes_away_cancels_all_that_it_asked_for(scene: Scene) -> None:
    page = scene.socket()
    page.message({"id": 1, "command": "watch"})
    page.message({"id": 2, "command": "netcheck"})
    scene.until(lambda: scene.replies and scene.waiting)
    page.socket.close()
    scene.until(lambda: sorted(scene.cancelled) == ["netcheck", "watch"])
    scene.replies[0].item("nobody is there")
    scene.replies[0].done("nobody is there")


@pytest.mark.parametrize(
    "command", ["down", "page", "nc", "tap", "namespace", "capture", "files-send", "folder-add", "hello", "", "__class__"]
)
def test_what_the_page_may_not_ask_for(scene: Scene, command: str) -> None:
    """A page that was taken over does not end the node, take its packets, read this computer's files, or let others in."""
    scene.commands.register(command, lambda arguments: scene.asked.append({"command": command}))
    page = scene.socket()
    page.message({"id": 1, "command": command})
    (message,) = page.messages(1)
    assert "cannot ask" in message["error"]
    assert not scene.asked
    assert command not in ALLOWED


def test_a_command_that_wants_the_connection_for_itself(scene: Scene) -> None:
    def take(arguments: dict[str, Any], reply: Any) -> None:
        assert reply.descriptor() is None
        reply.upgrade(None)

    scene.commands.register_streaming("ping", take)
    page = scene.socket()
    page.message({"id": 1, "command": "ping"})
    assert "connection of its own" in page.messages(1)[0]["error"]


def test_requests_that_are_not_answered_yet_are_few(scene: Scene) -> None:
    page = scene.socket()
    for number in range(MAX_IN_FLIGHT + 2):
        page.message({"id": number, "command": "netcheck"})
    refused = page.messages(2)
    assert [message["id"] for message in refused] == [MAX_IN_FLIGHT, MAX_IN_FLIGHT + 1]
    assert len(scene.waiting) == MAX_IN_FLIGHT
    scene.waiting[0].callback(None)
    assert page.messages(1) == [{"id": 0, "done": None}]
    page.message({"id": 100, "command": "status"})
    assert page.messages(1)[0]["id"] == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"id": -1, "command": "status"}',
        '{"id": 9007199254740992, "command": "status"}',
        '{"id": "1", "command": "status"}',
        '{"id": 1, "command": 7}',
        '{"id": 1, "command": "status", "arguments": []}',
        '{"id": 1, "command": "status", "more": 1}',
        '{"id": 1, "command": "' + "x" * 100 + '"}',
        "[" * 100_000,
    ],
)
def test_what_is_no_request(scene: Scene, text: str) -> None:
    page = scene.socket()
    page.send(frame(TEXT, text.encode()))
    assert page.close_code() == 1008
    assert not scene.asked


def test_a_number_that_is_in_use(scene: Scene) -> None:
    page = scene.socket()
    page.message({"id": 1, "command": "netcheck"})
    page.message({"id": 1, "command": "status"})
    assert page.close_code() == 1008


def test_binary_messages_are_none_of_ours(scene: Scene) -> None:
    page = scene.socket()
    page.send(frame(BINARY, b"x"))
    assert page.close_code() == 1003


def test_a_message_in_pieces_and_a_ping_between_them(scene: Scene) -> None:
    """RFC 6455 section 5.4."""
    text = json.dumps({"id": 1, "command": "status"}).encode()
    page = scene.socket()
    page.send(frame(TEXT, text[:5], first=0) + frame(PING, b"p") + frame(0, text[5:9], first=0) + frame(0, text[9:]))
    assert page.frames(2) == [(PONG, b"p"), (TEXT, b'{"id":1,"done":{"self":{"name":"nas"}}}')]


def test_a_message_octet_by_octet(scene: Scene) -> None:
    page = scene.socket()
    for octet in frame(TEXT, json.dumps({"id": 1, "command": "status", "arguments": {"x": "y" * 200}}).encode()):
        page.send(bytes((octet,)))
    assert page.messages(1)[0]["id"] == 1


def test_a_giant_message_is_refused_at_its_header(scene: Scene) -> None:
    page = scene.socket()
    page.send(frame(TEXT, b"", length=MAX_MESSAGE + 1))
    page.wait_for_end()


def test_a_message_as_large_as_it_may_be(scene: Scene) -> None:
    text = json.dumps({"id": 1, "command": "status", "arguments": {"x": ""}}).encode()
    text = text.replace(b'""', b'"' + b"x" * (MAX_MESSAGE - len(text)) + b'"')
    assert len(text) == MAX_MESSAGE
    page = scene.socket()
    page.send(frame(TEXT, text))
    assert page.messages(1)[0]["id"] == 1


def test_a_giant_message_in_pieces(scene: Scene) -> None:
    page = scene.socket()
    piece = bytes(1 << 16)
    sent = page.send(frame(TEXT, piece, first=0))
    for _ in range(64):
        sent += page.send(frame(0, piece, first=0))
        if page.poll():
            break
    page.wait_for_end()
    assert sent < 4 * MAX_MESSAGE


def test_a_message_in_many_tiny_pieces(scene: Scene) -> None:
    page = scene.socket()
    page.send(frame(TEXT, b"x", first=0) + frame(0, b"x", first=0) * (MAX_PIECES + 1))
    page.wait_for_end()


def test_a_compression_bomb_is_not_unpacked(scene: Scene) -> None:
    """RFC 7692: the extension is not agreed on, whatever the client offers; then a compressed frame is an error."""
    scene.let_in()
    page = scene.client()
    page.send(scene.handshake({"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}))
    answer = page.answer()
    assert answer.code == 101
    assert "sec-websocket-extensions" not in answer.headers
    bomb = zlib.compress(bytes(100 << 20), 9)
    assert len(bomb) < MAX_MESSAGE
    page.send(frame(TEXT, bomb, first=FINAL | RSV1))
    assert page.close_code() == 1002


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(0x3, b""), 1002),
        (frame(0, b"x"), 1002),
        (frame(PING, b"x", first=0), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xe8"), 1000),
    ],
)
def test_frames_that_break_the_rules(scene: Scene, octets: bytes, code: int) -> None:
    """RFC 6455 sections 5 and 8."""
    page = scene.socket()
    page.send(octets)
    assert page.close_code() == code


def test_a_ping_that_is_too_long(scene: Scene) -> None:
    page = scene.socket()
    page.send(frame(PING, bytes(126)))
    page.wait_for_end()


def test_frames_behind_a_close(scene: Scene) -> None:
    page = scene.socket()
    page.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, b'{"id": 1, "command": "status"}'))
    page.wait_for_end()
    assert not scene.asked


def test_what_is_told_between_a_goodbye_and_the_end_of_the_connection(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that has closed is no failure of whoever still tells it something."""
    told = []
    ended = PageSocket.connectionLost

    def late(socket: PageSocket, reason: Any) -> None:
        scene.replies[0].item({"n": 1})
        told.append(reason)
        ended(socket, reason)

    page = scene.socket()
    page.message({"id": 1, "command": "watch"})
    scene.until(lambda: scene.replies)
    monkeypatch.setattr(PageSocket, "connectionLost", late)
    page.send(frame(CLOSE, b"\x03\xe8"))
    page.wait_for_end()
    scene.until(lambda: told)
    assert scene.cancelled == ["watch"]


def test_a_page_that_does_not_read_is_cut_off(scene: Scene) -> None:
    page = scene.socket(receive_buffer=4096)
    page.message({"id": 1, "command": "watch"})
    scene.until(lambda: scene.replies)
    piece = "x" * (1 << 18)
    for _ in range(2 * MAX_UNREAD // len(piece)):
        scene.replies[0].item(piece)
        scene.loop.turn()
    scene.until(lambda: scene.cancelled == ["watch"])


def test_a_page_that_does_not_read_is_not_read(scene: Scene) -> None:
    """A flood of pings: each would leave a pong in the memory."""
    page = scene.socket(receive_buffer=4096)
    (transport,) = (one.transport for one in scene.page.connections if one._guard is not None)
    pings = frame(PING, bytes(125)) * 1000
    left, stalled, held = pings, 0, 0
    while stalled < 25:
        try:
            left = left[page.socket.send(left) :] or pings
            stalled = 0
        except BlockingIOError:
            stalled += 1
            scene.loop.run(0.02)
        held = len(transport.dataBuffer) + sum(map(len, transport._tempDataBuffer))
        assert held < 2 << 20, "all that comes is taken in"
    assert held > 0


def test_a_page_is_told_when_the_node_ends(scene: Scene) -> None:
    page = scene.socket()
    page.message({"id": 1, "command": "watch"})
    scene.until(lambda: scene.replies)
    scene.loop.result(scene.page.stop())
    assert page.close_code() == 1001
    assert scene.cancelled == ["watch"]


def test_a_page_that_does_not_read_does_not_keep_the_node_from_ending(scene: Scene) -> None:
    page = scene.socket(receive_buffer=4096)
    page.message({"id": 1, "command": "watch"})
    scene.until(lambda: scene.replies)
    scene.replies[0].item("x" * (4 << 20))
    scene.loop.run(0.1)
    scene.loop.result(scene.page.stop())
    scene.until(lambda: not scene.page.connections)
    assert page.socket.fileno() >= 0


def test_all_that_the_page_asks_for_is_allowed() -> None:
    """As its modules name it."""
    static = files("userlan.web") / "static"
    modules = [entry.read_text() for entry in static.iterdir() if entry.name.endswith(".js")]
    asked = {name for text in modules for name in re.findall(r"""(?:call|stream)\(\s*["']([a-z-]+)["']""", text)}
    assert asked <= ALLOWED
    assert {"watch", "status"} & asked


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_the_guard_in_pieces(step: int) -> None:
    octets = b"".join(
        (frame(TEXT, bytes(70_000), first=0), frame(PING, b"x" * 125), frame(0, bytes(300)), frame(TEXT, bytes(10)), frame(CLOSE))
    )
    guard = FrameGuard(70_300, 2)
    assert all(guard.admits(octets[at : at + step]) for at in range(0, len(octets), step))
    guard = FrameGuard(70_299, 2)
    assert not all(guard.admits(octets[at : at + step]) for at in range(0, len(octets), step))
    guard = FrameGuard(70_300, 1)
    assert not all(guard.admits(octets[at : at + step]) for at in range(0, len(octets), step))
