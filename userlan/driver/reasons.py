"""The stack's addresses and its words for why a connection ended, as Twisted's; and why a port cannot be had, in words for people."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import error as twisted_error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.python import failure as twisted_failure

from userlan.lan.addresses import text
from userlan.lan.hostport import join_host_port

Address = IPv4Address | IPv6Address

error: Any = twisted_error
"""Twisted's exceptions: their constructors have no types."""


def failure_of(problem: BaseException | None = None) -> twisted_failure.Failure:
    """The exception, or the one that is being handled, as Twisted's Failure."""
    kind: Any = twisted_failure.Failure
    made: twisted_failure.Failure = kind() if problem is None else kind(problem)
    return made


def address_of(end: tuple[bytes, int]) -> Address:
    """A packed address and a TCP port as Twisted's address."""
    host = text(end[0])
    return IPv4Address("TCP", host, end[1]) if len(end[0]) == 4 else IPv6Address("TCP", host, end[1])


def connect_error(reason: str | None) -> Exception:
    """Why a connection did not come to be, from ``Connection.error``."""
    kind = {
        "timeout": error.TimeoutError,
        "unreachable": error.NoRouteError,
        "aborted": error.ConnectionAborted,
    }.get(reason or "", error.ConnectionRefusedError)
    made: Exception = kind()
    return made


def connection_error(reason: str | None) -> Exception:
    """Why an established connection ended, from ``Connection.error``: as Twisted's TCP has it."""
    made: Exception
    if reason is None:
        made = error.ConnectionDone()
    elif reason == "aborted":
        made = error.ConnectionAborted()
    elif reason == "timeout":
        made = error.ConnectionLost("the peer does not answer any more")
    elif reason == "unreachable":
        made = error.ConnectionLost("the peer cannot be reached any more")
    else:
        made = error.ConnectionLost("the peer reset the connection")
    return made


def cannot_listen(place: str, port: int, problem: OSError) -> twisted_error.CannotListenError:
    """Twisted's error for a port that cannot be had; ``str()`` is one line."""
    made: twisted_error.CannotListenError = error.CannotListenError(place, port, problem)
    return made


def is_taken(problem: twisted_error.CannotListenError) -> bool:
    """Whether the port is another program's, so that the next one may be free."""
    return getattr(problem.socketError, "errno", None) == errno.EADDRINUSE


def listen_error(problem: twisted_error.CannotListenError) -> str:
    """Why a port of this computer cannot be had, in one line; what to do about it, the caller adds: it knows what the address is from."""
    where = join_host_port(problem.interface or "0.0.0.0", problem.port)
    number = getattr(problem.socketError, "errno", None)
    if is_taken(problem):
        return f"{where} is in use by another program"
    if number == errno.EACCES:
        return f"{where} needs more rights (ports below 1024 belong to root)"
    if number == errno.EADDRNOTAVAIL:
        return f"{where} is not an address of this computer"
    return f"{where} cannot be listened on: {getattr(problem.socketError, 'strerror', None) or problem.socketError}"
