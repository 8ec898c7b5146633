"""Rules about one service: a discovery profile, something that is announced, a port."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.doctor.scenes import exposed, found, mdns, member, node, profile, row, scene
from userlan.cli.doctor.finding import Computer
from userlan.driver.sockets import Socket

GAME = Socket("udp", "192.0.2.2", 1900, 0, 42, "minidlna")
WEB = Socket("tcp", "127.0.0.1", 8000, 0, 43, "python3")
BY_MDNS = profile("chromecast", by="mdns", ports=[], groups=[], types=["_googlecast._tcp"])


def of(service: str, told: dict[str, Any] | None = None, peer: str = "", **changes: Any) -> dict[str, tuple[str, str]]:
    return found(scene(told, service=service, peer=peer, **changes))


def shared(*rows: dict[str, Any], peer: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return node(peer=peer, bridges={"discovery": {"profiles": list(rows), "attached": False, **more}})


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"on": False}, "profile-off", "| userlan share ssdp"),
        ({"admits": False, "with": "*.work"}, "profile-denied", "shared with *.work | userlan share ssdp --peer ben"),
        ({"picks_up": False}, "not-searching", "| userlan share ssdp --search"),
        ({"groups": ["239.255.255.250", "224.0.2.60"]}, "group-not-heard", "ben does not listen to 224.0.2.60"),
    ],
)
def test_a_profile_that_is_not_carried(changes: dict[str, Any], code: str, part: str) -> None:
    findings = of("ssdp", shared(profile(**changes), peer=member()), "ben")
    assert set(findings) == {code}
    assert findings[code][0] == "wrong"
    assert part in findings[code][1]


def test_a_profile_that_is_carried() -> None:
    assert of("ssdp", shared(profile(), peer=member()), "ben") == {}


def test_a_taken_port_is_said_once_and_not_as_a_missing_search() -> None:
    assert set(of("ssdp", shared(profile(picks_up=False, problems={"port 1900": "taken"})))) == {"port-taken"}


def test_programs_that_broadcast_need_no_group_of_the_peers() -> None:
    assert of("ssdp", shared(profile(broadcast=True, groups=["224.9.9.9"]), peer=member()), "ben") == {}


def test_what_is_dropped_of_a_profile() -> None:
    findings = of("ssdp", shared(profile(counters={"forbidden": 3})))
    assert "from members with whom it is not shared | 3 datagrams" in findings["dropped-forbidden"][1]


def test_while_the_relay_pauses_profiles_are_not_to_blame() -> None:
    assert set(of("ssdp", shared(profile(picks_up=False), attached=True))) == {"relay-paused"}


@pytest.mark.parametrize(
    ("computer", "code"),
    [
        (Computer(sockets=(GAME,)), "bound-elsewhere"),
        (Computer(sockets=(Socket("udp", "::1", 1900, 0, 42, "minidlna"),)), "bound-elsewhere"),
        (Computer(sockets=(Socket("udp", "127.0.0.1", 1900, 0, 42, "minidlna"),)), "bound-elsewhere"),
        (Computer(sockets=(Socket("udp", "239.255.255.250", 1900, 0, 42, "minidlna"),)), ""),
        (Computer(sockets=(Socket("udp", "::", 1900, 0, 42, "x"),), only_ipv6=frozenset({("udp", 1900)})), "only-ipv6"),
        (Computer(sockets=(Socket("udp", "::", 1900, 0, 42, "x"),)), ""),
        (Computer(sockets=(GAME, Socket("udp", "0.0.0.0", 1900, 0, 42, "x"))), ""),
    ],
)
def test_a_local_server_that_hears_nothing(computer: Computer, code: str) -> None:
    assert set(of("ssdp", computer=computer)) == ({code} if code else set())


def test_what_is_switched_off_is_noted_without_a_service() -> None:
    findings = found(scene(shared(profile("a", on=False), profile("b"), profile("c", default=False, on=False))))
    assert findings["profiles-off"] == ("note", "not shared: a | they are, unless somebody says otherwise | userlan share a")
    assert set(found(scene(shared(profile("a", on=False))))) == {"discovery-off"}
    denied = found(scene(shared(profile(admits=False, **{"with": "*.work"}), peer=member()), peer="ben"))
    assert "not shared with ben: ssdp | they are shared with *.work" in denied["profiles-denied"][1]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"enabled": False}, "mdns-off"),
        ({"show": False}, "mdns-hidden"),
        ({"admits": False, "with": "*.work"}, "mdns-denied"),
        ({"held_back": [{"name": "Laser", "type": "_ipp._tcp"}], "deny": ["_ipp._tcp"]}, "mdns-type-denied"),
        ({"attached": True}, "mdns-paused"),
    ],
)
def test_multicast_dns_that_is_held_back(changes: dict[str, Any], code: str) -> None:
    told = node(bridges={"mdns": mdns(**changes)})
    assert {one: what[0] for one, what in found(scene(told)).items()} == {code: "note"}
    asked = of("_ipp._tcp", told)
    assert set(asked) == {code}
    assert asked[code][0] == ("note" if code == "mdns-paused" else "wrong")


def test_a_type_that_is_held_back_is_not_to_blame_for_another() -> None:
    told = node(bridges={"mdns": mdns(held_back=[{"name": "nas", "type": "_smb._tcp"}])})
    assert of("_ipp._tcp", told) == {}


def test_what_is_announced_is_found_by_type_name_and_profile() -> None:
    assert of("_ipp._tcp") == of("_IPP._tcp.local") == of("laser") == of("las*") == {}
    cast = {"peer": "ben", "name": "TV", "type": "_googlecast._tcp", "error": ""}
    bridges = {"discovery": {"profiles": [BY_MDNS], "attached": False}, "mdns": mdns(services=[cast])}
    assert of("chromecast", node(bridges=bridges)) == {}


def test_what_nobody_announces() -> None:
    findings = of("lasr")
    assert findings["service-not-announced"][1] == "nobody announces lasr | announced: Laser | userlan doctor --service Laser"
    nothing = of("_ssh._tcp", node(peer=member(), bridges={"mdns": mdns(services=[])}), "ben")
    assert "ben announces no _ssh._tcp | nothing is announced" in nothing["service-not-announced"][1]


def test_a_service_of_another_peer_is_not_this_ones() -> None:
    told = node(peer=member(name="carl", key="KC"), status={"peers": [row(name="carl", key="KC")]})
    assert "carl announces no _ipp._tcp" in of("_ipp._tcp", told, "carl")["service-not-announced"][1]


def test_an_announced_service_that_could_not_be_forwarded() -> None:
    printer = {"peer": "ben", "name": "Laser", "type": "_ipp._tcp", "error": "there are 64 forwards to ben already"}
    assert "64 forwards" in of("_ipp._tcp", node(bridges={"mdns": mdns(services=[printer])}))["service-no-port"][1]


def test_a_port_of_the_peers() -> None:
    told = node(peer=member())
    assert of("8000", told, "ben", connects="") == {}
    findings = of("8000", told, "ben", connects="connection refused: nothing is exposed at that port")
    nobody: dict[str, Any] = {"key": None, "name": "bne", "error": "?", "nearest": [], "ambiguous": False, "elsewhere": []}
    assert set(of("8000", node(peer=nobody), "bne")) == {"peer-unknown"}, "whose port?"
    assert findings["port-refused"][1].endswith("nothing is exposed at that port | on ben: userlan expose 8000")


@pytest.mark.parametrize(
    ("rows", "computer", "code"),
    [
        ([], Computer(), "not-exposed"),
        ([exposed()], Computer(), "not-served"),
        ([exposed()], Computer(sockets=(WEB,)), ""),
        ([exposed()], Computer(sockets=(Socket("tcp", "::1", 8000, 0, 43, "node"),)), ""),
        ([exposed()], Computer(sockets=(Socket("tcp", "192.0.2.2", 8000, 0, 43, "nginx"),)), "bound-elsewhere"),
        ([exposed(host="192.0.2.7")], Computer(), ""),
    ],
)
def test_a_port_of_this_computer(rows: list[dict[str, Any]], computer: Computer, code: str) -> None:
    assert set(of("8000", node(bridges={"expose": rows}), computer=computer)) == ({code} if code else set())


def test_who_may_use_what_is_exposed() -> None:
    told = node(peer=member(), bridges={"expose": [exposed(allow=["carl"], admits=False)]})
    assert "allowed: carl" in found(scene(told, peer="ben"))["expose-denied"][1]
