"""Who may ask: one-time tokens, and the sessions that they open.

A token is told by the node's own socket (``userlan open``), works once, within five minutes. A session is a secret in a cookie; kept of
both is only the hash, so that who reads the state folder's file or a core of it has no session. A hash is also how they are looked up: the
time of a comparison tells nothing about a secret whose hash nobody can choose.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

import attrs

from userlan.driver.bridge import BridgeStore, CommandError

SECRET_SIZE = 32
"""Octets of chance in a token and in a session's secret."""
MAX_SECRET = 64
"""Characters of one that is worth hashing: base64url of ``SECRET_SIZE`` are 43."""
MAX_TOKENS = 8
"""Tokens that nobody has used yet; the oldest makes room."""
TOKEN_LIFE = 300.0
"""Seconds."""
MAX_WRONG, WRONG_INTERVAL = 20, 60.0
"""Wrong tokens in so many seconds, after which all are refused until they have passed."""
MAX_SESSIONS = 32
"""Browsers that are let in at once; the one that was away for longest makes room."""
SESSION_LIFE = 30 * 86400.0
"""Seconds without use, after which a session ends; the cookie's life, too."""
SEEN_STEP = 3600.0
"""Seconds: how exactly it is kept when a session was used last."""
VERSION = 1


def hash_of(secret: bytes | str, purpose: str) -> str:
    """What is kept of a secret."""
    octets = secret.encode() if isinstance(secret, str) else secret
    return hashlib.blake2b(octets[: MAX_SECRET + 1], digest_size=32, person=purpose.encode()).hexdigest()


class Tokens:
    """One-time tokens. ``now``: monotonic seconds."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._wrong: list[float] = []

    def issue(self, now: float) -> str:
        """A fresh one."""
        while len(self._until) >= MAX_TOKENS:
            del self._until[next(iter(self._until))]
        token = secrets.token_urlsafe(SECRET_SIZE)
        self._until[hash_of(token, "token")] = now + TOKEN_LIFE
        return token

    def limited(self, now: float) -> bool:
        """Whether so many wrong ones came that none is looked at."""
        self._wrong = [at for at in self._wrong if now - at < WRONG_INTERVAL]
        return len(self._wrong) >= MAX_WRONG

    def withdraw(self, token: bytes) -> None:
        """It is not needed, if it was one."""
        self._until.pop(hash_of(token, "token"), None)

    def redeem(self, token: bytes, now: float) -> bool:
        """Whether it is one of ours, not used and not too old; it is none afterwards."""
        until = self._until.pop(hash_of(token, "token"), None)
        if until is not None and now < until:
            return True
        self._wrong.append(now)
        return False


@attrs.define
class Session:
    """One browser. Wall seconds."""

    since: float
    seen: float


class Sessions:
    """The browsers that were let in, across restarts. ``purpose`` is part of every hash: the cookie of another port opens nothing here."""

    def __init__(self, store: BridgeStore, warn: Callable[[str], None]) -> None:
        self.port = 0
        """The port at which the page listened last; a page keeps it where it can, as browsers' cookies are kept by it."""
        self._store, self._warn = store, warn
        self._known: dict[str, Session] = {}
        self._load(store.load())

    def open(self, wall: float) -> str:
        """Let one more in; its secret."""
        self._forget(wall)
        while len(self._known) >= MAX_SESSIONS:
            del self._known[min(self._known, key=lambda key: self._known[key].seen)]
        secret = secrets.token_urlsafe(SECRET_SIZE)
        self._known[self._hash(secret)] = Session(wall, wall)
        self.save()
        return secret

    def moved(self, port: int) -> None:
        """The page listens at this port from now on: sessions of another one are void."""
        if port != self.port:
            self.port = port
            self._known.clear()
            self.save()

    def find(self, presented: list[bytes], wall: float) -> bool:
        """Whether one of these is the secret of a session."""
        for secret in presented:
            wanted = self._hash(secret)
            session = self._known.get(wanted)
            if session is None or wall - session.seen > SESSION_LIFE:
                continue
            if wall - session.seen > SEEN_STEP:
                session.seen = wall
                self.save()
            return True
        return False

    def save(self) -> None:
        """Write all that is to be kept."""
        kept = [{"hash": key, "since": session.since, "seen": session.seen} for key, session in self._known.items()]
        try:
            self._store.save({"version": VERSION, "port": self.port, "sessions": kept})
        except CommandError as error:
            self._warn(str(error))

    def _hash(self, secret: bytes | str) -> str:
        return hash_of(secret, f"page {self.port}")

    def _forget(self, wall: float) -> None:
        self._known = {key: session for key, session in self._known.items() if wall - session.seen <= SESSION_LIFE}

    def _load(self, value: Any) -> None:
        """What another version has written is another version's."""
        if not isinstance(value, dict) or value.get("version") != VERSION:
            return
        port, rows = value.get("port"), value.get("sessions")
        self.port = port if isinstance(port, int) and 0 < port < 65536 else 0
        for row in rows[:MAX_SESSIONS] if isinstance(rows, list) else ():
            match row:
                case {"hash": str(key), "since": int() | float() as since, "seen": int() | float() as seen}:
                    self._known[key] = Session(float(since), float(seen))
