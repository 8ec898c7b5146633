"""A running node: the parts put together, once, in one place.

::

    config ─┐                        ┌─ node (core)            ┐
    state ──┼─> NodeProgram ─────────┼─ mediator (core, where   ├─ one Engine: sockets, timer
    bridges ┘     │                  │  none is known)          ┘
                  ├─ local API (commands of the command line)
                  └─ bridges (proxy, forward, expose …)

Readiness: ``ready`` is printed when this node has its address and its bridges serve. A node that was welcomed once has its address for
life, so that it is ready at once, with or without a mediator. One that never was, and cannot reach its mediator twice, ends.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from userlan import __version__
from userlan.app.advice import Advice
from userlan.app.api import Api
from userlan.app.embedded_mediator import EmbeddedMediator
from userlan.app.foreground import Foreground, StartError, not_listening
from userlan.app.interfaces import local_addresses, look_up
from userlan.app.narrator import Narrator
from userlan.app.page import start_page
from userlan.app.surroundings import Surroundings
from userlan.app.takeover import Takeover
from userlan.app.watching import Watching
from userlan.app.ways import Ways
from userlan.control.mediation import LinkState
from userlan.driver.bridge import Bridge, CommandError
from userlan.driver.ciphers import aes_pays
from userlan.driver.commands import Commands, Reply
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.local import LocalServer
from userlan.driver.relayed import Outward
from userlan.driver.state import StateFolder
from userlan.driver.threads import in_thread
from userlan.lan.addresses import text
from userlan.lan.invite import Invite
from userlan.lan.names import suggest_nick
from userlan.lan.storm import Storms
from userlan.node.config import DEFAULT_PORT, Config
from userlan.node.events import (
    LinkChanged,
    MemoryChanged,
    NetworkLost,
    PeerChanged,
    Ready,
    RequestDone,
    RequestRefused,
    RosterChanged,
    TimestampReserved,
)
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.status import connections, snapshot
from userlan.stack.events import EchoFailed, EchoReply
from userlan.wire.endpoint import TCP, UDP, Endpoint

if TYPE_CHECKING:
    from userlan.web.server import Page

SAVE_DELAY = 0.5
"""Seconds from a change of the memory to its saving: a burst of changes is written once."""
ADDRESS_POLL = 3.0
"""Seconds between looks at this computer's addresses."""
FIRST_TRIES = 2
"""Failures to reach the first mediator of a new node after which it ends: one may be a mediator that is just starting."""
RESOLVE_INTERVAL = 30.0
"""Seconds between resolutions of mediators' host names while their link is down."""


@attrs.define
class Options:
    """What ``userlan up`` was told on the command line, beside the configuration."""

    config: Config
    config_path: Path | None
    bridges: dict[str, type[Bridge]]
    mediator: Invite | None
    listen: tuple[tuple[str, int], ...] | None
    background: bool = False
    port: int = 0
    """Where alone it listens, on all addresses; 0: as the configuration says."""


class NodeProgram(Foreground):
    """One node of one state folder in this process."""

    def __init__(self, reactor: Any, folder: StateFolder, options: Options) -> None:
        super().__init__(reactor)
        self.folder = folder
        self.options = options
        self.config = options.config
        self.waiting: dict[int, Deferred[Any]] = {}
        self.echoes: dict[int, Callable[[EchoReply | EchoFailed], None]] = {}
        self.bridges: dict[str, Bridge] = {}
        self.port = 0
        self.embedded: Any = None
        self.commands = Commands()
        self.page: Page | None = None
        self._serving: Deferred[None] = Deferred()
        self._embedding: EmbeddedMediator | None = None
        self.runner: Any = None
        self.local: Any = None
        self._surroundings: Surroundings | None = None
        self._failures = 0
        self._told_ready = False
        self._told_lost = ""
        self._save_call: Any = None
        self._resolved_at: dict[str, float] = {}
        self.engine = Engine(reactor)
        self.memory = self._load_memory()
        private = folder.private_key("identity", lambda: secrets.token_bytes(32))
        now = reactor.seconds()
        self.node = Node(
            private,
            self.memory,
            name=options.config.name or suggest_nick(socket.gethostname()),
            entropy=os.urandom,
            now=now,
            wall_offset=time.time() - now,
            address_range=options.config.lan.range,
            mtu=options.config.tunnel.mtu,
            keepalive=options.config.tunnel.keepalive,
            bulk_over_tcp=options.config.tunnel.bulk_over_tcp,
            agent=f"userlan {__version__}",
            aes=options.config.tunnel.cipher == "auto" and aes_pays(),
            storms=Storms(options.config.lan.broadcast_rate, options.config.lan.group_rate),
        )
        self.ways, self.advice, self.takeover = Ways(self), Advice(self), Takeover(self)
        if options.config.name is not None:
            self.node.renamed(options.config.name)
        self._narrator = Narrator(self.node)

    # --- start and stop ----------------------------------------------------------------------------------------------

    @inlineCallbacks
    def start(self) -> Any:
        """Bring everything up; fails with StartError."""
        self._listen()
        self.runner = self.engine.add(self.node, self._observe)
        self.lan = Lan(self.runner, self.node.lookup)
        self._choose_mediator()
        self._surroundings = Surroundings(self.reactor, self.runner, self.node, self.port, self.config.traversal)
        self._look_at_addresses()
        self.api = Api(self)
        self.watching = Watching(self.reactor, self.status)
        if not self.options.port:
            from userlan.app.companions import Companions

            self.lan.companions = Companions(self)
        self.local = LocalServer(self.reactor, self.folder.path, self.commands)
        self.api.register(self.commands)
        self.commands.begin()
        yield self.local.start()
        yield self.takeover.start_bridges()
        if self._stopping:      # somebody has said so meanwhile: all that was there is closed
            return
        self.page = start_page(self)
        for link in self.node.links.values():       # not sooner: a node that cannot start is not seen to come and go
            self._resolve(link)
        self.commands.complete()
        self._serving.callback(None)
        self.node.start(self.reactor.seconds())
        self.ways.start()
        self.runner.touch()
        self._maybe_ready()

    def when_started(self) -> Deferred[None]:
        """Fires once all parts serve: the local API does before the others."""
        later: Deferred[None] = Deferred()
        self._serving.chainDeferred(later)
        return later

    @inlineCallbacks
    def stop(self, status: int = 0) -> Any:
        """Say goodbye, close everything, save, and stop the reactor. Idempotent."""
        if not self.begins_to_end(status):
            return
        self.ways.stop()
        self.advice.stop()
        if self.page is not None:
            yield self.page.stop()
        if self.local is not None:
            self.watching.stop()
        for bridge in self.bridges.values():
            yield bridge.stop()
        if self.runner is not None:
            self.node.stop(self.reactor.seconds())
            self.runner.touch()
        if self._embedding is not None:
            self._embedding.stop(self.reactor.seconds())
        if self._surroundings is not None:
            yield self._surroundings.stop()
        yield self.engine.stop()
        self.save()
        if self.local is not None:
            yield self.local.stop()
        if self._embedding is not None:
            self._embedding.close()
        self.folder.close()
        self.ended()

    def fail(self, reason: str) -> None:
        """Who has asked too soon is told as well."""
        self.commands.complete(reason)
        super().fail(reason)

    def announce(self, lines: list[str]) -> None:
        """Tell whoever started it that it is ready."""
        print("\n".join(lines), flush=True)

    def save(self) -> None:
        """Write the memory now."""
        if self._save_call is not None and self._save_call.active():
            self._save_call.cancel()
        self._save_call = None
        self.folder.save("memory", self.node.save().dump())

    def standing(self) -> str:
        """``nas 25.0.0.1, 3 of 5 members reached, mediator connected``."""
        own = self.node.lookup.own_info()
        states = [self.node.peers.shown(key)[0] for key in self.node.roster.peers]
        reached = sum(state in ("direct", "relayed") for state in states)
        connected = any(link.state is LinkState.READY for link in self.node.links.values())
        where = text(own.ipv4) if own.ipv4 else "without an address"
        return f"{own.name} {where}, {reached} of {len(states)} members reached, mediator {'' if connected else 'not '}connected"

    def configured(self, config: Config) -> object:
        """Take over what can be (``userlan.app.takeover``). A companion is what its node says, and has its log alone of the file."""
        return super().configured(config) if self.options.port else self.takeover.take(config)

    def resolve(self, mediator: bytes) -> None:
        """Look up the host names of a mediator that was added."""
        link = self.node.links.get(mediator)
        if link is not None:
            self._resolve(link)

    def splice(self, endpoint: Any, reply: Reply) -> Deferred[Any]:
        """Join a local command's connection with a stream of the LAN."""
        return endpoint.connect(Factory.forProtocol(lambda: Outward(reply)))  # type: ignore[no-any-return]  # endpoints are untyped

    # --- status ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """``userlan status --json``."""
        told = snapshot(self.node, self.reactor.seconds())
        told["bridges"] = {name: bridge.status() for name, bridge in self.bridges.items()}
        told["page"] = self.page.address if self.page is not None else None
        told["configuration"] = self.takeover.told()
        return told

    def connections(self) -> dict[str, Any]:
        """``userlan status --connections --json``."""
        return connections(self.node, self.reactor.seconds())

    def mediator_links(self, key: bytes) -> Invite:
        """The link under which others reach a mediator of ours: the embedded one's at this computer's addresses."""
        for saved in self.memory.mediators:
            link = Invite.parse(saved.url)
            if link.mediator_key == key:
                return self._public_link(link) if saved.embedded else link
        raise CommandError("this node does not know that mediator any more")

    def _public_link(self, link: Invite) -> Invite:
        hosts = self._listen_hosts()
        return Invite(tuple((host, self.port) for host in hosts)[:8] or link.endpoints, link.mediator_key)

    # --- inside: start -----------------------------------------------------------------------------------------------

    def _load_memory(self) -> Memory:
        try:
            return Memory.load(self.folder.load("memory"))
        except ValueError as error:
            raise StartError(str(error)) from None

    def _listen(self) -> None:
        wanted = self.options.listen
        default = Config().listen
        try:
            if self.options.port:
                self.port = self.engine.listen_dual(self.options.port)
                return
            if wanted is None and self.config.listen == default:
                self.port = self._listen_anywhere()
                return
            for host, port in wanted or [(address.host, address.port) for address in self.config.listen]:
                number = self.engine.listen(host, port)
                self.port = self.port or number
        except CannotListenError as error:
            raise not_listening(error) from None

    def _listen_anywhere(self) -> int:
        """The default port, or a free one when another node of this computer has it."""
        try:
            return self.engine.listen_dual(DEFAULT_PORT)
        except CannotListenError:
            return self.engine.listen_dual(0)

    def _choose_mediator(self) -> None:
        now = self.reactor.seconds()
        chosen = self.options.mediator or self.config.mediator
        embedded = any(saved.embedded for saved in self.memory.mediators)
        if chosen is not None:
            self.node.mediators.add(chosen.mediator, now)
        if embedded or (chosen is None and not self.memory.mediators and self.config.embedded_mediator == "auto"):
            self._embed(now)

    def _embed(self, now: float) -> None:
        self._embedding = EmbeddedMediator(self.engine, self.folder, str(self.config.lan.range), now)
        self.embedded = self._embedding.mediator
        self.node.mediators.add(Invite(((self._embedding.host, self.port),), self.embedded.public_key), now, embedded=True)

    # --- inside: what happens ----------------------------------------------------------------------------------------

    def _observe(self, event: Any) -> None:
        self._narrator.tell(event, self.reactor.seconds())
        match event:
            case RequestDone() | RequestRefused():
                waiting = self.waiting.pop(event.number, None)
                if waiting is not None and isinstance(event, RequestDone):
                    waiting.callback(event)
                elif waiting is not None and isinstance(event, RequestRefused):
                    waiting.errback(CommandError(event.text))
            case MemoryChanged():
                if self._save_call is None:
                    self._save_call = self.reactor.callLater(SAVE_DELAY, self._save_now)
            case TimestampReserved():
                self.save()
            case EchoReply() | EchoFailed():
                handler = self.echoes.get(event.identifier)
                if handler is not None:
                    handler(event)
            case Ready():
                self._failures = 0
                self.lan.addresses_changed()
                self._maybe_ready()
            case RosterChanged():
                self.lan.members_changed()
            case LinkChanged():
                self._link_changed(event)
            case PeerChanged():
                path = f" ({event.path})" if event.state == "direct" else ""
                self.log.info("{name} is {state}{path}", name=event.name, state=event.state, path=path)
                if event.state in ("direct", "relayed"):
                    self.lan.member_reached(event.key)
                elif event.state == "offline":
                    self.lan.member_lost(event.key)
            case NetworkLost():
                self.log.warn("no member of {network} any more: {reason}", network=event.network, reason=event.reason)
            case _:
                self.api.membership.happened(event)

    def _save_now(self) -> None:
        self._save_call = None
        if not self._stopping:
            self.folder.save("memory", self.node.save().dump())

    def _link_changed(self, event: LinkChanged) -> None:
        link = self.node.links.get(event.key)
        if link is None:
            return
        if event.ready:
            self.log.info("the mediator is connected")
            self._told_lost = ""
            return
        if event.reason != self._told_lost:     # it is tried again and again, and said once
            going_on = "; the tunnels go on without it" if self.node.roster.peers and not self._told_lost else ""
            self.log.warn("{reason}{going_on}", reason=event.reason, going_on=going_on)
            self._told_lost = event.reason
        self._failures += 1
        if self._failures >= FIRST_TRIES and not self.node.roster.own_ipv4 and not self.options.background:
            self.fail(event.reason)
            return
        self._resolve(link, again=True)

    def _maybe_ready(self) -> None:
        own = self.node.lookup.own_info()
        if self._told_ready or not own.ipv4:
            return
        self._told_ready = True
        lines = [f"ready {own.name} {text(own.ipv4)} {text(own.ipv6)}"]
        proxy = self.bridges["proxy"].status() if "proxy" in self.bridges else None
        if proxy:
            lines.append(f"proxy {proxy}")
        if self.embedded is not None:
            lines.append(f"mediator {self._public_link(Invite((('127.0.0.1', self.port),), self.embedded.public_key))}")
        self.announce(lines)

    # --- inside: names and addresses ---------------------------------------------------------------------------------

    def _resolve(self, link: Any, again: bool = False) -> None:
        """Turn a mediator's host names into numbers, in a thread; numeric ones at once."""
        if self._stopping:
            return
        now = self.reactor.seconds()
        for host, _ in link.addresses:
            if now - self._resolved_at.get(host, -RESOLVE_INTERVAL) < RESOLVE_INTERVAL and again:
                continue
            self._resolved_at[host] = now
            try:
                socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            except OSError:
                answer = in_thread(self.reactor, look_up, host)
                answer.addCallback(self._name_resolved, link, host)
            else:
                link.resolved(host, (host,), now)
                self.runner.touch()

    def _name_resolved(self, numbers: tuple[str, ...], link: Any, host: str) -> None:
        if self._stopping or link not in self.node.links.values():
            return    # nobody asks for that mediator any more
        if numbers:
            link.resolved(host, numbers, self.reactor.seconds())
            self.runner.touch()
            self.runner.tick(self.reactor.seconds())
            return
        self._link_changed(LinkChanged(link.key, False, f"the mediator's name {host} does not resolve"))
        self.reactor.callLater(5.0, self._resolve, link)

    def _look_at_addresses(self) -> None:
        if self._stopping:
            return
        hosts = self._listen_hosts()
        endpoints = [Endpoint(transport, host, self.port) for transport in (UDP, TCP) for host in hosts]
        self.node.set_local_endpoints(endpoints, self.reactor.seconds())
        if self._surroundings is not None:
            self._surroundings.look(hosts)
        self._narrator.look(self.reactor.seconds())
        self.runner.touch()
        self.reactor.callLater(ADDRESS_POLL, self._look_at_addresses)

    def _listen_hosts(self) -> list[str]:
        """The addresses at which this process listens, as others on the same site see them; loopback only where nothing else is."""
        listened = {port.host for port in self.engine.datagram_ports}
        chosen: list[str] = []
        for host in local_addresses():
            wildcard = "::" if ":" in host else "0.0.0.0"
            if host in listened or wildcard in listened:
                chosen.append(host)
        return chosen or sorted(listened - {"0.0.0.0", "::"}) or ["127.0.0.1"]
