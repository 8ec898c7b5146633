"""The link to a guest: a ``LanLink`` whose far side is a stock WireGuard tunnel of the node's own device (``userlan.node.guest``).

::

    tunnel ──▶ core.receive ──▶ Guest ── once the sockets were read ──▶ LanLink.carry ──▶ Attachment ──▶ members, Uplink
    Host.unclaimed, Uplink ──▶ GuestLink.deliver ──▶ Guest ──▶ tunnel
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from userlan.driver.link import LanLink
from userlan.driver.runner import CoreRunner
from userlan.driver.uplink import Uplink
from userlan.node.guest import KEEPALIVE, LEAST_MTU, Guest, GuestState, distant
from userlan.tunnel.handshake import Identity
from userlan.wire.endpoint import UDP, Endpoint, host_port
from userlan.wire.superpacket import SuperPacket

__all__ = ["KEEPALIVE", "LEAST_MTU", "GuestKeys", "GuestLink", "GuestSeat", "guest_keys", "host_port"]

STACK_PORTS = (2_048, 9_999)
"""Ephemeral ports of the node's own stack: below those of every kernel that a guest may have (Linux from 32768, Apple's and Windows'
from 49152, the BSDs' from 10000)."""


@attrs.frozen
class GuestSeat:
    """Who may come. Keys have 32 octets; ``mtu``: octets of its interface; ``last``: where it was last, host and port."""

    public_key: bytes
    preshared_key: bytes = attrs.field(repr=False)
    mtu: int
    last: tuple[str, int] | None = None


@attrs.frozen
class GuestKeys:
    """Of a guest, as WireGuard writes them: base64."""

    private: str = attrs.field(repr=False)
    public: str
    preshared: str = attrs.field(repr=False)


def guest_keys(entropy: Callable[[int], bytes]) -> GuestKeys:
    """Fresh ones; the private one is clamped (RFC 7748 5), as ``wg genkey`` leaves it."""
    private = bytearray(entropy(32))
    private[0] &= 248
    private[31] = private[31] & 127 | 64
    return GuestKeys(*(base64.b64encode(key).decode() for key in (bytes(private), Identity(bytes(private)).public, entropy(32))))


class GuestLink:
    """Made by ``Lan.attach_guest``. ``link`` has its addresses; what it sends is counted there, what is sent to it here."""

    def __init__(self, runner: CoreRunner, seat: GuestSeat, uplink: Uplink | None) -> None:
        core: Any = runner.core
        self._runner = runner
        self._guest: Guest | None = None
        self.link = LanLink(runner, self, STACK_PORTS, uplink, distant(core.roster.address_range))
        self.link.in_the_way = "this node is a guest's"
        last = Endpoint(UDP, *seat.last) if seat.last is not None else None
        try:
            self._guest = Guest(core, seat.public_key, seat.preshared_key, seat.mtu, self.link.carry, runner.now(), last)
        except ValueError:
            self.link.detach()
            raise
        self.link.gather = self._gather
        runner.touch()

    def _gather(self) -> None:
        if self._guest is not None:
            self._guest.flush(self._runner.now())

    def deliver(self, packets: Sequence[SuperPacket]) -> None:
        """Packets for the guest."""
        if self._guest is not None:
            self._guest.send(packets, self._runner.now())
            self._runner.touch()

    def state(self) -> GuestState:
        """What is known of it."""
        if self._guest is None:
            return GuestState(False, None, None, None, 0, 0)
        return self._guest.state(self._runner.now())

    def counters(self) -> dict[str, int]:
        """What was dropped, by reason."""
        told = {f"to-guest-{reason}": count for reason, count in self._guest.counters.items()} if self._guest is not None else {}
        return {**self.link.counters(), **told}

    def detach(self) -> None:
        """It is a guest no longer. Idempotent."""
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.close()
            self.link.detach()
