"""Units as a watcher sees them, made by hand."""

from __future__ import annotations

from userlan.driver.lan import PeerInfo
from userlan.driver.watch import Seen, Watch
from userlan.lan.addresses import is_multicast, key_text, packed
from userlan.wire import udp
from userlan.wire.superpacket import SuperPacket

ANNA, BEN, CARL, STRANGER = (bytes((number,)) * 32 for number in (1, 2, 3, 9))
OWN = PeerInfo("anna", key_text(ANNA), "25.0.0.1", "fd75:6c61:6e00::a", "127.0.0.1", ("home",))
PEERS = [
    PeerInfo("ben", key_text(BEN), "25.0.0.2", "fd75:6c61:6e00::b", "127.0.0.2", ("home",)),
    PeerInfo("carl", key_text(CARL), "25.0.0.3", "fd75:6c61:6e00::c", "127.0.0.3", ("home", "work")),
]
BROADCAST, GROUP = "25.255.255.255", "239.1.2.3"


class Addresses:
    """Of a host: what is meant for many."""

    @staticmethod
    def of_many(address: bytes) -> bool:
        return address in (packed("255.255.255.255"), packed(BROADCAST)) or is_multicast(address)


class Ways:
    bulk = None


class Tunnel:
    endpoint = None
    ways = Ways()


class Device:
    """Tunnels that a test gives endpoints to."""

    def __init__(self) -> None:
        self.tunnels: dict[bytes, Tunnel] = {}

    def peer(self, key: bytes) -> Tunnel | None:
        return self.tunnels.get(key)


class Host:
    addresses = Addresses()


class Core:
    """As much of a node as can be watched."""

    def __init__(self) -> None:
        self.host = Host()
        self.device = Device()
        self.observers: list[object] = []

    def watch(self, observer: object) -> None:
        self.observers.append(observer)


WATCH = Watch(Core())
"""Nobody's: for what a unit asks of it."""


def datagram(source: str = "25.0.0.1", destination: str = "25.0.0.2", ports: tuple[int, int] = (5000, 53), size: int = 10) -> SuperPacket:
    return udp.build(udp.Datagram(*ports, bytes(size)), packed(source), packed(destination))


def seen(packet: SuperPacket, direction: str = "out", key: bytes = BEN, reason: str | None = None, now: float = 5.0) -> Seen:
    return Seen(WATCH, "in" if direction == "in" else "out", key, packet, reason, now)
