"""SSDP messages (UPnP Device Architecture 2.0, section 1), the first ones as MiniDLNA 1.3.0 and gssdp sent them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import MAX_PLACES, ssdp
from bridges.rewrite.ssdp import MAX_LINES, MAX_SIZE
from tests.bridges.rewrite.table import LOCAL, Table, inward, outward

ALIVE = (
    b"NOTIFY * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nCACHE-CONTROL:max-age=20\r\n"
    b"LOCATION:http://192.168.77.1:8200/rootDesc.xml\r\nSERVER: Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.0\r\n"
    b"NT:uuid:4d696e69-444c-164e-9d41-fa79342d151b\r\nUSN:uuid:4d696e69-444c-164e-9d41-fa79342d151b\r\nNTS:ssdp:alive\r\n\r\n"
)
BYEBYE = (
    b"NOTIFY * HTTP/1.1\r\nHOST:239.255.255.250:1900\r\nNT:upnp:rootdevice\r\n"
    b"USN:uuid:4d696e69-444c-164e-9d41-fa79342d151b::upnp:rootdevice\r\nNTS:ssdp:byebye\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=20\r\nDATE: Sat, 28 Nov 2026 10:30:27 GMT\r\nST: upnp:rootdevice\r\n"
    b"USN: uuid:4d696e69-444c-164e-9d41-fa79342d151b::upnp:rootdevice\r\nEXT:\r\n"
    b"SERVER: Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.0\r\nLOCATION: http://192.168.77.1:8200/rootDesc.xml\r\n"
    b"Content-Length: 0\r\n\r\n"
)
SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n'


@pytest.mark.parametrize("message", [ALIVE, RESPONSE])
def test_the_location_is_where_the_other_side_reaches_it_and_nothing_else_changes(message: bytes) -> None:
    table = outward({8200: 8201})
    assert ssdp.rewrite(message, table) == message.replace(b"192.168.77.1:8200", b"25.4.5.6:8201")
    assert table.asked == [(LOCAL, 8200, "tcp")]


def test_the_way_back_in() -> None:
    there = ssdp.rewrite(ALIVE, outward())
    assert there is not None
    assert ssdp.rewrite(there, inward({8200: 49200})) == ALIVE.replace(b"192.168.77.1:8200", b"127.4.5.6:49200")


@pytest.mark.parametrize("message", [BYEBYE, SEARCH])
def test_messages_without_an_address_go_through_as_they_are(message: bytes) -> None:
    table = outward()
    assert ssdp.rewrite(message, table) == message
    assert not table.asked


def test_all_headers_that_hold_addresses_or_ports() -> None:
    message = (
        b"HTTP/1.1 200 OK\r\nLocation: http://127.0.0.1/d.xml\r\nAL: <ex:1><http://127.0.0.1:81/a><http://other.example/b>\r\n"
        b"SECURELOCATION.UPNP.ORG: https://[fd00::77:1]:444/d.xml\r\nSEARCHPORT.UPNP.ORG: 49152\r\n"
        b"TCPPORT.UPNP.ORG: 49160\r\nUSN: http://127.0.0.1/\r\n\r\n"
    )
    rewritten = ssdp.rewrite(message, outward({80: 8080, 49152: 1901, 49160: 3}))
    assert rewritten == (
        b"HTTP/1.1 200 OK\r\nLocation: http://25.4.5.6:8080/d.xml\r\nAL: <ex:1><http://25.4.5.6:81/a><http://other.example/b>\r\n"
        b"SECURELOCATION.UPNP.ORG: https://[fd75::456]:444/d.xml\r\nSEARCHPORT.UPNP.ORG: 1901\r\n"
        b"TCPPORT.UPNP.ORG: 3\r\nUSN: http://127.0.0.1/\r\n\r\n"
    )


def test_a_search_for_one_device_names_it() -> None:
    """UPnP Device Architecture 2.0, section 1.3.2: HOST of a unicast search."""
    unicast = SEARCH.replace(b"239.255.255.250", b"127.4.5.6")
    assert ssdp.rewrite(unicast, Table({"127.4.5.6": "25.4.5.6"})) == SEARCH.replace(b"239.255.255.250", b"25.4.5.6")


@pytest.mark.parametrize("name", [b"LOCATION:", b"location : ", b"SECURELOCATION.UPNP.ORG:"])
@pytest.mark.parametrize(
    "url",
    [
        b"http://192.168.1.1:80/",
        b"http://127.0.0.1:631/admin",
        b"http://localhost:22/",
        b"http://router.example/",
        b"http://router.example/?http://25.4.5.6:8200/",
        b"http://router.example?http://25.4.5.6:8200/",
        b"http:/router.example/http://25.4.5.6:8200/",
        b"x:http://25.4.5.6:8200/",
        b"http://25.4.5.6@192.168.1.1/",
        b"http://192.168.1.1:000080/",
        b"http:\\\\192.168.1.1/",
        b"//192.168.1.1/",
        b"ftp://192.168.1.1/",
        b"http://0x7f.1/",
    ],
)
def test_nobody_is_led_elsewhere(name: bytes, url: bytes) -> None:
    """Neither into the reader's own physical network, nor to the services of its computer alone."""
    assert ssdp.rewrite(ALIVE.replace(b"LOCATION:http://192.168.77.1:8200/rootDesc.xml", name + url), inward()) is None
    twice = ALIVE.replace(b"192.168.77.1", b"25.4.5.6").replace(b"NT:", name + url + b"\r\nNT:")
    assert ssdp.rewrite(twice, inward()) is None, "nor by a second one"
    assert ssdp.rewrite(ALIVE.replace(b"http://192.168.77.1:8200", b"http://192.168.1.1"), outward()) is None, "nor are others"


@pytest.mark.parametrize("host", [b"[fe80::1]", b"[FE80::1%25eth0]"])
def test_a_location_that_means_nothing_elsewhere_is_not_carried(host: bytes) -> None:
    assert ssdp.rewrite(ALIVE.replace(b"192.168.77.1", host), outward()) is None
    known = ssdp.rewrite(ALIVE.replace(b"192.168.77.1", host), Table({"fe80::1": "25.4.5.6"}))
    assert known == ALIVE.replace(b"192.168.77.1", b"25.4.5.6")


def test_lines_that_end_by_lf_alone_are_mended() -> None:
    assert ssdp.rewrite(ALIVE.replace(b"\r\n", b"\n"), outward()) == ssdp.rewrite(ALIVE, outward())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n\r\n",
        b"NOTIFY * HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHOST: x\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n",
        ALIVE.replace(b"NT:", b"no header\r\nNT:"),
        ALIVE.replace(b"NT:", b"N\x00T:"),
        ALIVE.replace(b"\r\n\r\n", b"\r\nA: b" * MAX_LINES + b"\r\n\r\n"),
        ALIVE.replace(b"\r\n\r\n", b"\r\nA: " + b"b" * MAX_SIZE + b"\r\n\r\n"),
    ],
)
def test_what_is_no_ssdp_is_dropped(message: bytes) -> None:
    assert ssdp.rewrite(message, outward()) is None


def test_one_message_has_few_places_made() -> None:
    urls = b"".join(b"<http://192.168.77.1:%d/>" % port for port in range(1, 200))
    table = outward()
    rewritten = ssdp.rewrite(b"HTTP/1.1 200 OK\r\nAL: " + urls + b"\r\n\r\n", table)
    assert len(table.asked) == MAX_PLACES
    assert rewritten is not None
    assert rewritten.count(b"25.4.5.6") == MAX_PLACES


pieces = st.sampled_from(
    [b"\r\n", b"\n", b":", b"LOCATION: ", b"AL:", b"HOST: ", b"SEARCHPORT.UPNP.ORG: ", b"http://", b"192.168.77.1", b":8200/", b"[", b"]"]
)


@given(st.lists(pieces | st.binary(max_size=8), max_size=20).map(b"".join))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes) -> None:
    for start in (b"", b"NOTIFY * HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"):
        rewritten = ssdp.rewrite(start + tail, outward())
        assert rewritten is None or rewritten.startswith(start[:-2])
