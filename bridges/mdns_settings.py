"""What of multicast DNS is relayed, as people write it: the section ``mdns``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from bridges.mdns_records import Service, parse_type
from bridges.sharing import Entries, Policy
from userlan.driver.neighbours import SERVICE as NEIGHBOURS

MAX_PATTERNS = 256
"""Types and names of one list."""

Patterns = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_PATTERNS)]

MAX_NAMES = 64
"""Interfaces of one list: more than a computer has."""

NEVER = (parse_type(NEIGHBOURS.removesuffix(".local.")),)
"""Types that are of one physical link alone: how nodes find each other there."""


class MdnsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``mdns``."""

    enabled: bool = True
    """Whether anything of it is done."""
    offer: Patterns = ("*",)
    """Types (``_ipp._tcp``) or names (``Laser*``) of services of this computer that the LAN is told of."""
    deny: Patterns = ()
    """Those that it is not, whatever ``offer`` says."""
    networks: Entries = ()
    """Networks whose members are told; with ``peers`` empty too: everybody."""
    peers: Entries = ()
    """Members that are told beside those."""
    show: bool = True
    """Services of members are shown to the programs of this computer."""
    physical: Literal["off", "browse", "advertise", "both"] = "off"
    """The link that this computer stands on: services of its other computers are offered to the LAN (browse), those of the LAN are
    shown to them (advertise)."""
    interfaces: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_NAMES)] = ()
    """Names of the interfaces on which this computer's programs are heard and told; none: all. Where there are none of these: loopback."""

    def __post_init__(self) -> None:
        for key, patterns in (("offer", self.offer), ("deny", self.deny)):
            for pattern in patterns:
                try:
                    check_pattern(pattern)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        Policy(networks=self.networks, peers=self.peers)

    @property
    def policy(self) -> Policy:
        """With whom it is shared."""
        return Policy(networks=self.networks, peers=self.peers)

    @property
    def browse(self) -> bool:
        """Whether other computers of the physical link are believed."""
        return self.physical in ("browse", "both")

    @property
    def advertise(self) -> bool:
        """Whether they hear of the LAN's services."""
        return self.physical in ("advertise", "both")

    def offers(self, service: Service) -> bool:
        """Whether a service is one that the LAN is told of."""
        kind = tuple(label.lower() for label in service.type)
        return kind not in NEVER and any(_fits(one, service) for one in self.offer) and not any(_fits(one, service) for one in self.deny)


def check_pattern(pattern: str) -> str:
    """A type or a name. ValueError, one line."""
    if not pattern or not pattern.isprintable():
        raise ValueError(f"{pattern!r} is neither a type (_ipp._tcp) nor a name (Laser*)")
    if pattern.startswith("_"):
        parse_type(pattern)
    return pattern


def _fits(pattern: str, service: Service) -> bool:
    if pattern.startswith("_"):
        return pattern.lower() == service.kind.lower()
    return fnmatchcase(service.title.lower(), pattern.lower())
