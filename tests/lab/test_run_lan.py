"""What a program inside ``userlan run`` has of the LAN beside its members: names, broadcasts, groups, and the outside by ``--internet``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab.network import Lab, end, tun_unavailable, unavailable, until
from tests.lab.test_run import ANNA, MEDIATOR, Inside, inside, serve

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("run-lan")
    with Lab(folder) as lab:
        made = inside(lab, folder)
        serve(made.anna.namespace, folder)
        made.anna.run("expose", "9000")
        yield made


def test_names(two: Inside) -> None:
    """As getaddrinfo finds them: short, of the network, in full; and back."""
    for version, database in ((4, "ahostsv4"), (6, "ahostsv6")):
        for name in ("anna", "anna.home", "anna.home.internal"):
            lines = two.run("getent", database, name).stdout.splitlines()
            assert {line.split()[0] for line in lines} == {two.address(two.anna, version)}, name
    assert two.run("curl", "-sS", "-m", "20", "http://anna:9000/page").stdout == "exposed"
    back = "import socket, sys; print(socket.gethostbyaddr(sys.argv[1])[0])"
    assert two.run(sys.executable, "-c", back, two.address(two.anna)).stdout.startswith("anna")
    assert two.run("getent", "hosts", "nobody.home.internal", check=False).returncode == 2


OUTSIDE = "http://{host}:8080/page"


def test_the_outside(two: Inside) -> None:
    """Nothing of it, unless it was asked for; this computer's loopback never."""
    space = two.lab.namespaces[0]
    command = ("python3", "-m", "http.server", "8080", "--bind", "0.0.0.0", "--directory", str(two.folder / "site"))
    for where in (space, two.ben.namespace):
        where.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda where=where: ":8080" in where.run("ss", "-ltn").stdout, 60, "http.server listens")
    url = OUTSIDE.format(host=MEDIATOR)
    closed = two.run("curl", "-sS", "-m", "30", url, check=False)
    assert (closed.returncode, closed.stdout) == (7, "")
    until(two.gone, 60, "the place is gone")
    assert two.run("curl", "-sS", "-m", "20", url, options=("--internet",)).stdout == "exposed"
    until(two.gone, 60, "the place is gone")
    refused = two.run("curl", "-sS", "-m", "30", f"http://{ANNA}:9/", options=("--internet",), check=False)
    assert refused.returncode == 7
    until(two.gone, 60, "the place is gone")
    assert two.run("curl", "-sS", "-m", "30", OUTSIDE.format(host="127.0.0.1"), options=("--internet",), check=False).returncode == 7


ANSWER = """
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("", 7777))
lan0 = struct.pack("=4s4si", socket.inet_aton("239.7.7.7"), bytes(4), socket.if_nametoindex("lan0"))
server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, lan0)
print("ready", flush=True)
while True:
    data, source = server.recvfrom(9000)
    server.sendto(b"here: " + data, source)
"""
SEEK = """
import socket, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
client.settimeout(0.5)
for _ in range(40):
    client.sendto(b"anybody?", (sys.argv[1], 7777))
    try:
        data, source = client.recvfrom(9000)
    except TimeoutError:
        continue
    print(source[0], data.decode())
    break
"""


@pytest.mark.parametrize("target", ["255.255.255.255", "25.255.255.255", "239.7.7.7"])
def test_a_program_that_broadcasts(two: Inside, target: str) -> None:
    """And the answer of one inside another node."""
    server = two.start("answer", sys.executable, "-c", ANSWER, member=two.anna)
    try:
        assert two.run(sys.executable, "-c", SEEK, target).stdout == f"{two.address(two.anna)} here: anybody?\n"
    finally:
        end(server)
