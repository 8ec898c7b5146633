"""``userlan doctor``: why a neighbour or a service is not seen.

::

    this computer ── look() ──▶ Computer ─┐
      sockets, rules, interfaces          ├─▶ Scene ──▶ rules ──▶ Findings ──▶ lines, JSON, exit status
    the node ── its API: "doctor" ──▶ node ┤
    a peer ── ten echoes ──▶ Echoes ───────┘

A rule is a function of the scene alone: it looks at what was found and yields findings. It does no I/O, so each is tested by a scene that
is written down. What looks, judges nothing.

    finding.py        Finding, Scene, and what they are made of
    computer.py       this computer: driver/sockets.py (who holds which port), firewall.py (which rules drop), rehearsal.py
    computer_rules    what is wrong with this computer, with a node or without one
    node_rules        mediator, networks, router, what was dropped
    peer_rules        one peer: its name, its path
    service_rules     one service: discovery profiles, multicast DNS, ports
    verdict.py        all rules in their order

Levels: ``wrong`` (keeps something from being seen; exit status 1), ``note`` (may matter), ``unseen`` (could not be looked at).
"""
