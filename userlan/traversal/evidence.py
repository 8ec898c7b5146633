"""What a netcheck saw: the facts from which ``classify`` concludes, each of them one line for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from userlan.traversal.nat import PortMapping
from userlan.wire.endpoint import host_port


class Sighting(NamedTuple):
    """Own socket ``via`` (local ``inside`` port, 0: unknown) asked ``target`` at time ``at`` and was seen at ``seen``.

    ``order`` is its place among those of one time.
    """

    transport: str
    via: int
    inside: int
    target: tuple[str, int]
    seen: tuple[str, int]
    at: float
    order: int = 0

    def __str__(self) -> str:
        where = f"{self.transport} port {self.inside}" if self.inside else f"{self.transport} socket {self.via}"
        return f"{where} asked {host_port(*self.target)} and was seen as {host_port(*self.seen)}"


class Asked(NamedTuple):
    """How many endpoints of one transport and family were asked, and how many answered."""

    asked: int = 0
    answered: int = 0


NOBODY = Asked()


@dataclass
class Evidence:
    """``None`` is: not tried, or not to be told. ``udp`` and ``tcp`` are of IPv4.

    ``other_host`` and ``other_port``: whether answers came through from where nothing had been sent to, over IPv4; the ``6`` ones over
    IPv6. ``moved``: a mapping's port was another one after a packet had come before the own one. ``shallow``: what the first router alone
    has let out opened the whole way in; False: only a packet that went further did. ``external``: the address that a router's port mapping
    named as its own outside one.
    """

    own_hosts: frozenset[str] = frozenset()
    sightings: list[Sighting] = field(default_factory=list)
    sent: dict[tuple[str, int, str, int], float] = field(default_factory=dict)
    """When the first packet left, for each transport, own socket, far address and port: each may have made a mapping."""
    udp: Asked = NOBODY
    udp6: Asked = NOBODY
    tcp: Asked = NOBODY
    other_host: bool | None = None
    other_port: bool | None = None
    other_host6: bool | None = None
    other_port6: bool | None = None
    moved: bool | None = None
    hairpin: bool | None = None
    shallow: bool | None = None
    over_tcp: bool = False
    """Something else passes by TCP: a link to a mediator."""
    port_mapping: PortMapping = ""
    external: str = ""
    lifetime: float = 0.0

    def of(self, transport: str, version: int = 4) -> list[Sighting]:
        """The sightings of one transport and IP version, in the order in which the packets left."""
        wanted = [one for one in self.sightings if one.transport == transport and (":" in one.target[0]) == (version == 6)]
        return sorted(wanted, key=lambda one: (one.at, one.order))
