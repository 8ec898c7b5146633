"""A run of equal datagrams as one buffer, and where to: what every core gives to whoever does its I/O."""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import Buffer


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
