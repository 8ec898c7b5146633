"""``HOST:PORT`` as people write it, with errors that say which part is wrong. IPv6 literals stand in brackets."""

from __future__ import annotations

import re

from userlan.lan.addresses import packed, shown, text
from userlan.wire.endpoint import host_port

#: ``HOST:PORT``, an IPv6 literal in brackets: the bottom layer's own, under the name that goes with its inverses here.
join_host_port = host_port

#: Greatest length of a host name, characters (RFC 1035 section 2.3.4).
MAX_HOST = 253

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBERS = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)


def split_host_port(written: str, default_port: int | None = None) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT`` → (host in lower case and without brackets, port 1 to 65535).

    Without ``default_port`` the port must be there. ValueError, one line, for anything else.
    """
    host, port = cut_host_port(written)
    if not host:
        raise ValueError(f"{shown(written)} names no host: write HOST:PORT")
    if port is None:
        if default_port is None:
            raise ValueError(f"{shown(written)} names no port: write HOST:PORT")
        return check_host(host), default_port
    return check_host(host), check_port(port)


def cut_host_port(written: str) -> tuple[str, str | None]:
    """The two parts, unchecked but for the brackets; port None when there is no colon behind the host."""
    if written.startswith("["):
        host, closing, rest = written[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(f"{shown(written)} is not [IPV6]:PORT")
        return host, rest[1:] if rest else None
    if written.count(":") > 1:
        raise ValueError(f"{shown(written)} has several colons: write an IPv6 address in brackets, [IPV6]:PORT")
    host, colon, port = written.partition(":")
    return host, port if colon else None


def check_host(host: str) -> str:
    """A host name or numeric literal in its canonical form. ValueError, one line, otherwise."""
    try:
        return text(packed(host))
    except ValueError:
        pass
    lowered = host.lower() if host.isascii() else host
    labels = lowered.removesuffix(".").split(".")
    if len(lowered) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{shown(host)} is neither a host name nor an address")
    if _NUMBERS.fullmatch(labels[-1]):
        raise ValueError(f"{shown(host)} is not a valid IPv4 address")
    return lowered


def check_port(written: str) -> int:
    """A port of 1 to 65535. ValueError, one line, otherwise."""
    if not (written.isascii() and written.isdigit() and len(written) <= 5 and 1 <= int(written) <= 65535):
        raise ValueError(f"{shown(written)} is not a port from 1 to 65535")
    return int(written)
