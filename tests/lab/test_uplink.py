"""What a kernel finds on its link beyond the members: a program in a namespace of its own whose only way out is a TAP.

    inner ── lan0 ── node ── outer ── eth0 ── server
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.lab.network import ECHO_PATIENCE, Lab, Namespace, answered, echoes, end, tun_unavailable, unavailable, until
from tests.lab.userlan_process import wait_for_line
from userlan.lan.addresses import GATEWAY6, RESOLVER, text

pytestmark = pytest.mark.lab

SERVER = {4: "10.97.0.2", 6: "fd97::2"}
OUTER = {4: "10.97.0.1", 6: "fd97::1"}
SIZE = 20_000_000

SERVICES = """
import hashlib, socket, socketserver, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
content = open(sys.argv[1], "rb").read()
class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def tell(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.tell(content)
    def do_PUT(self):
        digest, rest = hashlib.sha256(), int(self.headers["Content-Length"])
        while rest:
            data = self.rfile.read(min(rest, 1 << 16))
            digest.update(data)
            rest -= len(data)
        self.tell(digest.hexdigest().encode())
    def log_message(self, *words):
        pass
class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 64
def echo(port, answer):
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", port))
    while True:
        data, source = sock.recvfrom(65535)
        sock.sendto(answer(data), source)
def resolve(query):
    end = query.index(b"\\0", 12) + 5
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + bytes((192, 0, 2, 7))
    return query[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + query[12:end] + record
for port, answer in ((7007, bytes), (53, resolve)):
    threading.Thread(target=echo, args=(port, answer), daemon=True).start()
server = Server(("::", 8000), Site)
print("ready", flush=True)
server.serve_forever()
"""
ASK = """
import errno, socket, sys, time
host, sizes = sys.argv[1], list(map(int, sys.argv[2:]))
client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(30)
for size in sizes:
    data = bytes(number * 7 % 256 for number in range(size))
    client.sendto(data, (host, 7007))
    got, source = client.recvfrom(65535)
    assert got == data and source[:2] == (host, 7007), (size, source)
print("echoed")
"""
CALL = """
import errno, socket, sys, time
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
client.settimeout(int(sys.argv[4]))
began = time.monotonic()
try:
    client.connect((host, port))
    client.getpeername()
    if kind == "udp":
        client.send(b"x")
        client.recv(1)
    print("connected", client.getpeername()[1])
except OSError as error:
    print(errno.errorcode.get(error.errno, "timeout"), time.monotonic() - began)
"""


@attrs.define
class Site:
    """The three namespaces."""

    folder: Path
    inner: Namespace
    outer: Namespace
    server: Namespace
    digest: str

    def url(self, version: int, path: str = "file") -> str:
        host = f"[{SERVER[6]}]" if version == 6 else SERVER[4]
        return f"http://{host}:8000/{path}"

    def call(self, kind: str, host: str, port: int, patience: int = 20) -> tuple[str, float]:
        """What a program's connection or datagram to a place came to, and after how long.

        A connection is one that has a peer: of one that fails, the error may have been read before it is asked for. It is tried again.
        """
        for _ in range(3):
            name, *took = self.inner.run("python3", "-c", CALL, kind, host, str(port), str(patience)).stdout.split()
            if name != "ENOTCONN":
                break
        return name, float(took[0]) if took else 0.0


def built(lab: Lab, folder: Path, internet: bool) -> Site:
    inner, outer, server = (lab.namespace(name) for name in ("inner", "outer", "server"))
    lab.wire(outer, server, "eth0", "eth0")
    for space, place in ((outer, OUTER), (server, SERVER)):
        space.ip("addr", "add", f"{place[4]}/24", "dev", "eth0")
        space.ip("addr", "add", f"{place[6]}/64", "dev", "eth0", "nodad")
    for space in (inner, outer):
        (writing := space.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 0", check=False))
        assert writing.returncode == 0, writing.stderr
    content = os.urandom(SIZE)
    (folder / "content").write_bytes(content)
    (folder / "services.py").write_text(SERVICES)
    (folder / "resolv.conf").write_text(f"nameserver {SERVER[4]}\n")
    for space, log, command in (
        (server, folder / "services.log", ("python3", str(folder / "services.py"), str(folder / "content"))),
        (inner, folder / "node.log", node_command(folder, outer.pid, internet)),
    ):
        with log.open("wb") as file:
            process = space.start(*command, stdout=file, stderr=file)
        wait_for_line(log, "ready", process)
    return Site(folder, inner, outer, server, hashlib.sha256(content).hexdigest())


def node_command(folder: Path, outer: int, internet: bool) -> tuple[str, ...]:
    """With resolvers of its own."""
    return sys.executable, "-m", "tests.lab.uplink_node", str(outer), "yes" if internet else "no", str(folder / "resolv.conf")


def needed() -> None:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    needed()
    folder = tmp_path_factory.mktemp("uplink")
    with Lab(folder) as lab:
        yield built(lab, folder, True)


versions = pytest.mark.parametrize("version", [4, 6])


@versions
def test_a_program_fetches_and_sends(site: Site, version: int) -> None:
    target = site.folder / f"got{version}"
    site.inner.run("curl", "-sS", "-g", "-m", "50", "-o", str(target), site.url(version))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == site.digest
    sent = site.inner.run("curl", "-sS", "-g", "-m", "50", "-T", str(site.folder / "content"), site.url(version, "up"))
    assert sent.stdout == site.digest


def test_many_at_a_time(site: Site) -> None:
    words = [word for number in range(8) for word in ("-o", str(site.folder / f"many{number}"), site.url(4 if number % 2 else 6))]
    site.inner.run("curl", "-sS", "-g", "-Z", "--parallel-max", "8", "-m", "55", *words)
    for number in range(8):
        assert hashlib.sha256((site.folder / f"many{number}").read_bytes()).hexdigest() == site.digest


@versions
def test_datagrams_of_every_size(site: Site, version: int) -> None:
    sizes = ("1", "1000", "1392", "9000", "60000")
    assert site.inner.run("python3", "-c", ASK, SERVER[version], *sizes).stdout == "echoed\n"


@versions
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_what_is_refused_is_refused_at_once(site: Site, version: int, kind: str) -> None:
    for _ in range(2):
        name, took = site.call(kind, SERVER[version], 9)
        assert name == "ECONNREFUSED"
        assert took < 10, "not by the program's patience"


@pytest.mark.parametrize(("host", "name"), [("10.97.0.99", "EHOSTUNREACH"), ("198.51.100.1", "EHOSTUNREACH"), ("fd97::99", "EHOSTUNREACH"),
                                            ("2001:db8::1", "EHOSTUNREACH")])  # fmt: skip
def test_what_cannot_be_reached(site: Site, host: str, name: str) -> None:
    """A neighbour that is not there takes the kernel three seconds; what has no route is known at once."""
    assert site.call("tcp", host, 80)[0] == name


def test_what_is_silent_stays_silent(site: Site) -> None:
    site.server.nft("table inet filter { chain input { type filter hook input priority 0; tcp dport 81 drop; }\n}")
    assert site.call("tcp", SERVER[4], 81, 2)[0] == "timeout"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.7.7", "25.9.9.9", "fd75:6c61:6e00::9"])
def test_places_that_are_nobodys(site: Site, host: str) -> None:
    """The loopback of the namespace is its own; the outer one's cannot be reached."""
    command = "python3", "-m", "http.server", "8123", "--bind", "::"
    listener = site.outer.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: ":8123" in site.outer.run("ss", "-ltn").stdout, 60, "a server outside")
    try:
        assert site.call("tcp", host, 8123)[0] in ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH")
    finally:
        end(listener)


@versions
def test_ping(site: Site, version: int) -> None:
    output = site.inner.run("ping", *echoes(3, 0.05), "-s", "1000", SERVER[version], timeout=2 * ECHO_PATIENCE).stdout
    assert answered(output, 3) == [1, 2, 3], output
    for own in (RESOLVER, GATEWAY6):
        assert "1 received" in site.inner.run("ping", "-n", "-c", "1", "-W", "30", text(own)).stdout


def dig(space: Namespace, *words: str) -> str:
    return space.run("dig", f"@{text(RESOLVER)}", "+tries=1", "+time=30", *words).stdout


def test_the_resolver(site: Site) -> None:
    for way in ("+notcp", "+tcp"):
        assert dig(site.inner, way, "+short", "anna.internal") == "25.1.2.3\n"
        assert "status: NXDOMAIN" in dig(site.inner, way, "nobody.internal")
        assert dig(site.inner, way, "+short", "-x", "25.1.2.3") == "anna.internal.\n"
    assert dig(site.inner, "+short", "example.com") == "192.0.2.7\n"
    assert site.inner.run("dig", f"@{SERVER[4]}", "+short", "+time=30", "example.com").stdout == "192.0.2.7\n", "others may be asked, too"


def test_without_the_internet(tmp_path: Path) -> None:
    needed()
    with Lab(tmp_path) as lab:
        site = built(lab, tmp_path, False)
        for version in (4, 6):
            for kind in ("tcp", "udp"):
                name, took = site.call(kind, SERVER[version], 8000 if kind == "tcp" else 7007)
                assert name in ("EHOSTUNREACH", "EACCES")
                assert took < 10
            pinged = site.inner.run("ping", "-n", "-c", "1", "-W", "30", SERVER[version], check=False).stdout
            assert "Packet filtered" in pinged or "Administratively prohibited" in pinged
        assert dig(site.inner, "+short", "anna.internal") == "25.1.2.3\n"
        assert "status: REFUSED" in dig(site.inner, "example.com")
