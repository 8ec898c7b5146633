"""Grants: what a mediator seals and a relay opens, and what follows from one."""

from __future__ import annotations

import pytest

from userlan.control import grants

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
ONE, TWO, THREE = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def test_what_was_sealed_is_opened() -> None:
    grant = grants.seal(KEY, TWO, ONE, 1_700_000_000.9, 5_000)
    said = grants.opened(KEY, grant)
    assert len(grant) == grants.GRANT_SIZE
    assert said == grants.Grant(grants.key_id(KEY), 1_700_000_000.0, 5_000, (grants.tag(KEY, ONE), grants.tag(KEY, TWO)))


def test_the_order_of_the_ends_does_not_matter() -> None:
    assert grants.seal(KEY, ONE, TWO, 1.0) == grants.seal(KEY, TWO, ONE, 1.0)
    assert {grants.role_of(ONE, TWO), grants.role_of(TWO, ONE)} == {0, 1}


def test_an_end_is_not_its_own_peer() -> None:
    with pytest.raises(ValueError, match="two ends"):
        grants.seal(KEY, ONE, ONE, 1.0)


@pytest.mark.parametrize("octet", range(grants.GRANT_SIZE))
def test_a_grant_that_was_changed_anywhere_is_none(octet: int) -> None:
    grant = bytearray(grants.seal(KEY, ONE, TWO, 1_700_000_000))
    grant[octet] ^= 1
    assert grants.opened(KEY, bytes(grant)) is None


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_grant_of_another_length_is_none(size: int) -> None:
    assert grants.opened(KEY, bytes(size)) is None


def test_another_relays_key_opens_nothing() -> None:
    grant = grants.seal(KEY, ONE, TWO, 1.0)
    assert grants.opened(OTHER_KEY, grant) is None
    with pytest.raises(ValueError, match="did not seal"):
        grants.for_end(OTHER_KEY, grant, 0)


def test_a_renewed_grant_keeps_the_channel_and_has_other_secrets() -> None:
    old, new = (grants.for_end(KEY, grants.seal(KEY, ONE, TWO, expiry), 0) for expiry in (1.0, 2.0))
    assert old.channel == new.channel
    assert old.secret != new.secret


def test_each_end_has_its_own_secret_and_each_pair_its_own_channel() -> None:
    grant = grants.seal(KEY, ONE, TWO, 1.0)
    first, second = grants.for_end(KEY, grant, 0), grants.for_end(KEY, grant, 1)
    assert first.channel == second.channel
    assert first.secret != second.secret
    assert grants.for_end(KEY, grants.seal(KEY, ONE, THREE, 1.0), 0).channel != first.channel


def test_keys_of_different_relays_follow_from_one_secret_and_differ() -> None:
    secret = grants.secret_from(KEY)
    assert grants.pool_key(secret, ONE) == grants.pool_key(grants.secret_from(KEY), ONE)
    assert len({grants.pool_key(secret, ONE), grants.pool_key(secret, TWO), secret, KEY}) == 4
