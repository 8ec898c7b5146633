"""What arrives in a synchronized state: RFC 9293 3.10.7.4, RFC 5961, RFC 7323."""

from __future__ import annotations

import pytest

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config, Events, State

WINDOW = 65_535
"""What the connection offers without window scale."""


# ---------------------------------------------------------------------- step 1: the sequence number


@pytest.mark.parametrize(
    ("at", "size", "answer"),
    [
        (0, 0, []),
        (1, 0, []),
        (WINDOW - 1, 0, []),
        (WINDOW, 0, ["ACK seq=0 ack=0"]),
        (-1, 0, ["ACK seq=0 ack=0"]),
        (-10, 10, ["ACK seq=0 ack=0 sack=-10:0"]),
        (-10, 11, ["ACK seq=0 ack=1 sack=-10:0"]),
        (WINDOW, 1, ["ACK seq=0 ack=0"]),
        (WINDOW - 1, 1, [f"ACK seq=0 ack=0 sack={WINDOW - 1}:{WINDOW}"]),
        (WINDOW - 1, 5, [f"ACK seq=0 ack=0 sack={WINDOW - 1}:{WINDOW}"]),
        (1 << 30, 10, ["ACK seq=0 ack=0"]),
        (-(1 << 30), 10, [f"ACK seq=0 ack=0 sack={-(1 << 30)}:{10 - (1 << 30)}"]),
    ],
)
def test_the_four_cases_of_the_acceptability_test(at: int, size: int, answer: list[str]) -> None:
    scene = established()
    assert scene.inject("A", bytes(size), at=at) == answer


def test_into_a_closed_window_only_acks_and_resets_come() -> None:
    """RFC 9293 3.10.7.4: "special allowance SHOULD be made to accept valid ACKs, URGs, and RSTs"."""
    scene = established(Config(receive_window=2000, receive_window_max=2000))
    assert scene.inject("PA", bytes(2000)) == ["ACK seq=0 ack=2000"]
    assert scene.last[0].window == 0
    scene.send(b"abc")
    assert scene.inject("PA", b"probe", at=2000, ack=3) == ["ACK seq=3 ack=2000"]
    assert scene.connection.unsent == 0
    assert scene.inject("R", at=2000) == []
    assert scene.connection.error == "reset"
    assert len(scene.read()) == 2000


def test_octets_before_and_beyond_the_window_are_cut_off() -> None:
    scene = established(Config(receive_window=1000, receive_window_max=1000))
    scene.inject("A", b"a" * 600)
    assert scene.inject("A", b"b" * 2000, at=500) == ["ACK seq=0 ack=1000 sack=500:600"]
    assert scene.read() == b"a" * 600 + b"b" * 400


def test_overlapping_octets_keep_what_came_first() -> None:
    scene = established()
    scene.inject("A", b"BBBB", at=4)
    scene.inject("A", b"CCCCCCCC", at=2)
    assert scene.inject("A", b"aaaaaaaa", at=0) == ["ACK seq=0 ack=10"]
    assert scene.read() == b"aaCCBBBBCC"


# ---------------------------------------------------------------------- step 2: RST


def test_a_reset_counts_exactly_at_the_next_octet() -> None:
    """RFC 5961 3.2."""
    scene = established()
    assert scene.inject("R", at=-1) == []
    assert scene.inject("R", at=WINDOW + 5) == []
    assert scene.state() is State.ESTABLISHED
    assert scene.inject("R", at=1) == ["ACK seq=0 ack=0"]
    assert scene.inject("R", at=WINDOW - 1) == ["ACK seq=0 ack=0"]
    assert scene.state() is State.ESTABLISHED
    assert scene.inject("R", at=0) == []
    assert scene.connection.error == "reset"
    assert scene.take_events() == Events.CLOSED
    assert scene.connection.deadline() is None


def test_a_reset_of_a_half_open_connection_refuses() -> None:
    """RFC 9293 3.10.7.4, second, SYN-RECEIVED."""
    scene = Scene(passive=True)
    scene.drain()
    assert scene.inject("R", at=0) == []
    assert scene.connection.error == "refused"


def test_what_was_received_before_a_reset_can_be_read() -> None:
    scene = established()
    scene.inject("A", b"last words")
    scene.inject("R", at=10)
    assert scene.read() == b"last words"
    assert not scene.connection.eof


# ---------------------------------------------------------------------- step 4: SYN


@pytest.mark.parametrize("at", [-1, 0, 1, WINDOW - 1, 1 << 30])
@pytest.mark.parametrize("flags", ["S", "SA"])
def test_a_syn_in_a_synchronized_state_is_challenged(at: int, flags: str) -> None:
    """RFC 5961 4.2: whatever its sequence number."""
    scene = established()
    assert scene.inject(flags, at=at) == ["ACK seq=0 ack=0"]
    assert scene.state() is State.ESTABLISHED


def test_challenges_are_limited() -> None:
    """RFC 5961 7."""
    scene = established()
    answers = [scene.inject("S", at=at) for at in range(1, 100)]
    assert sum(map(len, answers)) == 5
    assert scene.connection.counters["challenge-suppressed"] == 94
    scene.now += 1.1
    assert scene.inject("S", at=1) == ["ACK seq=0 ack=0"]


def test_answers_to_answers_end() -> None:
    """Two ends whose numbers do not agree would acknowledge each other's ACKs for ever."""
    scene = established()
    answers = [scene.inject("A", at=-500) for _ in range(1000)]
    assert sum(map(len, answers)) == 5


# ---------------------------------------------------------------------- step 5: ACK


@pytest.mark.parametrize("ack", [1, 100, 1 << 20, -60_001, -(1 << 30)])
def test_an_ack_beyond_what_was_sent_or_far_behind_is_challenged_and_its_data_dropped(ack: int) -> None:
    """RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    scene = established()
    assert scene.inject("PA", b"evil", ack=ack) == ["ACK seq=0 ack=0"]
    assert not scene.connection.readable
    assert scene.state() is State.ESTABLISHED


def test_an_old_ack_within_the_largest_window_is_harmless() -> None:
    scene = established()
    scene.send(bytes(500))
    scene.inject("A", ack=500)
    assert scene.inject("PA", b"data", ack=0) == []
    assert scene.read() == b"data"


def test_a_segment_without_ack_is_dropped() -> None:
    """RFC 9293 3.10.7.4, fifth."""
    scene = established()
    assert scene.inject("", b"data") == []
    assert scene.inject("P", b"data") == []
    assert not scene.connection.readable
    assert scene.connection.counters["ack-missing"] == 2


def test_an_optimistic_ack_does_not_grow_the_window() -> None:
    """Savage et al. 1999: acknowledging what was not sent yet gains nothing."""
    scene = established()
    scene.send(bytes(20_000))
    before = scene.connection.sender.congestion.window
    for ack in range(20_001, 40_000, 1000):
        scene.inject("A", ack=ack)
    assert scene.connection.sender.congestion.window == before


def test_windows_of_old_segments_do_not_replace_newer_ones() -> None:
    """RFC 9293 3.10.7.4: SND.WL1 and SND.WL2."""
    scene = established(window=10_000)
    scene.inject("A", b"x", at=0, window=5000)
    scene.inject("A", b"", at=1, window=3000)
    scene.inject("A", b"y", at=0, window=9000)
    assert scene.connection.sender.window == 3000


# ---------------------------------------------------------------------- step 6: urgent data


def test_urgent_data_is_data() -> None:
    scene = established()
    segment = scene.segment("UPA", b"out of band")
    segment.urgent = 5
    scene.connection.segment_arrived(segment, scene.now)
    assert scene.read() == b"out of band"


# ---------------------------------------------------------------------- timestamps


def test_paws_drops_and_acknowledges_an_old_duplicate() -> None:
    """RFC 7323 5.3, R1."""
    scene = established(timestamps=True)
    clock = scene.peer_clock
    assert scene.inject("PA", b"old", timestamp=(clock - 10, 0)) == ["ACK seq=0 ack=0"]
    assert not scene.connection.readable
    assert scene.inject("PA", b"new", timestamp=(clock + 1, 0)) == ["ACK seq=0 ack=3"]
    assert scene.connection.counters["paws"] == 1


def test_paws_does_not_save_a_connection_from_a_reset() -> None:
    """RFC 7323 5.2: a RST is not subject to PAWS."""
    scene = established(timestamps=True)
    scene.inject("R", at=0, timestamp=(1, 0))
    assert scene.connection.error == "reset"


def test_a_segment_without_the_agreed_timestamp_is_dropped() -> None:
    """RFC 7323 3.2."""
    scene = established(timestamps=True)
    scene.timestamps = False
    assert scene.inject("PA", b"data") == []
    assert scene.connection.counters["timestamp-missing"] == 1
    scene.inject("R", at=0)
    assert scene.connection.error == "reset"


def test_the_echo_is_of_the_segment_that_is_acknowledged() -> None:
    """RFC 7323 4.3: TS.Recent is taken from what lies at or before Last.ACK.sent."""
    scene = established(timestamps=True)
    known = scene.peer_clock
    scene.inject("A", bytes(100), at=500, timestamp=(known + 50, 0))
    assert scene.last[0].timestamp is not None
    assert scene.last[0].timestamp[1] == known
    scene.inject("A", bytes(500), at=0, timestamp=(known + 60, 0))
    assert scene.last[0].timestamp[1] == known + 60


def test_every_segment_carries_a_timestamp() -> None:
    """RFC 7323 3.2."""
    scene = established(timestamps=True)
    scene.send(bytes(3000))
    assert all(segment.timestamp is not None for segment in scene.last)
    scene.connection.abort(scene.now)
    scene.drain()
    assert scene.last[0].timestamp is not None
