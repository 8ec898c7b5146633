"""Chat between members and in networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from bridges.chat.commands import Commands
from bridges.chat.service import DAY, Service
from bridges.chat.store import Store
from bridges.chat.worker import Worker
from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.lan import Lan
from userlan.driver.local import StreamingHandler

MEBIBYTE = 1 << 20


class ChatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``chat``."""

    enabled: bool = True
    """Whether there is any chat."""
    history: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 10_000
    """Messages that are kept of one conversation."""
    size: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 64
    """MiB that all of them may take."""
    keep: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    """Days that a message waits for a member who is not seen."""


class ChatBridge:
    """The bridge ``chat``."""

    name: ClassVar[str] = "chat"
    Options: ClassVar[type[msgspec.Struct]] = ChatOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: ChatOptions, store: BridgeStore) -> None:
        self.options = options
        path, log = store.path.with_suffix(".sqlite"), self._log

        def report(text: str) -> None:
            """Called in the store's thread."""
            lan.reactor.callFromThread(log.warn, "{text}", text=text)

        worker = Worker(lan.reactor, lambda: Store(path, options.history, options.size * MEBIBYTE, report))
        self._service = Service(lan, worker, options.keep * DAY)
        self._commands = Commands(self._service)

    def start(self) -> Deferred[None]:
        """Begin to serve; what is wrong with the history keeps the node from nothing else."""
        if not self.options.enabled:
            self._service.problem = "chat is switched off: chat.enabled in the configuration"
            return succeed(None)
        return self._service.start()

    def stop(self) -> Deferred[None]:
        """Stop serving. Idempotent."""
        return self._service.stop()

    def status(self) -> object:
        """What is wrong, where something is."""
        return self._service.status()

    def commands(self) -> Mapping[str, CommandHandler]:
        """``chat-send`` and others."""
        return self._commands.plain

    def streaming_commands(self) -> Mapping[str, StreamingHandler]:
        """``chat-watch``."""
        return self._commands.streaming
