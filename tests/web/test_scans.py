"""Pictures of QR codes: what is found in one, who may ask, and what is no picture."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest
import segno

from tests.web.harness import STRANGERS, Answer, Scene
from userlan.lan.invite import Invite
from userlan.web import scans
from userlan.web.scans import MAX_PICTURE, MAX_SIDE, find_invites

INVITE = str(Invite((("mediator.example", 41414), ("2001:db8::1", 41414)), bytes(range(32)), "home", bytes(range(16))))
OTHER = str(Invite((("mediator.example", 41414),), bytes(range(32)), "club", bytes(16)))
MEDIATOR = INVITE.partition("/home")[0]
Drawn = tuple[bytes, int, int]
"""A picture: its grey octets, width and height."""


def drawn(text: str, scale: int = 4, border: int = 4, error: str = "m") -> Drawn:
    """A QR code as the program makes it, dark on white."""
    rows = [bytes(0 if module else 255 for module in row) for row in segno.make(text, error=error, micro=False).matrix_iter(scale, border)]
    return b"".join(rows), len(rows[0]), len(rows)


def beside(one: Drawn, other: Drawn) -> Drawn:
    """Both in one picture, on white."""
    height = max(one[2], other[2])
    width = one[1] + other[1]

    def row(picture: Drawn, number: int) -> bytes:
        grey, wide, high = picture
        return grey[number * wide : (number + 1) * wide] if number < high else b"\xff" * wide

    return b"".join(row(one, number) + row(other, number) for number in range(height)), width, height


def turned(picture: Drawn) -> Drawn:
    """By a quarter."""
    grey, width, height = picture
    return bytes(grey[(height - 1 - x) * width + y] for y in range(width) for x in range(height)), height, width


def found(picture: Drawn) -> dict[str, Any]:
    """What is in it."""
    return find_invites(*picture)


@pytest.mark.parametrize("error", ["l", "m"])
def test_an_invite_is_found(error: str) -> None:
    """Of the page (correction level M) and of the terminal (L)."""
    assert found(drawn(INVITE, error=error)) == {"codes": 1, "links": [INVITE]}


def test_an_invite_is_found_however_it_is_seen() -> None:
    grey, width, height = drawn(INVITE)
    assert found(turned((grey, width, height)))["links"] == [INVITE]
    assert found((bytes(255 - octet for octet in grey), width, height))["links"] == [INVITE], "light on dark, as in a terminal"
    assert found((bytes(90 + octet // 6 for octet in grey), width, height))["links"] == [INVITE], "in a dim light"


def test_several_codes() -> None:
    assert found(beside(drawn(INVITE), drawn(INVITE))) == {"codes": 2, "links": [INVITE]}
    several = found(beside(drawn(INVITE), drawn(OTHER)))
    assert (several["codes"], sorted(several["links"])) == (2, sorted([INVITE, OTHER]))


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/userlan://",
        "javascript:alert(1)",
        MEDIATOR,
        INVITE.partition("#")[0],
        f"{INVITE[:-1]}-",
        "userlan://",
        "\0" * 40,
    ],
)
def test_a_code_that_is_no_invite_is_counted_and_not_told(text: str) -> None:
    assert found(drawn(text)) == {"codes": 1, "links": []}


def test_a_link_is_told_as_this_program_writes_it() -> None:
    assert found(drawn(f" <{INVITE.replace('userlan:', 'USERLAN:')}> \n"))["links"] == [INVITE]


@pytest.mark.parametrize(
    "picture",
    [(b"\0", 1, 1), (bytes(4000), 4000, 1), (bytes(4000), 1, 4000), (b"\xff" * 250_000, 500, 500), (bytes(range(256)) * 1000, 512, 500)],
    ids=["dot", "line", "column", "white", "stripes"],
)
def test_a_picture_without_a_code(picture: Drawn) -> None:
    assert found(picture) == {"codes": 0, "links": []}


def test_a_micro_code_is_none() -> None:
    """It holds 35 digits at most, and is more easily seen where there is none."""
    rows = [bytes(0 if module else 255 for module in row) for row in segno.make("1234567", micro=True).matrix_iter(4, 4)]
    assert found((b"".join(rows), len(rows[0]), len(rows))) == {"codes": 0, "links": []}


def test_half_a_code() -> None:
    grey, width, height = drawn(INVITE)
    assert found((grey[: width * (height // 2)], width, height // 2)) == {"codes": 0, "links": []}


# ------------------------------------------------------------------ by HTTP


def own(scene: Scene) -> dict[str, str | list[str] | None]:
    """The headers of the page's own request."""
    return {"Origin": f"http://{scene.host}", "Sec-Fetch-Site": "same-origin"}


def sent(scene: Scene, picture: Drawn, query: str | None = None) -> Answer:
    """The answer to it; ``query``: another one than the picture's."""
    grey, width, height = picture
    return scene.get(f"/scan?{query or f'width={width}&height={height}'}", own(scene), method="POST", body=grey)


def test_the_page_asks(scene: Scene) -> None:
    scene.let_in()
    for _ in range(2):
        answer = sent(scene, drawn(INVITE))
        assert (answer.code, json.loads(answer.body)) == (200, {"codes": 1, "links": [INVITE]})
        assert answer.header("cache-control") == "no-store", "it is a secret"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        *STRANGERS,
        ({"Content-Length": str(MAX_PICTURE + 1)}, 413),
        ({"Content-Length": None, "Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_a_picture_is_not_read_before_it_is_known_whose_it_is(scene: Scene, headers: dict[str, Any], code: int) -> None:
    """Nor one that is too large, or does not say how large it is (RFC 9110 section 15.5.12)."""
    scene.let_in()
    client = scene.client()
    client.send(scene.request("/scan?width=1024&height=1024", {**own(scene), "Content-Length": str(1 << 20), **headers}, method="POST"))
    assert client.answer().code == code
    assert scene.page.scans._active is None


@pytest.mark.parametrize(
    "query",
    [
        "width=10",
        "width=10&height=11",
        "width=10&height=10&height=10",
        "width=0&height=0",
        "width=-10&height=-10",
        "width=%2010&height=10",
        "width=1_0&height=10",
        "width=1e1&height=10",
        "width=10.0&height=10",
        "width=%D9%A1%D9%A0&height=10",
        "width=99999999999999999999&height=10",
    ],
)
def test_a_picture_that_is_not_what_it_says(scene: Scene, query: str) -> None:
    scene.let_in()
    assert sent(scene, (bytes(100), 10, 10), query).code == 400
    assert sent(scene, (bytes(100), 10, 10)).code == 200


def test_a_picture_without_octets_or_too_long_a_side(scene: Scene) -> None:
    scene.let_in()
    assert sent(scene, (b"", 0, 0), "width=0&height=10").code == 400
    assert sent(scene, (bytes(MAX_SIDE + 1), MAX_SIDE + 1, 1)).code == 400
    assert sent(scene, (bytes(MAX_SIDE), MAX_SIDE, 1)).code == 200


def test_it_is_asked_by_post(scene: Scene) -> None:
    scene.let_in()
    answer = scene.get("/scan?width=1&height=1", own(scene))
    assert (answer.code, answer.header("allow")) == (405, "POST")


def test_one_at_a_time(scene: Scene) -> None:
    """The place of one that is broken off is free again."""
    scene.let_in()
    first = scene.client()
    first.send(scene.request("/scan?width=10&height=10", {**own(scene), "Content-Length": "100"}, method="POST"))
    scene.until(lambda: scene.page.scans._active is not None)
    assert sent(scene, drawn(INVITE)).code == 503
    first.socket.close()
    scene.until(lambda: scene.page.scans._active is None)
    assert sent(scene, drawn(INVITE)).code == 200


def test_a_browser_that_goes_away_while_it_is_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is free when the thread has ended, not sooner."""
    scene.let_in()
    begun, go_on = threading.Event(), threading.Event()

    def slow(*picture: Any) -> dict[str, Any]:
        begun.set()
        go_on.wait(60)
        return find_invites(*picture)

    monkeypatch.setattr(scans, "find_invites", slow)
    client = scene.client()
    grey, width, height = drawn(INVITE)
    client.send(scene.request(f"/scan?width={width}&height={height}", own(scene), method="POST", body=grey))
    try:
        scene.until(begun.is_set)
        connections = len(scene.page.connections)
        client.socket.close()
        scene.until(lambda: len(scene.page.connections) < connections)
        assert sent(scene, drawn(INVITE)).code == 503
    finally:
        go_on.set()
    scene.until(lambda: scene.page.scans._active is None)
    assert sent(scene, drawn(INVITE)).code == 200


def test_a_library_that_fails(scene: Scene, monkeypatch: pytest.MonkeyPatch, logged_failures: list[Any]) -> None:
    """It is logged and said, and the next picture is looked at."""
    scene.let_in()
    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, "zxingcpp", None)
        assert sent(scene, drawn(INVITE)).code == 500
    assert len(logged_failures) == 1
    logged_failures.clear()
    assert sent(scene, drawn(INVITE)).code == 200
