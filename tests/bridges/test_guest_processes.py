"""The companions of guests as processes: started, started again, told what is wanted of them, and ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridges.guest_process import FIRST_PAUSE, LAST_PAUSE, LONG_LIFE, MAX_LOG, STOP_PATIENCE, GuestProcess
from bridges.guests import MEASURING_PATIENCE, START_PATIENCE
from tests.bridges.guest_scene import KEY, Reactor, Scene, ended
from userlan.driver.bridge import CommandError


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_companion_that_does_not_come_up_leaves_nothing(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(0.1)
    scene.process.end("userlan: UDP 0.0.0.0:51820 is in use")
    scene.run(FIRST_PAUSE + 0.1)
    scene.process.end("userlan: UDP 0.0.0.0:51820 is in use")
    scene.run(1)
    assert results == ["phone did not come up: UDP 0.0.0.0:51820 is in use"]
    assert not (scene.folder / "guests" / "phone").exists()
    assert scene.bridge.status() is None


def test_a_mediator_that_does_not_answer(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(0.1)
    scene.process.say(ipv4=None, networks=[], trouble={"home": "the mediator cannot be reached"})
    scene.run(START_PATIENCE + 0.5)
    assert scene.process.closed
    scene.process.end()
    assert results == ["phone did not come up: the mediator cannot be reached"]


def test_a_network_whose_owner_has_to_approve(scene: Scene) -> None:
    """The guest is there, and waits; where this node is the owner, its key is known before it asks."""
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addCallback(results.append)
    scene.run(0.1)
    scene.process.say(networks=[], waiting=["home"], trouble={"home": "asked to join: its owner has to approve"})
    scene.run(0.2)
    assert results[0]["trouble"] == "home: asked to join: its owner has to approve"
    assert scene.lan.companions.ours == {KEY}


def test_an_endpoint_is_waited_for(scene: Scene) -> None:
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addCallback(results.append)
    scene.run(0.1)
    scene.process.say(measured=False)
    scene.run(MEASURING_PATIENCE - 1)
    assert not results
    scene.run(2)
    assert len(results) == 1, "the next best is named"


def test_networks_follow_the_nodes(scene: Scene) -> None:
    scene.add()
    scene.add("tablet", networks=["work"])
    del scene.invites["work"]
    for _ in range(2):
        for changed in scene.observers:
            changed()
    phone, tablet = scene.reactor.processes
    home, work = {"home": "userlan://home"}, {"work": "userlan://work"}
    assert phone.told == [{"networks": home | work}, {"networks": home}]
    assert tablet.told == [{"networks": work}, {"networks": {}}]


def test_back_off(scene: Scene) -> None:
    """One that dies is started again: soon at first, then more and more seldom, and soon again after a long life."""
    scene.add()
    pauses = []
    for _ in range(9):
        count, before = len(scene.reactor.processes), scene.reactor.seconds()
        scene.process.end("2026-01-01 [app#info] ben is direct\nuserlan: out of luck")
        assert scene.ask("guest-list")["guests"][0]["state"] == "failed"
        assert scene.ask("guest-list")["guests"][0]["trouble"] == "out of luck"
        while len(scene.reactor.processes) == count:
            scene.reactor.advance(0.5)
        pauses.append(round(scene.reactor.seconds() - before))
    assert pauses == [1, 2, 4, 8, 16, 32, LAST_PAUSE, LAST_PAUSE, LAST_PAUSE]
    scene.reactor.advance(LONG_LIFE)
    count = len(scene.reactor.processes)
    scene.process.end()
    assert scene.ask("guest-list")["guests"][0]["trouble"] == "exit status 0"
    scene.reactor.advance(FIRST_PAUSE)
    assert len(scene.reactor.processes) == count + 1
    assert scene.process.told, "it is told its networks each time"
    assert "out of luck" in (scene.folder / "guests" / "phone" / "node.log").read_text()


def test_a_program_that_is_not_there(scene: Scene) -> None:
    scene.reactor.refuse = True
    results: list[Any] = []
    scene.ask("guest-add", name="phone").addErrback(lambda failed: results.append(str(failed.value)))
    scene.run(4)
    assert results == ["phone did not come up: it cannot be started: No such file or directory"]


def test_what_a_companion_says_is_not_trusted_to_be_short_or_right(scene: Scene) -> None:
    scene.add()
    before = scene.ask("guest-list")
    for data in (b"ready phone\n", b"{\n", b"[]\n", b'{"companion": 7}\n', b"{" * (2 << 20), b"\n"):
        scene.process.protocol.outReceived(data)
    assert scene.ask("guest-list") == before
    for _ in range(20):
        scene.process.protocol.errReceived(b"x" * (MAX_LOG // 8))
    assert (scene.folder / "guests" / "phone" / "node.log").stat().st_size <= MAX_LOG


def test_they_end_with_the_node_and_come_up_with_it(scene: Scene) -> None:
    ports = {name: scene.add(name)["port"] for name in ("phone", "tablet")}
    ended: list[Any] = []
    scene.bridge.stop().addCallback(ended.append)
    assert [process.closed for process in scene.reactor.processes] == [True, True]
    scene.reactor.processes[0].end()
    assert not ended
    scene.run(STOP_PATIENCE + 0.1)
    assert scene.reactor.processes[1].killed
    scene.reactor.processes[1].end()
    assert ended == [None]
    assert not scene.observers
    assert not scene.reactor.getDelayedCalls()
    scene.again()
    scene.run(2)
    assert [process.command[1:] for process in scene.reactor.processes[2:]] == [
        [str(scene.folder / "guests" / name), str(port)] for name, port in ports.items()
    ]
    assert [row["state"] for row in scene.ask("guest-list")["guests"]] == ["starting", "starting"]
    with pytest.raises(CommandError, match="starting"):
        scene.ask("guest-show", name="phone")


def test_a_node_that_stops_while_one_waits_to_be_started_again(scene: Scene) -> None:
    scene.add()
    scene.process.end()
    scene.bridge.stop()
    scene.run(5)
    assert len(scene.reactor.processes) == 1


def test_nothing_of_the_service_managers_is_handed_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_notify(3): the state of the service is the node's to tell."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "USERLAN_STATE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    scene.add()
    environment = scene.process.environment
    assert environment["LANG"] == "C.UTF-8"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "USERLAN_STATE"} & environment.keys()


def test_a_process_that_is_gone_when_it_is_to_be_killed(tmp_path: Path) -> None:
    reactor = Reactor()
    process = GuestProcess(reactor, tmp_path, ["userlan"], lambda: None)
    process.start()
    reactor.advance(0)
    process.stop()
    reactor.processes[0].gone = True
    reactor.advance(STOP_PATIENCE)
    reactor.processes[0].protocol.processEnded(ended())
    assert not reactor.getDelayedCalls()
