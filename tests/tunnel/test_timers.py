"""Every timer of the protocol, in virtual time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.tunnel.virtual import Network, Side, connected, pair, send
from userlan.tunnel import messages
from userlan.tunnel.constants import REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES
from userlan.tunnel.events import Expired, HandshakeFailed, SessionEstablished
from userlan.tunnel.session import Session

JITTER = 0.334
LOST: float | None = None


def sent(network: Network, kind: int, to: Side, since: float = 0.0, size: int | None = None) -> list[float]:
    """When datagrams of a type left for a side, after `since`."""
    return [
        time
        for time, destination, datagram in network.sent
        if destination == to.endpoint and datagram[0] == kind and time > since and size in (None, len(datagram))
    ]


def keepalives(network: Network, to: Side, since: float = 0.0) -> list[float]:
    return sent(network, messages.TRANSPORT, to, since, messages.TRANSPORT_MINIMUM)


def cut_off(network: Network) -> None:
    network.delay = lambda datagram: LOST


def current(side: Side, other: Side) -> Session:
    peer = side.device.peer(other.device.public_key)
    assert peer is not None
    assert peer.keyring.current is not None
    return peer.keyring.current


def test_an_unanswered_initiation_is_repeated_for_90_seconds_then_given_up() -> None:
    a, b, network = pair(delay=lambda datagram: LOST)
    send(network, a, b, b"never")
    network.run(300.0)
    times = sent(network, messages.INITIATION, b, -1.0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(5.0 <= gap <= 5.0 + JITTER for gap in gaps)
    assert len({round(gap, 6) for gap in gaps}) > 10, "the jitter differs"
    assert 84.0 <= times[-1] <= 92.0
    assert [event for event in a.events if isinstance(event, HandshakeFailed)] == [HandshakeFailed(b.device.public_key)]
    assert a.device.counters["staged-given-up"] == 1


def test_every_repeated_initiation_is_fresh() -> None:
    a, b, network = pair(delay=lambda datagram: LOST)
    send(network, a, b, b"never")
    network.run(60.0)
    datagrams = [datagram for _, _, datagram in network.sent]
    for part in (slice(4, 8), slice(8, 40), slice(40, 88), slice(88, 116), slice(116, 132)):
        assert len({datagram[part] for datagram in datagrams}) == len(datagrams) > 10


def test_after_giving_up_the_next_packet_begins_anew() -> None:
    a, b, network = pair(delay=lambda datagram: LOST)
    send(network, a, b, b"never")
    network.run(150.0)
    network.delay = lambda datagram: 0.01
    send(network, a, b, b"now")
    network.run(151.0)
    assert b.received == [b"now"]


def test_without_an_endpoint_a_packet_waits_and_is_given_up_after_90_seconds() -> None:
    a, b, network = pair()
    send(network, b, a, b"where")
    network.run(80.0)
    assert network.sent == []
    network.run(120.0)
    assert HandshakeFailed(a.device.public_key) in b.events
    assert network.sent == []


def test_staged_packets_leave_as_soon_as_an_endpoint_is_configured() -> None:
    a, b, network = pair()
    send(network, b, a, b"where")
    network.run(3.0)
    b.device.add_peer(a.device.public_key, endpoint=a.endpoint)
    network.run(3.1)
    assert a.received == [b"where"]


def test_the_first_message_confirms_the_session_even_without_data() -> None:
    a, b, network = pair()
    a.device.initiate(b.device.public_key, [b.endpoint], 0.0)
    network.run(1.0)
    assert keepalives(network, b) == [0.02]
    assert a.established == b.established == 1
    send(network, b, a, b"answer")
    network.run(2.0)
    assert a.received == [b"answer"]


def test_received_data_is_answered_by_a_keepalive_after_10_seconds_and_by_no_more() -> None:
    a, b, network = connected()
    send(network, a, b, b"data")
    arrival = 1.01
    network.run(100.0)
    assert b.received == [b"data"]
    # The data of the handshake armed the timer; since more came while it ran, another keepalive follows.
    assert keepalives(network, a, 1.0) == pytest.approx([10.03, 20.03])
    assert keepalives(network, b, arrival) == []


def test_own_data_spares_the_keepalive() -> None:
    a, b, network = connected()
    for second in range(2, 60, 4):
        network.run(float(second))
        send(network, a, b, b"question")
        network.run(second + 2.0)
        send(network, b, a, b"answer")
    assert keepalives(network, a, 1.0) == []


def test_persistent_keepalives() -> None:
    a, b, network = pair()
    a.device.add_peer(b.device.public_key, persistent_keepalive=25)
    network.run(100.0)
    times = keepalives(network, b)
    assert len(times) == 4, "at once, then every 25 s"
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([25.0] * 3)
    a.device.add_peer(b.device.public_key, persistent_keepalive=0)
    network.run(119.0)
    assert keepalives(network, b, 100.0) == []


def test_silence_for_15_seconds_after_own_data_begins_a_handshake() -> None:
    a, b, network = connected()
    network.run(30.0)
    cut_off(network)
    send(network, a, b, b"lost")
    network.run(46.0)
    (time,) = sent(network, messages.INITIATION, b, 1.0)
    assert 45.0 <= time <= 45.0 + JITTER


def test_the_initiator_renews_the_session_after_120_seconds_when_it_sends() -> None:
    a, b, network = connected()
    for second in range(5, 400, 5):
        network.run(float(second))
        send(network, a, b, b"%d" % second)
        send(network, b, a, b"%d" % second)
    network.run(401.0)
    times = sent(network, messages.INITIATION, b, 1.0)
    assert len(times) == 3
    assert times[0] == pytest.approx(125.0)
    assert sent(network, messages.INITIATION, a) == []
    assert a.received == b.received == [b"%d" % second for second in range(5, 400, 5)]


@pytest.mark.parametrize(("age", "renewed"), [(160.0, False), (166.0, True)])
def test_receiving_late_in_the_session_makes_the_initiator_renew_it_at_once(age: float, renewed: bool) -> None:
    a, b, network = connected()
    network.run(age)
    send(network, b, a, b"late")
    network.run(age + 1.0)
    assert a.received == [b"late"]
    assert bool(sent(network, messages.INITIATION, b, 1.0)) == renewed


def test_a_keepalive_is_an_occasion_to_renew_the_session() -> None:
    a, b, network = connected()
    network.run(115.0)
    send(network, b, a, b"data")
    network.run(130.0)
    assert sent(network, messages.INITIATION, b, 1.0) == pytest.approx([125.01])


def test_a_session_of_180_seconds_neither_seals_nor_opens() -> None:
    a, b, network = connected()
    network.run(170.0)
    send(network, b, a, b"late")
    late = [datagram for _, destination, datagram in network.sent if destination == a.endpoint][-1]
    cut_off(network)
    network.run(181.5)
    before = len(network.sent)
    send(network, b, a, b"too late")
    assert {datagram[0] for _, _, datagram in network.sent[before:]} <= {messages.INITIATION}
    peer = b.device.peer(a.device.public_key)
    assert peer is not None
    assert not peer.has_session(network.now)
    assert a.device.receive(late, 0, b.endpoint, network.now) == []
    assert a.device.counters["transport-expired"] == 1


def test_all_keys_go_540_seconds_after_the_last_session() -> None:
    a, b, network = connected()
    network.run(500.0)
    assert Expired(b.device.public_key) not in a.events
    network.run(545.0)
    assert Expired(b.device.public_key) in a.events
    assert Expired(a.device.public_key) in b.events
    stale = next(datagram for _, _, datagram in network.sent if datagram[0] == messages.TRANSPORT)
    assert not b.device.owns(stale)
    send(network, a, b, b"again")
    network.run(546.0)
    assert b.received == [b"again"]


def test_a_device_at_rest_has_no_deadline() -> None:
    a, b, network = connected()
    network.run(3000.0)
    assert a.device.deadline() is None
    assert b.device.deadline() is None


def test_the_session_is_renewed_after_2_to_the_60_messages() -> None:
    a, b, network = connected()
    current(a, b).send_counter = REKEY_AFTER_MESSAGES - 1
    network.run(10.0)
    send(network, a, b, b"one")
    assert sent(network, messages.INITIATION, b, 1.0) == []
    send(network, a, b, b"two")
    network.run(11.0)
    assert sent(network, messages.INITIATION, b, 1.0) == [10.0]
    assert b.received == [b"one", b"two"]
    assert current(a, b).send_counter < 10


def test_no_message_is_sealed_at_the_limit() -> None:
    a, b, network = connected()
    network.run(10.0)
    session = current(a, b)
    session.send_counter = REJECT_AFTER_MESSAGES - 1
    send(network, a, b, b"last")
    send(network, a, b, b"first of the next")
    network.run(11.0)
    assert session.send_counter == REJECT_AFTER_MESSAGES
    assert current(a, b) is not session
    assert b.received == [b"last", b"first of the next"]


def test_sessions_go_on_for_a_day() -> None:
    a, b, network = connected()
    for minute in range(1, 24 * 60):
        network.run(minute * 60.0)
        send(network, a, b, b"%d" % minute)
        if minute % 7 == 0:
            send(network, b, a, b"%d" % minute)
    network.run(24 * 3600.0)
    assert b.received == [b"%d" % minute for minute in range(1, 24 * 60)]
    assert a.received == [b"%d" % minute for minute in range(7, 24 * 60, 7)]
    assert all(isinstance(event, SessionEstablished) for event in b.events)
