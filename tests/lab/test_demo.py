"""``userlan demo --once``: what it shows, how it ends, and that it stays on loopback."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.lab.network import Lab, Namespace, tun_unavailable

pytestmark = pytest.mark.lab

PATIENCE = 230.0
"""Seconds: it takes twelve on an idle computer."""
GAMES = r"\n +25\.[\d.]+: (anna|carla) plays, come in\n +25\.[\d.]+: (?!\1)(anna|carla) plays, come in\n"

REFUSED = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin --inh-caps=-all \"$@\""
"""The shell's: a system that allows no namespaces, and a user who may make none."""


def sent(space: Namespace, interface: str) -> int:
    """Packets that have left by an interface."""
    (told,) = json.loads(space.run("ip", "-json", "-statistics", "link", "show", interface).stdout)
    packets: int = told["stats64"]["tx"]["packets"]
    return packets


def test_the_demo_shows_all_and_stays_on_loopback(lab: Lab, tmp_path: Path) -> None:
    """The computer has a network with a default route by which nothing may leave: neither to a router nor by multicast."""
    space, router = lab.namespace("computer"), lab.namespace("router")
    lab.wire(space, router, "eth0", "lan")
    space.run("sh", "-c", "[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    space.ip("addr", "add", "192.168.1.2/24", "dev", "eth0")
    space.ip("route", "add", "default", "via", "192.168.1.1")
    before = sent(space, "eth0")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    told = space.run(sys.executable, "-m", "userlan", "demo", "--once", timeout=PATIENCE, env=environment).stdout
    assert re.search(r"bytes from carla .* relay rita\n.* direct tcp 127\.0\.0\.1:\d+ — now direct\n", told), told
    assert re.search(r"kill -9 .*\n +64\.0 MiB in .* SHA-256 right\n", told), told
    assert re.search(r"anna +Holiday pictures +_http\._tcp +http://127\.[\d.:]+/ +bonjour\n", told), told
    assert re.search(r"curl http://127\..* no proxy.*\n +You have found anna's holiday pictures\.\n", told), told
    assert re.search(r"by SOCKS5's UDP ASSOCIATE" + GAMES, told), told
    assert tun_unavailable() or re.search(r"ben\$ userlan run -- game" + GAMES, told), told
    assert re.search(r"carla\$ userlan ping anna\n.*bytes from anna ", told), told
    assert re.search(r"carla\$ userlan ping ben\n.*bytes from ben ", told), told
    assert re.search(r'ben\$ userlan chat anna ".*"\n +delivered\n', told), told
    assert re.search(r"carla\$ userlan chat home --history\n +anna: ", told), told
    assert re.search(r"anna\$ userlan inbox accept .*\n +film\.bin in .*, SHA-256 right\n", told), told
    assert len(re.findall(r"userlan open +http://127\.0\.0\.1:\d+/\?token=", told)) == 3, told
    assert list(tmp_path.iterdir()) == [], "something is left behind"
    assert sent(space, "eth0") == before


def test_what_a_system_does_not_allow_is_said_and_passed_over(lab: Lab, tmp_path: Path) -> None:
    """A container: no network, no multicast, no namespaces for programs."""
    space = lab.namespace("container")
    space.nft("table ip deaf { chain in { type filter hook input priority 0; ip daddr 224.0.0.0/4 drop; }; }")
    demo = [sys.executable, "-m", "userlan", "demo", "--once"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    told = space.run("unshare", "-Ur", "sh", "-c", REFUSED, "sh", *demo, timeout=PATIENCE, env=environment).stdout
    assert re.search(r'Bonjour cannot be shown, .*\n +anna\$ userlan expose \d+ --as 8080 --name "Holiday pictures"\n', told), told
    assert re.search(r"anna +Holiday pictures +_http\._tcp +http://127\.[\d.]+:8080/ +exposed\n", told), told
    assert re.search(r"You have found anna's holiday pictures\.\n", told), told
    assert re.search(r"by SOCKS5's UDP ASSOCIATE" + GAMES, told), told
    assert re.search(r"ben\$ userlan run -- game\n +not on this system: .*`sudo sysctl user\.max_user_namespaces=16384`", told), told
    assert re.search(r"\nIt works: ", told), told
    assert re.search(r'ben\$ userlan chat anna ".*"\n +delivered\n', told), told
    assert re.search(r"carla\$ userlan chat home --history\n +anna: ", told), told
    assert re.search(r"anna\$ userlan inbox accept .*\n +film\.bin in .*, SHA-256 right\n", told), told
    assert len(re.findall(r"userlan open +http://127\.0\.0\.1:\d+/\?token=", told)) == 3, told
    assert list(tmp_path.iterdir()) == [], "something is left behind"
