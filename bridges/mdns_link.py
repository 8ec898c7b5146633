"""One member of one link's multicast DNS: what it offers and what it finds there, sans-IO.

::

    receive(datagram) ─▶ Responder   what is offered: services of this computer on the LAN, remote ones on this computer
                      ─▶ Querier     what others offer, by origin
    datagrams(now), events(now), deadline() ◀─

The LAN and this computer's own link are two of these; the bridge between them hands services over, never packets: nothing that came
by one link is repeated on the other one, so nothing can run in circles but a service, and these are told apart by whose they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import attrs

from bridges.mdns_cache import Cache
from bridges.mdns_querier import Querier, Seen
from bridges.mdns_records import META, Service
from bridges.mdns_responder import PORT, Audience, Conflict, Host, Responder
from bridges.mdns_wire import Name, decode, encode

ECHO_TIME = 1.0
"""Seconds within which the kernel gives back what was sent; the same from somebody else counts again after that."""
NOBODY = None
"""The origin of those whose services do not count: that they have our names does."""


@attrs.frozen
class AskedFor:
    """Somebody on the link asks for pointers that are not known here: a subtype, for instance."""

    name: Name


Event = Seen | Conflict | AskedFor


class Link:
    """See above. ``chance`` gives numbers from 0 to 1.

    ``unicast``: single hosts may be answered, and may answer us (a port that is ours alone). Plain resolvers (RFC 6762 6.7) are
    answered in any case. ``yields``: see :class:`Responder`.
    """

    def __init__(self, chance: Callable[[], float], unicast: bool, yields: bool = False) -> None:
        self.counters: Counter[str] = Counter()
        self.cache = Cache(chance)
        self.cache.counters = self.counters
        self.responder = Responder(chance, unicast, yields)
        self.responder.counters = self.counters
        self.querier = Querier(self.cache, chance, unicast)
        self.copies = 0
        """How many copies of what is sent to the group come back."""
        self._echoes: dict[bytes, tuple[float, int]] = {}
        self._greetings: list[Host] = []

    def start(self, now: float) -> None:
        """Begin to look for all types of services."""
        self.querier.browse(META, now)

    def receive(self, datagram: bytes, source: Host, origin: Hashable, now: float, deaf: bool = False) -> None:
        """A datagram of the link. ``origin``: whose word it is, NOBODY for one who is not believed; ``deaf``: it does not hear us."""
        if self._is_echo(datagram, now):
            self.counters["echo"] += 1
            return
        try:
            message = decode(datagram)
        except ValueError:
            self.counters["malformed"] += 1
            return
        if not message.response:
            self.responder.asked(message, source, now)
            if source[1] == PORT:
                self.querier.heard(message, now)
        elif source[1] != PORT:
            self.counters["not-from-its-port"] += 1       # RFC 6762 6
        else:
            self.responder.heard(message, deaf, now)
            if origin is not NOBODY:
                self.querier.answered(origin, [*message.answers, *message.additionals], now)

    def offer(self, key: Hashable, service: Service, audience: Audience | None, now: float) -> None:
        """See :meth:`Responder.offer`."""
        self.responder.offer(key, service, audience, now)

    def withdraw(self, key: Hashable) -> None:
        """See :meth:`Responder.withdraw`."""
        self.responder.withdraw(key)

    def greet(self, host: str) -> None:
        """Somebody has come who has heard nothing yet: tell it, and ask it (RFC 6762 5.5)."""
        self.responder.greet(host)
        self._greetings.append((host, PORT))

    def again(self, now: float) -> None:
        """The link is another one than before: say and ask everything anew (RFC 6762 8.3, 5.2)."""
        self.responder.again(now)
        self.querier.again(now)

    def datagrams(self, now: float) -> list[tuple[bytes, Host | None]]:
        """What is to be sent now, and to whom; None: the group."""
        self.querier.tick(now)
        messages = self.responder.messages(now)
        messages += [(message, None) for message in self.querier.messages(now)]
        greetings, self._greetings = self._greetings, []
        messages += [(self.querier.greeting(), host) for host in greetings]
        packets = []
        for message, to in messages:
            try:
                packets += [(packet, to) for packet in encode(message)]
            except ValueError:
                self.counters["too-great"] += 1
        if self.copies and packets:
            self._echoes = {packet: echo for packet, echo in self._echoes.items() if now - echo[0] < ECHO_TIME}
            for packet, to in packets:
                if to is None:
                    self._echoes[packet] = (now, self.copies + self._echoes.get(packet, (now, 0))[1])
        return packets

    def events(self, now: float) -> list[Event]:
        """What has happened since the last time."""
        asked = [AskedFor(name) for name in self.responder.asked_for]
        self.responder.asked_for.clear()
        return [*self.responder.conflicts(), *self.querier.changes(now), *asked]

    def _is_echo(self, datagram: bytes, now: float) -> bool:
        when, copies = self._echoes.get(datagram, (0.0, 0))
        if not copies or now - when >= ECHO_TIME:
            return False
        self._echoes[datagram] = (when, copies - 1)
        return True

    def deadline(self) -> float | None:
        """When there is something to send, or to tell."""
        if self._greetings:
            return float("-inf")
        times = [one for one in (self.responder.deadline(), self.querier.deadline(), self.querier.changes_at()) if one is not None]
        return min(times, default=None)
