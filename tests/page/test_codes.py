"""Joining by the QR code of an invite: a picture of it is chosen, pasted or dropped, or it is held in front of the camera."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import segno

from tests.page.conftest import CHROMIUM, FLAGS, Shown, sync_api
from tests.page.nodes import until
from tests.page.test_accessible import findings

PICTURE = "Use a picture of a QR code"
GIVE = """([octets, type, kind]) => {
  const file = new File([Uint8Array.from(atob(octets), (one) => one.charCodeAt(0))], "picture", { type });
  const carried = new DataTransfer();
  carried.items.add(file);
  const target = document.querySelector("dialog[open] input");
  const common = { bubbles: true, cancelable: true };
  if (kind === "paste") return !target.dispatchEvent(new ClipboardEvent("paste", { ...common, clipboardData: carried }));
  const over = new DragEvent("dragover", { ...common, dataTransfer: carried });
  target.dispatchEvent(over);
  return over.defaultPrevented && !target.dispatchEvent(new DragEvent("drop", { ...common, dataTransfer: carried }));
}"""
"""A file that is pasted or dropped; whether the page took it."""


def drawn(text: str) -> bytes:
    """A QR code as a PNG."""
    written = BytesIO()
    segno.make(text, error="m", micro=False).save(written, kind="png", scale=5, border=4)
    return written.getvalue()


def joining(page: Any) -> Any:
    """The dialog."""
    page.get_by_role("button", name="Join by link").click()
    return page.get_by_role("dialog", name="Join a network")


def choose(page: Any, dialog: Any, data: bytes, kind: str = "image/png") -> None:
    """Chooses a file."""
    with page.expect_file_chooser() as chooser:
        dialog.get_by_role("button", name=PICTURE).click()
    chooser.value.set_files({"name": "picture", "mimeType": kind, "buffer": data})


@pytest.fixture
def club(people: Any) -> Iterator[str]:
    """A network of Anna's: its link."""
    link: str = people.anna.call("create", network="codes")["invite"]
    yield link
    for node in (people.ben, people.anna):
        if "codes" in node.networks():
            node.call("leave", network="codes")


def test_the_code_of_one_page_is_read_by_the_other(people: Any, show: Any, club: str) -> None:
    """The picture is what Anna's page shows; nobody joins before Ben says so."""
    anna, ben = show(people.anna, dark=True), show(people.ben)
    anna.get_by_role("treeitem", name="codes,").locator(".network-line").click(button="right")
    anna.get_by_role("menuitem", name="Invite").click()
    picture = anna.get_by_role("img", name="QR code").screenshot()
    dialog = joining(ben)
    choose(ben, dialog, picture)
    dialog.get_by_text("The link is in the field.").wait_for()
    assert dialog.get_by_label("Link", exact=True).input_value() == club
    assert "codes" not in people.ben.networks()
    assert findings(ben, "dialog") == []
    dialog.get_by_role("button", name="Join", exact=True).click()
    ben.get_by_role("treeitem", name="codes,").wait_for()
    until(lambda: "codes" in people.ben.networks(), "ben is in")


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_given(people: Any, show: Any, club: str, kind: str) -> None:
    ben = show(people.ben)
    dialog = joining(ben)
    octets = base64.b64encode(drawn(club)).decode()
    assert ben.evaluate(GIVE, [octets, "image/png", kind])
    dialog.get_by_text("The link is in the field.").wait_for()
    assert dialog.get_by_label("Link", exact=True).input_value() == club
    assert ben.get_by_text("Files go to one person").count() == 0


def test_what_is_no_invite_is_said_and_not_taken(people: Any, show: Any) -> None:
    ben = show(people.ben)
    dialog = joining(ben)
    given = [
        (drawn("https://evil.example/<img src=x onerror=alert(1)>"), "That code is no userlan link."),
        (b"no picture at all", "This is no picture that the browser can read."),
        (ben.screenshot(), "There is no QR code to be seen in that picture."),
    ]
    for data, words in given:
        choose(ben, dialog, data)
        dialog.get_by_text(words).wait_for()
        assert dialog.get_by_label("Link", exact=True).input_value() == ""
    assert not ben.evaluate(GIVE, [base64.b64encode(b"words").decode(), "text/plain", "paste"])


def test_on_a_phone(people: Any, show: Any) -> None:
    page = show(people.ben, phone=True)
    page.keyboard.press("j")
    page.get_by_role("dialog").get_by_role("button", name=PICTURE).wait_for()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
