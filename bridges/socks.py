"""SOCKS 4, 4a and 5 on the side of the server, sans-IO: bytes in, replies and one request out.

SOCKS5 (RFC 1928), with user and password (RFC 1929) where they are configured::

    client                              server
      05 N METHODS...                →
                                     ←  05 METHOD                           00 none, 02 user/password, ff no way
      01 ULEN USER PLEN PASSWORD     →                                      with method 02 only
                                     ←  01 STATUS                           00 right, 01 wrong
      05 CMD 00 ATYP ADDRESS PORT    →                                      1 CONNECT, 2 BIND, 3 UDP ASSOCIATE
                                     ←  05 REPLY 00 ATYP ADDRESS PORT

SOCKS4 (Koblas 1992) and 4a (Lee): ``04 CMD PORT ADDRESS USER 00 [DOMAIN 00]``, the domain where the address is
0.0.0.x; the reply has eight bytes. There is no password in it, so that it is refused where one is asked for.

A datagram of UDP ASSOCIATE (RFC 1928, section 7): ``00 00 FRAG ATYP ADDRESS PORT DATA``; fragments are refused.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from collections.abc import Callable
from typing import NamedTuple

from bridges.credentials import Credentials
from userlan.lan.hostport import check_host

MAX_SOCKS4_FIELD = 255
"""Bytes of the user or the domain in SOCKS4: the protocol names no limit, and no host name is longer."""

ATYP_IPV4, ATYP_DOMAIN, ATYP_IPV6 = 1, 3, 4

Buffer = bytes | bytearray | memoryview


class Command(enum.Enum):
    """What the client asks for."""

    CONNECT = 1
    ASSOCIATE = 3


class Reply(enum.IntEnum):
    """Reply codes of SOCKS5 (RFC 1928, section 6)."""

    SUCCEEDED = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TIMED_OUT = 6
    COMMAND_UNSUPPORTED = 7
    ADDRESS_UNSUPPORTED = 8


class Request(NamedTuple):
    """A complete request. ``host`` is a name in lower case or a numeric address."""

    version: int
    command: Command
    host: str
    port: int

    def reply(self, code: Reply, host: str = "0.0.0.0", port: int = 0) -> bytes:
        """The bytes that answer it; host (numeric) and port are the bound ones."""
        return reply4(code, host, port) if self.version == 4 else reply5(code, host, port)


class SocksError(Exception):
    """The client is to be answered with ``reply`` (may be empty) and let go; ``str()`` names the reason as a
    counter does."""

    def __init__(self, reason: str, reply: bytes = b"") -> None:
        super().__init__(reason)
        self.reply = reply


def reply5(code: Reply, host: str = "0.0.0.0", port: int = 0) -> bytes:
    """A SOCKS5 reply with the bound address (numeric)."""
    return bytes((5, code, 0)) + encode_address(host, port)


def reply4(code: Reply, host: str = "0.0.0.0", port: int = 0) -> bytes:
    """A SOCKS4 reply: 90 granted, 91 rejected or failed."""
    address = ipaddress.ip_address(host)
    packed = address.packed if address.version == 4 else bytes(4)
    return struct.pack("!BBH", 0, 91 if code else 90, port) + packed


def encode_address(host: str, port: int) -> bytes:
    """ATYP, address and port of a numeric address."""
    address = ipaddress.ip_address(host)
    return bytes((ATYP_IPV4 if address.version == 4 else ATYP_IPV6,)) + address.packed + port.to_bytes(2, "big")


class Negotiation:
    """One client's way to its request: feed bytes until :attr:`request` is there."""

    def __init__(self, credentials: Credentials | None) -> None:
        self.request: Request | None = None
        self._credentials = credentials
        self._buffer = bytearray()
        self._state: Callable[[], bytes | None] = self._version

    def receive(self, data: Buffer) -> bytes:
        """What is to be sent in answer to ``data`` (may be empty); raises SocksError. Nothing is read behind the
        request."""
        self._buffer += data
        answers = b""
        while self.request is None:
            try:
                answer = self._state()
            except SocksError as error:
                error.reply = answers + error.reply
                raise
            if answer is None:
                break
            answers += answer
        return answers

    def take_rest(self) -> bytes:
        """What came behind the request: the client's first bytes for the far side."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    # states: each takes its message off the buffer and returns the answer, or returns None when it is not complete

    def _version(self) -> bytes | None:
        if not self._buffer:
            return None
        if self._buffer[0] == 5:
            self._state = self._methods
        elif self._buffer[0] == 4:
            if self._credentials is not None:
                raise SocksError("socks4-without-password", reply4(Reply.NOT_ALLOWED))
            self._state = self._request4
        else:
            raise SocksError("socks-version")
        return b""

    def _methods(self) -> bytes | None:
        if len(self._buffer) < 2 or len(self._buffer) < 2 + self._buffer[1]:
            return None
        methods = self._take(2 + self._buffer[1])[2:]
        wanted = 0 if self._credentials is None else 2
        if wanted not in methods:
            raise SocksError("socks-method", b"\x05\xff")
        self._state = self._request5 if self._credentials is None else self._password
        return bytes((5, wanted))

    def _password(self) -> bytes | None:
        buffer = self._buffer
        if buffer and buffer[0] != 1:
            raise SocksError("socks-password-version", b"\x01\x01")
        if len(buffer) < 2 or len(buffer) < 3 + buffer[1]:
            return None
        user_end = 2 + buffer[1]
        end = user_end + 1 + buffer[user_end]
        if len(buffer) < end:
            return None
        message = self._take(end)
        if self._credentials is None or not self._credentials.match(message[2:user_end], message[user_end + 1 :]):
            raise SocksError("socks-password", b"\x01\x01")
        self._state = self._request5
        return b"\x01\x00"

    def _request5(self) -> bytes | None:
        buffer = self._buffer
        if buffer and buffer[0] != 5:
            raise SocksError("socks-version", reply5(Reply.FAILURE))
        if len(buffer) < 5:
            return None
        parsed = parse_address(buffer, 3)
        if parsed is None:
            return None
        host, port, end = parsed
        code = self._take(end)[1]
        if code not in (Command.CONNECT.value, Command.ASSOCIATE.value):
            raise SocksError("socks-command", reply5(Reply.COMMAND_UNSUPPORTED))
        command = Command(code)
        if command is Command.CONNECT and port == 0:
            raise SocksError("socks-port", reply5(Reply.FAILURE))
        self.request = Request(5, command, host, port)
        return b""

    def _request4(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 9:
            return None
        user_end = self._terminated(8)
        if user_end is None:
            return None
        code, port = buffer[1], int.from_bytes(buffer[2:4], "big")
        address = bytes(buffer[4:8])
        end = user_end + 1
        host = str(ipaddress.IPv4Address(address))
        if address[:3] == bytes(3) and address[3]:
            domain_end = self._terminated(end)
            if domain_end is None:
                return None
            host = _domain(bytes(buffer[end:domain_end]), reply4(Reply.HOST_UNREACHABLE))
            end = domain_end + 1
        self._take(end)
        if code != Command.CONNECT.value or port == 0:
            raise SocksError("socks-command", reply4(Reply.COMMAND_UNSUPPORTED))
        self.request = Request(4, Command.CONNECT, host, port)
        return b""

    def _terminated(self, start: int) -> int | None:
        """Where the NUL of a SOCKS4 field that begins at ``start`` is."""
        end = self._buffer.find(0, start, start + MAX_SOCKS4_FIELD + 1)
        if end < 0:
            if len(self._buffer) - start > MAX_SOCKS4_FIELD:
                raise SocksError("socks4-field", reply4(Reply.FAILURE))
            return None
        return end

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def parse_address(buffer: Buffer, start: int) -> tuple[str, int, int] | None:
    """ATYP, address and port at ``start``: (host, port, where they end), None when incomplete; raises SocksError
    with a SOCKS5 reply."""
    if len(buffer) <= start + 1:
        return None
    kind = buffer[start]
    begin = start + 1
    if kind == ATYP_IPV4:
        end = begin + 4
    elif kind == ATYP_IPV6:
        end = begin + 16
    elif kind == ATYP_DOMAIN:
        begin += 1
        end = begin + buffer[begin - 1]
    else:
        raise SocksError("socks-address-type", reply5(Reply.ADDRESS_UNSUPPORTED))
    if len(buffer) < end + 2:
        return None
    field = bytes(buffer[begin:end])
    host = _domain(field, reply5(Reply.HOST_UNREACHABLE)) if kind == ATYP_DOMAIN else str(ipaddress.ip_address(field))
    return host, int.from_bytes(buffer[end : end + 2], "big"), end + 2


def _domain(name: bytes, reply: bytes) -> str:
    """A name (or a numeric address written as one) in its canonical form."""
    try:
        return check_host(name.decode("ascii"))
    except ValueError:
        raise SocksError("socks-name", reply) from None


class Datagram(NamedTuple):
    """What a client sends through its association."""

    host: str
    port: int
    payload: bytes


def parse_datagram(data: bytes) -> Datagram:
    """A datagram from the client; raises SocksError (fragments, truncated, port 0): it is to be dropped."""
    if len(data) < 4:
        raise SocksError("datagram-truncated")
    if data[0] or data[1]:
        raise SocksError("datagram-reserved")
    if data[2]:
        raise SocksError("datagram-fragment")
    parsed = parse_address(data, 3)
    if parsed is None:
        raise SocksError("datagram-truncated")
    host, port, end = parsed
    if port == 0:
        raise SocksError("datagram-port")
    return Datagram(host, port, data[end:])


def build_datagram(host: str, port: int, payload: bytes) -> bytes:
    """A datagram for the client, from a numeric address."""
    return b"\x00\x00\x00" + encode_address(host, port) + payload
