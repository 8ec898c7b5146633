"""All transfers of this node: found by id, by the other member's token, by member; with a cap on each thing that peers can fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from bridges.files.transfer import ENDED, Direction, Transfer

MAX_TRANSFERS: Final = 4096
"""Transfers that are kept, ended ones included: a table of about 2 MB on disk."""
MAX_ENDED: Final = 500
"""Ended ones that are kept to be shown; the oldest give way."""
MAX_OFFERS: Final = 1024
"""Offers of all members that wait for the user: more than anybody looks through."""
MAX_OFFERS_OF_PEER: Final = 256
"""Of one member: it must not take the room of the others."""
ENDED_KEPT: Final = 30 * 86400.0
"""Seconds for which an ended transfer is shown."""

VERSION: Final = 1
"""Of the form on disk."""

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Of ids: 31 letters and digits that cannot be taken for each other."""
_ID_LENGTH = 6


class NoSuchTransferError(Exception):
    """Several transfers begin with what was typed, or none; ``str()`` is one line."""


class Kept(msgspec.Struct):
    """What is written to disk."""

    version: int
    transfers: list[Transfer]


class Table:
    """See the module. ``entropy``: gives so many random octets."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._all: dict[str, Transfer] = {}
        self._tokens: dict[tuple[str, Direction, str], Transfer] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Transfer]:
        return iter(list(self._all.values()))

    def shown(self) -> list[Transfer]:
        """Those that have not been forgotten, oldest first."""
        return [one for one in self._all.values() if not one.hidden]

    def of_peer(self, key: str) -> list[Transfer]:
        """All with one member, oldest first."""
        return [one for one in self._all.values() if one.peer == key]

    def get(self, identifier: str) -> Transfer | None:
        """By its whole id."""
        return self._all.get(identifier)

    def find(self, typed: str) -> Transfer:
        """By the beginning of its id, where only one begins so; NoSuchTransferError."""
        exact = self._all.get(typed)
        if exact is not None and not exact.hidden:
            return exact
        found = [one for one in self.shown() if typed and one.id.startswith(typed.lower())]
        if not found:
            raise NoSuchTransferError(f"there is no transfer {typed!r}: `userlan inbox` lists them")
        if len(found) > 1:
            raise NoSuchTransferError(f"{typed!r} may be {', '.join(one.id for one in found[:5])}: type more of it")
        return found[0]

    def by_token(self, peer: str, direction: Direction, token: str) -> Transfer | None:
        """What a member means by a token: nobody else's."""
        return self._tokens.get((peer, direction, token))

    def waiting_offers(self, peer: str | None = None) -> int:
        """Offers that wait for the user: of one member, or of all."""
        return sum(
            1 for one in self._all.values() if one.direction == "in" and one.state == "offered" and (peer is None or one.peer == peer)
        )

    def new_id(self) -> str:
        """An id that is free."""
        while True:
            number = int.from_bytes(self._entropy(8), "big")
            letters = []
            for _ in range(_ID_LENGTH):
                number, place = divmod(number, len(_ALPHABET))
                letters.append(_ALPHABET[place])
            identifier = "".join(letters)
            if identifier not in self._all:
                return identifier

    def new_token(self) -> str:
        """A token that nobody can guess."""
        return self._entropy(16).hex()

    def has_room(self, wanted: int = 1) -> bool:
        """Whether so many more may be added, ended ones giving way."""
        running = sum(1 for one in self._all.values() if not one.ended)
        return running + wanted <= MAX_TRANSFERS - MAX_ENDED

    def add(self, transfer: Transfer) -> None:
        """Note a new one."""
        self._all[transfer.id] = transfer
        self._tokens[transfer.peer, transfer.direction, transfer.token] = transfer

    def remove(self, transfer: Transfer) -> None:
        """It is no more."""
        self._all.pop(transfer.id, None)
        self._tokens.pop((transfer.peer, transfer.direction, transfer.token), None)

    def surplus(self, wall: float) -> list[Transfer]:
        """Ended ones that are to go: too old, or too many, of whom there are most: who offers and withdraws without end pushes out its own
        alone. One of which the other member is still to be told stays first."""
        ended = sorted((one for one in self._all.values() if one.state in ENDED), key=lambda one: (not one.told, one.moved))
        old = [one for one in ended if wall - one.moved > ENDED_KEPT]
        left = [one for one in ended if wall - one.moved <= ENDED_KEPT]
        forgotten = [one for one in left if one.hidden and one.told]
        left = [one for one in left if not (one.hidden and one.told)]
        of_peer: dict[str, list[Transfer]] = {}
        for one in reversed(left):
            of_peer.setdefault(one.peer, []).append(one)
        excess = [max(of_peer.values(), key=len).pop() for _ in range(len(left) - MAX_ENDED)]
        return old + forgotten + excess

    def dump(self) -> object:
        """For the disk."""
        return Kept(VERSION, list(self._all.values()))

    def load(self, value: object) -> None:
        """What was kept. Raises ValueError where it is of another form: then nothing is taken over."""
        kept = msgspec.convert(value, Kept)
        if kept.version != VERSION:
            raise ValueError(f"version {kept.version}")
        for transfer in kept.transfers[:MAX_TRANSFERS]:
            self.add(transfer)
