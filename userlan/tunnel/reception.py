"""Handshake messages that arrive at a device: which are worth a Diffie-Hellman, which peer they are of, and what answers them."""

from __future__ import annotations

from collections.abc import Callable

from userlan.tunnel import handshake, primitives
from userlan.tunnel.constants import INITIATION_INTERVAL, KEY_SIZE
from userlan.tunnel.cookie import CookieChecker
from userlan.tunnel.endpoint import Buffer, Endpoint
from userlan.tunnel.events import Expired, UnknownPeer
from userlan.tunnel.handshake import Consumed
from userlan.tunnel.load import LoadMeter, SourceLimiter
from userlan.tunnel.peer import Peer
from userlan.tunnel.session import Session
from userlan.tunnel.shared import Shared
from userlan.tunnel.suites import AES_256_GCM, CHACHA20_POLY1305, SUITES, Suite
from userlan.tunnel.unknown import UnknownPeers

_SUITE_OF = {suite.types.initiation: suite for suite in SUITES}


class Reception:
    """Of one device. Whatever is not obeyed is counted; a peer that is returned has timers that may be due sooner.

    peers: the device's, by key. unknown: those among them that were not added, None: none are taken in. remove: forgets a peer.
    load: whether the device is under load.
    """

    def __init__(
        self,
        shared: Shared,
        peers: dict[bytes, Peer],
        unknown: UnknownPeers | None,
        remove: Callable[[bytes], None],
        load: LoadMeter,
    ) -> None:
        self._shared = shared
        self._counters = shared.counters
        self._identity = shared.identity
        self._peers = peers
        self._unknown = unknown
        self._remove = remove
        self._load = load
        self._sources = SourceLimiter()
        self._cookies = CookieChecker(shared.identity.public, shared.entropy)

    def ours(self, initiation: Buffer) -> bool:
        """Whether an initiation (148 bytes) was made for this device."""
        return self._cookies.mac1_valid(initiation)

    def initiation(self, message: bytes, source: Endpoint, now: float) -> Peer | None:
        """Of any suite, 148 bytes."""
        suite = _SUITE_OF[message[:4]]
        if suite is AES_256_GCM and not self._shared.aes:
            self._counters["cipher-refused"] += 1
            return None
        if not self._cookies.mac1_valid(message):
            self._counters["mac1-invalid"] += 1
            return None
        if not self._affordable(message, source, now):
            return None
        try:
            consumed = self._consume(message, suite)
            peer = self._initiator_of(consumed, source, now) if consumed is not None else None
            if consumed is not None and peer is not None:
                self._respond(peer, consumed, source, now)
                return peer
        except primitives.LowOrderPointError:
            self._counters["low-order-point"] += 1
        return None

    def response(self, message: bytes, source: Endpoint, now: float) -> Peer | None:
        """Of any suite, 92 bytes."""
        held = self._shared.indices.initiations.get(message[8:12])
        if held is None or held[1].state.suite.types.response != message[:4]:
            self._counters["response-unknown-index"] += 1
            return None
        if not self._cookies.mac1_valid(message):
            self._counters["mac1-invalid"] += 1
            return None
        if not self._affordable(message, source, now):
            return None
        peer, outstanding = held
        peer.response_received(outstanding, message, source, now)
        return peer

    def cookie_reply(self, message: bytes, now: float) -> None:
        """64 bytes."""
        index = message[4:8]
        initiation = self._shared.indices.initiations.get(index)
        session = self._shared.indices.session(index)
        if initiation is not None:
            peer, mac1 = initiation[0], initiation[1].mac1
        elif session is not None and session[1].response_mac1:
            peer, mac1 = session[0], session[1].response_mac1
        else:
            self._counters["cookie-unknown-index"] += 1
            return
        if peer.initiations.cookie.consume_reply(message, mac1, now):
            self._counters["cookies-received"] += 1
        else:
            self._counters["cookie-unauthenticated"] += 1

    # --- inside

    def _affordable(self, message: bytes, source: Endpoint, now: float) -> bool:
        """Whether Diffie-Hellman may be spent on a message whose mac1 is valid; under load a cookie is asked for."""
        if not self._load.message(now):
            return True
        if not self._cookies.mac2_valid(message, source, now):
            reply = self._cookies.reply(message, source, now)
            self._shared.outgoing.add(reply, len(reply), source)
            self._counters["cookies-sent"] += 1
            return False
        if not self._sources.allow(source, now):
            self._counters["source-rate-limited"] += 1
            return False
        return True

    def _consume(self, message: bytes, suite: Suite) -> Consumed | None:
        """The initiation authenticated, from a peer that may talk to us; None, and counted, otherwise."""
        opened = handshake.open_initiation(self._identity, message, suite)
        if opened is None:
            self._counters["initiation-unauthenticated"] += 1
            return None
        peer = self._peers.get(opened.remote)
        if opened.remote == self._identity.public or (peer is None and self._unknown is None):
            self._counters["unknown-peer"] += 1
            return None
        if peer is not None:
            static_secret = peer.initiations.static_secret()
        else:
            static_secret = primitives.shared_secret(self._identity.private, opened.remote)
        consumed = handshake.authenticate_initiation(opened, static_secret)
        if consumed is None:
            self._counters["initiation-unauthenticated"] += 1
        return consumed

    def _initiator_of(self, consumed: Consumed, source: Endpoint, now: float) -> Peer | None:
        """The peer that an authenticated initiation is of; None, and counted, when it may not be answered."""
        peer = self._peers.get(consumed.remote)
        if peer is None:
            peer = self._admit_unknown(consumed.remote, source, now)
            if peer is None:
                return None
        if peer.stock and consumed.suite is not CHACHA20_POLY1305:
            self._counters["cipher-refused"] += 1
            return None
        if consumed.timestamp <= peer.last_timestamp:
            self._counters["initiation-replayed"] += 1
            return None
        if now - peer.last_initiation_received < INITIATION_INTERVAL:
            self._counters["initiation-flood"] += 1
            return None
        peer.last_timestamp = consumed.timestamp
        peer.last_initiation_received = now
        return peer

    def _admit_unknown(self, public_key: bytes, source: Endpoint, now: float) -> Peer | None:
        unknown = self._unknown
        room, leaving = unknown.make_room(now) if unknown is not None else (False, None)
        if unknown is None or not room:
            self._counters["unknown-full"] += 1
            return None
        if leaving is not None:
            self._counters["unknown-evicted"] += 1
            self._remove(leaving.public_key)
            self._shared.emit(Expired(leaving.public_key))
        peer = self._peers[public_key] = Peer(public_key, self._shared)
        peer.unknown = True
        unknown.admit(peer, now)
        self._shared.emit(UnknownPeer(public_key, source))
        return peer

    def _respond(self, peer: Peer, consumed: Consumed, source: Endpoint, now: float) -> None:
        index = self._shared.indices.fresh()
        body, keys = handshake.create_response(consumed, peer.preshared_keys[0], self._shared.entropy(KEY_SIZE), index)
        message = peer.initiations.cookie.add_macs(body, now)
        peer.response_sent(Session(keys, now, consumed.suite), message, source, now)
