"""The resolver of the LAN's names, for programs that ask the system's.

::

    program ── getaddrinfo ── systemd-resolved, /etc/resolver, dnsmasq … ── *.internal ──▶ 127.0.0.1:5354, here
                                                                       └── the rest ────▶ wherever it went before

Modules: ``dns_zone`` (what is answered), ``dns_server`` (UDP and TCP), ``dns_upstream`` (who else is asked). The same zone is
served to attached kernels at ``RESOLVER`` (``bridges.internet``).

``upstream: none`` is the default: a resolver that is told of ``internal`` alone never asks for anything else, and one that asks
us for everything and is itself this computer's resolver would ask in a circle.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError

from bridges.dns_server import DnsDatagrams, DnsStreams, Server
from bridges.dns_upstream import PORT, SystemServers, Upstream, parse_server
from bridges.dns_zone import Zone
from bridges.listen import PORTS_TRIED, check_listen, listen_udp, ports_to_try
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.driver.reasons import is_taken, listen_error
from userlan.lan.hostport import join_host_port

DEFAULT_LISTEN = "127.0.0.1:5354"
"""5353 is multicast DNS's."""

BACKLOG = 64


class DnsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``dns``."""

    listen: str = DEFAULT_LISTEN
    """ADDRESS:PORT; port 0 for a free one, ``none`` for no server."""
    upstream: str = "none"
    """Who is asked for other names: ``none``, ``system``, ADDRESS[:PORT]."""
    answer: Literal["virtual", "alias"] = "virtual"
    """What names lead to: addresses on the LAN, or loopback aliases."""
    unprotected: bool = False
    """Allow to listen beyond loopback."""

    def __post_init__(self) -> None:
        if self.upstream not in ("none", "system"):
            try:
                parse_server(self.upstream)
            except ValueError as error:
                raise ValueError(f"upstream: {error}") from None
        check_listen(self.listen, self.unprotected, "tells others who is in the LAN: set unprotected: true if that is meant")


class DnsBridge:
    """The bridge ``dns``."""

    name: ClassVar[str] = "dns"
    Options: ClassVar[type[msgspec.Struct]] = DnsOptions

    def __init__(self, lan: Lan, options: DnsOptions, store: BridgeStore) -> None:
        """The store is not used: nothing is set by commands."""
        self.options = options
        self._reactor = lan.reactor
        self._datagrams: Any = None
        self._streams: Any = None
        self._host, self._port = "", 0
        upstream: Upstream | None = None
        if options.upstream == "system":
            upstream = Upstream(lan.reactor, SystemServers(lambda host: lan.is_lan(host) or self._is_own(host)))
        elif options.upstream != "none":
            servers = (parse_server(options.upstream),)
            upstream = Upstream(lan.reactor, lambda: servers)
        self.server = Server(Zone(lan, options.answer == "alias"), upstream)
        self._clients = DnsStreams(lan.reactor, self.server)

    def _is_own(self, host: str) -> bool:
        """Whether we are this computer's resolver at that address, port 53: then we do not ask ourselves."""
        return self._port == PORT and host in (self._host, "127.0.0.1", "::1")

    def start(self) -> Deferred[None]:
        """Listen; fails with CommandError when the port cannot be had."""
        if self.options.listen == "none" or self._datagrams is not None:
            return succeed(None)
        return maybeDeferred(self._listen)

    def _listen(self) -> None:
        host, tried = ports_to_try(self.options.listen, DEFAULT_LISTEN)
        if tried[-1] == 0:
            tried = [*tried[:-1], *[0] * PORTS_TRIED]       # free for UDP is not free for TCP
        for attempt in tried:
            try:
                self._open(host, attempt)
                return
            except CannotListenError as error:
                last = error
                if not is_taken(error):
                    break
        raise CommandError(f"dns: {listen_error(last)}; set dns.listen to another address, or to none") from last

    def _open(self, host: str, port: int) -> None:
        """Both ports of one number. Raises CannotListenError."""
        datagrams = listen_udp(self._reactor, port, DnsDatagrams(self.server), host)
        number = datagrams.getHost().port
        try:
            self._streams = self._reactor.listenTCP(number, self._clients, BACKLOG, host)
        except CannotListenError:
            datagrams.stopListening()
            raise
        self._datagrams, self._host, self._port = datagrams, host, number

    def stop(self) -> Deferred[None]:
        """Close the ports and all connections."""
        ports, self._datagrams, self._streams = (self._datagrams, self._streams), None, None
        self._clients.abort_all()
        stopping: Any = DeferredList([maybeDeferred(port.stopListening) for port in ports if port is not None])
        done: Deferred[None] = stopping.addCallback(lambda _: None)
        return done

    def status(self) -> str | None:
        """Where the server listens, ``HOST:PORT``; None when it does not."""
        return None if self._datagrams is None else join_host_port(self._host, self._port)

    def diagnosis(self, peer: PeerInfo | None) -> dict[str, object]:
        """Where it was to listen, and where it does."""
        return {"wanted": self.options.listen, "listen": self.status()}

    def commands(self) -> dict[str, CommandHandler]:
        """``dns``: where it listens."""
        return {"dns": self._describe}

    def _describe(self, arguments: dict[str, object]) -> object:
        address = self.status()
        if address is None:
            raise CommandError("the DNS server is not running (dns.listen is none)")
        return {
            "listen": address,
            "host": self._host,
            "port": self._port,
            "upstream": self.options.upstream,
            "answer": self.options.answer,
            "counters": dict(self.server.counters),
        }
