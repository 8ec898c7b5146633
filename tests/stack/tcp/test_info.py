"""``Connection.info``: the counterpart of Linux's TCP_INFO."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from tests.stack.tcp.pair import Pair, Path, Side
from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config


def test_a_fresh_connection() -> None:
    scene = Scene()
    info = scene.connection.info(scene.now)
    assert (info.state, info.rtt, info.octets_sent, info.octets_received, info.passive) == ("SYN-SENT", None, 0, 0, False)
    scene.establish()
    info = scene.connection.info(scene.now)
    assert info.state == "ESTABLISHED"
    assert info.rtt == info.min_rtt == pytest.approx(0.010)
    assert (info.octets_sent, info.octets_acknowledged, info.segments_in, info.segments_out) == (0, 0, 1, 2)
    assert (info.mss, info.pmtu, info.ssthresh, info.idle) == (1000, 1040, None, None)
    with pytest.raises(FrozenInstanceError):
        info.cwnd = 1  # type: ignore[misc]


def test_what_is_in_flight_lost_selectively_acknowledged_and_sent_again() -> None:
    scene = established()
    scene.send(bytes(10_000))
    scene.now += 0.010
    scene.inject("A", b"question", sack=((4000, 10_000),))
    info = scene.connection.info(scene.now)
    assert info.octets_sent == scene.connection.sender.nxt - scene.connection.initial - 1 >= 10_000
    assert info.octets_acknowledged == 0
    assert info.sacked == 6000
    assert 1000 <= info.octets_retransmitted <= 4000
    assert info.segments_retransmitted >= 1
    assert info.send_queue == 10_000
    assert (info.octets_received, info.receive_queue, info.out_of_order) == (8, 8, 0)
    assert info.send_window == 60_000


def test_the_ends_of_the_stream_are_no_octets() -> None:
    """FIN and SYN take sequence numbers, but nobody wrote them."""
    scene = established()
    scene.send(b"hello")
    scene.connection.shutdown(scene.now)
    scene.drain()
    scene.inject("FA", b"world", ack=6)
    info = scene.connection.info(scene.now)
    assert (info.octets_sent, info.octets_acknowledged, info.octets_received) == (5, 5, 5)
    assert info.state == "TIME-WAIT"


def test_timeouts_and_back_off() -> None:
    """Without SACK, so that no loss probe comes first."""
    scene = established(sack=False)
    scene.send(b"hello")
    scene.wait(0.9)
    info = scene.connection.info(scene.now)
    assert (info.timeouts, info.backoff, info.octets_retransmitted) == (2, 2, 10)
    assert info.rto == pytest.approx(0.8)


def test_how_long_the_sender_was_busy_and_what_held_it_back() -> None:
    """Linux: tcpi_busy_time, tcpi_rwnd_limited, tcpi_sndbuf_limited."""
    scene = established(Config(send_buffer=50_000, send_buffer_max=50_000), window=5000)
    scene.now += 5.0
    scene.send(bytes(8_000))
    scene.now += 0.5
    info = scene.connection.info(scene.now)
    assert info.busy == pytest.approx(0.5)
    assert info.receive_window_limited == pytest.approx(0.5)
    scene.inject("A", ack=5000, window=60_000)
    scene.now += 0.25
    scene.inject("A", ack=8_000)
    scene.now += 7.0
    info = scene.connection.info(scene.now)
    assert info.busy == pytest.approx(0.75)
    assert info.receive_window_limited == pytest.approx(0.5)
    assert info.idle == pytest.approx(7.25)


def test_a_full_send_buffer_is_what_holds_back() -> None:
    scene = established(Config(send_buffer=5000, send_buffer_max=5000))
    scene.connection.send(bytes(20_000), scene.now)
    scene.drain()
    scene.now += 0.5
    info = scene.connection.info(scene.now)
    assert info.send_buffer_limited == pytest.approx(0.5)
    assert info.send_queue == info.send_buffer == 5000


def test_after_a_transfer_both_ends_agree() -> None:
    pair = Pair(Side(1, 3_000_000), Side(2, 70_000), Path(delay=0.010, loss=0.01), seed=3)
    pair.run(60)
    pair.check()
    assert pair.a.connection is not None
    assert pair.b.connection is not None
    first, second = pair.a.connection.info(pair.now), pair.b.connection.info(pair.now)
    assert first.octets_sent == first.octets_acknowledged == second.octets_received == 3_000_000
    assert second.octets_sent == second.octets_acknowledged == first.octets_received == 70_000
    assert first.octets_retransmitted > 0
    assert first.min_rtt == pytest.approx(0.020, abs=0.002)
    assert first.rtt is not None
    assert first.rtt >= 0.019
    assert first.delivery_rate is not None
    assert second.passive
    assert not first.passive
