"""The mediator inside a node that knows no other one: its first networks need no server."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress

from twisted.internet.error import CannotListenError

from userlan import __version__
from userlan.app.foreground import StartError
from userlan.app.interfaces import local_addresses
from userlan.driver.engine import Engine
from userlan.driver.state import StateFolder

LAST_PORT = 65535


class EmbeddedMediator:
    """It runs in the node's engine, at the node's sockets, and keeps its directory in the node's state folder."""

    def __init__(self, engine: Engine, folder: StateFolder, address_range: str, now: float) -> None:
        """Raises StartError. ``now``: the reactor's seconds."""
        from userlan.mediator.directory import Directory
        from userlan.mediator.records import DirectoryError
        from userlan.mediator.service import Mediator

        key = folder.private_key("mediator", lambda: secrets.token_bytes(32))
        try:
            self._directory = Directory(folder.path / "directory.sqlite")
            self.mediator = Mediator(
                key,
                self._directory,
                entropy=os.urandom,
                now=now,
                wall_offset=time.time() - now,
                address_range=address_range,
                own_hosts=local_addresses(),
                agent=f"userlan {__version__}",
            )
        except DirectoryError as error:
            raise StartError(str(error)) from None
        self._engine = engine
        self._runner = engine.add(self.mediator, lambda event: None)
        self._listens()
        self.host = "127.0.0.1"
        """At which the node itself reaches it."""
        for port in engine.datagram_ports:
            if port.version == 4 and port.host not in ("0.0.0.0", "127.0.0.1"):
                self.host = port.host

    def stop(self, now: float) -> None:
        """Say goodbye."""
        self.mediator.stop(now)
        self._runner.touch()

    def close(self) -> None:
        """The directory is not needed any more."""
        self._directory.close()

    def _listens(self) -> None:
        """The mediator hears of its sockets, and has a port of its own beside the node's where it is free."""
        for version in (4, 6):
            main = next((port for port in self._engine.datagram_ports if port.version == version), None)
            if main is None:
                continue
            self.mediator.listening(0, main.host, main.port)
            if main.port < LAST_PORT:
                with suppress(CannotListenError):
                    self.mediator.listening(1, main.host, self._engine.listen(main.host, main.port + 1, 1, self._runner))
