"""userlan: the LAN over the Internet that just works, without root.

Layers, from the bottom up; a line imports upper lines only, and the siblings of one line never import each other::

    wire        bytes ⇄ values, and the super-packet: one header with up to 64 KB behind it
    stack       a host in memory: IPv4, IPv6, ICMP, UDP, TCP            ┐
    tunnel      WireGuard: handshake, sessions, timers                  │ siblings
    traversal   what to send where, so that two ends meet               │
    lan         addresses, secrets, roster, names, the switch           ┘
    control     typed messages between node, mediator and peers
    mediator    the directory of networks, presence, introductions
    node        one member of the LAN, composed; still no I/O
    driver      everything Twisted: sockets, timers, LAN endpoints
    web         the local page: commands and status over HTTP and WebSocket
    app         a running node: all parts put together, and what it can be asked to do
    cli         the commands; the only place that names the global reactor

``bridges`` (a package of its own) connects local programs with the LAN; it is found by entry points, so that anybody can add one.
"""

__version__ = "0.1.0"
