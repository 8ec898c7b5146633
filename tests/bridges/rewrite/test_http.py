"""The filter for HTTP/1 streams: what UPnP says over them is rewritten, all else passes (RFC 9112)."""

from __future__ import annotations

import gzip
from http.client import HTTPResponse
from io import BytesIO
from socket import socket
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.http_body import ChunkedReader, encode_chunk
from bridges.rewrite import HttpFilter
from bridges.rewrite.http import MAX_PIPELINED, MAX_REQUEST_TEXT, MAX_TEXT
from tests.bridges.rewrite.table import LOCAL, VIRTUAL, Table

GET = b"GET /rootDesc.xml HTTP/1.1\r\nHost: 25.4.5.6:8200\r\n\r\n"
DESCRIPTION = (
    b'<?xml version="1.0"?>\n<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://192.168.77.1:8200/</URLBase>'
    b"<manufacturerURL>http://www.netgear.com/</manufacturerURL><presentationURL>http://192.168.77.1/</presentationURL></root>"
)
MINIDLNA = (
    b'HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset="utf-8"\r\nConnection: close\r\nContent-Length: %d\r\n'
    b"Server: Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.0\r\nDate: Sat, 28 Nov 2026 10:30:31 GMT\r\nEXT:\r\n\r\n"
)
BROWSE = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:BrowseResponse><Result>'
    b"&lt;DIDL-Lite&gt;&lt;item&gt;&lt;dc:title&gt;a&lt;/dc:title&gt;"
    b'&lt;res protocolInfo="http-get:*:image/jpeg:*"&gt;http://192.168.77.1:8200/MediaItems/22.jpg&lt;/res&gt;'
    b"&lt;upnp:albumArtURI&gt;http://192.168.77.1:8200/Thumbnails/22.jpg&lt;/upnp:albumArtURI&gt;"
    b"&lt;/item&gt;&lt;/DIDL-Lite&gt;</Result></u:BrowseResponse></s:Body></s:Envelope>"
)


def made(ports: dict[int, int] | None = None) -> HttpFilter:
    """At the device's end: requests come in with virtual addresses, answers go out with this computer's."""
    requests = Table({VIRTUAL: "127.0.0.1", "25.7.8.9": "127.7.8.9"})
    return HttpFilter(requests, Table({LOCAL: VIRTUAL, "127.0.0.1": VIRTUAL}, ports))


def response(body: bytes, kind: bytes = b"text/xml", *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *headers, b"", body))


def answered(stream: bytes, request: bytes = GET, filtered: HttpFilter | None = None) -> bytes:
    one = filtered or made()
    one.client_data(request)
    return bytes(one.server_data(stream)) + one.server_ended()


def unchunked(stream: bytes) -> bytes:
    body = stream.partition(b"\r\n\r\n")[2]
    reader = ChunkedReader()
    payload, rest = reader.receive(body)
    assert reader.done
    assert not rest
    return payload


# --- responses --------------------------------------------------------------------------------------------------------


def test_a_device_description_and_its_length() -> None:
    rewritten = DESCRIPTION.replace(LOCAL.encode(), VIRTUAL.encode())
    head, _, body = answered(MINIDLNA % len(DESCRIPTION) + DESCRIPTION).partition(b"\r\n\r\n")
    assert body == rewritten
    lines = head.split(b"\r\n")
    assert lines.count(b"Content-Length: %d" % len(rewritten)) == 1
    assert len([line for line in lines if line.lower().startswith(b"content-length")]) == 1
    assert b"Server: Debian DLNADOC/1.50 UPnP/1.0 MiniDLNA/1.3.0" in lines


def test_escaped_urls_inside_soap() -> None:
    assert answered(response(BROWSE)) == response(BROWSE.replace(b"192.168.77.1", b"25.4.5.6"))


@pytest.mark.parametrize(
    "stream",
    [
        response(BROWSE),
        response(gzip.compress(BROWSE), b"text/xml", b"Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n" + encode_chunk(BROWSE) + b"0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + BROWSE,
    ],
)
def test_another_reader_of_http_reads_the_same(stream: bytes) -> None:
    """The standard library's client as the oracle of what is written anew."""

    class Wire:
        def makefile(self, _mode: str) -> BytesIO:
            return BytesIO(answered(stream))

    read = HTTPResponse(cast(socket, Wire()))
    read.begin()
    assert read.read() == BROWSE.replace(b"192.168.77.1", b"25.4.5.6")
    assert read.getheader("Content-Type") == "text/xml"


def test_ports_that_are_others_there() -> None:
    body = answered(response(BROWSE), filtered=made({8200: 18200})).partition(b"\r\n\r\n")[2]
    assert body == BROWSE.replace(b"192.168.77.1:8200", b"25.4.5.6:18200")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_pieces_that_it_comes_in_make_no_difference(size: int) -> None:
    stream = response(BROWSE) + response(DESCRIPTION, b"application/vnd.upnp+xml") + response(b"\xff" * 100, b"image/jpeg")
    one = made()
    one.client_data(GET * 3)
    pieces = b"".join(bytes(one.server_data(stream[start : start + size])) for start in range(0, len(stream), size))
    assert pieces == answered(stream, GET * 3)
    assert pieces.count(b"25.4.5.6") == 4
    assert b"192.168.77.1" not in pieces


@pytest.mark.parametrize("size", [1, 5, 16, 100])
def test_chunked_text_is_rewritten_as_it_passes(size: int) -> None:
    chunks = b"".join(encode_chunk(BROWSE[start : start + size]) for start in range(0, len(BROWSE), size))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = made()
    one.client_data(GET)
    first = bytes(one.server_data(head + chunks))
    assert len(first) > len(BROWSE) // 2, "it passes before its end"
    whole = first + bytes(one.server_data(b"0\r\n\r\n"))
    assert whole.startswith(head)
    assert unchunked(whole) == BROWSE.replace(b"192.168.77.1", b"25.4.5.6")
    assert one.client_data(GET) != b""
    assert one.server_data(response(b"x", b"image/png")) == response(b"x", b"image/png")


def test_a_long_text_is_sent_on_in_chunks() -> None:
    """A folder of thousands of pictures, asked for at once: nothing of it is held."""
    text = BROWSE * (1 + MAX_TEXT // len(BROWSE))
    stream = response(text, b"text/xml", b"Content-MD5: x")
    one = made()
    one.client_data(GET)
    out = [bytes(one.server_data(stream[start : start + 65536])) for start in range(0, len(stream), 65536)]
    assert all(out)
    head = b"".join(out).partition(b"\r\n\r\n")[0]
    assert head == b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked"
    assert unchunked(b"".join(out)) == text.replace(b"192.168.77.1", b"25.4.5.6")
    assert one.client_data(GET) != b""
    assert one.server_data(response(BROWSE)) == answered(response(BROWSE))


def test_text_that_ends_with_its_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n"
    assert answered(head + BROWSE) == head + BROWSE.replace(b"192.168.77.1", b"25.4.5.6")
    assert answered(head + b"<x>http://192.168.77.1:8200") == head + b"<x>http://25.4.5.6:8200"


def test_a_text_that_is_cut_short_is_passed_on_as_far_as_it_came() -> None:
    stream = response(BROWSE)[:-10]
    assert answered(stream) == stream


def test_gzip_that_was_not_asked_for() -> None:
    packed = gzip.compress(BROWSE)
    head, _, body = answered(response(packed, b"text/xml", b"Content-Encoding: gzip", b"Content-MD5: x")).partition(b"\r\n\r\n")
    assert body == BROWSE.replace(b"192.168.77.1", b"25.4.5.6")
    assert b"Content-Length: %d" % len(body) in head
    assert b"ontent-Encoding" not in head
    assert b"MD5" not in head


def test_a_gzip_bomb_passes_packed() -> None:
    packed = gzip.compress(b"http://192.168.77.1/" + bytes(2 * MAX_TEXT))
    stream = response(packed, b"text/xml", b"Content-Encoding: gzip")
    assert answered(stream) == stream


@pytest.mark.parametrize(
    "stream",
    [
        response(BROWSE, b"image/jpeg"),
        response(BROWSE, b"text/xml", b"Content-Encoding: br"),
        response(BROWSE, b"text/xml", b"Content-Range: bytes 0-9/100"),
        response(BROWSE).replace(b"200 OK", b"206 Partial Content"),
        response(b"<a>" + b" " * MAX_TEXT + BROWSE).replace(b"HTTP/1.1", b"HTTP/1.0"),
        response(b"no address"),
        b"HTTP/1.1 304 Not Modified\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n Folded: http://192.168.77.1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_passes_untouched(stream: bytes) -> None:
    assert answered(stream) == stream


def test_media_passes_without_being_copied() -> None:
    one = made()
    one.client_data(GET)
    unit = bytes(64 * 1024)
    one.server_data(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % (3 * len(unit)))
    assert one.server_data(unit) is unit
    view = memoryview(bytearray(unit))
    sent = one.server_data(view)
    assert isinstance(sent, memoryview)
    assert sent.obj is view.obj
    assert one.server_data(unit) is unit
    one.client_data(GET)
    assert one.server_data(response(BROWSE)) == answered(response(BROWSE))


def test_an_answer_to_head_has_no_body() -> None:
    one = made()
    one.client_data(GET.replace(b"GET", b"HEAD") + GET)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 5000\r\n\r\n"
    assert one.server_data(head + response(BROWSE)) == head + answered(response(BROWSE))


def test_interim_answers_pass() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answered(interim + response(BROWSE)) == interim + answered(response(BROWSE))


def test_redirects_and_samsungs_captions() -> None:
    stream = (
        b"HTTP/1.1 302 Found\r\nLOCATION:http://192.168.77.1:8200/x\r\nX: http://192.168.77.1:8200/\r\n"
        b"CaptionInfo.sec: http://192.168.77.1:8200/Captions/1.srt\r\nContent-Length: 0\r\n\r\n"
    )
    assert answered(stream) == stream.replace(b"LOCATION:http://192.168.77.1", b"LOCATION:http://25.4.5.6").replace(
        b"sec: http://192.168.77.1", b"sec: http://25.4.5.6"
    )


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_subscription_calls_back_over_the_relay() -> None:
    """UPnP Device Architecture 2.0, section 4.1.1: CALLBACK, and Host as the device knows itself."""
    request = (
        b"SUBSCRIBE /evt/ContentDir HTTP/1.1\r\nHOST: 25.4.5.6:8200\r\nACCEPT-ENCODING:gzip\r\n"
        b"CALLBACK: <http://25.7.8.9:49152/a><http://other.example/b>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n\r\n"
    )
    assert made().client_data(request) == (
        b"SUBSCRIBE /evt/ContentDir HTTP/1.1\r\nHOST: 127.0.0.1:8200\r\nACCEPT-ENCODING: identity\r\n"
        b"CALLBACK: <http://127.7.8.9:49152/a><http://other.example/b>\r\nNT: upnp:event\r\nTIMEOUT: Second-1800\r\n\r\n"
    )


def test_a_control_point_tells_a_renderer_what_to_fetch() -> None:
    body = b"<s:Envelope><CurrentURI>http://25.7.8.9:8200/MediaItems/22.mp4</CurrentURI></s:Envelope>"
    head = b"POST /ctl HTTP/1.1\r\nHost: 25.4.5.6\r\nContent-Type: text/xml; charset=utf-8\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    new = body.replace(b"25.7.8.9", b"127.7.8.9")
    sent = made().client_data(request)
    assert sent == head.replace(b"25.4.5.6", b"127.0.0.1") + b"Content-Length: %d\r\n\r\n" % len(new) + new
    waiting = head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    one = made()
    assert one.client_data(waiting) == waiting.replace(b"25.4.5.6", b"127.0.0.1")
    assert one.client_data(body) == body


@pytest.mark.parametrize("browser", [b"Origin: http://127.7.8.9:80", b"Sec-Fetch-Site: same-origin", b"sec-fetch-mode: cors"])
def test_a_page_has_nothing_made_that_is_not_known(browser: bytes) -> None:
    """A server's page can have its browser send any request; these headers it cannot leave out (Fetch 3.2, Fetch Metadata 2)."""
    named = b"http://127.0.0.1:9200/"
    head = b"POST / HTTP/1.1\r\nHost: 127.7.8.9\r\nCALLBACK: <" + named + b">\r\nContent-Type: text/xml\r\nContent-Length: 22\r\n"
    for extra, asked in ((b"", 2), (browser + b"\r\n", 0)):
        requests, bodies, known = Table({"127.0.0.1": VIRTUAL}), Table({"127.0.0.1": VIRTUAL}), Table({"127.7.8.9": "25.7.8.9"})
        one = HttpFilter(requests, Table({}), bodies, known)
        sent = bytes(one.client_data(head + extra + b"\r\n" + named))
        assert len(requests.asked) + len(bodies.asked) == asked
        assert sent.count(VIRTUAL.encode()) == asked
        assert b"Host: 25.7.8.9\r\n" in sent


@pytest.mark.parametrize("header", [b"Referer", b"Origin", b"Location", b"Content-Location", b"Host"])
def test_other_headers_name_what_is_known(header: bytes) -> None:
    """A playlist can say what its player sends as referrer, a redirection where it goes next."""
    requests, known = Table({"127.0.0.1": VIRTUAL}), Table({"127.0.0.1": VIRTUAL})
    value = b"127.0.0.1:9200" if header == b"Host" else b"http://127.0.0.1:9200/"
    HttpFilter(requests, Table({}), None, known).client_data(b"GET / HTTP/1.1\r\n" + header + b": " + value + b"\r\n\r\n")
    assert not requests.asked
    assert known.asked == [("127.0.0.1", 9200, "tcp")]


def test_a_request_that_never_ends_is_held_to_a_bound() -> None:
    """A peer may begin as many as there are streams."""
    head = b"POST /ctl HTTP/1.1\r\nHost: 25.4.5.6\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
    for length, held in ((MAX_REQUEST_TEXT, True), (MAX_REQUEST_TEXT + 1, False), (MAX_TEXT, False)):
        sent = bytes(made().client_data(head % length + b"x" * (length - 1)))
        assert len(sent) == (0 if held else len(head % length) + 1 + length - 1)     # 127.0.0.1 is longer by one


def test_a_host_that_is_not_known_stays() -> None:
    for host in (b"nas.example:80", b"[::1]:80", b"", b"a b"):
        request = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        assert made().client_data(request) == request


# --- what is no HTTP --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600) + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nhttp://25.4.5.6/",
        b"POST / HTTP/1.1\r\nHost: 25.4.5.6\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nhttp://25.4.5.6/",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_other_protocols_pass_both_ways(stream: bytes) -> None:
    one = made()
    sent = b"".join(bytes(one.client_data(stream[start : start + 1000])) for start in range(0, len(stream), 1000))
    assert sent + one.client_ended() == stream
    assert one.plain
    assert one.server_data(b"anything http://192.168.77.1/\r\n\r\n") == b"anything http://192.168.77.1/\r\n\r\n"


def test_an_upgrade_passes_from_there_on() -> None:
    one = made()
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert one.client_data(request) == request
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05http://192.168.77.1/"
    assert one.server_data(switch) == switch
    assert one.client_data(b"\x81\x80http://25.4.5.6/\r\n\r\n") == b"\x81\x80http://25.4.5.6/\r\n\r\n"


def test_what_nobody_asked_for_passes() -> None:
    one = made()
    assert one.server_data(response(BROWSE)) == response(BROWSE)
    assert one.plain


def test_requests_without_answers_are_bounded() -> None:
    one = made()
    sent = one.client_data(GET * (MAX_PIPELINED + 1))
    assert bytes(sent).count(b"127.0.0.1:8200") == MAX_PIPELINED
    assert bytes(sent).endswith(GET)


def test_an_answer_under_way_is_ended_in_order_when_the_client_turns_odd() -> None:
    """The framing that was begun is kept: the chunks are this filter's own."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = made()
    one.client_data(GET)
    begun = bytes(one.server_data(head + encode_chunk(BROWSE)[:100]))
    assert one.client_data(b"\0\1\2odd\r\n\r\n") == b"\0\1\2odd\r\n\r\n"
    whole = begun + bytes(one.server_data(encode_chunk(BROWSE)[100:] + b"0\r\n\r\n"))
    assert unchunked(whole) == BROWSE.replace(b"192.168.77.1", b"25.4.5.6")
    assert one.server_data(b"raw http://192.168.77.1/") == b"raw http://192.168.77.1/"


def test_broken_chunks_are_passed_on_broken() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = made()
    one.client_data(GET)
    assert bytes(one.server_data(head + b"zz\r\nhttp://192.168.77.1/")) == head + b"zz\r\nhttp://192.168.77.1/"
    assert one.plain


parts = st.sampled_from(
    [GET, b"GET / HTTP/1.1\r\n", b"Content-Length: 5\r\n", b"\r\n", b"hello", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"]
)


@settings(max_examples=200)
@given(st.lists(parts | st.binary(max_size=10), max_size=12), st.data())
def test_nothing_is_lost_or_added_where_no_address_is_known(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces).lstrip(b"\r\n")
    one = HttpFilter(Table({}), Table({}))
    out = b""
    rest = stream
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        out += bytes(one.client_data(rest[:size]))
        rest = rest[size:]
    out += one.client_ended()
    # Empty lines before a request are not passed on (RFC 9112, section 2.2).
    assert out.replace(b"\r\n", b"") == stream.replace(b"\r\n", b"")


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([response(BROWSE), response(b"x"), b"HTTP/1.1 200 OK\r\n", b"0\r\n\r\n"]) | st.binary(max_size=10), max_size=8)
)
def test_any_bytes_of_a_server(pieces: list[bytes]) -> None:
    one = made()
    one.client_data(GET * 4)
    for piece in pieces:
        one.server_data(piece)
    one.server_ended()
    assert one.server_ended() == b""
