"""One session (a key pair of the white paper): sealing, opening, and the limits of a key.

Nonces are 4 zero bytes and the 64-bit counter as the message has it: little-endian in WireGuard (white paper, section 5.4.6), big-endian
with AES-256-GCM (Noise, revision 34, section 12).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from userlan.tunnel import messages, primitives
from userlan.tunnel.constants import (
    PADDING,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
    RENEW_ON_RECEIVE_TIME,
    SEND_MARGIN,
)
from userlan.tunnel.endpoint import Buffer
from userlan.tunnel.handshake import Keys
from userlan.tunnel.replay import ReplayWindow
from userlan.tunnel.suites import CHACHA20_POLY1305, Suite

_NONCE_START = bytes(4)
_HEADER = messages.TRANSPORT_HEADER


@lru_cache(maxsize=64)
def _layout(datagram: int) -> struct.Struct:
    """Type with index, counter, and sealed packet of a datagram of that size."""
    return struct.Struct(f"8s8s{datagram - _HEADER}s")


def padding(length: int, mtu: int) -> int:
    """How many zero bytes follow a packet of `length`: up to a multiple of 16, but not over the MTU."""
    return max(min(-length % PADDING, mtu - length), 0)


class Session:
    """Keys and counters of both directions; ages are counted from `created` (monotonic seconds).

    head: the first 8 bytes of every datagram received for it. confirmed: the peer has shown that it holds the keys.
    response_mac1: mac1 of the response that was sent for it, for a cookie reply to it.
    """

    __slots__ = (
        "_byteorder",
        "_decrypt",
        "_encrypt",
        "_send_head",
        "confirmed",
        "created",
        "head",
        "initiator",
        "local_index",
        "replay",
        "response_mac1",
        "send_counter",
        "suite",
    )

    def __init__(self, keys: Keys, now: float, suite: Suite = CHACHA20_POLY1305) -> None:
        self.suite = suite
        self.created = now
        self.initiator = keys.initiator
        self.confirmed = keys.initiator
        self.local_index = keys.local_index
        self.head = suite.types.transport + keys.local_index
        self.send_counter = 0
        self.replay = ReplayWindow(suite.reject_after)
        self.response_mac1 = b""
        self._byteorder = suite.byteorder
        self._send_head = suite.types.transport + keys.remote_index
        self._encrypt = suite.cipher(keys.send).encrypt
        self._decrypt = suite.cipher(keys.receive).decrypt

    def can_send(self, now: float, count: int = 1) -> bool:
        """Whether `count` more messages may be sealed, and will still be young enough when they arrive."""
        young = now - self.created < REJECT_AFTER_TIME - SEND_MARGIN
        return young and self.send_counter + count <= self.suite.reject_after

    def can_receive(self, now: float) -> bool:
        """Whether messages may still be opened, as far as time goes (the window knows the limit of the counter)."""
        return now - self.created < REJECT_AFTER_TIME

    def renew_on_send(self, now: float) -> bool:
        """Whether a message just sealed is the occasion for a new handshake."""
        return self.send_counter > self.suite.rekey_after or (self.initiator and now - self.created >= REKEY_AFTER_TIME)

    def renew_on_receive(self, now: float) -> bool:
        """Whether a message just opened is: the initiator had nothing to send while the session grew old."""
        return self.initiator and now - self.created >= RENEW_ON_RECEIVE_TIME

    def seal(self, packets: Sequence[bytes], mtu: int) -> bytes:
        """The transport messages of `packets`, back to back.

        All packets but the last have one size and the last is no longer: so it comes out in the datagrams, too.
        """
        counter = self.send_counter
        self.send_counter = counter + len(packets)
        encrypt = self._encrypt
        head = self._send_head
        byteorder = self._byteorder
        short = padding(len(packets[-1]), mtu)
        if len(packets) == 1:
            count = counter.to_bytes(8, byteorder)
            packet = packets[0] + bytes(short) if short else packets[0]
            return b"".join((head, count, encrypt(_NONCE_START + count, packet, None)))
        filling = padding(len(packets[0]), mtu)
        if filling:
            filler = bytes(filling)
            packets = [packet + filler for packet in packets[:-1]] + [packets[-1] + bytes(short)]
        elif short:
            packets = [*packets[:-1], packets[-1] + bytes(short)]
        counts = [number.to_bytes(8, byteorder) for number in range(counter, self.send_counter)]
        sealed = [encrypt(_NONCE_START + count, packet, None) for count, packet in zip(counts, packets, strict=True)]
        return b"".join([part for pair in zip(counts, sealed, strict=True) for part in (head, *pair)])

    def open_burst(self, data: Buffer, segment: int) -> list[bytes] | None:
        """The packets of a whole receive buffer of equal datagrams (the last may be shorter), at once.

        None, and nothing has happened, unless every one is of this session, authentic, and newer than the one before.
        """
        view = memoryview(data)
        if int.from_bytes(view[8:16], self._byteorder) <= self.replay.newest:
            return None
        if len(view) <= segment:
            return self._open_one(view)
        whole = len(view) - len(view) % segment
        if 0 < len(view) - whole < messages.TRANSPORT_MINIMUM or segment < messages.TRANSPORT_MINIMUM:
            return None
        rows = list(_layout(segment).iter_unpack(view[:whole]))
        if whole < len(view):
            rows.append(_layout(len(view) - whole).unpack(view[whole:]))
        head, decrypt = self.head, self._decrypt
        try:
            packets = [decrypt(_NONCE_START + count, sealed, None) for start, count, sealed in rows if start == head]
        except primitives.AuthenticationError:
            return None
        if len(packets) != len(rows) or not self._mark_ascending([row[1] for row in rows]):
            return None
        return packets

    def _open_one(self, view: memoryview) -> list[bytes] | None:
        """A single datagram with a new counter; it may be as large as framed TCP carries, so it is not copied."""
        count = bytes(view[8:16])
        if len(view) < messages.TRANSPORT_MINIMUM or view[:8] != self.head:
            return None
        try:
            packet = self._decrypt(_NONCE_START + count, view[_HEADER:], None)
        except primitives.AuthenticationError:
            return None
        return [packet] if self._mark_ascending([count]) else None

    def _mark_ascending(self, counts: list[bytes]) -> bool:
        """Mark authenticated counters (8 bytes each), if each is newer than the one before; False: none was marked."""
        byteorder = self._byteorder
        first, total = int.from_bytes(counts[0], byteorder), len(counts)
        last, limit = first + total - 1, self.suite.reject_after
        if first <= self.replay.newest or last >= limit:
            return False
        layout = f"<{total}Q" if byteorder == "little" else f">{total}Q"
        if total == 1 or b"".join(counts) == struct.pack(layout, *range(first, last + 1)):
            self.replay.mark_run(first, total)
            return True
        counters = [int.from_bytes(count, byteorder) for count in counts]
        if counters[-1] >= limit or any(one >= later for one, later in pairwise(counters)):
            return False
        for counter in counters:
            self.replay.mark(counter)
        return True

    def open(self, datagram: Buffer, counters: Counter[str]) -> bytes | None:
        """The packet of one datagram of this session (at least 32 bytes), or None and the reason counted."""
        nonce = _NONCE_START + bytes(datagram[8:16])
        counter = int.from_bytes(nonce[4:], self._byteorder)
        if not self.replay.fresh(counter):
            counters["transport-replayed"] += 1
            return None
        try:
            packet = self._decrypt(nonce, datagram[_HEADER:], None)
        except primitives.AuthenticationError:
            counters["transport-unauthenticated"] += 1
            return None
        self.replay.mark(counter)
        return packet


class Keyring:
    """The sessions of one peer: `current` sends; `previous` and `next` only receive (white paper, section 6).

    Where the paper keeps one previous and one next session, a few are kept, the oldest first: several initiations may
    be under way in both directions at once, and whatever the peer decides to send with must be there. Each method
    returns the sessions that are held no longer.
    """

    __slots__ = ("current", "next", "previous")

    def __init__(self) -> None:
        self.current: Session | None = None
        self.previous: list[Session] = []
        self.next: list[Session] = []

    def complete(self, session: Session, limit: int, now: float) -> list[Session]:
        """The initiator's new session: it is used at once. Unconfirmed ones only receive from now on."""
        if self.current is not None:
            self.previous.append(self.current)
        self.previous += self.next
        self.next = []
        self.current = session
        return self._trim(limit, now)

    def derive(self, session: Session, limit: int) -> list[Session]:
        """The responder's new session: it waits for the first message under its keys. At most `limit` wait."""
        self.next.append(session)
        dropped, self.next = self.next[:-limit], self.next[-limit:]
        return dropped

    def confirm(self, session: Session, limit: int, now: float) -> tuple[bool, list[Session]]:
        """A message came in under the session's keys: use it if it waited for that. True when it did."""
        session.confirmed = True
        if session not in self.next:
            return False, []
        place = self.next.index(session)
        if self.current is not None:
            self.previous.append(self.current)
        self.previous += self.next[:place]
        self.next = self.next[place + 1 :]
        self.current = session
        return True, self._trim(limit, now)

    def clear(self) -> list[Session]:
        """Give up everything."""
        dropped = [*self.previous, *self.next]
        if self.current is not None:
            dropped.append(self.current)
        self.current, self.previous, self.next = None, [], []
        return dropped

    def _trim(self, limit: int, now: float) -> list[Session]:
        kept = [session for session in self.previous if session.can_receive(now)][-limit:]
        dropped = [session for session in self.previous if session not in kept]
        self.previous = kept
        return dropped
