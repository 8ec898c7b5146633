"""Path MTU: what the largest packet is that reaches a destination (RFC 1191, RFC 8201).

Two sources: messages "packet too big", of which the caller has checked that they quote a packet of ours; they are
taken up only when they are below the current estimate, below the size of the quoted packet and not below the protocol's
floor. And what TCP connections find out by themselves (:mod:`userlan.stack.tcp.plpmtud`). An estimate is forgotten
after ten minutes, and larger packets are tried again.
"""

from __future__ import annotations

from collections import OrderedDict

from userlan.wire.ipv6 import MINIMUM_MTU as IPV6_MINIMUM

IPV4_MINIMUM = 576
"""Every host takes datagrams of this size (RFC 1122 3.3.3); below, a forged message would only slow us down."""

AGE = 600.0
"""Seconds until a larger MTU is tried again (RFC 8201 5.3, RFC 1191 6.3)."""

MAX_DESTINATIONS = 4_096
"""Destinations remembered; the oldest goes first. A LAN has fewer; more are made up by somebody."""

PLATEAUS = (32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 576)
"""What to try when an old router names no MTU (RFC 1191 7.1)."""


def floor(destination: bytes) -> int:
    return IPV4_MINIMUM if len(destination) == 4 else IPV6_MINIMUM


class PathMtu:
    """Estimates by destination, in octets of the whole packet."""

    def __init__(self) -> None:
        self._estimates: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._estimates)

    def get(self, destination: bytes, link: int) -> int:
        """The largest packet for ``destination``; ``link``: the MTU of the first hop."""
        estimate = self._estimates.get(destination)
        return link if estimate is None else min(estimate[0], link)

    def plausible(self, destination: bytes, reported: int, quoted_length: int) -> int | None:
        """What a report about a packet of ``quoted_length`` octets means, or None when it cannot be true."""
        if reported == 0 and len(destination) == 4:
            reported = next((plateau for plateau in PLATEAUS if plateau < quoted_length), IPV4_MINIMUM)
        if len(destination) == 16 and reported < IPV6_MINIMUM:
            return None
        reported = max(reported, floor(destination))
        return reported if reported < quoted_length else None

    def reduce(self, destination: bytes, reported: int, quoted_length: int, link: int, now: float) -> int | None:
        """Take up a report; the new estimate, or None when it is implausible, or nothing new."""
        mtu = self.plausible(destination, reported, quoted_length)
        if mtu is None or mtu >= self.get(destination, link):
            return None
        self.learn(destination, mtu, link, now)
        return mtu

    def learn(self, destination: bytes, mtu: int, link: int, now: float) -> None:
        """Packets of ``mtu`` octets, and no larger ones, are known to arrive there."""
        self._estimates.pop(destination, None)
        if mtu >= link:
            return
        self._estimates[destination] = (mtu, now + AGE)
        if len(self._estimates) > MAX_DESTINATIONS:
            self._estimates.popitem(last=False)

    def measured(self, destination: bytes, mtu: int, link: int, now: float) -> bool:
        """Take over what was measured, in either direction; whether it is news."""
        mtu = max(mtu, floor(destination))
        if mtu == self.get(destination, link) or (mtu >= link and destination not in self._estimates):
            return False
        if mtu >= link:
            del self._estimates[destination]
            return True
        self._estimates[destination] = (mtu, now + AGE)
        self._estimates.move_to_end(destination)
        if len(self._estimates) > MAX_DESTINATIONS:
            self._estimates.popitem(last=False)
        return True

    def deadline(self) -> float | None:
        """When the oldest estimate is to be forgotten."""
        return next(iter(self._estimates.values()))[1] if self._estimates else None

    def expired(self, now: float) -> list[bytes]:
        """Forget what is too old; the destinations for which larger packets may be tried again."""
        destinations: list[bytes] = []
        while (expires := self.deadline()) is not None and expires <= now:
            destinations.append(self._estimates.popitem(last=False)[0])
        return destinations
