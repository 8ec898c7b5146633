"""A seeded network in virtual time, for every test that needs more than one core.

- ``clock``: virtual time; ``link``: one direction of a cable and its faults;
- ``world``: the runner that feeds cores, drains them and wakes them at their deadlines;
- ``lan``: :class:`userlan.stack.Host` to ``Host`` by IP packets, with a router in between;
- ``internet``: cores that speak in datagrams (device, node, mediator) on a tree of switches and NAT boxes; ``packet``: what travels
  there; ``attachment``, ``sockets``, ``tcp``: a process, its sockets, its kernel's connections;
- ``nat``, ``nat_behaviour``, ``nat_allocation``: a box, its axes, its ports.

Everything follows from the seed: the same test takes the same course each time.
"""
