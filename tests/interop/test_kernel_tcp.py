"""Our host against the kernel's TCP/IP, through a TUN device: curl, iperf3, ping, Python's own servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.kernel import Bed
from tests.interop.kernel_programs import (
    DIGEST_SCRIPT,
    FILE_SIZE,
    digest,
    download,
    iperf3,
    kernel,
    opened,
    own,
    unanswered,
    upload,
    url,
)
from tests.interop.kernel_services import content

pytestmark = [pytest.mark.interop, pytest.mark.lab]

FAMILIES = pytest.mark.parametrize("family", [4, 6])

UDP_SCRIPT = """
import socket, sys
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(30)
link.connect((address, port))
data = bytes(range(250)) * (size // 250)
link.send(data)
try:
    print(link.recv(65536) == data)
except ConnectionRefusedError:
    print("refused")
"""


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with opened(tmp_path_factory.mktemp("clean")) as made:
        yield made


@FAMILIES
def test_curl_downloads_and_uploads(bed: Bed, family: int) -> None:
    download(bed, family, 20_000_003)
    upload(bed, family, 20_000_003)


@FAMILIES
def test_our_client_and_the_kernels_servers(bed: Bed, family: int) -> None:
    fetched = bed.connect(kernel(family), 8000, "GET /file HTTP/1.0\r\n\r\n")
    assert (fetched["error"], fetched["length"], fetched["sha256"]) == (None, FILE_SIZE, digest(FILE_SIZE))
    sent = bed.connect(kernel(family), 9000, size=FILE_SIZE, half_close=True)
    assert (sent["error"], sent["start"]) == (None, digest(FILE_SIZE))


@FAMILIES
def test_iperf3(bed: Bed, family: int) -> None:
    iperf3(bed, family, 1_000_000)


@FAMILIES
def test_half_close(bed: Bed, family: int) -> None:
    path = bed.folder / "half"
    path.write_bytes(content(256_000))
    result = bed.run("python3", "-c", DIGEST_SCRIPT, own(family), "7", str(path))
    assert (result.stderr, result.stdout.strip()) == ("", digest(256_000))


@FAMILIES
def test_closed_ports_refuse_and_resets_are_seen(bed: Bed, family: int) -> None:
    refused = bed.run("python3", "-c", DIGEST_SCRIPT, own(family), "81", "/dev/null")
    assert "ConnectionRefusedError" in refused.stderr
    reset = bed.run("curl", "-sS", "-m", "5", url(family, "reset"))
    assert "reset by peer" in reset.stderr.lower()
    assert bed.connect(kernel(family), 81)["error"] == "refused"


@FAMILIES
@pytest.mark.parametrize("size", [56, 4000, 60_000])
def test_ping_both_ways(bed: Bed, family: int, size: int) -> None:
    assert unanswered(bed, family, 3, 0.05, size) == set()
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
