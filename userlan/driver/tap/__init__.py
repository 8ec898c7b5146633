"""A TAP device: the whole computer attached to the LAN, with the kernel's own TCP at both ends.

Goals
-----
* The unit stays the super-packet: what the kernel's TCP hands over is one header and up to 64 KB, and what the tunnel
  brings goes to the kernel likewise. Checksums within are left to the kernel, both ways.
* Ethernet costs nothing for each packet: frames to the kernel begin with one of two constant headers, frames from it
  are read by their IP header alone. Who has an address is answered here (ARP, neighbour discovery), from the roster.
* Broadcasts, groups, and frames that are not IP come and go as on a switch (``userlan.node.flooding``).
* Nothing remains: the device lives as long as its descriptor, and its addresses and routes with it, however the process
  ends. Until then it outlives nodes: ``userlan tap`` keeps a descriptor and hands it to the next one.

::

    kernel   | virtio_net_hdr | Ethernet | IP | TCP or UDP | up to 64 KB |
                 │ read                                          ▲ writev
                 ▼                                               │
    frames.py    frames → super-packets                 outward.py   super-packets → frames
                 equal datagrams in a row → one                 pseudo-header sums, GSO sizes
                 │          │ neither IP nor simple             ▲
                 │          ├─▶ neighbours.py   ARP, neighbour discovery: answered
                 │          └─▶ foreign.py      not IP: by EtherIP, and out of it
                 ▼                                               │
    port.py      TapPort: the descriptor in the reactor, and its counters
                 │ LanLink.send                                  │ deliver
                 ▼                                               │
    node         Attachment: source own? destination a member?  Host.unclaimed: nobody's in the stack

    device.py    opening: name, offloads, what of it this kernel knows
    netlink.py   addresses, routes, MTU, up: RTNETLINK, spoken directly
    names.py     systemd-resolved is told where *.internal is answered

Why rtnetlink by hand: `ip` is not on every system, its messages are for people, and a process for each change would
have to be waited for; pyroute2 is larger than this project's own stack for the four messages that are needed here.

Groups: what the kernel wants to hear is known from its own IGMP and MLD reports, which end in the node
(``userlan.stack.wishes``); the node tells the LAN, as for its own sockets. On the way to the kernel a packet to a group gets
that group's hardware address, one to all the broadcast address.

**Why no link-local IPv6 address.** The interface has none (``addr_gen_mode`` none), and so the kernel speaks to ff02:: groups
from its address of the LAN. A member's packets are believed by their source, which must be an address that follows from its
key: fe80:: addresses do not, two members' may be equal, and what came from one could be answered by nobody. MLD reports come
from :: then, which RFC 3810 5.2.13 allows. Programs that insist on a link-local address of their own do not find one; none is
known that does: avahi, Samba and the browsers of UPnP take any.

Many flows at once: a kernel makes the smaller super-packets the slower each flow is. What of one flow was read in one
go, from the device or from the tunnel, becomes one again (``userlan.wire.coalesce``): the busier we are, the larger.

Offloads (virtio 1.2, 5.1.6; Linux, Documentation/networking/tuntap.rst): checksum, TCP segmentation of both versions,
ECN, and UDP segmentation where the kernel has it (6.2); each step down is tried when the one above is refused.

What else was tried: several frames a system call do not exist for a TAP but by io_uring or vhost; reading into memory of
our own (`readv`) costs more than the octets that `read` allocates.
"""
