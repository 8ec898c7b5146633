"""The zone of the LAN's names: what is answered, octet by octet where it matters, and that anything can be asked."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.names import dns as twisted_dns

from bridges.dns_zone import (
    BAD_VERSION,
    FORMAT_ERROR,
    MAX_QUERY,
    MAX_UDP,
    NAME_ERROR,
    NEGATIVE_TTL,
    NO_ERROR,
    NOT_IMPLEMENTED,
    REFUSED,
    TTL,
    Zone,
    fit,
    parse,
)
from tests.bridges.names import ambiguous_lan, named_lan
from tests.lan.test_roster import ANNA, BEN
from userlan.lan.addresses import ipv6_of, text

dns: Any = twisted_dns
A, NS, SOA, PTR, AAAA, ANY, HTTPS = 1, 2, 6, 12, 28, 255, 65
ANNA6, BEN6 = text(ipv6_of(ANNA)), text(ipv6_of(BEN))
OPT = struct.pack("!BHHBBHH", 0, 41, 1400, 0, 0, 0, 0)


def wire(name: str, kind: int = A, cls: int = 1, flags: int = 0x0100, additional: bytes = b"") -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    header = struct.pack("!6H", 0xBEEF, flags, 1, 0, 0, 1 if additional else 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, cls) + additional


class Heard:
    """An answer taken apart by the codec."""

    def __init__(self, data: bytes) -> None:
        message = dns.Message()
        message.fromStr(data)
        self.id, self.code, self.aa, self.ra = message.id, message.rCode, message.auth, message.recAv
        self.answer = message.answer
        self.records = [(str(record.name), record.type, record.ttl, said(record.payload)) for record in message.answers]
        self.values = [record[3] for record in self.records]
        self.zones = [str(record.name) for record in message.authority]
        self.authority = message.authority
        self.options = [record for record in message.additional if record.type == 41]


def said(payload: Any) -> str:
    if payload.TYPE in (A, AAAA):
        return str(payload.dottedQuad() if payload.TYPE == A else text(payload.address))
    return str(payload.mname if payload.TYPE == SOA else payload.name)


def ask(name: str, kind: int = A, zone: Zone | None = None) -> Heard:
    reply = (zone or Zone(named_lan())).answer(wire(name, kind))
    assert not reply.outside
    heard = Heard(reply.data)
    assert (heard.id, heard.answer) == (0xBEEF, 1)
    return heard


@pytest.mark.parametrize("name", ["anna", "ANNA.", "anna.home", "anna.internal", "anna.home.internal", "Anna.HOME.Internal"])
def test_a_member_has_both_addresses_under_each_of_its_names(name: str) -> None:
    assert ask(name).values == ["25.1.0.2"]
    assert ask(name, AAAA).values == [ANNA6]
    assert ask(name, ANY).values == ["25.1.0.2", ANNA6]
    heard = ask(name)
    assert (heard.code, heard.aa, heard.ra) == (NO_ERROR, 1, 0)
    assert heard.records == [(name.lower().removesuffix("."), A, TTL, "25.1.0.2")]


def test_a_member_has_the_names_of_its_networks() -> None:
    for name in ("ben", "ben.home.internal", "benjamin.work.internal", "benjamin.internal"):
        assert ask(name).values == ["25.1.0.3"]
    for name in ("ben.work.internal", "benjamin.home.internal", "carl.home.internal"):
        assert ask(name).code == NAME_ERROR
    assert ask("me.internal").values == ["25.1.0.1"]


@pytest.mark.parametrize("kind", [HTTPS, 15, 16, 33, 43, 257, 65_280])
def test_other_types_of_a_name_have_no_data(kind: int) -> None:
    """RFC 2308 2.2: with the SOA that says how long that may be believed."""
    heard = ask("anna.home.internal", kind)
    assert (heard.code, heard.aa, heard.records, heard.zones) == (NO_ERROR, 1, [], ["internal"])
    assert heard.authority[0].ttl == heard.authority[0].payload.minimum == NEGATIVE_TTL


@pytest.mark.parametrize("name", ["nobody.internal", "nobody.home.internal", "anna.nowhere.internal", "_http._tcp.anna.home.internal"])
def test_names_that_are_nobodys(name: str) -> None:
    heard = ask(name)
    assert (heard.code, heard.aa, heard.records, heard.zones) == (NAME_ERROR, 1, [], ["internal"])


def test_what_stands_above_names_exists() -> None:
    """RFC 8020: a name below which there are others is no NXDOMAIN."""
    for name in ("internal", "home.internal"):
        heard = ask(name)
        assert (heard.code, heard.records, heard.zones) == (NO_ERROR, [], ["internal"])
    assert [record[1] for record in ask("internal", ANY).records] == [SOA, NS]
    assert ask("internal", SOA).values == ask("internal", NS).values == ["internal"]


def test_a_name_of_several_members_has_no_address() -> None:
    zone = Zone(ambiguous_lan())
    heard = ask("anna.internal", A, zone)
    assert (heard.code, heard.records, heard.zones) == (NO_ERROR, [], ["internal"])
    assert ask("anna.home.internal", A, zone).values == ["25.1.0.2"]
    assert ask("anna.work.internal", A, zone).values == ["25.1.0.4"]


def test_aliases_instead_of_addresses() -> None:
    zone = Zone(named_lan(), alias=True)
    assert ask("anna.home.internal", A, zone).values == ["127.1.0.2"]
    assert (ask("anna.home.internal", AAAA, zone).code, ask("anna.home.internal", AAAA, zone).records) == (NO_ERROR, [])
    assert ask("2.0.1.127.in-addr.arpa", PTR, zone).values == ["anna.home.internal"]
    assert Heard(zone.answer(wire("1.0.0.127.in-addr.arpa", PTR)).data).code == REFUSED


def reverse6(address: str) -> str:
    import ipaddress

    return ipaddress.IPv6Address(address).reverse_pointer


@pytest.mark.parametrize("name", ["2.0.1.25.in-addr.arpa", reverse6(ANNA6), "2.0.1.25.IN-ADDR.ARPA", reverse6(ANNA6).upper()])
def test_addresses_lead_back_to_the_full_name(name: str) -> None:
    heard = ask(name, PTR)
    assert (heard.values, heard.aa) == (["anna.home.internal"], 1)
    assert heard.records[0][0] == name.lower()
    assert ask(name, A).code == NO_ERROR
    assert ask(name, A).records == []


@pytest.mark.parametrize(
    ("name", "code", "zone"),
    [
        ("25.in-addr.arpa", NO_ERROR, "25.in-addr.arpa"),
        ("0.1.25.in-addr.arpa", NO_ERROR, "25.in-addr.arpa"),
        ("99.0.1.25.in-addr.arpa", NAME_ERROR, "25.in-addr.arpa"),
        ("1.2.0.1.25.in-addr.arpa", NAME_ERROR, "25.in-addr.arpa"),
        ("02.0.1.25.in-addr.arpa", NAME_ERROR, "25.in-addr.arpa"),
        ("300.25.in-addr.arpa", NAME_ERROR, "25.in-addr.arpa"),
        ("x.25.in-addr.arpa", NAME_ERROR, "25.in-addr.arpa"),
        ("0.0.e.6.1.6.c.6.5.7.d.f.ip6.arpa", NO_ERROR, "0.0.e.6.1.6.c.6.5.7.d.f.ip6.arpa"),
        ("1.0.0.e.6.1.6.c.6.5.7.d.f.ip6.arpa", NO_ERROR, "0.0.e.6.1.6.c.6.5.7.d.f.ip6.arpa"),
        (reverse6("fd75:6c61:6e00::99"), NAME_ERROR, "0.0.e.6.1.6.c.6.5.7.d.f.ip6.arpa"),
    ],
)
def test_reverse_names_without_a_member(name: str, code: int, zone: str) -> None:
    """None of them is asked of the outside."""
    heard = ask(name, PTR)
    assert (heard.code, heard.records) == (code, [])
    assert heard.zones == [zone]
    assert ask(zone, SOA).values == [zone]


@pytest.mark.parametrize(
    "name", ["example.com", "com", ".", "anna.example", "www.anna.home", "8.8.8.8.in-addr.arpa", "arpa", "in-addr.arpa", "ip6.arpa",
             "24.in-addr.arpa", "f.ip6.arpa", "d.f.ip6.arpa", reverse6("2001:db8::1"), "internal.example", "nobody"]
)  # fmt: skip
def test_names_of_others_are_outside(name: str) -> None:
    reply = Zone(named_lan()).answer(wire(name))
    heard = Heard(reply.data)
    assert reply.outside
    said = (NAME_ERROR, 1) if "." not in name else (REFUSED, 0)      # no computer outside has a name of one label
    assert ((heard.code, heard.aa), heard.records, heard.zones) == (said, [], [])


@pytest.mark.parametrize(("kind", "cls"), [(252, 1), (251, 1), (A, 3), (A, 254)])
def test_transfers_and_other_classes_are_refused(kind: int, cls: int) -> None:
    for name in ("internal", "anna.home.internal", "version.bind"):
        reply = Zone(named_lan()).answer(wire(name, kind, cls))
        assert Heard(reply.data).code == REFUSED
        assert not reply.outside


def test_the_question_comes_back_as_it_was() -> None:
    """RFC 5452 9.1: a client compares it; RFC 4343: case is kept."""
    for query in (wire("aNNa.hOmE.iNTernal"), wire("nObody.internal"), wire("eXample.com"), wire("anna.home.internal", A, 3)):
        assert Zone(named_lan()).answer(query).data[12 : len(query)] == query[12:]
    dotted = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x09anna.home\x08internal\0\0\1\0\1"
    reply = Zone(named_lan()).answer(dotted)
    assert reply.data[12 : len(dotted)] == dotted[12:]
    assert reply.data[3] & 15 == NAME_ERROR, "a dot within a label divides nothing"


# ---------------------------------------------------------------------- EDNS


def test_who_speaks_edns_is_answered_in_it() -> None:
    """RFC 6891 6.1.1, 6.2.3, 6.2.5."""
    zone = Zone(named_lan())
    assert Heard(zone.answer(wire("anna")).data).options == []
    (option,) = Heard(zone.answer(wire("anna", additional=OPT)).data).options
    assert (option.cls, option.ttl) == (MAX_UDP, 0)
    for said, meant in ((0, 512), (100, 512), (512, 512), (1000, 1000), (65_535, MAX_UDP)):
        assert parse(wire("anna", additional=OPT[:3] + said.to_bytes(2, "big") + OPT[5:])).size == meant
    assert parse(wire("anna")).size == 512


def test_a_version_that_nobody_knows() -> None:
    """RFC 6891 6.1.3: BADVERS."""
    data = Zone(named_lan()).answer(wire("anna", additional=OPT[:6] + b"\1" + OPT[7:])).data
    heard = Heard(data)
    assert heard.options[0].ttl >> 24 << 4 | heard.code == BAD_VERSION
    assert heard.records == []


def test_two_options_are_one_too_many() -> None:
    """RFC 6891 6.1.1."""
    query = wire("anna", additional=OPT + OPT)
    query = query[:10] + b"\0\2" + query[12:]
    assert Heard(Zone(named_lan()).answer(query).data).code == FORMAT_ERROR


def test_an_answer_that_does_not_fit_is_cut_to_its_question() -> None:
    """RFC 2181 9, RFC 7766 5: the client asks again by TCP."""
    for additional, limit in ((b"", 512), (OPT, MAX_UDP)):
        question = parse(wire("example.com", additional=additional))
        answer = struct.pack("!6H", 0xBEEF, 0x8180, 1, 0, 0, 0) + question.raw
        fits = answer + bytes(limit - len(answer))
        assert fit(fits, question) == fits
        cut = fit(fits + b"x", question)
        heard = Heard(cut)
        assert int.from_bytes(cut[2:4], "big") == 0x8380
        assert (heard.records, len(heard.options)) == ([], 1 if additional else 0)


# ---------------------------------------------------------------------- anything


def test_answers_and_fragments_get_none() -> None:
    zone = Zone(named_lan())
    for data in (b"", b"x" * 11, wire("anna", flags=0x8100), zone.answer(wire("anna")).data):
        assert zone.answer(data).data == b""


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (wire("anna", flags=0x2800), NOT_IMPLEMENTED),
        (wire("anna", flags=0x1000), NOT_IMPLEMENTED),
        (wire("anna")[:4] + b"\0\0" + wire("anna")[6:], FORMAT_ERROR),
        (wire("anna")[:4] + b"\0\2" + wire("anna")[6:], FORMAT_ERROR),
        (wire("anna")[:4] + b"\xff\xff" + wire("anna")[6:], FORMAT_ERROR),
        (wire("anna")[:-1], FORMAT_ERROR),
        (wire("anna")[:14], FORMAT_ERROR),
        (wire("anna") + bytes(MAX_QUERY), FORMAT_ERROR),
        (struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", FORMAT_ERROR),
        (struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x41" + b"x" * 65 + b"\0\0\1\0\1", FORMAT_ERROR),
        (wire(".".join(["x" * 63] * 4 + ["y" * 10])), FORMAT_ERROR),
        (wire("anna", 41), FORMAT_ERROR),
        (wire("anna", additional=OPT)[:-4], FORMAT_ERROR),
    ],
)
def test_what_cannot_be_understood(query: bytes, code: int) -> None:
    data = Zone(named_lan()).answer(query).data
    assert data[:2] == query[:2]
    assert data[2] & 0x80
    assert data[3] & 0x0F == code


ZONE = Zone(named_lan())
COMPRESSED = wire("anna", additional=b"\xc0\x0c" + OPT[1:])


@given(st.binary(max_size=600) | st.builds(lambda tail: wire("anna.home.internal")[:12] + tail, st.binary(max_size=600)))
@example(COMPRESSED)
@example(wire("\x7f" * 60 + ".internal"))
@example(wire(" .internal"))
@example(wire("25.1.0.2"))
@example(wire("1"))
def test_anything_can_be_asked(data: bytes) -> None:
    reply = ZONE.answer(data)
    if reply.data:
        assert len(reply.data) >= 12
        assert reply.data[:2] == data[:2]
        assert reply.data[2] & 0x80
        assert len(reply.data) <= len(data) + 400, "nothing is amplified beyond what an answer takes"
        if reply.question is not None:
            Heard(fit(reply.data, reply.question))
            assert len(fit(reply.data, reply.question)) <= max(512, reply.question.size)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=6), st.integers(0, 65_535), st.integers(0, 65_535))
def test_any_name_of_any_type_is_answered_with_its_question(labels: list[bytes], kind: int, cls: int) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\x08internal\0"
    query = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + name + struct.pack("!HH", kind, cls)
    data = ZONE.answer(query).data
    if len(name) <= 255:
        assert data[12 : len(query)] == query[12:] or kind == 41
    else:
        assert data[3] & 0x0F == FORMAT_ERROR
