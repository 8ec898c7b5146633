"""Uploads: who may, what is written, and what becomes of a half."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred

from tests.driver.loop import PATIENCE
from tests.web.harness import STRANGERS, Scene
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands
from userlan.lan.filenames import safe_name
from userlan.web.uploads import HOLD, MAX_UPLOADS, PART, RESERVE, Uploads

SIZE = 300_000


@pytest.fixture(autouse=True)
def sending(scene: Scene) -> None:
    """The node sends files; the browser is let in."""
    scene.let_in()
    scene.commands.register("files-send", lambda arguments: scene.asked.append(arguments) or {"transfers": []})  # type: ignore[func-returns-value]


def own(scene: Scene) -> dict[str, str | list[str] | None]:
    """The headers of the page's own request."""
    return {"Origin": f"http://{scene.host}", "Sec-Fetch-Site": "same-origin"}


def kept(scene: Scene) -> list[Path]:
    """What is in the spool."""
    return [path for path in scene.folder.glob("uploads/*/*") if path.is_file()]


def test_a_file_is_kept_and_offered(scene: Scene) -> None:
    body = os.urandom(SIZE)
    answer = scene.get("/upload?to=ben&name=my%20plan.txt", own(scene), method="POST", body=body)
    assert (answer.code, json.loads(answer.body)) == (200, {"transfers": []})
    (path,) = kept(scene)
    assert path.name == "my plan.txt"
    assert path.read_bytes() == body
    assert scene.asked == [{"to": "ben", "paths": [str(path)], "spooled": True}]
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_empty_file(scene: Scene) -> None:
    assert scene.get("/upload?to=ben&name=empty", own(scene), method="POST").code == 200
    assert kept(scene)[0].read_bytes() == b""


@pytest.mark.parametrize(("headers", "code"), STRANGERS)
def test_a_body_is_not_read_before_it_is_known_whose_it_is(scene: Scene, headers: dict[str, Any], code: int) -> None:
    """The answer comes before the body, which 100-continue does not ask for, and nothing is written."""
    client = scene.client()
    whole = {**own(scene), "Expect": "100-continue", **headers, "Content-Length": str(1 << 30)}
    client.send(scene.request("/upload?to=ben&name=x", whole, method="POST"))
    assert client.answer().code == code
    assert client.send(bytes(8 << 20)) < 8 << 20
    assert not (scene.folder / "uploads").exists()


def test_a_client_that_waits_to_be_asked(scene: Scene) -> None:
    """RFC 9110 section 10.1.1."""
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Expect": "100-continue", "Content-Length": "4"}, method="POST"))
    assert client.answer().code == 100
    client.send(b"body")
    assert client.answer().code == 200


def test_a_file_that_the_disk_has_no_room_for(scene: Scene) -> None:
    """Seen before anything is written; files that are on their way count."""
    scene.page.uploads._free = lambda folder: RESERVE + SIZE
    assert scene.get("/upload?to=ben&name=x", {**own(scene), "Content-Length": str(SIZE + 1)}, method="POST").code == 507
    first = scene.client()
    first.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": str(SIZE)}, method="POST"))
    scene.until(lambda: kept(scene))
    assert scene.get("/upload?to=ben&name=y", own(scene), method="POST", body=b"1").code == 507
    first.send(bytes(SIZE))
    assert first.answer().code == 200


def test_a_disk_that_is_full_all_the_same(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": str(SIZE)}, method="POST"))
    scene.until(lambda: kept(scene))
    (spool,) = scene.page.uploads._active

    class Full:
        def write(self, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            return

    file, spool._file = spool._file, Full()  # type: ignore[assignment]
    assert file is not None
    file.close()
    client.send(bytes(SIZE))
    answer = client.answer()
    assert answer.code == 507
    assert b"No space" in answer.body
    assert not kept(scene)
    assert not scene.asked


def test_a_disk_that_is_slow_holds_up_nobody_but_the_browser(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": str(64 << 20)}, method="POST"))
    scene.until(lambda: kept(scene))
    (spool,) = scene.page.uploads._active
    file: Any = spool._file
    writing, on = threading.Event(), threading.Event()
    assert file is not None

    class Slow:
        def write(self, data: memoryview) -> int:
            writing.set()
            on.wait(PATIENCE)
            written: int = file.write(data)
            return written

        def close(self) -> None:
            file.close()

    spool._file = Slow()  # type: ignore[assignment]
    sent = 0

    def fill() -> bool:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            sent += client.socket.send(bytes(1 << 16))
        return spool._paused

    scene.until(fill)
    scene.until(writing.is_set)
    assert spool._size < HOLD + (1 << 20)
    assert scene.get("/").code == 200
    before = spool.left
    scene.loop.run(0.2)
    assert spool.left == before
    on.set()
    client.send(bytes((64 << 20) - sent))
    assert client.answer().code == 200
    assert kept(scene)[0].stat().st_size == 64 << 20


def test_uploads_at_once_are_few(scene: Scene) -> None:
    for _ in range(MAX_UPLOADS):
        client = scene.client()
        client.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": "10"}, method="POST") + b"half")
    scene.until(lambda: len(kept(scene)) == MAX_UPLOADS)
    assert scene.get("/upload?to=ben&name=x", own(scene), method="POST", body=b"x").code == 503
    client.send(b" a half")
    assert client.answer().code == 200
    assert scene.get("/upload?to=ben&name=x", own(scene), method="POST", body=b"x").code == 200


@pytest.mark.parametrize("query", ["", "?to=ben", "?name=x", "?to=ben&name=%FF"])
def test_an_upload_says_to_whom_it_goes(scene: Scene, query: str) -> None:
    assert scene.get(f"/upload{query}", own(scene), method="POST", body=b"x").code == 400
    assert not kept(scene)


def test_an_upload_says_how_long_it_is(scene: Scene) -> None:
    headers = {**own(scene), "Transfer-Encoding": "chunked", "Content-Length": None}
    assert scene.get("/upload?to=ben&name=x", headers, method="POST").code == 411


def test_a_browser_that_goes_away_in_the_middle(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": "10"}, method="POST") + b"half")
    scene.until(lambda: kept(scene))
    client.socket.close()
    scene.until(lambda: not list((scene.folder / "uploads").iterdir()))
    assert not scene.asked


def test_a_page_that_ends_in_the_middle(scene: Scene) -> None:
    """What is half there is removed by then, and whoever keeps a connection is not served any more."""
    uploading, idle = scene.client(), scene.client()
    uploading.send(scene.request("/upload?to=ben&name=x", {**own(scene), "Content-Length": "10"}, method="POST") + b"half")
    idle.send(scene.request("/"))
    assert idle.answer().code == 200
    scene.until(lambda: kept(scene))
    scene.loop.result(scene.page.stop())
    assert not list((scene.folder / "uploads").iterdir())
    idle.wait_for_end()
    uploading.send(b" a half" + scene.request("/"))
    assert uploading.wait_for_end() == b""


def test_a_request_is_answered_though_the_page_ends(scene: Scene) -> None:
    waiting: Deferred[Any] = Deferred()
    scene.commands.register("files-send", lambda arguments: scene.asked.append(arguments) or waiting)  # type: ignore[func-returns-value]
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", own(scene), method="POST", body=b"x"))
    scene.until(lambda: scene.asked)
    scene.loop.result(scene.page.stop())
    waiting.callback({})
    answer = client.answer()
    assert (answer.code, answer.header("connection")) == (200, "close")


def test_what_a_killed_node_left_half_done_is_removed(scene: Scene) -> None:
    """What is complete waits for its receiver, and is not."""
    folder = scene.folder / "uploads"
    for name in ("half", "whole"):
        (folder / name).mkdir(parents=True)
    (folder / "half" / PART).write_bytes(b"x")
    (folder / "whole" / "x").write_bytes(b"x")
    scene.loop.result(scene.page.stop())
    scene.page = scene.begin()
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_a_file_that_cannot_be_sent_is_not_kept(scene: Scene) -> None:
    def refuse(arguments: object) -> None:
        raise CommandError("there is no peer ben")

    scene.commands.register("files-send", refuse)
    answer = scene.get("/upload?to=ben&name=x", own(scene), method="POST", body=b"x")
    assert (answer.code, json.loads(answer.body)) == (409, {"error": "there is no peer ben"})
    assert not kept(scene)


def test_a_browser_that_goes_away_before_the_answer(scene: Scene) -> None:
    waiting: Deferred[Any] = Deferred()
    scene.commands.register("files-send", lambda arguments: scene.asked.append(arguments) or waiting)  # type: ignore[func-returns-value]
    client = scene.client()
    client.send(scene.request("/upload?to=ben&name=x", own(scene), method="POST", body=b"x"))
    scene.until(lambda: scene.asked)
    before = len(scene.page.connections)
    client.socket.close()
    scene.until(lambda: len(scene.page.connections) < before)
    waiting.callback({})
    assert [path.name for path in kept(scene)] == ["x"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x:y", "x_y"),
        ("..", "file"),
        (PART, "part"),
        ("Nul.txt", "_Nul.txt"),
        ("-rf", "_rf"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("e\u0301.tar.gz", "é.tar.gz"),
    ],
)
def test_names_are_kept_as_a_members_are(scene: Scene, written: str, name: str) -> None:
    """By the one function for names of others: what is spooled here has the name under which it would lie in an inbox."""
    assert safe_name(written) == name
    assert scene.get(f"/upload?to=ben&name={quote(written)}", own(scene), method="POST", body=b"x").code == 200
    assert [path.name for path in kept(scene)] == [name]


def test_a_traversal_is_a_file_of_the_spool(scene: Scene) -> None:
    answer = scene.get("/upload?to=ben&name=..%2F..%2Fpage.json", own(scene), method="POST", body=b"x")
    assert answer.code == 200
    assert [path.name for path in kept(scene)] == ["page.json"]
    assert scene.folder / "page.json" not in kept(scene)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_bytes(b"")
    commands = Commands()
    commands.register("files-send", lambda arguments: None)
    refusal = Uploads(None, tmp_path / "uploads", commands).refuses(1)
    assert refusal is not None
    assert refusal.code == 507
    refusal = Uploads(None, tmp_path, Commands()).refuses(1)
    assert refusal is not None
    assert refusal.code == 503
