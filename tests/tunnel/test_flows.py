"""The queues of one peer: fair between flows and short (RFC 8290, RFC 8289), bounded, and given back. Virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import pytest

from tests.tunnel.virtual import ADDRESS_A, ADDRESS_B, entropy
from userlan.tunnel import flows
from userlan.tunnel.flows import INTERVAL, LIMIT_BYTES, LIMIT_PACKETS, QUANTUM, SEED_BITS, TARGET, BulkFlows, FlowQueues
from userlan.wire import udp
from userlan.wire.checksum import internet_checksum
from userlan.wire.superpacket import SuperPacket

SIX_A, SIX_B = bytes(15) + b"\1", bytes(15) + b"\2"


def queues(seed: object = 1) -> FlowQueues:
    return FlowQueues(int.from_bytes(entropy(seed)(SEED_BITS // 8), "little") | 1)


def packet(port: int, length: int = 1000, number: int = 0, ecn: int = 0, version: int = 4) -> SuperPacket:
    """A datagram of the flow ``port`` whose whole packet has ``length`` octets; ``number`` tells it from the others."""
    addresses = (ADDRESS_A, ADDRESS_B) if version == 4 else (SIX_A, SIX_B)
    payload = number.to_bytes(4, "big") + bytes(length - (32 if version == 4 else 52))
    made = udp.build(udp.Datagram(port, 9, payload), *addresses)
    header = bytearray(made.header)
    header[1] |= ecn if version == 4 else ecn << 4
    return SuperPacket(bytes(header), made.payload, 0, True)


def add(waiting: FlowQueues, one: SuperPacket, now: float = 0.0) -> None:
    waiting.add(one, waiting.bucket_of(one), now)


def taken(waiting: FlowQueues, now: float = 0.0) -> Iterator[tuple[int, int]]:
    """Port and number of what is taken, to the end."""
    while (one := waiting.take(now)) is not None:
        yield port_of(one), int.from_bytes(one.payload[:4], "big")


def port_of(one: SuperPacket) -> int:
    at = one.transport_offset
    return int.from_bytes(one.header[at : at + 2], "big")


# --- RFC 8290 4.2: new queues before old ones


def test_a_sparse_flow_overtakes_a_bulk_backlog() -> None:
    """RFC 8290 4.2: a queue that was empty is served before those that have a standing queue."""
    waiting = queues()
    for number in range(100):
        add(waiting, packet(1, 60_000, number))
    assert waiting.take(0.0) is not None
    add(waiting, packet(2, 60))
    assert next(taken(waiting)) == (2, 0)
    assert next(taken(waiting)) == (1, 1)


def test_a_flow_with_more_than_a_quantum_is_sparse_only_once() -> None:
    """RFC 8290 4.2: once a new queue has used its quantum it goes to the end of the old ones."""
    waiting = queues()
    for number in range(4):
        add(waiting, packet(1, QUANTUM, number))
    assert next(taken(waiting)) == (1, 0)
    for number in range(4):
        add(waiting, packet(2, QUANTUM, number))
    assert [port for port, _ in taken(waiting)] == [2, 1, 2, 1, 2, 1, 2]


def test_a_flow_that_empties_as_new_waits_behind_the_old_ones() -> None:
    """RFC 8290 4.2: an empty new queue passes through the old list first, so that nobody starves the others by pausing."""
    waiting = queues()
    for number in range(8):
        add(waiting, packet(1, QUANTUM, number))
    order = [port_of(waiting.take(0.0) or packet(0))]
    for _ in range(6):
        add(waiting, packet(2, QUANTUM // 2))
        for _ in range(2):
            order.append(port_of(waiting.take(0.0) or packet(0)))
    assert order.count(1) >= 5, order


def test_shares_are_equal_in_octets_not_in_packets() -> None:
    """RFC 8290 4.1: deficit round robin; a flow of large packets has no more than one of small ones."""
    waiting = queues()
    sizes = {1: 60_000, 2: 16_000, 3: 1_400}
    for port, size in sizes.items():
        for number in range(1_200_000 // size):
            add(waiting, packet(port, size, number))
    moved = dict.fromkeys(sizes, 0)
    while sum(moved.values()) < 1_800_000:
        one = waiting.take(0.0)
        assert one is not None
        moved[port_of(one)] += one.length
    assert max(moved.values()) - min(moved.values()) <= 60_000 + QUANTUM, moved


@pytest.mark.parametrize("version", [4, 6])
def test_a_flow_keeps_its_order_and_flows_are_told_apart(version: int) -> None:
    """RFC 8290 4.1.1: the queue is chosen by addresses and ports, hashed with a number that nobody outside knows."""
    waiting, other = queues(1), queues(2)
    buckets = [waiting.bucket_of(packet(port, version=version)) for port in range(1, 201)]
    assert len(set(buckets)) > 165
    assert buckets != [other.bucket_of(packet(port, version=version)) for port in range(1, 201)]
    for number in range(20):
        for port in range(1, 11):
            add(waiting, packet(port, 500 + port, number, version=version))
    seen: dict[int, list[int]] = {}
    for port, number in taken(waiting):
        seen.setdefault(port, []).append(number)
    assert seen == {port: list(range(20)) for port in range(1, 11)}


def test_every_part_of_an_ipv6_flow_counts() -> None:
    """RFC 8290 4.1.1: sources differ in their first octets, too (a prefix), and are other flows."""
    waiting = queues()
    buckets = set()
    for octet in range(100):
        source = bytes((0xFD, octet)) + bytes(14)
        buckets.add(waiting.bucket_of(udp.build(udp.Datagram(1, 2, b""), source, SIX_B)))
    assert len(buckets) > 85


# --- RFC 8289: CoDel


def drained(waiting: FlowQueues, seconds: float, rate: float, length: int = 20_000, ecn: int = 0, start: float = 0.0) -> list[float]:
    """Keep a standing queue: one packet is added as often as one is taken, every ``1 / rate`` seconds; when some were dropped or marked."""
    losses: list[float] = []
    for step in range(int(seconds * rate)):
        now = start + step / rate
        add(waiting, packet(1, length, step, ecn), now)
        before = waiting.dropped + waiting.marked
        waiting.take(now)
        for _ in range(waiting.dropped + waiting.marked - before):
            losses.append(now)
            if not ecn:
                add(waiting, packet(1, length, step), now)
    return losses


def standing(ecn: int = 0, now: float = 0.0) -> FlowQueues:
    """A queue that already holds 10 packets of 20,000 octets: at 100 a second each of them waits for 0.1 s."""
    waiting = queues()
    for number in range(10):
        add(waiting, packet(1, 20_000, number, ecn), now)
    return waiting


def test_nothing_is_dropped_below_the_target() -> None:
    """RFC 8289 3.1: a delay below the target is good queue, however long it lasts."""
    waiting = queues()
    for step in range(3000):
        now = step * TARGET * 0.9
        add(waiting, packet(1, 60_000, step), now)
        add(waiting, packet(1, 60_000, step), now)
        waiting.take(now + TARGET * 0.8)
        waiting.take(now + TARGET * 0.8)
    assert (waiting.dropped, waiting.marked) == (0, 0)


def test_a_burst_that_is_gone_within_an_interval_loses_nothing() -> None:
    """RFC 8289 3.1: only a queue that stood for an interval is bad."""
    waiting = standing()
    for step in range(10):
        waiting.take(step * INTERVAL / 11)
    assert waiting.dropped == 0


def test_a_single_packet_that_waited_long_is_sent() -> None:
    """RFC 8289 5.6: no more than one packet's octets left is no standing queue."""
    waiting = queues()
    for step in range(20):
        add(waiting, packet(1, 60_000, step), float(step))
        add(waiting, packet(1, 5_000, step), float(step))
        assert len(list(taken(waiting, step + 0.9))) == 2
    assert waiting.dropped == 0


def test_the_first_drop_comes_after_target_and_interval_then_by_the_control_law() -> None:
    """RFC 8289 4.2, 5.5: first after the interval, then each interval / sqrt(count) after the one before."""
    losses = drained(standing(), 2.0, 1000.0)
    assert TARGET + INTERVAL <= losses[0] <= TARGET + INTERVAL + 0.003
    due = losses[0] + INTERVAL
    for count, loss in enumerate(losses[1:], 2):
        assert loss == pytest.approx(due, abs=0.0011), count
        due += INTERVAL / sqrt(count)
    assert len(losses) > 15


def test_dropping_stops_as_soon_as_the_delay_is_below_the_target() -> None:
    """RFC 8289 5.5: leave the dropping state; a queue that comes back soon begins where it was (5.4)."""
    waiting = standing()
    first = drained(waiting, 1.0, 1000.0)
    list(taken(waiting, 1.001))
    assert waiting.packets == 0
    for step in range(100):
        now = 1.01 + step / 1000
        add(waiting, packet(1, 20_000), now)
        waiting.take(now)
    assert waiting.dropped == len(first)


def test_a_queue_that_grows_again_soon_is_dropped_from_at_the_former_rate() -> None:
    """RFC 8289 5.4: count goes on from where it was, when the last drop was less than 16 intervals ago."""
    waiting = standing()
    add(waiting, packet(2, 100))
    drained(waiting, 1.0, 1000.0)
    many = waiting.packets
    # drained down to one packet: the flow stays, its delay falls below the target
    for _ in range(many - 1):
        waiting.take(1.0)
    waiting.take(1.0)
    for number in range(12):
        add(waiting, packet(1, 20_000, number), 1.01)
    again = drained(waiting, 1.0, 1000.0, start=1.011)
    first = drained(standing(), 1.0, 1000.0)
    assert len(again) >= len(first)


def test_packets_of_ecn_capable_flows_are_marked_and_none_is_lost() -> None:
    """RFC 3168 5, RFC 8290 5.4: CE instead of a drop, for ECT(0) and ECT(1); what is marked already stays so."""
    for version in (4, 6):
        for ecn in (1, 2, 3):
            waiting = queues()
            for number in range(12):
                add(waiting, packet(1, 20_000, number, ecn, version))
            sent = [waiting.take(TARGET * 2)]
            sent += [waiting.take(TARGET * 2 + INTERVAL) for _ in range(11)]
            assert (waiting.dropped, waiting.marked) == (0, 1)
            fields = [one.traffic_class & 3 for one in sent if one is not None]
            assert fields.count(3) == (1 if ecn < 3 else 12)
            assert len(fields) == 12
            marked = next(one for one in sent if one is not None and one.traffic_class & 3 == 3)
            if version == 4 and ecn < 3:
                assert internet_checksum(marked.header[:10] + b"\0\0" + marked.header[12:20]) == int.from_bytes(marked.header[10:12], "big")


# --- limits


def test_octets_are_capped_at_the_expense_of_the_longest_queue() -> None:
    """RFC 8290 4.1.3: the queue with most octets loses its oldest packets, the others nothing."""
    waiting = queues()
    add(waiting, packet(2, 200, 77))
    for number in range(200):
        add(waiting, packet(1, 60_000, number))
    assert waiting.octets <= LIMIT_BYTES
    assert waiting.dropped == 200 + 1 - waiting.packets
    left = list(taken(waiting))
    assert (2, 77) in left
    assert [number for port, number in left if port == 1] == list(range(waiting.dropped, 200))


def test_packets_are_capped_in_batches() -> None:
    """RFC 8290 4.1.3, and Linux's batch: a flood of small packets costs no search for each of them."""
    waiting = queues()
    searches = 0
    for number in range(3 * LIMIT_PACKETS):
        before = waiting.dropped
        add(waiting, packet(1, 60, number))
        searches += waiting.dropped > before
        assert waiting.packets <= LIMIT_PACKETS
    assert searches <= 2 * LIMIT_PACKETS // flows.DROP_BATCH + 1
    assert waiting.packets + waiting.dropped == 3 * LIMIT_PACKETS


def test_a_peer_that_had_many_flows_leaves_few_behind() -> None:
    """An idle peer costs next to nothing, however many flows it had."""
    waiting = queues()
    for port in range(1, 2000):
        add(waiting, packet(port, 60))
    assert len(waiting._flows) > 800
    assert len(list(taken(waiting))) == 1999
    assert len(waiting._flows) + len(waiting._new) + len(waiting._old) == 0
    assert (waiting.octets, waiting.packets) == (0, 0)
    add(waiting, packet(1, 60, 7))
    assert list(taken(waiting)) == [(1, 7)]


def test_octets_and_packets_are_counted_right_whatever_happens() -> None:
    source = entropy("counting")
    waiting, other = queues(), queues()
    for step in range(3000):
        port = source(1)[0] % 5 + 1
        one = packet(port, 100 + int.from_bytes(source(2), "big") % 60_000, step)
        bucket = waiting.bucket_of(one)
        match source(1)[0] % 8:
            case 0:
                waiting.move(bucket, other)
            case 1:
                other.move_all(waiting)
            case 2 | 3:
                waiting.take(step / 100)
            case 4:
                other.take(step / 100)
            case _:
                waiting.add(one, bucket, step / 100)
        for each in (waiting, other):
            assert each.octets == sum(one.length for flow in each._flows.values() for _, one in flow.queue)
            assert each.packets == sum(len(flow.queue) for flow in each._flows.values())


# --- flows that take another way


def test_a_flow_moves_in_its_order_and_keeps_its_age() -> None:
    """What moved is no newer than before (RFC 8289 3.2: the time that a packet has waited)."""
    waiting, other = queues(), queues()
    one = packet(1)
    bucket = waiting.bucket_of(one)
    for number in range(6):
        (waiting if number % 2 else other).add(packet(1, 20_000, number), bucket, number / 1000)
    waiting.add(packet(2, 500), waiting.bucket_of(packet(2)), 0.0)
    waiting.move(bucket, other)
    assert (waiting.packets, other.packets) == (1, 6)
    assert not waiting.waits(bucket)
    assert other.waits(bucket)
    assert list(taken(other, TARGET / 2)) == [(1, number) for number in range(6)]
    assert list(taken(waiting)) == [(2, 0)]


def test_everything_moves_and_nothing_is_dropped_on_the_way() -> None:
    waiting, other = queues(), queues()
    for number in range(30):
        for port in (1, 2, 3):
            add(waiting, packet(port, 20_000, number), number / 1000)
    waiting.move_all(other)
    assert (waiting.packets, waiting.octets, waiting.dropped) == (0, 0, 0)
    assert sorted(taken(other)) == [(port, number) for port in (1, 2, 3) for number in range(30)]


def test_all_is_taken_in_the_order_in_which_it_came() -> None:
    waiting = queues()
    for number in range(30):
        add(waiting, packet(number % 3 + 1, 20_000, number), number / 1000)
    assert [int.from_bytes(one.payload[:4], "big") for one in waiting.take_all()] == list(range(30))
    assert not waiting


# --- which flows are bulk


def test_a_flow_is_bulk_from_its_first_large_packet_until_it_pauses() -> None:
    bulk = BulkFlows()
    assert not bulk.note(packet(1, 1400), 1, 0.0)
    assert bulk.note(packet(1, 20_000), 1, 0.1)
    assert bulk.note(packet(1, 100), 1, 0.15), "a small packet of a bulk flow must not overtake it"
    assert not bulk.note(packet(2, 100), 2, 0.15)
    assert bulk.note(packet(1, 100), 1, 0.24)
    assert not bulk.note(packet(1, 100), 1, 0.24 + flows.BULK_PAUSE)


def test_the_rate_of_bulk_flows_is_measured() -> None:
    bulk = BulkFlows()
    for step in range(1001):
        bulk.note(packet(1, 50_000), step % 7, 100.0 + step / 1000)
    assert bulk.rate == pytest.approx(50e6, rel=0.01)
    for step in range(11):
        bulk.note(packet(1, 50_000), 1, 110.0 + step / 10)
    assert bulk.rate < 1e6, "a pause is no rate"
