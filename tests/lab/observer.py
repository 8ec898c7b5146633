"""Two plain programs that find out what a NAT does, with nothing of userlan's in them: the oracle of the lab's self-tests.

``python -m tests.lab.observer serve A1 A2 PORT…`` answers, on each address and port, over UDP ``where`` with the sender's endpoint and
``from ADDRESS PORT`` with a datagram from there; over TCP it says on connection where it comes from, then obeys ``dial HOST PORT``: it
connects from a new port and says what came of it. ``after SECONDS`` is answered that much later.

``python -m tests.lab.observer look A1 A2 PORT…`` asks, from behind the NAT, and prints one JSON object (:func:`look`).
``python -m tests.lab.observer wait A PORT SECONDS [keep]`` says ``asked``, then whether the late answer came: ``late`` or ``nothing``; with
``keep`` it sends something every half second meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

PATIENCE = 1.5
"""Seconds in which an answer must come: many round trips of the self-test's Internet, on a machine with other work."""
DIAL = 2.0
"""Seconds that an unsolicited connection is given."""
SERIES = 6
"""Fresh sockets whose ports are compared."""

Address = tuple[str, int]


class Answer(asyncio.DatagramProtocol):
    """One UDP endpoint of the server; all are in ``sockets``."""

    def __init__(self, sockets: dict[Address, asyncio.DatagramTransport], own: Address) -> None:
        self.sockets = sockets
        self.own = own

    def connection_made(self, transport: Any) -> None:
        self.sockets[self.own] = transport

    def datagram_received(self, data: bytes, source: Any) -> None:
        words = data.decode().split()
        if words[0] == "where":
            self.sockets[self.own].sendto(f"{source[0]} {source[1]}".encode(), source)
        elif words[0] == "from":
            self.sockets[words[1], int(words[2])].sendto(b"from", source)
        elif words[0] == "after":
            asyncio.get_running_loop().call_later(float(words[1]), self.sockets[self.own].sendto, b"late", source)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One TCP connection of the server."""
    host, port = writer.get_extra_info("peername")
    own = writer.get_extra_info("sockname")[0]
    writer.write(f"{host} {port}\n".encode())
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            _, target, number = line.decode().split()
            writer.write(f"{await dial(target, int(number), own)}\n".encode())
        writer.close()


async def dial(host: str, port: int, own: str) -> str:
    """What comes of a connection from a new port."""
    try:
        opening = asyncio.open_connection(host, port, local_addr=(own, 0))
        _, writer = await asyncio.wait_for(opening, DIAL)
    except TimeoutError:
        return "silence"
    except OSError as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else "unreachable"
    writer.close()
    return "connected"


async def serve(hosts: list[str], ports: list[int]) -> None:
    """Until it is ended."""
    sockets: dict[Address, asyncio.DatagramTransport] = {}
    loop = asyncio.get_running_loop()
    for own in product(hosts, ports):
        await loop.create_datagram_endpoint(lambda own=own: Answer(sockets, own), local_addr=own)  # type: ignore[misc]
        await asyncio.start_server(converse, *own)
    print("ready", flush=True)
    await asyncio.Event().wait()


def look(hosts: list[str], ports: list[int]) -> dict[str, Any]:
    """What can be seen from here: for ``udp`` and ``tcp`` each (None where nothing passes)

    ``local``: the own port; ``seen``: for each of the server's endpoints, by hosts then ports, how it sees the one socket;
    ``series``: how the first endpoint sees socket after socket, with their own ports; for UDP ``other-port`` and ``other-address``: whether
    a datagram passes from there; ``hairpin``; for TCP ``unsolicited``: what happens to a stranger's SYN.
    """
    servers = list(product(hosts, ports))
    return {"udp": _look_udp(servers), "tcp": _look_tcp([server for server in servers if _reachable(server)])}


def _look_udp(servers: list[Address]) -> dict[str, Any] | None:
    with _udp() as one:
        first = _where(one, servers[0])
        if first is None:
            return None
        seen = [first, *(_where(one, server) for server in servers[1:])]
        result = {"local": one.getsockname()[1], "seen": seen, "series": list(_series(servers[0]))}
        result["hairpin"] = _hairpin(first)
    host, port = servers[0]
    for name, other in (("other-port", servers[1]), ("other-address", (servers[-1][0], port))):
        with _udp() as fresh:
            _where(fresh, (host, port))
            fresh.sendto(f"from {other[0]} {other[1]}".encode(), (host, port))
            result[name] = _heard(fresh) is not None
    return result


def _hairpin(target: list[Any]) -> bool:
    """Whether a datagram from another own socket, to the public endpoint of one that lets it in or has sent to it, comes back."""
    with _udp() as receiver, _udp() as sender:
        there = _where(receiver, _SERVER[0]), _where(sender, _SERVER[0])
        assert all(there), target
        for _ in range(2):
            receiver.sendto(b"hello", tuple(there[1]))  # type: ignore[arg-type]  # asserted above
            sender.sendto(b"hello", tuple(there[0]))  # type: ignore[arg-type]
        heard = _heard(receiver)
        return heard is not None and heard[1] == tuple(there[1])  # type: ignore[arg-type]


_SERVER: list[Address] = []
"""The endpoint that answers ``where`` to helpers."""


def _series(server: Address) -> Iterator[list[Any]]:
    for _ in range(SERIES):
        with _udp() as fresh:
            yield [fresh.getsockname()[1], *(_where(fresh, server) or [])]


def _where(one: socket.socket, server: Address) -> list[Any] | None:
    one.sendto(b"where", server)
    heard = _heard(one)
    return None if heard is None else [heard[0].split()[0].decode(), int(heard[0].split()[1])]


def _heard(one: socket.socket) -> tuple[bytes, Any] | None:
    one.settimeout(PATIENCE)
    try:
        return one.recvfrom(2000)
    except OSError:
        return None


@contextlib.contextmanager
def _udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("0.0.0.0", 0))
        yield one


def _reachable(server: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(server, PATIENCE):
        return True
    return False


def _look_tcp(servers: list[Address]) -> dict[str, Any] | None:
    if not servers:
        return None
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(_tcp())]
        local = connections[0].getsockname()
        connections += [held.enter_context(_tcp(local[1])) for _ in servers[1:]]
        seen = []
        for one, server in zip(connections, servers, strict=True):
            one.connect(server)
            seen.append(_line(one).split())
        listener = held.enter_context(_tcp(local[1]))
        listener.listen()
        connections[0].settimeout(2 * DIAL)
        connections[0].sendall(f"dial {seen[0][0]} {seen[0][1]}\n".encode())
        unsolicited = _line(connections[0])
    series = []
    for _ in range(SERIES):
        with _tcp() as one:
            one.connect(servers[0])
            host, port = _line(one).split()
            series.append([one.getsockname()[1], host, int(port)])
    return {"local": local[1], "seen": [[host, int(port)] for host, port in seen], "series": series, "unsolicited": unsolicited}


def _tcp(port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        one.setsockopt(socket.SOL_SOCKET, option, 1)
    one.settimeout(2 * PATIENCE)
    one.bind(("0.0.0.0", port))
    return one


def _line(one: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = one.recv(100)
        assert piece, "the server hung up"
        data += piece
    return data.decode().strip()


def wait(server: Address, seconds: float, keep: bool) -> str:
    """Whether a mapping lets an answer in after so many seconds."""
    with _udp() as one:
        one.sendto(f"after {seconds}".encode(), server)
        print("asked", flush=True)
        give_up = time.monotonic() + seconds + PATIENCE
        while time.monotonic() < give_up:
            if keep:
                one.sendto(b"keep", server)
            one.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                return one.recv(100).decode()
    return "nothing"


def main(arguments: list[str]) -> None:
    """See the module."""
    if arguments[0] == "wait":
        print(wait((arguments[1], int(arguments[2])), float(arguments[3]), "keep" in arguments))
        return
    hosts, ports = arguments[1:3], [int(port) for port in arguments[3:]]
    if arguments[0] == "serve":
        asyncio.run(serve(hosts, ports))
    else:
        _SERVER.append((hosts[0], ports[0]))
        begun = time.monotonic()
        print(json.dumps({**look(hosts, ports), "seconds": round(time.monotonic() - begun, 2)}))


if __name__ == "__main__":
    main(sys.argv[1:])
