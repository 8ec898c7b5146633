"""What programs send to find each other on a LAN, as data: ``profiles.yaml`` beside this file, and what people add.

A profile says which ports and groups a program's discovery uses, who listens there, what is reached afterwards, and
which codec (``bridges/rewrite``) knows the addresses inside its packets. It does nothing by itself: the discovery
relay (``bridges/discovery.py``) carries what it names, the mDNS relay (``bridges/mdns.py``) the service types.

Written as::

    name: teeworlds                       lower case, digits and hyphens
    title: Teeworlds 0.6, 0.7, DDNet
    channels:
      - port: 8303                        the port that is sent to, and with ``last`` all up to that one
        last: 8310
        broadcast: yes                    255.255.255.255 or a network's own
        groups: [ff02::1]                 multicast groups, IPv4 and IPv6
        role: query                       who listens on the port: servers (query), clients (announce), both
        reuse: no                         whether the listening program sets SO_REUSEADDR there (no: or not known)
    ports: [reply, reply/tcp, 445/tcp]    what clients reach afterwards beside what the packets name
    codec: none
    mdns: [_mumble._tcp]                  service types that are the mDNS relay's part
    default: on                           whether it is carried unless somebody says otherwise
    deliver: loopback                     how a local program must be sent to (see ``Profile.deliver``)
    note: one line for people             what works, what does not
    source: [URL or document, …]          where the facts are from; every profile of the file has one

Why ``reuse`` stands with the channel: a program may share one of its ports and not the other (Syncthing shares its
IPv6 group and not its IPv4 port).
"""

from __future__ import annotations

import functools
import ipaddress
import re
from importlib import resources
from typing import Annotated, Literal, NamedTuple

import msgspec

Role = Literal["query", "announce", "both"]
Deliver = Literal["loopback", "interface"]

MAX_CHANNELS = 16
"""Channels of one profile: more than any program has."""

MAX_SPAN = 64
"""Ports of one channel: each is a socket of its own on either side."""

MAX_GROUPS = 16
"""Groups of one channel: each is a membership that the whole LAN is told."""

CODEC_NAMES = (
    "artnet",
    "freeciv",
    "llmnr",
    "localsend",
    "luanti",
    "minecraft",
    "netbios",
    "quake",
    "ssdp",
    "supertuxkart",
    "syncthing",
    "terraria",
    "unreal",
    "warcraft3",
    "wsd",
)
"""The codecs of ``bridges.rewrite`` that a profile may name."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
_REACHED = re.compile(r"(reply|[1-9][0-9]{0,4})(?:/(tcp|udp))?", re.ASCII)
_SERVICE_TYPE = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?\._(?:tcp|udp)", re.ASCII)

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Reached(NamedTuple):
    """A port that is reached once a server was found."""

    port: int
    """0: the number of the port that the reply or announcement came from."""
    protocol: str
    """tcp or udp."""

    @classmethod
    def parse(cls, written: str) -> Reached:
        """``reply`` (UDP), ``reply/tcp``, ``445/tcp``, ``22000/udp``; a bare number is TCP. ValueError, one line."""
        match = _REACHED.fullmatch(written)
        if match is None or (match[1] != "reply" and int(match[1]) > 65535):
            raise ValueError(f"{written!r} is neither reply, reply/tcp nor PORT/tcp, PORT/udp")
        if match[1] == "reply":
            return cls(0, match[2] or "udp")
        return cls(int(match[1]), match[2] or "tcp")


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a program sends what it wants everybody to hear."""

    port: _Port
    last: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """The last of several ports from ``port`` on, 0 for the one."""
    broadcast: bool = False
    groups: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_GROUPS)] = ()
    """Multicast groups, in canonical form."""
    role: Role = "query"
    reuse: bool = False
    """Whether the program that listens there is known to set SO_REUSEADDR, so that two can hold the port at once."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not a port from 1 to 65535")
        if self.last and not self.port < self.last < self.port + MAX_SPAN:
            raise ValueError(f"last: {self.last} is not one of the {MAX_SPAN - 1} ports behind {self.port}")
        if self.last > 65535:
            raise ValueError(f"last: {self.last} is not a port from 1 to 65535")
        if not self.broadcast and not self.groups:
            raise ValueError("groups: name a multicast group, or set broadcast")
        if len(self.groups) > MAX_GROUPS:
            raise ValueError(f"groups: more than {MAX_GROUPS}")
        for group in self.groups:
            try:
                address = ipaddress.ip_address(group)
            except ValueError:
                raise ValueError(f"groups: {group!r} is not a numeric address") from None
            if not address.is_multicast or str(address) != group:
                raise ValueError(f"groups: {group!r} is not a multicast address in its short form")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups: one is named twice")

    @property
    def ports(self) -> range:
        """All ports of the channel."""
        return range(self.port, (self.last or self.port) + 1)

    @property
    def groups4(self) -> tuple[str, ...]:
        """The IPv4 groups."""
        return tuple(group for group in self.groups if ":" not in group)

    @property
    def groups6(self) -> tuple[str, ...]:
        """The IPv6 groups."""
        return tuple(group for group in self.groups if ":" in group)

    @property
    def servers_listen(self) -> bool:
        """Whether the side that offers something listens on these ports."""
        return self.role != "announce"

    @property
    def clients_listen(self) -> bool:
        """Whether the side that searches listens on these ports."""
        return self.role != "query"


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One program's, or one protocol's, way to find others."""

    name: str
    title: Annotated[str, msgspec.Meta(max_length=100)] = ""
    channels: Annotated[tuple[Channel, ...], msgspec.Meta(max_length=MAX_CHANNELS)] = ()
    ports: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CHANNELS)] = ()
    """What is reached afterwards beside what packets name; ``reached`` has them taken apart."""
    codec: str = "none"
    mdns: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CHANNELS)] = ()
    """DNS-SD service types (RFC 6763, section 7)."""
    default: bool = True
    deliver: Deliver = "loopback"
    """``loopback``: the program takes datagrams from any interface. ``interface``: it looks at the arrival interface
    (IP_PKTINFO) or joined on one only, so that they must arrive on the computer's own interface."""
    note: Annotated[str, msgspec.Meta(max_length=400)] = ""
    source: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CHANNELS)] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is not a name: lower-case letters, digits and hyphens, at most 32")
        if not self.channels and not self.mdns:
            raise ValueError("channels: a profile names at least a channel or an mDNS service type")
        if self.codec != "none" and self.codec not in CODEC_NAMES:
            raise ValueError(f"codec: {self.codec!r} is none of none, {', '.join(CODEC_NAMES)}")
        seen: set[int] = set()
        for channel in self.channels:
            if seen.intersection(channel.ports):
                raise ValueError(f"channels: port {channel.port} belongs to two of them")
            seen.update(channel.ports)
        for service_type in self.mdns:
            if not _SERVICE_TYPE.fullmatch(service_type):
                raise ValueError(f"mdns: {service_type!r} is not a service type such as _http._tcp")
        try:
            for written in self.ports:
                Reached.parse(written)
        except ValueError as error:
            raise ValueError(f"ports: {error}") from None

    @property
    def reached(self) -> tuple[Reached, ...]:
        """``ports`` taken apart."""
        return tuple(Reached.parse(written) for written in self.ports)

    @property
    def reuse(self) -> bool:
        """Whether every port that a searching program listens on can be held beside it."""
        return all(channel.reuse for channel in self.channels if channel.clients_listen)

    def channel_of(self, port: int) -> Channel | None:
        """The channel that a port belongs to."""
        return next((channel for channel in self.channels if port in channel.ports), None)


def read_profiles(text: str) -> dict[str, Profile]:
    """Profiles by name from YAML, a list of them. ValueError, one line that names the profile.

    libyaml reads them where PyYAML was built with it: in a tenth of the time, which every start of a node would take."""
    import yaml

    try:
        entries = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"this is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(entries, list):
        raise ValueError("profiles are a list")
    profiles: dict[str, Profile] = {}
    for place, entry in enumerate(entries):
        where = entry.get("name", place) if isinstance(entry, dict) else place
        try:
            profile = msgspec.convert(entry, Profile)
        except (msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"profile {where}: {error}") from None
        if profile.name in profiles:
            raise ValueError(f"profile {where}: there are two of that name")
        profiles[profile.name] = profile
    return profiles


@functools.cache
def built_in() -> dict[str, Profile]:
    """The profiles that come with the program, by name, in the file's order; callers must not change the dict."""
    return read_profiles(resources.files("bridges").joinpath("profiles.yaml").read_text("utf-8"))
