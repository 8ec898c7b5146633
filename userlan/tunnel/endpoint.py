"""How a run of equal datagrams travels as one buffer, and where to (Endpoint, of `userlan.wire.endpoint`)."""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import Buffer

__all__ = ["Buffer", "Burst", "Endpoint"]


class Burst(NamedTuple):
    """One or more datagrams of `segment` bytes back to back (the last may be shorter), all for one endpoint.

    At most BURST_SEGMENTS datagrams and BURST_BYTES bytes: what one UDP GSO call takes. whole: a single datagram that
    nobody may fragment, since its size is what is asked about. Without data: a connection of framed TCP is to be opened.
    ttl: hops after which the datagrams are dropped (RFC 791 3.2), 0: as the system does it.
    """

    data: Buffer
    segment: int
    endpoint: Endpoint
    whole: bool = False
    ttl: int = 0
