"""What a device tells its owner. Keys are 32 bytes."""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.endpoint import Endpoint


class SessionEstablished(NamedTuple):
    """Packets can be sent under new keys. initiator: the handshake was ours. Also after each renewal."""

    public_key: bytes
    endpoint: Endpoint
    initiator: bool


class Roamed(NamedTuple):
    """Authenticated packets of the peer come from another endpoint than before; ours go there from now on."""

    public_key: bytes
    old: Endpoint
    new: Endpoint


class HandshakeFailed(NamedTuple):
    """Initiations went unanswered for 90 s; what was staged for the peer is dropped."""

    public_key: bytes


class UnknownPeer(NamedTuple):
    """A peer that was never added has proved its key (devices with accept_unknown only)."""

    public_key: bytes
    endpoint: Endpoint


class Expired(NamedTuple):
    """No session for 540 s: all key material of the peer is dropped; an unknown peer is forgotten altogether."""

    public_key: bytes


class TimestampAdvanced(NamedTuple):
    """The new value of `timestamp_floor` for the next run: persist it before datagrams leave."""

    value: bytes


class BulkTraffic(NamedTuple):
    """Bulk flows to the peer move so much that a bulk way would pay (once for each measuring interval)."""

    public_key: bytes


class LargeSent(NamedTuple):
    """A large packet left by UDP (twice a second at most): the size in use is worth a confirmation."""

    public_key: bytes


class BulkStalled(NamedTuple):
    """A bulk way was full and took nothing for half a second: it is used no longer, and what waited for it goes by UDP."""

    public_key: bytes
    endpoint: Endpoint


class PathSilent(NamedTuple):
    """Nothing came from a steered peer by the endpoint in use for half a second after data left (that were no answer to a packet just
    before), or for 0.75 s after a flow came from it (once in such a time at most)."""

    public_key: bytes


class WayHeard(NamedTuple):
    """Authenticated packets of the peer came by another way than the one in use (once a second at most): one that the owner knows,
    or framed TCP while its datagrams come by UDP, a way for bulk."""

    public_key: bytes
    endpoint: Endpoint


TunnelEvent = (
    SessionEstablished
    | Roamed
    | HandshakeFailed
    | UnknownPeer
    | Expired
    | TimestampAdvanced
    | BulkTraffic
    | BulkStalled
    | LargeSent
    | PathSilent
    | WayHeard
)
