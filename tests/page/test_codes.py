"""Joining by the QR code of an invite: a picture of it is chosen, pasted or dropped, or it is held in front of the camera."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import segno

from tests.page.conftest import CHROMIUM, FLAGS, Shown
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


def drawn(text: str, micro: bool = False) -> bytes:
    """A QR code as a PNG; ``micro``: of the small kind, which is none to the program."""
    written = BytesIO()
    segno.make(text, error="m", micro=micro).save(written, kind="png", scale=5, border=4)
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


def film(text: str, path: Path, size: tuple[int, int] = (640, 480)) -> None:
    """A code as a camera sees it: in the middle of a grey picture (YUV4MPEG2, planes of 4:2:0)."""
    width, height = size
    rows = [bytes(30 if module else 220 for module in row) for row in segno.make(text, error="m", micro=False).matrix_iter(6, 4)]
    above, before = (height - len(rows)) // 2, (width - len(rows[0])) // 2
    grey = b"\x80"
    middle = b"".join((grey * before + row).ljust(width, grey) for row in rows)
    luma = (grey * width * above + middle).ljust(width * height, grey)
    frame = b"FRAME\n" + luma + grey * (width * height // 2)
    path.write_bytes(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % size + frame * 2)


@pytest.fixture
def before_the_camera(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """``before_the_camera(text)``: opens pages in a browser whose camera sees a code."""
    shown: list[Shown] = []

    def begin(text: str) -> Shown:
        seen = tmp_path / "seen.y4m"
        film(text, seen)
        camera = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={seen}"]
        shown.append(Shown(browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *camera])))
        return shown[0]

    yield begin
    for one in shown:
        one.end()
        one.browser.close()
    assert [complaint for one in shown for complaint in one.complaints] == []


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
    dialog.get_by_text("The link to \u2068codes\u2069 is in the field.").wait_for()
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
    dialog.get_by_text("The link to \u2068codes\u2069 is in the field.").wait_for()
    assert dialog.get_by_label("Link", exact=True).input_value() == club
    assert ben.get_by_text("Files go to one person").count() == 0


def test_what_is_no_invite_is_said_and_not_taken(people: Any, show: Any) -> None:
    ben = show(people.ben)
    dialog = joining(ben)
    given = [
        (drawn("https://evil.example/<img src=x onerror=alert(1)>"), "That code is no userlan link."),
        (b"no picture at all", "This is no picture that the browser can read."),
        (drawn("1234567", micro=True), "There is no QR code to be seen in that picture."),
    ]
    for data, words in given:
        choose(ben, dialog, data)
        dialog.get_by_text(words).wait_for()
        assert dialog.get_by_label("Link", exact=True).input_value() == ""
    assert not ben.evaluate(GIVE, [base64.b64encode(b"words").decode(), "text/plain", "paste"])


KEEP = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.streams = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.streams.push(stream);
    return stream;
  };
}"""
"""Remembers the camera's streams, to see whether they end."""
STATES = "streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"


def test_the_camera_sees_the_code(people: Any, before_the_camera: Any, club: str) -> None:
    """Without audio; it is off as soon as an invite was seen, and nobody has joined."""
    ben = before_the_camera(club)(people.ben, permissions=["camera"])
    ben.evaluate(KEEP)
    dialog = joining(ben)
    dialog.get_by_role("button", name="Use the camera").click()
    dialog.get_by_text("The link to \u2068codes\u2069 is in the field.").wait_for()
    assert dialog.get_by_label("Link", exact=True).input_value() == club
    assert ben.evaluate(STATES) == ["ended"]
    assert not dialog.locator("video").is_visible()
    assert "codes" not in people.ben.networks()


def test_the_camera_is_off_when_the_dialog_has_closed(people: Any, before_the_camera: Any) -> None:
    """Whatever it sees; also when the person says so, and when the dialog makes room for another one."""
    ben = before_the_camera("https://evil.example")(people.ben, permissions=["camera"])
    ben.evaluate(KEEP)

    def begin() -> Any:
        dialog = joining(ben)
        dialog.get_by_role("button", name="Use the camera").click()
        dialog.get_by_text("That code is no userlan link.").wait_for()
        dialog.get_by_label("What the camera sees").wait_for()
        assert ben.evaluate(STATES)[-1] == "live"
        return dialog

    dialog = begin()
    assert findings(ben, "dialog") == []
    dialog.get_by_role("button", name="Stop the camera").click()
    dialog.get_by_role("button", name="Use the camera").wait_for()
    assert ben.evaluate(STATES) == ["ended"]
    ben.keyboard.press("Escape")
    begin()
    ben.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert ben.evaluate(STATES) == ["ended", "ended"]
    begin().get_by_role("button", name="I have a name and a password").click()
    ben.get_by_label("Name of the network").wait_for()
    until(lambda: ben.evaluate(STATES) == ["ended", "ended", "ended"], "it is off in the turn in which the first dialog has gone")


def test_a_camera_that_the_person_refuses(people: Any, before_the_camera: Any) -> None:
    """Playwright refuses what a context was not permitted."""
    ben = before_the_camera("x")(people.ben, permissions=[])
    dialog = joining(ben)
    dialog.get_by_role("button", name="Use the camera").click()
    dialog.get_by_text("The browser does not let this page use the camera.").wait_for()


def test_on_a_phone(people: Any, show: Any) -> None:
    page = show(people.ben, phone=True)
    page.keyboard.press("j")
    page.get_by_role("dialog").get_by_role("button", name=PICTURE).wait_for()
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= innerWidth")
