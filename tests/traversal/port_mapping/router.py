"""A router in virtual time that speaks PCP, NAT-PMP and UPnP as it is told to, and the world in which a mapper asks it."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from typing import Any

import attrs

from userlan.traversal.port_mapping.mapper import PortMapper
from userlan.traversal.port_mapping.methods import Datagram, HttpRequest

GATEWAY, OWN, EXTERNAL = "192.168.1.1", "192.168.1.20", "203.0.113.7"
PORT = 41414
NUMBERS = {17: "udp", 6: "tcp"}

DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
<controlURL>/ctl/L3F</controlURL></service></serviceList>
<deviceList><device><deviceList><device><serviceList><service>
<serviceType>{service}</serviceType><controlURL>{control}</controlURL></service></serviceList></device></deviceList></device></deviceList>
</device></root>"""

ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
FAULT = ENVELOPE.format(
    "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
    '<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{}</errorCode></UPnPError></detail></s:Fault>'
)


@attrs.define
class Router:
    """What it speaks, and what it has mapped: (transport, external port) → internal port."""

    speaks: frozenset[str] = frozenset(("pcp", "nat-pmp", "upnp"))
    refuses: frozenset[str] = frozenset()
    external: str = EXTERNAL
    started: float = 0.0
    lifetime: int = 3600
    taken: frozenset[tuple[str, int]] = frozenset()
    service: str = "urn:schemas-upnp-org:service:WANIPConnection:1"
    control: str = "/ctl/IPConn"
    permanent_only: bool = False
    mapped: dict[tuple[str, int], int] = attrs.field(factory=dict)
    heard: list[str] = attrs.field(factory=list)
    address: str = GATEWAY
    http_port: int = 5000

    def datagram(self, data: bytes, port: int, now: float) -> bytes | None:
        """What it answers."""
        if port == 1900:
            return self._search(data) if "upnp" in self.speaks else None
        if data[0] == 2:
            if "pcp" in self.speaks:
                return self._pcp(data, now)
            return struct.pack("!BBHI", 0, 128, 1, int(now - self.started)) if "nat-pmp" in self.speaks else None
        return self._nat_pmp(data, now) if "nat-pmp" in self.speaks else None

    def announcement(self, now: float) -> bytes:
        """Of a restart, by PCP."""
        return struct.pack("!BBBBII12x", 2, 128, 0, 0, 0, int(now - self.started))

    def restart(self, now: float) -> None:
        self.mapped.clear()
        self.started = now

    def _free(self, transport: str, wanted: int) -> int:
        while (transport, wanted) in self.taken:
            wanted += 1
        return wanted

    def _map(self, transport: str, internal: int, wanted: int, lifetime: int) -> int:
        if lifetime == 0:
            self.mapped = {key: value for key, value in self.mapped.items() if (key[0], value) != (transport, internal)}
            return 0
        port = self._free(transport, wanted)
        self.mapped[transport, port] = internal
        return port

    def _pcp(self, data: bytes, now: float) -> bytes:
        epoch, opcode = int(now - self.started), data[1]
        self.heard.append(f"pcp {opcode}")
        if opcode == 0:
            return self.announcement(now)
        nonce, protocol, internal, wanted = struct.unpack_from("!12sB3xHH", data, 24)
        result, lifetime = (2, 0) if "pcp" in self.refuses else (0, min(self.lifetime, int.from_bytes(data[4:8], "big")))
        external = 0 if result else self._map(NUMBERS[protocol], internal, wanted, lifetime)
        address = b"\0" * 10 + b"\xff\xff" + ipaddress.IPv4Address(self.external).packed
        head = struct.pack("!BBBBII12x", 2, 128 | opcode, 0, result, lifetime, epoch)
        return head + struct.pack("!12sB3xHH16s", nonce, protocol, internal, external, address)

    def _nat_pmp(self, data: bytes, now: float) -> bytes:
        epoch, opcode = int(now - self.started), data[1]
        self.heard.append(f"nat-pmp {opcode}")
        if opcode == 0:
            return struct.pack("!BBHI4s", 0, 128, 0, epoch, ipaddress.IPv4Address(self.external).packed)
        internal, wanted, lifetime = struct.unpack("!HHI", data[4:12])
        if "nat-pmp" in self.refuses:
            return struct.pack("!BBHIHHI", 0, 128 | opcode, 2, epoch, internal, 0, 0)
        external = self._map({1: "udp", 2: "tcp"}[opcode], internal, wanted, lifetime)
        return struct.pack("!BBHIHHI", 0, 128 | opcode, 0, epoch, internal, external, min(lifetime, self.lifetime))

    def _search(self, data: bytes) -> bytes:
        self.heard.append("upnp search")
        location = f"http://{self.address}:{self.http_port}/rootDesc.xml"
        return f"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLocation: {location}\r\n\r\n".encode()

    def http(self, request: HttpRequest) -> tuple[int, bytes]:
        """What it answers."""
        if request.body is None:
            self.heard.append("upnp description")
            return 200, DESCRIPTION.format(service=self.service, control=self.control).encode()
        action = request.headers["SOAPAction"].strip('"').rpartition("#")[2]
        self.heard.append(f"upnp {action}")
        text = request.body.decode()

        def argument(name: str) -> str:
            return text.partition(f"<{name}>")[2].partition("<")[0]

        if action == "GetExternalIPAddress":
            inside = f"<u:{action}Response><NewExternalIPAddress>{self.external}</NewExternalIPAddress></u:{action}Response>"
            return 200, ENVELOPE.format(inside).encode()
        transport, external = argument("NewProtocol").lower(), int(argument("NewExternalPort"))
        if action == "DeletePortMapping":
            self.mapped.pop((transport, external), None)
            return 200, ENVELOPE.format("").encode()
        if "upnp" in self.refuses:
            return 500, FAULT.format(606).encode()
        if self.permanent_only and argument("NewLeaseDuration") != "0":
            return 500, FAULT.format(725).encode()
        if action == "AddPortMapping" and (transport, external) in self.taken:
            return 500, FAULT.format(718).encode()
        external = self._free(transport, external)
        self.mapped[transport, external] = int(argument("NewInternalPort"))
        return 200, ENVELOPE.format(f"<u:{action}Response><NewReservedPort>{external}</NewReservedPort></u:{action}Response>").encode()


class World:
    """A mapper and its router; time passes in :meth:`run` only."""

    def __init__(self, router: Router | None = None, **options: Any) -> None:
        self.router = router if router is not None else Router(**options)
        self.now = 1000.0
        self.router.started = 0.0
        counter = iter(range(1, 10**6))
        self.mapper = PortMapper(lambda size: next(counter).to_bytes(size, "big"))
        self.changes: list[Any] = []
        self.sent = 0
        self.lost: Callable[[Datagram | HttpRequest], bool] = lambda one: False
        self.mapper.network(GATEWAY, OWN, PORT, self.now)
        self.carry()

    def carry(self) -> None:
        """Everything that is to be sent, and its answers, at once."""
        for _ in range(100):
            outgoing = self.mapper.outgoing()
            self.sent += len(outgoing)
            for one in outgoing:
                if self.lost(one):
                    if isinstance(one, HttpRequest):
                        self.mapper.answered(one.number, 0, b"", self.now)
                elif isinstance(one, HttpRequest):
                    self.mapper.answered(one.number, *self.router.http(one), self.now)
                elif one.host == GATEWAY or one.port == 1900:
                    answer = self.router.datagram(one.data, one.port, self.now)
                    if answer is not None:
                        self.mapper.received(answer, GATEWAY, one.port, self.now)
            if self.mapper.changed():
                self.changes.append(self.mapper.mapped)
            if not outgoing:
                return
        raise AssertionError("it never comes to rest")

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            deadline = self.mapper.deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            self.now = max(self.now, deadline)
            self.mapper.tick(self.now)
            self.carry()
