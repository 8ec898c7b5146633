"""Every state x any segment (h2's way): nothing raises, nothing grows without bound, nothing is sent without end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.tcp.scene import MASK, PEER_ISN, Scene, established, signed
from userlan.stack.tcp import Config, State
from userlan.wire.tcp import Flags, Segment

WINDOW = 64 * 1024

SMALL = Config(
    receive_window=WINDOW,
    receive_window_max=WINDOW,
    send_buffer=WINDOW,
    send_buffer_max=WINDOW,
    reassembly_ranges=32,
    keepalive_idle=60.0,
)


def _shut(scene: Scene) -> Scene:
    scene.connection.shutdown(scene.now)
    scene.drain()
    return scene


def _flying(scene: Scene) -> Scene:
    scene.send(bytes(50_000))
    return scene


def _syn_sent() -> Scene:
    scene = Scene(SMALL, timestamps=True, scale=2)
    scene.drain()
    return scene


def _fin_wait_2() -> Scene:
    scene = _shut(established(SMALL))
    scene.inject("A", ack=1)
    return scene


def _close_wait() -> Scene:
    scene = _flying(established(SMALL))
    scene.inject("FA")
    return scene


def _closing() -> Scene:
    scene = _shut(established(SMALL))
    scene.inject("FA")
    return scene


def _time_wait() -> Scene:
    scene = _shut(established(SMALL))
    scene.inject("FA", ack=1)
    return scene


def _closed() -> Scene:
    scene = established(SMALL)
    scene.inject("R")
    return scene


def _passive() -> Scene:
    scene = Scene(SMALL, passive=True)
    scene.drain()
    return scene


STATES: dict[str, Callable[[], Scene]] = {
    "SYN-SENT": _syn_sent,
    "SYN-RECEIVED": _passive,
    "ESTABLISHED": lambda: established(SMALL),
    "ESTABLISHED, sending": lambda: _flying(established(SMALL)),
    "ESTABLISHED, timestamps": lambda: _flying(established(SMALL, timestamps=True, scale=3)),
    "ESTABLISHED, no SACK": lambda: _flying(established(SMALL, sack=False)),
    "ESTABLISHED, window closed": lambda: _flying(established(SMALL, window=0)),
    "FIN-WAIT-1": lambda: _shut(_flying(established(SMALL))),
    "FIN-WAIT-2": _fin_wait_2,
    "CLOSE-WAIT": _close_wait,
    "LAST-ACK": lambda: _shut(_close_wait()),
    "CLOSING": _closing,
    "TIME-WAIT": _time_wait,
    "CLOSED": _closed,
}

OFFSETS = st.one_of(
    st.integers(-5, 5),
    st.integers(-70_000, 140_000),
    st.sampled_from([WINDOW, WINDOW - 1, 10_000, 1000, 65_535, 1 << 31, -(1 << 31), 1 << 30]),
)
FLAGS = st.one_of(
    st.sampled_from([Flags.ACK, Flags.ACK | Flags.PSH, Flags.ACK | Flags.FIN, Flags.SYN, Flags.SYN | Flags.ACK, Flags.RST]),
    st.integers(0, 255),
)
SEGMENTS: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    seq=OFFSETS,
    ack=OFFSETS,
    flags=FLAGS,
    window=st.sampled_from([0, 1, 500, 65_535]),
    size=st.sampled_from([0, 0, 1, 999, 5000, 60_000]),
    unit=st.sampled_from([0, 1, 1000]),
    sack=st.lists(st.tuples(OFFSETS, OFFSETS), max_size=4),
    timestamp=st.one_of(st.none(), st.tuples(OFFSETS, OFFSETS)),
    mss=st.one_of(st.none(), st.integers(0, 65_535)),
    scale=st.one_of(st.none(), st.integers(0, 14)),
    permitted=st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        SEGMENTS,
        st.sampled_from(["tick", "tick", "send", "read", "shutdown", "close", "abort", "mtu", "unreachable", "batch"]),
    ),
    min_size=1,
    max_size=25,
)


def build(scene: Scene, fields: dict[str, object]) -> Segment:
    """Numbers are around what the connection expects, so that many segments are nearly right."""

    def relative(offset: object, base: int) -> int:
        assert isinstance(offset, int)
        return (base + offset) & MASK

    connection = scene.connection
    ours, theirs = connection.sender.una, connection.receiver.next or PEER_ISN
    timestamp = fields["timestamp"]
    clock = int(scene.now * 1000)
    blocks = fields["sack"]
    size, unit = fields["size"], fields["unit"]
    assert isinstance(blocks, list)
    assert isinstance(size, int)
    assert isinstance(unit, int)
    segment = Segment(80, 49_152, relative(fields["seq"], theirs), relative(fields["ack"], ours))
    segment.flags = fields["flags"]  # type: ignore[assignment]
    segment.window = fields["window"]  # type: ignore[assignment]
    segment.payload = bytes(size)
    segment.segment_size = unit if unit < size else 0
    segment.sack = tuple((relative(left, ours), relative(right, ours)) for left, right in blocks)
    if isinstance(timestamp, tuple):
        segment.timestamp = (relative(timestamp[0], scene.peer_clock), relative(timestamp[1], clock))
    segment.mss = fields["mss"]  # type: ignore[assignment]
    segment.window_scale = fields["scale"]  # type: ignore[assignment]
    segment.sack_permitted = bool(fields["permitted"])
    return segment


def check(scene: Scene, drained: bool) -> None:
    """The invariants."""
    connection = scene.connection
    sender, receiver = connection.sender, connection.receiver
    if connection.state is State.CLOSED:
        assert not sender.buffer
        assert not sender.board
        return
    if connection.time_wait is None:
        assert sender.una <= sender.nxt <= sender.una + len(sender.buffer) + 2
    assert len(sender.buffer) <= sender.capacity
    assert receiver.buffer.length + receiver.reassembly.length <= WINDOW
    assert len(receiver.reassembly) <= SMALL.reassembly_ranges
    assert all(start > receiver.next for start, _ in receiver.reassembly)
    assert receiver.next <= receiver.advertised
    board = sender.board
    assert 0 <= board.sacked + board.lost <= sender.nxt - sender.una
    assert sender.congestion.window > 0
    assert not connection.resets_due or not drained


def perform(scene: Scene, step: object) -> None:
    connection = scene.connection
    if isinstance(step, dict):
        connection.segment_arrived(build(scene, step), scene.now)
    elif step == "batch":
        for at in range(0, 9000, 1500):
            connection.segment_arrived(scene.segment("A", bytes(1000), at=at, ack=None), scene.now)
    elif step == "tick":
        deadline = connection.deadline()
        if deadline is not None:
            scene.now = max(scene.now, deadline)
            connection.tick(scene.now)
    elif step == "send":
        connection.send(bytes(5000), scene.now)
    elif step == "read":
        connection.receive()
    elif step == "mtu":
        connection.path_mtu_changed(600, scene.now)
    elif step == "unreachable":
        connection.unreachable(True, "host-unreachable", scene.now)
    else:
        assert isinstance(step, str)
        getattr(connection, step)(scene.now)


@pytest.mark.parametrize("name", STATES)
@settings(deadline=None, max_examples=40)
@given(steps=STEPS)
def test_any_sequence_of_segments_and_calls(name: str, steps: list[object]) -> None:
    scene = STATES[name]()
    closed = 0
    for step in steps:
        perform(scene, step)
        check(scene, drained=False)
        answers = scene.drain()
        assert len(answers) <= 60
        for segment in scene.last:
            assert len(segment.payload) + 60 <= 65_535
            assert 0 <= segment.window <= 65_535
            assert 0 <= segment.seq <= MASK
            assert 0 <= segment.ack <= MASK
            assert not segment.segment_size or len(segment.payload) > segment.segment_size
        check(scene, drained=True)
        assert scene.drain() == []
        closed += bool(scene.take_events() & 16)
    assert closed <= 1
    settle(scene)


def settle(scene: Scene) -> None:
    """Left alone, a connection comes to an end or to rest: its timers do not run for ever without a reason."""
    scene.connection.abort(scene.now)
    scene.drain()
    scene.wait(1000)
    assert scene.connection.deadline() is None
    assert scene.state() is State.CLOSED


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 400)), min_size=1, max_size=60), st.integers(0, 3000))
def test_the_octets_are_right_in_whatever_order_they_come(pieces: list[tuple[int, int]], fin: int) -> None:
    """RFC 9293 3.10.7.4, seventh: with overlaps, gaps and repetitions."""
    stream = bytes(index * 7 & 0xFF for index in range(4000))
    scene = established()
    present: set[int] = set()
    for start, size in pieces:
        scene.inject("A", stream[start : start + size], at=start)
        present.update(range(start, start + size))
    end = 0
    while end in present:
        end += 1
    assert signed(scene.connection.receiver.next - PEER_ISN - 1) == end
    assert scene.read() == stream[:end]
    scene.inject("FA", stream[end:], at=end)
    assert scene.read() == stream[end:]
    assert scene.connection.eof
