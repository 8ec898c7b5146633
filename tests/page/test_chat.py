"""Chat between two people, each at a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.nodes import until

HOSTILE = (
    "<script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "javascript:alert(1) data:text/html,<script>alert(1)</script> file:///etc/passwd",
    "\u202eevil\u2066 <svg onload=alert(1)>",
)


def conversation(page: Any, name: str) -> None:
    """Opens the chat with a member."""
    page.get_by_role("treeitem", name=f"{name},").click()
    page.get_by_role("textbox", name=f"Message to \u2068{name}\u2069").wait_for()


def write(page: Any, text: str) -> None:
    """Writes a message and sends it."""
    page.locator(".composer textarea").fill(text)
    page.locator(".composer textarea").press("Enter")


@pytest.mark.usefixtures("clean")
def test_both_ways_with_what_became_of_it(people: Any, show: Any) -> None:
    anna, ben = show(people.anna), show(people.ben, phone=True)
    conversation(anna, "ben")
    write(anna, "Hello Ben\nsecond line")
    ben.get_by_role("treeitem", name="anna, online, direct").locator(".badge").get_by_text("1").wait_for()
    until(lambda: ben.title() == "(1) userlan", "the title counts what is unread")
    anna.locator(".message.own .delivery").get_by_text("delivered").wait_for()

    conversation(ben, "anna")
    ben.locator(".unread-mark").wait_for()
    assert ben.locator(".message .words").inner_text() == "Hello Ben\nsecond line"
    until(lambda: ben.title() == "userlan", "it is read")
    write(ben, "Hello Anna: https://example.org/a_(b).")
    link = anna.locator(".message:not(.own) a")
    link.wait_for()
    assert link.get_attribute("href") == "https://example.org/a_(b)"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert anna.locator(".message").count() == 2


@pytest.mark.usefixtures("clean")
def test_a_peers_text_is_never_more_than_text(people: Any, show: Any) -> None:
    anna, ben = show(people.anna), show(people.ben)
    conversation(anna, "ben")
    conversation(ben, "anna")
    for text in HOSTILE:
        write(ben, text)
    anna.locator(".message:not(.own)").nth(len(HOSTILE) - 1).wait_for()
    assert anna.locator(".message:not(.own) .words").all_inner_texts() == list(HOSTILE)
    assert anna.locator(".words *").count() == 0, "neither elements nor links were made of it"
    assert anna.title() == "userlan"


@pytest.mark.usefixtures("clean")
def test_the_network_has_a_chat_of_its_own(people: Any, show: Any) -> None:
    anna, ben = show(people.anna), show(people.ben)
    for page in (anna, ben):
        page.locator(".network-line").click()
    write(anna, "to everybody")
    ben.locator(".message .author").get_by_text("anna").wait_for()
    anna.locator(".message.own .delivery").get_by_text("delivered").wait_for()


@pytest.mark.usefixtures("clean")
def test_older_messages_come_when_they_are_scrolled_to(people: Any, show: Any) -> None:
    for number in range(130):
        people.anna.call("chat-send", to=people.ben.key, text=f"message {number}")
    page = show(people.anna)
    conversation(page, "ben")
    page.get_by_text("message 129", exact=True).wait_for()
    assert page.locator(".message").count() < 130
    begin = page.get_by_text("message 0", exact=True)

    def at_the_begin() -> bool:
        page.locator(".messages").evaluate("element => element.scrollTo(0, 0)")
        page.wait_for_timeout(100)
        return bool(begin.count())

    until(at_the_begin, "the oldest message is there")
    page.get_by_text("This is where your conversation begins.").wait_for()
    shown = page.locator(".message .words").all_inner_texts()
    assert shown == [f"message {number}" for number in range(130)]


@pytest.mark.usefixtures("clean")
def test_a_draft_is_kept(people: Any, show: Any) -> None:
    page = show(people.anna)
    conversation(page, "ben")
    page.locator(".composer textarea").fill("half a thought")
    page.locator(".network-line").click()
    page.get_by_role("textbox", name="Message to \u2068home\u2069").wait_for()
    assert page.locator(".composer textarea").input_value() == ""
    page.reload()
    conversation(page, "ben")
    assert page.locator(".composer textarea").input_value() == "half a thought"


@pytest.mark.usefixtures("clean")
def test_a_muted_chat_is_not_counted_and_one_cleared_elsewhere_is_gone(people: Any, show: Any) -> None:
    anna = show(people.anna)
    people.ben.call("chat-send", to="anna", text="one", wait=60)
    until(lambda: anna.title() == "(1) userlan", "it is counted")
    anna.get_by_role("treeitem", name="ben,").click(button="right")
    anna.get_by_role("menuitem", name="Mute this chat").click()
    until(lambda: anna.title() == "userlan", "it is counted no more")
    people.ben.call("chat-send", to="anna", text="two", wait=60)
    conversation(anna, "ben")
    anna.locator(".message").nth(1).wait_for()
    (known,) = people.anna.call("chat-conversations")
    assert known["muted"]
    people.anna.call("chat-clear", conversation=known["id"])
    until(lambda: anna.locator(".message").count() == 0, "what the command line has cleared is gone here as well")
