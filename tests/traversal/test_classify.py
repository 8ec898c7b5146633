"""From any evidence, also a hostile vantage's, follows a behaviour that can be told to a mediator; the axes are told apart (RFC 4787)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.traversal.asking import Asking, Point, Question
from userlan.traversal.classify import classify, mapping_of
from userlan.traversal.evidence import Asked, Evidence, Sighting
from userlan.traversal.nat import NatBehaviour
from userlan.traversal.netcheck import SOCKETS, Netcheck, Seen
from userlan.traversal.observation import REPLY_SIZE, REQUEST_SIZE, Reply, Request, Seal
from userlan.wire.endpoint import TCP, UDP, Endpoint

FIRST, SECOND = ("192.0.2.1", 41414), ("192.0.2.1", 41415)
ELSEWHERE = ("192.0.2.2", 41414)
OUTSIDE = "198.51.100.1"

hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
ports = st.integers(0, 65_535)
maybe = st.sampled_from([None, True, False])
sightings = st.lists(
    st.builds(
        Sighting,
        st.sampled_from([UDP, TCP]),
        st.integers(0, 12),
        ports,
        st.tuples(hosts, ports),
        st.tuples(hosts, ports),
        st.floats(0, 3),
        st.integers(0, 50),
    ),
    max_size=20,
)
FLAGS = ("other_host", "other_port", "other_host6", "other_port6", "moved", "hairpin", "shallow")
counts = st.builds(Asked, st.integers(0, 9), st.integers(0, 9))


@given(sightings, st.frozensets(hosts, max_size=4), counts, counts, counts, st.lists(maybe, min_size=7, max_size=7), st.booleans())
@settings(deadline=None, max_examples=100)
def test_any_evidence_gives_what_a_mediator_accepts(
    seen: list[Sighting], own: frozenset[str], udp: Asked, udp6: Asked, tcp: Asked, flags: list[bool | None], over_tcp: bool
) -> None:
    evidence = Evidence(own, seen, {}, udp, udp6, tcp, over_tcp=over_tcp)
    for name, flag in zip(FLAGS, flags, strict=True):
        setattr(evidence, name, flag)
    found = classify(evidence)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found.nat), type=NatBehaviour) == found.nat
    assert all(lines for lines in found.evidence.values())


def sighted(*seen: tuple[tuple[str, int], int]) -> list[Sighting]:
    return [Sighting(UDP, 0, 41414, target, (OUTSIDE, port), number * 0.01) for number, (target, port) in enumerate(seen)]


@pytest.mark.parametrize(("seen", "dependence", "known_hosts"), [
    (sighted((FIRST, 7), (SECOND, 7), (ELSEWHERE, 7)), "endpoint-independent", 2),
    (sighted((FIRST, 7), (SECOND, 7)), "endpoint-independent", 1),
    (sighted((FIRST, 7), (SECOND, 7), (ELSEWHERE, 8)), "address-dependent", 2),
    (sighted((FIRST, 7), (SECOND, 8), (ELSEWHERE, 9)), "address-and-port-dependent", 2),
    (sighted((FIRST, 7), (ELSEWHERE, 9)), "address-and-port-dependent", 2),
    (sighted((FIRST, 7)), "unknown", 0),
])
def test_mapping(seen: list[Sighting], dependence: str, known_hosts: int) -> None:
    """RFC 5780 4.3. Where only hosts were compared, the stricter of two dependences is given."""
    found = mapping_of(seen)
    assert (found.dependence, found.hosts) == (dependence, known_hosts)


def test_a_majority_decides_and_lowers_the_confidence() -> None:
    """One mapping of several that moved (its port was taken) does not make a NAT symmetric."""
    seen = sighted((FIRST, 7), (SECOND, 7), (ELSEWHERE, 7))
    seen += [sighting._replace(via=1, seen=(OUTSIDE, 30 + number)) for number, sighting in enumerate(sighted((FIRST, 1), (SECOND, 1)))]
    seen += [sighting._replace(via=2, seen=(OUTSIDE, 55)) for sighting in sighted((FIRST, 1), (SECOND, 1))]
    assert mapping_of(seen).dependence == "endpoint-independent"
    assert mapping_of(seen).agreement == pytest.approx(4 / 5)
    more = [Sighting(UDP, 3 + number, 0, (f"192.0.2.{number + 9}", 1), (OUTSIDE, 900 + 7 * number), 0.0) for number in range(4)]
    agreeing = [sighting._replace(seen=(OUTSIDE, 30)) if sighting.via == 1 else sighting for sighting in seen]
    doubtful, sure = classify(Evidence(sightings=seen + more)).nat, classify(Evidence(sightings=agreeing + more)).nat
    assert 0 < doubtful.confidence < sure.confidence


def test_the_routers_outside_address_tells_of_a_second_nat() -> None:
    seen = sighted((FIRST, 7), (SECOND, 7))
    assert classify(Evidence(sightings=seen, external=OUTSIDE)).nat.nested is False
    assert classify(Evidence(sightings=seen, external="100.64.0.9")).nat.nested is True
    assert classify(Evidence(sightings=seen, external="203.0.113.1")).nat.nested is True
    assert classify(Evidence(sightings=seen)).nat.nested is None


def entropy() -> Callable[[int], bytes]:
    return Random(1).randbytes


@given(st.binary(max_size=90), st.integers(0, 20))
@settings(deadline=None, max_examples=50)
def test_nothing_that_arrives_raises(data: bytes, via: int) -> None:
    """Whatever is sent by whom: a netcheck believes nothing without the vantage's MAC and its own transaction."""
    point = Point(b"k" * 32, Endpoint(UDP, *FIRST))
    check = Netcheck([point], frozenset(), range(1, SOCKETS + 1), Seen(frozenset(), lambda via, transport: 0), entropy(), 0.0)
    for size in (len(data), REPLY_SIZE, REQUEST_SIZE):
        for start in (b"", b"\x20\0\0\0", b"\x21\0\0\0"):
            datagram = (start + data)[:size].ljust(size, b"\0")
            check.owns(datagram)
            check.receive(datagram, Endpoint(UDP, *ELSEWHERE, via), 0.1)
    assert check.evidence().sightings == []


def test_an_answer_is_believed_once_by_its_socket_and_under_its_key() -> None:
    asking = Asking(entropy())
    asking.ask(Question(Point(b"k" * 32, Endpoint(UDP, *FIRST)), 3, "look"), 0.0)
    (burst,) = asking.datagrams()
    request = Seal(b"k" * 32).read_request(burst.data)
    assert request is not None
    reply = Reply(request.transaction, OUTSIDE, 7, bytes(8))
    forged, genuine = Seal(b"x" * 32).reply(reply), Seal(b"k" * 32).reply(reply)
    assert asking.receive(forged, Endpoint(UDP, *FIRST, 3), 0.1) is None
    assert asking.receive(genuine, Endpoint(UDP, *FIRST, 4), 0.1) is None
    assert asking.receive(genuine, Endpoint(UDP, *FIRST, 3), 0.1) is not None
    assert asking.receive(genuine, Endpoint(UDP, *FIRST, 3), 0.1) is None
    assert asking.round_trip == pytest.approx(0.1)


def test_a_question_is_asked_again_and_given_up() -> None:
    asking = Asking(entropy())
    asking.ask(Question(Point(b"k" * 32, Endpoint(UDP, *FIRST)), 0, "look", tries=3, interval=0.5), 0.0)
    sent = []
    for step in range(40):
        asking.tick(step * 0.1)
        sent += [(step * 0.1, burst) for burst in asking.datagrams()]
    assert [at for at, _ in sent] == pytest.approx([0.0, 0.5, 1.0])
    assert [question.purpose for question in asking.ended()] == ["look"]
    assert asking.deadline() is None


def test_its_own_questions_only_are_known_as_come_back() -> None:
    """Hairpin: somebody else's request, genuine as it may be, is none of ours."""
    point = Point(b"k" * 32, Endpoint(UDP, *FIRST))
    check = Netcheck([point], frozenset(), range(1, SOCKETS + 1), Seen(frozenset(), lambda via, transport: 0), entropy(), 0.0)
    assert not check.owns(Seal(b"k" * 32).request(Request(bytes(8), b"transact")))
