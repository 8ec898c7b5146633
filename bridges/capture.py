"""The packets of the virtual LAN, decrypted, for whoever runs ``userlan capture``.

::

    Lan.watch ──▶ Session: filter, Recording ──▶ local API (a raw stream of pcapng) ──▶ the command ──▶ a file, or text

Each command has a session of its own, which ends with it. What a command does not read in time is not kept for it: packets
are lost then, which costs nothing, is counted, and stands in the capture. While there is no session nobody looks at packets.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from bridges.capture_filter import FilterError, Predicate, compile_filter
from bridges.capture_recording import MEDIATOR, SECOND, SNAPLEN, Recording
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.commands import Reply, StreamingHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.driver.watch import Seen
from userlan.lan.addresses import key_bytes, packed
from userlan.lan.names import UnknownName

MAX_CAPTURES = 8
"""At once: each sees every packet, in the time of the data path."""

MAX_WAITING = 8 << 20
"""Octets that wait for a command that does not read; what comes then is lost."""

SENT_AT_ONCE = 1 << 20
"""Octets that are handed to the system in one turn of the reactor, in which more than Twisted's own 128 KB may be captured."""


class CaptureOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is no section: everything is said with the command."""


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    filter: str = ""
    count: int | None = None
    snaplen: int = SNAPLEN

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError("count: at least one packet")
        if not 1 <= self.snaplen <= SNAPLEN:
            raise ValueError(f"snaplen: 1 to {SNAPLEN} octets")


class LanNames:
    """Who is who, for a filter."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan

    def addresses(self, name: str) -> Sequence[bytes]:
        """The packed addresses of a member; UnknownName, which is a ValueError."""
        member = self._member(name)
        return [packed(address) for address in (member.ipv4, member.ipv6) if address]

    def peer(self, name: str) -> Callable[[bytes], bool]:
        """Whether a key is a member's; of this node's own name: what went to nobody."""
        try:
            member = self._member(name)
        except UnknownName:
            if name.lower() == MEDIATOR:
                return self._is_mediator
            raise
        own = self._lan.own().key == member.key
        return (b"" if own else key_bytes(member.key)).__eq__

    def _is_mediator(self, key: bytes) -> bool:
        return bool(key) and all(key_bytes(member.key) != key for member in self._lan.members())

    def _member(self, name: str) -> PeerInfo:
        member = self._lan.peer_at(self._lan.resolve(name))
        if member is None:
            raise UnknownName(f"nobody has the address {name}")
        return member


class CaptureBridge:
    """The bridge ``capture``."""

    name: ClassVar[str] = "capture"
    Options: ClassVar[type[msgspec.Struct]] = CaptureOptions

    def __init__(self, lan: Lan, options: CaptureOptions, store: BridgeStore) -> None:
        self._lan = lan
        self._sessions: dict[Session, None] = {}

    def start(self) -> Deferred[None]:
        """Nothing is to be done before a command comes."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End the captures, each with its statistics."""
        for session in list(self._sessions):
            session.end()
        return succeed(None)

    def status(self) -> object:
        """How many captures there are; None while there are none."""
        return {"captures": len(self._sessions), "text": f"{len(self._sessions)} running"} if self._sessions else None

    def commands(self) -> dict[str, CommandHandler]:
        """None of this kind."""
        return {}

    def streaming_commands(self) -> dict[str, StreamingHandler]:
        """``capture``: the connection becomes a stream of pcapng until either side ends; the client's end asks for the last blocks."""
        return {"capture": self._capture}

    def ended(self, session: Session) -> None:
        """A session has ended."""
        self._sessions.pop(session, None)

    def _capture(self, arguments: dict[str, object], reply: Reply) -> None:
        try:
            wanted = msgspec.convert(arguments, _Arguments)
            chooses = compile_filter(wanted.filter, LanNames(self._lan))
        except FilterError as error:
            raise CommandError(f"the filter cannot be read: {error}") from None
        except (msgspec.ValidationError, ValueError) as error:
            raise CommandError(f"wrong arguments: {error}") from None
        if len(self._sessions) >= MAX_CAPTURES:
            raise CommandError(f"{MAX_CAPTURES} captures run already: end one first")
        session = Session(self, self._lan, wanted, chooses)
        self._sessions[session] = None
        reply.upgrade(session)


@implementer(IHalfCloseableProtocol, IPushProducer)
class Session(Protocol):
    """One capture: what its command is sent. It is the producer of its own connection, so as to know whether that is read."""

    transport: Any

    def __init__(self, bridge: CaptureBridge, lan: Lan, wanted: _Arguments, chooses: Predicate | None) -> None:
        self._bridge = bridge
        self._lan = lan
        self._wanted = wanted
        offset = time.time_ns() - int(lan.reactor.seconds() * SECOND)
        self._recording = Recording(lan.own(), lan.members, offset, chooses, wanted.snaplen, wanted.count)
        self._stops: list[Callable[[], object]] = []
        self._full = False
        self._waiting = 0

    # ------------------------------------------------------------------ Protocol

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.transport.SEND_LIMIT = SENT_AT_ONCE
        with suppress(OSError):
            self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AT_ONCE)
        self.transport.write(self._recording.begin(f"userlan {version('userlan')}", self._wanted.filter))
        self._stops = [self._lan.watch(self._saw), self._lan.observe(self._recording.members_changed)]

    def readConnectionLost(self) -> None:
        """The command wants no more than the end."""
        self.end()

    def writeConnectionLost(self) -> None:
        """The command reads no more."""
        self._stop()

    def connectionLost(self, reason: Any = None) -> None:
        self._stop()
        self.transport = None

    def end(self) -> None:
        """Say what was counted, and close. Idempotent."""
        if not self._stop() or self.transport is None:
            return
        self.transport.write(self._recording.end(self._lan.reactor.seconds()))
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # ------------------------------------------------------------------ IPushProducer

    def pauseProducing(self) -> None:
        """What is written waits from now on."""
        self._full = True

    def resumeProducing(self) -> None:
        """Nothing waits any more."""
        self._full = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """The connection ends; ``connectionLost`` follows."""

    # ------------------------------------------------------------------ packets

    def _saw(self, seen: Seen) -> None:
        blocks = self._recording.take(seen, self._waiting < MAX_WAITING)
        if blocks:
            if self._full:
                self._waiting += len(blocks)
            self.transport.write(blocks)
        if self._recording.complete:
            self.end()

    def _stop(self) -> bool:
        """Look no more; whether this session did until now."""
        stops, self._stops = self._stops, []
        for stop in stops:
            stop()
        self._bridge.ended(self)
        return bool(stops)
