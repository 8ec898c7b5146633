"""What was said is found: in one conversation, in all of them, and shown where it was said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.nodes import Node, until
from tests.page.story import person
from tests.page.test_accessible import findings

LONG_AGO, SINCE = 12, 130
"""Messages before what is looked for, and behind it: more than two pages of a chat."""


def say(node: Node, to: str, *texts: str) -> None:
    """By the command, which waits for nobody."""
    for text in texts:
        node.call("chat-send", to=to, text=text)


def looked_for(page: Any, words: str) -> Any:
    """The dialog, once it shows what it found."""
    dialog = page.get_by_role("dialog", name="Find what was said")
    dialog.get_by_label("Words to look for").fill(words)
    dialog.get_by_role("status").get_by_text("newest first").wait_for()
    return dialog


@pytest.mark.usefixtures("clean")
def test_by_keys_in_a_long_chat(people: Any, show: Any) -> None:
    """The conversation opens there, older and newer ones come by scrolling, and one button leads back to its end."""
    before, behind = [f"before {number}" for number in range(LONG_AGO)], [f"behind {number}" for number in range(SINCE)]
    say(people.anna, people.ben.key, *before, "The Marmalade is in the cellar 😀", *behind)
    page = show(people.anna)
    person(page, "ben")
    page.locator(".message .words").get_by_text(behind[-1], exact=True).wait_for()
    assert page.locator(".message .words").get_by_text("Marmalade").count() == 0, "it is not on the page"
    page.keyboard.press("Control+f")
    dialog = looked_for(page, "marmalade")
    assert dialog.locator(".hits mark").inner_text() == "Marmalade"
    assert findings(page, "dialog") == []
    assert page.evaluate("document.scrollingElement.scrollHeight - innerHeight") == 0, "the window itself has nothing to scroll"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    here = page.locator(".message").filter(has_text="Marmalade")
    here.wait_for()
    until(lambda: here.evaluate("row => row === document.activeElement"), "the focus is where it was said")
    page.locator(".message .words").get_by_text(before[-1], exact=True).wait_for()
    assert page.locator(".message .words").get_by_text(behind[-1], exact=True).count() == 0
    say(people.anna, people.ben.key, "said meanwhile")
    assert page.locator(".message .words").get_by_text("said meanwhile").count() == 0, "it is not put behind what does not precede it"

    def shown(by: int) -> list[str]:
        page.locator(".messages").evaluate("(scroll, by) => scroll.scrollBy(0, by)", by)
        words: list[str] = page.locator(".message .words").all_inner_texts()
        return words

    until(lambda: shown(500)[-1] == "said meanwhile", "scrolling leads to the end")
    until(lambda: shown(-500)[0] == before[0], "and to the beginning")
    assert shown(0) == [*before, "The Marmalade is in the cellar 😀", *behind, "said meanwhile"], "all of it, once, in order"


@pytest.mark.usefixtures("clean")
def test_in_all_chats_and_back_to_the_end(people: Any, show: Any) -> None:
    """Who stands in the middle of a chat and writes is at its end."""
    say(people.anna, people.ben.key, "jam for ben")
    say(people.anna, "home", "jam for all", *(f"line {number}" for number in range(SINCE)))
    page = show(people.anna, phone=True)
    person(page, "ben")
    page.get_by_role("button", name="Find in this chat").click()
    dialog = looked_for(page, "JAM")
    assert dialog.locator(".hits .words").all_inner_texts() == ["jam for ben"]
    dialog.get_by_label("In all chats").check()
    dialog.locator(".hits li").nth(1).wait_for()
    assert dialog.locator(".hits .words").all_inner_texts() == ["jam for all", "jam for ben"]
    assert findings(page, "dialog") == []
    dialog.locator(".hits button").first.click()
    page.locator(".message .words").get_by_text("jam for all", exact=True).wait_for()
    assert page.get_by_role("heading", name="home").is_visible()
    page.locator(".composer textarea").fill("at the end")
    page.locator(".composer").get_by_role("button", name="Send", exact=True).click()
    page.locator(".message .words").get_by_text("at the end", exact=True).wait_for()
    assert page.locator(".message .words").all_inner_texts()[-2:] == [f"line {SINCE - 1}", "at the end"]


@pytest.mark.usefixtures("clean")
def test_markup_is_found_as_text_and_nothing_is_said_to_be_nothing(people: Any, show: Any) -> None:
    say(people.ben, people.anna.key, "<img src=x onerror=alert(1)> & <b>bold</b>")
    page = show(people.anna)
    person(page, "ben")
    page.locator(".message .words").get_by_text("bold").wait_for()
    page.keyboard.press("Control+f")
    dialog = looked_for(page, "<B>")
    assert dialog.locator(".hits .words").inner_text() == "<img src=x onerror=alert(1)> & <b>bold</b>"
    assert dialog.locator("img, b").count() == 0
    dialog.get_by_label("Words to look for").fill("nobody ever")
    dialog.get_by_role("status").get_by_text("Nobody has written that.").wait_for()
    assert dialog.locator(".hits li").count() == 0
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
