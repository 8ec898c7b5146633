"""Ports of the LAN that are the program's own: the same on every member, so that each finds them without being told.

Whoever listens there takes the number from here, and whatever gives ports away by somebody's wish (an exposed service) asks
:func:`built_in` before: a built-in service keeps its port also where it does not run, as the other members look for it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONTROL: Final = 41414
"""TCP: the mediator's control service, and what members tell each other of the network. UDP: where they introduce each other."""
CHAT: Final = 41415
"""TCP: messages are brought there."""
FILES: Final = 41416
"""TCP: offers of files and their octets."""
FOLDERS: Final = 41417
"""TCP: folders that are shared, by HTTP."""

_BUILT_IN: Final[Mapping[tuple[str, int], str]] = {
    ("tcp", CONTROL): "what members tell each other of their networks",
    ("udp", CONTROL): "what members tell each other of their networks",
    ("tcp", CHAT): "chat",
    ("tcp", FILES): "files",
    ("tcp", FOLDERS): "shared folders",
}


def built_in(protocol: str, port: int) -> str:
    """For what a port ("tcp" or "udp") is the program's own, in a few words; empty for all others."""
    return _BUILT_IN.get((protocol, port), "")
