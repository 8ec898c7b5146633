"""Two nodes of two people in one network, and one browser for all tests of this package.

Each test opens pages of its own (``show``); whatever a page asks beyond its node, and whatever it complains about, fails the test.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.page.nodes import PATIENCE, Node, start_all, until

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
FLAGS = (
    "--no-sandbox",                                             # for root
    # Nothing but this computer is asked; an attacker's name leads to it as well (DNS rebinding).
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.*, EXCLUDE localhost",
    "--disable-dev-shm-usage",                                  # a container may have little of it
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
)
DESK, PHONE = {"width": 1180, "height": 760}, {"width": 360, "height": 720}
HOME = "home"


@attrs.define
class People:
    """Anna and Ben, who are in one network, which is Anna's."""

    anna: Node
    ben: Node


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="package")
def people() -> Iterator[People]:
    """Both nodes, joined."""
    folder = Path(tempfile.mkdtemp(prefix="userlan-page-"))     # short: a local socket's path has 108 octets
    anna, ben = Node(folder, "anna"), Node(folder, "ben")
    try:
        start_all(anna, ben)
        invite = anna.call("create", network=HOME)["invite"]
        ben.call("join", invite=invite)
        until(lambda: anna.sees(ben) and ben.sees(anna), "anna and ben meet")
        yield People(anna, ben)
    finally:
        anna.stop()
        ben.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Shown:
    """The pages of one test, and what they asked and complained about."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.contexts: list[Any] = []
        self.complaints: list[str] = []
        self.tolerated: set[str] = set()

    def __call__(self, node: Node, *, dark: bool = False, phone: bool = False, invite: str | None = None, **options: Any) -> Any:
        """A page at a node, in a context of its own, once it shows what the node knows."""
        page = self.blank(dark=dark, phone=phone, **options)
        self.watch(page, node)
        page.goto(node.address(invite))
        page.locator(".own-card .name").get_by_text(node.name, exact=True).wait_for()
        return page

    def blank(self, *, dark: bool = False, phone: bool = False, **options: Any) -> Any:
        """A page that shows nothing yet, in a context of its own."""
        wanted = {"viewport": PHONE if phone else DESK, "color_scheme": "dark" if dark else "light", "reduced_motion": "reduce"}
        context = self.browser.new_context(**{**wanted, **options})
        context.set_default_timeout(PATIENCE * 1000)
        self.contexts.append(context)
        return context.new_page()

    def watch(self, page: Any, node: Node) -> None:
        """Notes what the page asks of others, and its errors."""
        origin = node.call("page")["url"].partition("?")[0]

        def asked(url: str) -> None:
            if not url.startswith((origin, origin.replace("http:", "ws:"), "data:", "blob:")):
                self.complaints.append(f"asked for {url}")

        page.on("request", lambda request: asked(request.url))
        page.on("websocket", lambda socket: asked(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._said)
        page.on("dialog", self._interrupted)
        page.on("filechooser", lambda chooser: None)     # from the beginning on: a chooser that comes before it is intercepted is cancelled

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.tolerated):
            self.complaints.append(f"console: {message.text}")

    def _interrupted(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def end(self) -> None:
        """Closes all."""
        for context in self.contexts:
            context.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Shown]:
    """Opens pages: ``show(node, dark=…, phone=…)``."""
    shown = Shown(browser)
    try:
        yield shown
        assert shown.complaints == []
    finally:
        shown.end()


@pytest.fixture
def clean(people: People) -> None:
    """The chats of both are empty before a test."""
    for node in (people.anna, people.ben):
        for conversation in node.call("chat-conversations"):
            node.call("chat-clear", conversation=conversation["id"])
