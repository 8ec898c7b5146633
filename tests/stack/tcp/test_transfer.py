"""Two connections and a path between them: what was sent arrives, exactly, however the path treats it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.tcp.pair import Pair, Path, Side, transfer
from userlan.stack.tcp import Config, State

MIB = 1 << 20


@pytest.mark.parametrize("seed", range(6))
def test_a_path_that_does_everything_wrong(seed: int) -> None:
    path = Path(delay=0.010, loss=0.05, duplicate=0.05, reorder=0.10, jitter=0.010)
    pair = Pair(Side(seed, 300_000), Side(seed + 100, 200_000), path, seed=seed)
    pair.run(600)
    pair.check()


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1 << 30),
    st.builds(
        Path,
        delay=st.sampled_from([0.0001, 0.005, 0.080]),
        loss=st.sampled_from([0.0, 0.02, 0.2]),
        duplicate=st.sampled_from([0.0, 0.2]),
        reorder=st.sampled_from([0.0, 0.2]),
        jitter=st.sampled_from([0.0, 0.050]),
        rate=st.sampled_from([0.0, 5e6]),
        queue=st.sampled_from([20_000, 1 << 20]),
    ),
    st.booleans(),
    st.sampled_from([Config(), Config(sack=False), Config(timestamps=False, window_scale=False), Config(nagle=False)]),
)
def test_any_path(seed: int, path: Path, simultaneous: bool, config: Config) -> None:
    pair = Pair(Side(seed, 60_000), Side(seed + 1, 40_000), path, seed=seed, config=config, simultaneous=simultaneous)
    pair.run(3000)
    pair.check()


def test_an_empty_transfer() -> None:
    pair = Pair(Side(1, 0), Side(2, 0), Path())
    assert pair.run(10) < 0.1
    pair.check()


def test_a_simultaneous_open_and_close() -> None:
    """RFC 9293 3.5 figure 8, 3.6 figure 13."""
    pair = Pair(Side(1, 1000), Side(2, 1000), Path(), simultaneous=True)
    pair.run(10)
    pair.check()
    assert all(side.connection is not None and side.connection.state is State.TIME_WAIT for side in (pair.a, pair.b))


def test_a_slow_reader_holds_the_sender_back_and_gets_everything() -> None:
    reader = Side(2, 0, reads_per_second=200_000)
    config = Config(receive_window=100_000, receive_window_max=100_000)
    pair = Pair(Side(1, 2_000_000), reader, Path(), config=config)
    seconds = pair.run(100, poll=0.25)
    pair.check()
    assert 9 < seconds < 12
    assert reader.largest_backlog <= 100_000
    assert pair.a.connection is not None
    assert pair.a.connection.counters["timeout"] == 0


def test_five_percent_loss_and_fifty_milliseconds() -> None:
    pair = transfer(2 * MIB, Path(delay=0.050, loss=0.05))
    assert pair.now - pair.started < 120


def test_a_long_fat_path_is_filled() -> None:
    """100 Mbit/s x 40 ms."""
    total = 40 * MIB
    pair = transfer(total, Path(delay=0.020, rate=100e6))
    assert total * 8 / (pair.now - pair.started) > 80e6


def test_a_long_fat_path_is_filled_beyond_the_first_window() -> None:
    """400 Mbit/s x 50 ms need 2.5 MB: the receive window has to grow, to three times that at most."""
    total = 80 * MIB
    pair = transfer(total, Path(delay=0.025, rate=400e6, queue=4 * MIB))
    assert total * 8 / (pair.now - pair.started) > 280e6
    assert pair.b.connection is not None
    assert 2_400_000 < pair.b.connection.receiver.window.limit <= 8_000_000


def test_a_gigabit_over_a_hundred_milliseconds_is_filled() -> None:
    """12.5 MB have to be in flight: both the receive window and the send buffer grow to hold them."""
    pair = Pair(Side(1, 150 * MIB), Side(2, 0), Path(delay=0.050, rate=1e9, queue=40 * MIB))
    pair.run(2.0)
    before = pair.b.received
    pair.run(2.2)
    assert (pair.b.received - before) * 8 > 0.95 * 0.2 * 1e9
    assert pair.b.connection is not None
    assert 12_500_000 < pair.b.connection.receiver.window.limit <= 65_535 << 9


def test_a_bulk_transfer_leaves_the_queue_short() -> None:
    """A fast path with a deep queue: no more than some milliseconds are in it."""
    pair = transfer(100 * MIB, Path(delay=0.00025, rate=1e9, queue=64 * MIB))
    assert pair.forward.longest_queue < 0.020
    assert 100 * MIB * 8 / (pair.now - pair.started) > 900e6


def test_a_slow_path_with_a_deep_queue_is_not_flooded() -> None:
    """20 Mbit/s, 40 ms, and a queue of 1.6 s: loss never comes, the flight limit has to hold."""
    pair = transfer(20 * MIB, Path(delay=0.020, rate=20e6, queue=4 * MIB))
    assert pair.forward.longest_queue < 0.200
    assert 20 * MIB * 8 / (pair.now - pair.started) > 17e6


@pytest.mark.parametrize("loss", [0.0001, 0.001])
def test_a_little_loss_on_a_long_path_does_not_throttle_below_reno(loss: float) -> None:
    """Mathis et al. 1997: MSS / RTT x 1.22 / sqrt(p); the flight limit must not push it lower."""
    total = 20 * MIB
    pair = transfer(total, Path(delay=0.025, loss=loss))
    model = min(1368 / 0.050 * 1.22 / loss**0.5, 20 * MIB)
    assert total / (pair.now - pair.started) > 0.5 * model


def test_jitter_does_not_collapse_the_flight() -> None:
    """Wi-Fi: a round trip of 5 to 45 ms without any queue."""
    total = 20 * MIB
    pair = transfer(total, Path(delay=0.0025, jitter=0.020, rate=200e6))
    assert total * 8 / (pair.now - pair.started) > 40e6


def test_reordering_costs_little() -> None:
    """A percent of the segments comes 10 ms late; without undoing, the window would stay at some segments."""
    total = 20 * MIB
    pair = transfer(total, Path(delay=0.010, reorder=0.01, rate=200e6))
    assert total * 8 / (pair.now - pair.started) > 100e6


def test_work_is_done_by_the_super_segment() -> None:
    """One ACK and one segment for about 60 KB, once the window is open."""
    pair = transfer(20 * MIB, Path(delay=0.005))
    sent = pair.backward.counters["sent"]
    assert sent < 20 * MIB / 61_560 * 1.5


def test_a_path_that_dies_ends_the_connection() -> None:
    pair = Pair(Side(1, 10 * MIB), Side(2, 0), Path(), config=Config(user_timeout=20.0))
    pair.run(0.05)
    pair.forward.path = pair.backward.path = Path(loss=1.0)
    pair.run(60)
    assert pair.a.connection is not None
    assert pair.a.connection.error == "timeout"
