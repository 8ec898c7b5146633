"""Bridges: how local programs reach the LAN and the LAN reaches local services; with no kernel adapter and no root, but
for the one that is a kernel adapter (tap.py).

Goals
-----
* A program that knows a proxy, or a port on this computer, reaches every member of the LAN by name and needs
  nothing else.
* Nothing of this computer is reachable by a peer until it is exposed, or a program that others are meant to find has
  answered them; nothing listens beyond loopback unless it is asked for.
* Streams pass at the speed of the machine, in units of up to 64 KB, with back-pressure, FIN and RST intact, and
  with bounded memory whatever either side does.

The parts::

    proxy     127.0.0.1:1055, SOCKS5/4/4a and HTTP      program → any member, any port; other hosts directly
    forward   a local port                              program → one service of one member
    expose    a port of the LAN                         member → one service of this computer
    discovery broadcasts and multicasts of programs     programs ⇄ those of members that they search for
    tap       an interface (root)                       every program ⇄ every member
    mdns      multicast DNS, here and on the LAN        programs ⇄ services that members announce
    dns       127.0.0.1:5354, UDP and TCP               the system's resolver → names and addresses of members
    internet  beyond an interface's link                every program of an attached kernel → the resolver, the outside
    folders   port 41417 of the LAN                     member → files of a folder that is shared
    guests    stock WireGuard tunnels                   every program of a phone ⇄ every member

    program ──socket── Leg ─┐                               ┌─ Leg ──LAN connection── member
                          Splice (or HttpExchange)  ────────┘
    Leg             one stream, its reading, writing, pausing, closing; owned by one object at a time   leg.py
    Splice          two legs joined for good                                                            splice.py
    Acceptor        accepted streams, each waiting for the stream that is opened for it                 acceptor.py
    Dialer          opens streams on the LAN or outside, and explains failures                          dial.py
    FlowTable       bounded tables of UDP flows                                                         flows.py
    OnDemand        forwards and exposed services that a program that was found needs, shared by all    on_demand.py
    Policy          with whom something is shared                                                       sharing.py
    FilteredSplice  a splice that rewrites addresses inside its stream                                  filtered.py

What is spoken to clients (SOCKS, HTTP heads and bodies) and how rules are written is sans-IO: socks.py,
http_syntax.py, http_body.py, rules.py; so is what is answered to DNS queries, dns_zone.py. They hold no sockets and can be fed any bytes.

States of a stream: accepted (paused, nothing is buffered) → negotiated (at most a head of 64 KB is held) → far side
connected → spliced → closed. Timers: a request must be complete within 15 s, a connection to the LAN made within 30
s; a stream that is spliced has none.

Limits: 4096 clients of the proxy, 4096 streams a forwarded or exposed port, 1024 UDP flows a port (idle 120 s), 256
UDP associations, 256 forwards and services by hand, 512 and 256 on demand, 256 DNS queries on their way; of an attached
kernel 4096 streams and 1024 UDP flows outside. Each is a named constant with its reason.

How to write a bridge
---------------------
A bridge is a class with ``name``, ``Options`` (a frozen msgspec struct, the section of that name in the
configuration; every field has a default and ``__post_init__`` raises ``ValueError("key: what is wrong")``)
and the methods of :class:`userlan.driver.bridge.Bridge`::

    class EchoBridge:
        name = "echo"
        Options = EchoOptions

        def __init__(self, lan, options, store): ...
        def start(self):      # a Deferred; CommandError(one clear line) keeps the node from starting
            return self.lan.server_endpoint(self.options.port).listen(Factory.forProtocol(Echo))
        def stop(self): ...
        def status(self): ...
        def commands(self):   # for the command line
            return {"echo": lambda arguments: {"port": self.options.port}}

Name it in the entry points of your own distribution, group ``userlan.bridges``. ``lan`` is a
:class:`userlan.driver.lan.Lan`: names, addresses, Twisted endpoints and datagram ports of the LAN; ``store`` keeps
one JSON value across restarts. Import nothing of userlan but the public names of ``userlan.driver`` and
``userlan.lan``.
"""
