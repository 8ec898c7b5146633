"""One end's binding at one relay: reach it, keep it, notice that it is gone. Sans-IO; a part of ``client``.

States::

    RESTING --want--> BINDING --BOUND--> BOUND --probes unanswered, refused--> LOST --pause--> BINDING
       ^                 | 4 s                |                                  ^
       +--- rest --------+----- rest --------+        BINDING ------ 4 s -------+

BINDING goes to the relay's UDP endpoints first, and to its framed TCP ones from 1 s on (at once where UDP was of no use before). The first
that answers is the one. Counters come from the wall clock, so that they grow across restarts.

The keepalive adapts to the NAT: an answer that says MOVED shows that the mapping did not live as long as the last pause, which is halved;
after four that were survived it grows by a quarter. While the binding is in use it is asked as soon as nothing comes back.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from userlan.control.grants import GRANT_SIZE
from userlan.control.meeting import RelayOffer
from userlan.relay import datagrams
from userlan.relay.datagrams import NO_COOKIE, Bind, Bound
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

BIND_OFFSETS = (0.0, 0.25, 0.6, 1.0, 1.5, 2.2, 3.0)
"""Seconds after the start at which a BIND leaves."""
STREAM_FROM = 1.0
"""Seconds after which framed TCP is tried beside UDP, as with a mediator."""
GIVE_UP = 4.0
"""Seconds after which a relay that has not answered is left for ``PAUSES``."""
STREAM_GIVE_UP = 6.0
"""The same where its framed TCP is tried: a connection and a BIND over a line of 1 s."""
PAUSES = (5.0, 10.0, 20.0, 60.0)
"""Seconds before a relay that was lost is tried again, the last one from then on."""
KEEPALIVE = 15.0
KEEPALIVE_LEAST = 5.0
KEEPALIVE_MOST = 25.0
"""Seconds between BINDs of a binding that is well: at first, and its bounds; below the shortest mapping of home routers, 30 s."""
SURVIVED = 4
"""Pauses survived after which the next ones are longer."""
IN_USE = 2.0
"""Seconds since the last datagram for which a binding is in use: silence then means something."""
PROBE_AFTER = 0.5
"""Seconds without anything from the relay after which a binding in use is asked, or two round trips to it."""
PROBE_INTERVAL = 0.25
PROBES = 4
"""Seconds between BINDs that ask, or a round trip and a quarter, and how many go unanswered: a relay of up to 200 ms is given up 1.5 s
after its last sign of life; the TCP inside then carries on by its next retransmission, within three in all."""
IDLE_PROBES = 5
IDLE_PROBE_INTERVAL = 1.0
"""The same for a binding that only stands by."""
UDP_RETRY = 60.0
"""Seconds between tries to leave framed TCP for UDP."""
MAX_COUNTER = 2**64 - 2
"""The greatest counter that is gone on from: the field has 64 bits. A relay that names it has made itself useless, and nothing else."""
OUTSTANDING = 16
"""BINDs whose answers are still taken."""


class BindingState(enum.Enum):
    """See the module's picture."""

    RESTING = "resting"
    BINDING = "binding"
    BOUND = "bound"
    LOST = "lost"


class Binding:
    """One pair's channel at one relay. ``number``: what ``via`` of its endpoint is. ``heard``: when the other end's data came last."""

    def __init__(
        self,
        peer: bytes,
        number: int,
        role: int,
        offer: RelayOffer,
        wall_offset: float,
        blocked: Callable[[], bool],
        outgoing: list[Burst],
    ) -> None:
        """``blocked``: whether UDP is known to be of no use here; ``outgoing``: where BINDs are put."""
        self.peer = peer
        self.number = number
        self.offer = offer
        self.state = BindingState.RESTING
        self.header = datagrams.data_header(offer.channel)
        self._places = _places(offer)
        self.address: Endpoint | None = None
        """Where the relay is reached, and what comes for this channel must come from."""
        self.rtt: float | None = None
        self.present = False
        """Whether the other end was bound when the relay answered last, or was heard since."""
        self.heard = float("-inf")
        self.failed = ""
        self._role = role
        self._wall_offset = wall_offset
        self._blocked = blocked
        self._counter = 0
        self._cookie = NO_COOKIE
        self._since = 0.0
        self._step = 0
        self._next = 0.0
        self._pause = KEEPALIVE
        self._survived = 0
        self._failures = 0
        self._sent: dict[int, float] = {}
        self._used = float("-inf")
        self._alive = float("-inf")
        self._unanswered = 0
        self._udp_at = float("inf")
        self._outgoing = outgoing

    @property
    def endpoint(self) -> Endpoint:
        """This path, as tunnel and path choice name it: the same however the relay itself is reached."""
        named = self.offer.relay.endpoints
        host, port = (named[0].host, named[0].port) if named else ("0.0.0.0", 1)
        return Endpoint(RELAY, host, port, self.number)

    @property
    def usable(self) -> bool:
        """Whether datagrams can be sent by it."""
        return self.address is not None and self.state in (BindingState.BINDING, BindingState.BOUND)

    def renewed(self, offer: RelayOffer) -> None:
        """The mediator has sent a younger grant, or other addresses, for the same relay."""
        self.offer = offer
        self.header = datagrams.data_header(offer.channel)
        self._places = _places(offer)

    # --- what happens ------------------------------------------------------------------------------------------------

    def want(self, now: float) -> None:
        """Bind, if that is not done or under way."""
        if self.state is BindingState.RESTING:
            self._start(now)

    def rest(self) -> None:
        """Keep nothing up; the offer stays."""
        self.state = BindingState.RESTING
        self.present = False
        self.address = None

    def network_changed(self, now: float) -> None:
        """This computer is elsewhere: say so by a BIND from there, at once."""
        if self.state is not BindingState.RESTING:
            self._failures = 0
            self._start(now, self.address)

    def check(self, now: float) -> None:
        """The path may be dead: where this computer's NAT has forgotten its mapping, a BIND makes another one, and tells the relay."""
        if self.state is BindingState.BOUND and self.address is not None:
            self._bind(self.address, now)

    def sent(self, now: float) -> None:
        """Data leave by it."""
        if now - self._used > IN_USE:
            self._alive = max(self._alive, now)     # silence counts from here
        self._used = max(now, self._alive + 1e-9)

    def received(self, source: Endpoint, now: float) -> bool:
        """Data came for its channel from ``source``; whether that is where the relay is (by whichever of its addresses)."""
        if (source != self.address and source not in self._places) or self.state is BindingState.RESTING:
            return False
        self._alive = self.heard = now
        self._unanswered = 0
        self.present = True
        return True

    def answered(self, bound: Bound, source: Endpoint, now: float) -> bool | None:
        """A BOUND with the right MAC: True it is bound now and was not, False it is lost, None nothing changed."""
        sent = self._sent.get(bound.counter)
        if sent is None or self.state is BindingState.RESTING or (source != self.address and source not in self._places):
            return None     # a relay that is an enemy would so name any address as its own, for all data to go there
        if bound.status == datagrams.STALE:
            self._counter = max(self._counter, min(bound.newest, MAX_COUNTER))
            self._sent.clear()
            self._bind(source, now)
            return None
        if bound.status != datagrams.BOUND:
            self._lose(now, "its grant is over" if bound.status == datagrams.EXPIRED else "it is full")
            return False
        if self.state is BindingState.BOUND and source != self.address and not self._better(source):
            return None     # another of the relay's addresses answered first; the next BIND there settles it
        self._adapt(bound)
        self._sent = {counter: at for counter, at in self._sent.items() if counter > bound.counter}
        sample = max(0.0, now - sent)
        self.rtt = sample if self.rtt is None else min(sample, self.rtt + 0.125 * (sample - self.rtt))
        self._alive, self._unanswered, self._failures = now, 0, 0
        self.present = bool(bound.flags & datagrams.PRESENT) or now - self.heard < IN_USE
        came = self.state is not BindingState.BOUND
        self.state, self.address, self._cookie = BindingState.BOUND, source, bound.cookie
        self._udp_at = now + UDP_RETRY if source.transport == TCP else float("inf")
        self._next = now + self._pause
        if not bound.flags & datagrams.VALIDATED:
            self._bind(source, now)
        return True if came else None

    def way_lost(self, endpoint: Endpoint, now: float) -> bool:
        """A framed TCP connection ended; whether this binding was by it and starts anew."""
        if self.address != endpoint or self.state is not BindingState.BOUND:
            return False
        self._start(now)
        return True

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When ``tick`` has something to do."""
        if self.state is BindingState.RESTING:
            return float("inf")
        if self.state is BindingState.LOST:
            return self._next
        if self.state is BindingState.BINDING:
            step = self._since + BIND_OFFSETS[self._step] if self._step < len(BIND_OFFSETS) else float("inf")
            return min(step, self._gives_up_at())
        return min(self._probe_at(), self._next, self._udp_at)

    def tick(self, now: float) -> bool:
        """Do what is due. True when the relay is lost by this."""
        if self.state is BindingState.LOST and now >= self._next:
            self._start(now)
        if self.state is BindingState.BINDING:
            return self._reach(now)
        if self.state is not BindingState.BOUND or self.address is None:
            return False
        if now >= min(self._probe_at(), self._next):
            if self._unanswered >= (PROBES if self._in_use(now) else IDLE_PROBES):
                self._lose(now, "it does not answer")
                return True
            self._unanswered += 1
            self._next = now + (self._probe_interval() if self._in_use(now) else IDLE_PROBE_INTERVAL)
            self._bind(self.address, now)
        if now >= self._udp_at:
            self._udp_at = now + UDP_RETRY
            for endpoint in self._endpoints(UDP):
                self._bind(endpoint, now)
        return False

    # --- inside ------------------------------------------------------------------------------------------------------

    def _in_use(self, now: float) -> bool:
        return now - self._used < IN_USE

    def _probe_at(self) -> float:
        """When a binding in use is to be asked: data left by it after its last sign of life."""
        if self._used <= self._alive and not self._unanswered:
            return float("inf")
        asked = max(self._sent.values(), default=self._alive)
        due = max(self._alive + max(PROBE_AFTER, 2 * (self.rtt or 0.0)), asked + self._probe_interval())
        return due if due < self._used + IN_USE else float("inf")

    def _probe_interval(self) -> float:
        return max(PROBE_INTERVAL, 1.25 * (self.rtt or 0.0))

    def _gives_up_at(self) -> float:
        return self._since + (STREAM_GIVE_UP if self._endpoints(TCP) else GIVE_UP)

    def _start(self, now: float, address: Endpoint | None = None) -> None:
        self.state = BindingState.BINDING
        self.address = address
        self._since, self._step, self._unanswered = now, 0, 0
        self._cookie = NO_COOKIE
        self._sent.clear()
        self._reach(now)

    def _reach(self, now: float) -> bool:
        while self._step < len(BIND_OFFSETS) and now >= self._since + BIND_OFFSETS[self._step]:
            self._step += 1
            endpoints = self._endpoints(UDP, every=self._step > 1)
            if self._blocked() or not endpoints or now >= self._since + STREAM_FROM:
                endpoints += self._endpoints(TCP)
            for endpoint in endpoints:
                self._bind(endpoint, now)
            if self.address is None and endpoints:
                self.address = endpoints[0]     # data may follow the BIND at once
        if now >= self._gives_up_at():
            self._lose(now, "it does not answer")
            return True
        return False

    def _lose(self, now: float, reason: str) -> None:
        self.state = BindingState.LOST
        self.failed = reason
        self.present = False
        self.address = None
        self._next = now + PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1

    def _adapt(self, bound: Bound) -> None:
        """Learn from a keepalive's answer how long the NAT's mapping lives."""
        if self.state is not BindingState.BOUND:
            return
        if bound.flags & datagrams.MOVED:
            self._pause = max(KEEPALIVE_LEAST, self._pause / 2)
            self._survived = 0
        else:
            self._survived += 1
            if self._survived >= SURVIVED:
                self._pause = min(KEEPALIVE_MOST, self._pause * 1.25)
                self._survived = 0

    def _better(self, source: Endpoint) -> bool:
        return self.address is not None and self.address.transport == TCP and source.transport == UDP

    def _endpoints(self, transport: str, every: bool = True) -> tuple[Endpoint, ...]:
        """The relay's, four at most; or (not ``every``) the first of each family."""
        found = [one for one in self._places if one.transport == transport]
        return tuple(found[:4] if every else {":" in one.host: one for one in reversed(found)}.values())

    def _bind(self, endpoint: Endpoint, now: float) -> None:
        if len(self.offer.grant) != GRANT_SIZE:
            return
        self._counter = max(min(self._counter, MAX_COUNTER) + 1, int((now + self._wall_offset) * 1e6))
        while len(self._sent) >= OUTSTANDING:
            del self._sent[next(iter(self._sent))]
        self._sent[self._counter] = now
        cookie = self._cookie if endpoint == self.address else NO_COOKIE
        data = datagrams.encode_bind(Bind(self._counter, self.offer.grant, self._role, cookie), self.offer.secret)
        self._outgoing.append(Burst(data, len(data), endpoint))


def _places(offer: RelayOffer) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(one.transport, one.host, one.port) for one in offer.relay.endpoints)
