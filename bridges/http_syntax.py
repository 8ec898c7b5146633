"""HTTP/1.0 and 1.1 heads for a proxy, sans-IO: parsed strictly, written anew (RFC 9110, 9112).

Nothing that a client sent is copied through unread: a head is taken apart, checked, and written from its parts, so
that this proxy and the origin cannot disagree about where a message ends (request smuggling). Of requests is
refused: a bare CR or LF, a folded header line, white space before a colon, several ``Host`` or ``Content-Length``,
``Content-Length`` beside ``Transfer-Encoding``, any coding but ``chunked``. Responses are read with more patience
(bare LF, folded lines, a repeated equal ``Content-Length``): old devices on a LAN send such things, and what leaves
here is well-formed all the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from userlan.lan.hostport import check_host, check_port, cut_host_port, join_host_port

MAX_HEAD = 64 * 1024
"""Bytes of a head (request line and headers): more than any browser or server sends."""

MAX_HEADERS = 1000
"""Header lines of a head."""

HTTP_PORT = 80
VIA_NAME = b"userlan"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_BARE_LF = re.compile(rb"(?:^|[^\r])\n")
_END_OF_LINES = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
"""Headers that are for the next hop only (RFC 9110, section 7.6.1; RFC 7540, section 3.2.1 for the last)."""

KEPT = frozenset((b"host", b"content-length", b"via", b"date", b"authorization", b"cookie", b"set-cookie", b"content-type"))
"""Headers that a ``Connection`` header cannot name away: what it would take to make two hops disagree."""

Headers = list[tuple[bytes, bytes]]


class HttpError(Exception):
    """The message is answered with ``status`` and one line; the connection is closed after it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class HeadReader:
    """Collects bytes until a head is complete."""

    def __init__(self, lenient: bool = False) -> None:
        """``lenient``: accept lines that end by LF alone (responses)."""
        self._lenient = lenient
        self._buffer = bytearray()
        self._searched = 0

    @property
    def started(self) -> bool:
        """Whether part of a head is there."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """(head without its empty line, what follows), None while incomplete; raises HttpError 400 or 431."""
        buffer = self._buffer
        buffer += data
        if not self._searched:
            while buffer[:2] == b"\r\n":  # RFC 9112, section 2.2: empty lines before a request line
                del buffer[:2]
        start = max(0, self._searched - 3)
        self._searched = len(buffer)
        if self._lenient:
            match = _END_OF_LINES.search(buffer, start)
            begin, end = match.span() if match else (-1, -1)
        else:
            begin = buffer.find(b"\r\n\r\n", start)
            end = begin + 4
            if _BARE_LF.search(buffer, max(0, start - 1), len(buffer) if begin < 0 else begin):
                raise HttpError(400, "a line of the request ends without CR")
        if begin > MAX_HEAD or (begin < 0 and len(buffer) > MAX_HEAD):
            raise HttpError(431, f"the head of the message is longer than {MAX_HEAD} bytes")
        if begin < 0:
            return None
        head, rest = bytes(buffer[:begin]), bytes(memoryview(buffer)[end:])
        self._buffer = bytearray()
        self._searched = 0
        return head, rest


class Target(NamedTuple):
    """Where a request goes."""

    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """As it stands in a ``Host`` header."""
        if self.port == HTTP_PORT:
            return (f"[{self.host}]" if ":" in self.host else self.host).encode()
        return join_host_port(self.host, self.port).encode()


class RequestHead(NamedTuple):
    """A request whose syntax is right."""

    method: bytes
    target: Target
    path: bytes
    """Origin-form (or ``*``); empty for CONNECT."""
    minor: int
    """HTTP/1.minor."""
    headers: Headers
    length: int | None
    """Bytes of its body, None when it is chunked."""

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to send another request on this connection."""
        return self.minor == 1 and b"close" not in tokens(self.headers, b"connection", b"proxy-connection")

    @property
    def upgrade(self) -> bool:
        """Whether it asks for a WebSocket (RFC 6455, section 4.1). Other upgrades are not passed on; every client
        copes with that."""
        return (
            self.minor == 1
            and self.method == b"GET"
            and self.length == 0
            and b"upgrade" in tokens(self.headers, b"connection", b"proxy-connection")
            and tokens(self.headers, b"upgrade") == [b"websocket"]
        )

    def value(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def write(self) -> bytes:
        """The head as it goes to the origin, complete with its empty line."""
        lines = [b"%b %b HTTP/1.%d" % (self.method, self.path, self.minor), b"Host: " + self.target.authority]
        lines += end_to_end(self.headers, b"host")
        if self.length is None:
            lines.append(b"Transfer-Encoding: chunked")
        lines.append(b"Via: 1.%d %b" % (self.minor, VIA_NAME))
        if self.upgrade:
            lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
        return b"\r\n".join(lines) + b"\r\n\r\n"


class ResponseHead(NamedTuple):
    """A response's head."""

    status: int
    reason: bytes
    minor: int
    headers: Headers

    @property
    def persistent(self) -> bool:
        """Whether the origin keeps the connection."""
        return self.minor == 1 and b"close" not in tokens(self.headers, b"connection")

    def body_length(self, method: bytes) -> int | str | None:
        """Bytes of the body; None for chunked, ``"close"`` when its end is the connection's (RFC 9112, section
        6.3). HttpError 502."""
        if method == b"HEAD" or self.status < 200 or self.status in (204, 304):
            return 0
        codings = tokens(self.headers, b"transfer-encoding")
        lengths = {value for key, value in self.headers if key.lower() == b"content-length"}
        if codings:
            if codings != [b"chunked"] or lengths or self.minor == 0:
                raise HttpError(502, "the server's answer does not say clearly where it ends")
            return None
        if not lengths:
            return "close"
        if len(lengths) > 1 or not _LENGTH.fullmatch(next(iter(lengths))):
            raise HttpError(502, "the server's answer does not say clearly where it ends")
        return int(next(iter(lengths)))

    def write(self, chunked: bool, close: bool) -> bytes:
        """The head as it goes to the client, complete with its empty line."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, self.reason), *end_to_end(self.headers, b"content-length")]
        lines.append(b"Via: 1.%d %b" % (self.minor, VIA_NAME))
        length = next((value for key, value in self.headers if key.lower() == b"content-length"), None)
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif length is not None and _LENGTH.fullmatch(length) and self.status >= 200 and self.status != 204:
            lines.append(b"Content-Length: " + length)
        if self.status == 101:
            lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
        elif close:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n"


def tokens(headers: Headers, *names: bytes) -> list[bytes]:
    """The comma-separated members of all headers of these names, in lower case."""
    return [
        token.strip(b" \t").lower() for key, value in headers if key.lower() in names for token in value.split(b",") if token.strip(b" \t")
    ]


def end_to_end(headers: Headers, *without: bytes) -> list[bytes]:
    """The header lines that are passed on."""
    named = set(tokens(headers, b"connection", b"proxy-connection")) - KEPT
    dropped = HOP_BY_HOP | named | set(without)
    return [b"%b: %b" % (key, value) for key, value in headers if key.lower() not in dropped]


def parse_request(head: bytes) -> RequestHead:
    """A request's head (without its empty line). HttpError 400, 411, 431, 501 or 505."""
    request_line, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        if re.fullmatch(rb"[!-~]+ [!-~]+ HTTP/(?!1\.[01]$)[0-9.]+", request_line):
            raise HttpError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        raise HttpError(400, "this is not an HTTP request")
    method, written, minor = match[1], match[2], int(match[3])
    headers = parse_headers(lines)
    length = request_length(headers, minor)
    hosts = [value for key, value in headers if key.lower() == b"host"]
    if len(hosts) > 1 or (minor == 1 and not hosts):
        raise HttpError(400, "the request must have one Host header")
    if method == b"CONNECT":
        target, path = _authority(written, None), b""
        if length != 0:
            raise HttpError(400, "CONNECT has no body")
    else:
        target, path = _absolute(method, written)
    return RequestHead(method, target, path, minor, headers, length)


def parse_response(head: bytes) -> ResponseHead:
    """A response's head (without its empty line). HttpError 502."""
    status_line, *lines = re.split(rb"\r?\n", head)
    match = _STATUS_LINE.fullmatch(status_line)
    if match is None:
        raise HttpError(502, "the server does not answer in HTTP/1")
    unfolded: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] += b" " + line.strip(b" \t")
        else:
            unfolded.append(line)
    try:
        headers = parse_headers(unfolded)
    except HttpError as error:
        raise HttpError(502, f"the server's answer is malformed: {error}") from None
    return ResponseHead(int(match[2]), match[3] or b"", int(match[1]), headers)


def error_response(status: int, text: str, *headers: bytes, body: bool = True) -> bytes:
    """A complete answer of the proxy's own: one line of text; the connection is closed after it."""
    line = " ".join(text.split()).encode("utf-8", "replace") + b"\n"
    lines = [
        b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"Error")),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(line),
        b"Connection: close",
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (line if body else b"")


REASONS = {
    400: b"Bad Request",
    403: b"Forbidden",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def parse_headers(lines: list[bytes]) -> Headers:
    """Header lines taken apart. HttpError 400 or 431."""
    if len(lines) > MAX_HEADERS:
        raise HttpError(431, f"more than {MAX_HEADERS} header lines")
    headers: Headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HttpError(400, "a header line is malformed")
        headers.append((name, value))
    return headers


def request_length(headers: Headers, minor: int) -> int | None:
    """Bytes of a request's body, None when it is chunked; a request that could be read in two ways is refused."""
    codings = [value for key, value in headers if key.lower() == b"transfer-encoding"]
    lengths = [value for key, value in headers if key.lower() == b"content-length"]
    if codings:
        if lengths or minor == 0 or len(codings) > 1:
            raise HttpError(400, "the request does not say clearly where it ends")
        if codings[0].lower() != b"chunked":
            raise HttpError(501, "only the transfer coding chunked is known here")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise HttpError(400, "the request does not say clearly where it ends")
    return int(lengths[0])


def _authority(written: bytes, default_port: int | None) -> Target:
    text = written.decode("ascii")
    if "@" in text:
        raise HttpError(400, "user and password in the address are not passed on")
    try:
        host, port = cut_host_port(text)
        if port is None or (port == "" and default_port is not None):
            if default_port is None:
                raise ValueError("the request names no port")
            return Target(check_host(host), default_port)
        return Target(check_host(host), check_port(port))
    except ValueError as error:
        raise HttpError(400, str(error)) from None


def _absolute(method: bytes, written: bytes) -> tuple[Target, bytes]:
    """Target and origin-form of an absolute-form request target (RFC 9112, section 3.2.2)."""
    scheme, separator, rest = written.partition(b"://")
    if not separator or written.startswith(b"/"):
        raise HttpError(400, "this is a proxy: set it as the HTTP or SOCKS5 proxy of your program")
    if scheme.lower() not in (b"http", b"ws"):
        raise HttpError(501, "only http:// is fetched here; https:// goes through CONNECT")
    if b"#" in rest:
        raise HttpError(400, "a fragment is not part of a request")
    match = re.match(rb"[^/?]*", rest)
    authority = match[0] if match else b""
    path = rest[len(authority) :]
    if not path and method == b"OPTIONS":
        path = b"*"
    elif not path.startswith(b"/"):
        path = b"/" + path
    return _authority(authority, HTTP_PORT), path
