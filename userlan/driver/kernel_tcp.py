"""What is told to, and asked of, the kernel about a TCP connection that carries frames.

A kernel's TCP bears a dead path for a quarter of an hour and a lossy one for ever; what is inside (``framed``) has
better to do, where there is UDP beside it. So its patience is cut short, its queue, too, and it is asked now and then
how the path is. All of this where the system has it (Linux); elsewhere connections end as that system thinks fit.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from math import inf
from typing import Any, NamedTuple

USER_TIMEOUT = 10.0
"""Seconds for which sent data may stay unacknowledged (TCP_USER_TIMEOUT, RFC 5482; a kernel's own limit is a quarter of an hour):
shorter than the silence after which a node takes a peer for gone, so that the next attempt finds no dead connection."""
NOT_SENT_LOW = 128 * 1024
"""Bytes that the kernel keeps unsent (TCP_NOTSENT_LOWAT): beyond that they wait where they can still be dropped."""
SAMPLE_INTERVAL = 0.25
"""Seconds between two looks at the kernel's view of a connection in use."""
UNANSWERED = 0.5
"""Seconds without an acknowledgement for what was sent: some of the kernel's retransmissions (from 0.2 s on) were not answered either."""
LOSSY_INTERVAL = 1.0
"""Seconds over which losses are counted."""
LOSSY_LEAST = 3
"""Retransmissions in that time that are chance, not a rate."""
LOSSY_RATE = 500e6
"""Bits a second: where a kernel's TCP can reach no more than this at the share of segments that it had to send again, it is no better
than UDP. Mathis et al. 1997: rate = MSS / RTT × 1.22 / sqrt(share)."""
MATHIS = 1.22 * 1448 * 8
"""Bits: that formula's constant times an Ethernet MSS."""
TCP_INFO_LENGTH = 152
"""Bytes of Linux's tcp_info up to tcpi_min_rtt: the path's own round trip, without the queues of a busy computer."""


class Info(NamedTuple):
    """Segments unacknowledged, sent again, and sent; seconds since the last acknowledgement, and the least round trip."""

    unacknowledged: int
    retransmitted: int
    sent: int
    silence: float
    rtt: float


def read_info(info: bytes) -> Info | None:
    """tcpi_unacked, _total_retrans, _segs_out, _last_ack_recv, _min_rtt (Linux, include/uapi/linux/tcp.h); None: an older kernel."""
    if len(info) < TCP_INFO_LENGTH:
        return None
    unacknowledged, retransmitted, sent, silence, rtt = (int.from_bytes(info[at : at + 4], sys.byteorder) for at in (24, 100, 136, 56, 148))
    return Info(unacknowledged, retransmitted, sent, silence / 1e3, rtt / 1e6)


class PathWatch:
    """Of one connection; asked before each write."""

    __slots__ = ("_lossy_at", "_sample_at", "_sampled")

    def __init__(self) -> None:
        self._sample_at = 0.0
        self._lossy_at = 0.0
        self._sampled = (0, 0)

    def look(self, handle: socket.socket, now: float) -> str:
        """What speaks against the path, if anything new does: "unanswered", "lossy", or nothing."""
        if now < self._sample_at:
            return ""
        self._sample_at = now + SAMPLE_INTERVAL
        try:
            info = read_info(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH))
        except (OSError, AttributeError):
            info = None
        if info is None:
            self._sample_at = inf
            return ""
        if info.unacknowledged and info.silence >= UNANSWERED:
            return "unanswered"
        if now < self._lossy_at:
            return ""
        self._lossy_at = now + LOSSY_INTERVAL
        lost, of = info.retransmitted - self._sampled[0], info.sent - self._sampled[1]
        self._sampled = (info.retransmitted, info.sent)
        lossy = lost >= LOSSY_LEAST and info.rtt**2 * lost > of * (MATHIS / LOSSY_RATE) ** 2
        return "lossy" if lossy else ""


def tune(transport: Any) -> None:
    """Keep the kernel's queue short, and its patience, where it can be told."""
    handle = getattr(transport, "getHandle", None)
    if handle is None:
        return
    for name, value in (("TCP_NOTSENT_LOWAT", NOT_SENT_LOW), ("TCP_USER_TIMEOUT", int(USER_TIMEOUT * 1000))):
        with contextlib.suppress(OSError, AttributeError):
            handle().setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
