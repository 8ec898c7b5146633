"""The proxy: SOCKS5, SOCKS4, SOCKS4a and HTTP on one port, told apart by the first byte.

::

    first byte    protocol                              modules
    05, 04        SOCKS                                 socks (bytes); socks_session, udp_associate
    a letter      HTTP: CONNECT, GET http://nas/...     http_syntax, http_body (bytes); http, http_exchange
    else          none: closed, counted

Names and addresses of the LAN go over the LAN, and so do datagrams to broadcasts and multicast groups; everything
else directly (``outside: direct``), so that a browser can use the proxy for all it does, or nowhere (``outside:
refuse``). The proxy listens on a loopback address; elsewhere only with user and password, unless ``unprotected`` says
that this is meant. A client from elsewhere never reaches services of this computer's own loopback through it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from bridges.credentials import Credentials
from bridges.dial import DIAL_TIMEOUT, Dialer
from bridges.http import HttpSession
from bridges.leg import Leg
from bridges.listen import check_listen, ports_to_try
from bridges.proxy_context import MAX_CLIENTS, REQUEST_TIMEOUT, ProxyContext
from bridges.socks_session import SocksSession
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan
from userlan.driver.reasons import is_taken, listen_error
from userlan.lan.hostport import join_host_port

DEFAULT_LISTEN = "127.0.0.1:1055"
"""SOCKS's customary port where 1080 would be another program's; where another node of this computer has it, the next free one."""
BACKLOG = 1024
"""Connections that the kernel may hold for us: a browser opens hundreds at once."""


class ProxyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``proxy``."""

    listen: str = DEFAULT_LISTEN
    """HOST:PORT; port 0 for a free one, ``none`` for no proxy."""
    user: str = ""
    password: str = ""
    outside: Literal["direct", "refuse"] = "direct"
    """Hosts that are not of the LAN."""
    broadcast: Literal["lan", "refuse"] = "lan"
    """Datagrams to broadcasts and multicast groups: to the LAN's members, or nowhere."""
    unprotected: bool = False
    """Allow to listen beyond loopback without user and password."""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise ValueError(f"{'password' if self.password else 'user'}: user and password go together")
        if self.user:
            try:
                Credentials(self.user, self.password)
            except ValueError as error:
                raise ValueError(f"user: {error}") from None
        check_listen(self.listen, bool(self.user) or self.unprotected, "is open to others: set user and password too, or unprotected: true")


class Front:
    """Owner of a client's leg until its first byte tells the protocol."""

    def __init__(self, clients: Clients, context: ProxyContext) -> None:
        self._clients = clients
        self._context = context
        self._timer: Any = None

    def leg_made(self, leg: Leg) -> None:
        self._timer = self._context.reactor.callLater(self._context.request_timeout, self._timed_out, leg)
        leg.resume()

    def leg_data(self, leg: Leg, data: bytes) -> None:
        self._timer.cancel()
        if data[0] in (4, 5):
            SocksSession(self._context, leg).start(data)
        elif data[:1].isalpha():
            HttpSession(self._context, leg).start(data)
        else:
            self._context.counters["unknown-protocol"] += 1
            leg.abort()

    def leg_ended(self, leg: Leg) -> None:
        leg.close()

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if self._timer.active():
            self._timer.cancel()

    def leg_congested(self, leg: Leg) -> None:
        """Nothing was written."""

    def leg_drained(self, leg: Leg) -> None:
        """Nothing was written."""

    def _timed_out(self, leg: Leg) -> None:
        self._context.counters["request-timeout"] += 1
        leg.abort()


class ClientLeg(Leg):
    """A client's leg, known to the set of clients for as long as it lives."""

    def __init__(self, clients: Clients, context: ProxyContext) -> None:
        super().__init__(Front(clients, context))
        self._clients = clients

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._clients.open.discard(self)
        super().connectionLost(reason)


class Clients(Factory):
    """Accepts clients, up to a limit."""

    noisy = False

    def __init__(self, context: ProxyContext, limit: int = MAX_CLIENTS) -> None:
        self.open: set[Leg] = set()
        self._context = context
        self._limit = limit

    def buildProtocol(self, addr: IAddress | None) -> Leg | None:
        """A leg for a new client; none (it is closed at once) when there are too many."""
        if len(self.open) >= self._limit:
            self._context.counters["clients-full"] += 1
            return None
        self._context.counters["clients"] += 1
        leg = ClientLeg(self, self._context)
        self.open.add(leg)
        return leg

    def abort_all(self) -> None:
        """RST all clients."""
        for leg in list(self.open):
            leg.abort()


class ProxyBridge:
    """The bridge ``proxy``."""

    name: ClassVar[str] = "proxy"
    Options: ClassVar[type[msgspec.Struct]] = ProxyOptions

    def __init__(
        self,
        lan: Lan,
        options: ProxyOptions,
        store: BridgeStore,
        request_timeout: float = REQUEST_TIMEOUT,
        dial_timeout: float = DIAL_TIMEOUT,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        """Timeouts in seconds. The store is not used: nothing of the proxy is set by commands."""
        self.options = options
        self._reactor = lan.reactor
        self._port: Any = None
        credentials = Credentials(options.user, options.password) if options.user else None
        dialer = Dialer(lan, options.outside == "direct", dial_timeout)
        self.context = ProxyContext(lan, dialer, credentials, request_timeout, options.broadcast == "lan")
        self._clients = Clients(self.context, max_clients)

    def start(self) -> Deferred[None]:
        """Listen; fails with CommandError when the port cannot be had."""
        if self.options.listen == "none" or self._port is not None:
            return succeed(None)
        return maybeDeferred(self._listen)

    def _listen(self) -> None:
        host, tried = ports_to_try(self.options.listen, DEFAULT_LISTEN)
        for port in tried:
            try:
                self._port = self._reactor.listenTCP(port, self._clients, BACKLOG, host)
                break
            except CannotListenError as error:
                last = error
                if not is_taken(error):
                    break
        if self._port is None:
            raise CommandError(f"proxy: {listen_error(last)}; set proxy.listen to another address") from last
        bound = self._port.getHost()
        self.context.dialer.own_addresses = {(bound.host, bound.port)}

    def stop(self) -> Deferred[None]:
        """Close the port and all clients."""
        port, self._port = self._port, None
        self._clients.abort_all()
        self.context.splices.abort_all()
        if port is None:
            return succeed(None)
        stopping: Deferred[None] = maybeDeferred(port.stopListening)
        return stopping

    def status(self) -> str | None:
        """Where the proxy listens, ``HOST:PORT``; None when it does not."""
        if self._port is None:
            return None
        bound = self._port.getHost()
        return join_host_port(bound.host, bound.port)

    def commands(self) -> dict[str, CommandHandler]:
        """``proxy``: where it listens and how programs are told (environment variables)."""
        return {"proxy": self._describe}

    def _describe(self, arguments: dict[str, object]) -> object:
        address = self.status()
        if address is None:
            raise CommandError("the proxy is not running (proxy.listen is none)")
        options = self.options
        user = f"{quote(options.user, safe='')}:{quote(options.password, safe='')}@" if options.user else ""
        http, socks = f"http://{user}{address}", f"socks5h://{user}{address}"
        return {
            "listen": address,
            "outside": self.options.outside,
            "authentication": bool(self.options.user),
            "clients": len(self._clients.open),
            "streams": len(self.context.splices),
            "counters": dict(self.context.counters),
            "environment": {
                "http_proxy": http,
                "https_proxy": http,
                "HTTP_PROXY": http,
                "HTTPS_PROXY": http,
                "all_proxy": socks,
                "ALL_PROXY": socks,
            },
        }
