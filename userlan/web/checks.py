"""Whether a request comes from the page itself: what its headers say about where it was made.

Pure: headers in, a :class:`Refusal` or nothing out. The cookie says *who* asks, and these say *from where*; a browser sends the cookie of
``127.0.0.1:4141`` to every port of 127.0.0.1, and its page on another port counts as the same site, so that SameSite is no help there.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted.web.http_headers import Headers

from userlan.lan.hostport import join_host_port


class Refusal(NamedTuple):
    """A response instead of what was asked for: status code and one line."""

    code: int
    text: str


ORIGINS = (b"none", b"same-origin")
"""What Sec-Fetch-Site may say (W3C Fetch Metadata): the user's own doing (the address line, another program), or our page. Not
``same-site``: that is a page on another port."""
FRAMES = (b"iframe", b"frame", b"embed", b"object", b"fencedframe")
"""What Sec-Fetch-Dest may not say: the page inside another one."""


def authorities(host: str, port: int) -> frozenset[bytes]:
    """How a page that listens at ``host`` and ``port`` may be named in Host (RFC 9110 section 7.2): numbers and ``localhost``, never any
    other name, whose owner can let it resolve to 127.0.0.1 (DNS rebinding)."""
    hosts = (host, "127.0.0.1", "localhost", "::1")
    written = {join_host_port(one, port) for one in hosts}
    if port == 80:
        written |= {f"[{one}]" if ":" in one else one for one in hosts}
    return frozenset(one.encode() for one in written)


def check_host(headers: Headers, allowed: frozenset[bytes]) -> Refusal | None:
    """Exactly one Host (RFC 9112 section 3.2), and one of ours."""
    given = headers.getRawHeaders(b"host") or []
    if len(given) != 1:
        return Refusal(400, "a request has one Host")
    if given[0].lower() not in allowed:
        return Refusal(421, "this page is served under 127.0.0.1 and localhost alone: `userlan open` shows its address")
    return None


def check_source(headers: Headers, needs_origin: bool) -> Refusal | None:
    """By our own page, or by the user. ``needs_origin``: what changes something, or reads as a WebSocket does, has to name its origin
    (RFC 6454 section 7; browsers do)."""
    site = headers.getRawHeaders(b"sec-fetch-site") or []
    if any(one not in ORIGINS for one in site):
        return Refusal(403, "This was asked for by another page. If you have followed a link, put it into the address line yourself.")
    if any(one in FRAMES for one in headers.getRawHeaders(b"sec-fetch-dest") or []):
        return Refusal(403, "this page is not shown inside another one")
    origin = headers.getRawHeaders(b"origin") or []
    if not origin and not needs_origin:
        return None
    if len(origin) != 1 or origin[0] != b"http://" + (headers.getRawHeaders(b"host") or [b""])[0]:
        return Refusal(403, "this request was made by another page, or by none")
    return None


def cookies(headers: Headers, name: bytes, most: int = 8) -> list[bytes]:
    """The values of a cookie (RFC 6265 section 5.4), at most so many: pages on other ports of this host can set some of the same name, so
    that the first need not be ours."""
    found: list[bytes] = []
    for line in headers.getRawHeaders(b"cookie") or []:
        for pair in line.split(b";"):
            key, _, value = pair.strip(b" \t").partition(b"=")
            if key == name and len(found) < most:
                found.append(value)
    return found
