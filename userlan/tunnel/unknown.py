"""Peers that a device took in without having been told of them: a bounded number, the useless ones replaced first."""

from __future__ import annotations

from userlan.tunnel.constants import UNKNOWN_HALF_OPEN_TIME, UNKNOWN_IDLE_TIME
from userlan.tunnel.peer import Peer

_STEPS = 8  # entries looked at for one newcomer, so that a flood costs a constant


class UnknownPeers:
    """Half-open ones (the keys not confirmed yet) and live ones, each in the order of age or of the last look.

    A newcomer takes the place of one that is half-open for 5 s or more, else of one that was silent for 180 s or more,
    and is refused where there is none: nobody can push out a peer that is in use.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half_open: dict[bytes, tuple[Peer, float]] = {}
        self._live: dict[bytes, Peer] = {}

    def __len__(self) -> int:
        return len(self._half_open) + len(self._live)

    def admit(self, peer: Peer, now: float) -> None:
        """Take in a peer; `make_room` said that there is room."""
        self._half_open[peer.public_key] = (peer, now)

    def discard(self, public_key: bytes) -> None:
        """Forget a peer, if it is here."""
        self._half_open.pop(public_key, None)
        self._live.pop(public_key, None)

    def confirmed(self, peer: Peer) -> None:
        """The peer has shown that it holds the keys of its session."""
        if self._half_open.pop(peer.public_key, None) is not None:
            self._live[peer.public_key] = peer

    def make_room(self, now: float) -> tuple[bool, Peer | None]:
        """Whether one more may come in, and which peer has to leave for it (None: none has to)."""
        if len(self) < self._limit:
            return True, None
        for peer, since in self._half_open.values():
            if now - since >= UNKNOWN_HALF_OPEN_TIME:
                return True, peer
            break
        for _ in range(min(_STEPS, len(self._live))):
            public_key = next(iter(self._live))
            peer = self._live[public_key]
            if peer.last_received is None or now - peer.last_received >= UNKNOWN_IDLE_TIME:
                return True, peer
            del self._live[public_key]
            self._live[public_key] = peer
        return False, None
