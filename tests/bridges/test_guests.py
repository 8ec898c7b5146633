"""Guests from the node's side: records, configurations, and what the commands answer."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from bridges import guest_record
from bridges.guest_record import Record, split_endpoint
from bridges.guests import LEAVE_PATIENCE, MAX_GUESTS, START_PATIENCE
from tests.bridges.guest_scene import Scene, failure
from userlan.driver.bridge import CommandError
from userlan.driver.guest import guest_keys


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# --- what is printed


def test_the_configuration(scene: Scene) -> None:
    result = scene.add()
    lines = result["config"].splitlines()
    record = guest_record.load(scene.folder / "guests" / "phone", print)
    assert record is not None
    assert lines == [
        "[Interface]",
        "# phone, a guest of userlan",
        f"PrivateKey = {record.private}",
        "Address = 25.1.2.3/8, fd75:6c61:6e00::7/48",
        "DNS = fd75:6c61:6e00::53, internal",
        "MTU = 1280",
        "",
        "[Peer]",
        f"PublicKey = {base64.b64encode(bytes(range(32))).decode()}",
        f"PresharedKey = {record.preshared}",
        "AllowedIPs = 25.0.0.0/8, fd75:6c61:6e00::/48, 255.255.255.255/32, 224.0.0.0/4, ff00::/8",
        "Endpoint = 44.0.0.2:51820",
        "PersistentKeepalive = 25",
    ]
    assert scene.ask("guest-show", name="PHONE")["config"] == result["config"]
    assert (result["reach"], result["sure"], result["configured_endpoint"]) == ("open", True, "44.0.0.2:51820")


def test_what_was_asked_for(scene: Scene) -> None:
    result = scene.add(endpoint="vpn.example.org", mtu=1400, dns=False, networks=["home"])
    assert "Endpoint = vpn.example.org:51820\n" in result["config"]
    assert "MTU = 1400" in result["config"]
    assert "DNS" not in result["config"]
    assert (result["reach"], result["sure"]) == ("given", True)
    assert scene.process.told == [{"networks": {"home": "userlan://home"}}]


def test_keys_are_as_wireguard_makes_them() -> None:
    """RFC 7748 5: clamped, and the public key belongs to the private one."""
    keys = guest_keys(lambda size: bytes([0xFF]) * size)
    private = base64.b64decode(keys.private)
    assert (private[0] & 7, private[31] >> 6) == (0, 1)
    assert len(base64.b64decode(keys.public)) == len(base64.b64decode(keys.preshared)) == 32
    assert keys.private not in repr(keys)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("vpn.example.org", ("vpn.example.org", 0)),
        ("vpn.example.org:4000", ("vpn.example.org", 4000)),
        ("44.0.0.9:1", ("44.0.0.9", 1)),
        ("[2001:db8::1]:4000", ("[2001:db8::1]", 4000)),
        ("[2001:db8::1]", ("[2001:db8::1]", 0)),
    ],
)
def test_endpoints(written: str, expected: tuple[str, int]) -> None:
    assert split_endpoint(written) == expected


@pytest.mark.parametrize(
    "written",
    ["", ":1", "a:0", "a:65536", "a:b", "a b", "a\nPostUp = rm", "[::1", "2001:db8::1", "[zz::1]:1", "-a:1", "é:1"],
)
def test_endpoints_that_are_none(written: str) -> None:
    """Nothing that is asked for may become a line of the configuration of its own (``PostUp`` is a command)."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_endpoint(written)


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "no name"}, "wrong arguments"),
        ({"name": "../up"}, "wrong arguments"),
        ({"name": "ben"}, "a member is called ben already"),
        ({"name": "anna"}, "a member is called anna already"),
        ({"name": "anna-2"}, "a member is called anna-2 already"),
        ({"name": "x", "mtu": 1279}, "1280 to 1420"),
        ({"name": "x", "mtu": 1421}, "1280 to 1420"),
        ({"name": "x", "networks": ["nowhere"]}, "no network 'nowhere' (it is in: home, work)"),
        ({"name": "x", "endpoint": "a b"}, "HOST:PORT"),
        ({}, "wrong arguments"),
    ],
)
def test_what_cannot_be(scene: Scene, arguments: dict[str, Any], expected: str) -> None:
    assert expected in failure(scene.ask("guest-add", **arguments))
    assert not scene.reactor.processes
    assert not (scene.folder / "guests").exists()


def test_no_network_no_guest(scene: Scene) -> None:
    scene.invites.clear()
    assert "in no network" in failure(scene.ask("guest-add", name="phone"))


def test_there_are_so_many_guests_and_no_more(scene: Scene) -> None:
    for number in range(MAX_GUESTS):
        scene.add(f"guest{number}")
    assert "32 guests" in failure(scene.ask("guest-add", name="one-more"))
    assert len({row["port"] for row in scene.ask("guest-list")["guests"]}) == MAX_GUESTS


def test_the_same_name_twice(scene: Scene) -> None:
    scene.add()
    assert "guest show phone" in failure(scene.ask("guest-add", name="phone"))


def test_a_node_in_another_program_takes_in_nobody(scene: Scene) -> None:
    scene.lan.companions = None
    assert "another program" in failure(scene.ask("guest-add", name="phone"))


# --- what is shown, kept and removed


def test_a_guest_that_is_there(scene: Scene) -> None:
    scene.add()
    seat = {"online": True, "endpoint": "203.0.113.7:9", "handshake": 17, "rx_bytes": 1, "tx_bytes": 2, "counters": {}}
    scene.process.say(bridges={"guests": seat}, trouble={"work": "refused"})
    (row,) = scene.ask("guest-list")["guests"]
    assert (row["state"], row["endpoint"], row["handshake"], row["rx_bytes"]) == ("online", "203.0.113.7:9", 17, 1)
    assert (row["ipv4"], row["ipv6"], row["networks"], row["trouble"]) == ("25.1.2.3", "fd75:6c61:6e00::7", ["home"], "work: refused")
    assert scene.bridge.status() == [row]
    assert not {"private", "preshared", "config"} & row.keys()


def test_an_endpoint_that_is_another_one_is_told(scene: Scene) -> None:
    """The configuration on the phone names the old one."""
    scene.add()
    scene.process.say(end={"host": "44.0.0.3", "port": 51820, "kind": "mapped", "sure": True})
    (row,) = scene.ask("guest-list")["guests"]
    assert row["trouble"] == "its configuration says 44.0.0.2:51820, and it would be reached at 44.0.0.3:51820 now"
    assert "44.0.0.3:51820" in scene.ask("guest-show", name="phone")["config"]
    assert scene.ask("guest-list")["guests"][0]["trouble"] is None


def test_what_is_kept_is_nobody_elses(scene: Scene) -> None:
    scene.add()
    folder = scene.folder / "guests"
    kept = (folder, folder / "phone", folder / "phone" / "guest.json")
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o700, 0o700, 0o600]


def test_removed(scene: Scene) -> None:
    """Its keys are forgotten before anything else; it leaves its networks, and then nothing is left."""
    scene.add()
    results: list[Any] = []
    scene.ask("guest-remove", name="phone").addCallback(results.append)
    kept = (scene.folder / "guests" / "phone" / "guest.json").read_text()
    assert json.loads(kept)["private"] == json.loads(kept)["preshared"] == ""
    assert scene.process.told[-1] == {"leave": True}
    assert scene.bridge.status() is None
    assert "being removed" in failure(scene.ask("guest-add", name="phone"))
    scene.process.say(left=True, networks=[])
    assert scene.process.closed
    scene.process.end()
    scene.run(0.2)
    assert results == [{"name": "phone", "left": True}]
    assert not (scene.folder / "guests" / "phone").exists()
    with pytest.raises(CommandError, match="no guest 'phone'"):
        scene.ask("guest-show", name="phone")


def test_removed_before_it_is_up(scene: Scene) -> None:
    """Whoever has added it is told; what comes up meanwhile is not a guest again, and its keys are forgotten for good."""
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(0.1)
    scene.ask("guest-remove", name="phone")
    scene.process.say()
    scene.run(0.3)
    assert results == ["phone was removed, or the node is about to end"]
    assert scene.process.told[-1] == {"leave": True}
    assert not scene.process.closed, "it leaves its networks first"
    kept = json.loads((scene.folder / "guests" / "phone" / "guest.json").read_text())
    assert (kept["removed"], kept["private"]) == (True, "")
    scene.process.say(left=True)
    scene.process.end()
    assert not (scene.folder / "guests" / "phone").exists()


def test_shown_while_it_is_ended(scene: Scene) -> None:
    scene.ask("guest-add", name="phone").addErrback(lambda failed: None)
    scene.run(START_PATIENCE + 0.5)
    assert scene.process.closed
    with pytest.raises(CommandError, match="is being removed"):
        scene.ask("guest-show", name="phone")
    scene.process.end()
    with pytest.raises(CommandError, match="there is no guest"):
        scene.ask("guest-show", name="phone")


def test_removed_by_a_process_that_takes_long_to_end(scene: Scene) -> None:
    """It has left its networks, whatever the time: the answer waits for the rest."""
    scene.add()
    results: list[Any] = []
    scene.ask("guest-remove", name="phone").addCallback(results.append)
    scene.run(LEAVE_PATIENCE - 0.5)
    scene.process.say(left=True, networks=[])
    scene.run(5)
    assert results == []
    scene.process.end()
    scene.run(0.2)
    assert results == [{"name": "phone", "left": True}]
    assert not (scene.folder / "guests" / "phone").exists()


def test_removed_while_the_mediator_is_away(scene: Scene) -> None:
    """It is made up for, by the next run of the node if need be."""
    scene.add()
    results: list[Any] = []
    scene.ask("guest-remove", name="phone").addCallback(results.append)
    scene.run(LEAVE_PATIENCE + 0.2)
    assert results == [{"name": "phone", "left": False}]
    scene.bridge.stop()
    scene.process.end()
    scene.again()
    scene.run(0.5)
    assert scene.bridge.status() is None
    assert scene.process.told == [{"leave": True}]
    scene.process.say(left=True)
    scene.process.end()
    assert not (scene.folder / "guests" / "phone").exists()


@pytest.mark.parametrize("text", ["{", '{"name": 7}', '{"name": "phone", "port": 1, "version": 99}', '{"name": "other", "port": 1}'])
def test_a_record_that_cannot_be_read_is_left_alone(scene: Scene, text: str) -> None:
    folder = scene.folder / "guests" / "phone"
    folder.mkdir(parents=True)
    (folder / "guest.json").write_text(text)
    scene.again()
    scene.run(1)
    assert not scene.reactor.processes
    assert folder.exists()


def test_a_record_of_a_later_version_with_more_in_it(tmp_path: Path) -> None:
    """Fields that this version does not know are no reason to lose a guest."""
    guest_record.save(tmp_path / "guests" / "x", Record("x", 1))
    path = tmp_path / "guests" / "x" / "guest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert guest_record.load(path.parent, print) == Record("x", 1)
