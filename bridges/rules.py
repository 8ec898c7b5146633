"""How forwards and exposed services are written, by people and in the configuration.

::

    [BIND:]PORT:PEER:PORT[/udp]                     8080:nas:80, 127.0.0.1:5353:nas.home:53/udp, [::1]:22:25.1.2.3:22
    [HOST:]PORT[/udp] [--as PORT] [--name NAME]     8000, 192.168.1.5:80 --as 8080, [::1]:3000
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar, Literal

import msgspec

from bridges.listen import parse_address, parse_local_port
from userlan.lan.hostport import check_host, check_port, cut_host_port, join_host_port

Protocol = Literal["tcp", "udp"]

MAX_SERVICE_NAME = 63
"""Characters of a service's name (RFC 6763, section 4.1.1: one label)."""

MAX_RULES = 256
"""Forwards, or exposed services, of one node: more than anybody keeps track of."""

_PARTS = re.compile(r"\[[^\]]*\]|[^:\[\]]+")


class ForwardRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local port that leads to a peer's service."""

    EXPECTED: ClassVar[str] = "[BIND:]PORT:PEER:PORT[/udp]"

    port: int
    """Local port, 0 for a free one."""
    peer: str
    """Name or numeric address."""
    peer_port: int
    bind: str = "127.0.0.1"
    """Numeric address of this computer."""
    protocol: Protocol = "tcp"

    def __post_init__(self) -> None:
        try:
            parse_address(self.bind)
        except ValueError as error:
            raise ValueError(f"bind: {error}") from None
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port} is not a port from 0 to 65535")
        if not 1 <= self.peer_port <= 65535:
            raise ValueError(f"peer_port: {self.peer_port} is not a port from 1 to 65535")
        try:
            check_host(self.peer)
        except ValueError as error:
            raise ValueError(f"peer: {error}") from None

    @classmethod
    def parse(cls, written: str) -> ForwardRule:
        """From text; ValueError, one line that says which part is wrong."""
        text, protocol = cut_protocol(written)
        parts = _split(text)
        if parts is None or len(parts) not in (3, 4):
            hint = ": write an IPv6 address in brackets" if text.count(":") > 3 and "[" not in text else ""
            raise ValueError(f"{written!r} is not {cls.EXPECTED}, as in 8080:nas:80{hint}")
        bind = parse_address(parts[0]) if len(parts) == 4 else "127.0.0.1"
        port, peer, peer_port = parts[-3:]
        try:
            return cls(parse_local_port(port), check_host(peer), check_port(peer_port), bind, protocol)
        except ValueError as error:
            raise ValueError(f"{written!r}: {error}") from None

    def __str__(self) -> str:
        return f"{self.listen}:{join_host_port(self.peer, self.peer_port)}{suffix(self.protocol)}"

    @property
    def listen(self) -> str:
        """``BIND:PORT``."""
        return join_host_port(self.bind, self.port)

    def named_by(self, written: str) -> bool:
        """Whether ``[BIND:]PORT[/udp]`` or the whole rule means this one. ValueError when it is neither."""
        text, protocol = cut_protocol(written)
        if len(_split(text) or ()) > 2:
            return ForwardRule.parse(written) == self
        host, port = cut_host_port(text if ":" in text else f":{text}")
        return check_port(port or "") == self.port and protocol == self.protocol and (not host or parse_address(host) == self.bind)


class ExposeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A local service that peers may reach."""

    EXPECTED: ClassVar[str] = "[HOST:]PORT[/udp] [--as PORT] [--name NAME]"

    service: str
    """``[HOST:]PORT[/udp]``; the host is this computer when there is none."""
    seen_as: Annotated[int, msgspec.Meta(ge=0, le=65535)] = msgspec.field(default=0, name="as")
    """The port on the LAN; 0 for the same."""
    name: Annotated[str, msgspec.Meta(max_length=MAX_SERVICE_NAME)] = ""
    allow: tuple[str, ...] = ()
    """Who may connect: ``bob``, ``bob.home``, a key, ``*.home`` for a whole network; empty for everybody."""

    def __post_init__(self) -> None:
        try:
            host, _, protocol = _service(self.service)
        except ValueError as error:
            raise ValueError(f"service: {error}") from None
        if protocol == "udp" and host and not is_numeric(host):
            raise ValueError(f"service: {self.service!r}: a UDP service's host must be a numeric address")
        if not 0 <= self.seen_as <= 65535:
            raise ValueError(f"as: {self.seen_as} is not a port from 1 to 65535")
        if not self.name.isprintable() or len(self.name) > MAX_SERVICE_NAME:
            raise ValueError(f"name: a service's name has at most {MAX_SERVICE_NAME} printable characters")
        for entry in self.allow:
            if not re.fullmatch(r"(?:\*\.)?[A-Za-z0-9._-]{1,253}", entry):
                raise ValueError(f"allow: {entry!r} is neither a peer (bob, bob.home, its key) nor a network (*.home)")

    @classmethod
    def parse(cls, written: str) -> ExposeRule:
        """From text; ValueError, one line that says which part is wrong."""
        service, *words = written.split() or [""]
        options: dict[str, str] = {}
        while len(words) >= 2 and words[0] in ("--as", "--name"):
            options[words[0]] = words[1]
            words = words[2:]
        if words:
            raise ValueError(f"{written!r} is not {cls.EXPECTED}")
        seen_as = check_port(options["--as"]) if "--as" in options else 0
        try:
            return cls(service, seen_as, options.get("--name", ""))
        except ValueError as error:
            raise ValueError(str(error).removeprefix("service: ")) from None

    @property
    def host(self) -> str:
        """The host that is connected to; empty for this computer."""
        return _service(self.service)[0]

    @property
    def service_port(self) -> int:
        """The port that is connected to."""
        return _service(self.service)[1]

    @property
    def protocol(self) -> Protocol:
        """tcp or udp."""
        return _service(self.service)[2]

    @property
    def port(self) -> int:
        """The port on the LAN."""
        return self.seen_as or self.service_port

    @property
    def target(self) -> str:
        """``HOST:PORT`` that is connected to."""
        return join_host_port(self.host or "127.0.0.1", self.service_port)

    def named_by(self, written: str) -> bool:
        """Whether ``PORT[/udp]`` (the service's or the one on the LAN), the service or its name means this one."""
        if written in (self.service, self.name):
            return True
        try:
            host, port, protocol = _service(written)
        except ValueError:
            return False
        return protocol == self.protocol and ((host == self.host and port == self.service_port) or (not host and port == self.port))


def cut_protocol(written: str) -> tuple[str, Protocol]:
    """What stands before ``/tcp`` or ``/udp``, and which. ValueError, one line."""
    text, slash, protocol = written.partition("/")
    lowered = protocol.lower()
    if not slash or lowered == "tcp":
        return text, "tcp"
    if lowered == "udp":
        return text, "udp"
    raise ValueError(f"{written!r}: behind the slash stands tcp or udp, not {protocol!r}")


def is_numeric(host: str) -> bool:
    """Whether ``host`` is an IPv4 or IPv6 literal."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def suffix(protocol: Protocol) -> str:
    """How a protocol is written behind a port: nothing for tcp."""
    return "/udp" if protocol == "udp" else ""


def _split(text: str) -> list[str] | None:
    """The parts between colons, brackets taken off; None when they do not fit together."""
    parts = _PARTS.findall(text)
    if ":".join(parts) != text:
        return None
    return [part.removeprefix("[").removesuffix("]") for part in parts]


def _service(written: str) -> tuple[str, int, Protocol]:
    """(host or empty, port, protocol) of ``[HOST:]PORT[/udp]``. ValueError, one line."""
    text, protocol = cut_protocol(written)
    if text.isascii() and text.isdigit():
        return "", check_port(text), protocol
    host, port = cut_host_port(text)
    if not host or port is None:
        raise ValueError(f"{written!r} is not [HOST:]PORT[/udp], as in 8000 or 192.168.1.5:80")
    host = check_host(host)
    return "" if host == "localhost" else host, check_port(port), protocol
