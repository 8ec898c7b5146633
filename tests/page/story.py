"""What two strangers do from their first look at the window to the parting, step by step, each at a page of a node of their own.

Each step waits for what the page shows, never for a time; after it ``look(what, page)`` may look at the page: a test checks there, an album
takes pictures there.
"""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.page.nodes import PATIENCE, Node, until

NETWORK = "garden"
WORDS = "what dave has to say"
FILM = 128 << 20
"""Octets: long enough on the way that it can be broken off."""
BLOCK = 1 << 20
INTERRUPTED = "net::ERR_NETWORK_CHANGED"
"""What Chromium says of a page on its way while an address of this computer comes or goes: nobody's fault here."""

Look = Callable[[str, Any], None]


def nothing(what: str, page: Any) -> None:
    """Looks at nothing."""


class Story:
    """The steps, in their order. ``show`` opens a page at a node; carla and dave are in no network yet."""

    def __init__(self, carla: Node, dave: Node, show: Any, look: Look = nothing, *, patient: bool = False) -> None:
        """``patient``: waits until dave's node has missed carla's, half a minute (WireGuard's KEEPALIVE-TIMEOUT and REKEY-TIMEOUT)."""
        self.carla = carla
        self.dave = dave
        self.show = show
        self.look = look
        self.patient = patient
        self.link = ""
        self.here: Any = None       # carla's page
        self.there: Any = None      # dave's

    def create(self) -> None:
        """Carla makes a network, and is given its link."""
        page = self.here = self.show(self.carla)
        page.get_by_role("heading", name="Welcome to userlan").wait_for()
        self.look("welcome", page)
        page.get_by_role("button", name="Create a network").click()
        page.get_by_label("Name", exact=True).fill(NETWORK)
        self.look("create", page)
        page.keyboard.press("Enter")
        self.link = page.get_by_label("Link of").input_value()
        page.get_by_role("img", name="QR code").wait_for()
        self.look("invite", page)
        page.keyboard.press("Escape")
        page.get_by_role("heading", name="It is quiet in").wait_for()
        self.look("alone", page)

    def join(self) -> None:
        """Dave opens the window with the link, and is asked."""
        page = self.there = self.show(self.dave, invite=self.link)
        dialog = page.get_by_role("dialog", name="Join")
        dialog.get_by_text(f"\u2068{NETWORK}\u2069").first.wait_for()
        self.look("join", page)
        assert self.link.partition("#")[2] not in page.url, "the secret stays in no history"
        assert self.dave.networks() == [], "nobody joins without having been asked"
        dialog.get_by_role("button", name="Join").click()
        dialog.wait_for(state="detached")

    def meet(self) -> None:
        """Each sees the other come, and the path turn direct, without a reload."""
        self.here.get_by_role("treeitem", name="dave, online, direct").wait_for()
        self.there.get_by_role("treeitem", name="carla, online, direct").wait_for()
        self.look("joined", self.there)

    def talk(self) -> None:
        """Both ways; what comes while nobody looks is counted; then to all in the network."""
        here, there = self.here, self.there
        person(here, "dave")
        self.look("chat-empty", here)
        say(here, "Are you there? The strawberries are ripe.")
        say(here, "All of them.")
        here.locator(".message.own .delivery").last.get_by_text("delivered").wait_for()
        there.get_by_role("treeitem", name="carla, online, direct").locator(".badge").get_by_text("2", exact=True).wait_for()
        self.look("unread", there)
        person(there, "carla")
        there.locator(".message .words").get_by_text("All of them.").wait_for()
        there.get_by_role("treeitem", name="carla,").locator(".badge").wait_for(state="hidden")
        self.look("chat-unread-mark", there)
        say(there, "Yes! See https://example.org/jam for what becomes of them.\nI bring the sugar.")
        here.locator(".message:not(.own) a").wait_for()
        self.look("chat", here)
        network(here)
        say(here, "Everybody: jam on Sunday!")
        network(there)
        there.locator(".message .author").get_by_text("carla").wait_for()
        self.look("chat-network", there)

    def send(self, film: Path) -> None:
        """Carla sends a film to dave, and her node is killed in the middle of it."""
        here, there = self.here, self.there
        person(here, "dave")
        tab(here, "Files")
        self.look("files-empty", here)
        with here.expect_file_chooser() as chooser:
            here.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(film)
        there.get_by_role("treeitem", name="carla, online, direct").locator(".badge").get_by_text("1", exact=True).wait_for()
        self.look("files-toast", there)
        person(there, "carla")
        there.get_by_role("button", name=f"Accept: {film.name}").wait_for()
        self.look("files-offered-in-chat", there)
        tab(there, "Files")
        self.look("files-offered", there)
        there.get_by_role("button", name=f"Accept: {film.name}").click()
        until(lambda: any(one["file"] == film.name and one["done"] > 0 for one in self.dave.call("files-list")), "it comes")
        self.carla.kill()
        here.get_by_role("alert").get_by_text("Your node does not answer").wait_for()
        self.look("node-lost", here)
        if self.patient:
            there.locator(".transfer[data-state=paused]").get_by_text("goes on when").wait_for()
            self.look("files-paused", there)

    def resume(self, film: Path) -> None:
        """Her node comes back, her page by itself too, and the rest of the film arrives."""
        self.carla.start()
        self.here.get_by_role("alert").wait_for(state="hidden")
        arrives(self.dave, film.name)
        self.there.locator(".transfer[data-state=done]").get_by_text("saved, checked").wait_for()
        self.here.locator(".transfer[data-state=done]").get_by_text("delivered, checked").wait_for()
        self.look("files-done", self.there)
        self.look("files-done-sent", self.here)
        assert digest(self.dave.inbox / film.name) == digest(film)

    def use(self, port: int, seen: Callable[[Any], None]) -> None:
        """Dave lets the others use his server by a switch; carla opens it, and sees its page."""
        here, there = self.here, self.there
        go(there, "#/self/services")
        there.get_by_role("switch", name=f"\u2068{port}\u2069").wait_for()
        self.look("own-services", there)
        there.get_by_role("switch", name=f"\u2068{port}\u2069").check()
        until(lambda: any(row["port"] == port for row in self.dave.call("exposes")), "it is exposed")
        there.get_by_role("heading", name="Offered to your networks").locator("xpath=ancestor::section").get_by_role("switch").wait_for()
        self.look("own-services-on", there)
        person(here, "dave")
        tab(here, "Services")
        # All of this computer that speaks mDNS is heard: what another program announces meanwhile stands beside it.
        link = here.get_by_role("link", name="Open").and_(here.locator(f"[href$=':{port}/']"))
        link.wait_for()
        self.look("services", here)
        failed: list[str] = []
        here.context.on("requestfailed", lambda request: failed.append(request.failure) if request.is_navigation_request() else None)
        with here.expect_popup() as opened:
            link.click()
        page = opened.value
        seen(page)
        # Chromium loads a page that failed again by itself, which would hide a way that was not there at once.
        assert set(failed) <= {INTERRUPTED}, failed
        page.close()

    def part(self) -> None:
        """Dave leaves; carla sees him go."""
        network(self.there)
        network(self.there, button="right")
        self.there.get_by_role("menuitem", name="Leave").click()
        self.look("leave", self.there)
        self.there.get_by_role("dialog").get_by_role("button", name="Leave").click()
        until(lambda: self.dave.networks() == [], "dave left")
        self.there.get_by_role("heading", name="Welcome to userlan").wait_for()
        self.here.get_by_role("treeitem", name="dave").wait_for(state="detached")
        self.look("gone", self.here)


# --- at a page -----------------------------------------------------------------------------------------------------------


def person(page: Any, name: str) -> None:
    """Chooses somebody in the list, and waits for their chat."""
    page.get_by_role("treeitem", name=f"{name},").click()
    page.get_by_role("textbox", name=f"Message to \u2068{name}\u2069").wait_for()


def network(page: Any, **options: Any) -> None:
    """Chooses the network in the list."""
    page.get_by_role("treeitem", name=f"{NETWORK},").locator(".network-line").click(**options)


def tab(page: Any, name: str) -> None:
    """Chooses a tab of what is open."""
    page.get_by_role("tab", name=name).click()
    page.get_by_role("tab", name=name, selected=True).wait_for()


def say(page: Any, text: str) -> None:
    """Writes a message and sends it."""
    page.locator(".composer textarea").fill(text)
    page.locator(".composer textarea").press("Enter")
    page.locator(".message.own .words").filter(has_text=text.partition("\n")[0]).last.wait_for()


def go(page: Any, where: str) -> None:
    """Goes to a view by its address."""
    page.evaluate("hash => { location.hash = hash }", where)


# --- beside the page -----------------------------------------------------------------------------------------------------


def film(path: Path, size: int = FILM) -> Path:
    """A file of which no two parts are alike, so that any part in a wrong place shows."""
    block = bytearray(hashlib.shake_128(b"film").digest(BLOCK))
    with path.open("wb") as file:
        for number in range(size // BLOCK):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
    return path


def arrives(node: Node, name: str) -> None:
    """Waits until a node has a file, for as long as it goes on: however slow the machine is."""
    told: dict[str, Any] = {}

    def news() -> bool:
        nonlocal told
        before, told = told, next(one for one in node.call("files-list") if one["file"] == name)
        return told != before

    while told.get("state") != "done":
        until(news, f"{name} goes on")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(WORDS.encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def site(handler: type[http.server.BaseHTTPRequestHandler] = _Page, host: str = "127.0.0.1") -> Iterator[int]:
    """A web server of this process; its port."""
    with http.server.ThreadingHTTPServer((host, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)
