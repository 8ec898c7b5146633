"""How large a datagram a path carries: PLPMTUD for datagrams (RFC 8899), by probes that the peer's stack answers.

A probe is an echo request of exactly the size in question, sent in one datagram that nobody may fragment; the answer
may come in pieces, so each direction is searched by its own sender. No ICMP message is needed or believed, so black
holes (RFC 2923) do not matter::

      ┌── lost ──▶ ERROR: LEAST is used, the largest size below BASE is searched ──▶ COMPLETE ── 600 s ──▶ BASE
    BASE ─ answered ─▶ SEARCHING ── largest size found ──▶ COMPLETE ── 600 s ──▶ SEARCHING
      ▲                                                        │
      └── confirmations of the size in use stay unanswered while the peer is heard: the path has shrunk

The search asks for the base first, then for the LAN's MTU, which most paths carry, and halves the interval below it
where they do not; beyond it only what lets whole further segments into a datagram pays: jumbo frames and the
loopback's 64 KB. These are asked for once large packets are sent, by which time two round trips are nothing.

Why: in a LAN of fifty, all of whom come at once, probes of 64 KB between all pairs are 160 MB that nobody needs, and what they push out
of the sockets' buffers is what the members have to say to each other.

Below the base the tunnel goes on for TCP, whose segments it cuts to any size; other packets depend on routers that
fragment, as everywhere.

While large packets are sent, the size in use is confirmed every two seconds (5.1.1: confirmation of the PLPMTU); a
path that shrinks is noticed within 3.5 s, within 5 s where not even the base is left. One that died altogether is none
of this module's business: whoever sends a probe while the peer is quiet sends something small with it, and a loss
counts only if that was answered. A late answer to any probe of a series counts, so that a round trip may be longer than
the timer.
"""

from __future__ import annotations

from typing import NamedTuple

BASE = 1280
"""Octets of an inner packet (BASE_PLPMTU, RFC 8899 5.1.2): IPv6's minimum, which every member takes (RFC 8200 5)."""

LEAST = 1024
"""Octets (MIN_PLPMTU, RFC 8899 5.1.2): what is sent where not even the base arrives; with the tunnel and two outer headers
less than any path of the Internet carries in practice."""

JUMBO = (8920, 65_475)
"""Octets: Ethernet's 9000 less 80 for IPv6, UDP and the tunnel; and the largest UDP payload over IPv4 (65,507) less the
tunnel's 32, which the loopback carries."""

STEP = 8
"""Octets: the search ends when it knows the size so well."""

MAX_PROBES = 3
"""Probes of one size that may be lost (MAX_PROBES, RFC 8899 5.1.2)."""

PROBE_TIMER = 1.0
"""Seconds for an answer while searching (PROBE_TIMER, RFC 8899 5.1.1: not below one)."""

CONFIRM_TIMER = 0.5
"""Seconds for an answer to a confirmation; a lost one costs nothing but another."""

CONFIRM_INTERVAL = 2.0
"""Seconds between confirmations while large packets are sent."""

RAISE_TIMER = 600.0
"""Seconds after which larger sizes are tried again (PMTU_RAISE_TIMER, RFC 8899 5.1.1)."""


class _Probe(NamedTuple):
    """The latest probe of a series of one size; ``first`` is the series' first sequence number."""

    size: int
    first: int
    sequence: int
    sent_at: float
    confirms: bool


class PathMtuSearch:
    """One peer's datagram path. ``mtu``: octets of the largest inner packet that may be sent. Times are monotonic seconds."""

    __slots__ = ("_attempts", "_confirmed_at", "_high", "_large", "_low", "_probe", "_raise_at", "_sequence", "ceiling", "known", "mtu")

    def __init__(self, ceiling: int) -> None:
        """``ceiling``: octets of the LAN's MTU, BASE at least."""
        self.ceiling = max(ceiling, BASE)
        self.mtu = BASE
        self.known = False
        """Whether anything was measured yet: before, the base is only caution, and nobody above need hear of it."""
        self._low = LEAST
        self._high = JUMBO[-1] + 1
        self._large = False        # large packets were sent by this path
        self._probe: _Probe | None = None
        self._attempts = 0
        self._sequence = 0
        self._confirmed_at = 0.0
        self._raise_at: float | None = None

    def start(self, now: float) -> None:
        """The path is a new one, or has a session for the first time: search from the base."""
        self.mtu, self._low = BASE, LEAST
        self._high = JUMBO[-1] + 1
        self._large = False
        self._probe = None
        self._attempts = 0
        self.known = False
        self._raise_at = now

    def stop(self) -> None:
        """There is no datagram path."""
        self._probe = None
        self._raise_at = None

    def large_sent(self, now: float) -> None:
        """A large packet was sent: larger datagrams may pay, and the size in use is to be confirmed, if that was long ago."""
        if not self._large:
            self._large = True
            if self._probe is None and self._raise_at is not None and self._size():
                self._raise_at = now
                return
        if self._probe is None and self.mtu > LEAST and now - self._confirmed_at >= CONFIRM_INTERVAL:
            self._attempts = 0
            self._send(self.mtu, True, now - CONFIRM_TIMER)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        probe = self._probe
        if probe is None:
            return self._raise_at
        return probe.sent_at + (CONFIRM_TIMER if probe.confirms else PROBE_TIMER)

    def tick(self, heard_at: float, now: float) -> tuple[int, int] | None:
        """The size (octets) and sequence number of a probe that is to be sent now, if any. ``heard_at``: when the peer
        was heard last; losses count only while it is."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return None
        probe = self._probe
        if probe is None:
            self._raise_at = None
            self._high = JUMBO[-1] + 1
            return self._next(now)
        if not self._attempts or heard_at >= probe.sent_at:
            self._attempts += 1
        if self._attempts <= MAX_PROBES:
            return self._send(probe.size, probe.confirms, now)
        self._lost(probe)
        return self._next(now)

    def answered(self, sequence: int, now: float) -> tuple[int, int] | None:
        """A probe was answered; the next one, if there is one."""
        probe = self._probe
        if probe is None or sequence - probe.first & 0xFFFF > probe.sequence - probe.first & 0xFFFF:
            return None
        self.known |= probe.size != BASE
        self._confirmed_at = now
        self._low = self.mtu = max(probe.size, self._low)
        return self._next(now)

    def _lost(self, probe: _Probe) -> None:
        self.known = True
        self._high = min(self._high, probe.size)
        if probe.size <= self.mtu:
            self.mtu, self._low = BASE if probe.size > BASE else LEAST, LEAST

    def _next(self, now: float) -> tuple[int, int] | None:
        """The next probe of the search; None: it is complete."""
        size = self._size()
        self._probe = None
        self._attempts = 0
        if not size:
            self._raise_at = now + RAISE_TIMER
            return None
        self._attempts = 1
        return self._send(size, self.known and size == self.mtu, now)

    def _size(self) -> int:
        """What to ask for next; 0: the search is complete."""
        low, high = self._low, self._high
        target = BASE if low < BASE else self.ceiling
        if low >= target:
            if not self._large:
                return 0
            return next((jumbo for jumbo in JUMBO if low < jumbo < high), 0)
        if high > target:
            return target
        middle = (low + high) // 2 // STEP * STEP
        return middle if high - low > STEP and middle > low else 0

    def _send(self, size: int, confirms: bool, now: float) -> tuple[int, int]:
        self._sequence = (self._sequence + 1) & 0xFFFF
        last = self._probe
        self._probe = _Probe(size, self._sequence if last is None else last.first, self._sequence, now, confirms)
        return size, self._sequence
