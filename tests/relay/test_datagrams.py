"""The wire: what is written is read, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from userlan.control.grants import GRANT_SIZE
from userlan.relay import datagrams
from userlan.relay.datagrams import BIND_SIZE, BOUND_SIZE, HEADER_SIZE, Bind, Bound

COUNTERS = some.integers(0, 2**64 - 1)
SECRET = bytes(32)


@given(COUNTERS, some.binary(min_size=GRANT_SIZE, max_size=GRANT_SIZE), some.integers(0, 1), some.binary(min_size=16, max_size=16))
def test_a_bind_is_read_as_it_was_written(counter: int, grant: bytes, role: int, cookie: bytes) -> None:
    bind = Bind(counter, grant, role, cookie)
    datagram = datagrams.encode_bind(bind, SECRET)
    assert len(datagram) == BIND_SIZE
    assert datagrams.decode_bind(datagram) == bind
    assert datagrams.authentic(SECRET, datagram)
    assert not datagrams.authentic(bytes([1]) * 32, datagram)


@given(some.binary(min_size=8, max_size=8), COUNTERS, some.integers(0, 255), some.integers(0, 255), COUNTERS)
def test_a_bound_is_read_as_it_was_written(channel: bytes, counter: int, status: int, flags: int, newest: int) -> None:
    bound = Bound(channel, counter, status, flags, newest, bytes(range(16)))
    datagram = datagrams.encode_bound(bound, SECRET)
    assert len(datagram) == BOUND_SIZE
    assert datagrams.decode_bound(datagram) == bound
    assert datagrams.authentic(SECRET, datagram)


@given(some.binary(max_size=200))
def test_anything_else_is_neither(data: bytes) -> None:
    for datagram in (data, b"\x2a\0\0\0" + data, b"\x29\0\0\0" + data):
        bind, bound = datagrams.decode_bind(datagram), datagrams.decode_bound(datagram)
        assert bind is None or len(datagram) == BIND_SIZE
        assert bound is None or len(datagram) == BOUND_SIZE
        assert not datagrams.authentic(SECRET, datagram)


def test_the_header_is_twelve_octets_and_the_same_for_both_directions() -> None:
    assert HEADER_SIZE == 12
    assert datagrams.data_header(b"channel!") == b"\x28\0\0\0channel!"
