"""What a codec asks of whoever carries its datagrams."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

SENDER = ""
"""The host of places whose packet names a port alone: whoever sent the datagram."""

MAX_PLACES = 16
"""Places that one datagram may have made: a device has one address a family; a hostile one would open a thousand
forwards with one packet."""

Place = tuple[str, int]


class Translation(Protocol):
    """Knows where the other side reaches what this side names. Both directions of a relay have one each.

    It decides alone what may be named: a codec passes on whatever a packet holds, so that ``place`` must refuse hosts
    that are not the sender's own (a peer must not have forwards made into this computer's physical network, nor
    have services exposed that are not this computer's). A codec asks for each place of a packet once.
    """

    def place(self, host: str, port: int, protocol: str) -> Place | None:
        """Where the other side reaches ``host:port`` (a name, an IPv4 or IPv6 literal, or ``SENDER``), which is made to
        work by this call; ``protocol``: tcp or udp. None: it is none of the sender's; leave it as it is.

        For ``SENDER`` only the port of the answer is written, since receivers take the host from the datagram's
        source: None when the port cannot be had there.
        """

    def host(self, host: str) -> str | None:
        """The host alone, where no port is named: a literal for a literal. None: leave it, or strip it."""


class Codec(NamedTuple):
    """What is known of one protocol."""

    rewrite: Callable[[bytes, Translation], bytes | None]
    """The datagram as the other side must see it; None: it is not of this protocol or makes no sense, drop it. Never
    raises whatever the bytes are."""
    http: bool = False
    """TCP streams to the places that were made carry HTTP, to be filtered by ``bridges.rewrite.http``."""
    strict: bool = False
    """Nothing but this protocol is spoken by the programs' sockets: what ``rewrite`` drops goes to nobody, while others' may go on by
    them with anything (a game) after the protocol's packets. Else whoever writes a packet that the codec cannot read, and a program
    can, leads it anywhere."""


class Places:
    """A translation that remembers, for one packet: each place is asked for once, and only ``limit`` are."""

    def __init__(self, translation: Translation, limit: int = MAX_PLACES) -> None:
        self._translation = translation
        self._limit = limit
        self._known: dict[tuple[str, int, str], Place | None] = {}

    def place(self, host: str, port: int, protocol: str) -> Place | None:
        """As the translation's, None beyond the limit and for no port at all."""
        key = (host, port, protocol)
        if key not in self._known:
            if len(self._known) >= self._limit or not 0 < port < 65536:
                return None
            self._known[key] = self._translation.place(host, port, protocol)
        return self._known[key]

    def port(self, port: int, protocol: str) -> int | None:
        """The port of a place of the sender's."""
        place = self.place(SENDER, port, protocol)
        return None if place is None else place[1]

    def host(self, host: str) -> str | None:
        """As the translation's."""
        return self._translation.host(host)
