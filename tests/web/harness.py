"""A page that serves on a real port of loopback, and clients that send it whatever octets they like."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from tests.driver.loop import Loop
from userlan.driver.commands import Commands, Reply
from userlan.web.server import Page

Given = Mapping[str, str | list[str] | None]
"""Headers: a value, several, or None for one that is left out."""

STRANGERS: list[tuple[Given, int]] = [
    ({"Cookie": None}, 403),
    ({"Cookie": "userlan-1=x"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": None}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Host": "evil.example"}, 421),
]
"""Headers of who has no business here, and the answer."""
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, RSV1 = 0x80, 0x40


@attrs.frozen
class Answer:
    """A whole response."""

    code: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The one value of a header."""
        (value,) = self.headers[name.lower()]
        return value


def frame(opcode: int, payload: bytes = b"", first: int = FINAL, length: int | None = None, masked: bool = True) -> bytes:
    """A client's frame (RFC 6455 section 5.2); ``length``: another one than the payload's."""
    size = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((first | opcode, mask | size))
    elif size < 1 << 16:
        head = bytes((first | opcode, mask | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first | opcode, mask | 127)) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(octet ^ key[index % 4] for index, octet in enumerate(payload))


class Client:
    """A TCP connection that is turned with the loop."""

    def __init__(self, scene: Scene, receive_buffer: int | None = None) -> None:
        self.scene = scene
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", scene.page.port))
        self.socket.setblocking(False)
        self.data = b""
        self.ended = False

    def poll(self) -> bool:
        """Take what has come; whether the end has."""
        with contextlib.suppress(BlockingIOError):
            while not self.ended:
                try:
                    data = self.socket.recv(1 << 16)
                except ConnectionError:
                    data = b""
                self.data += data
                self.ended = not data
        return self.ended

    def send(self, data: bytes) -> int:
        """Write it, as the server reads; the octets that it took before it ended the connection."""
        sent = 0
        while sent < len(data):
            with contextlib.suppress(BlockingIOError):
                try:
                    sent += self.socket.send(data[sent : sent + (1 << 16)])
                except ConnectionError:
                    return sent
            self.scene.loop.turn(0.001)
        return sent

    def wait_for_end(self) -> bytes:
        """All that comes until the server ends the connection."""
        self.scene.loop.until(self.poll)
        return self.data

    def answer(self, body: bool = True) -> Answer:
        """The next response; ``body``: whether it has one, which that to HEAD has not."""
        self.scene.loop.until(lambda: self.poll() or b"\r\n\r\n" in self.data)
        head, _, rest = self.data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        size = int(headers.get("content-length", ["0"])[0]) if body else 0
        self.data = rest
        self.scene.loop.until(lambda: self.poll() or len(self.data) >= size)
        content, self.data = self.data[:size], self.data[size:]
        return Answer(int(first.split()[1]), headers, content)

    # ------------------------------------------------------------------ WebSocket

    def message(self, value: object) -> None:
        """Send one."""
        self.send(frame(TEXT, json.dumps(value).encode()))

    def frames(self, count: int) -> list[tuple[int, bytes]]:
        """The next frames of the server, or those before its end: opcode and payload."""
        found: list[tuple[int, bytes]] = []

        def look() -> bool:
            ended = self.poll()
            while len(found) < count and (cut := _cut(self.data)) is not None:
                found.append(cut[:2])
                self.data = self.data[cut[2] :]
            return ended or len(found) >= count

        self.scene.loop.until(look)
        return found

    def messages(self, count: int) -> list[Any]:
        """The next messages."""
        return [json.loads(payload) for opcode, payload in self.frames(count) if opcode == TEXT]

    def close_code(self) -> int | None:
        """The connection ends: with which code, if any was said."""
        frames = self.frames(1 << 30)
        closes = [payload for opcode, payload in frames if opcode == CLOSE]
        return int.from_bytes(closes[-1][:2], "big") if closes else None


def _cut(data: bytes) -> tuple[int, bytes, int] | None:
    """The first frame: opcode, payload, its octets altogether."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size >= 126:
        at = 4 if size == 126 else 10
        size = int.from_bytes(data[2:at], "big")
    return (data[0] & 0xF, data[at : at + size], at + size) if len(data) >= at + size else None


class Scene:
    """The page, with commands that are there to be asked."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.folder = folder
        self.commands = Commands()
        self.clients: list[Client] = []
        self.asked: list[dict[str, Any]] = []
        self.replies: list[Reply] = []
        self.waiting: list[Deferred[Any]] = []
        self.cancelled: list[str] = []
        self.commands.register("status", lambda arguments: self.asked.append(arguments) or {"self": {"name": "nas"}})  # type: ignore[func-returns-value]
        self.commands.register("netcheck", lambda arguments: self._wait())
        self.commands.register_streaming("watch", lambda arguments, reply: self._stream(reply))
        self.commands.register("down", lambda arguments: self.asked.append({"down": True}))
        self.page = self.begin()
        self.cookie = ""

    def begin(self, port: int = 0, **options: Any) -> Page:
        """A page that listens."""
        page = Page(self.loop.reactor, self.commands, self.folder, **options)
        page.start("127.0.0.1", port, others=False)
        return page

    def close(self) -> None:
        """End it all."""
        for client in self.clients:
            client.socket.close()
        self.loop.result(self.page.stop())
        self.loop.until(lambda: not self.page.connections)

    # ------------------------------------------------------------------ asking

    @property
    def host(self) -> str:
        """As a browser names it."""
        return f"127.0.0.1:{self.page.port}"

    def client(self, **options: Any) -> Client:
        """A connection."""
        made = Client(self, **options)
        self.clients.append(made)
        return made

    def token(self) -> str:
        """A fresh one."""
        return self.page.url().partition("token=")[2]

    def let_in(self) -> None:
        """A session: requests bring its cookie from now on."""
        given = self.get(f"/?token={self.token()}").header("set-cookie")
        self.cookie = given.partition(";")[0]

    def request(self, path: str, headers: Given | None = None, method: str = "GET", body: bytes = b"") -> bytes:
        """The octets of one: Host and the cookie are as a browser's, where ``headers`` does not say otherwise (None: it is left out)."""
        given: dict[str, str | list[str] | None] = {"Host": self.host, "Cookie": self.cookie or None}
        if body or method == "POST":
            given["Content-Length"] = str(len(body))
        given.update(headers or {})
        lines = [f"{method} {path} HTTP/1.1"]
        for name, value in given.items():
            lines += [f"{name}: {one}" for one in ([] if value is None else [value] if isinstance(value, str) else value)]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def get(self, path: str, headers: Given | None = None, **options: Any) -> Answer:
        """Ask, over a connection of its own."""
        client = self.client()
        client.send(self.request(path, headers, **options))
        return client.answer(options.get("method") != "HEAD")

    def handshake(self, headers: Given | None = None) -> bytes:
        """The octets that open a WebSocket (RFC 6455 section 4.1)."""
        upgrade: dict[str, str | list[str] | None] = {
            "Origin": f"http://{self.host}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        return self.request("/socket", {**upgrade, **(headers or {})})

    def socket(self, **options: Any) -> Client:
        """An open WebSocket."""
        if not self.cookie:
            self.let_in()
        client = self.client(**options)
        client.send(self.handshake())
        assert client.answer().code == 101
        return client

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until it holds."""
        self.loop.until(condition)

    # ------------------------------------------------------------------ the commands

    def _wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred(lambda _: self.cancelled.append("netcheck"))
        self.waiting.append(waiting)
        return waiting

    def _stream(self, reply: Reply) -> None:
        reply.on_cancel(lambda: self.cancelled.append("watch"))
        self.replies.append(reply)
