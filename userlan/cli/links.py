"""Links as people pass them: what is wrong with one, and where a right one comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.cli.client import ApiError

if TYPE_CHECKING:
    from userlan.lan.invite import Invite


def mediator_link(written: str) -> Invite:
    """The option ``--mediator``; ApiError, one line, for anything but a link."""
    return _parsed(written, "--mediator: ", "a mediator's link is userlan://HOST:PORT/KEY, as `userlan mediator` prints it")


def invite_link(written: str) -> Invite:
    """An invite: it names a network. ApiError, one line, for anything else."""
    whole = "an invite is userlan://HOST:PORT/KEY/NETWORK#SECRET, as `userlan invite NETWORK` prints it for a member"
    invite = _parsed(written, "", whole)
    if invite.network is None:
        raise ApiError(f"this is a mediator's address, not an invite: it names no network; {whole}")
    return invite


def _parsed(written: str, prefix: str, whole: str) -> Invite:
    from userlan.lan.invite import Invite

    try:
        return Invite.parse(written)
    except ValueError as error:
        raise ApiError(f"{prefix}{error}; {whole}") from None
