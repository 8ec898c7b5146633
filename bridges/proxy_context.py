"""What the parts of the proxy share, and its limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bridges.credentials import Credentials
from bridges.dial import Dialer
from bridges.splice import Splices
from userlan.driver.lan import Lan

REQUEST_TIMEOUT = 15.0
"""Seconds from the first byte (or the connection) until the request is complete, so that a half request holds
nothing for long."""

KEEP_ALIVE = 75.0
"""Seconds an HTTP client may be silent between two requests: what browsers and servers commonly take."""

LINGER = 2.0
"""Seconds a refused client is still read (and ignored): closing at once would take the answer away from it with a RST
(RFC 9112, section 9.6)."""

MAX_CLIENTS = 4096
"""Connections of clients at a time: beyond the busiest browser, and below what would use up the memory."""

MAX_ASSOCIATIONS = 256
"""UDP associations at a time: each holds up to four sockets."""


class ProxyContext:
    """One proxy: where its sessions find the LAN, its rules and its counters."""

    def __init__(
        self,
        lan: Lan,
        dialer: Dialer,
        credentials: Credentials | None,
        request_timeout: float = REQUEST_TIMEOUT,
        broadcast: bool = True,
    ) -> None:
        """``broadcast``: whether datagrams to broadcasts and multicast groups go to the LAN, or nowhere."""
        self.lan = lan
        self.broadcast = broadcast
        self.reactor: Any = lan.reactor
        self.dialer = dialer
        self.credentials = credentials
        self.request_timeout = request_timeout
        self.splices = Splices(lan.reactor)
        self.counters: Counter[str] = Counter()
        self.associations = 0
