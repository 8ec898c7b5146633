"""Packets by hand, and one host to feed them to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from random import Random
from typing import Any

from userlan.stack import Host, HostConfig
from userlan.wire import icmp, icmpv6, superpacket, tcp, udp
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Segment

NOW = 1000.0
OURS4, PEER4, OTHER4 = "10.0.0.1", "10.0.0.2", "10.0.0.3"
OURS6, PEER6, OTHER6 = "fd00::1", "fd00::2", "fd00::3"


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def own(version: int) -> str:
    return OURS4 if version == 4 else OURS6


def peer(version: int) -> str:
    return PEER4 if version == 4 else PEER6


def host(seed: int = 1, **options: Any) -> Host:
    """A host with one address of each version; ``options`` go to ``HostConfig``."""
    made = Host(entropy=Random(seed).randbytes, config=HostConfig(**options))
    made.add_address(packed(OURS4))
    made.add_address(packed(OURS6))
    return made


def on_the_wire(packet: SuperPacket) -> SuperPacket:
    """The packet as a stranger would see it arrive: with checksums, and not verified."""
    return superpacket.parse(superpacket.cut(packet, True)[0])


def udp_packet(source: str, destination: str, source_port: int, destination_port: int, payload: bytes) -> SuperPacket:
    datagram = udp.Datagram(source_port, destination_port, payload)
    return on_the_wire(udp.build(datagram, packed(source), packed(destination)))


def tcp_packet(source: str, destination: str, segment: Segment) -> SuperPacket:
    return on_the_wire(tcp.build(segment, packed(source), packed(destination)))


def echo_packet(source: str, destination: str, payload: bytes = b"x", request: bool = True) -> SuperPacket:
    if ":" in source:
        built = icmpv6.build(icmpv6.Echo(request, 7, 1, payload), packed(source), packed(destination))
    else:
        built = icmp.build(icmp.Echo(request, 7, 1, payload), packed(source), packed(destination))
    return on_the_wire(built)


def unreachable(reporter: str, about: SuperPacket, port: bool = True) -> SuperPacket:
    """Port unreachable (a hard error) or host unreachable (a soft one) about a packet that somebody sent."""
    quoted = superpacket.cut(about, True)[0]
    if about.version == 4:
        message = icmp.Unreachable(icmp.CODE_PORT_UNREACHABLE if port else icmp.CODE_HOST_UNREACHABLE, quoted)
        return on_the_wire(icmp.build(message, packed(reporter), about.source))
    code = icmpv6.CODE_PORT_UNREACHABLE if port else icmpv6.CODE_ADDRESS_UNREACHABLE
    return on_the_wire(icmpv6.build(icmpv6.Unreachable(code, quoted), packed(reporter), about.source))


def too_big(reporter: str, about: SuperPacket, mtu: int, to: bytes = b"") -> SuperPacket:
    """Packet too big, or fragmentation needed, to the sender of the quoted packet, or falsely to somebody else."""
    quoted = superpacket.cut(about, True)[0]
    to = to or about.source
    if about.version == 4:
        needed = icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, quoted, mtu)
        return on_the_wire(icmp.build(needed, packed(reporter), to))
    return on_the_wire(icmpv6.build(icmpv6.PacketTooBig(mtu, quoted), packed(reporter), to))


def answers(target: Host, packets: SuperPacket | Iterable[SuperPacket], now: float = NOW) -> list[SuperPacket]:
    """What a host sends on account of packets."""
    for packet in [packets] if isinstance(packets, SuperPacket) else packets:
        target.receive(packet, now)
    return target.packets(now)


def message(packet: SuperPacket) -> icmp.Message | icmpv6.Message:
    """The ICMP message in a packet."""
    return icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet)
