"""Closed windows (RFC 9293 3.8.6.1), keepalive (3.8.4)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config, State


def blocked(config: Config | None = None) -> Scene:
    """The peer's window is closed and octets wait."""
    scene = established(config, window=5000)
    scene.send(bytes(20_000))
    assert scene.inject("A", ack=5000, window=0) == []
    return scene


def test_a_closed_window_is_probed_with_one_octet_and_back_off() -> None:
    scene = blocked()
    start = scene.now
    times = []
    for _ in range(10):
        assert scene.until_next() == ["ACK seq=5000 ack=0 len=1"]
        times.append(scene.now - start)
        scene.inject("A", ack=5000, window=0)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0], rel=0.01)
    assert scene.connection.sender.congestion.window >= 5000


def test_a_window_that_opens_lets_go_at_once() -> None:
    scene = blocked()
    scene.until_next()
    assert scene.inject("A", ack=5000, window=5000) == ["ACK seq=5000 ack=0 len=5000"]


def test_a_window_that_flutters_makes_nothing_leave_again() -> None:
    """Two ACKs of 40 octets each would else call forth the whole window, as often as the peer likes."""
    scene = established(window=60_000)
    scene.send(bytes(10_000))
    for _ in range(10):
        scene.now += 0.001
        assert scene.inject("A", ack=0, window=0) == []
        assert scene.inject("A", ack=0, window=60_000) == []
    assert scene.wait(1.0)[0] == "PSH,ACK seq=9000 ack=0 len=1000"


def test_what_was_in_flight_when_the_window_closed_for_long_leaves_again() -> None:
    """The receiver had no room for it (RFC 9293 3.8.6): that it would come is not waited for any more."""
    scene = established(window=60_000)
    scene.send(bytes(10_000))
    scene.inject("A", ack=0, window=0)
    assert scene.until_next() == ["ACK seq=0 ack=0 len=1"]
    assert scene.inject("A", ack=0, window=60_000) == ["PSH,ACK seq=0 ack=0 len=10000"]


def test_a_probe_that_was_taken_counts() -> None:
    scene = blocked()
    scene.until_next()
    scene.inject("A", ack=5001, window=0)
    assert scene.connection.unsent == 14_999
    assert scene.state() is State.ESTABLISHED
    assert scene.inject("A", ack=5001, window=3000) == ["ACK seq=5001 ack=0 len=3000"]


def test_without_a_probe_the_octet_beyond_may_not_be_acknowledged() -> None:
    scene = blocked()
    assert scene.inject("A", ack=5001, window=5000) == ["ACK seq=5000 ack=0"]
    assert scene.connection.unsent == 15_000


def test_our_acks_stay_acceptable_while_a_probe_is_out() -> None:
    """A probe does not move SND.NXT, else both ends of a closed pair of windows would refuse each other's ACKs."""
    scene = blocked()
    scene.until_next()
    assert scene.inject("PA", b"data", ack=5000, window=0) == ["ACK seq=5000 ack=4"]


def test_a_peer_that_answers_probes_is_kept() -> None:
    """RFC 9293 3.8.6.1: "MUST NOT close" while the peer acknowledges."""
    scene = blocked()
    for _ in range(40):
        scene.until_next()
        scene.inject("A", ack=5000, window=0)
    assert scene.state() is State.ESTABLISHED


def test_a_peer_that_answers_no_probe_is_given_up() -> None:
    scene = blocked(Config(user_timeout=100.0))
    start = scene.now
    while scene.state() is State.ESTABLISHED:
        scene.until_next()
    assert scene.connection.error == "timeout"
    assert scene.now - start == pytest.approx(100, abs=1)


def test_an_abandoned_connection_is_not_held_by_a_closed_window() -> None:
    scene = blocked(Config(user_timeout=100.0))
    scene.connection.close(scene.now)
    start = scene.now
    while scene.state() is not State.CLOSED:
        scene.until_next()
        scene.inject("A", ack=5000, window=0)
        assert scene.now - start < 200


def test_what_was_in_flight_when_the_window_shrank_is_probed_and_then_sent_again() -> None:
    scene = established(window=10_000)
    scene.send(bytes(10_000))
    scene.inject("A", ack=2000, window=0)
    assert scene.until_next() == ["ACK seq=2000 ack=0 len=1"]
    window = scene.connection.sender.congestion.window
    answers = scene.inject("A", ack=2000, window=10_000)
    assert answers == ["PSH,ACK seq=2000 ack=0 len=8000"]
    assert scene.connection.sender.congestion.window == window


def test_a_fin_goes_into_a_closed_window_and_is_probed() -> None:
    scene = established(window=3000)
    scene.send(bytes(3000))
    scene.inject("A", ack=3000, window=0)
    scene.connection.shutdown(scene.now)
    assert scene.drain() == ["FIN,ACK seq=3000 ack=0"]
    assert scene.until_next() == ["FIN,ACK seq=3000 ack=0"]
    scene.inject("A", ack=3001, window=0)
    assert scene.state() is State.FIN_WAIT_2


# ---------------------------------------------------------------------- keepalive

KEEPALIVE = Config(keepalive_idle=60.0, keepalive_interval=10.0, keepalive_probes=3)


def test_there_is_no_keepalive_unless_it_is_asked_for() -> None:
    scene = established()
    assert scene.connection.deadline() is None


def test_an_idle_peer_is_asked_with_the_octet_before() -> None:
    """RFC 9293 3.8.4: SEG.SEQ = SND.NXT - 1, without data."""
    scene = established(KEEPALIVE)
    assert scene.wait(59.9) == []
    assert scene.wait(0.2) == ["ACK seq=-1 ack=0"]
    scene.inject("A")
    assert scene.wait(59.9) == []
    assert scene.wait(0.2) == ["ACK seq=-1 ack=0"]


def test_a_peer_that_does_not_answer_is_given_up_with_a_reset() -> None:
    scene = established(KEEPALIVE)
    assert scene.wait(89.0) == ["ACK seq=-1 ack=0"] * 3
    assert scene.wait(2.0) == ["RST,ACK seq=0 ack=0"]
    assert scene.connection.error == "timeout"


def test_a_peers_keepalive_is_answered() -> None:
    scene = established()
    assert scene.inject("A", at=-1) == ["ACK seq=0 ack=0"]
    scene.now += 100
    assert scene.inject("A", b"x", at=-1) == ["ACK seq=0 ack=0 sack=-1:0"]


def test_keepalive_can_be_asked_for_and_given_up_on_the_way() -> None:
    scene = established()
    scene.connection.keep_alive(30.0, scene.now)
    assert scene.wait(31.0) == ["ACK seq=-1 ack=0"]
    scene.inject("A")
    scene.connection.keep_alive(None, scene.now)
    assert scene.connection.deadline() is None
