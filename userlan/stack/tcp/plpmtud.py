"""How large a packet may be, found out by the connection itself (RFC 4821; the vocabulary is RFC 8899's), and what is
believed of routers' messages about it (RFC 5927 7.2).

Theory
------
Routers tell of packets that do not fit (RFC 1191, RFC 8201), but some tell nothing: a *black hole* (RFC 2923 2.1), in
which every full packet vanishes. And whoever tells may lie. So what arrives decides::

                        two timeouts in a row of full packets
    SEARCH_COMPLETE ──────────────────────────────────────────▶ BASE ── four more ─▶ ERROR
      ▲  │ ten minutes with less than the most                    │ acknowledged       │ acknowledged
      │  ▼                                                        ▼                    │
      └ SEARCHING ◀────────────────────────────────────────────────────────────────────┘
          probe acknowledged: this size from now on; lost three times: this size is too large

A connection begins with the most that the first hop, or the memory of its path, says (SEARCH_COMPLETE): on most paths
that is right, and starting small would cost every connection a search. In BASE, segments of 1,024 octets (IPv4) or
1,220 (IPv6) leave, in ERROR the least that every path takes.

**A probe** is one segment of new data, larger than the others, with enough data behind it that its loss shows within a
round trip. Its loss says something of its size alone, so the congestion window does not hear of it (RFC 4821 7.4): it
is taken for lost, and sent again in segments of the usual size, as soon as a SACK block lies above it, before the
recovery of losses would find it. So a peer without SACK is not probed; it keeps what it has. One probe is in flight at
a time. What was larger and had been acknowledged before a fall is tried first: after a mere outage one probe restores
it. Otherwise the interval is halved until ``ACCURACY`` is left.

**A message** "packet too big" is believed at once while no larger packet was ever acknowledged. Once one was, it is
doubted, as anybody who guesses a sequence number in flight can send one: it is kept, and believed when the
retransmission timer runs out before the octets that it is about are acknowledged.

What is found is told to the owner (``finding``), who remembers it for other connections to the same destination.

All sizes are octets of an IP packet (PLPMTU), without extension headers.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from userlan.stack.tcp.recovery import Episode
from userlan.stack.tcp.seq import near

if TYPE_CHECKING:
    from userlan.stack.tcp.scoreboard import Run
    from userlan.stack.tcp.sender import Sender

HEADERS_V4 = 40
HEADERS_V6 = 60
"""Octets of an IP header and a TCP header without options."""

BASE_V4 = 1024 + HEADERS_V4
BASE_V6 = 1220 + HEADERS_V6
"""BASE_PLPMTU: RFC 4821 7.2 has segments of 1,024 octets, RFC 8200 5 packets of 1,280 for every path."""

MINIMUM_V4 = 576
"""MIN_PLPMTU: what every host takes (RFC 1122 3.3.3). For IPv6 it is the base."""

BLACK_HOLE_TIMEOUTS = 2
"""Timeouts in a row without any progress: one alone is more often a lost tail."""

MINIMUM_TIMEOUTS = 6
"""The same, before the least size is tried: hardly a path takes less than the base, most that are silent are broken."""

MAX_PROBES = 3
"""Probes of one size that have to be lost (RFC 8899 5.1.2, MAX_PROBES)."""

RAISE_TIME = 600.0
"""Seconds until larger ones are tried again (RFC 8899 5.1.1, PMTU_RAISE_TIMER)."""

ACCURACY = 16
"""Octets: a search that is so near its end is over; the rest would be worth one percent."""

FOLLOWING = 3
"""Segments behind a probe: its loss shows by their SACK blocks, and no tail is at stake."""


class Search(Enum):
    """RFC 8899 5.2."""

    BASE = "base"
    ERROR = "error"
    SEARCHING = "searching"
    COMPLETE = "search-complete"


class PathSearch:
    """``plpmtu``: octets of the largest packet that is sent. The methods that return a bool say whether it changed."""

    __slots__ = (
        "_best",
        "_claimed",
        "_claimed_until",
        "_failed",
        "_high",
        "_ipv6",
        "_probes",
        "_raise_at",
        "_wanted",
        "finding",
        "maximum",
        "plpmtu",
        "probe",
        "proof_at",
        "proven",
        "searching",
        "state",
    )

    def __init__(self, mtu: int, ipv6: bool) -> None:
        self.maximum = mtu
        """MAX_PLPMTU: no more is known to be possible."""
        self.plpmtu = mtu
        self.proven = 0
        """The largest packet that was acknowledged on the path as it is now (RFC 5927 7.2, maxsizeacked)."""
        self.proof_at: float = inf
        """The position whose acknowledgment proves that packets of ``plpmtu`` arrive; inf: none is awaited."""
        self.state = Search.COMPLETE
        self.searching = False
        """A probe is wanted, or may be as soon as the time for it has come."""
        self.probe: Run | None = None
        self.finding: int | None = None
        """A size that was found, for the owner, who takes it."""
        self._ipv6 = ipv6
        self._wanted = 0
        self._probes = 0
        self._high = mtu
        self._failed = False
        self._best = 0
        self._raise_at = 0.0
        self._claimed = 0
        self._claimed_until = 0

    @property
    def base(self) -> int:
        """BASE_PLPMTU."""
        return min(self.maximum, BASE_V6 if self._ipv6 else BASE_V4)

    @property
    def minimum(self) -> int:
        """MIN_PLPMTU."""
        return min(self.maximum, BASE_V6 if self._ipv6 else MINIMUM_V4)

    # ------------------------------------------------------------------ what arrived and what did not

    def left(self, end: int) -> None:
        """A full packet, whose octets end at ``end``, left, and none of this size is proven yet."""
        if self.proof_at == inf:
            self.proof_at = end

    def arrived(self) -> None:
        """``proof_at`` was acknowledged."""
        self.proof_at = inf
        self.proven = max(self.proven, self.plpmtu)
        if self.state in (Search.BASE, Search.ERROR):
            self._search()

    def timed_out(self, timeouts: int, full: bool, una: int, now: float) -> bool:
        """The retransmission timer ran out, ``timeouts`` times in a row; ``full``: a full packet may be what is lost."""
        self._probe_lost()
        if self._claimed and una < self._claimed_until and self._claimed < self.plpmtu:
            self._best = 0
            self._fall(self._claimed, Search.COMPLETE, now)
            self.maximum = self.finding = self.plpmtu
            return True
        self._claimed = 0
        if not full:
            return False
        if self.plpmtu > self.base and timeouts >= BLACK_HOLE_TIMEOUTS:
            self._best = max(self._best, self.proven)
            self._high = self.plpmtu
            self._fall(self.base, Search.BASE, now)
        elif self.plpmtu > self.minimum and timeouts >= MINIMUM_TIMEOUTS:
            self._high = self.plpmtu
            self._fall(self.minimum, Search.ERROR, now)
        else:
            return False
        return True

    def _fall(self, size: int, state: Search, now: float) -> None:
        self.plpmtu = size
        self.state = state
        self.searching = False
        self.proven = 0
        self.proof_at = inf
        self._claimed = 0
        self._raise_at = now + RAISE_TIME

    # ------------------------------------------------------------------ messages, and what the owner knows

    def too_big(self, claimed: int, sequence: int, una: int, now: float) -> bool:
        """A plausible message "packet too big" about the octets from position ``sequence`` on. True: it is to be
        believed, by everybody who sends there."""
        probe = self.probe
        if probe is not None and probe.start <= sequence < probe.end:
            if claimed < self._wanted:
                self._probes = MAX_PROBES
                self._probe_lost()
                self._high = min(self._high, max(claimed, self.plpmtu))
                self._next_size()
            return False
        if claimed >= self.plpmtu:
            return False
        if claimed >= self.proven:
            return True
        self._claimed = claimed
        self._claimed_until = sequence + 1
        return False

    def changed(self, mtu: int, probing: bool, now: float) -> bool:
        """The owner knows another limit. Less holds at once; more is found out by probes, if ``probing`` is possible."""
        self.maximum = mtu
        if mtu < self.plpmtu:
            self._fall(mtu, Search.COMPLETE, now)
            return True
        if mtu > self.plpmtu:
            if not probing:
                self.plpmtu = mtu
                self.proof_at = inf
                return True
            self._best = mtu
            self._search()
        return False

    def limit(self, mtu: int) -> None:
        """The peer takes no more."""
        self.maximum = min(self.maximum, mtu)
        self.plpmtu = min(self.plpmtu, mtu)

    # ------------------------------------------------------------------ the search

    def _search(self) -> None:
        self.state = Search.SEARCHING
        self._failed = False
        self._probes = 0
        self._high = self.maximum
        self._next_size()

    def _next_size(self) -> None:
        """Choose PROBED_SIZE, or be done."""
        low, high = self.plpmtu, min(self._high, self.maximum)
        self._probes = 0
        if low < self._best <= high and not self._failed:
            self._wanted = self._best
        elif high - low >= ACCURACY:
            self._wanted = (low + high + 1) // 2
        else:
            self.state = Search.COMPLETE
            self.finding = self.plpmtu
        self.searching = self.state is Search.SEARCHING or self.plpmtu + ACCURACY <= self.maximum

    def next_probe(self, sender: Sender, headers: int, now: float) -> Run | None:
        """A probe, when one is wanted and may leave; the caller sends it as one wire packet. ``headers``: octets of
        every packet that are no data."""
        if self.probe is not None or not sender.sack:
            return None
        if self.state is Search.COMPLETE and now >= self._raise_at:
            self._raise_at = now + RAISE_TIME
            self._search()
        if self.state is not Search.SEARCHING:
            return None
        size = self._wanted - headers
        if sender.recovery.episode is not Episode.NONE or size <= sender.segment:
            return None
        self.probe = sender.send_probe(size, FOLLOWING * sender.segment, now)
        return self.probe

    def probed(self, sender: Sender, ack: int, blocks: tuple[tuple[int, int], ...], now: float) -> bool:
        """An acceptable ACK (position) with its SACK blocks while a probe is in flight, before the sender sees it."""
        probe = self.probe
        assert probe is not None
        if probe.lost or probe.retransmitted:
            self._probe_lost()
            return False
        above = False
        arrived = ack >= probe.end or probe.sacked
        for left_number, right_number in blocks:
            left, right = near(left_number, ack), near(right_number, ack)
            arrived |= left <= probe.start and right >= probe.end
            above |= probe.end <= left < right <= sender.nxt
        if arrived:
            self.probe = None
            self.plpmtu = self._wanted
            self.proven = max(self.proven, self.plpmtu)
            self.proof_at = inf
            self._raise_at = now + RAISE_TIME
            self._next_size()
            return True
        if above:
            sender.probe_lost(probe)
            self._raise_at = now + RAISE_TIME
            self._probe_lost()
        return False

    def _probe_lost(self) -> None:
        """Its octets are sent again like others."""
        if self.probe is None:
            return
        self.probe = None
        self._probes += 1
        if self._probes >= MAX_PROBES:
            self._failed = True
            self._high = self._wanted - 1
            self._next_size()
