"""This computer's own addresses, and those of others by their names."""

from __future__ import annotations

import socket

from userlan.driver.interfaces import local_addresses

__all__ = ["local_addresses", "look_up"]


def look_up(host: str) -> tuple[str, ...]:
    """The numeric addresses of a host; none where it does not resolve. Blocks: for a thread."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
