"""64-byte UDP packets: how many a second arrive.

``receive`` counts the datagrams of each trial and prints a JSON line ``{"trial", "received", "seconds"}`` whenever none has come for a
while; of several for one trial the last is the sum. ``send`` sends for some seconds, as fast as it can or at a rate, and prints
``{"trial", "sent", "seconds"}``; through a SOCKS5 proxy by UDP ASSOCIATE where there is no kernel interface.

Why not iperf3: it cannot speak SOCKS, and at overload its figures of loss come by the same path as the flood. Here the receiver's
own count is what counts, and it is read beside the path.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time

SIZE = 64
"""Octets of payload, as iperf3's ``-l 64``."""
SILENCE = 0.4
"""Seconds after which the receiver tells what it has: a queue on the way may hold more."""
BUFFER = 4 << 20
HEAD = struct.Struct("!Q")


def receive(port: int) -> None:
    """Count for ever."""
    if socket.has_dualstack_ipv6():
        sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sink.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    else:
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sink.bind(("", port))
    print("ready", flush=True)
    buffer = bytearray(2048)
    counts: dict[int, tuple[int, float, float]] = {}
    following: int | None = None
    while True:
        if following is None:
            sink.settimeout(None)
            following = _next(sink, buffer)
            sink.settimeout(SILENCE)
        trial, last = following, time.monotonic()
        count, first, _ = counts.get(trial, (0, last, last))
        try:
            while following == trial:
                count += 1
                last = time.monotonic()
                following = _next(sink, buffer)
        except TimeoutError:
            following = None
        counts[trial] = (count, first, last)
        print(json.dumps({"trial": trial, "received": count, "seconds": last - first}), flush=True)


def _next(sink: socket.socket, buffer: bytearray) -> int:
    """The trial that the next datagram of the right size belongs to."""
    while sink.recv_into(buffer) != SIZE:
        pass
    return int(HEAD.unpack_from(buffer)[0])


def send(host: str, port: int, socks: tuple[str, int] | None, trial: int, seconds: float, rate: float) -> None:
    """Send for ``seconds``; ``rate`` packets a second, 0: as many as the socket takes."""
    head, control = b"", None
    if socks is None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        out = socket.socket(family, socket.SOCK_DGRAM)
        out.connect(address)
    else:
        control, relay = associate(socks)
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.connect(relay)
        head = b"\0\0\0\3" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")
    packet = head + HEAD.pack(trial) + bytes(SIZE - HEAD.size)
    sent, begin = 0, time.monotonic()
    end = begin + seconds
    while (now := time.monotonic()) < end:
        allowed = 64 if not rate else int((now - begin) * rate) - sent
        if allowed <= 0:
            time.sleep(0.000_2)
            continue
        for _ in range(min(allowed, 64)):
            try:
                out.send(packet)
            except OSError:        # no buffer: the packet is lost here rather than on the way
                continue
            finally:
                sent += 1
    print(json.dumps({"trial": trial, "sent": sent, "seconds": time.monotonic() - begin}), flush=True)
    if control is not None:
        time.sleep(SILENCE)        # what the proxy still holds leaves before the association ends
        control.close()


def associate(proxy: tuple[str, int]) -> tuple[socket.socket, tuple[str, int]]:
    """A UDP association (RFC 1928 7): its control connection and where its datagrams go."""
    control = socket.create_connection(proxy)
    control.sendall(b"\5\1\0")
    _expect(control.recv(2), b"\5\0")
    control.sendall(b"\5\3\0\1" + bytes(6))
    answer = control.recv(10)
    _expect(answer[:4], b"\5\0\0\1")
    return control, (socket.inet_ntoa(answer[4:8]), int.from_bytes(answer[8:10], "big"))


def _expect(got: bytes, wanted: bytes) -> None:
    if got != wanted:
        sys.exit(f"the proxy answered {got!r} instead of {wanted!r}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    receiver = commands.add_parser("receive")
    receiver.add_argument("--port", type=int, required=True)
    sender = commands.add_parser("send")
    sender.add_argument("host")
    sender.add_argument("port", type=int)
    sender.add_argument("--socks", help="HOST:PORT")
    sender.add_argument("--trial", type=int, required=True)
    sender.add_argument("--seconds", type=float, default=2.0)
    sender.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    if options.command == "receive":
        receive(options.port)
    else:
        host, _, port = (options.socks or "").rpartition(":")
        send(options.host, options.port, (host, int(port)) if options.socks else None, options.trial, options.seconds, options.rate)


if __name__ == "__main__":
    main()
