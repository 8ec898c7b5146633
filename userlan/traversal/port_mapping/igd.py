"""The machine for UPnP's Internet Gateway Devices: search, description, external address, mappings.

::

    search (SSDP) ──▶ location ──GET──▶ services ──GetExternalIPAddress, one after the other──▶ the first with an address: available
    map ──▶ external address again ──▶ Add(Any)PortMapping for each transport ── conflict ──▶ another external port, TRIES times
                                                                            └── only permanent leases ──▶ again with lease 0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from userlan.traversal.nat import PortMapping
from userlan.traversal.port_mapping import upnp
from userlan.traversal.port_mapping.methods import LIFETIME, LONGEST, TRANSPORTS, Datagram, Grant, HttpRequest
from userlan.traversal.port_mapping.upnp import Result, Service

SEARCHES: Final = 3
SEARCH_INTERVAL: Final = 1.0
"""Searches, and seconds between them: multicast over Wi-Fi is often lost, and an answer takes up to ``MX``, a second."""
TRIES: Final = 4
"""External ports that are tried for a transport, where the one wanted is somebody else's."""
FIRST_OTHER_PORT: Final = 1024
PERMANENT: Final = 3600
"""Seconds after which a mapping without end is asked for anew: a router that has restarted may have lost it."""
MAX_OUTSTANDING: Final = 8
"""HTTP requests in flight: two mappings, an address, and what the search led to."""


class _Adding(NamedTuple):
    transport: str
    external: int
    lease: int
    left: int


class Igd:
    """The third method (``methods.Method``)."""

    name: PortMapping = "upnp"

    def __init__(self, gateway: str, own_host: str, port: int, entropy: Callable[[int], bytes]) -> None:
        self.available: bool | None = None
        self.refused = False
        self.restarted = False
        self.granted: dict[str, Grant] = {}
        self.output: list[Datagram | HttpRequest] = []
        self._gateway = gateway
        self._own_host = own_host
        self._port = port
        self._entropy = entropy
        self._next_number = 0
        self._waiting: dict[int, Callable[[int, bytes], None]] = {}
        self._searches_left = 0
        self._search_at: float | None = None
        self._location = ""
        self._services: list[Service] = []
        self._service: Service | None = None
        self._external = ""
        self._lease = LIFETIME
        self._adding: set[str] = set()

    @property
    def asking(self) -> bool:
        """Whether an answer about a mapping is outstanding."""
        return bool(self._adding)

    # -- what the coordinator asks for

    def probe(self, now: float) -> None:
        """Search for a gateway device."""
        self._searches_left = SEARCHES
        self._search(now)

    def map(self, now: float) -> None:
        """Ask for both mappings, or for their renewal, at the address of now."""
        self.refused = False
        service = self._service
        if service is None:
            self.refused = True
            return
        headers, body = upnp.external_address(service)
        self._adding = set(TRANSPORTS)
        self._ask(service.control, headers, body, self._address_known)

    def unmap(self, now: float) -> None:
        """Give both back."""
        self._waiting.clear()
        for transport, grant in self.granted.items():
            if self._service is not None:
                headers, body = upnp.delete_mapping(self._service, transport, grant.port)
                self._ask(self._service.control, headers, body, lambda status, answer: None)
        self.granted.clear()

    # -- what comes back

    def received(self, data: bytes, port: int, now: float) -> None:
        """A datagram of the gateway's: an answer to the search."""
        location = upnp.parse_answer(data, self._gateway)
        if location is None or self._location:
            return
        self._location = location
        self._ask(location, {}, None, self._described)

    def answered(self, number: int, status: int, body: bytes, now: float) -> None:
        """The answer to an HTTP request; status 0: there was none."""
        handler = self._waiting.pop(number, None)
        if handler is not None:
            handler(status, body)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._search_at

    def tick(self, now: float) -> None:
        """Search again; give up in the end."""
        if self._search_at is not None and now >= self._search_at:
            self._search(now)

    # -- inside

    def _search(self, now: float) -> None:
        self._search_at = None
        if self._location or self.available is not None:
            return
        if not self._searches_left:
            self.available = False
            return
        self._searches_left -= 1
        self._search_at = now + SEARCH_INTERVAL
        for search in upnp.searches():
            # Asked by multicast, as it is meant, and directly, where multicast does not pass.
            self.output.append(Datagram(search, upnp.SSDP_GROUP, upnp.SSDP_PORT))
            self.output.append(Datagram(search, self._gateway, upnp.SSDP_PORT))

    def _ask(self, url: str, headers: dict[str, str], body: bytes | None, handler: Callable[[int, bytes], None]) -> None:
        if len(self._waiting) >= MAX_OUTSTANDING:
            handler(0, b"")
            return
        self._next_number += 1
        self._waiting[self._next_number] = handler
        self.output.append(HttpRequest(self._next_number, url, headers, body))

    def _described(self, status: int, body: bytes) -> None:
        try:
            found = upnp.parse_description(body, self._location, self._gateway) if status == 200 else ()
        except upnp.XmlError:
            found = ()
        self._services = list(found)
        self._next_service()

    def _next_service(self) -> None:
        if not self._services:
            self.available = False
            return
        service = self._services.pop(0)
        headers, body = upnp.external_address(service)
        self._ask(service.control, headers, body, lambda status, answer: self._probed(service, upnp.parse_result(status, answer)))

    def _probed(self, service: Service, result: Result) -> None:
        self._external = upnp.external_host(result)
        if result.error or not self._external:
            self._next_service()
            return
        self._service = service
        self.available = True

    def _address_known(self, status: int, body: bytes) -> None:
        self._external = upnp.external_host(upnp.parse_result(status, body))
        for transport in TRANSPORTS:
            held = self.granted.get(transport)
            if not self._external:
                self._denied(transport)
            else:
                self._add(_Adding(transport, held.port if held is not None else self._port, self._lease, TRIES))

    def _add(self, adding: _Adding) -> None:
        service = self._service
        if service is None:
            return
        headers, body = upnp.add_mapping(service, adding.transport, adding.external, self._own_host, self._port, adding.lease)
        self._ask(service.control, headers, body, lambda status, answer: self._added(adding, upnp.parse_result(status, answer)))

    def _added(self, adding: _Adding, result: Result) -> None:
        if result.error == upnp.ONLY_PERMANENT and adding.lease:
            self._lease = 0
            self._add(adding._replace(lease=0))
        elif result.error == upnp.CONFLICT and adding.left > 1:
            other = FIRST_OTHER_PORT + int.from_bytes(self._entropy(4), "big") % (65536 - FIRST_OTHER_PORT)
            self._add(adding._replace(external=other, left=adding.left - 1))
        elif result.error:
            self._denied(adding.transport)
        else:
            reserved = result.arguments.get("newreservedport", "")
            port = int(reserved) if reserved.isdecimal() and len(reserved) < 6 else adding.external
            self._adding.discard(adding.transport)
            if 1 <= port <= 65535:
                self.granted[adding.transport] = Grant(self._external, port, float(min(adding.lease or PERMANENT, LONGEST)))
            else:
                self._denied(adding.transport)

    def _denied(self, transport: str) -> None:
        self.granted.pop(transport, None)
        self._adding.discard(transport)
        self.refused = not self.granted and not self._adding
