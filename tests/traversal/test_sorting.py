"""Coalesced buffers are split where the kind changes, and nothing is lost or moved."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.kinds import OBSERVE_REPLY, OBSERVE_REQUEST, PROBE, RELAY_DATA
from userlan.traversal.sorting import KINDS, SMALL, TUNNEL, kind_of, parts

DATA = b"\x04\0\0\0"
heads = st.sampled_from([DATA, OBSERVE_REPLY, OBSERVE_REQUEST, PROBE, RELAY_DATA])


@given(st.lists(heads, min_size=1, max_size=20), st.integers(4, SMALL), st.integers(4, SMALL))
def test_runs_of_small_datagrams_are_sorted_one_by_one(kinds: list[bytes], segment: int, last: int) -> None:
    sizes = [segment] * (len(kinds) - 1) + [min(last, segment)]
    datagrams = [head.ljust(size, b".") for head, size in zip(kinds, sizes, strict=True)]
    found = list(parts(b"".join(datagrams), segment))
    split = [
        (part.kind, bytes(part.data[at : at + part.segment])) for part in found for at in range(0, len(part.data), part.segment)
    ]
    assert split == [(kind_of(datagram), datagram) for datagram in datagrams]
    assert all(one.kind != two.kind for one, two in itertools.pairwise(found))


def test_a_large_run_with_a_short_end_of_another_kind() -> None:
    buffer = DATA.ljust(1400, b".") * 3 + OBSERVE_REPLY.ljust(56, b".")
    assert [(part.kind, len(part.data), part.segment) for part in parts(buffer, 1400)] == [(TUNNEL, 4200, 1400), (OBSERVE_REPLY, 56, 56)]


def test_a_bulk_run_is_handed_on_as_it_is() -> None:
    buffer = bytearray(DATA.ljust(1400, b".") * 40)
    (part,) = parts(buffer, 1400)
    assert part.data is buffer
    assert part.kind == TUNNEL


def test_rubbish_is_the_tunnels() -> None:
    assert kind_of(b"") == kind_of(b"\x20\0\0") == kind_of(b"\x20\0\0\1xxxx") == TUNNEL
    assert OBSERVE_REQUEST in KINDS
