"""The schedule of one introduction."""

from __future__ import annotations

from itertools import pairwise

from userlan.traversal.attempt import DURATION, MAX_DELAY, OFFSETS, TCP_FROM, Attempt
from userlan.wire.endpoint import Endpoint

UDP = Endpoint("udp", "203.0.113.9", 41414)
TCP = Endpoint("tcp", "203.0.113.9", 41414)


def course(attempt: Attempt, now: float) -> list[tuple[float, tuple[Endpoint, ...]]]:
    """Everything that it asks for, each at its deadline."""
    sent = []
    while not attempt.failed(now):
        now = attempt.deadline()
        endpoints = attempt.due(now)
        if endpoints:
            sent.append((now, endpoints))
    return sent


def test_packets_leave_at_the_scheduled_moments_and_tcp_joins_later() -> None:
    attempt = Attempt((UDP, TCP), 100.0, delay=0.25)
    sent = course(attempt, 100.0)
    assert [round(at - 100.25, 6) for at, _ in sent] == list(OFFSETS)
    assert all((TCP in endpoints) is (at - 100.25 >= TCP_FROM) for at, endpoints in sent)
    assert all(UDP in endpoints for _, endpoints in sent)


def test_nothing_leaves_early_and_a_late_look_sends_once() -> None:
    attempt = Attempt((UDP,), 100.0, delay=1.0)
    assert attempt.due(100.5) == ()
    assert attempt.due(101.6) == (UDP,)
    assert attempt.due(101.6) == ()


def test_patience_stretches_the_intervals_and_gives_time_for_three() -> None:
    """RFC 6298 5: what is repeated before its answer can be there says nothing; a peer that is slow is asked less often, and for longer."""
    attempt = Attempt((UDP,), 100.0)
    attempt.patience = 3.0
    assert [at for at, _ in course(attempt, 100.0)] == [100.0, 103.0, 106.0]
    assert attempt.failed_at == 109.0
    attempt = Attempt((UDP,), 100.0)
    attempt.patience = 0.3
    gaps = [at for at, _ in course(attempt, 100.0)]
    assert min(later - one for one, later in pairwise(gaps)) >= 0.3 - 1e-9
    assert attempt.failed_at == 100.0 + DURATION


def test_tcp_alone_does_not_wait() -> None:
    assert Attempt((TCP,), 5.0).due(5.0) == (TCP,)


def test_an_attempt_ends_and_a_hostile_delay_is_cut() -> None:
    assert Attempt((UDP,), 0.0, delay=1e9).failed_at == MAX_DELAY + DURATION
    assert Attempt((UDP,), 0.0, delay=-1e9).failed_at == DURATION
