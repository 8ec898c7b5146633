"""A relay chosen for each pair, against a relay chosen for each node, on the measured round trips of real sites.

::

    python -m tests.bench.relays                               the table
    python -m tests.bench.relays --plot FILE.png --csv FILE.csv

Every site is a node; some of them have a relay, too. For each pair of nodes the round trip by way of a relay r, RTT(a, r) + RTT(b, r), is
compared for

- the pair's relay: the first of ``userlan.mediator.relay_ranking.ranked``, what the mediator offers; the nodes' measurements have noise;
- the least of all relays: what could be had at most (the ranking spreads load where the difference is too small to matter);
- a's home relay and b's home relay: the one nearest to that node alone, as systems have it that choose one for each node;
- no relay: the direct round trip.

The last mile is the same by whichever relay, so it is left out. Where the sites' data come from is said in :mod:`.sites`.
"""
