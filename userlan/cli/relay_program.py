"""A running relay: its core, its sockets, and what it keeps: its key, the keys of its grants, the floor of its timestamps."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import socket
import time
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from userlan import __version__
from userlan.app.foreground import Foreground, StartError, not_listening
from userlan.app.interfaces import local_addresses, look_up
from userlan.control.meeting import ServerEndpoint
from userlan.driver.engine import Engine
from userlan.driver.heap import keep_freed
from userlan.driver.reasons import listen_error
from userlan.driver.state import StateFolder
from userlan.driver.threads import in_thread
from userlan.lan.addresses import key_bytes, key_text
from userlan.lan.invite import Invite
from userlan.lan.names import suggest_nick
from userlan.node.config import DEFAULT_PORT, Config
from userlan.relay.allocation import Limits
from userlan.relay.core import Relay
from userlan.relay.events import PoolJoined, PoolLost, RelayEvent, TimestampReserved
from userlan.wire.endpoint import TCP, UDP

WEB_PORT = 443
"""TCP's port that hardly any firewall closes: clients without UDP come by it. Where it may not be opened there is the default port."""
PORTS = 9
"""Ports from the default one on that are tried: few, for a firewall must be told of it."""
ADDRESS_POLL = 10.0
"""Seconds between looks at this computer's addresses."""
RESOLVE_INTERVAL = 30.0
"""Seconds between resolutions of a mediator's host name while it cannot be reached."""
REPORT_INTERVAL = 300.0
"""Seconds between lines of figures in the log."""
HEAP = 32 << 20
"""Octets of freed memory that are kept: twice what may wait to be sent (``relay.forwarding.MAX_OUTGOING``)."""
MEGABIT = 125_000.0
"""Octets."""


class RelayProgram(Foreground):
    """``userlan relay``."""

    def __init__(
        self,
        reactor: Any,
        folder: StateFolder,
        config: Config,
        mediators: tuple[Invite, ...],
        listen: tuple[tuple[str, int], ...] | None,
        public: tuple[tuple[str, int], ...] | None = None,
    ) -> None:
        super().__init__(reactor)
        self.log = Logger(namespace="userlan.relay")
        self.folder = folder
        self.listen = listen
        self.public = public
        self.engine = Engine(reactor)
        self.runner: Any = None
        keep_freed(HEAP)
        self._bound: list[tuple[str, int]] = []
        self._joined: set[bytes] = set()
        self._resolved_at: dict[str, float] = {}
        self._kept = self._load()
        relay, now = config.relay, reactor.seconds()
        rate = relay.client_rate * MEGABIT
        try:
            self.core = Relay(
                folder.private_key("relay", lambda: secrets.token_bytes(32)),
                mediators,
                name=config.name or suggest_nick(socket.gethostname()),
                entropy=os.urandom,
                now=now,
                wall_offset=time.time() - now,
                region=relay.region,
                pool_keys=self._pool_keys(),
                timestamp_floor=_octets(self._kept.get("timestamp", "")),
                limits=Limits(client_rate=rate, channel_rate=rate),
                capacity=relay.capacity * MEGABIT,
                agent=f"userlan {__version__}",
            )
        except ValueError as error:
            raise StartError(str(error)) from None

    # --- start and stop ----------------------------------------------------------------------------------------------

    @inlineCallbacks
    def start(self) -> Any:
        """Listen and reach for the mediators; fails with StartError. One line is printed for each pool that it joins."""
        try:
            self._listen()
        except CannotListenError as error:
            raise not_listening(error) from None
        self.runner = self.engine.add(self.core, self._observe)
        self._look_at_addresses()
        for link in self.core.links.values():
            self._resolve(link)
        self.reactor.callLater(REPORT_INTERVAL, self._report)
        yield None

    @inlineCallbacks
    def stop(self, status: int = 0) -> Any:
        """Say goodbye, close everything and stop the reactor. Idempotent."""
        if not self.begins_to_end(status):
            return
        if self.runner is not None:
            self.core.stop(self.reactor.seconds())
            self.runner.touch()
        yield self.engine.stop()
        self.log.info("relay: {figures}", figures=self.core.status())
        self.folder.close()
        self.ended()

    def configured(self, config: Config) -> object:
        """Its own section and the log's hold at once; of all other keys a relay has none but its name."""
        relay = config.relay
        self.core.limit(relay.client_rate * MEGABIT, relay.capacity * MEGABIT, relay.region, self.reactor.seconds())
        if self.runner is not None:
            self.runner.touch()
        self.log.info("the configuration was read again: of relay and log it holds at once, of the name at the next start")
        return None

    def standing(self) -> str:
        """``in 1 of 1 pools, 4 clients, load 2 %``."""
        told: dict[str, Any] = self.core.status()
        return f"in {told['pools']} of {len(self.core.links)} pools, {told['clients']} clients, load {100 * told['load']:.0f} %"

    # --- inside ------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """The default port, and 443 where that is permitted, of all addresses; or what was asked for. Further sockets have numbers."""
        if self.listen is None:
            self._bound.append(("0.0.0.0", self._listen_anywhere()))
            try:
                self._bound.append(("0.0.0.0", self.engine.listen_dual(WEB_PORT, via=1)))
            except CannotListenError as error:
                self.log.warn("{reason}: who is where only HTTPS passes cannot use this relay", reason=listen_error(error))
            return
        numbers = {4: 0, 6: 0}
        for host, port in self.listen:
            version = 6 if ":" in host else 4
            self._bound.append((host, self.engine.listen(host, port, via=numbers[version])))
            numbers[version] += 1

    def _listen_anywhere(self) -> int:
        """The default port, or the next one that is free: a mediator or a node of this computer may have it."""
        for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS):
            with contextlib.suppress(CannotListenError):
                number = self.engine.listen_dual(port)
                self.log.info("listening on port {port}, UDP and TCP", port=number)
                return number
        return self.engine.listen_dual(DEFAULT_PORT + PORTS)

    def _look_at_addresses(self) -> None:
        if self._stopping:
            return
        self.core.set_endpoints(self._endpoints(), self.reactor.seconds())
        self.runner.touch()
        self.reactor.callLater(ADDRESS_POLL, self._look_at_addresses)

    def _endpoints(self) -> list[ServerEndpoint]:
        """Where clients may reach it: what the owner says, or this computer's addresses; the mediator adds where it sees the relay."""
        places: list[tuple[str, int]] = list(self.public or ())
        for host, port in self._bound if not places else ():
            everywhere = host in ("0.0.0.0", "::")
            own = [one for one in local_addresses() if self.listen is None or (":" in one) == (":" in host)]
            places += [(one, port) for one in own] or [(host, port)] if everywhere else [(host, port)]
        return [ServerEndpoint(host, port, transport) for host, port in places for transport in (UDP, TCP)]

    def _observe(self, event: RelayEvent) -> None:
        match event:
            case PoolJoined():
                pools = dict(self._kept.get("pools", {}))
                pools[key_text(event.mediator)] = _text(event.key)
                self._keep("pools", pools)
                if event.mediator not in self._joined:
                    self._joined.add(event.mediator)
                    where = ", ".join(f"{host}:{port}" for host, port in self.core.links[event.mediator].addresses)
                    print(f"relay {key_text(self.core.public_key)} joined {where}", flush=True)
                self.log.info("in the pool of {mediator}", mediator=key_text(event.mediator))
            case PoolLost():
                self.log.warn("{reason}", reason=event.reason)
                link = self.core.links[event.mediator]
                self._resolve(link, again=True)
            case TimestampReserved():
                self._keep("timestamp", _text(event.value))

    def _report(self) -> None:
        if not self._stopping:
            self.log.info("relay: {figures}", figures=self.core.status())
            self.reactor.callLater(REPORT_INTERVAL, self._report)

    # --- inside: what is kept ----------------------------------------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        kept = self.folder.load("relay")
        return kept if isinstance(kept, dict) else {}

    def _keep(self, name: str, value: object) -> None:
        if self._kept.get(name) != value:
            self._kept[name] = value
            self.folder.save("relay", self._kept)

    def _pool_keys(self) -> dict[bytes, bytes]:
        pools = self._kept.get("pools", {})
        found: dict[bytes, bytes] = {}
        for mediator, key in pools.items() if isinstance(pools, dict) else ():
            with contextlib.suppress(ValueError):
                found[key_bytes(mediator)] = _octets(key)
        return found

    # --- inside: names -----------------------------------------------------------------------------------------------

    def _resolve(self, link: Any, again: bool = False) -> None:
        """Turn a mediator's host names into numbers, in a thread."""
        now = self.reactor.seconds()
        for host, _ in link.addresses:
            if again and now - self._resolved_at.get(host, -RESOLVE_INTERVAL) < RESOLVE_INTERVAL:
                continue
            self._resolved_at[host] = now
            in_thread(self.reactor, look_up, host).addCallback(self._name_resolved, link, host)

    def _name_resolved(self, numbers: tuple[str, ...], link: Any, host: str) -> None:
        if self._stopping:
            return
        if not numbers:
            self.log.warn("the mediator's name {host} does not resolve", host=host)
            self.reactor.callLater(RESOLVE_INTERVAL / 6, self._resolve, link)
            return
        link.resolved(host, numbers, self.reactor.seconds())
        self.runner.tick(self.reactor.seconds())
        self.engine.pump()



def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: object) -> bytes:
    """What ``_text`` wrote; empty for anything else: it is learnt anew."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""
