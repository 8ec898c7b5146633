"""UPnP IGD's messages: search and its answers, the device's description, actions and their answers, as text in and values out.

Sources: UPnP Device Architecture 1.1 (1.3.2 M-SEARCH, 1.3.3 its answer, 2.3 description, 3.2 actions), WANIPConnection:1 and :2,
WANPPPConnection:1. Routers are careless with them, so what is read is forgiving of case, namespaces and order, and strict in size and
in where it may point to: every URL must lie at the gateway's own numeric address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape

SSDP_GROUP: Final = "239.255.255.250"
SSDP_PORT: Final = 1900
"""UPnP Device Architecture 1.1, 1.3.2."""
MAX_DATAGRAM: Final = 4096
"""Octets of an answer to a search: some header lines."""
MAX_XML: Final = 256 * 1024
"""Octets of a description or of an action's answer: the largest seen are about 20 KB."""
MAX_ELEMENTS: Final = 4096
MAX_DEPTH: Final = 32
MAX_TEXT: Final = 2048
"""Elements, their nesting and the characters in each, likewise."""
MAX_SERVICES: Final = 8
"""Connections of one router that are asked: a few WAN devices with IP and PPP each."""

SERVICES: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
"""Those that map ports, the best first."""
DEVICES: Final = ("urn:schemas-upnp-org:device:InternetGatewayDevice:2", "urn:schemas-upnp-org:device:InternetGatewayDevice:1")

CONFLICT: Final = 718
"""ConflictInMappingEntry: the external port is somebody else's."""
ONLY_PERMANENT: Final = 725
"""OnlyPermanentLeasesSupported."""
SAME_PORTS: Final = 724
"""SamePortValuesRequired."""


class Service(NamedTuple):
    """Something that maps ports: its type, and the URL of its actions."""

    kind: str
    control: str


class Element(NamedTuple):
    """One element of a document: its path by local names in lower case, and its own text."""

    path: tuple[str, ...]
    text: str


class Result(NamedTuple):
    """What an action came to: its output arguments by lower-case name, or an error code other than 0 (-1: not understood)."""

    error: int
    arguments: Mapping[str, str]


class XmlError(ValueError):
    """Not XML, or more of it than is sensible, or with a document type."""


def searches() -> Iterator[bytes]:
    """The searches for a gateway (1.3.2). ``MX`` 1: answers are spread over a second at most."""
    for target in DEVICES:
        yield (
            f'M-SEARCH * HTTP/1.1\r\nHOST: {SSDP_GROUP}:{SSDP_PORT}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {target}\r\n\r\n'
        ).encode("ascii")


def parse_answer(data: bytes, gateway: str) -> str | None:
    """The location of the description in an answer to a search; None where it is none, or points elsewhere than to ``gateway``."""
    if len(data) > MAX_DATAGRAM:
        return None
    lines = data.decode("latin-1").replace("\r\n", "\n").split("\n")
    if not lines[0].upper().startswith("HTTP/") or " 200" not in lines[0]:
        return None
    headers = {name.strip().upper(): value.strip() for name, separator, value in (line.partition(":") for line in lines[1:]) if separator}
    if "GATEWAYDEVICE" not in headers.get("ST", "").upper():
        return None
    location = headers.get("LOCATION", "")
    return location if at_gateway(location, gateway) else None


def at_gateway(url: str, gateway: str) -> bool:
    """Whether a URL is plain HTTP at the gateway's own address, and of sane characters."""
    if len(url) > MAX_TEXT or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "http"
            and parts.username is None
            and ipaddress.ip_address(parts.hostname or "") == ipaddress.ip_address(gateway)
            and parts.port != 0
        )
    except ValueError:
        return False


def parse_description(data: bytes, location: str, gateway: str) -> tuple[Service, ...]:
    """The services of a description that map ports, the best first; XmlError."""
    base, services = location, []
    kind = ""
    for element in elements(data):
        name = element.path[-1]
        if name == "urlbase" and at_gateway(element.text, gateway):
            base = element.text
        elif element.path[-2:] == ("service", "servicetype"):
            kind = element.text
        elif element.path[-2:] == ("service", "controlurl") and kind in SERVICES:
            services.append((kind, element.text))
            kind = ""
    found = []
    for kind, path in services:
        try:
            control = urljoin(base, path)
        except ValueError:
            continue
        if at_gateway(control, gateway):
            found.append(Service(kind, control))
    return tuple(sorted(dict.fromkeys(found), key=lambda service: SERVICES.index(service.kind)))[:MAX_SERVICES]


def action(service: Service, name: str, arguments: Mapping[str, str | int]) -> tuple[dict[str, str], bytes]:
    """Headers and body of an action (3.2.1). The order of the arguments is that of the mapping: it must be the service's."""
    inside = "".join(f"<{argument}>{escape(str(value))}</{argument}>" for argument, value in arguments.items())
    body = (
        '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{name} xmlns:u="{service.kind}">{inside}</u:{name}></s:Body></s:Envelope>\r\n'
    )
    return {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": f'"{service.kind}#{name}"'}, body.encode()


def external_address(service: Service) -> tuple[dict[str, str], bytes]:
    """GetExternalIPAddress (WANIPConnection:1, 2.4.18)."""
    return action(service, "GetExternalIPAddress", {})


def add_mapping(service: Service, transport: str, external: int, host: str, internal: int, lease: int) -> tuple[dict[str, str], bytes]:
    """AddPortMapping, and AddAnyPortMapping where the service has it (WANIPConnection:2, 2.5.16 and 2.5.20). ``lease`` in seconds."""
    name = "AddAnyPortMapping" if service.kind == SERVICES[0] else "AddPortMapping"
    return action(
        service,
        name,
        {
            "NewRemoteHost": "",
            "NewExternalPort": external,
            "NewProtocol": transport.upper(),
            "NewInternalPort": internal,
            "NewInternalClient": host,
            "NewEnabled": 1,
            "NewPortMappingDescription": "userlan",
            "NewLeaseDuration": lease,
        },
    )


def delete_mapping(service: Service, transport: str, external: int) -> tuple[dict[str, str], bytes]:
    """DeletePortMapping (WANIPConnection:1, 2.4.17)."""
    return action(service, "DeletePortMapping", {"NewRemoteHost": "", "NewExternalPort": external, "NewProtocol": transport.upper()})


def parse_result(status: int, data: bytes) -> Result:
    """What an action came to, from its HTTP answer; 0 for ``status``: there was none."""
    if not status:
        return Result(-1, {})
    try:
        found = list(elements(data))
    except XmlError:
        return Result(0 if status == 200 and not data else -1, {})
    for element in found:
        if element.path[-1] == "errorcode":
            return Result(int(element.text) if element.text.isdecimal() and len(element.text) < 6 and int(element.text) else -1, {})
    if status != 200:
        return Result(-1, {})
    return Result(0, {element.path[-1]: element.text for element in found if len(element.path) > 3})


def external_host(result: Result) -> str:
    """The external address of GetExternalIPAddress' result; empty where there is none (a router that is not connected says 0.0.0.0)."""
    try:
        address = ipaddress.IPv4Address(result.arguments.get("newexternalipaddress", ""))
    except ValueError:
        return ""
    return "" if address.is_unspecified or address.is_multicast or address.is_loopback else str(address)


def elements(data: bytes) -> Iterator[Element]:
    """The elements of a document in the order in which they end. XmlError; nothing outside of the document is ever read."""
    if len(data) > MAX_XML:
        raise XmlError("too long")
    found: list[Element] = []
    path: list[str] = []
    texts: list[list[str]] = []

    def start(name: str, attributes: object) -> None:
        if len(path) >= MAX_DEPTH or len(found) + len(path) >= MAX_ELEMENTS:
            raise XmlError("too many elements")
        path.append(name.rpartition(":")[2].lower())
        texts.append([])

    def end(name: str) -> None:
        found.append(Element(tuple(path), "".join(texts.pop()).strip()[:MAX_TEXT]))
        path.pop()

    def text(characters: str) -> None:
        if texts and len(texts[-1]) < MAX_TEXT:
            texts[-1].append(characters)

    def refuse(*arguments: object) -> None:
        raise XmlError("a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    # Entities need a document type: without one there is nothing to expand and nothing to fetch.
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise XmlError(str(error)) from None
    yield from found
