"""Where a bridge listens on this computer, as it is written. How a failure is told: ``userlan.driver.reasons.listen_error``."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from userlan.lan.hostport import check_port, cut_host_port

PORTS_TRIED = 16
"""Ports from a default one on that are tried, for as many nodes on one computer; then any free one."""
MAX_DATAGRAM = 65535
"""Bytes of a UDP datagram (RFC 768)."""


def parse_listen(written: str) -> tuple[str, int]:
    """``ADDRESS:PORT`` (``localhost`` for 127.0.0.1, port 0 for a free one) → numeric address and port. ValueError,
    one line."""
    host, port = cut_host_port(written)
    if port is None:
        raise ValueError(f"{written!r} names no port: write ADDRESS:PORT")
    return parse_address(host), parse_local_port(port)


def ports_to_try(written: str, default: str) -> tuple[str, list[int]]:
    """The numeric address, and the ports that serve, best first: the one that is written; where that is nobody's choice but the default,
    the next ones too, since another node of this computer may have it, and then any free one."""
    host, port = parse_listen(written)
    return host, [*range(port, port + PORTS_TRIED), 0] if written == default else [port]


def check_listen(written: str, beyond: bool, what_if: str) -> None:
    """The key ``listen`` of a section: ``none``, or ADDRESS:PORT, which is this computer's alone unless ``beyond`` is allowed.

    ValueError, which begins with the key; ``what_if`` says what another address would mean and how it is allowed."""
    if written == "none":
        return
    try:
        host, _ = parse_listen(written)
    except ValueError as error:
        raise ValueError(f"listen: {error}") from None
    if not (beyond or ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"listen: {host} {what_if}")


def parse_address(host: str) -> str:
    """A numeric address of this computer, or ``localhost``. ValueError, one line."""
    if host.lower() == "localhost":
        return "127.0.0.1"
    if host == "*":
        return "0.0.0.0"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"{host!r} is not a numeric address to listen on (nor localhost)") from None


def parse_local_port(port: str) -> int:
    """A port of 0 (a free one) to 65535. ValueError, one line."""
    return 0 if port == "0" else check_port(port)


def listen_udp(reactor: Any, port: int, protocol: DatagramProtocol, interface: str) -> Any:
    """Twisted's ``listenUDP`` for datagrams of any size. Raises CannotListenError.

    Twisted leaves the socket open when the port is taken, until it is collected as garbage: so the port is tried first.
    """
    if port:
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((interface, port))
            except OSError as error:
                raise CannotListenError(interface, port, error) from error  # type: ignore[no-untyped-call]
    return reactor.listenUDP(port, protocol, interface, MAX_DATAGRAM)
