"""The bridge ``files``: its section of the configuration and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.python.failure import Failure

from bridges.files.correspondents import Unasked
from bridges.files.exchange import AT_ONCE, Ready
from bridges.files.service import Service
from bridges.files.source import SourceError, look
from bridges.files.table import NoSuchTransferError
from bridges.files.transfer import Transfer
from bridges.sharing import Entries, check_entry, means
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.commands import Reply, StreamingHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.names import UnknownName

ASK, ALL = "ask", "all"
MAX_PATHS = 512
"""Files of one command: what a hand can drop; more are better packed."""


class FilesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``files``."""

    enabled: bool = True
    """Whether files are sent and offers taken at all."""
    inbox: str | None = None
    """The folder for what others send; None: ``userlan`` among the user's downloads."""
    accept: Entries = (ASK,)
    """Whose files are taken unasked: ``ask`` nobody's, ``all`` everybody's, or peers and networks."""
    accept_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 10
    """GiB that are taken unasked of one member in a day; an offer beyond it, or beyond half of what the disk has left, is asked about."""
    accept_files: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Files that are taken unasked of one member in a day; an offer beyond it is asked about."""
    deny: Entries = ()
    """Peers and networks whose offers are declined unseen."""
    at_once: Annotated[int, msgspec.Meta(ge=1, le=8)] = AT_ONCE
    """Files fetched from one member at the same time."""

    def __post_init__(self) -> None:
        for key, entries in (("accept", self.accept), ("deny", self.deny)):
            for entry in entries:
                try:
                    check_entry(entry)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        if self.inbox is not None and not Path(self.inbox).expanduser().is_absolute():
            raise ValueError(f"inbox: {self.inbox!r} is not an absolute path")

    def folder(self) -> Path:
        """The inbox."""
        if self.inbox is not None:
            return Path(self.inbox).expanduser()
        import platformdirs

        return Path(platformdirs.user_downloads_dir()) / "userlan"

    def admits(self, lan: Lan, peer: PeerInfo) -> bool | None:
        """Whether a member's files are taken unasked (True), shown to the user (None), or declined (False)."""
        if any(means(lan, entry, peer) for entry in self.deny):
            return False
        if ALL in self.accept or any(means(lan, entry, peer) for entry in self.accept if entry != ASK):
            return True
        return None


class FilesBridge:
    """The bridge ``files``."""

    name: ClassVar[str] = "files"
    Options: ClassVar[type[msgspec.Struct]] = FilesOptions
    restartable: ClassVar[bool] = False
    """Whoever watches the transfers would watch one that has ended."""

    def __init__(self, lan: Lan, options: FilesOptions, store: BridgeStore) -> None:
        self.options = options
        self._lan = lan
        unasked = Unasked(options.accept_size << 30, options.accept_files)
        self.service = Service(lan, store, options.folder(), lambda peer: options.admits(lan, peer), options.at_once, unasked)

    def start(self) -> Deferred[None]:
        """Begin to serve."""
        return self.service.start() if self.options.enabled else succeed(None)

    def stop(self) -> Deferred[None]:
        """Stop serving; what is under way goes on at the next start. Idempotent."""
        return self.service.stop()

    def status(self) -> object:
        """Where the inbox is, and how many transfers wait and run."""
        if not self.service.running:
            return None
        transfers = self.service.exchange.table.shown()
        folder = self.service.inbox.folder
        offers = sum(one.direction == "in" and one.state == "offered" for one in transfers)
        active = sum(one.state == "active" for one in transfers)
        return {
            "text": f"{offers} offered, {active} under way, into {folder}",
            "inbox": str(folder),
            "offers": offers,
            "active": active,
            "dropped": dict(self.service.answers.counters),
        }

    def commands(self) -> Mapping[str, CommandHandler]:
        """What the command line and the page ask for."""
        exchange = self.service.exchange
        return {
            "files-send": self._send,
            "files-list": lambda arguments: self._list(),
            "files-accept": self._accept,
            "files-decline": lambda arguments: self._each(arguments, exchange.decline, "offered"),
            "files-cancel": lambda arguments: self._each(arguments, exchange.cancel, ""),
            "files-forget": lambda arguments: self._each(arguments, exchange.forget, "ended"),
            "files-open": self._open,
        }

    def streaming_commands(self) -> Mapping[str, StreamingHandler]:
        """Those that last."""
        return {"files-watch": self._watch}

    # --- commands ----------------------------------------------------------------------------------------------------

    def _send(self, arguments: dict[str, Any]) -> Deferred[Any]:
        """Offer files. Spooled ones are removed where that fails: nobody else would."""
        self._check_enabled()
        paths = arguments.get("paths")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise CommandError("say which files: `paths`, absolute")
        spooled = bool(arguments.get("spooled", False))
        sent = maybeDeferred(self._offer, _text(arguments, "to"), paths, spooled)
        if spooled:
            sent.addErrback(self._unspool, paths)
        return sent

    def _unspool(self, failure: Failure, paths: list[str]) -> Deferred[Any]:
        removed = gatherResults([self.service.threads.run(self.service.spool.remove, path) for path in paths])
        return removed.addCallback(lambda _: failure)

    def _offer(self, to: str, paths: list[str], spooled: bool) -> Deferred[Any]:
        peer = self._peer(to)
        if len(paths) > MAX_PATHS:
            raise CommandError(f"{len(paths)} files are more than {MAX_PATHS} at once: pack them into one")
        service = self.service

        def looked() -> list[Ready]:
            if spooled and not all(service.spool.holds(path) for path in paths):
                raise SourceError("a spooled file must lie in the folder of uploads")
            return [look(path) for path in dict.fromkeys(paths)]

        def found(ready: list[Ready]) -> Deferred[Any]:
            try:
                made = service.exchange.send(peer.key, peer.name, ready, spooled, service.now())
            except ValueError as error:
                raise CommandError(str(error)) from None
            service.carry_out()
            return service.save().addCallback(lambda _: {"transfers": [self._view(one) for one in made]})

        def wrong(failure: Failure) -> Failure:
            if isinstance(failure.value, SourceError):
                raise CommandError(str(failure.value))
            return failure

        return service.threads.run(looked).addCallbacks(found, wrong)

    def _list(self) -> list[dict[str, Any]]:
        return [self._view(one) for one in self.service.exchange.table.shown()]

    def _each(self, arguments: dict[str, Any], action: Callable[[Transfer, float], None], all_of: str) -> Deferred[Any]:
        """Do something with one transfer, or with all that are in a state."""
        self._check_enabled()
        typed = _text(arguments, "id")
        service = self.service
        try:
            if typed == "all" and all_of:
                transfers = [one for one in service.exchange.table.shown() if _is(one, all_of)]
            else:
                transfers = [service.exchange.table.find(typed)]
            for transfer in transfers:
                action(transfer, service.now())
        except (NoSuchTransferError, ValueError) as error:
            raise CommandError(str(error)) from None
        finally:
            service.carry_out()
        return service.save().addCallback(lambda _: {"transfers": [self._view(one) for one in transfers]})

    def _accept(self, arguments: dict[str, Any]) -> Deferred[Any]:
        """Take what is offered; the answer says into which folder it comes."""
        folder = str(self.service.inbox.folder)
        return self._each(arguments, self.service.exchange.accept, "offered").addCallback(lambda told: told | {"inbox": folder})

    def _watch(self, arguments: dict[str, Any], reply: Reply) -> None:
        """All transfers as they are, then each change."""
        for row in self._list():
            reply.item({"transfer": row})
        reply.item({"listed": True})
        watcher = reply.item
        self.service.watchers[watcher] = None
        reply.on_cancel(lambda: self.service.watchers.pop(watcher, None))

    def _open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Show the inbox, or where a file lies, on the desktop."""
        folder = self.service.inbox.folder
        if arguments.get("id"):
            try:
                transfer = self.service.exchange.table.find(_text(arguments, "id"))
            except NoSuchTransferError as error:
                raise CommandError(str(error)) from None
            if transfer.path is None:
                raise CommandError(f"{transfer.file} is not here yet")
            folder = Path(transfer.path).parent
        return {"folder": str(folder), "opened": open_folder(folder)}

    # --- inside ------------------------------------------------------------------------------------------------------

    def _view(self, transfer: Transfer) -> dict[str, Any]:
        return self.service.exchange.view(transfer, self.service.now())

    def _check_enabled(self) -> None:
        if not self.service.running:
            raise CommandError("files are switched off: `files: {enabled: yes}` in the configuration")

    def _peer(self, to: str) -> PeerInfo:
        peer = self.service.member(to)
        if peer is None:
            try:
                peer = self._lan.peer_at(self._lan.resolve(to))
            except UnknownName as error:
                raise CommandError(str(error)) from None
        if peer is None:
            raise CommandError(f"no member is called {to!r}: `userlan status` lists them")
        if peer.key == self._lan.own().key:
            raise CommandError("that is this computer itself")
        if peer.blocked:
            raise CommandError(f"{peer.name} is blocked: `userlan unblock {peer.name}` first")
        return peer


def open_folder(folder: Path) -> bool:
    """Show a folder by whatever the desktop has for it; whether there is such a thing."""
    if not folder.is_dir():
        raise CommandError(f"{folder} does not exist yet: nothing has been received")
    if hasattr(os, "startfile"):
        os.startfile(folder)
        return True
    program = shutil.which("xdg-open") or shutil.which("open")
    on_desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if program is None or not on_desktop:
        return False
    quiet = subprocess.DEVNULL
    subprocess.Popen([program, str(folder)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return True


def _is(transfer: Transfer, what: str) -> bool:
    return transfer.ended if what == "ended" else transfer.direction == "in" and transfer.state == what


def _text(arguments: dict[str, Any], key: str) -> str:
    value = arguments.get(key)
    if not isinstance(value, str) or not value:
        raise CommandError(f"{key!r} is missing")
    return value
