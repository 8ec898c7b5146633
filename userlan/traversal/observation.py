"""How a node asks a vantage point from where it is seen, and what it is answered: two datagrams, both of fixed length.

::

    request, 72 octets                              reply, 56 octets
    0   kind 20 00 00 00                            0   kind 21 00 00 00
    4   wanted: 0 same, 1 other port, 2 other host  4   family: 4 or 6
    5   0                                           5   from: number of the vantage's socket that answers
    6   index of the own socket, little-endian      6   port, XOR-ed, big-endian
    8   tag: an introduction's, or a random one     8   address, XOR-ed; IPv4 in its first 4 octets, the rest 0
    16  transaction                                 24  transaction
    24  cookie, or 0                                32  cookie for the observed endpoint
    32  port that shall be answered instead, or 0   40  MAC
    34  0 (padding)
    56  MAC

The idea is STUN's (RFC 8489) with RFC 5780's tests of behaviour; it differs in what RFC 5780 5 leaves open: whoever does not know the
vantage's public key gets silence, no reply is larger than its request, and none goes anywhere but to where the request came from unless
the request echoes the **cookie** that was sent to that very endpoint (return routability). So nobody is sent what he did not ask for.

MAC: keyed BLAKE2s (RFC 7693) of all octets before it, the key being that hash of a label and the vantage's public key. It keeps scanners
out, not members: whoever knows the key can ask.

XOR: as STUN's XOR-MAPPED-ADDRESS (RFC 8489 14.2), since some NATs rewrite what looks like their own addresses in payloads; the mask is
the transaction, twice.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from userlan.traversal.kinds import OBSERVE_REPLY, OBSERVE_REQUEST
from userlan.wire.numbers import Buffer

REQUEST_SIZE: Final = 72
REPLY_SIZE: Final = 56
TAG_SIZE: Final = 8
TRANSACTION_SIZE: Final = 8
COOKIE_SIZE: Final = 8
MAC_SIZE: Final = 16

NO_COOKIE: Final = bytes(COOKIE_SIZE)
OTHER_HOST: Final = 255
"""``Reply.source`` where another host than the vantage sent the reply for it."""

_KEY_LABEL: Final = b"userlan observation v1"
_TAG_LABEL: Final = b"userlan tag v1"


class Wanted(IntEnum):
    """From where the answer shall come: the filter's test (RFC 5780 4.4)."""

    SAME = 0
    OTHER_PORT = 1
    OTHER_HOST = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A node's question. ``port``: the same host's port that shall be answered, 0: the one that the request came from."""

    tag: bytes
    transaction: bytes
    index: int = 0
    wanted: Wanted = Wanted.SAME
    cookie: bytes = NO_COOKIE
    port: int = 0


class Reply(NamedTuple):
    """A vantage's answer: the asker is seen at ``host`` and ``port``; ``source`` is the number of the socket that answers."""

    transaction: bytes
    host: str
    port: int
    cookie: bytes
    source: int = 0


class Seal:
    """Writes and reads the datagrams of one vantage, by its public key."""

    __slots__ = ("_key",)

    def __init__(self, public_key: bytes) -> None:
        self._key = hashlib.blake2s(_KEY_LABEL + public_key).digest()

    def request(self, request: Request) -> bytes:
        """A request as a datagram."""
        body = b"".join((
            OBSERVE_REQUEST,
            bytes((request.wanted, 0)),
            request.index.to_bytes(2, "little"),
            request.tag,
            request.transaction,
            request.cookie,
            request.port.to_bytes(2, "big"),
            bytes(REQUEST_SIZE - MAC_SIZE - 34),
        ))
        return body + self._mac(body)

    def reply(self, reply: Reply) -> bytes:
        """A reply as a datagram."""
        address = ipaddress.ip_address(reply.host)
        packed = address.packed
        body = b"".join((
            OBSERVE_REPLY,
            bytes((address.version, reply.source)),
            _masked(reply.port.to_bytes(2, "big"), reply.transaction),
            _masked(packed, reply.transaction) + bytes(16 - len(packed)),
            reply.transaction,
            reply.cookie,
        ))
        return body + self._mac(body)

    def read_request(self, data: Buffer) -> Request | None:
        """The request in a datagram; None where it is none, or for another vantage."""
        datagram = self._opened(data, OBSERVE_REQUEST, REQUEST_SIZE)
        if datagram is None or datagram[4] > Wanted.OTHER_HOST:
            return None
        return Request(
            tag=datagram[8:16],
            transaction=datagram[16:24],
            index=int.from_bytes(datagram[6:8], "little"),
            wanted=Wanted(datagram[4]),
            cookie=datagram[24:32],
            port=int.from_bytes(datagram[32:34], "big"),
        )

    def read_reply(self, data: Buffer) -> Reply | None:
        """The reply in a datagram; None where it is none, or another vantage's."""
        datagram = self._opened(data, OBSERVE_REPLY, REPLY_SIZE)
        if datagram is None or datagram[4] not in (4, 6):
            return None
        transaction = datagram[24:32]
        size = 4 if datagram[4] == 4 else 16
        host = str(ipaddress.ip_address(_masked(datagram[8 : 8 + size], transaction)))
        port = int.from_bytes(_masked(datagram[6:8], transaction), "big")
        return Reply(transaction, host, port, datagram[32:40], datagram[5])

    def _opened(self, data: Buffer, kind: bytes, size: int) -> bytes | None:
        if len(data) != size:
            return None
        datagram = bytes(data)
        end = size - MAC_SIZE
        genuine = datagram.startswith(kind) and hmac.compare_digest(self._mac(datagram[:end]), datagram[end:])
        return datagram if genuine else None

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2s(body, digest_size=MAC_SIZE, key=self._key).digest()


def tag_of(token: bytes) -> bytes:
    """The tag that stands for an introduction's token in the open: it says which one it is, and not the token."""
    return hashlib.blake2s(_TAG_LABEL + token, digest_size=TAG_SIZE).digest()


def is_reply(data: Buffer) -> bool:
    """Whether a datagram looks like a reply of anybody's: all that a relay lets itself be asked to send."""
    return len(data) == REPLY_SIZE and bytes(data[:4]) == OBSERVE_REPLY


def _masked(value: bytes, transaction: bytes) -> bytes:
    return bytes(octet ^ mask for octet, mask in zip(value, transaction + transaction, strict=False))
