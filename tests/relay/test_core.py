"""The relay as the driver feeds it: what it owns, that nothing makes it raise, what mediators may ask of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.relay.ends import ANNA, BEN, WALL
from userlan.control import grants
from userlan.control.mediation import Received
from userlan.control.meeting import PoolKey, Reflect, ServerEndpoint
from userlan.lan.invite import Invite
from userlan.relay import datagrams
from userlan.relay.core import MAX_MEDIATORS, Relay
from userlan.relay.datagrams import Bind
from userlan.relay.events import PoolJoined
from userlan.traversal.kinds import OBSERVE_REPLY, OBSERVE_REQUEST, RELAY_BIND, RELAY_BOUND, RELAY_DATA
from userlan.traversal.observation import REPLY_SIZE, Request, Seal
from userlan.wire.endpoint import TCP, UDP, Endpoint

MEDIATOR = bytes([7]) * 32
KEY = bytes(range(32))
CLIENT = Endpoint(UDP, "192.0.2.1", 41414)


def relay(**options: object) -> Relay:
    url = Invite((("203.0.113.1", 41414),), MEDIATOR)
    keys = {MEDIATOR: KEY}
    return Relay(
        bytes([5]) * 32, [url], name="r", entropy=Random(1).randbytes, now=100.0, wall_offset=WALL, pool_keys=keys,
        **options,  # type: ignore[arg-type]
    )


def bind_of(own: bytes, peer: bytes, counter: int = 1) -> tuple[bytes, bytes]:
    """A BIND, and the header of the data."""
    role = grants.role_of(own, peer)
    told = grants.for_end(KEY, grants.seal(KEY, own, peer, WALL + 1e6), role)
    return datagrams.encode_bind(Bind(counter, told.grant, role, datagrams.NO_COOKIE), told.secret), datagrams.data_header(told.channel)


def said(core: Relay, message: PoolKey | Reflect) -> None:
    """A mediator's message, as its link gives it."""
    link = core.links[MEDIATOR]
    link._events.append(Received(message))
    core.tick(101.0)


def test_a_bind_is_answered_where_it_came_from_with_no_mediator_in_sight() -> None:
    core = relay()
    data, _ = bind_of(ANNA, BEN)
    core.receive(data, 0, CLIENT, 101.0)
    (answer,) = [burst for burst in core.datagrams(101.0) if burst.data[:4] == RELAY_BOUND]
    assert answer.endpoint == CLIENT
    assert core.status()["channels"] == 1


def test_data_and_binds_of_one_size_in_one_buffer_are_told_apart() -> None:
    core = relay()
    bind, header = bind_of(ANNA, BEN)
    other, _ = bind_of(BEN, ANNA)
    core.receive(other, 0, Endpoint(TCP, "192.0.2.2", 5), 101.0)
    filler = header + bytes(len(bind) - len(header))
    core.receive(bind + filler + filler, len(bind), CLIENT, 101.0)
    sent = core.datagrams(101.0)
    assert b"".join(burst.data for burst in sent if burst.data[:4] == RELAY_DATA) == filler + filler


def test_it_is_a_vantage_point_for_who_knows_its_key() -> None:
    core = relay()
    question = Seal(core.public_key).request(Request(bytes(8), bytes(8)))
    assert core.owns(question)
    core.receive(question, 0, CLIENT, 101.0)
    (answer,) = [burst for burst in core.datagrams(101.0) if burst.data[:4] == OBSERVE_REPLY]
    reply = Seal(core.public_key).read_reply(answer.data)
    assert reply is not None
    assert (reply.host, reply.port) == CLIENT[1:3]


def test_the_key_of_a_pool_is_told_to_the_program_and_kept_for_the_next_run() -> None:
    core = relay()
    said(core, PoolKey(bytes([9]) * 32))
    assert PoolJoined(MEDIATOR, bytes([9]) * 32) in core.events()
    assert core.pool_keys == {MEDIATOR: bytes([9]) * 32}
    data, _ = bind_of(ANNA, BEN)
    core.receive(data, 0, CLIENT, 101.0)
    assert core.status()["channels"] == 0      # sealed with the key before


def test_a_mediator_can_have_answers_sent_and_nothing_else_and_not_many() -> None:
    core = relay()
    target = ServerEndpoint("198.51.100.1", 9)
    for data in (b"x" * REPLY_SIZE, OBSERVE_REPLY, OBSERVE_REQUEST + bytes(68), RELAY_BIND + bytes(108)):
        said(core, Reflect(target, data))
    assert not any(burst.endpoint.host == target.host for burst in core.datagrams(101.0))
    for _ in range(200):
        said(core, Reflect(target, OBSERVE_REPLY + bytes(REPLY_SIZE - 4)))
    assert sum(burst.endpoint.host == target.host for burst in core.datagrams(101.0)) == 30


def test_it_needs_a_mediator_and_takes_a_few() -> None:
    for count in (0, MAX_MEDIATORS + 1):
        urls = [Invite((("203.0.113.1", 41414),), bytes([number]) * 32) for number in range(count)]
        with pytest.raises(ValueError, match="pool"):
            Relay(bytes([5]) * 32, urls, name="r", entropy=Random(1).randbytes, now=0.0, wall_offset=WALL)


KINDS = some.sampled_from([RELAY_DATA, RELAY_BIND, OBSERVE_REQUEST, b"\x01\0\0\0", b"\x04\0\0\0", b""])


@given(some.lists(some.tuples(KINDS, some.binary(max_size=200)), max_size=6), some.integers(0, 300))
def test_nothing_that_arrives_makes_it_raise(parts: list[tuple[bytes, bytes]], segment: int) -> None:
    core = relay()
    bind, header = bind_of(ANNA, BEN)
    core.receive(bind, 0, CLIENT, 101.0)
    core.receive(header + b"".join(kind + rest for kind, rest in parts), segment, CLIENT, 101.0)
    core.receive(b"".join(kind + rest for kind, rest in parts) or b"\0", segment, CLIENT, 101.0)
    core.datagrams(101.0)
    core.tick(102.0)


ELSEWHERE = "relay.example", "", "224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.1", "192.168.1.1", "127.0.0.1", "::1", "fe80::1"


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_mediator_cannot_have_it_send_to_names_groups_or_its_own_network(host: str) -> None:
    core = relay()
    said(core, Reflect(ServerEndpoint(host, 9), OBSERVE_REPLY + bytes(REPLY_SIZE - 4)))
    assert not any(burst.endpoint.host == host for burst in core.datagrams(101.0))
    assert core.counters["reflections-refused"] == 1


def test_a_mediator_cannot_have_it_send_much_by_naming_many_hosts() -> None:
    core = relay()
    for number in range(5000):
        said(core, Reflect(ServerEndpoint(f"198.18.{number >> 8}.{number & 255}", 9), OBSERVE_REPLY + bytes(REPLY_SIZE - 4)))
    assert sum(burst.data[:4] == OBSERVE_REPLY for burst in core.datagrams(101.0)) <= 600


def test_forged_binds_from_a_clients_address_do_not_keep_it_from_binding() -> None:
    """Anybody can send them: the rate of an address is that of its genuine ones."""
    core = relay()
    data, _ = bind_of(ANNA, BEN)
    for number in range(2000):
        core.receive(data[:-2] + number.to_bytes(2, "big"), 0, CLIENT, 101.0)
    core.datagrams(101.0)
    core.receive(data, 0, CLIENT, 101.0)
    (answer,) = [burst for burst in core.datagrams(101.0) if burst.data[:4] == RELAY_BOUND]
    assert answer.endpoint == CLIENT
