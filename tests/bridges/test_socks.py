"""The SOCKS parsers, without sockets."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridges.credentials import Credentials
from bridges.socks import (
    Command,
    Datagram,
    Negotiation,
    Reply,
    Request,
    SocksError,
    build_datagram,
    parse_datagram,
    reply4,
    reply5,
)

HELLO = b"\x05\x01\x00"
CONNECT_NAS = b"\x05\x01\x00\x03\x03nas\x00\x50"

ports = st.integers(1, 65535)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).map(str)
names = st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z][a-z0-9]{0,20}){0,3}", fullmatch=True)


def encode(host: str, port: int) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b"\x03" + bytes([len(host)]) + host.encode() + struct.pack("!H", port)
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed + struct.pack("!H", port)


def feed(negotiation: Negotiation, data: bytes, cuts: list[int]) -> bytes:
    answers, last = b"", 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        answers += negotiation.receive(data[last:cut])
        last = cut
    return answers


@given(st.one_of(ipv4, ipv6, names), ports, st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=8))
def test_connect_in_any_pieces(host: str, port: int, rest: bytes, cuts: list[int]) -> None:
    negotiation = Negotiation(None)
    data = b"\x05\x02\x00\x02\x05\x01\x00" + encode(host, port)
    assert feed(negotiation, data + rest, cuts) == b"\x05\x00"
    assert negotiation.request == Request(5, Command.CONNECT, host, port)
    assert negotiation.take_rest() == rest


@given(st.binary(min_size=1, max_size=255), st.binary(min_size=1, max_size=255), st.lists(st.integers(0, 600), max_size=8))
def test_password_in_any_pieces(user: bytes, password: bytes, cuts: list[int]) -> None:
    credentials = Credentials("anna", "secret")
    negotiation = Negotiation(credentials)
    data = b"\x05\x01\x02\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password
    if (user, password) == (b"anna", b"secret"):
        assert feed(negotiation, data, cuts) == b"\x05\x02\x01\x00"
    else:
        answers = b""
        with pytest.raises(SocksError, match="socks-password") as caught:
            answers = feed(negotiation, data, cuts)
        assert answers + caught.value.reply in (b"\x01\x01", b"\x05\x02\x01\x01")


def test_the_right_password() -> None:
    negotiation = Negotiation(Credentials("anna", "secret"))
    assert negotiation.receive(b"\x05\x02\x00\x02") == b"\x05\x02"
    assert negotiation.receive(b"\x01\x04anna\x06secret") == b"\x01\x00"
    assert negotiation.receive(CONNECT_NAS) == b""
    assert negotiation.request == Request(5, Command.CONNECT, "nas", 80)


def test_no_method_without_password_where_one_is_asked_for() -> None:
    with pytest.raises(SocksError, match="socks-method") as caught:
        Negotiation(Credentials("anna", "secret")).receive(HELLO)
    assert caught.value.reply == b"\x05\xff"


def test_no_password_where_none_is_configured() -> None:
    with pytest.raises(SocksError, match="socks-method") as caught:
        Negotiation(None).receive(b"\x05\x01\x02")
    assert caught.value.reply == b"\x05\xff"


@pytest.mark.parametrize(
    ("data", "reason", "reply"),
    [
        (HELLO + b"\x05\x02\x00\x03\x03nas\x00\x50", "socks-command", reply5(Reply.COMMAND_UNSUPPORTED)),
        (HELLO + b"\x05\x01\x00\x02\x03nas\x00\x50", "socks-address-type", reply5(Reply.ADDRESS_UNSUPPORTED)),
        (HELLO + b"\x05\x01\x00\x03\x03n s\x00\x50", "socks-name", reply5(Reply.HOST_UNREACHABLE)),
        (HELLO + b"\x05\x01\x00\x03\x00\x00\x50", "socks-name", reply5(Reply.HOST_UNREACHABLE)),
        (HELLO + b"\x05\x01\x00\x03\x03nas\x00\x00", "socks-port", reply5(Reply.FAILURE)),
        (HELLO + b"\x04\x01\x00\x03\x03nas\x00\x50", "socks-version", reply5(Reply.FAILURE)),
    ],
)
def test_wrong_requests_get_their_code(data: bytes, reason: str, reply: bytes) -> None:
    with pytest.raises(SocksError, match=reason) as caught:
        Negotiation(None).receive(data)
    assert caught.value.reply == b"\x05\x00" + reply


@given(
    ipv4.filter(lambda host: not host.startswith("0.")),
    ports,
    st.binary(max_size=20).filter(lambda user: 0 not in user),
)
def test_socks4(host: str, port: int, user: bytes) -> None:
    negotiation = Negotiation(None)
    packed = ipaddress.ip_address(host).packed
    assert negotiation.receive(b"\x04\x01" + struct.pack("!H", port) + packed + user + b"\x00rest") == b""
    assert negotiation.request == Request(4, Command.CONNECT, host, port)
    assert negotiation.take_rest() == b"rest"


@given(names, ports, st.lists(st.integers(0, 100), max_size=5))
def test_socks4a(host: str, port: int, cuts: list[int]) -> None:
    negotiation = Negotiation(None)
    data = b"\x04\x01" + struct.pack("!H", port) + b"\x00\x00\x00\x07anna\x00" + host.encode() + b"\x00"
    assert feed(negotiation, data, cuts) == b""
    assert negotiation.request == Request(4, Command.CONNECT, host, port)


def test_socks4_has_no_place_for_a_password() -> None:
    with pytest.raises(SocksError, match="socks4-without-password") as caught:
        Negotiation(Credentials("anna", "secret")).receive(b"\x04\x01\x00\x50\x19\x09\x00\x02\x00")
    assert caught.value.reply == reply4(Reply.NOT_ALLOWED)


@pytest.mark.parametrize("head", [b"\x04\x01\x00\x50\x19\x09\x00\x02", b"\x04\x01\x00\x50\x00\x00\x00\x01x\x00"])
def test_socks4_fields_are_bounded(head: bytes) -> None:
    with pytest.raises(SocksError, match="socks4-field"):
        Negotiation(None).receive(head + b"a" * 300)


def test_replies() -> None:
    assert reply5(Reply.SUCCEEDED, "25.1.2.3", 80) == b"\x05\x00\x00\x01\x19\x01\x02\x03\x00\x50"
    assert reply5(Reply.REFUSED, "::1", 1) == b"\x05\x05\x00\x04" + bytes(15) + b"\x01\x00\x01"
    assert reply4(Reply.SUCCEEDED, "25.1.2.3", 80) == b"\x00\x5a\x00\x50\x19\x01\x02\x03"
    assert reply4(Reply.REFUSED)[:2] == b"\x00\x5b"


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=5), st.booleans())
@example(b"\x05\x00", [], False)
@example(b"\x05\x01\x00\x05\x01\x00\x03\xff" + b"\xff" * 257, [], False)
def test_rubbish_is_refused_or_waits(data: bytes, cuts: list[int], locked: bool) -> None:
    negotiation = Negotiation(Credentials("anna", "secret") if locked else None)
    try:
        feed(negotiation, data, cuts)
    except SocksError:
        return
    if negotiation.request is not None:
        assert not locked
        assert 1 <= negotiation.request.port <= 65535 or negotiation.request.command is Command.ASSOCIATE


@given(st.sampled_from([HELLO, b"\x04", b"\x05\x01\x02"]), st.binary(max_size=600))
def test_rubbish_behind_a_right_beginning(head: bytes, data: bytes) -> None:
    negotiation = Negotiation(Credentials("anna", "secret") if head[-1] == 2 else None)
    try:
        negotiation.receive(head + data)
    except SocksError:
        return
    assert negotiation.request is None or negotiation.request.host


@given(st.one_of(ipv4, ipv6), ports, st.binary(max_size=2000))
def test_datagrams_there_and_back(host: str, port: int, payload: bytes) -> None:
    assert parse_datagram(build_datagram(host, port, payload)) == Datagram(host, port, payload)


@given(names, ports, st.binary(max_size=200))
def test_datagrams_to_names(host: str, port: int, payload: bytes) -> None:
    assert parse_datagram(bytes(3) + encode(host, port) + payload) == Datagram(host, port, payload)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "datagram-truncated"),
        (b"\x00\x00\x01" + encode("25.1.2.3", 80), "datagram-fragment"),
        (b"\x00\x01\x00" + encode("25.1.2.3", 80), "datagram-reserved"),
        (b"\x00\x00\x00" + encode("25.1.2.3", 80)[:-1], "datagram-truncated"),
        (b"\x00\x00\x00" + encode("25.1.2.3", 0), "datagram-port"),
        (b"\x00\x00\x00\x07abcdefgh", "socks-address-type"),
    ],
)
def test_wrong_datagrams(data: bytes, reason: str) -> None:
    with pytest.raises(SocksError, match=reason):
        parse_datagram(data)


@given(st.binary(max_size=600))
def test_rubbish_datagrams(data: bytes) -> None:
    try:
        datagram = parse_datagram(data)
    except SocksError:
        return
    assert datagram.host
    assert data.endswith(datagram.payload)


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("x", ""), ("a:b", "x"), ("x" * 256, "x"), ("x", "y" * 256)])
def test_credentials_that_cannot_be_used(user: str, password: str) -> None:
    with pytest.raises(ValueError):
        Credentials(user, password)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (b"Basic YW5uYTpzZWNyZXQ=", True),
        (b"basic  YW5uYTpzZWNyZXQ=", True),
        (b"Basic YW5uYTpzZWNyZXQ", False),
        (b"Basic !!!", False),
        (b"Basic", False),
        (b"", False),
        (b"Bearer YW5uYTpzZWNyZXQ=", False),
        (b"Basic YW5uYTp3cm9uZw==", False),
        (b"Basic YW5uYXNlY3JldA==", False),
    ],
)
def test_basic_authorisation(value: bytes, right: bool) -> None:
    assert Credentials("anna", "secret").match_basic(value) is right
