"""What the discovery relay carries and with whom: the configuration, and over it what ``userlan share`` has set."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated

import msgspec

from bridges.profiles import MAX_CHANNELS, MAX_GROUPS, MAX_SPAN, Channel, Deliver, Profile, Role, built_in
from bridges.rules import MAX_RULES
from bridges.sharing import Entries, Policy

ALL = "all"
"""The name that stands for all profiles together."""

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One profile's, or that of all together."""

    on: bool | None = None
    """None: as the profile has it."""
    search: bool | None = None
    """Whether local programs' questions and announcements are picked up; None: where their ports are known to be shared."""
    networks: Entries = ()
    peers: Entries = ()
    deny: Entries = ()

    def __post_init__(self) -> None:
        Policy(True, self.networks, self.peers, self.deny)        # raises what is wrong


class CustomProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port by hand."""

    port: _Port
    name: str = ""
    """Empty: ``port-PORT``."""
    last: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    groups: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_GROUPS)] = ()
    """None: broadcasts are carried."""
    role: Role = "both"
    ports: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CHANNELS)] = ("reply", "reply/tcp")
    codec: str = "none"
    deliver: Deliver = "loopback"
    search: bool = False
    """Whether the port is held, so that local programs are picked up; a server that does not share it does not start then."""

    def __post_init__(self) -> None:
        self.profile()
        if self.groups and all(ipaddress.ip_address(group).version == 6 for group in self.groups):
            raise ValueError("groups: name an IPv4 group as well: local programs are spoken to by IPv4")

    def profile(self) -> Profile:
        """As a profile. ValueError, one line."""
        name = self.name or f"port-{self.port}"
        if name == ALL:
            raise ValueError(f"name: {ALL} stands for all profiles")
        if self.last and not self.port < self.last < self.port + MAX_SPAN:
            raise ValueError(f"last: {self.last} is not one of the {MAX_SPAN - 1} ports behind {self.port}")
        channel = Channel(self.port, self.last, not self.groups, self.groups, self.role, False)
        title = f"port {self.port}" + (f" to {self.last}" if self.last else "")
        return Profile(name, title, (channel,), self.ports, self.codec, deliver=self.deliver, note="by hand")


class DiscoveryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``discovery``."""

    enabled: bool = True
    """Whether anything is carried at all."""
    networks: Entries = ()
    """Networks with which profiles are shared that name none themselves; empty for all."""
    peers: Entries = ()
    """Peers beside them."""
    deny: Entries = ()
    """Peers and networks (``*.home``) with which nothing is shared."""
    profiles: dict[str, bool | Setting] = {}
    """By name: on, off, or a setting."""
    custom: Annotated[tuple[CustomProfile, ...], msgspec.Meta(max_length=MAX_RULES)] = ()
    """Ports by hand."""

    def __post_init__(self) -> None:
        Policy(True, self.networks, self.peers, self.deny)
        known = self.known()
        for name in self.profiles:
            if name not in known:
                raise ValueError(f"profiles: there is no profile {name!r}: `userlan share` lists them")
        ports: dict[int, str] = {}
        for profile in known.values():
            for channel in profile.channels:
                for port in channel.ports:
                    if port in ports and profile.note == "by hand":
                        raise ValueError(f"custom: port {port} belongs to the profile {ports[port]} already")
                    ports[port] = profile.name

    def known(self) -> dict[str, Profile]:
        """All profiles, those by hand too. ValueError when two have one name."""
        profiles = dict(built_in())
        for one in self.custom:
            profile = one.profile()
            if profile.name in profiles:
                raise ValueError(f"custom: there is a profile {profile.name} already")
            profiles[profile.name] = profile
        return profiles


class Settings:
    """What holds for each profile."""

    def __init__(self, options: DiscoveryOptions, stored: object) -> None:
        """``stored``: what :meth:`stored` gave before; what is not of it any more is left out."""
        self.profiles = options.known()
        self._options = options
        self._custom = {one.profile().name: one for one in options.custom}
        self._set: dict[str, Setting] = {}
        for name, value in stored.items() if isinstance(stored, Mapping) else ():
            if name in self.profiles or name == ALL:
                try:
                    self._set[name] = msgspec.convert(value, Setting)
                except (msgspec.ValidationError, ValueError):
                    continue

    def stored(self) -> dict[str, object]:
        """What commands have set, JSON-able."""
        return {name: msgspec.to_builtins(setting) for name, setting in self._set.items()}

    def get(self, name: str) -> Setting:
        """What is set for a profile, or for all, by a command or the configuration."""
        if name in self._set:
            return self._set[name]
        options = self._options
        if name == ALL:
            return Setting(options.enabled, None, options.networks, options.peers, options.deny)
        written = options.profiles.get(name)
        if isinstance(written, bool):
            return Setting(written)
        return Setting(True if name in self._custom else None) if written is None else written

    def set(self, name: str, setting: Setting) -> None:
        """A command sets it."""
        self._set[name] = setting

    def policy(self, profile: Profile) -> Policy:
        """With whom a profile is shared."""
        every, own = self.get(ALL), self.get(profile.name)
        on = every.on is not False and (profile.default if own.on is None else own.on)
        named = own if own.networks or own.peers else every
        return Policy(on, named.networks, named.peers, (*every.deny, *own.deny))

    def search(self, profile: Profile) -> bool | None:
        """Whether it is picked up from local programs."""
        own = self.get(profile.name)
        if own.search is None:
            custom = self._custom.get(profile.name)
            return self.get(ALL).search if custom is None else custom.search
        return own.search
