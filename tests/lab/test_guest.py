"""``userlan guest``: a phone with a stock WireGuard program behind its router, in the LAN through a node."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab import phone as phones
from tests.lab.network import ECHO_PATIENCE, Lab, Namespace, answered, echoes, end, until
from tests.lab.phone import Phone
from tests.lab.test_run_lan import SEEK
from tests.lab.test_tap import ECHO
from tests.lab.userlan_process import PATIENCE, Mediator, Member, together, wait_for_line
from userlan.tunnel.constants import REKEY_AFTER_TIME

pytestmark = pytest.mark.lab

MEDIATOR, ANNA, BEN, WIFI, MOBILE = (f"44.0.0.{number}" for number in (1, 2, 3, 8, 9))
SIZE = 5_000_000

ASK = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
for size in map(int, sys.argv[2:]):
    data = bytes(number * 7 % 256 for number in range(size))
    for _ in range(10):     # the first one may be what tells how large the path is
        client.sendto(data, (sys.argv[1], 7007))
        try:
            assert client.recv(65535) == data, size
            break
        except TimeoutError:
            continue
    else:
        sys.exit(f"{size} octets got no answer")
print("echoed")
"""
HEAR = """
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 7777))
interface = struct.pack("=4s4si", socket.inet_aton("239.7.7.7"), bytes(4), socket.if_nametoindex(sys.argv[1]))
server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, interface)
print("ready", flush=True)
while True:
    data, source = server.recvfrom(9000)
    server.sendto(b"here: " + data, source)
"""


@attrs.define
class Scene:
    """Anna's node has a guest, the phone; Ben is another member."""

    lab: Lab
    folder: Path
    anna: Member
    ben: Member
    phone: Phone
    routers: dict[str, Namespace]
    ipv4: str
    ipv6: str

    def inside(self, *program: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A program of Ben's inside the LAN."""
        return self.ben.run("run", "--", *program, check=check, timeout=2 * ECHO_PATIENCE)

    def row(self, name: str = "phone") -> dict[str, Any]:
        return next(row for row in self.anna.call("status")["bridges"]["guests"] if row["name"] == name)

    def answers(self, *options: str, patience: int = 1) -> bool:
        """Whether the phone reaches Ben by now."""
        address = self.ben.call("status")["self"]["ipv4"]
        return self.phone.run("ping", "-n", "-c", "1", "-W", str(patience), *options, address, check=False).returncode == 0

    def is_reached(self) -> bool:
        """Whether a program of Ben's reaches the phone."""
        return self.inside("ping", "-c", "1", "-W", "1", self.ipv4, check=False).returncode == 0


def router(lab: Lab, internet: Namespace, name: str, outside: str, phone: Namespace, number: int) -> Namespace:
    """A home's or an operator's, with a NAT."""
    made = lab.namespace(name)
    lab.attach(internet, made, f"{outside}/24", "wan")
    lab.wire(made, phone, "lan", name)
    made.ip("addr", "add", f"192.168.{number}.1/24", "dev", "lan")
    phone.ip("addr", "add", f"192.168.{number}.2/24", "dev", name)
    made.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    made.nft('table ip nat { chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }; }')
    return made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    reason = phones.missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("guest")
    with Lab(folder) as lab:
        spaces = {name: lab.namespace(name) for name in ("mediator", "anna", "ben", "phone")}
        hosts = zip(("mediator", "anna", "ben"), (MEDIATOR, ANNA, BEN), strict=True)
        internet = lab.switch("internet", [(spaces[name], f"{address}/24") for name, address in hosts])
        outside = (("wifi", WIFI, 1), ("mobile", MOBILE, 2))
        routers = {name: router(lab, internet, name, address, spaces["phone"], number) for name, address, number in outside}
        spaces["phone"].ip("route", "add", "default", "via", "192.168.1.1")
        mediator = Mediator(spaces["mediator"], folder / "mediator", f"{MEDIATOR}:41414")
        anna, ben = (Member(spaces[name], folder / name, name) for name in ("anna", "ben"))
        together((anna, ben), "--mediator", mediator.url)
        added = anna.run("guest", "add", "phone")
        phone = Phone(spaces["phone"], folder, added.stdout)
        row = anna.call("guest-list")["guests"][0]
        made = Scene(lab, folder, anna, ben, phone, routers, row["ipv4"], row["ipv6"])
        until(made.answers, PATIENCE, "the phone reaches ben")
        (folder / "site").mkdir()
        (folder / "site" / "file").write_bytes(os.urandom(SIZE))
        yield made


def test_it_is_a_member_as_any_other(scene: Scene) -> None:
    until(lambda: scene.row()["state"] == "online", PATIENCE, "the guest is shown as online")
    row = scene.row()
    assert row["networks"] == ["home"]
    assert row["endpoint"].startswith(f"{WIFI}:")
    peer = scene.ben.wait_state("phone", "direct")
    assert (peer["ipv4"], peer["ipv6"], peer["key"]) == (scene.ipv4, scene.ipv6, row["key"])
    shown = scene.anna.run("guest", "show", "phone")
    assert f"Endpoint = {ANNA}:{row['port']}" in shown.stdout
    secret = scene.anna.folder / "guests" / "phone" / "guest.json"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert json.loads(scene.anna.run("guest", "list", "--json").stdout)[0]["handshake"] >= scene.phone.handshakes() - 2


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [56, 1340, 20_000])
def test_ping(scene: Scene, version: int, size: int) -> None:
    """By kernels, both ways; more than the phone's interface takes comes in fragments, whoever makes them: of IPv6 Ben's kernel, once
    his node has measured the path, at the price of the packets that are under way until it is told."""
    there = scene.ben.call("status")["self"][f"ipv{version}"]
    sized = ("-M", "dont", "-s", str(size))
    told = scene.phone.run("ping", *echoes(4), *sized, there, timeout=2 * ECHO_PATIENCE).stdout
    assert answered(told, 4) == [1, 2, 3, 4], told
    back = scene.ipv4 if version == 4 else scene.ipv6
    asked = shlex.join(("ping", *echoes(4), *sized, back))
    if version == 6 and size > 56:      # of this namespace, which ends with its program
        once = shlex.join(("ping", "-n", "-c", "1", "-W", "1", *sized, back))
        asked = f"until {once} >/dev/null; do :; done; {asked}"
    told = scene.inside("sh", "-c", asked).stdout
    assert answered(told, 4) == [1, 2, 3, 4], told


def test_who_forbids_fragments_is_told(scene: Scene) -> None:
    """By the companion, or by Ben's own node once it has measured the path (RFC 1191 4): the phone's interface takes 1280 octets."""
    again = scene.inside("ping", "-n", "-c", "4", "-i", "0.2", "-W", "5", "-M", "do", "-s", "1340", scene.ipv4, check=False).stdout
    assert "mtu = 1280" in again or "mtu=1280" in again or "mtu: 1280" in again, again


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_of_every_size(scene: Scene, version: int) -> None:
    """From a member's kernel to a server on the phone, and back: nothing on the way may depend on who cuts them."""
    script = scene.folder / "echo.py"
    script.write_text(ECHO)
    log = scene.folder / "echo.log"
    with log.open("wb") as file:
        server = scene.phone.namespace.start("python3", "-u", str(script), stdout=file, stderr=file)
    wait_for_line(log, "ready", server)
    target = scene.ipv4 if version == 4 else scene.ipv6
    try:
        sizes = ("1", "1200", "1240", "1300", "1372", "1400", "4000", "40000")
        assert scene.inside(sys.executable, "-c", ASK, target, *sizes).stdout == "echoed\n"
    finally:
        end(server)


def test_names(scene: Scene) -> None:
    """Those of the LAN, and of the Internet what the node's computer knows: here, nothing."""
    anna = scene.anna.call("status")["self"]
    dig = ("dig", "+short", "+time=20", "+tries=2", f"@{scene.phone.resolver}")
    assert scene.phone.run(*dig, "anna.home.internal").stdout.split() == [anna["ipv4"]]
    assert scene.phone.run(*dig, "anna.home.internal", "AAAA").stdout.split() == [anna["ipv6"]]
    assert scene.phone.run(*dig, "+tcp", "ben.home.internal").stdout.split() == [scene.ben.call("status")["self"]["ipv4"]]
    assert scene.inside("getent", "ahostsv4", "phone.home.internal").stdout.split()[0] == scene.ipv4


@pytest.mark.parametrize("version", [4, 6])
def test_services_both_ways(scene: Scene, version: int) -> None:
    """The phone fetches from a service that Anna exposes, through her own stack; a member's kernel from a server on the phone."""
    digest = hashlib.sha256((scene.folder / "site" / "file").read_bytes()).hexdigest()
    serve = ("python3", "-m", "http.server", "--directory", str(scene.folder / "site"))
    servers = [
        scene.anna.namespace.start(*serve, "--bind", "127.0.0.1", "9000", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        scene.phone.namespace.start(*serve, "--bind", "::", "9001", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    ]
    anna = scene.anna.call("status")["self"][f"ipv{version}"]
    own = scene.ipv4 if version == 4 else scene.ipv6
    target = scene.folder / "got"
    fetch = ("curl", "-sSg", "-m", "50", "-o", str(target))
    for space, port in ((scene.anna.namespace, 9000), (scene.phone.namespace, 9001)):
        until(lambda space=space, port=port: f":{port}" in space.run("ss", "-ltn").stdout, PATIENCE, "http.server listens")
    try:
        scene.anna.run("expose", "9000")
        for run, host, port in ((scene.phone.run, anna, 9000), (scene.inside, own, 9001)):
            target.unlink(missing_ok=True)
            run(*fetch, f"http://{f'[{host}]' if version == 6 else host}:{port}/file")
            assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
        proxy = scene.ben.call("status")["bridges"]["proxy"]
        target.unlink()
        scene.ben.namespace.run(*fetch, "-x", f"socks5h://{proxy}", "http://phone.home:9001/file")
        assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    finally:
        scene.anna.run("unexpose", "9000")
        for server in servers:
            end(server)


def test_groups_and_broadcasts(scene: Scene) -> None:
    """A program on the phone that has joined a group hears a member who asks there, or everybody."""
    script = scene.folder / "hear.py"
    script.write_text(HEAR)
    log = scene.folder / "hear.log"
    with log.open("wb") as file:
        server = scene.phone.namespace.start("python3", "-u", str(script), phones.INTERFACE, stdout=file, stderr=file)
    wait_for_line(log, "ready", server)
    try:
        for target in ("239.7.7.7", "255.255.255.255", "25.255.255.255"):
            assert scene.inside(sys.executable, "-c", SEEK, target).stdout == f"{scene.ipv4} here: anybody?\n"
    finally:
        end(server)


def test_a_forged_source_goes_nowhere(scene: Scene) -> None:
    """The guest's inner source is exactly its own address (white paper, 5.4.6: cryptokey routing)."""
    stranger = "25.7.7.7"
    scene.phone.namespace.ip("addr", "add", f"{stranger}/32", "dev", phones.INTERFACE)
    try:
        assert not scene.answers("-I", stranger)
        until(lambda: scene.row()["counters"].get("source-foreign"), PATIENCE, "the forged packet is counted")
        assert scene.answers(patience=30)
    finally:
        scene.phone.namespace.ip("addr", "del", f"{stranger}/32", "dev", phones.INTERFACE)


def test_roaming(scene: Scene) -> None:
    """The phone leaves the house: the same session goes on from another address, both ways."""
    handshake = scene.phone.handshakes()
    scene.phone.namespace.ip("route", "replace", "default", "via", "192.168.2.1")
    until(scene.answers, PATIENCE, "the phone reaches ben from elsewhere")
    until(lambda: str(scene.row()["endpoint"]).startswith(f"{MOBILE}:"), PATIENCE, "the guest is seen elsewhere")
    assert answered(scene.inside("ping", *echoes(1), scene.ipv4).stdout, 1) == [1]
    session = scene.phone.handshakes()
    assert session == handshake or session - handshake >= REKEY_AFTER_TIME - 1, "but for one that was old enough to be renewed"


def test_a_phone_that_starts_again(scene: Scene) -> None:
    before = scene.row()["endpoint"]
    scene.phone.restart()
    until(scene.answers, PATIENCE, "the phone reaches ben again")
    until(lambda: scene.row()["endpoint"] != before, PATIENCE, "the guest is seen at another port")


def test_a_companion_that_dies(scene: Scene) -> None:
    """It is started again, has its address and port, and calls the phone where it was last: nobody need wait for the phone to notice."""
    kept = scene.anna.folder / "guests" / "phone" / "guests.json"

    def known() -> bool:
        return kept.exists() and str(json.loads(kept.read_text())[1]) in str(scene.row()["endpoint"])

    until(known, PATIENCE, "where the phone is was kept")
    before = scene.row()
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: scene.row()["pid"] not in (None, before["pid"]), PATIENCE, "a companion runs again")
    until(scene.is_reached, PATIENCE, "ben reaches the phone again")
    after = scene.row()
    assert [after[key] for key in ("ipv4", "ipv6", "key", "port")] == [before[key] for key in ("ipv4", "ipv6", "key", "port")]


def test_a_node_that_is_killed(scene: Scene) -> None:
    """Its companions end with it, and come up with it."""
    pid = scene.row()["pid"]
    scene.anna.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE, "the companion has ended")
    scene.anna.up()
    until(scene.is_reached, PATIENCE, "ben reaches the phone again")
    assert scene.answers(patience=30)


def test_another_guest_that_is_evicted(scene: Scene) -> None:
    """It is out, says so, does not come back by itself, and can be removed."""
    file = scene.folder / "tablet.conf"
    scene.anna.run("guest", "add", "tablet", "--endpoint", "vpn.example.org:4000", "--networks", "home", "--mtu", "1400", "-o", str(file))
    lines = file.read_text().splitlines()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Endpoint = vpn.example.org:4000" in lines
    assert "MTU = 1400" in lines
    until(lambda: scene.ben.peer("tablet"), PATIENCE, "ben sees the tablet")
    scene.anna.run("evict", "tablet")
    until(lambda: scene.ben.peer("tablet") is None, PATIENCE, "ben sees no tablet any more")
    until(lambda: "evicted" in str(scene.row("tablet")["trouble"]), PATIENCE, "the tablet says that it was evicted")
    assert scene.row("tablet")["networks"] == []
    assert scene.anna.run("guest", "remove", "tablet").stdout == "removed tablet\n"
    assert scene.row()["networks"] == ["home"]


def test_removed(scene: Scene) -> None:
    """The last one: it leaves the network, its keys are forgotten, and nothing of it is left."""
    pid = scene.row()["pid"]
    assert scene.anna.run("guest", "remove", "phone").stdout == "removed phone\n"
    assert scene.anna.call("guest-list")["guests"] == []
    until(lambda: scene.ben.peer("phone") is None, PATIENCE, "ben sees no phone any more")
    assert not (scene.anna.folder / "guests" / "phone").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not scene.answers()
    refused = scene.anna.run("guest", "show", "phone", check=False)
    assert (refused.returncode, refused.stderr) == (1, "userlan: there is no guest 'phone' (there are: none)\n")
