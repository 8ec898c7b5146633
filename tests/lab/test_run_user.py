"""``userlan run`` by a user like any other: the node and the program, nothing of the lab's between."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.network import ORDINARY, tun_unavailable, unavailable, until
from tests.lab.test_run import LOOK

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
USER = 61_234
"""An uid that nobody has."""
NOBODY = 65_534
"""The one of ``ORDINARY``."""
DEVICE = Path("/dev/net/tun")


def closed_folders(paths: list[Path]) -> dict[Path, list[Path]]:
    """What lies in folders that are closed to others, by the outermost such folder."""
    found: dict[Path, list[Path]] = {}
    for path in paths:
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                found.setdefault(folder, []).append(path)
                break
    return found


def is_root() -> bool:
    """Whether we can become that user: root, and not of a user namespace that knows nobody else (user_namespaces(7))."""
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return os.geteuid() == 0 and any(first <= USER < first + count for first, _, count in ranges)


def as_user() -> list[str]:
    """How root becomes that user, who then sees the interpreter, the project and the device; nothing where we are no root;
    root of a user namespace of its own becomes ``nobody`` of one more.

    In mounts of its own: what lies in a closed folder is shown in an open one of the same name, and the device is one that
    everybody may open, as it is on a desktop."""
    if not is_root():
        return ["unshare", "-U", *ORDINARY] if os.geteuid() == 0 else []
    lines = ["set -e"]
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parents[1], ROOT}
    for number, (folder, paths) in enumerate(closed_folders(sorted(places)).items()):
        stage = f"/run/stage{number}"
        lines += [f"mkdir -p {stage}/kept", f"mount -t tmpfs none {stage}", f"mkdir {stage}/kept", f"mount --rbind {folder} {stage}/kept"]
        lines += [f"mount -t tmpfs -o mode=755 none {folder}"]
        for path in paths:
            lines += [f"mkdir -p {path}", f"mount --rbind {stage}/kept/{path.relative_to(folder)} {path}"]
    if DEVICE.stat().st_mode & 0o666 != 0o666:
        lines += ["mount -t tmpfs none /dev/net", f"mknod {DEVICE} c 10 200", f"chmod 666 {DEVICE}"]
    lines += [f'exec setpriv --reuid {USER} --regid {USER} --clear-groups "$@"']
    hidden = ["mount -t tmpfs none /run"] if len(lines) > 1 else []
    script = "\n".join((lines[0], "mount --make-rprivate /", *hidden, *lines[1:]))
    return ["unshare", "-m", "sh", "-c", script, "sh"]


@pytest.fixture
def home() -> Iterator[Path]:
    """One that the user can reach, with a node's state folder."""
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="userlan-run-"))
    (folder / "state").mkdir(mode=0o700)
    (folder / "config.yaml").write_text(
        "name: solo\nlisten: 127.0.0.1:0\nproxy: {listen: none}\ndns: {listen: none}\ntraversal: {port_mapping: no, lan_discovery: no}\n"
    )
    if is_root():
        for path in (folder, folder / "state", folder / "config.yaml"):
            os.chown(path, USER, USER)
    yield folder
    shutil.rmtree(folder)


def test_run(home: Path) -> None:
    environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}

    def userlan(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*as_user(), sys.executable, "-m", "userlan", "--state", str(home / "state"), "--config", str(home / "config.yaml")]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, env=environment)

    try:
        found = json.loads((result := userlan("run", "--", sys.executable, "-c", LOOK)).stdout or f'{{"error": {result.stderr!r}}}')
        changed = USER if is_root() else NOBODY
        uid, gid = (changed, changed) if os.geteuid() == 0 else (os.getuid(), os.getgid())
        assert (found["uid"], found["gid"], found["cwd"]) == (uid, gid, os.getcwd())
        assert {int(found[kind], 16) for kind in ("capabilities", "permitted", "ambient")} == {0}
        assert found["interfaces"] == ["lo", "lan0"]
        assert "nameserver fd75:6c61:6e00::53\n" in found["resolver"]
        assert userlan("run", "sh", "-c", "getent hosts solo && exit 9").returncode == 9
        until(lambda: not (home / "state" / "namespace.keeper").exists(), 60, "the place is gone")
    finally:
        userlan("down")
