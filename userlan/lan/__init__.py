"""The virtual LAN as its members know it: who is in it, what they are called, which addresses they have, who may speak.

Goals: a computer has the same addresses for life, wherever it is; a person types a short name; a hostile mediator can
neither read, nor join, nor make a member take an Internet address for one of the LAN; an evicted member is out, with or
without the mediator's consent.

::

    addresses   keys ⇄ addresses ⇄ text, the range and who gets which, the loopback alias
    labels      what a name may be
    hostport    HOST:PORT as people write it
    secrets     a network's secret and all that follows from it; the owner's signing key
    invite      the link userlan://HOST:PORT/KEY/NETWORK#SECRET
    eviction    the signed document that puts members out, hands a new secret to the others, and says whom the owner approved
    approvals   whom the owners approved, and who is listed without that
    roster      networks and members, as claimed and checked
    names       nas, nas.home, nas.home.internal → a member
    switch      address ⇄ peer, on the data path
    listeners   group ⇄ the peers that listen to it
    storm       how much of what goes to many is let through

How a packet crosses the LAN::

    program → bridge → Resolver (name → address) → stack → Switch.route (address → key) → tunnel ~~~ Internet ~~~
    tunnel (key) → Switch.permitted (is the source this key's?) → stack → bridge → program

State: the roster and the switch's table, which change only by what the node feeds them and are rebuilt from the snapshot on disk and
the mediator's claims; and what members have reported to listen to, and sent to many of late, which is forgotten by time.
Every limit is a named constant in its module: 64 networks,
1024 members a network, 63 characters a name, 8 endpoints a link.
"""
