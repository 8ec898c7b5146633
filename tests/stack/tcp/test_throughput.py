"""Goodput in the simulator against theory: RFC 9438 5, Mathis et al. 1997, and what a link carries."""

from __future__ import annotations

import pytest

from tests.stack.tcp.pair import HEADERS, Pair, Path, Side, transfer
from userlan.stack.tcp import Config

MIB = 1 << 20
SEGMENT = 1368
SHARE = SEGMENT / (SEGMENT + HEADERS)
"""Of a link that is payload."""


def mathis(loss: float, round_trip: float) -> float:
    """Octets a second of AIMD with Reno's average window: SMSS / RTT x 1.22 / sqrt(p)."""
    return float(SEGMENT / round_trip * 1.22 / loss**0.5)


def cubic(loss: float, round_trip: float) -> float:
    """Octets a second: SMSS / RTT x 1.054 (RTT^3 / p^3)^(1/4) (RFC 9438 5.1, C = 0.4), or Reno's where that is more."""
    return max(float(SEGMENT / round_trip * 1.054 * (round_trip**3 / loss**3) ** 0.25), mathis(loss, round_trip))


def goodput(pair: Pair) -> float:
    assert pair.b.eof_at is not None
    return pair.b.received / (pair.b.eof_at - pair.started)


def fill(path: Path, seconds: float, config: Config | None = None) -> Pair:
    """An endless transfer, after its first seconds."""
    pair = Pair(Side(1, 1 << 40), Side(2, 0), path, config=config)
    pair.run(seconds)
    return pair


@pytest.mark.parametrize(("loss", "round_trip", "mib"), [(0.01, 0.040, 8), (0.001, 0.100, 24), (0.005, 0.020, 8)])
@pytest.mark.parametrize("name", ["cubic", "newreno"])
def test_random_loss(name: str, loss: float, round_trip: float, mib: int) -> None:
    """Near theory (which knows no loss of ACKs and no timeouts), and what is lost alone is sent again."""
    pair = transfer(mib * MIB, Path(delay=round_trip / 2, loss=loss), config=Config(congestion=name))
    model = cubic(loss, round_trip) if name == "cubic" else mathis(loss, round_trip)
    assert goodput(pair) > 0.85 * model
    assert pair.a.connection is not None
    lost = pair.forward.counters["lost"]
    assert pair.a.connection.octets_retransmitted < SEGMENT * (1.1 * lost + 5)


@pytest.mark.parametrize("round_trip", [0.002, 0.020, 0.080])
def test_a_link_with_a_queue_is_filled_and_its_queue_is_not(round_trip: float) -> None:
    """100 Mbit/s and a drop-tail queue of 50 ms: 95 % of the link, and less than 20 ms in the queue after the start."""
    pair = fill(Path(delay=round_trip / 2, rate=100e6, queue=625_000), 2.0)
    before = pair.b.received
    pair.forward.longest_queue = 0.0
    pair.run(pair.now - pair.started + 4.0)
    assert (pair.b.received - before) * 8 / 4.0 > 0.95 * SHARE * 100e6
    assert pair.forward.longest_queue < 0.020


def test_a_gigabit_over_a_hundred_milliseconds_is_filled() -> None:
    """12.5 MB in flight: buffers of 32 MiB."""
    config = Config(receive_window_max=32 * MIB, send_buffer_max=32 * MIB)
    pair = fill(Path(delay=0.050, rate=1e9, queue=6 * MIB), 2.5, config)
    before = pair.b.received
    pair.run(pair.now - pair.started + 1.0)
    assert (pair.b.received - before) * 8 > 0.95 * SHARE * 1e9
