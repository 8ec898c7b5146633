"""Fragments: put together in any order, refused when they overlap, bounded, given up in time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.packets import NOW, answers, echo_packet, host, message, own, packed, peer, udp_packet
from userlan.stack import reassembly
from userlan.stack.reassembly import Reassembler
from userlan.wire import icmp, icmpv6, ipv4, ipv6
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def piece(version: int, offset: int, payload: bytes, more: bool, identification: int = 9, last: int = 2) -> SuperPacket:
    """One fragment by hand, of a UDP packet from ``10.0.0.last`` or ``fd00::last``."""
    if version == 4:
        word = (ipv4.MORE_FRAGMENTS if more else 0) | offset // 8
        source, destination = bytes((10, 0, 0, last)), packed(own(4))
        header = ipv4.build_header(source, destination, 17, len(payload), identification=identification, fragment=word)
        return SuperPacket(ipv4.with_checksum(header), payload)
    source = bytes.fromhex("fd00") + bytes(13) + bytes((last,))
    extension = bytes((17, 0)) + (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
    return SuperPacket(ipv6.build_header(source, packed(own(6)), 44, len(payload) + 8) + extension, payload)


def pieces(version: int, size: int, mtu: int, identification: int = 9) -> tuple[SuperPacket, list[SuperPacket]]:
    """A UDP packet with ``size`` octets, and its fragments."""
    whole = udp_packet(peer(version), own(version), 1, 2, bytes(index % 251 for index in range(size)))
    return whole, fragment(whole, mtu, identification)


@given(st.data())
@settings(max_examples=60)
def test_any_order_with_copies_gives_the_packet(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([4, 6]))
    whole, parts = pieces(version, data.draw(st.integers(1300, 9000)), data.draw(st.integers(576, 1280)))
    order = data.draw(st.permutations(parts))
    copies = data.draw(st.lists(st.sampled_from(order[:-1]), max_size=4))
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    before: list[SuperPacket] = []
    for copy in copies:
        before += [packet for packet in order[: order.index(copy) + 1] if packet not in before] + [copy]
    results = [machine.add(packet, NOW) for packet in before + [packet for packet in order if packet not in before]]
    found = [packet for packet in results if packet is not None]
    assert len(found) == 1
    assert found[0].header[-8:] == whole.header[-8:]
    assert bytes(found[0].payload) == bytes(whole.payload)
    assert (len(machine), machine.bytes) == (0, 0)


@given(
    st.sampled_from([4, 6]),
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 40), st.booleans(), st.integers(0, 3), st.integers(2, 4)),
        max_size=40,
    ),
)
def test_whatever_comes_nothing_is_lost_count_of(version: int, parts: list[tuple[int, int, bool, int, int]]) -> None:
    """Arbitrary fragments, overlapping or not: what is given out is consistent, and the books balance in the end."""
    machine = Reassembler(Counter())
    for step, (offset, length, more, identification, last) in enumerate(parts):
        payload = bytes((step,)) * (length // 8 * 8 + 8 if more else length)
        try:
            whole = machine.add(piece(version, offset * 8, payload, more, identification, last), NOW + step)
        except ValueError:
            continue
        assert whole is None or not whole.fragment
        assert 0 <= machine.bytes <= reassembly.MAX_BYTES
    deadline = machine.deadline()
    assert (deadline is None) == (len(machine) == 0)
    machine.tick(NOW + 1000)
    assert (len(machine), machine.bytes, machine.deadline()) == (0, 0, None)


@VERSIONS
@pytest.mark.parametrize(
    ("offset", "payload", "more"),
    [
        (8, b"B" * 16, True),       # into the second piece
        (0, b"B" * 16, True),       # over the first, with other octets
        (16, b"B" * 8, True),       # inside the second
        (0, b"B" * 48, True),       # over everything
        (32, b"B" * 4, False),      # an end before what is there
    ],
)
def test_an_overlap_refuses_the_whole_packet_and_what_comes_later(
    version: int, offset: int, payload: bytes, more: bool
) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    assert machine.add(piece(version, 0, b"A" * 16, True), NOW) is None
    assert machine.add(piece(version, 16, b"A" * 24, True), NOW) is None
    assert machine.add(piece(version, offset, payload, more), NOW) is None
    assert counters["fragment-overlap"] == 1
    assert machine.add(piece(version, 40, b"A" * 8, False), NOW) is None
    assert counters["fragment-refused"] == 1
    assert machine.bytes == reassembly.PIECE_OVERHEAD
    assert machine.tick(NOW + 60) == []


@VERSIONS
def test_two_different_ends_are_an_overlap(version: int) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    machine.add(piece(version, 16, b"A" * 8, False), NOW)
    machine.add(piece(version, 24, b"A" * 8, False), NOW)
    assert counters["fragment-overlap"] == 1


@VERSIONS
def test_an_end_before_what_is_there_is_an_overlap(version: int) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    machine.add(piece(version, 32, b"A" * 8, True), NOW)
    machine.add(piece(version, 8, b"A" * 8, False), NOW)
    assert counters["fragment-overlap"] == 1


@VERSIONS
def test_an_error_in_fragments_is_not_answered_by_an_error(version: int) -> None:
    target = host()
    kind = 3 if version == 4 else 1
    build = (
        icmp.build(icmp.Other(kind, 3, bytes(3000)), packed(peer(4)), packed(own(4)))
        if version == 4
        else icmpv6.build(icmpv6.Other(kind, 4, bytes(3000)), packed(peer(6)), packed(own(6)))
    )
    answers(target, fragment(build, 1280, 5)[:1])
    target.tick(NOW + 60)
    assert target.packets(NOW + 60) == []
    assert target.counters["reassembly-timeout"] == 1


@VERSIONS
def test_the_time_runs_from_the_first_part_and_is_answered_once(version: int) -> None:
    target = host()
    timeout = reassembly.TIMEOUT_IPV4 if version == 4 else reassembly.TIMEOUT_IPV6
    _, parts = pieces(version, 3000, 1280)
    assert answers(target, parts[0], NOW) == []
    assert answers(target, parts[1], NOW + timeout - 1) == []
    assert target.deadline() == NOW + timeout
    target.tick(NOW + timeout)
    (sent,) = target.packets(NOW + timeout)
    found = message(sent)
    assert isinstance(found, icmp.TimeExceeded | icmpv6.TimeExceeded)
    assert found.code == 1
    assert bytes(found.quoted)[-100:] in bytes(parts[0].payload)
    assert target.counters["reassembly-timeout"] == 1
    assert answers(target, parts[2], NOW + timeout) == []
    assert target.deadline() == NOW + 2 * timeout


@VERSIONS
def test_without_the_first_fragment_nothing_is_said(version: int) -> None:
    target = host()
    _, parts = pieces(version, 3000, 1280)
    answers(target, parts[1:], NOW)
    target.tick(NOW + 100)
    assert target.packets(NOW + 100) == []
    assert target.counters["reassembly-timeout"] == 1


@VERSIONS
def test_one_source_cannot_take_the_share_of_others(version: int) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    machine.add(piece(version, 0, b"A" * 8, True, last=3), NOW)
    for identification in range(2000):
        machine.add(piece(version, 0, b"A" * 1024, True, identification), NOW)
    assert machine.bytes <= reassembly.MAX_BYTES_A_SOURCE + 2 * reassembly.PIECE_OVERHEAD + 8
    assert len(machine) <= reassembly.MAX_PACKETS_A_SOURCE + 1
    assert counters["reassembly-source-full"] > 1900
    whole = machine.add(piece(version, 8, b"\0\1\0\2\0\x18\0\0", False, last=3), NOW)
    assert whole is None
    assert counters["udp-length"] + counters["udp-truncated"] == 1, "it was complete, and no UDP"


@VERSIONS
def test_many_sources_stay_within_the_memory(version: int) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    for last in range(2, 250):
        for identification in range(16):
            machine.add(piece(version, 0, b"A" * 4096, True, identification, last), NOW)
            assert machine.bytes <= reassembly.MAX_BYTES
    assert counters["reassembly-full"] > 1000


@VERSIONS
def test_tiny_fragments_are_counted_for_what_they_cost(version: int) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    for index in range(1000):
        machine.add(piece(version, index * 16, b"A" * 8, True), NOW)
    assert counters["fragment-pieces"] == 1
    assert machine.bytes == reassembly.PIECE_OVERHEAD


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [(0, 0, 0), (1, 2, None), (2, 3, 3), (3, 3, 3), (0, 3, "dropped"), (3, 0, "dropped")],
)
def test_congestion_marks_are_combined(first: int, second: int, result: int | str | None) -> None:
    counters: Counter[str] = Counter()
    machine = Reassembler(counters)
    _, parts = pieces(4, 1500, 1280)
    marked = []
    for part, mark in zip(parts, (first, second), strict=True):
        header = bytearray(part.header)
        header[1] = mark
        marked.append(SuperPacket(ipv4.with_checksum(bytes(header)), part.payload))
    machine.add(marked[0], NOW)
    whole = machine.add(marked[1], NOW)
    if result == "dropped":
        assert whole is None
        assert counters["fragment-ecn"] == 1
    else:
        assert whole is not None
        assert result is None or whole.traffic_class & 3 == result


def test_an_atomic_fragment_waits_for_nobody() -> None:
    """RFC 6946: it is processed by itself, even beside a reassembly of the same key."""
    target = host()
    echo = echo_packet(peer(6), own(6), b"hello")
    _, parts = pieces(6, 3000, 1280, identification=5)
    answers(target, parts[0])
    extension = bytes((58, 0, 0, 0)) + (5).to_bytes(4, "big")
    header = bytearray(echo.header + extension)
    header[4:6] = (len(extension) + len(echo.payload)).to_bytes(2, "big")
    header[6] = 44
    (reply,) = answers(target, SuperPacket(bytes(header), echo.payload))
    found = message(reply)
    assert isinstance(found, icmpv6.Echo)
    assert bytes(found.payload) == b"hello"


def test_an_unaligned_first_fragment_is_a_parameter_problem() -> None:
    target = host()
    (sent,) = answers(target, piece(6, 0, b"A" * 20, True))
    found = message(sent)
    assert isinstance(found, icmpv6.ParameterProblem)
    assert (found.code, found.pointer) == (0, 4)
    assert target.counters["fragment-unaligned"] == 1
    assert answers(target, piece(6, 64, b"A" * 20, True)) == []


@VERSIONS
def test_a_large_ping_is_reassembled_and_answered_in_fragments(version: int) -> None:
    target = host()
    request = echo_packet(peer(version), own(version), bytes(4000))
    replies = answers(target, fragment(request, 1280, 77))
    assert len(replies) > 1
    assert all(reply.length <= 1420 and reply.fragment for reply in replies)
    machine = Reassembler(Counter())
    (whole,) = [packet for packet in (machine.add(reply, NOW) for reply in replies) if packet is not None]
    found = message(whole)
    assert isinstance(found, icmp.Echo | icmpv6.Echo)
    assert bytes(found.payload) == bytes(4000)
    assert not found.request
