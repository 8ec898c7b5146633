"""A filter for a TCP stream of HTTP/1 between a client here and a server there, or the other way round (RFC 9112).

::

    client ──client_data──→ requests:  Host, Origin, Referer, CALLBACK; bodies      ──→ server
    client ←──────────────  responses: Location, CaptionInfo.sec; bodies ←──server_data── server

What UPnP needs is done and no more: URLs in the bodies that devices describe themselves and their media with (device
descriptions, SOAP with DIDL-Lite inside, playlists, GENA's events) and in the headers that carry some. Whose URLs are
rewritten, and to what, the two translations know: one for what clients say, one for what servers say.

Bodies
    Text of a known length, up to ``MAX_TEXT`` (in a request ``MAX_REQUEST_TEXT``), is held until it is whole, since its length stands
    before it. Chunked text, and text that ends with its connection, is rewritten as it passes; only a URL that may go on in the next
    piece is held back. A longer text of a known length is sent on in chunks, where client and server speak HTTP/1.1;
    where not, or in a request, it passes. Everything else (media, and text whose coding is not plain) passes untouched, in the units
    that it came in. Clients are made to ask for plain text (``Accept-Encoding: identity``); a server that packs it all
    the same with gzip and tells its length is unpacked. Parts of a document (206) pass untouched: their offsets count.

Heads
    Only the values named above change; order, case and white space of all else stay.

Whose words they are
    A client says much that a server has made it say: by a page's scripts, a playlist's referrer, a redirection. So CALLBACK and the
    bodies of programs alone may name what is not known yet. A request of a web browser's (told by ``Origin`` or ``Sec-Fetch-…``,
    which no script can leave out) and all other headers name what is.

What cannot be read as HTTP/1 (another protocol, an upgrade, CONNECT, framing that could be understood in two ways)
makes the filter a plain pipe for good, each direction from its next head on: it is no firewall, and what it does not
understand must still work. A request that waits for permission to send its body (``Expect``) gets its head through at
once, and its body untouched.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Callable, Set
from typing import cast

from bridges.http_body import LAST_CHUNK, BodyReader, ChunkedReader, encode_chunk, reader_for
from bridges.http_syntax import Headers, HeadReader, HttpError, parse_headers, parse_response, request_length
from bridges.rewrite.translation import Places, Translation
from bridges.rewrite.urls import authority, host_text, rewrite_urls, unfinished

Buffer = bytes | memoryview

MAX_TEXT = 1024 * 1024
"""Bytes of a text body that is held: a media server sends a few hundred entries of a folder at once, 1 KB each."""

MAX_REQUEST_TEXT = 64 * 1024
"""The same, of a request, which a peer may begin on any number of streams and never end: what a control point says has a few KB."""

MAX_PIPELINED = 64
"""Requests without an answer: the method of each must be known to see where its answer ends."""

MAX_BODY_PLACES = 64
"""Places that one text may have made; a playlist of several servers names a few."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) [\x21-\x7e\x80-\xff]+ HTTP/1\.([01])")
_TEXT = re.compile(
    rb"(?:text/(?:xml|html|plain|css|javascript)|application/(?:[\w.+-]{1,64}\+)?(?:xml|json)"
    rb"|(?:application|audio)/(?:x-|vnd\.apple\.)?mpegurl|application/(?:x-)?javascript)\s*(?:;.{0,256})?",
    re.IGNORECASE | re.DOTALL,
)
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")

_URL_HEADERS = frozenset((b"callback", b"location", b"content-location", b"origin", b"referer", b"captioninfo.sec"))
_DIGESTS = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))


class HttpFilter:
    """One connection. What each method returns is to be sent on at once; what is held meanwhile is bounded."""

    def __init__(
        self, requests: Translation, responses: Translation, bodies: Translation | None = None, known: Translation | None = None
    ) -> None:
        """``requests`` translates what the client says for the server, ``responses`` the reverse. ``bodies``: for the bodies of requests,
        and ``known``: for what a server may have made the client say, where these are others than ``requests``."""
        self._callbacks = requests
        self._bodies = bodies or requests
        self._known = known or requests
        self._responses = responses
        self._requests: deque[tuple[bytes, int]] = deque()
        """Method and HTTP/1.minor of those that are not answered."""
        self._client = _Direction(self._known, self._request_head)
        self._server = _Direction(responses, self._response_head)

    @property
    def plain(self) -> bool:
        """Whether the filter has become a plain pipe (a message that is under way in one direction ends first)."""
        return self._client.plain and self._server.plain

    def client_data(self, data: Buffer) -> Buffer:
        """Bytes from the client; returns bytes for the server."""
        return self._receive(self._client, data)

    def server_data(self, data: Buffer) -> Buffer:
        """Bytes from the server; returns bytes for the client."""
        return self._receive(self._server, data)

    def client_ended(self) -> bytes:
        """The client sends no more; returns what was held of it."""
        return self._client.drain()

    def server_ended(self) -> bytes:
        """The server sends no more; returns what was held of it."""
        return self._server.drain()

    def _receive(self, direction: _Direction, data: Buffer) -> Buffer:
        out = direction.receive(data)
        if direction.plain:
            self._client.plain = self._server.plain = True
        return out

    def _request_head(self, lines: list[bytes]) -> tuple[_Message, Places]:
        match = _REQUEST_LINE.fullmatch(lines[0])
        if match is None or match[1].upper() == b"CONNECT" or len(self._requests) >= MAX_PIPELINED:
            raise HttpError(400, "not for this filter")
        headers = parse_headers(lines[1:])
        length = request_length(headers, int(match[2]))
        self._requests.append((match[1].upper(), int(match[2])))
        names = {name.lower() for name, _ in headers}
        known = Places(self._known, MAX_BODY_PLACES)
        callbacks, bodies = Places(self._callbacks), Places(self._bodies, MAX_BODY_PLACES)
        if b"origin" in names or any(name.startswith(b"sec-fetch-") for name in names):
            callbacks = bodies = known
        written = [lines[0], *(_request_header(line, callbacks, known) for line in lines[1:])]
        passes = b"expect" in names or (isinstance(length, int) and length > MAX_REQUEST_TEXT)
        return _Message(written, length, None if passes else _coding(headers)), bodies

    def _response_head(self, lines: list[bytes]) -> tuple[_Message, Places]:
        head = parse_response(b"\r\n".join(lines))
        if head.status == 101 or not self._requests:
            raise HttpError(502, "not for this filter")
        places = Places(self._responses, MAX_BODY_PLACES)
        written = [lines[0], *(_header(line, places) for line in lines[1:])]
        if head.status < 200:
            return _Message(written, 0, None), places
        method, minor = self._requests.popleft()
        length = head.body_length(method)
        return _Message(written, length, None if head.status == 206 else _coding(head.headers), min(head.minor, minor) == 1), places


class _Message:
    """A head that was read."""

    def __init__(self, lines: list[bytes], length: int | str | None, coding: str | None, may_chunk: bool = False) -> None:
        """``may_chunk``: whether the receiver understands chunks though the sender used none."""
        self.lines = lines
        self.length = length
        self.coding = None if length == 0 else coding
        """``plain`` or ``gzip``: text that is to be rewritten; None: it passes."""
        self.chunked = length is None
        """Whether text that passes is sent on in chunks."""
        if isinstance(length, int) and length > MAX_TEXT:
            self.chunked = may_chunk and coding == "plain"
            self.coding = coding if self.chunked else None
        elif coding == "gzip" and not isinstance(length, int):
            self.coding = None
        if self.chunked and length is not None:
            self.lines = [*_without(lines, _DIGESTS | {b"content-length"}), b"Transfer-Encoding: chunked"]

    @property
    def held(self) -> bool:
        """Whether the body is held until it is whole."""
        return self.coding is not None and isinstance(self.length, int) and not self.chunked

    def head(self) -> bytes:
        return b"\r\n".join(self.lines) + b"\r\n\r\n"

    def whole(self, body: bytes, places: Places) -> bytes:
        """Head and body, rewritten."""
        text = _unpacked(body) if self.coding == "gzip" else body
        new = None if text is None else rewrite_urls(text, places)
        if new is None or new == text:
            return self.head() + body
        lines = _without(self.lines, _DIGESTS | {b"content-length", b"content-encoding"})
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(new)]) + b"\r\n\r\n" + new


class _Direction:
    """One direction of a connection: head, body, head, body, …"""

    def __init__(self, translation: Translation, read_head: Callable[[list[bytes]], tuple[_Message, Places]]) -> None:
        self.plain = False
        """Nothing is read any more from the next head on."""
        self._read_head = read_head
        self._heads = HeadReader(lenient=True)
        self._raw = bytearray()
        """What came of a head that is not whole."""
        self._message: _Message | None = None
        self._body: BodyReader | None = None
        self._places = Places(translation)
        self._held = bytearray()
        """Of a held body, all; of passing text, what may be the beginning of a URL."""

    def receive(self, data: Buffer) -> Buffer:
        """What is to be sent on."""
        out: list[Buffer] = []
        while data:
            if self._body is None and self.plain:
                out += [self.drain(), data]
                break
            try:
                piece, data = self._head(bytes(data)) if self._body is None else self._in_body(data)
            except HttpError:
                # The framing is broken, or this is no HTTP: from here on as it is.
                self.plain = True
                in_head = self._body is None
                out += [self.drain()] if in_head else [self.drain(), data]
                self._body = self._message = None
                break
            if piece:
                out.append(piece)
        return out[0] if len(out) == 1 else b"".join(out)

    def drain(self) -> bytes:
        """All that is held, as it can be sent on now; nothing is held afterwards."""
        held, raw, message = bytes(self._held), bytes(self._raw), self._message
        self._held.clear()
        self._raw.clear()
        if message is not None and message.held:
            self._body = self._message = None
            self.plain = True
            return message.head() + held
        return self._framed(rewrite_urls(held, self._places)) + raw

    def _head(self, data: bytes) -> tuple[bytes, bytes]:
        self._raw += data
        found = self._heads.receive(data)
        if found is None:
            return b"", b""
        head, rest = found
        message, self._places = self._read_head(re.split(rb"\r?\n", head))
        self._raw.clear()
        reader = reader_for(message.length)
        if reader.done:
            return message.head(), rest
        self._message, self._body = message, reader
        return b"" if message.held else message.head(), rest

    def _in_body(self, data: Buffer) -> tuple[Buffer, Buffer]:
        """(what is sent on, what follows the body or is not looked at yet)"""
        assert self._body is not None
        assert self._message is not None
        message, reader = self._message, self._body
        if message.coding is None:
            # Bodies of a known length are cut and never copied, be it bytes or a view.
            untouched = bytes(data) if isinstance(reader, ChunkedReader) else cast(bytes, data)
            _, rest = reader.receive(untouched)
            sent: Buffer = untouched[: len(untouched) - len(rest)] if rest else untouched
        else:
            payload, rest = reader.receive(bytes(data))
            self._held += payload
            sent = self._whole(message, reader.done) if message.held else self._passing(reader.done)
        if reader.done:
            self._body = self._message = None
        return sent, rest

    def _whole(self, message: _Message, done: bool) -> bytes:
        if not done:
            return b""
        body = bytes(self._held)
        self._held.clear()
        return message.whole(body, self._places)

    def _passing(self, done: bool) -> bytes:
        """What can be sent on of text that is rewritten as it passes."""
        text = bytes(self._held)
        cut = len(text) if done else unfinished(text)
        self._held[:] = text[cut:]
        out = self._framed(rewrite_urls(text[:cut], self._places))
        return out + LAST_CHUNK if done and self._message is not None and self._message.chunked else out

    def _framed(self, text: bytes) -> bytes:
        return encode_chunk(text) if self._message is not None and self._message.chunked else text


def _without(lines: list[bytes], names: Set[bytes]) -> list[bytes]:
    """Header lines but those of some names."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def _coding(headers: Headers) -> str | None:
    """How a text body is packed, None when it is no text or packed in a way that is not known here."""
    values = {name.lower(): value for name, value in headers}
    if not _TEXT.fullmatch(values.get(b"content-type", b"")) or b"content-range" in values:
        return None
    coding = values.get(b"content-encoding", b"identity").lower()
    if coding == b"identity" or not coding:
        return "plain"
    return "gzip" if coding in (b"gzip", b"x-gzip") else None


def _header(line: bytes, places: Places) -> bytes:
    """A header line, its URLs rewritten."""
    name, _, value = line.partition(b":")
    return name + b":" + rewrite_urls(value, places) if name.lower() in _URL_HEADERS else line


def _request_header(line: bytes, callbacks: Places, known: Places) -> bytes:
    name, _, value = line.partition(b":")
    lowered = name.lower()
    if lowered == b"accept-encoding":
        return name + b": identity"
    if lowered == b"host":
        match = _HOST.fullmatch(value.strip(b" \t"))
        place = match and known.place(host_text(match[1]), int(match[2] or 80), "tcp")
        return name + b": " + authority(place[0], place[1], 80) if place else line
    return _header(line, callbacks if lowered == b"callback" else known)


def _unpacked(body: bytes) -> bytes | None:
    """A gzip body; None when it is none, is cut short or is more than ``MAX_TEXT`` (a bomb)."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(body, MAX_TEXT)
    except zlib.error:
        return None
    return text if unpacker.eof and not unpacker.unused_data else None
