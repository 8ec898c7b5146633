"""The guest's place in its companion: the node's addresses are those of the kernel at the far end of a stock WireGuard tunnel.

Names are resolved by the node's resolver, those of the Internet included: a phone that is told of a resolver asks no other.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from bridges import guest_record
from bridges.internet import make_uplink
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.guest import GuestLink, GuestSeat, host_port
from userlan.driver.lan import Lan

LOOK_INTERVAL = 1.0
"""Seconds between two looks where the guest is, which is remembered: a companion that was started anew calls it there."""


class SeatOptions(msgspec.Struct, frozen=True):
    """There is no section."""


class GuestSeatBridge:
    """The bridge ``guests`` of a companion."""

    name: ClassVar[str] = "guests"
    Options: ClassVar[type[msgspec.Struct]] = SeatOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: object, store: BridgeStore) -> None:
        self._lan, self._store = lan, store
        self._guest: GuestLink | None = None
        self._last: list[Any] | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = lan.reactor

    def start(self) -> Deferred[None]:
        """Let the guest of this folder's record in; fails with CommandError."""
        record = guest_record.load(self._store.path.parent, lambda text: self._log.warn("{text}", text=text))
        if record is None:
            return fail(CommandError(f"{self._store.path.parent} is no guest's: see `userlan guest list`"))
        if record.removed:
            return succeed(None)
        last = _host_and_port(self._store.load())
        try:
            keys = [base64.b64decode(key, validate=True) for key in (record.public, record.preshared)]
            seat = GuestSeat(keys[0], keys[1], record.mtu, last)
            self._guest = self._lan.attach_guest(seat, make_uplink(self._lan, False, names=True))
        except (binascii.Error, ValueError) as error:
            return fail(CommandError(f"the guest's keys are damaged ({error}): `userlan guest remove {record.name}`"))
        self._looking.start(LOOK_INTERVAL, now=False)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """The guest is none any more. Idempotent."""
        if self._looking.running:
            self._look()
            self._looking.stop()
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.detach()
        return succeed(None)

    def status(self) -> object:
        """Of the guest; times are wall seconds."""
        if self._guest is None:
            return None
        state = self._guest.state()
        return {
            "online": state.online,
            "endpoint": host_port(state.endpoint.host, state.endpoint.port) if state.endpoint is not None else None,
            "handshake": round(time.time() - state.handshake) if state.handshake is not None else None,
            "rx_bytes": state.received,
            "tx_bytes": state.sent,
            "counters": self._guest.counters(),
        }

    def commands(self) -> dict[str, CommandHandler]:
        """None."""
        return {}

    def _look(self) -> None:
        endpoint = self._guest.state().endpoint if self._guest is not None else None
        last = [endpoint.host, endpoint.port] if endpoint is not None else None
        if last is not None and last != self._last:
            self._last = last
            try:
                self._store.save(last)
            except CommandError as error:
                self._log.warn("{error}", error=error)


def _host_and_port(saved: object) -> tuple[str, int] | None:
    try:
        return msgspec.convert(saved, tuple[str, int]) if saved is not None else None
    except msgspec.ValidationError:
        return None
