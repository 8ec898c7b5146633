"""One HTTP request and its response, between a client and one origin.

::

    client ──request head, body──→ HttpSession ──→ HttpExchange ──→ origin leg
    client ←──────────────────────────────────── HttpExchange ←── response head, body

Both bodies stream, at the same time if need be; each direction pauses its source while its sink is congested. A
request that went out on a connection kept from before and got no byte of an answer (the origin had closed it in
that moment) is sent once more on a new one, when it has no body (RFC 9112, section 9.3.1).
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from bridges.http_body import LAST_CHUNK, BodyReader, encode_chunk, reader_for
from bridges.http_syntax import HeadReader, HttpError, RequestHead, ResponseHead, parse_response
from bridges.leg import Leg

MAX_INTERIM = 32
"""Interim (1xx) responses to one request; more are an origin gone mad."""


class Session(Protocol):
    """What an exchange needs of its session."""

    client: Leg

    @property
    def ahead_full(self) -> bool: ...
    def keep_ahead(self, data: bytes) -> None: ...
    def dial_origin(self, exchange: HttpExchange) -> None: ...
    def exchange_done(self, origin: Leg | None, keep_client: bool) -> None: ...
    def splice(self, origin: Leg, first_answer: bytes = b"") -> None: ...
    def refuse(self, status: int, text: str) -> None: ...


class HttpExchange:
    """Owner of the origin's leg as long as the response is not complete."""

    def __init__(self, session: Session, request: RequestHead) -> None:
        self.request = request
        self._session = session
        self._client = session.client
        self._origin: Leg | None = None
        self._body: BodyReader = reader_for(request.length)
        self._early = b""
        self._reused = False
        self._answered = False
        self._reader = HeadReader(lenient=True)
        self._response: ResponseHead | None = None
        self._response_body: BodyReader | None = None
        self._chunk_out = False
        self._close_client = not request.keep_alive
        self._interim = 0
        self._over = False

    @property
    def request_done(self) -> bool:
        """Whether the whole request was received."""
        return self._body.done

    # from the session

    def early_data(self, data: bytes) -> bytes:
        """What came in one piece with the head, before there is an origin; returns what is behind the request."""
        if self._body.done:
            return data
        self._early, rest = data, b""
        if self.request.length is not None and len(data) > self.request.length:
            self._early, rest = data[: self.request.length], data[self.request.length :]
        return rest

    def begin(self, origin: Leg, reused: bool = False) -> None:
        """The origin is connected: send the request."""
        self._origin = origin
        self._reused = reused
        origin.owner = self
        origin.widen(self._client)
        self._client.widen(origin)
        origin.write(self.request.write())
        early, self._early = self._early, b""
        if early:
            self._session.keep_ahead(self.request_data(early))
        if self._over:
            return
        if self._client.congested:
            origin.pause()
        else:
            origin.resume()
        self._resume_client()

    def request_data(self, data: bytes) -> bytes:
        """Bytes of the request's body; returns what is behind it."""
        try:
            payload, rest = self._body.receive(data)
        except HttpError as error:
            self._fail(error.status, str(error))
            return b""
        if self._origin is not None:
            if self.request.length is None:
                self._origin.write(encode_chunk(payload) + (LAST_CHUNK if self._body.done else b""))
            else:
                self._origin.write(payload)
        return rest

    def client_ended(self) -> None:
        """The client sends no more: all right when its request is complete."""
        self._close_client = True
        if not self._body.done:
            self._abort()

    def client_lost(self) -> None:
        """Nobody waits for the response any more."""
        self._over = True
        if self._origin is not None:
            self._origin.abort()

    def client_congested(self) -> None:
        if self._origin is not None:
            self._origin.pause()

    def client_drained(self) -> None:
        if self._origin is not None:
            self._origin.resume()

    # LegOwner of the origin

    def leg_made(self, leg: Leg) -> None:
        """It was connected before."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        if self._over or leg is not self._origin:
            return
        self._answered = True
        try:
            while data and not self._over:
                data = self._response_data(data)
        except HttpError as error:
            self._fail(502, str(error))

    def leg_ended(self, leg: Leg) -> None:
        if leg is self._origin:
            self._origin_gone(True)

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if leg is self._origin:
            self._origin_gone(isinstance(reason.value, ConnectionDone))

    def leg_congested(self, leg: Leg) -> None:
        if leg is self._origin and not self._body.done:
            self._client.pause()

    def leg_drained(self, leg: Leg) -> None:
        if leg is self._origin:
            self._resume_client()

    # the response

    def _response_data(self, data: bytes) -> bytes:
        if self._response_body is None:
            read = self._reader.receive(data)
            if read is None:
                return b""
            return self._response_head(parse_response(read[0]), read[1])
        payload, rest = self._response_body.receive(data)
        self._client.write(encode_chunk(payload) if self._chunk_out else payload)
        if self._response_body.done:
            self._complete(clean=not rest)
            return b""
        return rest

    def _response_head(self, response: ResponseHead, rest: bytes) -> bytes:
        """Pass on a head; returns what is to be read next."""
        if response.status == 101:
            if not self.request.upgrade or self._origin is None:
                raise HttpError(502, "the server switched protocols unasked")
            self._over = True
            self._session.splice(self._origin, response.write(chunked=False, close=False) + rest)
            return b""
        if response.status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise HttpError(502, "the server sends interim answers without end")
            if self.request.minor == 1:
                self._client.write(response.write(chunked=False, close=False))
            return rest
        length = response.body_length(self.request.method)
        self._response = response
        self._response_body = reader_for(length)
        self._chunk_out = length is None and self.request.minor == 1
        if length == "close" or (length is None and not self._chunk_out) or not self._body.done:
            self._close_client = True
        self._client.write(response.write(chunked=self._chunk_out, close=self._close_client))
        if self._response_body.done:
            self._complete(clean=not rest)
            return b""
        return rest

    def _complete(self, clean: bool) -> None:
        """The response is delivered. ``clean``: nothing came behind it."""
        self._over = True
        origin, self._origin = self._origin, None
        if self._chunk_out:
            self._client.write(LAST_CHUNK)
        keep_origin = (
            origin is not None
            and clean
            and self._body.done
            and self.request.minor == 1
            and self._response is not None
            and self._response.persistent
            and not (origin.ended or origin.lost)
        )
        if origin is not None and not keep_origin:
            if self._body.done:
                origin.close()
            else:
                origin.abort()
        keep_client = not self._close_client and self._body.done
        self._session.exchange_done(origin if keep_origin else None, keep_client)

    def _origin_gone(self, orderly: bool) -> None:
        """FIN or the end of the origin's connection."""
        if self._over:
            return
        origin, self._origin = self._origin, None
        if self._response_body is not None:
            if orderly and self._response_body.ends_at_close():
                self._origin = origin
                self._complete(clean=True)
            else:
                self._abort(origin)
            return
        if origin is not None:
            origin.abort()
        if self._reused and not self._answered and self.request.length == 0:
            self._session.dial_origin(self)
        else:
            self._fail(502, "the server closed the connection without an answer")

    def _fail(self, status: int, text: str) -> None:
        """Answer with an error if nothing was answered yet; else the only honest end is an abort."""
        if self._over:
            return
        if self._response is not None:
            self._abort()
            return
        self._over = True
        if self._origin is not None:
            self._origin.abort()
        self._session.refuse(status, text)

    def _abort(self, origin: Leg | None = None) -> None:
        self._over = True
        for leg in (origin, self._origin, self._client):
            if leg is not None:
                leg.abort()

    def _resume_client(self) -> None:
        """Read the client on: its body as long as the origin takes it, behind that a bounded piece of the next
        request."""
        if self._session.ahead_full or (self._origin is not None and self._origin.congested and not self._body.done):
            return
        self._client.resume()
