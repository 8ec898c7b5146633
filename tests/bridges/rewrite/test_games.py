"""Packets of games, laid out as the sources named in ``bridges/profiles.yaml`` write them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.rewrite import Translation, games
from tests.bridges.rewrite.table import Table, inward, outward

Rewrite = Callable[[bytes, Translation], bytes | None]

MINECRAFT = "[MOTD]§aSteve - World[/MOTD][AD]54321[/AD]".encode()


def warcraft(kind: int, body: bytes) -> bytes:
    return struct.pack("<BBH", 0xF7, kind, len(body) + 4) + body


GAMEINFO = warcraft(
    0x30,
    b"PX3W" + struct.pack("<III", 26, 1, 0x1234) + b"Local Game (bob)\0\0" + b"\x01\x03\x49\x07\x01\0"
    + struct.pack("<IIIII", 12, 9, 1, 11, 77) + struct.pack("<H", 6112),
)  # fmt: skip
SEARCHGAME = warcraft(0x2F, b"PX3W" + struct.pack("<II", 26, 0))
TERRARIA = struct.pack("<ii", 1010, 7777) + b"\x05World\x03nas" + struct.pack("<HBiBB", 4200, 0, 0, 8, 1)


def quake(command: int, body: bytes) -> bytes:
    return struct.pack(">HHB", 0x8000, len(body) + 5, command) + body


def stk(port: int) -> bytes:
    return struct.pack(">IB", 6, 4) + b"kart" + struct.pack(">BBHBBBB", 8, 2, port, 0, 3, 0, 0) + b"\x00"


@pytest.mark.parametrize(
    ("rewrite", "packet", "rewritten"),
    [
        (games.minecraft, MINECRAFT, MINECRAFT.replace(b"54321", b"9999")),
        (games.warcraft3, GAMEINFO, GAMEINFO[:-2] + struct.pack("<H", 9999)),
        (games.terraria, TERRARIA, TERRARIA[:4] + struct.pack("<i", 9999) + TERRARIA[8:]),
        (games.quake, quake(0x81, struct.pack("<i", 26001)), quake(0x81, struct.pack("<i", 9999))),
        (games.freeciv, b"\x02host.example\x005556\x003.1\0Pregame\x001\x000\0Hi\0", b"\x02none\x009999\x003.1\0Pregame\x001\x000\0Hi\0"),
        (games.supertuxkart, stk(2759), stk(9999)),
        (games.supertuxkart, struct.pack(">H", 2759), struct.pack(">H", 9999)),
        (games.unreal, b"ut 7778", b"ut 9999"),
        (games.unreal, b"unreal 7778\0", b"unreal 9999\0"),
    ],
)
def test_the_port_of_the_sender(rewrite: Rewrite, packet: bytes, rewritten: bytes) -> None:
    table = outward({54321: 9999, 6112: 9999, 7777: 9999, 26001: 9999, 5556: 9999, 2759: 9999, 7778: 9999})
    assert rewrite(packet, table) == rewritten
    assert [host for host, _, _ in table.asked] == [""]
    assert rewrite(packet, Table({})) is None


def test_protocols_of_the_ports() -> None:
    for rewrite, packet, protocol in (
        (games.minecraft, MINECRAFT, "tcp"),
        (games.warcraft3, GAMEINFO, "tcp"),
        (games.terraria, TERRARIA, "tcp"),
        (games.quake, quake(0x81, struct.pack("<i", 26001)), "udp"),
        (games.supertuxkart, stk(2759), "udp"),
    ):
        table = inward()
        assert rewrite(packet, table) == packet
        assert [asked for _, _, asked in table.asked] == [protocol]


@pytest.mark.parametrize(
    ("rewrite", "packet"),
    [
        (games.warcraft3, SEARCHGAME),
        (games.quake, quake(0x02, b"QUAKE\0\x03")),
        (games.quake, b"\xff\xff\xff\xffgetinfo xxx"),
        (games.freeciv, b"\x02"),
        (games.supertuxkart, b"\x0astk-server"),
        (games.unreal, b"REPORTQUERY"),
    ],
)
def test_searches_go_through(rewrite: Rewrite, packet: bytes) -> None:
    table = outward()
    assert rewrite(packet, table) == packet
    assert not table.asked


def test_hosts_with_ports() -> None:
    old = b"[MOTD]World[/MOTD][AD]192.168.77.1:54321[/AD]"
    assert games.minecraft(old, outward()) == b"[MOTD]World[/MOTD][AD]25.4.5.6:54321[/AD]"
    info = quake(0x83, b"192.168.77.1:26000\0nas\0e1m1\0\x01\x08\x03")
    assert games.quake(info, outward({26000: 1})) == quake(0x83, b"25.4.5.6:1\0nas\0e1m1\0\x01\x08\x03")
    assert games.quake(info, Table({})) is None


@pytest.mark.parametrize(
    ("rewrite", "packet"),
    [
        (games.minecraft, b""),
        (games.minecraft, b"[AD][/AD]"),
        (games.minecraft, b"[AD]99999[/AD]"),
        (games.minecraft, b"[AD]0[/AD]"),
        (games.minecraft, b"[AD]" + b"9" * 5000),
        (games.minecraft, b"[AD]" + b"9" * 200 + b"[/AD]"),
        (games.warcraft3, GAMEINFO[:-1]),
        (games.warcraft3, b"\xf7\x30"),
        (games.terraria, TERRARIA[:7]),
        (games.terraria, struct.pack("<ii", 1010, -1)),
        (games.terraria, struct.pack("<ii", 1011, 7777)),
        (games.quake, quake(0x83, b"no end")),
        (games.quake, quake(0x83, b"no port\0")),
        (games.quake, quake(0x02, b"QUAKE\0\x03")[:-1]),
        (games.freeciv, b""),
        (games.freeciv, b"\x09"),
        (games.freeciv, b"\x02host\0port\0x\0"),
        (games.freeciv, b"\x02host"),
        (games.supertuxkart, b""),
        (games.supertuxkart, stk(2759)[:11]),
        (games.supertuxkart, b"\0\0"),
        (games.unreal, b"ut 0"),
        (games.unreal, b"x" * 5000),
    ],
)
def test_what_makes_no_sense_is_dropped(rewrite: Rewrite, packet: bytes) -> None:
    assert rewrite(packet, outward()) is None


@given(st.binary(max_size=64), st.sampled_from([b"", b"[AD]", b"\xf7\x30", TERRARIA[:4], b"\x80\0\0\x20\x83", b"\x02", stk(1)[:5]]))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes, start: bytes) -> None:
    for rewrite in (games.minecraft, games.warcraft3, games.terraria, games.quake, games.freeciv, games.supertuxkart, games.unreal):
        rewritten = rewrite(start + tail, outward())
        assert rewritten is None or isinstance(rewritten, bytes)
