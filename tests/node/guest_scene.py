"""A member, a node whose addresses are a guest's, and the guest: a stock peer behind a NAT, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.node.lan import PORT, WALL, VirtualLan
from tests.sim.nat import Nat
from userlan.node.attachment import Attachment
from userlan.node.guest import KEEPALIVE, Guest, distant
from userlan.node.node import Node
from userlan.stack.config import HostConfig
from userlan.stack.host import Host
from userlan.tunnel.device import Device
from userlan.wire import udp
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.numbers import PROTOCOL_TCP
from userlan.wire.superpacket import SuperPacket

PRESHARED, SEAT_KEY = bytes(range(32)), bytes(range(1, 33))
MTU = 1280


class Phone:
    """A stock peer as a core: it keeps the IP packets that come, as they come."""

    backlog = False

    def __init__(self, scene: Scene, preshared: bytes = PRESHARED, keepalive: float = KEEPALIVE) -> None:
        world = scene.lan.world
        self.device = Device(bytes(31) + b"\x41", entropy=world.entropy(), now=world.now, wall_offset=WALL)
        self.server = scene.seat.key
        self.device.add_peer(
            self.server, preshared_keys=(preshared,), endpoint=Endpoint(UDP, "198.51.100.3", PORT), persistent_keepalive=keepalive,
            stock=True,
        )
        self.got: list[SuperPacket] = []
        self.owns, self.deadline, self.tick = self.device.owns, self.device.deadline, self.device.tick

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        for inbound in self.device.receive(data, segment, source, now):
            self.got += inbound.packets

    def datagrams(self, now: float) -> Any:
        return self.device.datagrams(now)

    def events(self) -> list[Any]:
        return list(self.device.events())

    def taken(self) -> list[SuperPacket]:
        got, self.got = self.got, []
        return got


class Scene:
    """Anna is a member, the seat one whose addresses are a guest's; the phone is behind a NAT."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        self.anna = self.lan.node("anna", self.lan.internet, "198.51.100.1")
        self.seat = self.lan.node("seat", self.lan.internet, "198.51.100.3", key=SEAT_KEY)
        self.lan.ready(self.anna, self.seat)
        self.lan.network(self.anna, self.seat)
        self.lan.direct(self.anna, self.seat)
        self.home = Nat(self.lan.internet, "203.0.113.7")
        self.phone = Phone(self)
        self.place = self.home.inside.attach(self.phone, "192.168.1.2")
        self.sit()

    def sit(self, last: Endpoint | None = None, node: Node | None = None) -> None:
        """The driver's part: unclaimed packets go to the guest before anything is sent."""
        seat = self.seat = node or self.seat
        seat.host.share(2048, 9999, (), distant(seat.roster.address_range))
        self.attachment = Attachment(seat)
        now = self.lan.world.now
        self.guest = Guest(seat, self.phone.device.public_key, PRESHARED, MTU, self.attachment.send, now, last)
        send = seat.datagrams

        def datagrams(now: float) -> Any:
            self.guest.flush(now)
            packets, seat.host.unclaimed = seat.host.unclaimed or [], []
            if packets:
                self.guest.send(packets, now)
            return send(now)

        seat.datagrams = datagrams  # type: ignore[method-assign]  # as the link's flush, which precedes each pump

    def leave(self) -> None:
        """The phone is where it was no longer."""
        self.place.unplug()
        self.lan.world.remove(self.place)

    def run(self, seconds: float = 0.5) -> None:
        self.lan.world.run(seconds)

    def address(self, node: Node, version: int) -> bytes:
        return node.roster.own_ipv4 if version == 4 else node.ipv6

    def from_phone(self, *packets: SuperPacket) -> None:
        for packet in packets:
            self.phone.device.send(self.phone.server, packet, self.lan.world.now)
        self.lan.world.touch(self.place)
        self.run()

    def datagram(self, version: int, payload: bytes = b"x", source: bytes = b"") -> SuperPacket:
        """From the phone to port 9 of anna."""
        ends = source or self.address(self.seat, version), self.address(self.anna, version)
        return udp.build(udp.Datagram(40_000, 9, payload), *ends)

    def to_phone(self, version: int, payload: bytes, may_be_cut: bool = False) -> SuperPacket:
        """From anna's own stack to port 7 of the phone; whole, whatever her path is known to carry."""
        packet = udp.build(udp.Datagram(9, 7, payload), self.address(self.anna, version), self.address(self.seat, version))
        if may_be_cut:
            header = bytearray(packet.header)
            header[6] &= 0xBF
            packet = SuperPacket(bytes(header), packet.payload, 0, True)
        self.anna.device.send(self.seat.key, packet, self.lan.world.now)
        self.lan.world.touch(self.lan.attachments["anna"])
        self.run()
        return packet


class Watching:
    """Keeps the ICMP that comes in."""

    def __init__(self, heard: list[SuperPacket]) -> None:
        self._heard = heard

    def packet(self, direction: str, key: bytes, packet: SuperPacket, reason: str | None, now: float) -> None:
        if direction == "in" and packet.protocol in (1, 58):
            self._heard.append(SuperPacket(packet.header, bytes(packet.payload), packet.segment_size, packet.verified))


class Kernel:
    """A host in memory behind the phone's tunnel."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.host = Host(entropy=scene.lan.world.entropy(), config=HostConfig(mtu=MTU))
        for version in (4, 6):
            self.host.add_address(scene.address(scene.seat, version))
        self.largest = 0
        self.data = bytearray()
        self.done = False
        self._rest = memoryview(b"")
        self._connection: Any = None

    def listen(self, port: int) -> None:
        self.host.tcp_listen(port)

    def send_stream(self, address: bytes, port: int, data: bytes) -> None:
        self._rest = memoryview(data)
        self._connection = self.host.tcp_connect((address, port), self.scene.lan.world.now)

    def turn(self) -> bool:
        """Whatever is due; False."""
        now = self.scene.lan.world.now
        for packet in self.scene.phone.taken():
            size = packet.segment_size or len(packet.payload)
            if packet.protocol == PROTOCOL_TCP:
                self.largest = max(self.largest, len(packet.header) + size)
            self.host.receive(packet, now)
        deadline = self.host.deadline()
        if deadline is not None and deadline <= now:
            self.host.tick(now)
        for event in self.host.events():
            self._connection = getattr(event, "connection", self._connection)
        connection = self._connection
        if connection is not None:
            while part := connection.receive():
                self.data += part
            self.done = connection.eof
            if self._rest:
                self._rest = self._rest[connection.send(self._rest[:65536], now) :]
                if not self._rest:
                    connection.shutdown(now)
        for packet in self.host.packets(now):
            self.scene.phone.device.send(self.scene.phone.server, packet, now)
        self.scene.lan.world.touch(self.scene.place)
        return False
