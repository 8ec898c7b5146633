"""A host in memory: IPv4 and IPv6, ICMP, UDP and TCP, with no clock, no entropy and no I/O of its own.

Goals: what a careful kernel does, for one process: correct towards strangers, bounded in memory whatever they send, and
idle connections cost nothing. Everything is driven from outside and returned as data::

      packets from the tunnel                                       the program's calls
              │ receive(packet, now)                                        │ tcp_connect, tcp_listen, udp_bind, ping
              ▼                                                             ▼ connection.send, socket.send …
    ┌───────────────────────────────────── Host ──────────────────────────────────────┐
    │ martian checks ─▶ reassembly ─▶ checksum ─▶ demultiplexing ─┬▶ tcp: Connection, Listener
    │                                                             ├▶ UdpSocket
    │                                                             ├▶ ICMP: echo, errors
    │                                                             └▶ Groups: queries (IGMP, MLD)
    │ touched connections ─▶ transmit ─┬▶ packets
    │ UDP, ICMP, reports ─▶ fragments ─┘
    └──────────────────────────────────────────────────────────────────────────────────┘
              │ packets(now)                      │ deadline(), tick(now)       │ events()
              ▼                                   ▼                             ▼
      super-packets, whole: whoever sends    the next instant at which     TcpEvent, TcpAccepted,
      them cuts them                         tick has to be called         UdpReadable, EchoReply, EchoFailed

After any call on the host, a connection or a socket, its owner drains ``packets``, then ``events``, then asks
``deadline``. Packets to one of the host's own addresses turn round inside ``packets``.

**Work.** A connection that was called or got a segment adds itself to a set, ``touched``, that the host hands it; only
those are asked to transmit, for their events and for their deadline. Deadlines lie in a heap with lazy deletion.

**Order of a packet's checks.** 1. The source: no multicast, broadcast, loopback, unspecified or own address (RFC 1122
3.2.1.3, RFC 4291 2.5.3 and 2.7). 2. The destination: an own address, or a group that a socket has joined or every host
hears, with a source that some socket wants, or a broadcast of the host's link (``Host.add_broadcast``).
3. IPv4 source routes are refused (RFC 7126 4.3). 4. Fragments wait in the reassembler. 5. The transport checksum,
unless the packet is ``verified``. 6. The transport.

**Answers.** An ICMP error is never sent about an ICMP error, a fragment other than the first, a packet to a group or
from a source that is not one host (RFC 1122 3.2.2, RFC 4443 2.4(e)); errors come out of a token bucket (RFC 4443
2.4(f))::

      IP header | ICMP type, code, checksum | unused, MTU or pointer | the packet it is about, as much as fits

An echo request to everybody (a broadcast, 224.0.0.1, ff02::1) is answered from the own address, a few times a second; one to
another group is not. About a UDP port that is closed: port unreachable. About a protocol that is unknown: protocol unreachable (IPv4),
parameter problem 1 (IPv6). About a TCP port that is closed: a reset (RFC 9293 3.10.7.1). About a reassembly that timed
out with its first fragment here: time exceeded, code 1.

**Errors from others** are believed only as far as the packet that they quote can be ours: for TCP the quoted sequence
number must be in flight (RFC 5927 4.1), for UDP a socket must be connected to that destination, for echo a request
must be outstanding. Packet too big never brings the path MTU under 1280 (IPv6) or 576 (IPv4), nor above what was sent;
once a larger TCP segment was acknowledged it counts only when progress stalls (RFC 5927 7.2). What TCP finds out by
itself (RFC 4821) is kept for other connections and for UDP, as a message is.

**Memory.** All TCP connections buffer within ``HostConfig.tcp_memory``; each may hold what the others leave free
(``tcp.memory``).

**What goes on**: ``Host.tcp_connections`` has the numbers of each connection, as TCP_INFO does.

**Timers.** Reassembly 60 s (IPv6, RFC 8200 4.5) and 30 s (IPv4, RFC 1122 3.3.2 allows 60 to 120; Linux takes 30); path
MTU 10 min (RFC 8201 5.3); echo requests are forgotten after 60 s; TCP's are in ``userlan.stack.tcp``.

**Limits** are in ``config`` (connections, TIME-WAIT, sockets, queues) and at the heads of ``reassembly`` and ``pmtu``;
each has its reason there. What is dropped is counted in ``Host.counters`` by reason.

Modules: ``host`` (the composition), ``addresses`` (whose is this address), ``ports`` (ephemeral ports), ``deadlines``
(the heap), ``demux`` (who gets a TCP segment), ``udp``, ``groups`` (multicast memberships;
``filters``, ``reporter`` and, for a kernel beside the stack, ``wishes`` are its parts), ``icmp``, ``quoted`` (whom an
error is about), ``reassembly``, ``outgoing`` (the queue of UDP and ICMP, and fragments), ``pmtu``, ``sharing`` (what
belongs to a kernel that has the same addresses), ``limiter``, ``config``, ``errors``, ``events``; ``tcp/`` is one
connection and knows nothing of the host.
"""

from userlan.stack.config import HostConfig
from userlan.stack.errors import StackError
from userlan.stack.events import EchoFailed, EchoReply, Event, TcpAccepted, TcpEvent, UdpReadable
from userlan.stack.host import Host
from userlan.stack.udp import UdpSocket

__all__ = [
    "EchoFailed",
    "EchoReply",
    "Event",
    "Host",
    "HostConfig",
    "StackError",
    "TcpAccepted",
    "TcpEvent",
    "UdpReadable",
    "UdpSocket",
]
