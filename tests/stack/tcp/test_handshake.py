"""Opening (RFC 9293 3.5, 3.10.7.2, 3.10.7.3), its options and its retries."""

from __future__ import annotations

import pytest

from tests.stack.tcp.scene import LOCAL, MTU, REMOTE, START, Scene, entropy, established
from userlan.stack.tcp import REASON_PORT, Config, Connection, Events, InitialNumbers, Listener, State, reset_reply
from userlan.wire.tcp import Flags, Segment


def test_an_active_open() -> None:
    scene = Scene(scale=7, timestamps=True)
    assert scene.drain() == ["SYN seq=-1"]
    syn = scene.last[0]
    assert (syn.mss, syn.window_scale, syn.sack_permitted, syn.window) == (1380, 9, True, 65_535)
    assert syn.timestamp == (int(START * 1000), 0)
    assert scene.inject("SA", at=-1) == ["ACK seq=0 ack=0"]
    assert scene.last[0].timestamp == (int(START * 1000), scene.peer_clock)
    assert scene.last[0].window == (1 << 18) >> 9
    assert scene.state() is State.ESTABLISHED
    assert scene.take_events() == Events.CONNECTED


def test_a_passive_open() -> None:
    scene = Scene(passive=True, scale=7)
    assert scene.drain() == ["SYN,ACK seq=-1 ack=0"]
    assert scene.last[0].window_scale == 9
    assert scene.inject("A") == []
    assert scene.state() is State.ESTABLISHED
    assert scene.take_events() == Events.CONNECTED
    assert len(scene.listener) == 0


def test_data_may_come_with_the_ack_of_the_handshake() -> None:
    scene = Scene(passive=True)
    scene.drain()
    assert scene.inject("PA", b"hello") == ["ACK seq=0 ack=5"]
    assert scene.read() == b"hello"
    assert scene.take_events() == Events.CONNECTED | Events.READABLE


def test_data_that_was_queued_before_the_handshake_follows_it() -> None:
    scene = Scene()
    scene.connection.send(b"early", scene.now)
    assert scene.drain() == ["SYN seq=-1"]
    assert scene.inject("SA", at=-1) == ["PSH,ACK seq=0 ack=0 len=5"]


def test_data_may_come_with_the_syn_ack() -> None:
    """RFC 9293 3.10.7.3, fourth."""
    scene = Scene()
    scene.drain()
    segment = scene.segment("SA", b"hello", at=-1)
    scene.connection.segment_arrived(segment, scene.now)
    assert scene.drain() == ["ACK seq=0 ack=5"]
    assert scene.read() == b"hello"


def test_options_that_the_peer_does_not_offer_are_not_used() -> None:
    """RFC 7323 2.2 and 3.2, RFC 2018 2."""
    scene = Scene(passive=True, scale=None, sack=False, mss=None)
    scene.drain()
    answer = scene.last[0]
    assert (answer.window_scale, answer.sack_permitted, answer.timestamp) == (None, False, None)
    scene.inject("A")
    scene.send(bytes(1000))
    assert [len(segment.payload) for segment in scene.last] == [1000]
    assert scene.last[0].segment_size == 536


@pytest.mark.parametrize(
    ("config", "field"),
    [(Config(window_scale=False), "window_scale"), (Config(timestamps=False), "timestamp"), (Config(sack=False), "")],
)
def test_options_can_be_switched_off(config: Config, field: str) -> None:
    scene = Scene(config, scale=3, timestamps=True)
    scene.drain()
    syn = scene.last[0]
    assert (getattr(syn, field) is None) if field else not syn.sack_permitted


def test_a_simultaneous_open() -> None:
    """RFC 9293 3.5, figure 8."""
    scene = Scene(scale=3)
    assert scene.drain() == ["SYN seq=-1"]
    assert scene.inject("S", at=-1) == ["SYN,ACK seq=-1 ack=0"]
    assert scene.state() is State.SYN_RECEIVED
    assert scene.inject("SA", at=-1) == []
    assert scene.state() is State.ESTABLISHED
    assert scene.send(b"x") == ["PSH,ACK seq=0 ack=0 len=1"]


@pytest.mark.parametrize("ack", [-1, 1, 70_000, -70_000])
def test_an_ack_of_anything_but_our_syn_is_reset(ack: int) -> None:
    """RFC 9293 3.10.7.3, first."""
    scene = Scene()
    scene.drain()
    assert scene.inject("SA", at=-1, ack=ack) == [f"RST seq={ack}"]
    assert scene.state() is State.SYN_SENT
    assert scene.inject("RA", at=-1, ack=ack) == []
    assert scene.state() is State.SYN_SENT


def test_a_reset_that_acknowledges_our_syn_refuses() -> None:
    """RFC 9293 3.10.7.3, second."""
    scene = Scene()
    scene.drain()
    assert scene.inject("R", at=0) == []
    assert scene.state() is State.SYN_SENT
    assert scene.inject("RA", at=0) == []
    assert scene.state() is State.CLOSED
    assert scene.connection.error == "refused"
    assert scene.take_events() == Events.CLOSED


def test_an_ack_alone_does_not_open() -> None:
    """RFC 9293 3.10.7.3, fifth."""
    scene = Scene()
    scene.drain()
    assert scene.inject("A") == []
    assert scene.state() is State.SYN_SENT


def test_a_wrong_ack_of_our_syn_ack_is_reset() -> None:
    """RFC 9293 3.10.7.4, fifth, SYN-RECEIVED."""
    scene = Scene(passive=True)
    scene.drain()
    assert scene.inject("A", ack=5) == ["RST seq=5"]
    assert scene.inject("A", ack=-1) == ["RST seq=-1"]
    assert scene.state() is State.SYN_RECEIVED


def test_a_repeated_syn_is_answered_again() -> None:
    scene = Scene(passive=True)
    scene.drain()
    assert scene.inject("S", at=-1) == ["SYN,ACK seq=-1 ack=0"]
    assert scene.state() is State.SYN_RECEIVED


def test_a_syn_is_sent_again_with_back_off_until_three_minutes_are_over() -> None:
    """RFC 9293 3.8.3, MUST-23; RFC 6298 5."""
    scene = Scene()
    scene.drain()
    times = []
    while scene.state() is State.SYN_SENT:
        if scene.until_next() == ["SYN seq=-1"]:
            times.append(round(scene.now - START))
    assert times == [1, 3, 7, 15, 31, 63, 123]
    assert scene.now - START == pytest.approx(180, abs=1)
    assert scene.connection.error == "timeout"


def test_a_syn_ack_is_sent_again_until_the_half_open_time_is_over() -> None:
    scene = Scene(passive=True)
    assert scene.drain() == ["SYN,ACK seq=-1 ack=0"]
    assert scene.wait(29) == ["SYN,ACK seq=-1 ack=0"] * 4
    scene.wait(2)
    assert scene.state() is State.CLOSED
    assert len(scene.listener) == 0


def test_a_lost_syn_gives_no_sample_and_one_segment_at_first() -> None:
    """RFC 6298 3 and 5.7, RFC 6928 2."""
    scene = Scene()
    scene.drain()
    assert scene.wait(1.5) == ["SYN seq=-1"]
    scene.inject("SA", at=-1)
    assert scene.send(bytes(5000)) == ["ACK seq=0 ack=0 len=1000"]


@pytest.mark.parametrize(
    ("hard", "reason", "state", "error"),
    [
        (True, REASON_PORT, State.CLOSED, "refused"),
        (True, "protocol-unreachable", State.CLOSED, "unreachable"),
        (False, "host-unreachable", State.SYN_SENT, None),
    ],
)
def test_icmp_errors_while_opening(hard: bool, reason: str, state: State, error: str | None) -> None:
    """RFC 1122 4.2.3.9."""
    scene = Scene()
    scene.drain()
    scene.connection.unreachable(hard, reason, scene.now)
    assert (scene.connection.state, scene.connection.error) == (state, error)


def test_a_soft_error_explains_the_timeout() -> None:
    scene = Scene()
    scene.drain()
    scene.connection.unreachable(False, "host-unreachable", scene.now)
    scene.wait(200)
    assert scene.connection.error == "unreachable"


def test_a_hard_error_does_not_end_an_established_connection() -> None:
    """RFC 5927 5.2."""
    scene = established()
    scene.connection.unreachable(True, REASON_PORT, scene.now)
    assert scene.state() is State.ESTABLISHED


def test_only_what_is_in_flight_can_be_quoted() -> None:
    """RFC 5927 4.1."""
    scene = established()
    scene.send(bytes(100))
    first = scene.last[0].seq
    quotes = scene.connection.quotes_flight
    assert [quotes((first + offset) & 0xFFFFFFFF) for offset in (-1, 0, 99, 100)] == [False, True, True, False]


def test_a_tiny_mss_is_not_obeyed() -> None:
    scene = established(mss=1)
    scene.send(bytes(200))
    assert scene.last[0].segment_size == 88


# ---------------------------------------------------------------------- the listener and closed ports


def syn(number: int, address: bytes = REMOTE[0]) -> tuple[Segment, tuple[bytes, int]]:
    return Segment(number, LOCAL[1], 7, 0, Flags.SYN, 1000, mss=1000), (address, number)


def listener(backlog: int = 4) -> Listener:
    return Listener((None, LOCAL[1]), Config(), InitialNumbers(entropy), backlog)


def test_a_listener_ignores_resets_and_resets_acks() -> None:
    """RFC 9293 3.10.7.2."""
    port = listener()
    reply = port.segment_arrived(Segment(9, LOCAL[1], 7, 1234, Flags.ACK), LOCAL, REMOTE, MTU, START)
    assert isinstance(reply, Segment)
    assert (reply.flags, reply.seq, reply.destination_port) == (Flags.RST, 1234, 9)
    for flags in (Flags.RST, Flags.RST | Flags.ACK, Flags.FIN, 0):
        assert port.segment_arrived(Segment(9, LOCAL[1], 7, 1, flags), LOCAL, REMOTE, MTU, START) is None
    assert len(port) == 0


def test_a_flood_of_syns_holds_no_more_than_the_backlog_and_costs_the_flooder() -> None:
    port = listener(backlog=8)
    segment, remote = syn(5000, b"\x19\x01\x01\x09")
    honest = port.segment_arrived(segment, LOCAL, remote, MTU, START)
    assert isinstance(honest, Connection)
    for number in range(1000, 1500):
        segment, remote = syn(number)
        port.segment_arrived(segment, LOCAL, remote, MTU, START)
        assert len(port) <= 8
    assert honest.state is State.SYN_RECEIVED
    assert port.counters["backlog-full"] == 493


def test_a_place_is_free_again_once_the_handshake_is_complete_or_reset() -> None:
    port = listener()
    for flags, state in ((Flags.ACK, State.ESTABLISHED), (Flags.RST, State.CLOSED)):
        segment, remote = syn(6000)
        connection = port.segment_arrived(segment, LOCAL, remote, MTU, START)
        assert isinstance(connection, Connection)
        answer = connection.transmit(START)[0]
        assert len(port) == 1
        connection.segment_arrived(Segment(6000, LOCAL[1], 8, (answer.seq + 1) & 0xFFFFFFFF, flags, 1000), START)
        assert connection.state is state
        assert len(port) == 0


def test_closing_a_listener_resets_what_is_half_open() -> None:
    port = listener()
    segment, remote = syn(6000)
    connection = port.segment_arrived(segment, LOCAL, remote, MTU, START)
    assert isinstance(connection, Connection)
    connection.transmit(START)
    port.close(START)
    assert connection.transmit(START)[0].flags & Flags.RST
    assert len(port) == 0


def test_what_a_closed_port_answers() -> None:
    """RFC 9293 3.10.7.1."""
    assert reset_reply(Segment(1, 2, 10, 20, Flags.RST)) is None
    reply = reset_reply(Segment(1, 2, 10, 20, Flags.ACK, payload=b"abc"))
    assert reply is not None
    assert (reply.flags, reply.seq) == (Flags.RST, 20)
    reply = reset_reply(Segment(1, 2, 0xFFFFFFFF, 0, Flags.SYN | Flags.FIN, payload=b"abc"))
    assert reply is not None
    assert (reply.flags, reply.seq, reply.ack) == (Flags.RST | Flags.ACK, 0, 4)
