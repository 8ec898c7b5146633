"""The whole matrix of NATs: real nodes and a real mediator in virtual time, every pair of kinds, many seeds a pair.

::

    python -m tests.bench.traversal                                  200 seeds a cell, UDP
    python -m tests.bench.traversal --tcp                            the same boxes where nobody's UDP passes
    python -m tests.bench.traversal --seeds 20 --cells PDF-SR,SI1-SI1 --json FILE
    python -m tests.bench.traversal --population                     what comes out for the population of ``population.py``

A cell is a pair of kinds (:mod:`.kinds`). Of a run, Anna is online and classified; Ben's program starts; once it is welcome he joins
Anna's network, as a user does (:mod:`.cell`). 40 ms one way between the two, 30 ms to the mediator, jitter, eight hops.

Columns (:mod:`.tables`)
------------------------
=============  ======================================================================================================================
direct         share of the seeds in which both nodes show the peer as direct within ``PATIENCE``; the relays have no part in it
theory         what can be achieved (``userlan.traversal.ends.achievable``), told of what the boxes really do; a cell below 97 % of it is
               marked ``!``
median, p95    milliseconds from the moment at which the pair is due at the mediator (both online, one network, both classified or half
               a second old) until both are direct
from start     milliseconds from the start of Ben's program until both are direct, the median
packets        that both sides spent on punching: probes and their answers, measuring requests, SYNs, handshakes to the peer; the median
               and the greatest
=============  ======================================================================================================================

A cell that theory calls impossible must cost less than ``IMPOSSIBLE_COST`` packets, and is marked where it does not.
"""
