"""Load for a relay: one end sends datagrams as fast as it can, or at a rate; the other counts what comes.

``send`` and ``receive`` speak to ``userlan relay`` (a grant sealed with a pool key that the relay has been given) or to a TURN server
(RFC 8656: Allocate, ChannelBind, ChannelData, without authentication). The TURN server's peer is a bare socket, so that it takes off the
channel's header once and puts none on: the less work of the two. Both are given bursts by UDP GSO, 64 KB a call, and what arrives is
read with GRO, so that the ends cost little and the same for both.

``receive`` prints ``ready``, and after each trial a JSON line ``{"octets", "packets", "seconds"}``; ``send`` prints ``{"octets",
"packets", "seconds"}``. Octets are those of the payload.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import struct
import time

from userlan.control import grants
from userlan.relay import datagrams
from userlan.relay.datagrams import Bind

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
"""Linux, include/uapi/linux/udp.h."""
PAYLOAD = 1400
"""Octets of a datagram that is relayed: with the relay's header and IP's it fits an Ethernet."""
SEGMENTS = 45
BUFFER = 8 << 20
SILENCE = 0.7
"""Seconds without a datagram after which a trial is over."""
ENDS = (bytes([1]) * 32, bytes([2]) * 32)
"""The two ends' public keys, as far as the grant is concerned."""
CHANNEL = 0x4000
COOKIE = 0x2112A442
"""RFC 8489, 5: the magic cookie."""


def open_socket(port: int = 0) -> socket.socket:
    """A UDP socket that coalesces."""
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    own.setsockopt(SOL_UDP, UDP_GRO, 1)
    own.bind(("", port))
    own.settimeout(2.0)
    return own


def bind(own: socket.socket, relay: tuple[str, int], key: bytes, role: int) -> bytes:
    """Bind one end at a relay of ours; the header of its data."""
    grant = grants.for_end(key, grants.seal(key, *ENDS, time.time() + 3600), role)
    cookie = datagrams.NO_COOKIE
    for _ in range(4):
        own.sendto(datagrams.encode_bind(Bind(time.time_ns() // 1000, grant.grant, role, cookie), grant.secret), relay)
        bound = datagrams.decode_bound(own.recv(2048))
        assert bound is not None
        assert bound.status == datagrams.BOUND, f"refused: {bound}"
        if bound.flags & datagrams.VALIDATED:
            return datagrams.data_header(grant.channel)
        cookie = bound.cookie
    raise AssertionError("the relay does not take its own cookie")


def _stun(own: socket.socket, server: tuple[str, int], method: int, *attributes: tuple[int, bytes]) -> bytes:
    """A STUN request and its success (RFC 8489, 5, 6); the attributes of the answer."""
    body = b"".join(struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    own.sendto(struct.pack("!HHI", method, len(body), COOKIE) + secrets.token_bytes(12) + body, server)
    answer = own.recv(2048)
    assert int.from_bytes(answer[:2], "big") == method | 0x0100, f"refused: {answer.hex()}"
    return answer[20:]


def turn(own: socket.socket, server: tuple[str, int], peer: tuple[str, int]) -> bytes:
    """An allocation with one channel to a peer (RFC 8656, 7, 12); the header of a datagram of ``PAYLOAD`` octets."""
    _stun(own, server, 0x0003, (0x0019, bytes([17, 0, 0, 0])))
    address = int.from_bytes(socket.inet_aton(peer[0]), "big") ^ COOKIE
    xored = struct.pack("!BBHI", 0, 1, peer[1] ^ COOKIE >> 16, address)
    _stun(own, server, 0x0009, (0x000C, struct.pack("!HH", CHANNEL, 0)), (0x0012, xored))
    return struct.pack("!HH", CHANNEL, PAYLOAD)


def send(own: socket.socket, target: tuple[str, int], header: bytes, seconds: float, rate: float) -> None:
    """Datagrams for some seconds; ``rate``: octets of payload a second, 0: as fast as it can."""
    data = (header + bytes(PAYLOAD)) * SEGMENTS
    control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(header) + PAYLOAD))]
    begin, bursts = time.monotonic(), 0
    while (now := time.monotonic()) < begin + seconds:
        if rate and bursts * SEGMENTS * PAYLOAD > (now - begin) * rate:
            time.sleep(0.0002)
            continue
        own.sendmsg([data], control, 0, target)
        bursts += 1
    _tell(bursts * SEGMENTS, time.monotonic() - begin)


def receive(own: socket.socket, size: int) -> None:
    """Count datagrams of ``size`` octets for ever."""
    memory = bytearray(65536)
    print("ready", flush=True)
    while True:
        own.settimeout(None)
        octets, first = own.recv_into(memory), time.monotonic()
        last = first
        own.settimeout(SILENCE)
        try:
            while True:
                octets += own.recv_into(memory)
                last = time.monotonic()
        except TimeoutError:
            _tell(octets // size, last - first)


def _tell(packets: int, seconds: float) -> None:
    print(json.dumps({"octets": packets * PAYLOAD, "packets": packets, "seconds": seconds}), flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("send", "receive"))
    parser.add_argument("system", choices=("userlan", "turn", "bare"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--key", type=bytes.fromhex, default=b"")
    parser.add_argument("--peer", default="")
    parser.add_argument("--own-port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    own, server = open_socket(options.own_port), (options.host, options.port)
    header = b""
    if options.system == "userlan":
        header = bind(own, server, options.key, 0 if options.what == "send" else 1)
    elif options.system == "turn" and options.what == "send":
        host, _, port = options.peer.partition(":")
        header = turn(own, server, (host, int(port)))
    if options.what == "send":
        send(own, server, header, options.seconds, options.rate)
    else:
        receive(own, PAYLOAD + len(header))


if __name__ == "__main__":
    main()
