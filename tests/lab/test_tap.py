"""Two computers attached by TAPs: the kernels' own programs over the LAN, beside what the nodes' stacks go on with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.attached import Computers, computers, needed, tap_up, traces
from tests.lab.network import ECHO_PATIENCE, Lab, answered, echoes, end, until, user_name
from tests.lab.userlan_process import wait_for_line
from userlan.cli.client import ApiError

pytestmark = pytest.mark.lab

SIZE = 20_000_000

ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7007))
print("ready", flush=True)
while True:
    data, source = server.recvfrom(65535)
    server.sendto(data, source)
"""
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(30)
for size in map(int, sys.argv[2:]):
    data = bytes(number * 7 % 256 for number in range(size))
    client.sendto(data, (sys.argv[1], 7007))
    assert client.recv(65535) == data, size
print("echoed")
"""


@pytest.fixture(scope="module")
def attached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computers]:
    """Both attached, for the tests that leave everything as it is."""
    needed()
    folder = tmp_path_factory.mktemp("tap")
    with Lab(folder) as lab:
        made = computers(lab, folder)
        for member in (made.anna, made.ben):
            tap_up(member)
        (folder / "file").write_bytes(os.urandom(SIZE))
        command = ("python3", "-u", "-m", "http.server", "8000", "--bind", "::", "--directory", str(folder))
        made.anna.namespace.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: made.from_ben("curl", "-sI", f"http://{made.address(made.anna)}:8000/", check=False).returncode == 0, 60, "http")
        yield made


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Computers]:
    """Not attached yet."""
    needed()
    with Lab(tmp_path) as lab:
        yield computers(lab, tmp_path)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [56, 1392, 20_000])
def test_ping(attached: Computers, version: int, size: int) -> None:
    """The larger ones leave the kernel in fragments."""
    for here, there in ((attached.ben, attached.anna), (attached.anna, attached.ben)):
        target = attached.address(there, version)
        output = here.namespace.run("ping", *echoes(3, 0.05), "-s", str(size), target, timeout=2 * ECHO_PATIENCE).stdout
        assert answered(output, 3) == [1, 2, 3], output


@pytest.mark.parametrize("version", [4, 6])
def test_curl(attached: Computers, version: int) -> None:
    host = attached.address(attached.anna, version)
    target = attached.folder / f"got{version}"
    url = f"http://{f'[{host}]' if version == 6 else host}:8000/file"
    attached.from_ben("curl", "-sS", "-g", "-o", str(target), "-m", "50", url)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (target, attached.folder / "file")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("arguments", [(), ("-R",), ("-P", "4"), ("-6",), ("-u", "-b", "20M", "-l", "64"), ("-u", "-b", "50M", "-R")])
def test_iperf3(attached: Computers, arguments: tuple[str, ...]) -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("the program iperf3 is missing")
    server = attached.anna.namespace.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    target = attached.address(attached.anna, 6 if "-6" in arguments else 4)
    try:
        until(lambda: ":5201" in attached.anna.namespace.run("ss", "-ltn").stdout, 60, "iperf3 listens")
        result = json.loads(attached.from_ben("iperf3", "-c", target, "-t", "1", "-J", *arguments).stdout)
    finally:
        end(server)
    if "-u" in arguments:
        told = result["end"]["sum"]
        assert told["packets"] - told["lost_packets"] > 100, "how many of them the kernels drop is the computer's affair"
    else:
        assert result["end"]["sum_received"]["bytes"] > 100_000


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_of_every_size(attached: Computers, version: int) -> None:
    script = attached.folder / "echo.py"
    script.write_text(ECHO)
    log = attached.folder / "echo.log"
    with log.open("wb") as file:
        process = attached.anna.namespace.start("python3", str(script), stdout=file, stderr=file)
    wait_for_line(log, "ready", process)
    sizes = ("0", "1", "64", "1372", "1373", "1400", "2800", "9000", "65000")
    try:
        assert attached.from_ben("python3", "-c", ASK, attached.address(attached.anna, version), *sizes).stdout == "echoed\n"
    finally:
        end(process)


def test_ssh(attached: Computers) -> None:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None:
        pytest.skip("the program sshd is missing")
    keys = attached.folder / "ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    options = ("PidFile=none", "UsePAM=no", "StrictModes=no", f"AuthorizedKeysFile={keys / 'user.pub'}", "PermitRootLogin=yes")
    attached.anna.namespace.as_ourselves().start(
        sshd, "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", str(keys / "host"), *(part for one in options for part in ("-o", one)),
        stderr=subprocess.DEVNULL,
    )
    until(lambda: ":2222" in attached.anna.namespace.run("ss", "-ltn").stdout, 60, "sshd listens")
    output = attached.from_ben(
        "ssh", "-F", "none", "-p", "2222", "-i", str(keys / "user"), "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
        f"{user_name()}@{attached.address(attached.anna)}", "echo over the LAN",
    ).stdout  # fmt: skip
    assert output == "over the LAN\n"


def test_proxy_forward_and_expose_go_on(attached: Computers) -> None:
    """The stack's services beside the kernel's, under one address."""
    anna, ben = attached.anna, attached.ben
    (attached.folder / "inner").mkdir(exist_ok=True)
    (attached.folder / "inner" / "page").write_text("exposed")
    command = ("python3", "-m", "http.server", "9000", "--bind", "127.0.0.1", "--directory", str(attached.folder / "inner"))
    anna.namespace.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: ":9000" in anna.namespace.run("ss", "-ltn").stdout, 60, "http.server listens")
    anna.run("expose", "9000")
    ben.run("forward", "9001:anna:9000")
    proxied = ("curl", "-sS", "-m", "30", "--socks5-hostname", "127.0.0.1:1055")
    assert attached.from_ben(*proxied, "http://anna:9000/page").stdout == "exposed"
    assert attached.from_ben("curl", "-sS", "-m", "30", "http://127.0.0.1:9001/page").stdout == "exposed"
    assert attached.from_ben("curl", "-sS", "-m", "30", f"http://{attached.address(anna)}:9000/page").stdout == "exposed"
    head = attached.from_ben(*proxied, "-I", "http://anna:8000/file").stdout
    assert f"Content-Length: {SIZE}" in head, "the proxy reaches the kernel's own server as well"
    assert attached.from_ben("curl", "-sS", "-m", "30", f"http://{attached.address(anna)}:9999/", check=False).returncode == 7
    assert ben.run("ping", "anna", "-c", "2").returncode == 0


def test_the_kernel_is_told_that_nobody_is_there(attached: Computers) -> None:
    for target in ("25.9.9.9", "fd75:6c61:6e00::9"):
        result = attached.from_ben("ping", "-n", "-c", "1", "-W", "30", target, check=False)
        assert "nreachable" in result.stdout, result.stdout


def test_status_says_what_is_attached(attached: Computers) -> None:
    told = attached.ben.status()["bridges"]["tap"]
    assert told["name"] == "lan0"
    assert told["mtu"] == 1420
    assert told["addresses"] == [f"{attached.address(attached.ben)}/8", f"{attached.address(attached.ben, 6)}/48"]
    assert told["counters"]["frames-in"] > 0
    assert "tap  attached lan0" in attached.ben.run("status").stdout
    again = attached.ben.run("tap", "--name", "lan1", check=False)
    assert again.returncode == 1
    assert again.stderr == "userlan: this computer is attached already: `userlan tap --detach` ends that\n"


def test_nothing_remains_however_it_ends(two: Computers) -> None:
    ben = two.ben
    before = traces(ben.namespace)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = tap_up(ben, "--mtu", "1300")
        assert "mtu 1300" in ben.namespace.run("ip", "link", "show", "lan0").stdout
        os.kill(process.pid, number)
        assert process.wait(60) == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        until(lambda: traces(ben.namespace) == before, 60, f"no trace after {number!r}")
    process = tap_up(ben)
    assert ben.run("tap", "--detach").stdout == "detached lan0\n"
    assert process.wait(60) == 0
    assert traces(ben.namespace) == before
    assert ben.run("tap", "--detach", check=False).returncode == 1
    assert ben.status()["bridges"]["tap"] is None
    for stop in (ben.kill, ben.stop):
        process = tap_up(ben)
        stop()
        until(lambda: "waiting" in (ben.folder / "tap.log").read_text(), 60, "the command waits for the next node")
        process.kill()
        process.wait(60)
        until(lambda: traces(ben.namespace) == before, 60, "no trace after the end of both, by kill -9 too")
        ben.up()


def test_a_node_attaches_at_its_start(two: Computers) -> None:
    """And does all of it by itself; kill -9 leaves nothing either."""
    ben = two.ben
    before = traces(ben.namespace)
    ben.stop()
    before = traces(ben.namespace)
    ben.config.write_text("name: ben\ntap: {attach: yes, name: home0, mtu: 1400}\n")
    ben.up()
    link = ben.namespace.run("ip", "addr", "show", "home0").stdout
    assert "mtu 1400" in link
    assert f"inet {two.address(ben)}/8" in link
    assert f"inet6 {two.address(ben, 6)}/48" in link
    ben.wait_state("anna", "direct")
    for name in ("home0", "lan0"):
        with pytest.raises(ApiError, match="this computer is attached already: `userlan tap --detach` ends that"):
            ben.call("tap", name=name)
    assert "1 received" in two.from_ben("ping", "-n", "-c", "1", "-W", "30", two.address(two.anna)).stdout
    ben.namespace.ip("link", "del", "home0")
    until(lambda: ben.status()["bridges"]["tap"] == "detached: the interface was removed", 60, "the node notices")
    ben.stop()
    ben.up()
    ben.kill()
    until(lambda: traces(ben.namespace) == before, 60, "no trace after kill -9")


def test_a_path_that_is_narrower_than_the_interface(two: Computers) -> None:
    """The tunnel finds out what the path carries (RFC 8899), and the kernel hears of it (RFC 1191): nothing gets lost."""
    for member in (two.anna, two.ben):
        tap_up(member)
    target = two.address(two.anna)
    forced = ("ping", "-n", "-M", "do", "-W", "2", "-c", "1", "-s", "1392", target)
    until(lambda: two.from_ben(*forced, check=False).returncode == 0, 60, "the whole MTU is carried")
    for space in (two.ben.namespace, two.anna.namespace):
        space.ip("link", "set", "eth0", "mtu", "1400")
    large = ("ping", "-n", "-W", "1", "-c", "1", "-s", "1392", target)

    def narrower() -> bool:
        two.from_ben(*large, check=False)       # what confirms the size in use is that large packets are sent
        return "mtu" in (refused := two.from_ben(*forced, check=False)).stdout + refused.stderr

    until(narrower, 60, "the kernel is told the path's MTU", 0.3)
    assert "1 received" in two.from_ben(*large, "-W", "30").stdout, "in fragments"
    (two.folder / "file").write_bytes(os.urandom(3_000_000))
    command = ("python3", "-m", "http.server", "8000", "--bind", "0.0.0.0", "--directory", str(two.folder))
    two.anna.namespace.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: ":8000" in two.anna.namespace.run("ss", "-ltn").stdout, 60, "http.server listens")
    fetched = two.from_ben("curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{size_download}", f"http://{target}:8000/file")
    assert fetched.stdout == "3000000"


WITHOUT = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


def test_a_node_without_privileges(two: Computers) -> None:
    """It says what is needed; and where the command has the right, the node needs none."""
    if shutil.which("setpriv") is None:
        pytest.skip("the program setpriv is missing")
    ben = two.ben
    ben.stop()
    alone = ben.namespace.run(*WITHOUT, *ben._command("tap"), check=False)
    assert (alone.returncode, "sudo userlan tap" in alone.stderr) == (1, True)
    assert "no node runs" in ben.namespace.run(*ben._command("status"), check=False).stderr, "a node was started in vain, and left"
    with ben.log.open("ab") as log:
        begin = log.tell()
        ben.process = ben.namespace.start(*WITHOUT, *ben._command("up"), stdout=log, stderr=log)
    wait_for_line(ben.log, "ready", ben.process, begin)
    ben.wait_state("anna", "direct")
    refused = ben.namespace.run(*WITHOUT, *ben._command("tap"), check=False)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "sudo userlan tap" in line
    assert "setcap cap_net_admin+ep" in line
    process = tap_up(ben)
    assert "1 received" in two.from_ben("ping", "-n", "-c", "1", "-W", "30", two.address(two.anna)).stdout
    end(process)
    ben.stop()
    ben.config.write_text("name: ben\ntap: {attach: yes}\n")
    started = ben.namespace.run(*WITHOUT, *ben._command("up"), check=False)
    assert started.returncode == 1
    assert any(line.startswith("userlan: ") and "sudo userlan tap" in line for line in started.stderr.splitlines()), started.stderr


def test_an_interface_follows_its_addresses(lab: Lab) -> None:
    needed()
    script = """
import os, subprocess
from userlan.driver.tap.device import TapError, open_tap, name_of, stack_ports
from userlan.driver.tap.setup import InterfaceSetup
tap = open_tap("lan7")
assert name_of(tap) == "lan7"
for wrong in ("", "a" * 16, "a/b", "..", "lan7"):
    try:
        open_tap(wrong)
    except TapError as error:
        assert not error.forbidden
    else:
        raise AssertionError(wrong)
setup = InterfaceSetup("lan7", bytes.fromhex("026c00000001"), 1400)
def shown():
    lines = subprocess.run(["ip", "-o", "addr", "show", "lan7", "scope", "global"], capture_output=True, text=True).stdout
    return [line.split()[3] for line in lines.splitlines()]
for addresses in (["fd75::1/48"], ["25.1.2.3/8", "fd75::1/48"], ["25.1.2.4/8", "fd75::1/48"], []):
    setup.follow(addresses)
    assert shown() == addresses, (shown(), addresses)
low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
first, last = stack_ports()
assert first <= last and (first > high or last < low)
print("followed")
"""
    assert lab.namespace("space").run(sys.executable, "-c", script).stdout == "followed\n"
