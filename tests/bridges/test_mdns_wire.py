"""Messages of multicast DNS: what python-zeroconf and scapy read in them, and that any bytes may come (RFC 1035, 6762)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS
from zeroconf._dns import DNSPointer, DNSService, DNSText
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

from bridges.mdns_records import instance_of, renamed, strings, subtype_of, text_data, type_of
from bridges.mdns_wire import (
    AAAA,
    MAX_PAYLOAD,
    PAYLOAD,
    PTR,
    SRV,
    TXT,
    A,
    Message,
    Name,
    Question,
    Record,
    Srv,
    decode,
    encode,
    name_of,
    name_size,
)

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=4).map(tuple).filter(lambda name: name_size(name) <= 255)
data = st.one_of(
    names.map(lambda name: (PTR, name)),
    st.builds(lambda port, name: (SRV, Srv(0, 0, port, name)), st.integers(0, 65535), names),
    st.binary(max_size=300).map(lambda text: (TXT, text)),
    st.binary(min_size=4, max_size=4).map(lambda packed: (A, packed)),
    st.binary(min_size=16, max_size=16).map(lambda packed: (AAAA, packed)),
)
ttls = st.integers(0, 9999)
records = st.builds(lambda name, what, ttl, flush: Record(name, what[0], what[1], ttl, flush), names, data, ttls, st.booleans())
questions = st.builds(Question, names, st.sampled_from([PTR, SRV, 255]), st.booleans())


@given(st.lists(questions, max_size=4), st.lists(records, max_size=6), st.lists(records, max_size=3))
def test_what_is_packed_is_unpacked(asked: list[Question], answers: list[Record], authorities: list[Record]) -> None:
    packets = [decode(packet) for packet in encode(Message(False, asked, answers, authorities), MAX_PAYLOAD)]
    assert [one for packet in packets for one in packet.questions] == asked
    assert [one for packet in packets for one in packet.answers] == answers
    assert [one for packet in packets for one in packet.authorities] == authorities


@given(st.lists(records, min_size=1, max_size=60))
def test_cut_into_datagrams_that_fit(answers: list[Record]) -> None:
    """RFC 6762 17; 7.2: known answers of a query go on in further datagrams."""
    for response in (True, False):
        packets = encode(Message(response, [], answers))
        assert all(len(packet) <= PAYLOAD or len(decode(packet).answers) == 1 for packet in packets)
        assert [one for packet in packets for one in decode(packet).answers] == answers
        assert [decode(packet).truncated for packet in packets] == [not response] * (len(packets) - 1) + [False]


@given(st.binary(max_size=600))
def test_any_bytes(octets: bytes) -> None:
    for packet in (octets, bytes(4) + b"\0\1\0\1\0\1\0\1" + octets):
        try:
            message = decode(packet)
        except ValueError:
            continue
        for part in (message.answers, message.authorities, message.additionals):
            assert all(name_size(record.name) <= 255 for record in part)


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_damaged_messages(answers: list[Record], more: Any) -> None:
    packet = bytearray(encode(Message(True, [], answers), MAX_PAYLOAD)[0])
    for _ in range(3):
        packet[more.draw(st.integers(0, len(packet) - 1))] = more.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        decode(bytes(packet[: more.draw(st.integers(0, len(packet)))]))


@pytest.mark.parametrize(
    "tail",
    [b"\xc0\x0c\0\x0c\0\1", b"\1a\xc0\x0c\0\x0c\0\1", b"\xc0\xff\0\x0c\0\1", b"\xc0", b"\x80a\0\0\x0c\0\1", b"\5a"],
    ids=["itself", "loop", "beyond", "half a pointer", "no such label", "cut off"],
)
def test_names_that_lead_nowhere(tail: bytes) -> None:
    with pytest.raises(ValueError, match=r"name|pointer"):
        decode(b"\0\0\0\0\0\1\0\0\0\0\0\0" + tail)


def test_names_of_ever_more_pointers_cost_little() -> None:
    """Each record's name points to the one before: all are bounded, however many there are."""
    body, place = bytearray(b"\1a\0\0\x0c\0\1"), 12
    count = 1
    for _ in range(900):
        here = 12 + len(body)
        body += b"\1b" + (0xC000 | place).to_bytes(2, "big") + b"\0\x0c\0\1"
        place, count = here, count + 1
    with pytest.raises(ValueError, match=r"pointers|long"):
        decode(b"\0\0\0\0" + count.to_bytes(2, "big") + bytes(6) + bytes(body))


def test_errors_and_other_operations_are_ignored() -> None:
    """RFC 6762 18.3, 18.11."""
    good = encode(Message(True, [], [Record((b"a",), A, bytes(4), 9)]))[0]
    for flags in (b"\x84\x03", b"\xac\x00"):
        with pytest.raises(ValueError, match="does not know"):
            decode(good[:2] + flags + good[4:])


def test_zeroconf_reads_it() -> None:
    name = name_of("Laser._ipp._tcp.local")
    answers = [
        Record(name_of("_ipp._tcp.local"), PTR, name, 4500),
        Record(name, SRV, Srv(0, 0, 631, name_of("nas.local")), 120, True),
        Record(name, TXT, b"\x04rp=x", 4500, True),
        Record(name_of("nas.local"), A, bytes((25, 9, 0, 2)), 120, True),
    ]
    read = DNSIncoming(encode(Message(True, [], answers))[0])
    assert read.valid
    pointer, service, text, address = read.answers()
    assert isinstance(pointer, DNSPointer)
    assert (pointer.name, pointer.alias, pointer.ttl, pointer.unique) == ("_ipp._tcp.local.", "Laser._ipp._tcp.local.", 4500, False)
    assert isinstance(service, DNSService)
    assert (service.server, service.port, service.unique) == ("nas.local.", 631, True)
    assert isinstance(text, DNSText)
    assert text.text == b"\x04rp=x"
    assert address.name == "nas.local."


def test_it_reads_zeroconf() -> None:
    out = DNSOutgoing(0x8400)
    out.add_answer_at_time(DNSService("Laser._ipp._tcp.local.", 33, 0x8001, 120, 0, 0, 631, "nas.local."), 0)
    out.add_answer_at_time(DNSPointer("_ipp._tcp.local.", 12, 1, 4500, "Laser._ipp._tcp.local."), 0)
    read = decode(out.packets()[0])
    assert read.answers[0] == Record(name_of("Laser._ipp._tcp.local"), SRV, Srv(0, 0, 631, name_of("nas.local")), 120, True)
    assert read.answers[1].data == name_of("Laser._ipp._tcp.local")


def test_scapy_reads_a_label_with_dots_in_one_piece() -> None:
    """RFC 6763 4.1.1: an instance's name is any text."""
    name: Name = ("Box v1.2 (ä)".encode(), b"_http", b"_tcp", b"local")
    packet = encode(Message(True, [], [Record(name_of("_http._tcp.local"), PTR, name, 4500)]))[0]
    assert DNS(packet).ancount == 1
    assert b"\x0d" + name[0] in packet
    assert decode(packet).answers[0].data == name


def test_kinds_of_names() -> None:
    assert type_of(name_of("_ipp._tcp.local")) == (b"_ipp", b"_tcp")
    assert type_of(name_of("_ipp._sctp.local")) is None
    assert type_of(name_of("nas.local")) is None
    assert instance_of((b"a.b", b"_ipp", b"_udp", b"local")) == (b"a.b", (b"_ipp", b"_udp"))
    assert subtype_of(name_of("_print._sub._ipp._tcp.local")) == (b"_print", (b"_ipp", b"_tcp"))
    assert strings(text_data(["a=b", "flag", "c=d=e"]) + b"\xffcut") == {"a": "b", "flag": "", "c": "d=e", "cut": ""}
    assert renamed("Läser".encode() * 12, "nas", 12)[-12:] == b" on nas (12)"
    assert len(renamed("Läser".encode() * 12, "nas", 12)) <= 63
    assert renamed(b"Laser", "n" * 63, 2)
