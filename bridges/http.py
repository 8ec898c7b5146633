"""One HTTP client of the proxy: its requests, one after the other, each to its own origin (RFC 9110, 9112).

::

    state       what is awaited                             then
    head        a request                                   CONNECT: dialing; any other: exchange
    dialing     the far side of CONNECT                     the session ends in a splice
    exchange    the end of a response (HttpExchange)        head, or lingering when either side closes
    lingering   the client's FIN, at most LINGER seconds    the end

Timers: a head that has begun must be complete within REQUEST_TIMEOUT; between two requests KEEP_ALIVE. During an
exchange there is none: a response may take its time. What a client sends ahead (pipelining) is kept up to
MAX_PIPELINED, then it is not read any more.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from bridges.dial import Cause, DialError
from bridges.http_exchange import HttpExchange
from bridges.http_syntax import HeadReader, HttpError, RequestHead, Target, error_response, parse_request
from bridges.leg import Leg
from bridges.proxy_context import KEEP_ALIVE, LINGER, ProxyContext

MAX_PIPELINED = 64 * 1024
"""Bytes kept of requests that were sent ahead."""

MAX_LINGER = 1024 * 1024
"""Bytes read and dropped of a client that was already answered."""

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

STATUS_OF = {
    Cause.UNKNOWN_NAME: 502,
    Cause.REFUSED: 502,
    Cause.UNREACHABLE: 502,
    Cause.FAILED: 502,
    Cause.TIMEOUT: 504,
    Cause.FORBIDDEN: 403,
}


class HttpSession:
    """Owner of a client's leg from its first byte on."""

    def __init__(self, context: ProxyContext, client: Leg) -> None:
        self.context = context
        self.client = client
        self._reader = HeadReader()
        self._state = "head"
        self._ahead = bytearray()
        self._exchange: HttpExchange | None = None
        self._idle_origin: tuple[Target, Leg] | None = None
        self._dialing: Deferred[Leg] | None = None
        self._timer: Any = None
        self._lingered = 0
        client.owner = self

    def start(self, data: bytes) -> None:
        """Begin with what the client has sent so far."""
        self._set_timer(self.context.request_timeout, self._head_timed_out)
        self.client.resume()
        self._receive(data)

    # LegOwner

    def leg_made(self, leg: Leg) -> None:
        """An origin is connected; the Deferred of its dialing tells."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        if leg is self.client:
            self._receive(data)
        elif self._idle_origin is not None and leg is self._idle_origin[1]:
            self._drop_origin()  # nothing was asked: what it sends belongs to no request

    def leg_ended(self, leg: Leg) -> None:
        if leg is not self.client:
            self._drop_origin()
        elif self._state == "exchange" and self._exchange is not None:
            self._exchange.client_ended()
        elif self._state != "dialing":
            self.client.close()

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if leg is not self.client:
            if self._idle_origin is not None and leg is self._idle_origin[1]:
                self._idle_origin = None
            return
        self._set_timer(0, None)
        self._drop_origin()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._exchange is not None:
            self._exchange.client_lost()

    def leg_congested(self, leg: Leg) -> None:
        if leg is self.client and self._exchange is not None:
            self._exchange.client_congested()

    def leg_drained(self, leg: Leg) -> None:
        if leg is self.client and self._exchange is not None:
            self._exchange.client_drained()

    # the client's bytes

    def _receive(self, data: bytes) -> None:
        if self._state == "lingering":
            self._lingered += len(data)
            if self._lingered > MAX_LINGER:
                self.client.abort()
        elif self._state == "exchange" and self._exchange is not None and not self._exchange.request_done:
            self.keep_ahead(self._exchange.request_data(data))
        elif self._state in ("exchange", "dialing"):
            self.keep_ahead(data)
        else:
            self._read_heads(data)

    def keep_ahead(self, data: bytes) -> None:
        """Keep what belongs to the next request."""
        self._ahead += data
        if len(self._ahead) >= MAX_PIPELINED:
            self.client.pause()

    @property
    def ahead_full(self) -> bool:
        """Whether the client is not to be read until the present exchange is over."""
        return len(self._ahead) >= MAX_PIPELINED

    def _read_heads(self, data: bytes) -> None:
        begun = self._reader.started
        try:
            read = self._reader.receive(data)
            if read is None:
                if self._reader.started and not begun:
                    self._set_timer(self.context.request_timeout, self._head_timed_out)
                return
            request = parse_request(read[0])
        except HttpError as error:
            self.context.counters[f"http-{error.status}"] += 1
            self.refuse(error.status, str(error))
            return
        self._set_timer(0, None)
        if not self._authorised(request):
            return
        if request.method == b"CONNECT":
            self._state = "dialing"
            self.client.pause()
            self._ahead += read[1]
            self.context.counters["http-connect"] += 1
            self._dial(request.target, self._tunnel, request)
        else:
            self.context.counters["http-request"] += 1
            self._begin_exchange(request, read[1])

    def _authorised(self, request: RequestHead) -> bool:
        credentials = self.context.credentials
        if credentials is None or credentials.match_basic(request.value(b"proxy-authorization") or b""):
            return True
        self.context.counters["http-407"] += 1
        text = "this proxy asks for a user and a password"
        challenge = b'Proxy-Authenticate: Basic realm="userlan"'
        self._answer(error_response(407, text, challenge, body=request.method != b"HEAD"))
        return False

    # CONNECT

    def _dial(self, target: Target, done: Any, *arguments: Any) -> None:
        client_host = self.client.transport.getPeer().host
        self._dialing = self.context.dialer.dial(target.host, target.port, self, client_host)
        self._dialing.addCallback(self._dialed, done, *arguments)
        self._dialing.addErrback(self._not_dialed)

    def _dialed(self, origin: Leg, done: Any, *arguments: Any) -> None:
        self._dialing = None
        if self.client.lost:
            origin.abort()
        elif origin.lost:
            self.refuse(502, "the server closed the connection at once")
        else:
            done(origin, *arguments)

    def _not_dialed(self, failure: Failure) -> None:
        self._dialing = None
        if isinstance(failure.value, CancelledError) or self.client.lost:
            return
        error = failure.value
        if not isinstance(error, DialError):
            self.client.abort()
            failure.raiseException()
        else:
            self.context.counters[f"dial-{error.cause.name.lower()}"] += 1
            self.refuse(STATUS_OF[error.cause], str(error))

    def _tunnel(self, origin: Leg, request: RequestHead) -> None:
        self.client.write(ESTABLISHED)
        self.splice(origin)

    def splice(self, origin: Leg, first_answer: bytes = b"") -> None:
        """The end of this session: from here on the bytes go through as they are."""
        self._set_timer(0, None)
        self._exchange = None
        self._drop_origin()
        self.client.write(first_answer)
        origin.write(bytes(self._ahead))
        self._ahead.clear()
        self.context.splices.join(self.client, origin)

    # exchanges

    def _begin_exchange(self, request: RequestHead, rest: bytes) -> None:
        self._state = "exchange"
        self._exchange = HttpExchange(self, request)
        self.keep_ahead(self._exchange.early_data(rest))
        self.client.pause()
        idle, self._idle_origin = self._idle_origin, None
        if idle is not None and idle[0] == request.target and not (idle[1].lost or idle[1].ended):
            self._exchange.begin(idle[1], reused=True)
        else:
            if idle is not None:
                idle[1].close()
            self.dial_origin(self._exchange)

    def dial_origin(self, exchange: HttpExchange) -> None:
        """Connect the exchange to its origin."""
        self._dial(exchange.request.target, exchange.begin)

    def exchange_done(self, origin: Leg | None, keep_client: bool) -> None:
        """A response is delivered. ``origin``: still good for another request."""
        exchange, self._exchange = self._exchange, None
        if origin is not None and exchange is not None:
            origin.owner = self
            origin.resume()  # so that its FIN is seen
            self._idle_origin = (exchange.request.target, origin)
        if not keep_client:
            self._linger()
            return
        self._state = "head"
        self._set_timer(KEEP_ALIVE, self._idle_timed_out)
        self.client.resume()
        ahead = bytes(self._ahead)
        self._ahead.clear()
        self._read_heads(ahead)

    def refuse(self, status: int, text: str) -> None:
        """Answer in the origin's place, then close."""
        method = self._exchange.request.method if self._exchange is not None else b""
        self._answer(error_response(status, text, body=method != b"HEAD"))

    def _answer(self, response: bytes) -> None:
        self._exchange = None
        self.client.write(response)
        self._linger()

    # the end

    def _linger(self) -> None:
        """Everything is said; wait for the client to close, so that what it still sends does not turn into a RST."""
        self._state = "lingering"
        self._ahead.clear()
        self._drop_origin()
        self._set_timer(LINGER, self.client.close)
        self.client.finish()
        self.client.resume()

    def _drop_origin(self) -> None:
        idle, self._idle_origin = self._idle_origin, None
        if idle is not None:
            idle[1].close()

    def _head_timed_out(self) -> None:
        self._timer = None
        self.context.counters["request-timeout"] += 1
        if self._reader.started:
            self.refuse(408, "the request was not complete in time")
        else:
            self.client.close()

    def _idle_timed_out(self) -> None:
        self._timer = None
        self._drop_origin()
        self.client.close()

    def _set_timer(self, delay: float, action: Any) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.context.reactor.callLater(delay, action) if action is not None else None
