"""userlan: the LAN over the Internet that just works, without root.

Layers, from the bottom up; a line imports upper lines only, and the siblings of one line never import each other::

    wire        bytes ⇄ values, and the super-packet: one header with up to 64 KB behind it
    stack       a host in memory: IPv4, IPv6, ICMP, UDP, TCP            ┐
    tunnel      WireGuard: handshake, sessions, timers                  │ siblings
    traversal   what to send where, so that two ends meet               │
    lan         addresses, secrets, roster, names, the switch           ┘
    control     typed messages between node, mediator and peers
    mediator    the directory of networks, presence, introductions      ┐ siblings
    relay       carries ciphertext for pairs without a direct path      ┘
    node        one member of the LAN, composed; still no I/O
    driver      everything Twisted: sockets, timers, LAN endpoints
    web         the local page: commands and status over HTTP and WebSocket
    app         a running node: all parts put together, and what it can be asked to do
    cli         the commands; the only place that names the global reactor

``from userlan import Member`` puts a node into another Twisted program (``userlan.app.embedding``).

``bridges`` (a package of its own) connects local programs with the LAN; it is found by entry points, so that anybody can add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from userlan.app.embedding import EmbeddingError, Member, WaitingError
    from userlan.driver.lan import Lan, PeerInfo

__version__ = "0.1.0"
__all__ = ["EmbeddingError", "Lan", "Member", "PeerInfo", "WaitingError", "__version__"]

_HOMES = {
    "EmbeddingError": "userlan.app.embedding",
    "Member": "userlan.app.embedding",
    "Lan": "userlan.driver.lan",
    "PeerInfo": "userlan.driver.lan",
    "WaitingError": "userlan.app.embedding",
}
"""Where the public names live. They are fetched when they are asked for: the command line begins without Twisted."""


def __getattr__(name: str) -> Any:
    """A public name of the package (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
