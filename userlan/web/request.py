"""One request: judged by its headers, then answered."""

from __future__ import annotations

import html
import json
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

import h11
from twisted.web.http import Request, datetimeToString, parse_qs
from twisted.web.server import NOT_DONE_YET
from wsproto.utilities import ProtocolError

from userlan.web.checks import Refusal, check_host, check_source

if TYPE_CHECKING:
    from userlan.web.scans import Scans
    from userlan.web.server import Page
    from userlan.web.uploads import Uploads

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content Security Policy, level 3: nothing from elsewhere, nothing inline, nothing evaluated, no markup made of text."""
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Of every response."""
STAY_OUT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>userlan</title>
</head>
<body>
<h1>userlan</h1>
<p>{}</p>
<p>To open this page, type <code>userlan open</code> in a terminal of this computer. The link that it opens works once.</p>
</body>
</html>
"""
SOCKET, UPLOAD, SCAN, METRICS = b"/socket", b"/upload", b"/scan", b"/metrics"


class PageRequest(Request):
    """Twisted's request with answers of its own. ``line``: the request line as it came."""

    channel: Any
    line = b""
    refusal: Refusal | None = None
    spool: Any = None

    @property
    def page(self) -> Page:
        """Whose page was asked for."""
        return self.channel.connection.page  # type: ignore[no-any-return]  # the channel is Twisted's

    # ------------------------------------------------------------------ before the body

    def judge(self, length: int | None) -> None:
        """All headers are there: is it to be answered, and is its body, of so many octets (None: as many as come), to be read?"""
        self.method, self.uri, self.clientproto = self.line.split()
        self.path, _, query = self.uri.partition(b"?")
        self.query: dict[bytes, list[bytes]] = parse_qs(query)  # type: ignore[no-untyped-call]
        headers, taker = self.requestHeaders, self._taker()
        self.refusal = (
            self._check_line(taker is not None)
            or check_host(headers, self.page.authorities)
            or check_source(headers, needs_origin=taker is not None or self.path == SOCKET)
            or self._check_session()
            or (taker.refuses(length) if taker is not None else self._check_no_body(length))
        )
        if self.refusal is None and taker is not None:
            self.spool, self.refusal = taker.begin(self.query, length or 0, self.channel.connection.pause)

    def came_with_more(self) -> None:
        """Something else came before its answer, and was dropped: frames, of which a WebSocket misses none (RFC 6455 section 4.1)."""
        if self.refusal is None and self.path == SOCKET:
            self.refusal = Refusal(400, "frames follow the answer")

    def gotLength(self, length: int | None) -> None:
        """There is no body, but for one that is taken in as it comes."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of an upload, or of a picture."""
        if self.spool is not None:
            self.spool.write(data)

    def _taker(self) -> Uploads | Scans | None:
        """Who takes the body of a request to this path; None: it has none."""
        if self.path == UPLOAD:
            return self.page.uploads
        return self.page.scans if self.path == SCAN else None

    def _check_line(self, body: bool) -> Refusal | None:
        if not self.uri.startswith(b"/"):
            return Refusal(400, "a request names a path")  # an absolute form would outweigh Host (RFC 9112 section 3.2.2)
        allowed = (b"POST",) if body else (b"GET", b"HEAD")
        if self.method not in allowed:
            self.responseHeaders.setRawHeaders("Allow", [b", ".join(allowed)])
            return Refusal(405, "this cannot be done here")
        return None

    def _check_session(self) -> Refusal | None:
        """``/`` brings a token, or tells how to come by one; metrics are for programs that cannot."""
        if self.path == METRICS and self.page.metrics is not None:
            return None
        if self.channel.connection.is_foreign():
            return Refusal(403, "This page belongs to another user of this computer.")
        if self.page.has_session(self):
            self.channel.connection.known = True
            return None
        if self.path == b"/" and self.method == b"GET" and b"token" in self.query:
            return None
        return Refusal(403, "This browser has not been let in, or too long ago.")

    def _check_no_body(self, length: int | None) -> Refusal | None:
        return None if length == 0 else Refusal(413, "this request has no body")

    # ------------------------------------------------------------------ the answer

    def process(self) -> None:
        """The request is there, its body with it."""
        if self.refusal is not None:
            self.refuse()
        elif self.path == SOCKET:
            self._upgrade()
        elif (taker := self._taker()) is not None:
            taker.received(self)
        elif self.path == METRICS and self.page.metrics is not None:
            self.answer(200, self.page.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == b"/" and b"token" in self.query:
            self._let_in(self.query[b"token"][0])
        else:
            self._asset()

    def answer(self, code: int, body: bytes, content_type: str, cache: str = "no-store") -> None:
        """A whole response."""
        self.setResponseCode(code, HTTPStatus(code).phrase.encode())
        headers = self.responseHeaders
        for name, value in HEADERS:
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders("Date", [datetimeToString()])  # type: ignore[no-untyped-call]
        headers.setRawHeaders("Cache-Control", [cache])
        if code not in (204, 304):
            headers.setRawHeaders("Content-Type", [content_type])
            headers.setRawHeaders("Content-Length", [str(len(body))])
        if not self.channel.persistent:
            headers.setRawHeaders("Connection", ["close"])
        self.write(body)  # type: ignore[no-untyped-call]
        connection = self.channel.connection
        self.finish()  # type: ignore[no-untyped-call]
        connection.answered()

    def answer_json(self, code: int, value: object) -> None:
        """As JSON."""
        self.answer(code, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def refuse(self, refusal: Refusal | None = None) -> None:
        """The refusal: a page where one is looked at, else one line."""
        code, text = refusal or self.refusal or Refusal(400, "")
        if self.path == b"/" and code in (403, 429):
            self.answer(code, STAY_OUT.format(html.escape(text)).encode(), "text/html; charset=utf-8")
        else:
            self.answer(code, text.encode() + b"\n", "text/plain; charset=utf-8")

    def connectionLost(self, reason: Any) -> None:
        """It will not be answered any more."""
        spool, self.spool = self.spool, None
        if spool is not None:
            spool.discard()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _let_in(self, token: bytes) -> None:
        """A token becomes a session; it does not stay in the address line, nor in the history. A fragment survives (RFC 9110 10.2.2)."""
        secret = self.page.redeem(self, token)
        if isinstance(secret, Refusal):
            self.refuse(secret)
            return
        if secret:
            self.responseHeaders.addRawHeader("Set-Cookie", self.page.cookie(secret))
        self.responseHeaders.setRawHeaders("Location", ["/"])
        self.answer(303, b"", "text/plain; charset=utf-8")

    def _asset(self) -> None:
        asset = self.page.assets.get(self.path)
        if asset is None:
            self.refuse(Refusal(404, "there is nothing here"))
            return
        self.responseHeaders.setRawHeaders("ETag", [asset.etag])
        known = (self.getHeader(b"if-none-match") or b"").split(b",")
        if any(one.strip().removeprefix(b"W/") in (asset.etag, b"*") for one in known):
            self.answer(304, b"", "", "no-cache")
        else:
            self.answer(200, asset.data, asset.content_type.decode(), "no-cache")

    def _upgrade(self) -> None:
        if self.page.is_full():
            self.refuse(Refusal(503, "too many pages are open"))
            return
        connection = self.channel.connection
        try:
            body = self.page.sockets.render_GET(self)
        except (ProtocolError, h11.ProtocolError):
            self.refuse(Refusal(400, "this is no WebSocket"))
            return
        if body != NOT_DONE_YET:
            self.refuse(Refusal(426, "this is no WebSocket"))
            return
        connection.upgraded()
