"""The proxy as HTTP clients see it: requests to their origins, bodies, keep-alive, errors, smuggling."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridges.proxy import ProxyOptions
from tests.bridges.harness import (
    LAPTOP,
    NAS,
    Listener,
    dial,
    fill,
    read_all,
    read_exactly,
    read_head,
    read_response,
    real,
    refused,
    reset,
    site,
)

Address = tuple[str, int]
Start = Callable[..., Address]


@pytest.fixture(scope="module")
def nas_site() -> Iterator[int]:
    with site(real(NAS)) as port:
        yield port


@pytest.fixture(scope="module")
def laptop_site() -> Iterator[int]:
    with site(real(LAPTOP)) as port:
        yield port


@pytest.fixture
def origin() -> Iterator[Listener]:
    with Listener(real(NAS)) as listening:
        yield listening


def get(host: str, path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} http://{host}{path} HTTP/{version}", f"Host: {host}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_each_request_of_a_connection_goes_to_its_own_origin(proxy: Address, nas_site: int, laptop_site: int) -> None:
    with dial(proxy) as client:
        for name, host, port in (
            ("nas", NAS, nas_site),
            ("laptop", LAPTOP, laptop_site),
            ("nas", NAS, nas_site),
            ("nas", NAS, nas_site),
        ):
            client.sendall(get(f"{name}:{port}", "/hello?x"))
            status, body = read_response(client)
            assert status == 200
            lines = body.decode().split("\n")
            assert lines[0] == "GET /hello?x HTTP/1.1"
            assert f"Host: {name}:{port}" in lines
            assert f"SERVER {real(host)}:{port}" in lines
            assert "Via: 1.1 userlan" in lines


def test_connections_to_an_origin_are_used_again(proxy: Address, nas_site: int) -> None:
    clients = set()
    with dial(proxy) as client:
        for _ in range(3):
            client.sendall(get(f"nas:{nas_site}"))
            _, body = read_response(client)
            clients.add(body.decode().rsplit("CLIENT ", 1)[1])
    assert len(clients) == 1


def test_pipelined_requests_are_answered_in_order(proxy: Address, nas_site: int, laptop_site: int) -> None:
    with dial(proxy) as client:
        requests = [(name, path) for path in ("/1", "/2", "/3") for name in ("nas", "laptop")]
        ports = {"nas": nas_site, "laptop": laptop_site}
        client.sendall(b"".join(get(f"{name}:{ports[name]}", path) for name, path in requests))
        for _, path in requests:
            assert read_response(client)[1].startswith(f"GET {path} ".encode())


def test_bodies_are_streamed(proxy: Address, nas_site: int) -> None:
    with dial(proxy) as client:
        body = bytes(range(256)) * 4000
        head = get(f"nas:{nas_site}", "/", f"Content-Length: {len(body)}", method="POST")
        client.sendall(head + body + get(f"nas:{nas_site}", "/next"))
        assert f"BODY {len(body)}".encode() in read_response(client)[1]
        assert read_response(client)[1].startswith(b"GET /next ")
        client.sendall(get(f"nas:{nas_site}", "/", "Transfer-Encoding: chunked", method="PUT"))
        for size in (1, 10, 70000):
            client.sendall(b"%x;ext\r\n" % size + bytes(size) + b"\r\n")
        client.sendall(b"0\r\nTrailer: x\r\n\r\n" + get(f"nas:{nas_site}", "/after"))
        answer = read_response(client)[1]
        assert b"BODY 70011" in answer
        assert b"Transfer-Encoding: chunked" in answer
        assert b"Trailer" not in answer
        assert read_response(client)[1].startswith(b"GET /after ")


def test_chunked_answers(proxy: Address, nas_site: int) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}", "/chunked") + get(f"nas:{nas_site}", "/", "Connection: close"))
        head = read_head(client)
        assert b"Transfer-Encoding: chunked" in head
        rest = read_all(client)
        chunks, _, answer = rest.partition(b"0\r\n\r\n")
        assert b"one " in chunks
        assert b"x=y" not in chunks
        assert answer.startswith(b"HTTP/1.1 200")


def test_answers_that_end_with_the_connection(proxy: Address, nas_site: int) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}", "/close"))
        head = read_head(client)
        assert b"Connection: close" in head
        assert read_all(client) == b"until close"


def test_chunks_are_decoded_for_http_1_0(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}", "/", version="1.0"))
        with origin.accept() as server:
            assert read_head(server).startswith(b"GET / HTTP/1.0\r\n")
            server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"abc"


def test_head_has_no_body(proxy: Address, nas_site: int) -> None:
    with dial(proxy) as client:
        for path in ("/", "/chunked"):
            client.sendall(get(f"nas:{nas_site}", path, method="HEAD"))
            assert read_head(client).startswith(b"HTTP/1.1 200")
        client.sendall(get(f"nas:{nas_site}"))
        assert read_response(client)[0] == 200


def test_interim_answers_pass(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}", "/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        with origin.accept() as server:
            assert b"Expect: 100-continue" in read_head(server)
            server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert read_head(client).startswith(b"HTTP/1.1 100 Continue\r\n")
            client.sendall(b"body")
            assert read_exactly(server, 4) == b"body"
            server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert read_head(client).startswith(b"HTTP/1.1 204")


def test_a_websocket(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        headers = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
        client.sendall(get(f"nas:{origin.port}", "/chat", *headers))
        with origin.accept() as server:
            head = read_head(server)
            assert b"Upgrade: websocket\r\n" in head
            assert b"Sec-WebSocket-Key: x\r\n" in head
            switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            server.sendall(switching + b"\x81\x02hi")
            assert b"Upgrade: websocket\r\n" in read_head(client)
            assert read_exactly(client, 4) == b"\x81\x02hi"
            client.sendall(b"\x81\x82mask..")
            assert read_exactly(server, 8) == b"\x81\x82mask.."
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b""


def test_a_refused_websocket_is_an_ordinary_answer(proxy: Address, nas_site: int) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}", "/", "Connection: Upgrade", "Upgrade: websocket"))
        assert read_response(client)[0] == 200
        client.sendall(get(f"nas:{nas_site}"))
        assert read_response(client)[0] == 200


def test_connect(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(b"CONNECT nas:%d HTTP/1.1\r\nHost: nas\r\n\r\nearly" % origin.port)
        with origin.accept() as server:
            assert read_head(client) == b"HTTP/1.1 200 Connection established\r\n\r\n"
            assert read_exactly(server, 5) == b"early"
            server.sendall(b"raw")
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"raw"
            client.sendall(b"more")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"more"


def test_connect_behind_another_request(proxy: Address, nas_site: int, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}"))
        assert read_response(client)[0] == 200
        client.sendall(b"CONNECT nas:%d HTTP/1.1\r\nHost: nas\r\n\r\n" % origin.port)
        with origin.accept() as server:
            assert read_head(client).startswith(b"HTTP/1.1 200 ")
            reset(server)
            assert refused(client)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status", "says"),
    [
        ("nobody.internal:80", 502, b"no member is called 'nobody.internal'"),
        ("no-such-host.invalid", 502, b"no such name"),
        ("nas:{gone}", 502, b"refused the connection"),
        ("127.0.0.1:{proxy}", 403, b"the proxy itself"),
    ],
)
@pytest.mark.parametrize("connect", [False, True])
def test_errors_are_one_clear_line(proxy: Address, host: str, status: int, says: bytes, connect: bool) -> None:
    with Listener(real(NAS)) as gone:
        host = host.format(gone=gone.port, proxy=proxy[1])
    with dial(proxy) as client:
        if connect:
            host = host if ":" in host else f"{host}:80"
            client.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        else:
            client.sendall(get(host))
        got, body = read_response(client)
        assert got == status
        assert says in body
        assert body.count(b"\n") == 1
        assert client.recv(1) == b""


def test_a_target_outside_is_forbidden(start_proxy: Start, nas_site: int) -> None:
    proxy = start_proxy(ProxyOptions(listen="127.0.0.1:0", outside="refuse"))
    with dial(proxy) as client:
        client.sendall(get("example.com"))
        status, body = read_response(client)
        assert status == 403
        assert b"not on the LAN" in body
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}"))
        assert read_response(client)[0] == 200


def test_outside_is_reached_directly(proxy: Address) -> None:
    with site("127.0.0.1") as port, dial(proxy) as client:
        client.sendall(get(f"localhost:{port}"))
        assert read_response(client)[0] == 200


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\x00\r\n\r\n"])
def test_an_origin_that_does_not_answer_right(proxy: Address, origin: Listener, answer: bytes) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}"))
        with origin.accept() as server:
            read_head(server)
            server.sendall(answer)
        assert read_response(client)[0] == 502


@pytest.mark.parametrize("end", [reset, socket.socket.close])
def test_an_answer_that_is_cut_off_is_never_whole(proxy: Address, origin: Listener, end: Callable[[Any], None]) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}"))
        server = origin.accept()
        read_head(server)
        server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        read_exactly(client, 50)
        end(server)
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_an_early_answer_ends_the_upload(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}", "/", "Content-Length: 1000000", method="POST") + bytes(1000))
        with origin.accept() as server:
            read_head(server)
            server.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            head = read_head(client)
            assert head.startswith(b"HTTP/1.1 413")
            assert b"Connection: close" in head
            client.sendall(bytes(100_000))
            assert read_all(client) == b"big"


def test_a_kept_connection_that_the_origin_closed_is_replaced(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}", "/1"))
        first = origin.accept()
        read_head(first)
        first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        assert read_response(client) == (200, b"1")
        client.sendall(get(f"nas:{origin.port}", "/2"))
        read_head(first)
        first.close()
        with origin.accept() as second:
            assert read_head(second).startswith(b"GET /2 ")
            second.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
            assert read_response(client) == (200, b"2")


def test_bytes_behind_an_answer_belong_to_nobody(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}", "/1"))
        with origin.accept() as server:
            read_head(server)
            evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1" + evil)
            assert read_response(client) == (200, b"1")
            client.sendall(get(f"nas:{origin.port}", "/2"))
            with origin.accept() as second:
                read_head(second)
                second.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
                assert read_response(client) == (200, b"good")


# --- who may ----------------------------------------------------------------------------------------------------------


def test_user_and_password(start_proxy: Start, nas_site: int) -> None:
    proxy = start_proxy(ProxyOptions(listen="127.0.0.1:0", user="anna", password="secret"))
    right = "Proxy-Authorization: Basic " + base64.b64encode(b"anna:secret").decode()
    wrong = "Proxy-Authorization: Basic " + base64.b64encode(b"anna:wrong").decode()
    for headers in ((), (wrong,)):
        with dial(proxy) as client:
            client.sendall(get(f"nas:{nas_site}", "/", *headers))
            head = read_head(client)
            assert head.startswith(b"HTTP/1.1 407 ")
            assert b'Proxy-Authenticate: Basic realm="userlan"' in head
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}", "/", right))
        status, body = read_response(client)
        assert status == 200
        assert b"roxy-" not in body


# --- smuggling and rubbish --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://nas/evil HTTP/1.1\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
        (b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400),
        (b"X: y\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"X: y\rTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"X: " + b"y" * 70000 + b"\r\n\r\n", 431),
        (b"X: y\r\n" * 2000 + b"\r\n", 431),
    ],
)
def test_smuggling_is_refused_before_anything_reaches_the_origin(proxy: Address, origin: Listener, lines: bytes, status: int) -> None:
    with dial(proxy) as client:
        client.sendall(f"POST http://nas:{origin.port}/ HTTP/1.1\r\nHost: nas\r\n".encode() + lines)
        assert read_response(client)[0] == status
        assert client.recv(1) == b""
    origin.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        origin.accept()


def test_a_broken_chunk_ends_the_request(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        head = get(f"nas:{origin.port}", "/", "Transfer-Encoding: chunked", method="POST")
        client.sendall(head + b"5\r\nhello\r\n")
        with origin.accept() as server:
            read_head(server)
            read_exactly(server, 10)
            client.sendall(b"5\nsmugg")
            assert read_response(client)[0] == 400
            assert refused(server)


def test_a_request_that_is_no_proxy_request(proxy: Address) -> None:
    with dial(proxy) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status, body = read_response(client)
        assert status == 400
        assert b"this is a proxy" in body


def test_silent_clients_between_requests_are_let_go(start_proxy: Start, nas_site: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.http.KEEP_ALIVE", 0.2)
    proxy = start_proxy()
    with dial(proxy) as client:
        client.sendall(get(f"nas:{nas_site}"))
        assert read_response(client)[0] == 200
        assert client.recv(1) == b""


# --- flow control -----------------------------------------------------------------------------------------------------


def test_a_slow_client_slows_the_origin(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}"))
        with origin.accept() as server:
            read_head(server)
            total = 256 << 20
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            sent = fill(server, total)
            assert sent < 64 << 20
            read_head(client)
            rest = threading.Thread(target=server.sendall, args=(bytes(total - sent),))
            rest.start()
            received = 0
            while received < total:
                received += len(client.recv(1 << 20))
            rest.join()
            client.sendall(get(f"nas:{origin.port}", "/next"))
            assert read_head(server).startswith(b"GET /next ")


def test_a_slow_origin_slows_the_upload(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        total = 256 << 20
        client.sendall(get(f"nas:{origin.port}", "/", f"Content-Length: {total}", method="POST"))
        with origin.accept() as server:
            read_head(server)
            sent = fill(client, total)
            assert sent < 64 << 20
            rest = threading.Thread(target=client.sendall, args=(bytes(total - sent),))
            rest.start()
            received = 0
            while received < total:
                received += len(server.recv(1 << 20))
            rest.join()
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert read_response(client) == (200, b"ok")


def test_requests_sent_ahead_are_bounded(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}"))
        with origin.accept() as server:
            read_head(server)
            assert fill(client, 64 << 20) < 32 << 20


def test_a_client_that_leaves_ends_the_request(proxy: Address, origin: Listener) -> None:
    client = dial(proxy)
    client.sendall(get(f"nas:{origin.port}"))
    with origin.accept() as server:
        read_head(server)
        reset(client)
        assert refused(server)


def test_a_client_that_has_no_more_requests_gets_its_answer(proxy: Address, origin: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(get(f"nas:{origin.port}"))
        client.shutdown(socket.SHUT_WR)
        with origin.accept() as server:
            read_head(server)
            time.sleep(0.05)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert read_all(client).endswith(b"\r\n\r\nok")
