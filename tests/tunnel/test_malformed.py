"""Arbitrary bytes: nothing raises, everything is counted, and what works goes on working."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tunnel.virtual import Side, connected, cut_up, device, endpoint, packet, pair
from userlan.tunnel import messages
from userlan.wire.endpoint import Endpoint

SIZES = [0, 1, 3, 4, 8, 15, 16, 31, 32, 33, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500]
HEADS = [messages.TYPE_INITIATION, messages.TYPE_RESPONSE, messages.TYPE_COOKIE_REPLY, messages.TYPE_TRANSPORT]

headed = st.builds(
    lambda head, size, fill: (head + fill * 400)[:size],
    st.sampled_from([*HEADS, b"\x01\0\0\x01", b"\x04\x01\0\0", b"\x05\0\0\0", b""]),
    st.sampled_from(SIZES),
    st.binary(min_size=4, max_size=16),
)
anything = st.one_of(st.binary(max_size=300), headed)


def deliver(side: Side, data: bytes, segment: int = 0) -> int:
    """Feed it; how much was counted."""
    before = sum(side.device.counters.values())
    side.device.owns(data)
    assert side.device.receive(data, segment, endpoint(66), 1.5) == []
    side.device.datagrams(1.5)
    side.device.events()
    return sum(side.device.counters.values()) - before


@given(anything)
@settings(deadline=None, max_examples=300)
def test_arbitrary_datagrams_are_dropped_and_counted(data: bytes) -> None:
    _, b, _ = pair()
    assert deliver(b, data) == 1


@given(st.binary(max_size=2000), st.integers(-5, 2100))
@settings(deadline=None, max_examples=200)
def test_arbitrary_buffers_are_dropped_and_each_datagram_counted(data: bytes, segment: int) -> None:
    _, b, _ = pair()
    size = segment if 0 < segment < len(data) else len(data)
    assert deliver(b, data, segment) == (-(-len(data) // size) if data else 1)


def recorded() -> tuple[Side, Side, list[bytes]]:
    """A session, and one more valid message of each type for B that B has not seen yet."""
    a, b, _ = connected()
    a.device.initiate(b.device.public_key, [b.endpoint], 1.0)
    valid = [datagram for burst in a.device.datagrams(1.0) for datagram in cut_up(burst)]
    b.device.initiate(a.device.public_key, [a.endpoint], 1.0)
    for burst in b.device.datagrams(1.0):
        a.device.receive(burst.data, burst.segment, b.endpoint, 1.0)
    a.device.send(b.device.public_key, packet(b"data"), 1.0)
    valid += [datagram for burst in a.device.datagrams(1.0) for datagram in cut_up(burst)]
    assert [datagram[0] for datagram in valid] == [messages.INITIATION, messages.RESPONSE, messages.TRANSPORT]
    return a, b, valid


@given(st.integers(0, 2), st.data())
@settings(deadline=None, max_examples=300)
def test_changed_messages_are_dropped_and_counted(kind: int, data: st.DataObject) -> None:
    a, b, valid = recorded()
    message = valid[kind]
    place = data.draw(st.integers(0, len(message) - 1))
    change = data.draw(st.integers(1, 255))
    changed = message[:place] + bytes([message[place] ^ change]) + message[place + 1 :]
    if kind < 2 and place >= len(message) - messages.MAC_SIZE:
        return  # mac2 is looked at under load only
    assert deliver(b, changed) == 1
    peer = b.device.peer(a.device.public_key)
    assert peer is not None
    assert peer.endpoint == a.endpoint
    (inbound,) = b.device.receive(valid[2], 0, a.endpoint, 1.6)
    assert len(inbound.packets) == 1


@given(st.integers(0, 2), st.data())
@settings(deadline=None, max_examples=150)
def test_cut_off_and_lengthened_messages_are_dropped_and_counted(kind: int, data: st.DataObject) -> None:
    _, b, valid = recorded()
    message = valid[kind]
    if data.draw(st.booleans()):
        message = message[: data.draw(st.integers(0, len(message) - 1))]
    else:
        message += data.draw(st.binary(min_size=1, max_size=100))
    assert deliver(b, message) == 1


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=150)
def test_authentic_rubbish_inside_is_dropped_and_counted(rubbish: bytes) -> None:
    a, b, _ = connected()
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    assert peer.keyring.current is not None
    sealed = peer.keyring.current.seal([rubbish], 1420)
    inbound = b.device.receive(sealed, 0, a.endpoint, 1.5)
    counted = sum(b.device.counters.values())
    assert counted + sum(len(item.packets) for item in inbound) == (1 if rubbish else 0)


@given(st.text(max_size=20), st.integers(0, 70_000))
@settings(deadline=None, max_examples=60)
def test_odd_sources_do_no_harm(host: str, port: int) -> None:
    a = device("a")
    b = device("b", under_load_rate=0.0)
    a.add_peer(b.public_key)
    b.add_peer(a.public_key)
    odd = Endpoint("tcp", host, port)
    replies = 0
    for now in (0.0, 0.1):
        a.initiate(b.public_key, [endpoint(2)], now)
        for burst in a.datagrams(now):
            b.receive(burst.data, 0, odd, now)
        for burst in b.datagrams(now):
            assert burst.endpoint == odd
            replies += 1
            a.receive(burst.data, 0, endpoint(2), now)
    assert replies >= 2


def test_a_datagram_over_the_limit_is_refused() -> None:
    _, b, _ = pair()
    assert deliver(b, messages.TYPE_TRANSPORT + bytes(70_000)) == 1
    assert b.device.counters["malformed"] == 1
