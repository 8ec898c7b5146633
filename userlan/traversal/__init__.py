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

Timers: an attempt sends at 0, 0.1, 0.25, 0.5, 1, 2 and 3.5 s and gives up after 5 s. Framed TCP joins at 2 s.
Limits: 12 candidates an attempt; each target host gets at most 20 packets a second over all attempts.
"""
