"""What an attached kernel finds beyond the members of the LAN: the resolver of its names, and, where that is wanted, the Internet.

A NAT of connections instead of packets, with this process' own sockets outside, so that it needs no privileges::

    program ── kernel ── lan0 ─┬─ RESOLVER:53, UDP and TCP ── Zone; other names: this computer's resolvers, or refused
                               ├─ a connection ── dialled outside first; then accepted and spliced (``bridges.splice``)
                               ├─ datagrams, pings ── ``bridges.outside``
                               └─ nothing else

* A connection is accepted when the far side has accepted ours; what is refused is refused, what is silent stays silent.
* Established connections are kept for ``ESTABLISHED_IDLE`` without a byte (RFC 5382, REQ-5: 2 h 4 min), their ends for
  ``bridges.splice.CLOSE_LIMIT``; UDP flows 2 min (RFC 4787, REQ-5).
* UDP mappings depend on the program's address and port alone (RFC 4787, REQ-1); in comes what those send who were spoken to.
* Never to this computer's own loopback, to link-local addresses, groups, or the LAN's ranges: those do not come here
  (``Gateway.takes``). This computer's other addresses can be reached, as from any computer beside it.
* Without the Internet programs hear at once that it is prohibited.

What it cannot do: protocols beside TCP, UDP and echo; connections from outside in; options of IP; a time to live (traceroute).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.dial import DIAL_TIMEOUT, Cause, DialError, connect_numeric
from bridges.dns_server import DnsDatagrams, DnsStreams, Server
from bridges.dns_upstream import SystemServers, Upstream
from bridges.dns_zone import Zone
from bridges.leg import Leg, LegFactory
from bridges.outside import Flows
from bridges.splice import Splices
from userlan.driver.lan import Lan
from userlan.driver.uplink import Datagrams, Echo, Refusal, StreamCall, Uplink

ESTABLISHED_IDLE = 7_440.0
"""Seconds without a byte after which a connection is reset (RFC 5382, REQ-5: not less than 2 hours and 4 minutes)."""

MAX_DIALS = 512
"""Connections being made outside at a time: a scan by a program of the kernel's would take a socket for each address."""

DNS_PORT = 53

_REFUSALS = {
    Cause.REFUSED: Refusal.REFUSED,
    Cause.TIMEOUT: Refusal.SILENT,
    Cause.UNREACHABLE: Refusal.UNREACHABLE,
    Cause.FORBIDDEN: Refusal.PROHIBITED,
}


def make_uplink(lan: Lan, internet: bool, names: bool = False) -> Uplink:
    """What to give :meth:`userlan.driver.lan.Lan.attach_link`: the LAN's names always, the Internet where that is wanted, or of it the
    names alone (``names``: for a kernel that asks nobody else)."""
    return Uplink(Internet(lan, internet, names=names), internet)


class Internet:
    """The services (``userlan.driver.uplink.Services``) of one link."""

    _log = Logger()

    def __init__(self, lan: Lan, internet: bool, timeout: float = DIAL_TIMEOUT, names: bool = False) -> None:
        """``timeout``: seconds in which somebody outside must accept a connection; ``names``: other names are asked of this computer's
        resolvers, with the Internet or without."""
        self.counters: Counter[str] = Counter()
        """Connections by outcome; datagrams and pings that were dropped or refused, by reason."""
        upstream = Upstream(lan.reactor, SystemServers(lan.is_lan)) if internet or names else None
        self.server = Server(Zone(lan), upstream)
        self.splices = Splices(lan.reactor, ESTABLISHED_IDLE)
        self._reactor = lan.reactor
        self._timeout = timeout
        self._dns_streams = DnsStreams(lan.reactor, self.server)
        self._flows: Flows | None = None
        self._pending: set[_Dial] = set()

    def attached(self, uplink: Uplink) -> None:
        """Serve the resolver."""
        self._flows = Flows(self._reactor, uplink, self.counters)
        try:
            uplink.datagram_port(DnsDatagrams(self.server), DNS_PORT)
        except CannotListenError as error:
            self._log.error("{error}", error=error)
        uplink.server_endpoint(DNS_PORT).listen(self._dns_streams).addErrback(self._not_served)

    def _not_served(self, failure: Failure) -> None:
        self._log.failure("the resolver of a link cannot be reached by TCP", failure)

    def detached(self) -> None:
        """End everything."""
        flows, self._flows = self._flows, None
        if flows is not None:
            flows.close()
        for dial in list(self._pending):
            dial.cancel()
        self._dns_streams.abort_all()
        self.splices.abort_all()

    def stream(self, call: StreamCall) -> None:
        """A connection to somebody outside."""
        if len(self._pending) >= MAX_DIALS:
            self.counters["dials-full"] += 1
            call.refuse(Refusal.SILENT)     # the kernel asks again
            return
        self._pending.add(dial := _Dial(self, call))
        dial.start(self._reactor, self._timeout)

    def datagrams(self, arrived: Datagrams) -> None:
        """Datagrams to somebody outside."""
        if self._flows is not None:
            self._flows.datagrams(arrived)

    def echo(self, echo: Echo) -> None:
        """A ping to somebody outside."""
        if self._flows is not None:
            self._flows.echo(echo)

    def settled(self, dial: _Dial) -> None:
        """A connection is joined, or will not be."""
        self._pending.discard(dial)


class _Dial:
    """A connection that was asked for, until both sides are there. Owner of both legs."""

    def __init__(self, internet: Internet, call: StreamCall) -> None:
        self._internet = internet
        self._call = call
        self._far: Leg | None = None
        self._connecting: Deferred[Any] | None = None

    def start(self, reactor: Any, timeout: float) -> None:
        call = self._call
        call.abandoned = self.cancel
        self._connecting = connecting = connect_numeric(reactor, call.host, call.port, self, timeout)
        connecting.addCallbacks(self._connected, self._not_connected)
        connecting.addErrback(self._failed)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._internet.settled(self)
        connecting, self._connecting = self._connecting, None
        if self._far is not None:
            self._far.abort()
        elif connecting is not None:
            connecting.cancel()

    def _connected(self, far: Leg) -> None:
        self._far, self._connecting = far, None
        self._call.accept(LegFactory(self)).addCallbacks(self._accepted, lambda _: self.cancel())

    def _accepted(self, near: Leg) -> None:
        far, self._far = self._far, None
        self._internet.settled(self)
        if far is None or far.lost:
            near.abort()
        else:
            self._internet.counters["connected"] += 1
            self._internet.splices.join(near, far)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self._internet.settled(self)
        cause = failure.value.cause if isinstance(failure.value, DialError) else Cause.FAILED
        self._internet.counters[cause.name.lower()] += 1
        self._call.refuse(_REFUSALS.get(cause, Refusal.SILENT))

    def _failed(self, failure: Failure) -> None:
        Internet._log.failure("a connection to the outside could not be handled", failure)
        self.cancel()

    # LegOwner: both legs are paused until they are joined

    def leg_made(self, leg: Leg) -> None:
        """Connected."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """It is born paused."""

    def leg_ended(self, leg: Leg) -> None:
        """Kept in the leg; the splice hands it on."""

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        """Kept in the leg, too."""

    def leg_congested(self, leg: Leg) -> None:
        """Nothing was written."""

    def leg_drained(self, leg: Leg) -> None:
        """Nothing was written."""
