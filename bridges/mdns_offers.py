"""What the LAN is told of: services that programs of this computer announce, and those that are exposed by hand.

::

    avahi: Laser._ipp._tcp, nas.local:631    ── exposed on demand ──▶   Laser._ipp._tcp, NICK.local:631
    userlan expose 8000 --name Site          ── is exposed already ─▶   Site._http._tcp, NICK.local:8000
    userlan folder add Pictures              ── is shared already ──▶   Pictures._http._tcp, NICK.local:41417, path=/Pictures/

A service is offered only when it is where who announced it is: on this computer, or (where the policy asks for the physical link) on
the computer whose announcement it was. So nobody has us open a port of somebody else's, and what a node has shown to the programs of
this computer, at a loopback alias, is never taken for a service of this computer, be the node another one of the same computer.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import attrs

from bridges.expose import ExposeBridge, Exposed
from bridges.folders import FoldersBridge
from bridges.folders.bridge import Record
from bridges.mdns_querier import Seen
from bridges.mdns_records import LOCAL, Service, parse_type, renamed, text_data
from bridges.mdns_responder import Audience
from bridges.mdns_settings import NEVER, MdnsOptions
from bridges.mdns_sides import LOOPBACK, THIS_COMPUTER, LanSide, LocalSide
from bridges.mdns_wire import Name, fold
from bridges.on_demand import OnDemand, OnDemandError
from userlan.driver.lan import Lan, PeerInfo

MARK = b"-userlan"
"""How the host names end under which services of members are shown: whoever sees one knows that it comes from a LAN."""
EXPOSED = "userlan=exposed"
"""In the TXT data of what was exposed by hand."""
FOLDER = "folder=yes"
"""In the TXT data of a shared folder."""
MAX_OFFERED = 128
"""Services of this computer, or its link, that are offered."""
MAX_RENAMES = 20
"""Names tried for one service: somebody says to have each of them."""

TYPES = {
    ("tcp", 21): "_ftp._tcp", ("tcp", 22): "_ssh._tcp", ("tcp", 53): "_domain._tcp", ("udp", 53): "_domain._udp",
    ("tcp", 80): "_http._tcp", ("tcp", 139): "_smb._tcp", ("tcp", 443): "_https._tcp", ("tcp", 445): "_smb._tcp",
    ("tcp", 515): "_printer._tcp", ("tcp", 548): "_afpovertcp._tcp", ("tcp", 554): "_rtsp._tcp", ("tcp", 631): "_ipp._tcp",
    ("tcp", 873): "_rsync._tcp", ("tcp", 1883): "_mqtt._tcp", ("tcp", 2049): "_nfs._tcp", ("tcp", 3000): "_http._tcp",
    ("tcp", 3389): "_rdp._tcp", ("tcp", 5000): "_http._tcp", ("tcp", 5432): "_postgresql._tcp", ("tcp", 5900): "_rfb._tcp",
    ("tcp", 6600): "_mpd._tcp", ("tcp", 8000): "_http._tcp", ("tcp", 8080): "_http._tcp", ("tcp", 8443): "_https._tcp",
    ("tcp", 8888): "_http._tcp", ("tcp", 9100): "_pdl-datastream._tcp",
}
"""What is behind a port, by the registry of service names (RFC 6335), and where web servers are by custom: the service's own port,
else the one that it has on the LAN."""
OTHER_TYPE = "_userlan-svc"
"""What is exposed at any other port."""


@attrs.define(eq=False)
class Offered:
    """One service, under which name it is offered, and what it needs for that."""

    key: Hashable
    service: Service
    """As it was announced."""
    origin: str
    renames: int = 0
    host: str = ""
    """Where it is reached on this side."""
    port: int = 0
    """Its port on the LAN; 0 as long as there is none."""
    error: str = ""


class Offers:
    """See above."""

    def __init__(self, lan: Lan, options: MdnsOptions, lan_side: LanSide, local_side: LocalSide) -> None:
        self.attached = False
        """The whole computer is in the LAN: its programs announce there by themselves."""
        self._lan = lan
        self._options = options
        self._side = lan_side
        self._local = local_side
        self._on_demand = OnDemand.of(lan)
        self._offered: dict[Hashable, Offered] = {}
        self._exposed: dict[Hashable, int] = {}

    def seen(self, seen: Seen) -> None:
        """Something about a service of this computer, or of its link."""
        service = seen.after or seen.before
        assert service is not None
        key = ("local", seen.origin, fold(service.name))
        if seen.after is None or not self._is_offered(seen.after, str(seen.origin)):
            self._drop(key)
            return
        offered = self._offered.get(key)
        if offered is None:
            if len(self._offered) >= MAX_OFFERED:
                self._side.link.counters["offers-full"] += 1
                return
            offered = self._offered[key] = Offered(key, seen.after, str(seen.origin))
        elif offered.service.port != seen.after.port:
            self._close_port(offered)
        offered.service = seen.after
        self._tell(offered)

    def refresh(self) -> None:
        """Members, names, own addresses or exposed services are others than before."""
        for offered in list(self._offered.values()):
            if self._is_offered(offered.service, offered.origin):
                self._tell(offered)
            else:
                self._drop(offered.key)
        for origin, service in self._local.link.querier.services():
            if ("local", origin, fold(service.name)) not in self._offered:
                self.seen(Seen(origin, None, service))
        self._tell_exposed()
        self._side.touch()

    def conflict(self, key: Hashable) -> None:
        """Another member has the name."""
        if key in self._exposed:
            self._exposed[key] += 1
            self._tell_exposed()
        offered = self._offered.get(key)
        if offered is not None and offered.renames < MAX_RENAMES:
            offered.renames += 1
            self._tell(offered)

    def close(self) -> None:
        """Offer nothing any more."""
        for key in [*self._offered, *self._exposed]:
            self._side.link.withdraw(key)
        for offered in self._offered.values():
            self._on_demand.release(offered)
        self._offered.clear()
        self._exposed.clear()

    def kinds(self) -> set[Name]:
        """The types that are offered."""
        return {fold(offered.service.type) for offered in self._offered.values()}

    def listing(self) -> list[dict[str, object]]:
        """For the status."""
        names = {owned.key: owned for owned in self._side.link.responder.owned()}
        rows: list[dict[str, object]] = []
        for key in [*self._offered, *self._exposed]:
            owned, offered = names.get(key), self._offered.get(key)
            if owned is not None:
                state = "offered" if owned.established else "probing"
                rows.append({"name": owned.service.title, "type": owned.service.kind, "port": owned.service.port, "state": state})
            elif offered is not None and offered.error:
                rows.append({"name": offered.service.title, "type": offered.service.kind, "port": 0, "state": offered.error})
        return rows

    def held_back(self) -> list[dict[str, object]]:
        """Services of this computer that the LAN is not told of, since the patterns say so."""
        services = [service for origin, service in self._local.link.querier.services() if origin == THIS_COMPUTER]
        return [
            {"name": service.title, "type": service.kind}
            for service in services
            if not self._options.offers(service) and not service.host[0].lower().endswith(MARK) and fold(service.type) not in NEVER
        ]

    # -- inside

    def _is_offered(self, service: Service, origin: str) -> bool:
        if self.attached or not self._options.offers(service) or service.host[0].lower().endswith(MARK):
            return False
        if origin == THIS_COMPUTER:
            return any(address in self._local.own for address in service.addresses)
        return origin in service.addresses

    def _tell(self, offered: Offered) -> None:
        own = self._lan.own()
        addresses = tuple(address for address in (own.ipv4, own.ipv6) if address)
        audience = self._audience()
        if not own.called or not addresses or audience == ():
            self._side.link.withdraw(offered.key)
            return
        service, host = offered.service, self._host(offered)
        if offered.host != host:
            self._close_port(offered)
        if not offered.port:
            offered.host = host
            try:
                why = f"mdns: {service.title}"
                offered.port = self._on_demand.expose(host, service.port, service.protocol, self._admits, offered, why=why)
                offered.error = ""
            except OnDemandError as error:
                offered.error = str(error)
                self._side.link.withdraw(offered.key)
                return
        instance = renamed(service.instance, own.called, offered.renames) if offered.renames else service.instance
        told = attrs.evolve(service, instance=instance, host=(own.called.encode(), *LOCAL), port=offered.port, addresses=addresses)
        self._side.link.offer(offered.key, told, audience, self._side.now())
        self._side.touch()

    def _host(self, offered: Offered) -> str:
        """Where the service is: an address that it was announced with, so that what listens on 127.0.0.1 alone stays where it is."""
        if offered.origin != THIS_COMPUTER:
            return offered.origin
        own = [address for address in offered.service.addresses if address in self._local.own and address not in (LOOPBACK, "::1")]
        return min(own, key=lambda address: ":" in address, default=LOOPBACK)

    def _close_port(self, offered: Offered) -> None:
        self._on_demand.release(offered)
        offered.port = 0

    def _drop(self, key: Hashable) -> None:
        offered = self._offered.pop(key, None)
        if offered is not None:
            self._side.link.withdraw(key)
            self._on_demand.release(offered)
            self._side.touch()

    def _admits(self, peer: PeerInfo) -> bool:
        return self._options.policy.admits(self._lan, peer)

    def _audience(self) -> Audience | None:
        if not self._options.networks and not self._options.peers:
            return None
        return tuple(_addresses(peer) for peer in self._lan.members() if self._admits(peer))

    def _tell_exposed(self) -> None:
        bridge, folders = ExposeBridge.of(self._lan), FoldersBridge.of(self._lan)
        wanted: dict[Hashable, Exposed | Record] = {}
        if bridge is not None:
            wanted |= {("exposed", one.rule.port, one.rule.protocol): one for one in bridge.exposed()}
        if folders is not None:
            wanted |= {("folder", one.name): one for one in folders.shared()}
        for key in [key for key in self._exposed if key not in wanted]:
            del self._exposed[key]
            self._side.link.withdraw(key)
        own = self._lan.own()
        addresses = tuple(address for address in (own.ipv4, own.ipv6) if address)
        for key, one in wanted.items():
            renames = self._exposed.setdefault(key, 0)
            told: Service | None = None
            if isinstance(one, Exposed):
                admits, allow = one.admits, one.rule.allow
                told = described(one, own.called, addresses, renames)
            elif folders is not None:
                admits, allow = partial(folders.admits, one), one.allow
                told = described_folder(one, folders.port, own.called, addresses, renames)
            members = tuple(_addresses(peer) for peer in self._lan.members() if admits(peer)) if allow else None
            if told is not None and own.called and addresses and members != () and renames <= MAX_RENAMES:
                self._side.link.offer(key, told, members, self._side.now())
            else:
                self._side.link.withdraw(key)
        self._side.touch()


def _addresses(peer: PeerInfo) -> tuple[str, ...]:
    return tuple(address for address in (peer.ipv4, peer.ipv6) if address)


def described(exposed: Exposed, nick: str, addresses: tuple[str, ...], renames: int) -> Service:
    """An exposed service as multicast DNS says it."""
    rule = exposed.rule
    known = (kind for port in (rule.service_port, rule.port) if (kind := TYPES.get((rule.protocol, port))))
    kind = next(known, f"{OTHER_TYPE}._{rule.protocol}")
    instance = (rule.name or f"{nick}:{rule.port}").encode()[:63].decode("utf-8", "ignore").encode()
    if renames:
        instance = renamed(instance, nick, renames)
    return Service(instance, parse_type(kind), (nick.encode(), *LOCAL), rule.port, text_data([EXPOSED]), addresses)


def described_folder(record: Record, port: int, nick: str, addresses: tuple[str, ...], renames: int) -> Service:
    """A shared folder as multicast DNS says it."""
    instance = renamed(record.name.encode(), nick, renames) if renames else record.name.encode()
    text = text_data([EXPOSED, FOLDER, f"path={record.link}"])
    return Service(instance, parse_type("_http._tcp"), (nick.encode(), *LOCAL), port, text, addresses)
