"""Opens a stream to a host and port, on the LAN or outside, and says in one line why it could not."""

from __future__ import annotations

import enum
import ipaddress
from typing import Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.leg import Leg, LegFactory, LegOwner
from userlan.driver.lan import Lan
from userlan.lan.hostport import join_host_port
from userlan.lan.names import UnknownName

_log = Logger()

DIAL_TIMEOUT = 30.0
"""Seconds until a connection must be there: Twisted's own default for TCP endpoints."""


class Cause(enum.Enum):
    """Why there is no connection, in the classes that SOCKS and HTTP can tell apart."""

    UNKNOWN_NAME = "unknown name"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    FAILED = "failed"


class DialError(Exception):
    """No connection; ``str()`` is one clear line."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Dialer:
    """Opens streams for the clients of the proxy."""

    def __init__(self, lan: Lan, outside: bool, timeout: float = DIAL_TIMEOUT) -> None:
        """``outside``: whether hosts that are not of the LAN are connected to directly, by the reactor."""
        self.outside = outside
        self.own_addresses: set[tuple[str, int]] = set()
        """Where the proxy itself listens (host, port); a wildcard address stands for every address of this computer."""
        self._lan = lan
        self._timeout = timeout

    def is_lan(self, host: str) -> bool:
        """Whether the LAN answers for ``host``."""
        return self._lan.is_lan(host)

    def is_group(self, host: str) -> bool:
        """Whether ``host`` is many hosts of the LAN: a broadcast or a multicast group."""
        return self._lan.is_group(host)

    def dial(self, host: str, port: int, owner: LegOwner, client_host: str) -> Deferred[Leg]:
        """A paused leg to ``host``; fails with DialError. ``client_host`` is the numeric address of who asks."""
        lan = self._lan.is_lan(host)
        endpoint: Any
        if self._lan.is_group(host):
            return _failed(Cause.UNREACHABLE, f"{host} is many hosts, and a connection is with one")
        if lan:
            endpoint = self._lan.client_endpoint(host, port, self._timeout)
        elif not self.outside:
            text = f"{host} is not on the LAN, and this proxy serves nothing else (outside: refuse)"
            return _failed(Cause.FORBIDDEN, text)
        else:
            endpoint = HostnameEndpoint(self._lan.reactor, host, port, self._timeout)
        connecting = connect(endpoint, host, port, owner)
        if not lan:
            connecting.addCallback(self._checked, client_host)
        return connecting

    def _checked(self, leg: Leg, client_host: str) -> Leg:
        """Nothing was sent yet: let go of a connection that must not be. The name was resolved by others, so that
        only the outcome counts."""
        peer, own = leg.transport.getPeer(), leg.transport.getHost()
        if self._is_own(peer.host, peer.port, own.host):
            leg.abort()
            raise DialError(Cause.FORBIDDEN, "this address is the proxy itself")
        if is_loopback(peer.host) and not is_this_computer(client_host):
            leg.abort()
            raise DialError(Cause.FORBIDDEN, "services of this computer itself are not for clients from elsewhere")
        return leg

    def _is_own(self, host: str, port: int, local_host: str) -> bool:
        for own_host, own_port in self.own_addresses:
            if port == own_port:
                wildcard = ipaddress.ip_address(own_host).is_unspecified
                if host == own_host or (wildcard and (is_loopback(host) or host == local_host)):
                    return True
        return False


def connect(endpoint: Any, host: str, port: int, owner: LegOwner) -> Deferred[Leg]:
    """Connect an endpoint (IStreamClientEndpoint) to a leg of ``owner``; failures become DialError. Cancelling
    gives the connection up."""
    connecting: Deferred[Any] = maybeDeferred(endpoint.connect, LegFactory(owner))
    connecting.addErrback(_explained, join_host_port(host, port))
    return connecting


def connect_numeric(
    reactor: Any, host: str, port: int, owner: LegOwner, timeout: float, bind: tuple[str, int] | None = None
) -> Deferred[Leg]:
    """As :func:`connect`, to a numeric address, where there is nothing to resolve."""
    connecting = LegConnector(owner)
    done = connecting.done
    reactor.connectTCP(host, port, connecting, timeout, bind)
    done.addErrback(_explained, join_host_port(host, port))
    return done


class LegConnector(ClientFactory):
    """Opens one connection from the kernel.

    Why not Twisted's endpoint: it keeps a wrapper around the protocol, through which all data goes, a factory and a Deferred for as long
    as the connection lives, half a kilobyte together, and declares the wrapper's interfaces anew for each.
    """

    noisy = False

    def __init__(self, owner: LegOwner) -> None:
        self.done: Deferred[Leg] = Deferred(self._cancelled)
        self._owner: LegOwner | None = owner
        self._connector: Any = None

    def startedConnecting(self, connector: Any) -> None:
        self._connector = connector

    def buildProtocol(self, addr: IAddress | None) -> Leg | None:
        """Its leg, which says here that it is connected."""
        return Leg(self) if self._owner is not None else None

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        owner, self._owner, self._connector = self._owner, None, None
        if owner is not None:
            self.done.errback(reason)

    def _cancelled(self, deferred: Deferred[Leg]) -> None:
        connector, self._owner, self._connector = self._connector, None, None
        deferred.errback(error.ConnectingCancelledError(connector.getDestination()))  # type: ignore[no-untyped-call]
        connector.stopConnecting()

    # LegOwner, until the leg is connected

    def leg_made(self, leg: Leg) -> None:
        """It is: from here on it is its owner's."""
        owner, done = self._owner, self.done
        self._owner = self._connector = None
        del self.done
        if owner is not None:
            leg.owner = owner
            owner.leg_made(leg)
            done.callback(leg)

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """It is born paused."""

    def leg_ended(self, leg: Leg) -> None:
        """As above."""

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        """As above."""

    def leg_congested(self, leg: Leg) -> None:
        """Nothing was written."""

    def leg_drained(self, leg: Leg) -> None:
        """Nothing was written."""


def is_loopback(host: str) -> bool:
    """Whether a numeric address never leaves the computer (IPv4-mapped ones too)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def is_this_computer(client_host: str) -> bool:
    """Whether a client is a local program. Other loopback addresses may be a peer's alias, where the proxy itself is exposed."""
    return client_host in ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def _failed(cause: Cause, text: str) -> Deferred[Leg]:
    failed: Deferred[Leg] = Deferred()
    failed.errback(DialError(cause, text))
    return failed


def _explained(failure: Failure, target: str) -> Leg:
    """One line for whatever kept a connection from being made."""
    value = failure.value
    if isinstance(value, DialError):
        raise value
    if isinstance(value, UnknownName):
        raise DialError(Cause.UNKNOWN_NAME, str(value))
    if isinstance(value, error.DNSLookupError):
        raise DialError(Cause.UNKNOWN_NAME, f"{target}: no such name")
    if isinstance(value, error.ConnectionRefusedError):
        raise DialError(Cause.REFUSED, f"{target} refused the connection")
    if isinstance(value, error.TimeoutError | error.TCPTimedOutError):
        raise DialError(Cause.TIMEOUT, f"{target} did not answer in time")
    if isinstance(value, error.NoRouteError | error.UnknownHostError):
        raise DialError(Cause.UNREACHABLE, f"{target} cannot be reached")
    if isinstance(value, CancelledError | error.ConnectingCancelledError | error.UserError):
        raise DialError(Cause.FAILED, f"{target}: given up")
    if isinstance(value, error.ConnectError | OSError | ValueError):
        reason = " ".join(str(getattr(value, "osError", None) or value).split())
        raise DialError(Cause.UNREACHABLE, f"{target} cannot be reached: {reason or type(value).__name__}")
    _log.failure("connecting to {target} failed in an unforeseen way", failure, target=target)
    raise DialError(Cause.FAILED, f"{target}: {type(value).__name__}")
