"""What attackers can make a device do: no Diffie-Hellman for forgeries, no memory, nobody pushed out."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from tests.tunnel.virtual import Network, Side, connected, cut_up, device, endpoint, entropy, packet, pair, send
from userlan.tunnel import messages, primitives
from userlan.tunnel.cookie import CookieChecker, CookieHolder
from userlan.tunnel.device import Device
from userlan.tunnel.events import Expired, SessionEstablished, UnknownPeer
from userlan.tunnel.load import LoadMeter, SourceLimiter
from userlan.wire.endpoint import Endpoint


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The public key of every Diffie-Hellman that is computed from here on."""
    computed: list[bytes] = []
    original = primitives.shared_secret

    def counting(private: bytes, public: bytes) -> bytes:
        computed.append(public)
        return original(private, public)

    monkeypatch.setattr(primitives, "shared_secret", counting)
    return computed


def initiation_of(sender: Device, receiver: Device, now: float = 0.0) -> bytes:
    """A fresh initiation; every call must be 25 ms later than the one before."""
    if sender.peer(receiver.public_key) is None:
        sender.add_peer(receiver.public_key)
    sender.initiate(receiver.public_key, [endpoint(99)], now)
    (datagram,) = [one for burst in sender.datagrams(now) for one in cut_up(burst)]
    return datagram


def outgoing(one: Device, now: float) -> list[bytes]:
    return [datagram for burst in one.datagrams(now) for datagram in cut_up(burst)]


# --- no work for forgeries


def test_mac1_comes_before_any_diffie_hellman(exchanges: list[bytes]) -> None:
    a, b = device("a"), device("b")
    b.add_peer(a.public_key)
    good = initiation_of(a, b)
    exchanges.clear()
    for place in range(116, 132):
        b.receive(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :], 0, endpoint(1), 0.0)
    assert exchanges == []
    assert b.counters["mac1-invalid"] == 16
    b.receive(good, 0, endpoint(1), 0.0)
    assert len(exchanges) == 4, "static, static-static, and two for the response"
    assert len(outgoing(b, 0.0)) == 1


def test_a_response_is_looked_up_and_its_mac1_checked_before_any_diffie_hellman(exchanges: list[bytes]) -> None:
    a, b = device("a"), device("b")
    b.add_peer(a.public_key)
    b.receive(initiation_of(a, b), 0, endpoint(1), 0.0)
    (response,) = outgoing(b, 0.0)
    exchanges.clear()
    a.receive(response[:-20] + bytes(20), 0, endpoint(2), 0.0)
    a.receive(response[:8] + b"none" + response[12:], 0, endpoint(2), 0.0)
    assert exchanges == []
    assert a.counters["mac1-invalid"] == a.counters["response-unknown-index"] == 1
    a.receive(response, 0, endpoint(2), 0.0)
    assert len(exchanges) == 2


def test_who_is_not_known_gets_no_answer(exchanges: list[bytes]) -> None:
    a, b = device("a"), device("b")
    message = initiation_of(a, b)
    exchanges.clear()
    b.receive(message, 0, endpoint(1), 0.0)
    assert outgoing(b, 0.0) == []
    assert b.counters["unknown-peer"] == 1
    assert len(exchanges) == 1
    assert b.peers() == []


def test_a_replayed_initiation_is_refused() -> None:
    a, b, network = connected()
    initiation = network.sent[0][2]
    b.device.receive(initiation, 0, endpoint(66), 2.0)
    assert outgoing(b.device, 2.0) == []
    assert b.device.counters["initiation-replayed"] == 1
    send(network, b, a, b"still here")
    network.run(3.0)
    assert a.received == [b"still here"]


def test_one_peer_is_answered_every_20_milliseconds_at_most() -> None:
    a, b = device("a"), device("b")
    b.add_peer(a.public_key)
    collected = [initiation_of(a, b, number * 0.03) for number in range(20)]
    for number, message in enumerate(collected):
        b.receive(message, 0, endpoint(1), 1.0 + number * 0.005)
    assert len(outgoing(b, 2.0)) == 5
    assert b.counters["initiation-flood"] == 15


def test_nothing_is_remembered_of_forgeries() -> None:
    a, b, network = connected()
    random = entropy("flood")

    def flood(rounds: int) -> None:
        for _ in range(rounds):
            body = messages.TYPE_INITIATION + random(112)
            forged = CookieHolder(b.device.public_key).add_macs(body, network.now)
            b.device.receive(forged, 0, endpoint(66), network.now)
            b.device.receive(messages.TYPE_TRANSPORT + random(60), 0, endpoint(66), network.now)
            b.device.receive(messages.TYPE_RESPONSE + random(88), 0, endpoint(66), network.now)
            b.device.receive(messages.TYPE_COOKIE_REPLY + random(60), 0, endpoint(66), network.now)
            b.device.datagrams(network.now)

    flood(300)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    flood(3000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert sum(b.device.counters.values()) == 4 * 3300
    send(network, a, b, b"unharmed")
    network.run(2.0)
    assert b.received == [b"unharmed"]


# --- cookies


def test_under_load_a_cookie_is_asked_for_and_then_the_handshake_completes(exchanges: list[bytes]) -> None:
    a, _, _ = pair()
    b = Side(device("loaded", under_load_rate=0.0), endpoint(2))
    b.device.add_peer(a.device.public_key)
    a.device.add_peer(b.device.public_key, endpoint=b.endpoint)
    network = Network(a, b)
    a.device.send(b.device.public_key, packet(b"patience"), 0.0)
    network.flush()
    exchanges.clear()
    network.run(4.0)
    assert exchanges == [], "no Diffie-Hellman without a cookie"
    assert b.device.counters["cookies-sent"] == a.device.counters["cookies-received"] == 1
    network.run(6.0)
    assert b.received == [b"patience"]
    assert [datagram[0] for _, _, datagram in network.sent] == [1, 3, 1, 2, 4]
    assert network.sent[2][2][-16:] != bytes(16)


def test_a_loaded_initiator_asks_for_a_cookie_of_the_response_too() -> None:
    a = Side(device("loaded", under_load_rate=0.0), endpoint(1))
    b = Side(device("b"), endpoint(2))
    a.device.add_peer(b.device.public_key, endpoint=b.endpoint)
    b.device.add_peer(a.device.public_key)
    network = Network(a, b)
    a.device.send(b.device.public_key, packet(b"patience"), 0.0)
    network.run(6.0)
    assert b.received == [b"patience"]
    assert b.device.counters["cookies-received"] == 1


def test_a_cookie_is_good_for_its_address_only() -> None:
    b = device("loaded", under_load_rate=0.0)
    a = device("a")
    b.add_peer(a.public_key)
    b.receive(initiation_of(a, b), 0, endpoint(1), 0.0)
    (reply,) = outgoing(b, 0.0)
    a.receive(reply, 0, endpoint(2), 0.0)
    with_cookie = initiation_of(a, b, 0.1)
    b.receive(with_cookie, 0, endpoint(66), 0.1)
    assert [datagram[0] for datagram in outgoing(b, 0.1)] == [messages.COOKIE_REPLY]
    b.receive(with_cookie, 0, endpoint(1), 0.1)
    assert [datagram[0] for datagram in outgoing(b, 0.1)] == [messages.RESPONSE]


def test_a_cookie_reply_must_authenticate() -> None:
    b = device("loaded", under_load_rate=0.0)
    a = device("a")
    b.add_peer(a.public_key)
    b.receive(initiation_of(a, b), 0, endpoint(1), 0.0)
    (reply,) = outgoing(b, 0.0)
    a.receive(reply[:-1] + bytes([reply[-1] ^ 1]), 0, endpoint(2), 0.0)
    a.receive(reply[:4] + b"none" + reply[8:], 0, endpoint(2), 0.0)
    assert a.counters["cookie-unauthenticated"] == a.counters["cookie-unknown-index"] == 1
    assert initiation_of(a, b, 0.1)[-16:] == bytes(16)


def test_cookies_and_their_secret_last_120_seconds() -> None:
    source, address = entropy("cookies"), endpoint(1)
    checker = CookieChecker(bytes(32), source)
    holder = CookieHolder(bytes(32))
    message = holder.add_macs(bytes(116), 0.0)
    assert checker.mac1_valid(message)
    assert not checker.mac2_valid(message, address, 0.0)
    assert holder.consume_reply(checker.reply(message, address, 0.0), message[-32:-16], 0.0)
    assert checker.mac2_valid(holder.add_macs(bytes(116), 114.0), address, 114.0)
    assert holder.add_macs(bytes(116), 115.5)[-16:] == bytes(16), "the holder forgets it 5 s earlier"


def test_a_cookie_lives_until_the_retry_it_was_sent_for() -> None:
    checker, holder = CookieChecker(bytes(32), entropy("cookies")), CookieHolder(bytes(32))
    message = holder.add_macs(bytes(116), 0.0)
    checker.reply(message, endpoint(1), 0.0)
    assert holder.consume_reply(checker.reply(message, endpoint(1), 119.0), message[-32:-16], 119.0)
    assert checker.mac2_valid(holder.add_macs(bytes(116), 124.3), endpoint(1), 124.3)
    assert not checker.mac2_valid(holder.add_macs(bytes(116), 130.0), endpoint(1), 130.0)


# --- load and rates


def test_load_is_a_rate_and_lasts_a_second() -> None:
    meter = LoadMeter(0.0, rate=100.0)
    assert not any(meter.message(0.0) for _ in range(100))
    assert meter.message(0.0)
    assert meter.message(0.5)
    assert not meter.message(1.6)
    steady = LoadMeter(0.0, rate=100.0)
    assert not any(steady.message(number / 90) for number in range(1000))


def test_each_address_has_a_rate_of_its_own() -> None:
    limiter = SourceLimiter()
    one, other = Endpoint("udp", "192.0.2.1", 1), Endpoint("udp", "192.0.2.2", 1)
    assert [limiter.allow(one, 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limiter.allow(other, 0.0)
    assert not limiter.allow(one._replace(port=2), 0.0), "the port makes no difference"
    assert sum(limiter.allow(one, 1.0 + number / 100) for number in range(101)) == pytest.approx(25, abs=1)


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    limiter = SourceLimiter()
    hosts = [f"2001:db8:1:2::{number:x}" for number in range(1, 8)]
    assert [limiter.allow(Endpoint("udp", host, 1), 0.0) for host in hosts] == [True] * 5 + [False] * 2
    assert limiter.allow(Endpoint("udp", "2001:db8:1:3::1", 1), 0.0)
    assert limiter.allow(Endpoint("udp", "::ffff:192.0.2.1", 1), 0.0)
    assert limiter.allow(Endpoint("udp", "::ffff:192.0.2.2", 1), 0.0)


def test_remembered_addresses_are_bounded_and_forgotten() -> None:
    limiter = SourceLimiter()
    allowed = [limiter.allow(Endpoint("udp", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1), 0.0) for n in range(10_000)]
    assert sum(allowed) == len(limiter) == 8192
    assert limiter.allow(Endpoint("udp", "192.0.2.1", 1), 1.0)
    assert len(limiter) == 1


def test_under_load_a_proven_address_is_limited() -> None:
    b = device("loaded", under_load_rate=0.0)
    senders = [device(f"sender {number}") for number in range(10)]
    answered = 0
    for sender in senders:
        b.add_peer(sender.public_key)
        b.receive(initiation_of(sender, b), 0, endpoint(1), 0.0)
        (reply,) = outgoing(b, 0.0)
        sender.receive(reply, 0, endpoint(2), 0.0)
        b.receive(initiation_of(sender, b, 0.1), 0, endpoint(1), 0.1)
        answered += len(outgoing(b, 0.1))
    assert answered == 5
    assert b.counters["source-rate-limited"] == 5


# --- unknown peers


def mediator(limit: int) -> Side:
    return Side(device("mediator", accept_unknown=True, max_unknown=limit), endpoint(250))


def guest(number: int, host: Side) -> Side:
    side = Side(device(f"guest {number}"), endpoint(number))
    side.device.add_peer(host.device.public_key, endpoint=host.endpoint)
    return side


def test_an_unknown_peer_is_taken_in_and_can_talk() -> None:
    host = mediator(3)
    one = guest(1, host)
    network = Network(host, one)
    send(network, one, host, b"hello")
    network.run(1.0)
    send(network, host, one, b"welcome")
    network.run(2.0)
    assert host.received == [b"hello"]
    assert one.received == [b"welcome"]
    kinds = [type(event) for event in host.events]
    assert kinds.index(UnknownPeer) < kinds.index(SessionEstablished)


def test_a_newcomer_takes_the_place_of_the_one_that_was_silent_longest() -> None:
    host = mediator(2)
    one, two, three = (guest(number, host) for number in (1, 2, 3))
    network = Network(host, one, two, three)
    send(network, one, host, b"1")
    network.run(10.0)
    send(network, two, host, b"2")
    network.run(15.0)
    send(network, three, host, b"refused")
    network.run(16.0)
    assert host.device.counters["unknown-full"] >= 1
    assert host.received == [b"1", b"2"]
    network.run(400.0)
    send(network, three, host, b"3")
    network.run(401.0)
    assert host.received[-1] == b"3"
    keys = {peer.public_key for peer in host.device.peers()}
    assert keys == {two.device.public_key, three.device.public_key}
    assert Expired(one.device.public_key) in host.events


def test_half_open_ones_make_room_and_live_ones_never_do() -> None:
    host = mediator(10)
    live = [guest(number, host) for number in range(1, 6)]
    network = Network(host, *live)
    for side in live:
        send(network, side, host, b"live")
    network.run(1.0)
    for number in range(60):
        now = 1.0 + number
        attacker = device(f"attacker {number}")
        host.device.receive(initiation_of(attacker, host.device, now), 0, endpoint(66), now)
        for side in live:
            send(network, side, host, b"%d" % number)
        network.run(now + 0.9)
    assert len(host.device.peers()) == 10
    assert all(host.device.peer(side.device.public_key) is not None for side in live)
    assert host.received.count(b"59") == 5
    assert host.device.counters["unknown-evicted"] > 0
    late = guest(9, host)
    network = Network(host, late)
    network.now = 70.0
    send(network, late, host, b"there was room")
    network.run(71.0)
    assert host.received[-1] == b"there was room"


def test_a_peer_that_is_added_no_longer_counts_as_unknown() -> None:
    host = mediator(1)
    one, two = guest(1, host), guest(2, host)
    network = Network(host, one, two)
    send(network, one, host, b"1")
    network.run(1.0)
    host.device.add_peer(one.device.public_key)
    send(network, two, host, b"2")
    network.run(2.0)
    assert host.received == [b"1", b"2"]


def test_an_unknown_peer_is_forgotten_once_its_keys_are() -> None:
    host = mediator(1)
    one = guest(1, host)
    network = Network(host, one)
    send(network, one, host, b"1")
    network.run(600.0)
    assert host.device.peers() == []
    assert Expired(one.device.public_key) in host.events
    assert host.device.deadline() is None


def test_a_flood_of_new_keys_leaves_no_memory_behind() -> None:
    host = mediator(20)
    tracemalloc.start()
    sizes = []
    for number in range(900):
        now = number * 0.5
        attacker = device(f"flood {number}")
        host.device.receive(initiation_of(attacker, host.device, now), 0, endpoint(66), now)
        host.device.datagrams(now)
        host.device.events()
        host.device.tick(now)
        if number % 300 == 299:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(host.device.peers()) == 20
    assert sizes[2] - sizes[1] < 60_000
