"""What keeps the discovery relay bounded, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges import discovery_guard
from bridges.discovery_guard import ECHO_WINDOW, FOUND_LIFETIME, MAX_CARRIED, MAX_FOUND_OF_PEER, Bucket, Carried, Found, Sighting


@given(gaps=st.lists(st.floats(0, 2), max_size=60))
def test_no_more_than_the_burst_and_the_rate_pass(gaps: list[float]) -> None:
    bucket, now, passed = Bucket(5.0, 10.0), 100.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
    assert passed <= 10 + 5 * (now - 100.0) + 1e-6


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = Bucket(5.0, 2.0)
    assert [bucket.take(7.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(7.2)


def test_what_was_carried_is_known_for_a_moment_and_by_all_that_it_is() -> None:
    carried = Carried()
    carried.note(5000, 8303, b"who?", 10.0)
    assert carried.knows(5000, 8303, b"who?", 10.0 + ECHO_WINDOW - 0.1)
    assert not carried.knows(5000, 8303, b"who?", 10.0 + ECHO_WINDOW)
    assert not carried.knows(5001, 8303, b"who?", 10.0)
    assert not carried.knows(5000, 8304, b"who?", 10.0)
    assert not carried.knows(5000, 8303, b"who!", 10.0)


def test_the_memory_is_bounded() -> None:
    carried = Carried()
    for number in range(MAX_CARRIED + 1):
        carried.note(5000, 8303, b"%d" % number, 10.0)
    assert not carried.knows(5000, 8303, b"0", 10.0)
    assert carried.knows(5000, 8303, b"1", 10.0)


def sighting(profile: str = "game", key: str = "ben", port: int = 1, seen: float = 0.0) -> Sighting:
    return Sighting(profile, key, key, "25.9.0.2", "127.9.0.2", port, port, "udp", seen)


def test_what_was_found_is_forgotten_when_it_is_silent() -> None:
    found = Found()
    found.note(sighting(port=1, seen=0.0))
    found.note(sighting(port=2, seen=1.0))
    found.note(sighting(port=1, seen=100.0))
    assert [one.peer_port for one in found.listing(100.0)] == [2, 1]
    assert [one.peer_port for one in found.listing(1.0 + FOUND_LIFETIME)] == [1]
    found.note(sighting("other", seen=200.0))
    found.forget("game")
    assert [one.profile for one in found.listing(200.0)] == ["other"]


def test_one_peer_takes_no_more_than_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_guard, "MAX_FOUND", MAX_FOUND_OF_PEER + 2)
    found = Found()
    found.note(sighting(key="anna"))
    for port in range(1, MAX_FOUND_OF_PEER + 10):
        found.note(sighting(port=port))
    listed = found.listing(0.0)
    assert sum(one.key == "ben" for one in listed) == MAX_FOUND_OF_PEER
    assert any(one.key == "anna" for one in listed)
    for number in range(5):
        found.note(sighting(key=f"peer{number}"))
    assert len(found.listing(0.0)) == MAX_FOUND_OF_PEER + 2
