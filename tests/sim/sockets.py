"""The sockets of one member: the main one, those that a server listens with, those that a core opens by ``Endpoint.via``.

As with the driver: a core uses a number, and the socket is there, with a port of the system's choice, told to the core by
``socket_opened`` before anything arrives on it; ``dismissed`` closes it. UDP sockets and groups of TCP connections have
numbers of their own, and so has each core; what is listened with is all cores'.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from tests.sim.packet import Address

EPHEMERAL = (32_768, 60_999)
"""Linux's ports for sockets that do not choose (``net.ipv4.ip_local_port_range``)."""

MAX_SOCKETS = 1024
"""That cores may open, as a process's limit of descriptors has it."""


class Socket(NamedTuple):
    """``address`` is empty where it is bound to all; ``core``: whose it is, None: told by ``owns``. Some accept connections."""

    transport: str
    via: int
    address: str
    port: int
    core: Any = None
    listens: bool = False


class Sockets:
    """All sockets of a member by number, and by where a packet is addressed to."""

    def __init__(self, port: int, seed: int) -> None:
        self.random = Random(seed)
        self._by_number: dict[tuple[str, int, Any], Socket] = {}
        self._by_port: dict[tuple[str, str, int], Socket] = {}
        self._opened = 0
        for transport in ("udp", "tcp"):
            self.add(Socket(transport, 0, "", port, listens=True))

    def add(self, socket: Socket) -> Socket:
        assert (socket.transport, socket.address, socket.port) not in self._by_port, f"{socket.port} is taken"
        assert (socket.transport, socket.via, socket.core) not in self._by_number, f"{socket.via} is taken"
        self._by_number[socket.transport, socket.via, socket.core] = socket
        self._by_port[socket.transport, socket.address, socket.port] = socket
        return socket

    def get(self, transport: str, via: int, core: Any = None) -> Socket | None:
        """A core's socket of that number, or one that is listened with."""
        return self._by_number.get((transport, via, None)) or self._by_number.get((transport, via, core))

    def at(self, transport: str, address: Address) -> Socket | None:
        """Whose packets to this address are."""
        host, port = address
        return self._by_port.get((transport, host, port)) or self._by_port.get((transport, "", port))

    def listening(self, address: Address) -> int | None:
        """The number of the socket that takes connections to this address."""
        socket = self.at("tcp", address)
        return socket.via if socket is not None and socket.listens else None

    def open(self, transport: str, via: int, core: Any) -> Socket | None:
        """A core's new socket; None when it has too many."""
        if self._opened >= MAX_SOCKETS:
            return None
        self._opened += 1
        port = self.random.randint(*EPHEMERAL)
        while (transport, "", port) in self._by_port:
            port = self.random.randint(*EPHEMERAL)
        return self.add(Socket(transport, via, "", port, core))

    def close(self, via: int, core: Any) -> list[Socket]:
        """Close what a core opened under this number."""
        keys = [key for transport in ("udp", "tcp") if (key := (transport, via, core)) in self._by_number]
        closed = [self._by_number.pop(key) for key in keys]
        for socket in closed:
            self._opened -= 1
            del self._by_port[socket.transport, "", socket.port]
        return closed

    @property
    def opened(self) -> int:
        """How many cores have opened."""
        return self._opened
