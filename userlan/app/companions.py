"""Companions: further members of the LAN beside a node, each a process of its own, started by one of the node's bridges.

::

    node ── bridge ── stdin:  {"networks": {NAME: INVITE}} | {"leave": true}     a line each; the companion ends with the pipe
                  ◀── stdout: {"companion": {…}}                                 what it is and has reached, after each change

A companion has a state folder of its own below the node's, so that its key and address stay. It is in the networks that it is told, by
their invites, and leaves those that it is told no more. One from which its owner has evicted it, or which has not approved it, it does
not ask again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver

from userlan.driver.bridge import CommandError
from userlan.lan.addresses import IPV6_PREFIX, key_text, text
from userlan.node.config import Config, PageSection
from userlan.node.guest_ends import end_of, measured

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram, Options

TELL_INTERVAL = 1.0
"""Seconds between two looks whether there is anything new to tell."""
FIRST_AGAIN, LAST_AGAIN = 2.0, 300.0
"""Seconds until a network that refused is asked again, doubled each time."""
MAX_LINE = 1 << 20
"""Octets of an order: as many invites as a node can have, several times."""


class Companions:
    """What a node's bridges need to start companions (``userlan.driver.lan.Companions``)."""

    def __init__(self, program: NodeProgram) -> None:
        self.ours: set[str] = set()
        self._program = program

    def command(self, state: Path, port: int) -> list[str]:
        """The command line of one: ``state``, its folder, whose name is its own; ``port``: where it listens."""
        path = self._program.options.config_path
        config = ["--config", str(path.absolute())] if path is not None else []
        return [sys.executable, "-m", "userlan", "--state", str(state), *config, "up", "--background", "--companion", str(port)]

    def invites(self) -> dict[str, str]:
        """Of the networks that this node is in, by name."""
        return self._program.api.membership.invites()


def as_companion(options: Options, name: str, port: int) -> Options:
    """What such a node is told on its command line: its bridges are those parts of the node's that are made for it."""
    config: Config = msgspec.structs.replace(
        options.config, name=name, mediator=None, embedded_mediator="never", listen=Config().listen, page=PageSection("none")
    )
    bridges = {found: kind.companion for found, kind in options.bridges.items() if hasattr(kind, "companion")}
    return attrs.evolve(options, config=config, bridges=bridges, port=port)


class Companion:
    """The life of one, in its own process."""

    _log = Logger()

    def __init__(self, reactor: Any, program: NodeProgram) -> None:
        self._reactor = reactor
        self._program = program
        self._wanted: dict[str, str] | None = None
        self._leaving = False
        self._left = False
        self._busy = False
        self._trouble: dict[str, str] = {}
        """What came of the last request about a network, where nothing came of it."""
        self._again: dict[str, tuple[float, float]] = {}
        """When a network that refused is asked again, and how long that was."""
        self._joined = set(_names(program.folder.load("joined")))
        self._told = b""
        self._channel = _Channel(self)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        from twisted.internet.stdio import StandardIO

        with suppress(OSError, AttributeError):
            os.setsid()         # what the terminal sends to the node's group is for the node
        StandardIO(self._channel, reactor=self._reactor)    # type: ignore[no-untyped-call]  # Twisted's, without types
        self._looking.start(TELL_INTERVAL)

    # --- what it is told ---------------------------------------------------------------------------------------------

    def ordered(self, line: bytes) -> None:
        """One order of the node's."""
        try:
            order = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            self._log.error("an order is no JSON object")
            return
        if order.get("leave"):
            self._leaving = True
            for bridge in self._program.bridges.values():
                bridge.stop()
        elif isinstance(networks := order.get("networks"), dict):
            self._wanted = {str(name): str(invite) for name, invite in networks.items()}
        self._again.clear()
        self._look()

    def abandoned(self) -> None:
        """The node has ended."""
        if self._looking.running:
            self._looking.stop()
        self._program.stop().addErrback(self._program.stop_failed)

    # --- what it does ------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._program.local is None:
            return
        self._tell()
        if not self._busy:
            self._busy = True
            self._follow().addErrback(self._failed).addBoth(self._settled)

    def _settled(self, _: object) -> None:
        self._busy = False
        self._tell()

    def _failed(self, failure: Any) -> None:
        self._log.failure("a companion could not follow its node", failure)

    @inlineCallbacks
    def _follow(self) -> Any:
        """Be in the networks that are wanted, and in no other."""
        wanted, held = {} if self._leaving else self._wanted, set(self._program.node.keyring)
        if wanted is None:
            return          # nothing was said yet
        for network in sorted(held - wanted.keys()):
            yield from self._try(network, self._program.api.membership.leave, {"network": network})
        for network in sorted(wanted.keys() - held - self._joined):
            yield from self._try(network, self._program.api.membership.join, {"invite": wanted[network]})
        held = set(self._program.node.keyring)
        for network in self._trouble.keys() - wanted.keys() - held:
            del self._trouble[network]
        joined = (self._joined & wanted.keys()) | held
        if joined != self._joined:
            self._joined = joined
            self._program.folder.save("joined", sorted(joined))
        self._left = self._leaving and not held

    def _troubles(self) -> dict[str, str]:
        """Why it is not in networks in which it is to be, for people."""
        keyring, found = self._program.node.keyring, dict(self._trouble)
        for network in keyring:
            held = keyring.get(network)
            if held is not None and not held.confirmed:
                found.setdefault(network, "asked to join: its owner has to approve")
        for network in self._joined - set(keyring) if self._wanted is not None else ():
            found.setdefault(network, "not a member any more: evicted by its owner, not approved, or the network is gone")
        return dict(sorted(found.items()))

    def _admitted(self) -> list[str]:
        keyring = self._program.node.keyring
        return sorted(network for network in keyring if (held := keyring.get(network)) is not None and held.confirmed)

    def _try(self, network: str, ask: Callable[[dict[str, Any]], Any], arguments: dict[str, Any]) -> Generator[Any, Any, None]:
        """One request about a network, if it is time; what is yielded is to be waited for."""
        now = self._reactor.seconds()
        due, pause = self._again.get(network, (now, FIRST_AGAIN))
        if now < due:
            return
        try:
            yield ask(arguments)
        except CommandError as error:
            self._trouble[network] = str(error)
            self._again[network] = (self._reactor.seconds() + pause, min(2 * pause, LAST_AGAIN))
        else:
            self._trouble.pop(network, None)
            self._again.pop(network, None)

    # --- what it tells -----------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        line = msgspec.json.encode({"companion": self._described()})
        if line != self._told and self._channel.transport is not None:
            self._told = line
            self._channel.transport.write(line + b"\n")

    def _described(self) -> dict[str, Any]:
        node = self._program.node
        own, lan = node.lookup.own_info(), node.roster.address_range
        end = end_of(node)
        return {
            "version": 1,
            "key": key_text(node.key),
            "name": own.name,
            "ipv4": f"{text(own.ipv4)}/{lan.mask.bit_count()}" if own.ipv4 else None,
            "ipv6": f"{text(own.ipv6)}/{8 * len(IPV6_PREFIX)}",
            "range": str(lan),
            "networks": self._admitted(),
            "trouble": self._troubles(),
            "waiting": sorted(set(node.keyring) - set(self._admitted())),
            "left": self._left,
            "end": attrs.asdict(end) if end is not None else None,
            "measured": measured(node),
            "mtu": node.host.mtu,
            "bridges": {name: bridge.status() for name, bridge in self._program.bridges.items()},
        }


class _Channel(LineReceiver):
    """The two pipes."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE
    transport: Any = None

    def __init__(self, companion: Companion) -> None:
        self._companion = companion

    def lineReceived(self, line: bytes) -> None:
        self._companion.ordered(line)

    def connectionLost(self, reason: Any = None) -> None:
        self.transport = None
        self._companion.abandoned()


def _names(saved: object) -> list[str]:
    try:
        return msgspec.convert(saved or [], list[str])
    except msgspec.ValidationError:
        return []
