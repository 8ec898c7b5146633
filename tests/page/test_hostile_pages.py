"""Pages of others in the browser that has a session: on another site, on another port of this computer, and under a name that resolves
to it. The browser is a real one, and sends what it does send."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.page.conftest import CHROMIUM, FLAGS, People

NAME = "evil.example"
RULES = f"--host-resolver-rules=MAP {NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"

ATTACK = """
async ([node, socket, token]) => {
  const told = {};
  const add = (tag, props) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(tag), props);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("refused");
    document.body.append(element);
  });
  const read = (path, options) => fetch(node + path, { credentials: "include", ...options }).then((r) => r.text(), () => "refused");
  told.read = await read("app.js", {});
  told.blind = await read("app.js", { mode: "no-cors" });
  told.upload = await read("upload?to=ben&name=x", { method: "POST", body: "x" });
  told.blindUpload = await read("upload?to=ben&name=x", { method: "POST", body: "x", mode: "no-cors" });
  told.script = await add("script", { src: node + "app.js" });
  told.module = await add("script", { src: node + "app.js", type: "module" });
  told.style = await add("link", { rel: "stylesheet", href: node + "style.css" });
  told.image = await add("img", { src: node + "logo.svg" });
  told.token = await add("img", { src: token });
  const frame = add("iframe", { src: node, name: "inside" });
  told.socket = await new Promise((resolve) => {
    const one = new WebSocket(socket + "socket");
    one.onopen = () => { one.send('{"id": 1, "command": "status"}'); resolve("open"); };
    one.onerror = () => resolve("refused");
  });
  await frame;
  const target = { method: "post", action: node + "upload?to=ben&name=x", target: "inside", enctype: "text/plain" };
  const form = Object.assign(document.createElement("form"), target);
  form.append(Object.assign(document.createElement("input"), { name: "x", value: "y" }));
  document.body.append(form);
  const sent = new Promise((resolve) => { document.querySelector("iframe").onload = resolve; });
  form.submit();
  await sent;
  return told;
}
"""

OPENS = """
() => new Promise((resolve) => {
  const one = new WebSocket("ws://" + location.host + "/socket");
  one.onopen = () => resolve(true);
  one.onerror = () => resolve(false);
})
"""


class Evil(BaseHTTPRequestHandler):
    """An empty page, under whatever name."""

    def do_GET(self) -> None:
        """Serve it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body></body>")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody wants to know."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the hostile page is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def victim(people: People, browser: Any) -> Iterator[Any]:
    """A browser's context with a session, in a browser to which the hostile name is this computer."""
    flags = [flag for flag in FLAGS if not flag.startswith("--host-resolver-rules")]
    another = browser.browser_type.launch(executable_path=CHROMIUM, args=[*flags, RULES])
    context = another.new_context()
    page = context.new_page()
    page.goto(people.anna.address())
    assert page.title() != ""
    assert [cookie["name"].startswith("userlan-") for cookie in context.cookies()] == [True]
    page.close()
    yield context
    another.close()


@pytest.mark.parametrize("host", [NAME, "localhost", "127.0.0.1"])
def test_a_hostile_page_gets_nowhere(people: People, victim: Any, port: int, host: str) -> None:
    """From 127.0.0.1 the browser sends the cookie: to it, another port is the same site."""
    node = people.anna.address().partition("?")[0]
    token = people.anna.address()
    page = victim.new_page()
    answers: list[tuple[str, int]] = []
    page.on("response", lambda response: answers.append((response.url, response.status)))
    page.goto(f"http://{host}:{port}/")
    answers.clear()
    told = page.evaluate(ATTACK, [node, node.replace("http:", "ws:"), token])
    assert {told[name] for name in ("read", "upload", "script", "module", "style", "image", "token", "socket")} == {"refused"}
    assert told["blind"] in ("", "refused")
    assert told["blindUpload"] in ("", "refused")
    assert page.frames[1].url.startswith("chrome-error:")
    reached = [status for url, status in answers if url.startswith(node)]
    assert set(reached) == {403}
    assert people.anna.call("files-list") == []
    page.close()
    fresh = victim.browser.new_context()
    arrived = fresh.new_page().goto(token)
    assert arrived.status == 200, "the token that was tried by another page is still good"
    fresh.close()


def test_a_link_of_a_hostile_page_leads_nowhere(people: People, victim: Any, port: int) -> None:
    """Nor a window that it opens and holds on to."""
    node = people.anna.address().partition("?")[0]
    page = victim.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    with victim.expect_page() as opened:
        page.evaluate("(node) => { window.held = window.open(node) }", node)
    window = opened.value
    window.wait_for_load_state()
    assert "asked for by another page" in window.content()
    window.close()
    page.close()


def test_a_name_that_was_made_to_resolve_to_this_computer(people: People, victim: Any) -> None:
    """DNS rebinding: the page of that name is of one origin with the node's port, and reads all that it is answered."""
    node = urlsplit(people.anna.address())
    page = victim.new_page()
    arrived = page.goto(f"http://{NAME}:{node.port}/?{node.query}")
    assert arrived.status == 421
    told = page.evaluate("() => fetch('/app.js').then((answer) => answer.status)")
    assert told == 421
    assert not page.evaluate(OPENS)
    page.close()


def test_the_owner_is_let_in_all_the_same(people: People, victim: Any) -> None:
    """In that same browser, after all that."""
    page = victim.new_page()
    assert page.goto(people.anna.address().partition("?")[0]).status == 200
    page.locator(".own-card .name").get_by_text("anna", exact=True).wait_for()
    page.close()
