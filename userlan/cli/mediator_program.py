"""A running mediator: its core, its directory, its sockets."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from userlan import __version__
from userlan.app.foreground import Foreground, StartError, not_listening
from userlan.app.interfaces import local_addresses
from userlan.driver.engine import Engine
from userlan.driver.state import StateFolder
from userlan.lan.invite import Invite
from userlan.mediator.directory import Directory
from userlan.mediator.events import StoreFailed
from userlan.mediator.records import DirectoryError
from userlan.mediator.service import Mediator
from userlan.node.config import DEFAULT_PORT, Config

LAST_PORT = 65535
WEB_PORT = 443
COMPLAINT_INTERVAL = 60.0
"""Seconds between two lines in the log of a directory that fails."""
MAX_PUBLIC = 8
"""Addresses in the link: an invite's own cap."""


class MediatorProgram(Foreground):
    """``userlan mediator``."""

    def __init__(
        self,
        reactor: Any,
        folder: StateFolder,
        config: Config,
        listen: tuple[tuple[str, int], ...] | None,
        store: str | None,
        public: tuple[tuple[str, int], ...] | None,
        relay_keys: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(reactor)
        self.log = Logger(namespace="userlan.mediator")
        self.folder = folder
        self.listen = listen
        self.public = public
        self.engine = Engine(reactor)
        self.runner: Any = None
        self._complain_at = 0.0
        key = folder.private_key("mediator", lambda: secrets.token_bytes(32))
        now = reactor.seconds()
        try:
            self.directory = Directory(store or folder.path / "directory.sqlite")
            self.core = Mediator(
                key,
                self.directory,
                entropy=os.urandom,
                now=now,
                wall_offset=time.time() - now,
                address_range=str(config.lan.range),
                own_hosts=local_addresses(),
                agent=f"userlan {__version__}",
                relay_keys=relay_keys,
            )
        except DirectoryError as error:
            raise StartError(str(error)) from None

    @inlineCallbacks
    def start(self) -> Any:
        """Listen and print the link; fails with StartError."""
        try:
            bound = self._listen()
        except CannotListenError as error:
            raise not_listening(error) from None
        self.runner = self.engine.add(self.core, self._observe)
        print(str(Invite(self._addresses(bound), self.core.public_key)), flush=True)
        yield None

    def _observe(self, event: object) -> None:
        """A directory that fails is told once in a while: every node that comes meanwhile fails on it."""
        now = self.reactor.seconds()
        if isinstance(event, StoreFailed) and now >= self._complain_at:
            self._complain_at = now + COMPLAINT_INTERVAL
            self.log.warn("{text}", text=event.text)

    def _listen(self) -> list[tuple[str, int]]:
        """Open the sockets that were asked for, and one more port beside the first of each address, where it is free: a second port, and a
        second address, are what a NAT's behaviour is measured by. Sockets of one family are numbered in order."""
        numbers = {4: 0, 6: 0}

        def opened(host: str, port: int) -> int:
            version = 6 if ":" in host else 4
            number = self.engine.listen(host, port, numbers[version])
            self.core.listening(numbers[version], host, number)
            numbers[version] += 1
            return number

        wanted = [("0.0.0.0", DEFAULT_PORT)] if self.listen is None else list(self.listen)
        bound = [(host, opened(host, port)) for host, port in wanted]
        if self.listen is None:
            with contextlib.suppress(CannotListenError):        # a computer without IPv6 listens on IPv4 only
                opened("::", DEFAULT_PORT)
                wanted.append(("::", DEFAULT_PORT))
        for host in dict.fromkeys(host for host, _ in wanted):
            ports = [port for one, port in bound if one == host] or [DEFAULT_PORT]
            if len(ports) == 1 and ports[0] < LAST_PORT:
                with contextlib.suppress(CannotListenError):
                    opened(host, ports[0] + 1)
        if self.listen is None:
            for host, _ in wanted:
                with contextlib.suppress(CannotListenError):    # nodes without UDP come by TCP, and by 443 where nothing else passes
                    opened(host, WEB_PORT)
        return bound

    def _addresses(self, bound: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        if self.public is not None:
            return self.public[:MAX_PUBLIC]
        found: list[tuple[str, int]] = []
        for host, port in bound:
            if host in ("0.0.0.0", "::"):
                found += [(own, port) for own in local_addresses() if self.listen is None or (":" in own) == (":" in host)]
            else:
                found.append((host, port))
        return tuple(dict.fromkeys(found))[:MAX_PUBLIC] or (("127.0.0.1", bound[0][1]),)

    @inlineCallbacks
    def stop(self, status: int = 0) -> Any:
        """Close everything and stop the reactor. Idempotent."""
        if not self.begins_to_end(status):
            return
        if self.runner is not None:
            self.core.stop(self.reactor.seconds())
            self.runner.touch()
        yield self.engine.stop()
        self.directory.close()
        self.folder.close()
        self.ended()

    def standing(self) -> str:
        """``12 nodes online``."""
        return f"{self.core.status()['online']} nodes online"
