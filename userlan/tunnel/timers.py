"""The timers of one peer, named after what happened (white paper, section 6; kernel: timers.c).

    event                                starts                              stops
    data sent                            new handshake (15 s + jitter)
    the same, by the endpoint in use     path silence (0.5 s, where asked for)
    data received                        keepalive (10 s)
    anything authenticated sent          persistent keepalive                keepalive
    anything authenticated received      persistent keepalive                new handshake
    the same, by the endpoint in use                                         path silence
    initiation sent                      retransmission (5 s + jitter)
    session derived                      zero key material (540 s)
    session superseded                   superseded (180 s since it came about)
    handshake complete                                                       retransmission
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from userlan.tunnel.constants import (
    FLOW_PATIENCE,
    HANDSHAKE_ATTEMPTS,
    KEEPALIVE_TIMEOUT,
    NEW_HANDSHAKE_TIMEOUT,
    REKEY_TIMEOUT,
    ZERO_KEY_MATERIAL_TIME,
)


class Action(Enum):
    """What an expired timer asks of the peer."""

    RETRANSMIT_HANDSHAKE = auto()
    GIVE_UP_HANDSHAKE = auto()
    SEND_KEEPALIVE = auto()
    NEW_HANDSHAKE = auto()
    ZERO_KEY_MATERIAL = auto()
    PERSISTENT_KEEPALIVE = auto()
    DEFERRED_INITIATION = auto()
    DROP_SUPERSEDED = auto()
    PATH_SILENT = auto()


class Timers:
    """Deadlines in monotonic seconds, infinite while a timer does not run.

    `earliest` is never later than the first of them (it may be earlier: stopping a timer does not move it), so that the
    data path need not search. `jitter` (seconds) is drawn anew by the peer for each handshake. `patience`: seconds after data was sent
    for which the endpoint in use may stay silent, infinite: nobody asks.
    """

    __slots__ = (
        "_another_keepalive",
        "_attempts",
        "_deferred_initiation",
        "_keepalive",
        "_new_handshake",
        "_path_silence",
        "_persistent_keepalive",
        "_retransmission",
        "_superseded",
        "_zero_key_material",
        "earliest",
        "jitter",
        "path_flowed",
        "path_used_at",
        "patience",
        "persistent_interval",
    )

    def __init__(self) -> None:
        self.earliest = inf
        self.jitter = 0.0
        self.persistent_interval = 0.0
        self.patience = inf
        self.path_used_at = -inf
        self.path_flowed = False
        self._path_silence = inf
        self._retransmission = inf
        self._keepalive = inf
        self._new_handshake = inf
        self._zero_key_material = inf
        self._persistent_keepalive = inf
        self._deferred_initiation = inf
        self._superseded = inf
        self._attempts = 0
        self._another_keepalive = False

    @property
    def handshake_running(self) -> bool:
        """Whether an initiation will be repeated."""
        return self._retransmission < inf

    def data_sent(self, now: float) -> None:
        if self._new_handshake == inf:
            self._new_handshake = due = now + NEW_HANDSHAKE_TIMEOUT + self.jitter
            if due < self.earliest:
                self.earliest = due

    def path_used(self, now: float) -> None:
        """Data left by the endpoint in use."""
        self.path_used_at = now
        if self._path_silence == inf:
            self._path_silence = due = now + self.patience
            if due < self.earliest:
                self.earliest = due

    def path_heard(self) -> None:
        """Something authenticated came by the endpoint in use."""
        self._path_silence = inf

    def path_flows(self, now: float) -> None:
        """It was much, as a flow brings it, and will be missed."""
        self.path_flowed = True
        self._path_silence = due = now + FLOW_PATIENCE * self.patience
        if due < self.earliest:
            self.earliest = due

    def data_received(self, now: float) -> None:
        if self._keepalive == inf:
            self._keepalive = due = now + KEEPALIVE_TIMEOUT
            if due < self.earliest:
                self.earliest = due
        else:
            self._another_keepalive = True

    def keepalive_sent(self, now: float) -> None:
        """The keepalive that was due has left: if more data came while it waited, another one follows."""
        if self._another_keepalive:
            self._another_keepalive = False
            self.data_received(now)

    def authenticated_sent(self, now: float) -> None:
        self._keepalive = inf
        self._traversal(now)

    def authenticated_received(self, now: float) -> None:
        self._new_handshake = inf
        self._traversal(now)

    def _traversal(self, now: float) -> None:
        if self.persistent_interval:
            self._persistent_keepalive = due = now + self.persistent_interval
            if due < self.earliest:
                self.earliest = due

    def handshake_begun(self) -> None:
        """A handshake is wanted for another reason than an unanswered initiation: the attempts are counted anew."""
        self._attempts = 0

    def initiation_sent(self, now: float) -> None:
        self.initiation_due(now + REKEY_TIMEOUT + self.jitter)

    def initiation_due(self, due: float) -> None:
        """The next initiation goes out at `due`, unless the handshake completes before."""
        self._retransmission = due
        self.earliest = min(self.earliest, due)

    def handshake_complete(self) -> None:
        self._retransmission = inf
        self._deferred_initiation = inf
        self._attempts = 0

    def session_derived(self, now: float) -> None:
        self._zero_key_material = due = now + ZERO_KEY_MATERIAL_TIME
        self.earliest = min(self.earliest, due)

    def superseded(self, due: float) -> None:
        """The first session beside the current one is too old at `due`; infinite: there is none."""
        self._superseded = due
        self.earliest = min(self.earliest, due)

    def persistent_keepalive_due(self, due: float) -> None:
        """The interval was set: begin at `due`."""
        self._persistent_keepalive = due if self.persistent_interval else inf
        self.earliest = min(self.earliest, self._persistent_keepalive)

    def defer_initiation(self, due: float) -> None:
        """An initiation was asked for sooner than the peer answers one."""
        self._deferred_initiation = min(self._deferred_initiation, due)
        self.earliest = min(self.earliest, due)

    def stop(self) -> None:
        """No timer runs any more."""
        self._retransmission = self._keepalive = self._new_handshake = self._zero_key_material = inf
        self._persistent_keepalive = self._deferred_initiation = self._superseded = self._path_silence = self.earliest = inf

    def expired(self, now: float) -> list[Action]:
        """What is due; each timer named stops. Ask `settle` when all of it is done."""
        actions: list[Action] = []
        if self._zero_key_material <= now:
            self._zero_key_material = inf
            actions.append(Action.ZERO_KEY_MATERIAL)
        if self._superseded <= now:
            self._superseded = inf
            actions.append(Action.DROP_SUPERSEDED)
        if self._deferred_initiation <= now:
            self._deferred_initiation = inf
            actions.append(Action.DEFERRED_INITIATION)
        if self._retransmission <= now:
            actions.append(self._retransmission_expired(now))
        if self._new_handshake <= now:
            self._new_handshake = inf
            actions.append(Action.NEW_HANDSHAKE)
        if self._keepalive <= now:
            self._keepalive = inf
            actions.append(Action.SEND_KEEPALIVE)
        if self._path_silence <= now:
            self._path_silence = inf
            actions.append(Action.PATH_SILENT)
        if self._persistent_keepalive <= now:
            self._persistent_keepalive = now + self.persistent_interval
            actions.append(Action.PERSISTENT_KEEPALIVE)
        return actions

    def _retransmission_expired(self, now: float) -> Action:
        self._retransmission = inf
        self._attempts += 1
        if self._attempts < HANDSHAKE_ATTEMPTS:
            return Action.RETRANSMIT_HANDSHAKE
        self._attempts = 0
        if self._zero_key_material == inf:
            self._zero_key_material = now + ZERO_KEY_MATERIAL_TIME
        return Action.GIVE_UP_HANDSHAKE

    def settle(self) -> None:
        """Find the first deadline again, after `expired` and what followed from it."""
        self.earliest = min(
            self._retransmission,
            self._keepalive,
            self._new_handshake,
            self._zero_key_material,
            self._persistent_keepalive,
            self._deferred_initiation,
            self._superseded,
            self._path_silence,
        )
