"""What the core wants done: data, carried out by the bridge."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from bridges.files.transfer import Transfer


@attrs.frozen
class Changed:
    """A transfer is new, or not as it was. ``lasting``: more than its progress, so that the disk has to know."""

    transfer: Transfer
    lasting: bool


@attrs.frozen
class Gone:
    """A transfer is no more, or no longer shown."""

    id: str


@attrs.frozen
class Visit:
    """Connect to a member, to tell it news or to fetch from it; where a visit with news goes on already, there is more to tell."""

    key: str
    fetching: bool


@attrs.frozen
class Drop:
    """End the connection that carries a transfer's octets."""

    id: str


@attrs.frozen
class Discard:
    """Remove what has come of a file that is not wanted any more."""

    id: str


@attrs.frozen
class Unspool:
    """Remove the bridge's own copy of a file that has been sent."""

    path: str


@attrs.frozen
class Announce:
    """Somebody offers a file: the user may want to know."""

    transfer: Transfer


@attrs.frozen
class Answered:
    """It needs no answer any more."""

    id: str


Effect: TypeAlias = Changed | Gone | Visit | Drop | Discard | Unspool | Announce | Answered
