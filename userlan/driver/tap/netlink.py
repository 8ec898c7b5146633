"""An interface's MTU, state and addresses by rtnetlink (RFC 3549; Linux, rtnetlink(7)).

    | length | type | flags | sequence | port |  fixed part  | attributes: length, type, value, padded to 4 |

Each request asks for an acknowledgement, which the kernel sends at once, within the call. An address brings its
prefix's route with it, and takes it away again.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_DELADDR, _RTM_NEWROUTE = 16, 20, 21, 24
_REQUEST, _ACKNOWLEDGE, _REPLACE, _CREATE = 0x01, 0x04, 0x100, 0x400
_ERROR = 2
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_MTU, _IFLA_TXQLEN, _IFLA_AF_SPEC = 1, 4, 13, 26
_IFLA_INET6_ADDR_GEN_MODE, _NO_ADDRESSES = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD = 0x02
_NESTED = 0x8000
_RTA_DST, _RTA_OIF = 1, 4
_TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 3, 0, 253, 1
"""Linux, include/uapi/linux: netlink.h, rtnetlink.h, if_link.h, if_addr.h."""

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ANSWER = 8_192
"""Octets: an acknowledgement quotes the request."""


class Interface:
    """One interface of this process's network namespace, by its name. Its methods raise OSError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._index = socket.if_nametoindex(name)

    def bring_up(self, hardware: bytes, mtu: int, queue: int) -> None:
        """Give it a hardware address, an MTU (octets) and a queue (packets), and switch it on; it gets no IPv6 addresses by
        itself, not even a link-local one."""
        attributes = (
            _attribute(_IFLA_ADDRESS, hardware)
            + _attribute(_IFLA_MTU, struct.pack("=I", mtu))
            + _attribute(_IFLA_TXQLEN, struct.pack("=I", queue))
        )
        fixed = _LINK.pack(socket.AF_UNSPEC, 0, self._index, 0, 0)
        _call(_RTM_NEWLINK, 0, fixed + attributes)
        with suppress(OSError):     # no IPv6 in this kernel
            _call(_RTM_NEWLINK, 0, fixed + _nested(_IFLA_AF_SPEC, _nested(socket.AF_INET6, _WITHOUT_LINK_LOCAL)))
        self.switch_on()

    def switch_on(self) -> None:
        """As it is."""
        _call(_RTM_NEWLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, self._index, _IFF_UP, _IFF_UP))

    def add_address(self, address: bytes, prefix: int) -> None:
        """A packed address with the length of its prefix, usable at once: nobody else can have it, so that duplicate
        address detection has nothing to find."""
        attributes = _attribute(_IFA_LOCAL, address) + _attribute(_IFA_ADDRESS, address)
        if len(address) == 4:
            rest = (1 << 32 - prefix) - 1
            broadcast = (int.from_bytes(address, "big") | rest).to_bytes(4, "big")
            attributes += _attribute(_IFA_BROADCAST, broadcast)
        else:
            attributes += _attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
        _call(_RTM_NEWADDR, _CREATE | _REPLACE, self._fixed(address, prefix) + attributes)

    def remove_address(self, address: bytes, prefix: int) -> None:
        """Take it away again; one that is not there is no error."""
        try:
            _call(_RTM_DELADDR, 0, self._fixed(address, prefix) + _attribute(_IFA_LOCAL, address))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise

    def add_default_route(self, version: int) -> None:
        """What goes nowhere else goes here, with no router between. One that is there stays."""
        self.add_route(bytes(4 if version == 4 else 16), 0)

    def add_route(self, destination: bytes, prefix: int) -> None:
        """What is for addresses with this packed prefix (its length in bits) goes here, with no router between; another route
        for just these is replaced. It goes with the interface."""
        family, scope = (socket.AF_INET, _SCOPE_LINK) if len(destination) == 4 else (socket.AF_INET6, _SCOPE_UNIVERSE)
        fixed = _ROUTE.pack(family, prefix, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, scope, _UNICAST, 0)
        attributes = _attribute(_RTA_OIF, struct.pack("=i", self._index))
        if prefix:
            attributes += _attribute(_RTA_DST, destination)
        _call(_RTM_NEWROUTE, _CREATE | _REPLACE, fixed + attributes)

    def _fixed(self, address: bytes, prefix: int) -> bytes:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        return _ADDRESS.pack(family, prefix, 0, 0, self._index)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, attributes)


_WITHOUT_LINK_LOCAL = _attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_NO_ADDRESSES,)))


def _call(kind: int, flags: int, body: bytes) -> None:
    """One request and its acknowledgement. Raises OSError with the kernel's reason."""
    message = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACKNOWLEDGE | flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(message)
        answer = netlink.recv(_ANSWER)
    if len(answer) < _HEADER.size + 4 or _HEADER.unpack_from(answer)[1] != _ERROR:
        raise OSError(errno.EPROTO, "the kernel's answer is no acknowledgement")
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    if code:
        raise OSError(code, os.strerror(code))
