"""Addresses: derived, allocated, written and read."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import public
from userlan.lan import addresses
from userlan.lan.addresses import AddressRange, RangeFullError

KEYS = st.binary(min_size=32, max_size=32)
RANGE = AddressRange.parse(addresses.DEFAULT_RANGE)


def test_ipv6_is_the_prefix_and_eighty_bits_of_blake2s() -> None:
    address = ipaddress.IPv6Address(addresses.ipv6_of(bytes(32)))
    assert address in ipaddress.IPv6Network("fd75:6c61:6e00::/48")
    assert str(address) == "fd75:6c61:6e00:ee0b:90b9:57b3:be8d:88eb", "an address is for life"


def test_ipv6_differs_by_key() -> None:
    assert addresses.ipv6_of(public("a")) != addresses.ipv6_of(public("b"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_has_no_address(size: int) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        addresses.ipv6_of(bytes(size))


@settings(deadline=None, max_examples=100)
@given(KEYS)
def test_key_text_is_43_characters_and_reads_back(key: bytes) -> None:
    written = addresses.key_text(key)
    assert len(written) == 43
    assert addresses.key_bytes(written) == key


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | st.text(alphabet="ABCxyz019-_+/=", min_size=41, max_size=45))
def test_any_text_is_a_key_in_its_only_spelling_or_a_value_error(written: str) -> None:
    try:
        key = addresses.key_bytes(written)
    except ValueError:
        return
    assert addresses.key_text(key) == written


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("A" * 42, "cut short: 42"),
        ("A" * 44, "too long: 44"),
        ("A" * 42 + "!", "'!' does not belong"),
        ("A" * 42 + "B", "cannot end in 'B'"),
    ],
)
def test_a_wrong_key_text_says_what_is_wrong(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        addresses.key_bytes(written)


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_address_text_reads_back(address: bytes) -> None:
    assert addresses.packed(addresses.text(address)) == address


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(written: str) -> None:
    try:
        address = addresses.packed(written)
    except ValueError:
        return
    assert addresses.packed(addresses.text(address)) == address


@pytest.mark.parametrize("literal", ["fe80::1%eth0", "25.1.2", "25.1.2.03", "nas", "", "1" * 500])
def test_what_is_no_plain_literal_is_refused(literal: str) -> None:
    with pytest.raises(ValueError, match="not a numeric"):
        addresses.packed(literal)


def test_multicast() -> None:
    groups = ["224.0.0.1", "239.255.255.250", "ff02::fb"]
    others = ["25.1.2.3", "223.255.255.255", "240.0.0.1", "fd75:6c61:6e00::1"]
    assert all(addresses.is_multicast(addresses.packed(group)) for group in groups)
    assert not any(addresses.is_multicast(addresses.packed(other)) for other in others)
    assert not addresses.is_multicast(b"")


def test_lan_prefix() -> None:
    assert addresses.is_lan_ipv6(addresses.ipv6_of(public("a")))
    assert not addresses.is_lan_ipv6(addresses.packed("fd75:6c61:6e01::1"))
    assert not addresses.is_lan_ipv6(addresses.IPV6_PREFIX)


@settings(deadline=None, max_examples=200)
@given(KEYS, st.sampled_from(["25.0.0.0/8", "10.0.0.0/8", "10.20.0.0/16", "10.20.30.0/24", "10.20.30.8/29"]))
def test_allocation_keeps_the_rules(key: bytes, written: str) -> None:
    chosen = AddressRange.parse(written)
    address = chosen.allocate(key, lambda _: False)
    assert ipaddress.IPv4Address(address) in ipaddress.IPv4Network(written)
    assert address[1] != 0
    assert address[3] not in (0, 255)
    assert chosen.usable(address)


def test_allocation_follows_from_the_key_and_moves_on_when_taken() -> None:
    first = RANGE.allocate(public("a"), lambda _: False)
    assert RANGE.allocate(public("a"), lambda _: False) == first
    assert RANGE.allocate(public("a"), lambda address: address == first) != first


def test_a_small_range_is_used_up_to_the_last_address_and_then_full() -> None:
    chosen = AddressRange.parse("10.20.30.0/28")
    taken: set[bytes] = set()
    for number in range(14):
        taken.add(chosen.allocate(public(str(number)), taken.__contains__))
    assert taken == {bytes([10, 20, 30, last]) for last in range(1, 15)}, "all but the network's and the broadcast address"
    with pytest.raises(RangeFullError, match=r"no free address is left in 10\.20\.30\.0/28"):
        chosen.allocate(public("one more"), taken.__contains__)


def test_a_full_large_range_ends_the_search() -> None:
    asked = 0

    def taken(_: bytes) -> bool:
        nonlocal asked
        asked += 1
        return True

    with pytest.raises(RangeFullError):
        RANGE.allocate(public("a"), taken)
    assert asked <= addresses.SCATTERED_TRIES + addresses.WALKED_TRIES


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("25.0.0.0", "not an IPv4 range"),
        ("25.0.0.0/x", "not an IPv4 range"),
        ("25.0.0.0/33", "not an IPv4 range"),
        ("fd00::/8", "not an IPv4 range"),
        ("", "not an IPv4 range"),
        ("25.0.0.1/8", "did you mean 25.0.0.0/8"),
        ("0.0.0.0/0", "/8 to /29"),
        ("25.1.1.0/30", "/8 to /29"),
        ("127.0.0.0/8", "reserved"),
        ("224.0.0.0/8", "reserved"),
        ("10.0.0.0/16", "second octet"),
    ],
)
def test_a_wrong_range_says_what_is_wrong(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AddressRange.parse(written)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40) | st.text(alphabet="0123456789./", max_size=20))
def test_any_text_is_a_range_or_a_value_error(written: str) -> None:
    try:
        chosen = AddressRange.parse(written)
    except ValueError:
        return
    assert AddressRange.parse(str(chosen)) == chosen


def test_ranges_compare_by_value() -> None:
    assert AddressRange.parse("25.0.0.0/8") == RANGE
    assert hash(AddressRange.parse("25.0.0.0/8")) == hash(RANGE)
    assert AddressRange.parse("10.0.0.0/8") != RANGE
    assert RANGE.broadcast == bytes([25, 255, 255, 255])


@settings(deadline=None, max_examples=200)
@given(KEYS, KEYS)
def test_loopback_aliases_tell_members_apart_and_stay_clear_of_the_computer_s_own(one: bytes, other: bytes) -> None:
    mine, theirs = (RANGE.allocate(key, lambda _: False) for key in (one, other))
    alias = ipaddress.IPv4Address(addresses.loopback_alias(mine))
    assert alias in ipaddress.IPv4Network("127.0.0.0/8")
    assert alias not in ipaddress.IPv4Network("127.0.0.0/16")
    assert (addresses.loopback_alias(mine) == addresses.loopback_alias(theirs)) == (mine == theirs)


@pytest.mark.parametrize("literal", ["25.0.0.1", "25.1.2.0", "25.1.2.255", "fd75:6c61:6e00::1"])
def test_no_alias_for_what_is_never_handed_out(literal: str) -> None:
    with pytest.raises(ValueError, match="loopback alias"):
        addresses.loopback_alias(addresses.packed(literal))
