"""Pictures in which the page looks for an invite's QR code: their grey octets come by a POST, what is found goes back, nothing is kept.

::

    → POST /scan?width=W&height=H       W × H octets, row by row, 0 black
    ← {"codes": 2, "links": ["userlan://…"]}

A picture is not trusted: the browser has decoded its file, and zxing-cpp (ISO/IEC 18004) reads nothing but grey octets, in a thread and
with the interpreter's lock released. Only what is an invite is told, as this program writes it: a code may say anything.

Why a POST and not a command: a picture of the size that a code needs at some distance is larger than a message of the WebSocket may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from userlan.driver.threads import in_thread
from userlan.lan.invite import Invite, InviteError
from userlan.web.checks import Refusal

if TYPE_CHECKING:
    from userlan.web.request import PageRequest

MAX_PICTURE = 4 << 20
"""Octets of one: the page scales to 1600 pixels a side. One made to be hard takes three seconds of a thread."""
MAX_SIDE = 4096
"""Pixels a side: the library takes 65,535."""
SIDE = re.compile(rb"[1-9][0-9]{0,3}")


def find_invites(grey: bytes | bytearray, width: int, height: int) -> dict[str, Any]:
    """How many QR codes are in a picture, and the invites among them, each once. Blocks; ``grey``: ``width * height`` octets."""
    import zxingcpp

    picture = memoryview(grey).cast("B", (height, width))
    kinds = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)       # Micro QR has no room for an invite
    codes = zxingcpp.read_barcodes(picture, formats=kinds, text_mode=zxingcpp.TextMode.Plain)
    links = dict.fromkeys(link for code in codes if (link := _invite(code.text)) is not None)
    return {"codes": len(codes), "links": list(links)}


def _invite(text: str) -> str | None:
    """The link of somebody who may let others in, as this program writes it."""
    try:
        invite = Invite.parse(text)
    except InviteError:
        return None
    return str(invite) if invite.secret is not None else None


class Picture:
    """One on its way."""

    def __init__(self, scans: Scans, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.grey = bytearray()
        self._scans = scans

    def write(self, data: bytes) -> None:
        """The next octets: HTTP brings no more than were announced."""
        self.grey += data

    def discard(self) -> None:
        """It does not come to its end. Idempotent."""
        self._scans.ended(self)


class Scans:
    """The pictures of one page, one at a time."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._active: Picture | None = None

    def refuses(self, length: int | None) -> Refusal | None:
        """Before anything of it is read: a picture of so many octets (None: it does not say)."""
        if length is None:
            return Refusal(411, "a picture says how long it is")
        if length > MAX_PICTURE:
            return Refusal(413, f"the picture is too large: {length} octets, not more than {MAX_PICTURE}")
        return Refusal(503, "another picture is being looked at") if self._active is not None else None

    def begin(
        self, query: dict[bytes, list[bytes]], length: int, pause: Callable[[bool], None]
    ) -> tuple[Picture | None, Refusal | None]:
        """Make its place. ``pause``: not needed, it is held in memory."""
        sides = [given[0] for key in (b"width", b"height") if len(given := query.get(key, [])) == 1 and SIDE.fullmatch(given[0])]
        width, height = map(int, sides) if len(sides) == 2 else (0, 0)
        if not 0 < max(width, height) <= MAX_SIDE or width * height != length:
            return None, Refusal(400, "a picture has as many octets as ?width=…&height=… say")
        self._active = Picture(self, width, height)
        return self._active, None

    def ended(self, picture: Picture) -> None:
        """It takes no place any more. Idempotent."""
        if self._active is picture:
            self._active = None

    def received(self, request: PageRequest) -> None:
        """The body is there: look. A browser that goes away is not answered, and the place is free when the thread is."""
        picture: Picture = request.spool
        request.spool = None
        waiting: list[PageRequest] = [request]
        request.notifyFinish().addErrback(lambda _: waiting.clear())

        def looked(found: dict[str, Any]) -> None:
            self.ended(picture)
            for one in waiting:
                one.answer_json(200, found)

        def failed(failure: Any) -> None:
            self._log.failure("a picture could not be looked at", failure)
            self.ended(picture)
            for one in waiting:
                one.refuse(Refusal(500, "the picture could not be looked at"))

        in_thread(self._reactor, find_invites, picture.grey, picture.width, picture.height).addCallbacks(looked, failed)
