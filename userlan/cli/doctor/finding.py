"""What is found, and what it is found in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import attrs

from userlan.driver.sockets import Socket

Level = Literal["wrong", "note", "unseen"]


@attrs.frozen
class Finding:
    """One thing. ``code``: stable, for programs. ``remedy``: a command to type where there is one; empty where there is none."""

    code: str
    level: Level
    what: str
    evidence: str = ""
    remedy: str = ""


def wrong(code: str, what: str, evidence: str = "", remedy: str = "") -> Finding:
    """Something that keeps a neighbour or a service from being seen."""
    return Finding(code, "wrong", what, evidence, remedy)


def note(code: str, what: str, evidence: str = "", remedy: str = "") -> Finding:
    """Something that may matter."""
    return Finding(code, "note", what, evidence, remedy)


def unseen(code: str, what: str, evidence: str = "", remedy: str = "") -> Finding:
    """Something that could not be looked at."""
    return Finding(code, "unseen", what, evidence, remedy)


@attrs.frozen
class Folder:
    """The state folder."""

    path: str
    exists: bool = True
    own: bool = True
    open_to_others: bool = False
    writable: bool = True
    free: int = 1 << 40
    """Octets of its disk that are free."""
    holder: int = 0
    """The process that has its lock; 0: nobody."""
    damaged: tuple[str, ...] = ()
    """Files that were set aside since they could not be read."""
    log_end: str = ""
    """The last line that a node in the background has written."""


@attrs.frozen
class Wanted:
    """A port that a node is to hold by its configuration. ``key``: of the configuration; ``must``: it does not start without it."""

    key: str
    host: str
    port: int
    protocol: str
    must: bool


@attrs.frozen
class FirewallRule:
    """A rule, or a chain's policy, that drops. ``hook``: input, output, forward; ``text``: as the system writes it."""

    hook: str
    text: str
    everything: bool = False
    """Whether it is a policy, or a rule without a condition: what no rule before it accepts is dropped."""
    accepts: tuple[str, ...] = ()
    """The chain's rules that accept, where it is ``everything``."""


@attrs.frozen
class Computer:
    """What this computer is like, as this user sees it. Empty texts: nothing is wrong there."""

    folder: Folder = Folder("/state")
    config: str = ""
    """The configuration's file; empty: there is none."""
    mistakes: tuple[str, ...] = ()
    """In the configuration."""
    wanted: tuple[Wanted, ...] = ()
    sockets: tuple[Socket, ...] = ()
    only_ipv6: frozenset[tuple[str, int]] = frozenset()
    """(protocol, port) that somebody holds for all IPv6 addresses and nobody for IPv4."""
    linux: bool = True
    addresses: tuple[str, ...] = ("192.0.2.2",)
    """Of its interfaces, without loopback."""
    loopback_up: bool = True
    aliases: bool = True
    """Whether sockets can have any address of 127.0.0.0/8."""
    tun: str = ""
    """Why /dev/net/tun cannot be opened."""
    namespaces: str = ""
    """Why `userlan run` is impossible."""
    firewall: tuple[FirewallRule, ...] = ()
    firewall_hidden: str = ""
    """Why the firewall's rules cannot be looked at."""
    broadcasts_from: str = ""
    """The own address from which 255.255.255.255 is sent to."""
    avahi: dict[str, str] = attrs.field(factory=dict)
    """Settings of avahi-daemon's [server]; empty: there is no avahi."""

    def holders(self, port: int, protocol: str) -> tuple[Socket, ...]:
        """Who holds a port, our own node left out."""
        mine = self.folder.holder
        return tuple(one for one in self.sockets if one.port == port and one.protocol == protocol and not (mine and one.pid == mine))


@attrs.frozen
class Echoes:
    """Echoes to the peer: how many, how many answered, round trip in milliseconds."""

    sent: int
    answered: int
    rtt_ms: float | None = None


@attrs.frozen
class Scene:
    """All that a rule may look at. ``now``: seconds since 1970."""

    computer: Computer = Computer()
    node: dict[str, Any] | None = None
    """The node's answer to ``doctor``; None: none answers."""
    absent: str = ""
    """Why none answers."""
    mute: str = ""
    """Why one that is there does not say what it is asked."""
    peer: str = ""
    service: str = ""
    """As they were asked for."""
    echoes: Echoes | None = None
    connects: str | None = None
    """What became of a connection to the peer's port, where ``service`` is one: empty for success; None: not tried."""
    now: float = 0.0

    @property
    def told(self) -> dict[str, Any]:
        """The node's answer, for rules that are asked only when there is one."""
        assert self.node is not None
        return self.node

    @property
    def status(self) -> dict[str, Any]:
        """``userlan status --json``."""
        found: dict[str, Any] = self.told["status"]
        return found

    @property
    def member(self) -> dict[str, Any] | None:
        """What the node knows of the peer that is asked for, when it is another member."""
        asked = self.told["peer"]
        return asked if asked is not None and asked["key"] is not None and not asked["own"] else None

    @property
    def peer_row(self) -> dict[str, Any] | None:
        """The same peer's row of the status."""
        member = self.member
        if member is None:
            return None
        return next((row for row in self.status["peers"] if row["key"] == member["key"]), None)

    def bridge(self, name: str) -> Any:
        """A bridge's diagnosis; an empty dict when it is not there."""
        return self.told["bridges"].get(name) or {}


Rule = Callable[[Scene], Iterator[Finding]]
