"""The mediators that a node uses: which there are, at which address of the LAN, and which one counts for its own address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from userlan.control.mediation import MediatorLink, of_control_service
from userlan.control.messages import MAX_CANDIDATES
from userlan.lan.invite import Invite
from userlan.lan.roster import Roster
from userlan.node.keyring import Keyring
from userlan.node.memory import Memory, SavedMediator
from userlan.node.requests import RefusalError
from userlan.stack.host import Host
from userlan.tunnel.device import Device
from userlan.wire.superpacket import SuperPacket

MAX_MEDIATORS = 16
"""Mediators of one node: each costs a tunnel and a connection."""


class Mediators:
    """``links``: one for each mediator, by its key."""

    def __init__(
        self,
        device: Device,
        host: Host,
        roster: Roster,
        keyring: Keyring,
        memory: Memory,
        counters: Counter[str],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.links: dict[bytes, MediatorLink] = {}
        self._device = device
        self._host = host
        self._roster = roster
        self._keyring = keyring
        self._memory = memory
        self._counters = counters
        self._entropy = entropy
        self._keys: dict[bytes, bytes] = {}
        """Its address of the LAN → its key."""

    def add(self, url: Invite, now: float, embedded: bool = False) -> bytes:
        """Use a mediator; its host names are resolved by the caller (``link.unresolved``). Idempotent; its key is returned."""
        key = url.mediator_key
        link = self.links.get(key)
        if link is None:
            if len(self.links) >= MAX_MEDIATORS:
                raise RefusalError(f"this node uses {MAX_MEDIATORS} mediators already")
            if key == self._device.public_key:
                raise RefusalError("this is the link of this node itself")
            if key in self._roster.peers:
                raise RefusalError("this is the key of a member, not of a mediator")
            link = MediatorLink(key, url.endpoints, self._device, self._host, self._entropy)
            self.links[key] = link
            self._keys[link.address] = key
            self._roster.reserved.add(key)
        else:
            link.addresses = tuple(dict.fromkeys((*url.endpoints, *link.addresses)))[:MAX_CANDIDATES]
        self._memory.mediators = [*self._saved_but(key), SavedMediator(str(url.mediator), embedded)]
        return key

    def remove(self, key: bytes, now: float) -> None:
        """Use a mediator no longer (none of its networks is held any more)."""
        link = self.links.pop(key, None)
        if link is not None:
            link.stop(now)
            self._keys.pop(link.address, None)
            self._roster.reserved.discard(key)
            self._memory.mediators = self._saved_but(key)
            self._device.remove_peer(key)

    def at(self, address: bytes) -> bytes | None:
        """The key of the mediator that has this address of the LAN."""
        return self._keys.get(address)

    def permitted(self, key: bytes, packet: SuperPacket) -> bool:
        """Whether a mediator may send this: from its own address, to and from the control service only; else it is counted."""
        if self._keys.get(packet.source) == key and of_control_service(packet):
            return True
        self._counters["mediator-refused"] += 1
        return False

    def primary(self) -> bytes | None:
        """The mediator whose address is this node's: the first with a network of ours, else the first."""
        for network in sorted(self._keyring):
            held = self._keyring.get(network)
            if held is not None and held.mediator in self.links:
                return held.mediator
        return next(iter(self.links), None)

    def _saved_but(self, key: bytes) -> list[SavedMediator]:
        return [one for one in self._memory.mediators if Invite.parse(one.url).mediator_key != key]
