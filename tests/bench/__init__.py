"""Benchmarks: whole systems with real processes, in namespaces joined by a veth or a slow link, beside the systems that people use.

Not timed tests: they print tables and fail (exit 1) only on wrong results: a download that is not the file, a connection that died
while it was idle, a peer that was lost. Figures are compared within one run, since machines are noisy: each round runs every system
once, in turn, on the same wire; the tables show medians of the rounds, and ratios.

::

    python -m tests.bench.peers --install            wireguard-go 2023 and yggdrasil 0.5, outside of this folder; once
    python -m tests.bench                            everything: 1 GiB, 3 rounds, about an hour and a half
    python -m tests.bench --section bulk --size 256 --rounds 1 --only userlan --only "wireguard-go 2023"
    python -m tests.bench --json FILE --plots FOLDER     all raw figures; bars and distributions
    python -m tests.bench --row $'userlan, MTU 1280=tunnel:\\n  mtu: 1280'    one more row with other settings
    python -m tests.bench.curves --out FOLDER        the TCP beside theory, in virtual time: see that package

Sections (``--section``)
------------------------
=======  ==============================================================================================================
bulk     HTTP by curl from nginx, one stream and eight at once; iperf3 where there is a kernel interface; the daemons' processor time
         during the single download, the peak of the greatest of them; pings every 10 ms during an endless download, and before it;
         from the start of B's program to its first answered ping
udp      64-byte packets by a sender and a receiver of our own (:mod:`.programs.datagrams` says why): those that arrive of a flood,
         which takes processor time from the system itself, and the highest rate of which at most 1 % are lost
small    HTTP requests one after the other, a connection each: through SOCKS and through a forward for userlan
links    a slow link of our own (:mod:`tests.lab.slow_link`): loss 1 % and 40 ms, loss 0.1 % and 100 ms, 100 Mbit/s with a queue of 50
         ms; goodput beside Linux's CUBIC over the same link and seed, the pair's ratio; the share of the link that carried frames
         and the ping above its idle one. Payload itself cannot reach 100 % of a link: 94.6 % of it are octets of the application for
         plain TCP at an MTU of 1500, about 90.6 % inside a WireGuard tunnel
scale    memory of an idle connection (in the stack alone; in a node that forwards and one that exposes, sockets and bridges included)
         and of an idle peer (real nodes in one process, :mod:`.programs.crowd`), processor time while nothing happens
relay    what one relay held to one core carries of a flood of 1,400 octets, for each second of processor time, and what it loses of a
         steady gigabit, beside coturn (which takes ChannelData off once and puts it on nowhere: the less work) and plain forwarding
chatty   broadcasts and multicasts among fifty members, each with a socket of its own (:mod:`.programs.chatterers`): packets a second that
         one of them seals and hears, and its processor time; and how long fifty take until each has a tunnel to each
company  one node with its page among five hundred members who are all there (:mod:`.programs.residents`): until it has met them, processor
         time at rest and watched, how long its answers take, long tasks and late frames of the page in Chromium (left out where there is
         none), a broadcast and a chat message to all
=======  ==============================================================================================================

Everything on Linux's side uses CUBIC, by route, whatever the host's default is (:meth:`.stage.Stage.use_cubic`): a host that defaults to
BBR shrugs random loss off, and would make the comparison with CUBIC one with BBR.

Systems
-------
``systems/`` has one file a family; what is missing is left out with a line that says how to get it. userlan has a row for each mode:
by the proxy, over UDP alone, with a TAP on both sides.

Parts: ``stage`` where, ``systems`` what, ``sections`` how, ``measure`` with which primitives, ``programs`` processes inside the namespaces,
``tables`` and ``plots`` the outcome, ``peers`` where the others' programs come from.
"""
