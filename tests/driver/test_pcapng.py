"""Blocks of pcapng (draft-ietf-opsawg-pcapng), read by scapy, by tshark and by our own reader."""

from __future__ import annotations

import contextlib
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from userlan.driver import pcapng
from userlan.driver.pcapng import Blocks, Cast, Counts, FormatError, Recorded, Way

TIME = 1_700_000_000_123_456_789
"""Nanoseconds since 1970."""
PING = bytes.fromhex("4500001c00010000400172dd7f0000017f0000010800f7fd00010001")
"""An IPv4 echo request from 127.0.0.1 to itself."""

ways: st.SearchStrategy[Way] = st.sampled_from(("in", "out"))
casts: st.SearchStrategy[Cast] = st.sampled_from(("unicast", "multicast", "broadcast"))
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
packets = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2**63), st.binary(max_size=90), ways, casts, st.lists(words, max_size=3)))
Written = list[tuple[int, int, bytes, Way, Cast, list[str]]]


def written(some: Written) -> bytes:
    """A whole section with two interfaces."""
    blocks = [pcapng.section_header("userlan 1", "of a test"), pcapng.interface("anna", "this node"), pcapng.interface("ben")]
    for number, time, octets, way, cast, comments in some:
        blocks.append(pcapng.packet(number, time, octets, len(octets) + 7, pcapng.packet_options(way, cast, comments)))
    return b"".join((*blocks, pcapng.statistics(0, TIME, Counts(9, 7, 2)), pcapng.statistics(1, TIME, Counts(1, 1, 0))))


@given(packets)
def test_scapy_reads_what_was_written(some: Written) -> None:
    reader = RawPcapNgReader(io.BytesIO(written(some)))  # type: ignore[arg-type]  # an open file serves, too
    for number, time, octets, way, _, comments in some:
        data, told = reader._read_packet()
        assert data == octets
        assert (told.linktype, told.tsresol, told.tshigh << 32 | told.tslow) == (pcapng.LINKTYPE_RAW, 10**9, time)
        assert (told.wirelen, told.ifname) == (len(octets) + 7, (b"anna", b"ben")[number])
        assert told.direction == {"in": 1, "out": 2}[way]
        assert [one.decode() for one in told.comments or []] == comments
    with pytest.raises(EOFError):
        reader._read_packet()


@given(packets, st.lists(st.integers(1, 400)))
def test_our_reader_reads_the_same_in_whatever_pieces(some: Written, cuts: list[int]) -> None:
    data = written(some)
    found: list[Recorded] = []
    blocks, whole, place = Blocks(), b"", 0
    for size in (*cuts, len(data)):
        piece = blocks.feed(data[place : place + size])
        found += blocks.packets_of(piece)
        whole += piece
        place += size
    assert whole == data
    assert (blocks.packets, blocks.ended, blocks.counts) == (len(some), True, Counts(10, 8, 2))
    assert [(one.interface, one.time, one.octets, one.direction, list(one.comments)) for one in found] == [
        (("anna", "ben")[number], time, octets, way, comments) for number, time, octets, way, _, comments in some
    ]
    assert all(one.length == len(one.octets) + 7 for one in found)


def test_what_is_not_whole_is_kept_back() -> None:
    data = written([(0, TIME, PING, "in", "unicast", [])])
    blocks = Blocks()
    given = blocks.feed(data[:-1])
    assert data.startswith(given)
    assert (blocks.packets, blocks.ended) == (1, True)
    assert given + blocks.feed(data[-1:]) == data
    assert blocks.counts == Counts(10, 8, 2)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.tuples(packets, st.integers(0, 500), st.binary(max_size=4)).map(lambda some: damaged(*some)))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    blocks = Blocks()
    with contextlib.suppress(FormatError):
        assert all(len(one.octets) <= len(data) for one in blocks.packets_of(blocks.feed(data)))


def damaged(some: Written, place: int, octets: bytes) -> bytes:
    data = written(some)
    return data[:place] + octets + data[place + len(octets) :]


@pytest.mark.parametrize("length", [0, 8, 13, pcapng.MAX_BLOCK + 4])
def test_lengths_that_no_block_has_are_refused(length: int) -> None:
    """3.1: at least 12 octets, and a multiple of 4."""
    with pytest.raises(FormatError, match=f"{length} octets"):
        Blocks().feed(struct.pack("<III", 6, length, 0))


def test_an_option_is_cut_to_what_its_length_can_say() -> None:
    """3.5: 16 bits."""
    options = pcapng.packet_options("in", "unicast", ["x" * 70_000])
    data = pcapng.section_header("a") + pcapng.interface("i") + pcapng.packet(0, 0, b"", 0, options)
    blocks = Blocks()
    assert len(next(blocks.packets_of(blocks.feed(data))).comments[0]) == 65_535


def test_no_names_are_no_block() -> None:
    assert pcapng.names(()) == b""


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.interop
def test_tshark_reads_it_without_a_complaint(tmp_path: Path) -> None:
    members = [(bytes((127, 0, 0, 1)), "ben"), (bytes(15) + b"\1", "ben")]
    blocks = (
        pcapng.section_header("userlan 1", "all of it"),
        pcapng.interface("anna", "this node", [bytes((25, 0, 0, 1)), bytes(15) + b"\2"], 100),
        pcapng.interface("ben", "a member"),
        pcapng.names(members),
        pcapng.packet(1, TIME, PING, len(PING), pcapng.packet_options("out", "broadcast", ["dropped: scope", "path: relay near"], 3)),
        pcapng.packet(0, TIME + 1, PING[:20], len(PING), pcapng.packet_options("in", "unicast")),
        pcapng.statistics(1, TIME, Counts(1, 1, 0)),
    )
    file = tmp_path / "a.pcapng"
    file.write_bytes(b"".join(blocks))
    fields = [f"frame.{name}" for name in ("interface_name", "time_epoch", "packet_flags", "comment", "cap_len", "len")]
    columns = [word for field in (*fields, "ip.src_host") for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(file), "-N", "nN", "-T", "fields", "-E", "separator=|", *columns], capture_output=True, text=True, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "as user" not in line] == []
    assert done.stdout.splitlines() == [
        "ben|1700000000.123456789|0x0000000e|dropped: scope,path: relay near|28|28|ben",
        "anna|1700000000.123456790|0x00000005||20|28|ben",
    ]
