"""What a request or a login brings about: messages to send and changes of who is where; returned, never called."""

from __future__ import annotations

from typing import NamedTuple

from userlan.control.messages import Message
from userlan.mediator.events import StoreFailed


class Tell(NamedTuple):
    """A message for one node."""

    key: bytes
    message: Message


class Publish(NamedTuple):
    """A message for the members of a network that are online, but for one of them."""

    network: int
    message: Message
    besides: bytes = b""


class Entered(NamedTuple):
    """A node that is online came into a network."""

    key: bytes
    network: int


class Parted(NamedTuple):
    """A node that is online is not in a network any more."""

    key: bytes
    network: int


Effect = Tell | Publish | Entered | Parted | StoreFailed


class RefusalError(Exception):
    """A request is not carried out. ``code`` as in ``control.refusals``; ``str()`` is one line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
