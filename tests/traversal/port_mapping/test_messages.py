"""The three protocols' messages: what is sent, octet by octet, and what is made of whatever comes back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traversal.port_mapping.router import DESCRIPTION, FAULT, GATEWAY, OWN, PORT, Router
from userlan.traversal.port_mapping import nat_pmp, pcp, upnp
from userlan.traversal.port_mapping.igd import Igd
from userlan.traversal.port_mapping.mapper import PortMapper
from userlan.traversal.port_mapping.methods import HttpRequest, Method, NatPmp, Pcp
from userlan.traversal.port_mapping.upnp import SERVICES, Service, XmlError

NONCE = bytes(range(12))
LOCATION = f"http://{GATEWAY}:5000/rootDesc.xml"
CONNECTION = Service(SERVICES[1], f"http://{GATEWAY}:5000/ctl")


# --- PCP --------------------------------------------------------------------------------------------------------------


def test_a_pcp_request_is_laid_out_as_rfc_6887_7_1_and_11_1() -> None:
    message = pcp.map_request("192.168.1.20", NONCE, "udp", 41414, 50000, 7200)
    assert len(message) == 60
    assert message[:8] == bytes.fromhex("02010000 00001c20".replace(" ", ""))
    assert message[8:24] == bytes.fromhex("00000000000000000000ffffc0a80114")
    assert message[24:36] == NONCE
    assert message[36:44] == bytes([17, 0, 0, 0]) + struct.pack("!HH", 41414, 50000)
    assert message[44:] == bytes.fromhex("00000000000000000000ffff00000000")
    assert pcp.announce("2001:db8::1")[:8] == bytes([2, 0, 0, 0, 0, 0, 0, 0])


def test_a_pcp_response_is_read() -> None:
    head = bytes([2, 0x81, 0, 0]) + struct.pack("!II", 3600, 77) + bytes(12)
    body = NONCE + bytes([6, 0, 0, 0]) + struct.pack("!HH", 41414, 50001) + bytes.fromhex("00000000000000000000ffffcb007107")
    answer = pcp.parse(head + body)
    assert answer == pcp.Answer(1, 0, 3600, 77, NONCE, 6, 41414, 50001, "203.0.113.7")
    for wrong in (head + body[:-4], head + body + b"x", bytes([1]) + head[1:] + body, bytes([2, 1]) + head[2:] + body, head + bytes(1100)):
        assert pcp.parse(wrong) is None
    assert pcp.parse(bytes([2, 0x80]) + head[2:]) == pcp.Answer(0, 0, 3600, 77)


def test_a_server_of_another_version_says_so() -> None:
    """RFC 6887 9."""
    assert pcp.refuses_version(bytes.fromhex("0080000100000077"))
    assert pcp.refuses_version(bytes([1, 0x80, 0, 1]) + bytes(20))
    assert not pcp.refuses_version(bytes.fromhex("0080000000000077"))
    assert not pcp.refuses_version(b"\0\x80\0")


@pytest.mark.parametrize(
    ("before", "epoch", "elapsed", "kept"),
    [
        (100, 200, 100, True),
        (100, 99, 0, True),          # one second of jitter
        (100, 98, 0, False),         # time went back
        (1000, 5, 10, False),        # a restart
        (100, 102, 100, False),      # the server's clock stood still
        (100, 1100, 100, False),     # or ran ahead
        (100, 1040, 1000, True),     # within a sixteenth
        (100, 1000, 1000, False),
    ],
)  # fmt: skip
def test_the_epoch_by_rfc_6887_8_5(before: int, epoch: int, elapsed: float, kept: bool) -> None:
    assert pcp.epoch_continues(before, 50.0, epoch, 50.0 + elapsed) is kept


@pytest.mark.parametrize(("epoch", "kept"), [(1100, True), (975, True), (973, True), (972, False), (0, False), (5000, True)])
def test_the_epoch_by_rfc_6886_3_6(epoch: int, kept: bool) -> None:
    assert nat_pmp.epoch_continues(100, 0.0, epoch, 1000.0) is kept


# --- NAT-PMP ----------------------------------------------------------------------------------------------------------


def test_nat_pmp_is_laid_out_as_rfc_6886_3() -> None:
    assert nat_pmp.address_request() == b"\0\0"
    assert nat_pmp.map_request("tcp", 41414, 50000, 7200) == bytes([0, 2, 0, 0]) + struct.pack("!HHI", 41414, 50000, 7200)
    assert nat_pmp.parse(bytes.fromhex("0080000000000064cb007107")) == nat_pmp.Answer(0, 0, 100, external_host="203.0.113.7")
    mapped = bytes([0, 129, 0, 0]) + struct.pack("!IHHI", 100, 41414, 50000, 3600)
    assert nat_pmp.parse(mapped) == nat_pmp.Answer(1, 0, 100, 41414, 50000, 3600)
    assert nat_pmp.parse(bytes([0, 130, 0, 3]) + struct.pack("!I", 100)) == nat_pmp.Answer(2, 3, 100)
    for wrong in (b"", mapped[:15], bytes([2]) + mapped[1:], bytes([0, 1]) + mapped[2:], bytes([0, 131]) + mapped[2:]):
        assert nat_pmp.parse(wrong) is None


# --- UPnP -------------------------------------------------------------------------------------------------------------


def test_a_search_is_as_1_3_2_of_the_architecture_has_it() -> None:
    for search in upnp.searches():
        lines = search.decode().split("\r\n")
        assert lines[0] == "M-SEARCH * HTTP/1.1"
        assert 'MAN: "ssdp:discover"' in lines
        assert lines[-2:] == ["", ""]


ANSWER = b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nst: urn:schemas-upnp-org:device:InternetGatewayDevice:2\r\nLocation:%s\r\n\r\n"


def test_the_location_of_an_answer() -> None:
    assert upnp.parse_answer(ANSWER % LOCATION.encode(), GATEWAY) == LOCATION
    assert upnp.parse_answer((ANSWER % LOCATION.encode()).replace(b"\r\n", b"\n"), GATEWAY) == LOCATION
    assert upnp.parse_answer((ANSWER % LOCATION.encode()).replace(b"GatewayDevice", b"Printer"), GATEWAY) is None
    assert upnp.parse_answer(b"NOTIFY * HTTP/1.1\r\n" + ANSWER % LOCATION.encode(), GATEWAY) is None
    assert upnp.parse_answer(ANSWER % LOCATION.encode() + bytes(5000), GATEWAY) is None


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://192.168.1.66:5000/x",
        "http://router.example/x",
        "https://192.168.1.1/x",
        "file:///etc/passwd",
        "http://192.168.1.1@203.0.113.9/x",
        "http://a:b@192.168.1.1/x",
        "http://192.168.1.1:0/x",
        "http://192.168.1.1:99999/x",
        "http://[::1/x",
        "http://192.168.1.1/\r\nHost: x",
        "http://192.168.1.1/" + "x" * 3000,
        "http://3232235777/x",
        "",
    ],
)
def test_nobody_is_asked_but_the_gateway(elsewhere: str) -> None:
    """An answer that points elsewhere would make this computer ask a third party, or itself."""
    assert not upnp.at_gateway(elsewhere, GATEWAY)
    if "\r" not in elsewhere:
        assert upnp.parse_answer(ANSWER % elsewhere.encode(), GATEWAY) is None
    document = DESCRIPTION.format(service=SERVICES[1], control=elsewhere).encode()
    found = upnp.parse_description(document, LOCATION, GATEWAY)
    assert all(upnp.at_gateway(service.control, GATEWAY) for service in found)


def test_services_of_a_description_the_best_first() -> None:
    one = DESCRIPTION.format(service=SERVICES[2], control="ctl/PPP")
    other = DESCRIPTION.format(service=SERVICES[0], control="/ctl/IP").split("<device>", 1)[1].rsplit("</device>", 1)[0]
    both = one.replace("</device></root>", f"<device>{other}</device></device></root>").encode()
    assert upnp.parse_description(both, LOCATION, GATEWAY) == (
        Service(SERVICES[0], f"http://{GATEWAY}:5000/ctl/IP"),
        Service(SERVICES[2], f"http://{GATEWAY}:5000/ctl/PPP"),
    )
    based = one.replace("<device>", f"<URLBase>http://{GATEWAY}:80/base/</URLBase><device>", 1).encode()
    assert upnp.parse_description(based, LOCATION, GATEWAY) == (Service(SERVICES[2], f"http://{GATEWAY}:80/base/ctl/PPP"),)
    elsewhere = one.replace("<device>", "<URLBase>http://203.0.113.1/</URLBase><device>", 1).encode()
    assert upnp.parse_description(elsewhere, LOCATION, GATEWAY)[0].control.startswith(f"http://{GATEWAY}:5000/")


@pytest.mark.parametrize(
    "document",
    [
        b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>',
        b'<!DOCTYPE r SYSTEM "http://203.0.113.1/x.dtd"><r/>',
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        b"<r>" * 40 + b"</r>" * 40,
        b"<r>" + b"<a/>" * 5000 + b"</r>",
        b"<r>" + b"x" * 300_000 + b"</r>",
        b"<r><a></r>",
        b"",
        b"\xff\xfe\0",
        b'<?xml version="1.0" encoding="nonsense"?><r/>',
    ],
)
def test_xml_is_read_in_bounds_and_without_entities(document: bytes) -> None:
    with pytest.raises(XmlError):
        list(upnp.elements(document))
    assert upnp.parse_result(200, document).error in (-1, 0)
    assert upnp.external_host(upnp.parse_result(200, document)) == ""


def test_an_action_is_escaped_and_in_order() -> None:
    headers, body = upnp.add_mapping(CONNECTION, "udp", 41414, "192.168.1.20<&", 41414, 3600)
    assert headers["SOAPAction"] == f'"{SERVICES[1]}#AddPortMapping"'
    assert b"192.168.1.20&lt;&amp;" in body
    names = ["RemoteHost", "ExternalPort", "Protocol", "InternalPort", "InternalClient", "Enabled"]
    names += ["PortMappingDescription", "LeaseDuration"]
    places = [body.index(f"<New{name}>".encode()) for name in names]
    assert places == sorted(places), "some routers read by position"


def test_results_and_faults() -> None:
    assert upnp.parse_result(500, FAULT.format(718).encode()).error == upnp.CONFLICT
    for odd in ("", "x", "-5", "0", "9" * 20):
        assert upnp.parse_result(500, FAULT.format(odd).encode()).error == -1
    assert upnp.parse_result(0, b"").error == -1
    assert upnp.parse_result(404, b"<html><body>no</body></html>").error == -1
    assert upnp.parse_result(200, b"").error == 0
    for address in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "x", ""):
        text = f"<E><B><R><NewExternalIPAddress>{address}</NewExternalIPAddress></R></B></E>".encode()
        assert upnp.external_host(upnp.parse_result(200, text)) == ""


# --- hostile routers --------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_datagram_is_read_or_left(data: bytes) -> None:
    pcp.parse(data)
    pcp.refuses_version(data)
    nat_pmp.parse(data)
    upnp.parse_answer(data, GATEWAY)
    upnp.parse_result(200, data)


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_is_read_or_left(text: str, url: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    upnp.parse_answer(ANSWER % url.encode("utf-8", "surrogatepass") + data, GATEWAY)
    document = DESCRIPTION.format(service=SERVICES[1], control=url).encode("utf-8", "surrogatepass")
    try:
        services = upnp.parse_description(document, LOCATION, GATEWAY)
    except XmlError:
        services = ()
    assert all(upnp.at_gateway(service.control, GATEWAY) for service in services)


def entropy(size: int) -> bytes:
    return bytes(size)


MUTATIONS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6)


def mutated(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    octets = bytearray(data)
    for at, value in changes:
        if at < len(octets):
            octets[at] = value
    return bytes(octets)


@given(st.lists(st.tuples(MUTATIONS, st.floats(0, 30)), max_size=30), st.sampled_from(["pcp", "nat-pmp", "upnp"]))
def test_a_mapper_bears_any_router(turns: list[tuple[list[tuple[int, int]], float]], speaks: str) -> None:
    """Whatever a router makes of its answers: nothing raises, endpoints are well-formed, and requests stay few."""
    router, mapper, now = Router(frozenset({speaks})), PortMapper(entropy), 1000.0
    mapper.network(GATEWAY, OWN, PORT, now)
    sent = 0
    for changes, seconds in turns:
        for one in mapper.outgoing():
            sent += 1
            if isinstance(one, HttpRequest):
                status, body = router.http(one)
                mapper.answered(one.number, status, mutated(body, changes), now)
                continue
            answer = router.datagram(one.data, one.port, now)
            if answer is not None:
                mapper.received(mutated(answer, changes), GATEWAY, one.port, now)
        assert all(1 <= endpoint.port <= 65535 for endpoint in mapper.mapped.endpoints)
        now += seconds
        mapper.tick(now)
    assert sent <= 40 * (len(turns) + 1)
    mapper.stop(now)


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_a_method_bears_any_datagram_and_answer(inputs: list[bytes]) -> None:
    methods: list[Method] = [Pcp(GATEWAY, OWN, PORT, entropy), NatPmp(GATEWAY, OWN, PORT), Igd(GATEWAY, OWN, PORT, entropy)]
    for method in methods:
        method.probe(0.0)
        method.map(0.0)
        for number, data in enumerate(inputs):
            method.received(data, 5351, 1.0)
            method.answered(number, 200, data, 1.0)
            method.tick(float(number))
        assert len(method.output) < 100
