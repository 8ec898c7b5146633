"""A member that is online, as the mediator knows it: where it is seen, what its NAT does, how far away it is."""

from __future__ import annotations

import ipaddress

from msgspec.structs import replace

from userlan.mediator.link_delay import LinkDelay
from userlan.mediator.reach import Sight, named, site, target_host
from userlan.traversal.nat import UNKNOWN, NatBehaviour, Policy
from userlan.traversal.plans import Side, Sighting
from userlan.wire.endpoint import UDP

#: Failed predictions, each against another public address, that lower the trust in what a member says of its NAT. Those
#: further on change nothing, and a peer that fails on purpose counts once.
MAX_DOUBTS = 2
#: What is left of the confidence with each.
DOUBTED = 0.5
#: First words of a member on its NAT that make its introductions due again at once.
HASTY = 3
#: Ways from a member's first packet to its greeting: the handshake there and back, and the greeting.
GREETING_WAYS = 3


class Member:
    """One member's state. ``met``: the keys of those it has a direct tunnel with; ``talks``: of those with whom it is being
    introduced; ``silent``: it left a measurement or an introduction without an answer, the last time.
    """

    __slots__ = (
        "_first", "_hasty", "arrived", "doubts", "key", "link", "met", "nat",
        "networks", "online", "settled", "sight", "silent", "talks",
    )  # fmt: skip

    def __init__(self, key: bytes, sight: Sight, networks: set[int], now: float) -> None:
        self.key = key
        self.sight = sight
        self.networks = networks
        self.link = LinkDelay()
        self.arrived = now
        self._first = sight.observed
        self._hasty = HASTY
        self.settled = False
        self.online = True
        #: None until the member has said it.
        self.nat: NatBehaviour | None = None
        self.met: set[bytes] = set()
        self.talks: set[bytes] = set()
        self.silent = False
        self.doubts: set[bytes] = set()

    @property
    def site(self) -> bytes:
        """The public address that it shares with all that are behind its NAT: the IPv4 one where it has any."""
        return site(self.sight.translated.host)

    @property
    def known(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.nat is not None and self.link.one_way is not None

    @property
    def hasty(self) -> bool:
        """Whether its first introductions were given before it was known how its NAT treats what passes: of ``HASTY`` words at most."""
        nat = self.nat
        told = nat is not None and _told(nat.udp) and (nat.udp.passes or _told(nat.tcp))
        return self._hasty > 0 and not told

    @property
    def began(self) -> tuple[int, float]:
        """The outside port of its session, and when its NAT gave it: before the handshake and the greeting, three ways. 0: it has
        moved since."""
        observed = self.sight.observed
        port = observed.port if observed == self._first else 0
        return port, self.arrived - GREETING_WAYS * (self.link.one_way or 0.0)

    @property
    def circumstances(self) -> int:
        """What a punch's failure depended on at this end; another value makes it worth another try."""
        return hash((self.sight, None if self.nat is None else essence(self.nat)))

    def shares(self, other: Member) -> bool:
        """Whether both are online and in one network."""
        return self.online and other.online and not self.networks.isdisjoint(other.networks)

    def classified(self, nat: NatBehaviour) -> bool:
        """The member says what its NAT does; returns whether that is news."""
        news = self.nat is None or essence(nat) != essence(self.nat)
        self._hasty -= news
        self.nat = nat
        self.doubts.clear()
        return news

    def doubt(self, against: bytes) -> None:
        """A prediction for this member's NAT failed with a peer at the site ``against``."""
        if len(self.doubts) < MAX_DOUBTS:
            self.doubts.add(against)

    def behaviour(self, background: float) -> NatBehaviour:
        """What its NAT does, as far as it is believed; ``background``: the rate that was measured at its address."""
        nat = self.nat or UNKNOWN
        trust = nat.confidence * DOUBTED ** len(self.doubts)
        return replace(nat, confidence=trust, udp=_busier(nat.udp, background), tcp=_busier(nat.tcp, background))

    def side(self, reader: Member, measured: tuple[Sighting, ...], one_way: float, background: float) -> Side:
        """What the planner is told of this member, for a pair with ``reader``."""
        host = target_host(self.sight, reader.sight)
        ports = [seen.port for seen in self.sight.seen if seen.host == host and seen.transport == UDP]
        candidates = named(self.sight, reader.sight)
        mapped = [c.port for c in candidates if c.kind == "mapped" and c.transport == UDP and c.host == host]
        return Side(
            nat=self.behaviour(background),
            host=host,
            port=ports[0] if ports else 0,
            measured=measured,
            one_way=one_way,
            jitter=self.link.jitter,
            mapped=mapped[0] if mapped else 0,
            ipv6=any(_public_ipv6(candidate.host) for candidate in candidates),
        )


def essence(nat: NatBehaviour) -> NatBehaviour:
    """Without what varies from one measurement to the next."""
    return replace(nat, confidence=0.0, udp=_essence(nat.udp), tcp=_essence(nat.tcp))


def _told(policy: Policy) -> bool:
    return not policy.passes or policy.mapping != "unknown"


def _essence(policy: Policy) -> Policy:
    return replace(policy, low=0, high=0, rate=0.0, lifetime=0.0)


def _busier(policy: Policy, rate: float) -> Policy:
    return policy if rate <= policy.rate else replace(policy, rate=rate)


def _public_ipv6(host: str) -> bool:
    return ":" in host and ipaddress.ip_address(host).is_global
