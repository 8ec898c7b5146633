"""Presence: pings when due, silence noticed, last-seen times written in batches."""

from __future__ import annotations

import pytest

from userlan.mediator.presence import (
    FIRST_PINGS,
    PING_INTERVAL,
    SILENCE,
    WRITE_BATCH,
    WRITE_INTERVAL,
    WRITE_SOON,
    Presence,
)

WALL = 1_000_000.0


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def run(presence: Presence, now: float, end: float, hearing: bool) -> tuple[list[float], list[float]]:
    """Pings and give-ups of node 1, with only the ticks that ``deadline`` asks for."""
    pings: list[float] = []
    overdue: list[float] = []
    while True:
        deadline = presence.deadline()
        if deadline is None or deadline > end:
            return pings, overdue
        now = max(now, deadline)
        ping, late = presence.due(now)
        presence.to_write(now)
        pings += [now] * len(ping)
        overdue += [now] * len(late)
        if hearing:
            presence.heard(key(1), now)
        for gone in late:
            presence.departed(gone, now)


def test_pings_at_login_and_then_regularly() -> None:
    presence = Presence(WALL, 100.0)
    presence.arrived(key(1), 100.0)
    pings, overdue = run(presence, 100.0, 145.0, hearing=True)
    first = [100.0 + offset for offset in FIRST_PINGS]
    assert pings == pytest.approx([*first, *(100.0 + PING_INTERVAL * number for number in range(1, 5))])
    assert overdue == []


def test_silence_is_noticed_after_its_time_and_not_before() -> None:
    presence = Presence(WALL, 100.0)
    presence.arrived(key(1), 100.0)
    presence.heard(key(1), 103.0)
    _, overdue = run(presence, 100.0, 150.0, hearing=False)
    assert overdue == pytest.approx([103.0 + SILENCE])
    assert not presence.online(key(1))


def test_a_newer_session_supersedes_the_older() -> None:
    presence = Presence(WALL, 100.0)
    presence.arrived(key(1), 100.0)
    presence.arrived(key(1), 120.0)
    pings, overdue = run(presence, 120.0, 130.5, hearing=True)
    assert pings == pytest.approx([*(120.0 + offset for offset in FIRST_PINGS), 130.0])
    assert overdue == []
    assert len(presence) == 1


def test_last_seen_is_known_at_once_and_written_soon_after_a_logout() -> None:
    presence = Presence(WALL, 100.0)
    presence.arrived(key(1), 100.0)
    presence.heard(key(1), 110.0)
    assert presence.last_seen(key(1)) == WALL + 110.0
    presence.departed(key(1), 112.0)
    assert presence.last_seen(key(1)) == WALL + 110.0
    assert presence.to_write(112.0) == {}
    assert presence.deadline() == 112.0 + WRITE_SOON
    assert presence.to_write(112.0 + WRITE_SOON) == {key(1): WALL + 110.0}
    assert presence.last_seen(key(1)) is None
    assert presence.deadline() is None


def test_packets_do_not_cause_writes() -> None:
    presence = Presence(WALL, 0.0)
    presence.arrived(key(1), 0.0)
    written = []
    for step in range(1, 601):
        now = step * 0.5
        presence.heard(key(1), now)
        written += list(presence.to_write(now).values())
    assert len(written) == pytest.approx(300.0 / WRITE_INTERVAL, abs=1)
    assert written == sorted(written)


def test_a_write_is_bounded_and_goes_on_soon() -> None:
    presence = Presence(WALL, 0.0)
    for number in range(WRITE_BATCH + 10):
        presence.arrived(key(number), 0.0)
    for number in range(WRITE_BATCH + 10):
        presence.departed(key(number), 1.0)
    assert len(presence.to_write(10.0)) == WRITE_BATCH
    assert presence.deadline() == 10.0 + WRITE_SOON
    assert len(presence.to_write(10.0 + WRITE_SOON)) == 10


def test_an_orderly_end_writes_everybody() -> None:
    presence = Presence(WALL, 0.0)
    presence.arrived(key(1), 0.0)
    presence.arrived(key(2), 0.0)
    presence.heard(key(1), 5.0)
    presence.departed(key(2), 3.0)
    assert presence.all_unwritten() == {key(1): WALL + 5.0, key(2): WALL}
