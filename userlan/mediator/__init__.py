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

A key has one live session: a newer connection takes the place of the older. Members are told that a node is offline
when its session ended, at once.

Files: ``service`` (the core), ``sessions`` and ``session`` (connections), ``desk`` (messages), ``requests`` (create,
join, prove, leave, nick, lock, evict), ``accounts`` (who is online, names, addresses), ``presence``, ``matchmaker``,
``reach`` (which endpoints are named to whom), ``limits``, ``directory`` and ``schema`` (the database, the only ones to
import SQLAlchemy), ``records`` (its values and interface), ``effects`` and ``events``.

Timers: greeting 10 s; pings at 0, 0.25, 0.6 s and every 10 s; silence 25 s; challenge 30 s; a link's first measurement
0.5 s; one pair at most once in 2 s; last-seen times written 2 s after a logout and else every 60 s; a tunnel without a
session 30 s.

Limits are in ``limits``, ``matchmaker`` and ``presence``, each with the abuse that it stops: sessions 20,000 of which
strangers 2,000; 20 messages a second a session; 200 introductions a second; 16 networks an owner, 64 a member, 1,024
members a network; failed joins 3 a key and 20 a source address before the wait doubles from 2 s to 15 min.

What it trusts: nothing that a node says of others. Endpoints that it names are those that it saw, or lie in a private
network that both ends are in (``reach``). A joiner proves that it knows the network's secret by a signature with the
admission key that follows from it; the mediator holds the public half. An eviction is signed by the owner's key.
"""
