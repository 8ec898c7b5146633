"""Traversal: what is sent where and when, so that two ends behind NATs meet.

Goals: a direct path for every pair that can have one; few packets; no harm to third parties, whoever asks for it.

The mediator sees both ends, so it drives: it names each side's candidates to the other and gives each side its own start
delay, such that both first packets leave together::

    A                         mediator                         B
    |------ Candidates ---------->|<-------- Candidates --------|
    |<-- Introduce(B, delay a) ---|--- Introduce(A, delay b) -->|
    |         (delay a)           |          (delay b)          |
    |=== probe ==================================>   (both leave at one moment:
    |   <================================== probe ===    each opens its own NAT)
    |<==================== answer ==================>|

What is sent are probes (``probe``): 64 octets with a MAC by the introduction's token, answered by 64 octets. Where one passes, the tunnel's
own handshake follows, and only that makes a path. ``plans`` says for each pair of NATs (``nat``, reduced by ``ends``) what is sent beside
the probes to the candidates: its ``techniques`` are steps of a ``Plan`` (``step``), aimed by ``prediction`` after a measurement, and
``punch`` carries one introduction out. ``candidates`` has the rules for which addresses a client may be sent to at all, whatever a
mediator says. ``attempt`` is the schedule of initiations where nobody introduces.

Once the tunnel is there, ``path_mtu`` finds how large its datagrams may be, for each peer and direction: by probes that
nobody may fragment, answered by the peer's stack (RFC 8899), without any word of a router's::

    base (1280) ──▶ LAN's MTU ──▶ 8920 ──▶ 65,475        up as long as probes are answered, by halves below the first that is not
         └── lost ──▶ 1024 ──▶ as much below 1280 as is carried, for TCP
    large packets are sent: one confirmation in two seconds; three unanswered while the peer is heard ──▶ base, and search again

Timers: an attempt sends at 0, 0.1, 0.25, 0.5, 1, 2 and 3.5 s and gives up after 5 s. Framed TCP joins at 2 s.
A question is repeated after two round trips (0.25 s before one is known), a half longer each time, five times; where silence is an answer,
three times. A netcheck takes 3 s at most. Lifetime: pauses of 25 to 300 s, 180 s between two.
A probe waits for 1 s, a confirmation for 0.5 s, three of each; larger sizes are tried again after 600 s.
Limits: 64 requests a second and 512 at once of one source address at a vantage; 12 sockets and 24 endpoints a netcheck; 12 candidates an
attempt; each target host gets at most 20 packets a second over all attempts.
"""
