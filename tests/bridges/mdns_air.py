"""Members of one link in virtual time: what one sends the others hear a moment later."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from bridges.mdns_link import Event, Link
from bridges.mdns_querier import Seen
from bridges.mdns_records import Service, parse_type
from bridges.mdns_responder import PORT, Conflict, Host
from bridges.mdns_wire import Message, decode

DELAY = 0.01


class Air:
    """Everything that is said, with its time."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.members: dict[str, Member] = {}
        self.said: list[tuple[float, str, Host | None, Message]] = []
        self._flying: list[tuple[float, int, str, Host | None, bytes]] = []
        self._serial = 0
        self.lost: Callable[[str, str], bool] = lambda sender, receiver: False

    def join(self, host: str, unicast: bool = True) -> Member:
        member = Member(self, host, unicast)
        self.members[host] = member
        member.link.start(self.now)
        return member

    def leave(self, host: str) -> None:
        """Gone without a word."""
        del self.members[host]

    def send(self, sender: str, data: bytes, to: Host | None = None) -> None:
        self._serial += 1
        self.said.append((self.now, sender, to, decode(data)))
        heapq.heappush(self._flying, (self.now + DELAY, self._serial, sender, to, data))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(200_000):
            times = [max(when, self.now) for member in self.members.values() if (when := member.link.deadline()) is not None]
            if self._flying:
                times.append(self._flying[0][0])
            soonest = min(times, default=end)
            if soonest > end:
                break
            self.now = max(self.now, soonest)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, sender, to, data = heapq.heappop(self._flying)
                for host, member in list(self.members.items()):
                    if host != sender and to in (None, (host, PORT)) and not self.lost(sender, host):
                        member.link.receive(data, (sender, PORT), sender, self.now)
            for member in list(self.members.values()):
                member.step()
        else:
            raise AssertionError("the link does not come to rest")
        self.now = end

    def since(self, when: float, response: bool | None = None) -> list[tuple[float, str, Host | None, Message]]:
        return [one for one in self.said if one[0] >= when and response in (None, one[3].response)]


class Member:
    def __init__(self, air: Air, host: str, unicast: bool) -> None:
        self.air = air
        self.host = host
        self.link = Link(air.random.random, unicast)
        self.events: list[Event] = []

    def step(self) -> None:
        now = self.air.now
        for data, to in self.link.datagrams(now):
            self.air.send(self.host, data, to)
        self.events += self.link.events(now)

    def offer(self, service: Service, key: str = "one", audience: tuple[tuple[str, ...], ...] | None = None) -> None:
        self.link.offer(key, service, audience, self.air.now)

    def found(self) -> dict[str, Service]:
        return {f"{origin}: {service.title}": service for origin, service in self.link.querier.services()}

    def conflicts(self) -> list[Conflict]:
        return [event for event in self.events if isinstance(event, Conflict)]

    def seen(self) -> list[Seen]:
        return [event for event in self.events if isinstance(event, Seen)]


def service(title: str = "Laser", host: str = "nas", port: int = 631, address: str = "25.9.0.2", **more: object) -> Service:
    values = {"text": b"\x04rp=x", "addresses": (address,), "subtypes": (), "type": parse_type("_ipp._tcp"), **more}
    return Service(title.encode(), host=(host.encode(), b"local"), port=port, **values)  # type: ignore[arg-type]
