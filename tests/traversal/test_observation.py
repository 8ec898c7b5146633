"""Wire format: what is written is read, by the same vantage only, and nothing raises (RFC 8489 14.2 for the XOR, RFC 7693 for the MAC)."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.observation import (
    MAC_SIZE,
    REPLY_SIZE,
    REQUEST_SIZE,
    Reply,
    Request,
    Seal,
    Wanted,
    is_reply,
    tag_of,
)

KEY, OTHER = bytes(range(32)), bytes(32)
eight = st.binary(min_size=8, max_size=8)
ports = st.integers(1, 65535)
hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
requests = st.builds(Request, eight, eight, st.integers(0, 65535), st.sampled_from(Wanted), eight, st.integers(0, 65535))
replies = st.builds(Reply, eight, hosts, ports, eight, st.integers(0, 255))


@given(requests)
def test_a_request_is_read_as_it_was_written(request: Request) -> None:
    datagram = Seal(KEY).request(request)
    assert len(datagram) == REQUEST_SIZE
    assert Seal(KEY).read_request(datagram) == request


@given(replies)
def test_a_reply_is_read_as_it_was_written_and_is_smaller_than_a_request(reply: Reply) -> None:
    datagram = Seal(KEY).reply(reply)
    assert len(datagram) == REPLY_SIZE < REQUEST_SIZE
    assert is_reply(datagram)
    assert Seal(KEY).read_reply(datagram) == reply


@given(requests, replies)
def test_who_does_not_know_the_vantage_reads_and_writes_nothing(request: Request, reply: Reply) -> None:
    assert Seal(OTHER).read_request(Seal(KEY).request(request)) is None
    assert Seal(OTHER).read_reply(Seal(KEY).reply(reply)) is None


@given(requests, st.integers(0, REQUEST_SIZE * 8 - 1))
def test_no_bit_can_be_changed(request: Request, bit: int) -> None:
    datagram = bytearray(Seal(KEY).request(request))
    datagram[bit // 8] ^= 1 << bit % 8
    assert Seal(KEY).read_request(datagram) is None


@given(st.binary(max_size=100))
def test_anything_else_is_nothing(data: bytes) -> None:
    for size in (len(data), REQUEST_SIZE, REPLY_SIZE):
        padded = data[:size].ljust(size, b"\0")
        assert Seal(KEY).read_request(padded) is None
        assert Seal(KEY).read_reply(padded) is None


def test_sealed_nonsense_is_nothing() -> None:
    """Whoever knows the key can seal a family, or a wish, that does not exist."""
    seal = Seal(KEY)
    request = bytearray(seal.request(Request(bytes(8), bytes(8))))
    request[4] = 9
    reply = bytearray(seal.reply(Reply(bytes(8), "192.0.2.1", 1, bytes(8))))
    reply[4] = 5
    for datagram, read in ((request, seal.read_request), (reply, seal.read_reply)):
        body = bytes(datagram[:-MAC_SIZE])
        assert read(body + seal._mac(body)) is None


@given(hosts, ports)
def test_the_address_is_not_in_the_payload_as_it_is(host: str, port: int) -> None:
    """RFC 8489 14.2: some NATs rewrite what looks like their own address."""
    transaction = b"\xa5\x5a\x3c\xc3\x99\x66\x0f\xf0"
    body = Seal(KEY).reply(Reply(transaction, host, port, bytes(8)))[:24]
    packed = ipaddress.ip_address(host).packed
    assert body[8 : 8 + len(packed)] != packed
    assert body[6:8] != port.to_bytes(2, "big")


def test_a_tag_says_nothing_of_its_token() -> None:
    assert tag_of(b"t" * 16) != tag_of(b"u" * 16)
    assert len(tag_of(b"t" * 16)) == 8
    assert tag_of(b"t" * 16) not in b"t" * 16
