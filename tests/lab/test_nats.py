"""Each NAT of the lab does what its kind says (RFC 4787, RFC 5382): mapping, filtering and allocation, as plain programs see them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import attrs
import pytest

from tests.lab.internet import HOPS
from tests.lab.nats import (
    ADDRESS_DEPENDENT,
    ADM,
    APDM,
    CHUNKED,
    DOUBLE,
    EIM,
    IPV6,
    KINDS,
    MOVING,
    ONLY_443,
    OPEN,
    PORT_RESTRICTED,
    PROHIBITING,
    RESETTING,
    RESTRICTED_CONE,
    SHORT_LIVED,
    UDP_BLOCKED,
    Kind,
)  # fmt: skip
from tests.lab.network import Lab, unavailable
from tests.lab.sites import ROOT, Site, World
from userlan.traversal.nat import Policy

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

HOSTS = ("44.0.0.1", "44.0.0.2")
PORTS = (3478, 3479, 443)
OBSERVER = (sys.executable, "-m", "tests.lab.observer")
ONE_WAY = 0.01
"""Seconds: these tests are not about time."""


@attrs.define
class Looks:
    """One home of each kind, and what was seen from it."""

    world: World
    observer: Site
    sites: dict[str, Site]
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looks]:
    """All kinds at once."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        world = World(lab, ONE_WAY)
        observer = world.public("observer", (*HOSTS, "2a00::1"))
        sites = dict(zip((kind.name for kind in KINDS), world.sites(KINDS), strict=True))
        server = observer.host.start(*OBSERVER, "serve", *HOSTS, *map(str, PORTS), stdout=subprocess.PIPE, cwd=str(ROOT))
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        asked = {name: look(site) for name, site in sites.items()}
        found = {name: json.loads(process.communicate(timeout=60)[0]) for name, process in asked.items()}
        yield Looks(world, observer, sites, found)


def look(site: Site) -> subprocess.Popen[bytes]:
    return site.host.start(*OBSERVER, "look", *HOSTS, *map(str, PORTS), stdout=subprocess.PIPE, cwd=str(ROOT))


def mapping(seen: list[list[Any]]) -> str:
    """RFC 4787 4.1, from how each of the server's endpoints sees one socket."""
    first, second = seen[: len(PORTS)], seen[len(PORTS) :]
    if all(endpoint == seen[0] for endpoint in seen):
        return EIM
    return ADM if all(row == [row[0]] * len(row) for row in (first, second)) else APDM


def filtering(report: dict[str, Any]) -> str:
    """RFC 4787 5."""
    return EIM if report["other-address"] else ADM if report["other-port"] else APDM


def allocation(report: dict[str, Any], policy: Policy, noise: int) -> str:
    """RFC 4787 4.2, from fresh sockets' ports one after the other; ``noise``: mappings of others at most between two of them."""
    if all(own == outside for own, _, outside in report["series"]):
        return "preserving"
    ports = [outside for _, _, outside in report["series"]]
    steps = [(after - before) % 65536 for before, after in pairwise(ports)]
    step = policy.step or 1
    if all(0 < jump <= step * (1 + noise) and jump % step == 0 for jump in steps):
        return "incremental"
    return "chunked" if max(ports) - min(ports) < 256 else "random"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_nat_is_what_it_is_called(looks: Looks, kind: Kind, transport: str) -> None:
    report, policy = looks.found[kind.name][transport], getattr(kind.nat, transport)
    assert (report is not None) == policy.passes
    if report is None:
        return
    if kind is ONLY_443:
        assert len(report["seen"]) == 2, "only port 443 of both hosts is reached"
    else:
        assert mapping(report["seen"]) == policy.mapping
    noise = round((kind.character or {}).get("noise", 0) * max(1.0, looks.found[kind.name]["seconds"]))
    assert allocation(report, policy, noise) == policy.allocation
    hosts = {host for host, _ in report["seen"]} | {host for _, host, _ in report["series"]}
    assert hosts <= set(looks.sites[kind.name].addresses)
    assert (len(hosts) > 1) == (kind.nat.pooling == "arbitrary")
    if transport == "udp":
        assert filtering(report) == policy.filtering
        assert report["hairpin"] == (kind is OPEN or kind.nat.hairpin)


ANSWERS = {OPEN.name: "connected", RESETTING.name: "refused", MOVING.name: "refused", PROHIBITING.name: "unreachable"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_strangers_syn(looks: Looks, kind: Kind) -> None:
    """RFC 5382 REQ-4, from another port of a host to which the connection is open."""
    answer = "silence" if kind.nat.tcp.filtering == APDM else "connected"
    assert looks.found[kind.name]["tcp"]["unsolicited"] == ANSWERS.get(kind.name, answer)


def wait(site: Site, seconds: float, *more: str) -> subprocess.Popen[bytes]:
    """Whether an answer after so many seconds comes in (``late``) or not (``nothing``); it has been asked for."""
    command = (*OBSERVER, "wait", HOSTS[0], str(PORTS[0]), str(seconds), *more)
    process = site.host.start(*command, stdout=subprocess.PIPE, cwd=str(ROOT))
    assert process.stdout is not None
    assert process.stdout.readline() == b"asked\n"
    return process


def test_a_mapping_lives_as_long_as_it_is_refreshed(looks: Looks) -> None:
    """RFC 4787 4.3, REQ-5 and REQ-6; here with 2 s instead of 30, for the sake of the tests' time."""
    assert ADDRESS_DEPENDENT.character is not None
    shorter = attrs.evolve(SHORT_LIVED, udp_timeout=2)
    boxed = attrs.evolve(ADDRESS_DEPENDENT, character={**ADDRESS_DEPENDENT.character, "lifetime": 2.0})
    sites = [looks.world.site(shorter), looks.world.site(boxed)]
    idle, kept = [wait(site, 3.5) for site in sites], [wait(site, 3.5, "keep") for site in sites]
    longer = wait(looks.sites[PORT_RESTRICTED.name], 3.5)
    assert [process.communicate(timeout=60)[0] for process in idle] == [b"nothing\n"] * 2
    assert [process.communicate(timeout=60)[0] for process in (*kept, longer)] == [b"late\n"] * 3


@pytest.mark.parametrize("kind", [PORT_RESTRICTED, ADDRESS_DEPENDENT], ids=lambda kind: kind.name)
def test_a_reboot_forgets_the_mappings(looks: Looks, kind: Kind) -> None:
    site = looks.sites[kind.name]
    before = wait(site, 0.3)
    assert before.communicate(timeout=60)[0] == b"late\n"
    waiting = wait(site, 4.0)       # long enough to reboot meanwhile
    looks.world.reboot(site)
    assert waiting.communicate(timeout=60)[0] == b"nothing\n"


def test_ipv6_passes_and_strangers_do_not(looks: Looks) -> None:
    """A home with IPv6 and the usual firewall (RFC 6092 REC-11): out, and nothing unasked for in."""
    site = looks.sites[IPV6.name]
    own = f"2a00:{KINDS.index(IPV6) + 1:x}::2"
    assert site.host.run("ping", "-c", "1", "-W", "20", "2a00::1").returncode == 0
    assert looks.observer.host.run("ping", "-c", "1", "-W", "1", own, check=False).returncode == 1


def test_double_nat_is_a_hop_longer(looks: Looks) -> None:
    """Two routers before the Internet: a packet that may be forwarded once beside the Internet's hops does not pass the second one."""
    for kind, passes in ((PORT_RESTRICTED, True), (DOUBLE, False)):
        patience = "20" if passes else "1"
        result = looks.sites[kind.name].host.run("ping", "-c", "1", "-W", patience, "-t", str(HOPS + 2), HOSTS[0], check=False)
        assert (result.returncode == 0) == passes, result.stdout


def test_early_packets_move_the_port_of_a_nat_that_keeps_a_state_of_them(looks: Looks) -> None:
    """What a plan must avoid by its timing: a stranger's packet takes the place that the own one would have had."""
    moved: dict[str, bool] = {}
    for kind in (MOVING, PORT_RESTRICTED):
        site = looks.sites[kind.name]
        port = 20_000 + len(moved)
        send = f"import socket; one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(('{HOSTS[1]}', {port})); " \
               f"one.sendto(b'early', ('{site.addresses[0]}', {port}))"
        looks.observer.host.run(sys.executable, "-c", send)
        time.sleep(1.0)     # as long as it may take to get there: nothing answers
        receive = f"import socket; one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(('{HOSTS[1]}', {port})); " \
                  "one.settimeout(60); print('ready', flush=True); print(one.recvfrom(100)[1][1])"
        receiver = looks.observer.host.start(sys.executable, "-c", receive, stdout=subprocess.PIPE)
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == b"ready\n"
        own = f"import socket; one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(('0.0.0.0', {port})); " \
              f"one.sendto(b'own', ('{HOSTS[1]}', {port}))"
        site.host.run(sys.executable, "-c", own)
        moved[kind.name] = int(receiver.communicate(timeout=60)[0]) != port
    assert moved == {MOVING.name: True, PORT_RESTRICTED.name: False}


def test_a_restricted_cone_knows_whom_it_has_sent_to(looks: Looks) -> None:
    """RFC 4787 5: the filter's state is the pair of the own port and the other's address, not the address alone."""
    assert looks.found[RESTRICTED_CONE.name]["udp"]["other-port"]
    assert not looks.found[RESTRICTED_CONE.name]["udp"]["other-address"]


def test_blocked_transports(looks: Looks) -> None:
    assert looks.found[UDP_BLOCKED.name]["udp"] is None
    assert len(looks.found[UDP_BLOCKED.name]["tcp"]["seen"]) == len(HOSTS) * len(PORTS)
    assert looks.found[CHUNKED.name]["udp"]["series"][0][2] // 256 == 20480 // 256


def test_building_takes_few_processes(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's topology of two homes and a server: what its time goes into."""
    started: list[Any] = []
    begin: Any = subprocess.Popen.__init__

    def counted(self: Any, *arguments: Any, **options: Any) -> None:
        started.append(arguments)
        begin(self, *arguments, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", counted)
    with Lab(looks.world.lab.folder) as lab:
        world = World(lab)
        world.public("server", (HOSTS[0],))
        world.sites([PORT_RESTRICTED, CHUNKED])
        built = len(started)
    assert built <= 24, started
