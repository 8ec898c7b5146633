"""What travels between two members' chats: lines of JSON on one connection of the LAN, typed, sans-IO.

::

    {"type": "hello", "version": 1}                                            each side's first
    {"type": "message", "id": ID, "network": "home", "age": 3.2, "text": …}    network "": to you alone
    {"type": "taken", "id": ID}                                                it is on my disk
    {"type": "refused", "id": ID, "reason": "network"}

``age``: seconds since it was written, so that the clocks of the two need not agree. Both speak the lower version of the two hellos; frames
of another type, and keys that are not known, are passed over, so that a later version can say more to those that understand it.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, ClassVar

import msgspec

from bridges.chat.records import MAX_TEXT
from userlan.lan import ports
from userlan.lan.labels import MAX_NAME

PORT = ports.CHAT
"""TCP, on the LAN."""

VERSION = 1

MAX_FRAME = 64 * 1024
"""Octets of one line: a text of ``MAX_TEXT`` characters each of which JSON writes as \\uXXXX, and what is around it."""

NOT_IN_NETWORK, BAD_TEXT = "network", "text"
"""Reasons to refuse: the recipient does not know the author as a member there (which may change); the text is empty or too long (which
will not)."""

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{22}\Z")]
"""16 random octets, base64url."""


class FrameError(Exception):
    """What has arrived is no frame; the connection is of no use any more. ``str()`` says what is wrong."""


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """Which version somebody speaks."""

    version: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """A message for the recipient."""

    id: Identifier
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    network: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] = ""
    age: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Taken(msgspec.Struct, frozen=True, tag_field="type", tag="taken"):
    """It is kept: never send it again."""

    id: Identifier


class Refused(msgspec.Struct, frozen=True, tag_field="type", tag="refused"):
    """It is not kept."""

    id: Identifier
    reason: Annotated[str, msgspec.Meta(max_length=64)] = ""


class _Kind(msgspec.Struct):
    type: str

    kinds: ClassVar[frozenset[str]] = frozenset({"hello", "message", "taken", "refused"})


Frame = Hello | Text | Taken | Refused

_KIND = msgspec.json.Decoder(_Kind)
_FRAME: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """One line."""
    return msgspec.json.encode(frame) + b"\n"


def decode(line: bytes) -> Frame | None:
    """The frame of a line without its end; None for one of a type that is not known; FrameError for anything else."""
    try:
        if _KIND.decode(line).type not in _Kind.kinds:
            return None
        return _FRAME.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"a frame is wrong: {str(error)[:100]}") from None


class Lines:
    """Octets as they arrive → lines, of ``MAX_FRAME`` octets at the most."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._partial = bytearray()

    def __len__(self) -> int:
        """Whole lines that have not been taken."""
        return len(self._lines)

    @property
    def partial(self) -> bool:
        """Whether the end of a line is missing."""
        return bool(self._partial)

    def feed(self, data: bytes) -> None:
        """More has arrived; FrameError when a line is too long."""
        first, *rest = data.split(b"\n")
        for end in (first, *rest[:-1]) if rest else ():
            self._partial += end
            self._check()
            self._lines.append(bytes(self._partial))
            self._partial.clear()
        self._partial += rest[-1] if rest else first
        self._check()

    def take(self) -> bytes | None:
        """The next one, or None."""
        return self._lines.popleft() if self._lines else None

    def give_back(self, line: bytes) -> None:
        """It is the next one again."""
        self._lines.appendleft(line)

    def _check(self) -> None:
        if len(self._partial) > MAX_FRAME:
            raise FrameError(f"a frame is longer than {MAX_FRAME} octets")
