"""Forget all connections that this namespace's kernel tracks, as a NAT does that reboots: ``python -m tests.lab.conntrack`` inside.

The one netlink message that ``conntrack --flush`` sends (linux/netfilter/nfnetlink_conntrack.h), for the program is not everywhere.
"""

from __future__ import annotations

import socket
import struct

NETLINK_NETFILTER = 12
CTNETLINK_DELETE = 1 << 8 | 2
"""Subsystem 1 (ctnetlink), IPCTNL_MSG_CT_DELETE: without a tuple it means all."""
REQUEST, ACKNOWLEDGE = 1, 4
NLMSG_ERROR = 2


def flush() -> None:
    """Raises OSError when the kernel refuses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.send(struct.pack("=IHHIIBBH", 20, CTNETLINK_DELETE, REQUEST | ACKNOWLEDGE, 1, 0, socket.AF_UNSPEC, 0, 0))
        answer = netlink.recv(4096)
    kind, error = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind != NLMSG_ERROR or error:
        raise OSError(-error, "the connections could not be flushed")


if __name__ == "__main__":
    flush()
