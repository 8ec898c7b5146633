"""A newer word that comes while an older one is still on its way: what was said of a service is taken back, or comes never (RFC 6762)."""

from __future__ import annotations

import pytest

from bridges.mdns_cache import Cache
from bridges.mdns_records import SUB, pointers, unique
from bridges.mdns_responder import PROBE_INTERVAL, Conflict
from bridges.mdns_wire import ANY, PTR, SRV, Message, Name, Question, Record, Srv, encode, name_of
from tests.bridges.mdns_air import Air, service

NAS, LAPTOP, PHONE = "25.9.0.2", "25.9.0.3", "25.9.0.4"


def ask(air: Air, name: Name, kind: int, of: str = NAS, asker: str = PHONE) -> None:
    air.members[of].link.receive(encode(Message(False, [Question(name, kind)]))[0], (asker, 5353), asker, air.now)


def subtype(name: bytes) -> Name:
    return (name, SUB, *service().domain)


@pytest.mark.parametrize("audience", [None, ((LAPTOP,),)], ids=["all", "one"])
@pytest.mark.parametrize("pause", [0.0, 0.005, 0.02, 0.05, 0.11])
def test_an_answer_that_waits_does_not_come_behind_the_change(pause: float, audience: tuple[tuple[str, ...], ...] | None) -> None:
    """RFC 6762 6 delays it by 20 to 120 ms, 8.4 says the new data at once: the old would be the last word."""
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service(subtypes=(b"_old",)), audience=audience)
    air.run(30)
    for name, kind in ((subtype(b"_old"), PTR), (service().name, SRV)):
        ask(air, name, kind, asker=LAPTOP)
    air.run(pause)
    asked = air.now
    changed = service(port=632, subtypes=(b"_new",))
    nas.offer(changed, audience=audience)
    air.run(10)
    messages = [message for _, _, _, message in air.since(asked + 1e-6, True)]
    said = [record for message in messages for record in (*message.answers, *message.additionals) if record.ttl]
    assert {record.data.port for record in said if isinstance(record.data, Srv)} == {632}
    assert not [record for record in said if record.name == subtype(b"_old")]
    assert list(laptop.found().values()) == [changed]


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_what_was_answered_between_two_announcements_is_taken_back(pause: float) -> None:
    """The first change has not been announced yet when the second one comes, but who asked meanwhile has heard of it."""
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    air.run(30)
    nas.offer(service(subtypes=(b"_a",)))       # said at once
    air.run(0.05)
    nas.offer(service(subtypes=(b"_b",)))       # a second later, but an answer before that
    ask(air, subtype(b"_b"), PTR, asker=LAPTOP)
    air.run(pause)
    nas.offer(service(subtypes=(b"_c",)))
    air.run(10)
    assert [one.subtypes for one in laptop.found().values()] == [(b"_c",)]
    nas.offer(service(subtypes=(b"_d",)))
    air.run(0.05)
    nas.offer(service(subtypes=(b"_e",)))
    ask(air, subtype(b"_e"), PTR, asker=LAPTOP)
    air.run(pause)
    nas.link.withdraw("one")
    air.run(10)
    assert not laptop.found()
    assert not [record for record in laptop.link.cache.of(NAS) if record.type == PTR and record.data == service().name]


def test_back_to_what_it_was_is_the_last_word() -> None:
    """RFC 6762 10.2 spares what came within a second: both are known then, and the one that was said last counts."""
    cache = Cache(lambda: 0.5)
    here, there = (unique(service(port=port))[0] for port in (631, 632))
    for now, record in ((0.0, here), (10.0, there), (10.5, here)):
        cache.add(NAS, record, now)
        cache.add(PHONE, record, now)
        assert cache.find_of(NAS, service().name, SRV)[-1] == record
        assert cache.changed == {NAS, PHONE}, "the reader looks again"
        cache.changed.clear()
    cache.add(NAS, here, 11.0)
    cache.add(PHONE, here, 11.0)
    assert not cache.changed, "what is only said again changes nothing"


def test_one_conflict_for_one_name() -> None:
    """The service is told anew before its owner hears of the conflict: it was renamed once for each time, twenty times at the most."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service(), "first")
    for _ in range(3):
        nas.offer(service(port=80), "second")
    assert nas.link.events(air.now) == [Conflict("second")]
    nas.offer(service("Other", port=80), "second")
    assert nas.link.events(air.now) == []


def test_a_conflict_is_over_with_the_name_it_was_about() -> None:
    air = Air()
    nas = air.join(NAS)
    nas.offer(service(), "first")
    nas.offer(service(port=80), "second")
    nas.offer(service("Other", port=80), "second")
    nas.offer(service(port=81), "third")
    nas.link.withdraw("third")
    assert nas.link.events(air.now) == []
    air.run(10)
    assert sorted(owned.service.title for owned in nas.link.responder.owned()) == ["Laser", "Other"]


def test_a_conflict_that_no_probe_would_find_again_is_not_forgotten() -> None:
    """Who does not hear us (RFC 6762 9 cannot be asked whether it is still there) has said it once."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    [packet] = encode(Message(True, [], unique(service(host="other", port=1))))
    nas.link.receive(packet, (PHONE, 5353), None, air.now, deaf=True)
    nas.offer(service(text=b"\x01x"))
    assert nas.link.events(air.now) == [Conflict("one")]


@pytest.mark.parametrize("audience", [None, ((LAPTOP,),)], ids=["all", "one"])
def test_who_loses_its_name_takes_back_where_it_was(audience: tuple[tuple[str, ...], ...] | None) -> None:
    """RFC 6762 9 and 10.1: else it is shown under both names for two minutes. The pointer may be the winner's as well."""
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service(), audience=audience)
    air.run(30)
    assert list(laptop.found()) == [f"{NAS}: Laser"]
    winner = unique(service(host="other", port=1))
    for _ in range(4):
        [packet] = encode(Message(True, [], winner))
        nas.link.receive(packet, (PHONE, 5353), PHONE, air.now)
        air.run(PROBE_INTERVAL)
    assert nas.conflicts() == [Conflict("one")]
    nas.offer(service("Laser on nas"), audience=audience)
    air.run(5)
    assert list(laptop.found()) == [f"{NAS}: Laser on nas"]
    taken = [one for _, _, _, message in air.since(1030, True) for one in message.answers if not one.ttl and one.name == service().name]
    assert {record.type for record in taken} == {SRV}


def test_the_echo_of_each_time_that_it_was_said() -> None:
    """Three probes are octet for octet the same: the kernel gives back the first when the second has been sent already."""
    air = Air()
    computer = air.join("127.0.0.1", unicast=False)
    computer.link.copies = 2
    air.run(30)
    computer.offer(service())
    sent: list[bytes] = []
    for _ in range(5000):
        air.now += 0.001
        sent += [data for data, to in computer.link.datagrams(air.now) if to is None]
        if sent and sent.count(sent[-1]) == 2:
            break
    probe = sent[-1]
    for echoes in (1, 2, 3, 4, 4):
        computer.link.receive(probe, ("127.0.0.1", 5353), "", air.now)
        assert computer.link.counters["echo"] == echoes, "the fifth is somebody else's"


def test_who_probes_does_not_make_us_tell_everybody() -> None:
    """A tie (RFC 6762 8.2) is between two who probe; what is meant for some alone is never probed for."""
    air = Air()
    nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    air.run(30)
    nas.offer(service(), audience=((LAPTOP,),))
    wish = Record(service().name, SRV, Srv(9, 9, 65535, name_of("zz.local")), 120)
    [probe] = encode(Message(False, [Question(service().name, ANY)], authorities=[wish]))
    nas.link.receive(probe, (PHONE, 5353), PHONE, air.now)
    air.run(10)
    assert list(laptop.found()) == [f"{NAS}: Laser"]
    assert not phone.found()
    assert not [to for _, sender, to, message in air.said if sender == NAS and to != (LAPTOP, 5353) and b"Laser" in str(message).encode()]


def test_who_has_its_name_asks_before_it_gives_it_up() -> None:
    """RFC 6762 9, also between a change and its announcement: who says to have it may be gone, or say it by mistake."""
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    air.run(10)
    nas.link.again(air.now)
    [packet] = encode(Message(True, [], unique(service(host="other", port=1))))
    nas.link.receive(packet, (PHONE, 5353), PHONE, air.now)
    air.run(10)
    assert not nas.conflicts()
    assert list(laptop.found()) == [f"{NAS}: Laser"]


def test_who_stays_in_the_audience_is_not_told_that_it_is_gone() -> None:
    """Only who may not know any more: a member that comes or goes would have all others close what leads there."""
    air = Air()
    nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    first, second = service(subtypes=(b"_a",)), service(subtypes=(b"_b",))
    nas.offer(first, audience=((LAPTOP,), (PHONE,)))
    air.run(10)
    begin = air.now
    ask(air, subtype(b"_a"), PTR, asker=PHONE)
    nas.offer(second, audience=((LAPTOP,),))
    air.run(5)
    gone = [(to, one) for _, _, to, message in air.since(begin, True) for one in message.answers if not one.ttl]
    assert {one for to, one in gone if to == (LAPTOP, 5353)} == {pointers(first)[1]._replace(ttl=0)}
    assert pointers(first)[0]._replace(ttl=0) in [one for to, one in gone if to == (PHONE, 5353)]
    assert not phone.found()
    assert list(laptop.found().values()) == [second]
    nas.link.withdraw("one")
    air.run(5)
    assert not laptop.found()


def test_answers_that_wait_are_not_for_who_may_not_know_any_more() -> None:
    air = Air()
    nas, phone = air.join(NAS), air.join(PHONE)
    nas.offer(service())
    air.run(10)
    begin = air.now
    ask(air, service().domain, PTR)
    nas.offer(service(), audience=((LAPTOP,),))
    air.run(5)
    said = [one for _, _, to, message in air.since(begin, True) if to != (LAPTOP, 5353) for one in message.answers]
    assert {one.ttl for one in said} == {0}
    assert not phone.found()
    assert [owned.audience for owned in nas.link.responder.owned()] == [((LAPTOP,),)]
