"""``userlan demo``: a mediator, a relay and three nodes as real processes on this machine, and the main jobs done before your eyes.

Everything lives in a temporary folder and on loopback; nothing is left behind.

::

    demo_meeting      joining, the relay and the direct path, a node that starts anew
    demo_transfer     a file through the proxy
    demo_discovery    a service found, a game found, a program inside the LAN
    demo_talk         chat, a file from member to member, the page
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from userlan.cli.client import ApiError
from userlan.cli.demo_discovery import announce, show_broadcast, show_run, show_services
from userlan.cli.demo_meeting import show_peers, show_relay, show_restart, start
from userlan.cli.demo_processes import ENDINGS, Process, uninterrupted
from userlan.cli.demo_talk import show_page, show_talk
from userlan.cli.demo_transfer import show_transfer


@click.command()
@click.option("--once", is_flag=True, help="End after the proof, with exit status 0.")
def demo(once: bool) -> None:
    """See it work: three nodes on this machine meet, move files, find services and games, talk, and do without the mediator."""
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        with uninterrupted():
            folder = Path(tempfile.mkdtemp(prefix="userlan-demo-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = time.monotonic()
        mediator, nodes = start(folder, stack)
        click.echo(f"   ready after {time.monotonic() - started:.1f} s\n")
        show_relay(nodes)
        show_peers(nodes)
        announced = announce(folder, nodes, stack)
        show_transfer(folder, mediator, nodes, stack)
        show_services(nodes, announced)
        show_broadcast(nodes, stack)
        inside = show_run(nodes)
        show_restart(nodes)
        click.echo()
        show_talk(folder, nodes)
        show_page(nodes)
        click.echo("\nIt works: people and programs on three computers reach each other by name, encrypted, without root.")
        if not once:
            _stay(nodes, inside)


def _stay(nodes: dict[str, Process], inside: bool) -> None:
    """Until Ctrl-C. ``inside``: whether programs can run inside the LAN here."""
    click.echo("\nStill running: open one of these links in a browser (each lets one in, once; `userlan open` makes others).")
    click.echo("In another terminal, as any of the three:")
    for node in nodes.values():
        click.echo(f"  userlan --state {node.folder} status")
    click.echo(f"  userlan --state {nodes['ben'].folder} services")
    click.echo(f"  userlan --state {nodes['carla'].folder} chat anna")
    click.echo(f"  userlan --state {nodes['anna'].folder} open")
    if inside:
        click.echo(f"  userlan --state {nodes['ben'].folder} run -- ping anna")
    click.echo("Ctrl-C ends the demo and removes everything.")
    try:
        while all(node.process.poll() is None for node in nodes.values()):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo()
        return
    raise ApiError("a node stopped")


COMMANDS: dict[str, click.Command] = {"demo": demo}
