"""Traversal: what is sent where and when, so that two ends behind NATs meet.

Goals: a direct path for every pair that can have one; few packets; no harm to third parties, whoever asks for it.

First each end learns what its own NAT does, in RFC 4787's words (``nat``), before anybody has to be met::

    sockets ── requests (observation) ──▶ vantage points: a mediator's ports and addresses, relays
            ◀── from where they are seen, by the same socket, another port, another host ──
    Netcheck (which questions, when) over Asking (sent again) ──▶ Evidence ──▶ classify, allocation ──▶ NatBehaviour, with its evidence
    Lifetime: how long a mapping lives, over hours, by sockets that nobody else uses ──▶ keepalives

Two round trips tell mapping and allocation, a second everything but the lifetime; what could not be decided is measured again. A vantage
answers nobody who does not know its key, nothing that is larger than the question, and nobody but who asked, or who has shown by a cookie
that he is there. Where the router does as it is told, no NAT is in the way at all: ``port_mapping`` asks it by PCP, NAT-PMP or UPnP.

Then they meet. The mediator sees both ends, so it drives: it names each side's candidates to the other and gives each side its own start
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

What is tried for a pair (UDP; EIM with its filter, ADM: address-dependent mapping, incremental or random: a mapping for each destination)::

    one is open, or has a mapped port   reversal: the other one comes           one LAN, IPv6      private and IPv6 candidates
    both EIM                            both send at one moment                 one NAT            by its hairpin, else as two
    a NAT that moves early packets      opened by a packet with a low TTL; whoever faces it waits to be found
    EIM × incremental                   measured, then a window of predicted ports       both incremental   both draw each other's slots
    EIM × random                        birthday: 256 sockets × up to 2,048 ports        ADM × random       likewise, sockets on ADM's side
    a carrier's block of ports          birthday within the block                        random × random    relay
    no UDP                              TCP: simultaneous open (RFC 9293 3.5), from measured local ports, predicted likewise

A pair has several paths: a relay's at once, then direct ones. ``path_choice`` says by which one is sent: direct UDP before TCP before a
relay, then by round trip, with hysteresis.

Once the tunnel is there, ``path_mtu`` finds how large its datagrams may be, for each peer and direction: by probes that
nobody may fragment, answered by the peer's stack (RFC 8899), without any word of a router's::

    base (1280) ──▶ LAN's MTU ──▶ 8920 ──▶ 65,475        up as long as probes are answered, by halves below the first that is not;
                                                         beyond the LAN's MTU once large packets are sent
         └── lost ──▶ 1024 ──▶ as much below 1280 as is carried, for TCP
    large packets are sent: one confirmation in two seconds; three unanswered while the peer is heard ──▶ base, and search again

Timers: a candidate is probed at 0, 0.03, 0.08, 0.16, 0.3, 0.5, 0.8, 1.2, 1.8, 2.6 and 3.5 s after its turn, a punch gives up after 5 s;
an attempt without introduction sends at 0, 0.1, 0.25, 0.5, 1, 2 and 3.5 s, no sooner than answers are known to take.
Framed TCP joins at 2 s, at once where there is no UDP.
A question is repeated after two round trips (0.25 s before one is known), a half longer each time, five times; where silence is an answer,
three times. A netcheck takes 3 s at most, on slow lines 12 s. Lifetime: pauses of 25 to 300 s, 180 s between two.
A probe waits for 1 s, a confirmation for 0.5 s, three of each; larger sizes are tried again after 600 s.
Limits: 64 requests a second and 512 at once of one source address at a vantage; 12 sockets and 24 endpoints a netcheck; 12 candidates an
attempt; 8,192 probes and 256 sockets a punch; each target host gets at most 20 initiations and, after a burst of 3,072, 50 probes a second
over everything that goes on, all targets together 3,000 probes a second.
"""
