"""Absolute URLs inside text, found and given another host and port (RFC 3986, sections 3.1 to 3.2).

Text is bytes of any encoding in which ASCII is ASCII. XML is not parsed: scheme, host and port of a URL hold no
character that XML or its escaping inside XML (``&lt;res&gt;http://…&lt;/res&gt;`` of DIDL-Lite in SOAP) writes
differently, and JSON's only difference is ``\\/``. So what stands around a URL never matters, no entity is ever
expanded, and the cost is one pass.

User information (``http://user:password@host``) is left alone, with its URL.
"""

from __future__ import annotations

import re

from bridges.rewrite.translation import Places

DEFAULT_PORTS = {b"http": 80, b"https": 443, b"ws": 80, b"wss": 443, b"rtsp": 554}

LONGEST_START = 300
"""Bytes of the longest scheme, host and port that are looked at: a host has at most 253."""

_URL = re.compile(
    # Searched for by the colon, a literal, which is ten times as fast as by schemes in either case.
    rb":(?=[/\\\\])(?:(?<=[Hh][Tt][Tt][Pp]:)|(?<=[Hh][Tt][Tt][Pp][Ss]:)|(?<=[Ww][Ss]:)|(?<=[Ww][Ss][Ss]:)|(?<=[Rr][Tt][Ss][Pp]:))"
    rb"((?:\\?/){2})"
    rb"(\[[0-9A-Fa-f:.]{2,45}(?:%[0-9A-Za-z.%_-]{1,20})?\]|[A-Za-z0-9_-][A-Za-z0-9._-]{0,252})(:[0-9]{1,5})?"
    rb"(?![A-Za-z0-9._@:-])"
)
_SCHEME = re.compile(rb"(?:https?|wss?|rtsp)\Z", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"(?:https?|wss?|rtsp)(?=://)", re.IGNORECASE)
_UNFINISHED = re.compile(
    rb"(?:h|ht|htt|https?|w|wss?|r|rt|rts|rtsp)\Z"
    rb"|(?:https?|wss?|rtsp):[\\/]{0,4}(?:\[[0-9A-Fa-f:.%\w-]{0,66}\]?|[A-Za-z0-9._-]{0,253})(?::[0-9]{0,5})?\Z",
    re.IGNORECASE,
)


def rewrite_urls(text: bytes, places: Places) -> bytes:
    """The text with every URL whose place is known written anew; all else as it is."""

    def written(match: re.Match[bytes]) -> bytes:
        slashes, host, port = match.groups()
        scheme = _SCHEME.search(text, max(0, match.start() - 5), match.start())
        name = host_text(host)
        default = DEFAULT_PORTS[scheme[0].lower()] if scheme else 0
        number = int(port[1:]) if port else default
        place = places.place(name, number, "tcp")
        if place is None or place == (name, number):
            return match[0]
        return b":" + slashes + authority(place[0], place[1], default if port is None else None)

    return _URL.sub(written, text)


def unfinished(text: bytes) -> int:
    """Where a URL begins that may go on behind the end of ``text``; the text's length when there is none."""
    start = max(0, len(text) - LONGEST_START)
    match = _UNFINISHED.search(text, start)
    return match.start() if match else len(text)


def host_text(host: bytes) -> str:
    """A host as it stands in a URL, without brackets and zone (RFC 6874)."""
    if host.startswith(b"["):
        return host[1:-1].partition(b"%")[0].decode("ascii").lower()
    return host.decode("ascii").lower()


def authority(host: str, port: int, default: int | None) -> bytes:
    """``host:port``, the port left out where it is the default one."""
    written = f"[{host}]" if ":" in host else host
    return (written if port == default else f"{written}:{port}").encode("ascii", "replace")


def moved(url: bytes, places: Places) -> bytes | None:
    """One absolute URL, written anew; None where its own host and port are nobody's at the other side, whatever follows them."""
    start = _ABSOLUTE.match(url)
    found = _URL.match(url, start.end()) if start else None
    if start is None or found is None:
        return None
    _, host, port = found.groups()
    place = places.place(host_text(host), int(port[1:]) if port else DEFAULT_PORTS[start[0].lower()], "tcp")
    return None if place is None else rewrite_urls(url, places)
