"""A further member beside the node of this computer: ``userlan run --as NAME``.

::

    STATE/                      the node
    STATE/members/NAME/         the member: own key, own address, own memory, kept for the next time
        ▲ joins the node's networks by their invites, leaves those that the node is not in

It is a node as any other, with the node's configuration, but for its name, a port of its own, no mediator of its own and
none of the bridges but the one that programs hang on. It lives as long as they do.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from userlan.cli.background import LOG_NAME, answering, ensure_running
from userlan.cli.client import ApiError, Client, NotRunningError, call, stop_node
from userlan.cli.main import Settings

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram, Options

BRIDGE = "namespace"
FOLDER = "members"
LOOK_INTERVAL = 0.5
"""Seconds between two looks whether anybody is connected."""
START_PATIENCE, LEFT_PATIENCE = 5.0, 2.0
"""Seconds without anybody connected, neither command nor keeper, after which it ends by itself: before the first one comes, and
later, when a keeper that would have ended it was killed."""
HOLD_TRIES = 3
"""Times that it is taken for one that stays: a machine with much else to do may let it end before the command comes to it."""


def settings_of(settings: Settings, name: str) -> Settings:
    """Those of the member: its folder is there. ApiError where the name is none."""
    from userlan.lan.names import check_nick

    try:
        name = check_nick(name)
    except ValueError as error:
        raise ApiError(f"--as: {error}") from None
    state = settings.state / FOLDER / name
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ApiError(f"the state folder {state} cannot be made: {error.strerror}") from None
    return attrs.evolve(settings, state=state, state_named=True)


def bring_up(settings: Settings, own: Settings) -> Client:
    """The member's node (of ``own``) runs, and is in the networks that the node (of ``settings``) is in. Raises ApiError.

    It stays for as long as the connection that is returned, and then as long as there are others.
    """
    wanted = _networks(settings)
    if not wanted:
        raise ApiError("--as: this node is in no network, and a further member would be alone: `userlan create` or `userlan join` first")
    with ensure_running(own, member=own.state.name).undone_on_failure():
        held = _hold(own)
        there = _networks(own)
        for network in wanted - there:
            invite = call(settings.state, "invite", network=network)["invite"]
            call(own.state, "join", invite=invite)
        for network in there - wanted:
            call(own.state, "leave", network=network)
    return held


def _hold(own: Settings) -> Client:
    """A connection for which the member's node stays: it was there, and not about to end, when it had seen that. Raises ApiError."""
    for _ in range(HOLD_TRIES):
        with suppress(NotRunningError):
            held = Client(own.state)
            if answering(own.state) is not None:
                return held
            held.close()
        ensure_running(own, member=own.state.name)
    raise ApiError(f"the member's node ends as soon as it runs: see {own.state / LOG_NAME}")


def give_up(own: Settings) -> None:
    """No program came to hang on the member's node."""
    with suppress(ApiError):
        stop_node(own.state)


def _networks(settings: Settings) -> set[str]:
    return {network["name"] for network in call(settings.state, "status")["networks"]}


def as_companion(options: Options, name: str) -> Options:
    """What such a node is told on its command line."""
    import msgspec

    from userlan.node.config import Config, PageSection

    config = msgspec.structs.replace(
        options.config, name=name, mediator=None, embedded_mediator="never", listen=Config().listen, page=PageSection("none")
    )
    bridges = {found: kind for found, kind in options.bridges.items() if found == BRIDGE}
    return attrs.evolve(options, config=config, bridges=bridges)


def end_when_left(reactor: Any, program: NodeProgram) -> None:
    """Stop the node once nobody is connected to it any more, and nobody has stopped it."""
    from twisted.internet.task import LoopingCall

    patience, last = START_PATIENCE, reactor.seconds()

    def look() -> None:
        nonlocal patience, last
        if program.local is not None and program.local.clients:
            patience, last = LEFT_PATIENCE, reactor.seconds()
        elif reactor.seconds() - last > patience:
            looking.stop()
            program.stop().addErrback(program.stop_failed)

    looking = LoopingCall(look)
    looking.clock = reactor
    reactor.callWhenRunning(looking.start, LOOK_INTERVAL)
