"""Port mapping with a real ``miniupnpd``: by PCP, NAT-PMP and UPnP, UDP and TCP, from the Internet's side; renewed, and given back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab.network import Lab, Namespace, end, until
from tests.lab.userlan_process import Mediator, Member, wait_for_line

pytestmark = [
    pytest.mark.lab,
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("miniupnpd") is None, reason="the program miniupnpd is missing"),
]

WAN, OUTSIDE, GATEWAY, CLIENT, NEIGHBOUR = "5.5.5.1", "5.5.5.9", "192.168.7.1", "192.168.7.20", "192.168.7.21"
"""The outer addresses are none of a reserved range: miniupnpd does not map to those."""
PORT = 41414
PATIENCE = 60
"""Seconds in which what is to come has come: many processes share the computer."""
SILENCE = 2
"""Seconds without an answer that count as a refusal, where the answer is not to come, or is asked for again."""

NAT = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan0" accept
    jump miniupnpd
  }
  chain miniupnpd { }
}
table inet nat {
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname "wan0" masquerade; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
"""The chains that the daemon fills: its own script makes such ones."""

CONFIG = """
ext_ifname=wan0
listening_ip=lan0
http_port=5000
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
system_uptime=no
uuid=00000000-1111-2222-3333-444444444444
min_lifetime=120
max_lifetime=86400
lease_file={folder}/leases
upnp_table_name=filter
upnp_nat_table_name=nat
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 192.168.7.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


@attrs.define
class Site:
    """A computer behind a home router that maps ports, and one on the Internet."""

    folder: Path
    client: Namespace
    router: Namespace
    outside: Namespace
    daemon: subprocess.Popen[bytes] | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "client.log"

    def start_router(self) -> None:
        config = self.folder / "miniupnpd.conf"
        config.write_text(CONFIG.format(folder=self.folder))
        with (self.folder / "miniupnpd.log").open("ab") as log:
            self.daemon = self.router.start("miniupnpd", "-d", "-f", str(config), "-P", str(self.folder / "pid"), stdout=log, stderr=log)
        until(lambda: ":5351" in self.router.run("ss", "-Hlnu").stdout, 60, "miniupnpd listens")

    def start_client(self, *methods: str, host: str = CLIENT) -> None:
        with self.log.open("wb") as log:
            self.process = self.client.start(
                sys.executable, "-m", "tests.lab.mapping_client", host, str(PORT), *methods, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def mapped(self, method: str, patience: float = PATIENCE) -> dict[str, tuple[str, int]]:
        """The external host and port of each transport, once the client has them by ``method``."""
        assert self.process is not None
        line = wait_for_line(self.log, f"mapped {method} udp", self.process, patience=patience)
        ends = {}
        for one in line.split()[2:]:
            transport, _, end = one.partition("=")
            host, _, port = end.rpartition(":")
            ends[transport] = (host.strip("[]"), int(port))
        return ends

    def stop_client(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        wait_for_line(self.log, "stopped", self.process)

    def reaches(self, udp: tuple[str, int], tcp: tuple[str, int], patience: int = PATIENCE) -> bool:
        """Whether the outside reaches the client at both, within so many seconds each."""
        words = (udp[0], str(udp[1]), str(tcp[1]), str(patience))
        asked = self.outside.run(sys.executable, "-c", ASK, *words, timeout=60 + 2 * patience)
        return asked.stdout == "ping behind the router\n"

    def rules(self) -> str:
        return self.router.run("nft", "list", "ruleset").stdout


ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    patience = int(sys.argv[4])
    udp.settimeout(patience)
    udp.sendto(b"ping", (sys.argv[1], int(sys.argv[2])))
    try:
        print(udp.recv(100).decode(), end=" ")
        with socket.create_connection((sys.argv[1], int(sys.argv[3])), patience) as tcp:
            print(tcp.makefile().read(), end="")
    except OSError as error:
        print(error)
"""


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Any:
    client, router, outside = (lab.namespace(name) for name in ("client", "router", "outside"))
    lab.wire(client, router, "eth0", "lan0")
    lab.wire(router, outside, "wan0", "eth0")
    client.ip("addr", "add", f"{CLIENT}/24", "dev", "eth0")
    router.ip("addr", "add", f"{GATEWAY}/24", "dev", "lan0")
    router.ip("addr", "add", f"{WAN}/24", "dev", "wan0")
    outside.ip("addr", "add", f"{OUTSIDE}/24", "dev", "eth0")
    client.ip("route", "add", "default", "via", GATEWAY)
    router.ip("route", "add", "default", "via", OUTSIDE)
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    router.nft(NAT)
    made = Site(tmp_path, client, router, outside)
    made.start_router()
    yield made
    if made.process is not None and made.process.stdin is not None:
        made.process.stdin.close()


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_each_protocol_lets_the_outside_in(site: Site, method: str) -> None:
    assert not site.reaches((WAN, PORT), (WAN, PORT), SILENCE)
    site.start_client(method)
    ends = site.mapped(method)
    assert ends == {"udp": (WAN, PORT), "tcp": (WAN, PORT)}
    assert site.reaches(ends["udp"], ends["tcp"])
    site.stop_client()
    until(lambda: str(PORT) not in site.rules(), 60, "what was mapped is given back")


def test_pcp_is_preferred_and_a_restarted_router_is_asked_again(site: Site) -> None:
    """RFC 6887 8.5 and 14.1.3: the epoch begins anew, and the router says so. A server's clock may stray by two seconds and a sixteenth:
    one that restarts sooner than that after its first answer cannot be told from one that has not."""
    site.start_client()
    ends = site.mapped("pcp")
    time.sleep(4)
    assert site.daemon is not None
    end(site.daemon)
    site.router.run("nft", "flush", "ruleset")
    site.router.nft(NAT)
    (site.folder / "leases").unlink(missing_ok=True)
    assert not site.reaches(ends["udp"], ends["tcp"], SILENCE)
    site.start_router()
    until(lambda: site.reaches(ends["udp"], ends["tcp"], SILENCE), PATIENCE, "the mappings are there again", 0.5)


def test_a_firewall_of_ipv6_is_opened_by_pcp(site: Site) -> None:
    """RFC 6887 2.1: nothing is translated, and who asks is let in at his own address. The router is known by its link-local address."""
    own = "2a01:7::20"
    site.client.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
    site.client.ip("addr", "add", f"{own}/64", "dev", "eth0", "nodad")
    assert site.daemon is not None
    end(site.daemon)
    site.router.ip("addr", "add", "2a01:7::1/64", "dev", "lan0", "nodad")
    site.router.ip("addr", "add", "fe80::1/64", "dev", "lan0", "nodad")
    site.router.ip("addr", "add", "2a01:8::1/64", "dev", "wan0", "nodad")
    site.client.ip("route", "add", "default", "via", "fe80::1", "dev", "eth0")
    site.start_router()
    assert f"dport {PORT}" not in site.rules()
    site.start_client("pcp", host=own)
    assert site.mapped("pcp") == {"udp": (own, PORT), "tcp": (own, PORT)}
    assert site.rules().count(f"dport {PORT}") == 2, "the firewall lets both in"
    site.stop_client()
    until(lambda: f"dport {PORT}" not in site.rules(), 60, "and no more")


TAKE = """
import socket, sys
from userlan.traversal.port_mapping.nat_pmp import map_request
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(60)
    asking.bind((sys.argv[1], 0))
    asking.sendto(map_request("udp", 41414, 41414, 3600), (sys.argv[2], 5351))
    print(asking.recv(100)[3])
"""


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_another_port_where_the_one_wanted_is_a_neighbours(site: Site, method: str) -> None:
    site.client.ip("addr", "add", f"{NEIGHBOUR}/24", "dev", "eth0")
    assert site.client.run(sys.executable, "-c", TAKE, NEIGHBOUR, GATEWAY).stdout == "0\n"
    site.start_client(method)
    ends = site.mapped(method)
    assert ends["udp"][1] != PORT
    assert ends["tcp"][1] in (PORT, ends["udp"][1])
    assert site.reaches(ends["udp"], ends["tcp"])


def test_a_node_asks_its_router_by_itself(site: Site) -> None:
    """``userlan up`` with no configuration; the neighbours' word is the router's, and it gets the port back at the end."""
    mediator = Mediator(site.outside, site.folder / "mediator", f"{OUTSIDE}:41414")
    member = Member(site.client, site.folder / "anna", "anna")
    member.up("--mediator", mediator.url)
    until(lambda: f"udp {WAN}:41414, tcp {WAN}:41414, by pcp" in member.log.read_text(), 2 * PATIENCE, "the node says what the router gave")
    member.stop()
    until(lambda: str(PORT) not in site.rules(), 60, "what was mapped is given back")
    assert "Traceback" not in member.log.read_text()
