"""Traversal: what is sent where and when, so that two ends behind NATs meet.

Goals: a direct path for every pair that can have one; few packets; no harm to third parties, whoever asks for it.

The mediator sees both ends, so it drives: it names each side's candidates to the other and gives each side its own start
delay, such that both first packets leave together::

    A                         mediator                         B
    |------ Candidates ---------->|<-------- Candidates --------|
    |<-- Introduce(B, delay a) ---|--- Introduce(A, delay b) -->|
    |         (delay a)           |          (delay b)          |
    |=== handshake initiation ===================>   (both leave at one moment:
    |   <=================== handshake initiation ===    each opens its own NAT)
    |<=================== response =================>|

What is sent is the tunnel's own handshake initiation: it is authenticated, it cannot be forged or amplified (its answer is smaller),
and the first one that passes is the tunnel. ``attempt`` holds the schedule of one introduction, ``candidates`` the
rules for which addresses a client may be sent to at all, whatever a mediator says.

What the own NAT does is measured before (``nat`` has the words, RFC 4787's and RFC 5382's)::

    sockets ── requests (observation) ──▶ vantage points: a mediator's ports and addresses, relays
            ◀── from where they are seen, by the same socket, another port, another host ──
    Netcheck (which questions, when) over Asking (sent again) ──▶ Evidence ──▶ classify, allocation ──▶ NatBehaviour, with its evidence
    Lifetime: how long a mapping lives, over hours, by sockets that nobody else uses ──▶ keepalives

Two round trips tell mapping and allocation, a second everything but the lifetime. A vantage answers nobody who does not know its key,
nothing that is larger than the question, and nobody but who asked, or who has shown by a cookie that he is there.

Where the router does as it is told, no NAT is in the way at all: ``port_mapping`` asks it by PCP, NAT-PMP or UPnP.

A pair has several paths: a relay's at once, then direct ones. ``path_choice`` says by which one is sent: direct UDP before TCP before a
relay, then by round trip, with hysteresis.

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
