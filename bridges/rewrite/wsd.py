"""WS-Discovery: where services take messages (OASIS WS-Discovery 1.1, sections 4 to 6).

A message is one SOAP envelope. Of Hello, ProbeMatches and ResolveMatches the element ``XAddrs`` holds URLs separated
by white space; they are rewritten. What identifies a service, its endpoint reference (mostly ``urn:uuid:…``), its types
and scopes, the sequence numbers and the addressing headers stay as they are: a receiver compares them.

URLs that the other side cannot reach are taken out of the list: there the same address is somebody else's, as a rule (a router, this
computer's own loopback), and whoever wrote it may have meant just that. A list may be empty: a receiver then asks who has the endpoint.
"""

from __future__ import annotations

import re

from bridges.rewrite.translation import Places, Translation
from bridges.rewrite.urls import moved

MAX_SIZE = 32_767
"""Bytes of a message (WS-Discovery 1.1, appendix I: MAX_ENVELOPE_SIZE)."""

_ENVELOPE = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,63}:)?Envelope[\s>]")
_XADDRS = re.compile(rb"(<(?:[A-Za-z_][\w.-]{0,63}:)?XAddrs(?:\s[^<>]{0,1024})?>)([^<]{0,8192})(?=</)")


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """A message with the other side's addresses; None for what is no SOAP envelope in UTF-8."""
    if len(datagram) > MAX_SIZE or not _ENVELOPE.search(datagram, 0, 2048):
        return None
    places = Places(translation)
    return _XADDRS.sub(lambda match: match[1] + _addresses(match[2], places), datagram)


def _addresses(written: bytes, places: Places) -> bytes:
    urls = (moved(url, places) for url in written.split())
    return b" ".join(url for url in urls if url is not None)
