"""Rules about the node itself: mediator, networks, router, limits, interfaces, ports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.doctor.scenes import NOW, POLICY, exposed, found, mdns, node, profile, row, scene
from userlan.cli.doctor.finding import Computer
from userlan.driver.sockets import Socket

AWAY = {"state": "offline", "reason": "the mediator has been silent for 12 s", "url": "userlan://m"}
TAP = {"name": "lan0", "text": "attached lan0 25.0.0.1"}
GAME = Socket("udp", "0.0.0.0", 3979, 0, 42, "openttd")
FORWARD = {
    "rule": "3979:ben:3979/udp", "listen": "127.0.0.1:3979", "protocol": "udp", "state": "failed", "error": "the port is in use",
}  # fmt: skip


def profiles(*rows: dict[str, Any], attached: bool = False) -> dict[str, Any]:
    return {"discovery": {"profiles": list(rows), "attached": attached}}


@pytest.mark.parametrize(
    ("told", "code", "level", "part"),
    [
        (node(status={"mediator": AWAY}, mediator={"since": NOW - 300}), "mediator-away", "wrong", "for 5 min"),
        (node(status={"mediator": AWAY}), "mediator-away", "wrong", "silent for 12 s; members that are reached stay so"),
        (node(status={"mediator": AWAY | {"reason": ""}}), "mediator-away", "wrong", "192.0.2.1:41414 has not answered yet"),
        (node(status={"mediator": AWAY | {"state": "none"}}), "no-mediator", "wrong", "userlan join INVITE"),
        (node(mediator={"clock": -3600.0}), "clock-off", "wrong", "3600 s behind"),
        (node(status={"networks": [], "peers": []}), "no-network", "wrong", "userlan join INVITE"),
        (node(status={"peers": []}), "nobody-else", "note", "userlan invite home"),
        (node(status={"waiting": [{"network": "club", "owner": "gina", "since": 1.0}]}), "waiting", "note", "userlan leave club"),
        (node(status={"networks": [{"name": "home", "applicants": [{"name": "emil"}]}]}), "applicants", "note", "userlan approve emil"),
        (node(status={"networks": [{"name": "home", "unapproved": [{"name": "xena"}]}]}), "unapproved", "wrong", "ask the owner of home"),
        (
            node(status={"networks": [{"name": "home", "mine": True, "unapproved": [{"name": "xena"}]}]}),
            "unapproved", "wrong", "userlan approve xena home",
        ),
        (node(status={"networks": [{"name": "home", "approved": False}]}), "not-approved", "wrong", "ask the owner of home"),
        (node(netcheck={"udp": POLICY | {"passes": False}}), "udp-blocked", "wrong", "let UDP out"),
        (node(status={"groups": {"dropped": {"sender-rate": 7}}}), "dropped-sender-rate", "note", "7 dropped"),
        (node(status={"groups": {"dropped": {"repeated": 7}}}), "dropped-repeated", "note", "again and again"),
        (node(bridges=profiles(profile(counters={"outward-rate": 3}))), "dropped-outward-rate", "note", "3 times"),
        (node(status={"bridges": {"tap": "detached: it went away"}}), "tap-lost", "wrong", "it went away"),
        (node(bridges=profiles(profile(), attached=True)), "relay-paused", "note", "own interface"),
        (node(bridges={"dns": {"wanted": "127.0.0.1:5354", "listen": "127.0.0.1:5355"}}), "dns-moved", "note", "userlan dns"),
        (node(bridges={"expose": [exposed(error="refused")]}), "expose-failed", "wrong", "127.0.0.1:8000: refused"),
        (node(bridges={"mdns": mdns(error="multicast DNS by 192.0.2.2: Address already in use")}), "mdns-port", "wrong", "already in use"),
        (node(status={"bridges": {"forward": [FORWARD]}}), "forward-failed", "wrong", "openttd (process 42) has it"),
        (node(bridges=profiles(profile(problems={"port 3979": "taken"}))), "port-taken", "wrong", "taken: openttd (process 42) | kill 42"),
        (node(bridges=profiles(profile(problems={"port 7": "taken"}))), "port-taken", "wrong", "| taken | userlan share ssdp --no-search"),
        (node(bridges=profiles(profile(problems={"port 7 of the LAN": "another has it"}))), "lan-port-taken", "wrong", "another has it"),
        (node(status={"peers": [row(state="connecting")]}), "peers-unreached", "wrong", "userlan doctor ben"),
        (node(status={"peers": [row(state="offline")]}), "peers-offline", "note", "1 members"),
        (node(status={"peers": [row(state="relayed")]}), "peers-relayed", "note", "userlan doctor ben"),
    ],
)
def test_one_fault_one_finding(told: dict[str, Any], code: str, level: str, part: str) -> None:
    findings = found(scene(told, computer=Computer(sockets=(GAME,))))
    assert set(findings) == {code}
    assert findings[code][0] == level
    assert part in findings[code][1]


def test_a_router_that_was_not_measured_blocks_nothing() -> None:
    assert found(scene(node(netcheck={"measured": None, "udp": POLICY | {"passes": False}}))) == {}


def test_broadcasts_leave_by_another_interface_than_the_tap() -> None:
    told = node(status={"bridges": {"tap": TAP}})
    away, right = Computer(broadcasts_from="192.0.2.2"), Computer(broadcasts_from="25.0.0.1")
    assert found(scene(told, computer=right)) == {}
    findings = found(scene(told, computer=away))
    assert findings["broadcasts-elsewhere"][0] == "note"
    assert "userlan tap --broadcasts" in findings["broadcasts-elsewhere"][1]
    assert found(scene(told, computer=away, service="ssdp"))["broadcasts-elsewhere"][0] == "wrong"


def test_who_has_the_port_of_multicast_dns_is_named() -> None:
    told = node(bridges={"mdns": mdns(error="Address already in use")})
    held = Computer(sockets=(Socket("udp", "0.0.0.0", 5353, 0, 9, "mDNSResponder"),))
    findings = found(scene(told, computer=held))
    assert "mDNSResponder (process 9) has port 5353 | kill 9" in findings["mdns-port"][1]


def test_the_own_nodes_sockets_are_nobody_elses() -> None:
    from userlan.cli.doctor.finding import Folder

    computer = Computer(folder=Folder("/s", holder=42), sockets=(GAME,))
    assert computer.holders(3979, "udp") == ()
