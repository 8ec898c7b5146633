"""axe-core finds nothing serious in any view, by day and by night, at a desk and on a phone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.nodes import Node

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

SERIOUS = ("serious", "critical")


CONTRAST = {"runOnly": ["color-contrast"]}
"""What the night may change."""


def findings(page: Any, where: str | None = None, options: dict[str, Any] | None = None) -> list[str]:
    """What axe-core finds serious in the page or in a part of it, one line each."""
    found = axe.Axe().run(page, context=where, options=options).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found if one["impact"] in SERIOUS for node in one["nodes"]
    ]


def views(anna: Node, ben: Node) -> list[str]:
    """The addresses of all views, behind the origin."""
    peer = [f"#/peer/{ben.key}/{view}" for view in ("chat", "files", "services", "path")]
    return ["#/", *peer, *(f"#/network/home/{view}" for view in ("chat", "members", "services", "map")),
            *(f"#/self/{view}" for view in ("sharing", "services", "files", "doctor"))]


def show_view(page: Any, address: str) -> None:
    """Goes there, and waits until it is there and what it asks of the node has had a moment to come."""
    page.evaluate("hash => { location.hash = hash }", address)
    if address != "#/":
        page.locator(f"#panel[aria-labelledby=tab-{address.rpartition('/')[2]}]").wait_for()
    page.wait_for_timeout(100)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_view(people: Any, show: Any, dark: bool) -> None:
    people.anna.call("chat-send", to=people.ben.key, text="see https://example.org")
    page = show(people.anna, dark=dark)
    page.get_by_role("treeitem", name="ben, online, direct").wait_for()
    for view in views(people.anna, people.ben):
        show_view(page, view)
        assert findings(page, None if view == "#/" else "main", CONTRAST if dark else None) == [], view


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_dialogs_and_menus_on_a_phone(people: Any, show: Any, dark: bool) -> None:
    page = show(people.anna, dark=dark, phone=True)
    page.get_by_role("treeitem", name="ben, online, direct").click(button="right")
    page.get_by_role("menu").wait_for()
    changed = CONTRAST if dark else None
    assert findings(page, ".menu", changed) == []
    page.keyboard.press("Escape")
    for key, name in (("n", "New network"), ("j", "Join a network"), ("?", "Keyboard")):
        page.keyboard.press(key)
        page.get_by_role("dialog", name=name).wait_for()
        assert findings(page, "dialog", changed) == [], name
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_role("treeitem", name="home,").locator(".network-line").click(button="right")
    page.get_by_role("menuitem", name="Invite").click()
    page.get_by_role("img", name="QR code").wait_for()
    assert findings(page, "dialog", changed) == []


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_nothing_is_wider_than_the_window(people: Any, show: Any, phone: bool) -> None:
    page = show(people.anna, phone=phone)
    for view in views(people.anna, people.ben):
        show_view(page, view)
        widest = page.evaluate("Math.max(document.documentElement.scrollWidth, document.getElementById('app').scrollWidth)")
        assert widest <= page.viewport_size["width"], view
