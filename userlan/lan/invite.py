"""The link that names a mediator, and may name a network and carry its secret::

    userlan://HOST:PORT[,HOST:PORT…]/KEY[/NETWORK][#SECRET]

KEY is the mediator's public key in base64url, 43 characters. SECRET is 24 characters of base64url: the network's 16
octets and 2 octets of BLAKE2b over key, network and secret. So a link that was mistyped, cut short or edited is told at
once and without asking anybody (but for one case in 65,536), and one that the mediator refuses was revoked.
What follows ``#`` is never sent by a browser or a link preview.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from userlan.lan.addresses import KEY_SIZE, KEY_TEXT_SIZE, base64url_bytes, base64url_text, key_bytes, key_text, shown
from userlan.lan.hostport import check_host, join_host_port, split_host_port
from userlan.lan.labels import check_network

SCHEME = "userlan"
#: Port of a mediator where the link names none.
DEFAULT_PORT = 41414
#: Endpoints in one link: a mediator's names and addresses. Bounds what a link can make a node dial.
MAX_ENDPOINTS = 8
#: Characters of a whole link: eight host names of full length and the rest. Bounds the parsing of whatever is pasted.
MAX_LINK = 2500
#: Octets of a network's secret, and of the checksum behind it.
SECRET_SIZE = 16
CHECKSUM_SIZE = 2
#: Characters of SECRET: 18 octets in base64url.
SECRET_TEXT_SIZE = 24


class InviteError(ValueError):
    """A link is wrong; ``str`` is one line that says how. ``reason``: a slug such as ``key-mistyped``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Invite(msgspec.Struct, frozen=True):
    """A mediator's URL (``network`` and ``secret`` None) or an invite.

    ``str`` is the link, ``repr`` hides the secret.
    """

    #: (host, port) of the mediator, at least one; hosts are names or numeric literals without brackets.
    endpoints: tuple[tuple[str, int], ...]
    #: The mediator's public key, 32 octets.
    mediator_key: bytes
    network: str | None = None
    #: The network's secret, 16 octets.
    secret: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.endpoints) <= MAX_ENDPOINTS:
            raise InviteError("endpoints", f"a link names 1 to {MAX_ENDPOINTS} endpoints, not {len(self.endpoints)}")
        for host, port in self.endpoints:
            if check_host(host) != host or not 1 <= port <= 65535:
                raise InviteError("endpoint", f"{shown(join_host_port(host, port))} is not an endpoint")
        if len(self.mediator_key) != KEY_SIZE:
            raise InviteError("key-size", f"a key has {KEY_SIZE} octets, not {len(self.mediator_key)}")
        if self.network is not None and check_network(self.network) != self.network:
            raise InviteError("network", f"{self.network!r} is not in lower case")
        if self.secret is not None and (self.network is None or len(self.secret) != SECRET_SIZE):
            raise InviteError("secret", f"a secret has {SECRET_SIZE} octets and belongs to a network")

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Reads a link; space around it, quotes and angle brackets do not matter. InviteError otherwise."""
        link = text.strip().strip("<>\"'")
        if len(link) > MAX_LINK:
            raise InviteError("too-long", f"the link is too long: {len(link)} characters, not more than {MAX_LINK}")
        if not link:
            raise InviteError("empty", "the link is empty")
        if any(character.isspace() for character in link):
            raise InviteError("space", "the link holds a space or a line break: copy it in one piece")
        scheme, separator, rest = link.partition("://")
        if not separator or scheme.lower() != SCHEME:
            raise InviteError("scheme", f"{shown(link)} does not begin with {SCHEME}://")
        path, hash_sign, secret_part = rest.partition("#")
        where, *parts = path.removesuffix("/").split("/")
        if not parts:
            raise InviteError("key-missing", f"the link is cut short: the key is missing ({SCHEME}://HOST:PORT/KEY)")
        if len(parts) > 2:
            raise InviteError("parts", f"the link has too many parts: it is {SCHEME}://HOST:PORT/KEY/NETWORK#SECRET")
        endpoints = _endpoints(where)
        key = _key(parts[0])
        network = _network(parts[1]) if len(parts) == 2 else None
        if not hash_sign:
            return cls(endpoints, key, network)
        if network is None:
            raise InviteError("network-missing", "the link has a secret, but names no network")
        return cls(endpoints, key, network, _secret(secret_part, key, network))

    @property
    def mediator(self) -> Invite:
        """The mediator's URL alone."""
        return Invite(self.endpoints, self.mediator_key)

    def __str__(self) -> str:
        where = ",".join(join_host_port(host, port) for host, port in self.endpoints)
        link = f"{SCHEME}://{where}/{key_text(self.mediator_key)}"
        if self.network is not None:
            link += f"/{self.network}"
            if self.secret is not None:
                link += f"#{secret_text(self.secret, self.mediator_key, self.network)}"
        return link

    def __repr__(self) -> str:
        link = str(self)
        return f"Invite({link.partition('#')[0]}{'#…' if self.secret is not None else ''})"


def secret_text(secret: bytes, mediator_key: bytes, network: str) -> str:
    """A network's secret as the 24 characters of a link."""
    return base64url_text(secret + _checksum(secret, mediator_key, network))


def _endpoints(where: str) -> tuple[tuple[str, int], ...]:
    written = where.split(",")
    if len(written) > MAX_ENDPOINTS:
        raise InviteError("endpoints", f"the link names {len(written)} endpoints, not more than {MAX_ENDPOINTS}")
    try:
        endpoints = [split_host_port(one, DEFAULT_PORT) for one in written]
    except ValueError as error:
        raise InviteError("endpoint", f"the link's address is wrong: {error}") from None
    return tuple(dict.fromkeys(endpoints))


def _key(written: str) -> bytes:
    try:
        return key_bytes(written)
    except ValueError as error:
        reason = "key-cut" if len(written) < KEY_TEXT_SIZE else "key-mistyped"
        raise InviteError(reason, f"the link is wrong: {error}") from None


def _network(written: str) -> str:
    try:
        return check_network(written)
    except ValueError as error:
        raise InviteError("network", f"the link is wrong: {error}") from None


def _secret(written: str, key: bytes, network: str) -> bytes:
    if not written:
        raise InviteError("secret-missing", "the link is cut short: the secret behind # is missing")
    if len(written) != SECRET_TEXT_SIZE:
        cut = "cut short" if len(written) < SECRET_TEXT_SIZE else "too long"
        raise InviteError(
            "secret-cut", f"the link is {cut}: its secret has {len(written)} characters, not {SECRET_TEXT_SIZE}"
        )
    try:
        octets = base64url_bytes(written)
    except ValueError as error:
        raise InviteError("secret-mistyped", f"the link's secret is mistyped: {error}") from None
    secret, checksum = octets[:SECRET_SIZE], octets[SECRET_SIZE:]
    if not hmac.compare_digest(checksum, _checksum(secret, key, network)):
        raise InviteError("mistyped", "the link is mistyped: key, network and secret do not belong together")
    return secret


def _checksum(secret: bytes, mediator_key: bytes, network: str) -> bytes:
    covered = mediator_key + network.encode("ascii")
    return hashlib.blake2b(covered, digest_size=CHECKSUM_SIZE, key=secret, person=b"ul link checksum").digest()
