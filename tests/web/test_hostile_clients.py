"""Programs of this computer that connect to the page's port without being let in, or that do not keep to HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.harness import TEXT, Client, Scene, frame
from userlan.web import connection, server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes ten seconds takes a fifth of one."""
    monkeypatch.setattr(connection, "ARRIVAL_PATIENCE", 0.2)


@pytest.mark.usefixtures("patient")
def test_a_request_that_never_ends(scene: Scene) -> None:
    """Slowloris: each octet comes in time for a timeout that every octet puts off."""
    client = scene.client()
    client.send(b"GET / HTTP/1.1\r\n")
    for number in range(1000):
        client.send(b"X-%d: 1\r\n" % number)
        scene.loop.run(0.01)
        if client.poll():
            break
    assert client.ended
    assert number < 60


@pytest.mark.usefixtures("patient")
def test_a_connection_that_says_nothing(scene: Scene) -> None:
    client = scene.client()
    assert client.wait_for_end() == b""


def test_a_second_request_that_never_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.let_in()
    client = scene.client()
    client.send(scene.request("/"))
    assert client.answer().code == 200
    monkeypatch.setattr(connection, "ARRIVAL_PATIENCE", 0.2)
    scene.loop.run(0.4)
    assert not client.poll(), "between two requests a connection may wait"
    client.send(b"GET / HTTP/1.1\r\n")
    client.wait_for_end()


@pytest.mark.parametrize("head", [b"X: " + b"x" * 20_000, b"\r\n".join(b"X-%d: 1" % number for number in range(500)), b"x" * 100_000])
def test_a_huge_head(scene: Scene, head: bytes) -> None:
    client = scene.client()
    client.send(b"GET / HTTP/1.1\r\n" + head)
    client.send(b"\r\n\r\n")
    assert client.wait_for_end()[:12] in (b"HTTP/1.1 400", b"")


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: +5",
        b"Content-Length: 5_0",
        b"Content-Length: -1",
        b"Content-Length: 0x5",
        b"X: a\0b",
    ],
)
def test_a_request_whose_end_is_read_in_two_ways(scene: Scene, lines: bytes) -> None:
    """Request smuggling (RFC 9112 section 11.2): the connection ends, and what came behind is not read as a request."""
    scene.let_in()
    head = b"POST /upload?to=ben&name=x HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n" % (scene.host.encode(), scene.cookie.encode())
    client = scene.client()
    client.send(head + lines + b"\r\n\r\n" + scene.request("/index.html"))
    data = client.wait_for_end()
    assert data.startswith(b"HTTP/1.1 400")
    assert data.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "line", [b"GET", b"GET /", b"GET / HTTP/2.0", b"GET / / HTTP/1.1", b"\x16\x03\x01\x02\x00\x01", b"GET\0/ HTTP/1.1"]
)
def test_what_is_no_request(scene: Scene, line: bytes) -> None:
    client = scene.client()
    client.send(line + b"\r\nHost: " + scene.host.encode() + b"\r\n\r\n")
    assert client.wait_for_end().startswith(b"HTTP/1.1 400")


def test_a_body_where_none_belongs_is_not_read(scene: Scene) -> None:
    """Twisted would gather it, in a temporary file where it is large."""
    scene.let_in()
    client = scene.client()
    client.send(scene.request("/", {"Content-Length": str(1 << 40)}))
    answer = client.answer()
    assert answer.code == 413
    assert answer.header("connection") == "close"
    assert client.send(bytes(16 << 20)) < 16 << 20
    client.wait_for_end()


def test_a_refused_body_is_thrown_away_so_that_the_answer_arrives(scene: Scene) -> None:
    """A reset would take the answer out of the client's hands (RFC 9112 section 9.6)."""
    client = scene.client()
    body = bytes(1 << 20)
    assert client.send(scene.request("/", method="GET", body=body)) > len(body)
    assert client.answer().code == 403 or client.ended


def test_a_thousand_requests_at_once(scene: Scene) -> None:
    """Pipelining (RFC 9112 section 9.3.2): the first is answered, and the connection ends. Nobody holds up the node, or fills it with
    answers that are not read."""
    scene.let_in()
    client = scene.client()
    client.send(scene.request("/") + scene.request("/", {"Host": "evil.example"}) * 1000)
    answer = client.answer()
    assert (answer.code, answer.header("connection")) == (200, "close")
    assert client.wait_for_end() == b""


def test_requests_behind_a_refused_one(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.request("/") * 1000)
    assert client.wait_for_end().count(b"HTTP/1.1 ") == 1


def test_frames_before_the_answer(scene: Scene) -> None:
    """They would pass by the guard of the frames' sizes (RFC 6455 section 4.1: a client waits for the handshake's answer)."""
    scene.let_in()
    client = scene.client()
    client.send(scene.handshake() + frame(TEXT, b"x", length=1 << 40))
    assert client.answer().code == 400


def test_thousands_of_connections(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have shown no session make room, so that the owner comes in; those who have are let alone."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(connection, "ARRIVAL_PATIENCE", 1000.0)
    page = scene.socket()
    crowd = [scene.client() for _ in range(30)]
    scene.until(lambda: sum(client.poll() for client in crowd) >= 23)
    assert len(scene.page.connections) <= 8
    assert scene.get("/").code == 200
    page.message({"id": 1, "command": "status"})
    assert page.messages(1) == [{"id": 1, "done": {"self": {"name": "nas"}}}]


def test_more_pages_than_there_are_places(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    pages = [scene.socket() for _ in range(4)]
    late = scene.client()
    late.wait_for_end()
    assert not any(page.poll() for page in pages)


def test_more_websockets_than_there_are_places(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_SOCKETS", 2)
    pages = [scene.socket() for _ in range(2)]
    late = scene.client()
    late.send(scene.handshake())
    assert late.answer().code == 503
    assert not any(page.poll() for page in pages)


@pytest.mark.parametrize(
    "headers",
    [{"Upgrade": None}, {"Connection": None}, {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": None}],
)
def test_what_is_no_handshake(scene: Scene, headers: dict[str, Any]) -> None:
    """RFC 6455 section 4.2.1."""
    scene.let_in()
    client = scene.client()
    client.send(scene.handshake(headers))
    assert client.answer().code in (400, 426)


def test_a_client_that_ends_at_once(scene: Scene) -> None:
    for data in (b"", b"GET", scene.request("/")):
        client: Client = scene.client()
        client.send(data)
        client.socket.close()
    scene.until(lambda: not scene.page.connections)
