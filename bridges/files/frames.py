"""What members say to each other about files: messages, and blocks of a file's octets between them.

::

      0               4
     +---------------+------------------------------------------+
     |0 length (BE)  | msgpack map {"t": tag, field: value, …}  |      a message, at most MAX_MESSAGE octets
     +---------------+------------------------------------------+
     |1 length (BE)  | octets of the file, in order             |      a block, at most MAX_BLOCK octets, never empty
     +---------------+------------------------------------------+

Whoever connects (*visits*) says ``Hello`` and then asks; the other one says ``Hello`` and answers each request with one message that has
the request's token, a ``Fetch`` with ``Begin``, blocks and ``Trailer`` (or ``Broken``). A request of an unknown kind is answered by
``Refused``; unknown fields are passed over: both may be added within a version.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

Buffer: TypeAlias = "bytes | bytearray | memoryview"

VERSION: Final = 1
"""The newest version of this protocol that is spoken here."""
OLDEST: Final = 1
"""The oldest one."""

HEADER: Final = 4
"""Octets before each frame."""
MAX_MESSAGE: Final = 8192
"""Octets of a message: the longest holds a name and a sentence."""
MAX_BLOCK: Final = 1 << 20
"""Octets of a block."""
MAX_NAME: Final = 1024
"""Characters of a file's name as a peer writes it: the longest that file systems know have 255, of up to 4 octets each."""
MAX_TEXT: Final = 300
"""Characters of a reason."""
MAX_SIZE: Final = 1 << 53
"""Octets of a file: what JSON's numbers hold exactly, and far beyond any disk."""

_BLOCK_BIT = 1 << 31

TOKEN = r"^[0-9a-f]{32}$"
Token = Annotated[str, Meta(pattern=TOKEN)]
"""Which transfer of the two members is meant: 128 bits of chance, chosen by the sender of the file."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 (FIPS 180-4), hexadecimal."""
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]

Outcome = Literal["offered", "accepted", "done", "declined", "failed", "cancelled"]
"""What a receiver tells the sender of a transfer's state."""


class Message(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Anything said."""


class Hello(Message, frozen=True, tag="hello"):
    """The first message of both sides: which versions are spoken."""

    version: int = VERSION
    oldest: int = OLDEST


class Offer(Message, frozen=True, tag="offer"):
    """A file that may be fetched. Said again each time the peer is seen, until the transfer has ended; answered by ``State``."""

    token: Token
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    size: Size
    mtime: Annotated[int, Meta(ge=-(2**62), le=2**62)] = 0
    """Nanoseconds since 1970 at which it was changed last."""


class State(Message, frozen=True, tag="state"):
    """How a transfer stands at its receiver: the answer to an offer, and by itself whenever it has changed; then answered by ``Noted``."""

    token: Token
    state: Outcome
    text: Text = ""


class Withdraw(Message, frozen=True, tag="withdraw"):
    """The sender offers it no more; answered by ``Noted``."""

    token: Token
    state: Literal["cancelled", "failed"] = "cancelled"
    text: Text = ""


class Noted(Message, frozen=True, tag="noted"):
    """Taken note of."""

    token: Token


class Fetch(Message, frozen=True, tag="fetch"):
    """Send the file from ``offset`` on."""

    token: Token
    offset: Size = 0


class Begin(Message, frozen=True, tag="begin"):
    """The blocks follow: ``size - offset`` octets, then ``Trailer``."""

    token: Token
    offset: Size
    size: Size


class Hashing(Message, frozen=True, tag="hashing"):
    """The file has been sent and is still being read for the trailer: said every few seconds, so that nobody takes it for silence."""

    token: Token


class Trailer(Message, frozen=True, tag="trailer"):
    """The file has been sent; ``sha256`` is of the whole of it, not only of what was sent now."""

    token: Token
    sha256: Digest


class Broken(Message, frozen=True, tag="broken"):
    """In place of what was to follow: the file cannot be read on. ``final``: nor ever again as it was offered."""

    token: Token
    text: Text
    final: bool = True


class Refused(Message, frozen=True, tag="refused"):
    """A request is not carried out; the same for a transfer that is unknown and for somebody else's. ``later``: try again in a while."""

    token: str = ""
    text: Text = ""
    later: bool = False


News: TypeAlias = Offer | State | Withdraw
Request: TypeAlias = Offer | State | Withdraw | Fetch
Said: TypeAlias = Hello | Offer | State | Withdraw | Noted | Fetch | Begin | Hashing | Trailer | Broken | Refused

_decoder = msgspec.msgpack.Decoder(Said)
_encoder = msgspec.msgpack.Encoder()


class MalformedError(Exception):
    """What came is no frame of this protocol; the connection has no further use."""


class Unknown(msgspec.Struct, frozen=True):
    """A message of a kind that is not known here; it is passed over."""

    tag: str


def encode(message: Message) -> bytes:
    """A message as a frame."""
    body = _encoder.encode(message)
    return len(body).to_bytes(HEADER, "big") + body


def block_header(length: int) -> bytes:
    """What precedes a block of ``length`` octets, 1 to ``MAX_BLOCK``."""
    return (_BLOCK_BIT | length).to_bytes(HEADER, "big")


class Octets(msgspec.Struct, frozen=True):
    """Some octets of a block, as they came."""

    data: Buffer


Heard: TypeAlias = Said | Unknown | Octets


class Reader:
    """Octets of a connection to frames. ``blocks``: whether blocks may come at all (they do not to the side that is visited)."""

    __slots__ = ("_blocks", "_held", "_left")

    def __init__(self, blocks: bool) -> None:
        self._blocks = blocks
        self._held = bytearray()
        """The beginning of a header or a message."""
        self._left = 0
        """Octets of the present block that are still to come."""

    def feed(self, data: Buffer) -> Iterator[Heard]:
        """What has come to be complete with ``data``; octets of a block are views of it. Raises MalformedError."""
        view = memoryview(data)
        while view:
            if self._left:
                part = view[: self._left]
                self._left -= len(part)
                view = view[len(part) :]
                yield Octets(part)
                continue
            need = HEADER if len(self._held) < HEADER else HEADER + self._length()
            part = view[: need - len(self._held)]
            self._held += part
            view = view[len(part) :]
            if len(self._held) >= HEADER:
                message = self._complete()
                if message is not None:
                    yield message

    def _length(self) -> int:
        return int.from_bytes(self._held[:HEADER], "big") & ~_BLOCK_BIT

    def _complete(self) -> Said | Unknown | None:
        """The message that is held, once it is whole; the beginning of a block is taken note of."""
        length = self._length()
        if self._held[0] & 0x80:
            if not self._blocks or not 0 < length <= MAX_BLOCK:
                raise MalformedError(f"a block of {length} octets")
            self._left = length
            self._held.clear()
            return None
        if not 0 < length <= MAX_MESSAGE:
            raise MalformedError(f"a message of {length} octets")
        if len(self._held) < HEADER + length:
            return None
        body = bytes(self._held[HEADER:])
        self._held.clear()
        return _decoded(body)


def _decoded(body: bytes) -> Said | Unknown:
    try:
        said: Said = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        unknown = _tag_of(body)
        if unknown is None:
            raise MalformedError(str(error)[:MAX_TEXT]) from None
        return unknown
    return said


KNOWN: Final = frozenset(
    ("hello", "offer", "state", "withdraw", "noted", "fetch", "begin", "hashing", "trailer", "broken", "refused")
)


def _tag_of(body: bytes) -> Unknown | None:
    """The tag of a message of a kind that is not known; None where it is a known one that is wrong, or no message at all."""
    try:
        value = msgspec.msgpack.decode(body, type=dict[str, msgspec.Raw])
        tag = msgspec.msgpack.decode(value["t"], type=str)
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyError):
        return None
    return None if tag in KNOWN else Unknown(tag[:32])
