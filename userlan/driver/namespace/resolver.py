"""Whom the programs in a namespace ask for names: the LAN's resolver.

::

    /etc/resolv.conf   a file, or leads to one    → ours is mounted over it
                       leads into a folder of     → all of the folder is ours: systemd-resolved and nscd are asked by sockets
                       systemd-resolved             that lie there, and know nothing of the LAN
                       is missing, leads nowhere  → /etc gets a layer above it (overlayfs), in which there is ours

A file that is replaced outside (by its folder, as all who write it do) takes along what is mounted over it in other
namespaces: ``keep`` is to be called now and then.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from userlan.driver.namespace import calls
from userlan.lan.addresses import IPV6_PREFIX, text
from userlan.lan.names import SUFFIX

FOLDERS = ("/run/systemd/resolve", "/run/nscd")
"""Where the system's own resolvers listen, as the C library's modules know them (nss-resolve(8), nscd(8))."""
_NAMES = ("resolv.conf", "stub-resolv.conf")
"""What systemd-resolved writes (systemd-resolved.service(8))."""
RESOLVER = text(IPV6_PREFIX + bytes(9) + b"\x53")


class Resolver:
    """Of this process's mount namespace, which must be its own."""

    def __init__(self, state: Path, path: str = "/etc/resolv.conf") -> None:
        """``state``: a folder that is there; something is mounted over it for a moment."""
        self._state = state
        self._path = path
        self._contents = f"# The programs of `userlan run` ask the LAN.\nnameserver {RESOLVER}\nsearch {SUFFIX}\n"
        self._identity: tuple[int, int] | None = None
        self._warning = ""

    def keep(self) -> str:
        """Put ours in its place, where it is not there (any more); why that cannot be, or nothing."""
        with suppress(OSError):
            if self._warning or (self._identity is not None and self._identity == self._there()):
                return self._warning
        try:
            if self._identity is None:
                self._hide_others()
            self._put()
            self._identity = self._there()
        except OSError as error:
            self._warning = f"names are not asked of the LAN: {self._path} cannot be replaced ({error.strerror})"
        return self._warning

    def _there(self) -> tuple[int, int]:
        status = os.stat(self._path)
        return status.st_dev, status.st_ino

    def _hide_others(self) -> None:
        for folder in FOLDERS:
            if not os.path.isdir(folder):
                continue
            calls.mount("userlan", folder, "tmpfs", calls.MOUNT_HARMLESS, "mode=755,size=64k")
            for name in _NAMES:
                Path(folder, name).write_text(self._contents)

    def _put(self) -> None:
        target = os.path.realpath(self._path)
        if any(target == f"{folder}/{name}" for folder in FOLDERS for name in _NAMES) and os.path.isfile(target):
            return
        if os.path.exists(target):
            self._cover(target)
        else:
            self._layer(os.path.dirname(self._path))

    def _cover(self, target: str) -> None:
        """A file of ours over one, with its own little file system below."""
        place = str(self._state)
        calls.mount("userlan", place, "tmpfs", calls.MOUNT_HARMLESS, "mode=755,size=64k")
        try:
            ours = Path(place, "resolv.conf")
            ours.write_text(self._contents)
            ours.chmod(0o644)
            calls.mount(str(ours), target, flags=calls.MOUNT_BIND)
        finally:
            calls.unmount(place)

    def _layer(self, folder: str) -> None:
        """A layer over a folder, in which the file is ours (Linux 5.11 lets everybody do that)."""
        place = str(self._state)
        calls.mount("userlan", place, "tmpfs", calls.MOUNT_HARMLESS, "mode=755,size=256k")
        try:
            upper, work = (tempfile.mkdtemp(prefix=name, dir=place) for name in ("upper", "work"))
            os.chmod(upper, 0o755)
            calls.mount("userlan", folder, "overlay", data=f"lowerdir={folder},upperdir={upper},workdir={work},userxattr")
        finally:
            calls.unmount(place)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        Path(self._path).write_text(self._contents)
        os.chmod(self._path, 0o644)
