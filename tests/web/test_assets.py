"""The page's own files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.web.harness import Scene
from userlan.web.assets import CONTENT_TYPES, Assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "static"
    (made / "views").mkdir(parents=True)
    (made / "index.html").write_text("<!doctype html>")
    (made / "app.js").write_text("export {}")
    (made / "views" / "chat.js").write_text("export {}")
    (made / "notes.md").write_text("not served")
    (tmp_path / "secret.js").write_text("secret")
    return made


def test_what_is_found(folder: Path) -> None:
    assets = Assets(folder)
    assert set(assets) == {b"/", b"/index.html", b"/app.js", b"/views/chat.js"}
    asset = assets.get(b"/app.js")
    assert asset is not None
    assert asset.content_type == b"text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.js",
        "/views/../../secret.js",
        "/%2e%2e/secret.js",
        "//secret.js",
        "/views",
        "/views/",
        "/app.js/",
        "/app.js%00",
        "/APP.JS",
        "/notes.md",
        "/./app.js",
    ],
)
def test_there_is_no_way_out(folder: Path, scene: Scene, path: str) -> None:
    scene.page.assets = Assets(folder)
    scene.let_in()
    answer = scene.get(path)
    assert answer.code == 404
    assert b"secret" not in answer.body


def test_a_file_is_asked_for_again_and_sent_only_when_it_is_another(folder: Path, scene: Scene) -> None:
    """RFC 9110 section 13.1.2."""
    scene.page.assets = Assets(folder)
    scene.let_in()
    first = scene.get("/app.js")
    tag = first.header("etag")
    assert first.body == b"export {}"
    assert first.header("cache-control") == "no-cache"
    assert first.header("x-content-type-options") == "nosniff"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = scene.get("/app.js", {"If-None-Match": known})
        assert (again.code, again.body, again.header("etag")) == (304, b"", tag)
        assert "content-security-policy" in again.headers
    assert scene.get("/app.js", {"If-None-Match": '"other"'}).code == 200
    (folder / "app.js").write_text("export const x = 1")
    scene.page.assets = Assets(folder)
    assert scene.get("/app.js", {"If-None-Match": tag}).code == 200


def test_head(folder: Path, scene: Scene) -> None:
    """RFC 9110 section 9.3.2: the same headers, no content."""
    scene.page.assets = Assets(folder)
    scene.let_in()
    client = scene.client()
    client.send(scene.request("/app.js", method="HEAD"))
    head = client.answer(body=False)
    assert head.header("content-length") == "9"
    client.send(scene.request("/app.js"))
    assert client.answer().body == b"export {}"


def test_the_package_has_its_files_and_serves_all_of_them() -> None:
    static = files("userlan.web") / "static"
    assets = Assets()
    assert assets.get(b"/") is not None
    for entry in static.iterdir():
        if entry.is_file():
            assert entry.name.rpartition(".")[2] in CONTENT_TYPES, f"{entry.name} is not served"
            assert assets.get(f"/{entry.name}".encode()) is not None
