"""Frames: a 4-byte big-endian length, then one message in msgpack."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from userlan.control.messages import Message
from userlan.control.vocabulary import FromMediator, FromNode, FromPeer

#: Bytes of the greatest message: a full ``NetworkState`` or an eviction document fits three times.
MAX_FRAME = 1024 * 1024
#: Bytes of the length in front of a message.
LENGTH_SIZE = 4

Buffer = bytes | bytearray | memoryview
Incoming = TypeVar("Incoming")

_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class ControlError(ValueError):
    """The framing is broken and the connection cannot go on; ``reason`` is a slug, ``str()`` one line for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Undecodable(NamedTuple):
    """A whole frame that is none of the expected messages; the connection can go on.

    ``reason`` is ``unknown-message`` or ``malformed-message``, ``text`` one line for people, ``request`` the number
    of the request when the frame had one, else 0.
    """

    reason: str
    text: str
    request: int


def encode(message: Message) -> bytes:
    """One message as a frame.

    Raises:
        ControlError: the message is longer than a frame may be (``frame-too-long``).
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise ControlError("frame-too-long", f"a {type(message).__name__} of {len(body)} bytes exceeds {MAX_FRAME}")
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


class Framer(Generic[Incoming]):
    """Turns the bytes of one connection into messages; holds at most one incomplete frame.

    Make it with :func:`mediator_framer`, :func:`node_framer` or :func:`peer_framer`.
    """

    __slots__ = ("_buffer", "_decoder", "_error", "limit")

    def __init__(self, decoder: msgspec.msgpack.Decoder[Incoming], limit: int = MAX_FRAME) -> None:
        self._decoder = decoder
        self._buffer = bytearray()
        self._error: ControlError | None = None
        #: Greatest length of an incoming message in bytes; may be changed at any time.
        self.limit = limit

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: Buffer) -> list[Incoming | Undecodable]:
        """Takes the next bytes of the stream, returns the messages that they complete.

        Raises:
            ControlError: an empty or too long frame is announced; and again on each further call. Messages that
                were completed by the same call are lost: the connection must be aborted anyway.
        """
        if self._error is not None:
            raise self._error
        buffer = self._buffer
        buffer += data
        messages: list[Incoming | Undecodable] = []
        start = 0
        while len(buffer) - start >= LENGTH_SIZE:
            length = int.from_bytes(buffer[start : start + LENGTH_SIZE], "big")
            if not 0 < length <= self.limit:
                self._fail(length)
            end = start + LENGTH_SIZE + length
            if len(buffer) < end:
                break
            messages.append(self._decode(bytes(buffer[start + LENGTH_SIZE : end])))
            start = end
        if start:
            del buffer[:start]
        return messages

    def _fail(self, length: int) -> None:
        self._buffer = bytearray()
        if length:
            text = f"a frame of {length} bytes was announced, the limit is {self.limit}"
            self._error = ControlError("frame-too-long", text)
        else:
            self._error = ControlError("frame-empty", "an empty frame was announced")
        raise self._error

    def _decode(self, body: bytes) -> Incoming | Undecodable:
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            return _undecodable(body, error)


def _undecodable(body: bytes, error: Exception) -> Undecodable:
    """Says what is wrong with a frame and, where it can be read at all, which request it was."""
    request = 0
    reason = "malformed-message"
    try:
        fields = _request_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError):
        fields = {}
    number = fields.get("request")
    if type(number) is int and 0 < number < 2**32:
        request = number
    if "Invalid value" in str(error) and "`$.t`" in str(error):
        reason = "unknown-message"
    text = " ".join(str(error).split())[:200]
    return Undecodable(reason, text, request)


_from_node: msgspec.msgpack.Decoder[FromNode] = msgspec.msgpack.Decoder(FromNode)
_from_mediator: msgspec.msgpack.Decoder[FromMediator] = msgspec.msgpack.Decoder(FromMediator)
_from_peer: msgspec.msgpack.Decoder[FromPeer] = msgspec.msgpack.Decoder(FromPeer)


def encode_datagram(message: Message) -> bytes:
    """A message by itself, for members' datagrams: these need no frame."""
    return encode(message)[LENGTH_SIZE:]


def decode_datagram(data: bytes) -> FromPeer | None:
    """What a member's datagram says; None where it says nothing."""
    try:
        return _from_peer.decode(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None


def mediator_framer(limit: int = MAX_FRAME) -> Framer[FromNode]:
    """The mediator's: reads what nodes send to it."""
    return Framer(_from_node, limit)


def node_framer(limit: int = MAX_FRAME) -> Framer[FromMediator]:
    """The node's, on its connection to the mediator: reads what the mediator sends."""
    return Framer(_from_mediator, limit)


def peer_framer(limit: int = MAX_FRAME) -> Framer[FromPeer]:
    """The node's, on a connection with another member: reads what members send to each other."""
    return Framer(_from_peer, limit)
