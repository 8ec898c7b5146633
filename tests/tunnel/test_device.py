"""One device as its owner sees it: peers, bursts, demultiplexing, roaming, restarts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tunnel.virtual import (
    ADDRESS_A,
    ADDRESS_B,
    WALL,
    Network,
    Side,
    connected,
    cut_up,
    device,
    endpoint,
    entropy,
    packet,
    pair,
    send,
)
from userlan.tunnel import messages
from userlan.tunnel.constants import BURST_BYTES, BURST_SEGMENTS, STAGED_BYTES, STAGED_PACKETS
from userlan.tunnel.device import Device
from userlan.tunnel.events import Roamed, SessionEstablished, TimestampAdvanced
from userlan.wire import tcp
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.udp import parse_datagram

PSK_1, PSK_2 = b"\x01" * 32, b"\x02" * 32


def stream(payload: bytes, segment_size: int) -> SuperPacket:
    segment = tcp.Segment(
        source_port=1, destination_port=2, seq=7, ack=9, flags=16, payload=payload, segment_size=segment_size
    )
    return tcp.build(segment, ADDRESS_A, ADDRESS_B)


# --- the data path


@given(st.integers(0, 65_000), st.integers(1, 1380))
@settings(deadline=None, max_examples=60)
def test_a_super_packet_arrives_whole(size: int, segment_size: int) -> None:
    a, b, network = connected()
    payload = entropy(size)(size)
    sent = stream(payload, segment_size if size > segment_size else 0)
    a.device.send(b.device.public_key, sent, network.now)
    arrived = b""
    for burst in a.device.datagrams(network.now):
        assert len(burst.data) <= BURST_BYTES
        assert len(burst.data) <= burst.segment * BURST_SEGMENTS
        assert burst.endpoint == b.endpoint
        for inbound in b.device.receive(bytearray(burst.data), burst.segment, a.endpoint, network.now):
            for one in inbound.packets:
                assert one.verified
                arrived += bytes(one.payload)
    assert arrived == payload


def test_one_super_packet_is_one_burst_and_one_super_packet_again() -> None:
    a, b, network = connected()
    payload = entropy("bulk")(45 * 1380)
    a.device.send(b.device.public_key, stream(payload, 1380), network.now)
    (burst,) = a.device.datagrams(network.now)
    assert burst.segment == 1452
    assert len(burst.data) == 45 * 1452
    (inbound,) = b.device.receive(memoryview(bytearray(burst.data)), burst.segment, a.endpoint, network.now)
    (one,) = inbound.packets
    assert bytes(one.payload) == payload
    assert one.segment_size == 1380


@pytest.mark.parametrize(
    ("length", "padded"), [(28, 32), (32, 32), (33, 48), (1400, 1408), (1409, 1420), (1420, 1420), (1421, 1421)]
)
def test_packets_are_padded_to_16_but_not_over_the_mtu(length: int, padded: int) -> None:
    a, b, network = connected()
    a.device.send(b.device.public_key, packet(bytes(length - 28)), network.now)
    (burst,) = a.device.datagrams(network.now)
    assert len(burst.data) == padded + messages.TRANSPORT_OVERHEAD
    network.inject(bytes(burst.data), a.endpoint, b.endpoint, network.now)
    network.run(network.now)
    assert b.received == [bytes(length - 28)], "the padding is gone"


def test_small_packets_leave_as_one_burst() -> None:
    a, b, network = connected()
    for number in range(150):
        a.device.send(b.device.public_key, packet(b"%03d" % number), network.now)
    bursts = a.device.datagrams(network.now)
    assert [len(cut_up(burst)) for burst in bursts] == [64, 64, 22]
    for burst in bursts:
        for inbound in b.device.receive(burst.data, burst.segment, a.endpoint, network.now):
            b.received += payloads(inbound.packets)
    assert b.received == [b"%03d" % number for number in range(150)]


def test_a_packet_that_no_datagram_can_carry_is_counted() -> None:
    a, b, network = connected()
    a.device.send(b.device.public_key, packet(bytes(65_500)), network.now)
    assert a.device.datagrams(network.now) == []
    assert a.device.counters["oversized"] == 1


def test_stock_peers_get_and_are_asked_for_checksums() -> None:
    a, b, network = connected()
    a.device.send(b.device.public_key, stream(b"data", 0), network.now)
    b.device.add_peer(a.device.public_key, stock=True)
    network.run(2.0)
    assert b.device.counters == {"ipv4-checksum": 1}, "an own node computes none"
    a.device.add_peer(b.device.public_key, stock=True, endpoint=b.endpoint)
    send(network, a, b, b"with checksum")
    network.run(3.0)
    assert b.received == [b"with checksum"]


# --- buffers with all sorts of datagrams


def sealed(side: Side, other: Side, now: float, *payloads: bytes) -> list[bytes]:
    for payload in payloads:
        side.device.send(other.device.public_key, packet(payload), now)
    return [datagram for burst in side.device.datagrams(now) for datagram in cut_up(burst)]


def payloads(packets: Iterable[SuperPacket]) -> list[bytes]:
    """What each datagram carries, those that came as one super-packet too."""
    return [bytes(parse_datagram(parse(piece)).payload) for packet in packets for piece in cut(packet, True)]


def received(side: Side, data: bytes, segment: int, source: Side, now: float) -> list[bytes]:
    inbound = side.device.receive(data, segment, source.endpoint, now)
    return [payload for item in inbound for payload in payloads(item.packets)]


def test_a_buffer_with_datagrams_of_two_sessions_and_of_other_types() -> None:
    a, b, network = connected()
    before = sealed(a, b, 1.0, b"old 1", b"old 2")
    a.device.initiate(b.device.public_key, [b.endpoint], 1.0)
    network.run(2.0)
    after = sealed(a, b, 2.0, b"new 1", b"new 2")
    foreign = b"\x04\0\0\0abcd".ljust(len(after[0]), b"\0")
    wrong = after[0][:-1] + bytes([after[0][-1] ^ 1])
    buffer = b"".join([before[0], after[0], foreign, wrong, before[1], after[1], after[1][:20]])
    assert received(b, buffer, len(after[0]), a, 2.0) == [b"old 1", b"new 1", b"old 2", b"new 2"]
    assert b.device.counters["transport-unknown-index"] == 1
    assert b.device.counters["transport-replayed"] == 1
    assert b.device.counters["transport-truncated"] == 1


@given(st.permutations(list(range(12))), st.sets(st.integers(0, 11)), st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_any_order_with_losses_and_repeats_delivers_each_packet_once(
    order: list[int], lost: set[int], together: int
) -> None:
    a, b, _ = connected()
    datagrams = sealed(a, b, 1.0, *[b"%02d" % number for number in range(12)])
    kept = [number for number in order if number not in lost]
    arrivals = [datagrams[number] for number in kept + kept[::-1]]
    got: list[bytes] = []
    for start in range(0, len(arrivals), together):
        got += received(b, b"".join(arrivals[start : start + together]), len(datagrams[0]), a, 1.0)
    assert got == [b"%02d" % number for number in kept]
    assert b.device.counters["transport-replayed"] == len(kept)


def test_keepalives_among_data_are_no_packets() -> None:
    a, b, _ = connected()
    first, second = sealed(a, b, 1.0, b"", b"x" * 3)
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    peer.keepalive(1.0)
    (burst,) = a.device.datagrams(1.0)
    buffer = first + second + bytes(burst.data)
    assert received(b, buffer, len(first), a, 1.0) == [b"", b"xxx"]
    assert not b.device.counters


# --- peers and keys


def test_a_wrong_preshared_key_fails_and_is_counted_and_succeeds_once_it_is_right() -> None:
    a, b, network = pair(keys_a=[PSK_1], keys_b=[PSK_2])
    send(network, a, b, b"data")
    network.run(12.0)
    assert b.received == []
    assert a.established == b.established == 0
    assert a.device.counters["response-unauthenticated"] == 3
    a.device.add_peer(b.device.public_key, preshared_keys=[PSK_2])
    network.run(18.0)
    assert b.received == [b"data"]
    assert a.established == b.established == 1


def test_the_initiator_tries_every_candidate() -> None:
    a, b, network = pair(keys_a=[PSK_2, bytes(32), PSK_1], keys_b=[PSK_1, PSK_2])
    send(network, a, b, b"data")
    network.run(1.0)
    assert b.received == [b"data"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"public_key": bytes(31)},
        {"preshared_keys": [bytes(31)]},
        {"preshared_keys": [bytes(32)] * 9},
        {"persistent_keepalive": -1},
        {"persistent_keepalive": float("nan")},
        {"persistent_keepalive": float("inf")},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, object]) -> None:
    given_arguments: dict[str, object] = {"public_key": b"\x09" * 32, **arguments}
    one = device("one")
    with pytest.raises(ValueError, match=r"32 bytes|seconds"):
        one.add_peer(**given_arguments)  # type: ignore[arg-type]
    assert one.peers() == []


def test_a_device_is_not_its_own_peer() -> None:
    one = device("one")
    with pytest.raises(ValueError, match="own"):
        one.add_peer(one.public_key)


def test_a_peer_with_a_key_of_low_order_gets_nothing() -> None:
    one = device("one")
    one.add_peer(bytes(32), endpoint=endpoint(9))
    one.send(bytes(32), packet(b"data"), 0.0)
    assert one.datagrams(0.0) == []
    assert one.counters["low-order-point"] == 1


def test_packets_for_nobody_are_counted() -> None:
    one = device("one")
    one.send(b"\x09" * 32, packet(b"data"), 0.0)
    one.initiate(b"\x09" * 32, [endpoint(9)], 0.0)
    assert one.counters["no-peer"] == 2


def test_a_removed_peer_is_gone_with_its_keys() -> None:
    a, b, network = connected()
    (datagram,) = sealed(b, a, 1.0, b"data")
    a.device.remove_peer(b.device.public_key)
    a.device.remove_peer(b.device.public_key)
    assert a.device.peer(b.device.public_key) is None
    assert not a.device.owns(datagram)
    assert received(a, datagram, 0, b, 1.0) == []
    network.run(1000.0)
    assert a.device.deadline() is None


def test_adding_a_peer_again_keeps_its_session_and_its_endpoint() -> None:
    a, b, network = connected()
    peer = b.device.peer(a.device.public_key)
    assert peer is b.device.add_peer(a.device.public_key, persistent_keepalive=20)
    assert peer is not None
    assert peer.endpoint == a.endpoint
    assert peer.has_session(network.now)
    peer.context = "mine"
    assert b.device.add_peer(a.device.public_key).context == "mine"


def test_what_waits_for_a_session_is_bounded() -> None:
    a, b, network = pair()
    for number in range(STAGED_PACKETS + 50):
        send(network, a, b, b"%d" % number)
    network.run(1.0)
    assert b.received == [b"%d" % number for number in range(50, STAGED_PACKETS + 50)]
    assert a.device.counters["staged-overflow"] == 50
    a, b, network = pair()
    for _ in range(40):
        a.device.send(b.device.public_key, stream(bytes(60_000), 1380), 0.0)
    assert a.device.counters["staged-overflow"] == 40 - STAGED_BYTES // 60_040


def test_statistics() -> None:
    a, b, network = connected()
    of_b, of_a = a.device.peer(b.device.public_key), b.device.peer(a.device.public_key)
    assert of_a is not None
    assert of_b is not None
    assert of_b.tx_bytes == of_a.rx_bytes == sum(
        len(datagram) for _, destination, datagram in network.sent if destination == b.endpoint
    )
    assert of_a.tx_bytes == of_b.rx_bytes == messages.RESPONSE_SIZE
    assert of_b.last_handshake == pytest.approx(0.02)
    assert of_a.last_handshake == of_a.last_received == pytest.approx(0.03)


# --- telling datagrams apart


def test_each_datagram_is_owned_by_the_device_it_is_for() -> None:
    a, b, network = pair()
    c = device("c")
    send(network, a, b, b"data")
    network.run(0.05)
    send(network, a, b, b"data")
    kinds = set()
    for _, destination, datagram in network.sent:
        if datagram[0] == messages.RESPONSE:
            continue  # answered by now
        owner, other = (b, a) if destination == b.endpoint else (a, b)
        assert owner.device.owns(datagram)
        assert owner.device.owns(memoryview(bytearray(datagram)))
        assert not other.device.owns(datagram)
        assert not c.owns(datagram)
        kinds.add(datagram[0])
    assert kinds == {messages.INITIATION, messages.TRANSPORT}


def test_a_response_and_a_cookie_reply_are_owned_while_they_are_awaited() -> None:
    a, b, network = pair()
    a.device.initiate(b.device.public_key, [b.endpoint], 0.0)
    ((initiation,),) = [cut_up(burst) for burst in a.device.datagrams(0.0)]
    b.device.receive(initiation, 0, a.endpoint, 0.0)
    ((response,),) = [cut_up(burst) for burst in b.device.datagrams(0.0)]
    cookie_reply = messages.TYPE_COOKIE_REPLY + initiation[4:8] + bytes(56)
    assert a.device.owns(response)
    assert a.device.owns(cookie_reply)
    a.device.receive(response, 0, b.endpoint, 0.0)
    assert not a.device.owns(response)
    assert network.now == 0.0


# --- roaming and restarts


def test_authenticated_data_moves_the_endpoint() -> None:
    a, b, network = connected()
    old, new = a.endpoint, endpoint(77, 7)
    a.endpoint = new
    send(network, a, b, b"from elsewhere")
    network.run(2.0)
    assert Roamed(a.device.public_key, old, new) in b.events
    send(network, b, a, b"there you are")
    network.run(3.0)
    assert a.received == [b"there you are"]


def test_nothing_but_authenticated_data_moves_the_endpoint() -> None:
    a, b, network = connected()
    attacker = Side(device("attacker"), endpoint(66, 6))
    peer = b.device.peer(a.device.public_key)
    assert peer is not None
    datagrams = sealed(a, b, 1.0, b"one", b"two")
    changed = datagrams[1][:-1] + bytes([datagrams[1][-1] ^ 1])
    assert received(b, changed, 0, attacker, 1.0) == []
    assert received(b, datagrams[1], 0, a, 1.0) == [b"two"]
    assert received(b, datagrams[1], 0, attacker, 1.0) == [], "replayed"
    assert received(b, datagrams[0], 0, attacker, 1.0) == [b"one"], "late, so its path is old"
    a.device.initiate(b.device.public_key, [attacker.endpoint], 1.0)
    (burst,) = a.device.datagrams(1.0)
    b.device.receive(burst.data, 0, attacker.endpoint, 1.0)
    assert peer.endpoint == a.endpoint, "an initiation proves one direction only"
    network.run(2.0)
    assert not any(isinstance(event, Roamed) for event in b.events)


def restarted(side: Side, other: Side, floor: bytes, wall: float, seed: str) -> Side:
    fresh = Device(
        entropy((1, "a"))(32), entropy=entropy(seed), now=0.0, wall_offset=wall, timestamp_floor=floor
    )
    assert fresh.public_key == side.device.public_key
    fresh.add_peer(other.device.public_key, endpoint=other.endpoint)
    return Side(fresh, side.endpoint)


def test_a_restart_with_the_clock_set_back_works_with_the_floor_only() -> None:
    a, b, network = connected()
    floor = [event for event in a.events if isinstance(event, TimestampAdvanced)][-1].value
    without = restarted(a, b, b"", WALL - 86_400, "without")
    network = Network(without, b)
    network.now = 10.0
    send(network, without, b, b"lost")
    network.run(12.0)
    assert b.received == []
    assert b.device.counters["initiation-replayed"] == 1
    with_floor = restarted(a, b, floor, WALL - 86_400, "with")
    network = Network(with_floor, b)
    network.now = 20.0
    send(network, with_floor, b, b"heard")
    network.run(22.0)
    assert b.received == [b"heard"]


def test_a_peer_that_restarted_takes_over_from_its_old_sessions() -> None:
    a, b, _ = connected()
    again = restarted(a, b, b"", WALL, "again")
    network = Network(again, b)
    network.now = 5.0
    send(network, again, b, b"hello")
    network.run(6.0)
    send(network, b, again, b"welcome back")
    network.run(7.0)
    assert b.received == [b"hello"]
    assert again.received == [b"welcome back"]
    assert [type(event) for event in b.events].count(SessionEstablished) == 2
