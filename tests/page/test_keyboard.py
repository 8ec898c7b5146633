"""The page without a pointer."""

from __future__ import annotations

from typing import Any


def focused(page: Any) -> str:
    """The name of what has the focus, without marks of direction."""
    name: str = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
    return name.replace("\u2068", "").replace("\u2069", "").strip()


def tab_to(page: Any, name: str) -> None:
    """Presses Tab until something has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page).startswith(name):
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
