"""Games whose discovery names a port, and few of them a host.

::

    Minecraft Java    [MOTD]name[/MOTD][AD]25565[/AD]                            TCP port; old versions wrote host:port
    Warcraft III      F7 30 ‖ length 2 ‖ … ‖ port 2, little-endian               GAMEINFO; TCP port
    Terraria          1010 4 ‖ port 4, little-endian ‖ …                         TCP port
    Quake (net 3)     80 00 ‖ length 2 ‖ 83 ‖ "host:port" 00 ‖ …                 CCREP_SERVER_INFO; UDP
                      80 00 ‖ length 2 ‖ 81 ‖ port 4, little-endian              CCREP_ACCEPT; UDP
    Freeciv           version 1 ‖ host 00 ‖ port 00 ‖ version 00 ‖ …             answers to searches; TCP
    SuperTuxKart      version 4 ‖ length 1, name ‖ 2 bytes ‖ port 2 ‖ …          UDP port
    Unreal            "ut 7778"                                                  UDP port of its details

The ports of those without a host are the sender's. A port that cannot be had at the other side drops the packet: the
game would show what it cannot reach. Packets of another kind (searches, keep-alives) go through as they are.
"""

from __future__ import annotations

import re
import struct

from bridges.rewrite.translation import Places, Translation
from userlan.lan.hostport import join_host_port, split_host_port

MAX_SIZE = 4 * 1024
"""Bytes of a packet: game info is a few hundred."""

_MINECRAFT_ADDRESS = re.compile(rb"\[AD\]([0-9A-Za-z.:\[\]-]{1,270}?)\[/AD\]")

_W3GS = 0xF7
_W3GS_GAMEINFO = 0x30

_TERRARIA = struct.pack("<i", 1010)

_QUAKE_CONTROL = 0x8000
_QUAKE_ACCEPT = 0x81
_QUAKE_SERVER_INFO = 0x83

_UNREAL_BEACON = re.compile(rb"([A-Za-z0-9_-]{1,64} )([0-9]{1,5})(\0{0,16})")

_FREECIV_VERSIONS = (1, 2)
_FREECIV_NO_NAME = b"none"


def minecraft(datagram: bytes, translation: Translation) -> bytes | None:
    """Minecraft Java's announcement of a world that is open to the LAN."""
    if len(datagram) > MAX_SIZE:
        return None
    match = _MINECRAFT_ADDRESS.search(datagram)
    if match is None:
        return None
    places = Places(translation)
    written = match[1].decode("ascii")
    if written.isdigit():
        port = places.port(int(written), "tcp") if len(written) <= 5 else None
        new = None if port is None else b"%d" % port
    else:
        new = _host_port(written, "tcp", places)
    return None if new is None else datagram[: match.start(1)] + new + datagram[match.end(1) :]


def warcraft3(datagram: bytes, translation: Translation) -> bytes | None:
    """Warcraft III's packets on port 6112; GAMEINFO ends with the port of the host."""
    if not 4 <= len(datagram) <= MAX_SIZE or datagram[0] != _W3GS or int.from_bytes(datagram[2:4], "little") != len(datagram):
        return None
    if datagram[1] != _W3GS_GAMEINFO:
        return datagram
    port = Places(translation).port(int.from_bytes(datagram[-2:], "little"), "tcp")
    return None if port is None else datagram[:-2] + port.to_bytes(2, "little")


def terraria(datagram: bytes, translation: Translation) -> bytes | None:
    """Terraria's announcement."""
    if not 8 <= len(datagram) <= MAX_SIZE or not datagram.startswith(_TERRARIA):
        return None
    port = Places(translation).port(int.from_bytes(datagram[4:8], "little"), "tcp")
    return None if port is None else _TERRARIA + struct.pack("<i", port) + datagram[8:]


def quake(datagram: bytes, translation: Translation) -> bytes | None:
    """Quake's control packets; those of QuakeWorld and later engines (FF FF FF FF) name no address."""
    if len(datagram) > MAX_SIZE:
        return None
    if len(datagram) < 5 or int.from_bytes(datagram[:2], "big") != _QUAKE_CONTROL:
        return datagram
    if int.from_bytes(datagram[2:4], "big") != len(datagram):
        return None
    places = Places(translation)
    if datagram[4] == _QUAKE_ACCEPT and len(datagram) >= 9:
        port = places.port(int.from_bytes(datagram[5:9], "little"), "udp")
        return None if port is None else datagram[:5] + struct.pack("<i", port) + datagram[9:]
    if datagram[4] != _QUAKE_SERVER_INFO:
        return datagram
    address, end, rest = datagram[5:].partition(b"\0")
    new = _host_port(address.decode("ascii", "replace"), "udp", places) if end else None
    if new is None:
        return None
    body = bytes((_QUAKE_SERVER_INFO,)) + new + end + rest
    return struct.pack(">HH", _QUAKE_CONTROL, len(body) + 4) + body


def freeciv(datagram: bytes, translation: Translation) -> bytes | None:
    """Freeciv: a search is the version alone; an answer's host becomes ``none``, which stands for the sender."""
    if not 0 < len(datagram) <= MAX_SIZE or datagram[0] not in _FREECIV_VERSIONS:
        return None
    if len(datagram) == 1:
        return datagram
    parts = datagram[1:].split(b"\0", 2)
    if len(parts) < 3 or not re.fullmatch(rb"[0-9]{1,5}", parts[1]):
        return None
    port = Places(translation).port(int(parts[1]), "tcp")
    return None if port is None else datagram[:1] + b"\0".join((_FREECIV_NO_NAME, b"%d" % port, parts[2]))


def supertuxkart(datagram: bytes, translation: Translation) -> bytes | None:
    """SuperTuxKart's answers; its searches are a string with its length."""
    if not 0 < len(datagram) <= MAX_SIZE:
        return None
    places = Places(translation)
    if len(datagram) == 2:
        port = places.port(int.from_bytes(datagram, "big"), "udp")
        return None if port is None else port.to_bytes(2, "big")
    if datagram[0] == len(datagram) - 1:
        return datagram
    if len(datagram) < 5 or len(datagram) < (start := 7 + datagram[4]) + 2:
        return None
    port = places.port(int.from_bytes(datagram[start : start + 2], "big"), "udp")
    return None if port is None else datagram[:start] + port.to_bytes(2, "big") + datagram[start + 2 :]


def unreal(datagram: bytes, translation: Translation) -> bytes | None:
    """Unreal's and Unreal Tournament's beacon: ``REPORTQUERY`` asks for the port, ``REPORT`` for text."""
    if len(datagram) > MAX_SIZE:
        return None
    match = _UNREAL_BEACON.fullmatch(datagram)
    if match is None:
        return datagram
    port = Places(translation).port(int(match[2]), "udp")
    return None if port is None else match[1] + b"%d" % port + match[3]


def _host_port(written: str, protocol: str, places: Places) -> bytes | None:
    """``HOST:PORT`` as the other side must see it; None when that cannot be."""
    try:
        host, port = split_host_port(written)
    except ValueError:
        return None
    place = places.place(host, port, protocol)
    return None if place is None else join_host_port(*place).encode("ascii", "replace")
