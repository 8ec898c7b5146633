"""The mediator as a vantage point: by which sockets it answers, what members are told of them, and who answers as another host.

Where it has several addresses of its own, its own sockets answer as another host. Where it has one only, a relay of the pool does: it is
asked by ``Reflect`` over its session, takes the datagram as it is, and sends it from its own address. Relays on the mediator's own
computer are no other host.

A member may reach the mediator by an address of one family and not know that there is one of the other. So where a wildcard is listened
on, the computer's own public address of its family is named beside it: that is how a member with a session over IPv4 has its IPv6 seen
(``Sighted``), or the other way round. Of several IPv4 addresses none is named, since the answer might come from another one of them; with
IPv6 to have several is usual, and the first is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from userlan.control.meeting import MAX_ENDPOINTS, Proof, Reflect, RelayInfo, ServerEndpoint, Vantages
from userlan.mediator.reach import scope
from userlan.traversal.vantage import Observation, Vantage
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint, unmapped
from userlan.wire.numbers import Buffer

#: Ports of an own address that are named beside a wildcard: the filter's test needs two.
PORTS = 2


class Pool(Protocol):
    """What is needed of the relays (``userlan.mediator.relays``)."""

    def reflectors(self) -> Sequence[RelayInfo]:
        """The relays that are not at the mediator's own addresses."""


class VantagePoints:
    """Of one mediator. ``counters`` are the vantage's."""

    def __init__(
        self, public_key: bytes, pool: Pool, entropy: Callable[[int], bytes], own_hosts: Collection[str] = ()
    ) -> None:
        self._vantage = Vantage(public_key, entropy)
        public = [host for host in own_hosts if scope(host) == "public"]
        version4 = [host for host in public if ":" not in host]
        self._public = {"::": [host for host in public if ":" in host][:1], "0.0.0.0": version4 if len(version4) == 1 else []}
        self._pool = pool
        self._endpoints: list[ServerEndpoint] = []
        self._concrete: list[ServerEndpoint] = []
        self._bursts: list[Burst] = []
        self._turn = 0

    @property
    def counters(self) -> Counter[str]:
        """What was answered, and what was not and why."""
        return self._vantage.counters

    @property
    def endpoints(self) -> tuple[ServerEndpoint, ...]:
        """Where it can be asked. A wildcard host stands for the one by which the reader reaches the mediator."""
        return tuple((self._endpoints + self._concrete)[:MAX_ENDPOINTS])

    def listening(self, via: int, host: str, port: int) -> None:
        """Socket ``via`` is bound to a numeric ``host`` and ``port``, for UDP and TCP."""
        self._vantage.listening(via, host, port)
        self._endpoints += (ServerEndpoint(host, port, UDP), ServerEndpoint(host, port, TCP))
        for own in self._public.get(host, []):
            if sum(one.host == own for one in self._concrete) < PORTS:
                self._concrete.append(ServerEndpoint(own, port, UDP))

    def message(self) -> Vantages:
        """What a member is told of it."""
        others = [one for info in self._pool.reflectors() for one in info.endpoints if one.transport == UDP]
        return Vantages(self.endpoints, tuple(others[:MAX_ENDPOINTS]), proofs=True)

    def proven(self, proofs: Sequence[Proof], now: float) -> tuple[Endpoint, ...]:
        """The endpoints of those proofs that hold: they were seen here, and what was sent there did arrive."""
        found = []
        for proof in proofs:
            try:
                endpoint = Endpoint(proof.endpoint.transport, unmapped(proof.endpoint.host), proof.endpoint.port)
            except ValueError:
                continue
            if endpoint.transport == UDP and self._vantage.proves(proof.cookie, endpoint, now):
                found.append(endpoint)
        self.counters["proofs-refused"] += len(proofs) - len(found)
        return tuple(found)

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is a question."""
        return self._vantage.owns(data)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> list[tuple[bytes, Reflect]]:
        """Questions of ``segment`` octets each. What is answered at once is in ``datagrams``; returned is what relays are asked to send."""
        self._vantage.reflecting = bool(self._reflectors(source.host))
        for start in range(0, len(data), segment):
            self._bursts += self._vantage.receive(data[start : start + segment], source, now)
        asked = []
        for reflection in self._vantage.reflections():
            reflectors = self._reflectors(reflection.target.host)
            self._turn += 1
            relay = reflectors[self._turn % len(reflectors)]
            target = ServerEndpoint(reflection.target.host, reflection.target.port)
            asked.append((relay.key, Reflect(target, reflection.datagram)))
        return asked

    def observations(self) -> list[Observation]:
        """What was seen. Drained."""
        return self._vantage.observations()

    def datagrams(self) -> list[Burst]:
        """The answers. Drained."""
        bursts, self._bursts = self._bursts, []
        return bursts

    def _reflectors(self, host: str) -> list[RelayInfo]:
        """The relays that reach the family of ``host``."""
        version6 = ":" in host.removeprefix("::ffff:")
        return [
            info
            for info in self._pool.reflectors()
            if any(one.transport == UDP and (":" in one.host) == version6 for one in info.endpoints)
        ]
