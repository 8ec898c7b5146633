"""What a recording makes of units: interfaces, paths, reasons, what is cut, counted and lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from bridges.capture_filter import Predicate
from bridges.capture_recording import SECOND, Recording
from tests.bridges.seeing import BEN, CARL, OWN, PEERS, STRANGER, datagram, seen
from tests.wire.examples import ALICE6, BOB6, PAIRS, super_segment
from userlan.driver.lan import PeerInfo
from userlan.driver.pcapng import Blocks, Counts, Recorded
from userlan.driver.watch import Seen, Watch
from userlan.wire import etherip, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.superpacket import parse

OFFSET = 1_700_000_000 * SECOND


class Read:
    """A recording, and what a reader has of it."""

    def __init__(self, chooses: Predicate | None = None, snaplen: int = 65_535, count: int | None = None) -> None:
        self.peers = list(PEERS)
        self.recording = Recording(OWN, lambda: self.peers, OFFSET, chooses, snaplen, count)
        self.blocks = Blocks()
        self.read(self.recording.begin("test"))

    def read(self, data: bytes) -> list[Recorded]:
        return list(self.blocks.packets_of(self.blocks.feed(data)))

    def take(self, one: Seen, room: bool = True) -> list[Recorded]:
        return self.read(self.recording.take(one, room))

    def end(self) -> Counts:
        self.read(self.recording.end(9.0))
        assert self.blocks.ended
        return self.blocks.counts


def test_each_peer_has_an_interface_and_so_has_what_went_to_nobody() -> None:
    read = Read()
    found = [read.take(seen(datagram(), way, key, reason))[0] for way, key, reason in (
        ("out", BEN, None), ("in", CARL, "source-forged"), ("out", b"", "no-route"), ("out", STRANGER, None),
    )]
    assert [(one.interface, one.direction, one.comments) for one in found] == [
        ("ben", "out", ()), ("carl", "in", ("dropped: source-forged",)), ("anna", "out", ("dropped: no-route",)), ("mediator", "out", ()),
    ]
    assert {one.time for one in found} == {OFFSET + 5 * SECOND}


def test_this_node_is_called_as_its_network_calls_it() -> None:
    begun = Recording(attrs.evolve(OWN, given="anna-2"), list, OFFSET).begin("test")
    assert begun.count(b"anna-2\0") == 3, "the interface's name, and those of both addresses"
    assert b"anna\0" not in begun


def test_a_path_is_told_at_first_and_when_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "direct udp 192.0.2.1:1"
    monkeypatch.setattr(Watch, "path", lambda self, key: path)
    read = Read()
    said = [read.take(seen(datagram()))[0].comments for _ in range(2)]
    path = "relay near (203.0.113.1:1)"
    said += [one.comments for one in read.take(seen(super_segment(bytes(3_000), 1_000), "in", BEN, "tcp-port-closed"))]
    assert said == [
        ("path: direct udp 192.0.2.1:1",), (),
        ("dropped: tcp-port-closed", "path: relay near (203.0.113.1:1)"), ("dropped: tcp-port-closed",), ("dropped: tcp-port-closed",),
    ]


def test_a_unit_is_written_as_the_packets_that_it_stands_for() -> None:
    found = Read().take(seen(super_segment(bytes(range(250)) * 10, 1_000)))
    assert [one.length for one in found] == [52 + 1_000, 52 + 1_000, 52 + 500]
    assert all(transport_ok(parse(one.octets)) for one in found)
    assert [parse(one.octets).header[4:8] for one in found] == [bytes(2) + b"\x40\0"] * 3


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_every_checksum_right_and_the_frame_in_a_packet(tmp_path: Path) -> None:
    """RFC 3378: a frame that travels between two TAPs."""
    recording = Recording(OWN, lambda: PEERS, OFFSET)
    frame = etherip.build(bytes.fromhex("ffffffffffff 020000000001 8137") + bytes(46), ALICE6, BOB6)
    units = [super_segment(bytes(range(256)) * 20, 1_000, addresses) for addresses in PAIRS]
    units += [udp.build(udp.Datagram(5, 6, bytes(range(256)) * 20, segment_size=999), *addresses) for addresses in PAIRS]
    begin = recording.begin("test")
    taken = [recording.take(seen(unit)) for unit in (*units, frame)]
    file = tmp_path / "a.pcapng"
    file.write_bytes(b"".join((begin, *taken, recording.end(9.0))))
    validated = [word for protocol in ("ip", "tcp", "udp") for word in ("-o", f"{protocol}.check_checksum:TRUE")]
    fields = ("frame.protocols", "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "eth.src")
    columns = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(file), *validated, "-T", "fields", "-E", "separator=|", *columns]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert [line for line in done.stderr.splitlines() if "as user" not in line] == []
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert len(rows) == 4 * 6 + 1
    assert all({tuple(row[1:4]) for row in rows[start : start + 6]} == {statuses} for start, statuses in (
        (0, ("1", "1", "")), (6, ("", "1", "")), (12, ("1", "", "1")), (18, ("", "", "1")),
    ))
    assert rows[-1][0].startswith("raw:ipv6:etherip:eth")
    assert rows[-1][4] == "02:00:00:00:00:01"


def test_packets_are_cut_to_the_snapshot_length() -> None:
    """Their length is told all the same (draft-ietf-opsawg-pcapng 4.3)."""
    found = Read(snaplen=64).take(seen(super_segment(bytes(2_500), 1_000)))
    assert [(len(one.octets), one.length) for one in found] == [(64, 1_052), (64, 1_052), (64, 552)]


def test_the_filter_is_asked_before_a_packet_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "wire", None)
    read = Read(lambda one: one.key == CARL)
    assert read.take(seen(super_segment(bytes(2_500), 1_000))) == []
    assert read.end() == Counts(received=3, accepted=0, lost=0)


def test_it_is_complete_with_as_many_packets_as_were_wanted() -> None:
    read = Read(count=2)
    assert not read.recording.complete
    assert len(read.take(seen(super_segment(bytes(2_500), 1_000)))) == 2
    assert read.recording.complete
    assert read.take(seen(datagram())) == []
    assert read.end() == Counts(received=4, accepted=2, lost=0)


def test_what_there_is_no_room_for_is_counted_and_told_by_the_next_packet() -> None:
    read = Read()
    assert read.take(seen(super_segment(bytes(2_500), 1_000)), room=False) == []
    assert read.take(seen(datagram(), key=CARL), room=False) == []
    data = read.recording.take(seen(datagram()))
    assert b"\x04\x00\x08\x00" + (3).to_bytes(8, "little") in data, "epb_dropcount, of the same interface"
    assert len(read.read(data)) == 1
    assert b"\x04\x00\x08\x00" not in read.recording.take(seen(datagram()))
    assert read.end() == Counts(received=6, accepted=6, lost=4)


def test_members_that_come_and_are_renamed_have_new_interfaces() -> None:
    read = Read()
    dora = PeerInfo("dora", PEERS[0].key.replace("A", "B"), "25.0.0.4", "fd75:6c61:6e00::d", "127.0.0.4", ("home",))
    read.peers = [attrs.evolve(PEERS[0], name="benny"), PEERS[1], dora]
    read.recording.members_changed()
    data = read.recording.take(seen(datagram()))
    assert b"benny\0" in data, "a name for its addresses"
    assert b"dora\0" in data
    assert b"carl\0" not in data
    assert [one.interface for one in read.read(data)] == ["benny"]
    read.recording.members_changed()
    assert read.take(seen(datagram(), key=CARL))[0].interface == "carl"
    read.end()


def test_a_member_is_known_before_the_change_is_told() -> None:
    read = Read()
    read.peers = []
    gone = Recording(OWN, lambda: read.peers, OFFSET)
    read.read(gone.begin("test"))
    read.peers = list(PEERS)
    assert b"ben\0" in gone.take(seen(datagram()))


def test_whoever_takes_new_names_all_the_time_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.capture_recording.MAX_INTERFACES", 10)
    read = Read()
    for number in range(100):
        read.peers = [attrs.evolve(PEERS[0], name=f"ben-{number}"), PEERS[1]]
        read.recording.members_changed()
    data = read.recording.take(seen(datagram()))
    assert data.count(b"a member of home") <= 10
    assert read.read(data)[0].interface.startswith("ben")
