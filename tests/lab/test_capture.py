"""``userlan capture`` between real nodes, read by tshark: a ping, a broadcast, what is dropped and why, and live text."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.conftest import ANNA, BEN, MEDIATOR, Site
from tests.lab.network import Lab, unavailable, until
from tests.lab.userlan_process import USERLAN, Mediator, Member, wait_for_line

pytestmark = [pytest.mark.lab, pytest.mark.interop, pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")]

SAY = """
import socket, struct, sys
host, port, proxy = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
control = socket.create_connection(("127.0.0.1", proxy))
control.sendall(b"\\5\\1\\0")
assert control.recv(2) == b"\\5\\0"
control.sendall(b"\\5\\3\\0\\1" + bytes(6))
reply = control.recv(10)
relay = (socket.inet_ntoa(reply[4:8]), struct.unpack("!H", reply[8:10])[0])
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3):
    speaker.sendto(bytes(3) + b"\\1" + socket.inet_aton(host) + struct.pack("!H", port) + b"hello", relay)
speaker.settimeout(0.3)
try:
    speaker.recv(10)
except TimeoutError:
    pass
"""
"""Three datagrams by the proxy's SOCKS UDP ASSOCIATE (RFC 1928 7)."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Anna and ben, who see each other."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("capture")
    with Lab(folder) as lab:
        hub, one, two = (lab.namespace(name) for name in ("mediator", "anna", "ben"))
        lab.switch("switch", [(hub, f"{MEDIATOR}/24"), (one, f"{ANNA}/24"), (two, f"{BEN}/24")])
        mediator = Mediator(hub, folder / "mediator", f"{MEDIATOR}:41414")
        anna, ben = Member(one, folder / "anna", "anna"), Member(two, folder / "ben", "ben")
        site = Site(lab, folder, hub, one, two, mediator, anna, ben)
        site.join()
        yield site


class Capture:
    """``userlan capture`` as a process."""

    def __init__(self, member: Member, folder: Path, *arguments: str) -> None:
        self.output, self.told = folder / "capture.out", folder / "capture.told"
        with self.output.open("wb") as output, self.told.open("wb") as told:
            command = (*USERLAN, "--state", str(member.folder), "capture", *arguments)
            self.process = member.namespace.start(*command, stdout=output, stderr=told)
        wait_for_line(self.told, "capturing", self.process)

    def end(self) -> str:
        """Ctrl-C; the summary."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.told.read_text()
        return self.told.read_text().splitlines()[-1]


def say(member: Member, group: str, port: int = 7000) -> None:
    proxy = member.status()["bridges"]["proxy"].rsplit(":", 1)[1]
    member.namespace.run(sys.executable, "-c", SAY, group, str(port), proxy)


def tshark(capture: Path, *arguments: str) -> list[str]:
    """Lines; nothing may be complained of."""
    done = subprocess.run(["tshark", "-r", str(capture), *arguments], capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if line and "as user \"root\"" not in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
    return done.stdout.splitlines()


def rows(capture: Path, chosen: str, *fields: str) -> list[tuple[str, ...]]:
    """The fields of the packets that a display filter chooses, checksums validated."""
    options = [word for protocol in ("ip", "tcp", "udp") for word in ("-o", f"{protocol}.check_checksum:TRUE")]
    columns = [word for field in fields for word in ("-e", field)]
    return [tuple(line.split("|")) for line in tshark(capture, *options, "-Y", chosen, "-T", "fields", "-E", "separator=|", *columns)]


BAD = "ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0 or icmp.checksum.status == 0 or _ws.malformed"


def test_a_capture_read_by_tshark(pair: Site, tmp_path: Path) -> None:
    file = tmp_path / "lan.pcapng"
    capture = Capture(pair.anna, tmp_path, "-w", str(file))
    pair.anna.run("ping", "-c", "2", "ben")
    say(pair.anna, "25.255.255.255")
    say(pair.anna, "239.9.9.9")
    say(pair.anna, pair.ben.status()["self"]["ipv4"], 7001)
    until(lambda: file.read_bytes().count(b"hello") >= 9, 60, "the file grows while it is captured")
    until(lambda: b"a mediator of this node" in file.read_bytes(), 60, "the mediator was asked for a sign of life")
    summary = capture.end()
    own, theirs = (member.status()["self"]["ipv4"] for member in (pair.anna, pair.ben))
    assert rows(file, f"({BAD}) and not icmp.type == 3", "frame.number", "frame.protocols") == [], "but what errors quote, as it was sent"
    pings = rows(file, "icmp.type == 8 or icmp.type == 0", "frame.interface_name", "frame.packet_flags_direction", "ip.src", "ip.dst")
    assert {(name, int(way, 0), *ends) for name, way, *ends in pings} == {("ben", 2, own, theirs), ("ben", 1, theirs, own)}
    broadcasts = rows(file, "udp.dstport == 7000 and ip.dst == 25.255.255.255", "frame.interface_name", "frame.packet_flags_reception_type")
    assert [(name, int(kind, 0)) for name, kind in broadcasts] == [("ben", 3)] * 3
    unheard = rows(file, "ip.dst == 239.9.9.9", "frame.interface_name", "frame.comment")
    assert unheard == [("anna", "dropped: nobody-hears")] * 3
    paths = [row[0] for row in rows(file, "frame.comment contains \"path:\"", "frame.comment")]
    assert any("path: direct udp 10.99.0.3:41414" in path for path in paths)
    assert rows(file, "frame.interface_name == \"mediator\"", "frame.interface_id") != []
    assert any(name == ["ben"] for name in (line.split()[1:2] for line in tshark(file, "-q", "-z", "hosts"))), "the names of members"
    assert "captured in" in summary
    assert "lost" not in summary
    print(summary)


def test_what_comes_in_and_is_refused_is_told_where_it_is_refused(pair: Site, tmp_path: Path) -> None:
    file = tmp_path / "lan.pcapng"
    capture = Capture(pair.ben, tmp_path, "-w", str(file), "-c", "3", "dropped", "and", "port", "7001", "and", "peer", "anna")
    theirs = pair.ben.status()["self"]["ipv4"]

    def said() -> bool:
        say(pair.anna, theirs, 7001)
        return capture.process.poll() is not None

    until(said, 60, "three packets, after which it ends", 0.2)
    assert capture.process.wait(60) == 0
    told = rows(file, "udp", "frame.interface_name", "udp.dstport", "frame.comment")
    assert [(name, port, comment.split(",")[0]) for name, port, comment in told] == [("anna", "7001", "dropped: udp-port-closed")] * 3
    assert capture.told.read_text().splitlines()[-1].startswith("3 packets captured")


def test_a_pipe_into_tshark(pair: Site, tmp_path: Path) -> None:
    command = " ".join((*USERLAN, "--state", str(pair.anna.folder), "capture -w - -c 2 icmp and ip and peer ben"))
    with (tmp_path / "shown").open("wb") as shown, (tmp_path / "told").open("wb") as told:
        piped = pair.anna.namespace.start("sh", "-c", f"{command} | tshark -l -n -r -", stdout=shown, stderr=told)
    wait_for_line(tmp_path / "told", "capturing", piped)
    pair.anna.run("ping", "-c", "1", "ben")
    assert piped.wait(60) == 0
    lines = (tmp_path / "shown").read_text().splitlines()
    assert ["(ping) reply" in line for line in lines] == [False, True]


def test_a_reader_that_goes_away_ends_it(pair: Site, tmp_path: Path) -> None:
    command = " ".join((*USERLAN, "--state", str(pair.anna.folder), "capture -w -"))
    with (tmp_path / "told").open("wb") as told:
        piped = pair.anna.namespace.start("sh", "-c", f"{command} | head -c 400 >/dev/null", stdout=told, stderr=told)
    wait_for_line(tmp_path / "told", "capturing", piped)

    def ended() -> bool:
        pair.anna.run("ping", "-c", "1", "ben")
        return piped.poll() is not None

    until(ended, 60, "the end of both", 0.2)
    until(lambda: pair.anna.status()["bridges"]["capture"] is None, 60, "the node has let go")
    assert (tmp_path / "told").read_text().splitlines() == ["capturing: Ctrl-C ends"]


def test_live_text(pair: Site, tmp_path: Path) -> None:
    capture = Capture(pair.anna, tmp_path, "icmp", "and", "peer", "ben", "or", "dropped", "and", "multicast")
    pair.anna.run("ping", "-c", "1", "ben")
    say(pair.anna, "239.9.9.9")
    own, theirs = (member.status()["self"]["ipv4"] for member in (pair.anna, pair.ben))
    wanted = (
        ("ben >", f"IP / ICMP {own} > {theirs} echo-request"), ("ben <", f"IP / ICMP {theirs} > {own} echo-reply"),
        ("anna >", "> 239.9.9.9:7000", "[dropped: nobody-hears]"),
    )

    def all_shown() -> bool:
        lines = capture.output.read_text().splitlines()
        return all(any(all(word in line for word in words) for line in lines) for words in wanted)

    until(all_shown, 60, "the lines")
    assert "\x1b" not in capture.output.read_text(), "colours are for terminals"
    print(capture.output.read_text())
    assert "captured in" in capture.end()


def test_the_node_goes_away_and_the_file_stays_whole(site: Site, tmp_path: Path) -> None:
    site.join()
    file = tmp_path / "lan.pcapng"
    capture = Capture(site.anna, tmp_path, "-w", str(file))
    site.anna.run("ping", "-c", "1", "ben")
    own, theirs = (socket.inet_aton(member.status()["self"]["ipv4"]) for member in (site.anna, site.ben))
    until(lambda: all(ends in file.read_bytes() for ends in (own + theirs, theirs + own)), 60, "the ping is in the file")
    site.anna.kill()
    assert capture.process.wait(60) == 1
    assert "the node went away" in capture.told.read_text()
    assert len(rows(file, "icmp", "ip.src")) >= 2
