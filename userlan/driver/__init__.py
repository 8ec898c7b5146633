"""Everything that touches Twisted, a socket, a clock or a file: the loop that feeds the cores.

Goals
-----
* The cores (``node``, ``mediator``) are sans-IO. One :class:`~userlan.driver.engine.Engine` for a process gives them
  datagrams and the time, and carries their effects out.
* An application's bytes travel as units of up to 64 KB from its socket to the UDP socket and back; what is done for
  each of those is done once a unit, never once a wire datagram.
* The LAN is offered as Twisted's own interfaces (:class:`~userlan.driver.lan.Lan`), so that any protocol runs over it
  unmodified.

The path of the data::

      Twisted protocol                        bridges, embedding programs
        │ write / dataReceived                  (bytes, up to 64 KB a call)
      LanTransport                            transport.py      back-pressure both ways, no copy
        │ Connection.send / receive
      ┌─┴──────────── core (Node or Mediator; has a stack.Host) ────────────┐
      │ owns · receive · datagrams · events · deadline · tick               │
      └─┬───────────────────────────────────────────────────────────────────┘
      Engine                                  engine.py         pump: events → transports, bursts → sockets, one timer
        ├── DatagramPort (UDP, IPv4/IPv6)     datagram.py       GRO in, GSO out, bounded retry queue, probes, times to live
        ├── NumberedPorts (UDP)               numbered.py       more of them: of a search for a path, or a server's other ports
        └── FramedPort (TCP)                  framed.py         2-byte length + datagram, where UDP is blocked, and for bulk
             ├── PathWatch                    kernel_tcp.py     what the kernel is told and asked of a connection
             └── Punches                      punching_tcp.py   both ends connect at once, from ports with a number

One turn of the reactor
-----------------------
1. A UDP socket is readable: at most ``READS_A_WAKEUP`` buffers of 64 KB are read, each handed to the core that owns it.
2. The engine pumps once: ``core.answers()`` (echo replies) leave first, ``core.events()`` go to their transports (these may
   read, write, open, close), then ``core.datagrams()`` go to the sockets, then the one timer is set to the nearest
   ``core.deadline()``.
3. An application's call outside a pump (a write from a local socket) marks the core; one pump follows at the end of
   the turn (``callLater(0)``), however many calls there were. A call inside a pump is carried by that very pump: it
   never re-enters.

Full sockets
------------
What the kernel does not take must not wait here, where it waits in one line, but with the cores, where it waits by flow::

    socket full ──▶ hold(way, now) ──▶ the core keeps what is for it         way: "udp" for all of UDP, or a framed TCP endpoint
    it has drained ──▶ release(way) ──▶ the core gives more
    connection established, ended, or bad ──▶ way_opened, way_lost, way_lossy(endpoint)

Sockets are therefore kept short (``SEND_BUFFER``, ``NOT_SENT_LOW``), and their own queues have room for just what a core
gives in one call. Such a call gives 256 KB at most; if there is more (``core.backlog``), the next one comes after the
sockets have been read again, so that what arrives is not kept waiting by what leaves.

Numbered sockets
----------------
Behind a NAT each socket has a mapping of its own, so endpoints name the own socket by which they are reached (``Endpoint.via``; 0: the
main one)::

    burst for via k > 0 ──▶ opened where new ──▶ socket_opened(k, transport, port) ──▶ sent; answers come with source.via = k
    core.dismissed(), asked in each round ──▶ what is behind these numbers is closed

The network around
------------------
``port_mapping.py`` asks the router to let peers in (what is said to it, and believed of it: ``traversal.port_mapping``);
``neighbours.py`` announces the node on the local network and hears of others there, by multicast DNS in a thread of its own (who they are
is for ``node.neighbours`` to recognise); ``gateway.py`` is how each system names its router.

Kernel and stack
----------------
A kernel can have the node's addresses beside the stack: ``link.py`` carries what is the kernel's, ``tap/`` is the device
that it comes from. ``uplink.py`` is what the kernel finds there beside the members: the LAN's resolver, and the outside where that is
wanted; a second stack (``node.gateway``) in the same schedule, with the same transports and ports.

Where the time goes, and what was tried
---------------------------------------
For one unit of 61,560 octets and its ACKs, both ends, without the system calls (CPython 3.11, one core, one run): ChaCha20-Poly1305 in
1,348-octet datagrams 580 microseconds, AES-256-GCM 390, AES-256-GCM in one datagram over framed TCP 135. So a transfer's price is the
number of datagrams, and what pays is fewer of them: whole units over TCP, jumbo frames, the loopback's 64 KB.

An echo costs 30 microseconds a hop when the interpreter is warm and four times as much after a pause of 50 ms, each function as much as
any other: the caches have gone cold. Answering before events are told, and not asking the socket twice, gave a tenth; huge pages for the
heap (``MADV_COLLAPSE``) less than one in twelve, within the noise, so they are not asked for.

Nothing came of: ``encrypt_into`` a common buffer (slower below 4 KB: slicing costs more than the copy), a larger trim threshold of malloc,
ACKs that wait 2 ms for an answer to ride on (a third fewer segments for a request, no less time). Not built: leaving the inner headers out
of all datagrams of a unit but the first (an eighth of the work over UDP, but one loss would cost the whole unit), and sealing in several
processes (units would be copied twice more).

Limits
------
Everything that a peer can fill is bounded where it lives: the sockets' retry queues, the frames of a TCP connection,
the number of connections, the endpoints remembered. What does not fit is dropped and counted: below there is a TCP
that sends again.

The local side
--------------
``local.py`` is how the command line talks to the running node (JSON lines on a UNIX socket), ``state.py`` what a node
keeps on disk, and ``bridge.py`` what a bridge between local programs and the LAN has to offer. ``watch.py`` shows packets to whoever
looks, and ``pcapng.py`` is the form in which they leave.
"""
