"""IPX as old games speak it, in each of its framings: ``answer NAME``, ``call``. Needs nothing but Python, and CAP_NET_RAW.

Ethernet II (type 0x8137), IEEE 802.3 "raw" (a length, then the checksum 0xffff), and IEEE 802.2 (SAP 0xe0).
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

EVERYBODY = b"\xff" * 6
ALL_TYPES = 3
"""ETH_P_ALL."""
WAIT = 40.0
AGAIN = 0.5
QUESTION, ANSWER = b"who plays?", b"plays here"


def framings(data: bytes) -> dict[str, bytes]:
    """What follows the two addresses of a frame: a type or length, and an IPX packet of this payload (without sockets and networks)."""
    packet = b"\xff\xff" + (30 + len(data)).to_bytes(2, "big") + bytes(26) + data
    inner = b"\xe0\xe0\x03" + packet
    return {
        "Ethernet II": b"\x81\x37" + packet,
        "802.3 raw": len(packet).to_bytes(2, "big") + packet,
        "802.2": len(inner).to_bytes(2, "big") + inner,
    }


def opened() -> tuple[socket.socket, bytes]:
    """A packet socket on the LAN's interface, and the address there."""
    names = [name for _, name in socket.if_nameindex()]
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_TYPES))
    one.bind(("lan0" if "lan0" in names else "eth0", ALL_TYPES))
    one.settimeout(AGAIN)
    return one, one.getsockname()[4]


def answer(name: str) -> None:
    """Whoever calls in a framing is answered in it, alone."""
    one, own = opened()
    print("ready", flush=True)
    while True:
        with contextlib.suppress(TimeoutError):
            frame = one.recv(2000)
            for framing, rest in framings(QUESTION).items():
                if frame[6:12] != own and frame[12 : 12 + len(rest)] == rest:
                    reply = framings(name.encode() + b" " + ANSWER)[framing]
                    one.send(frame[6:12] + own + reply)


def call() -> None:
    """Call everybody in each framing until each is answered."""
    one, own = opened()
    give_up, missing = time.monotonic() + WAIT, set(framings(b""))
    while missing and time.monotonic() < give_up:
        for framing in missing:
            one.send(EVERYBODY + own + framings(QUESTION)[framing])
        until = time.monotonic() + AGAIN
        while missing and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                frame = one.recv(2000)
                if frame[:6] == own and ANSWER in frame:
                    said = frame[: frame.index(ANSWER)].rsplit(b"\0", 1)[-1] + ANSWER
                    found = {name for name in missing if frame[12:].startswith(framings(said)[name])}
                    for name in found:
                        print(f"{name}: {said.decode()!r} from {frame[6:12].hex(':')}")
                    missing -= found
    if missing:
        raise SystemExit(f"nobody answers in {sorted(missing)}")


if __name__ == "__main__":
    if sys.argv[1] == "answer":
        answer(*sys.argv[2:])
    else:
        call()
