"""The discovery relay: programs that find each other by broadcast or multicast find those at the other members', with no adapter
and no root.

::

    host A program ── broadcast ──→ pickup ──→ node A's port on the LAN ── flood ──→ node B's port ──→ host B program
                   ←── from 127.b.b.b ── mirror ←── unicast ←──────────────────── mirror of A, 127.a.a.a ←── answer

Everything on the LAN is plain UDP from the node's own virtual address: a program behind a TAP, in ``userlan run``, behind SOCKS and
behind this bridge are all equal, and what each understands is its own end alone.

The parts::

    Relay           tables, surroundings, clock                                        discovery_relay.py
    Carrier         one profile: what goes out, what comes in, what is reached then    discovery_carrier.py
    LanEnd, Mirror  a local program on the LAN; a peer's program here                  discovery_ends.py
    Surroundings,   this computer's addresses and sockets                              discovery_local.py
    LocalSocket
    Outward, Inward where the other side reaches what a packet names                   discovery_translation.py
    Settings        what is carried, and with whom                                     discovery_settings.py
    Bucket, Carried rates, and what was carried a moment ago                           discovery_guard.py

What profiles there are, their ports and the source of each fact, is data: profiles.yaml. What addresses their packets hold, is known
by codecs: rewrite/.

Who holds which port
    On the LAN the bridge listens on each port of each profile that is on, *weakly*: a service that is exposed there by hand, and a
    kernel that shares the address, go first. On this computer it holds a profile's port only to pick up what local programs say to
    everybody, and by default only where these are known to share the port (SO_REUSEADDR): a program that does not would fail to
    start, or this bridge would. ``userlan share NAME --search`` holds it all the same. To answer *for* local servers no local port
    is needed.

No loops
    Only what bears an address of this computer's interfaces is picked up: not what other computers of the physical network say (two
    nodes there carry nothing twice), not what this bridge or that of another node on this computer emits (its source is an alias of
    127.0.0.0/8, or its time to live 0). What came from the LAN is never sent to the LAN. Two nodes on one computer both pick up what
    its programs say; each knows it again when it comes from the other.

Who reaches what
    Peers with whom a profile is shared, and none else, reach: who listens on the profile's ports on all addresses or in its groups; the
    socket that spoke, at the port that it spoke from; what the profile lists and the local program's packets name, at the
    address of this computer's interface, so that what listens on 127.0.0.1 alone is reached only when it was named so by itself; all
    that for as long as it is used, and 10 minutes.

Bounds: 512 mirrors (64 a peer), 256 sockets of local programs, 50 datagrams to everybody a second for each profile out and each peer
in; forwards and exposures on demand have their own (on_demand.py).
"""

from __future__ import annotations

import difflib
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed

from bridges.discovery_carrier import Carrier
from bridges.discovery_local import Surroundings
from bridges.discovery_relay import Relay
from bridges.discovery_settings import ALL, DiscoveryOptions, Setting, Settings
from bridges.profiles import Profile
from bridges.sharing import Policy, means
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.hostport import join_host_port


class _Arguments(msgspec.Struct):
    profile: str = ""
    networks: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    search: bool | None = None


class DiscoveryBridge:
    """The bridge ``discovery``."""

    name: ClassVar[str] = "discovery"
    Options: ClassVar[type[msgspec.Struct]] = DiscoveryOptions

    def __init__(self, lan: Lan, options: DiscoveryOptions, store: BridgeStore, surroundings: Surroundings | None = None) -> None:
        self._lan = lan
        self._store = store
        self._settings = Settings(options, store.load())
        self._relay = Relay(lan, surroundings or Surroundings())
        self._started = False

    def start(self) -> Deferred[None]:
        """Carry what is switched on; a port that cannot be had is told by ``status`` and does not keep the node from starting."""
        if not self._started:
            self._started = True
            self._relay.start()
            for profile in self._settings.profiles.values():
                self._apply(profile)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Hold nothing any more."""
        self._started = False
        stopping: Deferred[None] = self._relay.stop()
        return stopping

    def status(self) -> object:
        """What is on, what was found, what is forwarded and exposed for it."""
        listed = self._listing()
        on = [str(row["profile"]) for row in listed["profiles"] if row["on"]]
        problems = sum(1 for row in listed["profiles"] if row["problems"])
        found = len(listed["found"])
        text = f"{len(on)} profiles shared, {found} found" + (f", {problems} with problems: `userlan share`" if problems else "")
        return {"text": text, **listed, "tables": self._relay.tables()}

    def diagnosis(self, peer: PeerInfo | None) -> dict[str, object]:
        """Each profile with its ports and groups, and whether it is shared with the peer."""
        surroundings, rows = self._relay.surroundings, []
        for profile in self._settings.profiles.values():
            channels = profile.channels
            admits = None if peer is None else self._settings.policy(profile).admits(self._lan, peer)
            facts = {
                "ports": [port for channel in channels for port in channel.ports],
                "groups": [group for channel in channels for group in channel.groups4],
                "broadcast": any(channel.broadcast for channel in channels),
                "asks": any(channel.servers_listen for channel in channels),
                "default": profile.default,
                "types": list(profile.mdns),
            }
            rows.append({**self._row(profile), **facts, "admits": admits})
        return {"profiles": rows, "attached": self._relay.attached, "addresses": list(surroundings.addresses)}

    def commands(self) -> dict[str, CommandHandler]:
        """``share`` and ``unshare`` take ``profile`` (or all), ``networks``, ``peers``; ``share`` ``search`` too; ``shares`` lists."""
        return {"share": self._share, "unshare": self._unshare, "shares": lambda arguments: self._listing()}

    def _apply(self, profile: Profile) -> None:
        policy = self._settings.policy(profile)
        if profile.channels and policy.enabled:
            self._relay.carry(profile, policy, self._settings.search(profile))
        else:
            self._relay.drop(profile.name)

    # commands

    def _share(self, arguments: dict[str, object]) -> object:
        given = self._given(arguments)
        before = self._settings.get(given.profile)
        if given.search is None:
            return self._change(given.profile, Setting(True, before.search, given.networks, given.peers))
        named = given if given.networks or given.peers else before      # --search alone shares with nobody more
        return self._change(given.profile, Setting(True, given.search, named.networks, named.peers, before.deny))

    def _unshare(self, arguments: dict[str, object]) -> object:
        given = self._given(arguments)
        before = self._settings.get(given.profile)
        denied = (*(f"*.{network}" for network in given.networks), *given.peers)
        if not denied:
            return self._change(given.profile, msgspec.structs.replace(before, on=False))
        deny = tuple(dict.fromkeys((*before.deny, *denied)))
        return self._change(given.profile, msgspec.structs.replace(before, deny=deny))

    def _given(self, arguments: dict[str, object]) -> _Arguments:
        try:
            given = msgspec.convert(arguments, _Arguments)
            Setting(networks=given.networks, peers=given.peers)
        except (msgspec.ValidationError, ValueError) as error:
            raise CommandError(f"wrong arguments: {error}") from None
        profile = self._settings.profiles.get(given.profile)
        if profile is None and given.profile != ALL:
            near = difflib.get_close_matches(given.profile, self._settings.profiles, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`userlan share` lists them; a port by hand is the configuration's"
            raise CommandError(f"there is no profile {given.profile!r}: {hint}")
        if profile is not None and not profile.channels:
            raise CommandError(f"{profile.name} is found by mDNS ({', '.join(profile.mdns)}): the section mdns says what is shared")
        return given

    def _change(self, name: str, setting: Setting) -> object:
        self._settings.set(name, setting)
        self._store.save(self._settings.stored())
        changed = [profile for profile in self._settings.profiles.values() if name in (ALL, profile.name)]
        if self._started:
            for profile in changed:
                self._apply(profile)
        if name == ALL:
            lines = ["no profile is shared"]
            if setting.on is not False:
                whom = Policy(True, setting.networks, setting.peers, setting.deny).describe()
                lines = [f"all profiles that are on are shared with {whom}, unless they name somebody themselves"]
            return {"profile": ALL, "text": "\n".join([*lines, *self._unknown(setting)])}
        row = self._row(changed[0])
        return {**row, "text": "\n".join([self._told(row), *self._unknown(setting)])}

    def _unknown(self, setting: Setting) -> list[str]:
        """Who is named and is no member, or not yet."""
        entries = [*(f"*.{network}" for network in setting.networks), *setting.peers, *setting.deny]
        members = self._lan.members()
        return [f"there is no member {entry} yet" for entry in entries if not any(means(self._lan, entry, one) for one in members)]

    def _told(self, row: dict[str, Any]) -> str:
        lines = [f"{row['profile']} is shared with {row['with']}" if row["on"] else f"{row['profile']} is not shared"]
        if self._settings.get(ALL).on is False:
            lines.append("nothing is: `userlan share all` ends that")
        if row["on"] and not row["picks_up"]:
            lines.append("local programs are found by others, but do not find others themselves: --search lets them")
        lines += [f"{what}: {why}" for what, why in row["problems"].items()]
        return "\n".join(lines)

    # listing

    def _listing(self) -> dict[str, Any]:
        now = self._relay.now()
        found = [
            {
                "profile": one.profile,
                "peer": one.peer,
                "key": one.key,
                "port": one.peer_port,
                "protocol": one.protocol,
                "address": join_host_port(one.host, one.port),
                "seconds": round(now - one.seen, 1),
            }
            for one in self._relay.found.listing(now)
        ]
        rows = [self._row(profile) for profile in self._settings.profiles.values()]
        return {"profiles": rows, "found": found, "on_demand": self._relay.on_demand.listing(), "attached": self._relay.attached}

    def _row(self, profile: Profile) -> dict[str, Any]:
        carrier: Carrier | None = self._relay.carriers.get(profile.name)
        policy = self._settings.policy(profile)
        return {
            "profile": profile.name,
            "title": profile.title,
            "by": "discovery" if profile.channels else "mdns",
            "on": policy.enabled,
            "with": policy.describe(),
            "picks_up": carrier is not None and carrier.picks_up,
            "problems": {} if carrier is None else dict(carrier.problems),
            "counters": {} if carrier is None else dict(carrier.counters),
            "note": profile.note,
        }
