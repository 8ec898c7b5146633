"""When initiations to one peer leave, where to, and in which suite."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from userlan.tunnel.choice import SuiteChoice
from userlan.tunnel.constants import (
    INITIATE_ENDPOINTS,
    INITIATE_SPACING,
    REKEY_TIMEOUT,
    REKEY_TIMEOUT_JITTER,
    UPGRADE_PATIENCE,
)
from userlan.tunnel.shared import Shared
from userlan.tunnel.suites import AES_256_GCM
from userlan.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from userlan.tunnel.peer import Peer

_JITTER_STEPS = 1 << 16


class Initiator:
    """Of one peer; `Initiations` makes the messages and knows which may still be answered."""

    __slots__ = ("_deferred_targets", "_last_handshake_sent", "_last_initiation_sent", "_peer", "_shared", "_targets", "choice")

    def __init__(self, peer: Peer, shared: Shared) -> None:
        self.choice = SuiteChoice(shared.aes)
        self._peer = peer
        self._shared = shared
        self._targets: tuple[Endpoint, ...] = ()
        self._deferred_targets: tuple[Endpoint, ...] = ()
        self._last_initiation_sent = -inf
        self._last_handshake_sent = -inf

    def begin(self, now: float) -> None:
        """An initiation; if a handshake message left in the last 5 s, later, and only if there is no session."""
        timers = self._peer.timers
        if timers.handshake_running:
            return
        timers.handshake_begun()
        due = self._last_handshake_sent + REKEY_TIMEOUT
        if now < due:
            if not self._peer.has_session(now):
                self._draw_jitter()
                timers.initiation_due(due + timers.jitter)
            return
        self.repeat(now)

    def repeat(self, now: float) -> None:
        """A fresh initiation to the endpoints that are being tried, else to the peer's, and the timer for the next."""
        endpoint = self._peer.endpoint
        targets = self._targets or ((endpoint,) if endpoint is not None else ())
        if targets:
            self._send(targets, now)
        else:
            self._shared.counters["no-endpoint"] += 1
        self._draw_jitter()
        self._peer.timers.initiation_sent(now)

    def initiate(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """A fresh initiation to each endpoint; deferred when the previous one left less than 25 ms ago.

        Without a session it is repeated like any other handshake, to the same endpoints; beside a session it is not.
        """
        timers = self._peer.timers
        targets = tuple(dict.fromkeys(endpoints))[:INITIATE_ENDPOINTS]
        if not targets:
            return
        due = self._last_initiation_sent + INITIATE_SPACING
        if now < due:
            self._deferred_targets = tuple(dict.fromkeys(self._deferred_targets + targets))[:INITIATE_ENDPOINTS]
            timers.defer_initiation(due)
            return
        self._deferred_targets = ()
        self._send(targets, now)
        if self._peer.has_session(now):
            return
        self._targets = targets
        if not timers.handshake_running:
            timers.handshake_begun()
        self._draw_jitter()
        timers.initiation_sent(now)

    def deferred_expired(self, now: float) -> None:
        """An initiation that was asked for earlier: to the endpoints named then, or for what is staged."""
        if self._deferred_targets:
            self.initiate(self._deferred_targets, now)
        elif not self._peer.has_session(now) and now >= self._last_initiation_sent + INITIATE_SPACING:
            self._peer.timers.handshake_begun()
            self.repeat(now)

    def upgrade(self, now: float) -> None:
        """If the session in use is not in AES, though both take it: renew it, 25 ms after the last initiation at the earliest.

        Its initiator does so at once; the responder leaves it a second, so that the two do not cross.
        """
        session, timers = self._peer.keyring.current, self._peer.timers
        if session is None or session.suite is AES_256_GCM or not session.can_send(now):
            return
        if self._peer.stock or self.choice.best is not AES_256_GCM:
            return
        due = now if session.initiator else now + UPGRADE_PATIENCE
        timers.handshake_begun()
        timers.initiation_due(max(due, self._last_initiation_sent + INITIATE_SPACING))

    def responded(self, now: float) -> None:
        """We answered the peer's own initiation."""
        self._last_handshake_sent = now

    def established(self) -> None:
        """A session came about."""
        self._targets = self._deferred_targets = ()

    def gave_up(self) -> None:
        """The endpoints that were tried do not answer."""
        self._targets = ()

    def _send(self, targets: Sequence[Endpoint], now: float) -> None:
        peer = self._peer
        suite = self.choice.ask(peer.has_session(now) and not peer.stock)
        message = peer.initiations.create(suite, now)
        if message is None:
            return
        self._last_initiation_sent = self._last_handshake_sent = now
        for endpoint in targets:
            self._shared.outgoing.add(message, len(message), endpoint)
        peer.tx_bytes += len(message) * len(targets)
        self._shared.counters["initiations-sent"] += 1
        if peer.endpoint in targets:
            peer.timers.authenticated_sent(now)

    def _draw_jitter(self) -> None:
        fraction = int.from_bytes(self._shared.entropy(2), "little") / _JITTER_STEPS
        self._peer.timers.jitter = REKEY_TIMEOUT_JITTER * fraction
