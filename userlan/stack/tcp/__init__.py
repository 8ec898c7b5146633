"""TCP (RFC 9293) for a host in memory: one connection at a time, sans-IO, in super-segments of up to 64 KB.

Theory of operation
===================

Goals: right towards any peer, a kernel or a hostile one; as fast as Python allows; no bufferbloat; bounded memory.

::

                     application
        send, shutdown │        ▲ receive, take_events
    ┌──────────────────┼────────┼──────────────────────── Connection ──────────────────┐
    │  Sender          ▼        │                                       Receiver       │
    │    SendBuffer ─ chunks    │            ReceiveBuffer ─ chunks in order           │
    │    Scoreboard ─ what is in flight      Reassembly ─ ranges out of order, SACK    │
    │    Recovery ─ what is lost             ReceiveWindow ─ its size                  │
    │    CongestionControl ─ how much                                                  │
    │    FlightLimit, Pacer ─ how fast                                                 │
    │  transmission, timers                                                            │
    │                                                                                  │
    │  handshake, output ── transmit ──▶ segments        segments ──▶ input            │
    └──────────────────────────────────────────────────────────────────────────────────┘
                     host: addresses, ports, IP headers, timers by deadline() and tick()

**The unit** is a :class:`userlan.wire.tcp.Segment` that stands for up to 45 wire segments: one header is built and
parsed, one ACK is sent and processed for all of them. Nothing here loops over wire segments: buffers, the scoreboard
and the congestion window know octets and runs of octets. (About 16 microseconds for a super-segment, both ends and
its ACK together.)

**Positions.** Inside, sequence numbers are integers that do not wrap (:mod:`.seq`).

**States** (RFC 9293 3.3.2)::

    Connection.connect            Listener.segment_arrived(SYN)
          │ SYN                            │ SYN,ACK
          ▼            SYN / SYN,ACK       ▼
       SYN-SENT ─────────────────────▶ SYN-RECEIVED            handshake.py
          │ SYN,ACK / ACK                  │ ACK
          └──────────▶ ESTABLISHED ◀───────┘
      shutdown / FIN │           │ FIN / ACK
                     ▼           ▼
               FIN-WAIT-1     CLOSE-WAIT                       input.py
          FIN / ACK │  │ ACK     │ shutdown / FIN
                    ▼  ▼         ▼
             CLOSING   FIN-WAIT-2  LAST-ACK
              │ ACK       │ FIN / ACK  │ ACK
              ▼           ▼            ▼
            TIME-WAIT ◀───┘          CLOSED                    timewait.py: a light object answers for 2 MSL

**Sending under loss.** What an ACK sets off, each in a file of its own::

    ACK ──▶ Scoreboard ──▶ RttEstimator, FlightLimit (delivery rate), WindowValidation (RFC 7661)
                │
                ├──▶ Rack (RFC 8985)       what is lost: by time, with a window for reordering that D-SACKs lengthen
                ├──▶ TailLossProbe (8985)  did the probe repair a loss?
                ├──▶ Undo (3522, 3708), Frto (5682)      nothing was lost after all: RFC 4015
                ▼
            Recovery ──▶ Prr (RFC 6937)    the window while an episode lasts
                │
                ▼ no episode
            CongestionControl              cubic (RFC 9438) or newreno (5681, 6582), with HyStart++ (9406)

Peers without SACK are served by NewReno's rules (RFC 6582), with limited transmit (RFC 3042) as all are. Marks count as
losses do (:mod:`.ecn`, RFC 3168). ``Config.congestion`` and ``Connection.congestion`` choose the algorithm.

What theory says and what the simulator of the tests gives (``tests/stack/tcp/test_throughput.py``; segments of 1,368
octets, losses at random both ways, means of two seeds)::

    loss    round trip   control    theory            measured      sent again beyond what was lost
    1 %      40 ms       cubic      3.3 Mbit/s        3.6 Mbit/s    none
    1 %      40 ms       newreno    3.3               3.1           none
    0.1 %   100 ms       cubic      4.2               5.7           none
    0.1 %   100 ms       newreno    4.2               4.8           none

    link                                    share of it used    queue at the start, and then
    100 Mbit/s, 2 ms, drop-tail of 50 ms    99.9 %              18 ms, 13 ms
    100 Mbit/s, 20 ms, the same             99.5 %              28 ms, 13 ms
    100 Mbit/s, 80 ms, the same             99.9 %              50 ms (full), 14 ms
    1 Gbit/s, 100 ms, 32 MiB windows        99.9 %              50 ms (full), 13 ms

Theory is SMSS / RTT x max(1.22 / sqrt(p), 1.054 (RTT^3 / p^3)^(1/4)) (Mathis et al. 1997, RFC 9438 5.1). At these rates
CUBIC lives in its Reno-friendly region; it gains on theory, and on a Linux that keeps the smaller alpha throughout,
since W_est grows by a whole segment above the former window (RFC 9438 4.3). On the longest path a slow start overshoots:
what leaves in the round trip before the queue shows is already twice what the path carries.

**Timers**, all in ``deadline()``: retransmission or window probe (one timer, with back-off, until the user timeout); tail
loss probe (two round trips), reordering and pacing; delayed ACK (40 ms); keepalive (off unless configured); FIN-WAIT-2
of an abandoned connection (60 s); TIME-WAIT (60 s); handshake (180 s active, 30 s passive).

**Queues and their caps** (:class:`Config`): send buffer 1 to 32 MiB; receive window 256 KiB to 32 MiB, which also bounds
what is kept out of order, in 1024 ranges at most; both within what the host's budget for all connections leaves
(:mod:`.memory`); 2048 runs on the scoreboard; half-open connections by the listener's backlog; challenge ACKs 5 a second.
In flight is bounded by :mod:`.flight_limit`, which says why. An idle connection takes about 6 KB and no timer.

**Segment sizes.** :mod:`.sizes`: the smallest of what both ends and the path take. The path's is known from the host
(messages of routers, what other connections found), or found out by :mod:`.plpmtud`: black holes are survived, and
messages that contradict what arrived are doubted (RFC 4821, RFC 5927 7).

**Strangers.** A connection ends by a RST only at exactly RCV.NXT, never by a SYN; what is nearly right gets a challenge
ACK (RFC 5961 3 to 5, 7: :mod:`.challenge`). Initial numbers, ports and timestamps cannot be guessed (:mod:`.isn`).
TIME-WAIT ends by no RST (RFC 1337) and gives way only to a SYN that is newer (RFC 6191). ICMP errors end a connection
only while it opens (RFC 5927 5.2). A flood of SYNs costs the flooder its own places (RFC 4987: :mod:`.listener`).

**RFC 9293, appendix B.** Left out of its MUSTs: source routes from the application (MUST-51, MUST-52: RFC 7126 4.3 has
them dropped), and advice to a layer below when R1 is reached (MUST-20 a: there is one way to each peer; but see
:mod:`.plpmtud`, which looks there for a black hole). Beyond its letter: ``input`` takes the ACK of a segment that begins
one octet before RCV.NXT, without which window probes and FINs that cross never end.

**Not here**: TCP Fast Open, accurate ECN (RFC 9768).

**How it is tested**: packet scripts (``tests/stack/tcp/scripts``), each the behaviour of one clause; every state with any
segment; and a state machine that hypothesis plays over two hosts and a bad network, for as long as ``--fuzz-seconds``
says.

What the owner does: after any call of a connection, drain ``transmit``, then ``take_events``, then ask ``deadline``;
``touched`` tells which connections those are. On CLOSED, ``transmit`` once more (there may be a RST), then forget the
connection, or put its ``time_wait`` in its place until that is CLOSED. A SYN for a ``TimeWait`` that ``gives_way``
goes to the listener. Segments for nobody get ``reset_reply``.
"""

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.connection import REASON_PORT, Connection, Endpoint
from userlan.stack.tcp.info import ConnectionInfo
from userlan.stack.tcp.isn import Initial, InitialNumbers
from userlan.stack.tcp.listener import Listener
from userlan.stack.tcp.memory import Memory
from userlan.stack.tcp.resets import reset_reply
from userlan.stack.tcp.state import Events, State
from userlan.stack.tcp.timewait import TimeWait

__all__ = [
    "REASON_PORT",
    "Config",
    "Connection",
    "ConnectionInfo",
    "Endpoint",
    "Events",
    "Initial",
    "InitialNumbers",
    "Listener",
    "Memory",
    "State",
    "TimeWait",
    "reset_reply",
]
