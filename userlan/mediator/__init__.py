"""The mediator: where nodes meet. It hands out addresses, keeps networks and presence, and introduces members.

Theory of operation
===================

Goals: two members behind any routers start sending to each other at one moment, with the right endpoints; what a node
was told is done survives kill -9; a flood of made-up keys, of rubbish, or of one node's requests costs the others
nothing; a stolen directory holds no secret, and a hostile mediator can neither join a network nor read.

The mediator is a host on the virtual LAN. Nodes are peers of its tunnel, whoever they are (a key needs no permission),
without a pre-shared key; its control service is TCP port 41414 of the address that follows from its own key::

      outer datagrams                                                        introductions, pushes, answers
            │ receive                                                                   ▲
            ▼                                                                           │
    ┌─────────────┐ inner packets, ┌──────┐ control    ┌─────────┐ messages ┌──────┐    │
    │tunnel.Device├───────────────▶│ Host ├───────────▶│ Session ├─────────▶│ Desk ├────┤
    └─────────────┘ source checked └──────┘ connection └─────────┘ paced    └──┬───┘    │
                                                                              ├▶ Requests ──▶ Accounts ──▶ Directory
                                                                              ├▶ Presence   (pings, silence, last seen)
                                                                              └▶ Matchmaker (who meets whom, when)

``service`` composes them; only it touches the tunnel and the host. The identity of a session is the key of the tunnel
peer whose derived address the connection comes from; an inner packet with any other source is dropped and counted.

One session::

    connection ─▶ GREETING ──Hello──▶ READY ──Bye, end of stream, reset, 25 s of silence──▶ ENDED
                     │ 10 s, anything but Hello                                               ▲
                     └────────────────────────────────────────────────────────────────────────┘

An introduction, for each pair that is due::

    PairQueue ──pair──▶ Negotiations ──Measure──▶ the side whose outside port must be predicted
    (who asked, rate)     │   ▲   ▲ └──Introduce──▶ both, with plans, relays and delays: they start together
                          │   │   └─────Outcome──── both ──▶ Experience, Backoff
             SiteLocks ◀──┘   └─ sightings of the vantage (of fresh sockets) ──▶ Background
             one prediction at a time behind one counting NAT

A relay greets likewise (``Hello.kind``) and gets no account, no address and no network: a key to its grants (``PoolKey``), and a place in
the pool of which nodes are told. Each pair that is introduced is offered the best three for it (``relays``, ``relay_ranking``).

A key has one live session: a newer connection takes the place of the older. Members are told that a node is offline
when its session ended, at once.

Files: ``service`` (the core), ``sessions`` and ``session`` (connections), ``desk`` (messages), ``requests`` (create,
join, prove, leave, nick, lock, evict), ``applications`` (who waits for an owner's word), ``accounts`` (who is online,
names, addresses), ``presence``, ``matchmaker`` (``member``, ``link_delay``, ``pair_queue``), ``negotiations``
(``negotiation``, ``site_locks``, ``backoff``, ``experience``, ``background``), ``reach`` (which endpoints are named
to whom), ``vantage_points``, ``relays`` and ``relay_ranking``, ``limits``, ``directory`` and ``schema`` (the
database, the only ones to import SQLAlchemy), ``records`` (its values and interface), ``effects`` and ``events``.

Timers: grants 7 days, renewed 2 days before; a change of the pool told after 1 s; greeting 10 s; pings at 0, 0.25,
0.6 s and every 10 s; silence 25 s; challenge 30 s; a link's first measurement and a member's first word on its NAT
0.6 s; a measurement of ports two round trips and 0.3 s, at most 1.5 s; a lock 8 s, 1 s where somebody does not
answer; one pair at most once in 2 s; after a failed punch 30 s, then twice as long each time up to 32 min; last-seen
times written 2 s after a logout and else every 60 s; a tunnel without a session 30 s.

Limits are in ``limits``, ``pair_queue``, ``site_locks``, ``negotiations``, ``experience`` and ``presence``, each with
the abuse that it stops: sessions 20,000 of which strangers 2,000; 20 messages a second a session; 200 introductions a
second; 16 networks an owner, 64 a member, 1,024 members a network; failed joins 3 a key and 20 a source address before
the wait doubles from 2 s to 15 min.

What it trusts: nothing that a node says of others. Endpoints that it names are those that it saw, on the session or
by a cookie that came back over it (the other family's), or lie in a private network that both ends are in
(``reach``); predicted ports lie on a host at which the member was seen so, and a measured socket counts only from
there. What members say of their punches counts where both sides agree, and for little from one address. A joiner
proves that it knows the network's secret by a signature with the admission key that follows from it; the mediator
holds the public half. An eviction is signed by the owner's key, and so is an approval: members that have seen one such document let
in nobody whom the newest does not name, so that the list of members that the mediator keeps is a proposal to them.
"""
