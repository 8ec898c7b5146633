"""A running node: its parts put together, and everything that it can be asked to do.

::

    cli ── local socket ──┐
                          ├─▶ Commands ─▶ Api (the node's own), the bridges'     one registry: what the command line
    page ── WebSocket ────┘                                                       can ask for, the page can, and the other way around
    NodeProgram: config, state, node (core), engine, bridges, local API, page

``program`` builds and stops it, ``takeover`` starts its bridges and has it follow its configuration (SIGHUP), ``api`` and its siblings
are the commands, ``surroundings`` looks after the network that the computer is in. It names no reactor: that is the command line's, or
that of the program which embeds a node.
"""
