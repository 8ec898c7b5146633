"""The node's configuration: its keys, their defaults, and the file they are read from.

One YAML file for ``userlan up``; ``config.example.yaml`` shows every key. The keys of the bridges come from the bridges
themselves: ``sections`` maps a section's name to the struct of its options. Everything is immutable: a reload makes a
new ``Config``, and what changed is seen by comparing.

Nothing wrong is passed over: an unknown key, a wrong value, a key given twice is refused with file, line, path, what
was expected and the nearest right word, all of them at once (``userlan.node.config_reader`` says how YAML is read).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from userlan.lan.addresses import DEFAULT_RANGE, AddressRange
from userlan.lan.invite import Invite
from userlan.lan.storm import GROUP_RATE, SENDER_RATE
from userlan.node.config_values import ListenAddress

if TYPE_CHECKING:
    from userlan.node.config_reader import ConfigError, Field, Problem

#: UDP and TCP port of a node and of a mediator.
DEFAULT_PORT = 41414
#: Addresses that one node listens at: each interface by hand is the most that is meant.
MAX_LISTEN = 16
#: Least inner MTU, octets: IPv6's (RFC 8200 section 5).
LEAST_MTU = 1280
#: Greatest inner MTU, octets: a jumbo frame of 9000 less WireGuard, UDP and IPv6 around it (80).
GREATEST_MTU = 8920
#: Inner MTU by default, octets: Ethernet's 1500 less the same 80.
DEFAULT_MTU = 1420
#: Seconds between signs of life by default: far below the shortest mapping of home routers, 30 s, and a peer that is gone is noticed soon.
DEFAULT_KEEPALIVE = 5.0
#: Least and greatest, seconds: every second for each peer is plenty; beyond five minutes no mapping lives.
LEAST_KEEPALIVE = 1
GREATEST_KEEPALIVE = 300
#: TCP port of the local page, on loopback.
PAGE_PORT = 4141
#: Most packets a second that a limit may name: more than a node can take; whoever wants more wants no limit.
GREATEST_RATE = 1_000_000


class Tunnel(msgspec.Struct, frozen=True):
    """Section ``tunnel``."""

    #: Greatest inner packet, octets.
    mtu: Annotated[int, Meta(ge=LEAST_MTU, le=GREATEST_MTU)] = DEFAULT_MTU
    #: Seconds between the signs of life that are asked of each peer: they keep routers' mappings open and measure the round trip.
    keepalive: Annotated[float, Meta(ge=LEAST_KEEPALIVE, le=GREATEST_KEEPALIVE, extra={"form": "duration"})] = DEFAULT_KEEPALIVE
    #: Whether bulk transfers may take a TCP connection beside UDP, where a peer can be reached by both.
    bulk_over_tcp: bool = True
    #: ``auto``: AES-256-GCM with peers that seal faster with it, as this computer does; ``chacha20``: WireGuard's own, always.
    cipher: Literal["auto", "chacha20"] = "auto"


class Traversal(msgspec.Struct, frozen=True):
    """Section ``traversal``."""

    #: Whether the router is asked to let peers in, by PCP, NAT-PMP or UPnP.
    port_mapping: bool = True
    #: Whether members on the same local network find each other by themselves, by multicast DNS.
    lan_discovery: bool = True


class LanSection(msgspec.Struct, frozen=True):
    """Section ``lan``."""

    #: The virtual IPv4 addresses: those that an embedded mediator hands out, and the only ones that are believed.
    range: AddressRange = AddressRange.parse(DEFAULT_RANGE)
    #: Broadcasts and multicasts a second that this computer sends, and that are taken from each member; 0: no limit.
    broadcast_rate: Annotated[int, Meta(ge=0, le=GREATEST_RATE)] = SENDER_RATE
    #: Of those, to one group; 0: no limit of its own.
    group_rate: Annotated[int, Meta(ge=0, le=GREATEST_RATE)] = GROUP_RATE


class RelaySection(msgspec.Struct, frozen=True):
    """Section ``relay``: of ``userlan relay``."""

    #: Where it is, as its owner names it (``eu-west``): an estimate for those who have not measured it yet.
    region: Annotated[str, Meta(max_length=40)] = ""
    #: Mbit/s that count as a full load: pairs are spread by it.
    capacity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    #: Mbit/s for each client and each pair; 0: no limit.
    client_rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 200


Level = Literal["debug", "info", "warn", "error"]

#: The parts of the program that have something to say; beside them each bridge, ``bridges.NAME``.
PARTS = ("app", "bridges", "control", "driver", "mediator", "node", "relay", "traversal", "tunnel", "web")


class PageSection(msgspec.Struct, frozen=True):
    """Section ``page``: the local page."""

    #: ADDRESS:PORT of loopback, or ``none``. Where the default port is taken, the next free one is used.
    listen: Annotated[str, Meta(extra={"form": "loopback"})] = f"127.0.0.1:{PAGE_PORT}"
    #: Whether ``/metrics`` tells Prometheus about this node.
    metrics: bool = False

    @property
    def address(self) -> ListenAddress | None:
        """``listen`` as an address; None: no page."""
        return None if self.listen == "none" else ListenAddress.parse(self.listen)


class Log(msgspec.Struct, frozen=True):
    """Section ``log``."""

    #: The least important messages that are written.
    level: Level = "info"
    #: Lines for people, or one JSON object a line.
    format: Literal["text", "json"] = "text"
    #: Parts with a level of their own.
    parts: Mapping[str, Level] = {}


class Keys(msgspec.Struct, frozen=True):
    """The node's own keys."""

    #: Nickname; None: made from the computer's host name.
    name: Annotated[str | None, Meta(extra={"form": "nick"})] = None
    #: The mediator to use; None: that of the networks joined, or an embedded one.
    mediator: Annotated[Invite | None, Meta(extra={"form": "mediator"})] = None
    #: Where UDP and framed TCP arrive.
    listen: Annotated[tuple[ListenAddress, ...], Meta(min_length=1, max_length=MAX_LISTEN)] = (
        ListenAddress("0.0.0.0", DEFAULT_PORT),
        ListenAddress("::", DEFAULT_PORT),
    )
    #: ``auto``: a node that knows no mediator runs one itself; ``never``: it waits for a ``join``.
    embedded_mediator: Literal["auto", "never"] = "auto"
    tunnel: Tunnel = Tunnel()
    traversal: Traversal = Traversal()
    lan: LanSection = LanSection()
    relay: RelaySection = RelaySection()
    page: PageSection = PageSection()
    log: Log = Log()


class Config(Keys, frozen=True):
    """A whole configuration. ``bridges`` maps each section's name to its options; it is no key of the file."""

    bridges: Mapping[str, msgspec.Struct] = {}


def load(text: str, name: str, sections: Mapping[str, type[msgspec.Struct]]) -> Config:
    """Reads a configuration; ``name`` stands for the file in messages. ConfigError with all that is wrong in it."""
    config, problems = _read(text, name, sections)
    if config is None:
        raise _error(problems)
    return config


def load_bytes(data: bytes, name: str, sections: Mapping[str, type[msgspec.Struct]]) -> Config:
    """As ``load``, from the octets of a file: UTF-8, with or without a byte order mark."""
    return load(_decoded(data, name), name, sections)


def load_file(path: Path, sections: Mapping[str, type[msgspec.Struct]]) -> Config:
    """As ``load``, from a file. ConfigError, one line, also when it cannot be read."""
    return load_bytes(_contents(path), str(path), sections)


def check(text: str, name: str, sections: Mapping[str, type[msgspec.Struct]]) -> list[Problem]:
    """All that is wrong in a configuration, by line; empty when it can be used."""
    return _read(text, name, sections)[1]


def check_file(path: Path, sections: Mapping[str, type[msgspec.Struct]]) -> list[Problem]:
    """As ``check``, of a file."""
    from userlan.node.config_reader import ConfigError

    try:
        text = _decoded(_contents(path), str(path))
    except ConfigError as error:
        return list(error.problems)
    return check(text, str(path), sections)


def defaults(sections: Mapping[str, type[msgspec.Struct]]) -> Config:
    """The configuration of an empty file."""
    return Config(bridges={section: options() for section, options in sections.items()})


def changes(before: Config, after: Config) -> list[str]:
    """The keys whose values differ, in the order of the file: ``listen``, ``tunnel.mtu``; of a bridge the name of its section."""
    changed = []
    for key in Keys.__struct_fields__:
        old, new = getattr(before, key), getattr(after, key)
        if isinstance(new, Tunnel | Traversal | LanSection | RelaySection | PageSection | Log):
            changed += [f"{key}.{field}" for field in new.__struct_fields__ if getattr(old, field) != getattr(new, field)]
        elif old != new:
            changed.append(key)
    return changed + [name for name, section in after.bridges.items() if before.bridges.get(name) != section]


def _read(text: str, name: str, sections: Mapping[str, type[msgspec.Struct]]) -> tuple[Config | None, list[Problem]]:
    from userlan.node.config_reader import Reader, fields_of

    keys: dict[str, Field] = fields_of(Keys)
    clash = sorted(keys.keys() & sections.keys())
    if clash:
        raise TypeError(f"a bridge is called {clash[0]!r}, which is a key of the node's own")
    reader = Reader(text, name)
    keys["log"] = _log(sections)
    values = reader.read(keys | {section: _section(options) for section, options in sections.items()})
    if reader.problems:
        return None, sorted(reader.problems, key=lambda problem: problem.line)
    log = values["log"]
    parts = msgspec.to_builtins(log.parts)
    values["log"] = Log(log.level, log.format, {part: level for part, level in parts.items() if level is not None})
    bridges = {section: values.pop(section) for section in sections}
    return Config(**values, bridges=bridges), []


def _log(sections: Iterable[str]) -> Field:
    """The key ``log`` as it is read: its parts are keys like all others, so that a wrong one is met with the nearest right one."""
    from msgspec import inspect

    from userlan.node.config_reader import Field

    names = [*PARTS, *(f"bridges.{section}" for section in sections)]
    fields = {name.replace(".", "__"): name for name in names}
    parts = msgspec.defstruct("Parts", [(field, Level | None, None) for field in fields], rename=fields, frozen=True)
    read = msgspec.defstruct("LogKeys", [("parts", parts, parts())], bases=(_LogKeys,), frozen=True)
    return Field(inspect.type_info(read), read)


class _LogKeys(msgspec.Struct, frozen=True):
    level: Level = "info"
    format: Literal["text", "json"] = "text"


def _section(options: type[msgspec.Struct]) -> Field:
    from msgspec import inspect

    from userlan.node.config_reader import Field

    return Field(inspect.type_info(options), options)


def _decoded(data: bytes, name: str) -> str:
    from userlan.node.config_reader import MAX_TEXT, Problem

    if len(data) > 4 * MAX_TEXT:
        raise _error([Problem(name, 0, "", f"the file is longer than {MAX_TEXT // 1024} KiB")])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _error([Problem(name, 1, "", "the file is UTF-16: save it as UTF-8")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"the octet 0x{data[error.start]:02x} is not UTF-8: this is no text, or not saved as UTF-8"
        raise _error([Problem(name, line, "", wrong)]) from None


def _contents(path: Path) -> bytes:
    from userlan.node.config_reader import MAX_TEXT, Problem, UnreadableError

    try:
        with path.open("rb") as file:
            return file.read(4 * MAX_TEXT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableError([Problem(str(path), 0, "", f"cannot be read: {reason}")]) from None


def _error(problems: list[Problem]) -> ConfigError:
    from userlan.node.config_reader import ConfigError

    return ConfigError(problems)
