"""Files from person to person, each at a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.nodes import Node, until
from tests.page.story import arrives

LARGE = 96 << 20
"""Octets: long enough on the way that it can be broken off."""


@pytest.fixture(autouse=True)
def _nothing_left(people: Any) -> Iterator[None]:
    yield
    for node in (people.anna, people.ben):
        for transfer in node.call("files-list"):
            if transfer["state"] in ("waiting", "offered", "accepted", "active", "paused"):
                node.call("files-cancel", id=transfer["id"])
            node.call("files-forget", id=transfer["id"])


def settled(node: Node) -> bool:
    """Whether it knows that all is done: whoever sends learns it a moment after who receives."""
    return all(transfer["state"] == "done" for transfer in node.call("files-list"))


def open_files(page: Any, name: str) -> None:
    """The files with a member."""
    page.get_by_role("treeitem", name=f"{name},").click()
    page.get_by_role("tab", name="Files").click()


def test_chosen_offered_accepted_there(people: Any, show: Any, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "holiday.bin").write_bytes(content)
    anna, ben = show(people.anna), show(people.ben, phone=True)
    open_files(anna, "ben")
    with anna.expect_file_chooser() as chooser:
        anna.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(tmp_path / "holiday.bin")
    ben.get_by_role("treeitem", name="anna, online, direct").filter(has_text="1").click()
    ben.get_by_role("button", name="Accept: holiday.bin").click()
    anna.locator(".transfer[data-state=done]").get_by_text("delivered, checked").wait_for()
    ben.locator(".transfer").wait_for(state="detached")     # above the field to write in stands what still runs
    assert (people.ben.inbox / "holiday.bin").read_bytes() == content
    uploads = people.anna.folder / "uploads"
    until(lambda: not any(uploads.rglob("holiday.bin")), "what was handed over is not kept")


def test_dropped_onto_somebody_in_the_list_and_declined(people: Any, show: Any) -> None:
    anna, ben = show(people.anna), show(people.ben)
    row = anna.get_by_role("treeitem", name="ben, online, direct")
    dropped = anna.evaluate_handle("""() => {
      const moved = new DataTransfer();
      moved.items.add(new File(["dropped"], "<img src=x onerror=alert(1)>.txt"));
      return moved;
    }""")
    row.dispatch_event("dragover", {"dataTransfer": dropped})
    assert "dropping" in (row.get_attribute("class") or "")
    row.dispatch_event("drop", {"dataTransfer": dropped})
    anna.locator(".transfer").get_by_text("waits until").wait_for()
    open_files(ben, "anna")
    card = ben.locator(".transfer")
    assert "onerror=alert(1)" in card.locator(".file").inner_text()
    assert ben.locator(".transfer img").count() == 0
    card.get_by_role("button", name="Decline").click()
    anna.locator(".transfer").get_by_text("declined").wait_for()
    assert list(people.ben.inbox.glob("*img*")) == []


def test_a_break_does_no_harm(people: Any, show: Any, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with film.open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.truncate(LARGE)
    ben = show(people.ben)
    people.anna.call("files-send", to=people.ben.key, paths=[str(film)])
    open_files(ben, "anna")
    ben.get_by_role("button", name="Accept: film.mkv").click()

    def begun() -> bool:
        return any(transfer["file"] == "film.mkv" and transfer["done"] > 0 for transfer in people.ben.call("files-list"))

    until(begun, "it comes")
    people.anna.stop()
    ben.locator(".transfer[data-state=paused]").get_by_text("goes on when").wait_for()
    assert ben.locator(".transfer progress").get_attribute("aria-label")
    people.anna.start()
    arrives(people.ben, "film.mkv")
    ben.locator(".transfer[data-state=done]").get_by_text("saved, checked").wait_for()
    came = people.ben.inbox / "film.mkv"
    assert came.stat().st_size == LARGE
    with came.open("rb") as one, film.open("rb") as other:
        assert one.read(1 << 20) == other.read(1 << 20)
    until(lambda: people.anna.sees(people.ben), "they are together again")
    until(lambda: settled(people.anna), "anna knows it, too")


def test_what_this_computer_cannot_take_says_why(people: Any, show: Any, tmp_path: Path) -> None:
    """Not that it waits for the other: only here something can be done, and then it goes on."""
    (tmp_path / "plan.txt").write_text("the plan")
    inbox, away = people.ben.inbox, people.ben.inbox.with_name("away")
    if inbox.exists():
        inbox.rename(away)
    inbox.write_text("a file where the folder is to be")
    ben = show(people.ben)
    people.anna.call("files-send", to=people.ben.key, paths=[str(tmp_path / "plan.txt")])
    open_files(ben, "anna")
    ben.get_by_role("button", name="Accept: plan.txt").click()
    ben.locator(".transfer[data-state=paused]").get_by_text(f"{inbox} cannot be written").wait_for()
    inbox.unlink()
    if away.exists():
        away.rename(inbox)
    [transfer] = people.ben.call("files-list")
    people.ben.call("files-accept", id=transfer["id"])
    ben.locator(".transfer[data-state=done]").get_by_text("saved, checked").wait_for()
    assert (inbox / "plan.txt").read_text() == "the plan"
    until(lambda: settled(people.anna), "anna knows it, too")
