"""Which user of this computer is at the other end of a connection over loopback.

A secret in a link passes by places that other users can see (the arguments of a browser that is started), and a browser sends the cookie
of a port to whoever listens there while the node does not. Where the kernel tells whose socket it is, neither helps another user.

Linux: NETLINK_SOCK_DIAG (sock_diag(7)), asked for the one socket of the client; it needs no rights. Elsewhere nobody is told.
"""

from __future__ import annotations

import os
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 20, 1
NO_COOKIE = 0xFFFFFFFF
HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
REQUEST = struct.Struct("=BBBxI")
"""inet_diag_req_v2 up to its socket's identity: family, protocol, extensions, states."""
UID = struct.Struct("=I")
UID_OFFSET = HEADER.size + 4 + 48 + 12
"""In the answer, an inet_diag_msg: family, state, timer, retransmissions; identity; expiry, two queues; then the user."""
PATIENCE = 1.0
"""Seconds for the kernel to answer: it does so within the call."""


def user_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user id of the socket at ``client`` that is connected with ours at ``server``; None where it is not to be found out."""
    kind = getattr(socket, "AF_NETLINK", None)
    if kind is None:
        return None
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    try:
        ends = b"".join(socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (client, server))
        identity = struct.pack("!HH", client[1], server[1]) + ends + struct.pack("=III", 0, NO_COOKIE, NO_COOKIE)
        body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + identity
        with socket.socket(kind, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as asked:
            asked.settimeout(PATIENCE)
            asked.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body)
            answer = asked.recv(4096)
    except (OSError, struct.error):
        return None
    if len(answer) < UID_OFFSET + UID.size or HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:
        return None
    found: int = UID.unpack_from(answer, UID_OFFSET)[0]
    return found


def is_foreign(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether another user than ours is at the other end, as far as that is to be found out."""
    return is_other(user_of(client, server), os.geteuid() if hasattr(os, "geteuid") else 0)


def is_other(user: int | None, own: int) -> bool:
    """Root is nobody else: it could take all that we have. And to a node of root, nobody is: browsers run as the user to whom root has
    handed the link."""
    return own != 0 and user not in (None, 0, own)
