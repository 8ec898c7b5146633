"""One SOCKS client of the proxy: negotiation, then a splice (CONNECT) or a UDP association.

::

    negotiating   request complete → dialing or associated; SocksError → its reply, then the end
    dialing       connected → reply, splice; DialError → reply, the end. The client is not read meanwhile
    associated    until the control connection ends

The negotiation must be over within REQUEST_TIMEOUT.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from bridges.dial import Cause, DialError
from bridges.leg import Leg
from bridges.proxy_context import LINGER, MAX_ASSOCIATIONS, ProxyContext
from bridges.socks import Command, Negotiation, Reply, Request, SocksError
from bridges.udp_associate import UdpAssociation

REPLY_OF = {
    Cause.UNKNOWN_NAME: Reply.HOST_UNREACHABLE,
    Cause.REFUSED: Reply.REFUSED,
    Cause.TIMEOUT: Reply.TIMED_OUT,
    Cause.UNREACHABLE: Reply.HOST_UNREACHABLE,
    Cause.FORBIDDEN: Reply.NOT_ALLOWED,
    Cause.FAILED: Reply.FAILURE,
}


class SocksSession:
    """Owner of a client's leg until it is spliced."""

    def __init__(self, context: ProxyContext, client: Leg) -> None:
        self._context = context
        self._client = client
        self._negotiation = Negotiation(context.credentials)
        self._dialing: Deferred[Leg] | None = None
        self._association: UdpAssociation | None = None
        self._lingering = False
        self._timer: Any = context.reactor.callLater(context.request_timeout, self._timed_out)
        client.owner = self

    def start(self, data: bytes) -> None:
        """Begin with what the client has sent so far."""
        self._client.resume()
        self._receive(data)

    # LegOwner

    def leg_made(self, leg: Leg) -> None:
        """The far side is connected; the Deferred of its dialing tells."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        if leg is self._client and not self._lingering and self._association is None:
            self._receive(data)

    def leg_ended(self, leg: Leg) -> None:
        if leg is self._client and self._dialing is None:
            self._client.close()

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if leg is not self._client:
            return
        self._stop_timer()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._association is not None:
            self._association.stop()
            self._association = None
            self._context.associations -= 1

    def leg_congested(self, leg: Leg) -> None:
        """The replies are a few bytes."""

    def leg_drained(self, leg: Leg) -> None:
        """Nothing waits for it."""

    # negotiation

    def _receive(self, data: bytes) -> None:
        try:
            answer = self._negotiation.receive(data)
        except SocksError as error:
            self._context.counters[str(error)] += 1
            self._refuse(error.reply)
            return
        self._client.write(answer)
        request = self._negotiation.request
        if request is None:
            return
        self._stop_timer()
        if request.command is Command.CONNECT:
            self._connect(request)
        else:
            self._associate(request)

    def _connect(self, request: Request) -> None:
        self._context.counters["socks-connect"] += 1
        self._client.pause()
        client_host = self._client.transport.getPeer().host
        self._dialing = self._context.dialer.dial(request.host, request.port, self, client_host)
        self._dialing.addCallback(self._connected, request)
        self._dialing.addErrback(self._not_connected, request)

    def _connected(self, target: Leg, request: Request) -> None:
        self._dialing = None
        if self._client.lost:
            target.abort()
        elif target.lost:
            self._refuse(request.reply(Reply.FAILURE))
        else:
            bound = target.transport.getHost()
            self._client.write(request.reply(Reply.SUCCEEDED, bound.host, bound.port))
            target.write(self._negotiation.take_rest())
            self._context.splices.join(self._client, target)

    def _not_connected(self, failure: Failure, request: Request) -> None:
        self._dialing = None
        if isinstance(failure.value, CancelledError) or self._client.lost:
            return
        error = failure.value
        if not isinstance(error, DialError):
            self._client.abort()
            failure.raiseException()
        else:
            self._context.counters[f"dial-{error.cause.name.lower()}"] += 1
            self._refuse(request.reply(REPLY_OF[error.cause]))

    def _associate(self, request: Request) -> None:
        self._context.counters["socks-associate"] += 1
        if self._context.associations >= MAX_ASSOCIATIONS:
            self._context.counters["associations-full"] += 1
            self._refuse(request.reply(Reply.FAILURE))
            return
        association = UdpAssociation(self._context, self._client.transport.getPeer().host, request.port)
        try:
            host, port = association.start(self._client.transport.getHost().host)
        except CannotListenError:
            self._refuse(request.reply(Reply.FAILURE))
            return
        self._association = association
        self._context.associations += 1
        self._client.write(request.reply(Reply.SUCCEEDED, host, port))

    # the end

    def _refuse(self, reply: bytes) -> None:
        """Answer, FIN, and wait a little for the client's own, so that the answer is not lost by a RST."""
        self._stop_timer()
        if not reply:
            self._client.abort()
            return
        self._lingering = True
        self._client.write(reply)
        self._client.finish()
        self._client.resume()
        self._timer = self._context.reactor.callLater(LINGER, self._client.close)

    def _timed_out(self) -> None:
        self._context.counters["request-timeout"] += 1
        self._client.abort()

    def _stop_timer(self) -> None:
        if self._timer.active():
            self._timer.cancel()
