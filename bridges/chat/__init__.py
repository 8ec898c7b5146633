"""Chat between members and in networks, end to end: from the author's node to each recipient's, over the LAN and nothing else.

Goals: a message that was acknowledged is on the recipient's disk; it is there once; in the order in which its author wrote; it waits at the
author's node for who is away, across restarts of both; and a hostile member can neither speak for others, nor fill the disk, nor push out
what others have said. No server takes part, so nobody else learns who writes to whom.

::

    command line, page                                                                               the recipient's node
      │ chat-send                                                                                            │
      ▼            message + outbox           one connection a member                                        ▼
    Service ──────▶ Worker ─── Store ───▶ Courier ── Outgoing ══ TCP 41415 of the LAN ══ Incoming ── Reception ──▶ Service
      ▲  │         (a thread)  (SQLite)     ▲                                                                │       │
      │  └▶ Watchers ─▶ chat-watch          Post: to whom, when                                              │     Worker ── Store
      └─── told ◀── delivered ◀── taken ◀════════════════════════════════════════════════════ taken ◀── it is on the disk
                                                                                                                     └▶ Bell ─▶ Notices

The frames are lines of JSON (``frames.py``). Messages travel from who connects to who listens; the other way only hello and answers::

    ── hello(1) ──▶   ◀── hello(1) ──   ── message(id, network, age, text) ──▶ …32 of them…   ◀── taken(id) | refused(id, reason) ──

States
    of an own message      waiting ──▶ delivered | failed, when each recipient has it or cannot have it      (``records.Message.state``)
    of the way to a member asleep ──▶ due ──▶ connecting ──▶ open ──▶ due | asleep                            (``post.py``)
    of a connection        greeting ──▶ open ──▶ cut                                           (``outgoing.py``, ``incoming.py``)

Who is who
    The author is the key behind the connection's source address, which the tunnel vouches for; a name, or a key, in a frame would say
    nothing. A network that a message names must be shared with the author at that moment. An acknowledgement counts only on the
    connection that went to the recipient, for what was sent on it. A message's id is its author's: nobody can claim another's.

Once, and in order
    The author's outbox keeps a recipient until ``taken``; the recipient remembers the ids of what has arrived, cleared or not, and
    acknowledges a second time what it has. So an answer that is lost costs a repetition on the wire, never in the history. One connection
    a member, filled from the outbox by ``seq``, keeps the author's order; a conversation is shown by the recipient's own ``seq``, so that
    nobody's clock can put a message before another. Times: an author tells a message's age, so that only its own clock is compared with
    itself.

Away, gone, blocked
    Who is away is tried after 1, 2, 4 … 300 s, and at once when the node has found a way (``Lan.observe_reached``). Who is not in the
    network, or in none, for ``GRACE`` has the deliveries fail with that reason; so do those that wait for ``keep`` days. Who is blocked
    is sent nothing, what waits goes on waiting. Who joins a network later gets what is said from then on.

Timers: hello 15 s, a frame that has begun 60 s, an answer 90 s, silence 300 s (600 s at the recipient's), a review of who waits an hour
or 2 s after a change of the members, the desktop 2 s after an arrival that was not read.

Limits: 8,192 characters a message, 64 KB a frame, 20 messages and 32 KB a second for each author (500 and 1 MB at once; what is beyond
stays unread in the author's connection), 64 messages on their way to the disk and 2 connections for each author, 1,024 connections in,
128 out; ``history`` messages a conversation, a quarter of them of one author in a network, ``size`` MiB in all, taken from who takes
most; 1,000 messages wait for a recipient, 100,000 for all; 2,048 ids are remembered of an author, 4,096 conversations. A search looks
through 8 MiB for one answer, the newest first, and says where to go on.

The store has a version (``schema.py``): a newer one is left alone, and chat is off; a damaged one is set aside as ``*.corrupt``. Neither
keeps the node from running. Its thread takes what was asked for meanwhile into one transaction, so the reactor never waits for the disk,
and a flood of messages costs one wait of the disk, not one each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from bridges.chat.commands import Commands
from bridges.chat.service import DAY, Service
from bridges.chat.store import Store
from bridges.chat.worker import Worker
from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.commands import StreamingHandler
from userlan.driver.lan import Lan, PeerInfo

MEBIBYTE = 1 << 20


class ChatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``chat``."""

    enabled: bool = True
    """Whether there is any chat."""
    history: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 10_000
    """Messages that are kept of one conversation."""
    size: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 64
    """MiB that all of them may take."""
    keep: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    """Days that a message waits for a member who is not seen."""


class ChatBridge:
    """The bridge ``chat``."""

    name: ClassVar[str] = "chat"
    Options: ClassVar[type[msgspec.Struct]] = ChatOptions
    restartable: ClassVar[bool] = False
    """Whoever watches the conversations would watch one that has ended."""
    _log = Logger()

    def __init__(self, lan: Lan, options: ChatOptions, store: BridgeStore) -> None:
        self.options = options
        path, log = store.path.with_suffix(".sqlite"), self._log

        def report(text: str) -> None:
            """Called in the store's thread."""
            lan.reactor.callFromThread(log.warn, "{text}", text=text)

        worker = Worker(lan.reactor, lambda: Store(path, options.history, options.size * MEBIBYTE, report))
        self._service = Service(lan, worker, options.keep * DAY)
        self._commands = Commands(self._service)

    def start(self) -> Deferred[None]:
        """Begin to serve; what is wrong with the history keeps the node from nothing else."""
        if not self.options.enabled:
            self._service.problem = "chat is switched off: chat.enabled in the configuration"
            return succeed(None)
        return self._service.start()

    def stop(self) -> Deferred[None]:
        """Stop serving. Idempotent."""
        return self._service.stop()

    def status(self) -> object:
        """What is wrong, where something is."""
        return self._service.status()

    def diagnosis(self, peer: PeerInfo | None) -> dict[str, object]:
        """What was refused and cut, and how many connections there are."""
        return {"problem": self._service.status(), **self._service.counters(), "admits": None if peer is None else not peer.blocked}

    def commands(self) -> Mapping[str, CommandHandler]:
        """``chat-send`` and others."""
        return self._commands.plain

    def streaming_commands(self) -> Mapping[str, StreamingHandler]:
        """``chat-watch``."""
        return self._commands.streaming
