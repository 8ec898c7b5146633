"""``userlan demo``: three nodes meet, see each other, and find each other again without the mediator.

One of the nodes stands for who is behind a router: it has IPv6 only and the others have IPv4 only, so that no UDP passes between them.
Their tunnel starts on the relay, which has both, and turns to a direct one over TCP. Without ::1 all are on one network.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from userlan.cli.client import ApiError, Client
from userlan.cli.demo_discovery import config_of as discovery_of
from userlan.cli.demo_processes import ELSEWHERE, HERE, NAMES, NETWORK, START_TIMEOUT, Process, uninterrupted, until
from userlan.cli.demo_talk import config_of as talk_of


def start(folder: Path, stack: ExitStack) -> tuple[Process, dict[str, Process]]:
    """The mediator and the nodes, which end with the stack."""
    click.echo("1. A mediator, a relay and three nodes, each a process of its own")
    apart = _has_ipv6()
    everywhere = [word for place in ((HERE, ELSEWHERE) if apart else (HERE,)) for word in ("--listen", place)]

    def begin(name: str, *arguments: str) -> Process:
        config = folder / f"{name}.yaml"
        config.write_text(
            f"name: {name}\nproxy: {{listen: '127.0.0.1:0'}}\ntraversal: {{port_mapping: no, lan_discovery: no}}\n"
            f"{discovery_of(name)}{talk_of(name, folder)}"
        )
        with uninterrupted():
            process = Process(folder / name, "--config", str(config), *arguments)
            stack.callback(process.stop)
        return process

    mediator = begin("mediator", "mediator", *everywhere)
    url = mediator.wait_for("userlan://")
    click.echo(f"   $ userlan mediator            {url[:48]}…")
    relay = begin("rita", "relay", "--mediator", url, *everywhere)
    nodes = {
        name: begin(name, "up", "--mediator", url, "--listen", ELSEWHERE if apart and name == NAMES[-1] else HERE) for name in NAMES
    }
    click.echo(f"   $ userlan relay               rita: {relay.wait_for('relay')[:42]}…")
    for name, node in nodes.items():
        node.wait_for("ready")
        me = node.call("status")["self"]
        click.echo(f"   $ userlan up                  {name}: {me['ipv4']}  {me['ipv6']}")
    return mediator, nodes


def _has_ipv6() -> bool:
    """Whether this computer has ``::1``."""
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::1", 0))
        return True
    return False


def show_relay(nodes: dict[str, Process]) -> None:
    """All join; the last one is pinged from its first moment on: by the relay, until the direct way is found."""
    apart = nodes[NAMES[-1]].arguments[-1] == ELSEWHERE
    where = "no UDP passes between carla and the others: the relay carries it at first" if apart else "without ::1 the relay is not needed"
    click.echo(f"2. They join one network; {where}")
    invite = nodes["anna"].call("create", network=NETWORK, password=None)["invite"]
    click.echo(f"   anna$ userlan create {NETWORK}     {invite[:48]}…")
    for name in NAMES[1:]:
        nodes[name].call("join", invite=invite, password=None)
        click.echo(f"   {name}$ userlan join userlan://…")
    until(lambda: any(peer["name"] == "carla" for peer in nodes["ben"].call("status")["peers"]), "ben did not hear of carla")
    _ping(nodes["ben"], "carla")
    click.echo()


def _ping(node: Process, peer: str, *enough: str) -> None:
    """Until an answer came by a direct path, or one that begins with such a word; the first answer of each path is shown."""
    from userlan.cli.show_commands import answer_text

    click.echo(f"   {node.folder.name}$ userlan ping {peer}")
    client, shown, give_up = Client(node.folder), "", time.monotonic() + START_TIMEOUT

    def show(item: dict[str, Any]) -> None:
        nonlocal shown
        if item["rtt_ms"] is not None and item["path"] != shown:
            click.echo(f"   {answer_text(item, shown)}")
            shown = item["path"]
        if shown.startswith(("direct", *enough)):
            raise _SeenError
        if time.monotonic() > give_up:
            raise ApiError(f"{peer} was not reached directly: {item['reason'] or shown or 'timed out'}")

    try:
        with suppress(_SeenError):
            client.request("ping", {"peer": peer, "count": None, "interval": 0.1, "size": 56, "timeout": 2.0}, show)
    finally:
        client.close()


class _SeenError(Exception):
    """What was waited for was seen: not an error, but the end of a ping."""


def show_peers(nodes: dict[str, Process]) -> None:
    """All have a direct path to all."""
    click.echo("3. Everybody sees everybody, directly")
    until(lambda: all(_met(node, "direct") for node in nodes.values()), "the nodes did not reach each other")
    from userlan.cli.show_commands import describe

    click.echo("   ben$ userlan status")
    for line in describe(nodes["ben"].call("status")).splitlines():
        click.echo(f"   {line}")
    click.echo()


def _met(node: Process, *states: str) -> bool:
    """Whether a node sees all the others in one of these states."""
    peers = node.call("status")["peers"]
    return len(peers) == len(NAMES) - 1 and all(peer["state"] in states for peer in peers)


def show_restart(nodes: dict[str, Process]) -> None:
    """A node that starts anew, with another port, finds its peers by what it has kept."""
    click.echo("8. There is no mediator any more; carla's computer starts anew, with another port")
    carla = nodes["carla"]
    carla.kill()
    click.echo("   carla$ userlan up")
    begin = time.monotonic()
    carla.start(*carla.arguments)
    carla.wait_for("ready")
    until(lambda: _met(carla, "direct", "relayed"), "carla did not find the others again")
    click.echo(f"   all others are there after {time.monotonic() - begin:.1f} s, the start of the program included")
    for name in NAMES[:-1]:
        _ping(carla, name, "relay")
