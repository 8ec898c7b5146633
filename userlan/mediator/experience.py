"""What came of the punches so far: which technique works between which kinds of NAT.

A kind is a NAT's behaviour reduced to what plans depend on; a pair of kinds has no order, and those behind one public
address are apart from the others. For each such pair and
technique there are two counts, of punches that met and of punches that failed; both halve every ``HALF_LIFE`` seconds,
so that what was learned under other circumstances wears off. ``of`` makes of them what ``make_plans`` takes: -1 never,
1 always, near 0 where little is known.

Reports come from members, and members may lie. A punch counts only where both sides say the same of it; one that says
otherwise spoils only its own. Keys cost nothing, so what is capped are public addresses: of one address only
``REPORTS`` punches count in ``HALF_LIFE`` for one entry, and a technique is never called hopeless by fewer than
``WITNESSES`` of them. Even then it is tried once in ``EXPLORE`` times: that is how a mistake is noticed.

Why in memory only: it is learned again within hours by the same traffic, techniques change their meaning with the
program, and what a liar achieved shall not outlive the process.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from userlan.traversal.nat import NatBehaviour, Policy

#: Seconds in which a count loses half of its weight: a day, in which a provider changes little.
HALF_LIFE = 86_400.0
#: Pairs of kinds and techniques that are remembered, about 1 KiB each; members make up kinds at will.
MAX_ENTRIES = 4096
#: Punches of one public address that count for one entry in one half-life.
REPORTS = 4.0
#: Public addresses whose reports are counted apart, for one entry. Further ones are one, that counts as much as all these.
MAX_WITNESSES = 32
#: Public addresses from which reports must have come before a technique is called hopeless.
WITNESSES = 4
#: Failures, less what has worn off, from which on a technique without any success is hopeless.
HOPELESS = 8.0
#: Punches, met and failed at once, that are added to what is known: a first report says little.
DOUBT = 2.0
#: Of so many times a hopeless technique is offered once as if nothing were known of it.
EXPLORE = 16

Kind = tuple[str, ...]
KindPair = tuple[Kind, Kind, bool]


def kind(nat: NatBehaviour) -> Kind:
    """A NAT reduced to what decides how it is met: two members with equal kinds are punched alike."""
    return (*_policy(nat.udp), *_policy(nat.tcp), nat.pooling, nat.early, f"{nat.hairpin} {nat.nested} {nat.ipv6}")


def kinds(a: NatBehaviour, b: NatBehaviour, together: bool) -> KindPair:
    """The kinds of a pair, without order. ``together``: behind one public address, where other techniques work."""
    one, other = kind(a), kind(b)
    return (one, other, together) if one <= other else (other, one, together)


def _policy(policy: Policy) -> tuple[str, ...]:
    if not policy.passes:
        return ("blocked", "", "")
    step = f" {policy.step:+d}" if policy.allocation == "incremental" else ""
    return (policy.mapping, policy.filtering, policy.allocation + step)


class _Entry:
    """The counts of one technique for one pair of kinds."""

    __slots__ = ("failed", "met", "sites", "updated")

    def __init__(self, now: float) -> None:
        self.met = 0.0
        self.failed = 0.0
        self.updated = now
        self.sites: dict[bytes, float] = {}

    def decay(self, now: float) -> None:
        """Lets everything that was counted wear off."""
        part = 0.5 ** (max(0.0, now - self.updated) / HALF_LIFE)
        self.updated = max(now, self.updated)
        self.met *= part
        self.failed *= part
        self.sites = {site: count * part for site, count in self.sites.items() if count * part > 1 / 64}

    def admits(self, sites: tuple[bytes, bytes]) -> bool:
        """Whether a report of two addresses still counts; it is counted then."""
        names = {self._name(site) for site in sites}
        if any(self.sites.get(name, 0.0) + 1.0 > (REPORTS if name else REPORTS * MAX_WITNESSES) for name in names):
            return False
        for name in names:
            self.sites[name] = self.sites.get(name, 0.0) + 1.0
        return True

    def _name(self, site: bytes) -> bytes:
        return site if site in self.sites or len(self.sites) < MAX_WITNESSES else b""

    @property
    def hopeless(self) -> bool:
        """Whether it has never worked in all that is remembered, for enough who tried."""
        return self.met < 1 / 8 and self.failed >= HOPELESS and len(self.sites) >= WITNESSES

    @property
    def score(self) -> float:
        """-1 to 1."""
        return (self.met - self.failed) / (self.met + self.failed + DOUBT)


class Experience:
    """The table. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[KindPair, str], _Entry] = OrderedDict()
        self._techniques: dict[KindPair, Counter[str]] = {}  # times that a hopeless one was held back
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, pair: KindPair, technique: str, met: bool, sites: tuple[bytes, bytes], now: float) -> bool:
        """A punch of which both sides said the same. ``sites``: their public addresses. False: it does not count."""
        entry = self._entries.get((pair, technique))
        if entry is None:
            entry = self._entries[pair, technique] = _Entry(now)
            self._techniques.setdefault(pair, Counter())[technique] = 0
            self._shrink()
        self._entries.move_to_end((pair, technique))
        entry.decay(now)
        if not entry.admits(sites):
            self.counters["experience-not-counted"] += 1
            return False
        if met:
            entry.met += 1.0
        else:
            entry.failed += 1.0
        return True

    def of(self, pair: KindPair, now: float) -> dict[str, float]:
        """The score of each technique that was tried for a pair of kinds, as ``make_plans`` takes it."""
        scores: dict[str, float] = {}
        for technique, held_back in self._techniques.get(pair, {}).items():
            entry = self._entries[pair, technique]
            entry.decay(now)
            scores[technique] = entry.score
            if entry.hopeless:
                scores[technique] = -1.0 if (held_back + 1) % EXPLORE else 0.0
                self._techniques[pair][technique] += 1
        return scores

    def _shrink(self) -> None:
        while len(self._entries) > MAX_ENTRIES:
            (pair, technique), _ = self._entries.popitem(last=False)
            del self._techniques[pair][technique]
            if not self._techniques[pair]:
                del self._techniques[pair]
