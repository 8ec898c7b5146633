"""Real kernels between two members: the connection for bulk comes and goes, UDP dies, a path shrinks; every download stays whole."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import BEN, Site
from tests.lab.network import Lab, Namespace, until
from tests.lab.test_acceptance import serve
from tests.lab.userlan_process import Mediator, Member

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

SIZE = 600 << 20
RATE = "40M"
"""Bytes a second that curl takes: 335 Mbit/s, well above what makes a node look for a way for bulk."""
PATIENCE = 150
"""Seconds for each step: how fast the download is, and how long the round trip by which a way for bulk is looked for, is up to
this machine."""


class Download:
    """curl through ben's proxy, in the background."""

    def __init__(self, site: Site, digest: str, rate: str = RATE) -> None:
        self.digest = digest
        self.target = site.folder / "download"
        self.target.unlink(missing_ok=True)
        self.log = site.folder / "curl.log"
        address = ("--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file")
        with self.log.open("wb") as log:
            command = ("curl", "-sS", "--fail", "--limit-rate", rate, "-o", str(self.target), *address)
            self.process = site.ben_space.start(*command, stderr=log)

    @property
    def size(self) -> int:
        return self.target.stat().st_size if self.target.exists() else 0

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def more(self, octets: int, patience: float) -> None:
        """Until so much more has arrived."""
        wanted = self.size + octets
        until(lambda: self.size >= wanted or self.ended, patience, f"{octets} more bytes, at {self.size}")

    def finish(self, patience: float = 400) -> None:
        """To the end: complete and unharmed."""
        assert self.process.wait(patience) == 0, self.log.read_text()
        with self.target.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == self.digest


def begin(site: Site) -> Download:
    """A download that has found its way for bulk, and has half of its time before it. It is looked for where the round trip is short:
    a computer with much else to do may need another download until it is."""
    site.join()
    digest, give_up = serve(site, SIZE), time.monotonic() + PATIENCE
    while True:
        download = Download(site, digest)
        until(lambda download=download: found(site) or download.ended, PATIENCE, "a way for bulk, or the end", 0.2)
        if found(site) and not download.ended and download.size < SIZE / 2:
            return download
        download.finish()
        assert time.monotonic() < give_up, "there is no way for bulk"


def found(site: Site) -> bool:
    """Whether both have a way for bulk."""
    return bool(bulk(site.anna, "ben") and bulk(site.ben, "anna"))


def bulk(member: Member, other: str) -> str | None:
    peer = member.peer(other)
    assert peer is not None
    found: str | None = peer["bulk"]
    return found


def connections(space: Namespace) -> list[str]:
    """Established TCP connections of the outer network to the other member's port."""
    lines = space.run("ss", "-Htn", "state", "established").stdout.splitlines()
    return [line for line in lines if f"{BEN}:41414" in line]


def test_bulk_takes_a_connection_beside_udp(site: Site) -> None:
    if shutil.which("ss") is None:
        pytest.skip("the program ss is missing")
    download = begin(site)
    until(lambda: bulk(site.anna, "ben") == f"{BEN}:41414", PATIENCE, "anna's way for bulk is the connection to where ben is", 0.2)
    (line,) = connections(site.anna_space)
    before = octets_of(site.anna_space)

    def taken() -> bool:
        """It rests for some seconds when the computer lets it stand still, and the download goes on by UDP meanwhile."""
        assert not download.ended, f"the download does not take the connection {line}"
        return octets_of(site.anna_space) - before > 40 << 20

    until(taken, PATIENCE, f"the download takes the connection {line}", 0.2)
    peers = [member.status()["peers"][0] for member in (site.anna, site.ben)]
    assert [(peer["state"], peer["path"]) for peer in peers] == [("direct", "lan"), ("direct", "lan")]
    download.finish()


def octets_of(space: Namespace) -> int:
    """Octets that the kernel sent and had acknowledged on connections to the other member's port."""
    text = space.run("ss", "-Htni", "state", "established", "dst", BEN, "dport", "=", ":41414").stdout
    return sum(int(word.partition(":")[2]) for word in text.split() if word.startswith("bytes_acked:"))


@pytest.mark.parametrize("end", ["reject with tcp reset", "drop"])
def test_a_connection_that_is_killed_in_mid_download_harms_nothing(site: Site, end: str) -> None:
    """By a reset, which both kernels see, and by silence, which they would bear for a quarter of an hour."""
    download = begin(site)
    site.anna_space.nft(f"table inet f {{\n chain o {{\n type filter hook output priority 0\n tcp dport 41414 {end}\n }}\n }}\n")
    site.ben_space.nft("table inet f {\n chain o {\n type filter hook output priority 0\n tcp sport 41414 drop\n }\n }\n")
    download.more(20 << 20, PATIENCE)
    until(lambda: bulk(site.anna, "ben") is None, PATIENCE, "the dead way is left", 0.2)
    download.finish()
    peer = site.anna.peer("ben")
    assert peer is not None
    assert (peer["state"], peer["path"]) == ("direct", "lan")


def test_udp_that_dies_in_mid_download_is_replaced_by_the_connection(site: Site) -> None:
    download = begin(site)
    rules = "".join(f" chain {hook} {{\n type filter hook {hook} priority 0\n meta l4proto udp drop\n }}\n" for hook in ("input", "output"))
    site.anna_space.nft(f"table inet f {{\n{rules} }}\n")
    until(lambda: (site.ben.peer("anna") or {}).get("path") == "tcp", PATIENCE, "ben's way to anna is the connection", 0.5)
    download.more(20 << 20, PATIENCE)
    download.finish()
    assert (site.anna.peer("ben") or {}).get("path") == "tcp"
    site.anna_space.run("nft", "delete", "table", "inet", "f")
    until(lambda: (site.ben.peer("anna") or {}).get("path") == "lan", PATIENCE, "UDP again", 1.0)


class Routed:
    """anna ─1500─ first ─narrow─ second ─1500─ ben, with the mediator on the first router. No ICMP error leaves a router."""

    def __init__(self, lab: Lab, folder: Path, version: int) -> None:
        self.one, self.first, self.second, self.two = (lab.namespace(name) for name in ("anna", "first", "second", "ben"))
        self.version = version
        net, length = ("10.98.{}.{}", 24) if version == 4 else ("2a00:98:{}::{}", 64)
        for number, (left, right) in enumerate(((self.one, self.first), (self.first, self.second), (self.second, self.two)), 1):
            ends = lab.wire(left, right)
            for last, (space, interface) in enumerate(zip((left, right), ends, strict=True), 1):
                extra = ("nodad",) if version == 6 else ()
                space.ip("addr", "add", f"{net.format(number, last)}/{length}", "dev", interface, *extra)
            if number == 2:
                self.narrow = ((left, ends[0]), (right, ends[1]))
        family = f"-{version}"
        for space, gateway in ((self.one, net.format(1, 2)), (self.two, net.format(3, 1))):
            space.ip(family, "route", "add", "default", "via", gateway)
        far, near = (("10.98.3.0/24", "10.98.1.0/24") if version == 4 else ("2a00:98:3::/64", "2a00:98:1::/64"))
        self.first.ip(family, "route", "add", far, "via", net.format(2, 2))
        self.second.ip(family, "route", "add", near, "via", net.format(2, 1))
        forward = "net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding"
        for space in (self.first, self.second):
            space.run("sh", "-c", f"echo 1 > /proc/sys/{forward}")
            space.nft("table inet f {\n chain o {\n type filter hook output priority 0\n"
                      " icmp type destination-unreachable drop\n icmpv6 type packet-too-big drop\n }\n }\n")
        host = net.format(1, 2) if version == 4 else f"[{net.format(1, 2)}]"
        mediator = Mediator(self.first, folder / "mediator", f"{host}:41414")
        config = "tunnel:\n  bulk_over_tcp: false\n"
        anna, ben = (Member(space, folder / name, name, config) for space, name in ((self.one, "anna"), (self.two, "ben")))
        self.site = Site(lab, folder, self.first, self.one, self.two, mediator, anna, ben)

    def shrink(self, mtu: int) -> None:
        """The line between the routers carries packets of so many octets from now on."""
        for space, interface in self.narrow:
            space.ip("link", "set", interface, "mtu", str(mtu))

    def fragments(self) -> int:
        """IPv4 fragments that ben's kernel was asked to put together."""
        rows = [line.split()[1:] for line in self.two.run("cat", "/proc/net/snmp").stdout.splitlines() if line.startswith("Ip:")]
        return int(dict(zip(*rows, strict=True))["ReasmReqds"])


@pytest.fixture(params=[4, 6])
def routed(request: Any, lab: Lab, tmp_path: Path) -> Routed:
    """Two members with two routers between them."""
    return Routed(lab, tmp_path, request.param)


def test_a_path_that_shrinks_in_mid_download_is_survived(routed: Routed) -> None:
    """RFC 8899, RFC 2923 2.1: 1300 octets, less than the base needs, and no word from any router. Over IPv6 nothing that is larger
    arrives; over IPv4 the routers fragment, until the tunnel has found what needs no fragments."""
    site = routed.site
    site.join()
    download = Download(site, serve(site, 60 << 20), "4M")
    download.more(8 << 20, PATIENCE)
    routed.shrink(1300)
    download.more(3 << 20, PATIENCE)
    if routed.version == 4:
        assert routed.fragments() > 100

        def few() -> bool:
            before = routed.fragments()
            download.more(4 << 20, PATIENCE)
            return routed.fragments() - before < 200

        until(few, PATIENCE, "packets are not fragmented any more")
    download.finish()
    assert (site.ben.peer("anna") or {}).get("state") == "direct"
