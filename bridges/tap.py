"""The TAP: the whole computer attached to the LAN, where that is allowed (root, or CAP_NET_ADMIN).

::

    any program ── kernel ── lan0 ── TapPort ── LanLink ── tunnel ── member
                                                     └── the node's own stack: proxy, forward, expose go on beside it

Two ways to have one:

* ``userlan tap``: the command opens the TAP, sets its addresses and hands its descriptor to the node; the node needs no
  privileges. The interface lives until the command ends (Ctrl-C, SIGTERM, kill -9, ``userlan tap --detach``); when the
  node ends, the command waits for the next one, and programs keep their addresses and connections meanwhile.
* the section ``tap`` of the configuration, or the command where it may not open one itself: the node does all of it.

While it is attached, everything on this computer that listens on all addresses is reached by the members of its
networks, as on any LAN: that is what it is for, and the firewall of the computer is the place for exceptions.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Protocol

import msgspec
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from bridges.internet import make_uplink
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.commands import Reply, StreamingHandler
from userlan.driver.lan import Lan
from userlan.driver.link import AttachedError
from userlan.driver.tap.device import MAX_NAME, TapError, name_of, open_tap, stack_ports
from userlan.driver.tap.names import point
from userlan.driver.tap.port import TapPort
from userlan.driver.tap.setup import InterfaceSetup
from userlan.driver.uplink import Uplink

LEAST_MTU, GREATEST_MTU = 1_280, 65_521
"""Octets of the interface's MTU: IPv6's least (RFC 8200 5), and what Linux lets a TAP have."""


class TapOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``tap``."""

    attach: bool = False
    """Whether the node attaches the computer when it starts."""
    name: str = "lan0"
    """Of the interface."""
    mtu: int | None = None
    """Octets; None: the LAN's."""
    broadcasts: bool = False
    """Whether what programs broadcast, or send to groups, without naming an interface goes to the LAN; else it goes where the
    default route leads."""

    def __post_init__(self) -> None:
        if not self.name.isascii() or not 1 <= len(self.name) <= MAX_NAME:
            raise ValueError(f"name: an interface's name has 1 to {MAX_NAME} letters and digits")
        if self.mtu is not None and not LEAST_MTU <= self.mtu <= GREATEST_MTU:
            raise ValueError(f"mtu: {self.mtu} is not between {LEAST_MTU} and {GREATEST_MTU} octets")


class _Arguments(msgspec.Struct):
    name: str = "lan0"
    mtu: int | None = None
    broadcasts: bool = False
    ports: tuple[int, int] | None = None


class Holder(Protocol):
    """A bridge that attaches one."""

    lan: Lan

    def lost(self, reason: str) -> None:
        """The device went away by itself."""


class Attached:
    """One TAP that is attached."""

    def __init__(
        self, bridge: Holder, descriptor: int, mtu: int | None, ports: tuple[int, int], uplink: Uplink | None = None
    ) -> None:
        """Takes the descriptor over, whatever happens. Raises CommandError."""
        self._port = TapPort(bridge.lan.reactor, descriptor, bridge.lost)
        try:
            self.name = name_of(descriptor)
            self.link = bridge.lan.attach_link(self._port, ports, uplink)
        except (TapError, AttachedError) as error:
            self._port.close()
            raise CommandError(str(error)) from None
        self.mtu = mtu or self.link.mtu
        self._port.start(self.link, self.mtu)
        self.hardware = self._port.hardware

    def describe(self) -> dict[str, object]:
        """As the command and ``status`` tell it."""
        addresses = self.link.described()
        return {
            "name": self.name,
            "addresses": addresses,
            "mtu": self.mtu,
            "hardware": self.hardware.hex(":"),
            "text": " ".join(("attached", self.name, *addresses)),
        }

    def counters(self) -> dict[str, int]:
        """Frames and packets, those that were dropped by reason."""
        return {**self._port.counters, **self.link.counters()}

    def close(self) -> None:
        """Detach; the interface vanishes. Idempotent."""
        self.link.detach()
        self._port.close()


class TapBridge:
    """The bridge ``tap``."""

    name: ClassVar[str] = "tap"
    Options: ClassVar[type[msgspec.Struct]] = TapOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: TapOptions, store: BridgeStore) -> None:
        self.lan = lan
        self._options = options
        self._attached: Attached | None = None
        self._setup: InterfaceSetup | None = None
        """Where this process sets the interface's addresses itself."""
        self._reply: Reply | None = None
        """The command for as long as which it is attached, and which sets the addresses where we do not."""
        self._error = ""

    def start(self) -> Deferred[None]:
        """Attach, where the configuration says so; fails with CommandError."""
        if self._options.attach and self._attached is None:
            try:
                self._open(self._options)
            except CommandError as error:
                return fail(error)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Detach."""
        self._detach("the node has stopped", again=True)
        return succeed(None)

    def status(self) -> object:
        """What is attached; a text that says why it no longer is, after a mishap; None when nothing is."""
        if self._attached is None:
            return self._error or None
        return {**self._attached.describe(), "counters": self._attached.counters()}

    def commands(self) -> dict[str, CommandHandler]:
        """``tap-detach``."""
        return {"tap-detach": self._detach_command}

    def streaming_commands(self) -> dict[str, StreamingHandler]:
        """``tap``, with the descriptor of a TAP or without; lasts until it is detached; its items are what
        ``Attached.describe`` says, at first and after each change."""
        return {"tap": self._tap_command}

    def lost(self, reason: str) -> None:
        """The device went away by itself."""
        self._log.warn("detached: {reason}", reason=reason)
        self._detach(reason)
        self._error = f"detached: {reason}"

    # ------------------------------------------------------------------ attaching

    def _open(self, options: TapOptions) -> None:
        """Attach by a TAP of our own. Raises CommandError; what is attached already stays so."""
        if self._attached is not None:
            raise CommandError(self._attached.link.in_the_way)
        try:
            attached = self._attach(open_tap(options.name), options.mtu, stack_ports())
            self._setup = InterfaceSetup(options.name, attached.hardware, attached.mtu, options.broadcasts)
        except TapError as error:
            self._detach("")
            raise CommandError(str(error)) from None
        self._follow()
        if self._attached is attached:
            self._named(options.name)
            self._log.info("{text}", text=attached.describe()["text"])

    def _attach(self, descriptor: int, mtu: int | None, ports: tuple[int, int]) -> Attached:
        attached = self._attached = Attached(self, descriptor, mtu, ports, make_uplink(self.lan, False))
        attached.link.addresses_changed = self._follow
        self._error = ""
        self.lan.computer_attached(True)        # before the interface has an address, and the first program speaks there
        return attached

    @inlineCallbacks
    def _named(self, name: str) -> Any:
        """Names of the LAN lead to its resolver; in a thread, since another program has to answer."""
        warning = yield deferToThread(point, name)
        if warning:
            self._log.warn("{warning}", warning=warning)

    def _follow(self) -> None:
        """The node's addresses are these now: tell whoever sets those of the interface."""
        if self._attached is None:
            return
        if self._reply is not None:
            self._reply.item(self._attached.describe())
        if self._setup is None:
            return
        try:
            self._setup.follow(self._attached.link.described())
        except TapError as error:
            self.lost(str(error))
            return
        if self._setup.warning:
            self._log.warn("{warning}", warning=self._setup.warning)

    def _detach(self, reason: str, again: bool = False) -> None:
        """``again``: whoever asked for it is to ask the next node."""
        attached, self._attached = self._attached, None
        reply, self._reply = self._reply, None
        self._setup = None
        if attached is not None:
            attached.close()
            self.lan.computer_attached(False)
        if reply is not None:
            reply.done({"text": reason, "again": again})

    # ------------------------------------------------------------------ commands

    def _tap_command(self, arguments: dict[str, object], reply: Reply) -> None:
        descriptor = reply.descriptor()
        try:
            wanted = msgspec.convert(arguments, _Arguments)
            options = TapOptions(name=wanted.name, mtu=wanted.mtu, broadcasts=wanted.broadcasts)
        except (msgspec.ValidationError, ValueError) as error:
            if descriptor is not None:
                os.close(descriptor)
            raise CommandError(f"wrong arguments: {error}") from None
        if descriptor is None:
            self._open(options)
        else:
            self._attach(descriptor, wanted.mtu, wanted.ports or stack_ports())
        if self._attached is None:      # lost again at once: no address could be set
            raise CommandError(self._error)
        self._reply = reply
        reply.on_cancel(self._command_ended)
        self._follow()

    def _command_ended(self) -> None:
        """The command went away: so does what it asked for."""
        self._reply = None
        self._detach("")

    def _detach_command(self, arguments: dict[str, object]) -> object:
        if self._attached is None:
            raise CommandError("nothing is attached: `userlan tap` attaches this computer")
        name = self._attached.name
        self._detach("detached")
        return {"name": name, "text": f"detached {name}"}
