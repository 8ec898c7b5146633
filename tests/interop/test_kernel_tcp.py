"""Our host against the kernel's TCP/IP, through a TUN device: curl, iperf3, ping, Python's own servers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kernel import Bed
from tests.interop.kernel_services import content
from tests.interop.kernel_stage import HOST_IPV4, HOST_IPV6, KERNEL_IPV4, KERNEL_IPV6
from tests.lab.network import tun_unavailable, unavailable, until

pytestmark = [pytest.mark.interop, pytest.mark.lab]

LOSSY = ("--delay", "0.01", "--loss", "0.02", "--reorder", "0.05", "--seed", "7")
"""A round trip of 20 ms, 2 % lost and 5 % overtaken each way."""

FAMILIES = pytest.mark.parametrize("family", [4, 6])

DIGEST_SCRIPT = """
import hashlib, socket, sys
family, address, port, size = (int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
link = socket.create_connection((address, port))
link.sendall(bytes(range(256)) * (size // 256))
link.shutdown(socket.SHUT_WR)
answer = b""
while part := link.recv(65536):
    answer += part
print(answer.decode())
"""

SINK_SCRIPT = """
import hashlib, socket, sys
with socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        link, _ = server.accept()
        digest = hashlib.sha256()
        while part := link.recv(65536):
            digest.update(part)
        link.sendall(digest.hexdigest().encode())
        link.close()
"""

UDP_SCRIPT = """
import socket, sys
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(5)
link.connect((address, port))
data = bytes(range(250)) * (size // 250)
link.send(data)
try:
    print(link.recv(65536) == data)
except ConnectionRefusedError:
    print("refused")
"""


def needs(*programs: str) -> None:
    """Skip, saying which program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"the program {program} is missing")


def opened(folder: Path, *options: str) -> Bed:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    return Bed(folder, *options)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    made = opened(tmp_path_factory.mktemp("clean"))
    start_servers(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    made = opened(tmp_path_factory.mktemp("lossy"), *LOSSY)
    start_servers(made)
    yield made
    made.close()


def start_servers(bed: Bed) -> None:
    """``python3 -m http.server`` on port 8000 and a sink that answers with a digest on port 9000, both kernel TCP."""
    (bed.folder / "file").write_bytes(content(3_000_000))
    with (bed.folder / "servers.log").open("wb") as log:
        bed.namespace.start(
            *("python3", "-m", "http.server", "8000", "--bind", "::", "--directory", str(bed.folder)),
            stdout=log,
            stderr=log,
        )
        bed.namespace.start("python3", "-c", SINK_SCRIPT, stdout=log, stderr=log)

    def listening() -> bool:
        ports = bed.run("cat", "/proc/net/tcp6").stdout
        return all(f":{port:04X} " in ports for port in (8000, 9000))

    until(listening, 10, "the kernel's servers")


def own(family: int) -> str:
    return HOST_IPV4 if family == 4 else HOST_IPV6


def kernel(family: int) -> str:
    return KERNEL_IPV4 if family == 4 else KERNEL_IPV6


def url(family: int, path: object) -> str:
    host = own(family)
    return f"http://[{host}]/{path}" if family == 6 else f"http://{host}/{path}"


def download(bed: Bed, family: int, size: int) -> None:
    target = bed.folder / "download"
    result = bed.run("curl", "-sS", "--fail", "-m", "25", "-o", str(target), url(family, size))
    assert result.stderr == ""
    assert target.read_bytes() == content(size)


def upload(bed: Bed, family: int, size: int) -> None:
    source = bed.folder / "upload"
    source.write_bytes(content(size))
    result = bed.run("curl", "-sS", "--fail", "-m", "25", "-T", str(source), url(family, "upload"))
    assert (result.stderr, result.stdout) == ("", hashlib.sha256(content(size)).hexdigest())


@FAMILIES
def test_curl_downloads_and_uploads(bed: Bed, family: int) -> None:
    download(bed, family, 20_000_003)
    upload(bed, family, 20_000_003)


@FAMILIES
def test_curl_downloads_and_uploads_over_a_bad_road(lossy: Bed, family: int) -> None:
    download(lossy, family, 1_000_003)
    upload(lossy, family, 1_000_003)


@FAMILIES
@pytest.mark.parametrize("road", ["bed", "lossy"])
def test_our_client_and_the_kernels_servers(request: pytest.FixtureRequest, road: str, family: int) -> None:
    bed: Bed = request.getfixturevalue(road)
    size = 3_000_000 if road == "bed" else 500_000
    fetched = bed.connect(kernel(family), 8000, "GET /file HTTP/1.0\r\n\r\n")
    assert (fetched["error"], fetched["length"]) == (None, 3_000_000)
    assert fetched["sha256"] == hashlib.sha256(content(3_000_000)).hexdigest()
    sent = bed.connect(kernel(family), 9000, size=size, half_close=True)
    assert (sent["error"], sent["start"]) == (None, hashlib.sha256(content(size)).hexdigest())


@FAMILIES
@pytest.mark.parametrize("reverse", [(), ("-R",)], ids=["to us", "from us"])
@pytest.mark.parametrize("road", ["bed", "lossy"])
def test_iperf3(request: pytest.FixtureRequest, road: str, reverse: tuple[str, ...], family: int) -> None:
    needs("iperf3")
    bed: Bed = request.getfixturevalue(road)
    with (bed.folder / "iperf3.log").open("wb") as log:
        server = bed.namespace.start("iperf3", "-s", "-1", "-p", "5201", stdout=log, stderr=log)
    until(lambda: ":1451 " in bed.run("cat", "/proc/net/tcp6", "/proc/net/tcp").stdout, 5, "the iperf3 server")
    result = bed.run("iperf3", "-J", "-t", "1", "-P", "2", *reverse, "-c", own(family))
    server.wait(5)
    report = json.loads(result.stdout)
    assert "error" not in report, report["error"]
    assert report["end"]["sum_received"]["bytes"] > (10_000_000 if road == "bed" else 100_000)


@FAMILIES
@pytest.mark.parametrize("road", ["bed", "lossy"])
def test_half_close(request: pytest.FixtureRequest, road: str, family: int) -> None:
    bed: Bed = request.getfixturevalue(road)
    size = 256 * 1000
    result = bed.run("python3", "-c", DIGEST_SCRIPT, str(family), own(family), "7", str(size))
    assert result.stdout.strip() == hashlib.sha256(bytes(range(256)) * 1000).hexdigest(), result.stderr


@FAMILIES
def test_closed_ports_refuse_and_resets_are_seen(bed: Bed, family: int) -> None:
    refused = bed.run("python3", "-c", DIGEST_SCRIPT, str(family), own(family), "81", "256")
    assert "ConnectionRefusedError" in refused.stderr
    reset = bed.run("curl", "-sS", "-m", "5", url(family, "reset"))
    assert "reset by peer" in reset.stderr.lower()
    assert bed.connect(kernel(family), 81)["error"] == "refused"


@FAMILIES
@pytest.mark.parametrize("size", [56, 4000, 60_000])
def test_ping_both_ways(bed: Bed, family: int, size: int) -> None:
    needs("ping")
    result = bed.run("ping", f"-{family}", "-c", "3", "-i", "0.05", "-W", "3", "-s", str(size), own(family))
    assert "3 received, 0% packet loss" in result.stdout, result.stdout + result.stderr
    answer = bed.ask(do="ping", address=kernel(family), sequence=size % 1000, size=size)
    assert answer == {"echo": size % 1000, "length": size}


@FAMILIES
@pytest.mark.parametrize("size", [500, 5000, 65_000])
def test_udp_echo_and_closed_port(bed: Bed, family: int, size: int) -> None:
    assert bed.run("python3", "-c", UDP_SCRIPT, own(family), "7", str(size)).stdout.strip() == "True"
    assert bed.run("python3", "-c", UDP_SCRIPT, own(family), "9", "500").stdout.strip() == "refused"


def test_nothing_was_dropped_for_a_reason_that_is_ours(bed: Bed) -> None:
    counters = bed.ask(do="counters")
    wrong = {name for name in counters if "checksum" in name or "truncated" in name or name == "source-martian"}
    assert not wrong, counters
