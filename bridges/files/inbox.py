"""The folder where what others send ends up. Everything here blocks, and is called in threads.

::

    INBOX/report.pdf               whole and checked; never overwritten, never executable
    INBOX/.userlan-parts/ID.part   0700 around it: what has come so far; its length is where the next fetch begins

A part is on the inbox's own file system, so that it becomes the file without another copy: by ``link``, which does not replace, and where
the file system has no links (FAT), over an empty file of that name that only we can have made (O_EXCL). What has come is on the disk
(``fsync``) before it has its name.

Paths are made of the inbox, an id of our own and ``userlan.lan.filenames.safe_name``; no symbolic link is followed at their end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridges.files.hashing import Hashing
from bridges.files.transfer import size_text
from userlan.lan.filenames import numbered

PARTS: Final = ".userlan-parts"
"""No peer's name begins with a dot."""
RESERVE: Final = 64 << 20
"""Octets that stay free on the disk: a full one breaks what else runs there."""
MAX_NUMBER: Final = 1000
"""Files of one name that are told apart by a number."""
TRIES: Final = 8
"""How often the folder of parts is made anew: whoever removes the last part removes it."""
ORPHAN_AGE: Final = 30 * 86400.0
"""Seconds after which a part of which nobody knows is removed; younger ones may be those of another node with the same inbox."""

_NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class InboxError(Exception):
    """The file cannot be taken now; ``str()`` is one line for people."""


class Inbox:
    """One inbox. Nothing is made on disk before a file has been accepted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_part(self, identifier: str, size: int, promised: int, hashing: Hashing | None) -> Part:
        """What has come of a file of ``size`` octets, to go on with. ``promised``: octets that other transfers still have to write;
        ``hashing``: what was hashed of it already. InboxError."""
        with self._plain_words():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self._made_part(identifier, size, hashing)
        try:
            self._check_space(size - part.size, promised)
        except BaseException:
            part.close()
            raise
        return part

    def room(self) -> int:
        """Octets that the disk has left beside ``RESERVE``; 0 where that cannot be found out."""
        there = next((one for one in (self.folder, *self.folder.parents) if one.is_dir()), self.folder)
        try:
            return max(0, shutil.disk_usage(there).free - RESERVE)
        except OSError:
            return 0

    def discard(self, identifier: str) -> None:
        """Remove a part, where there is one."""
        with contextlib.suppress(OSError):
            os.unlink(self.part_path(identifier))
        with contextlib.suppress(OSError):
            os.rmdir(self.folder / PARTS)

    def length(self, identifier: str) -> int:
        """Octets of a part that are there."""
        try:
            return os.lstat(self.part_path(identifier)).st_size
        except OSError:
            return 0

    def sweep(self, known: set[str]) -> None:
        """Remove old parts of transfers that nobody knows of."""
        try:
            entries = list(os.scandir(self.folder / PARTS))
        except OSError:
            return
        for entry in entries:
            with contextlib.suppress(OSError):
                identifier, _, ending = entry.name.partition(".")
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > ORPHAN_AGE
                if ending == "part" and identifier not in known and old:
                    os.unlink(entry.path)

    def part_path(self, identifier: str) -> Path:
        """Where a part is kept."""
        return self.folder / PARTS / f"{identifier}.part"

    def place(self, identifier: str, name: str) -> Path:
        """Give a part its name, or the next one that is free; the one that it has already. InboxError."""
        part = self.part_path(identifier)
        with self._plain_words():
            for number in range(1, MAX_NUMBER + 1):
                target = self.folder / numbered(name, number)
                if _link(part, target) or _replace_placeholder(part, target):
                    synchronise(self.folder)
                    return target
        raise InboxError(f"there are {MAX_NUMBER} files called {name} in {self.folder} already")

    def problem(self, error: OSError) -> InboxError:
        """An error of the system in words."""
        if error.errno in _NO_SPACE:
            return InboxError(f"the disk of {self.folder} is full: make room, it goes on by itself")
        if error.errno == errno.EFBIG:
            return InboxError(f"the file system of {self.folder} takes no file of that size")
        return InboxError(f"{self.folder} cannot be written: {error.strerror or error}")

    @contextlib.contextmanager
    def _plain_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.problem(error) from None

    def _made_part(self, identifier: str, size: int, hashing: Hashing | None) -> Part:
        for _ in range(TRIES):
            self._make_parts()
            with contextlib.suppress(FileNotFoundError):      # another thread has removed the folder as it was empty
                return Part(self, identifier, size, hashing)
        raise InboxError(f"{self.folder / PARTS} is removed again and again")

    def _make_parts(self) -> None:
        parts = self.folder / PARTS
        with contextlib.suppress(FileExistsError):
            os.mkdir(parts, 0o700)
        status = os.lstat(parts)
        if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
            raise InboxError(f"{parts} is not a folder of yours: remove it")
        if os.name == "posix" and status.st_mode & 0o077:
            os.chmod(parts, 0o700)      # others could have put into it what is then written to

    def _check_space(self, wanted: int, promised: int) -> None:
        if not hasattr(os, "statvfs"):
            return
        with self._plain_words():
            disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize - RESERVE - promised
        if wanted > max(0, free):
            raise InboxError(
                f"the disk of {self.folder} has room for {size_text(max(0, free))}, and {size_text(wanted)} are to come: "
                "make room, it goes on by itself"
            )


class Part:
    """A file that is coming. One thread at a time."""

    def __init__(self, inbox: Inbox, identifier: str, size: int, hashing: Hashing | None) -> None:
        self._inbox = inbox
        self._identifier = identifier
        self._descriptor = os.open(inbox.part_path(identifier), _FLAGS | os.O_CREAT, 0o666)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise InboxError(f"{inbox.part_path(identifier)} is not a plain file: remove it")
        if status.st_size > size or (status.st_nlink > 1 and status.st_size < size):
            self.close()        # not as it was left, or a file that has another name: that is never written to
            os.unlink(inbox.part_path(identifier))
            self._descriptor = os.open(inbox.part_path(identifier), _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
            status = os.fstat(self._descriptor)
        self.size = status.st_size
        """Octets that are there."""
        self.hashing = hashing if hashing is not None and hashing.position <= self.size else Hashing()

    def append(self, buffers: list[bytes | bytearray | memoryview]) -> None:
        """Write what has come, in order. InboxError; what was written until then stays."""
        block = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        view = memoryview(block)
        begin = self.size
        try:
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            while self.size - begin < len(view):
                self.size += os.write(self._descriptor, view[self.size - begin :])
        except OSError as error:
            raise self._inbox.problem(error) from None
        self.hashing.add(view, begin)
        self.hashing.catch_up(self._descriptor, self.size)

    def hash_on(self) -> bool:
        """Hash some more of what is there; whether that is all."""
        self.hashing.catch_up(self._descriptor, self.size)
        return self.hashing.position >= self.size

    def synchronise(self) -> None:
        """Have what was written on the disk; beside another step, if need be. OSError."""
        os.fsync(self._descriptor)

    def restart(self) -> None:
        """Empty it; where it is a file with another name, too, begin another one in its place: that one is whole, or somebody's, and may
        have been changed since. InboxError."""
        try:
            if os.fstat(self._descriptor).st_nlink > 1:
                self.close()
                os.unlink(self._inbox.part_path(self._identifier))
                self._descriptor = os.open(self._inbox.part_path(self._identifier), _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
            else:
                os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise self._inbox.problem(error) from None
        self.size = 0
        self.hashing = Hashing()

    def finish(self, name: str, mtime: int) -> Path:
        """Make it the file that it is to be: on the disk for good, changed when it was changed at its sender. Its name as a part is for
        the caller to ``discard`` once that is noted: were this interrupted before, the same file is found under both. InboxError."""
        try:
            now = time.time_ns()
            stamp = min(max(0, mtime), now) if mtime else now
            if os.utime in os.supports_fd:
                os.utime(self._descriptor, ns=(now, stamp))
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._inbox.problem(error) from None
        finally:
            self.close()
        return self._inbox.place(self._identifier, name)

    def close(self) -> None:
        """Let go of it; what has come stays. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def synchronise(folder: Path) -> None:
    """Make a new name in a folder durable, where the platform lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link(part: Path, target: Path) -> bool:
    """Whether ``target`` is the part, by a link made now or before; not, where there is another such file, or no links can be made."""
    try:
        os.link(part, target)
    except FileExistsError:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.lstat(part), os.lstat(target))
        return False
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EROFS, *_NO_SPACE):
            raise
        return False
    return True


def _replace_placeholder(part: Path, target: Path) -> bool:
    """As ``_link`` where there are no links: an empty file that nobody had is made, and replaced by the part."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    try:
        os.replace(part, target)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(target)
        raise
    return True
