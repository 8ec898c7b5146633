"""Benchmarks: whole systems with real processes, in two namespaces joined by a veth.

Not timed tests: they print a table and fail only on wrong results (a download that is not the file). Figures are compared within
one run, since machines are noisy: each round runs every system once, in turn, and the table shows medians and ratios.

::

    python -m tests.bench                      all systems, 1 GiB, 3 rounds
    python -m tests.bench --size 256 --rounds 1
"""
