"""AES-256-GCM between devices that both take it: how it comes about, what it never does, and its limits."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tunnel.virtual import Network, Side, connected, cut_up, device, endpoint, entropy, packet, pair, send
from userlan.tunnel import messages
from userlan.tunnel.choice import SuiteChoice
from userlan.tunnel.constants import AES_REFUSALS, REJECT_AFTER_GCM_MESSAGES, REKEY_AFTER_GCM_MESSAGES
from userlan.tunnel.cookie import CookieChecker, CookieHolder
from userlan.tunnel.peer import Peer
from userlan.tunnel.suites import AES_256_GCM, CHACHA20_POLY1305

AES, CHACHA = AES_256_GCM.name, CHACHA20_POLY1305.name
NEW_TYPES = {messages.AES_INITIATION, messages.AES_RESPONSE, messages.AES_TRANSPORT}
BOTH = (True, True)


def peer_of(side: Side, other: Side) -> Peer:
    peer = side.device.peer(other.device.public_key)
    assert peer is not None
    return peer


def tell(network: Network, side: Side, other: Side) -> None:
    """`side` hears what `other` takes."""
    side.device.ciphers_told(other.device.public_key, other.device.ciphers, network.now)
    network.flush()


def ciphers(network: Network, a: Side, b: Side) -> tuple[str, str]:
    return peer_of(a, b).cipher(network.now), peer_of(b, a).cipher(network.now)


def kinds(network: Network, since: float = 0.0) -> set[int]:
    return {datagram[0] for time, _, datagram in network.sent if time >= since}


def converse(a: Side, b: Side, network: Network, start: float, kind: int) -> None:
    """Data goes both ways, at once, and in messages of that type alone."""
    network.run(start)
    a.received.clear()
    b.received.clear()
    for number in range(5):
        send(network, a, b, b"to b %d" % number)
        send(network, b, a, b"to a %d" % number)
    network.run(start + 3.0)
    assert b.received == [b"to b %d" % number for number in range(5)]
    assert a.received == [b"to a %d" % number for number in range(5)]
    assert kinds(network, start) == {kind}


def only(*lost: int) -> Callable[[bytes], float | None]:
    """A link on which messages of these types get lost."""
    return lambda datagram: None if datagram[0] in lost else 0.01


def outgoing(side: Side, now: float) -> list[bytes]:
    return [datagram for burst in side.device.datagrams(now) for datagram in cut_up(burst)]


# --- how it comes about


@pytest.mark.parametrize("hearer", ["initiator", "responder", "both"])
def test_the_session_is_renewed_in_aes_as_soon_as_one_side_knows(hearer: str) -> None:
    a, b, network = connected(aes=BOTH)
    assert ciphers(network, a, b) == (CHACHA, CHACHA)
    if hearer != "responder":
        tell(network, a, b)
    if hearer != "initiator":
        tell(network, b, a)
    network.run(1.1 if hearer != "responder" else 2.1)
    assert ciphers(network, a, b) == (AES, AES)
    assert [datagram[0] for time, _, datagram in network.sent if time >= 1.0][:3] == [5, 6, 8]
    assert (peer_of(a, b).ciphers, peer_of(b, a).ciphers)[hearer == "initiator"] == (AES,), "an initiation in it says it, too"
    converse(a, b, network, 3.0, messages.AES_TRANSPORT)
    assert a.established == b.established == 2


def test_who_knows_from_the_last_run_needs_no_telling_again() -> None:
    a, b, network = pair(aes=BOTH)
    tell(network, a, b)
    send(network, a, b, b"first")
    network.run(0.5)
    assert b.received == [b"first"]
    assert [datagram[0] for _, _, datagram in network.sent] == [1, 2, 4, 5, 6, 8]
    assert ciphers(network, a, b) == (AES, AES)


@pytest.mark.parametrize("aes", [(True, False), (False, True), (False, False)])
def test_one_side_without_it_keeps_both_on_chacha(aes: tuple[bool, bool]) -> None:
    a, b, network = connected(aes=aes)
    tell(network, a, b)
    tell(network, b, a)
    for minute in range(1, 10):
        network.run(minute * 60.0)
        send(network, a, b, b"data")
        send(network, b, a, b"data")
    assert not kinds(network) & NEW_TYPES
    assert ciphers(network, a, b) == (CHACHA, CHACHA)


def test_unknown_names_are_passed_over() -> None:
    a, b, network = connected(aes=BOTH)
    a.device.ciphers_told(b.device.public_key, ["aegis-128x2", AES.upper(), ""], 1.0)
    network.run(9.0)
    assert peer_of(a, b).ciphers == ()
    assert not kinds(network) & NEW_TYPES


def test_sessions_stay_in_aes_for_a_day_with_nothing_lost() -> None:
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    for number in range(1, 2000):
        network.run(number * 45.0)
        send(network, a, b, b"%d" % number)
        if number % 7 == 0:
            send(network, b, a, b"%d" % number)
    network.run(2000 * 45.0)
    assert b.received == [b"%d" % number for number in range(1, 2000)]
    assert a.received == [b"%d" % number for number in range(7, 2000, 7)]
    assert kinds(network, 2.0) <= NEW_TYPES


def test_a_transfer_goes_on_through_the_renewal() -> None:
    a, b, network = connected(aes=BOTH)
    for number in range(1000):
        network.run(1.0 + number * 0.001)
        if number == 300:
            tell(network, a, b)
        if number == 310:
            tell(network, b, a)
        send(network, a, b, b"%d" % number)
        send(network, b, a, b"%d" % number)
    network.run(5.0)
    assert a.received == b.received == [b"%d" % number for number in range(1000)]
    assert ciphers(network, a, b) == (AES, AES)


Action = tuple[str, int]
actions = st.lists(
    st.tuples(st.sampled_from(["a sends", "b sends", "a initiates", "b initiates", "a hears", "b hears"]), st.integers(0, 60)),
    min_size=1,
    max_size=14,
)


@given(actions, st.randoms(use_true_random=False), st.integers(1, 400))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_however_initiations_of_both_suites_cross(script: list[Action], chance: random.Random, spread: int) -> None:
    """Datagrams take 1 to `spread` ms each and overtake one another; every packet sent must arrive, and AES is what they end with."""
    a, b, network = pair(aes=BOTH, delay=lambda datagram: chance.randint(1, spread) / 1000)
    b.device.add_peer(a.device.public_key, endpoint=a.endpoint)
    expected: dict[str, list[bytes]] = {"a": [], "b": []}
    initiations = {"a": 0, "b": 0}
    for action, pause in script:
        network.run(network.now + pause / 1000)
        who, other, name = (a, b, "b") if action[0] == "a" else (b, a, "a")
        if action.endswith("sends"):
            expected[name].append(b"%d" % len(expected[name]))
            send(network, who, other, expected[name][-1])
        elif action.endswith("hears"):
            tell(network, who, other)
        elif initiations[action[0]] < 3:
            initiations[action[0]] += 1
            who.device.initiate(other.device.public_key, [other.endpoint], network.now)
            network.flush()
    network.run(network.now + 12.0)
    network.delay = lambda datagram: 0.01
    assert sorted(b.received) == sorted(expected["b"])
    assert sorted(a.received) == sorted(expected["a"])
    tell(network, a, b)
    send(network, a, b, b"there")
    network.run(network.now + 12.0)
    assert ciphers(network, a, b) == (AES, AES)
    converse(a, b, network, network.now + 1.0, messages.AES_TRANSPORT)


@pytest.mark.parametrize("seed", range(4))
def test_over_a_bad_link_it_comes_about_and_stays(seed: int) -> None:
    chance = random.Random(seed)
    a, b, network = connected(seed, aes=BOTH)
    network.delay = lambda datagram: None if chance.random() < 0.2 else chance.uniform(0.01, 0.2)
    in_aes = 0
    for second in range(2, 600):
        if second % 60 == 2:
            tell(network, a, b)
            tell(network, b, a)
        network.run(float(second))
        send(network, a, b, b"%d" % second)
        send(network, b, a, b"%d" % second)
        in_aes += ciphers(network, a, b).count(AES)
    assert in_aes > 2 * 598 * 0.8
    for side in (a, b):
        assert len(side.received) > 400
        assert len(set(side.received)) == len(side.received)


# --- when the other side does not answer it


def test_lost_messages_in_aes_cost_no_packet_and_no_time() -> None:
    """A third party that drops them gets ChaCha20-Poly1305, which works; after some tries the peer's word is doubted."""
    a, b, network = connected(aes=BOTH)
    network.delay = only(*NEW_TYPES)
    tell(network, a, b)
    expected = []
    for number in range(400):
        network.run(1.0 + number * 0.1)
        expected.append(b"%d" % number)
        send(network, a, b, expected[-1])
    network.run(60.0)
    assert b.received == expected
    assert ciphers(network, a, b) == (CHACHA, CHACHA)
    assert sum(datagram[0] == messages.AES_INITIATION for _, _, datagram in network.sent) == AES_REFUSALS
    assert a.device.counters["cipher-doubted"] == 1
    assert peer_of(a, b).ciphers is None, "so that it is asked again"
    network.delay = lambda datagram: 0.01
    tell(network, a, b)
    network.run(70.0)
    assert ciphers(network, a, b) == (AES, AES)


def test_a_peer_that_comes_back_without_aes_is_reached_at_the_first_retry() -> None:
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(2.0)
    assert ciphers(network, a, b) == (AES, AES)
    again = device((1, "b"))
    again.add_peer(a.device.public_key)
    b.device = again
    send(network, a, b, b"lost with the old session")
    network.run(17.5)
    assert kinds(network, 10.0) == {messages.AES_INITIATION}
    network.run(23.0)
    send(network, a, b, b"and there")
    network.run(24.0)
    assert b.received == [b"and there"]
    assert ciphers(network, a, b) == (CHACHA, CHACHA)
    assert again.counters["cipher-refused"] >= 1


def test_a_peer_that_comes_back_and_initiates_is_heard_at_once() -> None:
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(2.0)
    b.device = device((1, "b"))
    b.device.add_peer(a.device.public_key, endpoint=a.endpoint)
    send(network, b, a, b"here again")
    network.run(2.2)
    assert a.received == [b"here again"]


def test_aes_is_asked_for_beside_a_session_only_and_every_other_time() -> None:
    choice = SuiteChoice(aes=True)
    assert choice.ask(True) is CHACHA20_POLY1305, "nothing is known"
    choice.told([AES])
    assert [choice.ask(True).name for _ in range(4)] == [AES, CHACHA, AES, CHACHA]
    assert [choice.ask(False).name for _ in range(3)] == [CHACHA] * 3
    for _ in range(AES_REFUSALS - 1):
        assert not choice.established(CHACHA20_POLY1305, overtaken=True)
    assert not choice.established(AES_256_GCM, overtaken=False)
    for _ in range(AES_REFUSALS - 1):
        assert not choice.established(CHACHA20_POLY1305, overtaken=True)
    assert choice.established(CHACHA20_POLY1305, overtaken=True)
    assert choice.ciphers is None
    assert choice.best is CHACHA20_POLY1305


# --- stock WireGuard


def test_a_stock_peer_never_sees_a_new_type() -> None:
    """Not even one that is said to take it, nor in answer to one."""
    a, b, network = pair(aes=BOTH)
    a.device.add_peer(b.device.public_key, endpoint=b.endpoint, stock=True)
    tell(network, a, b)
    tell(network, b, a)
    for number in range(20):
        network.run(number * 45.0)
        send(network, a, b, b"data")
        a.device.initiate(b.device.public_key, [b.endpoint], network.now)
    network.run(20 * 45.0)
    assert b.received == [b"data"] * 20
    assert b.device.counters["cipher-doubted"] == 1, "it asked, and was not answered"
    from_a = {datagram[0] for _, destination, datagram in network.sent if destination == b.endpoint}
    assert from_a == {messages.INITIATION, messages.RESPONSE, messages.TRANSPORT}
    assert a.device.counters["cipher-refused"] >= AES_REFUSALS
    assert ciphers(network, a, b) == (CHACHA, CHACHA)


# --- hostile messages


def aes_initiation(a: Side, b: Side, now: float) -> bytes:
    """A fresh one of A's (there is a session)."""
    a.device.ciphers_told(b.device.public_key, [AES], now)
    a.device.datagrams(now)
    a.device.initiate(b.device.public_key, [b.endpoint], now + 0.1)
    (message,) = [one for burst in a.device.datagrams(now + 0.1) for one in cut_up(burst) if one[0] == messages.AES_INITIATION]
    return message


def remade(message: bytes, kind: bytes, receiver: Side) -> bytes:
    """The message under another type, with a mac1 that is right for it."""
    return CookieHolder(receiver.device.public_key).add_macs(kind + message[4 : -messages.MACS_SIZE], 0.0)


def test_a_message_of_one_suite_is_none_of_the_other() -> None:
    a, b, network = connected(aes=BOTH)
    message = aes_initiation(a, b, 1.0)
    b.device.receive(remade(message, messages.TYPE_INITIATION, b), 0, a.endpoint, 1.2)
    assert b.device.counters["initiation-unauthenticated"] == 1
    b.device.receive(message, 0, a.endpoint, 1.2)
    (response,) = [one for burst in b.device.datagrams(1.2) for one in cut_up(burst)]
    assert response[0] == messages.AES_RESPONSE
    a.device.receive(remade(response, messages.TYPE_RESPONSE, a), 0, b.endpoint, 1.3)
    assert a.device.counters["response-unknown-index"] == 1
    a.device.receive(response, 0, b.endpoint, 1.3)
    assert peer_of(a, b).cipher(1.3) == AES
    send(network, a, b, b"data")
    sealed = next(datagram for _, _, datagram in reversed(network.sent) if datagram[0] == messages.AES_TRANSPORT)
    assert b.device.receive(messages.TYPE_TRANSPORT + sealed[4:], 0, a.endpoint, 1.4) == []
    assert b.device.counters["transport-unknown-index"] == 1


def test_an_initiation_is_a_replay_in_whichever_suite_it_was_followed() -> None:
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(2.0)
    assert ciphers(network, a, b) == (AES, AES)
    recorded = {datagram[0]: datagram for _, _, datagram in network.sent if datagram[0] in (1, 5)}
    assert set(recorded) == {messages.INITIATION, messages.AES_INITIATION}
    for message in recorded.values():
        b.device.receive(message, 0, endpoint(66), 3.0)
    assert b.device.datagrams(3.0) == []
    assert b.device.counters["initiation-replayed"] == 2
    for kind in (messages.TRANSPORT, messages.AES_TRANSPORT):
        old = next(datagram for _, destination, datagram in network.sent if datagram[0] == kind and destination == b.endpoint)
        before = sum(b.device.counters.values())
        assert b.device.receive(old, 0, endpoint(66), 3.0) == []
        assert sum(b.device.counters.values()) == before + 1
    assert peer_of(b, a).endpoint == a.endpoint


def test_a_device_without_aes_spends_nothing_on_it() -> None:
    a, b, _ = connected(aes=(True, False))
    message = aes_initiation(a, b, 1.0)
    b.device.receive(message, 0, a.endpoint, 1.2)
    assert b.device.counters["cipher-refused"] == 1
    assert b.device.datagrams(1.2) == []


def test_under_load_a_cookie_is_asked_for_in_either_suite() -> None:
    a, b = Side(device("a", aes=True), endpoint(1)), Side(device("loaded", under_load_rate=0.0, aes=True), endpoint(2))
    a.device.add_peer(b.device.public_key, endpoint=b.endpoint)
    b.device.add_peer(a.device.public_key)
    network = Network(a, b)
    tell(network, a, b)
    send(network, a, b, b"patience")
    network.run(5.5)
    assert b.received == [b"patience"]
    assert ciphers(network, a, b) == (AES, AES), "the cookie of the first handshake serves the second"
    handshakes = [datagram[0] for _, _, datagram in network.sent if datagram[0] not in (messages.TRANSPORT, messages.AES_TRANSPORT)]
    assert handshakes == [1, 3, 1, 2, 5, 6]


def test_a_cookie_reply_to_an_aes_message_finds_it() -> None:
    a, b, _ = connected(aes=BOTH)
    b.device = device((1, "b"), under_load_rate=0.0, aes=True)
    b.device.add_peer(a.device.public_key)
    b.device.receive(aes_initiation(a, b, 1.0), 0, a.endpoint, 1.2)
    (reply,) = outgoing(b, 1.2)
    assert reply[0] == messages.COOKIE_REPLY
    assert a.device.owns(reply)
    a.device.receive(reply, 0, b.endpoint, 1.3)
    assert a.device.counters["cookies-received"] == 1


def test_a_cookie_reply_to_an_aes_response_finds_its_session() -> None:
    a, b, _ = connected(aes=BOTH)
    b.device.receive(aes_initiation(a, b, 1.0), 0, a.endpoint, 1.2)
    (response,) = outgoing(b, 1.2)
    assert response[0] == messages.AES_RESPONSE
    reply = CookieChecker(a.device.public_key, entropy("cookie")).reply(response, b.endpoint, 1.2)
    assert b.device.owns(reply)
    b.device.receive(reply, 0, a.endpoint, 1.3)
    assert b.device.counters["cookies-received"] == 1


SIZES = [4, 8, 15, 16, 31, 32, 33, 91, 92, 93, 147, 148, 149, 1500]
headed = st.builds(
    lambda head, size, fill: (head + fill * 400)[:size],
    st.sampled_from([*messages.AES_TYPES, b"\x05\0\0\x01", b"\x06\x01\0\0", b"\x07\0\0\0", b"\x08\0\x01\0"]),
    st.sampled_from(SIZES),
    st.binary(min_size=4, max_size=16),
)


@given(headed, st.booleans())
@settings(deadline=None, max_examples=200)
def test_arbitrary_messages_of_the_new_types_are_dropped_and_counted(data: bytes, aes: bool) -> None:
    _, b, _ = pair(aes=(aes, aes))
    b.device.owns(data)
    assert b.device.receive(data, 0, endpoint(66), 1.5) == []
    assert b.device.datagrams(1.5) == []
    assert sum(b.device.counters.values()) == 1


def recorded() -> tuple[Side, Side, list[bytes]]:
    """A session in AES, and one more valid message of each type for B that B has not seen yet."""
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(2.0)
    a.device.initiate(b.device.public_key, [b.endpoint], 2.0)
    valid = [datagram for burst in a.device.datagrams(2.0) for datagram in cut_up(burst)]
    b.device.initiate(a.device.public_key, [a.endpoint], 2.0)
    for burst in b.device.datagrams(2.0):
        a.device.receive(burst.data, burst.segment, b.endpoint, 2.0)
    a.device.send(b.device.public_key, packet(b"data"), 2.0)
    valid += [datagram for burst in a.device.datagrams(2.0) for datagram in cut_up(burst)]
    assert [datagram[0] for datagram in valid] == [messages.AES_INITIATION, messages.AES_RESPONSE, messages.AES_TRANSPORT]
    return a, b, valid


@given(st.integers(0, 2), st.data())
@settings(deadline=None, max_examples=200)
def test_changed_messages_in_aes_are_dropped_and_counted(which: int, data: st.DataObject) -> None:
    a, b, valid = recorded()
    message = valid[which]
    looked_at = len(message) if which == 2 else len(message) - messages.MAC_SIZE    # mac2 is looked at under load only
    place = data.draw(st.integers(0, looked_at - 1))
    changed = message[:place] + bytes([message[place] ^ data.draw(st.integers(1, 255))]) + message[place + 1 :]
    assert b.device.receive(changed, 0, endpoint(66), 2.1) == []
    assert b.device.datagrams(2.1) == []
    assert sum(b.device.counters.values()) - b.device.counters["initiations-sent"] == 1
    assert peer_of(b, a).endpoint == a.endpoint
    (inbound,) = b.device.receive(valid[2], 0, a.endpoint, 2.2)
    assert len(inbound.packets) == 1


# --- limits of a key


def test_a_key_of_gcm_is_renewed_after_2_to_the_26_messages() -> None:
    """draft-irtf-cfrg-aead-limits, RFC 9147 section 4.5.3."""
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(10.0)
    session = peer_of(a, b).keyring.current
    assert session is not None
    session.send_counter = REKEY_AFTER_GCM_MESSAGES - 1
    send(network, a, b, b"one")
    assert kinds(network, 10.0) == {messages.AES_TRANSPORT}
    send(network, a, b, b"two")
    network.run(11.0)
    assert b.received[-2:] == [b"one", b"two"]
    renewed = peer_of(a, b).keyring.current
    assert renewed is not None
    assert renewed is not session
    assert renewed.suite is AES_256_GCM


def test_no_message_of_gcm_is_sealed_or_opened_at_the_limit() -> None:
    a, b, network = connected(aes=BOTH)
    tell(network, a, b)
    network.run(10.0)
    session = peer_of(a, b).keyring.current
    assert session is not None
    session.send_counter = REJECT_AFTER_GCM_MESSAGES - 1
    hostile = copy.copy(session)
    send(network, a, b, b"last")
    send(network, a, b, b"first of the next")
    network.run(11.0)
    assert session.send_counter == REJECT_AFTER_GCM_MESSAGES
    assert b.received[-2:] == [b"last", b"first of the next"]
    held = peer_of(b, a).keyring.previous
    receiver = next(one for one in held if one.suite is AES_256_GCM)
    hostile.send_counter = REJECT_AFTER_GCM_MESSAGES
    over = hostile.seal([bytes(packet(b"too late").header)], 1420)
    assert receiver.open_burst(over, len(over)) is None
    assert b.device.receive(over, 0, a.endpoint, 11.0) == []
    assert b.device.counters["transport-replayed"] == 1
