"""Exposed services: peers reach what this computer, or a host that it reaches, offers on a port; nothing else.

::

    peer ──LAN──→ port 80 of this node ──→ Acceptor ── splice ──→ 127.0.0.1:8000, from 127.a.b.c        TCP
    peer ──LAN──→ port 53/udp          ──→ UdpExpose: a flow for each peer's port ──→ 127.0.0.1:53      UDP

A service on this computer sees each peer under an address of its own, the loopback alias 127.a.b.c of the peer's
25.a.b.c, where the platform can bind it (Linux; it is tried, not guessed): logs, rules and bans work for peers as
for anybody else. It follows that a service which trusts 127.0.0.1 does not thereby trust peers.

The stack accepts a peer's connection before the local service is asked: a service that is down is therefore seen by
the peer as a connection that is reset at once, as near to "refused" as can be.

A port that the node itself listens at (``userlan.lan.ports``) is never exposed, neither by command nor by configuration: the first
is refused, the second told in one warning, and the node starts.

``allow`` restricts who may connect. A name is resolved at each connection: ``bob.home`` is whoever the network home
calls bob. A key is the strictest.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

import msgspec
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.acceptor import Acceptor
from bridges.dial import Cause, DialError, connect, connect_numeric, is_loopback
from bridges.leg import Leg, LegOwner
from bridges.rules import MAX_RULES, ExposeRule, suffix
from bridges.sharing import means
from bridges.splice import Splices
from bridges.udp_expose import UdpExpose
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.ports import built_in

SERVICE_TIMEOUT = 10.0
"""Seconds a local service may take to accept: it is on this computer or beside it."""

PROBE_ALIAS = "127.1.2.3"
"""A loopback address other than 127.0.0.1, to find out whether such can be bound here."""


class ExposeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``expose``: a list of services."""

    entries: tuple[ExposeRule, ...] = ()


class _Arguments(msgspec.Struct):
    service: str
    port: int | None = None
    name: str | None = None
    allow: tuple[str, ...] = ()


def aliases_bindable() -> bool:
    """Whether this platform lets a socket have any address of 127.0.0.0/8."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((PROBE_ALIAS, 0))
    except OSError:
        return False
    return True


class Gate:
    """Who may use a service."""

    def __init__(self, lan: Lan, allow: Sequence[str]) -> None:
        self._lan = lan
        self._allow = allow

    def admit(self, address: str) -> PeerInfo | None:
        """The peer that has this address, when it may; None for anybody else."""
        peer = self._lan.peer_at(address)
        if peer is None or (self._allow and not any(means(self._lan, entry, peer) for entry in self._allow)):
            return None
        return peer


class Exposed:
    """One exposed service."""

    def __init__(self, bridge: ExposeBridge, rule: ExposeRule, configured: bool) -> None:
        self.rule = rule
        self.configured = configured
        self.error = ""
        self._lan = bridge.lan
        self._aliases = bridge.aliases
        self._gate = Gate(bridge.lan, rule.allow)
        self._acceptor = Acceptor(bridge.splices, self._connect)
        self._udp: UdpExpose | None = None
        self._port: Any = None

    def open(self) -> Deferred[None]:
        """Listen on the LAN; fails with CommandError, which is also kept in :attr:`error`."""
        own = built_in(self.rule.protocol, self.rule.port)
        if own:
            return fail(self._problem(f"is the node's own, for {own}"))
        if self.rule.protocol == "udp":
            opening = maybeDeferred(self._open_udp)
        else:
            endpoint: Any = self._lan.server_endpoint(self.rule.port)
            opening = maybeDeferred(endpoint.listen, self._acceptor)
        opening.addCallbacks(self._opened, self._not_opened)
        return opening

    def _open_udp(self) -> Any:
        rule = self.rule
        self._udp = UdpExpose(self._lan, self._gate.admit, rule.host or "127.0.0.1", rule.service_port, self._aliases)
        return self._udp.open(rule.port)

    def _opened(self, port: Any) -> None:
        self._port = port
        self.error = ""

    def _not_opened(self, failure: Failure) -> None:
        if not isinstance(failure.value, CannotListenError | OSError):
            failure.raiseException()
        raise self._problem("is in use")

    def _problem(self, what: str) -> CommandError:
        self.error = f"port {self.rule.port}{suffix(self.rule.protocol)} of the LAN {what}"
        return CommandError(f"{self.error}: choose another one with --as")

    def close(self) -> Deferred[Any]:
        """Stop listening and abort its connections."""
        port, self._port = self._port, None
        self._acceptor.abort_all()
        if self._udp is not None:
            self._udp.close()
            return succeed(None)
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    @property
    def listening(self) -> bool:
        """Whether peers reach it."""
        return self._port is not None

    def admits(self, peer: PeerInfo) -> bool:
        """Whether a member may use it."""
        return any(self._gate.admit(address) is not None for address in (peer.ipv4, peer.ipv6) if address)

    def describe(self) -> dict[str, object]:
        """As ``exposes`` and ``status`` tell it."""
        rule = self.rule
        error = self.error or self._acceptor.last_error
        name = f" ({rule.name})" if rule.name else ""
        to = f" for {', '.join(rule.allow)}" if rule.allow else ""
        text = f"port {rule.port}{suffix(rule.protocol)} → {rule.target}{name}{to}" + (f"  ({error})" if error else "")
        return {
            "service": rule.service,
            "target": rule.target,
            "port": rule.port,
            "protocol": rule.protocol,
            "name": rule.name,
            "allow": list(rule.allow),
            "state": "listening" if self._port is not None else "failed",
            "error": error,
            "streams": len(self._acceptor) if self._udp is None else len(self._udp),
            "configured": self.configured,
            "text": text,
        }

    # TCP

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        address = near.transport.getPeer().host
        peer = self._gate.admit(address)
        if peer is None:
            return fail(DialError(Cause.FORBIDDEN, f"{address} is not allowed to use this service"))
        if self.rule.host:
            return self._to(self.rule.host, peer, owner)
        connecting = self._to("127.0.0.1", peer, owner)
        connecting.addErrback(self._try_ipv6, peer, owner)
        return connecting

    def _try_ipv6(self, failure: Failure, peer: PeerInfo, owner: LegOwner) -> Deferred[Leg]:
        """Some servers listen on ::1 only when they are told "localhost"."""
        if not (isinstance(failure.value, DialError) and failure.value.cause is Cause.REFUSED):
            return fail(failure)
        second = self._to("::1", peer, owner)
        second.addErrback(lambda _: failure)  # what matters to people is the first
        return second

    def _to(self, host: str, peer: PeerInfo, owner: LegOwner) -> Deferred[Leg]:
        reactor, port = self._lan.reactor, self.rule.service_port
        if ":" in host:
            return connect_numeric(reactor, host, port, owner, SERVICE_TIMEOUT)
        if is_loopback(host):
            bind = (peer.loopback_alias, 0) if self._aliases and peer.loopback_alias else None
            return connect_numeric(reactor, host, port, owner, SERVICE_TIMEOUT, bind)
        return connect(HostnameEndpoint(reactor, host, port, SERVICE_TIMEOUT), host, port, owner)


_BRIDGES: WeakKeyDictionary[Lan, ref[ExposeBridge]] = WeakKeyDictionary()


class ExposeBridge:
    """The bridge ``expose``."""

    name: ClassVar[str] = "expose"
    Options: ClassVar[type[msgspec.Struct]] = ExposeOptions
    _log = Logger()

    def __init__(self, lan: Lan, options: ExposeOptions, store: BridgeStore) -> None:
        self.lan = lan
        self.splices = Splices(lan.reactor)
        self.aliases = aliases_bindable()
        """Whether peers can be shown to local services under their loopback alias."""
        self._options = options
        self._store = store
        self._exposed: list[Exposed] = []
        before = ExposeBridge.of(lan)
        self._observers: dict[Callable[[], None], None] = {} if before is None else before._observers
        """Those of the one before, where this one takes its place: they go on observing."""
        _BRIDGES[lan] = ref(self)

    @classmethod
    def of(cls, lan: Lan) -> ExposeBridge | None:
        """The one of a LAN, for other bridges."""
        known = _BRIDGES.get(lan)
        return None if known is None else known()

    def exposed(self) -> list[Exposed]:
        """The services that are exposed at this moment."""
        return [one for one in self._exposed if one.listening]

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have ``changed`` called when something is exposed or not any more, until what is returned is called."""
        self._observers[changed] = None
        return lambda: self._observers.pop(changed, None)

    def _tell(self) -> None:
        for changed in list(self._observers):
            changed()

    def start(self) -> Deferred[None]:
        """Expose what the configuration and the commands of before ask for."""
        if self._exposed:
            return succeed(None)
        opening = []
        wanted = [(rule, True) for rule in self._options.entries] + [(rule, False) for rule in self._load()]
        for rule, configured in wanted[:MAX_RULES]:
            exposed = Exposed(self, rule, configured)
            self._exposed.append(exposed)
            opening.append(exposed.open().addErrback(self._not_started, exposed))
        return DeferredList(opening).addCallback(lambda _: self._tell())

    def _not_started(self, failure: Failure, exposed: Exposed) -> None:
        if not isinstance(failure.value, CommandError):
            failure.raiseException()
        self._log.warn("expose {service}: {error}", service=exposed.rule.service, error=str(failure.value))

    def stop(self) -> Deferred[None]:
        """Close everything."""
        exposed, self._exposed = self._exposed, []
        closing = DeferredList([one.close() for one in exposed])
        self.splices.abort_all()
        return closing.addCallback(lambda _: None)

    def status(self) -> object:
        """The list of exposed services."""
        return [exposed.describe() for exposed in self._exposed]

    def diagnosis(self, peer: PeerInfo | None) -> list[dict[str, object]]:
        """The list, with where each service is, and whether the peer may use it."""
        return [
            {
                **exposed.describe(),
                "host": exposed.rule.host,
                "service_port": exposed.rule.service_port,
                "admits": None if peer is None else exposed.admits(peer),
            }
            for exposed in self._exposed
        ]

    def commands(self) -> dict[str, CommandHandler]:
        """``expose`` takes ``service``, ``port``, ``name``, ``allow``; ``unexpose`` takes ``service``; ``exposes``
        lists."""
        return {"expose": self._expose, "unexpose": self._unexpose, "exposes": lambda arguments: self.status()}

    def _expose(self, arguments: dict[str, object]) -> object:
        given = _convert(arguments)
        try:
            rule = ExposeRule(given.service, given.port or 0, given.name or "", given.allow)
        except ValueError as error:
            raise CommandError(str(error).removeprefix("service: ")) from None
        if len(self._exposed) >= MAX_RULES:
            raise CommandError(f"there are {MAX_RULES} exposed services already: remove one with unexpose")
        for other in self._exposed:
            if (other.rule.port, other.rule.protocol) == (rule.port, rule.protocol):
                where = f"port {rule.port}{suffix(rule.protocol)} of the LAN leads to {other.rule.target} already"
                raise CommandError(f"{where}: choose another one with --as, or unexpose it first")
        exposed = Exposed(self, rule, False)
        self._exposed.append(exposed)
        return exposed.open().addCallbacks(self._added, self._not_added, (exposed,), {}, (exposed,))

    def _added(self, _: None, exposed: Exposed) -> object:
        self._save()
        self._tell()
        return exposed.describe()

    def _not_added(self, failure: Failure, exposed: Exposed) -> Failure:
        self._exposed.remove(exposed)
        return failure

    def _unexpose(self, arguments: dict[str, object]) -> object:
        written = _convert(arguments).service
        found = [exposed for exposed in self._exposed if exposed.rule.named_by(written)]
        if not found:
            raise CommandError(f"{written!r} is not exposed: `userlan expose` lists what is")
        if len(found) > 1:
            which = ", ".join(f"{exposed.rule.port} → {exposed.rule.target}" for exposed in found)
            raise CommandError(f"{written!r} means several services ({which}): name one by HOST:PORT or its LAN port")
        exposed = found[0]
        if exposed.configured:
            raise CommandError(f"{exposed.rule.service} comes from the configuration file: remove it there")
        self._exposed.remove(exposed)
        self._save()
        self._tell()
        text = f"port {exposed.rule.port}{suffix(exposed.rule.protocol)} is not exposed any more"
        return exposed.close().addCallback(lambda _: {"service": exposed.rule.service, "text": text})

    def _load(self) -> list[ExposeRule]:
        stored = self._store.load()
        rules = []
        for written in stored if isinstance(stored, list) else []:
            try:
                rules.append(msgspec.convert(written, ExposeRule))
            except (ValueError, msgspec.ValidationError) as error:
                self._log.warn("a stored service is left out: {error}", error=str(error))
        return rules

    def _save(self) -> None:
        self._store.save([msgspec.to_builtins(exposed.rule) for exposed in self._exposed if not exposed.configured])


def _convert(arguments: dict[str, object]) -> _Arguments:
    try:
        return msgspec.convert(arguments, _Arguments)
    except msgspec.ValidationError as error:
        raise CommandError(f"wrong arguments: {error}") from None
