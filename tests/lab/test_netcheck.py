"""``userlan netcheck`` names each of the lab's NATs rightly: real processes, a mediator with two addresses, 40 ms round trips."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.nats import (
    ADDRESS_DEPENDENT,
    ADM,
    APDM,
    FULL_CONE,
    IPV6,
    KINDS,
    MOVING,
    NOISY,
    ONLY_443,
    OPEN,
    POOLED,
    PORT_RESTRICTED,
    RESTRICTED_CONE,
    SYMMETRIC_STEPPING,
    UDP_BLOCKED,
    Kind,
)
from tests.lab.network import Lab, unavailable
from tests.lab.sites import Site, World
from tests.lab.userlan_process import USERLAN, wait_for_line

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

LISTEN = ("44.0.0.1:41414", "44.0.0.1:443", "44.0.0.2:41414", "44.0.0.2:443", "[2a00::1]:41414")
ONE_ADDRESS = ("44.0.0.1:51414",)
"""A mediator as most people have one: it finds the port beside it by itself."""
ONE_WAY = 0.01
SIDE_BY_SIDE = 4
"""Netchecks at once: their starts share the processors."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The report of each kind."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("netcheck")
    with Lab(folder) as lab:
        world = World(lab, ONE_WAY)
        server = world.public("mediator", ("44.0.0.1", "44.0.0.2", "2a00::1"))
        url = start_mediator(server, folder, LISTEN)
        sites = world.sites(KINDS)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            reports = list(pool.map(lambda site: check(site, folder, url), sites))
        found = {kind.name: report for kind, report in zip(KINDS, reports, strict=True)}
        one = start_mediator(server, folder, ONE_ADDRESS)
        for site in sites:
            if site.kind in (FULL_CONE, PORT_RESTRICTED, SYMMETRIC_STEPPING):
                found[f"{site.kind.name} {ONE_ADDRESS[0]}"] = check(site, folder, one)
        start_relay(world.public("relay", ("44.0.0.3",)), folder, one)
        for site in sites:
            if site.kind in (FULL_CONE, RESTRICTED_CONE, ADDRESS_DEPENDENT):
                found[f"{site.kind.name} relay"] = check(site, folder, one)
        yield found


def start_mediator(server: Site, folder: Path, listen: tuple[str, ...]) -> str:
    log = folder / f"mediator-{len(listen)}.log"
    options = [option for address in listen for option in ("--listen", address)]
    with log.open("wb") as output:
        state = str(folder / f"mediator-{len(listen)}")
        process = server.host.start(*USERLAN, "--state", state, "mediator", *options, stdout=output, stderr=output)
    return wait_for_line(log, "userlan://", process)


def start_relay(server: Site, folder: Path, url: str) -> None:
    log = folder / "relay.log"
    command = (*USERLAN, "--state", str(folder / "relay"), "relay", "--mediator", url, "--listen", "44.0.0.3:3478")
    with log.open("wb") as output:
        process = server.host.start(*command, stdout=output, stderr=output)
    wait_for_line(log, "relay ", process)


def check(site: Site, folder: Path, url: str) -> dict[str, Any]:
    command = (*USERLAN, "--state", str(folder / site.name), "netcheck", "--json", "--mediator", url)
    process = site.host.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    report: dict[str, Any] = json.loads(output)
    return report


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_udp_is_named_rightly(found: dict[str, dict[str, Any]], kind: Kind) -> None:
    """RFC 4787 4.1, 4.2, 5."""
    report, policy = found[kind.name], kind.nat.udp
    udp = report["udp"]
    assert udp["passes"] == policy.passes, report["evidence"]
    if not policy.passes:
        return
    assert (udp["mapping"], udp["allocation"]) == (policy.mapping, policy.allocation), report["evidence"]
    if policy.mapping != APDM:
        assert udp["filtering"] == policy.filtering, report["evidence"]
    if policy.step:
        assert udp["step"] == policy.step, report["evidence"]
    assert report["confidence"] >= 0.85
    assert report["translated"] == kind.nat.translated


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_tcp_is_named_rightly(found: dict[str, dict[str, Any]], kind: Kind) -> None:
    """RFC 5382 4: three groups of connections; a step takes more of them than that."""
    report, policy = found[kind.name], kind.nat.tcp
    tcp = report["tcp"]
    assert tcp["passes"], report["evidence"]
    assert tcp["mapping"] == policy.mapping, report["evidence"]["tcp"]
    if kind is not NOISY:
        assert tcp["allocation"] in (policy.allocation, "unknown"), report["evidence"]["tcp"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_other_properties(found: dict[str, dict[str, Any]], kind: Kind) -> None:
    report, nat = found[kind.name], kind.nat
    if kind in (UDP_BLOCKED, ONLY_443):
        assert report["direct"] == "hardly"
        return
    assert report["pooling"] == nat.pooling, report["evidence"]
    assert report["ipv6"] == nat.ipv6, report["evidence"]
    if kind is OPEN:
        assert report["direct"] == "yes"
        return
    assert report["hairpin"] == nat.hairpin, report["evidence"]
    if nat.udp.mapping != APDM and nat.udp.filtering == APDM:
        assert report["nested"] == nat.nested, report["evidence"]
    if kind is MOVING:
        assert report["early"] == "moves"
    if kind is PORT_RESTRICTED:
        assert report["early"] == "harmless"


def test_each_answer_shows_its_evidence(found: dict[str, dict[str, Any]]) -> None:
    for kind in (RESTRICTED_CONE, SYMMETRIC_STEPPING, POOLED, IPV6):
        assert all(found[kind.name]["evidence"].values())
    assert "44.0.0.2:41414" in "\n".join(found[RESTRICTED_CONE.name]["evidence"]["mapping"])


@pytest.mark.parametrize("kind", [FULL_CONE, PORT_RESTRICTED, SYMMETRIC_STEPPING], ids=lambda kind: kind.name)
def test_one_address_and_two_ports_tell_most_of_it(found: dict[str, dict[str, Any]], kind: Kind) -> None:
    report = found[f"{kind.name} {ONE_ADDRESS[0]}"]
    udp = report["udp"]
    assert (udp["mapping"], udp["allocation"]) == (kind.nat.udp.mapping, kind.nat.udp.allocation), report["evidence"]
    if kind is not SYMMETRIC_STEPPING:
        assert "only one address was asked" in report["evidence"]["mapping"][0]
        assert report["confidence"] < 0.9
        assert udp["filtering"] == (ADM if kind is FULL_CONE else APDM)
    else:
        assert udp["step"] == kind.nat.udp.step


@pytest.mark.parametrize("kind", [FULL_CONE, RESTRICTED_CONE, ADDRESS_DEPENDENT], ids=lambda kind: kind.name)
def test_a_relay_takes_the_second_addresss_place(found: dict[str, dict[str, Any]], kind: Kind) -> None:
    """It is asked itself, and sends the mediator's answers from its own address."""
    report = found[f"{kind.name} relay"]
    assert report["udp"]["mapping"] == kind.nat.udp.mapping, report["evidence"]
    assert report["udp"]["filtering"] == kind.nat.udp.filtering, report["evidence"]
    assert "44.0.0.3:3478" in "\n".join(report["evidence"]["mapping"])
    assert [relay["rtt_ms"] is not None for relay in report["relays"]] == [True]
    assert report["confidence"] >= 0.85


def test_the_verdict_of_each(found: dict[str, dict[str, Any]]) -> None:
    assert {report["direct"] for report in found.values()} == {"yes", "most", "hardly"}
