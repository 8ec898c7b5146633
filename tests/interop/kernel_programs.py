"""The programs that speak through the kernel's TCP/IP, and what each of them proves: transfers whose digest is right."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.kernel import Bed, gate_port
from tests.interop.kernel_services import IPERF_PORTS, SSH_PORT, content
from tests.interop.kernel_stage import HOST_IPV4, HOST_IPV6, KERNEL_IPV4, KERNEL_IPV6
from tests.lab.network import tun_unavailable, unavailable, until, user_name

FILE_SIZE = 3_000_000
"""Octets of the file that the kernel's HTTP server has; ``/small`` has a tenth."""

SINK_SCRIPT = """
import hashlib, socket, threading
def serve(link):
    digest = hashlib.sha256()
    while part := link.recv(65536):
        digest.update(part)
    link.sendall(digest.hexdigest().encode())
    link.close()
with socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],)).start()
"""

DIGEST_SCRIPT = """
import socket, sys
address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
link = socket.create_connection((address, port))
with open(path, "rb") as file:
    link.sendfile(file)
link.shutdown(socket.SHUT_WR)
answer = b""
while part := link.recv(65536):
    answer += part
print(answer.decode())
"""
"""Sends a file, closes one half, prints what comes back."""

PIPE_SCRIPT = """
import os, socket, sys, threading
link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def inwards():
    while part := link.recv(65536):
        while part:
            part = part[os.write(1, part):]
    os._exit(0)
threading.Thread(target=inwards, daemon=True).start()
while part := os.read(0, 65536):
    link.sendall(part)
link.shutdown(socket.SHUT_WR)
threading.Event().wait()
"""
"""A ProxyCommand: standard input and output to an address and port."""

SSHD_CONFIG = """
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
LogLevel ERROR
"""


def needs(*programs: str) -> None:
    """Skip, saying which program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"the program {program} is missing")


@contextmanager
def opened(folder: Path) -> Iterator[Bed]:
    """A bed with the kernel's servers running; skips where there can be none."""
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    needs("curl", "iperf3", "ssh", "sshd")
    bed = Bed(folder)
    try:
        start_servers(bed)
        yield bed
    finally:
        bed.close()


def start_servers(bed: Bed) -> None:
    """HTTP on port 8000, a sink that answers with a digest on port 9000, SSH, four of iperf3: kernel TCP."""
    (bed.folder / "file").write_bytes(content(FILE_SIZE))
    (bed.folder / "small").write_bytes(content(FILE_SIZE // 10))
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(bed.folder / name)], check=True)
    (bed.folder / "sshd_config").write_text(SSHD_CONFIG.format(port=SSH_PORT, folder=bed.folder))
    sshd: tuple[str, ...] = (str(shutil.which("sshd")), "-D", "-e", "-f", f"{bed.folder}/sshd_config")
    if os.geteuid() == 0:       # root's closes its half that meets strangers in there
        sshd = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"', "sh", *sshd)
    with (bed.folder / "servers.log").open("wb") as log:
        for arguments in (
            ("python3", "-m", "http.server", "8000", "--bind", "::", "--directory", str(bed.folder)),
            ("python3", "-c", SINK_SCRIPT),
            *(("iperf3", "-s", "-p", str(port)) for port in IPERF_PORTS),
        ):
            bed.namespace.start(*arguments, stdout=log, stderr=log)
        bed.namespace.as_ourselves().start(*sshd, stdout=log, stderr=log)

    def listening() -> bool:
        ports = bed.run("cat", "/proc/net/tcp6").stdout
        return all(f":{port:04X} " in ports for port in (8000, 9000, SSH_PORT, *IPERF_PORTS))

    until(listening, 60, "the kernel's servers")


def own(family: int) -> str:
    return HOST_IPV4 if family == 4 else HOST_IPV6


def kernel(family: int) -> str:
    return KERNEL_IPV4 if family == 4 else KERNEL_IPV6


def url(family: int, path: object) -> str:
    host = own(family)
    return f"http://[{host}]/{path}" if family == 6 else f"http://{host}/{path}"


def digest(size: int) -> str:
    return hashlib.sha256(content(size)).hexdigest()


def _file(bed: Bed, name: str, size: int) -> str:
    path = bed.folder / name
    path.write_bytes(content(size))
    return str(path)


def download(bed: Bed, family: int, size: int) -> None:
    """curl gets from our HTTP server."""
    target = bed.folder / f"download-{family}"
    result = bed.run("curl", "-sS", "--fail", "-m", "50", "-o", str(target), url(family, size))
    assert result.stderr == ""
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest(size)


def upload(bed: Bed, family: int, size: int) -> None:
    """curl puts to our HTTP server, which answers with the digest."""
    source = _file(bed, f"upload-{family}", size)
    result = bed.run("curl", "-sS", "--fail", "-m", "50", "-T", source, url(family, "upload"))
    assert (result.stderr, result.stdout) == ("", digest(size))


def fetch(bed: Bed, family: int) -> None:
    """curl through a gate: our host as the client of the kernel's HTTP server."""
    target = bed.folder / f"fetched-{family}"
    address = f"http://127.0.0.1:{gate_port(family, 8000)}/small"
    result = bed.run("curl", "-sS", "--fail", "-m", "50", "-o", str(target), address)
    assert result.stderr == ""
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest(FILE_SIZE // 10)


def sink(bed: Bed, family: int, size: int) -> None:
    """Through a gate: our host as the client that sends, closes one half, and hears the digest."""
    source = _file(bed, f"sink-{family}", size)
    result = bed.run("python3", "-c", DIGEST_SCRIPT, "127.0.0.1", str(gate_port(family, 9000)), source)
    assert (result.stderr, result.stdout.strip()) == ("", digest(size))


def ssh(bed: Bed, family: int, size: int, through_us: bool) -> None:
    """A file there and back through SSH: ``through_us``: our host is the client, by ProxyCommand, else the server."""
    options = [f"-i{bed.folder}/user_key", "-Fnone", "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oLogLevel=ERROR"]
    options += ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", f"-p{SSH_PORT}", "-oConnectTimeout=20"]
    if through_us:
        pipe = bed.folder / "pipe.py"
        pipe.write_text(PIPE_SCRIPT)
        options.append(f"-oProxyCommand={sys.executable} {pipe} 127.0.0.1 {gate_port(family, SSH_PORT)}")
    side = "client" if through_us else "server"
    source = _file(bed, f"ssh-{side}-{family}", size)
    target = bed.folder / f"ssh-back-{side}-{family}"
    address = f"{user_name()}@{kernel(family) if through_us else own(family)}"
    with Path(source).open("rb") as file, target.open("wb") as back:
        result = subprocess.run(
            bed.namespace.command("ssh", *options, address, "cat"),
            stdin=file,
            stdout=back,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (result.stderr, result.returncode) == (b"", 0)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest(size)


IPERF_SECONDS = (1, 1, 4, 16)
"""The machine may have other work: what is not moved in a second may take more of them."""
BETWEEN_TESTS = ("reset by peer", "closed unexpectedly", "busy", "unable to connect")
"""iperf3's server closes its socket after each test and opens another: who comes in between is sent away, and is to come again."""


def iperf3(bed: Bed, family: int, least: int) -> None:
    """Four at once, two streams each: to the server and from it, with either side as the client; each
    moves ``least`` octets at least."""
    ways = [(through_us, reverse) for through_us in (False, True) for reverse in (False, True)]
    all_at_once(*((_iperf3, bed, family, port, *way, least) for port, way in zip(IPERF_PORTS, ways, strict=True)))


def _iperf3(bed: Bed, family: int, port: int, through_us: bool, reverse: bool, least: int) -> None:
    where = ("127.0.0.1", gate_port(family, port)) if through_us else (own(family), port)
    options = ("-c", where[0], "-p", str(where[1]), "-P", "2", *(("-R",) if reverse else ()))
    moved, trouble = 0, ""
    for seconds in IPERF_SECONDS:
        report = json.loads(bed.run("iperf3", "-J", *options, "-t", str(seconds)).stdout)
        trouble = report.get("error", "")
        assert not trouble or any(word in trouble for word in BETWEEN_TESTS), trouble
        moved = 0 if trouble else report["end"]["sum_received"]["bytes"]
        if moved > least:
            return
        time.sleep(0.5)
    raise AssertionError(f"through us {through_us}, reverse {reverse}: moved {moved} octets in {IPERF_SECONDS[-1]} s; {trouble}")


def all_at_once(*transfers: tuple[Any, ...]) -> None:
    """Each ``(function, argument, …)`` in a thread of its own; the first failure is raised, after all have ended."""
    with ThreadPoolExecutor(len(transfers)) as pool:
        futures = [pool.submit(*transfer) for transfer in transfers]
    for future in futures:
        future.result()


def unanswered(bed: Bed, family: int, count: int, interval: float, size: int) -> set[int]:
    """The numbers of the kernel's echoes to us, of ``count``, that got no answer. ``-w``: by itself ping waits for the last one twice as
    long as the others took, or one interval."""
    needs("ping")
    options = ("-c", str(count), "-i", str(interval), "-w", "40", "-s", str(size))
    told = bed.run("ping", f"-{family}", *options, own(family)).stdout
    return {*range(1, count + 1)} - {int(number) for number in re.findall(r"icmp_seq=([0-9]+) ttl", told)}


def settings(bed: Bed, **values: int) -> None:
    """``net.ipv4.tcp_*`` of the kernel's namespace; skips where they cannot be set."""
    for name, value in values.items():
        result = bed.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/tcp_{name}")
        if result.returncode:
            pytest.skip(f"the kernel's settings cannot be changed here: {result.stderr.strip()}")

