"""The initiator's side of one peer: the initiations that may still be answered, and the peer's cookie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from userlan.tunnel import handshake, messages, primitives
from userlan.tunnel.constants import KEY_SIZE, OUTSTANDING_INITIATIONS
from userlan.tunnel.cookie import CookieHolder
from userlan.tunnel.handshake import InitiatorState, Keys
from userlan.tunnel.shared import Shared
from userlan.tunnel.suites import Suite

if TYPE_CHECKING:
    from userlan.tunnel.peer import Peer


class Outstanding(NamedTuple):
    """An unanswered initiation: its state, its mac1, which a cookie reply refers to, and when it was made (monotonic seconds)."""

    state: InitiatorState
    mac1: bytes
    made_at: float


class Initiations:
    """The last few initiations sent, so that a late answer to an earlier one still completes."""

    __slots__ = ("_outstanding", "_peer", "_shared", "_static_secret", "cookie")

    def __init__(self, peer: Peer, shared: Shared) -> None:
        self._peer = peer
        self._shared = shared
        self._outstanding: list[Outstanding] = []
        self._static_secret = b""
        self.cookie = CookieHolder(peer.public_key)

    def static_secret(self) -> bytes:
        """X25519 of both static keys, computed once. Raises LowOrderPointError."""
        if not self._static_secret:
            self._static_secret = primitives.shared_secret(self._shared.identity.private, self._peer.public_key)
        return self._static_secret

    def create(self, suite: Suite, now: float) -> bytes | None:
        """A fresh initiation (148 bytes) in a suite; None when the peer's key is unusable."""
        shared = self._shared
        index = shared.indices.fresh()
        try:
            body, state = handshake.create_initiation(
                shared.identity,
                self._peer.public_key,
                self.static_secret(),
                shared.entropy(KEY_SIZE),
                index,
                shared.stamp(now),
                suite,
            )
        except primitives.LowOrderPointError:
            shared.counters["low-order-point"] += 1
            return None
        message = self.cookie.add_macs(body, now)
        outstanding = Outstanding(state, message[-messages.MACS_SIZE : -messages.MAC_SIZE], now)
        self._outstanding.append(outstanding)
        shared.indices.initiations[index] = (self._peer, outstanding)
        while len(self._outstanding) > OUTSTANDING_INITIATIONS:
            self._forget(0)
        return message

    def overtaken(self, outstanding: Outstanding, suite: Suite) -> bool:
        """Whether an initiation of that suite, sent before one that was answered now, still waits for its answer."""
        place = self._outstanding.index(outstanding)
        return any(earlier.state.suite is suite for earlier in self._outstanding[:place])

    def complete(self, outstanding: Outstanding, preshared_keys: Sequence[bytes], message: bytes) -> Keys | None:
        """The keys out of a response (92 bytes) to one of ours; it and those before it are then done with."""
        try:
            keys = handshake.consume_response(
                self._shared.identity, outstanding.state, preshared_keys, message
            )
        except primitives.LowOrderPointError:
            self._shared.counters["low-order-point"] += 1
            return None
        if keys is None:
            self._shared.counters["response-unauthenticated"] += 1
            return None
        while self._outstanding[0] is not outstanding:
            self._forget(0)
        self._forget(0)
        return keys

    def clear(self, secrets: bool = False) -> None:
        """Forget every initiation, and with `secrets` what was computed from the static keys."""
        while self._outstanding:
            self._forget(0)
        if secrets:
            self._static_secret = b""

    def _forget(self, place: int) -> None:
        outstanding = self._outstanding.pop(place)
        del self._shared.indices.initiations[outstanding.state.local_index]
