"""Who is who on the LAN, as bridges and embedding programs ask: names, addresses, members."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from userlan.lan.addresses import is_lan_ipv6
from userlan.lan.names import Resolver
from userlan.lan.roster import Roster
from userlan.node.blocking import Blocked


@attrs.frozen
class Description:
    """A member of the LAN as the program around sees it; addresses packed, empty while unknown."""

    name: str
    key: bytes
    ipv4: bytes
    ipv6: bytes
    networks: tuple[str, ...] = ()
    """The networks that it shares with this node; of this node: all of them."""
    blocked: bool = False
    """Whether this node wants nothing to do with it."""
    given: str = ""
    """Of this node: ``Roster.given_name``. Another member's is its ``name``."""


class Lookup:
    """Always the roster's present state. ``wanted_name`` is this node's nickname until a mediator has confirmed one."""

    def __init__(self, roster: Roster, wanted_name: str, blocked: Blocked | None = None) -> None:
        self.resolver = Resolver(roster)
        self.wanted_name = wanted_name
        self._roster = roster
        self._blocked = Blocked() if blocked is None else blocked

    def peer_info(self, address: bytes) -> Description | None:
        """The member that has a packed address, this node included."""
        key = self._roster.key_at(address)
        if key is None:
            return None
        if key == self._roster.own_key:
            return self.own_info()
        peer = self._roster.peers[key]
        return Description(peer.name, key, peer.ipv4, peer.ipv6, peer.networks, key in self._blocked)

    def members(self) -> Iterator[Description]:
        """All members but this node."""
        for key, peer in self._roster.peers.items():
            yield Description(peer.name, key, peer.ipv4, peer.ipv6, peer.networks, key in self._blocked)

    def own_info(self) -> Description:
        """This node."""
        roster = self._roster
        ipv6 = roster.own_addresses[-1]
        name = roster.own_name or self.wanted_name
        return Description(name, roster.own_key, roster.own_ipv4, ipv6, tuple(roster.networks), given=roster.given_name)

    def is_lan_address(self, address: bytes) -> bool:
        """Whether a packed address lies in the LAN's ranges."""
        return self._roster.address_range.contains(address) or is_lan_ipv6(address)

    def is_lan_name(self, text: str) -> bool:
        """Whether a host name is the LAN's."""
        return self.resolver.is_lan(text)
