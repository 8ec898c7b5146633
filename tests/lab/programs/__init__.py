"""Real programs, none of them written here: each finds its own kind on the LAN by its own search, and then uses what it found.

A program is a :class:`~tests.lab.programs.place.Program`: it serves at one :class:`~tests.lab.programs.place.Place`, searches and joins
from another, and gives back a :class:`~tests.lab.programs.place.Proof` - a line with what the search found, and one with what was done
with it. It knows nothing of userlan. What is between the two places is a *way* (:mod:`tests.lab.programs.ways`):

    native     one switch: that the method itself is good
    bridge     two nodes without any interface: the sockets of the host, and the bridges of discovery and of mDNS
    run        both programs behind ``userlan run --``
    tap        both computers attached by ``userlan tap``
    bridge-run, run-bridge
               the server behind a bridge and the client in ``run``, and the other way round

Everything but ``userlan tap`` runs as a user without any privilege. Servers never hear where their clients are, and clients are never told
an address: they must find it. ``python -m tests.lab.programs`` prints the table program x way.
"""
