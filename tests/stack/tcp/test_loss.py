"""Losses: fast retransmit and recovery (RFC 5681, 6582, 6675), limited transmit (3042), timeouts (6298), Eifel (3522, 4015)."""

from __future__ import annotations

import pytest

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config, State


def flying(round_trip: float = 0.0, **options: object) -> Scene:
    """Ten segments of 1000 in flight, and more queued; ``round_trip`` has passed since. The window is NewReno's."""
    scene = established(Config(congestion="newreno", pacing=False), **options)
    assert scene.send(bytes(30_000)) == ["ACK seq=0 ack=0 len=10000"]
    scene.now += round_trip
    return scene


def timed_out(scene: Scene) -> None:
    """First the tail loss probe is due, then the retransmission timer."""
    scene.until_next()
    assert scene.connection.counters["loss-probe"] == 1
    assert len(scene.until_next()) == 1
    assert scene.connection.counters["timeout"] == 1


def test_sacked_octets_above_a_gap_start_a_fast_retransmit() -> None:
    """RFC 8985 6.2: of what is missing alone, though nothing else may leave."""
    scene = flying(0.010)
    assert scene.inject("A", sack=((1000, 3001),)) == ["ACK seq=0 ack=0 len=1000"]
    assert scene.connection.sender.congestion.threshold == 5000
    assert scene.connection.counters["fast-retransmit"] == 1


def test_two_segments_above_a_gap_are_reordering() -> None:
    """RFC 8985 6.2: DupThresh; meanwhile new data may leave (limited transmit, RFC 3042)."""
    scene = flying(0.010)
    assert scene.inject("A", sack=((1000, 2000),)) == ["ACK seq=10000 ack=0 len=1000"]
    assert scene.inject("A", sack=((1000, 3000),)) == ["ACK seq=11000 ack=0 len=1000"]
    assert scene.connection.counters["fast-retransmit"] == 0
    scene.inject("A", ack=3000)
    assert scene.connection.counters["retransmitted"] == 0


def test_several_gaps_are_filled_in_order_within_the_window() -> None:
    scene = flying(0.010)
    blocks = ((1000, 2000), (3000, 4000), (5000, 10_000))
    assert scene.inject("A", sack=blocks) == [
        "ACK seq=0 ack=0 len=1000",
        "ACK seq=2000 ack=0 len=1000",
        "ACK seq=4000 ack=0 len=1000",
        "ACK seq=10000 ack=0 len=2000",
    ]
    assert scene.connection.sender.congestion.window == 5000
    scene.now += 0.010
    assert scene.inject("A", ack=4000, sack=blocks[2:]) == ["ACK seq=12000 ack=0 len=2000"]


def test_one_window_is_reduced_once() -> None:
    """RFC 6675 5, RFC 6582 3.2: until the recovery point is reached."""
    scene = flying(0.010)
    scene.inject("A", sack=((5000, 10_000),))
    scene.inject("A", ack=2000, sack=((5000, 10_000),))
    scene.inject("A", ack=4000, sack=((5000, 10_000),))
    assert scene.connection.sender.congestion.threshold == 5000
    scene.inject("A", ack=10_000)
    assert scene.connection.counters["fast-retransmit"] == 1


def test_a_lost_retransmission_is_found_by_what_was_sent_after_it() -> None:
    """RFC 8985 6.2, for retransmissions: without waiting for the timer."""
    scene = flying(0.010)
    assert scene.inject("A", sack=((1000, 10_000),))[0] == "ACK seq=0 ack=0 len=1000"
    assert len(scene.last) > 1
    scene.now += 0.010
    scene.inject("A", sack=((1000, 11_000),))
    scene.now += 0.010
    answers = scene.inject("A", sack=((1000, 14_000),))
    assert "ACK seq=0 ack=0 len=1000" not in answers
    scene.now += 0.010
    answers = scene.inject("A", sack=((1000, 15_000),))
    assert scene.connection.counters["timeout"] == 0
    for _ in range(5):
        scene.now += 0.010
        nxt = scene.connection.sender.nxt - scene.connection.initial - 1
        answers += scene.inject("A", sack=((1000, nxt),))
    assert "ACK seq=0 ack=0 len=1000" in answers


def test_three_duplicate_acks_start_a_fast_retransmit_without_sack() -> None:
    """RFC 5681 3.2."""
    scene = flying(0.010, sack=False)
    assert scene.inject("A") == ["ACK seq=10000 ack=0 len=1000"]
    assert not any("seq=0 " in answer for answer in scene.inject("A"))
    answers = scene.inject("A")
    assert answers[0] == "ACK seq=0 ack=0 len=1000"
    assert scene.connection.sender.congestion.window < 10_000


def test_a_partial_ack_retransmits_the_next_gap_without_sack() -> None:
    """RFC 6582 3.2, step 3."""
    scene = flying(sack=False)
    for _ in range(3):
        scene.inject("A")
    assert scene.inject("A", ack=4000)[0] == "ACK seq=4000 ack=0 len=1000"
    assert scene.inject("A", ack=7000)[0] == "ACK seq=7000 ack=0 len=1000"
    scene.inject("A", ack=scene.connection.sender.nxt - scene.connection.initial - 1)
    assert scene.connection.counters["timeout"] == 0


@pytest.mark.parametrize("fields", [{"window": 61_000}, {"at": 0, "data": b"x"}])
def test_a_window_update_or_data_is_no_duplicate_ack(fields: dict[str, object]) -> None:
    """RFC 5681 2."""
    scene = flying(sack=False)
    for number in range(6):
        changed = dict(fields)
        if "window" in changed:
            changed["window"] = 61_000 + 1000 * number
        scene.inject("A", changed.pop("data", b""), **changed)  # type: ignore[arg-type]
    assert scene.connection.counters["fast-retransmit"] == 0


# ---------------------------------------------------------------------- timeouts


def test_the_timer_sends_the_first_segment_again_and_backs_off() -> None:
    """RFC 6298 5.4 to 5.6, RFC 5681 3.1; a tail loss probe starts it anew (RFC 8985 7.3)."""
    scene = flying()
    assert scene.until_next() == ["ACK seq=10000 ack=0 len=1000"]
    start = scene.now
    times = []
    for _ in range(5):
        assert scene.until_next() == ["ACK seq=0 ack=0 len=1000"]
        times.append(round(scene.now - start, 1))
    assert times == [0.2, 0.6, 1.4, 3.0, 6.2]
    assert scene.connection.sender.congestion.window == 1000


def test_after_a_timeout_slow_start_resumes_and_what_was_sacked_is_not_sent_again() -> None:
    """RFC 6675 5.1: SACK information is kept. The first ACK lets two new segments go (F-RTO, RFC 5682)."""
    scene = flying(0.010)
    assert scene.inject("A", sack=((8000, 10_000),)) == ["ACK seq=10000 ack=0 len=2000"]
    assert scene.until_next() == ["ACK seq=0 ack=0 len=1000"]
    assert scene.wait(0.3) == ["ACK seq=0 ack=0 len=1000"]
    assert scene.connection.sender.congestion.threshold == 2500
    scene.now += 0.010
    assert scene.inject("A", ack=1000, sack=((8000, 10_000),)) == ["ACK seq=12000 ack=0 len=2000"]
    scene.now += 0.010
    kept = ((12_000, 14_000), (8000, 10_000))
    assert scene.inject("A", ack=1000, sack=kept) == ["ACK seq=1000 ack=0 len=2000"]
    scene.now += 0.010
    assert scene.inject("A", ack=3000, sack=kept) == ["ACK seq=3000 ack=0 len=4000"]
    scene.now += 0.010
    answers = scene.inject("A", ack=7000, sack=kept)
    assert answers[:2] == ["ACK seq=7000 ack=0 len=1000", "ACK seq=10000 ack=0 len=2000"]


def test_what_the_receiver_took_back_is_sent_again() -> None:
    """RFC 2018 8: reneging."""
    scene = flying(0.010)
    scene.inject("A", sack=((4000, 6000),))
    scene.inject("A", ack=4000)
    scene.now += 0.3
    scene.connection.tick(scene.now)
    assert scene.drain() == ["ACK seq=4000 ack=0 len=1000"]
    scene.now += 0.010
    scene.inject("A", ack=5000)
    scene.now += 0.001
    assert scene.inject("A", ack=5000, sack=((10_000, 11_000),))[0].startswith("ACK seq=5000 ack=0")


def test_an_ack_restarts_the_timer() -> None:
    """RFC 6298 5.3."""
    scene = flying(0.15, sack=False)
    scene.inject("A", ack=5000)
    deadline = scene.connection.deadline()
    assert deadline is not None
    assert deadline - scene.now >= 0.2


def test_the_timer_stops_when_everything_is_acknowledged() -> None:
    """RFC 6298 5.2."""
    scene = established()
    scene.send(b"abc")
    scene.inject("A", ack=3)
    assert scene.connection.deadline() is None


def test_a_spurious_timeout_is_undone() -> None:
    """Eifel: the first ACK after it echoes a segment of before (RFC 3522 3.2, RFC 4015 3.2)."""
    scene = established(timestamps=True)
    scene.send(bytes(30_000))
    sent = int(scene.now * 1000) & 0xFFFFFFFF
    window = scene.connection.sender.congestion.window
    timed_out(scene)
    scene.now += 0.050
    scene.peer_clock += 1
    answers = scene.inject("A", ack=5000, timestamp=(scene.peer_clock, sent))
    assert scene.connection.sender.congestion.window >= window
    assert all("seq=5000" not in answer for answer in answers)


def test_a_fast_retransmit_because_of_reordering_is_undone_and_the_next_comes_later() -> None:
    """Eifel again, and a path that reorders is waited for by a quarter of the round trip (RFC 8985 6.2, step 4)."""
    scene = established(timestamps=True)
    scene.grow(60_000)
    scene.send(bytes(200_000))
    base = 60_000
    sent = int(scene.now * 1000)
    window = scene.connection.sender.congestion.window
    scene.now += 0.020
    assert f"ACK seq={base} ack=0 len=988" in scene.inject("A", ack=base, sack=((base + 988, base + 5 * 988),))
    assert scene.connection.sender.congestion.window < window
    late = (scene.peer_clock + 1, sent)
    scene.inject("A", ack=base + 5 * 988, timestamp=late)
    assert scene.connection.counters["spurious"] == 1
    assert scene.connection.sender.congestion.window >= window
    base += 5 * 988
    answers = scene.inject("A", ack=base, sack=((base + 988, base + 8 * 988),))
    assert all(f"seq={base} " not in answer for answer in answers)
    assert scene.wait(0.0020) == []
    assert scene.wait(0.0010) == [f"ACK seq={base} ack=0 len=988"]


def test_a_timeout_with_a_reason_is_not_undone() -> None:
    scene = established(timestamps=True)
    scene.send(bytes(30_000))
    timed_out(scene)
    scene.now += 0.050
    again = int((scene.now - 0.050) * 1000) & 0xFFFFFFFF
    scene.peer_clock += 1
    scene.inject("A", ack=988, timestamp=(scene.peer_clock, again))
    assert scene.connection.sender.congestion.threshold < 10_000
    assert scene.connection.sender.congestion.window <= 2 * 988


def test_retransmissions_give_no_sample_without_timestamps() -> None:
    """Karn's algorithm (RFC 6298 3)."""
    scene = flying()
    before = scene.connection.sender.rtt.smoothed
    timed_out(scene)
    scene.now += 5
    scene.inject("A", ack=1000)
    assert scene.connection.sender.rtt.smoothed == before


def test_an_unanswered_connection_is_given_up() -> None:
    """RFC 9293 3.8.3: R2; here after five minutes."""
    scene = flying()
    start = scene.now
    while scene.state() is State.ESTABLISHED:
        scene.until_next()
    assert scene.connection.error == "timeout"
    assert scene.now - start == pytest.approx(300, abs=1)


def test_the_user_timeout_is_kept_to_the_point() -> None:
    """RFC 5482 2, the local part."""
    scene = established(Config(user_timeout=10.0))
    scene.send(b"abc")
    start = scene.now
    while scene.state() is State.ESTABLISHED:
        scene.until_next()
    assert scene.now - start == pytest.approx(10.0, abs=0.01)
    assert scene.connection.error == "timeout"


def test_the_user_timeout_can_be_changed_on_the_way() -> None:
    scene = flying()
    scene.connection.user_timeout = 2.0
    scene.drain()
    scene.wait(2.5)
    assert scene.connection.error == "timeout"


def test_progress_extends_the_user_timeout() -> None:
    scene = established(Config(user_timeout=10.0))
    scene.send(bytes(10_000))
    for ack in range(1000, 9000, 1000):
        scene.wait(8.0)
        scene.inject("A", ack=ack)
    assert scene.state() is State.ESTABLISHED


# ---------------------------------------------------------------------- hostile acknowledgements


def test_blocks_outside_of_the_flight_are_ignored() -> None:
    scene = flying()
    for block in ((-500, -100), (9000, 10_001), (5000, 5000), (6000, 5000), (1 << 30, (1 << 30) + 5)):
        assert scene.inject("A", sack=(block,)) == []
    assert scene.connection.sender.board.sacked == 0
    assert scene.connection.counters["sack-outside"] == 4
    assert scene.connection.counters["d-sack-received"] == 1


def test_dividing_acks_gains_nothing() -> None:
    """Savage et al. 1999, ACK division: growth is by octets."""
    scene = flying()
    for ack in range(100, 10_001, 100):
        scene.inject("A", ack=ack)
    assert scene.connection.sender.congestion.window <= 20_000
