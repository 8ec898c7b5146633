"""Values that a configuration or an option writes as text: addresses to listen at, links, durations, switches.

Each parser takes text, gives the value, or raises ValueError with one line that says what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import msgspec

from userlan.lan.addresses import packed, shown, text
from userlan.lan.hostport import cut_host_port, join_host_port
from userlan.lan.invite import Invite
from userlan.lan.labels import check_nick

#: Seconds in each unit of a duration.
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Characters of a duration: bounds what is parsed.
MAX_DURATION = 40
#: Words for yes and no, as YAML 1.1 and 1.2 have them.
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


class ListenAddress(msgspec.Struct, frozen=True):
    """Where a socket is bound: a numeric address without brackets, and a port (0: the system chooses one)."""

    EXPECTED: ClassVar[str] = "ADDRESS:PORT"

    host: str
    port: int

    @classmethod
    def parse(cls, written: str) -> ListenAddress:
        """``0.0.0.0:41414``, ``[::]:41414``, ``localhost:1055``. ValueError, one line, otherwise."""
        host, port = cut_host_port(written)
        if port is None or not host:
            given = written.lstrip(":")
            example = given if given.isascii() and given.isdigit() else "41414"
            raise ValueError(f"{shown(written)} is not ADDRESS:PORT, such as 0.0.0.0:{example} or '[::]:{example}'")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f"{shown(port)} is not a port from 0 to 65535")
        try:
            numeric = "127.0.0.1" if host.lower() == "localhost" else text(packed(host))
        except ValueError:
            raise ValueError(f"{shown(host)} is not a numeric address of this computer") from None
        return cls(numeric, int(port))

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


def loopback(written: str) -> str:
    """``127.0.0.1:4141``, ``localhost:0``, ``[::1]:80`` as ADDRESS:PORT, or ``none``. ValueError, one line, for whatever others reach."""
    if written == "none":
        return written
    address = ListenAddress.parse(written)
    if not ipaddress.ip_address(address.host).is_loopback:
        raise ValueError(f"{address.host} is not this computer alone: the page listens on loopback (127.0.0.1), or nowhere (none)")
    return str(address)


def mediator_url(written: str) -> Invite:
    """``userlan://HOST:PORT[,HOST:PORT…]/KEY``. ValueError, one line, otherwise, also for a whole invite."""
    link = Invite.parse(written)
    if link.network is not None:
        raise ValueError(
            f"this is an invite to {link.network!r}: give `userlan join` the invite, or keep {link.mediator}"
        )
    return link


def duration(written: str) -> float:
    """``25``, ``25s``, ``1.5m``, ``1h30m``, ``500ms`` → seconds. ValueError, one line, otherwise."""
    compact = written.replace(" ", "").lower()
    if len(compact) <= MAX_DURATION:
        if _SECONDS.fullmatch(compact):
            return float(compact)
        if _DURATION.fullmatch(compact):
            return sum(float(number) * UNITS[unit] for number, unit in _DURATION_PART.findall(compact))
    raise ValueError(f"{shown(written)} is not a duration such as 500ms, 25s, 2m or 1h30m")


def boolean(written: str) -> bool:
    """``true``, ``yes``, ``on`` or their opposites. ValueError, one line, otherwise."""
    value = WORDS.get(written.lower())
    if value is None:
        raise ValueError(f"{shown(written)} is neither true nor false")
    return value


class Form(NamedTuple):
    """A way to write a value: what is expected, in words, and the parser."""

    expected: str
    parse: Callable[[str], object]


#: The forms that a field asks for by ``Annotated[…, Meta(extra={"form": NAME})]``.
FORMS = {
    "duration": Form("a duration such as 25s or 2m", duration),
    "loopback": Form("ADDRESS:PORT of this computer alone (127.0.0.1:4141), or none", loopback),
    "mediator": Form("a mediator's link (userlan://HOST:PORT/KEY)", mediator_url),
    "nick": Form("a name of letters, digits and hyphens", check_nick),
}
