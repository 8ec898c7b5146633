"""A service and the records that say it (RFC 6763).

::

    _services._dns-sd._udp.local      PTR  _ipp._tcp.local                              types, for whoever asks for all   (9)
    _ipp._tcp.local                   PTR  Laser._ipp._tcp.local                        instances                         (4.1)
    _print._sub._ipp._tcp.local       PTR  Laser._ipp._tcp.local                        those of a subtype                (7.1)
    Laser._ipp._tcp.local             SRV  0 0 631 nas.local                            where                             (5)
    Laser._ipp._tcp.local             TXT  rp=printers/laser …                          what more there is to say         (6)
    nas.local                         A, AAAA
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import attrs

from bridges.mdns_wire import AAAA, MAX_LABEL, NSEC, PTR, SRV, TXT, A, Name, Record, Srv, fold, name_text, nsec_data

LOCAL = (b"local",)
META: Name = (b"_services", b"_dns-sd", b"_udp", b"local")
"""RFC 6763 9."""
SUB = b"_sub"

HOST_TTL = 120
"""Seconds of records that have a host's name in them: A, AAAA, SRV (RFC 6762 10)."""
OTHER_TTL = 4500
"""Seconds of all others (RFC 6762 10)."""

MAX_TEXT = 1300
"""Octets of TXT data of a service that is relayed (RFC 6763 6.2: more than 1300 is not recommended)."""
MAX_SUBTYPES = 16
"""Subtypes of one service."""

_PROTOCOLS = (b"_tcp", b"_udp")
_TYPE_LABEL = re.compile(rb"_[A-Za-z0-9](?:[A-Za-z0-9_-]{0,60}[A-Za-z0-9])?")


@attrs.frozen
class Service:
    """One instance of a service, as it is offered or found."""

    instance: bytes
    """The instance's name: one label, any UTF-8 text (RFC 6763 4.1.1)."""
    type: Name
    """``(_ipp, _tcp)``."""
    host: Name
    """``(nas, local)``."""
    port: int
    text: bytes = b"\0"
    """The TXT record's data as it is: strings with their lengths."""
    addresses: tuple[str, ...] = ()
    """The host's, numeric."""
    subtypes: tuple[bytes, ...] = ()
    """``_print``, sorted."""

    @property
    def name(self) -> Name:
        return (self.instance, *self.type, *LOCAL)

    @property
    def domain(self) -> Name:
        """The name under which all of the type are found."""
        return (*self.type, *LOCAL)

    @property
    def protocol(self) -> str:
        """tcp or udp. ``_udp`` means anything but TCP (RFC 6763 4.1.2)."""
        return self.type[1][1:].decode().lower()

    @property
    def title(self) -> str:
        """The instance's name for people."""
        return self.instance.decode("utf-8", "replace")

    @property
    def kind(self) -> str:
        """``_ipp._tcp``."""
        return name_text(self.type)


def type_of(name: Name) -> Name | None:
    """The type in ``_ipp._tcp.local``; None for any other name."""
    if len(name) == 3 and fold(name[2:]) == LOCAL and name[1].lower() in _PROTOCOLS and _TYPE_LABEL.fullmatch(name[0]):
        return name[:2]
    return None


def instance_of(name: Name) -> tuple[bytes, Name] | None:
    """Instance and type in ``Laser._ipp._tcp.local``; None for any other name."""
    kind = type_of(name[1:])
    return None if kind is None or name[0].startswith(b"_") else (name[0], kind)


def subtype_of(name: Name) -> tuple[bytes, Name] | None:
    """Subtype and type in ``_print._sub._ipp._tcp.local``; None for any other name."""
    if len(name) != 5 or name[1].lower() != SUB:
        return None
    kind = type_of(name[2:])
    return None if kind is None else (name[0], kind)


def parse_type(written: str) -> Name:
    """``_ipp._tcp`` (also without underscores). ValueError, one line."""
    labels = [label if label.startswith("_") else f"_{label}" for label in written.removesuffix(".local").split(".")]
    name = tuple(label.encode() for label in labels)
    if type_of((*name, *LOCAL)) is None:
        raise ValueError(f"{written!r} is not a service's type, as in _http._tcp")
    return name


def strings(text: bytes) -> dict[str, str]:
    """The keys and values of TXT data, for people; what is broken is left out."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        size = text[place]
        key, _, value = text[place + 1 : place + 1 + size].decode("utf-8", "replace").partition("=")
        if key:
            found.setdefault(key, value)
        place += 1 + size
    return found


def text_data(values: Iterable[str]) -> bytes:
    """TXT data of ``key=value`` strings (RFC 6763 6.1: never without any)."""
    return b"".join(bytes([len(part)]) + part for part in (value.encode()[:255] for value in values)) or b"\0"


def pointers(service: Service) -> list[Record]:
    """The shared records: what is found by them is told by others too."""
    under = [(subtype, SUB, *service.domain) for subtype in service.subtypes]
    return [Record(name, PTR, service.name, OTHER_TTL) for name in (service.domain, *under)]


def type_pointer(service: Service) -> Record:
    """The one that names the type."""
    return Record(META, PTR, service.domain, OTHER_TTL)


def unique(service: Service) -> list[Record]:
    """SRV and TXT: nobody else has any of this name."""
    return [
        Record(service.name, SRV, Srv(0, 0, service.port, service.host), HOST_TTL, True),
        Record(service.name, TXT, service.text, OTHER_TTL, True),
    ]


def addresses(service: Service) -> list[Record]:
    """A and AAAA of the host, and that there are no others (RFC 6762 6.1)."""
    packed = [ipaddress.ip_address(address).packed for address in service.addresses]
    records = [Record(service.host, A if len(one) == 4 else AAAA, one, HOST_TTL, True) for one in packed]
    types = sorted({record.type for record in records})
    if len(types) == 1:
        records.append(Record(service.host, NSEC, nsec_data(service.host, types), HOST_TTL, True))
    return records


def renamed(instance: bytes, owner: str, tries: int) -> bytes:
    """Another name after a conflict (RFC 6762 9): ``Laser on nas``, ``Laser on nas (2)`` …; cut to a label."""
    tail = f" on {owner}".encode() + (f" ({tries})".encode() if tries > 1 else b"")
    room = MAX_LABEL - len(tail)
    return instance[:room].decode("utf-8", "ignore").encode() + tail if room > 0 else tail[-MAX_LABEL:]
