"""Members of a link find each other's services, in virtual time (RFC 6762, 6763)."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from bridges.mdns_records import META
from bridges.mdns_responder import Audience
from bridges.mdns_wire import PTR, SRV, Message, Question, Record, encode
from tests.bridges.mdns_air import Air, service

NAS, LAPTOP, PHONE = "25.9.0.2", "25.9.0.3", "25.9.0.4"


def test_found_changed_and_gone() -> None:
    air = Air()
    nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    laser = service(subtypes=(b"_print", b"_universal"))
    nas.offer(laser)
    air.run(10)
    for member in (laptop, phone):
        assert member.found() == {f"{NAS}: Laser": laser}
    assert nas.found() == {}
    changed = attrs.evolve(laser, port=632, text=b"\x04rp=y", subtypes=(b"_print",))
    nas.offer(changed)
    air.run(5)
    assert laptop.found() == {f"{NAS}: Laser": changed}
    nas.link.withdraw("one")
    air.run(5)
    for member in (laptop, phone):
        assert member.found() == {}
        assert member.seen()[0].before is None
        assert member.seen()[-1].after is None


def test_an_answer_that_waits_does_not_come_behind_the_goodbye() -> None:
    """RFC 6762 6 delays it by 20 to 120 ms, 10.1 takes back: it would be believed for an hour."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(30)
    responder, domain = nas.link.responder, service().domain
    responder.asked(Message(False, [Question(domain, PTR)]), (PHONE, 5353), air.now)
    assert any(pending.answers for pending in responder._pending)
    responder.withdraw("one")
    said = [record for message, _ in responder.messages(air.now) + responder.messages(air.now + 1) for record in message.answers]
    assert {record.ttl for record in said} == {0}


@pytest.mark.parametrize("audience", [None, ((LAPTOP,),)], ids=["all", "one"])
@pytest.mark.parametrize("tenths", range(30))
def test_gone_whenever_it_is_withdrawn(tenths: int, audience: Audience | None) -> None:
    """Also between the last probe and the first announcement (RFC 6762 8.1, 8.3): who asked then must hear the goodbye (10.1)."""
    for hundredths in range(0, 10, 2):
        air = Air(10 * tenths + hundredths)
        nas, laptop = air.join(NAS), air.join(LAPTOP)
        other = attrs.evolve(service(), instance=b"Other")
        nas.link.offer("other", other, None, air.now)
        air.run(10)
        nas.link.offer("one", service(), audience, air.now)
        air.run(tenths / 10)
        air.send(LAPTOP, encode(Message(False, [Question(service().domain, PTR)]))[0])
        air.run(hundredths / 40)
        nas.link.withdraw("one")
        air.run(10)
        assert list(laptop.found()) == [f"{NAS}: Other"]


def test_two_announcements_a_second_apart_behind_three_probes() -> None:
    """RFC 6762, 8.1 and 8.3."""
    air = Air()
    nas = air.join(NAS)
    air.join(LAPTOP)
    air.run(30)
    begin = air.now
    nas.offer(service())
    air.run(10)
    probes = [when for when, sender, _, message in air.since(begin) if sender == NAS and message.authorities]
    assert len(probes) == 3
    assert all(0.24 < two - one < 0.3 for one, two in pairwise(probes))
    told = [when for when, sender, to, message in air.since(begin, True) if sender == NAS and to is None and len(message.answers) > 3]
    assert len(told) == 2
    assert told[0] >= probes[-1] + 0.24
    assert 1.0 <= told[1] - told[0] < 1.1


def test_late_comers_ask() -> None:
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(4000)
    laptop = air.join(LAPTOP)
    air.run(3)
    assert list(laptop.found()) == [f"{NAS}: Laser"]


def test_a_greeting_tells_and_asks_one_alone() -> None:
    """A tunnel that comes up long after both began: neither would ask for an hour (RFC 6762 5.2, 5.5)."""
    air = Air()
    air.lost = lambda sender, receiver: {sender, receiver} == {NAS, PHONE}
    nas, _, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    nas.offer(service())
    phone.offer(service("Scanner", "phone", 80, PHONE))
    air.run(3000)
    assert phone.found() == {}
    air.lost = lambda sender, receiver: False
    begin = air.now
    nas.link.greet(PHONE)
    air.run(3)
    assert list(phone.found()) == [f"{NAS}: Laser"]
    assert list(nas.found()) == [f"{PHONE}: Scanner"]
    assert all(to is not None for when, sender, to, _ in air.since(begin) if sender == NAS and when == begin)


def test_one_who_leaves_without_a_word_is_forgotten_in_two_minutes() -> None:
    """RFC 6762 10: TTL 120 s of what names a host; it is asked for at 80, 85, 90 and 95 % of it (5.2)."""
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    air.run(400)
    assert laptop.found()
    air.leave(NAS)
    begin = air.now
    air.run(125)
    assert laptop.found() == {}
    assert len([message for _, _, _, message in air.since(begin, False) if any(one.type == SRV for one in message.questions)]) >= 4


def test_what_is_used_stays_though_nobody_browses() -> None:
    air = Air()
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    air.run(20_000)
    assert len(laptop.seen()) == 1


def test_idle_members_say_little() -> None:
    air = Air()
    members = [air.join(f"25.9.0.{number}") for number in range(2, 12)]
    for number, member in enumerate(members):
        member.offer(service(f"Laser {number}", f"host{number}", address=member.host))
    air.run(300)
    assert all(len(member.found()) == 9 for member in members)
    begin = air.now
    air.run(3600)
    assert len(air.since(begin)) < 10 * 3600 / 20, "a datagram a member each 20 s, at the most"
    assert all(len(member.found()) == 9 for member in members)


def test_the_name_of_another_is_given_up() -> None:
    """RFC 6762 8.1 and 9."""
    air = Air()
    nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    nas.offer(service())
    air.run(10)
    laptop.offer(service(host="laptop", address=LAPTOP))
    air.run(10)
    assert [one.key for one in laptop.conflicts()] == ["one"]
    assert nas.conflicts() == []
    assert list(phone.found()) == [f"{NAS}: Laser"]


def test_of_two_who_probe_at_once_one_keeps_the_name() -> None:
    """RFC 6762 8.2."""
    for seed in range(8):
        air = Air(seed)
        nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
        nas.offer(service())
        laptop.offer(service(host="laptop", address=LAPTOP, port=700))
        air.run(20)
        assert len(nas.conflicts()) + len(laptop.conflicts()) == 1, seed
        assert len(phone.found()) == 1


def test_two_of_one_name_who_meet_later() -> None:
    air = Air()
    air.lost = lambda sender, receiver: True
    nas, laptop = air.join(NAS), air.join(LAPTOP)
    nas.offer(service())
    laptop.offer(service(host="laptop", address=LAPTOP, port=700))
    air.run(100)
    air.lost = lambda sender, receiver: False
    nas.link.greet(LAPTOP)
    air.run(20)
    assert len(nas.conflicts()) + len(laptop.conflicts()) >= 1
    held = [owned.service.name for member in (nas, laptop) for owned in member.link.responder.owned()]
    assert len(held) == len(set(held))


def test_an_audience_alone_learns_of_it() -> None:
    air = Air()
    nas, laptop, phone = (air.join(host) for host in (NAS, LAPTOP, PHONE))
    nas.offer(service(), audience=((LAPTOP,),))
    air.run(3000)
    assert list(laptop.found()) == [f"{NAS}: Laser"]
    assert phone.found() == {}
    assert not [to for _, sender, to, message in air.said if b"Laser" in str(message).encode() and to != (LAPTOP, 5353) and sender == NAS]
    nas.link.withdraw("one")
    air.run(3)
    assert laptop.found() == {}


def test_known_answers_are_not_repeated() -> None:
    """RFC 6762 7.1."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    name = service().domain
    known = Record(name, PTR, service().name, 4000)
    for answers, expected in (((), 1), ((known,), 0), ((known._replace(ttl=2000),), 1)):
        air.run(5)
        begin = air.now
        air.send(LAPTOP, encode(Message(False, [Question(name, PTR)], answers))[0])
        air.run(2)
        assert len([one for one in air.since(begin, True) if one[1] == NAS]) == expected


def test_known_answers_that_come_in_a_second_datagram() -> None:
    """RFC 6762 7.2: the answer waits for them."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    name, begin = service().domain, air.now
    query = encode(Message(False, [Question(name, PTR)]))[0]
    air.send(LAPTOP, query[:2] + b"\x02\x00" + query[4:])        # TC
    air.run(0.2)
    air.send(LAPTOP, encode(Message(False, [], [Record(name, PTR, service().name, 4000)]))[0])
    air.run(2)
    assert not [one for one in air.since(begin, True) if one[1] == NAS]


def test_what_another_has_just_said_is_not_said_again() -> None:
    """RFC 6762 7.4: of shared records."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    begin = air.now
    answer = Record(META, PTR, service().domain, 4500)
    air.send(PHONE, encode(Message(False, [Question(META, PTR)]))[0])
    air.send(LAPTOP, encode(Message(True, [], [answer]))[0])
    air.run(2)
    assert not [one for one in air.since(begin, True) if one[1] == NAS]


def test_a_plain_resolver_is_answered_in_its_own_way() -> None:
    """RFC 6762 6.7: to its port, with its identifier and question, TTLs of 10 s at most, no cache-flush bit."""
    air = Air()
    nas = air.join(NAS)
    nas.offer(service())
    air.run(10)
    query = encode(Message(False, [Question(service().name, SRV)], identifier=77))[0]
    nas.link.receive(query, (PHONE, 40000), None, air.now)
    nas.step()
    _, _, to, message = air.said[-1]
    assert (to, message.identifier, message.questions) == ((PHONE, 40000), 77, [Question(service().name, SRV)])
    assert all(record.ttl <= 10 and not record.flush for record in (*message.answers, *message.additionals))
    assert message.answers
