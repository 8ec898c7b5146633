"""The site of the shared folders, asked over sockets: what is answered, to whom, and what hostile clients get."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridges.folders import FoldersBridge, FoldersOptions
from bridges.folders.server import MAX_OF_MEMBER
from tests.bridges.conftest import until
from tests.bridges.harness import LAPTOP, NAS, OWN, WAIT, FakeLan, Loop, real
from tests.bridges.test_forward import Running
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.lan import PeerInfo

BIG = os.urandom(3_000_000)


class KernelLan(FakeLan):
    """Members are known by the kernel's addresses, too: those that the sockets of a test have."""

    def peer_at(self, address: str) -> PeerInfo | None:
        return super().peer_at("25" + address.removeprefix("127") if address.startswith("127.9.") else address)


class Asking:
    """What a member gets, on one connection."""

    def __init__(self, port: int, member: str = NAS) -> None:
        self.connection = http.client.HTTPConnection(real(OWN), port, WAIT, (real(member), 0))

    def __call__(self, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Ferien & <Meer>"
    (made / "inner").mkdir(parents=True)
    (made / "big.bin").write_bytes(BIG)
    (made / "empty.txt").touch()
    (made / "page.html").write_text("<script>alert(origin)</script>")
    (made / "inner" / "ü.jpg").write_bytes(b"jpg")
    (made / ".secret").write_text("secret")
    (tmp_path / "outside").write_text("secret")
    (made / "link").symlink_to("../outside")
    os.mkfifo(made / "pipe")
    return made


@pytest.fixture
def start(loop: Loop, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    running: list[Running] = []
    (tmp_path / "state").mkdir()

    def make() -> Running:
        lan: Any = KernelLan(loop.reactor)
        running.append(Running(loop, FoldersBridge(lan, FoldersOptions(), BridgeStore(tmp_path / "state" / "folders.json"), 0)))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def shared(start: Callable[[], Running], folder: Path) -> Running:
    run = start()
    run("folder-add", path=str(folder), name="sea")
    return run


@pytest.fixture
def ask(shared: Running) -> Iterator[Asking]:
    asking = Asking(shared.bridge.port)
    yield asking
    asking.connection.close()


def test_a_folder_is_looked_into(ask: Asking) -> None:
    code, headers, body = ask("/sea/")
    assert code == 200
    assert b'<a href="/sea/inner/">' in body
    assert b"3.0 MB" in body
    for hidden in (b"secret", b"link<", b"pipe"):
        assert hidden not in body
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
    code, _, body = ask("/sea/inner/")
    assert b'<a href="/sea/inner/%C3%BC.jpg"><bdi>\xc3\xbc.jpg</bdi></a>' in body
    code, _, body = ask("/")
    assert (code, body.count(b"<td><a"), b'href="/sea/"' in body) == (200, 1, True)


def test_files_are_fetched(ask: Asking) -> None:
    code, headers, body = ask("/sea/big.bin")
    assert (code, body == BIG, headers["Content-Type"]) == (200, True, "application/octet-stream")
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''big.bin"
    assert headers["Accept-Ranges"] == "bytes"
    assert ask("/sea/empty.txt")[::2] == (200, b"")
    assert ask("/sea/inner/%c3%bc.jpg")[::2] == (200, b"jpg")
    code, headers, body = ask("/sea/big.bin", "HEAD")
    assert (code, headers["Content-Length"], body) == (200, str(len(BIG)), b"")
    tag = headers["ETag"]
    assert ask("/sea/big.bin", If_None_Match=tag)[::2] == (304, b"")
    assert ask("/sea/big.bin?x=y", If_None_Match='"other"')[0] == 200


def test_parts_of_files(ask: Asking) -> None:
    """RFC 9110 14."""
    code, headers, body = ask("/sea/big.bin", Range="bytes=1000000-")
    assert (code, body == BIG[1_000_000:]) == (206, True)
    assert headers["Content-Range"] == "bytes 1000000-2999999/3000000"
    assert ask("/sea/big.bin", Range="bytes=-5", If_Range=headers["ETag"])[::2] == (206, BIG[-5:])
    assert ask("/sea/big.bin", Range="bytes=-5", If_Range='"other"')[0] == 200
    code, headers, _ = ask("/sea/big.bin", Range="bytes=3000000-")
    assert (code, headers["Content-Range"]) == (416, "bytes */3000000")


def test_a_shared_page_has_no_origin(ask: Asking) -> None:
    code, headers, _ = ask("/sea/page.html")
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        "/../outside", "/sea/../../outside", "/sea/%2e%2e/outside", "/sea/..%2foutside", "/sea/%2e%2e%2foutside", "/sea//etc/passwd",
        "/sea/%2fetc%2fpasswd", "/sea/.secret", "/sea/%2esecret", "/sea/link", "/sea/link/", "/sea/pipe", "/sea/pipe/", "/other/", "//sea/",
        "/sea/big.bin/", "/sea/%00", "/sea/big.bin%00.txt", "/sea/" + "a/" * 100, "/Sea/", "/sea/\\..\\outside", "/sea/%ff", "/sea/%zz",
    ],
)
def test_nothing_else_is_served(ask: Asking, path: str) -> None:
    code, _, body = ask(path)
    assert code == 404
    assert b"secret" not in body


def test_a_folder_without_its_slash(ask: Asking) -> None:
    """The links in a page are whole paths, and yet a browser shows where it is."""
    code, headers, _ = ask("/sea/inner")
    assert (code, headers["Location"]) == (301, "/sea/inner/")


@pytest.mark.parametrize("host", ["evil.example", "127.9.0.1.evil.example", "sea.evil.example:80", "", "localhost.evil"])
def test_a_name_that_somebody_else_has_made_lead_here(ask: Asking, host: str) -> None:
    """DNS rebinding: a page of that name would be of the same origin as the files."""
    assert ask("/sea/", Host=host)[0] == 421


@pytest.mark.parametrize("host", ["127.9.0.1:41417", "me", "me.home:41417", "[::1]:1", "localhost:5", "me.home.internal"])
def test_names_of_the_lan(ask: Asking, host: str) -> None:
    assert ask("/sea/", Host=host)[0] == 200


def test_nothing_is_written(ask: Asking, folder: Path) -> None:
    for method in ("PUT", "DELETE", "MKCOL", "OPTIONS", "PROPFIND"):
        assert ask("/sea/new.txt", method)[0] == 405
    assert not (folder / "new.txt").exists()


def connected(port: int, member: str = NAS) -> socket.socket:
    client = socket.socket()
    client.bind((real(member), 0))
    client.settimeout(WAIT)
    client.connect((real(OWN), port))
    return client


def read_all(client: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := client.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
def test_a_body_is_not_taken_in(shared: Running, length: bytes) -> None:
    with connected(shared.bridge.port) as client:
        client.sendall(b"POST /sea/ HTTP/1.1\r\nHost: me\r\n" + length + b"\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 413 ")


def test_one_request_at_a_time(shared: Running) -> None:
    """Four hundred listings for one piece: one is made."""
    with connected(shared.bridge.port) as client:
        client.sendall(b"GET /sea/ HTTP/1.1\r\nHost: me\r\n\r\n" * 400)
        assert read_all(client).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("sent", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01" * 100 + b"\r\n", b"GET /" + b"a" * 20000, b"X: y\r\n" * 100])
def test_what_is_no_request(shared: Running, sent: bytes) -> None:
    with connected(shared.bridge.port) as client:
        with contextlib.suppress(OSError):      # it may have been hung up on already
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        assert b" 200 " not in read_all(client)
    asking = Asking(shared.bridge.port)
    assert asking("/sea/")[0] == 200
    asking.connection.close()


def test_connections_of_one_member(shared: Running) -> None:
    clients = [connected(shared.bridge.port) for _ in range(MAX_OF_MEMBER)]
    try:
        until(lambda: len(shared.bridge._site.channels) == MAX_OF_MEMBER, shared.loop)
        with connected(shared.bridge.port) as one_more:
            assert read_all(one_more) == b""
        other = Asking(shared.bridge.port, LAPTOP)
        assert other("/sea/")[0] == 200, "the others are served"
        other.connection.close()
    finally:
        for client in clients:
            client.close()


def test_strangers_are_not_answered(shared: Running) -> None:
    with socket.create_connection((real(OWN), shared.bridge.port), WAIT) as client:     # from 127.0.0.1, which is no member's
        assert read_all(client) == b""


def test_who_goes_away_in_the_middle(shared: Running, folder: Path) -> None:
    with connected(shared.bridge.port) as client:
        client.sendall(b"GET /sea/big.bin HTTP/1.1\r\nHost: me\r\n\r\n")
        client.recv(1000)
    until(lambda: not shared.bridge._site.channels, shared.loop)
    if os.path.isdir("/proc/self/fd"):
        until(lambda: str(folder / "big.bin") not in open_files(), shared.loop)


def open_files() -> list[str]:
    found = []
    for one in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{one}"))
        except OSError:      # it was closed meanwhile
            continue
    return found


def test_a_file_that_becomes_shorter(shared: Running, folder: Path) -> None:
    """What was promised cannot be kept: the connection breaks, so that nobody takes it for the whole."""
    with (folder / "long").open("wb") as file:
        file.truncate(200_000_000)
    with connected(shared.bridge.port) as client:
        client.sendall(b"GET /sea/long HTTP/1.1\r\nHost: me\r\n\r\n")
        client.recv(1000)
        os.truncate(folder / "long", 1000)
        assert len(read_all(client)) < 200_000_000


# --- what is shared ------------------------------------------------------------------------------------------------------


def test_kept_over_restarts(start: Callable[[], Running], folder: Path) -> None:
    run = start()
    told = run("folder-add", path=str(folder))
    assert (told["name"], told["path"], told["link"]) == (folder.name, str(folder), "/Ferien%20%26%20%3CMeer%3E/")
    run.stop()
    assert run.bridge.port == 0
    again = start()
    assert again("folder-list") == [told]
    ask = Asking(again.bridge.port)
    assert ask(told["link"])[0] == 200
    ask.connection.close()
    assert again("folder-remove", name=folder.name)["text"].endswith("is not shared any more")
    assert (again("folder-list"), again.bridge.port, again.bridge.status()) == ([], 0, None)
    again.stop()
    assert start()("folder-list") == []


def test_a_folder_that_is_gone_is_told(shared: Running, ask: Asking, folder: Path, start: Callable[[], Running]) -> None:
    folder.rename(folder.with_name("elsewhere"))
    code, _, body = ask("/sea/")
    assert (code, b"not there at present" in body) == (404, True)
    (row,) = shared.bridge.status()
    assert (row["state"], row["error"]) == ("gone", "is not there at present")
    shared.stop()
    again = start()
    assert [one["state"] for one in again("folder-list")] == ["gone"]
    folder.with_name("elsewhere").rename(folder)
    assert [one["state"] for one in again("folder-list")] == ["shared"]


def test_for_some_alone(start: Callable[[], Running], folder: Path) -> None:
    run = start()
    run("folder-add", path=str(folder), name="sea", allow=("laptop",))
    nas, laptop = Asking(run.bridge.port), Asking(run.bridge.port, LAPTOP)
    assert (nas("/sea/")[0], laptop("/sea/")[0]) == (404, 200)
    assert (b"sea" in nas("/")[2], b"sea" in laptop("/")[2]) == (False, True)
    nas.connection.close()
    laptop.connection.close()


def test_what_is_removed_is_not_sent_on(shared: Running, folder: Path) -> None:
    with (folder / "long").open("wb") as file:
        file.truncate(200_000_000)
    with connected(shared.bridge.port) as client:
        client.sendall(b"GET /sea/long HTTP/1.1\r\nHost: me\r\n\r\n")
        client.recv(1000)
        shared("folder-remove", name="sea")
        assert len(read_all(client)) < 200_000_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "relative"}, "not an absolute path"), ({"path": "/nowhere/at/all"}, "there is no folder"),
        ({"path": "FILE"}, "is no folder"),
        ({"path": "FOLDER", "name": "a/b"}, "is no name"), ({"path": "FOLDER", "name": ".x"}, "is no name"), ({}, "wrong arguments"),
        ({"path": "FOLDER", "name": "ä" * 32}, "is no name"), ({"path": "FOLDER", "name": "a\nb"}, "is no name"),
        ({"path": "FOLDER", "name": "sea"}, "already"), ({"path": "STATE"}, "own keys"), ({"path": "ABOVE"}, "own keys"),
        ({"path": "/"}, "own keys|--name"),     # as the state folder of a test is not hidden
        ({"path": "FOLDER", "allow": ("no one",)}, "neither a peer"),
    ],
)
def test_what_is_not_shared(shared: Running, folder: Path, arguments: dict[str, Any], words: str) -> None:
    places: dict[Any, Path] = {"FOLDER": folder, "FILE": folder / "big.bin", "STATE": folder.parent / "state", "ABOVE": folder.parent}
    given = {name: str(places.get(value, value)) if name == "path" else value for name, value in arguments.items()}
    with pytest.raises(CommandError, match=words):
        shared("folder-add", **given)
    assert [one["name"] for one in shared("folder-list")] == ["sea"]


def test_nothing_listens_while_nothing_is_shared(start: Callable[[], Running]) -> None:
    run = start()
    assert run.bridge.port == 0
    with pytest.raises(CommandError):
        run("folder-add", path="/nowhere/at/all")
    assert run.bridge.port == 0
    with pytest.raises(CommandError, match="no folder is shared as 'x'"):
        run("folder-remove", name="x")


def test_what_was_kept_and_cannot_be_read(start: Callable[[], Running], tmp_path: Path, folder: Path) -> None:
    kept = f'[{{"name": "../x", "path": "/"}}, 5, {{"name": "sea", "path": "{folder}"}}]'
    (tmp_path / "state" / "folders.json").write_text(kept)
    assert [one["name"] for one in start()("folder-list")] == ["sea"]
