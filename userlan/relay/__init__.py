"""Relays: ciphertext is carried between two ends that have no direct path, by an allocation that both present.

Theory of operation
===================

Goals: a pair has a path one round trip after it is introduced, whatever NATs it is behind; a relay learns nothing and can do no more than
drop; nobody can use it as a weapon; it moves a gigabit a second on one core; it needs no mediator once its grants are out.

::

    mediator ── PoolKey ──▶ relay                      the key with which grants are sealed; kept across restarts
       │    ◀── Serve ────    ▲
       │ Introduce(relays)    │ RELAY_BIND: grant, counter, MAC by the end's secret     (1 round trip)
       ▼                      │ RELAY_BOUND: cookie, who is there
      node a ─────────────────┤
                              │ RELAY_DATA: channel, a tunnel's datagram                 (may follow the BIND at once)
      node b ─────────────────┘

The mediator gives both ends of a pair the same ranked offers: relay, grant, channel, and to each end its own secret (``control.grants``).
An end **binds**: the relay checks the grant's seal and the MAC, and knows the channel, the role and the quota from the datagram alone. What
then comes with the channel's header from one end's address goes to the other's. There is no tunnel between node and relay: the payload
is the ends' own tunnel, which a relay can neither read nor forge; what it can do is drop, delay and repeat, as any router.

Both ends on one relay: each binds at the best two of the same ranked list, and sends by one at which it knows the other to be. It listens
at all where it is bound. When the other is not heard though one sends, the third is bound, too.

A relay dies: unanswered probes tell after 1.5 s under traffic; the stand-by is bound already, on both sides.

Who may do what:

- a channel is made only by a grant of a mediator in whose pool the relay is; a flood of made-up BINDs costs one keyed hash each;
- an address gets at most three times what came from it until it has echoed a cookie (RFC 9000, 8.1), framed TCP proves it by itself;
- a BIND moves an end, so its counter must grow: what was overheard cannot be used again;
- the rate of each client (a tag in its grants) and of each channel is bounded, in octets and packets.

Files: ``datagrams`` (the wire), ``allocation`` (channels, ends, cookies), ``quota``, ``forwarding`` (the fast path), ``core`` (the relay as
the driver feeds it), ``client`` and ``binding`` (the node's side), ``events``.

Timers: an end is absent 90 s after its last BIND; a small datagram waits 2 s for the other end. Client: BIND repeated after 0.25, 0.6, 1.0,
1.5, 2.2 and 3.0 s, framed TCP beside UDP from 1 s on; keepalive 15 s, adapted to the NAT's mapping; probes every 0.25 s after 0.5 s of
silence.

Limits: 20,000 channels, 1,024 of one client; 50 BINDs a second from one source address; 200 Mbit/s a client, 0.25 s of it at once.
"""
