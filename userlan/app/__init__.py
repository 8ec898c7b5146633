"""A running node: its parts put together, and everything that it can be asked to do.

Theory of operation
===================

Goals: everything that is possible by the command line is possible by the page and by an embedding program, in the same words; whatever
fails at the start says so in one line and leaves nothing behind; a node ends in order: its peers, its router and its neighbours are told.

::

    cli ── local socket ──┐
                          ├─▶ Commands ─▶ Api (the node's own), the bridges'     one registry: what the command line
    page ── WebSocket ────┘                                                       can ask for, the page can, and the other way around
    NodeProgram: config, state, node (core), engine, bridges, local API, page

It names no reactor: that is the command line's, or that of the program which embeds a node. All of it happens in the reactor's thread; only
what blocks (the resolution of a mediator's name, a child process) is waited for elsewhere.

Modules
-------
* ``foreground``: the base of all programs (node, mediator, relay): begin, stand, reload, end. ``notify`` tells systemd how they stand,
  ``log`` writes what they say about themselves.
* ``program``: the node. It builds the parts, starts and stops them, and hands each event of the core to whom it concerns;
  ``takeover`` starts its bridges, and has the node follow its configuration when it is read again (SIGHUP).
  ``embedded_mediator`` is the mediator of a node that knows no other one; ``surroundings`` asks the router for a port and looks for
  neighbours; ``interfaces`` knows this computer's addresses; ``page`` starts the local page; ``narrator`` logs for the cores.
* ``api``: the node's own commands; ``membership_api`` those about networks and members, ``pinging`` the echoes, ``watching`` the status
  as it changes, ``ways`` how a peer is reached, ``advice`` what the doctor finds (a child process: it blocks), ``local_services`` what
  programs of this computer offer.
* ``companions``: further members beside the node, each a process of its own, as children of one of its bridges.
* ``embedding``: ``userlan.Member``, the same program inside somebody else's Twisted process.

Start
-----
1. ``NodeProgram(…)``: memory and key are read from the state folder, which this process holds from here on; the core is made.
2. Sockets are opened; a port that is taken ends it here.
3. The core is given to the engine; its mediator is chosen: the one that was named, those that it remembers, or an embedded one.
4. Surroundings: router and neighbours are asked, now and at each look at the addresses.
5. The local API answers, so that whoever has started the node sees that it lives; the page's address is told once there is a page
   (``when_started``).
6. Bridges, one after the other; then the page.
7. Only now the mediator is spoken to: a node that cannot start is not seen to come and go.
8. ``ready`` once it has an address. A node that was welcomed once has it for life, with or without a mediator.

What fails raises ``StartError`` (or, of a bridge, ``CommandError``), one line. After the start a node goes on whatever happens, but for
one: a new one in the foreground that has not reached its mediator in ``FIRST_TRIES`` tries ends.

Stop
----
The other way around, and what takes time is waited for: what only measures (``ways``, ``advice``), the page, who watches, the bridges; then
the core says goodbye, and the embedded mediator; the router's port is given back, the neighbours are told; the engine sends what is left
and closes the sockets; the memory is saved; the local API ends, and with it whoever waits for that; the folder is let go, the reactor
stopped. To stop twice is to stop once; a stop during the start ends the start.

Timers
------
::

    program.ADDRESS_POLL       3 s      addresses of this computer; surroundings and narrator look along
    program.SAVE_DELAY         0.5 s    from a change of the memory to the disk; a reserved timestamp is written at once
    program.RESOLVE_INTERVAL   30 s     between resolutions of a mediator's name while its link is down
    narrator.DROPS_INTERVAL    30 s     what the tunnels have dropped
    ways.STEP                  5 s      one cell of each peer's ring of ten minutes
    watching.STEP              0.25 s   only while somebody watches, and no oftener than the most eager one asks
    notify.STATUS_INTERVAL     5 s      only where systemd listens; its watchdog at half of the time that it sets
    companions.TELL_INTERVAL   1 s      in a companion: what is new for the node

Limits
------
Who asks is this user, or a page in this user's browser; caps are against mistakes and loops, not against enemies. Clients of the local
API and their requests are bounded by ``driver.local``; here: ``api.MAX_PINGS``, ``watching.MAX_WATCHERS``, ``ways.MAX_RINGS``,
``advice.MAX_WAITING`` and ``PATIENCE``, ``local_services.MAX_TOLD``, ``companions.MAX_LINE``, ``log.MAX_FIELD``. What peers can fill is
bounded in the cores.
"""
