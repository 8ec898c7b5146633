"""Services of members, as the programs of this computer see them.

::

    nas: Laser._ipp._tcp, nas.local:631  ── forward on demand ──▶  Laser._ipp._tcp, nas-userlan.local:631, nas-userlan.local = 127.a.b.c

Who announces a service is who serves it: the forward leads to the member whose word it is, and only a service whose host has that
member's own address is believed. The forward listens as long as the service is there; a connection is made when a program uses it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs

from bridges.mdns_offers import EXPOSED, MARK
from bridges.mdns_querier import Seen
from bridges.mdns_records import LOCAL, Service, renamed, strings
from bridges.mdns_settings import MdnsOptions
from bridges.mdns_sides import LanSide, LocalSide
from bridges.mdns_wire import MAX_LABEL, Name, fold
from bridges.on_demand import OnDemand, OnDemandError
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.hostport import join_host_port

WHY = "mdns: "
"""How the reasons of our forwards begin."""
MAX_RENAMES = 20
"""Names tried for one service on this computer."""

SCHEMES = {
    "_http._tcp": "http", "_https._tcp": "https", "_ftp._tcp": "ftp", "_ssh._tcp": "ssh", "_sftp-ssh._tcp": "sftp", "_smb._tcp": "smb",
    "_afpovertcp._tcp": "afp", "_rfb._tcp": "vnc", "_ipp._tcp": "ipp", "_ipps._tcp": "ipps", "_rtsp._tcp": "rtsp", "_nfs._tcp": "nfs",
    "_webdav._tcp": "http", "_webdavs._tcp": "https", "_rsync._tcp": "rsync", "_mqtt._tcp": "mqtt", "_postgresql._tcp": "postgresql",
    "_telnet._tcp": "telnet", "_ldap._tcp": "ldap", "_daap._tcp": "daap", "_rdp._tcp": "rdp",
}
"""How an address to click begins."""


@attrs.define(eq=False)
class Remote:
    """One service of a member."""

    key: tuple[str, Name]
    peer: PeerInfo
    service: Service
    """As the LAN says it."""
    local: tuple[str, int] | None = None
    """Where it is reached on this computer."""
    renames: int = 0
    error: str = ""


class Remotes:
    """See above."""

    def __init__(self, lan: Lan, options: MdnsOptions, lan_side: LanSide, local_side: LocalSide) -> None:
        self.attached = False
        """The whole computer is in the LAN: its programs see the services by themselves."""
        self._lan = lan
        self._options = options
        self._found = lan_side.link.querier
        self._side = local_side
        self._on_demand = OnDemand.of(lan)
        self._remotes: dict[Hashable, Remote] = {}

    def seen(self, seen: Seen) -> None:
        """Something about a service of a member."""
        service = seen.after or seen.before
        assert service is not None
        key = (str(seen.origin), fold(service.name))
        peer = next((one for one in self._lan.members() if one.key == seen.origin), None)
        remote = self._remotes.get(key)
        if seen.after is None or peer is None or not believed(seen.after, peer):
            self._drop(key)
            return
        if remote is None:
            remote = self._remotes[key] = Remote(key, peer, seen.after)
        elif remote.service.port != seen.after.port:
            self._on_demand.release(remote)
            remote.local = None
        remote.service = seen.after
        self._show(remote)

    def refresh(self) -> None:
        """Members, their names or own addresses are others than before."""
        members = {peer.key: peer for peer in self._lan.members()}
        for remote in list(self._remotes.values()):
            peer = members.get(remote.peer.key)
            if peer is None or not believed(remote.service, peer):
                self._drop(remote.key)
                continue
            if (peer.loopback_alias, peer.ipv4) != (remote.peer.loopback_alias, remote.peer.ipv4):
                self._on_demand.release(remote)
                remote.local = None
            remote.peer = peer
            self._show(remote)
        for origin, service in self._found.services():      # what was not believed, since its word came before its origin's new address
            if origin in members and (str(origin), fold(service.name)) not in self._remotes:
                self.seen(Seen(origin, None, service))

    def moved(self) -> None:
        """This computer's own addresses are others than before: forwards that listen at one move with them."""
        if self._options.advertise:
            for remote in self._remotes.values():
                self._on_demand.release(remote)
                remote.local = None
        self.refresh()

    def conflict(self, key: Hashable) -> None:
        """A program of this computer has the name."""
        remote = self._remotes.get(key)
        if remote is not None and remote.renames < MAX_RENAMES:
            remote.renames += 1
            self._show(remote)

    def close(self) -> None:
        """Show nothing any more."""
        for remote in self._remotes.values():
            self._side.link.withdraw(remote.key)
            self._on_demand.release(remote)
        self._remotes.clear()

    def kinds(self) -> set[Name]:
        """The types that members offer."""
        return {fold(remote.service.type) for remote in self._remotes.values()}

    def listing(self) -> list[dict[str, object]]:
        """One row for each: peer, key, name, type, where (on this computer), lan (for who is in the LAN), url, source, text."""
        rows = [self._row(remote) for remote in self._remotes.values()]
        rows += [_discovered(way) for way in self._on_demand.listing() if way["kind"] == "forward" and not _is_ours(way["why"])]
        return sorted(rows, key=lambda row: (str(row["peer"]), str(row["type"]), str(row["name"])))

    # -- inside

    def _show(self, remote: Remote) -> None:
        if remote.local is None and not self.attached:
            service, bind = remote.service, ""
            if self._options.advertise:
                bind = next(iter(self._side.hosts), "")
            try:
                remote.local = self._on_demand.forward(
                    remote.peer, service.port, service.protocol, remote, bind=bind, why=f"{WHY}{service.title}"
                )
                remote.error = ""
            except OnDemandError as error:
                remote.error = str(error)
        if not self._options.show or self.attached or remote.local is None:
            self._side.link.withdraw(remote.key)
            if self.attached and remote.local is not None:
                self._on_demand.release(remote)
                remote.local = None
        else:
            self._side.link.offer(remote.key, self._shown(remote, remote.local), None, self._side.now())
        self._side.touch()

    def _shown(self, remote: Remote, local: tuple[str, int]) -> Service:
        nick = remote.peer.name
        instance = renamed(remote.service.instance, nick, remote.renames) if remote.renames else remote.service.instance
        same = any(other.name == nick and other.key != remote.peer.key for other in self._lan.members())
        label = f"{nick}-{remote.peer.networks[0]}" if same and remote.peer.networks else nick
        host = label.encode()[: MAX_LABEL - len(MARK)] + MARK
        return attrs.evolve(remote.service, instance=instance, host=(host, *LOCAL), port=local[1], addresses=(local[0],))

    def _drop(self, key: Hashable) -> None:
        remote = self._remotes.pop(key, None)
        if remote is not None:
            self._side.link.withdraw(key)
            self._on_demand.release(remote)
            self._side.touch()

    def _row(self, remote: Remote) -> dict[str, object]:
        service, told = remote.service, strings(remote.service.text)
        host, port = remote.local or (remote.peer.ipv4 or remote.peer.ipv6, service.port)
        where = join_host_port(host, port)
        scheme = SCHEMES.get(service.kind.lower())
        path = told.get("path", "/") if scheme in ("http", "https") else ""
        url = f"{scheme}://{where}{path if path.startswith('/') or not path else '/' + path}" if scheme else ""
        key, _, value = EXPOSED.partition("=")
        source = "exposed" if told.get(key) == value else "bonjour"
        return {
            "peer": remote.peer.name,
            "key": remote.peer.key,
            "name": service.title,
            "type": service.kind,
            "where": where,
            "lan": join_host_port(remote.peer.ipv4 or remote.peer.ipv6, service.port),
            "url": url if url.isprintable() else "",
            "source": source,
            "text": {name: text for name, text in told.items() if name != key or source != "exposed"},
            "error": remote.error,
        }


def _is_ours(why: Any) -> bool:
    return all(one.startswith(WHY) for one in why)


def _discovered(way: dict[str, Any]) -> dict[str, object]:
    """A forward that another bridge has made, since a program has found something there."""
    source = ", ".join(f"discovery: {one}" for one in way["why"] if not one.startswith(WHY))
    row: dict[str, object] = {"peer": way["peer"], "key": way["key"], "name": f"port {way['port']}", "type": f"_{way['protocol']}"}
    row |= {"where": way["listen"], "lan": way["to"]}
    return row | {"url": "", "source": source, "text": {}, "error": way["error"]}


def believed(service: Service, peer: PeerInfo) -> bool:
    """Whether a member says of itself, not of somebody else, that it has a service."""
    return any(address in service.addresses for address in (peer.ipv4, peer.ipv6) if address)
