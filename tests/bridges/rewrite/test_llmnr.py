"""LLMNR messages (RFC 4795), built and read by scapy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNSQR, DNSRR
from scapy.layers.llmnr import LLMNRQuery, LLMNRResponse

from bridges.rewrite import llmnr
from tests.bridges.rewrite.table import Table, outward


def answer(*records: DNSRR, kind: str = "A") -> bytes:
    return bytes(LLMNRResponse(id=7, qr=1, qd=DNSQR(qname="nas", qtype=kind), an=list(records)))


def read(message: bytes | None) -> list[tuple[int, object, int]]:
    assert message is not None
    parsed = LLMNRResponse(message)
    assert parsed.id == 7
    assert parsed.qd[0].qname == b"nas."
    return [(record.type, record.rdata, record.ttl) for record in parsed.an[: parsed.ancount]]


def test_addresses_of_both_families() -> None:
    message = answer(
        DNSRR(rrname="nas", type="A", ttl=30, rdata="192.168.77.1"),
        DNSRR(rrname="nas", type="AAAA", ttl=31, rdata="fd00::77:1"),
    )
    assert read(llmnr.rewrite(message, outward())) == [(1, "25.4.5.6", 30), (28, "fd75::456", 31)]


def test_an_address_without_one_there_is_left_out_and_the_answer_stays() -> None:
    message = answer(
        DNSRR(rrname="nas", type="AAAA", ttl=30, rdata="fe80::1"),
        DNSRR(rrname="nas", type="A", ttl=30, rdata="192.168.77.1"),
    )
    assert read(llmnr.rewrite(message, outward())) == [(1, "25.4.5.6", 30)]
    assert read(llmnr.rewrite(message, Table({"192.168.77.1": "fd75::1"}))) == []


def test_a_compressed_answer_is_read() -> None:
    """RFC 1035, section 4.1.4: as systemd-resolved and Windows write it."""
    header = bytes.fromhex("000780000001000100000000")
    question = b"\x03nas\x00\x00\x01\x00\x01"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04" + bytes((192, 168, 77, 1))
    assert read(llmnr.rewrite(header + question + record, outward())) == [(1, "25.4.5.6", 30)]


def test_queries_and_names_go_through() -> None:
    query = bytes(LLMNRQuery(id=9, qd=DNSQR(qname="nas", qtype="A")))
    assert llmnr.rewrite(query, Table({})) == query
    message = answer(DNSRR(rrname="1.77.168.192.in-addr.arpa", type="PTR", ttl=30, rdata="nas"), kind="PTR")
    assert read(llmnr.rewrite(message, Table({}))) == [(12, b"nas.", 30)]


def test_what_is_malformed_is_dropped() -> None:
    good = answer(DNSRR(rrname="nas", type="A", ttl=30, rdata="192.168.77.1"))
    for end in range(len(good)):
        assert llmnr.rewrite(good[:end], outward()) is None
    assert llmnr.rewrite(good[:12] + b"\xc0\x0c" + good[17:], outward()) is None
    assert llmnr.rewrite(good[:6] + b"\xff\xff" + good[8:], outward()) is None
    assert llmnr.rewrite(good[:-6] + b"\x00\x03abc", outward()) is None


@given(st.binary(max_size=100), st.integers(0, 4), st.integers(0, 4))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes, questions: int, answers: int) -> None:
    message = b"\0\7\x80\0" + questions.to_bytes(2, "big") + answers.to_bytes(2, "big") + bytes(4) + tail
    rewritten = llmnr.rewrite(message, outward())
    assert rewritten is None or rewritten[:6] == message[:6]
