"""The site of all shared folders: who connects, what is asked for, what is answered.

Everything that the disk is asked for happens in threads (``look``, each block of a file), so that a slow one holds up its own answer alone.

Why Twisted's channel and not its ``static.File``: that one reads the disk in the reactor, and follows links.

Why no pipelining (RFC 9112 9.3.2 lets a server end the connection, and clients ask again): the answers to what came in one piece would be
made whether they are read or not. What comes before an answer is complete is dropped, and the connection ends behind the answer.
"""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from bridges.files.threads import Threads
from bridges.folders import content
from bridges.folders.listing import POLICY, folder_page, index_page, link, notice_page
from bridges.folders.tree import AbsentError, GoneError, Listed, Opened, look
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.hostport import cut_host_port

MAX_CONNECTIONS: Final = 256
"""At once: of some ten members with a browser each, and downloads beside."""
MAX_OF_MEMBER: Final = 32
"""Of one member at once: five browsers, which have six each."""
IDLE_PATIENCE: Final = 60
"""Seconds of a connection without a request, or with one that is not complete."""
MAX_HEADERS, MAX_HEAD_SIZE = 64, 16 * 1024
"""Header lines, and octets of a request's head: browsers send 20 lines and 1 KB."""
MAX_DEPTH: Final = 64
"""Folders inside each other."""
BLOCK: Final = 256 * 1024
"""Octets that are read at once."""

Find = Callable[[str, PeerInfo], str | None]
"""Where a shared folder is, by its name, for a member; None where it has none of this name."""
Names = Callable[[PeerInfo], Sequence[str]]
"""Those that a member may see."""


class Site(Factory):
    """The factory of the listening port. ``gone``: is told of a folder that is not there, and of one that is."""

    noisy = False
    log = Logger()

    def __init__(self, lan: Lan, threads: Threads, find: Find, names: Names, seen: Callable[[str, bool], None]) -> None:
        self.lan = lan
        self.threads = threads
        self.find = find
        self.names = names
        self.seen = seen
        self.counters: Counter[str] = Counter()
        self.channels: dict[Channel, None] = {}

    def buildProtocol(self, addr: Any) -> Any:
        """A channel for a member; none (closed at once) for anybody else, and beyond the limits."""
        peer = self.lan.peer_at(addr.host)
        if peer is None:
            self.counters["stranger"] += 1
            return None
        if len(self.channels) >= MAX_CONNECTIONS or sum(one.peer.key == peer.key for one in self.channels) >= MAX_OF_MEMBER:
            self.counters["full"] += 1
            return None
        return Channel(self, peer)

    def abort(self, name: str | None = None) -> None:
        """End all connections, or those by which something of one folder is being fetched."""
        for channel in list(self.channels):
            if name is None or (channel.requests and channel.requests[-1].folder == name):
                channel.abort()


class Channel(HTTPChannel):
    """One connection: HTTP/1.1 as Twisted reads it, one request at a time, none with a body."""

    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEAD_SIZE
    factory = None
    requests: list[Answer]
    transport: Any

    def __init__(self, site: Site, peer: PeerInfo) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # HTTPChannel is untyped
        self.requestFactory = Answer
        self.site = site
        self.peer = peer
        self.timeOut = IDLE_PATIENCE
        channel: Any = self
        channel.callLater = site.lan.reactor.callLater
        self._answering = False

    def connectionMade(self) -> None:
        self.site.channels[self] = None
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.site.channels.pop(self, None)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """What comes before the answer is dropped: see the module."""
        if self._answering:
            self.persistent = 0
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """A request that has a body is refused before any of it."""
        self._answering = True
        more = bool(self.clearLineBuffer().strip(b"\r\n"))  # type: ignore[no-untyped-call]
        if self.length != 0:
            self.transport.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.loseConnection()  # type: ignore[no-untyped-call]
            return
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if more:
            self.persistent = 0

    def requestDone(self, request: Request) -> None:
        self._answering = False
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abortConnection()


class Answer(Request):
    """One request, and what is answered."""

    channel: Any
    folder = ""
    """The shared folder that it is about."""
    _sending: Sending | None = None

    def gotLength(self, length: int | None) -> None:
        """There is no body."""
        self.content = BytesIO()

    def process(self) -> None:
        """The request is there."""
        if self.method not in (b"GET", b"HEAD"):
            self.responseHeaders.setRawHeaders("Allow", ["GET, HEAD"])
            self._refuse(405, "Nothing can be done here but look and fetch.")
        elif not self.uri.startswith(b"/") or not self._is_for_us():
            self._refuse(421, "This name is none of this network's.")
        else:
            self._find(self.uri.partition(b"?")[0])

    def connectionLost(self, reason: Any) -> None:
        """Nobody waits for it any more."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stopProducing()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def sent(self, complete: bool) -> None:
        """The file's octets are written; incomplete: it became shorter meanwhile, or cannot be read."""
        self._sending = None
        if self.channel is None:
            return
        self.unregisterProducer()  # type: ignore[no-untyped-call]
        if complete:
            self.finish()  # type: ignore[no-untyped-call]
        else:
            self.channel.abort()

    # --- what is asked for ---------------------------------------------------------------------------------------------

    def _is_for_us(self) -> bool:
        """Whether the host's name is one that nobody outside can give to this address (DNS rebinding): a number, or the LAN's."""
        host, _ = cut_host_port((self.getHeader(b"host") or b"").decode("latin-1"))
        try:
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return host.lower() == "localhost" or bool(self.channel.site.lan.is_lan(host))
        return True

    def _find(self, path: bytes) -> None:
        site, peer = self.channel.site, self.channel.peer
        pieces = path.split(b"/")[1:]
        if pieces == [b""]:
            self._page(200, index_page(site.names(peer)))
            return
        as_folder = not pieces[-1]
        parts = [os.fsdecode(unquote_to_bytes(piece)) for piece in (pieces[:-1] if as_folder else pieces)]
        root = site.find(parts[0], peer) if len(parts) <= MAX_DEPTH else None
        if root is None:
            self._absent()
            return
        self.folder = parts[0]
        looking = site.threads.run(_looked, root, parts)
        looking.addCallback(self._found, parts, as_folder).addErrback(self._not_found)
        looking.addErrback(self._failed)

    def _found(self, found: Opened | bytes, parts: list[str], as_folder: bool) -> None:
        if self.channel is None:
            if isinstance(found, Opened):
                os.close(found.descriptor)
            return
        self.channel.site.seen(self.folder, True)
        if isinstance(found, Opened):
            try:
                self._file(found, parts[-1], as_folder)
            finally:
                if self._sending is None:
                    os.close(found.descriptor)
        elif as_folder:
            self._page(200, found)
        else:
            self.responseHeaders.setRawHeaders("Location", [link(parts)])
            self._page(301, notice_page("Moved", "This is a folder."))

    def _not_found(self, failure: Failure) -> None:
        if not isinstance(failure.value, AbsentError):
            failure.raiseException()
        if self.channel is None:
            return
        if isinstance(failure.value, GoneError):
            self.channel.site.seen(self.folder, False)
            self._page(404, notice_page("Not there", "This folder is shared, and not there at present."))
        else:
            self._absent()

    def _failed(self, failure: Failure) -> None:
        Site.log.failure("a request for a shared folder failed", failure)
        if self.channel is not None:
            self.channel.abort()

    # --- what is answered ----------------------------------------------------------------------------------------------

    def _file(self, opened: Opened, name: str, as_folder: bool) -> None:
        if as_folder:
            self._absent()
            return
        size, tag, kind = opened.status.st_size, content.tag_of(opened.status), content.type_of(name)
        headers = self.responseHeaders
        headers.setRawHeaders("ETag", [tag])
        headers.setRawHeaders("Accept-Ranges", ["bytes"])
        headers.setRawHeaders("Last-Modified", [datetimeToString(max(0, int(opened.status.st_mtime)))])  # type: ignore[no-untyped-call]
        if content.is_known(self.getHeader(b"if-none-match"), tag):
            self._begin(304, content.policy_of(kind))
            self.finish()  # type: ignore[no-untyped-call]
            return
        try:
            part = content.part_of(self.getHeader(b"range"), self.getHeader(b"if-range"), tag, size)
        except ValueError:
            headers.setRawHeaders("Content-Range", [f"bytes */{size}"])
            self._page(416, notice_page("No such part", "The file is shorter."))
            return
        begin, length = part or (0, size)
        if part is not None:
            headers.setRawHeaders("Content-Range", [f"bytes {begin}-{begin + length - 1}/{size}"])
        headers.setRawHeaders("Content-Type", [kind])
        headers.setRawHeaders("Content-Disposition", [content.disposition_of(name, kind)])
        headers.setRawHeaders("Content-Length", [str(length)])
        self._begin(206 if part is not None else 200, content.policy_of(kind))
        if self.method == b"HEAD" or not length:
            self.finish()  # type: ignore[no-untyped-call]
        else:
            self._sending = Sending(self, self.channel.site.threads, opened.descriptor, begin, length)
            self._sending.start()

    def _absent(self) -> None:
        self._page(404, notice_page("Not found", "There is nothing here."))

    def _refuse(self, code: int, words: str) -> None:
        self.channel.persistent = 0
        self._page(code, notice_page(HTTPStatus(code).phrase, words))

    def _page(self, code: int, page: bytes) -> None:
        self.responseHeaders.setRawHeaders("Content-Type", ["text/html; charset=utf-8"])
        self.responseHeaders.setRawHeaders("Content-Length", [str(len(page))])
        self._begin(code, POLICY)
        self.write(page)  # type: ignore[no-untyped-call]
        self.finish()  # type: ignore[no-untyped-call]

    def _begin(self, code: int, policy: str) -> None:
        self.setResponseCode(code, HTTPStatus(code).phrase.encode())
        headers = self.responseHeaders
        for name, value in {**content.ALWAYS, "Content-Security-Policy": policy, "Cache-Control": "no-cache"}.items():
            headers.setRawHeaders(name, [value])
        headers.setRawHeaders("Date", [datetimeToString()])  # type: ignore[no-untyped-call]
        if not self.channel.persistent:
            headers.setRawHeaders("Connection", ["close"])


def _looked(root: str, parts: Sequence[str]) -> Opened | bytes:
    """A file, or the page of a folder; in a thread, since a long page takes a tenth of a second. Raises AbsentError."""
    found = look(root, parts[1:])
    return folder_page(parts, found) if isinstance(found, Listed) else found


class Sending:
    """A part of a file on its way (IPushProducer): a block is read in a thread while the connection takes more, and none else."""

    def __init__(self, answer: Answer, threads: Threads, descriptor: int, begin: int, length: int) -> None:
        self._answer = answer
        self._threads = threads
        self._descriptor = descriptor
        self._place = begin
        self._left = length
        self._paused = self._reading = self._over = False

    def start(self) -> None:
        """Begin."""
        self._answer.registerProducer(self, True)  # type: ignore[no-untyped-call]
        self._next()

    def pauseProducing(self) -> None:
        """No more for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        self._next()

    def stopProducing(self) -> None:
        """Nobody takes it any more. Idempotent."""
        if not self._over:
            self._over = True
            if not self._reading:
                os.close(self._descriptor)

    def _next(self) -> None:
        if not (self._reading or self._paused or self._over):
            self._reading = True
            self._threads.run(self._read, self._place, min(BLOCK, self._left)).addCallbacks(self._came, lambda _: self._came(b""))

    def _read(self, place: int, length: int) -> bytes:
        os.lseek(self._descriptor, place, os.SEEK_SET)
        return os.read(self._descriptor, length)

    def _came(self, block: bytes) -> None:
        self._reading = False
        if self._over:
            os.close(self._descriptor)
            return
        self._place += len(block)
        self._left -= len(block)
        if block:
            self._answer.write(block)  # type: ignore[no-untyped-call]
        if self._over:      # writing may have ended the connection, which has closed the file
            return
        if block and self._left:
            self._next()
            return
        self.stopProducing()
        self._answer.sent(bool(block))
