"""What leaves and when: super-segments, Nagle, silly windows, deferral, path MTU, back-pressure."""

from __future__ import annotations

import pytest

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config, Connection, Events
from userlan.stack.tcp.scoreboard import MAX_RUNS


def sizes(scene: Scene) -> list[tuple[int, int]]:
    """(octets, segment size) of what left last."""
    return [(len(segment.payload), segment.segment_size) for segment in scene.last]


def test_one_super_segment_carries_what_the_window_allows() -> None:
    scene = established()
    scene.send(bytes(50_000))
    assert sizes(scene) == [(10_000, 1000)]
    assert scene.inject("A", ack=10_000) == ["ACK seq=10000 ack=0 len=20000"]


def test_a_super_segment_has_45_segments_at_most() -> None:
    scene = established(mss=1380, scale=7, window=65_000, timestamps=True)
    scene.grow(200_000)
    scene.send(bytes(200_000))
    assert (61_560, 1368) in sizes(scene)
    assert all(size <= 45 * 1368 for size, _ in sizes(scene))


def test_large_segments_fit_in_the_length_field() -> None:
    scene = established(mss=8960, mtu=9000, scale=7, window=65_000)
    scene.grow(300_000)
    scene.send(bytes(200_000))
    assert (7 * 8960, 8960) in sizes(scene)


def test_a_payload_within_one_segment_is_no_super_segment() -> None:
    scene = established()
    scene.send(bytes(1000))
    assert sizes(scene) == [(1000, 0)]


def test_push_is_set_where_the_queue_ends() -> None:
    """RFC 9293 3.9.1: PSH in the last segment of what is buffered."""
    scene = established()
    assert scene.send(bytes(12_000)) == ["ACK seq=0 ack=0 len=10000"]
    assert scene.inject("A", ack=10_000) == ["PSH,ACK seq=10000 ack=0 len=2000"]


def test_the_peers_window_is_not_exceeded() -> None:
    scene = established(window=3500)
    assert scene.send(bytes(10_000)) == ["ACK seq=0 ack=0 len=3000"]
    assert scene.inject("A", ack=3000) == ["ACK seq=3000 ack=0 len=3000"]


def test_a_short_tail_waits_for_an_earlier_short_one() -> None:
    """Nagle's algorithm (RFC 9293 3.7.4), as Minshall has it."""
    scene = established()
    assert scene.send(b"a") == ["PSH,ACK seq=0 ack=0 len=1"]
    assert scene.send(b"b") == []
    assert scene.send(b"c") == []
    assert scene.inject("A", ack=1) == ["PSH,ACK seq=1 ack=0 len=2"]


def test_whole_segments_do_not_wait_and_a_tail_behind_them_does_not_either() -> None:
    scene = established()
    assert scene.send(bytes(2000)) == ["PSH,ACK seq=0 ack=0 len=2000"]
    assert scene.send(bytes(1500)) == ["PSH,ACK seq=2000 ack=0 len=1500"]
    assert scene.send(bytes(1500)) == ["ACK seq=3500 ack=0 len=1000"]


def test_nothing_waits_with_no_delay() -> None:
    scene = established(Config(nagle=False))
    assert scene.connection.no_delay
    assert [scene.send(b"x") for _ in range(3)] == [[f"PSH,ACK seq={n} ack=0 len=1"] for n in range(3)]


def test_switching_nagle_off_lets_go_what_waits() -> None:
    scene = established()
    scene.send(b"a")
    assert scene.send(b"b") == []
    scene.connection.no_delay = True
    assert scene.drain() == ["PSH,ACK seq=1 ack=0 len=1"]


def test_a_fin_takes_a_short_tail_along() -> None:
    scene = established()
    scene.send(b"a")
    assert scene.send(b"b") == []
    scene.connection.shutdown(scene.now)
    assert scene.drain() == ["FIN,PSH,ACK seq=1 ack=0 len=1"]


def test_a_small_window_is_not_filled_with_small_segments() -> None:
    """Silly window avoidance of the sender (RFC 9293 3.8.6.2.1); the timer overrides."""
    scene = established(window=10_000)
    scene.send(bytes(20_000))
    assert scene.inject("A", ack=10_000, window=300) == []
    assert scene.until_next() == ["ACK seq=10000 ack=0 len=300"]


def test_half_of_the_largest_window_is_no_small_window() -> None:
    scene = established(window=600)
    assert scene.send(bytes(2000)) == ["ACK seq=0 ack=0 len=600"]
    assert scene.inject("A", ack=600, window=299) == []
    assert scene.inject("A", ack=600, window=300) == ["ACK seq=600 ack=0 len=300"]


def test_data_is_deferred_until_a_decent_super_segment_may_leave() -> None:
    scene = established(window=60_000)
    scene.grow(80_000)
    scene.send(bytes(200_000))
    una = scene.connection.sender.una
    window = scene.connection.sender.congestion.window
    assert scene.connection.sender.nxt - una > 0.7 * min(60_000, window)
    base = 80_000
    assert scene.inject("A", ack=base + 1000) == []
    assert scene.inject("A", ack=base + 2000) == []
    released = scene.inject("A", ack=base + 45_000)
    assert len(released) == 1
    assert sizes(scene)[0][0] >= 40_000


def test_the_last_octets_are_not_deferred() -> None:
    scene = established(window=60_000)
    scene.grow(80_000)
    scene.send(bytes(30_000))
    assert len(scene.send(bytes(2000))) == 1


def test_the_send_buffer_is_bounded_and_reports_room() -> None:
    scene = established(Config(send_buffer=100_000, send_buffer_max=100_000))
    assert scene.connection.send(bytes(150_000), scene.now) == 100_000
    assert scene.connection.send_room == 0
    assert scene.connection.send(b"more", scene.now) == 0
    scene.drain()
    scene.take_events()
    scene.inject("A", ack=10_000)
    assert scene.connection.send_room == 10_000
    assert scene.take_events() == 0
    scene.inject("A", ack=30_000)
    assert scene.take_events() == Events.WRITABLE
    assert scene.connection.unsent == 70_000


def test_the_send_buffer_grows_with_what_is_in_flight() -> None:
    scene = established(Config(send_buffer=64 * 1024, flight_floor=1 << 20), scale=6, window=60_000)
    scene.grow(3_000_000)
    assert scene.connection.sender.capacity > 256 * 1024


def test_large_chunks_are_not_copied_on_their_way() -> None:
    scene = established(window=60_000)
    chunk = bytes(9000)
    scene.send(chunk)
    payload = scene.last[0].payload
    assert payload is chunk or (isinstance(payload, memoryview) and payload.obj is chunk)


@pytest.mark.parametrize("data", [bytearray(b"abcdefgh"), memoryview(b"abcdefgh"), memoryview(b"abcdefgh").cast("I")])
def test_any_buffer_can_be_sent(data: bytearray | memoryview) -> None:
    scene = established()
    assert scene.connection.send(data, scene.now) == 8
    scene.drain()
    assert bytes(scene.last[0].payload) == b"abcdefgh"


def test_nothing_is_taken_after_the_end() -> None:
    scene = established()
    scene.connection.shutdown(scene.now)
    assert scene.connection.send(b"late", scene.now) == 0
    assert scene.connection.send_room == 0


def test_the_best_piece_to_send_is_a_super_segment() -> None:
    scene = established(mss=1380, timestamps=True)
    assert scene.connection.burst == 45 * 1368


def test_calls_put_the_connection_on_the_owners_list() -> None:
    scene = established()
    connection = scene.connection
    touched: dict[Connection, None] = {}
    connection.touched = touched
    for call in (
        lambda: connection.send(b"x", scene.now),
        lambda: connection.segment_arrived(scene.segment("A", bytes(200_000)), scene.now),
        lambda: connection.tick(scene.now),
        lambda: connection.shutdown(scene.now),
        lambda: connection.abort(scene.now),
    ):
        touched.clear()
        call()
        assert list(touched) == [connection]
    touched.clear()
    connection.send(b"x", scene.now)
    assert not touched


# ---------------------------------------------------------------------- path MTU


@pytest.mark.parametrize(("mtu", "segment"), [(1420, 1000), (1000, 960), (600, 560), (100, 88)])
def test_the_segment_is_the_smaller_of_both_ends_limits(mtu: int, segment: int) -> None:
    """RFC 9293 3.7.1."""
    scene = established(mtu=mtu)
    scene.send(bytes(2 * segment))
    assert scene.last[0].segment_size == segment


def test_what_did_not_fit_is_cut_anew_and_sent_again_at_once() -> None:
    """RFC 1191 6.5, RFC 8201 5.4: and without a congestion response."""
    scene = established()
    scene.send(bytes(8000))
    window = scene.connection.sender.congestion.window
    scene.connection.path_mtu_changed(640, scene.now)
    assert scene.drain() == ["PSH,ACK seq=0 ack=0 len=8000"]
    assert scene.last[0].segment_size == 600
    assert scene.connection.sender.congestion.window == window


def test_a_larger_path_is_used_for_what_is_new() -> None:
    """RFC 4821 7.1: a probe finds out; without SACK, which shows a probe's loss, it is simply used."""
    for sack in (True, False):
        scene = established(mtu=640, sack=sack)
        scene.send(bytes(1200))
        scene.connection.path_mtu_changed(1420, scene.now)
        assert scene.drain() == []
        scene.inject("A", ack=1200)
        scene.send(bytes(3000))
        if sack:
            assert [(len(segment.payload), segment.segment_size) for segment in scene.last] == [(1000, 0), (1800, 600)]
            scene.inject("A", ack=4000)
            scene.send(bytes(3000))
        assert scene.last[0].segment_size == 1000


def test_ipv6_headers_are_larger() -> None:
    scene = Scene(timestamps=True, mss=1440)
    six = (bytes(15) + b"\x01", 1)
    scene.connection.local = six
    scene.establish()
    scene.send(bytes(3000))
    assert scene.last[0].segment_size == 1420 - 60 - 12


def test_a_peer_with_tiny_segments_does_not_make_the_scoreboard_long() -> None:
    """Each ACK with a SACK block looks through the runs, so a peer could make 60 octets cost a millisecond."""
    scene = established(Config(pacing=False, burst_segments=1), mss=88, scale=14, window=65_535)
    sender = scene.connection.sender
    scene.inject("A")
    sender.congestion.window = 1 << 30
    scene.send(bytes(1_000_000))
    assert len(sender.board) == MAX_RUNS
    taken = sender.nxt - sender.una
    scene.inject("A", ack=taken // 2)
    assert len(sender.board) == MAX_RUNS
    for _ in range(10):
        scene.inject("A", ack=sender.nxt - scene.our_isn - 1)
    assert scene.connection.unsent == 0
