"""What can be chosen for a connection: sizes in octets, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults suit a LAN over the Internet with round trips from 0.2 ms to 300 ms. Sizes in octets, times in
    seconds."""

    # --- segments
    max_mss: int = 65_400
    """Upper bound of the MSS that is offered and used; the path MTU is usually the lower one."""
    burst_segments: int = 45
    """Wire segments in one super-segment: with the tunnel's overhead, 45 packets of 1,420 fill one GSO burst of
    65,507."""
    window_scale: bool = True
    timestamps: bool = True
    sack: bool = True
    """Options that are offered and accepted (RFC 7323, RFC 2018)."""
    ecn: bool = True
    """Explicit congestion notification is offered and accepted (RFC 3168)."""

    # --- buffers
    receive_window: int = 256 * KIB
    """The receive window at the start: slow start needs four round trips to fill it, and it has grown by then; and a peer
    whose octets nobody reads can fill no more."""
    receive_window_max: int = 65_535 << 9
    """It grows to this at most, 32 MiB: twice the product of 1 Gbit/s and 100 ms, and a third more."""
    send_buffer: int = 1 * MIB
    send_buffer_max: int = 32 * MIB
    """Octets that ``send`` takes before it says that it is full: at the start, and grown to twice what is in flight."""
    reassembly_ranges: int = 1024
    """Separate ranges that are kept out of order; more than a lossy 32 MiB window of 64 KB units makes, and bounded
    work."""

    # --- sending
    congestion: str = "cubic"
    """The name of a congestion control in :data:`userlan.stack.tcp.congestion.ALGORITHMS`."""
    pacing: bool = True
    """New data leaves over the round trip where that is 5 ms or longer (RFC 9002 7.7)."""
    initial_window_segments: int = 10
    """RFC 6928."""
    nagle: bool = True
    """Minshall's variant; ``Connection.no_delay`` switches it off for one connection."""
    flight_floor: int = 192 * KIB
    """In flight is never bounded below this on account of the delivery rate."""
    flight_queue_time: float = 0.008
    """The standing queue that a bulk transfer may build at the bottleneck."""

    # --- acknowledgements
    delayed_ack: float = 0.040
    """RFC 1122 4.2.3.2 allows 0.5; interactive use wants less (Linux: 0.04)."""

    # --- retransmission
    rto_min: float = 0.200
    """RFC 6298 2.4 says 1 s; every stack in use has 0.2 to 0.3, which timestamps and F-RTO-like undoing make safe."""
    rto_max: float = 60.0
    """RFC 6298 2.5."""
    rto_initial: float = 1.0
    """RFC 6298 2.1."""
    syn_timeout: float = 180.0
    """R2 of an active open: three minutes (RFC 9293 3.8.3, MUST-23). The application may give up sooner."""
    half_open_timeout: float = 30.0
    """R2 of a passive open: how long an unanswered SYN-ACK holds a place in the backlog."""
    user_timeout: float = 300.0
    """R2 of data: unacknowledged for so long, or a closed window unanswered, ends the connection (RFC 9293 3.9.1, 5
    min; RFC 5482)."""

    # --- idle and closing
    keepalive_idle: float | None = None
    """Idle time before the first keepalive probe; None: off (RFC 1122 4.2.3.6: off by default, and two hours at least
    by default)."""
    keepalive_interval: float = 75.0
    keepalive_probes: int = 9
    """Unanswered probes that end the connection."""
    time_wait: float = 60.0
    """2 MSL. RFC 9293 3.4.2 has an MSL of 2 minutes; 60 s is what Linux keeps, and timestamps let a port be used
    again sooner."""
    fin_wait_2: float = 60.0
    """How long a connection that nobody reads any more waits for the peer's FIN (Linux tcp_fin_timeout)."""
