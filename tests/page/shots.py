"""Pictures of every view, to be looked at: by day, by night, and on a phone.

    python -m tests.page.shots DIRECTORY [--axe]

``--axe`` also says what axe-core finds in each of them, moderate findings included. No test: what is beautiful, a person says.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from playwright import sync_api

from tests.page.conftest import CHROMIUM, DESK, FLAGS, PHONE, Shown
from tests.page.nodes import Node, until
from tests.page.story import Story, film, go, person, say, site

MODES = (("light", "light", DESK), ("dark", "dark", DESK), ("phone", "light", PHONE), ("phone-dark", "dark", PHONE))
SETTLED = """() => Promise.all([document.fonts.ready, ...document.getAnimations().filter((one) => one.effect.getTiming().iterations < 9)
  .map((one) => one.finished.catch(() => null))]).then(() => new Promise((done) => requestAnimationFrame(() =>
    requestAnimationFrame(done))))"""
CROWD = """async () => {
  const [{ status }, { store }] = await Promise.all([import("./feed.js"), import("./store.js")]);
  const self = store.get("self");
  const names = ["anna", "ben", "a-very-long-nickname-that-somebody-thought-was-funny-at-the-time-xx", "<img src=x onerror=alert(1)>",
    "דוד", "erika",
                 "felix", "gül", "hans-peter", "nas", "printer", "livingroom"];
  const states = ["direct", "relayed", "connecting", "offline"];
  const peers = names.map((name, number) => ({
    name, key: `key${number}`.padEnd(43, "A"), ipv4: `25.9.1.${number}`, ipv6: `fd75::${number}`, networks: number % 5 === 4 ? ["home",
      "friday-games"] : ["home"],
    state: states[number % 4], path: "udp", relay: "fra1", endpoint: null, bulk: null, cipher: "",
      rtt_ms: number % 4 < 2 ? 3.7 * number ** 2 + 0.4 : null,
    rx_bytes: 0, tx_bytes: 0, last_seen: Date.now() / 1000 - 3 ** number, blocked: number === 11,
  }));
  const row = (name, owner, rest) => ({ name, owner, mine: owner === self.key, locked: false, approval: false, applicants: [],
    members: [self.key, ...peers.filter((peer) => peer.networks.includes(name)).map((peer) => peer.key)], ...rest });
  const asking = ["carla", "ein-sehr-langer-name-fuer-einen-rechner"].map((name, number) => ({ name, key: `asks${number}`.padEnd(43,
    "B"), since: Date.now() / 1000 - 4000 }));
  const networks = [row("home", self.key, { approval: true, applicants: asking }), row("friday-games", peers[0].key, { locked: true })];
  status(store, { snapshot: { self, networks, peers, mediator: { state: "connecting", reason: "connection refused" },
    waiting: [{ network: "club", since: Date.now() / 1000 - 90 }], denied: [{ network: "secret", reason: "the owner said no" }],
      bridges: {}, groups: null } });
  const chats = [[peers[0], 2], [peers[4], 120]].map(([peer, unread]) => [`peer:${peer.key}`, { id: `peer:${peer.key}`, kind: "peer",
    title: peer.name, unread, last: null, muted: false }]);
  store.patch("conversations", Object.fromEntries([...chats, ["network:home", { id: "network:home", kind: "network", title: "home",
    unread: 7, last: null, muted: false }]]));
  const transfer = (number, direction, state, rest) => ({ id: `t${number}`, direction, peer: peers[number % 3].key,
    name: peers[number % 3].name, file: `holiday-${number}.mp4`,
    size: 7 ** number + 1e6, done: 0, rate: 0, state, error: null, path: null, sha256: null, time: Date.now() / 1000 - 60 * number,
      ...rest });
  store.set("transfers", new Map([
    transfer(1, "in", "offered", {
      file: "<b>a name that goes on and on and on until it does not fit any more into the line that it has</b>.tar.gz" }),
    transfer(2, "in", "active", { size: 3e9, done: 1.2e9, rate: 2.3e7 }), transfer(3, "in", "paused", { size: 9e8, done: 4e8 }),
      transfer(4, "out", "waiting", {}),
    transfer(5, "out", "offered", {}), transfer(6, "out", "declined", {}), transfer(7, "in", "failed", {
      error: "no space left on the device" }),
    transfer(8, "out", "cancelled", {}), transfer(9, "in", "done", {}), transfer(10, "out", "done", {}),
  ].map((one) => [one.id, one])));
  store.flush();
}"""

NETWORKS = """async (count) => {
  const [{ status }, { store }] = await Promise.all([import("./feed.js"), import("./store.js")]);
  const self = { ...store.get("self"), name: "the-computer-under-the-stairs-of-grandmother" };
  const word = ["friday-games", "the-choir-of-saint-bartholomew", "home", "work", "chess"];
  const names = Array.from({ length: count }, (_, number) => `${word[number % word.length]}-${number}`);
  const peers = names.map((name, number) => ({
    name: `${["anna", "bartholomew-the-second-of-that-name", "ben"][number % 3]}-${number}`, key: `many${number}`.padEnd(43, "A"),
    ipv4: `25.9.2.${number}`, ipv6: `fd75::${number}`, networks: [name, names[(number + 1) % count]],
    state: ["direct", "offline"][number % 2], path: "udp", relay: null, endpoint: null, bulk: null, cipher: "", rtt_ms: 12,
    rx_bytes: 0, tx_bytes: 0, last_seen: Date.now() / 1000, blocked: false }));
  const networks = names.map((name, number) => ({ name, owner: number % 4 ? "x" : self.key, mine: number % 4 === 0,
    locked: number % 5 === 1, approval: number % 7 === 1, applicants: [],
    members: [self.key, ...peers.filter((one) => one.networks.includes(name)).map((one) => one.key)] }));
  status(store, { snapshot: { self, networks, peers, mediator: { state: "connected" }, waiting: [], denied: [], bridges: {},
    groups: null } });
  store.flush();
}"""
"""The long names are of letters that a node lets pass."""


class Album:
    """Takes each view in each mode."""

    def __init__(self, folder: Path, axe: bool) -> None:
        self.folder = folder
        self.number = 0
        self.axe: Any = None
        if axe:
            self.axe = import_module("axe_playwright_python.sync_playwright").Axe()

    def __call__(self, what: str, page: Any, again: Callable[[], object] = lambda: None) -> None:
        """Takes ``NUMBER-what-MODE.png`` for each mode."""
        self.number += 1
        for mode, scheme, size in MODES:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            again()     # a menu closes when the window changes
            page.evaluate(SETTLED)
            page.screenshot(path=self.folder / f"{self.number:02}-{what}-{mode}.png")
            if self.axe is not None:
                self._findings(f"{what} {mode}", page)
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light")

    def _findings(self, where: str, page: Any) -> None:
        for one in self.axe.run(page).response["violations"]:
            for node in one["nodes"]:
                print(f"{where}: {one['impact']} {one['id']} {node['target']} {node['failureSummary']!r}", flush=True)


def others(carla: Node, dave: Node, page: Any, look: Album) -> None:
    """The views that the story does not pass."""
    peer = f"#/peer/{dave.key}"
    for where, shown in (
        (f"{peer}/path", ".path-drawing"), (f"{peer}/services", "main h2"),
        ("#/network/garden/members", ".people"), ("#/network/garden/map", ".map-drawing .member"), ("#/network/garden/services", "main h2"),
        ("#/self/sharing", ".tile"), ("#/self/services", ".tile"), ("#/self/files", "main .scroll"), ("#/self/doctor", ".verdict >> nth=1"),
        ("#/", "main .empty"),
    ):  # fmt: skip
        go(page, where)
        page.locator(shown).first.wait_for()
        name = where.removeprefix(peer).removeprefix("#").strip("/").replace("/", "-") or "nobody-chosen"
        with suppress(sync_api.TimeoutError):
            if name == "path":
                page.locator("figcaption").wait_for(timeout=8000)
        look(name, page)
    row, own = page.get_by_role("treeitem", name="dave,"), page.get_by_role("treeitem", name="garden,").locator(".network-line")

    def menu(where: Any) -> None:
        page.keyboard.press("Escape")
        where.click(button="right")
        page.get_by_role("menu").wait_for()

    look("peer-menu", page, lambda: menu(row))
    look("network-menu", page, lambda: menu(own))
    menu(row)
    page.get_by_role("menuitem", name="Ping").click()
    page.get_by_role("dialog").locator(".pings li").nth(4).wait_for()
    look("ping", page)
    page.keyboard.press("Escape")
    for where, item, name in ((row, "Block", "block"), (row, "Remove from", "evict"), (own, "Change the password", "password")):
        menu(where)
        page.get_by_role("menuitem", name=item).click()
        page.get_by_role("dialog").wait_for()
        look(name, page)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    for key, name in (("?", "keys"), ("j", "join-by-hand")):
        row.focus()
        page.keyboard.press(key)
        look(name, page)
        page.keyboard.press("Escape")

    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("j")
    page.get_by_role("button", name="I have a name and a password").click()
    page.get_by_label("Name of the network").wait_for()
    look("join-by-password", page)
    page.keyboard.press("Escape")

    def more() -> None:
        page.keyboard.press("Escape")
        page.get_by_role("button", name="More").click()

    look("own-menu", page, more)
    page.keyboard.press("Escape")


def words(carla: Node, dave: Node, page: Any, look: Album) -> None:
    """A long chat, what is found in it, and dave who is blocked and then away."""
    person(page, "dave")
    for number in range(30):
        carla.call("chat-send", to=dave.key, text=f"line {number} " + "long words that go on and on " * (number % 4))
    dave.call("chat-send", to=carla.key, text="<img src=x onerror=alert(1)> \u202eevil " + "x" * 200)
    page.get_by_text("line 29").wait_for()
    look("chat-long", page)
    page.keyboard.press("Control+f")
    look("find", page)
    page.get_by_label("Words to look for").fill("on and on")
    page.get_by_role("status").get_by_text("newest first").wait_for()
    look("found", page)
    page.get_by_label("Words to look for").fill("nobody ever")
    page.get_by_role("status").get_by_text("Nobody has written that").wait_for()
    look("found-nothing", page)
    page.keyboard.press("Escape")
    page.locator(".composer textarea").fill("several lines\nin the\nfield\nto write in")
    look("chat-writing", page)
    page.locator(".composer textarea").fill("")
    carla.call("block", peer=dave.key)
    page.get_by_text("is blocked").first.wait_for()
    look("blocked", page)
    carla.call("unblock", peer=dave.key)
    until(lambda: carla.sees(dave), "they are together again")
    dave.stop()
    page.get_by_role("treeitem", name="dave, last seen").wait_for()
    say(page, "Where are you?")
    look("offline", page)
    go(page, f"#/peer/{dave.key}/path")
    page.locator(".path-drawing").wait_for()
    look("path-offline", page)
    dave.start()


def crowd(page: Any, look: Album) -> None:
    """Twelve members in every state, with odd names; files in every state; a mediator that is away."""
    page.evaluate(CROWD)
    page.locator(".banner").wait_for()
    look("crowd", page)
    for where in ("#/network/home/members", "#/network/home/map", "#/self/files"):
        go(page, where)
        look("crowd-" + where.rpartition("/")[2], page)
    page.evaluate(NETWORKS, 40)
    page.get_by_role("treeitem", name="the-choir-of-saint-bartholomew-1,").wait_for()
    go(page, "#/network/the-choir-of-saint-bartholomew-1/members")
    page.locator(".people").wait_for()
    look("many-networks", page)

    def at_list() -> None:
        go(page, "#/")

    look("many-networks-list", page, at_list)


def gone(carla: Node, page: Any, look: Album) -> None:
    """The node stops while its page is open."""
    go(page, "#/network/garden/chat")
    page.locator(".composer").wait_for()
    carla.stop()
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    look("node-stopped", page)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="tests.page.shots", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--axe", action="store_true")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    look = Album(arguments.directory, arguments.axe)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="userlan-page-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        carla, dave = Node(folder, "carla", telling=True), Node(folder, "dave", telling=True)
        for node in (carla, dave):
            stack.callback(node.stop)
            node.start()
        playwright = stack.enter_context(sync_api.sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        stack.callback(browser.close)
        show = Shown(browser)
        stack.callback(show.end)
        story = Story(carla, dave, show, look, patient=True)
        for step in (story.create, story.join, story.meet, story.talk):
            step()
        sent = film(folder / "strawberries.mkv")
        story.send(sent)
        story.resume(sent)
        port = stack.enter_context(site())
        story.use(port, lambda page: page.wait_for_load_state())
        until(lambda: carla.sees(dave), "they are together again")
        others(carla, dave, story.here, look)
        words(carla, dave, story.here, look)
        until(lambda: carla.sees(dave), "they are together again")
        story.there.get_by_role("alert").wait_for(state="hidden")
        story.part()
        crowd(story.here, look)
        gone(carla, story.here, look)
        for complaint in show.complaints:
            print(complaint)


if __name__ == "__main__":
    main()
