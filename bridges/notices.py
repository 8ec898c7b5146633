"""Notices on the desktop: who wrote, who sends a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from weakref import WeakKeyDictionary

import msgspec
from twisted.internet.defer import Deferred, succeed

from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.lan import Lan


class NoticesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``notices``."""


class Notices:
    """Where other bridges say what the person in front of this computer may want to know; one for each Lan."""

    _all: ClassVar[WeakKeyDictionary[Lan, Notices]] = WeakKeyDictionary()

    @classmethod
    def of(cls, lan: Lan) -> Notices:
        """The one of this Lan."""
        found = cls._all.get(lan)
        if found is None:
            found = cls._all[lan] = cls()
        return found

    def tell(self, kind: str, title: str, text: str, subject: str = "") -> None:
        """``kind``: ``chat``, ``file`` or ``member``; ``title`` and ``text``: plain text, of peers, to be taken for nothing else;
        ``subject``: what ``withdraw`` names."""

    def withdraw(self, subject: str) -> None:
        """It has been seen."""


class NoticesBridge:
    """The bridge ``notices``."""

    name: ClassVar[str] = "notices"
    Options: ClassVar[type[msgspec.Struct]] = NoticesOptions

    def __init__(self, lan: Lan, options: NoticesOptions, store: BridgeStore) -> None:
        self.options = options
        self._lan, self._store = lan, store

    def start(self) -> Deferred[None]:
        """Begin to serve."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Stop serving. Idempotent."""
        return succeed(None)

    def status(self) -> object:
        """Nothing to tell."""
        return None

    def commands(self) -> Mapping[str, CommandHandler]:
        """None yet."""
        return {}
