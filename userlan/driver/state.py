"""What a node keeps on disk: one folder, held by one process at a time.

::

    STATE/                0700
      lock                held (flock) as long as the node runs; its text is the holder's process id, and on a second line what it is
      identity.key        0600, the private key: base64url, 43 characters and a newline
      *.json              caches and what commands added; a broken one is set aside as *.json.corrupt, never fatal
      control.sock        0600, the local API (see local.py)

Every write goes to a temporary file of the same folder, is synchronised and renamed over the old one: a crash at any
moment leaves the old or the new contents, never a half (``rename`` in POSIX.1-2017: atomic replacement).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

KEY_LENGTH = 32
"""Bytes of a private key (X25519, RFC 7748 section 5)."""

FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_JSON = 64 * 1024 * 1024
"""Bytes of a cache that are read back at most:
more than the largest roster, and no way to fill the memory by a damaged file."""


class StateError(Exception):
    """The state folder cannot be used; ``str()`` is one clear line that says what to do."""


class FolderHeldError(StateError):
    """Another process holds it."""


def write_atomically(path: Path, data: bytes, mode: int = FILE_MODE) -> None:
    """Replace the contents of ``path`` by ``data`` so that no crash leaves a half; raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _synchronise_folder(path.parent)


def _synchronise_folder(folder: Path) -> None:
    """Make a rename durable, where the platform lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def save_json(path: Path, value: object) -> None:
    """Write a JSON-able value atomically; raises OSError, or TypeError where the value is not JSON-able."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def load_json(path: Path, report: Callable[[str], None]) -> object | None:
    """The value in ``path``;
    None when there is none. A broken file is renamed to ``*.corrupt`` and told to ``report``."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        report(f"{path} cannot be read ({error.strerror}); going on without it")
        return None
    try:
        if len(data) > MAX_JSON:
            raise ValueError(f"more than {MAX_JSON} bytes")
        value: object = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        aside = path.with_name(path.name + ".corrupt")
        with contextlib.suppress(OSError):
            os.replace(path, aside)
        report(f"{path} is damaged ({error}); it was set aside as {aside.name}, going on without it")
        return None
    return value


class StateFolder:
    """An open state folder. Only one process holds it at a time; use it as a context manager, or call :meth:`close`."""

    def __init__(self, path: Path, report: Callable[[str], None], holder: str = "node") -> None:
        """Create the folder where it is missing and take its lock; raises StateError. ``report`` gets one line for each mishap;
        ``holder``: what this process is, one word."""
        self.path = path
        self._report = report
        _make_folder(path)
        self._lock: int | None = _take_lock(path, holder)

    @property
    def control_path(self) -> Path:
        """Where the local API of this folder's node listens."""
        return self.path / "control.sock"

    def private_key(self, name: str, generate: Callable[[], bytes]) -> bytes:
        """The private key in ``name``.key, made by ``generate`` at the first time.

        A damaged one is a StateError: it is never replaced.
        """
        path = self.path / f"{name}.key"
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return self._create_key(path, generate)
        except OSError as error:
            raise StateError(f"the key {path} cannot be read: {error.strerror}") from error
        with contextlib.suppress(OSError):
            path.chmod(FILE_MODE)
        try:
            key = base64.b64decode(text.strip() + b"=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_LENGTH:
            raise StateError(f"the key {path} is damaged: restore it from a backup, or remove it to start with a new identity")
        return key

    def _create_key(self, path: Path, generate: Callable[[], bytes]) -> bytes:
        key = generate()
        if len(key) != KEY_LENGTH:
            raise ValueError(f"a private key has {KEY_LENGTH} bytes, not {len(key)}")
        try:
            write_atomically(path, base64.urlsafe_b64encode(key).rstrip(b"=") + b"\n")
        except OSError as error:
            raise StateError(f"the key {path} cannot be written: {error.strerror}") from error
        return key

    def load(self, name: str) -> object | None:
        """The value kept in ``name``.json, or None when there is none or it is damaged (then it is set aside and
        reported)."""
        return load_json(self.path / f"{name}.json", self._report)

    def save(self, name: str, value: object) -> None:
        """Keep a JSON-able value in ``name``.json.

        A full or read-only disk is reported, not raised: a cache is not worth a crash.
        """
        try:
            save_json(self.path / f"{name}.json", value)
        except OSError as error:
            self._report(f"{self.path / name}.json cannot be written: {error.strerror}")

    def close(self) -> None:
        """Let the folder go. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        status = path.stat()
    except FileExistsError:
        raise StateError(f"the state folder {path} is not a folder: name another one with --state") from None
    except OSError as error:
        raise StateError(f"the state folder {path} cannot be made: {error.strerror}") from error
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise StateError(f"the state folder {path} belongs to another user: name another one with --state")
    try:
        path.chmod(FOLDER_MODE)
    except OSError as error:
        raise StateError(f"the state folder {path} cannot be closed to others: {error.strerror}") from error


def holding_node(path: Path) -> int | None:
    """The process of the node that holds the folder, or has held it last; None where that is no node, or is told by nobody."""
    try:
        number, holder = (path / "lock").read_text(encoding="ascii").split()
        return int(number) if holder == "node" else None
    except (OSError, ValueError):
        return None


def holds(process: int, path: Path) -> bool | None:
    """Whether a process has the folder's lock open; None where the system does not show it: it has no ``/proc``, or the process is another
    user's, or has rights that this one has not. It is not tried by taking the lock, not even for a moment: a node that starts just then
    would not."""
    if not os.path.isdir("/proc/self/fd"):
        return None
    try:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                if descriptor.samefile(path / "lock"):
                    return True
    except PermissionError:
        return None
    except OSError:      # it has ended
        return False
    return False


def _take_lock(path: Path, holder: str) -> int:
    """The open, locked file that shows that this folder is in use. The lock goes with the process, however it ends."""
    name = path / "lock"
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), FILE_MODE)
    except OSError as error:
        raise StateError(f"the lock {name} cannot be opened: {error.strerror}") from error
    try:
        _lock_file(handle)
    except OSError:
        by: list[str] = []
        with contextlib.suppress(OSError):
            by = os.pread(handle, 40, 0).decode("ascii", "replace").split() if hasattr(os, "pread") else []
        os.close(handle)
        process = f" (process {by[0]})" if by else ""
        raise FolderHeldError(
            f"the state folder {path} is held by another userlan{process}: stop it (`userlan down`, if it is a node), "
            "or name another one with --state"
        ) from None
    told = f"{os.getpid()}\n{holder}\n".encode("ascii")
    os.write(handle, told)      # over what stood there, which is as long as a rule: it is not read empty
    os.ftruncate(handle, len(told))
    return handle


try:
    import fcntl
except ImportError:  # pragma: no cover - platforms without POSIX locks
    import msvcrt

    def _lock_file(handle: int) -> None:
        # Far beyond the text, so that another process can still read who holds it.
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        getattr(msvcrt, "locking")(handle, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009 - absent from other platforms' types
        os.lseek(handle, 0, os.SEEK_SET)

else:

    def _lock_file(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
