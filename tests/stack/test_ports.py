"""Ephemeral ports: free ones, not guessable, as late again as possible (RFC 6056)."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.addresses import Addresses, is_group, is_martian
from userlan.stack.limiter import TokenBucket
from userlan.stack.ports import FIRST_PORT, LAST_PORT, Ports

COUNT = LAST_PORT - FIRST_PORT + 1
LOCAL = bytes((10, 0, 0, 1))


def remote(last: int, port: int = 80) -> tuple[bytes, int]:
    return bytes((10, 0, 0, last)), port


@given(st.sets(st.integers(FIRST_PORT, LAST_PORT), max_size=300), st.integers())
def test_a_port_is_free_and_in_range(used: set[int], seed: int) -> None:
    ports = Ports(Random(seed).randbytes)
    for chosen in (
        ports.for_connection(LOCAL, remote(2), used.__contains__),
        ports.for_socket(used.__contains__),
    ):
        assert chosen is not None
        assert FIRST_PORT <= chosen <= LAST_PORT
        assert chosen not in used


def test_the_last_free_port_is_found_and_then_none() -> None:
    ports = Ports(Random(1).randbytes)
    assert ports.for_connection(LOCAL, remote(2), lambda port: port != 40_000) == 40_000
    assert ports.for_socket(lambda port: port != 40_000) == 40_000
    assert ports.for_connection(LOCAL, remote(2), lambda port: True) is None
    assert ports.for_socket(lambda port: True) is None


def test_to_one_destination_no_port_comes_twice_before_all_came() -> None:
    ports = Ports(Random(1).randbytes)
    chosen = [ports.for_connection(LOCAL, remote(2), lambda port: False) for _ in range(COUNT)]
    assert len(set(chosen)) == COUNT


def test_another_destination_or_another_host_tells_nothing() -> None:
    ports = Ports(Random(1).randbytes)
    firsts = {ports.for_connection(LOCAL, remote(last), lambda port: False) for last in range(1, 101)}
    assert len(firsts) > 95
    assert Ports(Random(1).randbytes).for_connection(LOCAL, remote(2), lambda port: False) != Ports(
        Random(2).randbytes
    ).for_connection(LOCAL, remote(2), lambda port: False)
    sockets = {ports.for_socket(lambda port: False) for _ in range(100)}
    assert len(sockets) > 95


def test_martians_and_groups() -> None:
    ipv6 = ("00" * 16, "00" * 15 + "01", "ff02" + "00" * 14)
    for text in ("00000000", "7f000001", "e0000001", "ffffffff", "f0000001", *ipv6):
        assert is_martian(bytes.fromhex(text)), text
    assert is_martian(bytes.fromhex("00" * 10 + "ffff0a000001"))
    for text in ("0a000001", "19000102", "fd75" + "00" * 13 + "01"):
        assert not is_martian(bytes.fromhex(text))
        assert not is_group(bytes.fromhex(text))


def test_the_source_is_the_nearest_own_address() -> None:
    addresses = Addresses()
    for text in ("0a000001", "19010203", "fd75" + "11" * 14, "fd75" + "22" * 14):
        addresses.add(bytes.fromhex(text))
    assert addresses.source_for(bytes.fromhex("19090909")) == bytes.fromhex("19010203")
    assert addresses.source_for(bytes.fromhex("0a000009")) == bytes.fromhex("0a000001")
    assert addresses.source_for(bytes.fromhex("fd75" + "23" * 14)) == bytes.fromhex("fd75" + "22" * 14)
    assert addresses.source_for(bytes.fromhex("0a000001")) == bytes.fromhex("0a000001")
    addresses.remove(bytes.fromhex("0a000001"))
    assert addresses.source_for(bytes.fromhex("0a000009")) == bytes.fromhex("19010203")


def test_a_token_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(10.0, 5)
    assert [bucket.allow(1.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.allow(1.25) for _ in range(3)] == [True, True, False]
    assert sum(bucket.allow(100.0) for _ in range(20)) == 5
    assert sum(bucket.allow(50.0) for _ in range(20)) == 0


def test_the_scope_of_the_source_fits_the_destination() -> None:
    """RFC 6724 5 rule 2: link-local towards the link's groups and hosts, a wider one beyond."""
    addresses = Addresses()
    link_local, wide = bytes.fromhex("fe80" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "01")
    for own in (wide, link_local):
        addresses.add(own)
    for destination, expected in (("ff02", link_local), ("ff05", wide), ("ff0e", wide), ("fe80", link_local), ("2001", wide)):
        assert addresses.source_for(bytes.fromhex(destination + "00" * 13 + "77")) == expected
    addresses.remove(wide)
    assert addresses.source_for(bytes.fromhex("2001" + "00" * 13 + "77")) == link_local
