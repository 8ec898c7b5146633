"""Curves of the TCP in the simulator, beside theory: virtual time, seeded, no processes, the same on every machine.

::

    python -m tests.bench.curves --out FOLDER               PNG plots (matplotlib), CSV, and the tables on standard output
    python -m tests.bench.curves --out FOLDER --effort 0.1  a tenth of the packets: a look, not a measurement

- *Response*: throughput against loss and round trip for each congestion control, beside the formulas that it was made for
  (:mod:`.theory`). Loss is random, on the way of the data only, and the link has no other limit.
- *Fairness*: flows that share one bottleneck, started one after the other; Jain's index, each flow's share, the queue's delay.
- *Convergence*: the seconds that a newcomer takes to get its share from a flow that has the link for itself.

What theory cannot see: it has no timeouts (its formulas are for losses up to about 1 %), no slow start and no limit of what may be in
flight. Where a curve bends away from its formula, one of these is why, or the implementation is wrong.
"""
