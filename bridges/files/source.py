"""A file of this computer that is sent. Everything here blocks, and is called in threads.

What is offered is one file as it is then: its inode, size and time of change are noted, and looked at again each time it is opened
and when its end has been read. One that has become another is not sent in its place.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from bridges.files.exchange import Ready
from bridges.files.frames import HEADER, MAX_NAME, MAX_SIZE, block_header
from bridges.files.hashing import Hashing
from bridges.files.transfer import Source

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

CHANGED: Final = "the file was changed since it was offered: send it again"


class SourceError(Exception):
    """The file cannot be sent; ``str()`` is one line. ``final``: nor later."""

    def __init__(self, text: str, final: bool = True) -> None:
        super().__init__(text)
        self.final = final


def look(path: str) -> Ready:
    """What there is to send at an absolute path. SourceError."""
    if not os.path.isabs(path) or "\0" in path:
        raise SourceError(f"{path!r} is not an absolute path")
    try:
        real = Path(path).resolve(strict=True)
        if real.is_dir():
            name = real.name or "folder"
            raise SourceError(f"{path} is a folder: pack it first (`tar czf {name}.tar.gz {name}`) and send that file")
        descriptor = os.open(real, _FLAGS)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        raise SourceError(f"{path} cannot be read: {reason}") from None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path} is not a plain file")
    if status.st_size > MAX_SIZE:
        raise SourceError(f"{path} is larger than any file that can be sent")
    name = os.path.basename(path.rstrip("/")) or real.name
    return Ready(name[:MAX_NAME], str(real), _source(status))


class Reader:
    """A sent file, open at an offset. One thread at a time."""

    def __init__(self, path: str, source: Source, offset: int, hashing: Hashing) -> None:
        """SourceError where it is not what it was."""
        self._source = source
        self.position = offset
        self.hashing = hashing
        try:
            self._descriptor = os.open(path, _FLAGS)
        except OSError as error:
            raise _problem(error) from None
        if _source(os.fstat(self._descriptor)) != source:
            self.close()
            raise SourceError(CHANGED)

    def blocks(self, most: int, count: int) -> list[memoryview]:
        """The next ``count`` blocks, as :meth:`block` gives them; fewer where the end is among them. SourceError."""
        blocks: list[memoryview] = []
        while len(blocks) < count and (block := self.block(most)) is not None:
            blocks.append(block)
        return blocks

    def block(self, most: int) -> memoryview | None:
        """The next octets, ``most`` at the most, with a block's header before them; None at the end. SourceError."""
        left = min(most, self._source.size - self.position)
        try:
            if left <= 0:
                self._check_end()
                return None
            whole = memoryview(bytearray(HEADER + left))
            os.lseek(self._descriptor, self.position, os.SEEK_SET)
            count = os.readv(self._descriptor, [whole[HEADER:]]) if hasattr(os, "readv") else self._read_into(whole[HEADER:])
            if not count:
                raise SourceError(CHANGED)
            whole[:HEADER] = block_header(count)
            self.hashing.add(whole[HEADER : HEADER + count], self.position)
            self.position += count
            self.hashing.catch_up(self._descriptor, self.position)
        except EOFError:
            raise SourceError(CHANGED) from None
        except OSError as error:
            raise _problem(error) from None
        return whole[: HEADER + count]

    def hash_on(self) -> bool:
        """Hash some more of what was read; whether that is all. SourceError."""
        try:
            self.hashing.catch_up(self._descriptor, self.position)
        except EOFError:
            raise SourceError(CHANGED) from None
        except OSError as error:
            raise _problem(error) from None
        return self.hashing.position >= self.position

    def close(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _check_end(self) -> None:
        if _source(os.fstat(self._descriptor)) != self._source:
            raise SourceError(CHANGED)

    def _read_into(self, room: memoryview) -> int:
        data = os.read(self._descriptor, len(room))
        room[: len(data)] = data
        return len(data)


def _source(status: os.stat_result) -> Source:
    return Source(status.st_ino, status.st_size, status.st_mtime_ns)


def _problem(error: OSError) -> SourceError:
    if error.errno == errno.ENOENT:
        return SourceError("the file is not there any more")
    return SourceError(f"the file cannot be read: {error.strerror}", final=error.errno in (errno.EACCES, errno.EISDIR, errno.ENOTDIR))
