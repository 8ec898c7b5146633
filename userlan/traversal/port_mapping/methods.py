"""One machine for each protocol: it probes, maps both transports, renews, unmaps; and says what is to be sent.

::

    available None ── probe answered ──▶ True ── map() ──▶ granted[transport], or refused
         └── not within its time ──▶ False

``output`` is drained by the coordinator: datagrams, and HTTP requests, whose answers come back with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from userlan.traversal.nat import PortMapping
from userlan.traversal.port_mapping import nat_pmp, pcp
from userlan.wire.endpoint import TCP, UDP

TRANSPORTS: Final = (UDP, TCP)
LIFETIME: Final = 7200
"""Seconds that are asked for (RFC 6886 3.3's recommendation)."""
LEAST_ANNOUNCED: Final = 5.0
"""Seconds between two announcements of an address that are heeded: each is told to all members, and anybody on the link can forge them."""
LONGEST: Final = 86_400
"""Seconds that a grant is believed for (RFC 6887 15 lets servers limit it to a day)."""
PCP_FIRST: Final = 3.0
PCP_TRIES: Final = 3
"""Seconds before the first repeat, doubling (RFC 6887 8.1.1: IRT); and how many times a request is sent: 21 s in all."""
NAT_PMP_FIRST: Final = 0.25
NAT_PMP_TRIES: Final = 7
"""The same for NAT-PMP (RFC 6886 3.1); its 9 would be a minute longer."""


class Datagram(NamedTuple):
    """To be sent by UDP."""

    data: bytes
    host: str
    port: int


class HttpRequest(NamedTuple):
    """To be asked by HTTP; the answer is given back with ``number``. ``body`` None: GET, else POST."""

    number: int
    url: str
    headers: dict[str, str]
    body: bytes | None


class Grant(NamedTuple):
    """A mapping: the external host and port of a transport, and the seconds for which it holds."""

    host: str
    port: int
    lifetime: float


class Method(Protocol):
    """What the coordinator needs of each."""

    name: PortMapping
    available: bool | None
    refused: bool
    """Whether the last request was refused or not answered, for all transports."""
    restarted: bool
    """Whether the gateway has lost its state: cleared by who asks for everything again."""
    granted: dict[str, Grant]
    output: list[Datagram | HttpRequest]

    @property
    def asking(self) -> bool:
        """Whether an answer about a mapping is outstanding."""

    def probe(self, now: float) -> None: ...
    def map(self, now: float) -> None: ...
    def unmap(self, now: float) -> None: ...
    def received(self, data: bytes, port: int, now: float) -> None: ...
    def answered(self, number: int, status: int, body: bytes, now: float) -> None: ...
    def deadline(self) -> float | None: ...
    def tick(self, now: float) -> None: ...


class _Pending(NamedTuple):
    data: bytes
    at: float
    wait: float
    left: int


class _Server:
    """What PCP and NAT-PMP have in common: requests to the gateway's port 5351, repeated until answered, and an epoch."""

    first: float
    tries: int

    def __init__(self, gateway: str, own_host: str, port: int) -> None:
        self.available: bool | None = None
        self.refused = False
        self.restarted = False
        self.granted: dict[str, Grant] = {}
        self.output: list[Datagram | HttpRequest] = []
        self._gateway = gateway
        self._own_host = own_host
        self._port = port
        self._pending: dict[str, _Pending] = {}
        self._epoch: tuple[int, float] | None = None

    @property
    def asking(self) -> bool:
        """Whether an answer about a mapping is outstanding."""
        return any(transport in self._pending for transport in TRANSPORTS)

    def answered(self, number: int, status: int, body: bytes, now: float) -> None:
        """It asks nothing by HTTP."""

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return min((pending.at for pending in self._pending.values()), default=None)

    def tick(self, now: float) -> None:
        """Repeat what was not answered; give up in the end."""
        for key, pending in list(self._pending.items()):
            if pending.at > now:
                continue
            if pending.left:
                self._pending[key] = pending._replace(at=now + pending.wait, wait=2 * pending.wait, left=pending.left - 1)
                self.output.append(Datagram(pending.data, self._gateway, pcp.PORT))
            else:
                del self._pending[key]
                self._unanswered(key)

    def _ask(self, key: str, data: bytes, now: float) -> None:
        self._pending[key] = _Pending(data, now + self.first, 2 * self.first, self.tries - 1)
        self.output.append(Datagram(data, self._gateway, pcp.PORT))

    def _unanswered(self, key: str) -> None:
        if key == "probe":
            self.available = self.available or False
        else:
            self._denied(key)

    def _let_go(self) -> list[str]:
        """Forget what is held and what was asked for; the transports of both: the answer may be on its way, or lost."""
        transports: list[str] = [transport for transport in TRANSPORTS if transport in self.granted or transport in self._pending]
        self._pending.clear()
        self.granted.clear()
        return transports

    def _denied(self, transport: str) -> None:
        self.granted.pop(transport, None)
        self._pending.pop(transport, None)
        self.refused = not self.granted and not self.asking

    def _grant(self, transport: str, host: str, port: int, lifetime: int) -> None:
        self._pending.pop(transport, None)
        self.granted[transport] = Grant(host, port, float(min(lifetime, LONGEST)))

    def _note_epoch(self, epoch: int, now: float, continues: Callable[[int, float, int, float], bool]) -> None:
        if self._epoch is not None and not continues(*self._epoch, epoch, now):
            self.restarted = True
        self._epoch = (epoch, now)

    def _wanted(self, transport: str) -> int:
        """The external port to suggest: the one that we have, or the same as inside."""
        grant = self.granted.get(transport)
        return grant.port if grant is not None else self._port


class Pcp(_Server):
    """RFC 6887."""

    name: PortMapping = "pcp"
    first = PCP_FIRST
    tries = PCP_TRIES

    def __init__(self, gateway: str, own_host: str, port: int, entropy: Callable[[int], bytes]) -> None:
        super().__init__(gateway, own_host, port)
        self._nonces = {transport: entropy(pcp.NONCE_LENGTH) for transport in TRANSPORTS}

    def probe(self, now: float) -> None:
        """Ask for the epoch."""
        self._ask("probe", pcp.announce(self._own_host), now)

    def map(self, now: float) -> None:
        """Ask for both mappings, or for their renewal (11.2.1: the same nonce, what is held as the suggestion)."""
        self.refused = False
        for transport in TRANSPORTS:
            held = self.granted.get(transport)
            host = held.host if held is not None else ""
            self._ask(transport, self._request(transport, self._wanted(transport), LIFETIME, host), now)

    def unmap(self, now: float) -> None:
        """Give both back (15: lifetime 0, and no suggestion)."""
        for transport in self._let_go():
            self.output.append(Datagram(self._request(transport, 0, 0, ""), self._gateway, pcp.PORT))

    def received(self, data: bytes, port: int, now: float) -> None:
        """A datagram of the gateway's, from its UDP ``port``; from the announcements' it is unsolicited (14.1.3)."""
        answer = pcp.parse(data)
        if answer is None:
            if self.available is None and pcp.refuses_version(data):
                self.available = False
                self._pending.clear()
            return
        if answer.result == pcp.UNSUPPORTED_VERSION:
            self.available = False
            self._pending.clear()
            return
        transport = next((one for one in TRANSPORTS if answer.nonce == self._nonces[one]), None)
        if answer.opcode == pcp.ANNOUNCE:
            self._pending.pop("probe", None)
            self.available = True
        elif transport is None or transport not in self._pending or answer.internal_port != self._port:
            return
        if answer.result in (pcp.SUCCESS, pcp.UNSUPPORTED_OPCODE):
            self._note_epoch(answer.epoch, now, pcp.epoch_continues)
        if transport is None:
            return
        if answer.result == pcp.SUCCESS and answer.lifetime and answer.external_port and _usable(answer.external_host):
            self._grant(transport, answer.external_host, answer.external_port, answer.lifetime)
        else:
            self._denied(transport)

    def _request(self, transport: str, external: int, lifetime: int, host: str) -> bytes:
        return pcp.map_request(self._own_host, self._nonces[transport], transport, self._port, external, lifetime, host)


class NatPmp(_Server):
    """RFC 6886."""

    name: PortMapping = "nat-pmp"
    first = NAT_PMP_FIRST
    tries = NAT_PMP_TRIES

    def __init__(self, gateway: str, own_host: str, port: int) -> None:
        super().__init__(gateway, own_host, port)
        self._external = ""
        self._announced_at = float("-inf")

    def probe(self, now: float) -> None:
        """Ask for the external address."""
        self._ask("probe", nat_pmp.address_request(), now)

    def map(self, now: float) -> None:
        """Ask for both mappings, or for their renewal; and for the address, which a mapping's answer does not tell."""
        self.refused = False
        self.probe(now)
        for transport in TRANSPORTS:
            self._ask(transport, nat_pmp.map_request(transport, self._port, self._wanted(transport), LIFETIME), now)

    def unmap(self, now: float) -> None:
        """Give both back (3.4)."""
        for transport in self._let_go():
            self.output.append(Datagram(nat_pmp.map_request(transport, self._port, 0, 0), self._gateway, pcp.PORT))

    def received(self, data: bytes, port: int, now: float) -> None:
        """A datagram of the gateway's, from its UDP ``port``; its announcements are an address response (3.2.1)."""
        answer = nat_pmp.parse(data)
        if answer is None:
            return
        if answer.result == nat_pmp.SUCCESS:
            self._note_epoch(answer.epoch, now, nat_pmp.epoch_continues)
        if answer.opcode == nat_pmp.ADDRESS:
            if self._pending.pop("probe", None) is None and self._external:
                if now < self._announced_at + LEAST_ANNOUNCED:
                    return
                self._announced_at = now
            if answer.result == nat_pmp.SUCCESS and _usable(answer.external_host):
                self.available = True
                self._external = answer.external_host
                self.granted = {transport: grant._replace(host=answer.external_host) for transport, grant in self.granted.items()}
            elif self.available is None:
                self.available = False
            return
        transport = next(one for one in TRANSPORTS if nat_pmp.OPCODES[one] == answer.opcode)
        if transport not in self._pending or answer.internal_port != self._port:
            return
        if answer.result == nat_pmp.SUCCESS and answer.lifetime and answer.external_port and self._external:
            self._grant(transport, self._external, answer.external_port, answer.lifetime)
        else:
            self._denied(transport)


def _usable(host: str) -> bool:
    """Whether an external address is one: routers that are not connected say 0.0.0.0."""
    return host not in ("", "0.0.0.0", "::", "255.255.255.255") and not host.startswith("127.")
