"""The page without a pointer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.page.nodes import Node, until
from tests.page.story import site


def focused(page: Any) -> str:
    """The name of what has the focus, without marks of direction; nothing for what only scrolls."""
    name: str = page.evaluate("""() => {
      const one = document.activeElement;
      if (one.matches(".scroll, body") || (one.tabIndex < 0 && !one.hasAttribute("tabindex"))) return "";
      return one.getAttribute("aria-label") ?? one.textContent;
    }""")
    return name.replace("\u2068", "").replace("\u2069", "").strip()


def tab_to(page: Any, name: str, more: str = "") -> None:
    """Presses Tab until something has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page).startswith(name) and more in focused(page):
            return
    raise AssertionError(f"Tab never reaches {name!r}; last: {focused(page)!r}")


def test_a_walk(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.get_by_role("treeitem", name="ben, online, direct").wait_for()
    page.keyboard.press("Tab")
    assert focused(page) == "Go to the conversation"
    tab_to(page, "home,")
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("ben, online, direct")
    page.keyboard.press("ArrowLeft")
    assert focused(page).startswith("home,")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("treeitem", name="home,").get_attribute("aria-expanded") == "false"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("ben,")

    page.keyboard.press("Shift+F10")
    page.get_by_role("menu").wait_for()
    assert focused(page) == "Chat"
    page.keyboard.press("End")
    assert focused(page).startswith("Remove from home")
    page.keyboard.press("p")
    assert focused(page) == "Ping"
    page.keyboard.press("Escape")
    assert focused(page).startswith("ben,"), "the focus is where it was"

    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Chat").wait_for()
    assert page.get_by_role("treeitem", name="ben,").get_attribute("aria-selected") == "true"
    page.keyboard.press("Alt+2")
    page.get_by_role("tab", name="Files", selected=True).wait_for()
    page.get_by_role("tab", name="Files").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("tab", name="Chat", selected=True).wait_for()
    assert focused(page) == "Chat"


def test_dialogs_keep_the_focus_and_give_it_back(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.get_by_role("treeitem", name="ben,").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    dialog.wait_for()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog') !== null || document.activeElement === document.body")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert focused(page).startswith("ben,")
    page.keyboard.press("n")
    page.get_by_role("dialog", name="New network").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "INPUT"
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_who_locks_a_network_stays_at_the_lock(people: Any, show: Any) -> None:
    page = show(people.anna)
    page.evaluate("location.hash = '#/network/home/members'")
    page.get_by_role("button", name="Lock: let nobody new in").focus()
    for then in ("Unlock", "Lock: let nobody new in"):
        page.keyboard.press("Enter")
        page.get_by_role("button", name=then, exact=True).wait_for()
        assert focused(page) == then


@pytest.fixture
def parted(people: Any) -> Iterator[None]:
    """Whatever became of the test, the others find both in one network."""
    yield
    for node in (people.anna, people.ben):
        if not left(node):
            node.call("leave", network="keys")


@pytest.mark.usefixtures("parted")
def test_the_whole_story_without_a_pointer(people: Any, show: Any, tmp_path: Path) -> None:
    """Create, invite, join, chat, a file, a service of one's own, leave: by keys alone, and the focus is never lost."""
    anna, ben = show(people.anna, permissions=["clipboard-read", "clipboard-write"]), show(people.ben)

    create(anna)
    join(ben, anna.evaluate("navigator.clipboard.readText()"))
    anna.get_by_role("treeitem", name="keys, 1 of 1 online").wait_for()

    to_row(anna, "keys,", "ben,")
    anna.keyboard.press("Enter")
    anna.get_by_role("textbox", name="Message to \u2068ben\u2069").wait_for()
    if not focused(anna).startswith("Message to"):
        tab_to(anna, "Message to")
    anna.keyboard.type("By keys alone")
    anna.keyboard.press("Enter")
    assert focused(anna).startswith("Message to"), "the next one can be written at once"
    anna.locator(".message.own .delivery").last.get_by_text("delivered").wait_for()

    (tmp_path / "keys.txt").write_text("typed")
    anna.keyboard.press("Alt+2")
    anna.get_by_role("tab", name="Files", selected=True).wait_for()
    tab_to(anna, "Choose files")
    with anna.expect_file_chooser() as chooser:
        anna.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "keys.txt")
    accept(ben)
    anna.locator(".transfer[data-state=done]").wait_for()
    assert (people.ben.inbox / "keys.txt").read_text() == "typed"

    anna.keyboard.press("Escape")
    tab_to(anna, "This computer")
    anna.keyboard.press("Enter")
    tab_to(anna, "Sharing")
    anna.keyboard.press("ArrowRight")
    with site() as port:
        anna.get_by_role("switch", name=f"port \u2068{port}\u2069").wait_for()
        tab_to(anna, "Let others use", f"port {port}")
        anna.keyboard.press("Space")
        until(lambda: any(row["port"] == port for row in people.anna.call("exposes")), "it is exposed")
        people.anna.call("unexpose", service=str(port))

    for page, node in ((ben, people.ben), (anna, people.anna)):
        leave(page)
        until(partial(left, node), "it was left")
    for node in (people.anna, people.ben):
        for transfer in node.call("files-list"):
            node.call("files-forget", id=transfer["id"])


def left(node: Node) -> bool:
    """Whether it left the network."""
    return "keys" not in node.networks()


def to_row(page: Any, network: str, member: str | None = None) -> None:
    """Goes to a row of the list by the arrows."""
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    for wanted in (network, member) if member else (network,):
        for _ in range(20):
            if focused(page).startswith(wanted):
                break
            page.keyboard.press("ArrowDown")
        assert focused(page).startswith(wanted)


def create(page: Any) -> None:
    page.get_by_role("treeitem", name="ben,").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Invite to").wait_for()
    assert focused(page) == "Copy the link"
    page.keyboard.press("Enter")
    page.get_by_text("The link is copied.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def join(page: Any, link: str) -> None:
    page.get_by_role("treeitem", name="anna,").wait_for()
    page.keyboard.press("j")
    page.keyboard.insert_text(link)
    page.keyboard.press("Enter")
    page.get_by_role("treeitem", name="keys,").wait_for()


def accept(page: Any) -> None:
    """The toast of the offer leads to it."""
    page.locator(".toast").filter(has_text="offers you").wait_for()
    tab_to(page, "Show")
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Files", selected=True).wait_for()
    tab_to(page, "Accept: keys.txt")
    page.keyboard.press("Enter")
    page.locator(".transfer[data-state=done]").wait_for()
    until(lambda: focused(page) == "Open folder: keys.txt", "the focus follows what the button became")


def leave(page: Any) -> None:
    to_row(page, "keys,")
    page.keyboard.press("Shift+F10")
    page.get_by_role("menu").wait_for()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Leave").wait_for()
    assert focused(page) == "Cancel", "what cannot be undone is not a slip away"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("treeitem", name="keys,").wait_for(state="detached")
    until(lambda: page.evaluate("document.activeElement.closest('[role=tree]') !== null"), "the focus stays in the list")
