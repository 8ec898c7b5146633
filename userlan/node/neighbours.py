"""How members on one local network know each other from what they announce there, and nobody else does. Sans-IO.

An announcement (DNS-SD, RFC 6763; service ``_userlan._udp``) has a name of chance and, as TXT properties::

    v=1
    s=<salt, 16 octets of chance>
    t0, t1 …=<entries of 12 octets: mark of a network (4) and tag of the member (8)>

    mark = BLAKE2b(key: the network's secret, salt)                    tag = BLAKE2b(key: the network's secret, salt, the member's key)

Who has the secret computes the same, first the mark, and the tags of its members only where that fits. To everybody else all of it is
chance: they learn no key, no network's name, and nothing that links two announcements, since name and salt are new for each run and each
network that the computer is in. The number of entries is rounded up, with chance. What an outsider can do is repeat an announcement with
another address of that link: then a handshake is sent there that fails. And a password can be guessed at, at one Argon2id a guess, as the
mediator can do it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from userlan.lan.roster import Roster
from userlan.lan.secrets import MARK_SIZE, TAG_SIZE
from userlan.node.keyring import Keyring
from userlan.wire.endpoint import Endpoint

VERSION: Final = b"1"
NAME_SIZE: Final = 8
SALT_SIZE: Final = 16
"""Octets of chance: two announcements never share them."""
ENTRY_SIZE: Final = MARK_SIZE + TAG_SIZE
ENTRIES_A_STRING: Final = 20
"""Entries in one property: a TXT string has 255 octets (RFC 6763 6.1)."""
MAX_ENTRIES: Final = 64
"""Networks announced, and entries read; all networks that a node can be in."""
ROUND_UP: Final = 4
"""Entries come in multiples of it: who is in one network looks like who is in four."""
MAX_SEEN: Final = 256
"""Announcements kept, for members that become known later; a home has some, a dormitory perhaps so many."""


Sighted = tuple[bytes, tuple[Endpoint, ...]]
"""A member's key, and the endpoints at which it was seen."""


class Announcement(NamedTuple):
    """What is announced: an instance's name, and its TXT properties."""

    name: str
    properties: dict[bytes, bytes]


class Neighbours:
    """What one node announces, and whom it recognises."""

    def __init__(self, key: bytes, roster: Roster, keyring: Keyring, entropy: Callable[[int], bytes]) -> None:
        self._key = key
        self._roster = roster
        self._keyring = keyring
        self._entropy = entropy
        self._seen: OrderedDict[str, tuple[bytes, tuple[bytes, ...], tuple[Endpoint, ...]]] = OrderedDict()

    @property
    def revision(self) -> frozenset[bytes]:
        """Changes when there is something else to announce."""
        held = [self._keyring.get(network) for network in self._keyring]
        return frozenset(one.secrets[0].admission_public for one in held if one is not None)

    def announcement(self) -> Announcement:
        """A new one: for each run, and whenever the computer's network or the memberships change."""
        salt = self._entropy(SALT_SIZE)
        entries = []
        for network in sorted(self._keyring)[:MAX_ENTRIES]:
            held = self._keyring.get(network)
            if held is not None:
                secret = held.secrets[0]
                entries.append(secret.neighbour_mark(salt) + secret.neighbour_tag(salt, self._key))
        while not entries or len(entries) % ROUND_UP:
            entries.append(self._entropy(ENTRY_SIZE))
        entries.sort()      # their order shall not tell which are chance
        properties = {b"v": VERSION, b"s": salt}
        for number, first in enumerate(range(0, len(entries), ENTRIES_A_STRING)):
            properties[b"t%d" % number] = b"".join(entries[first : first + ENTRIES_A_STRING])
        return Announcement(self._entropy(NAME_SIZE).hex(), properties)

    def seen(self, name: str, properties: Mapping[bytes, bytes | None], endpoints: Sequence[Endpoint]) -> list[Sighted]:
        """Somebody announced this from those endpoints: the members that it is (one at most, from an honest neighbour)."""
        salt, entries = properties.get(b"s"), tuple(_entries(properties))
        if properties.get(b"v") != VERSION or salt is None or len(salt) != SALT_SIZE or not entries:
            return []
        self._seen[name] = (salt, entries, tuple(endpoints))
        self._seen.move_to_end(name)
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return [(key, tuple(endpoints)) for key in self._members(salt, entries)]

    def again(self) -> list[Sighted]:
        """All that was seen, recognised anew: members may have become known since."""
        return [(key, endpoints) for salt, entries, endpoints in self._seen.values() for key in self._members(salt, entries)]

    def forget(self) -> None:
        """Another network: what was seen on the last one is not there."""
        self._seen.clear()

    def _members(self, salt: bytes, entries: Sequence[bytes]) -> list[bytes]:
        found = []
        for network in self._keyring:
            held = self._keyring.get(network)
            if held is None:
                continue
            secret = held.secrets[0]
            mark = secret.neighbour_mark(salt)
            tags = {entry[MARK_SIZE:] for entry in entries if entry[:MARK_SIZE] == mark}
            if tags:
                found += [
                    key for key, peer in self._roster.peers.items() if network in peer.networks and secret.neighbour_tag(salt, key) in tags
                ]
        return list(dict.fromkeys(found))


def _entries(properties: Mapping[bytes, bytes | None]) -> Iterator[bytes]:
    for number in range(-(-MAX_ENTRIES // ENTRIES_A_STRING)):
        data = properties.get(b"t%d" % number) or b""
        for first in range(0, len(data) - ENTRY_SIZE + 1, ENTRY_SIZE):
            yield data[first : first + ENTRY_SIZE]
