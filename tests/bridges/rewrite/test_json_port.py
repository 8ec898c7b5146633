"""Announcements in JSON: LocalSend (protocol 2), Luanti and Freeminer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import json_port
from tests.bridges.rewrite.table import Table, inward, outward

LOCALSEND = {
    "alias": "Nice Orange",
    "version": "2.0",
    "deviceModel": None,
    "deviceType": "desktop",
    "fingerprint": "random string",
    "port": 53317,
    "protocol": "https",
    "download": True,
    "announce": True,
}


def test_localsend_names_the_port_that_is_reached() -> None:
    rewritten = json_port.localsend(json.dumps(LOCALSEND).encode(), inward({53317: 40000}))
    assert rewritten is not None
    assert json.loads(rewritten) == {**LOCALSEND, "port": 40000}
    assert json_port.localsend(json.dumps(LOCALSEND).encode(), Table({})) is None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 5000,
        b'{"fingerprint":"x","port":' + b"1" * 5000 + b"}",
        b'{"fingerprint": 1' + b"0" * 400 + b"}",
        b'{"fingerprint":"x","port":0}',
        b"\xff",
    ],
)
def test_what_is_no_localsend_announcement_is_dropped(packet: bytes) -> None:
    assert json_port.localsend(packet, outward()) is None


LUANTI = {"name": "A server", "version": "5.11", "port": 30000, "clients": 1, "clients_max": 15, "pvp": True}


def test_luanti_names_the_port_of_the_game() -> None:
    table = outward({30000: 30001})
    rewritten = json_port.luanti(json.dumps(LUANTI).encode() + b"\n", table)
    assert rewritten is not None
    assert json.loads(rewritten) == {**LUANTI, "port": 30001}
    assert table.asked == [("", 30000, "udp")]
    assert json_port.luanti(json.dumps(LUANTI).encode(), Table({})) is None


def test_luanti_searches_go_through() -> None:
    assert json_port.luanti(b'{"cmd":"ask"}\n', Table({})) == b'{"cmd":"ask"}'


@given(st.binary(max_size=60))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes) -> None:
    for start in (b"", b'{"fingerprint":"x","port":', b'{"port":1,"x":"'):
        for rewrite in (json_port.localsend, json_port.luanti):
            rewritten = rewrite(start + tail, outward())
            assert rewritten is None or isinstance(rewritten, bytes)
