"""What the page knows is what the node knows, whenever what is said between the two arrives.

The link is a real one; it stands still where a test says so, as it may anywhere: nothing on it is lost, or comes in another order.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.nodes import Node, until
from tests.page.story import person
from tests.page.test_finding import looked_for, say

MANY = 150
"""Messages of a chat: more than two pages of it."""


class Link:
    """The page's WebSocket, which can stand still from a command on."""

    def __init__(self, page: Any) -> None:
        self.still_from = ""
        self.held: list[str] = []
        self.ends: list[Any] = []
        """The page's end of each connection."""
        self._node: Any = None
        page.route_web_socket("**/socket", self._opened)

    def go_on(self) -> None:
        """What was held goes its way, and so does what follows."""
        self.still_from = ""
        held, self.held = self.held, []
        for message in held:
            self._node.send(message)

    def _opened(self, route: Any) -> None:
        self.ends.append(route)
        self._node = route.connect_to_server()
        route.on_message(self._asked)

    def _asked(self, message: str) -> None:
        if self.held or (self.still_from and f'"command":"{self.still_from}"' in message):
            self.held.append(message)
        else:
            self._node.send(message)


def linked(show: Any, node: Node, still_from: str = "") -> tuple[Any, Link]:
    """A page at a node, over a link that can stand still."""
    page = show.blank()
    link = Link(page)
    link.still_from = still_from
    show.watch(page, node)
    page.goto(node.address())
    page.locator(".own-card .name").get_by_text(node.name, exact=True).wait_for()
    return page, link


@pytest.mark.usefixtures("clean")
def test_nothing_is_missed_between_what_there_is_and_what_comes(people: Any, show: Any) -> None:
    """A message that comes while the page has asked for one of them and not yet for the other."""
    page, link = linked(show, people.anna, "chat-watch")
    until(lambda: link.held or page.wait_for_timeout(10), "it asks for what comes")
    people.ben.call("chat-send", to="anna", text="meanwhile", wait=60)
    link.go_on()
    page.get_by_role("treeitem", name="ben,").locator(".badge").get_by_text("1", exact=True).wait_for()
    until(lambda: page.title() == "(1) userlan", "the title counts it")


@pytest.mark.usefixtures("clean")
def test_the_end_is_wanted_while_a_part_of_the_middle_is_on_its_way(people: Any, show: Any) -> None:
    say(people.anna, people.ben.key, "The Marmalade is in the cellar", *(f"behind {number}" for number in range(MANY)))
    page, link = linked(show, people.anna)
    person(page, "ben")
    last = page.locator(".message .words").get_by_text(f"behind {MANY - 1}", exact=True)
    last.wait_for()
    page.keyboard.press("Control+f")
    looked_for(page, "marmalade")
    page.keyboard.press("Enter")
    page.locator(".message").filter(has_text="Marmalade").wait_for()
    assert last.count() == 0
    link.still_from = "chat-history"
    until(lambda: link.held or page.locator(".messages").evaluate("scroll => { scroll.scrollBy(0, 200) }"), "it asks for what follows")
    page.get_by_role("button", name="Newest messages").click()
    link.go_on()
    last.wait_for()
    shown = page.locator(".message .words").all_inner_texts()
    assert shown == [f"behind {number}" for number in range(MANY - len(shown), MANY)], "its end alone, in order"


def test_that_a_session_is_over_is_not_said_too_late(people: Any, show: Any) -> None:
    """The page asks why its connection was lost; meanwhile it has another one."""
    page, link = linked(show, people.anna)
    asked: list[Any] = []
    page.route("**/", lambda route: asked.append(route) if route.request.method == "HEAD" else route.continue_())
    show.tolerated.add("Failed to load resource")
    link.ends[-1].close()
    until(lambda: (len(link.ends) > 1 and asked) or page.wait_for_timeout(10), "it has connected again, and asked")
    page.locator(".frame[data-connection=live]").wait_for()
    with page.expect_response(lambda answer: answer.request.method == "HEAD"):
        asked[0].fulfill(status=403)
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    assert page.locator(".frame").get_attribute("data-connection") == "live"
    assert not page.locator(".banner").is_visible()
