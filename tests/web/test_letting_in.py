"""Tokens and sessions: who is let in, once, and stays in."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.driver.loop import Loop
from tests.web.harness import Scene
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.commands import Commands
from userlan.web.caller import is_other, user_of
from userlan.web.server import Page
from userlan.web.sessions import (
    MAX_SESSIONS,
    MAX_TOKENS,
    MAX_WRONG,
    SESSION_LIFE,
    TOKEN_LIFE,
    WRONG_INTERVAL,
    Sessions,
    Tokens,
)

DAY = 86400.0


def test_nobody_gets_anything_without_a_session(scene: Scene) -> None:
    """Another user of this computer can connect. The page that is shown says what to do, and nothing about the node."""
    for path in (
        "/",
        "/index.html",
        "/socket",
        "/upload",
        "/metrics",
        "/app.js",
        "/?token=",
        "/?x=token=1",
        "/?xtoken=1",
        "//",
        "/../page.json",
    ):
        answer = scene.get(path)
        assert answer.code in (403, 405), path
        assert b"nas" not in answer.body
        assert "set-cookie" not in answer.headers
    assert b"userlan open" in scene.get("/").body
    client = scene.client()
    client.send(scene.handshake())
    assert client.answer().code == 403
    assert scene.get(f"/?token={scene.token()}", method="HEAD").code == 403


def test_a_token_becomes_a_session_and_leaves_the_address_line(scene: Scene) -> None:
    """303 (RFC 9110 section 15.4.4): neither the history nor a Referer has it, nor a cache."""
    answer = scene.get(f"/?token={scene.token()}")
    assert answer.code == 303
    assert answer.header("location") == "/"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("referrer-policy") == "no-referrer"
    pair, *attributes = answer.header("set-cookie").split("; ")
    assert set(attributes) == {"Path=/", f"Max-Age={SESSION_LIFE:.0f}", "HttpOnly", "SameSite=Strict"}
    assert pair.startswith(f"userlan-{scene.page.port}=")
    assert len(pair.partition("=")[2]) == 43
    assert scene.get("/", {"Cookie": pair}).code == 200


def test_a_token_works_once(scene: Scene) -> None:
    token = scene.token()
    assert scene.get(f"/?token={token}").code == 303
    again = scene.get(f"/?token={token}")
    assert again.code == 403
    assert b"used already" in again.body


def test_a_browser_that_is_in_may_open_an_old_link(scene: Scene) -> None:
    """It gets no second session; a fresh token is used up all the same."""
    scene.let_in()
    token = scene.token()
    for _ in range(2):
        answer = scene.get(f"/?token={token}")
        assert answer.code == 303
        assert "set-cookie" not in answer.headers
    assert scene.get(f"/?token={token}", {"Cookie": None}).code == 403


def test_guesses_are_few(scene: Scene) -> None:
    """So many, then nothing is looked at for a while; who is in stays in."""
    scene.let_in()
    for number in range(MAX_WRONG):
        assert scene.get(f"/?token={number}", {"Cookie": None}).code == 403
    assert scene.get(f"/?token={scene.token()}", {"Cookie": None}).code == 429
    assert scene.get("/").code == 200


def test_the_life_of_tokens() -> None:
    tokens = Tokens()
    first, second = tokens.issue(0.0), tokens.issue(0.0)
    assert tokens.redeem(first.encode(), TOKEN_LIFE - 1)
    assert not tokens.redeem(second.encode(), TOKEN_LIFE)
    many = [tokens.issue(0.0) for _ in range(MAX_TOKENS + 1)]
    assert not tokens.redeem(many[0].encode(), 1.0)
    assert tokens.redeem(many[1].encode(), 1.0)
    assert len(set(many)) == len(many)
    assert all(len(token) == 43 for token in many)


def test_wrong_tokens_are_forgotten() -> None:
    tokens = Tokens()
    for number in range(MAX_WRONG):
        assert not tokens.limited(float(number) / 10)
        tokens.redeem(b"x" * 10_000, float(number) / 10)
    assert tokens.limited(2.0)
    assert not tokens.limited(2.0 + WRONG_INTERVAL)


def sessions(folder: Path, port: int = 4141) -> Sessions:
    made = Sessions(BridgeStore(folder / "page.json"), lambda text: None)
    made.moved(port)
    return made


def test_a_session_survives_a_restart_and_the_file_does_not_have_its_secret(tmp_path: Path) -> None:
    secret = sessions(tmp_path).open(1.0)
    kept = tmp_path / "page.json"
    assert secret not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sessions(tmp_path).find([secret.encode()], 2.0)
    assert not sessions(tmp_path).find([json.loads(kept.read_text())["sessions"][0]["hash"].encode()], 2.0)


def test_a_session_ends_when_it_is_not_used(tmp_path: Path) -> None:
    kept = sessions(tmp_path)
    secret = kept.open(0.0).encode()
    assert kept.find([secret], SESSION_LIFE - DAY)
    assert kept.find([secret], 2 * SESSION_LIFE - 2 * DAY)
    assert not kept.find([secret], 3 * SESSION_LIFE)
    assert not sessions(tmp_path).find([secret], 3 * SESSION_LIFE)


def test_sessions_are_few_and_the_idle_one_makes_room(tmp_path: Path) -> None:
    kept = sessions(tmp_path)
    secrets = [kept.open(float(number)).encode() for number in range(MAX_SESSIONS)]
    assert kept.find([secrets[0]], DAY)
    kept.open(DAY)
    assert kept.find([secrets[0]], DAY)
    assert not kept.find([secrets[1]], DAY)
    assert len(json.loads((tmp_path / "page.json").read_text())["sessions"]) == MAX_SESSIONS


def test_a_port_is_kept_and_the_next_free_one_is_taken(loop: Loop, tmp_path: Path) -> None:
    """Two nodes of one computer; each finds its port again, and with it its sessions, whoever starts first."""

    def begin(name: str, port: int, others: bool) -> Page:
        (tmp_path / name).mkdir(exist_ok=True)
        page = Page(loop.reactor, Commands(), tmp_path / name)
        page.start("127.0.0.1", port, others)
        return page

    first = begin("first", 0, others=False)
    second = begin("second", first.port, others=True)
    assert first.port < second.port
    with pytest.raises(CommandError, match=r"the page: 127\.0\.0\.1:\d+ is in use by another program; set page\.listen"):
        begin("third", first.port, others=False)
    loop.result(first.stop())
    loop.result(second.stop())
    again = begin("second", first.port, others=True)
    assert again.port == second.port
    loop.result(again.stop())


def test_a_session_of_another_port_is_none(tmp_path: Path) -> None:
    """While the node was away its port was somebody else's, and the browser may have told them the cookie."""
    secret = sessions(tmp_path).open(1.0).encode()
    assert not sessions(tmp_path, 4142).find([secret], 2.0)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 2, "port": 4141, "sessions": [{"hash": "x", "since": 1, "seen": 1}]}',
        '{"version": 1, "port": "x", "sessions": [7, {}]}',
    ],
)
def test_a_file_that_is_damaged_or_of_another_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.json").write_text(text)
    kept = sessions(tmp_path)
    assert kept.find([kept.open(1.0).encode()], 2.0)


def test_another_user_of_this_computer_who_saw_the_link(scene: Scene) -> None:
    """The arguments of a browser that is started are seen by all: neither the token nor the cookie helps another user."""
    scene.let_in()
    token = scene.token()
    asked: list[Any] = []
    scene.page.foreign = lambda client, server: asked.append((client, server)) or True  # type: ignore[func-returns-value]
    assert scene.get(f"/?token={token}", {"Cookie": None}).code == 403
    assert scene.get("/").code == 403
    client = scene.client()
    client.send(scene.handshake())
    assert client.answer().code == 403
    assert {server for _, server in asked} == {("127.0.0.1", scene.page.port)}
    scene.page.foreign = lambda client, server: False
    assert scene.get(f"/?token={token}", {"Cookie": None}).code == 303


def test_whose_socket_it_is(scene: Scene) -> None:
    """NETLINK_SOCK_DIAG says it of a connection, and nothing of one that is not there."""
    import os

    client = scene.client()
    ends = (client.socket.getsockname(), client.socket.getpeername())
    assert user_of(*ends) == os.geteuid()
    assert user_of(ends[0], ("127.0.0.1", 1)) is None


def test_who_is_another_user() -> None:
    assert is_other(1001, own=1000)
    assert not is_other(1000, own=1000)
    assert not is_other(0, own=1000)
    assert not is_other(1001, own=0)
    assert not is_other(None, own=1000)
