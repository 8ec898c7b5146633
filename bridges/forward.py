"""Forwards: a port of this computer leads to a service of a peer, for programs that know nothing of proxies.

::

    program ──→ 127.0.0.1:8080 ──→ Acceptor ── splice ──→ nas:80              TCP
    program ──→ 127.0.0.1:5353 ──→ UdpForward: a flow for each sender ──→ nas:53/udp

Forwards come from the configuration and from the command ``forward``; the latter are kept in the state folder. One
whose port is in use when the node starts does not keep the node from starting: its state is told by ``forwards``
and ``status``. A peer's name is looked up for each connection, so that a peer may be unknown or offline when the
forward is made.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from bridges.acceptor import Acceptor
from bridges.dial import DIAL_TIMEOUT, connect
from bridges.leg import Leg, LegOwner
from bridges.rules import MAX_RULES, ForwardRule, is_numeric, suffix
from bridges.splice import Splices
from bridges.udp_forward import UdpForward
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan
from userlan.driver.reasons import listen_error
from userlan.lan.hostport import join_host_port
from userlan.lan.names import UnknownName

BACKLOG = 128
"""Connections the kernel may hold for a forwarded port."""


class ForwardOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``forward``: a list of forwards."""

    entries: tuple[ForwardRule, ...] = ()


class _Arguments(msgspec.Struct):
    rule: str


class Forward:
    """One forward, listening or not."""

    def __init__(self, bridge: ForwardBridge, rule: ForwardRule, configured: bool) -> None:
        self.rule = rule
        self.configured = configured
        self.error = ""
        self._lan = bridge.lan
        self._acceptor = Acceptor(bridge.splices, self._connect)
        self._udp: UdpForward | None = None
        self._port: Any = None

    def open(self) -> None:
        """Listen; raises CommandError, which is also kept in :attr:`error`."""
        rule = self.rule
        try:
            if rule.protocol == "udp":
                self._udp = UdpForward(self._lan, rule.peer, rule.peer_port)
                self._port = self._udp.open(rule.bind, rule.port)
            else:
                self._port = self._lan.reactor.listenTCP(rule.port, self._acceptor, BACKLOG, rule.bind)
        except CannotListenError as error:
            self.error = listen_error(error)
            raise CommandError(f"{self.error}; choose another port, or 0 for a free one") from error
        self.error = ""
        self.rule = msgspec.structs.replace(rule, port=self._port.getHost().port)

    def close(self) -> Deferred[Any]:
        """Stop listening and abort its connections."""
        port, self._port = self._port, None
        self._acceptor.abort_all()
        if self._udp is not None:
            self._udp.close()
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    def describe(self) -> dict[str, object]:
        """As ``forwards`` and ``status`` tell it."""
        rule = self.rule
        target = join_host_port(rule.peer, rule.peer_port)
        error = self.error or self._acceptor.last_error
        streams = len(self._acceptor) if self._udp is None else len(self._udp)
        text = f"{rule.listen}{suffix(rule.protocol)} → {target}" + (f"  ({error})" if error else "")
        return {
            "rule": str(rule),
            "listen": rule.listen,
            "peer": rule.peer,
            "port": rule.peer_port,
            "protocol": rule.protocol,
            "state": "listening" if self._port is not None else "failed",
            "error": error,
            "streams": streams,
            "configured": self.configured,
            "text": text,
        }

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        rule = self.rule
        endpoint = self._lan.client_endpoint(rule.peer, rule.peer_port, DIAL_TIMEOUT)
        return connect(endpoint, rule.peer, rule.peer_port, owner)


class ForwardBridge:
    """The bridge ``forward``."""

    name: ClassVar[str] = "forward"
    Options: ClassVar[type[msgspec.Struct]] = ForwardOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: ForwardOptions, store: BridgeStore) -> None:
        self.lan = lan
        self.splices = Splices(lan.reactor)
        self._options = options
        self._store = store
        self._forwards: list[Forward] = []

    def start(self) -> Deferred[None]:
        """Open what the configuration and the commands of before ask for."""
        if not self._forwards:
            wanted = [(rule, True) for rule in self._options.entries] + [(rule, False) for rule in self._load()]
            for rule, configured in wanted[:MAX_RULES]:
                forward = Forward(self, rule, configured)
                self._forwards.append(forward)
                try:
                    forward.open()
                except CommandError as error:
                    self._log.warn("forward {rule}: {error}", rule=str(rule), error=str(error))
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Close everything."""
        forwards, self._forwards = self._forwards, []
        closing = DeferredList([forward.close() for forward in forwards])
        self.splices.abort_all()
        return closing.addCallback(lambda _: None)

    def status(self) -> object:
        """The list of forwards."""
        return [forward.describe() for forward in self._forwards]

    def commands(self) -> dict[str, CommandHandler]:
        """``forward`` and ``unforward`` take ``rule``; ``forwards`` lists."""
        return {"forward": self._forward, "unforward": self._unforward, "forwards": lambda arguments: self.status()}

    def _forward(self, arguments: dict[str, object]) -> object:
        try:
            rule = ForwardRule.parse(_convert(arguments).rule)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if len(self._forwards) >= MAX_RULES:
            raise CommandError(f"there are {MAX_RULES} forwards already: remove one with unforward")
        for forward in self._forwards:
            if rule.port and (forward.rule.bind, forward.rule.port, forward.rule.protocol) == (
                rule.bind,
                rule.port,
                rule.protocol,
            ):
                raise CommandError(f"{rule.listen} is forwarded already: {forward.rule}")
        warning = self._check_peer(rule.peer)
        forward = Forward(self, rule, False)
        forward.open()
        self._forwards.append(forward)
        self._save()
        described = forward.describe()
        if warning:
            described["warning"] = warning
            described["text"] = f"{described['text']}\n{warning}"
        return described

    def _check_peer(self, peer: str) -> str:
        """A warning when the peer is not known (yet); raises CommandError when it can never be one."""
        if not self.lan.is_lan(peer) and is_numeric(peer):
            raise CommandError(f"{peer} is not an address of the LAN")
        try:
            self.lan.resolve(peer)
        except UnknownName as error:
            return f"warning: {error}; the forward waits for it"
        return ""

    def _unforward(self, arguments: dict[str, object]) -> object:
        written = _convert(arguments).rule
        try:
            found = [forward for forward in self._forwards if forward.rule.named_by(written)]
        except ValueError as error:
            raise CommandError(str(error)) from None
        if not found:
            raise CommandError(f"nothing is forwarded from {written!r}: `userlan forward` lists the forwards")
        if len(found) > 1:
            which = ", ".join(forward.rule.listen for forward in found)
            raise CommandError(f"{written!r} means several forwards ({which}): name the address too")
        forward = found[0]
        if forward.configured:
            raise CommandError(f"{forward.rule} comes from the configuration file: remove it there")
        self._forwards.remove(forward)
        self._save()
        closing = forward.close()
        return closing.addCallback(lambda _: {"rule": str(forward.rule), "text": f"{forward.rule} removed"})

    def _load(self) -> list[ForwardRule]:
        stored = self._store.load()
        rules = []
        for written in stored if isinstance(stored, list) else []:
            try:
                rules.append(ForwardRule.parse(str(written)))
            except ValueError as error:
                self._log.warn("a stored forward is left out: {error}", error=str(error))
        return rules

    def _save(self) -> None:
        self._store.save([str(forward.rule) for forward in self._forwards if not forward.configured])


def _convert(arguments: dict[str, object]) -> _Arguments:
    try:
        return msgspec.convert(arguments, _Arguments)
    except msgspec.ValidationError as error:
        raise CommandError(f"wrong arguments: {error}") from None
