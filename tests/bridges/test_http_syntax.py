"""HTTP heads and bodies, without sockets: what is refused, what is written."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.http_body import LAST_CHUNK, ChunkedReader, CloseReader, LengthReader, encode_chunk, reader_for
from bridges.http_syntax import (
    MAX_HEAD,
    MAX_HEADERS,
    HeadReader,
    HttpError,
    Target,
    error_response,
    parse_request,
    parse_response,
)

GET = b"GET http://nas/path?x=1 HTTP/1.1\r\nHost: nas"


def request(*lines: bytes) -> bytes:
    return b"\r\n".join((GET, *lines))


def refusal(head: bytes) -> int:
    with pytest.raises(HttpError) as caught:
        parse_request(head)
    return caught.value.status


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "target", "path"),
    [
        (b"http://nas", Target("nas", 80), b"/"),
        (b"http://nas/", Target("nas", 80), b"/"),
        (b"HTTP://NAS:8080/a?b", Target("nas", 8080), b"/a?b"),
        (b"http://nas?q", Target("nas", 80), b"/?q"),
        (b"http://nas:/x", Target("nas", 80), b"/x"),
        (b"http://[fd75::1]:81/x", Target("fd75::1", 81), b"/x"),
        (b"http://nas.home.internal//x//", Target("nas.home.internal", 80), b"//x//"),
        (b"http://25.1.2.3/a%20b", Target("25.1.2.3", 80), b"/a%20b"),
        (b"ws://nas/socket", Target("nas", 80), b"/socket"),
    ],
)
def test_absolute_form_becomes_origin_form(written: bytes, target: Target, path: bytes) -> None:
    head = parse_request(b"GET " + written + b" HTTP/1.1\r\nHost: other")
    assert (head.target, head.path) == (target, path)
    first, host, *_ = head.write().split(b"\r\n")
    assert first == b"GET " + path + b" HTTP/1.1"
    assert host == b"Host: " + target.authority


def test_options_without_a_path_asks_the_server() -> None:
    assert parse_request(b"OPTIONS http://nas HTTP/1.1\r\nHost: nas").path == b"*"


def test_connect() -> None:
    head = parse_request(b"CONNECT [fd75::1]:443 HTTP/1.1\r\nHost: x")
    assert (head.method, head.target) == (b"CONNECT", Target("fd75::1", 443))


def test_headers_for_the_next_hop_end_here() -> None:
    head = parse_request(
        request(
            b"Connection: close, X-Secret",
            b"X-Secret: 1",
            b"Keep-Alive: 5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic x",
            b"TE: trailers",
            b"Upgrade: h2c",
            b"HTTP2-Settings: x",
            b"Accept: a",
            b"accept: b",
        )
    )
    written = head.write()
    assert written == (b"GET /path?x=1 HTTP/1.1\r\nHost: nas\r\nAccept: a\r\naccept: b\r\nVia: 1.1 userlan\r\n\r\n")
    assert not head.keep_alive


def test_connection_cannot_name_away_what_frames_a_message() -> None:
    lines = b"Connection: content-length, host\r\nContent-Length: 5"
    head = parse_request(b"POST http://nas/ HTTP/1.1\r\nHost: nas\r\n" + lines)
    assert b"Content-Length: 5\r\n" in head.write()
    assert b"Host: nas\r\n" in head.write()


def test_a_websocket_is_passed_on() -> None:
    head = parse_request(request(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Key: x"))
    assert head.upgrade
    assert head.write().endswith(b"Sec-WebSocket-Key: x\r\nVia: 1.1 userlan\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_a_chunked_request() -> None:
    head = parse_request(b"POST http://nas/ HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: Chunked")
    assert head.length is None
    assert head.write().count(b"ransfer-") == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
        ((b"Content-Length: 5", b"Content-Length: 5"), 400),
        ((b"Content-Length: 5", b"Content-Length: 6"), 400),
        ((b"Content-Length: 5, 5",), 400),
        ((b"Content-Length: +5",), 400),
        ((b"Content-Length: -1",), 400),
        ((b"Content-Length: 0x5",), 400),
        ((b"Content-Length:",), 400),
        (("Content-Length: ٥".encode(),), 400),
        ((b"Content-Length: 5\x0b",), 400),
        ((b"Content-Length: 9999999999999999999",), 400),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
        ((b"Transfer-Encoding: gzip, chunked",), 501),
        ((b"Transfer-Encoding: chunked, identity",), 501),
        ((b"Transfer-Encoding: xchunked",), 501),
        ((b"Transfer-Encoding:",), 501),
        ((b"Transfer-Encoding : chunked",), 400),
        ((b"Transfer-Encoding\x00: chunked",), 400),
        ((b"X: a\r b",), 400),
        ((b"X: a\nTransfer-Encoding: chunked",), 400),
        ((b" folded",), 400),
        ((b"X: 1", b"\tfolded"), 400),
        ((b"no colon",), 400),
        ((b": no name",), 400),
        ((b"X: \x00",), 400),
        ((b"Host: other",), 400),
    ],
)
def test_requests_that_could_be_read_in_two_ways_are_refused(lines: tuple[bytes, ...], status: int) -> None:
    assert refusal(request(*lines)) == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET http://nas/", 400),
        (b"GET  http://nas/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas/ HTTP/1.1 \r\nHost: nas", 400),
        (b"GET http://nas/a b HTTP/1.1\r\nHost: nas", 400),
        (b"G@T http://nas/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas/\xff HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas/ HTTP/2.0\r\nHost: nas", 505),
        (b"GET http://nas/ HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: nas", 400),
        (b"GET /http://nas/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET https://nas/ HTTP/1.1\r\nHost: nas", 501),
        (b"GET ftp://nas/ HTTP/1.1\r\nHost: nas", 501),
        (b"GET http:///x HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://user:pw@nas/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas:99999/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas:0/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas:8x/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://na_s!/ HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://nas/#x HTTP/1.1\r\nHost: nas", 400),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: nas", 400),
        (b"CONNECT nas HTTP/1.1\r\nHost: nas", 400),
        (b"CONNECT http://nas:80/ HTTP/1.1\r\nHost: nas", 400),
        (b"CONNECT nas:22 HTTP/1.1\r\nHost: nas\r\nContent-Length: 4", 400),
        (b"CONNECT nas:22 HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked", 400),
        (b"POST http://nas/ HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
        (GET + b"\r\nX: 1" * (MAX_HEADERS + 1), 431),
    ],
)
def test_malformed_requests_are_refused(head: bytes, status: int) -> None:
    assert refusal(head) == status


def test_http_1_0_is_answered_once() -> None:
    head = parse_request(b"GET http://nas/ HTTP/1.0\r\nConnection: keep-alive")
    assert not head.keep_alive
    assert head.write() == b"GET / HTTP/1.0\r\nHost: nas\r\nVia: 1.0 userlan\r\n\r\n"


header_names = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
header_values = st.from_regex(rb"[\t\x20-\x7e\x80-\xff]{0,30}", fullmatch=True)


@given(st.lists(st.tuples(header_names, header_values), max_size=8), st.sampled_from([b"GET", b"POST", b"DELETE"]))
def test_what_is_written_is_read_the_same(headers: list[tuple[bytes, bytes]], method: bytes) -> None:
    lines = [b"%b http://nas:8080/x HTTP/1.1" % method, b"Host: nas", *(b"%b:%b" % header for header in headers)]
    try:
        head = parse_request(b"\r\n".join(lines))
    except HttpError:
        return
    written = head.write()
    assert written.endswith(b"\r\n\r\n")
    assert written.count(b"\r\n\r\n") == 1
    assert not re.search(rb"[^\r]\n|\r[^\n]", written)
    again = parse_request(written[:-4].replace(b" /x ", b" http://nas:8080/x ", 1))
    assert again.length == head.length
    assert again.write().replace(b"Via: 1.1 userlan\r\n", b"", 1) == written


@given(st.binary(max_size=400))
def test_rubbish_is_refused(data: bytes) -> None:
    reader, status = HeadReader(), 0
    try:
        read = reader.receive(data)
        if read is not None:
            parse_request(read[0])
    except HttpError as error:
        status = error.status
    assert status in (0, 400, 431, 501, 505)


@given(st.text(alphabet="GETPOSthp:/nas1. \r\n\t;,=0chunked-LengTransfEcodig", max_size=300))
def test_near_requests(text: str) -> None:
    try:
        head = parse_request(text.encode())
    except HttpError:
        return
    assert head.target.host


# --- collecting a head ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 200), max_size=10), st.binary(max_size=20))
def test_a_head_in_any_pieces(cuts: list[int], rest: bytes) -> None:
    data = request(b"X: 1") + b"\r\n\r\n" + rest
    reader, last = HeadReader(), 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        read = reader.receive(data[last:cut])
        last = cut
        if read is not None:
            assert read[0] == request(b"X: 1")
            assert rest.startswith(read[1])
            assert not reader.started
            return
    raise AssertionError("the head was not found")


@pytest.mark.parametrize("data", [b"GET http://nas/ HTTP/1.1\nHost: nas\n\n", b"\nGET", GET + b"\r\nX: 1\nY: 2\r\n\r\n"])
def test_a_bare_line_feed_is_refused_at_once(data: bytes) -> None:
    for size in (1, len(data)):
        reader = HeadReader()
        parts = [data[place : place + size] for place in range(0, len(data), size)]
        with pytest.raises(HttpError) as caught:
            list(map(reader.receive, parts))
        assert caught.value.status == 400


def test_bare_line_feeds_behind_the_head_are_the_bodys() -> None:
    assert HeadReader().receive(GET + b"\r\n\r\n\n\n") == (GET, b"\n\n")


def test_a_head_is_bounded() -> None:
    reader = HeadReader()
    assert reader.receive(GET + b"\r\nX: " + b"x" * (MAX_HEAD - 200)) is None
    with pytest.raises(HttpError) as caught:
        reader.receive(b"x" * 300)
    assert caught.value.status == 431


def test_empty_lines_before_a_request_are_skipped() -> None:
    assert HeadReader().receive(b"\r\n\r\n" + GET + b"\r\n\r\n") == (GET, b"")


# --- responses --------------------------------------------------------------------------------------------------------


def test_a_response_is_written_anew() -> None:
    head = parse_response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\nSet-Cookie: a\r\nSet-Cookie: b"
    )
    assert head.persistent
    assert head.body_length(b"GET") == 5
    assert head.write(chunked=False, close=True) == (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nVia: 1.1 userlan\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    )


def test_old_devices_are_understood() -> None:
    reader = HeadReader(lenient=True)
    read = reader.receive(b"HTTP/1.0 200\nServer: old\n  thing\nContent-Length: 2\r\nContent-Length: 2\n\nhi")
    assert read is not None
    head = parse_response(read[0])
    assert read[1] == b"hi"
    assert not head.persistent
    assert head.body_length(b"GET") == 2
    assert head.write(chunked=False, close=False) == (
        b"HTTP/1.1 200 \r\nServer: old thing\r\nVia: 1.0 userlan\r\nContent-Length: 2\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", None),
        (b"GET", b"HTTP/1.1 200 OK", "close"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9", 0),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 0),
        (b"GET", b"HTTP/1.1 204 No\r\nContent-Length: 9", 0),
        (b"GET", b"HTTP/1.1 304 No\r\nContent-Length: 9", 0),
        (b"GET", b"HTTP/1.1 100 Continue", 0),
    ],
)
def test_where_a_response_ends(method: bytes, head: bytes, length: int | str | None) -> None:
    assert parse_response(head).body_length(method) == length


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length: x",
    ],
)
def test_responses_without_a_clear_end_are_refused(lines: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        parse_response(b"HTTP/1.1 200 OK\r\n" + lines).body_length(b"GET")
    assert caught.value.status == 502


@given(st.binary(max_size=300))
def test_rubbish_responses(data: bytes) -> None:
    status = 502
    try:
        parse_response(data).body_length(b"GET")
    except HttpError as error:
        status = error.status
    assert status == 502


def test_an_error_is_one_line() -> None:
    assert error_response(504, "nas:80 did not\nanswer") == (
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 22\r\n"
        b"Connection: close\r\n\r\nnas:80 did not answer\n"
    )


# --- bodies -----------------------------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=6),
    st.sampled_from([b"", b";a=b", b" ; x"]),
    st.sampled_from([b"", b"Trailer: x\r\n"]),
    st.binary(max_size=10),
    st.lists(st.integers(0, 500), max_size=8),
)
def test_chunks_in_any_pieces(chunks: list[bytes], extension: bytes, trailer: bytes, rest: bytes, cuts: list[int]) -> None:
    data = b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    data += b"000\r\n" + trailer + b"\r\n" + rest
    reader, body, left = ChunkedReader(), b"", b""
    for piece in pieces(data, cuts):
        if reader.done:
            left += piece
        else:
            payload, behind = reader.receive(piece)
            body += payload
            left += behind
    assert reader.done
    assert (body, left) == (b"".join(chunks), rest)


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_chunks_written_here_are_read_here(chunks: list[bytes]) -> None:
    reader = ChunkedReader()
    assert reader.receive(b"".join(map(encode_chunk, chunks)) + LAST_CHUNK) == (b"".join(chunks), b"")
    assert reader.done


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b"5\nhello",
        b"5\r\nhello\n",
        b"5\r\nhelloX\r\n",
        b"1;\n",
        b"1;a\x00\r\n",
        b"fffffffffffffffff\r\n",
        b"1" + b" " * 2000,
        b"0\r\nbad trailer\r\n",
        b"0\r\n" + b"X: 1\r\n" * 3000,
    ],
)
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        ChunkedReader().receive(data)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_rubbish_chunks(data: bytes) -> None:
    reader = ChunkedReader()
    try:
        payload, rest = reader.receive(data)
    except HttpError:
        return
    assert len(payload) + len(rest) <= len(data)


@given(st.binary(max_size=100), st.integers(0, 100), st.lists(st.integers(0, 100), max_size=5))
def test_a_body_of_a_known_length(data: bytes, length: int, cuts: list[int]) -> None:
    reader, body, rest = LengthReader(length), b"", b""
    for piece in pieces(data, cuts):
        payload, behind = reader.receive(piece)
        body += payload
        rest += behind
    assert (body, rest) == (data[:length], data[length:])
    assert reader.done == (len(data) >= length) == reader.ends_at_close()


def test_a_body_that_ends_with_its_connection() -> None:
    reader = reader_for("close")
    assert isinstance(reader, CloseReader)
    assert reader.receive(b"x") == (b"x", b"")
    assert reader.ends_at_close()
    assert not reader_for(None).ends_at_close()
