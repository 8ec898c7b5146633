"""A node inside another Twisted program: the LAN as endpoints, with no command line and no process of its own.

::

    from twisted.internet import task
    import userlan

    async def main(reactor):
        async with userlan.Member(reactor, state="robot", name="robot") as member:
            await member.join("userlan://203.0.113.5:41414/KEY/home#SECRET")
            protocol = await member.client_endpoint("nas", 80).connect(factory)

    task.react(lambda reactor: defer.ensureDeferred(main(reactor)))

What a member has is the node of ``userlan up``: tunnels, punching, relays, roster, names. What it has not, unless asked: bridges (no port
of this computer is opened for programs) and the page. Its state folder is an ordinary one: ``userlan --state robot status`` shows it, from
outside, while the program runs.

Everything happens in the reactor's thread. The reactor is the caller's: it is never stopped here. Its clock is made monotonic
(``driver.reactor``) where nothing has been scheduled yet; otherwise a step of the wall clock delays the timers of the member as it delays
all others of the program.

Errors: :class:`EmbeddingError` is one line for people, for whatever cannot be done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from userlan.app.foreground import StartError
from userlan.app.program import NodeProgram, Options
from userlan.driver.bridge import Bridge, CommandError
from userlan.driver.datagrams import LanDatagramPort
from userlan.driver.endpoints import LanClientEndpoint, LanServerEndpoint
from userlan.driver.lan import CONNECT_TIMEOUT, Lan, PeerInfo
from userlan.driver.reactor import use_monotonic_time
from userlan.driver.state import StateError, StateFolder
from userlan.lan.invite import Invite
from userlan.node.config import Config, defaults
from userlan.node.config_values import ListenAddress

START_TIMEOUT = 30.0
"""Seconds in which a new member must have been welcomed by its mediator: six tries of the longest round trips."""
WITHOUT_PAGE = "none"


class EmbeddingError(Exception):
    """What was asked for cannot be done; ``str()`` is one clear line."""


class WaitingError(EmbeddingError):
    """This is no member yet: the network's owner, who was asked, has to approve."""


class Member:
    """One member of the LAN in this process. Use it as ``async with``, or call :meth:`start` and :meth:`stop`."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        state: str | Path,
        *,
        name: str | None = None,
        mediator: str | None = None,
        listen: Sequence[str] | None = None,
        embedded_mediator: bool = False,
        bridges: Mapping[str, type[Bridge]] | None = None,
        config: Config | None = None,
    ) -> None:
        """Nothing happens before :meth:`start`.

        ``state``: the folder of its key, caches and socket, made if missing; one process at a time.
        ``name``: its nickname; nothing: the computer's host name at first, then the last one.
        ``mediator``: ``userlan://HOST:PORT/KEY``; nothing: that of the first invite that it joins by, or those that it remembers.
        ``listen``: ``ADDRESS:PORT`` for UDP and TCP; nothing: all addresses, port 41414 or any free one.
        ``embedded_mediator``: run one in this process when none is known.
        ``bridges``: ways for this computer's programs into the LAN, by name (``bridges.proxy.ProxyBridge`` …).
        ``config``: everything else (``userlan.node.config.load_file``); what is named above goes before it.

        ValueError for a name, link or address that is none.
        """
        self._reactor = reactor
        self._state = Path(state)
        self._bridges = dict(bridges or {})
        self._mediator = Invite.parse(mediator) if mediator is not None else None
        parsed = tuple(ListenAddress.parse(one) for one in listen) if listen is not None else None
        self._listen = None if parsed is None else tuple((one.host, one.port) for one in parsed)
        base = config if config is not None else _quiet({kind.name: kind.Options for kind in self._bridges.values()})
        self._config = msgspec.structs.replace(
            base, name=name if name is not None else base.name, embedded_mediator="auto" if embedded_mediator else "never"
        )
        self._program: _Program | None = None

    # --- start and stop ----------------------------------------------------------------------------------------------

    def start(self) -> Deferred[Member]:
        """Begin; called back with this member once it has its address and its bridges serve.

        A new one that knows no mediator has no address yet: it is started all the same, and :meth:`join` gives it one. Fails with
        EmbeddingError: the folder is another's, a port is taken, the mediator does not answer within 30 s.
        """
        if self._program is not None:
            return _failed(EmbeddingError("this member has been started already"))
        if not self._reactor.getDelayedCalls():
            use_monotonic_time(self._reactor)
        options = Options(self._config, None, self._bridges, self._mediator, self._listen, background=True)
        try:
            folder = StateFolder(self._state, lambda line: self._log.warn("{line}", line=line))
        except StateError as error:
            return _failed(EmbeddingError(str(error)))
        try:
            self._program = _Program(self._reactor, folder, options)
        except StartError as error:
            folder.close()
            return _failed(EmbeddingError(str(error)))
        return self._program.begin().addCallbacks(lambda _: self, self._start_failed)

    def _start_failed(self, failure: Any) -> Any:
        reason = failure.trap(StartError, CommandError, _TimeoutError) and failure.getErrorMessage()
        return self.stop().addCallback(lambda _: _failed(EmbeddingError(reason)))

    def stop(self) -> Deferred[None]:
        """Say goodbye and close everything; idempotent. Streams that are open end."""
        program, self._program = self._program, None
        if program is None:
            return succeed(None)
        stopped: Deferred[None] = program.stop()
        return stopped

    async def __aenter__(self) -> Member:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()

    # --- networks ----------------------------------------------------------------------------------------------------

    def create(self, network: str, password: str | None = None) -> Deferred[str]:
        """Make a network and own it; called back with its invite."""
        return self._ask("create", network=network, password=password).addCallback(lambda told: str(told["invite"]))

    def join(self, invite: str) -> Deferred[None]:
        """Become a member by a whole invite; called back at once where this is one already.

        Where the network's owner approves new members: fails with :class:`WaitingError`. The application stands, across restarts of both,
        and this becomes a member by itself when it is approved (``lan.observe``); ``leave`` takes it back.
        """
        try:
            link = Invite.parse(invite)
        except ValueError as error:
            return _failed(EmbeddingError(str(error)))
        if link.network in self.networks:
            return succeed(None)
        return self._ask("join", invite=str(link)).addCallback(_joined)

    def join_by_password(self, network: str, password: str) -> Deferred[None]:
        """Become a member of a network of the mediator that this member uses; else as :meth:`join`."""
        return self._ask("join", network=network, password=password).addCallback(_joined)

    def leave(self, network: str) -> Deferred[None]:
        """End the membership, or the application."""
        return self._ask("leave", network=network).addCallback(_nothing)

    def invite(self, network: str) -> Deferred[str]:
        """The invite of a network that this member is in."""
        return self._ask("invite", network=network).addCallback(lambda told: str(told["invite"]))

    # --- the LAN -----------------------------------------------------------------------------------------------------

    @property
    def lan(self) -> Lan:
        """The whole of it: names, addresses, who comes and goes (``observe``), endpoints. EmbeddingError before the start."""
        lan: Lan = self._running().lan
        return lan

    @property
    def networks(self) -> list[str]:
        """The names of the networks that this is a member of, sorted."""
        return sorted(self._running().node.roster.networks)

    @property
    def own(self) -> PeerInfo:
        """Name, key and addresses of this member; ``ipv4`` is empty as long as it has none."""
        return self.lan.own()

    @property
    def members(self) -> list[PeerInfo]:
        """All others, online or not."""
        return self.lan.members()

    def status(self) -> dict[str, Any]:
        """As ``userlan status --json``: how each of them is reached, its latency and traffic."""
        return self._running().status()

    def client_endpoint(self, host: str, port: int, timeout: float = CONNECT_TIMEOUT) -> LanClientEndpoint:
        """Connects to a member's port (IStreamClientEndpoint); ``host``: its name or address; ``timeout`` in seconds."""
        return self.lan.client_endpoint(host, port, timeout)

    def server_endpoint(self, port: int) -> LanServerEndpoint:
        """Listens for members at a port of this one's own addresses (IStreamServerEndpoint); 0: any free one."""
        return self.lan.server_endpoint(port)

    def datagram_port(self, protocol: DatagramProtocol, port: int = 0) -> LanDatagramPort:
        """Binds a UDP port of the LAN, broadcasts and groups included; CannotListenError where it is taken."""
        return self.lan.datagram_port(protocol, port)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _running(self) -> _Program:
        if self._program is None:
            raise EmbeddingError("this member has not been started")
        return self._program

    def _ask(self, command: str, **arguments: Any) -> Deferred[Any]:
        """A command of the node's, as the command line has it."""
        try:
            answer: Deferred[Any] = self._running().ask(command, arguments)
        except EmbeddingError as error:
            return _failed(error)
        return answer.addErrback(_as_embedding_error)


class _TimeoutError(Exception):
    """No address in time."""


class _Program(NodeProgram):
    """The node's program as a guest of another one: it prints nothing and leaves the reactor alone."""

    def begin(self) -> Deferred[None]:
        """``start``, and until it is ready, where it can be."""
        self._ready: Deferred[None] = Deferred()
        self._late: Any = None
        started: Deferred[None] = self.start()
        return started.addCallbacks(self._started, self._not_started)

    def ask(self, command: str, arguments: dict[str, Any]) -> Deferred[Any]:
        """One command of the local API, in this process."""
        return self.commands.call(command, arguments)

    def announce(self, lines: list[str]) -> None:
        """Ready: whoever waits is told."""
        self._settle(None)

    def ended(self) -> None:
        """The reactor is the caller's."""
        self._settle(_TimeoutError("this member was stopped before it was ready"))

    def fail(self, reason: str) -> None:
        """It cannot begin."""
        self._settle(_TimeoutError(reason))

    def _started(self, _: object) -> Deferred[None]:
        if not self.memory.mediators and not self.node.links:
            self._settle(None)      # an invite brings the mediator
        elif not self._ready.called:
            self._late = self.reactor.callLater(START_TIMEOUT, self._too_late)
        return self._ready

    def _not_started(self, failure: Any) -> Any:
        self._ready.addErrback(_nothing)        # it is told by this failure, and nobody waits for that
        return failure

    def _too_late(self) -> None:
        key = self.node.mediators.primary()
        link = self.node.links.get(key) if key is not None else None
        reason = link.reason if link is not None and link.reason else f"no mediator has answered in {START_TIMEOUT:.0f} s"
        self._settle(_TimeoutError(reason))

    def _settle(self, error: Exception | None) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None
        if self._ready.called:
            return
        if error is None:
            self._ready.callback(None)
        else:
            self._ready.errback(error)


def _quiet(sections: Mapping[str, type[msgspec.Struct]]) -> Config:
    """The defaults, without a page."""
    config = defaults(sections)
    page = getattr(config, "page", None)
    return config if page is None else msgspec.structs.replace(config, page=msgspec.structs.replace(page, listen=WITHOUT_PAGE))


def _as_embedding_error(failure: Any) -> Any:
    failure.trap(CommandError)
    raise EmbeddingError(failure.getErrorMessage())


def _failed(error: Exception) -> Deferred[Any]:
    failed: Deferred[Any] = Deferred()
    failed.errback(error)
    return failed


def _nothing(_: object) -> None:
    return None


def _joined(told: dict[str, Any]) -> None:
    if told["waiting"]:
        owner = f" ({told['owner']})" if told["owner"] else ""
        raise WaitingError(f"asked to join {told['network']}; its owner{owner} has to approve")
