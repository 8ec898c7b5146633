"""Clients that mean harm: what they send is bounded and counted, and the others do not notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mediator.harness import Client, Lab
from userlan.control import refusals
from userlan.control.frames import encode
from userlan.control.meeting import Introduce, Outcome, Reachability, RelayDelays
from userlan.control.messages import (
    Candidate,
    Candidates,
    Done,
    Hello,
    Join,
    Meet,
    NetworkState,
    Nick,
    Ping,
    Pong,
    Refused,
    Welcome,
)
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.limits import Limits
from userlan.mediator.service import VISIT
from userlan.traversal.nat import NatBehaviour, Policy
from userlan.wire import tcp, udp
from userlan.wire.endpoint import Endpoint

SECRET = NetworkSecret(b"s" * 16)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.directory.close()


def connected(lab: Lab, name: str = "eve") -> Client:
    """A client with an open connection that has not greeted."""
    client = lab.client(name)
    client.greet = False
    client.connect()
    lab.run(0.5)
    assert client.connected
    return client


def raw(value: object) -> bytes:
    body = msgspec.msgpack.encode(value)
    return len(body).to_bytes(4, "big") + body


def crowd(lab: Lab, *networks: int) -> None:
    """A hundred members in each of these networks: their state takes ten thousand octets to tell."""
    for number in range(100):
        key = number.to_bytes(32, "big")
        lab.directory.register(key, f"pc{number}", bytes((25, 1, 1, number + 1)), 0.0)
        for network in networks:
            lab.directory.add_member(network, key, f"pc{number}", 0.0)


def sessions(lab: Lab) -> object:
    return lab.mediator.status()["sessions"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: mediator\r\n\r\n",
        b"\0\0\0\0",
        b"\xff" * 5000,
        (10**6).to_bytes(4, "big") + b"x" * 100_000,
        raw({"t": "hello", "version": "one"}),
        raw({"t": "teleport"}),
        raw([]),
        b"\0\0\0\1\xc1",
    ],
)
def test_rubbish_instead_of_a_greeting_ends_the_session(lab: Lab, data: bytes) -> None:
    eve = connected(lab)
    eve.send_raw(data)
    lab.run(1.0)
    assert eve.ended
    assert sessions(lab) == 0
    assert isinstance(lab.client("honest").login(), Welcome)


@given(data=st.binary(max_size=2000))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_before_and_after_the_greeting(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    eve, mallory = connected(lab, "eve"), lab.login("mallory")
    eve.send_raw(data)
    mallory.send_raw(data)
    lab.run(0.5)
    ann = lab.login("ann")
    assert isinstance(ann.create("home", SECRET), Done)
    lab.run(30.0)
    assert not ann.ended
    lab.directory.close()


@pytest.mark.parametrize("message", [Join(1, "home"), Nick(1, "eve"), Meet(b"x" * 32), Candidates(())])
def test_anything_before_hello_is_refused_and_ends_the_session(lab: Lab, message: Join) -> None:
    eve = connected(lab)
    eve.send(message)
    assert eve.expect(Refused).code == refusals.OUT_OF_ORDER
    lab.run(0.5)
    assert eve.ended


def test_a_second_hello_is_refused_and_changes_nothing(lab: Lab) -> None:
    eve = lab.login("eve")
    eve.send(Hello(1, "mallory"))
    assert eve.expect(Refused).code == refusals.OUT_OF_ORDER
    lab.run(0.5)
    assert not eve.ended


def test_wrong_messages_are_refused_by_name_and_the_session_goes_on_for_a_while(lab: Lab) -> None:
    eve = lab.login("eve")
    eve.send_raw(raw({"t": "teleport", "request": 7}) + raw({"t": "join", "request": 8, "network": 5}))
    lab.run(0.5)
    assert [(refusal.request, refusal.code) for refusal in eve.take(Refused)] == [
        (7, refusals.UNKNOWN_MESSAGE),
        (8, refusals.MALFORMED_MESSAGE),
    ]
    eve.send_raw(raw({"t": "join", "request": 9, "network": "nowhere", "new-field": [1]}))
    assert eve.expect(Refused).code == refusals.NO_SUCH_NETWORK
    eve.send_raw(raw({"t": "teleport"}) * 20)
    lab.run(1.0)
    assert eve.ended
    assert sessions(lab) == 0


def test_silence_and_half_a_frame_instead_of_a_greeting(lab: Lab) -> None:
    mute, slow = connected(lab, "mute"), connected(lab, "slow")
    frame = encode(Hello(1, "slow", "agent" * 10))
    for position in range(20):
        slow.send_raw(frame[position : position + 1])
        lab.run(1.0)
    assert mute.ended
    assert slow.ended
    assert sessions(lab) == 0


def test_half_a_frame_after_the_greeting_holds_nobody_up(lab: Lab) -> None:
    eve, ann = lab.login("eve"), lab.login("ann")
    eve.answer_pings = False
    eve.send_raw(encode(Join(1, "home"))[:-3])
    assert isinstance(ann.create("home", SECRET), Done)
    lab.run(60.0)
    assert not eve.ended


def test_a_flood_is_read_slowly_and_the_others_do_not_notice(lab: Lab) -> None:
    eve, ann = lab.login("eve"), lab.login("ann")
    started = lab.world.now
    flood = encode(Ping(1)) * 50_000
    sent = 0
    for _ in range(50):
        sent += eve.send_raw(flood[sent:])
        ann.send(Ping(5))
        asked = lab.world.now
        ann.expect(Pong)
        assert lab.world.now - asked < 0.05
        lab.run(0.2)
    elapsed = lab.world.now - started
    counters = lab.mediator.status()["counters"]
    assert isinstance(counters, dict)
    assert counters["messages"] < lab.limits.message_burst + lab.limits.message_rate * elapsed + 200
    assert counters["sessions-paused"] > 10
    assert isinstance(ann.create("home", SECRET), Done)


def test_who_does_not_read_gets_no_answers(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(message_rate=1e6, message_burst=1e6))
    ann, eve = lab.login("ann"), lab.login("eve")
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(eve.join("home", SECRET), Done)
    crowd(lab, 1)
    eve.reading = False
    sent = 0
    asked = encode(Join(1, "home")) * 700
    while sent < len(asked):
        taken = eve.send_raw(asked[sent : sent + 100_000])
        sent += taken
        lab.run(0.1)
        if not taken:
            break
    waiting = lab.mediator.status()["waiting"]
    assert isinstance(waiting, int)
    assert 0 < waiting < 100_000
    eve.ask_to_read()
    lab.run(1.0)
    while sent < len(asked):
        sent += eve.send_raw(asked[sent:])
        lab.run(0.1)
    lab.run(5.0)
    assert lab.mediator.status()["waiting"] == 0
    assert isinstance(eve.request(Nick(7, "eva")), Done)
    lab.directory.close()


def test_who_does_not_read_the_news_is_closed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(outgoing=50_000))
    ann, eve = lab.login("ann"), lab.login("eve")
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(eve.join("home", SECRET), Done)
    eve.reading = False
    out = [number.to_bytes(32, "big") for number in range(4000)]
    for serial in range(1, 31):
        assert isinstance(ann.request(ann.evict("home", serial, out, SECRET, [ann.key, eve.key])), Done)
        if sessions(lab) == 1:
            break
    assert sessions(lab) == 1
    assert lab.mediator.status()["waiting"] == 0
    assert not ann.ended
    lab.directory.close()


def test_a_login_to_many_networks_is_told_as_it_is_read(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(outgoing=30_000, message_rate=1e6, message_burst=1e6, networks_owned=40))
    ann = lab.login("ann")
    for number in range(30):
        assert isinstance(ann.create(f"net{number}", SECRET), Done)
    crowd(lab, *range(1, 31))
    ann.bye()
    lab.run(1.0)
    ann.received.clear()
    ann.login()
    lab.run(2.0)
    assert not ann.ended
    assert {state.network for state in ann.take(NetworkState)} == {f"net{number}" for number in range(30)}
    lab.directory.close()


def test_ten_thousand_connections_of_one_key(lab: Lab) -> None:
    """SYNs of 10,000 ports through one tunnel: a handful is let in, one session lives, the others can connect."""
    eve = lab.login("eve")
    remote = (lab.mediator.ipv6, 41414)
    for port in range(10_000, 20_000):
        if port % 1000 == 0:
            lab.run(0.01)
        segment = tcp.Segment(source_port=port, destination_port=remote[1], seq=port, flags=tcp.Flags.SYN, window=65535)
        eve.device.send(eve.mediator_key, tcp.build(segment, eve.ipv6, remote[0]), lab.world.now)
    lab.run(0.5)
    assert lab.mediator.counters["openings-dropped"] >= 9_900
    assert sessions(lab) == 1
    assert isinstance(lab.login("ann").create("home", SECRET), Done)
    lab.run(60.0)
    assert sessions(lab) == 2
    assert not eve.ended


def test_one_key_that_connects_again_and_again_has_one_session(lab: Lab) -> None:
    eve = lab.client("eve")
    for _ in range(60):
        eve.connect()
        lab.run(0.5)
    lab.run(1.5)
    assert sessions(lab) == 1
    assert lab.mediator.counters["sessions-superseded"] > 20


def test_made_up_keys_cannot_shut_members_out(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(strangers=8, sessions=20, visitors=60))
    ann, bob = lab.login("ann"), lab.login("bob")
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(bob.join("home", SECRET), Done)
    crowd = []
    for number in range(60):
        stranger = lab.client(f"stranger{number}")
        stranger.connect()
        crowd.append(stranger)
        lab.run(1.0)
    lab.run(1.0)
    assert sessions(lab) == 2 + 8
    assert not ann.ended
    assert not bob.ended
    assert sum(1 for stranger in crowd if stranger.ended) >= 40
    bob.bye()
    lab.run(0.5)
    assert bob.login().networks == ("home",)
    lab.run(60.0)
    assert not ann.ended
    lab.directory.close()


def test_a_forged_inner_source_is_dropped_and_counted(lab: Lab) -> None:
    ann, eve = lab.login("ann"), lab.login("eve")
    segment = tcp.Segment(source_port=5000, destination_port=41414, seq=1, flags=tcp.Flags.SYN, window=65535)
    for source in (ann.ipv6, lab.mediator.ipv6, bytes(16), b"\xfd" * 16):
        eve.device.send(eve.mediator_key, tcp.build(segment, source, lab.mediator.ipv6), lab.world.now)
    datagram = udp.Datagram(5000, 41414, b"x")
    eve.device.send(eve.mediator_key, udp.build(datagram, bytes((25, 1, 1, 1)), bytes((25, 1, 1, 2))), lab.world.now)
    lab.run(1.0)
    assert lab.mediator.counters["source-forged"] == 5
    assert sessions(lab) == 2
    assert not ann.ended


def test_a_tunnel_without_a_session_is_forgotten(lab: Lab) -> None:
    eve = lab.client("eve")
    probe = udp.build(udp.Datagram(5000, 9, b"x"), eve.ipv6, lab.mediator.ipv6)
    eve.device.send(eve.mediator_key, probe, lab.world.now)
    lab.run(1.0)
    replies = eve.device.peer(eve.mediator_key)
    assert replies is not None
    heard = replies.last_received
    assert heard is not None
    lab.run(VISIT)
    eve.device.send(eve.mediator_key, probe, lab.world.now)
    lab.run(1.0)
    assert replies.last_received is not None
    assert replies.last_received < lab.world.now - 1.0
    eve.device.initiate(eve.mediator_key, [eve.server], lab.world.now)
    lab.run(0.5)
    assert isinstance(eve.login(), Welcome)


@given(data=st.binary(max_size=1500), port=st.integers(1, 65535))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_datagrams_are_dropped(lab: Lab, data: bytes, port: int) -> None:
    lab.mediator.receive(data, len(data), Endpoint("udp", "198.51.100.99", port), lab.world.now)
    lab.mediator.datagrams(lab.world.now)
    assert sessions(lab) == 0


def test_a_node_cannot_make_the_mediator_name_third_parties(lab: Lab) -> None:
    ann, eve = lab.client("ann"), lab.client("eve")
    eve.candidates = (
        Candidate("192.0.2.53", 53),
        Candidate("10.0.0.1", 80),
        Candidate("224.0.0.1", 1),
        Candidate("", 9),
    )
    for client in (ann, eve):
        client.login()
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(eve.join("home", SECRET), Done)
    lab.run(3.0)
    hosts = {c.host for _, m in ann.received for c in getattr(m, "candidates", ())}
    assert hosts == {eve.attachment.addresses[0]}


def test_a_flood_of_words_on_a_nat_is_limited_and_makes_few_introductions(lab: Lab) -> None:
    ann, bob = lab.login("ann"), lab.login("bob")
    ann.create("home", SECRET)
    bob.join("home", SECRET)
    lab.run(10.0)
    bob.received.clear()
    kinds = [NatBehaviour(udp=Policy(allocation=allocation)) for allocation in ("random", "incremental")]
    for number in range(200):
        ann.send(Reachability(kinds[number % 2]))
        lab.run(0.05)
    lab.run(5.0)
    assert len(bob.all(Introduce)) <= lab.limits.reachability_burst
    counters = lab.mediator.status()["counters"]
    assert isinstance(counters, dict)
    assert counters["reachability-limited"] >= 190
    assert not ann.ended


def test_outcomes_of_introductions_that_never_were_are_counted_and_change_nothing(lab: Lab) -> None:
    ann, bob, eve = (lab.login(name) for name in ("ann", "bob", "eve"))
    ann.create("home", SECRET)
    bob.join("home", SECRET)
    lab.run(1.0)
    token = ann.all(Introduce)[0].token
    eve.send(Outcome(ann.key, token, "direct"), Outcome(bob.key, bytes(16), "direct", seconds=1e300, packets=2**32 - 1))
    lab.run(1.0)
    status = lab.mediator.status()
    assert isinstance(status["counters"], dict)
    assert status["counters"]["outcomes-unknown"] == 2
    assert "met" not in status["counters"]
    ann.send(Outcome(bob.key, token, "direct"))
    bob.send(Outcome(ann.key, token, "direct"))
    lab.run(1.0)
    status = lab.mediator.status()
    assert isinstance(status["counters"], dict)
    assert status["counters"]["met"] == 1
    assert status["introductions"] == {"waiting": 0, "measuring": 0, "introduced": 0, "failed-pairs": 0, "learned": 1}


def test_a_flood_of_words_on_endpoints_and_relays_is_limited(lab: Lab) -> None:
    """Each is looked at for all pairs of the member that says it, and makes the others send to it."""
    ann, bob = lab.login("ann"), lab.login("bob")
    ann.create("home", SECRET)
    bob.join("home", SECRET)
    lab.run(10.0)
    bob.received.clear()
    for number in range(300):
        ann.send(Candidates((Candidate("192.168.1.2", 1 + number),)))
        ann.send(RelayDelays({bytes(32): float(number)}))
        lab.run(0.1)
    lab.run(5.0)
    counters = lab.mediator.status()["counters"]
    assert isinstance(counters, dict)
    assert counters["changes-limited"] >= 500
    assert len(bob.all(Introduce)) <= lab.limits.change_burst + 35 * lab.limits.change_rate
