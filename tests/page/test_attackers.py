"""Who has no business here: another page in the same browser, a name that was made to lead to this computer, a peer who writes markup.

The browser is a real one and has a session at the node: what is tried here is what is left where no session is needed to do harm.
"""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.page.nodes import Node, until
from tests.page.story import go, person, say, site

MARK = "stolen-by-markup"
HOSTILE = f"<img src=/{MARK} onerror=\"document.title='{MARK}'\"><script>document.title='{MARK}'</script>"
"""Whichever part of it became an element would ask for something, or change the title."""

ATTEMPTS = """async ([origin, address]) => {
  const socket = origin.replace("http", "ws") + "/socket";
  const tried = {};
  const attempt = async (name, what) => { try { tried[name] = await what(); } catch (error) { tried[name] = `refused: ${error.name}`; } };
  const body = async (answer) => `${answer.type} ${answer.status} ${(await answer.text()).slice(0, 40)}`;
  const loaded = (tag, attributes) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("refused: error");
    document.body.append(element);
  });
  await attempt("fetch", async () => body(await fetch(origin + "/", { credentials: "include" })));
  await attempt("fetch of a script", async () => body(await fetch(origin + "/app.js", { credentials: "include" })));
  await attempt("fetch without CORS", async () => body(await fetch(origin + "/index.html", { mode: "no-cors", credentials: "include" })));
  await attempt("upload", async () => body(await fetch(origin + "/upload?to=ben&name=loot.txt", { method: "POST", mode: "no-cors",
    credentials: "include", body: "loot" })));
  await attempt("upload with CORS", async () => body(await fetch(origin + "/upload?to=ben&name=loot.txt", { method: "POST",
    credentials: "include", body: "loot" })));
  await attempt("upload with preflight", async () => body(await fetch(origin + "/upload?to=ben&name=loot.txt", { method: "POST",
    credentials: "include", headers: { "X-Any": "1" }, body: "loot" })));
  await attempt("token", async () => body(await fetch(origin + "/?token=guess", { credentials: "include" })));
  await attempt("import", async () => Object.keys(await import(origin + "/strings.js")).join());
  await attempt("script", () => loaded("script", { src: origin + "/theme.js" }));
  await attempt("module", () => loaded("script", { src: origin + "/app.js", type: "module" }));
  await attempt("image by the address", () => loaded("img", { src: address }));
  await attempt("image", () => loaded("img", { src: origin + "/logo.svg" }));
  await attempt("style", () => loaded("link", { rel: "stylesheet", href: origin + "/style.css" }));
  await attempt("socket", () => new Promise((resolve) => {
    const asked = new WebSocket(socket);
    asked.onopen = () => asked.send(JSON.stringify({ id: 1, command: "create", arguments: { network: "loot" } }));
    asked.onmessage = (event) => resolve(`told: ${event.data}`);
    asked.onerror = asked.onclose = () => resolve("refused: closed");
  }));
  await attempt("events", () => new Promise((resolve) => {
    const events = new EventSource(origin + "/", { withCredentials: true });
    events.onmessage = (event) => resolve(`told: ${event.data}`);
    events.onerror = () => (events.close(), resolve("refused: error"));
  }));
  return tried;
}"""
FRAMED = """async (origin) => {
  const frame = Object.assign(document.createElement("iframe"), { name: "inside", src: origin + "/" });
  const shown = () => new Promise((resolve) => (frame.onload = resolve));
  const first = shown();
  document.body.append(frame);
  await first;
  const form = Object.assign(document.createElement("form"), { method: "POST", action: origin + "/upload?to=ben&name=loot.txt",
    target: "inside", enctype: "text/plain" });
  form.append(Object.assign(document.createElement("input"), { name: "loot", value: "loot" }));
  document.body.append(form);
  const second = shown();
  form.submit();
  await second;
  try { return frame.contentDocument === null ? "another origin" : frame.contentDocument.body.textContent; } catch (error) {
    return error.name; }
}"""
POSTED = """(address) => {
  const form = Object.assign(document.createElement("form"), { method: "POST", action: address, enctype: "text/plain" });
  form.append(Object.assign(document.createElement("input"), { name: "loot", value: "loot" }));
  document.body.append(form);
  form.submit();
}"""


class _Evil(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a nice page</title><link rel=icon href=data:,><p>See the kittens.")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def evil() -> Iterator[int]:
    """The port of a server whose pages are up to no good."""
    with site(_Evil) as port:
        yield port


@pytest.fixture
def left_alone(people: Any) -> Iterator[None]:
    """Nothing of Anna's node is changed by the test."""
    def facts() -> Any:
        status = people.anna.call("status")
        networks = [(one["name"], one["members"]) for one in status["networks"]]
        lists = [people.anna.call(command) for command in ("files-list", "chat-conversations", "exposes", "forwards")]
        return status["self"]["name"], networks, lists

    before = facts()
    yield
    assert facts() == before
    assert not any((people.anna.folder / "uploads").rglob("*loot*"))


def attacked(show: Any, node: Any, host: str, port: int) -> tuple[Any, str]:
    """A hostile page in a browser that has a session at the node, and the node's origin."""
    own = show(node)
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(own.url))
    page = own.context.new_page()
    page.goto(f"http://{host}:{port}/")
    return page, origin


@pytest.mark.usefixtures("left_alone")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_another_page_learns_and_changes_nothing(people: Any, show: Any, evil: int, host: str) -> None:
    """On another port of the same host, which is the same site, so that the browser sends the cookie; and on another host."""
    page, origin = attacked(show, people.anna, host, evil)
    if host == "127.0.0.1":
        sent = page.context.cookies(origin)
        assert sent != []
        assert all(one["httpOnly"] and one["sameSite"] == "Strict" for one in sent), "the session is there to be abused"
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if answer.url.startswith(origin) else None)
    address = people.anna.address()
    tried = page.evaluate(ATTEMPTS, [origin, address])
    unread = {"fetch without CORS", "upload"}
    assert {name: told for name, told in tried.items() if not told.startswith("refused") and name not in unread} == {}
    assert all(tried[name].startswith("refused") or tried[name].strip() == "opaque 0" for name in unread), tried
    assert page.evaluate(FRAMED, origin) in ("another origin", "SecurityError")
    assert page.frames[1].url.startswith("chrome-error:")
    assert all("userlan" not in frame.content() or frame is page.main_frame for frame in page.frames)
    assert set(answers) == {403}
    fresh = show.blank()
    assert fresh.goto(address).status == 200, "the token that was tried by another page is still good"
    assert [one["name"].startswith("userlan-") for one in fresh.context.cookies()] == [True]
    again = page.context.new_page()
    assert again.goto(f"{origin}/").status == 200
    again.locator(".own-card .name").get_by_text("anna", exact=True).wait_for()


@pytest.mark.usefixtures("left_alone")
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_a_form_of_another_page_is_refused(people: Any, show: Any, evil: int, host: str) -> None:
    page, origin = attacked(show, people.anna, host, evil)
    with page.expect_response(lambda answer: answer.url.startswith(f"{origin}/upload")) as answered:
        page.evaluate(POSTED, f"{origin}/upload?to=ben&name=loot.txt")
    assert answered.value.status == 403


@pytest.mark.usefixtures("left_alone")
def test_a_link_of_another_page_opens_no_session(people: Any, show: Any, evil: int) -> None:
    """Nor does it use up a token that somebody else was given."""
    page = show.blank()
    page.goto(f"http://evil.example:{evil}/")
    address = people.anna.address()
    with page.expect_navigation() as answered:
        page.evaluate("address => { location.href = address }", address)
    assert answered.value.status == 403
    assert page.context.cookies() == []
    page.goto(address)
    page.locator(".own-card .name").get_by_text("anna", exact=True).wait_for()


@pytest.mark.usefixtures("left_alone")
def test_a_window_that_another_page_opens_and_holds_on_to(people: Any, show: Any, evil: int) -> None:
    page, origin = attacked(show, people.anna, "127.0.0.1", evil)
    with page.context.expect_page() as opened:
        page.evaluate("(origin) => { window.held = window.open(origin + '/') }", origin)
    window = opened.value
    window.wait_for_load_state()
    assert "asked for by another page" in window.content()


@pytest.mark.usefixtures("left_alone")
def test_a_name_that_was_made_to_lead_here(people: Any, show: Any) -> None:
    """DNS rebinding: to the browser, the node is the attacker's own origin."""
    page = show.blank()
    port = urlsplit(people.anna.address()).port
    for path in ("/", "/?token=" + people.anna.address().partition("token=")[2]):
        answer = page.goto(f"http://rebound.example:{port}{path}")
        assert answer.status == 421
        assert "set-cookie" not in answer.headers
    for name in ("/index.html", "/app.js"):
        assert page.evaluate("name => fetch(name).then((answer) => answer.status)", name) == 421
    assert page.context.cookies() == []
    assert page.evaluate("""() => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}/socket`);
      socket.onopen = () => resolve("open");
      socket.onerror = () => resolve("refused");
    })""") == "refused"


# --- a peer --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def inert(show: Any) -> Any:
    """Checks pages for what markup would have done; at its end ``show`` looks at dialogs, requests to others and errors."""
    def check(page: Any) -> None:
        assert MARK not in page.title()
        assert page.locator("img, iframe, object, embed, base, body script, svg script, [onerror], [onload]").count() == 0
        assert page.locator(f"[src*={MARK}], [href*={MARK}]").count() == 0

    return check


@pytest.mark.usefixtures("clean")
def test_markup_in_chat_and_file_name_is_text(people: Any, show: Any, inert: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    anna, ben = show(people.anna), show(people.ben)
    anna.on("request", lambda request: asked.append(request.url))
    person(ben, "anna")
    say(ben, HOSTILE)
    name = HOSTILE.replace("/", "\N{FRACTION SLASH}")
    (tmp_path / name).write_text("harmless")
    people.ben.call("files-send", to=people.anna.key, paths=[str(tmp_path / name)])
    anna.locator(".toast .words").filter(has_text="offers you").wait_for()
    inert(anna)
    person(anna, "ben")
    assert anna.locator(".message:not(.own) .words").inner_text() == HOSTILE
    assert anna.locator(".transfer .file").inner_text().strip() == until(lambda: people.anna.call("files-list"), "it is offered")[0]["file"]
    inert(anna)
    go(anna, "#/self/files")
    anna.locator(".transfer .file").wait_for()
    inert(anna)
    anna.get_by_role("button", name="Accept").click()
    anna.locator(".transfer[data-state=done]").wait_for()
    assert all(one.parent == people.anna.inbox for one in people.anna.inbox.rglob("*stolen*"))
    assert not [url for url in asked if MARK in url]
    for node in (people.anna, people.ben):
        until(partial(over, node), "it is done")
        for one in node.call("files-list"):
            node.call("files-forget", id=one["id"])


def over(node: Node) -> bool:
    """Whether no transfer runs any more."""
    return all(one["state"] == "done" for one in node.call("files-list"))


SNAPSHOT = """async (name) => {
  const [{ status, chat }, { store }, { milestones }] = await Promise.all([import("./feed.js"), import("./store.js"),
    import("./milestones.js")]);
  const self = store.get("self");
  const key = "evil".padEnd(43, "A");
  const peer = { name, key, ipv4: name, ipv6: name, networks: [name], state: "relayed", path: "relay", relay: name, endpoint: name,
    bulk: null, cipher: name,
                 rtt_ms: 1, rx_bytes: 0, tx_bytes: 0, last_seen: null, blocked: false };
  const applicants = [{ key: "asks".padEnd(43, "A"), name, since: 1 }];
  const network = { name, owner: self.key, mine: true, locked: false, approval: true, applicants, members: [self.key, key] };
  status(store, { snapshot: { self, networks: [network], peers: [peer], mediator: { state: "connecting", reason: name }, waiting: [],
    bridges: {}, groups: null } });
  const message = { id: name, seq: 1, conversation: `peer:${key}`, from: key, name, text: name, time: 1, own: false, state: "received",
    delivered: 0, recipients: 0 };
  chat({ api: null, store }, { message });
  const transfer = { id: name, direction: "in", peer: key, name, file: name, size: 1, done: 0, rate: 0, state: "failed", error: name,
    path: name, sha256: null, time: 1 };
  store.patch("transfers", { [name]: transfer });
  milestones.emit("transfer", { ...transfer, state: "offered" });
  store.flush();
  return key;
}"""


def test_markup_in_a_nickname_is_text_wherever_it_is_shown(people: Any, show: Any, inert: Any) -> None:
    """No node lets such a name pass, neither a member's own nor the mediator: so the page is told it as if one had."""
    assert "error" in _refused(people.ben, HOSTILE)
    page = show(people.anna)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    key = page.evaluate(SNAPSHOT, HOSTILE)
    page.locator(".row .name").get_by_text(HOSTILE, exact=True).wait_for()
    page.locator(".toast .words").filter(has_text=HOSTILE).wait_for()
    inert(page)
    page.locator(".row").click(button="right")
    page.get_by_role("menu").wait_for()
    inert(page)
    page.keyboard.press("Escape")
    peer, network = f"#/peer/{key}", f"#/network/{quote(HOSTILE, safe='')}"
    views = [f"{peer}/{view}" for view in ("files", "services", "path")] + [f"{network}/{view}" for view in ("members", "services", "map")]
    for where in (*views, "#/self/files"):
        go(page, where)
        page.locator("main h1").wait_for()
        inert(page)
    assert not [url for url in asked if MARK in url]


def _refused(node: Any, name: str) -> str:
    try:
        node.call("nick", name=name)
    except Exception as error:
        return f"error: {error}"
    return "accepted"
