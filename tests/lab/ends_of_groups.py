"""Programs at the two ends of a group or of frames, run by a test in a namespace: ``python3 ends_of_groups.py COMMAND …``.

    hear GROUP PORT                  join on lan0, say "ready", print each datagram: text, source
    say GROUP PORT TEXT COUNT        send; to an IPv6 group from lan0, to all else from where the routes lead
    frames                           say "ready", print every frame on lan0 that is not IP, as hexadecimal digits
    frame HEX                        send one on lan0

The kernel's own sockets, nothing else: no word of what is between them.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable

INTERFACE = "lan0"
ALL_PROTOCOLS = 3
IP_OR_ARP = (0x0800, 0x0806, 0x86DD)


def socket_for(group: str) -> socket.socket:
    """A UDP socket for a group."""
    if ":" in group:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(INTERFACE))
    else:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return made


def hear(group: str, port: str) -> None:
    made = socket_for(group)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("", int(port)))
    index = socket.if_nametoindex(INTERFACE)
    if ":" in group:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index))
    elif not group.endswith(".255"):
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton(group), bytes(4), index))
    print("ready", flush=True)
    while True:
        data, source = made.recvfrom(65535)
        text = data[:20].decode().strip()
        print(text, source[0], flush=True)
        made.sendto(b"heard " + text.encode(), source)


def say(group: str, port: str, text: str, count: str) -> None:
    """Prints who answers within a second after the last one."""
    made = socket_for(group)
    made.settimeout(1)
    for number in range(int(count)):
        made.sendto(f"{text}-{number}".encode().ljust(1_000), (group, int(port)))
        time.sleep(0.02)
    answers = set()
    try:
        while True:
            answers.add(made.recvfrom(65535)[1][0])
    except TimeoutError:
        print("answered:", *sorted(answers))


def frames() -> None:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    made.bind((INTERFACE, ALL_PROTOCOLS))
    print("ready", flush=True)
    while True:
        frame, source = made.recvfrom(65535)
        if source[2] != socket.PACKET_OUTGOING and struct.unpack_from("!H", frame, 12)[0] not in IP_OR_ARP:
            print(frame.hex(), flush=True)


def frame(octets: str) -> None:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((INTERFACE, 0))
    made.send(bytes.fromhex(octets))


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"hear": hear, "say": say, "frames": frames, "frame": frame}
    commands[sys.argv[1]](*sys.argv[2:])
