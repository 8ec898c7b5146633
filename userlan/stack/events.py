"""What a host tells its owner; drained by ``Host.events``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection
    from userlan.stack.tcp.listener import Listener
    from userlan.stack.udp import UdpSocket


class TcpEvent(NamedTuple):
    """Something happened to a connection: ``flags`` as ``Connection.take_events`` gives them."""

    connection: Connection
    flags: int


class TcpAccepted(NamedTuple):
    """A connection to a listening port is established; its own events may follow at once."""

    listener: Listener
    connection: Connection


class UdpReadable(NamedTuple):
    """A socket's queue was empty and is not any more, or an error waits in ``take_error``."""

    socket: UdpSocket


class EchoReply(NamedTuple):
    """The answer to one of our echo requests; ``rtt`` in seconds."""

    source: bytes
    identifier: int
    sequence: int
    payload: bytes
    rtt: float


class EchoFailed(NamedTuple):
    """An ICMP error about one of our echo requests: ``source`` sent it; ``reason`` as in ``userlan.stack.quoted``."""

    destination: bytes
    identifier: int
    sequence: int
    reason: str
    source: bytes


Event = TcpEvent | TcpAccepted | UdpReadable | EchoReply | EchoFailed
