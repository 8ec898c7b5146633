"""Announcements that are a JSON object with the port of their sender.

::

    LocalSend 2         {"alias": …, "fingerprint": …, "port": 53317, "announce": true, …}      TCP
    Luanti, Freeminer   {"name": …, "port": 30000, "clients": 1, …}, {"cmd": "ask"}            UDP

A port that cannot be had at the other side drops the announcement. What names no port (a search) goes through.
"""

from __future__ import annotations

import msgspec

from bridges.rewrite.translation import Places, Translation

MAX_SIZE = 16 * 1024
"""Bytes of an announcement: Luanti's receivers take no more."""


def localsend(datagram: bytes, translation: Translation) -> bytes | None:
    """LocalSend's announcement or answer; None for what is none."""
    return _rewrite(datagram, translation, "tcp", "fingerprint")


def luanti(datagram: bytes, translation: Translation) -> bytes | None:
    """A Luanti server's announcement or a client's search; None for what is neither."""
    return _rewrite(datagram, translation, "udp", "")


def _rewrite(datagram: bytes, translation: Translation, protocol: str, mark: str) -> bytes | None:
    """``mark``: a key that must be there with a text."""
    if len(datagram) > MAX_SIZE:
        return None
    try:
        said = msgspec.json.decode(datagram)
        if not isinstance(said, dict) or (mark and not isinstance(said.get(mark), str)):
            return None
        if isinstance(said.get("port"), int):
            said["port"] = Places(translation).port(said["port"], protocol)
            if said["port"] is None:
                return None
        return msgspec.json.encode(said)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
