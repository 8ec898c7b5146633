"""How a peer is reached, and why: in virtual time, behind the boxes that make it so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.node.lan import WALL, VirtualLan
from tests.relay.lan import RelayedLan
from tests.relay.test_pairs import relayed_pair
from tests.sim.nat import HOME_ROUTER
from userlan.node.node import Node
from userlan.node.path_report import path_report


def told(lan: VirtualLan, node: Node, peer: Node) -> dict[str, Any]:
    report = path_report(node, peer.key, lan.world.now)
    assert json.loads(json.dumps(report)) == report
    return report


def homes(folder: Path) -> tuple[RelayedLan, Node, Node]:
    """Anna and ben, each behind a router of its own."""
    lan = RelayedLan(folder, behaviour=HOME_ROUTER)
    lan.relay("near", "203.0.113.1")
    lan.world.run(2)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.world.run(6)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    return lan, anna, ben


def test_two_homes_that_were_introduced(tmp_path: Path) -> None:
    lan, anna, ben = homes(tmp_path)
    lan.world.run(30)
    report = told(lan, anna, ben)
    assert (report["state"], report["path"], report["why"]) == ("direct", "udp", ["punched"])
    assert report["endpoint"].startswith("198.51.100.2:")
    assert report["relay"] is None
    assert report["own"]["nat"]["udp"]["allocation"] == "preserving"
    assert report["theirs"]["nat"]["udp"]["allocation"] == "preserving"
    assert report["theirs"]["seen"] == "198.51.100.2"
    assert report["rtt_ms"] > 0
    (last,) = report["tried"][-1:]
    assert last["met"] is True
    assert last["by"] == "mediator"
    assert WALL < last["time"] < WALL + lan.world.now
    assert last["packets"] > 0
    assert [one["used"] for one in report["paths"]].count(True) == 1
    assert {one["kind"] for one in report["theirs"]["candidates"]} >= {"observed"}
    assert report["cipher"]


def test_two_of_one_network(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    anna, ben = (lan.node(name, lan.internet, host) for name, host in (("anna", "10.1.1.1"), ("ben", "10.1.1.2")))
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    assert told(lan, anna, ben)["why"] == ["same-network"]


def test_a_relayed_pair_says_which_relay_and_why(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.world.run(60)
    report = told(lan, anna, ben)
    assert report["state"] == "relayed"
    assert report["relay"]["name"] == "near"
    assert report["relay"]["rtt_ms"] > 0
    assert report["why"][0] == "unforeseeable-both"
    assert "failed" in report["why"]
    assert report["tried"]
    assert all(one["met"] is False for one in report["tried"] if one["seconds"] is not None)
    assert report["own"]["nat"]["udp"]["mapping"] == "address-and-port-dependent"


def test_who_is_away_and_who_has_no_mediator(tmp_path: Path) -> None:
    lan, anna, ben = homes(tmp_path)
    lan.kill("ben")
    lan.until_state(anna, ben, "offline", 120)
    lan.world.run(120)
    report = told(lan, anna, ben)
    assert (report["state"], report["endpoint"], report["rtt_ms"], report["relay"]) == ("offline", None, None, None)
    assert report["why"] in (["offline"], ["silent"], ["trying"])
    assert report["heard"] > WALL
    assert report["mediator"] is True
    lan.kill_mediator()
    lan.world.run(120)
    assert "no-mediator" in told(lan, anna, ben)["why"]


def test_few_introductions_of_a_peer_are_remembered_and_none_of_who_left(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.world.run(600)
    assert 2 <= len(told(lan, anna, ben)["tried"]) <= 8
    lan.finish(ben, ben.leave("home", lan.world.now))
    lan.world.run(2)
    assert ben.key not in anna.roster.peers
    assert anna.encounters.tried(ben.key) == ()
