"""Chat between members and in networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed

from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.lan import Lan


class ChatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``chat``."""


class ChatBridge:
    """The bridge ``chat``."""

    name: ClassVar[str] = "chat"
    Options: ClassVar[type[msgspec.Struct]] = ChatOptions

    def __init__(self, lan: Lan, options: ChatOptions, store: BridgeStore) -> None:
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
