"""A member that floods, forges and provokes: the others stay as they are, bounded (RFC 6762 8.1; lan/storm limits rates before that)."""

from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mdns_cache import MAX_RECORDS_OF_ORIGIN, MAX_TTL
from bridges.mdns_querier import (
    LOOK_PAUSE,
    MAX_BROWSED,
    MAX_RESOLVED,
    MAX_RESOLVED_OF_ORIGIN,
    MAX_SERVICES_OF_ORIGIN,
    MAX_TYPES_OF_ORIGIN,
)
from bridges.mdns_records import META, Service, addresses, parse_type, pointers, type_pointer, unique
from bridges.mdns_responder import MAX_PENDING
from bridges.mdns_wire import ANY, PTR, SRV, Message, Question, Record, Srv, decode, encode, name_of
from tests.bridges.mdns_air import Air, service

NAS, LAPTOP, EVE = "25.9.0.2", "25.9.0.3", "25.9.0.66"


def say(air: Air, records: list[Record]) -> None:
    for packet in encode(Message(True, [], records)):
        air.send(EVE, packet)


def test_one_origin_cannot_take_back_or_redirect_what_another_one_said() -> None:
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    air.run(10)
    mine = service(host="eve", address=EVE, port=666)
    say(air, [record._replace(ttl=0) for record in (*pointers(service()), *unique(service()))])
    say(air, [*pointers(mine), *unique(mine), *addresses(mine)])
    air.run(1)
    found = {key: one.port for key, one in laptop.found().items()}
    assert found[f"{NAS}: Laser"] == 631
    assert found[f"{EVE}: Laser"] == 666


def test_caches_are_bounded_for_each_origin() -> None:
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    for number in range(300):
        kind = parse_type(f"_t{number}._tcp")
        one = Service(f"n{number}".encode(), kind, (b"eve", b"local"), 1 + number, b"\0", (EVE,), ())
        say(air, [type_pointer(one), *pointers(one), *unique(one), *addresses(one)])
    air.run(60)
    assert len(list(laptop.link.cache.of(EVE))) <= MAX_RECORDS_OF_ORIGIN
    assert laptop.link.counters["cache-full"] > 0
    assert len(laptop.found()) <= MAX_SERVICES_OF_ORIGIN
    assert len(laptop.link.querier._asked) <= min(MAX_RESOLVED, MAX_BROWSED + MAX_TYPES_OF_ORIGIN)
    nas.offer(service())
    air.run(10)
    assert f"{NAS}: Laser" in laptop.found(), "there is room for others"
    air.run(MAX_TTL + 60)
    assert not list(laptop.link.cache.of(EVE)), "what is not said again is forgotten"


def test_one_member_cannot_take_the_name_of_another_ones_service() -> None:
    """A computer's responder speaks for all members: what two of them call the same must not become one service (RFC 6762 9)."""
    air = Air()
    computer, program = air.join("127.0.0.1", unicast=False), air.join("127.0.0.9", unicast=False)
    computer.offer(service(host="nas-userlan", address="127.9.0.2"), "nas")
    computer.offer(service("LASER", host="eve-userlan", address="127.9.0.66", port=666), "eve")
    assert [conflict.key for conflict in computer.link.responder.conflicts()] == ["eve"]
    computer.offer(service("LASER on eve", host="eve-userlan", address="127.9.0.66", port=666), "eve")
    air.run(10)
    assert {one.title: (one.port, one.addresses) for one in program.found().values()} == {
        "Laser": (631, ("127.9.0.2",)),
        "LASER on eve": (666, ("127.9.0.66",)),
    }
    computer.offer(service(host="eve-userlan", address="127.9.0.66", port=666), "eve")
    air.run(10)
    assert [(one.title, one.port) for one in program.found().values()] == [("Laser", 631)], "nor by a change of its own name"


def test_one_origin_cannot_make_us_ask_without_end() -> None:
    """Each question goes to all members: those about what one of them says are few, whatever it says (RFC 6762 5.2)."""
    air = Air()
    laptop = air.join(LAPTOP)
    begin = air.now
    for turn in range(40):
        kind = service().domain
        say(air, [Record(kind, PTR, (b"n%d-%d" % (turn, number), *kind), 4500) for number in range(100)])
        if turn:
            say(air, [Record(kind, PTR, (b"n%d-%d" % (turn - 1, number), *kind), 0) for number in range(100)])
        air.run(1.1)
        assert len(laptop.link.querier._asked) <= MAX_RESOLVED_OF_ORIGIN + MAX_BROWSED
    asked = [question for _, sender, _, message in air.said if sender == LAPTOP for question in message.questions]
    assert len(asked) < (air.now - begin) * MAX_RESOLVED_OF_ORIGIN
    for _ in range(3):
        air.run(10)
        assert laptop.link.querier._resolving.total() <= MAX_RESOLVED_OF_ORIGIN
    assert not laptop.link.querier._resolving, "what is not asked any more does not count"


def test_types_of_who_is_gone_are_not_browsed_any_more() -> None:
    """Else whoever joins again and again under new keys ends everybody's browsing for good."""
    air = Air()
    laptop = air.join(LAPTOP)
    for turn in range(10):
        for number in range(MAX_TYPES_OF_ORIGIN):
            one = service(type=parse_type(f"_t{turn}-{number}._tcp"))
            say(air, [type_pointer(one)])
        air.run(1)
        laptop.link.querier.forget(EVE)
        laptop.step()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    assert f"{NAS}: Laser" in laptop.found()


def test_time_to_live_is_capped() -> None:
    air = Air()
    laptop = air.join(LAPTOP)
    one = service(host="eve", address=EVE)
    say(air, [record._replace(ttl=0x7FFFFFFF) for record in (*pointers(one), *unique(one), *addresses(one))])
    air.run(1)
    assert laptop.found()
    air.run(MAX_TTL + 10)
    assert not laptop.found()


def test_a_name_that_is_claimed_again_and_again() -> None:
    """Renaming has an end, and slows down (RFC 6762 8.1)."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    tries = 0
    begin = air.now
    for _ in range(400):
        air.run(0.1)
        for owned in nas.link.responder.owned():
            target = Srv(0, 0, 1, name_of("eve.local"))
            say(air, [Record(owned.service.name, SRV, target, 120, True)])
        if nas.conflicts():
            nas.events.clear()
            tries += 1
            nas.offer(service(f"Laser {tries}"))
    assert 15 <= tries < 15 + (air.now - begin) / 4


def test_questions_without_end() -> None:
    air = Air()
    nas = air.join(NAS)
    for number in range(100):
        nas.offer(service(f"Laser {number}", subtypes=(b"_a", b"_b")), f"key {number}")
    air.run(10)
    asked = [Question(name, kind) for name in (META, service().domain) for kind in (PTR, ANY)] * 50
    packet = encode(Message(False, asked), 8000)[0]
    begin = time.process_time()
    for number in range(300):
        nas.link.receive(packet, (EVE, 1024 + number if number % 2 else 5353), EVE, air.now)
    assert time.process_time() - begin < 20, "milliseconds each: seconds would be a way to stop a node"
    assert len(nas.link.responder._pending) <= MAX_PENDING
    assert nas.link.counters["pending-full"] > 0


def test_probes_without_end() -> None:
    """Each is answered to all: no more often than four times a second (RFC 6762 6)."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    begin = air.now
    wish = Record(service().name, SRV, Srv(0, 0, 1, name_of("eve.local")), 120)
    for _ in range(100):
        for packet in encode(Message(False, [Question(service().name, ANY)], authorities=[wish])):
            nas.link.receive(packet, (EVE, 5353), EVE, air.now)
        air.run(0.02)
    answers = [message for _, sender, to, message in air.since(begin, True) if sender == NAS and to is None]
    assert 4 <= len(answers) <= 10


def test_a_service_that_changes_without_end() -> None:
    """What is shown to others is said once a second, however often a member says something else."""
    air = Air()
    computer, program = air.join("127.0.0.1", unicast=False), air.join("127.0.0.9", unicast=False)
    computer.offer(service())
    air.run(10)
    begin = air.now
    for turn in range(200):
        computer.offer(service(text=b"\x03%03d" % turn, subtypes=(b"_s%d" % turn,)))
        air.run(0.02)
    said = [message for _, sender, _, message in air.since(begin, True) if sender == "127.0.0.1"]
    assert len(said) <= 6
    air.run(5)
    [found] = program.found().values()
    assert (found.text, found.subtypes) == (b"\x03199", (b"_s199",)), "the last word is what is known in the end"
    computer.link.withdraw("one")
    air.run(3)
    assert not program.found()
    assert not [record for record in program.link.cache.of("127.0.0.1") if record.type == PTR and record.name != META]


def test_what_a_member_calls_a_service_keeps_no_program_here_from_its_name() -> None:
    """A member could take the names of this computer's own services before they start."""
    air = Air()
    computer, program, browser = air.join("127.0.0.1", unicast=False), air.join("127.0.0.9", unicast=False), air.join("127.0.0.8", False)
    computer.link.responder._yields = True
    computer.offer(service(host="eve-userlan", address="127.9.0.66", port=666), "eve")
    air.run(5)
    assert [(one.title, one.port) for one in browser.found().values()] == [("Laser", 666)]
    program.offer(service(host="pc", address="127.0.0.9"))
    air.run(3)
    assert [conflict.key for conflict in computer.conflicts()] == ["eve"]
    assert not program.conflicts()
    computer.offer(service("Laser on eve", host="eve-userlan", address="127.9.0.66", port=666), "eve")
    air.run(5)
    assert sorted((one.title, one.port) for one in browser.found().values()) == [("Laser", 631), ("Laser on eve", 666)]


def test_changes_without_end_are_looked_at_now_and_then() -> None:
    """And the first one at once, the last one in the end."""
    air = Air()
    laptop = air.join(LAPTOP)
    begin = air.now
    for port in range(1, 201):
        one = service(host="eve", address=EVE, port=port)
        say(air, [*pointers(one), *unique(one), *addresses(one)])
        air.run(0.02)
        if port == 1:
            assert len(laptop.seen()) == 1
    assert len(laptop.seen()) <= (air.now - begin) / LOOK_PAUSE + 1
    air.run(5)
    assert laptop.found()[f"{EVE}: Laser"].port == 200


def test_subtypes_asked_for_do_not_pile_up() -> None:
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(5)
    for number in range(50):
        questions = [Question(name_of(f"_s{number}-{index}._sub._ipp._tcp.local"), PTR) for index in range(20)]
        nas.link.receive(encode(Message(False, questions))[0], (EVE, 5353), EVE, air.now)
        nas.step()
    assert len(nas.link.responder.asked_for) == 0


name_parts = st.sampled_from([b"laser", b"_ipp", b"_tcp", b"local", b"_sub", b"_services", b"_dns-sd", b"_udp", b"nas", b"\xff"])
any_name = st.lists(name_parts, min_size=1, max_size=5).map(tuple)
any_data = st.one_of(
    any_name.map(lambda name: (PTR, name)),
    st.builds(lambda port, target: (SRV, Srv(0, 0, port, target)), st.integers(0, 3), any_name),
    st.binary(max_size=4).map(lambda text: (16, text)),
    st.just((1, bytes(4))),
)
any_ttl = st.sampled_from([0, 1, 120])
any_record: st.SearchStrategy[Record] = st.builds(
    lambda name, what, ttl, flush: Record(name, what[0], what[1], ttl, flush), any_name, any_data, any_ttl, st.booleans()
)
any_message = st.builds(
    Message,
    st.booleans(),
    st.lists(st.builds(Question, any_name, st.sampled_from([PTR, SRV, 16, 1, ANY]), st.booleans()), max_size=3),
    st.lists(any_record, max_size=5),
    st.lists(any_record, max_size=2),
    st.lists(any_record, max_size=2),
    st.booleans(),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(any_message, st.floats(0, 3), st.sampled_from([5353, 40000])), max_size=12), st.integers(0, 1000))
def test_any_messages(messages: list[tuple[Message, float, int]], seed: int) -> None:
    """Whatever is said: it ends, all that is sent can be read, and what is offered is offered still, or a conflict was told."""
    air = Air(seed)
    nas = air.join(NAS)
    nas.offer(Service(b"laser", (b"_ipp", b"_tcp"), (b"nas", b"local"), 2, b"\0", (NAS,), ()))
    for message, pause, port in messages:
        for packet in encode(message):
            nas.link.receive(packet, (EVE, port), EVE, air.now)
        air.run(pause)
    air.run(10)
    assert all(decode(encode(message)[0]) for _, _, _, message in air.said if message.questions or message.answers)
    assert bool(nas.link.responder.owned()) != bool(nas.conflicts())


@given(st.binary(max_size=200))
def test_any_bytes(octets: bytes) -> None:
    air = Air(random.randrange(100))
    nas = air.join(NAS)
    nas.link.receive(octets, (EVE, 5353), EVE, air.now)
    air.run(1)
