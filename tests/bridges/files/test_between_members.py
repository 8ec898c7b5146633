"""Files between two members over the real stack, to the disk and back."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.task import deferLater

from bridges.files import FilesOptions, exchange, inbox
from bridges.notices import Notices
from tests.bridges.files.scene import Party, Scene, until
from tests.bridges.harness import Loop
from userlan.driver.bridge import CommandError


def test_a_file_is_offered_accepted_fetched_and_checked(scene: Scene) -> None:
    data = os.urandom(3_000_001)
    path = scene.file("report.pdf", data)
    os.utime(path, ns=(1, 1_500_000_000_123_456_789))
    path.chmod(0o755)
    (sent,) = scene.me.send("nas", path)
    (offer,) = scene.nas.wait("offered")
    assert (offer["file"], offer["size"], offer["name"], offer["direction"]) == ("report.pdf", len(data), "me", "in")
    assert not scene.nas.inbox.exists(), "nothing is written before it is accepted"
    accepted = scene.nas.call("files-accept", id=offer["id"][:4])
    assert accepted["inbox"] == str(scene.nas.inbox)
    (done,) = scene.nas.wait("done")
    assert scene.nas.received() == {"report.pdf": data}
    assert done["sha256"] == hashlib.sha256(data).hexdigest()
    status = os.stat(done["path"])
    assert status.st_mtime_ns == 1_500_000_000_123_456_789
    assert not status.st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    scene.me.wait("done")
    assert scene.me.row(sent)["done"] == len(data)


def test_several_at_once_and_an_empty_one(scene: Scene) -> None:
    files = {f"photo {number}.jpg": os.urandom(70_000 * number) for number in range(12)}
    scene.me.send("nas", *(scene.file(name, data) for name, data in files.items()))
    scene.nas.wait("offered", 12)
    scene.nas.call("files-accept", id="all")
    scene.me.wait("done", 12)
    assert scene.nas.received() == files


def test_a_declined_one_is_told(scene: Scene) -> None:
    scene.me.send("nas", scene.file("a", b"a"))
    (offer,) = scene.nas.wait("offered")
    scene.nas.call("files-decline", id=offer["id"])
    scene.me.wait("declined")
    assert not scene.nas.inbox.exists()


def big(scene: Scene, name: str = "film.mkv", size: int = 40 << 20) -> tuple[Path, bytes]:
    data = os.urandom(1 << 20) * (size >> 20) + b"end"
    return scene.file(name, data), data


def connections(party: Party) -> list[Any]:
    """Those over which files leave."""
    return [one for one in party.bridge.service._visited if one.sending is not None]


def accept(scene: Scene) -> None:
    scene.nas.wait("offered")
    scene.nas.call("files-accept", id="all")


def in_the_middle(scene: Scene, octets: int, act: Callable[[], object]) -> None:
    """Do something in the very turn of the reactor in which so much of the only file is there: a test's own thread may come too late."""
    nas = scene.nas.bridge.service

    def look() -> object:
        (transfer,) = nas.exchange.table.shown()
        if transfer.done >= octets:
            assert not transfer.ended
            return act()
        return deferLater(scene.loop.reactor, 0.001, look)

    scene.loop.call(look)


def test_a_broken_connection_is_gone_on_with(scene: Scene) -> None:
    path, data = big(scene)
    scene.me.send("nas", path)
    accept(scene)
    for octets in (3 << 20, 20 << 20):
        in_the_middle(scene, octets, lambda: [one.abort() for one in connections(scene.me)])
    (done,) = scene.nas.wait("done")
    assert scene.nas.received() == {"film.mkv": data}
    assert done["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("who", ["me", "nas"])
def test_each_may_be_started_again_in_the_middle(scene: Scene, who: str) -> None:
    path, data = big(scene)
    scene.me.send("nas", path)
    accept(scene)
    party: Party = getattr(scene, who)
    in_the_middle(scene, 2 << 20, party.bridge.stop)
    assert party.bridge.status() is None
    party.start()
    assert party.rows()[0]["state"] in ("paused", "active")
    scene.nas.wait("done")
    scene.me.wait("done")
    assert scene.nas.received() == {"film.mkv": data}


def test_a_file_that_is_changed_meanwhile_is_not_sent(scene: Scene) -> None:
    path, _ = big(scene)
    scene.me.send("nas", path)
    scene.nas.wait("offered")
    path.write_bytes(b"another")
    accept(scene)
    for party in (scene.me, scene.nas):
        (row,) = party.wait("failed")
        assert row["error"] == "the file was changed since it was offered: send it again"
    assert scene.nas.received() == {}


@pytest.mark.parametrize(("who", "theirs"), [("me", "me called it off"), ("nas", "nas called it off")])
def test_either_calls_it_off_in_the_middle(scene: Scene, who: str, theirs: str) -> None:
    path, _ = big(scene)
    scene.me.send("nas", path)
    accept(scene)
    party: Party = getattr(scene, who)
    identifier = party.rows()[0]["id"]
    in_the_middle(scene, 2 << 20, lambda: party.bridge.commands()["files-cancel"]({"id": identifier}))
    other = scene.nas if who == "me" else scene.me
    (row,) = other.wait("cancelled")
    assert row["error"] == theirs
    until(lambda: not any(scene.nas.inbox.rglob("*")), lambda: "the part stays")
    assert party.call("files-forget", id="all")
    assert party.rows() == []


def test_the_disk_fills_up_and_is_emptied(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HOLD_UP", 0.3)
    with monkeypatch.context() as full:
        full.setattr(inbox, "RESERVE", 1 << 60)
        scene.me.send("nas", scene.file("a", b"abc"))
        accept(scene)
        (row,) = scene.nas.wait("paused")
        assert "make room, it goes on by itself" in row["error"]
    scene.nas.wait("done")


def test_those_who_are_trusted_are_not_asked_about(loop: Loop, tmp_path: Path) -> None:
    for accepts in (("all",), ("me",), ("*.home",)):
        scene = Scene(loop, tmp_path / accepts[0].strip("*."), accept=accepts)
        scene.me.send("nas", scene.file("a", b"abc"))
        scene.me.wait("done")
        assert scene.nas.received() == {"a": b"abc"}
        scene.stop()


def test_what_the_disk_has_no_room_for_is_asked_about(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(loop, tmp_path, accept=("all",))
    assert scene.nas.bridge.service.inbox.room() > 0, "of the folder in which the inbox is to be"
    monkeypatch.setattr("bridges.files.inbox.RESERVE", 1 << 60)
    scene.me.send("nas", scene.file("a", b"abc"))
    scene.me.wait("offered")
    monkeypatch.undo()
    scene.me.send("nas", scene.file("b", b"abc"))
    scene.me.wait("done")
    assert scene.nas.received() == {"b": b"abc"}
    scene.stop()


def test_those_who_are_denied_are_declined_unseen(loop: Loop, tmp_path: Path) -> None:
    scene = Scene(loop, tmp_path, accept=("all",), deny=("me",))
    scene.me.send("nas", scene.file("a", b"abc"))
    scene.me.wait("declined")
    assert scene.nas.rows() == []
    assert scene.nas.bridge.status()["dropped"] == {"offers declined unseen": 1}
    scene.stop()


def test_the_same_file_twice_gets_two_names(scene: Scene) -> None:
    path = scene.file("a.txt", b"abc")
    scene.me.send("nas", path)
    scene.me.send("nas", path)
    scene.nas.wait("offered", 2)
    scene.nas.call("files-accept", id="all")
    scene.nas.wait("done", 2)
    assert scene.nas.received() == {"a.txt": b"abc", "a (2).txt": b"abc"}


def test_uploads_of_the_page_are_removed_once_they_are_sent(scene: Scene) -> None:
    uploads = scene.me.folder / "uploads"
    for number in range(3):
        (uploads / str(number)).mkdir(parents=True)
        (uploads / str(number) / "a").write_bytes(b"abc")
    scene.me.send("nas", uploads / "0" / "a", spooled=True)
    accept(scene)
    scene.me.wait("done")
    until(lambda: not (uploads / "0").exists(), lambda: "the upload stays")
    with pytest.raises(CommandError, match="no member is called"):
        scene.me.send("nobody", uploads / "1" / "a", spooled=True)
    assert not (uploads / "1").exists()
    outside = scene.file("outside", b"abc")
    with pytest.raises(CommandError, match="must lie in the folder of uploads"):
        scene.me.send("nas", outside, spooled=True)
    assert outside.exists()


class Watcher:
    """What a streaming command answers with."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.gone: Any = None

    def item(self, value: dict[str, Any]) -> None:
        self.items.append(value)

    def on_cancel(self, action: Any) -> None:
        self.gone = action


def test_watching(scene: Scene) -> None:
    watcher = Watcher()
    scene.loop.call(scene.nas.bridge.streaming_commands()["files-watch"], {}, watcher)
    assert watcher.items == [{"listed": True}]
    scene.me.send("nas", scene.file("a", b"abc"))
    accept(scene)
    (done,) = scene.nas.wait("done")
    states = [item["transfer"]["state"] for item in watcher.items[1:]]
    assert list(dict.fromkeys(states)) == ["offered", "accepted", "active", "done"]
    assert set(watcher.items[1]["transfer"]) == {
        "id", "direction", "peer", "name", "file", "size", "done", "rate", "state", "error", "held_up", "path", "sha256",
        "time",
    }  # fmt: skip
    scene.nas.call("files-forget", id=done["id"])
    assert watcher.items[-1] == {"gone": done["id"]}
    late = Watcher()
    scene.loop.call(scene.me.bridge.streaming_commands()["files-watch"], {}, late)
    assert [list(item) for item in late.items] == [["transfer"], ["listed"]]
    scene.loop.call(watcher.gone)
    count = len(watcher.items)
    scene.me.send("nas", scene.file("b", b"abc"))
    scene.nas.wait("offered")
    assert len(watcher.items) == count


def test_an_offer_is_told_on_the_desktop_until_it_is_answered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(Notices, "tell", lambda self, kind, title, text, subject="": told.append((kind, title, text, subject)))
    monkeypatch.setattr(Notices, "withdraw", lambda self, subject: told.append((subject,)))
    scene.me.send("nas", scene.file("a.pdf", bytes(12_345)))
    (offer,) = scene.nas.wait("offered")
    assert told == [("file", "me", "offers a.pdf (12 kB)", offer["id"])]
    accept(scene)
    scene.nas.wait("done")
    assert told[1:] == [(offer["id"],)]


@pytest.mark.parametrize(
    ("command", "arguments", "wrong"),
    [
        ("files-send", {"to": "nas"}, "say which files"),
        ("files-send", {"to": "nas", "paths": ["/nowhere/x"]}, "/nowhere/x cannot be read: No such file"),
        ("files-send", {"to": "nas", "paths": ["/"]}, "is a folder: pack it first"),
        ("files-send", {"to": "nas", "paths": ["/x"] * 513}, "more than 512 at once"),
        ("files-send", {"to": "nobody", "paths": ["/x"]}, "no member is called 'nobody'"),
        ("files-send", {"to": "me", "paths": ["/x"]}, "this computer itself"),
        ("files-send", {"paths": ["/x"]}, "'to' is missing"),
        ("files-accept", {"id": "zzz"}, "there is no transfer 'zzz'"),
        ("files-accept", {}, "'id' is missing"),
        ("files-open", {}, "nothing has been received"),
        ("files-cancel", {"id": "all"}, "there is no transfer 'all'"),
    ],
)
def test_mistakes_are_one_clear_line(scene: Scene, command: str, arguments: dict[str, object], wrong: str) -> None:
    with pytest.raises(CommandError, match=wrong):
        scene.me.call(command, **arguments)


def test_nothing_is_offered_to_whom_one_has_blocked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for a member that is never seen."""
    service = scene.me.bridge.service
    (peer,) = (one for one in scene.me.lan.members() if one.name == "nas")
    monkeypatch.setattr(service, "member", lambda key: attrs.evolve(peer, blocked=True))
    with pytest.raises(CommandError, match="is blocked"):
        scene.me.call("files-send", to="nas", paths=["/etc/hostname"])
    assert scene.me.rows() == []


def test_switched_off_nothing_listens(loop: Loop, tmp_path: Path) -> None:
    scene = Scene(loop, tmp_path, enabled=False)
    assert scene.me.bridge.status() is None
    with pytest.raises(CommandError, match="switched off"):
        scene.me.send("nas", scene.file("a", b"a"))
    scene.stop()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({"accept": ("a b",)}, "accept:"), ({"deny": ("?",)}, "deny:"), ({"inbox": "here"}, "not an absolute path")],
)
def test_options_that_cannot_be(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        FilesOptions(**options)
