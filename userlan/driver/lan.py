"""The LAN as bridges and embedding programs see it: names, addresses, and Twisted's own endpoints.

``Lan`` is the whole public face: texts and Twisted's interfaces outside, packed addresses and the cores inside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import attrs
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from userlan.driver.datagrams import LanDatagramPort
from userlan.driver.endpoints import LanClientEndpoint, LanServerEndpoint
from userlan.driver.guest import GuestLink, GuestSeat
from userlan.driver.link import LanLink, LinkReceiver
from userlan.driver.runner import CoreRunner
from userlan.driver.uplink import Uplink
from userlan.driver.watch import Observer, Watch
from userlan.lan.addresses import key_text, loopback_alias, text

CONNECT_TIMEOUT = 30.0
"""Seconds a connection may take to be answered: Twisted's own default for TCP endpoints."""


class Description(Protocol):
    """What a member of the LAN is, packed: the roster's own record fits."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def ipv4(self) -> bytes: ...
    @property
    def ipv6(self) -> bytes: ...
    @property
    def networks(self) -> tuple[str, ...]: ...
    @property
    def blocked(self) -> bool: ...
    @property
    def given(self) -> str: ...


class NameResolver(Protocol):
    """Names to packed addresses; raises ``userlan.lan.names.UnknownName``."""

    def resolve(self, name: str) -> bytes: ...


class Member(Protocol):
    """What ``Lan`` needs of the node, beside the core that its runner feeds."""

    @property
    def resolver(self) -> NameResolver: ...

    def peer_info(self, address: bytes) -> Description | None:
        """The member that has this packed address (the node itself too), or None."""

    def members(self) -> Iterable[Description]:
        """All members but this node."""

    def own_info(self) -> Description:
        """The node itself; its addresses are empty bytes as long as it has none."""

    def is_lan_address(self, address: bytes) -> bool:
        """Whether a packed address lies in the LAN's ranges."""

    def is_lan_name(self, text: str) -> bool:
        """Whether a host name is one of the LAN's (known, or of its domain), so that it must never be asked of
        the outside."""


@attrs.frozen
class PeerInfo:
    """A member of the LAN, as text. ``ipv4`` and ``loopback_alias`` are empty as long as it has no IPv4 address."""

    name: str
    key: str
    """The public key: base64url, 43 characters."""
    ipv4: str
    ipv6: str
    loopback_alias: str
    """An address out of 127.0.0.0/8 that is this member's alone, on every member's computer."""
    networks: tuple[str, ...] = ()
    """The networks that it shares with this node, sorted; of this node: all of its."""
    blocked: bool = False
    """Whether this node wants nothing to do with it: there is no tunnel to it."""
    given: str = ""
    """Of this node, whose ``name`` is the nickname that it wants: the one that a network gave it instead, as another member had that;
    empty where none did."""

    @property
    def called(self) -> str:
        """What the others call it."""
        return self.given or self.name


class Companions(Protocol):
    """Further members of the LAN beside this node, each a process of its own (``userlan.app.companions``)."""

    ours: set[str]
    """Their public keys, as text: where this node has to approve who joins, it has."""

    def command(self, state: Path, port: int) -> list[str]:
        """The command line of one: ``state``, its folder, whose name is its own; ``port``: where it listens."""

    def invites(self) -> dict[str, str]:
        """Of the networks that this node is in, by name."""


class Lan:
    """The virtual LAN, for local programs. Everything must be called in the reactor's thread."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, member: Member) -> None:
        self.reactor: Any = runner.reactor
        self.attached = False
        """Whether this computer is itself in the LAN, or about to be, by an interface: what would its programs have of a bridge there is
        theirs already, and would come twice."""
        self.companions: Companions | None = None
        """How to have further members beside this node; None: not here."""
        self._runner = runner
        self._member = member
        self._link: LanLink | None = None
        self._observers: dict[Callable[[], None], None] = {}
        self._watch: Watch | None = None
        self._reached: dict[Callable[[PeerInfo], None], None] = {}
        self._lost: dict[Callable[[PeerInfo], None], None] = {}
        self._news: dict[tuple[Callable[[str, str, str, str], None], Callable[[str], None]], None] = {}

    @property
    def mtu(self) -> int:
        """Octets of the largest packet that the LAN is meant to carry."""
        return self._runner.host.mtu

    def is_lan(self, host: str) -> bool:
        """Whether ``host`` is a name of the LAN or a numeric address inside its ranges."""
        address = _packed(host)
        return self._member.is_lan_name(host) if address is None else self._member.is_lan_address(address)

    def is_group(self, host: str) -> bool:
        """Whether ``host`` is a numeric multicast group or a broadcast of the LAN: what is sent there reaches the members that hear it."""
        address = _packed(host)
        return address is not None and self._runner.host.addresses.of_many(address)

    def resolve(self, host: str) -> str:
        """The numeric address of a name (a numeric address is its own); raises ``userlan.lan.names.UnknownName``."""
        return text(self._resolve(host))

    def client_endpoint(self, host: str, port: int, timeout: float = CONNECT_TIMEOUT) -> LanClientEndpoint:
        """Connects to a port of a member (IStreamClientEndpoint).

        The name is resolved at each ``connect``; its failure is the Deferred's.
        """
        return LanClientEndpoint(self._runner, self._resolve, host, port, timeout)

    def server_endpoint(self, port: int) -> LanServerEndpoint:
        """Listens on a port of all own virtual addresses (IStreamServerEndpoint); 0 takes a free one."""
        return LanServerEndpoint(self._runner, port)

    def datagram_port(self, protocol: DatagramProtocol, port: int = 0, weak: bool = False) -> LanDatagramPort:
        """Binds a UDP port (0: a free one) on all own virtual addresses and starts ``protocol`` on it;
        raises CannotListenError. ``weak``: hear broadcasts and groups as anybody, but datagrams to this node alone only
        where no other has the port, be it later."""
        datagrams = LanDatagramPort(self._runner, protocol, port, weak)
        datagrams.startListening()
        return datagrams

    def attach_link(self, receiver: LinkReceiver, ports: tuple[int, int], uplink: Uplink | None = None) -> LanLink:
        """Share the own addresses with a kernel: ``receiver`` gets what is nobody's here, until the link is detached.

        ``ports``: the first and last ephemeral port for the stack, outside of the kernel's own. ``uplink``: what the kernel finds
        there beside the members; each is attached once. Raises AttachedError when a link is attached already.
        """
        self._link = LanLink(self._runner, receiver, ports, uplink)
        return self._link

    def attach_guest(self, seat: GuestSeat, uplink: Uplink | None = None) -> GuestLink:
        """Share the own addresses with the kernel at the end of a stock WireGuard tunnel, until the link is detached. Raises
        AttachedError as above, and ValueError for keys that cannot be a guest's."""
        guest = GuestLink(self._runner, seat, uplink)
        self._link = guest.link
        return guest

    def addresses_changed(self) -> None:
        """The node was given another address: whoever shares it must follow."""
        if self._link is not None:
            self._link.addresses_changed()
        self.members_changed()

    def computer_attached(self, attached: bool) -> None:
        """This computer gets an interface in the LAN, or has lost it (:attr:`attached`): those who observe are told."""
        self.attached = attached
        self.members_changed()

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have ``changed`` called whenever a member, its name or address, or an own one, or :attr:`attached` may have changed, until
        what is returned is called."""
        self._observers[changed] = None
        return lambda: self._observers.pop(changed, None)

    def watch(self, observer: Observer) -> Callable[[], None]:
        """Have ``observer`` called with every unit of packets to and from the peers, and with what is dropped, until what is returned
        is called. While nobody watches it costs nothing."""
        if self._watch is None:
            self._watch = Watch(self._runner.core)
        return self._watch.add(observer)

    def observe_reached(self, reached: Callable[[PeerInfo], None]) -> Callable[[], None]:
        """Have ``reached`` called whenever there is a way to a member that there was not, or another one, until what is returned is
        called."""
        self._reached[reached] = None
        return lambda: self._reached.pop(reached, None)

    def observe_lost(self, lost: Callable[[PeerInfo], None]) -> Callable[[], None]:
        """Have ``lost`` called whenever a member has gone offline, until what is returned is called."""
        self._lost[lost] = None
        return lambda: self._lost.pop(lost, None)

    def observe_news(self, told: Callable[[str, str, str, str], None], gone: Callable[[str], None]) -> Callable[[], None]:
        """Have ``told`` called with what :meth:`tell_news` is given, and ``gone`` with what :meth:`withdraw_news` is, until what is
        returned is called."""
        self._news[told, gone] = None
        return lambda: self._news.pop((told, gone), None)

    def tell_news(self, kind: str, title: str, text: str, subject: str) -> None:
        """What the person in front of this computer may want to know, and no bridge knows (``bridges.notices`` shows it): its kind, such as
        ``member``, plain texts, and what it is about."""
        self._tell([told for told, _ in self._news], kind, title, text, subject)

    def withdraw_news(self, subject: str) -> None:
        """It is of no interest any more."""
        self._tell([gone for _, gone in self._news], subject)

    def member_reached(self, key: bytes) -> None:
        """Tell those who observe that there is a way to the member of this public key."""
        peer = next((_peer_info(one) for one in self._member.members() if one.key == key), None)
        if peer is not None:
            self._tell(self._reached, peer)

    def member_lost(self, key: bytes) -> None:
        """Tell those who observe that the member of this public key has gone offline."""
        peer = next((_peer_info(one) for one in self._member.members() if one.key == key), None)
        if peer is not None:
            self._tell(self._lost, peer)

    def _tell(self, observers: Iterable[Callable[..., None]], *what: object) -> None:
        """Call each. What one of them raises is logged and hinders no other."""
        for observer in list(observers):
            try:
                observer(*what)
            except Exception:
                self._log.failure("an observer of the members failed")

    def members_changed(self) -> None:
        """Tell those who observe."""
        self._tell(self._observers)

    def peer_at(self, address: str) -> PeerInfo | None:
        """Who has this numeric address; None when nobody does (or it is no address)."""
        packed = _packed(address)
        description = None if packed is None else self._member.peer_info(packed)
        return None if description is None else _peer_info(description)

    def members(self) -> list[PeerInfo]:
        """All members but this node, online or not."""
        return [_peer_info(description) for description in self._member.members()]

    def own(self) -> PeerInfo:
        """This node itself."""
        return _peer_info(self._member.own_info())

    def _resolve(self, host: str) -> bytes:
        address = _packed(host)
        return self._member.resolver.resolve(host) if address is None else address


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes | None:
    """A numeric address packed (brackets allowed), or None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).packed
    except ValueError:
        return None


def _peer_info(description: Description) -> PeerInfo:
    ipv4 = description.ipv4
    return PeerInfo(
        name=description.name,
        key=key_text(description.key),
        ipv4=text(ipv4) if ipv4 else "",
        ipv6=text(description.ipv6) if description.ipv6 else "",
        loopback_alias=loopback_alias(ipv4) if ipv4 else "",
        networks=tuple(description.networks),
        blocked=description.blocked,
        given=description.given,
    )
