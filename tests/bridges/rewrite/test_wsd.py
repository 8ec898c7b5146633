"""WS-Discovery messages (OASIS WS-Discovery 1.1): the Hello as wsdd sent it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import wsd
from bridges.rewrite.wsd import MAX_SIZE
from tests.bridges.rewrite.table import outward

HELLO = (
    b'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope"'
    b' xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:wsd="http://schemas.xmlsoap.org/ws/2005/04/discovery"'
    b' xmlns:wsx="http://schemas.xmlsoap.org/ws/2004/09/mex" xmlns:wsdp="http://schemas.xmlsoap.org/ws/2006/02/devprof"'
    b' xmlns:pnpx="http://schemas.microsoft.com/windows/pnpx/2005/10" xmlns:pub="http://schemas.microsoft.com/windows/pub/2005/07">'
    b"<soap:Header><wsa:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>"
    b"<wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Hello</wsa:Action>"
    b"<wsa:MessageID>urn:uuid:b4d311e4-eb16-11f1-b0c7-fa79342d151b</wsa:MessageID>"
    b'<wsd:AppSequence InstanceId="1795861818" SequenceId="urn:uuid:b4d3154a-eb16-11f1-b0c7-fa79342d151b" MessageNumber="0" />'
    b"</soap:Header><soap:Body><wsd:Hello><wsa:EndpointReference>"
    b"<wsa:Address>urn:uuid:e5e61fb5-d685-5b50-9ba7-acb6e6962ef3</wsa:Address></wsa:EndpointReference>"
    b"<wsd:XAddrs>http://192.168.77.1:5357/e5e61fb5-d685-5b50-9ba7-acb6e6962ef3</wsd:XAddrs>"
    b"<wsd:MetadataVersion>1</wsd:MetadataVersion></wsd:Hello></soap:Body></soap:Envelope>"
)
OURS = b"http://192.168.77.1:5357/e5e61fb5-d685-5b50-9ba7-acb6e6962ef3"


def with_addresses(written: bytes) -> bytes:
    return HELLO.replace(OURS, written)


def test_the_address_is_rewritten_and_the_endpoint_reference_kept() -> None:
    assert wsd.rewrite(HELLO, outward({5357: 5358})) == HELLO.replace(b"192.168.77.1:5357", b"25.4.5.6:5358")


def test_namespaces_are_no_addresses() -> None:
    table = outward()
    assert wsd.rewrite(HELLO, table) is not None
    assert [host for host, _, _ in table.asked] == ["192.168.77.1"]


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        (b" http://192.168.77.1/a\n\thttp://[fd00::77:1]:5357/b ", b"http://25.4.5.6/a http://[fd75::456]:5357/b"),
        (b"http://192.168.77.1/a http://[fe80::1]:5357/b", b"http://25.4.5.6/a"),
        (b"http://[fe80::1%25eth0]:5357/b http://192.168.77.1/a", b"http://25.4.5.6/a"),
        (b"http://[fe80::1]:5357/b", b""),
        (b"http://192.168.1.1/ http://192.168.1.2:631/?http://192.168.77.1/ http://192.168.77.1/a http://localhost/", b"http://25.4.5.6/a"),
        (b"http://printer.example/x", b""),
        (b"", b""),
    ],
)
def test_lists_of_addresses(written: bytes, rewritten: bytes) -> None:
    assert wsd.rewrite(with_addresses(written), outward()) == with_addresses(rewritten)


def test_a_long_list_costs_no_more_than_its_length() -> None:
    addresses = b"http://[fe80::1]/ " * 220 + b"a " * 2000
    assert len(addresses) < 8192
    begin = time.process_time()
    for _ in range(20):
        assert wsd.rewrite(with_addresses(addresses), outward()) == with_addresses(b"")
    assert time.process_time() - begin < 5.0


@pytest.mark.parametrize("element", [b"XAddrs", b"d:XAddrs", b"wsd-1:XAddrs"])
def test_any_prefix_and_attributes(element: bytes) -> None:
    written = HELLO.replace(b"<wsd:XAddrs>", b"<%b xml:lang='en'>" % element).replace(b"</wsd:XAddrs>", b"</%b>" % element)
    rewritten = wsd.rewrite(written, outward())
    assert rewritten == written.replace(b"192.168.77.1", b"25.4.5.6")


@pytest.mark.parametrize("message", [b"", b"<x/>", b"Envelope", HELLO.decode().encode("utf-16"), HELLO + b" " * MAX_SIZE])
def test_what_is_no_envelope_is_dropped(message: bytes) -> None:
    assert wsd.rewrite(message, outward()) is None


@given(
    st.lists(st.sampled_from([b"<wsd:XAddrs>", b"<XAddrs ", b">", b"</wsd:XAddrs>", b"http://[fe80::", b"]", b" "]) | st.binary(max_size=6))
)
def test_any_bytes_are_rewritten_or_dropped(parts: list[bytes]) -> None:
    tail = b"".join(parts)[:2000]
    rewritten = wsd.rewrite(b"<s:Envelope>" + tail, outward())
    assert rewritten is not None
    assert rewritten.startswith(b"<s:Envelope>")


def test_many_beginnings_of_elements_take_linear_time() -> None:
    """A regular expression that goes back over what it read would take minutes here."""
    message = b"<s:Envelope>" + b"<a:XAddrs " * 3000
    assert wsd.rewrite(message, outward()) == message
