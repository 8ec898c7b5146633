"""``userlan netcheck`` by one public address: what it tells with two ports alone, and with a relay as the other host."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.nats import ADDRESS_DEPENDENT, ADM, APDM, FULL_CONE, PORT_RESTRICTED, RESTRICTED_CONE, SYMMETRIC_STEPPING, Kind
from tests.lab.network import Lab, unavailable
from tests.lab.sites import Site, World
from tests.lab.userlan_process import USERLAN, wait_for_line

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

ALONE = (FULL_CONE, PORT_RESTRICTED, SYMMETRIC_STEPPING)
WITH_RELAY = (FULL_CONE, RESTRICTED_CONE, ADDRESS_DEPENDENT)
ONE_WAY = 0.01
"""Seconds: these tests are not about time."""
PATIENCE = 180.0
"""Seconds for one command, on a machine that has much else to do."""

Reports = dict[tuple[str, str], dict[str, Any]]
"""By kind's name, and whether there was a relay ("relay") or not ("alone")."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    """A mediator as most people have one: one address, and the port beside its own, which it finds by itself. Then a relay joins it."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("netcheck")
    with Lab(folder) as lab:
        world = World(lab, ONE_WAY)
        server, relay = world.public("mediator", ("44.0.0.1",)), world.public("relay", ("44.0.0.3",))
        url = serve(server, folder, "userlan://", "mediator", "--listen", "44.0.0.1:41414")
        kinds = {kind.name: kind for kind in ALONE + WITH_RELAY}
        sites = dict(zip(kinds, world.sites(list(kinds.values())), strict=True))
        found = {(kind.name, "alone"): check(sites[kind.name], folder, url) for kind in ALONE}
        serve(relay, folder, "relay ", "relay", "--mediator", url, "--listen", "44.0.0.3:3478")
        found |= {(kind.name, "relay"): check(sites[kind.name], folder, url) for kind in WITH_RELAY}
        yield found


def serve(site: Site, folder: Path, ready: str, *command: str) -> str:
    """A server's process; the line that says that it is ready."""
    log = folder / f"{command[0]}.log"
    with log.open("wb") as output:
        process = site.host.start(*USERLAN, "--state", str(folder / command[0]), *command, stdout=output, stderr=output)
    return wait_for_line(log, ready, process, patience=PATIENCE)


def check(site: Site, folder: Path, url: str) -> dict[str, Any]:
    """What is said from behind a NAT."""
    command = (*USERLAN, "--state", str(folder / site.name), "netcheck", "--json", "--mediator", url)
    process = site.host.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()
    report: dict[str, Any] = json.loads(output)
    return report


@pytest.mark.parametrize("kind", ALONE, ids=lambda kind: kind.name)
def test_one_address_and_two_ports_tell_most_of_it(reports: Reports, kind: Kind) -> None:
    """RFC 5780 4.3 and 4.4 need a second address for the rest: what is assumed is said, and is in the confidence."""
    report = reports[kind.name, "alone"]
    udp = report["udp"]
    assert (udp["mapping"], udp["allocation"]) == (kind.nat.udp.mapping, kind.nat.udp.allocation), report["evidence"]
    if kind is SYMMETRIC_STEPPING:
        assert udp["step"] == kind.nat.udp.step
        return
    assert "only one address was asked" in report["evidence"]["mapping"][0]
    assert report["confidence"] < 0.9
    assert udp["filtering"] == (ADM if kind is FULL_CONE else APDM)


@pytest.mark.parametrize("kind", WITH_RELAY, ids=lambda kind: kind.name)
def test_a_relay_takes_the_second_addresss_place(reports: Reports, kind: Kind) -> None:
    """It is asked itself, and sends the mediator's answers from its own address."""
    report = reports[kind.name, "relay"]
    assert report["udp"]["mapping"] == kind.nat.udp.mapping, report["evidence"]
    assert report["udp"]["filtering"] == kind.nat.udp.filtering, report["evidence"]
    assert "44.0.0.3:3478" in "\n".join(report["evidence"]["mapping"])
    assert [relay["rtt_ms"] is not None for relay in report["relays"]] == [True]
    assert report["confidence"] >= 0.85
