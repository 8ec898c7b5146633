"""Files between two members over the real stack, to the disk and back."""

from __future__ import annotations

import hashlib
import os
import stat

from tests.bridges.files.scene import Scene


def test_a_file_is_offered_accepted_fetched_and_checked(scene: Scene) -> None:
    data = os.urandom(3_000_001)
    path = scene.file("report.pdf", data)
    os.utime(path, ns=(1, 1_500_000_000_123_456_789))
    path.chmod(0o755)
    (sent,) = scene.me.send("nas", path)
    (offer,) = scene.nas.wait("offered")
    assert (offer["file"], offer["size"], offer["name"], offer["direction"]) == ("report.pdf", len(data), "me", "in")
    assert not scene.nas.inbox.exists(), "nothing is written before it is accepted"
    scene.nas.call("files-accept", id=offer["id"][:4])
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
