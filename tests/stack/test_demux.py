"""What one peer can take from the others' TCP connections."""

from __future__ import annotations

from tests.stack.packets import host
from userlan.stack.demux import HOLE_TIME
from userlan.stack.host import Host
from userlan.stack.tcp.memory import FLOOR
from userlan.wire import tcp
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment

OWN = bytes((25, 1, 1, 1))
PEER = bytes((25, 1, 1, 2))
LIMIT = 1 << 20


def say(target: Host, port: int, seq: int, ack: int, now: float, flags: int = Flags.ACK, data: bytes = b"") -> list[SuperPacket]:
    segment = Segment(port, 80, seq, ack, flags, 65_535, payload=data, segment_size=1000 if data else 0)
    target.receive(tcp.build(segment, PEER, OWN, 64), now)
    return target.packets(now)


def test_what_waits_behind_a_hole_for_long_gives_way_to_others() -> None:
    """A peer that leaves out the first octet in each of many connections would hold all memory without end."""
    target = host(tcp_memory=LIMIT)
    target.add_address(OWN)
    target.tcp_listen(80)
    for port in range(5000, 5040):
        answer = tcp.parse_segment(say(target, port, 0, 0, 0.0, Flags.SYN)[0])
        say(target, port, 1, answer.seq + 1, 0.0)
        say(target, port, 1001, answer.seq + 1, 0.0, data=bytes(40_000))
    assert target._tcp.memory.share == FLOOR
    say(target, 6000, 0, 0, HOLE_TIME - 0.1, Flags.SYN)
    assert target._tcp.memory.share == FLOOR
    say(target, 6001, 0, 0, HOLE_TIME, Flags.SYN)
    assert target._tcp.memory.share > LIMIT // 8
    assert target.counters["tcp-out-of-order-dropped"] > 0


def test_a_connection_that_moves_keeps_what_is_out_of_order() -> None:
    target = host(tcp_memory=LIMIT)
    target.add_address(OWN)
    target.tcp_listen(80)
    answer = tcp.parse_segment(say(target, 5000, 0, 0, 0.0, Flags.SYN)[0])
    target._tcp.memory.change(LIMIT)
    for turn in range(4):
        now = turn * HOLE_TIME
        say(target, 5000, 1 + 10 * turn, answer.seq + 1, now, data=bytes(10))
        say(target, 5000, 1001 + 10 * turn, answer.seq + 1, now, data=bytes(10))
    assert target.counters["tcp-out-of-order-dropped"] == 0
