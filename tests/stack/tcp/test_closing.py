"""Closing (RFC 9293 3.6, 3.10.4, 3.10.5, 3.10.7.4 eighth), half-close, RST on abort, TIME-WAIT."""

from __future__ import annotations

import pytest

from tests.stack.tcp.scene import LOCAL, PEER_ISN, REMOTE, Scene, established
from userlan.stack.tcp import Config, Events, State, TimeWait
from userlan.wire.tcp import Flags, Segment


def test_closing_first() -> None:
    """RFC 9293 3.6, figure 12, TCP peer A."""
    scene = established()
    scene.connection.shutdown(scene.now)
    assert scene.drain() == ["FIN,ACK seq=0 ack=0"]
    assert scene.state() is State.FIN_WAIT_1
    assert scene.inject("A", ack=1) == []
    assert scene.state() is State.FIN_WAIT_2
    assert scene.inject("FA", ack=1) == ["ACK seq=1 ack=1"]
    assert scene.state() is State.TIME_WAIT
    assert scene.connection.error is None
    assert scene.take_events() == Events.EOF | Events.CLOSED


def test_closing_second() -> None:
    """RFC 9293 3.6, figure 12, TCP peer B."""
    scene = established()
    assert scene.inject("FA") == ["ACK seq=0 ack=1"]
    assert scene.state() is State.CLOSE_WAIT
    assert scene.connection.eof
    assert scene.take_events() == Events.EOF
    scene.connection.shutdown(scene.now)
    assert scene.drain() == ["FIN,ACK seq=0 ack=1"]
    assert scene.state() is State.LAST_ACK
    assert scene.inject("A", at=1, ack=1) == []
    assert scene.state() is State.CLOSED
    assert scene.take_events() == Events.CLOSED


def test_closing_simultaneously() -> None:
    """RFC 9293 3.6, figure 13."""
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    assert scene.inject("FA", ack=0) == ["ACK seq=1 ack=1"]
    assert scene.state() is State.CLOSING
    assert scene.inject("A", at=1, ack=1) == []
    assert scene.state() is State.TIME_WAIT


def test_a_fin_with_the_ack_of_ours_goes_straight_to_time_wait() -> None:
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    assert scene.inject("FA", ack=1) == ["ACK seq=1 ack=1"]
    assert scene.state() is State.TIME_WAIT


def test_a_half_closed_connection_still_receives() -> None:
    """RFC 9293 3.6: the other direction stays open as long as the peer wants."""
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    scene.inject("A", ack=1)
    scene.wait(3600)
    for at in range(0, 5000, 1000):
        scene.inject("A", bytes(1000), at=at, ack=1)
    assert len(scene.read()) == 5000
    scene.inject("FA", at=5000, ack=1)
    assert scene.connection.eof


def test_a_half_closed_peer_can_still_be_sent_to() -> None:
    scene = established()
    scene.inject("FA")
    assert scene.send(b"still here") == ["PSH,ACK seq=0 ack=1 len=10"]
    scene.inject("A", at=1, ack=10)
    assert scene.state() is State.CLOSE_WAIT


def test_the_fin_follows_everything_that_is_queued() -> None:
    scene = established()
    scene.connection.send(bytes(25_000), scene.now)
    scene.connection.shutdown(scene.now)
    assert scene.drain() == ["ACK seq=0 ack=0 len=10000"]
    assert scene.state() is State.FIN_WAIT_1
    assert scene.inject("A", ack=10_000) == ["FIN,PSH,ACK seq=10000 ack=0 len=15000"]
    scene.inject("A", ack=25_000)
    assert scene.state() is State.FIN_WAIT_1
    scene.inject("A", ack=25_001)
    assert scene.state() is State.FIN_WAIT_2


def test_a_lost_fin_is_sent_again() -> None:
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    assert scene.until_next() == ["FIN,ACK seq=0 ack=0"]
    scene.inject("A", ack=1)
    assert scene.state() is State.FIN_WAIT_2


def test_a_fin_out_of_order_waits_for_what_is_missing() -> None:
    scene = established()
    assert scene.inject("FA", b"world", at=5) == ["ACK seq=0 ack=0 sack=5:10"]
    assert scene.state() is State.ESTABLISHED
    assert scene.inject("A", b"hello") == ["ACK seq=0 ack=11"]
    assert scene.state() is State.CLOSE_WAIT
    assert not scene.connection.eof
    assert scene.read() == b"helloworld"
    assert scene.connection.eof


def test_nothing_counts_beyond_a_fin() -> None:
    scene = established()
    scene.inject("FA", at=5)
    scene.inject("A", b"0123456789")
    assert scene.read() == b"01234"
    assert scene.connection.eof
    assert scene.inject("A", b"more", at=6) == ["ACK seq=0 ack=6"]
    assert scene.read() == b""


def test_a_fin_amid_what_arrived_is_no_fin() -> None:
    scene = established()
    scene.inject("A", b"0123456789", at=5)
    scene.inject("FA", at=8)
    scene.inject("A", b"01234")
    assert scene.state() is State.ESTABLISHED
    assert len(scene.read()) == 15


def test_a_repeated_fin_is_acknowledged_again() -> None:
    scene = established()
    scene.inject("FA")
    for _ in range(20):
        assert scene.inject("FA")[0].startswith("ACK seq=0 ack=1")


def test_shutting_down_before_the_handshake_is_complete() -> None:
    scene = Scene(passive=True)
    scene.connection.shutdown(scene.now)
    scene.drain()
    assert scene.inject("A") == ["FIN,ACK seq=0 ack=0"]
    assert scene.state() is State.FIN_WAIT_1


def test_an_active_open_without_data_is_simply_forgotten() -> None:
    """RFC 9293 3.10.4, SYN-SENT."""
    scene = Scene()
    scene.drain()
    scene.connection.shutdown(scene.now)
    assert scene.drain() == []
    assert scene.state() is State.CLOSED
    assert scene.connection.error is None


# ---------------------------------------------------------------------- abort and close


@pytest.mark.parametrize("path", ["", "peer fin", "our fin", "our fin acknowledged"])
def test_abort_resets(path: str) -> None:
    """RFC 9293 3.10.5."""
    scene = established()
    if path == "peer fin":
        scene.inject("FA")
    elif path:
        scene.connection.shutdown(scene.now)
        scene.drain()
        if "acknowledged" in path:
            scene.inject("A", ack=1)
    ack = 1 if path == "peer fin" else 0
    seq = 1 if "our fin" in path else 0
    scene.connection.abort(scene.now)
    assert scene.drain() == [f"RST,ACK seq={seq} ack={ack}"]
    assert scene.connection.error == "aborted"
    assert scene.drain() == []
    assert scene.connection.deadline() is None


def test_aborting_an_active_open_says_nothing() -> None:
    scene = Scene()
    scene.drain()
    scene.connection.abort(scene.now)
    assert scene.drain() == []
    assert scene.connection.error == "aborted"


def test_aborting_drops_what_is_queued() -> None:
    scene = established()
    scene.connection.send(bytes(100_000), scene.now)
    scene.inject("A", b"unread")
    scene.connection.abort(scene.now)
    assert scene.drain() == ["RST,ACK seq=10000 ack=6"]
    assert scene.connection.unsent == 0
    assert not scene.connection.readable


def test_closing_with_unread_octets_resets() -> None:
    """RFC 9293 3.6.1: the peer learns that octets were lost."""
    scene = established()
    scene.inject("A", b"unread")
    scene.connection.close(scene.now)
    assert scene.drain() == ["RST,ACK seq=0 ack=6"]


def test_octets_for_a_closed_receiver_reset() -> None:
    """RFC 9293 3.6.1."""
    scene = established()
    scene.connection.close(scene.now)
    assert scene.drain() == ["FIN,ACK seq=0 ack=0"]
    assert scene.inject("A", ack=1) == []
    assert scene.inject("PA", b"late", ack=1) == ["RST,ACK seq=1 ack=0"]
    assert scene.state() is State.CLOSED


def test_a_closed_connection_still_ends_well_with_a_fin() -> None:
    scene = established()
    scene.connection.close(scene.now)
    scene.drain()
    scene.inject("FA", ack=1)
    assert scene.state() is State.TIME_WAIT
    assert scene.connection.error is None


def test_a_closed_connection_does_not_wait_for_ever_for_the_peers_fin() -> None:
    scene = established()
    scene.connection.close(scene.now)
    scene.drain()
    scene.inject("A", ack=1)
    scene.wait(59)
    assert scene.state() is State.FIN_WAIT_2
    scene.wait(2)
    assert scene.state() is State.CLOSED


def test_closing_what_is_half_closed_starts_the_wait_for_the_peers_fin() -> None:
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    scene.inject("A", ack=1)
    scene.wait(1000)
    scene.connection.close(scene.now)
    scene.wait(61)
    assert scene.state() is State.CLOSED


@pytest.mark.parametrize("first", ["F", "f"])
def test_a_reset_of_a_connection_that_is_closing_is_no_error(first: str) -> None:
    """RFC 9293 3.10.7.4, second: CLOSING and LAST-ACK."""
    scene = established()
    if first == "F":
        scene.inject("FA")
    scene.connection.shutdown(scene.now)
    scene.drain()
    if first == "f":
        scene.inject("FA", ack=0)
    scene.inject("R", at=1)
    assert scene.state() is State.CLOSED
    assert scene.connection.error is None


@pytest.mark.parametrize("call", ["shutdown", "close", "abort"])
def test_a_connection_that_is_over_can_be_closed_again(call: str) -> None:
    scene = established()
    scene.inject("R")
    scene.take_events()
    getattr(scene.connection, call)(scene.now)
    assert scene.drain() == []
    assert scene.take_events() == 0
    assert scene.connection.error == "reset"


# ---------------------------------------------------------------------- TIME-WAIT


def time_wait(**options: object) -> tuple[Scene, TimeWait]:
    scene = established(**options)  # type: ignore[arg-type]
    scene.connection.shutdown(scene.now)
    scene.drain()
    scene.inject("FA", ack=1)
    waiting = scene.connection.time_wait
    assert waiting is not None
    return scene, waiting


def test_time_wait_lasts_two_msl() -> None:
    scene, waiting = time_wait()
    deadline = waiting.deadline()
    assert deadline == scene.now + 60
    waiting.tick(deadline - 1)
    assert waiting.state is State.TIME_WAIT
    waiting.tick(deadline)
    assert waiting.deadline() is None


def test_time_wait_can_be_configured() -> None:
    scene, waiting = time_wait(config=Config(time_wait=2.0))
    assert waiting.deadline() == scene.now + 2


def test_the_connection_itself_serves_in_time_wait_too() -> None:
    scene, _ = time_wait()
    assert scene.inject("FA", ack=1) == ["ACK seq=1 ack=1"]
    scene.wait(61)
    assert scene.state() is State.CLOSED
    assert scene.take_events() == Events.EOF | Events.CLOSED


def test_a_repeated_fin_is_acknowledged_and_the_time_starts_again() -> None:
    """RFC 9293 3.10.7.4, eighth, TIME-WAIT."""
    scene, waiting = time_wait()
    waiting.segment_arrived(scene.segment("FA", ack=1), scene.now + 30)
    assert [scene.brief(segment) for segment in waiting.transmit(scene.now + 30)] == ["ACK seq=1 ack=1"]
    assert waiting.deadline() == scene.now + 90


@pytest.mark.parametrize("at", [0, 1, 500])
def test_a_reset_does_not_end_time_wait(at: int) -> None:
    """RFC 1337 3, F1."""
    scene, waiting = time_wait()
    waiting.segment_arrived(scene.segment("R", at=at), scene.now)
    assert waiting.state is State.TIME_WAIT
    assert waiting.transmit(scene.now) == []


def test_an_ack_that_is_right_is_not_answered_and_others_are_within_limits() -> None:
    scene, waiting = time_wait()
    waiting.segment_arrived(scene.segment("A", at=1, ack=1), scene.now)
    assert waiting.transmit(scene.now) == []
    answers = 0
    for _ in range(100):
        waiting.segment_arrived(scene.segment("PA", b"old", at=-300, ack=1), scene.now)
        answers += len(waiting.transmit(scene.now))
    assert answers == 5


@pytest.mark.parametrize(
    ("at", "gives_way"), [(2, True), (1 << 20, True), (1, False), (0, False), (-(1 << 20), False)]
)
def test_a_newer_syn_may_open_again(at: int, gives_way: bool) -> None:
    """RFC 9293 3.6.1, RFC 6191: by the sequence number."""
    scene, waiting = time_wait()
    syn = scene.segment("S", at=at, ack=None)
    assert waiting.gives_way(syn) is gives_way
    if not gives_way:
        waiting.segment_arrived(syn, scene.now)
        assert len(waiting.transmit(scene.now)) == 1


@pytest.mark.parametrize(("step", "gives_way"), [(1, True), (-1, False)])
def test_a_newer_timestamp_may_open_again(step: int, gives_way: bool) -> None:
    """RFC 6191 2: whatever the sequence number."""
    scene, waiting = time_wait(timestamps=True)
    for at in (-(1 << 20), 1 << 20):
        syn = scene.segment("S", at=at, ack=None, timestamp=(scene.peer_clock + step, 0))
        assert waiting.gives_way(syn) is gives_way


def test_only_a_syn_alone_opens_again() -> None:
    scene, waiting = time_wait()
    for flags in ("SA", "A", "R", "FA"):
        assert not waiting.gives_way(scene.segment(flags, at=1000))


def test_reading_after_the_end() -> None:
    scene = established()
    scene.connection.shutdown(scene.now)
    scene.drain()
    scene.inject("PFA", b"goodbye", ack=1)
    assert scene.state() is State.TIME_WAIT
    assert scene.read() == b"goodbye"
    assert scene.connection.eof


def test_what_comes_after_the_end_is_counted() -> None:
    scene = established()
    scene.inject("R")
    scene.connection.segment_arrived(
        Segment(REMOTE[1], LOCAL[1], PEER_ISN + 1, 0, Flags.ACK, payload=b"late"), scene.now
    )
    assert scene.drain() == []
    assert scene.connection.counters["closed"] == 1
