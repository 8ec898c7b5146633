"""When ACKs leave and what they say: RFC 9293 3.8.6.3, RFC 5681 4.2, RFC 2018, RFC 2883, receive windows."""

from __future__ import annotations

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config


def conversing() -> Scene:
    """A connection on which data was just sent, so that an answer may be expected to carry the ACK."""
    scene = established()
    scene.send(b"request")
    scene.inject("A", ack=7)
    return scene


def test_a_short_segment_is_acknowledged_after_40_ms() -> None:
    scene = conversing()
    assert scene.inject("PA", b"abc", ack=7) == []
    assert scene.wait(0.039) == []
    assert scene.wait(0.002) == ["ACK seq=7 ack=3"]
    assert scene.wait(1.0) == []


def test_data_carries_the_ack() -> None:
    scene = conversing()
    scene.inject("PA", b"abc", ack=7)
    assert scene.send(b"answer") == ["PSH,ACK seq=7 ack=3 len=6"]
    scene.inject("A", at=3, ack=13)
    assert scene.wait(1.0) == []


def test_two_segments_are_acknowledged_at_once() -> None:
    """RFC 5681 4.2: an ACK for every second full segment."""
    scene = conversing()
    assert scene.inject("A", bytes(1000), ack=7) == []
    assert scene.inject("A", bytes(1000), at=1000, ack=7) == ["ACK seq=7 ack=2000"]


def test_a_super_segment_is_acknowledged_at_once_and_once() -> None:
    scene = conversing()
    assert scene.inject("A", bytes(45_000), ack=7, unit=1000) == ["ACK seq=7 ack=45000"]


def test_a_batch_gets_one_ack() -> None:
    scene = conversing()
    for at in range(0, 40_000, 10_000):
        scene.connection.segment_arrived(scene.segment("A", bytes(10_000), at=at, ack=7, unit=1000), scene.now)
    assert scene.drain() == ["ACK seq=7 ack=40000"]


def test_the_end_of_a_burst_is_acknowledged_at_once_when_nothing_was_sent_lately() -> None:
    scene = established()
    assert scene.inject("A", b"abc") == []
    assert scene.inject("PA", b"def", at=3) == ["ACK seq=0 ack=6"]


def test_what_is_out_of_order_or_fills_a_gap_is_acknowledged_at_once() -> None:
    """RFC 5681 4.2."""
    scene = conversing()
    assert scene.inject("A", bytes(100), at=500, ack=7) == ["ACK seq=7 ack=0 sack=500:600"]
    assert scene.inject("A", bytes(100), at=900, ack=7) == ["ACK seq=7 ack=0 sack=900:1000 sack=500:600"]
    assert scene.inject("A", bytes(500), at=0, ack=7) == ["ACK seq=7 ack=600 sack=900:1000"]
    assert scene.inject("A", bytes(300), at=600, ack=7) == ["ACK seq=7 ack=1000"]
    assert scene.inject("A", b"x", at=1000, ack=7) == []


def test_a_duplicate_is_acknowledged_at_once_with_what_it_repeated() -> None:
    """RFC 2883 4.1."""
    scene = conversing()
    scene.inject("A", bytes(2000), ack=7)
    assert scene.inject("A", bytes(500), at=1000, ack=7) == ["ACK seq=7 ack=2000 sack=1000:1500"]


def test_a_batch_with_many_gaps_gets_as_many_acks_as_tell_of_all() -> None:
    scene = established(timestamps=True)
    for at in range(1000, 9000, 1000):
        scene.connection.segment_arrived(scene.segment("A", bytes(500), at=at), scene.now)
    answers = scene.drain()
    assert [len(segment.sack) for segment in scene.last] == [2, 3, 3]
    told = {block for answer in answers for block in answer.split() if block.startswith("sack")}
    assert told == {f"sack={at}:{at + 500}" for at in range(1000, 9000, 1000)}


def test_four_blocks_without_timestamps() -> None:
    """RFC 2018 3."""
    scene = established()
    for at in range(1000, 6000, 1000):
        scene.inject("A", bytes(500), at=at)
    assert len(scene.last[0].sack) == 4


def test_without_sack_every_segment_out_of_order_is_a_duplicate_ack() -> None:
    """RFC 5681 3.2: the sender counts three."""
    scene = established(sack=False)
    assert scene.inject("A", bytes(500), at=1000) == ["ACK seq=0 ack=0"]
    assert scene.inject("A", bytes(5000), at=2000, unit=1000) == ["ACK seq=0 ack=0"] * 3


def test_data_carries_no_sack_so_that_its_size_is_right() -> None:
    scene = established()
    scene.connection.segment_arrived(scene.segment("A", bytes(500), at=1000), scene.now)
    assert scene.send(bytes(1000)) == ["ACK seq=0 ack=0 sack=1000:1500", "PSH,ACK seq=0 ack=0 len=1000"]


def test_an_ack_that_is_overdue_leaves_with_the_next_transmit() -> None:
    scene = conversing()
    scene.inject("PA", b"abc", ack=7)
    scene.now += 0.050
    assert scene.drain() == ["ACK seq=7 ack=3"]


def test_what_is_in_order_is_cut_at_the_window_and_acknowledged() -> None:
    scene = established(Config(receive_window=1000, receive_window_max=1000))
    assert scene.inject("A", bytes(5000)) == ["ACK seq=0 ack=1000"]
    assert scene.connection.receiver.buffer.length == 1000


# ---------------------------------------------------------------------- the window


def test_the_window_closes_with_what_is_not_read_and_opens_again() -> None:
    scene = established(Config(receive_window=10_000, receive_window_max=10_000))
    windows = []
    for at in range(0, 10_000, 2000):
        scene.inject("A", bytes(2000), at=at, unit=1000)
        windows.append(scene.last[0].window)
    assert windows == [8000, 6000, 4000, 2000, 0]
    assert len(scene.connection.receive(500)) == 500
    assert scene.drain() == []
    assert len(scene.connection.receive(500)) == 500
    assert scene.drain() == ["ACK seq=0 ack=10000"]
    assert scene.last[0].window == 1000


def test_the_window_does_not_creep_open() -> None:
    """Silly window avoidance of the receiver (RFC 9293 3.8.6.2.2)."""
    scene = established(Config(receive_window=10_000, receive_window_max=10_000))
    scene.inject("A", bytes(10_000), unit=1000)
    for _ in range(9):
        scene.connection.receive(100)
        scene.inject("A", b"x", at=10_000)
        assert scene.last[0].window == 0
    scene.connection.receive(100)
    assert scene.drain() == ["ACK seq=0 ack=10000"]
    assert scene.last[0].window == 1000


def test_the_right_edge_never_moves_left() -> None:
    """RFC 9293 3.8.6: the window is not shrunk."""
    scene = established(Config(receive_window=50_000, receive_window_max=50_000))
    edge = 0
    at = 0
    for size in (1000, 3000, 500, 7000, 1, 2000):
        scene.inject("PA", bytes(size), at=at)
        at += size
        scene.now += 1
        for segment in scene.last:
            assert at + segment.window >= edge
            edge = at + segment.window
        scene.connection.receive(size // 2)


def test_reading_much_is_told_at_once() -> None:
    scene = established(scale=7)
    for at in range(0, 250_000, 50_000):
        scene.inject("A", bytes(50_000), at=at, unit=1000)
    assert len(scene.read()) == 250_000
    assert scene.drain() == ["ACK seq=0 ack=250000"]
    assert scene.last[0].window << 9 == 1 << 18


def test_single_octets_do_not_hold_more_memory_than_the_window() -> None:
    scene = established(Config(receive_window=20_000, receive_window_max=20_000))
    for at in range(25_000):
        scene.inject("A", b"x", at=at)
    assert scene.connection.receiver.buffer.length == 20_000
    assert len(scene.connection.receive()) == 20_000


def test_what_is_out_of_order_is_bounded_in_octets_and_ranges() -> None:
    scene = established(Config(receive_window=50_000, receive_window_max=50_000, reassembly_ranges=16))
    for at in range(60_000, 0, -100):
        scene.inject("A", bytes(50), at=at)
    assert len(scene.connection.receiver.reassembly) <= 16
    scene.inject("A", bytes(100_000), at=10)
    assert scene.connection.receiver.reassembly.length <= 50_000
