"""Other pages in the same browser: on other sites, on other ports of this computer, under a name that they let resolve to it."""

from __future__ import annotations

import pytest

from tests.web.harness import Scene

ELSEWHERE = "https://evil.example"


@pytest.fixture(autouse=True)
def let_in(scene: Scene) -> None:
    """The browser has a session: its cookie is sent with all that is tried here, as if SameSite did not exist."""
    scene.let_in()


def test_the_page_itself_is_served(scene: Scene) -> None:
    assert scene.get("/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}).code == 200
    assert scene.get("/index.html", {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{scene.host}"}).code == 200
    assert scene.get("/", {"Host": f"localhost:{scene.page.port}"}).code == 200
    assert scene.get("/", {"Host": f"[::1]:{scene.page.port}"}).code == 200


@pytest.mark.parametrize("dest", ["script", "image", "style", "empty", "document"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_nothing_is_included_fetched_or_linked_by_another_page(scene: Scene, site: str, dest: str) -> None:
    """``same-site`` is a page on another port of this computer, to which the browser sends our cookie."""
    answer = scene.get("/index.html", {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": dest})
    assert answer.code == 403
    assert b"<html" not in answer.body


def test_a_fetch_says_its_origin(scene: Scene) -> None:
    """A browser without Fetch Metadata."""
    assert scene.get("/index.html", {"Origin": ELSEWHERE}).code == 403
    assert scene.get("/index.html", {"Origin": "null"}).code == 403


def test_nobody_is_told_that_others_may_read(scene: Scene) -> None:
    """Cross-Origin Resource Policy, Cross-Origin Opener Policy, and no Cross-Origin Resource Sharing."""
    answer = scene.get("/index.html")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.header("cross-origin-resource-policy") == "same-origin"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert scene.get("/index.html", {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}, method="OPTIONS").code == 405


@pytest.mark.parametrize("dest", ["iframe", "frame", "embed", "object"])
def test_the_page_is_not_put_into_another_one(scene: Scene, dest: str) -> None:
    """Clickjacking: by Fetch Metadata, and by what browsers keep (CSP level 3 section 6.4.2, RFC 7034)."""
    assert scene.get("/", {"Sec-Fetch-Dest": dest, "Sec-Fetch-Site": "same-origin"}).code == 403
    answer = scene.get("/")
    assert "frame-ancestors 'none'" in answer.header("content-security-policy")
    assert answer.header("x-frame-options") == "DENY"


@pytest.mark.parametrize(
    "policy",
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ],
)
def test_the_content_security_policy(scene: Scene, policy: str) -> None:
    """Of everything that is answered, refusals included."""
    for path in ("/", "/index.html", "/missing", f"/?token={scene.token()}"):
        assert policy in scene.get(path).header("content-security-policy").split("; ")


@pytest.mark.parametrize(
    "origin",
    [
        ELSEWHERE,
        "null",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
        None,
    ],
)
def test_a_websocket_of_another_origin_is_refused(scene: Scene, origin: str | None) -> None:
    """RFC 6455 section 10.2. A browser does not keep pages from opening them, and sends the cookie; localhost is another origin than
    127.0.0.1; who names none is no browser."""
    client = scene.client()
    client.send(scene.handshake({"Origin": origin.format(port=scene.page.port) if origin is not None else None}))
    assert client.answer().code == 403
    assert not scene.asked


def test_a_websocket_of_the_page_under_its_other_name(scene: Scene) -> None:
    name = f"localhost:{scene.page.port}"
    client = scene.client()
    client.send(scene.handshake({"Host": name, "Origin": f"http://{name}"}))
    assert client.answer().code == 101


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "http://127.0.0.1:1", None])
def test_a_form_of_another_page_uploads_nothing(scene: Scene, origin: str | None) -> None:
    scene.commands.register("files-send", lambda arguments: scene.asked.append(arguments))
    answer = scene.get("/upload?to=ben&name=x", {"Origin": origin}, method="POST", body=b"x")
    assert answer.code == 403
    assert not scene.asked


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/index.html", "/socket"])
def test_nothing_else_takes_a_form(scene: Scene, method: str, path: str) -> None:
    answer = scene.get(path, {"Origin": f"http://{scene.host}"}, method=method)
    assert answer.code == 405
    assert answer.header("allow") == "GET, HEAD"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:{port}.evil.example",
        "localhost.:{port}",
        "0.0.0.0:{port}",
        "",
    ],
)
def test_a_name_that_was_made_to_resolve_to_this_computer(scene: Scene, host: str) -> None:
    """DNS rebinding: to the browser it is the attacker's own origin, so that nothing else tells it apart."""
    name = host.format(port=scene.page.port)
    own = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
    assert scene.get("/", own).code == 421
    client = scene.client()
    client.send(scene.handshake(dict(own)))
    assert client.answer().code == 421


def test_host_is_said_once_and_cannot_be_outweighed(scene: Scene) -> None:
    """RFC 9112 sections 3.2 and 3.2.2."""
    assert scene.get("/", {"Host": [scene.host, "evil.example"]}).code == 400
    assert scene.get("/", {"Host": None}).code == 400
    assert scene.get("http://evil.example/").code == 400
    assert scene.get("*").code == 400


def test_another_page_cannot_use_up_a_token(scene: Scene) -> None:
    """Nor log the browser in with one (login CSRF)."""
    scene.cookie = ""
    token = scene.token()
    for site in ("cross-site", "same-site"):
        answer = scene.get(f"/?token={token}", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"})
        assert answer.code == 403
        assert "set-cookie" not in answer.headers
    assert scene.get(f"/?token={token}", {"Sec-Fetch-Site": "none"}).code == 303


def test_another_page_cannot_lock_the_owner_out(scene: Scene) -> None:
    """Its guesses do not count."""
    scene.cookie = ""
    for number in range(50):
        assert scene.get(f"/?token={number}", {"Sec-Fetch-Site": "cross-site"}).code == 403
    assert scene.get(f"/?token={scene.token()}").code == 303


def test_cookies_that_a_page_on_another_port_has_set_do_not_hide_ours(scene: Scene) -> None:
    """RFC 6265 section 8.5: cookies are not separated by port."""
    name, _, secret = scene.cookie.partition("=")
    assert scene.get("/", {"Cookie": f"{name}=other; {name}={secret}"}).code == 200
    assert scene.get("/", {"Cookie": f"{name}=other"}).code == 403
    assert scene.get("/", {"Cookie": "; ".join([f"{name}=other"] * 8 + [scene.cookie])}).code == 403
