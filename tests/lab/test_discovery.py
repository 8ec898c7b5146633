"""Programs that know of nothing but broadcast and multicast find each other through userspace nodes, without privileges.

::

    anna 10.96.1.2 ── router (and mediator) ── ben 10.96.2.2        no broadcast passes the router
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab.network import Lab
from tests.lab.userlan_process import Mediator, Member, wait_for_line

pytestmark = pytest.mark.lab

PLAIN = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Root without anything that makes it root."""

PORT = 47_777

SERVER = """
import select, socket, sys
port = int(sys.argv[1])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", port))
tcp = socket.create_server(("", port))
print("ready", flush=True)
while True:
    for one in select.select([udp, tcp], [], [])[0]:
        if one is tcp:
            accepted, seen = tcp.accept()
            accepted.sendall(f"welcome {seen[0]}".encode())
            accepted.close()
        else:
            datagram, seen = udp.recvfrom(65536)
            print("heard", datagram.decode(), *seen, flush=True)
            udp.sendto({b"who?": b"here", b"move": b"moved"}[datagram], seen)
"""
"""A game's server: asked by broadcast, it answers who asked; joined at the same port by TCP, played by UDP."""

CLIENT = """
import json, socket, sys
port, told = int(sys.argv[1]), {"found": []}
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
asking.settimeout(1)
for _ in range(40):
    asking.sendto(b"who?", ("255.255.255.255", port))
    try:
        answer, server = asking.recvfrom(65536)
    except TimeoutError:
        continue
    told["found"] = [answer.decode(), *server]
    break
else:
    sys.exit("nobody answers")
with socket.create_connection(server, 60) as joined:
    told["joined"] = joined.recv(100).decode()
game = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
game.settimeout(60)
game.sendto(b"move", server)
told["played"] = [game.recv(100).decode()]
asking.sendto(b"move", server)
asking.settimeout(60)
while (answer := asking.recv(100).decode()) == told["found"][0]:
    continue        # to a question that was asked again before this came
told["played"].append(answer)
print(json.dumps(told))
"""
"""A game's client: its own search of the LAN, then what a player does."""

ANNOUNCER = """
import socket, sys, threading, time
tcp = socket.create_server(("", 0))
def serve():
    while True:
        accepted, seen = tcp.accept()
        accepted.sendall(f"welcome {seen[0]}".encode())
        accepted.close()
threading.Thread(target=serve, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
print("ready", flush=True)
while True:
    udp.sendto(f"[MOTD]A world[/MOTD][AD]{tcp.getsockname()[1]}[/AD]".encode(), ("224.0.2.60", 4445))
    time.sleep(0.5)
"""
"""A Minecraft world that is open to the LAN."""

LISTENER = """
import json, re, socket, struct
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
udp.bind(("", 4445))
udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton("224.0.2.60"), bytes(4)))
udp.settimeout(60)
announced, seen = udp.recvfrom(65536)
port = int(re.search(rb"\\[AD\\](\\d+)\\[/AD\\]", announced)[1])
with socket.create_connection((seen[0], port), 60) as joined:
    print(json.dumps({"announced": announced.decode(), "from": seen[0], "joined": joined.recv(100).decode()}))
"""
"""Its player's list of worlds."""

MEDIA_SERVER = """
import http.server, socket, struct, threading

udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
udp.setsockopt(socket.IPPROTO_IP, 8, 1)                                    # IP_PKTINFO
udp.bind(("", 1900))
index = socket.if_nametoindex("eth0")
udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton("239.255.255.250"), bytes(4), index))
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"<URLBase>http://OWN:8200/</URLBase><host>{self.headers['Host']}</host>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
threading.Thread(target=http.server.HTTPServer(("OWN", 8200), Pages).serve_forever, daemon=True).start()
print("ready", flush=True)
while True:
    datagram, control, _, seen = udp.recvmsg(65536, 256)
    arrived = next(struct.unpack("i", data[:4])[0] for level, kind, data in control if kind == 8)
    print("asked", seen[0], socket.if_indextoname(arrived), flush=True)
    if arrived == index:
        location = "http://OWN:8200/description.xml"
        udp.sendto(f"HTTP/1.1 200 OK\\r\\nST: upnp:rootdevice\\r\\nUSN: uuid:1\\r\\nLOCATION: {location}\\r\\n\\r\\n".encode(), seen)
"""
"""A media server that, as minidlna does, takes no question that did not come by its own interface."""

CONTROL_POINT = """
import json, re, socket, sys, urllib.request
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(1)
ask = "M-SEARCH * HTTP/1.1\\r\\nHOST: 239.255.255.250:1900\\r\\nMAN: \\"ssdp:discover\\"\\r\\nMX: 1\\r\\nST: upnp:rootdevice\\r\\n\\r\\n"
for _ in range(40):
    udp.sendto(ask.encode(), ("239.255.255.250", 1900))
    try:
        answer, seen = udp.recvfrom(65536)
        break
    except TimeoutError:
        continue
else:
    sys.exit("no device answers")
location = re.search(rb"LOCATION: (\\S+)", answer)[1].decode()
page = urllib.request.urlopen(location, timeout=60).read().decode()
print(json.dumps({"location": location, "page": page}))
"""


@attrs.define
class Two:
    """Two computers in one network, on two physical ones; the nodes have no privileges."""

    lab: Lab
    folder: Path
    anna: Member
    ben: Member

    def up(self, anna: str = "", ben: str = "") -> None:
        """Start, with what the sections of the configuration are to be."""
        router = self.lab.namespace("router")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, member in enumerate((self.anna, self.ben), 1):
            space = member.namespace
            self.lab.wire(router, space, f"v{number}", "eth0")
            router.ip("addr", "add", f"10.96.{number}.1/24", "dev", f"v{number}")
            space.ip("addr", "add", f"10.96.{number}.2/24", "dev", "eth0")
            space.ip("route", "add", "default", "via", f"10.96.{number}.1")
        mediator = Mediator(router, self.folder / "mediator", "10.96.1.1:41414")
        for member, config in ((self.anna, anna), (self.ben, ben)):
            member.config.write_text(f"name: {member.name}\nmediator: {mediator.url}\n{config}\n")
            with member.log.open("ab") as log:
                member.process = member.namespace.start(*PLAIN, *member._command("up"), stdout=log, stderr=log)
        for member in (self.anna, self.ben):
            member.ready()
        self.ben.run("join", self.anna.run("create", "home").stdout.split()[0])
        self.ben.wait_state("anna", "direct")
        self.anna.wait_state("ben", "direct")

    def alias(self, member: Member) -> str:
        """Under which others' programs see a member."""
        return "127." + str(member.status()["self"]["ipv4"]).partition(".")[2]

    def start(self, member: Member, program: str, *arguments: str) -> Path:
        """A program in the background, without privileges; waits until it is ready. Its output."""
        log = self.folder / f"program-{len(self.lab.processes)}.log"
        with log.open("wb") as file:
            process = member.namespace.start(*PLAIN, sys.executable, "-c", program, *arguments, stdout=file, stderr=file)
        wait_for_line(log, "ready", process)
        return log

    def run(self, member: Member, program: str, *arguments: str) -> dict[str, Any]:
        """A program to its end; what it tells."""
        told: dict[str, Any] = json.loads(member.namespace.run(*PLAIN, sys.executable, "-c", program, *arguments).stdout)
        return told

    def quiet(self) -> None:
        """Nothing went wrong in either node."""
        for member in (self.anna, self.ben):
            member.stop()
            told = member.log.read_text()
            assert "Traceback" not in told, told
            assert "Unhandled" not in told, told


@pytest.fixture
def two(lab: Lab, tmp_path: Path) -> Iterator[Two]:
    anna, ben = (Member(lab.namespace(name), tmp_path / name, name) for name in ("anna", "ben"))
    made = Two(lab, tmp_path, anna, ben)
    yield made
    made.quiet()


def by_hand(search: str) -> str:
    return f"discovery:\n  custom:\n    - {{port: {PORT}, name: game, role: query, search: {search}}}"


def test_a_server_is_found_by_broadcast_joined_and_played(two: Two) -> None:
    two.up(by_hand("yes"), by_hand("no"))
    log = two.start(two.ben, SERVER, str(PORT))
    told = two.run(two.anna, CLIENT, str(PORT))
    print(told)
    there, here = two.alias(two.ben), two.alias(two.anna)
    assert told["found"][:2] == ["here", there]
    assert told["joined"] == f"welcome {here}"
    assert told["played"] == ["moved", "moved"]
    heard = [line.split()[2] for line in log.read_text().splitlines() if line.startswith("heard")]
    assert set(heard) == {here}
    listed = two.anna.run("share").stdout
    print(listed)
    assert f"{there}:{told['found'][2]}" in listed
    assert f"port {PORT}/tcp → 10.96.2.2:{PORT}" in two.ben.run("share").stdout
    two.ben.run("unshare", "game", "--peer", "anna")
    refused = two.anna.namespace.run(*PLAIN, sys.executable, "-c", CLIENT.replace("range(40)", "range(3)"), str(PORT), check=False)
    assert "nobody answers" in refused.stderr


def test_a_world_is_announced_to_a_group_and_joined(two: Two) -> None:
    two.up("discovery: {profiles: {minecraft: {search: no}}}", "discovery: {profiles: {minecraft: {search: yes}}}")
    two.start(two.ben, ANNOUNCER)
    told = two.run(two.anna, LISTENER)
    print(told)
    assert told["from"] == two.alias(two.ben)
    assert told["announced"].startswith("[MOTD]A world[/MOTD][AD]")
    assert told["joined"] == f"welcome {two.alias(two.anna)}"


def test_a_media_server_that_looks_at_the_interface_is_found(two: Two) -> None:
    two.up()
    log = two.start(two.ben, MEDIA_SERVER.replace("OWN", "10.96.2.2"))
    told = two.run(two.anna, CONTROL_POINT)
    print(told)
    assert told["location"] == f"http://{two.alias(two.ben)}:8200/description.xml"
    assert f"<URLBase>http://{two.alias(two.ben)}:8200/" in told["page"]
    assert "<host>10.96.2.2:8200</host>" in told["page"]
    assert "asked 10.96.2.2 eth0" in log.read_text()


def test_two_nodes_on_one_physical_network_carry_nothing_twice(two: Two) -> None:
    """Carl is a member on anna's own network: what anna says he hears there, and does not carry."""
    two.up(by_hand("yes"), by_hand("no"))
    space = two.lab.namespace("carl")
    two.anna.namespace.ip("link", "add", "br0", "type", "bridge")
    two.anna.namespace.ip("link", "set", "eth0", "master", "br0")
    two.anna.namespace.ip("addr", "del", "10.96.1.2/24", "dev", "eth0")
    two.anna.namespace.ip("addr", "add", "10.96.1.2/24", "dev", "br0")
    two.anna.namespace.ip("link", "set", "br0", "up")
    two.anna.namespace.ip("route", "replace", "default", "via", "10.96.1.1")
    two.lab.wire(two.anna.namespace, space, "v9", "eth0")
    two.anna.namespace.ip("link", "set", "v9", "master", "br0")
    space.ip("addr", "add", "10.96.1.3/24", "dev", "eth0")
    space.ip("route", "add", "default", "via", "10.96.1.1")
    carl = Member(space, two.folder / "carl", "carl", by_hand("yes"))
    carl.up("--mediator", str(two.anna.status()["mediator"]["url"]))
    carl.run("join", two.anna.run("invite", "home").stdout.split()[0])
    carl.wait_state("ben", "direct")
    two.ben.wait_state("carl", "direct")
    log = two.start(two.ben, SERVER, str(PORT))
    rows = {row["profile"]: row for row in two.anna.call("shares")["profiles"]}
    assert rows["game"]["picks_up"], "at the address that it has now"
    told = two.run(two.anna, CLIENT, str(PORT))
    assert told["found"][:2] == ["here", two.alias(two.ben)]
    heard = {line.split()[2] for line in log.read_text().splitlines() if line.startswith("heard")}
    assert heard == {two.alias(two.anna)}
    carl.stop()
