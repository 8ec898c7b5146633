"""``userlan netcheck`` as a person sees it: with a node, without one, in words and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.test_commands import userlan
from tests.lab.userlan_process import wait_for_line
from userlan.cli import netcheck_commands
from userlan.cli.client import ApiError
from userlan.cli.main import Settings
from userlan.cli.netcheck_program import remembered
from userlan.driver.state import StateFolder, holding_node
from userlan.node.memory import Memory, SavedMediator
from userlan.node.nat_report import chances
from userlan.traversal.nat import NatBehaviour, Policy

KEYS = [
    "direct", "observed", "seen", "udp", "tcp", "translated", "pooling", "hairpin", "early", "nested", "ipv6", "port_mapping", "keepalive",
    "confidence", "measured", "relays", "evidence",
]  # fmt: skip
POLICY = {
    "passes": True, "mapping": "endpoint-independent", "filtering": "address-and-port-dependent", "allocation": "preserving",
    "step": None, "low": None, "high": None, "others_a_second": 0.0, "lifetime": None,
}  # fmt: skip


def report(**changes: Any) -> dict[str, Any]:
    base = {
        "direct": "yes", "observed": "198.51.100.1", "seen": {"ipv4": "198.51.100.1", "ipv6": None}, "udp": POLICY, "tcp": POLICY,
        "translated": True, "pooling": "single", "hairpin": False, "early": "harmless",
        "nested": False, "ipv6": "none", "port_mapping": "upnp",
        "keepalive": 25.0,
        "confidence": 0.95, "measured": 1.0, "relays": [], "evidence": {"mapping": ["udp port 1 asked a:1 and was seen as b:1"]},
    }  # fmt: skip
    return base | changes


def describe(told: dict[str, Any], verbose: bool = False) -> str:
    """Without colours, as where it is no terminal."""
    return click.unstyle(netcheck_commands.describe(told, verbose))


def line(told: str, name: str) -> str:
    return next(one for one in told.splitlines() if one.strip().startswith(name)).strip().removeprefix(name).strip()


def test_the_report_in_words() -> None:
    told = describe(report())
    assert told.splitlines()[0] == "Your router lets direct connections through: yes"
    assert line(told, "mapping") == "endpoint-independent"
    assert line(told, "seen as") == "198.51.100.1, translated (NAT)"
    assert line(describe(report(seen={"ipv4": "198.51.100.1", "ipv6": "2001:db8::1"})), "seen as") == (
        "198.51.100.1, translated (NAT); 2001:db8::1"
    )
    assert line(describe(report(seen={"ipv4": None, "ipv6": "2001:db8::1"})), "seen as") == "2001:db8::1"
    assert line(told, "port mapping") == "UPnP"
    assert line(told, "confidence") == "95%"
    assert "was seen as" not in told
    assert "-v" in told.splitlines()[-1]


def test_verbose_shows_the_evidence_below_each_property() -> None:
    lines = describe(report(), verbose=True).splitlines()
    mapping = next(number for number, one in enumerate(lines) if one.strip().startswith("mapping "))
    assert lines[mapping + 1].strip() == "udp port 1 asked a:1 and was seen as b:1"


def test_a_step_a_block_and_a_lifetime_in_words() -> None:
    incremental = POLICY | {"allocation": "incremental", "step": -2, "others_a_second": 48.0, "lifetime": 60.0}
    told = describe(report(udp=incremental, direct="most", tcp=POLICY | {"passes": False}))
    assert line(told, "port allocation") == "incremental, -2 each, others take 48 a second"
    assert line(told, "mapping lifetime") == "at least 60 s; a sign of life every 25 s holds it"
    assert line(told, "TCP") == "blocked"
    block = POLICY | {"allocation": "chunked", "low": 2048, "high": 2303}
    assert line(describe(report(udp=block)), "port allocation") == "from a block, about 2048 to 2303"


def test_relays_by_their_delay() -> None:
    rows = [{"name": "paris", "key": "k", "region": "eu", "rtt_ms": 12.3}, {"name": "oslo", "key": "l", "region": None, "rtt_ms": None}]
    told = describe(report(relays=rows))
    assert "12.3 ms" in told
    assert "oslo" in told


EIM = Policy(mapping="endpoint-independent")
RANDOM = Policy(mapping="address-and-port-dependent", allocation="random")


@pytest.mark.parametrize(("nat", "verdict"), [
    (NatBehaviour(), "unknown"),
    (NatBehaviour(udp=EIM), "yes"),
    (NatBehaviour(udp=RANDOM), "most"),
    (NatBehaviour(udp=RANDOM, port_mapping="pcp"), "yes"),
    (NatBehaviour(udp=RANDOM, ipv6="open"), "yes"),
    (NatBehaviour(translated=False), "yes"),
    (NatBehaviour(udp=Policy(passes=False)), "hardly"),
])
def test_the_verdict(nat: NatBehaviour, verdict: str) -> None:
    assert chances(nat) == verdict


def test_without_a_mediator_it_says_what_to_do(tmp_path: Path) -> None:
    result = userlan("netcheck", state=tmp_path / "none")
    assert result.returncode == 1
    assert "--mediator" in result.stderr
    wrong = userlan("netcheck", "--mediator", "http://x", state=tmp_path / "none")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("userlan: --mediator: ")


def test_the_folder_is_not_held_to_see_who_could_be_asked(tmp_path: Path) -> None:
    """A node that is just starting holds it, and is not kept from it."""
    settings, url = Settings(tmp_path, None, 0), f"userlan://192.0.2.1:1/{'A' * 43}"
    assert remembered(settings) == []
    assert list(tmp_path.iterdir()) == []
    with StateFolder(tmp_path, print) as folder:
        folder.save("memory", Memory(mediators=[SavedMediator(url), SavedMediator("userlan://own", True)]).dump())
        assert remembered(settings) == [url]
        assert holding_node(tmp_path) == os.getpid()
    folder.save("memory", {"version": 1, "mediators": 7})
    with pytest.raises(ApiError, match="does not read"):
        remembered(settings)


@pytest.fixture
def mediator(tmp_path: Path) -> Iterator[str]:
    """A mediator process on two addresses of this computer; its link."""
    log = tmp_path / "mediator.log"
    command = [sys.executable, "-m", "userlan", "--state", str(tmp_path / "mediator"), "mediator"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"], stdout=output, stderr=output)
    try:
        yield wait_for_line(log, "userlan://", process)
    finally:
        process.terminate()
        process.wait(60)


def test_without_a_node(tmp_path: Path, mediator: str) -> None:
    result = userlan("netcheck", "--json", "--mediator", mediator, state=tmp_path / "none")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert list(told) == KEYS
    assert (told["udp"]["passes"], told["udp"]["mapping"]) == (True, "endpoint-independent")
    assert told["translated"] is False
    assert not (tmp_path / "none").exists()


def test_a_running_node_measures_anew(tmp_path: Path, mediator: str) -> None:
    state, log = tmp_path / "node", tmp_path / "node.log"
    command = [sys.executable, "-m", "userlan", "--state", str(state), "up", "--listen", "127.0.0.1:0", "--mediator", mediator]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for_line(log, "ready", process)
        first = json.loads(userlan("netcheck", "--json", state=state).stdout)
        second = json.loads(userlan("netcheck", "--json", state=state).stdout)
        assert list(first) == KEYS
        assert second["measured"] > first["measured"]
        assert first["udp"]["mapping"] == "endpoint-independent"
        status = json.loads(userlan("status", "--json", state=state).stdout)
        assert status["self"]["nat"]["direct"] == "yes"
        assert status["self"]["nat"]["mapping"] == "endpoint-independent"
    finally:
        process.terminate()
        process.wait(60)
