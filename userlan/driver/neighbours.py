"""Announcing this node on the local network, and hearing of others there: multicast DNS (RFC 6762, 6763), by python-zeroconf.

::

    look(hosts, revision) ── changed? ──▶ thread ends ──▶ thread begins:
                                              an asyncio loop of its own: register, browse, resolve … until stopped, then say goodbye
    reactor's thread ◀── callFromThread(heard(name, properties, endpoints)) ──┘

zeroconf never runs in the reactor's thread, and whatever fails there, for want of a network or of a port, ends that thread only: the
next ``look`` after RETRY_INTERVAL, or with other addresses, begins another one. What it says is checked here for where it points to: a few
addresses of the own links. What it means is for others to say (``node.neighbours``).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from userlan.driver.reactor import DelayedCall
from userlan.wire.endpoint import UDP, Endpoint

SERVICE = "_userlan._udp.local."
"""RFC 6763 7."""
RESOLVE_TIMEOUT = 3000
"""Milliseconds for the answer to who and where a neighbour is."""
MAX_RESOLVING = 32
"""Neighbours asked for at once; more at one moment are passed over until they announce themselves again."""
MAX_RUN = 1024
"""Neighbours asked for in one run: somebody announces ever new ones."""
MAX_ENDPOINTS = 4
"""Endpoints of one neighbour that are believed: a computer has rarely more addresses on a link."""
RETRY_INTERVAL = 60.0
"""Seconds after which a run that has failed is tried again, the addresses being the same."""
STOP_TIMEOUT = 3.0
"""Seconds that the end waits for goodbyes (RFC 6762 10.1)."""

Heard = Callable[[str, Mapping[bytes, bytes | None], Sequence[Endpoint]], None]
Announced = tuple[str, dict[bytes, bytes]]


@attrs.define(eq=False)
class _Run:
    """One thread's work; written by the reactor's thread before it starts, but for ``stopping``, which the loop is told of."""

    hosts: tuple[str, ...]
    name: str
    properties: dict[bytes, bytes]
    links: tuple[Any, ...]
    loop: asyncio.AbstractEventLoop | None = None
    stopping: asyncio.Event | None = None
    stopped: bool = False
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    resolved: int = 0

    def stop(self) -> None:
        """From any thread. Idempotent."""
        with self.lock:
            self.stopped = True
            if self.loop is not None and self.stopping is not None:
                with contextlib.suppress(RuntimeError):     # it has just ended
                    self.loop.call_soon_threadsafe(self.stopping.set)


class Neighbourhood:
    """Of a node that listens on UDP ``port``."""

    _log = Logger()

    def __init__(self, reactor: Any, port: int, announcement: Callable[[], Announced], heard: Heard) -> None:
        """``announcement`` gives a new name and new properties for each run; ``heard`` is called in the reactor's thread."""
        self.counters: Counter[str] = Counter()
        self._reactor = reactor
        self._port = port
        self._announcement = announcement
        self._heard = heard
        self._wanted: tuple[tuple[str, ...], Hashable] | None = None
        self._run: _Run | None = None
        self._failed_at: float | None = None
        self._ended: Deferred[None] | None = None
        self._patience: DelayedCall | None = None
        self._stopped = False

    def look(self, hosts: Sequence[str], revision: Hashable) -> None:
        """The node listens at ``hosts``; ``revision`` changes when there is something else to announce."""
        if self._stopped:
            return
        wanted = (outward(hosts), revision)
        if wanted != self._wanted:
            self._wanted = wanted
            if self._run is not None:
                self._run.stop()        # another one begins when this one has ended
            else:
                self._begin()
        elif self._failed_at is not None and self._reactor.seconds() - self._failed_at >= RETRY_INTERVAL:
            self._begin()

    def stop(self) -> Deferred[None]:
        """Say goodbye and end the thread. Idempotent."""
        self._stopped = True
        if self._run is None:
            return succeed(None)
        self._run.stop()
        ended: Deferred[None] = Deferred()
        self._ended = ended
        self._patience = self._reactor.callLater(STOP_TIMEOUT, self._finished)
        return ended

    # -- in the reactor's thread

    def _begin(self) -> None:
        self._failed_at = None
        if self._wanted is None or not self._wanted[0]:
            return
        name, properties = self._announcement()
        self._run = _Run(self._wanted[0], name, properties, own_links())
        threading.Thread(target=self._work, args=(self._run,), name="userlan neighbours", daemon=True).start()

    def _over(self, run: _Run, failure: str) -> None:
        """A run has ended, by itself only where it failed."""
        self._run = None
        if self._stopped:
            self._finished()
        elif run.stopped:
            self._begin()
        else:
            self._failed_at = self._reactor.seconds()
            self.counters["failed"] += 1
            self._log.debug("no discovery on the local network: {failure}", failure=failure)

    def _finished(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _deliver(self, run: _Run, name: str, properties: Mapping[bytes, bytes | None], endpoints: Sequence[Endpoint]) -> None:
        if self._run is run and not self._stopped:
            self._heard(name, properties, endpoints)

    # -- in the other one

    def _work(self, run: _Run) -> None:
        failure = ""
        try:
            asyncio.run(self._serve(run))
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        with contextlib.suppress(Exception):        # the reactor may be gone
            self._reactor.callFromThread(self._over, run, failure)

    async def _serve(self, run: _Run) -> None:
        from zeroconf import InterfaceChoice, IPVersion
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        logging.getLogger("zeroconf").addHandler(logging.NullHandler())
        with run.lock:
            run.loop, run.stopping = asyncio.get_running_loop(), asyncio.Event()
            if run.stopped:
                return
        ipv4 = [host for host in run.hosts if ":" not in host]
        if ipv4:
            responder = AsyncZeroconf(interfaces=ipv4, ip_version=IPVersion.V4Only)
        else:
            responder = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V6Only)
        resolving: set[asyncio.Task[None]] = set()

        def changed(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
            if state_change.name == "Removed" or name.startswith(run.name):
                return
            run.resolved += 1
            if len(resolving) < MAX_RESOLVING and run.resolved <= MAX_RUN:
                task = asyncio.ensure_future(self._resolve(run, zeroconf, name))
                resolving.add(task)
                task.add_done_callback(resolving.discard)

        try:
            addresses = [socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in run.hosts]
            own = AsyncServiceInfo(
                SERVICE, f"{run.name}.{SERVICE}", self._port, properties=run.properties, server=f"{run.name}.local.", addresses=addresses
            )
            browser = AsyncServiceBrowser(responder.zeroconf, SERVICE, handlers=[changed])
            # The name is of chance: nobody else can have it, and there is no need to probe for that (RFC 6762 8.1).
            await responder.async_register_service(own, cooperating_responders=True)
            await run.stopping.wait()
            await browser.async_cancel()
            await responder.async_unregister_all_services()
        finally:
            for task in resolving:
                task.cancel()
            await asyncio.gather(*resolving, return_exceptions=True)
            await responder.async_close()

    async def _resolve(self, run: _Run, zeroconf: Any, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        try:
            if not await info.async_request(zeroconf, RESOLVE_TIMEOUT):
                return
            endpoints = near(info.parsed_addresses(), info.port or 0, run.links)
            properties = dict(info.properties)
        except Exception:
            return        # it is no more, or never was well-formed
        if endpoints:
            self._reactor.callFromThread(self._deliver, run, name, properties, endpoints)


def outward(hosts: Sequence[str]) -> tuple[str, ...]:
    """The addresses at which others can be."""
    return tuple(sorted(host for host in hosts if not ipaddress.ip_address(host).is_loopback))


def near(hosts: Sequence[str], port: int, links: Sequence[Any]) -> tuple[Endpoint, ...]:
    """The endpoints of a neighbour that lie on the own links: it can only be reached there, and announces no one else's address."""
    found = []
    for host in hosts:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            if any(address in link for link in links):
                found.append(Endpoint(UDP, str(address), port))
    return tuple(dict.fromkeys(found))[:MAX_ENDPOINTS] if 1 <= port <= 65535 else ()


def own_links() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The networks of the interfaces that are up, but for loopback and link-local ones."""
    import ifaddr

    links = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            host = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            interface = ipaddress.ip_interface(f"{host.partition('%')[0]}/{entry.network_prefix}")
            if not (interface.is_loopback or interface.is_link_local):
                links.append(interface.network)
    return tuple(dict.fromkeys(links))
