"""Art-Net (Art-Net 4): ArtPollReply names the node's address twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import artnet
from tests.bridges.rewrite.table import Table, outward

OURS, THEIRS = bytes((192, 168, 77, 1)), bytes((25, 4, 5, 6))
POLL = b"Art-Net\0" + bytes.fromhex("0020 000e 02 00")


def reply(address: bytes, root: bytes) -> bytes:
    """Up to BindIp, as the specification lays it out."""
    names = b"desk".ljust(18, b"\0") + b"A desk".ljust(64, b"\0") + b"#0001 [0001] ok".ljust(64, b"\0")
    head = b"Art-Net\0" + bytes.fromhex("0021") + address + (6454).to_bytes(2, "little") + bytes(10) + names
    return head + bytes(29) + b"\x02\0\0\0\0\x01" + root + bytes(28)


def test_both_addresses_are_rewritten() -> None:
    assert artnet.rewrite(reply(OURS, OURS), outward()) == reply(THEIRS, THEIRS)
    assert artnet.rewrite(reply(OURS, bytes(4)), outward()) == reply(THEIRS, bytes(4))
    short = reply(OURS, OURS)[:207]
    assert artnet.rewrite(short, outward()) == short.replace(OURS, THEIRS)


def test_other_packets_go_through() -> None:
    assert artnet.rewrite(POLL, Table({})) == POLL


@pytest.mark.parametrize("packet", [b"", b"Art-Net", POLL[:9], b"Art-Nut\0" + POLL[8:], POLL + bytes(2000)])
def test_what_is_no_artnet_is_dropped(packet: bytes) -> None:
    assert artnet.rewrite(packet, outward()) is None


def test_a_node_without_an_address_there_is_dropped() -> None:
    assert artnet.rewrite(reply(OURS, OURS), Table({})) is None
    assert artnet.rewrite(reply(OURS, bytes((10, 0, 0, 1))), outward()) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes) -> None:
    rewritten = artnet.rewrite(b"Art-Net\0\x00\x21" + tail, outward())
    assert rewritten is None or len(rewritten) == len(tail) + 10
