"""What comes out of a peer's tunnel: whose it is, whether it is believed, and who watches.

::

    device ── key, packet ──▶ a guest's?             where the packets of an attached kernel go (``guest``)
                              a mediator's?          from its own address, to the control service only
                              to one of our own?     its source is the peer's own (switch); a path's echo is for the path
                              to many, or nobody     flooding
                                   ▼
                              Host.receive

An observer sees every inner packet at its border: what left for a peer and what came from one, and of what was dropped, why. While there
is none, nobody pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from userlan.lan.switch import Switch
from userlan.node.flooding import SNOOPED, Flooding
from userlan.node.mediators import Mediators
from userlan.node.peer_table import PeerTable
from userlan.stack.host import Host
from userlan.tunnel.device import Device
from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import PROTOCOL_ICMPV6
from userlan.wire.superpacket import SuperPacket

Direction = Literal["in", "out"]

NO_DROPS = frozenset(("icmp-error-limited", "tcp-reset-sent", "path-mtu-reduced", "path-mtu-doubted", "group-answer-limited"))
"""What the host counts beside packets that it drops; and all that begins with ``sent-``."""


class Observer(Protocol):
    """Sees packets. It must not keep the payload beyond the call: that may be a view of memory that is used again."""

    def packet(self, direction: Direction, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
        """A packet ("in") came from the peer with this key or ("out") is on its way to it. ``reason``: why it went no further (a
        counter's name), None where it did. An empty key: it was for no single peer, and was dropped."""


class Intake:
    """Of one node."""

    def __init__(self, host: Host, switch: Switch, mediators: Mediators, peers: PeerTable, flooding: Flooding, device: Device) -> None:
        self._host = host
        self._switch = switch
        self._mediators = mediators
        self._peers = peers
        self._flooding = flooding
        self._device = device
        self.guest: bytes | None = None
        """The key of a guest: a peer that is no member, and whose packets are ``guest_receives``'s."""
        self.guest_receives: Callable[[SuperPacket, float], str] = _nobody
        self._observer: Observer | None = None
        self.receive: Callable[[bytes, SuperPacket, Endpoint, float], str] = self._receive
        """A packet from a peer's tunnel, with its key, by an endpoint; why it was dropped, if the host did not take it."""

    def watch(self, observer: Observer | None) -> None:
        """Let ``observer`` see every packet from now on; None: nobody."""
        self._observer = observer
        self.receive = self._receive if observer is None else self._receive_watched
        self._device.sent = None if observer is None else partial(_sent, observer)

    def dropped(self, packet: SuperPacket, reason: str, now: float, key: bytes = b"") -> None:
        """A packet of this host's, or of the kernel's, goes nowhere."""
        if self._observer is not None:
            self._observer.packet("out", key, packet, reason, now)

    def _receive(self, key: bytes, packet: SuperPacket, source: Endpoint, now: float) -> str:
        reason = ""
        if key == self.guest:
            return self.guest_receives(packet, now)
        if key in self._mediators.links:
            reason = "" if self._mediators.permitted(key, packet) else "mediator-refused"
        elif packet.destination not in self._host.addresses:
            reason = self._flooding.arrived(key, packet, now)
        elif not self._switch.permitted(key, packet.source):
            reason = "source-forged"
        if not reason and (packet.protocol != PROTOCOL_ICMPV6 or not self._peers.path_echo(key, packet, source, now)):
            self._host.receive(packet, now)
        return reason

    def _receive_watched(self, key: bytes, packet: SuperPacket, source: Endpoint, now: float) -> str:
        observer, before = self._observer, self._host.counters.copy()
        reason = self._receive(key, packet, source, now)
        if observer is not None:
            counted = self._host.counters - before
            why = reason or next((name for name in counted if name not in NO_DROPS and not name.startswith("sent-")), "")
            observer.packet("in", key, packet, None if why in ("", SNOOPED) else why, now)
        return reason


def _nobody(packet: SuperPacket, now: float) -> str:
    return "no-guest"


def _sent(observer: Observer, key: bytes, packet: SuperPacket, now: float) -> None:
    observer.packet("out", key, packet, None, now)
