"""The programs of others that userlan is measured beside: where they are, and how to get those that no Debian 12 has.

::

    python -m tests.bench.peers                      what is there, and what is missing
    python -m tests.bench.peers --install [FOLDER]   build or fetch wireguard-go 2023 and yggdrasil 0.5 into a folder

The folder is ``--peers`` of the bench, else the variable ``USERLAN_BENCH_PEERS``, else one in this user's cache. Two ways are tried for
each: ``go install`` (needs Go 1.20 or later), and Debian 13's own package, unpacked without being installed (needs apt and dpkg; what
runs is a static or nearly static Go binary). Neither touches what is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import platformdirs

VARIABLE = "USERLAN_BENCH_PEERS"
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SUITE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n"
PATIENCE = 900
"""Seconds that one build or download may take."""


class Peer(NamedTuple):
    """A program that is told apart by its version: it may be on the path under its plain name, or in the folder under its own."""

    command: str
    version_option: str
    pattern: str
    module: str = ""
    binary: str = ""
    debian: str = ""


VERSIONED = {
    "wireguard-go-2022": Peer("wireguard-go", "--version", r"v0\.0\.2022"),
    "wireguard-go-2023": Peer(
        "wireguard-go", "--version", r"v0\.0\.2023",
        "golang.zx2c4.com/wireguard@v0.0.0-20231211153847-12269c276173", "wireguard", "wireguard-go",
    ),
    "yggdrasil-0.5": Peer(
        "yggdrasil", "-version", r"version: v?0\.5\.", "github.com/yggdrasil-network/yggdrasil-go/cmd/yggdrasil@v0.5.12", "yggdrasil",
        "yggdrasil",
    ),
}
"""By the name that a system asks for. What has no module is only ever taken from the path."""


def default_folder() -> Path:
    """Where peers are kept unless somebody says otherwise."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("userlan") / "bench-peers"


class Peers:
    """Finds programs."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """The path of a program in the right version, or None."""
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> str | None:
        peer = VERSIONED.get(name)
        installed = shutil.which(peer.command if peer else name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")
        if peer is None:
            return installed
        own = self.folder / name
        for candidate in ([str(own)] if own.exists() else []) + ([installed] if installed else []):
            if right_version(candidate, peer):
                return candidate
        return None


def right_version(program: str, peer: Peer) -> bool:
    """Whether a program says that it is the version that is meant."""
    try:
        result = subprocess.run([program, peer.version_option], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(peer.pattern, result.stdout + result.stderr) is not None


def install(folder: Path) -> int:
    """Get everything that can be got; how many are missing afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = 0
    for name, peer in VERSIONED.items():
        if not peer.module:
            continue
        target = folder / name
        reasons = []
        for way in (_from_go, _from_debian):
            reason = "is there already" if target.exists() and right_version(str(target), peer) else way(peer, target)
            if reason is None or right_version(str(target), peer):
                print(f"{name}: {reason or target}")
                break
            reasons.append(reason)
        else:
            missing += 1
            print(f"{name}: {'; '.join(reasons)}", file=sys.stderr)
    return missing


def _from_go(peer: Peer, target: Path) -> str | None:
    """Build with Go; the reason why not, or None."""
    if shutil.which("go") is None:
        return "Go is not installed"
    with tempfile.TemporaryDirectory() as place:
        variables = os.environ | {"GOBIN": place, "GOFLAGS": ""}
        result = subprocess.run(["go", "install", peer.module], capture_output=True, text=True, timeout=PATIENCE, env=variables)
        if result.returncode:
            return f"go install failed: {(result.stderr.strip().splitlines() or ['no reason given'])[-1].strip()}"
        shutil.copy(Path(place) / peer.binary, target)
    return None


def _from_debian(peer: Peer, target: Path) -> str | None:
    """Unpack the package of Debian 13, by an apt with lists and a cache of its own; the reason why not, or None."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "no apt and dpkg to take Debian 13's package with"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "sources.list").write_text(SUITE)
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        where = {"Dir::Etc::sourcelist": "sources.list", "Dir::State::lists": "lists", "Dir::Cache": "cache"}
        options = [part for key, value in where.items() for part in ("-o", f"{key}={folder / value}")]
        options += ["-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]
        for command in ("update", "download"):
            words = ["apt-get", "-q", *options, command, *([peer.debian] if command == "download" else [])]
            result = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, cwd=folder)
            if result.returncode:
                return f"apt-get {command} failed: {(result.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        archive = next(folder.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / "root")], check=True, timeout=PATIENCE)
        found = [path for path in (folder / "root" / "usr").glob(f"*bin/{peer.command}") if path.is_file()]
        if not found:
            return f"{archive.name} has no program {peer.command}"
        shutil.copy(found[0], target)
    return None


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="the programs that userlan is measured beside")
    parser.add_argument("--install", nargs="?", const="", metavar="FOLDER", help="get those that are missing")
    options = parser.parse_args()
    folder = Path(options.install) if options.install else default_folder()
    if options.install is not None:
        return 1 if install(folder) else 0
    from tests.bench.systems import SYSTEMS

    peers = Peers(folder)
    for kind in SYSTEMS:
        print(f"{kind.name}: {kind.missing(peers) or 'ready'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
