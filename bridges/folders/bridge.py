"""The bridge ``folders``: what is shared, with whom, and its commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final
from weakref import WeakKeyDictionary, ref

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.expose import Gate
from bridges.files.threads import Threads
from bridges.folders.listing import link
from bridges.folders.server import Site
from bridges.folders.tree import is_shown
from bridges.sharing import MAX_ENTRIES, check_entry
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan import ports

PORT: Final = ports.FOLDERS
MAX_FOLDERS: Final = 64
"""Each is announced to all members."""
MAX_NAME: Final = 63
"""Octets: a name of a service (RFC 6763 4.1.1), and a third of the text that says its path."""
GONE: Final = "is not there at present"


class FoldersOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``folders``."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shared folder, as it is kept. ``path``: absolute, no link; ``allow``: as of an exposed service."""

    name: str
    path: str
    allow: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ENTRIES)] = ()

    def __post_init__(self) -> None:
        if not is_shown(self.name) or not self.name.isprintable() or not 0 < len(self.name.encode("utf-8", "replace")) <= MAX_NAME:
            raise ValueError(f"{self.name!r} is no name for a shared folder: 1 to {MAX_NAME} octets, no slash, no dot at the beginning")
        for entry in self.allow:
            check_entry(entry)

    @property
    def link(self) -> str:
        """The path of a request for it."""
        return link([self.name])


class _Adding(msgspec.Struct):
    path: str
    name: str | None = None
    allow: tuple[str, ...] = ()


_BRIDGES: WeakKeyDictionary[Lan, ref[FoldersBridge]] = WeakKeyDictionary()


class FoldersBridge:
    """The bridge ``folders``."""

    name: ClassVar[str] = "folders"
    Options: ClassVar[type[msgspec.Struct]] = FoldersOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: FoldersOptions, store: BridgeStore, port: int = PORT) -> None:
        self.options = options
        self._lan = lan
        self._store = store
        self._port = port
        self._records: dict[str, Record] = {}
        self._gone: set[str] = set()
        self._error = ""
        self._threads: Threads | None = None
        self._site: Site | None = None
        self._listening: Any = None
        self._observers: dict[Callable[[], None], None] = {}
        _BRIDGES[lan] = ref(self)

    @classmethod
    def of(cls, lan: Lan) -> FoldersBridge | None:
        """The one of a LAN, for other bridges."""
        known = _BRIDGES.get(lan)
        return None if known is None else known()

    # --- for other bridges ---------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Of the LAN; 0 while it does not listen."""
        return int(self._listening.getHost().port) if self._listening is not None else 0

    def shared(self) -> list[Record]:
        """What members can reach at this moment."""
        return list(self._records.values()) if self._listening is not None else []

    def admits(self, record: Record, peer: PeerInfo) -> bool:
        """Whether a folder is for a member."""
        gate = Gate(self._lan, record.allow)
        return any(gate.admit(address) is not None for address in (peer.ipv4, peer.ipv6) if address)

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have ``changed`` called when something is shared or not any more, until what is returned is called."""
        self._observers[changed] = None
        return lambda: self._observers.pop(changed, None)

    # --- start and stop ------------------------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Share what was shared before. What is wrong with it is told by the status: the node runs without it."""
        if self._records:
            return succeed(None)
        for record in self._load():
            self._records.setdefault(record.name, record)
        if not self._records:
            return succeed(None)
        opening = self._open().addErrback(self._not_started)
        return opening.addCallback(lambda _: self._look()).addCallback(lambda _: self._tell())

    def stop(self) -> Deferred[Any]:
        """Share nothing, and end what is under way. Idempotent."""
        self._records.clear()
        return self._close()

    def status(self) -> object:
        """What is shared; None where nothing is."""
        return [self._row(record) for record in self._records.values()] or None

    def commands(self) -> Mapping[str, CommandHandler]:
        """``folder-add`` takes ``path`` (absolute), ``name``, ``allow``; ``folder-remove`` takes ``name``; ``folder-list`` lists."""
        return {"folder-add": self._add, "folder-remove": self._remove, "folder-list": lambda arguments: self._list()}

    # --- commands ------------------------------------------------------------------------------------------------------

    def _add(self, arguments: dict[str, object]) -> Deferred[Any]:
        try:
            asked = msgspec.convert(arguments, _Adding)
        except msgspec.ValidationError as error:
            raise CommandError(f"wrong arguments: {error}") from None
        if len(self._records) >= MAX_FOLDERS:
            raise CommandError(f"there are {MAX_FOLDERS} shared folders already: remove one with `userlan folder remove`")
        checked = self._started().run(_resolved, asked.path, str(self._store.path.parent))
        return checked.addCallback(self._checked, asked).addErrback(self._not_added)

    def _checked(self, path: str, asked: _Adding) -> Deferred[Any]:
        try:
            record = Record(asked.name or Path(path).name, path, asked.allow)
        except ValueError as error:
            raise CommandError(f"{error}: choose another one with --name" if asked.name is None else str(error)) from None
        known = self._records.get(record.name)
        if known is not None:
            raise CommandError(f"{record.name} is {known.path} already: choose another name with --name, or remove that one first")
        if len(self._records) >= MAX_FOLDERS:
            raise CommandError(f"there are {MAX_FOLDERS} shared folders already")
        self._records[record.name] = record
        return self._open().addCallbacks(self._added, self._undo, (record,), {}, (record,))

    def _added(self, _: None, record: Record) -> object:
        try:
            self._save()
        except CommandError:
            del self._records[record.name]
            raise
        self._tell()
        return self._row(record)

    def _undo(self, failure: Failure, record: Record) -> Failure:
        self._records.pop(record.name, None)
        return failure

    def _not_added(self, failure: Failure) -> Deferred[Any]:
        return (succeed(None) if self._records else self._close()).addCallback(lambda _: failure)

    def _remove(self, arguments: dict[str, object]) -> Deferred[Any]:
        name = arguments.get("name")
        record = self._records.get(name) if isinstance(name, str) else None
        if record is None:
            known = ", ".join(sorted(self._records)) or "none"
            raise CommandError(f"no folder is shared as {name!r} (there are: {known})")
        del self._records[record.name]
        try:
            self._save()
        except CommandError:
            self._records[record.name] = record
            raise
        self._gone.discard(record.name)
        if self._site is not None:
            self._site.abort(record.name)
        self._tell()
        told = {"name": record.name, "path": record.path, "text": f"{record.name} is not shared any more"}
        return (succeed(None) if self._records else self._close()).addCallback(lambda _: told)

    def _list(self) -> Deferred[Any]:
        return self._look().addCallback(lambda _: self.status() or [])

    # --- inside --------------------------------------------------------------------------------------------------------

    def _started(self) -> Threads:
        if self._threads is None:
            self._threads = Threads(self._lan.reactor)
            self._threads.start()
        return self._threads

    def _open(self) -> Deferred[None]:
        """Listen on the LAN, where it does not yet; fails with CommandError."""
        if self._site is not None:
            return succeed(None)
        self._site = Site(self._lan, self._started(), self._find, self._names, self._seen)
        endpoint: Any = self._lan.server_endpoint(self._port)
        return maybeDeferred(endpoint.listen, self._site).addCallbacks(self._opened, self._not_opened)

    def _opened(self, listening: Any) -> None:
        self._listening = listening
        self._error = ""

    def _not_opened(self, failure: Failure) -> None:
        self._site = None
        if not isinstance(failure.value, CannotListenError | OSError):
            failure.raiseException()
        raise CommandError(f"port {self._port} of the LAN cannot be listened at: {failure.getErrorMessage()}")

    def _not_started(self, failure: Failure) -> None:
        if not isinstance(failure.value, CommandError):
            failure.raiseException()
        self._error = failure.getErrorMessage()
        self._log.warn("shared folders are not reached: {error}", error=self._error)

    def _close(self) -> Deferred[Any]:
        listening, self._listening = self._listening, None
        site, self._site = self._site, None
        threads, self._threads = self._threads, None
        if site is not None:
            site.abort()
        closed = succeed(None) if listening is None else maybeDeferred(listening.stopListening)
        if threads is not None:
            threads.stop()
        return closed

    def _find(self, name: str, peer: PeerInfo) -> str | None:
        record = self._records.get(name)
        return record.path if record is not None and self.admits(record, peer) else None

    def _names(self, peer: PeerInfo) -> list[str]:
        return sorted((one.name for one in self._records.values() if self.admits(one, peer)), key=str.casefold)

    def _seen(self, name: str, there: bool) -> None:
        if there:
            self._gone.discard(name)
        elif name in self._records and name not in self._gone:
            self._gone.add(name)
            self._log.warn("the shared folder {name} {gone}: {path}", name=name, gone=GONE, path=self._records[name].path)

    def _look(self) -> Deferred[Any]:
        """Which of them are there."""
        if self._threads is None:
            return succeed(None)
        run = self._threads.run
        looking = [
            run(os.path.isdir, one.path).addCallback(partial(self._seen, name)) for name, one in self._records.items()
        ]
        return DeferredList(looking, consumeErrors=True)

    def _row(self, record: Record) -> dict[str, Any]:
        error = self._error or (GONE if record.name in self._gone else "")
        to = f" for {', '.join(record.allow)}" if record.allow else ""
        return {
            "name": record.name,
            "path": record.path,
            "allow": list(record.allow),
            "port": self._port,
            "link": record.link,
            "state": "shared" if not error else "gone" if not self._error else "failed",
            "error": error,
            "text": f"{record.name} → {record.path}{to}" + (f"  ({error})" if error else ""),
        }

    def _tell(self) -> None:
        for changed in list(self._observers):
            changed()

    def _load(self) -> list[Record]:
        stored = self._store.load()
        records = []
        for written in (stored if isinstance(stored, list) else [])[:MAX_FOLDERS]:
            try:
                records.append(msgspec.convert(written, Record))
            except (ValueError, msgspec.ValidationError) as error:
                self._log.warn("a stored folder is left out: {error}", error=str(error))
        return records

    def _save(self) -> None:
        self._store.save([msgspec.to_builtins(record) for record in self._records.values()])


def _resolved(written: str, state: str) -> str:
    """The folder's own path, without links. Raises CommandError for what is not to be shared."""
    if not os.path.isabs(written):
        raise CommandError(f"{written!r} is not an absolute path")
    path, state = os.path.realpath(written), os.path.realpath(state)
    if not os.path.isdir(path):
        raise CommandError(f"{written} is no folder" if os.path.exists(path) else f"there is no folder {written}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise CommandError(f"{written} cannot be read")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise CommandError(f"{written!r} has a name that is no text") from None
    inside = Path(state).relative_to(path).parts if Path(state).is_relative_to(path) else None
    if Path(path).is_relative_to(state) or (inside is not None and all(is_shown(part) for part in inside)):
        raise CommandError(f"{written} holds this node's own keys: share another folder")
    return path
