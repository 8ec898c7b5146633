"""A captured packet as one line of text, by scapy: ``11:22:33.123456  ben <  IP / UDP 25.1.2.3:5000 > 25.1.2.4:53``.

scapy is imported when the first line is wanted: it takes a second, and only this needs it.
"""

from __future__ import annotations

import time
from typing import Any

import click

from userlan.cli.client import ApiError
from userlan.driver.pcapng import Recorded

MISSING = (
    "text needs scapy, which is not installed: `pip install 'userlan[capture]'`, "
    "or write a file (-w FILE) and read it with tshark or wireshark"
)

MAX_LINE = 400
"""Characters of a packet's description: a peer can write names into it."""

SECOND = 1_000_000_000


class Lines:
    """Makes lines. Raises ApiError where scapy is missing."""

    def __init__(self) -> None:
        try:
            import logging

            logging.getLogger("scapy").setLevel(logging.ERROR)      # it warns of what the computer's interfaces lack
            from scapy.config import conf
            from scapy.layers import dhcp, dns, inet, inet6, netbios  # noqa: F401 - each makes its protocol known
            from scapy.layers.l2 import Dot3, Ether
        except ImportError:
            raise ApiError(MISSING) from None
        for kind in (inet.TCP, inet.UDP):
            conf.noenum.add(kind.sport, kind.dport)     # ports as numbers: that is how filters name them
        self._kinds: dict[int, Any] = {4: inet.IP, 6: inet6.IPv6}
        self._frames: tuple[Any, Any] = (Ether, Dot3)

    def line(self, recorded: Recorded) -> str:
        """One packet; with ANSI colours, which ``click.echo`` leaves out where there is no terminal."""
        seconds, rest = divmod(recorded.time, SECOND)
        clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 1000:06d}"
        incoming = recorded.direction == "in"
        who = click.style(f"{recorded.interface} {'<' if incoming else '>'}", fg="cyan" if incoming else "green")
        told = [click.style(clock, dim=True), who, self.describe(recorded.octets, recorded.length)]
        for comment in recorded.comments:
            told.append(click.style(f"[{comment}]", fg="red" if comment.startswith("dropped") else None, dim=comment.startswith("path")))
        return "  ".join(told)

    def describe(self, octets: bytes, length: int) -> str:
        """An IP packet in words; nothing that a terminal would obey."""
        kind = self._kinds.get(octets[0] >> 4 if octets else 0)
        if kind is None:
            return f"{length} octets that are no IP packet"
        try:
            words = self._summary(kind(octets))
        except Exception as error:      # a peer made the packet, and scapy has parsers without end
            words = f"a packet that scapy cannot read ({type(error).__name__})"
        shown = "".join(letter if letter.isprintable() else "·" for letter in words)
        return f"{shown[:MAX_LINE]} ({length})"

    def _summary(self, packet: Any) -> str:
        """As scapy says it; a frame in IPv6 too, which it does not know (RFC 3378)."""
        carried = bytes(packet.payload)
        if packet.version == 6 and packet.nh == 97 and carried[:2] == b"\x30\x00" and len(carried) >= 16:
            kind = self._frames[0 if int.from_bytes(carried[14:16], "big") >= 0x600 else 1]
            return f"{packet.src} > {packet.dst} EtherIP / {kind(carried[2:]).summary()}"
        return str(packet.summary())

