"""The timers of the sending half.

- ``timer_at``: retransmission (RFC 6298) while something is in flight and the peer's window is open, else window probes
  (RFC 9293 3.8.6.1), both with back-off and until the user timeout;
- ``wake_at``, the earliest of the tail loss probe (RFC 8985 7.2), the reordering timer (RFC 8985 6.2, step 5) and the
  pacer.

RFC 8985 8 has one timer for all but the pacer; here the probe's is never later than the retransmission's, and sending a
probe starts the latter anew, which comes to the same.
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.recovery import Episode
from userlan.stack.tcp.sender import Sender


def arm(sender: Sender, now: float) -> None:
    """After sending: the timers run while something is in flight or held back by the peer's window, and only then."""
    board = sender.board
    if board:
        if sender.timer_at == inf:
            _start(sender, now)
        recovery = sender.recovery
        wake = recovery.rack.due
        blocked = sender.pacer.blocked
        if blocked < wake:
            wake = blocked
        if (
            not sender.sack
            or board.sacked
            or sender.tlp.end is not None
            or recovery.episode is not Episode.NONE
            or not (sender.window and sender.measured)
        ):
            sender.probe_at = inf
        elif sender.probe_at == inf:
            pto = sender.tlp.timeout(sender.rtt, sender.nxt - sender.una, sender.segment)
            sender.probe_at = min(now + pto, sender.timer_at)
        sender.wake_at = sender.probe_at if sender.probe_at < wake else wake
    elif sender.end > sender.nxt:
        sender.wake_at = sender.pacer.blocked
        if sender.timer_at == inf:
            sender.progress_at = now
            _start(sender, now)
    else:
        sender.timer_at = sender.wake_at = inf


def _start(sender: Sender, now: float) -> None:
    sender.timer_at = min(now + sender.rtt.timeout, max(now, sender.progress_at + sender.user_timeout))


def wake(sender: Sender, now: float) -> None:
    """``wake_at`` has come: what is due becomes visible in ``next_run``."""
    sender.wake_at = inf
    sender.pacer.blocked = inf
    if not sender.board:
        return
    if sender.recovery.rack.due <= now:
        sender.recovery.reordering_timer(sender.una, sender.nxt, sender.segment, sender.base, now)
    if sender.probe_at <= now:
        sender.probe_at = inf
        if sender.recovery.episode is Episode.NONE and sender.progress_at + sender.user_timeout > now:
            sender.tlp.due = True
            sender.timer_at = now + sender.rtt.timeout


def expired(sender: Sender, now: float) -> bool:
    """``timer_at`` has come. False: the peer has not answered for the user timeout, the connection is to be given up."""
    if now >= sender.progress_at + sender.user_timeout:
        return False
    if sender.board and sender.window:
        sender.counters["timeout"] += 1
        sender.tlp.cancel()
        sender.recovery.timeout(sender.una, sender.nxt, sender.segment, sender.base, now)
    else:
        sender.counters["window-probe"] += 1
        if sender.window:
            sender.override = True
        else:
            sender.probe_due = True
            sender.probed = sender.probed or sender.una == sender.nxt
    sender.rtt.back_off()
    _start(sender, now)
    return True
