"""NetBIOS packets (RFC 1002), as nmbd 4.17 and nmblookup sent them, with scapy as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.netbios import NBNSHeader, NBNSRegistrationRequest, NBTDatagram

from bridges.rewrite import netbios
from tests.bridges.rewrite.table import Table, outward

REGISTRATION = bytes.fromhex(
    "039c2910000100000000000120454f4542464443414341434143414341434143414341434143414341434143410000200001"
    "c00c002000010000000000060000c0a84d01"
)
RESPONSE = bytes.fromhex(
    "29158580000000010000000020454f45424644434143414341434143414341434143414341434143414341414100002000010003f48000060000c0a84d01"
)
QUERY = bytes.fromhex("03a20110000100000000000020454d45424543434143414341434143414341434143414341434143414341424e0000200001")
STATUS = bytes.fromhex(
    "392c8400000000010000000020434b4141414141414141414141414141414141414141414141414141414141410000210001000000000089"
    "054e41532020202020202020202020200004004e41532020202020202020202020200304004e415320202020202020202020202020040"
    "04c41422020202020202020202020200084004c41422020202020202020202020201e8400"
) + bytes(46)
BROWSE = bytes.fromhex(
    "110a03a3c0a84d01008a00ac000020454f4542464443414341434143414341434143414341434143414341434141410020454d4542454343"
    "4143414341434143414341434143414341434143414341424f00ff534d422500000000000000000000000000000000000000000000000000"
    "0000000011000012000000000000000000000000000000000012005600030001000100020023005c4d41494c534c4f545c42524f57534500"
    "0801020f011470170000000000004e415300"
)
OURS, THEIRS = bytes((192, 168, 77, 1)), bytes((25, 4, 5, 6))


@pytest.mark.parametrize("packet", [REGISTRATION, RESPONSE, BROWSE])
def test_the_address_is_rewritten_and_nothing_else(packet: bytes) -> None:
    assert packet.count(OURS) == 1
    assert netbios.rewrite(packet, outward()) == packet.replace(OURS, THEIRS)


def test_scapy_reads_the_new_addresses() -> None:
    rewritten = netbios.rewrite(REGISTRATION, outward())
    assert rewritten is not None
    request = NBNSHeader(rewritten)[NBNSRegistrationRequest]
    assert request.NB_ADDRESS == "25.4.5.6"
    assert request.QUESTION_NAME.rstrip() == b"NAS"
    rewritten = netbios.rewrite(BROWSE, outward())
    assert rewritten is not None
    datagram = NBTDatagram(rewritten)
    assert (datagram.SourceIP, datagram.SourcePort, datagram.SourceName.rstrip()) == ("25.4.5.6", 138, b"NAS")


@pytest.mark.parametrize("packet", [QUERY, STATUS])
def test_packets_without_an_address_go_through(packet: bytes) -> None:
    assert netbios.rewrite(packet, Table({})) == packet


@pytest.mark.parametrize("packet", [REGISTRATION, RESPONSE, BROWSE])
def test_an_address_that_has_none_there_drops_the_packet(packet: bytes) -> None:
    assert netbios.rewrite(packet, Table({})) is None
    assert netbios.rewrite(packet, Table({"192.168.77.1": "fd75::1"})) is None


def test_of_several_addresses_those_without_one_there_are_left_out() -> None:
    """RFC 1002, section 4.2.13: a positive response with entries of a computer with two interfaces."""
    head = RESPONSE[:-8]
    two = head + (12).to_bytes(2, "big") + bytes((0, 0, 10, 0, 0, 1)) + bytes(2) + OURS
    assert netbios.rewrite(two, outward()) == head + (6).to_bytes(2, "big") + bytes(2) + THEIRS


def test_a_negative_response_stays() -> None:
    """RFC 1002, section 4.2.14: NULL record, no data."""
    packet = RESPONSE[:2] + bytes.fromhex("8583") + RESPONSE[4:-16] + bytes.fromhex("000a00010000000000 00")
    assert netbios.rewrite(packet, outward()) == packet


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(12),
        QUERY[:-1],
        RESPONSE[:-1],
        REGISTRATION + bytes(2000),
        QUERY[:12] + b"\xc0\x0c" + QUERY[46:],
        QUERY[:4] + b"\xff\xff" + QUERY[6:],
    ],
)
def test_what_is_malformed_is_dropped(packet: bytes) -> None:
    assert netbios.rewrite(packet, outward()) is None


@given(st.binary(max_size=200), st.sampled_from([b"", REGISTRATION[:12], RESPONSE[:12], BROWSE[:14], QUERY[:-4]]))
def test_any_bytes_are_rewritten_or_dropped(tail: bytes, start: bytes) -> None:
    rewritten = netbios.rewrite(start + tail, outward())
    assert rewritten is None or len(rewritten) <= len(start + tail)
