"""The first four octets of every datagram that is none of the tunnel's (whose types are 1 to 8), little-endian as those."""

from __future__ import annotations

from typing import Final

OBSERVE_REQUEST: Final = b"\x20\0\0\0"
"""A node asks a vantage point from where it is seen (``observation``)."""
OBSERVE_REPLY: Final = b"\x21\0\0\0"
PROBE: Final = b"\x22\0\0\0"
"""Two ends look for a path (``probe``)."""
PROBE_ANSWER: Final = b"\x23\0\0\0"
RELAY_DATA: Final = b"\x28\0\0\0"
"""A tunnel's datagram behind a channel's header (``userlan.relay``)."""
RELAY_BIND: Final = b"\x29\0\0\0"
"""An end presents its grant to a relay."""
RELAY_BOUND: Final = b"\x2a\0\0\0"
"""The relay's answer."""
