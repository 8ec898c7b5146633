"""The main job with real processes: two people type one command each, and a program on one reaches a service on the other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bench.measure import peak_memory
from tests.lab.conftest import ANNA, Site
from tests.lab.network import until, user_name

pytestmark = pytest.mark.lab

SIZE = 1 << 30
"""The file of the main job: 1 GiB."""


def big_file(folder: Path, size: int) -> str:
    """A file that does not repeat at any packet's or buffer's size; its SHA-256."""
    block = os.urandom((1 << 20) + 13)
    digest, left = hashlib.sha256(), size
    with (folder / "file").open("wb") as file:
        while left:
            part = block[:left]
            file.write(part)
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def serve(site: Site, size: int) -> str:
    """``python3 -m http.server`` on anna's loopback, exposed."""
    folder = site.folder / "www"
    folder.mkdir()
    digest = big_file(folder, size)
    with (site.folder / "http.log").open("wb") as log:
        command = ("python3", "-u", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", str(folder))
        site.anna_space.start(*command, stdout=log, stderr=log)
    until(lambda: site.anna_space.run("curl", "-sI", "http://127.0.0.1:8000/", check=False).returncode == 0, 60, "http.server")
    site.anna.run("expose", "8000")
    return digest


def fetch(site: Site, *arguments: str) -> str:
    """SHA-256 of what curl gets on ben's computer."""
    target = site.folder / "download"
    result = site.ben_space.run("curl", "-sS", "--fail", "-o", str(target), *arguments, timeout=240)
    assert result.stderr == ""
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_gibibyte_by_proxy_and_by_forward(site: Site) -> None:
    site.join()
    digest = serve(site, SIZE)
    assert fetch(site, "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file") == digest
    site.ben.run("forward", "8080:anna:8000")
    assert fetch(site, "http://127.0.0.1:8080/file") == digest
    ben_address = site.ben.status()["self"]["ipv4"]
    alias = ben_address.replace("25.", "127.", 1)
    assert alias in (site.folder / "http.log").read_text(), "the service does not see the peer under its own address"
    assert site.ben.process is not None
    memory = peak_memory([site.ben.process.pid])
    assert memory < 120, f"the node took {memory} MiB"


def test_every_proxy_protocol_reaches_the_service(site: Site) -> None:
    site.join()
    digest = serve(site, 300_000)
    ipv4, ipv6 = (site.anna.status()["self"][family] for family in ("ipv4", "ipv6"))
    for arguments in (
        ("--socks5-hostname", "127.0.0.1:1055", "http://anna.home:8000/file"),
        ("--socks5", "127.0.0.1:1055", f"http://{ipv4}:8000/file"),
        ("--socks5-hostname", "127.0.0.1:1055", f"http://[{ipv6}]:8000/file"),
        ("--socks4a", "127.0.0.1:1055", "http://anna.home.internal:8000/file"),
        ("--proxy", "http://127.0.0.1:1055", "http://anna:8000/file"),
        ("--proxytunnel", "--proxy", "http://127.0.0.1:1055", "http://anna:8000/file"),
    ):
        assert fetch(site, *arguments) == digest, arguments


def test_nothing_is_reachable_until_it_is_exposed(site: Site) -> None:
    site.join()
    serve(site, 1000)
    site.anna.run("unexpose", "8000")
    refused = site.ben_space.run(
        "curl", "-sS", "-m", "60", "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file", check=False
    )
    assert refused.returncode == 97
    outside = site.ben_space.run("curl", "-sS", "-m", "5", f"http://{ANNA}:8000/file", check=False)
    assert outside.returncode != 0


def test_status_and_ping_tell_the_truth(site: Site) -> None:
    site.anna.up("--mediator", site.mediator.url)
    site.ben.up("--mediator", site.mediator.url)
    status = site.anna.status()
    assert list(status) == ["self", "mediator", "networks", "waiting", "denied", "peers", "groups", "bridges", "page", "configuration"]
    assert (status["mediator"]["state"], status["networks"], status["peers"]) == ("connected", [], [])
    invite = site.anna.run("create", "home").stdout.split()[0]
    joined = site.ben.run("join", invite).stdout
    assert joined.startswith("joined home as ben (25.")
    peer = site.anna.wait_state("ben", "direct")
    keys = "name key ipv4 ipv6 networks state blocked path relay endpoint bulk cipher rtt_ms rx_bytes tx_bytes last_seen"
    assert list(peer) == keys.split()
    assert peer["networks"] == ["home"]
    ping = site.anna.run("ping", "ben", "-c", "3", "-i", "0.2").stdout
    assert ping.count("direct udp 10.99.0.3:41414") == 3
    assert "direct udp 10.99.0.3:41414" in site.anna.run("status").stdout
    site.ben.kill()
    site.anna.wait_state("ben", "offline", 40)
    assert "offline, last seen" in site.anna.run("status").stdout
    failed = site.anna.run("ping", "ben", "-c", "1", "-W", "2", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("userlan: no answer from ben")
    site.ben.up()
    site.anna.wait_state("ben", "direct")
    site.ben.run("down")
    site.anna.wait_state("ben", "offline", 20)


def test_two_computers_on_one_lan_need_no_server(site: Site) -> None:
    """``create`` on one, ``join`` on the other, nothing else."""
    invite = site.anna.run("create", "home").stdout.split()[0]
    try:
        site.ben.run("join", invite)
        site.ben.wait_state("anna", "direct")
        assert site.ben.run("ping", "anna", "-c", "1").returncode == 0
        assert json.loads(site.ben.run("proxy", "--json").stdout)["socks"] == "socks5h://127.0.0.1:1055"
    finally:
        for member in (site.anna, site.ben):
            member.run("down", check=False)


def test_a_transfer_survives_the_mediator(site: Site) -> None:
    site.join()
    digest = serve(site, 400 << 20)
    target = site.folder / "download"
    download = site.ben_space.start(
        "curl", "-sS", "--fail", "-o", str(target), "--limit-rate", "80M", "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file"
    )
    until(lambda: target.exists() and target.stat().st_size > 20 << 20, 60, "the transfer is under way")
    site.mediator.kill()
    assert download.wait(120) == 0
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    until(lambda: site.ben.status()["mediator"]["state"] != "connected", 60, "ben notices")
    assert site.ben.peer("anna")["state"] == "direct"  # type: ignore[index]
    site.mediator.start()
    until(lambda: site.ben.status()["mediator"]["state"] == "connected", 45, "ben reconnects by itself")


def test_a_peer_that_vanishes_ends_the_transfer(site: Site) -> None:
    site.join()
    serve(site, 400 << 20)
    download = site.ben_space.start(
        "curl", "-sS", "-o", "/dev/null", "--limit-rate", "20M", "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file",
        stderr=subprocess.DEVNULL,
    )
    until(lambda: (site.ben.peer("anna") or {}).get("rx_bytes", 0) > 10 << 20, 60, "the transfer is under way")
    site.anna.kill()
    site.ben.wait_state("anna", "offline", 40)
    assert site.ben.status()["bridges"]["proxy"] == "127.0.0.1:1055"
    assert download.wait(180) != 0


def test_ssh_through_nc(site: Site) -> None:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None:
        pytest.skip("the program sshd is missing")
    site.join()
    keys = site.folder / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    (keys / "authorized").write_bytes((keys / "user.pub").read_bytes())
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    site.anna_space.as_ourselves().start(
        sshd, "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", str(keys / "host"), "-o", "ListenAddress=127.0.0.1",
        "-o", f"AuthorizedKeysFile={keys / 'authorized'}", "-o", "StrictModes=no", "-o", "PidFile=none", "-o", "UsePAM=no",
        "-o", "PermitRootLogin=prohibit-password", stderr=subprocess.DEVNULL,
    )
    site.anna.run("expose", "2222")
    nc = " ".join([*site.ben._command("nc", "%h", "%p")])
    command = [
        "ssh", "-F", "none", "-p", "2222", "-i", str(keys / "user"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", f"ProxyCommand={nc}", f"{user_name()}@anna",
    ]
    until(lambda: site.anna_space.run("curl", "-s", "-m", "1", "telnet://127.0.0.1:2222", check=False).stdout.startswith("SSH"), 60, "sshd")
    result = site.ben_space.run(*command, "echo it works; head -c 3000000 /dev/zero | sha256sum", timeout=60)
    assert result.stdout.startswith("it works\n")
    assert hashlib.sha256(bytes(3_000_000)).hexdigest() in result.stdout
