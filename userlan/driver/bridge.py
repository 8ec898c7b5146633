"""What a bridge between local programs and the LAN has to offer, and what it is given.

A bridge is a class found by the entry points of the group ``userlan.bridges``. The node makes one of each, with its
section of the configuration, and gives its commands to the command line through the local API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from userlan.driver.lan import Lan
from userlan.driver.state import load_json, save_json

CommandHandler = Callable[[dict[str, object]], object]
"""Takes the arguments of a command, gives its JSON-able result or a Deferred of it;
fails with :class:`CommandError`."""


class CommandError(Exception):
    """A command cannot be done; ``str()`` is one clear line that says what is wrong and what to do."""


class BridgeStore:
    """What a bridge keeps across restarts (for instance what its commands added): one JSON file of the state folder."""

    _log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> object | None:
        """The value saved last;
        None when there is none or the file is damaged (it is then set aside, with a message in the log)."""
        return load_json(self.path, self._warn)

    def save(self, value: object) -> None:
        """Keep a JSON-able value, atomically; raises CommandError when the disk does not take it."""
        try:
            save_json(self.path, value)
        except OSError as error:
            raise CommandError(f"{self.path} cannot be written: {error.strerror}") from error

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)


class Bridge(Protocol):
    """One way for local programs to reach the LAN, or for the LAN to reach them."""

    name: ClassVar[str]
    """Its section of the configuration and its key in ``status --json``."""

    Options: ClassVar[type[msgspec.Struct]]
    """The type of its section; every field has a default."""

    def __init__(self, lan: Lan, options: Any, store: BridgeStore) -> None:
        """``options`` is an instance of ``Options``."""

    def start(self) -> Deferred[None]:
        """Begin to serve; fails with CommandError (one clear line), for instance when a port is in use."""

    def stop(self) -> Deferred[None]:
        """Stop serving and close what is open. Idempotent."""

    def status(self) -> object:
        """JSON-able, shown under "bridges" in ``status --json``."""

    def commands(self) -> Mapping[str, CommandHandler]:
        """Commands for the local API, by name.

        A bridge may have ``streaming_commands`` as well: those that answer in items, or last until the client goes away
        (``userlan.driver.commands.StreamingHandler``); and ``diagnosis(peer)``: what ``userlan doctor`` asks beside the status, JSON-able,
        with what holds for that peer (a ``PeerInfo``, or None for none) under ``admits``.

        When its section has changed it is stopped, and another one is made with the new section in its place and started; one that cannot
        be replaced while the node runs says so by ``restartable = False`` in its class, and its section waits for the next start."""
