"""A vantage answers those who know it, from where they ask it to once they have shown that they are there (RFC 5780 4.4)."""

from __future__ import annotations

from typing import Any

import pytest

from userlan.traversal.observation import OTHER_HOST, REPLY_SIZE, REQUEST_SIZE, Reply, Request, Seal, Wanted, tag_of
from userlan.traversal.vantage import BURST, COOKIE_PERIOD, COOKIE_PERIODS, MAX_OBSERVATIONS, Observation, Vantage
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

KEY = b"v" * 32
TAG = tag_of(b"token")
ASKER = Endpoint(UDP, "198.51.100.7", 40_000)


def vantage() -> Vantage:
    """Two ports of one address, and one of another address."""
    made = Vantage(KEY, lambda size: b"s" * size)
    made.listening(0, "192.0.2.1", 41414)
    made.listening(1, "192.0.2.1", 41415)
    made.listening(2, "192.0.2.2", 41414)
    return made


def ask(made: Vantage, source: Endpoint = ASKER, now: float = 1.0, transaction: bytes = b"transact", **fields: Any) -> list[Burst]:
    request = Request(TAG, transaction, **fields)
    return made.receive(Seal(KEY).request(request), source, now)


def read(bursts: list[Burst]) -> tuple[Endpoint, Reply]:
    (burst,) = bursts
    reply = Seal(KEY).read_reply(burst.data)
    assert reply is not None
    return burst.endpoint, reply


def test_the_asker_is_told_from_where_it_is_seen() -> None:
    endpoint, reply = read(ask(vantage(), index=3))
    assert endpoint == ASKER
    assert (reply.transaction, reply.host, reply.port, reply.source) == (b"transact", ASKER.host, ASKER.port, 0)


def test_a_mapped_address_is_told_as_ipv4() -> None:
    """RFC 4291 2.5.5.2: a wildcard IPv6 socket sees IPv4 so; the answer leaves by the same way."""
    source = ASKER._replace(host="::ffff:198.51.100.7")
    endpoint, reply = read(ask(vantage(), source))
    assert endpoint == source
    assert reply.host == "198.51.100.7"


def test_what_was_seen_is_told_to_the_owner_once() -> None:
    made = vantage()
    ask(made, ASKER._replace(via=1), now=2.5, index=9)
    assert made.observations() == [Observation(TAG, 9, ASKER._replace(via=1), 2.5)]
    assert made.observations() == []


@pytest.mark.parametrize(("wanted", "via"), [(Wanted.OTHER_PORT, 1), (Wanted.OTHER_HOST, 2)])
def test_another_socket_answers_who_echoes_its_cookie(wanted: Wanted, via: int) -> None:
    made = vantage()
    _, first = read(ask(made))
    endpoint, reply = read(ask(made, wanted=wanted, cookie=first.cookie))
    assert endpoint == ASKER._replace(via=via)
    assert reply.source == via
    assert len(made.observations()) == 1, "the test of a filter is no observation"


@pytest.mark.parametrize("fields", [{"wanted": Wanted.OTHER_PORT}, {"wanted": Wanted.OTHER_HOST}, {"port": 5000}])
def test_nothing_goes_elsewhere_without_the_cookie_of_that_endpoint(fields: dict[str, Any]) -> None:
    made = vantage()
    _, others = read(ask(made, ASKER._replace(port=40_001)))
    assert ask(made, **fields) == []
    assert ask(made, cookie=others.cookie, **fields) == []
    assert made.counters["observe-cookie-wrong"] == 2
    assert made.reflections() == []


def test_a_cookie_ends() -> None:
    made = vantage()
    _, first = read(ask(made, now=0.0))
    still = COOKIE_PERIOD * (COOKIE_PERIODS - 1)
    assert ask(made, now=still, wanted=Wanted.OTHER_PORT, cookie=first.cookie)
    assert not ask(made, now=COOKIE_PERIOD * COOKIE_PERIODS, wanted=Wanted.OTHER_PORT, cookie=first.cookie)


def test_an_idle_mapping_of_the_same_host_is_asked_for_by_another_socket() -> None:
    made = vantage()
    _, idle = read(ask(made))
    asker = ASKER._replace(port=40_999)
    endpoint, reply = read(ask(made, asker, now=100.0, port=ASKER.port, cookie=idle.cookie))
    assert endpoint == ASKER
    assert reply.port == ASKER.port
    assert ask(made, asker._replace(host="198.51.100.8"), port=ASKER.port, cookie=idle.cookie) == []


def test_another_host_answers_where_the_vantage_has_one_address_only() -> None:
    made = Vantage(KEY, lambda size: b"s" * size)
    made.listening(0, "192.0.2.1", 41414)
    _, first = read(ask(made))
    assert ask(made, wanted=Wanted.OTHER_HOST, cookie=first.cookie) == []
    assert made.reflections() == []
    made.reflecting = True
    assert ask(made, wanted=Wanted.OTHER_HOST, cookie=first.cookie) == []
    (reflection,) = made.reflections()
    reply = Seal(KEY).read_reply(reflection.datagram)
    assert reflection.target == ASKER
    assert reply is not None
    assert reply.source == OTHER_HOST
    assert ask(made, wanted=Wanted.OTHER_PORT, cookie=first.cookie) == []


def test_wildcard_sockets_are_not_taken_for_two_hosts() -> None:
    """What is bound to 0.0.0.0 may answer from any address of the computer: the other port of it is all that is sure."""
    made = Vantage(KEY, lambda size: b"s" * size)
    made.listening(0, "0.0.0.0", 41414)
    made.listening(1, "0.0.0.0", 41415)
    made.listening(2, "::", 41415)
    _, first = read(ask(made))
    assert ask(made, wanted=Wanted.OTHER_HOST, cookie=first.cookie) == []
    assert read(ask(made, wanted=Wanted.OTHER_PORT, cookie=first.cookie))[1].source == 1


def test_over_framed_tcp_the_answer_goes_back_only() -> None:
    made = vantage()
    source = Endpoint(TCP, "198.51.100.7", 50_000, 1)
    endpoint, reply = read(ask(made, source))
    assert endpoint == source
    assert ask(made, source, wanted=Wanted.OTHER_PORT, cookie=reply.cookie) == []


def test_who_does_not_know_the_vantage_gets_silence() -> None:
    made = vantage()
    assert made.receive(Seal(b"x" * 32).request(Request(TAG, bytes(8))), ASKER, 1.0) == []
    assert made.receive(bytes(REQUEST_SIZE), ASKER, 1.0) == []
    assert made.observations() == []
    assert made.counters["observe-not-genuine"] == 2


def test_one_source_cannot_ask_without_end_and_others_still_can() -> None:
    made = vantage()
    answered = sum(bool(ask(made, ASKER._replace(port=1 + number))) for number in range(int(BURST) + 100))
    assert answered == int(BURST)
    assert made.counters["observe-limited"] == 100
    assert ask(made, ASKER._replace(host="198.51.100.8"))


def test_a_subscribers_ipv6_addresses_are_one_source() -> None:
    """RFC 6177: one subscriber has a whole /64."""
    made = vantage()
    answered = sum(bool(ask(made, Endpoint(UDP, f"2001:db8::{number:x}", 1))) for number in range(1, int(BURST) + 50))
    assert answered == int(BURST)


def test_what_nobody_drains_is_bounded() -> None:
    made = vantage()
    for number in range(MAX_OBSERVATIONS + 10):
        ask(made, ASKER._replace(host=f"10.0.{number >> 8}.1"))
    assert len(made.observations()) <= MAX_OBSERVATIONS
    assert made.counters["observations-dropped"] == 1


def test_a_reply_is_never_larger_than_its_request() -> None:
    assert REPLY_SIZE <= REQUEST_SIZE
    assert vantage().owns(Seal(KEY).request(Request(TAG, bytes(8))))
    assert not vantage().owns(bytes(REQUEST_SIZE))
    assert not vantage().owns(b"\x20\0\0\0")
