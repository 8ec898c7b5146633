"""Programs inside the LAN: what the node does for ``userlan run``.

::

    program ── kernel ── lan0 ── TapPort ── LanLink ── tunnel ── member        in namespaces of their own
                                                 └── the resolver, and the Internet where that was asked for

The namespaces, their interface and its addresses are the keeper's (``userlan.driver.namespace``): it hands over the
descriptor of a TAP, is told which addresses there are to be, and ends with the last program. A node that is started anew
is handed the same TAP again.

One link can be attached to a node: the computer's (``userlan tap``) or that of the programs.
"""

from __future__ import annotations

import os
from typing import ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from bridges.internet import make_uplink
from bridges.tap import Attached, TapOptions
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.commands import Reply, StreamingHandler
from userlan.driver.lan import Lan

IN_THE_WAY = "programs of `userlan run` hold this node's link: end them first, or give one its own member with `userlan run --as NAME`"


class NamespaceOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is no section: everything is said with the program."""


class _Arguments(msgspec.Struct):
    ports: tuple[int, int]
    keeper: int
    mtu: int | None = None
    internet: bool = False


class NamespaceBridge:
    """The bridge ``namespace``."""

    name: ClassVar[str] = "namespace"
    Options: ClassVar[type[msgspec.Struct]] = NamespaceOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: NamespaceOptions, store: BridgeStore) -> None:
        self.lan = lan
        self._attached: Attached | None = None
        self._asked = _Arguments((0, 0), 0)
        self._reply: Reply | None = None

    def start(self) -> Deferred[None]:
        """Nothing is to be done before a keeper comes."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Let go; the programs stay, and their keeper looks for the next node."""
        self._let_go("the node has stopped")
        return succeed(None)

    def status(self) -> object:
        """The link of the programs; None while there are none."""
        if self._attached is None:
            return None
        return {
            **self._attached.describe(),
            "text": self._told(self._attached),
            "internet": self._asked.internet,
            "keeper": self._asked.keeper,
            "counters": self._attached.counters(),
        }

    def commands(self) -> dict[str, CommandHandler]:
        """``namespace-status``: what the next program finds."""
        return {"namespace-status": lambda arguments: self.status()}

    def streaming_commands(self) -> dict[str, StreamingHandler]:
        """``namespace``, with the descriptor of a TAP; lasts as long as its keeper. Its items are what ``Attached.describe``
        says, at first and after each change."""
        return {"namespace": self._keeper_came}

    def lost(self, reason: str) -> None:
        """The device went away by itself."""
        self._log.warn("the programs of `userlan run` have lost the LAN: {reason}", reason=reason)
        self._let_go(reason)

    def _keeper_came(self, arguments: dict[str, object], reply: Reply) -> None:
        descriptor = reply.descriptor()
        if descriptor is None:
            raise CommandError("wrong arguments: a keeper brings the descriptor of a TAP")
        try:
            asked = msgspec.convert(arguments, _Arguments)
            TapOptions(mtu=asked.mtu)
        except (msgspec.ValidationError, ValueError) as error:
            os.close(descriptor)
            raise CommandError(f"wrong arguments: {error}") from None
        attached = Attached(self, descriptor, asked.mtu, asked.ports, make_uplink(self.lan, asked.internet))
        attached.link.in_the_way = IN_THE_WAY
        attached.link.addresses_changed = self._follow
        self._attached, self._asked, self._reply = attached, asked, reply
        reply.on_cancel(self._keeper_ended)
        self._follow()
        self._log.info("{text}", text=self._told(attached))

    def _told(self, attached: Attached) -> str:
        outside = ["and the Internet"] if self._asked.internet else []
        return " ".join(("programs have", attached.name, *attached.link.described(), *outside))

    def _follow(self) -> None:
        if self._attached is not None and self._reply is not None:
            self._reply.item(self._attached.describe())

    def _keeper_ended(self) -> None:
        self._reply = None
        self._let_go("")

    def _let_go(self, reason: str) -> None:
        attached, self._attached = self._attached, None
        reply, self._reply = self._reply, None
        if attached is not None:
            attached.close()
        if reply is not None:
            reply.done({"text": reason})
