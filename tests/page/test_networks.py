"""What the owner of a network does at the page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.page.nodes import until


def network_menu(page: Any, network: str, item: str) -> None:
    """Chooses in the menu of a network."""
    page.get_by_role("treeitem", name=f"{network},").first.locator(".network-line").click(button="right")
    page.get_by_role("menuitem", name=item).click()


def test_approve_lock_and_leave(people: Any, show: Any) -> None:
    anna, ben = show(people.anna), show(people.ben)
    anna.get_by_role("button", name="New network").click()
    anna.get_by_label("Name", exact=True).fill("club")
    anna.get_by_label("I approve everybody who joins").check()
    anna.get_by_role("dialog").get_by_role("button", name="Create").click()
    anna.get_by_role("button", name="Copy the link").click()
    anna.get_by_text("The link is copied.").wait_for()
    link = anna.get_by_label("Link of").input_value()
    anna.keyboard.press("Escape")

    ben.get_by_role("button", name="Join by link").click()
    ben.get_by_label("Link", exact=True).fill(link)
    ben.keyboard.press("Enter")
    ben.locator("[data-waiting=club]").get_by_text("waiting for approval").wait_for()

    anna.get_by_role("treeitem", name="club,").locator(".asking").click()
    anna.get_by_role("button", name="Let in").click()
    ben.get_by_role("treeitem", name="club,").wait_for()
    until(lambda: "club" in people.ben.networks(), "ben is in")
    anna.get_by_role("heading", name="2 members").wait_for()

    anna.get_by_role("button", name="Lock: let nobody new in").click()
    anna.get_by_text("Nobody new: it is locked.").wait_for()
    ben.get_by_role("treeitem", name=re.compile("^club, 1 of 1 online, .*locked")).wait_for()

    network_menu(ben, "club", "Leave")
    ben.get_by_role("dialog").get_by_role("button", name="Leave").click()
    until(lambda: "club" not in people.ben.networks(), "ben left")
    network_menu(anna, "club", "Leave")
    anna.get_by_role("dialog").get_by_role("button", name="Leave").click()
    until(lambda: "club" not in people.anna.networks(), "anna left")


def test_block_and_unblock(people: Any, show: Any) -> None:
    anna = show(people.anna)
    row = anna.get_by_role("treeitem", name="ben,")
    row.click(button="right")
    anna.get_by_role("menuitem", name="Block").click()
    anna.get_by_role("dialog").get_by_role("button", name="Block").click()
    blocked = anna.get_by_role("treeitem", name="ben, blocked")
    blocked.click()
    anna.get_by_text("is blocked: nothing comes and nothing goes.").wait_for()
    blocked.click(button="right")
    anna.get_by_role("menuitem", name="Unblock").click()
    anna.get_by_role("treeitem", name="ben, online, direct").wait_for()
    until(lambda: people.anna.sees(people.ben) and people.ben.sees(people.anna), "they are together again")


def test_ping_shows_each_answer(people: Any, show: Any) -> None:
    anna = show(people.anna)
    anna.get_by_role("treeitem", name="ben, online, direct").click(button="right")
    anna.get_by_role("menuitem", name="Ping").click()
    answers = anna.get_by_role("dialog").locator(".pings li")
    answers.get_by_text("answer after").nth(4).wait_for()
    texts = answers.all_inner_texts()
    assert "direct udp 127.0.0.1" in texts[0]
    assert not any("relay" in text for text in texts)
    assert sum(", " in text for text in texts) < 5, "the path is said where it changes, not with each answer"


@pytest.mark.usefixtures("clean")
def test_the_node_goes_and_comes_back(people: Any, show: Any) -> None:
    anna, ben, stranger = show(people.anna), show(people.ben), show(people.ben)
    stranger.context.clear_cookies()
    show.tolerated |= {"WebSocket connection", "Failed to load resource"}
    people.ben.stop()
    ben.get_by_role("alert").get_by_text("Your node does not answer").wait_for()
    anna.get_by_role("treeitem", name="ben,").click()
    anna.get_by_role("textbox", name="Message to").fill("for later")
    anna.keyboard.press("Enter")
    mine = anna.locator(".message.own", has_text="for later").last
    mine.get_by_text("is seen").wait_for()
    people.ben.start()
    ben.get_by_role("alert").wait_for(state="hidden")
    ben.get_by_role("treeitem", name="anna, online, direct").wait_for()
    mine.get_by_text("delivered").wait_for()
    ben.get_by_role("treeitem", name="anna, online, direct").locator(".badge").get_by_text("1", exact=True).wait_for()
    stranger.get_by_role("alert").get_by_text("opened anew").wait_for()
