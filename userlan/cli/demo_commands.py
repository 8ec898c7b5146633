"""``userlan demo``: a mediator, a relay and three nodes as real processes on this machine, and the main job done before your eyes.

Everything lives in a temporary folder and on loopback; nothing is left behind.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import click

from userlan.cli.client import ApiError, NotRunningError, call
from userlan.cli.output import byte_count

NAMES = ("anna", "ben", "carla")
NETWORK = "home"
FILE_SIZE = 64 << 20
"""Bytes of the file that is moved: long enough for a steady speed, a second's work."""
START_TIMEOUT = 30.0
"""Seconds in which each process must be up and each pair direct; generous, for a loaded machine."""


class Process:
    """One of the demo's processes: started with its own state folder, its output in that folder's log."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(mode=0o700, parents=True)
        self.folder = folder
        self.log = folder / "output.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "userlan", "--state", str(folder), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, word: str) -> str:
        """The first line of output that begins with ``word``; ApiError when the process ends first."""
        give_up = time.monotonic() + START_TIMEOUT
        while time.monotonic() < give_up:
            lines = self.log.read_text("utf-8", "replace").splitlines()
            found = next((line for line in lines if line.startswith(word)), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise ApiError(f"{self.folder.name} stopped: {lines[-1] if lines else 'it said nothing'}")
            time.sleep(0.02)
        raise ApiError(f"{self.folder.name} was not ready within {START_TIMEOUT:.0f} s")

    def stop(self) -> None:
        """End the process: kindly, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the shared folder and remembers who asked."""

    visitors: ClassVar[set[str]] = set()

    def log_message(self, format: str, *arguments: Any) -> None:
        self.visitors.add(self.client_address[0])


@click.command()
@click.option("--once", is_flag=True, help="End after the proof, with exit status 0.")
def demo(once: bool) -> None:
    """A mediator, a relay and three nodes on this machine: who sees whom, a ping, and a file through the proxy."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="userlan-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = time.monotonic()
        nodes = _start(folder, stack)
        click.echo(f"   ready after {time.monotonic() - started:.1f} s\n")
        _show_peers(nodes)
        _show_ping(nodes)
        _show_transfer(folder, nodes, stack)
        click.echo("\nIt works: a program on one computer reached a service on another by its name, encrypted, without root.")
        if not once:
            _stay(nodes)


def _start(folder: Path, stack: ExitStack) -> dict[str, Process]:
    click.echo("1. A mediator, a relay and three nodes, each a process of its own")
    mediator = Process(folder / "mediator", "mediator", "--listen", "127.0.0.1:0")
    stack.callback(mediator.stop)
    url = mediator.wait_for("userlan://")
    click.echo(f"   $ userlan mediator            {url[:48]}…")
    relay = Process(folder / "relay", "relay", "--mediator", url, "--listen", "127.0.0.1:0")
    stack.callback(relay.stop)
    click.echo(f"   $ userlan relay               {relay.wait_for('relay')[:48]}…")
    nodes: dict[str, Process] = {}
    for name in NAMES:
        config = folder / f"{name}.yaml"
        config.write_text(f"name: {name}\nproxy:\n  listen: 127.0.0.1:0\n")
        node = Process(folder / name, "--config", str(config), "up", "--mediator", url, "--listen", "127.0.0.1:0")
        stack.callback(node.stop)
        nodes[name] = node
    for name, node in nodes.items():
        node.wait_for("ready")
        me = _call(node, "status")["self"]
        click.echo(f"   $ userlan up                  {name}: {me['ipv4']}  {me['ipv6']}")
    invite = _call(nodes["anna"], "create", network=NETWORK, password=None)["invite"]
    click.echo(f"   anna$ userlan create {NETWORK}     {invite[:48]}…")
    for name in NAMES[1:]:
        _call(nodes[name], "join", invite=invite, password=None)
        click.echo(f"   {name}$ userlan join userlan://…")
    return nodes


def _show_peers(nodes: dict[str, Process]) -> None:
    click.echo("2. Everybody sees everybody, directly")
    give_up = time.monotonic() + START_TIMEOUT
    while True:
        snapshots = {name: _call(node, "status") for name, node in nodes.items()}
        direct = [all(peer["state"] == "direct" for peer in s["peers"]) and len(s["peers"]) == 2 for s in snapshots.values()]
        if all(direct):
            break
        if time.monotonic() > give_up:
            raise ApiError(f"the nodes did not reach each other within {START_TIMEOUT:.0f} s")
        time.sleep(0.05)
    from userlan.cli.show_commands import describe

    for line in describe(snapshots["ben"]).splitlines():
        click.echo(f"   {line}")
    click.echo()


def _show_ping(nodes: dict[str, Process]) -> None:
    click.echo("3. ben$ userlan ping carla")

    def show(item: dict[str, Any]) -> None:
        if item["rtt_ms"] is None:
            raise ApiError(f"carla did not answer: {item['reason'] or 'timed out'}")
        click.echo(f"   {item['size']} bytes from {item['name']} ({item['address']}): time={item['rtt_ms']:.2f} ms, {item['path']}")

    call(nodes["ben"].folder, "ping", show, peer="carla", count=3, interval=0.2, size=56, timeout=5.0)
    click.echo()


def _show_transfer(folder: Path, nodes: dict[str, Process], stack: ExitStack) -> None:
    shared = folder / "shared"
    shared.mkdir()
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with (shared / "film.bin").open("wb") as file:
        for number in range(FILE_SIZE >> 20):
            part = block[number:] + block[:number]
            file.write(part)
            digest.update(part)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: QuietHandler(*arguments, directory=str(shared))
    )
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    click.echo("4. anna shares a folder, ben fetches a file through the proxy")
    _call(nodes["anna"], "expose", service=str(port), port=8000, name=None)
    click.echo(f"   anna$ python3 -m http.server {port} & userlan expose {port} --as 8000")
    proxy = _call(nodes["ben"], "status")["bridges"]["proxy"]
    click.echo(f"   ben$ curl --proxy socks5h://{proxy} http://anna:8000/film.bin")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": f"http://{proxy}"}))
    received = hashlib.sha256()
    begin, count = time.monotonic(), 0
    with opener.open("http://anna:8000/film.bin", timeout=60) as response:
        while data := response.read(1 << 18):
            received.update(data)
            count += len(data)
    seconds = time.monotonic() - begin
    if received.digest() != digest.digest():
        raise ApiError("the file that arrived is not the file that was sent")
    click.echo(f"   {byte_count(count)} in {seconds:.2f} s: {count * 8 / seconds / 1e6:.0f} Mbit/s, SHA-256 right")
    seen = ", ".join(sorted(QuietHandler.visitors))
    click.echo(f"   the server saw its visitor as {seen}: ben's own address, so its log and its rules can tell peers apart")


def _stay(nodes: dict[str, Process]) -> None:
    click.echo("\nStill running; in another terminal, as any of the three:")
    for node in nodes.values():
        click.echo(f"  userlan --state {node.folder} status")
    click.echo("Ctrl-C ends the demo and removes everything.")
    try:
        while all(node.process.poll() is None for node in nodes.values()):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo()
        return
    raise ApiError("a node stopped")


def _call(node: Process, command: str, **arguments: Any) -> Any:
    try:
        return call(node.folder, command, **arguments)
    except NotRunningError:
        lines = node.log.read_text("utf-8", "replace").splitlines()
        raise ApiError(f"{node.folder.name} is not running: {lines[-1] if lines else 'it said nothing'}") from None


COMMANDS: dict[str, click.Command] = {"demo": demo}
