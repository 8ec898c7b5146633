"""The node: one member of the LAN, composed from stack, tunnel, traversal and lan; no I/O.

Theory of operation
===================

Goals: a node that is started reaches its peers within a second, with or without a mediator; what works is never given up for what
somebody says; nothing that a peer or a mediator sends is obeyed without its proof.

::

    mediator ──control messages──> mediation ──> membership ──> roster ──> switch, tunnels' peers
                                       │
                                       └─ Introduce ──> peer_table ──> peers (one PeerLink each) ──> initiations, echoes
    members ──eviction documents──> gossip ──> membership

A packet's way: ``host`` makes it, ``switch`` names the peer, ``device`` seals it; back: ``device`` opens it, ``switch`` checks that the
inner source is the peer's own, ``host`` takes it. A broadcast or multicast: ``flooding`` names the peers.
The mediator is a peer with one address, derived from its key.

Many who come at once, all fifty of a full mesh started by one command, cost each other one handshake a pair, two where both take AES: of
two that know each other's place the second leaves the beginning to the first, whoever has answered an initiation sends none, what is
repeated is repeated at the pace at which answers come, ciphers are told with the first datagram, and nobody is gone who is merely slow.

Parts
-----
``mediators``   which mediators are used (a link to each: ``userlan.control.mediation``), and which one's address counts
``membership``  requests, the roster's changes, evictions; ``ownership``: what the owner of a network asks for
``applications`` networks whose owner approves: for which this node waits, and who waits for its word; ``unapproved``: who is listed
            without it
``blocking``    members with whom this node wants nothing to do
``conductor``   what happened in one part is carried to the others
``peers``       one pair's state: introduction, what its path carries; ``liveness``: whether it is there, by echoes, and how far
``paths``       the paths to one peer: asked one by one (``path_echoes``), chosen (``userlan.traversal.path_choice``), left when dead
``peer_table``  all of them; budget for each target address; ``pace``: how long handshakes take at present, and so how often they are tried
``own_host``    the stack, with the LAN's settings
``intake``      what comes from a tunnel, and who watches
``attachment``  a kernel beside the stack: where its packets go; ``gateway``: what it finds beyond the members
            (``refusal``: what it is told of what does not get there)
``guest``       that kernel at the end of a stock WireGuard tunnel; ``guest_ends``: where such a one reaches this node
``flooding``    broadcasts and multicasts: to whom they go, whose are taken
``bulk``        a TCP connection beside UDP, for bulk alone
``reachability``  the own NAT: when it is measured, whom it is told; ``nat_report`` for people
``whereabouts`` where this node can be reached, and who is told
``sightings``   where a mediator sees this node beside its session: the other family's endpoint, proved to it
``sockets``     the numbers of sockets beside the main one
``neighbours``  what is announced on the local network, and which members are recognised there
``introducer``  members introduce members, where no mediator is there
``gossip``      what members tell each other: evictions, proofs, the ciphers that they take
``keyring``     secrets of networks, pre-shared keys, who proved to know them
``lookup``      who is who, for bridges and embedding programs
``relays``      the pools of relays, the pairs' bindings (``userlan.relay.client``); ``relay_delays``: how far each relay is
``memory``      what survives a restart; ``remembering``: each part's share of it
``status``      the snapshot for people and programs
``config``      the configuration file

Limits: 16 mediators, 64 networks, 1,024 members each, 256 requests under way, 20 packets a second to one target host.
"""
