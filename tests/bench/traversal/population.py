"""Who is out there: the share of members behind each kind of NAT, where each figure comes from, and what follows for the direct rate.

No study gives the shares of all kinds in today's network, so they are put together here; each line says from what. Marks: **S** follows
from a figure of a source; **R** the same, from memory, the source was not read again; **E** our estimate, with the reason.

- Ford, Srisuresh, Kegel, "Peer-to-Peer Communication Across Network Address Translators" (USENIX 2005): 82 % of the NATs reported to them
  support UDP hole punching, so keep one port for all destinations; 64 % do for TCP.
- Halkes, Pouwelse, "UDP NAT and Firewall Puncturing in the Wild" (TU Delft, PDS-2010-007): of a file sharing network's peers about 64 %
  are behind a NAT or firewall which should allow hole punching; more than 80 % of the attempts between these succeed.
- Guha, Francis, "Characterization and Measurement of TCP Traversal through NATs and Firewalls" (IMC 2005): 16 products, 93 homes.
- Richter et al., "A Multi-perspective Analysis of Carrier-Grade NAT Deployment" (IMC 2016): more than 90 % of cellular networks deploy CGN,
  about a sixth of the other access networks do (R); blocks of ports for a subscriber (RFC 7422) are among what they do.
- "Challenging Tribal Knowledge" (arXiv 2510.27500, 2025): libp2p's hole punching between members behind NATs, 4.4 million attempts:
  70 ± 7.1 % succeed, by UDP and TCP alike.
- Tailscale's blog (2025): more than 90 % of its traffic is direct under normal conditions.
- Klinec, Matyáš: busy symmetric NATs make 48 to 266 new mappings a second.

As a check, ``plain_rate`` is what hole punching alone (no prediction, no birthday, no TCP) comes out at for this population: it should lie
between what libp2p and what Tailscale report.

The members of a LAN over the Internet are people at home who play, share files or look after a relative's computer, some of them on the
road or in an office; servers are rarer among them than in a file sharing network.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from tests.bench.traversal.kinds import KINDS
from tests.bench.traversal.tables import Cell


@dataclass(frozen=True)
class Share:
    """Per cent of the members, and why."""

    per_cent: float
    source: str


SHARES: dict[str, Share] = {
    "O": Share(13.0, (
        "E. Halkes and Pouwelse leave 36 % that are open or cannot be punched at all. Open homes are rarer than in 2010: a third of that. "
        "A port that is mapped by UPnP, PCP or by hand counts as open"
    )),
    "EIF": Share(8.0, "E. RFC 4787 recommends it where transparency counts most; CGNs by RFC 6888 and game modes of home routers do it"),
    "ADF": Share(4.0, "E. RFC 4787's other recommendation (REQ-8), seldom a home router's default"),
    "PDF": Share(37.0, (
        "S for the sum of the kinds that keep one port: Ford's 82 % of NATs, and 84 %, whose square is libp2p's 70 % of pairs. E for the "
        "split: Linux' connection tracking is in most home routers, and their firewall drops on INPUT"
    )),
    "PDR": Share(4.0, "E. one port, but another one than inside: CGNs without blocks, routers whose port is taken"),
    "MOV": Share(4.0, "E. Linux without a rule on INPUT: self-made routers, telephones' hot spots, networks of virtual machines"),
    "RST": Share(1.5, "E, after Guha and Francis: a few home NATs answer unasked SYNs with RST; such boxes let early packets in, too"),
    "DBL": Share(12.0, (
        "R for the existence: a sixth of the access networks put a CGN on top of the home's NAT (Richter et al.). E for the number of "
        "members there, and that most of these behave as RFC 6888 asks"
    )),
    "SI1": Share(3.0, "S for the sum of the symmetric kinds, 14 %: Ford's 18 %, less what RFC 4787 changed since. E: a fifth counts up"),
    "SI2": Share(1.0, "E. rarer than counting by one"),
    "SIB": Share(0.5, "E. Klinec and Matyáš met such; large ones draw at random today (RFC 6056)"),
    "CHK": Share(3.0, "E. Richter et al.: CGNs with blocks of ports, those of them with a symmetric mapping; cellular more than others"),
    "AMI": Share(0.5, "E. rare by all accounts"),
    "AMR": Share(1.0, "E. rare; some offices' firewalls"),
    "SR": Share(5.0, "E. offices' firewalls, pf's default and those built on it, a part of the cellular networks; the sum: see SI1"),
    "NOU": Share(2.0, "R. reports on QUIC's deployment: UDP does not pass for 3 to 5 % of all users. E: less in homes"),
    "WEB": Share(0.5, "E. hotels, schools, some offices: nothing but the web"),
}
"""In per cent of the members; the pairs are independent draws of two members."""

PLAIN = frozenset(("O", "EIF", "ADF", "PDF", "MOV", "RST", "PDR", "DBL"))
"""Kinds that keep one port for all, and pass UDP: what a system without prediction, birthday and TCP can punch among themselves."""
TELLS_ITSELF = frozenset(("O", "EIF", "ADF"))
"""With these, plain hole punching reaches symmetric NATs as well."""


def weights() -> dict[tuple[str, str], float]:
    """The share of each unordered pair of kinds among all pairs; the sum is 1."""
    total = sum(share.per_cent for share in SHARES.values())
    names = [name for name in KINDS if name in SHARES]
    found: dict[tuple[str, str], float] = {}
    for index, first in enumerate(names):
        for second in names[index:]:
            both = SHARES[first].per_cent * SHARES[second].per_cent / total**2
            found[first, second] = both if first == second else 2 * both
    return found


@dataclass(frozen=True)
class Rates:
    """Over the population: what was ``direct``, what ``theory`` allows, the median milliseconds to direct of the pairs that met, and the
    pairs that lose the most, worst first."""

    direct: float
    theory: float
    milliseconds: float
    losses: tuple[tuple[str, float], ...]


def direct_rate(cells: Iterable[Cell]) -> Rates:
    """Cells weighted by the population."""
    share = weights()
    by_name = {(cell.first.name, cell.second.name): cell for cell in cells}
    direct = sum(weight * by_name[pair].direct for pair, weight in share.items())
    theory = sum(weight * by_name[pair].theory for pair, weight in share.items())
    losses = sorted(((f"{first}-{second}", weight * (1 - by_name[first, second].direct)) for (first, second), weight in share.items()),
                    key=lambda loss: -loss[1])
    times = sorted((time, weight / len(by_name[pair].results)) for pair, weight in share.items() for time in by_name[pair].times)
    reached = list(accumulate(weight for _, weight in times))
    middle = times[bisect_left(reached, reached[-1] / 2)][0] if times else 0.0
    return Rates(direct, theory, middle, tuple(losses[:8]))


def plain_rate() -> float:
    """What hole punching without any of the further techniques reaches: for comparison with what others report."""
    udp = {name for name in SHARES if name not in ("NOU", "WEB")}
    return sum(
        weight for (first, second), weight in weights().items()
        if {first, second} <= udp and ({first, second} <= PLAIN or TELLS_ITSELF & {first, second})
    )


def report(rates: Rates) -> str:
    """A paragraph."""
    losses = ", ".join(f"{name} {100 * loss:.2f}" for name, loss in rates.losses if loss > 0.0005)
    return (
        f"over the population: {100 * rates.direct:.1f} % direct, {100 * rates.theory:.1f} % in theory, {100 * plain_rate():.1f} % by "
        f"plain hole punching alone; median time to direct {rates.milliseconds:.0f} ms\n"
        f"lost most, in per cent of all pairs: {losses or 'nothing'}"
    )
