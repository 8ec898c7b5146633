"""A place inside the LAN for programs: namespaces of their own, made without privileges (Linux, namespaces(7)).

Goals
-----
* Any program, unmodified, has the node's address and full layer-2 presence, and nobody needs a right for it that every
  user of Linux does not have: who makes a user namespace may do in it what root may, and a network namespace made there
  is its own (user_namespaces(7)).
* Nothing lies between the program and who called it: it is ``exec``'d in the place of the command, so that terminal, job
  control, signals and exit status are its own; nothing is forwarded, so nothing is forwarded wrongly.
* Nothing remains. Namespaces, interface and mounts are the kernel's, and end with the last process that is in them.

::

    userlan run ─┬─ fork ─▶ keeper (userlan.cli.keeper)         in the namespaces, as their root
                 │             making.py     user, network, mount namespace; uid and gid mapped to themselves
                 │             furnishing.py loopback, default routes, ping, low ports; resolver.py: whom names are asked of
                 │             TAP lan0 ── descriptor over the local API ──▶ node (bridges/namespace.py)
                 │             residents.py  ends when the last program has
                 └─ making.enter(keeper) ── exec PROGRAM        in the namespaces, as whoever called, without capabilities
    userlan run ─── making.enter(keeper) ── exec PROGRAM        the next one: the same place

Who is root already (CAP_SYS_ADMIN) gets no user namespace, and stays root; everything else is the same.

Why a keeper, and not the node: a process without privileges cannot enter a network namespace and come back, so that
somebody has to stay in it who opens the device and sets its addresses; and a node that ends or is started anew leaves
the place as it is, with its interface, its connections and its groups, and is handed the interface again.

    calls.py     the system calls that Python 3.11 has not
    refusals.py  why a system refuses, and the remedy
"""
