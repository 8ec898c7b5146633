"""``userlan demo``: a mediator, a relay and three nodes as real processes on this machine, and the main job done before your eyes.

Everything lives in a temporary folder and on loopback; nothing is left behind.

One of the nodes stands for who is behind a router: it has IPv6 only and the others have IPv4 only, so that no UDP passes between them.
Their tunnel starts on the relay, which has both, and turns to a direct one over TCP. Without ::1 all are on one network.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import click

from userlan.cli.client import ApiError, Client, NotRunningError, call
from userlan.cli.output import byte_count

NAMES = ("anna", "ben", "carla")
NETWORK = "home"
FILE_SIZE = 64 << 20
"""Bytes of the file that is moved: long enough for a steady speed, a second's work."""
BLOCK = 1 << 18
"""Bytes read at once."""
START_TIMEOUT = 60.0
"""Seconds in which each process must be up and each pair direct; generous, for a loaded machine."""
HERE, ELSEWHERE = "127.0.0.1:0", "[::1]:0"
"""Where the nodes listen: between the two no UDP passes."""


class Process:
    """One of the demo's processes: started with its own state folder, its output in that folder's log."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(mode=0o700, parents=True)
        self.folder = folder
        self.log = folder / "output.log"
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        """Start it (again, when it has ended: with the same folder)."""
        self.arguments = arguments
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "userlan", "--state", str(self.folder), *arguments],
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

    def kill(self) -> None:
        """End the process as ``kill -9`` does."""
        self.process.kill()
        self.process.wait(5)

    def stop(self) -> None:
        """End the process: kindly, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the shared folder and remembers who asked."""

    visitors: ClassVar[set[str]] = set()

    def log_message(self, format: str, *arguments: Any) -> None:
        self.visitors.add(self.client_address[0])


@click.command()
@click.option("--once", is_flag=True, help="End after the proof, with exit status 0.")
def demo(once: bool) -> None:
    """See it work: three nodes on this machine meet, use a relay, move a file, and do without the mediator."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="userlan-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        started = time.monotonic()
        mediator, nodes = _start(folder, stack)
        click.echo(f"   ready after {time.monotonic() - started:.1f} s\n")
        _show_relay(nodes)
        _show_peers(nodes)
        _show_transfer(folder, mediator, nodes, stack)
        _show_restart(nodes)
        click.echo("\nIt works: a program on one computer reached a service on another by its name, encrypted, without root.")
        if not once:
            _stay(nodes)


def _start(folder: Path, stack: ExitStack) -> tuple[Process, dict[str, Process]]:
    click.echo("1. A mediator, a relay and three nodes, each a process of its own")
    apart = _has_ipv6()
    everywhere = [word for place in ((HERE, ELSEWHERE) if apart else (HERE,)) for word in ("--listen", place)]

    def start(name: str, *arguments: str) -> Process:
        config = folder / f"{name}.yaml"
        config.write_text(f"name: {name}\nproxy: {{listen: '127.0.0.1:0'}}\ntraversal: {{port_mapping: no, lan_discovery: no}}\n")
        process = Process(folder / name, "--config", str(config), *arguments)
        stack.callback(process.stop)
        return process

    mediator = start("mediator", "mediator", *everywhere)
    url = mediator.wait_for("userlan://")
    click.echo(f"   $ userlan mediator            {url[:48]}…")
    relay = start("rita", "relay", "--mediator", url, *everywhere)
    nodes = {
        name: start(name, "up", "--mediator", url, "--listen", ELSEWHERE if apart and name == NAMES[-1] else HERE) for name in NAMES
    }
    click.echo(f"   $ userlan relay               rita: {relay.wait_for('relay')[:42]}…")
    for name, node in nodes.items():
        node.wait_for("ready")
        me = _call(node, "status")["self"]
        click.echo(f"   $ userlan up                  {name}: {me['ipv4']}  {me['ipv6']}")
    return mediator, nodes


def _has_ipv6() -> bool:
    """Whether this computer has ``::1``."""
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::1", 0))
        return True
    return False


def _show_relay(nodes: dict[str, Process]) -> None:
    """All join; the last one is pinged from its first moment on: by the relay, until the direct way is found."""
    apart = nodes[NAMES[-1]].arguments[-1] == ELSEWHERE
    where = "no UDP passes between carla and the others: the relay carries it at first" if apart else "without ::1 the relay is not needed"
    click.echo(f"2. They join one network; {where}")
    invite = _call(nodes["anna"], "create", network=NETWORK, password=None)["invite"]
    click.echo(f"   anna$ userlan create {NETWORK}     {invite[:48]}…")
    for name in NAMES[1:]:
        _call(nodes[name], "join", invite=invite, password=None)
        click.echo(f"   {name}$ userlan join userlan://…")
    _until(lambda: any(peer["name"] == "carla" for peer in _call(nodes["ben"], "status")["peers"]), "ben did not hear of carla")
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


def _show_peers(nodes: dict[str, Process]) -> None:
    click.echo("3. Everybody sees everybody, directly")
    _until(lambda: all(_met(node, "direct") for node in nodes.values()), "the nodes did not reach each other")
    from userlan.cli.show_commands import describe

    click.echo("   ben$ userlan status")
    for line in describe(_call(nodes["ben"], "status")).splitlines():
        click.echo(f"   {line}")
    click.echo()


def _met(node: Process, *states: str) -> bool:
    """Whether a node sees all the others in one of these states."""
    peers = _call(node, "status")["peers"]
    return len(peers) == len(NAMES) - 1 and all(peer["state"] in states for peer in peers)


def _until(condition: Callable[[], bool], failure: str) -> None:
    give_up = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > give_up:
            raise ApiError(f"{failure} within {START_TIMEOUT:.0f} s")
        time.sleep(0.05)


def _show_transfer(folder: Path, mediator: Process, nodes: dict[str, Process], stack: ExitStack) -> None:
    """Half of the file comes with the mediator, the other half after it was killed."""
    expected = _film(folder / "shared")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: QuietHandler(*arguments, directory=str(folder / "shared"))
    )
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    click.echo("4. anna shares a folder, ben fetches a file through the proxy; half-way the mediator is killed")
    _call(nodes["anna"], "expose", service=str(port), port=8000, name=None)
    click.echo(f"   anna$ python3 -m http.server {port} & userlan expose {port} --as 8000")
    proxy = _call(nodes["ben"], "status")["bridges"]["proxy"]
    click.echo(f"   ben$ curl --proxy socks5h://{proxy} http://anna:8000/film.bin")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": f"http://{proxy}"}))
    received = hashlib.sha256()
    begin, count = time.monotonic(), 0
    with opener.open("http://anna:8000/film.bin", timeout=60) as response:
        while data := response.read(BLOCK):
            received.update(data)
            if count < FILE_SIZE // 2 <= count + len(data):
                click.echo(f"   $ kill -9 {mediator.process.pid}               the mediator, after {byte_count(count)}")
                mediator.kill()
            count += len(data)
    seconds = time.monotonic() - begin
    if received.hexdigest() != expected:
        raise ApiError("the file that arrived is not the file that was sent")
    click.echo(f"   {byte_count(count)} in {seconds:.2f} s: {count * 8 / seconds / 1e6:.0f} Mbit/s, SHA-256 right")
    seen = ", ".join(sorted(QuietHandler.visitors))
    click.echo(f"   the server saw its visitor as {seen}: ben's own address, so its log and its rules can tell peers apart\n")


def _film(shared: Path) -> str:
    """A file that does not repeat; its SHA-256."""
    shared.mkdir()
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with (shared / "film.bin").open("wb") as file:
        for number in range(FILE_SIZE >> 20):
            part = block[number:] + block[:number]
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _show_restart(nodes: dict[str, Process]) -> None:
    """A node that starts anew, with another port, finds its peers by what it has kept."""
    click.echo("5. There is no mediator any more; carla's computer starts anew, with another port")
    carla = nodes["carla"]
    carla.kill()
    click.echo("   carla$ userlan up")
    begin = time.monotonic()
    carla.start(*carla.arguments)
    carla.wait_for("ready")
    _until(lambda: _met(carla, "direct", "relayed"), "carla did not find the others again")
    click.echo(f"   all others are there after {time.monotonic() - begin:.1f} s, the start of the program included")
    for name in NAMES[:-1]:
        _ping(carla, name, "relay")


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
