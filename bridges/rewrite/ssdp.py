"""SSDP: where devices say their description is (UPnP Device Architecture 2.0, section 1).

::

    NOTIFY * HTTP/1.1                             alive, update, byebye: to the group
    M-SEARCH * HTTP/1.1                           search: to the group, or to one device
    HTTP/1.1 200 OK                               what devices answer, by unicast

    LOCATION, AL, SECURELOCATION.UPNP.ORG         URLs of descriptions: rewritten
    SEARCHPORT.UPNP.ORG                           the sender's own UDP port for searches: mapped
    TCPPORT.UPNP.ORG                              the searcher's own TCP port for answers: mapped
    HOST                                          rewritten when it names a device and not the group

A byebye names no address and goes through. A message whose LOCATION cannot be reached at the other side is dropped: there the same
address is somebody else's, as a rule (a router, this computer's own loopback), and whoever wrote it may have meant just that. Devices
announce themselves by each of their addresses. So is one without any of the three start lines, with a header line that is none, or of
more than ``MAX_LINES``.
"""

from __future__ import annotations

import ipaddress
import re

from bridges.rewrite.translation import Places, Translation
from bridges.rewrite.urls import authority, host_text, moved, rewrite_urls

MAX_SIZE = 8 * 1024
"""Bytes of a message: it must fit a datagram that is not fragmented; some devices send a little more."""

MAX_LINES = 64

SSDP_PORT = 1900

_START = re.compile(rb"(?:NOTIFY|M-SEARCH) \* HTTP/1\.[01]|HTTP/1\.[01] 200(?: [\x20-\x7e]*)?", re.IGNORECASE)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.%\w]{2,66}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_PORT = re.compile(rb"[0-9]{1,5}")

_LOCATIONS = frozenset((b"location", b"securelocation.upnp.org"))
_PORTS = {b"searchport.upnp.org": "udp", b"tcpport.upnp.org": "tcp"}


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """A message with the other side's addresses; None for what is no SSDP."""
    head, _, rest = datagram.partition(b"\r\n\r\n")
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    if len(datagram) > MAX_SIZE or not 1 < len(lines) <= MAX_LINES or not _START.fullmatch(lines[0]):
        return None
    places = Places(translation)
    written = [lines[0]]
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        new = _value(name, value, places)
        if new is None:
            return None
        written.append(line[: len(line) - len(value)] + new)
    return b"\r\n".join(written) + b"\r\n\r\n" + rest


def _value(name: bytes, value: bytes, places: Places) -> bytes | None:
    """A header's value as the other side must see it; None where it leads to nobody there."""
    if name in _LOCATIONS:
        return moved(value.rstrip(b" \t"), places)
    if name == b"al":
        return rewrite_urls(value, places)
    if name in _PORTS:
        port = places.port(int(value), _PORTS[name]) if _PORT.fullmatch(value) else None
        return value if port is None else b"%d" % port
    return _host(value, places) if name == b"host" else value


def _host(value: bytes, places: Places) -> bytes:
    """The device that a search by unicast is for; groups stay."""
    match = _HOST.fullmatch(value)
    if match is None:
        return value
    host = host_text(match[1])
    try:
        if ipaddress.ip_address(host).is_multicast:
            return value
    except ValueError:
        return value
    place = places.place(host, int(match[2] or SSDP_PORT), "udp")
    return value if place is None else authority(place[0], place[1], None)
