"""``userlan doctor`` on real nodes: what is wrong is said, with the evidence and a command to type; what is right is not complained of."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.lab.conftest import Site
from tests.lab.network import until
from tests.lab.userlan_process import Member, wait_for_line

pytestmark = pytest.mark.lab

OPENTTD, WORLDS = 3979, "224.0.2.60"
HOLDER = f"""
import socket, time
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("", {OPENTTD}))
print("ready", flush=True)
time.sleep(600)
"""
"""A game's server that does not share its port."""

RULES = """
table inet filter {
    chain output {
        type filter hook output priority 0; policy accept;
        oif "lo" drop
    }
}
"""
"""A firewall that keeps the programs of this computer apart."""


def ask(member: Member, *arguments: str) -> dict[str, dict[str, Any]]:
    """The findings of ``userlan doctor --json`` by their code; the exit status goes with them."""
    done = member.run("doctor", *arguments, "--json", check=False)
    told = json.loads(done.stdout)
    findings: list[dict[str, Any]] = told["findings"]
    assert done.returncode == (1 if any(one["level"] == "wrong" for one in findings) else 0), done.stderr
    assert told["checked"]
    return {one["code"]: one for one in findings}


def groups(member: Member) -> list[str]:
    """What ben listens to, as the member's node knows it."""
    found: list[str] = member.call("doctor", peer="ben")["peer"]["groups"]
    return found


def wrong(findings: dict[str, dict[str, Any]]) -> list[str]:
    return [code for code, one in findings.items() if one["level"] == "wrong"]


def test_what_is_wrong_is_said(site: Site) -> None:
    anna, ben = site.anna, site.ben

    alone = ask(anna)
    assert wrong(alone) == ["node-not-running"]
    assert alone["node-not-running"]["remedy"] == "userlan up"

    site.join()
    until(lambda: WORLDS in groups(anna), 60, "ben has told what it listens to")
    assert ask(anna, "ben", "--service", "minecraft") == {}
    words = anna.run("doctor").stdout
    assert "nothing wrong with:" in words

    unknown = ask(anna, "bne")
    assert unknown["peer-unknown"]["remedy"] == "userlan doctor ben"
    refused = ask(anna, "ben", "--service", "8000")["port-refused"]
    assert refused["remedy"] == "on ben: userlan expose 8000"

    anna.call("unshare", profile="minecraft")
    assert ask(anna, "ben", "--service", "minecraft")["profile-off"]["remedy"] == "userlan share minecraft"
    anna.call("share", profile="minecraft")
    ben.call("unshare", profile="minecraft")
    until(lambda: WORLDS not in groups(anna), 60, "ben listens no more")
    deaf = ask(anna, "ben", "--service", "minecraft")["group-not-heard"]
    assert f"ben does not listen to {WORLDS}" in deaf["what"]

    log = site.folder / "holder.log"
    with log.open("wb") as output:
        holder = site.anna_space.start(sys.executable, "-c", HOLDER, stdout=output)
    wait_for_line(log, "ready", holder)
    assert wrong(ask(anna, "--service", "openttd")) == ["not-searching"]
    anna.call("share", profile="openttd", search=True)
    taken = ask(anna, "--service", "openttd")["port-taken"]
    assert f"port {OPENTTD}" in taken["what"]
    assert f"(process {holder.pid})" in taken["evidence"]
    assert "userlan share openttd --no-search" in taken["remedy"]

    ben.stop()
    site.anna_space.nft(RULES)
    until(lambda: anna.call("status")["peers"][0]["state"] == "offline", 60, "ben is offline")
    findings = ask(anna, "ben")
    assert 'oif "lo"' in findings["firewall-loopback"]["evidence"]
    offline = findings["peer-offline"]
    assert "last seen" in offline["evidence"]
    assert offline["remedy"] == "on ben: userlan up"
