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
    │    Recovery, CongestionControl         ReceiveWindow ─ its size                  │
    │    FlightLimit, RttEstimator                                                     │
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

**Timers**, all in ``deadline()``: retransmission or window probe (one timer, with back-off, until the user timeout);
delayed ACK (40 ms); keepalive (off unless configured); FIN-WAIT-2 of an abandoned connection (60 s); TIME-WAIT (60
s); handshake (180 s active, 30 s passive).

**Queues and their caps** (:class:`Config`): send buffer 1 to 8 MiB; receive window 1 to 8 MiB, which also bounds what
is kept out of order, in 1024 ranges at most; 1024 runs on the scoreboard; half-open connections by the listener's
backlog; challenge ACKs 5 a second. In flight is bounded by :mod:`.flight_limit`, which says why.

**Not here**: ECN, TCP Fast Open, urgent data (its octets are data), RACK-TLP and CUBIC (the scoreboard and the
congestion interface are made for them).

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
