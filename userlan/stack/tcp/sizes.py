"""How long a connection's segments are: what both ends take, what the path takes, and what becomes of it when the path
changes (RFC 9293 3.7.1, RFC 6691). The search for the path's size is in :mod:`.plpmtud`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.stack.tcp.plpmtud import HEADERS_V4, HEADERS_V6
from userlan.stack.tcp.seq import near
from userlan.stack.tcp.timestamps import OPTION_LENGTH

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection

MIN_MSS = 88
"""Octets: a smaller offer only costs work and is taken for this one (Linux: tcp_min_snd_mss, 48)."""


def headers(connection: Connection) -> int:
    """Octets of an IP header and a TCP header without options."""
    return HEADERS_V4 if len(connection.local[0]) == 4 else HEADERS_V6


def overhead(connection: Connection) -> int:
    """Octets of each data packet that are no data."""
    return headers(connection) + (OPTION_LENGTH if connection.timestamps.enabled else 0)


def offered_mss(connection: Connection) -> int:
    """The MSS of our SYN: what the interface takes (RFC 6691)."""
    return max(MIN_MSS, min(connection.path.maximum - headers(connection), connection.config.max_mss))


def largest_to_peer(connection: Connection) -> int:
    """Octets of the largest packet that the peer takes: its MSS is less IP and TCP header alone (RFC 6691)."""
    return min(connection.peer_mss, connection.config.max_mss) + headers(connection)


def effective_segment(connection: Connection) -> int:
    """Octets of payload in one wire segment: both ends' limits and the path's, less the timestamps (RFC 9293 3.7.1)."""
    segment = min(connection.peer_mss, connection.path.plpmtu - headers(connection), connection.config.max_mss)
    return max(MIN_MSS, segment) - (OPTION_LENGTH if connection.timestamps.enabled else 0)


def path_found(connection: Connection) -> None:
    """``path.plpmtu`` changed: segments have another size from now on, and what is in flight and larger is cut anew and
    sent again (RFC 1191 6.5)."""
    sender = connection.sender
    if sender.use_segment(effective_segment(connection)):
        sender.segment_shrank()
    connection.touch()


def path_changed(connection: Connection, mtu: int, now: float) -> None:
    """The owner knows that the path takes IP packets of ``mtu`` octets."""
    if connection.path.changed(min(mtu, largest_to_peer(connection)), connection.sender.sack, now):
        path_found(connection)
    connection.touch()


def too_big(connection: Connection, mtu: int, sequence: int, now: float) -> bool:
    """A message "packet too big" about our segment with this wire sequence number. True: it is to be believed."""
    sender, path = connection.sender, connection.path
    probe = path.probe
    believed = path.too_big(mtu, near(sequence, sender.una), sender.una, now)
    if probe is not None and path.probe is None:
        sender.probe_lost(probe)
        connection.touch()
    return believed


def stalled(connection: Connection, now: float) -> None:
    """The retransmission timer ran out: perhaps what is in flight is too large for the path."""
    sender, path = connection.sender, connection.path
    full = sender.window > 0 and sender.nxt - sender.una > path.base - overhead(connection)
    if path.timed_out(sender.rtt.backoffs, full, sender.una, now):
        connection.counters["path-mtu-fallen"] += 1
        path_found(connection)
