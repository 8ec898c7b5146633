"""``userlan capture`` between real nodes, read by tshark: a ping, a broadcast, what is dropped and why, and live text."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.conftest import Site
from tests.lab.network import until
from tests.lab.userlan_process import USERLAN, Member, wait_for_line

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
        assert self.process.wait(20) == 0, self.told.read_text()
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


def test_a_capture_read_by_tshark(site: Site, tmp_path: Path) -> None:
    site.join()
    file = tmp_path / "lan.pcapng"
    capture = Capture(site.anna, tmp_path, "-w", str(file))
    site.anna.run("ping", "-c", "2", "ben")
    say(site.anna, "25.255.255.255")
    say(site.anna, "239.9.9.9")
    say(site.anna, site.ben.status()["self"]["ipv4"], 7001)
    until(lambda: file.stat().st_size > 1000, 20, "the file grows while it is captured")
    summary = capture.end()
    own, theirs = (member.status()["self"]["ipv4"] for member in (site.anna, site.ben))
    assert rows(file, f"({BAD}) and not icmp.type == 3", "frame.number", "frame.protocols") == [], "but what errors quote, as it was sent"
    pings = rows(file, "icmp.type == 8 or icmp.type == 0", "frame.interface_name", "frame.packet_flags_direction", "ip.src", "ip.dst")
    assert ("ben", "0x00000002", own, theirs) in pings
    assert ("ben", "0x00000001", theirs, own) in pings
    broadcasts = rows(file, "udp.dstport == 7000 and ip.dst == 25.255.255.255", "frame.interface_name", "frame.packet_flags_reception_type")
    assert broadcasts == [("ben", "0x00000003")] * 3
    unheard = rows(file, "ip.dst == 239.9.9.9", "frame.interface_name", "frame.comment")
    assert unheard == [("anna", "dropped: nobody-hears")] * 3
    paths = [row[0] for row in rows(file, "frame.comment contains \"path:\"", "frame.comment")]
    assert any("path: direct udp 10.99.0.3:41414" in path for path in paths)
    assert rows(file, "frame.interface_name == \"mediator\"", "frame.interface_id") != []
    assert any(name == ["ben"] for name in (line.split()[1:2] for line in tshark(file, "-q", "-z", "hosts"))), "the names of members"
    assert "captured in" in summary
    assert "lost" not in summary
    print(summary)


def test_what_comes_in_and_is_refused_is_told_where_it_is_refused(site: Site, tmp_path: Path) -> None:
    site.join()
    file = tmp_path / "lan.pcapng"
    capture = Capture(site.ben, tmp_path, "-w", str(file), "-c", "3", "dropped", "and", "port", "7001", "and", "peer", "anna")
    theirs = site.ben.status()["self"]["ipv4"]
    until(lambda: say(site.anna, theirs, 7001) or capture.process.poll() is not None, 30, "three packets, after which it ends", 0.2)
    assert capture.process.wait(20) == 0
    assert set(rows(file, "udp", "frame.interface_name", "udp.dstport", "frame.comment")) <= {
        ("anna", "7001", "dropped: udp-port-closed"), ("anna", "7001", rows(file, "udp", "frame.comment")[0][0]),
    }
    assert len(tshark(file)) == 3
    assert capture.told.read_text().splitlines()[-1].startswith("3 packets captured")


def test_live_text(site: Site, tmp_path: Path) -> None:
    site.join()
    capture = Capture(site.anna, tmp_path, "icmp", "and", "peer", "ben", "or", "dropped", "and", "multicast")
    site.anna.run("ping", "-c", "1", "ben")
    say(site.anna, "239.9.9.9")
    own, theirs = (member.status()["self"]["ipv4"] for member in (site.anna, site.ben))
    wanted = (
        ("ben >", f"IP / ICMP {own} > {theirs} echo-request"), ("ben <", f"IP / ICMP {theirs} > {own} echo-reply"),
        ("anna >", "> 239.9.9.9:7000", "[dropped: nobody-hears]"),
    )

    def all_shown() -> bool:
        lines = capture.output.read_text().splitlines()
        return all(any(all(word in line for word in words) for line in lines) for words in wanted)

    until(all_shown, 20, "the lines")
    assert "\x1b" not in capture.output.read_text(), "colours are for terminals"
    print(capture.output.read_text())
    assert "captured in" in capture.end()


def test_the_node_goes_away_and_the_file_stays_whole(site: Site, tmp_path: Path) -> None:
    site.join()
    file = tmp_path / "lan.pcapng"
    capture = Capture(site.anna, tmp_path, "-w", str(file))
    site.anna.run("ping", "-c", "1", "ben")
    time.sleep(0.2)
    site.anna.kill()
    assert capture.process.wait(20) == 1
    assert "the node went away" in capture.told.read_text()
    assert len(rows(file, "icmp", "ip.src")) >= 2
