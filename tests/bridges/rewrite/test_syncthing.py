"""Announcements of Syncthing (local discovery 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import MAX_PLACES, syncthing
from tests.bridges.rewrite.table import Table, outward

DEVICE = bytes(range(32))


def announcement(*addresses: bytes) -> bytes:
    """As the protocol buffer is defined: field 1 the device, 2 each address, 3 a varint that is always new."""
    fields = [b"\x0a\x20" + DEVICE]
    fields += [
        b"\x12" + (bytes((len(one),)) if len(one) < 128 else bytes((len(one) & 127 | 128, len(one) >> 7))) + one for one in addresses
    ]
    return bytes.fromhex("2ea7d90b") + b"".join(fields) + b"\x18\x92\xc2\xff\x8a\x81\xbb\xa8\xe4\x71"


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        (b"tcp://0.0.0.0:22000", b"tcp://0.0.0.0:1"),
        (b"quic://0.0.0.0:22000", b"quic://0.0.0.0:1"),
        (b"tcp://:22000", b"tcp://:1"),
        (b"tcp://[::]:22000", b"tcp://[::]:1"),
        (b"tcp4://192.168.77.1:22000", b"tcp4://25.4.5.6:1"),
        (b"tcp6://[fd00::77:1]:22000/?x=1", b"tcp6://[fd75::456]:1/?x=1"),
        (b"quic://192.168.77.1:22000", b"quic://25.4.5.6:1"),
        (
            b"relay://203.0.113.5:443/?id=ABC&pingInterval=1m0s" + b"x" * 100,
            b"relay://203.0.113.5:443/?id=ABC&pingInterval=1m0s" + b"x" * 100,
        ),
        (b"tcp://nas.example:22000", b"tcp://nas.example:22000"),
        (b"dynamic", b"dynamic"),
    ],
)
def test_syncthing_addresses(written: bytes, rewritten: bytes) -> None:
    assert syncthing.rewrite(announcement(written), outward({22000: 1})) == announcement(rewritten)


def test_syncthing_addresses_that_lead_nowhere_are_left_out() -> None:
    packet = announcement(b"tcp://10.9.8.7:22000", b"tcp://192.168.77.1:22000", b"tcp://[fe80::1%25eth0]:22000")
    assert syncthing.rewrite(packet, outward()) == announcement(b"tcp://25.4.5.6:22000")


def test_syncthing_asks_for_the_right_protocol_and_few_places() -> None:
    table = outward()
    syncthing.rewrite(announcement(b"tcp://:22000", b"quic://:22000"), table)
    assert table.asked == [("", 22000, "tcp"), ("", 22000, "udp")]
    table = outward()
    packet = announcement(*(b"tcp://:%d" % port for port in range(1, 100)))
    assert syncthing.rewrite(packet, table) is not None
    assert len(table.asked) == MAX_PLACES


def test_an_ipv6_address_that_becomes_an_ipv4_one() -> None:
    packet = announcement(b"tcp6://[fd75::456]:22000")
    assert syncthing.rewrite(packet, Table({"fd75::456": "127.4.5.6"})) == announcement(b"tcp://127.4.5.6:22000")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x7d\x79\xbc\x40",
        announcement(b"tcp://:22000")[:-3],
        announcement() + b"\x12\x7f",
        announcement() + b"\x0b",
        announcement() + b"\x18" + b"\xff" * 11,
        announcement(*[b"x" * 100] * 100),
    ],
)
def test_what_is_no_syncthing_announcement_is_dropped(packet: bytes) -> None:
    assert syncthing.rewrite(packet, outward()) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes) -> None:
    for start in (b"", bytes.fromhex("2ea7d90b"), announcement(b"tcp://:1")):
        rewritten = syncthing.rewrite(start + tail, outward())
        assert rewritten is None or isinstance(rewritten, bytes)
