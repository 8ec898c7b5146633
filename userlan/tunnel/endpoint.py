"""Where datagrams go to and come from, and how a run of equal datagrams travels as one buffer."""

from __future__ import annotations

from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Endpoint(NamedTuple):
    """An outer address of a peer.

    transport: "udp" (one datagram is one UDP datagram) or "tcp" (2-byte big-endian length and datagram on a stream).
    host: a numeric IPv4 or IPv6 literal without brackets. port: 1 to 65535.
    """

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport} {host}:{self.port}"


class Burst(NamedTuple):
    """One or more datagrams of `segment` bytes back to back (the last may be shorter), all for one endpoint.

    At most BURST_SEGMENTS datagrams and BURST_BYTES bytes: what one UDP GSO call takes.
    """

    data: Buffer
    segment: int
    endpoint: Endpoint
