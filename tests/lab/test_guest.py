"""``userlan guest``: a phone with a stock WireGuard program behind its router, in the LAN through a node."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab import phone as phones
from tests.lab.network import Lab, Namespace, until
from tests.lab.phone import Phone
from tests.lab.userlan_process import Mediator, Member, together

pytestmark = pytest.mark.lab

MEDIATOR, ANNA, BEN, WIFI, MOBILE = (f"44.0.0.{number}" for number in (1, 2, 3, 8, 9))
SIZE = 5_000_000
LAN_LINE = "ping: connect: Network is unreachable"

ECHO = """
import socket
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7007))
print("ready", flush=True)
while True:
    data, source = server.recvfrom(65535)
    server.sendto(data, source)
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
        return self.ben.run("run", "--", *program, check=check)

    def row(self) -> dict[str, Any]:
        (row,) = self.anna.call("guest-list")["guests"]
        return dict(row)

    def answers(self, *options: str) -> bool:
        """Whether the phone reaches Ben by now."""
        address = self.ben.call("status")["self"]["ipv4"]
        return self.phone.run("ping", "-n", "-c", "1", "-W", "1", *options, address, check=False).returncode == 0


def router(lab: Lab, internet: Namespace, name: str, outside: str, phone: Namespace, number: int) -> Namespace:
    """A home's or an operator's, with a NAT."""
    made = lab.namespace(name)
    lab.attach(internet, made, f"{outside}/24", "wan")
    lab.wire(made, phone, "lan", name)
    made.ip("addr", "add", f"192.168.{number}.1/24", "dev", "lan")
    phone.ip("addr", "add", f"192.168.{number}.2/24", "dev", name)
    made.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    made.nft('table ip nat { chain post { type nat hook postrouting priority 100; oifname "wan" masquerade } }')
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
        until(made.answers, 30, "the phone reaches ben")
        (folder / "site").mkdir()
        (folder / "site" / "file").write_bytes(os.urandom(SIZE))
        yield made


def test_it_is_a_member_as_any_other(scene: Scene) -> None:
    row = scene.row()
    assert (row["state"], row["networks"]) == ("online", ["home"])
    assert row["endpoint"].startswith(f"udp {WIFI}:")
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
    """By kernels, both ways; more than the phone's interface takes comes in fragments, whoever made them."""
    there = scene.ben.call("status")["self"][f"ipv{version}"]
    options = ("-n", "-c", "2", "-i", "0.1", "-W", "5", "-s", str(size))
    assert "2 received" in scene.phone.run("ping", *options, there).stdout
    back = scene.ipv4 if version == 4 else scene.ipv6
    assert "2 received" in scene.inside("ping", *options, back).stdout
