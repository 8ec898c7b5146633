"""Rules about one peer: its name, whether it is there, its path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.doctor.scenes import NOW, POLICY, found, member, node, row, scene
from userlan.cli.doctor.finding import Echoes

OFFLINE = {"state": "offline", "path": "none", "last_seen": NOW - 7200}
CONNECTING = {"state": "connecting", "path": "none"}
AWAY = {"state": "offline", "reason": "silent", "url": "userlan://m"}
UNKNOWN: dict[str, Any] = {
    "key": None, "name": "bne", "error": "no member is called bne", "nearest": [], "ambiguous": False, "elsewhere": [],
}  # fmt: skip
RELAYED = {"state": "relayed", "path": "relay", "relay": "fra1"}


def of(peer: dict[str, Any], shown: dict[str, Any] | None = None, **changes: Any) -> dict[str, tuple[str, str]]:
    status = {"peers": [row(**(shown or {}))]} | changes.pop("status", {})
    return found(scene(node(peer=peer, status=status, **changes), peer=peer["name"]))


def test_a_peer_that_is_reached_well() -> None:
    assert of(member()) == {}


@pytest.mark.parametrize(
    ("peer", "code", "part"),
    [
        (UNKNOWN, "peer-unknown", "userlan invite home"),
        (UNKNOWN | {"nearest": ["ben"]}, "peer-unknown", "| userlan doctor ben"),
        (UNKNOWN | {"nearest": ["ben.home", "ben.work"], "ambiguous": True}, "peer-ambiguous", "| userlan doctor ben.home"),
        (UNKNOWN | {"name": "ben.work", "elsewhere": ["home"]}, "peer-elsewhere", "there is ben.home"),
    ],
)
def test_names_that_mean_nobody(peer: dict[str, Any], code: str, part: str) -> None:
    findings = of(peer)
    assert set(findings) == {code}
    assert findings[code][0] == "wrong"
    assert part in findings[code][1]


def test_the_own_name_is_nobody_elses() -> None:
    assert found(scene(node(peer={"key": "KA", "name": "anna", "own": True}), peer="anna"))["peer-self"][0] == "note"


def test_without_a_network_the_name_is_not_what_is_wrong() -> None:
    assert set(of(UNKNOWN, status={"networks": [], "peers": []})) == {"no-network"}


@pytest.mark.parametrize(
    ("peer", "shown", "code", "part"),
    [
        (member(online=False), OFFLINE, "peer-offline", "last seen 2 h ago"),
        (member(handshake=None), OFFLINE | {"blocked": True}, "peer-blocked", "| userlan unblock ben"),
        (member(online=False), OFFLINE | {"last_seen": None}, "peer-offline", "never seen"),
        (member(handshake=None), CONNECTING, "peer-no-handshake", "udp 192.0.2.9:41414; there is no relay"),
        (member(handshake=None, tried=[]), CONNECTING, "peer-no-handshake", "tried: nothing yet"),
        (member(heard=NOW - 30), CONNECTING, "peer-silent", "heard last: 30 s ago"),
    ],
)
def test_peers_that_are_not_reached(peer: dict[str, Any], shown: dict[str, Any], code: str, part: str) -> None:
    findings = of(peer, shown)
    assert set(findings) == {code}
    assert findings[code][0] == "wrong"
    assert part in findings[code][1]


def test_without_a_mediator_nobody_knows_whether_a_peer_is_online() -> None:
    findings = of(member(online=False), OFFLINE, status={"mediator": AWAY})
    assert set(findings) == {"mediator-away", "peer-unreached"}


@pytest.mark.parametrize(
    ("netcheck", "part"),
    [
        ({"direct": "yes"}, "the router here is no obstacle; look at ben's"),
        ({"direct": "most", "udp": POLICY | {"mapping": "address-and-port-dependent"}}, "another port (address-and-port-dependent)"),
        ({"direct": "unknown"}, "nobody answered"),
        ({"measured": None}, "not measured yet"),
    ],
)
def test_a_relayed_path_with_its_reason(netcheck: dict[str, Any], part: str) -> None:
    findings = of(member(), RELAYED, netcheck=netcheck)
    assert set(findings) == {"peer-relayed"}
    assert findings["peer-relayed"][0] == "note"
    assert "the relay fra1" in findings["peer-relayed"][1]
    assert part in findings["peer-relayed"][1]


def test_tcp_since_udp_is_blocked() -> None:
    findings = of(member(), {"path": "tcp"}, netcheck={"udp": POLICY | {"passes": False}})
    assert set(findings) == {"udp-blocked", "peer-tcp"}
    assert "UDP does not pass here" in findings["peer-tcp"][1]


@pytest.mark.parametrize(("answered", "level"), [(10, ""), (9, "note"), (7, "wrong"), (0, "wrong")])
def test_loss(answered: int, level: str) -> None:
    findings = found(scene(node(peer=member()), peer="ben", echoes=Echoes(10, answered)))
    assert findings.get("peer-lossy", ("", ""))[0] == level


@pytest.mark.parametrize(("mtu", "told"), [(None, False), (1280, False), (1100, True)])
def test_small_packets_only(mtu: int | None, told: bool) -> None:
    assert ("peer-mtu" in of(member(mtu=mtu))) is told


def test_a_peer_without_multicast_dns() -> None:
    assert "it listens to no group" in of(member(groups=[]))["peer-no-mdns"][1]
    assert "peer-no-mdns" not in of(member(online=False, groups=[]), OFFLINE)
