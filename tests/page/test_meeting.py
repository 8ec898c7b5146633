"""From nothing to two people in one network, by the page alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.nodes import Node, start_all, until


@pytest.fixture
def strangers() -> Iterator[tuple[Node, Node]]:
    """Two nodes in no network."""
    folder = Path(tempfile.mkdtemp(prefix="userlan-page-"))
    carla, dave = Node(folder, "carla"), Node(folder, "dave")
    try:
        start_all(carla, dave)
        yield carla, dave
    finally:
        carla.stop()
        dave.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_create_send_the_link_join_see_each_other_leave(strangers: tuple[Node, Node], show: Any) -> None:
    carla, dave = strangers
    page = show(carla)
    page.get_by_role("heading", name="Welcome to userlan").wait_for()
    page.get_by_role("button", name="Create a network").click()
    page.get_by_label("Name", exact=True).fill("garden")
    page.keyboard.press("Enter")
    link = page.get_by_label("Link of").input_value()
    assert link == carla.call("invite", network="garden")["invite"]
    page.get_by_role("img", name="QR code").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="It is quiet in").wait_for()

    other = show(dave, invite=link, phone=True)
    assert link.partition("#")[2] not in other.url, "the secret stays in no history"
    assert dave.networks() == [], "nobody joins without having been asked"
    other.get_by_role("dialog").get_by_role("button", name="Join").click()
    until(lambda: dave.networks() == ["garden"], "dave joined")

    page.get_by_role("treeitem", name="dave, online, direct").wait_for()
    other.get_by_role("button", name="Back to the list").click()
    other.get_by_role("treeitem", name="carla, online, direct").click()
    other.get_by_role("heading", name="carla").wait_for()

    other.get_by_role("button", name="Back to the list").click()
    other.get_by_role("treeitem", name="garden,").locator(".network-line").click(button="right")
    other.get_by_role("menuitem", name="Leave").click()
    other.get_by_role("dialog").get_by_role("button", name="Leave").click()
    until(lambda: dave.networks() == [], "dave left")
    page.get_by_role("treeitem", name="dave").wait_for(state="detached")


def test_a_wrong_link_is_told_in_words(people: Any, show: Any) -> None:
    page = show(people.ben)
    page.get_by_role("button", name="Join by link").click()
    field = page.get_by_label("Link", exact=True)
    for written, told in (("", "please fill this in"), ("https://example.org/", "no link of userlan"), ("userlan://x", "cut short")):
        field.fill(written)
        page.get_by_role("dialog").get_by_role("button", name="Join", exact=True).click()
        page.get_by_role("alert").get_by_text(told).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_a_nickname_is_changed_in_its_place(people: Any, show: Any) -> None:
    page, other = show(people.ben), show(people.anna)
    for name in ("benjamin", "ben"):
        page.get_by_role("button", name="Rename this computer").click()
        page.get_by_label("Your name in the networks").fill(name)
        page.keyboard.press("Enter")
        page.locator(".own-card .name").get_by_text(name, exact=True).wait_for()
        other.get_by_role("treeitem", name=f"{name}, online").wait_for()


def test_a_click_copies_an_address(people: Any, show: Any) -> None:
    page = show(people.anna, permissions=["clipboard-read", "clipboard-write"])
    row = page.get_by_role("treeitem", name="ben, online, direct")
    address = row.locator(".address")
    address.click()
    page.get_by_text("Copied:").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == address.inner_text()
    assert address.inner_text() == people.ben.call("status")["self"]["ipv4"]
    assert page.get_by_role("tab").count() == 0, "that opens nothing"
