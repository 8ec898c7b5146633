"""``userlan demo``: what programs find on the LAN: a service by Bonjour, a game by a broadcast, and everything inside ``userlan run``.

All stand on one computer and must not disturb it: what anna's program announces is said on the loopback interface alone, where only
anna's node listens for it (``config_of``), and none of the nodes tells the computer's own programs of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from userlan.cli.client import ApiError
from userlan.cli.demo_game import EVERYBODY, MAX_ANSWER, PATIENCE, PORT, answer_in_background, ask
from userlan.cli.demo_processes import START_TIMEOUT, Process, serve, until

LOOPBACK = "127.0.0.1"
ALBUM, KIND = "Holiday pictures", "_http._tcp"
WEB_PORT = 8080
"""Where it is on the LAN when it is not announced: a port at which web servers are known to be."""
PAGE = "You have found anna's holiday pictures.\n"
MDNS_GROUP = "224.0.0.251"
ECHO_PATIENCE = 1.0
"""Seconds in which a datagram to a group must have come back by loopback: it takes none."""
EXIT_NO_PLACE = 1
"""The exit status of `userlan run` where this system gives no program a place inside the LAN."""


def config_of(name: str) -> str:
    """The settings of a node that keep what it tells and hears of this computer's programs on loopback.

    One node alone looks for services: each would make anna's port at anna's address."""
    mdns = {"anna": f"interfaces: [lo], offer: [{KIND}], show: no", "ben": "interfaces: [lo], offer: [], show: no"}
    return f"discovery: {{enabled: no}}\nmdns: {{{mdns.get(name, 'enabled: no')}}}\n"


# -- a service

def announce(folder: Path, nodes: dict[str, Process], stack: ExitStack) -> str:
    """A program of anna's serves a page and announces it; returns what it has done. The news travels while other things are shown."""
    (folder / "album").mkdir()
    (folder / "album" / "index.html").write_text(PAGE)
    port, _ = serve(folder / "album", stack)
    try:
        _try_multicast()
        _announce_by_bonjour(port, stack)
    except OSError as error:
        nodes["anna"].call("expose", service=str(port), port=WEB_PORT, name=ALBUM)
        return (
            f"   Bonjour cannot be shown, there is no multicast here ({error.strerror or error}); by hand instead:\n"
            f'   anna$ userlan expose {port} --as {WEB_PORT} --name "{ALBUM}"'
        )
    return f'   anna$ avahi-publish -s "{ALBUM}" {KIND} {port}         (or any program that does this by itself)'


def _try_multicast() -> None:
    """OSError where programs of this computer do not hear each other's multicasts on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        ear.bind(("", 0))
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(MDNS_GROUP) + socket.inet_aton(LOOPBACK))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        mouth.sendto(b"", (MDNS_GROUP, ear.getsockname()[1]))
        ear.settimeout(ECHO_PATIENCE)
        ear.recv(1)


def _announce_by_bonjour(port: int, stack: ExitStack) -> None:
    """By python-zeroconf, as any program does it; OSError where the port of multicast DNS cannot be shared."""
    import zeroconf

    logging.getLogger("zeroconf").addHandler(logging.NullHandler())
    program = zeroconf.Zeroconf(interfaces=[LOOPBACK], ip_version=zeroconf.IPVersion.V4Only)
    stack.callback(program.close)
    domain = f"{KIND}.local."
    service = zeroconf.ServiceInfo(
        domain, f"{ALBUM}.{domain}", port, server="annas-computer.local.", addresses=[socket.inet_aton(LOOPBACK)]
    )
    try:
        program.register_service(service, allow_name_change=True)
    except zeroconf.Error as error:
        raise OSError(f"{type(error).__name__}: {error}") from None


def show_services(nodes: dict[str, Process], announced: str) -> None:
    """What ben sees of it, and that it is there for programs that know no proxy."""
    from userlan.cli.service_commands import describe

    click.echo("5. A program of anna's announces what it serves, as printers, media servers and AirPlay speakers do; ben finds it")
    click.echo(announced)
    ben = nodes["ben"]

    def album() -> dict[str, Any] | None:
        rows = [row for row in ben.call("services") if row["name"].startswith(ALBUM) and row["url"] and not row["error"]]
        return rows[0] if rows else None

    until(lambda: album() is not None, "ben did not find anna's service")
    click.echo("   ben$ userlan services")
    for line in describe(ben.call("services")).splitlines():
        click.echo(f"   {line}")
    found = album()
    assert found is not None
    click.echo(f"   ben$ curl {found['url']}                no proxy: the address leads to anna")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(found["url"], timeout=START_TIMEOUT) as response:
        page = response.read().decode("utf-8", "replace")
    if page != PAGE:
        raise ApiError("the page that arrived is not anna's page")
    click.echo(f"   {page}")


# -- a game

def show_broadcast(nodes: dict[str, Process], stack: ExitStack) -> None:
    """Ben's game finds those of the others through the proxy, without root and whatever this system allows."""
    click.echo("6. The others play a game; ben's asks the whole LAN: who is there?")
    others = [name for name in nodes if name != "ben"]
    for name in others:
        game = stack.enter_context(answer_in_background(name))
        own = game.getsockname()[1]
        nodes[name].call("expose", service=f"{own}/udp", port=PORT, name=None)
        click.echo(f"   {name}$ game & userlan expose {own}/udp --as {PORT}")
    host, _, port = nodes["ben"].call("status")["bridges"]["proxy"].rpartition(":")
    click.echo(f"   ben$ game --proxy socks5://{host}:{port}         a datagram to {EVERYBODY}:{PORT} by SOCKS5's UDP ASSOCIATE")
    try:
        with _Associated((host, int(port))) as associated:
            found = ask(len(others), associated.send, associated.receive)
    except OSError as error:
        raise ApiError(f"the proxy carries no datagrams: {error.strerror or error}") from None
    for address, text in sorted(found.items()):
        click.echo(f"   {address}: {text}")
    if len(found) < len(others):
        raise ApiError(f"{len(found)} of {len(others)} games answered a broadcast within {PATIENCE:.0f} s")
    click.echo()


class _Associated(contextlib.ExitStack):
    """A UDP association with the proxy (RFC 1928, section 7); OSError."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        super().__init__()
        control = self.enter_context(socket.create_connection(proxy, START_TIMEOUT))
        with control.makefile("rb") as replies:
            control.sendall(b"\5\1\0")
            if replies.read(2) != b"\5\0":
                raise OSError("it wants a password")
            control.sendall(b"\5\3\0\1" + bytes(6))
            reply = replies.read(10)
        if len(reply) < 10 or reply[1]:
            raise OSError("no UDP ASSOCIATE")
        self._relay = (socket.inet_ntoa(reply[4:8]), int.from_bytes(reply[8:10], "big"))
        self._socket = self.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def send(self, datagram: bytes) -> None:
        """To everybody."""
        header = b"\0\0\0\1" + socket.inet_aton(EVERYBODY) + PORT.to_bytes(2, "big")
        self._socket.sendto(header + datagram, self._relay)

    def receive(self, seconds: float) -> tuple[str, bytes]:
        """The next datagram and who sent it; TimeoutError."""
        self._socket.settimeout(seconds)
        datagram = self._socket.recv(MAX_ANSWER)
        return socket.inet_ntoa(datagram[4:8]), datagram[10:]


# -- inside the LAN

def show_run(nodes: dict[str, Process]) -> bool:
    """A program that has never heard of proxies, inside the LAN; whether the system allows that."""
    click.echo("7. And a program that knows nothing of proxies, run inside the LAN: it has an interface with ben's address there")
    click.echo("   ben$ userlan run -- game")
    ben = nodes["ben"]
    command = [sys.executable, "-m", "userlan", "--state", str(ben.folder), "run", "--"]
    command += [sys.executable, "-m", "userlan.cli.demo_game", str(len(nodes) - 1)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as program:
        try:
            told, complaint = program.communicate(timeout=START_TIMEOUT)
        except BaseException as interruption:
            program.kill()
            if isinstance(interruption, subprocess.TimeoutExpired):
                raise ApiError(f"the game inside the LAN did not end within {START_TIMEOUT:.0f} s") from None
            raise
    reason = complaint.strip().splitlines()[-1] if complaint.strip() else f"exit status {program.returncode}"
    if program.returncode == EXIT_NO_PLACE:
        click.echo(f"   not on this system: {reason.removeprefix('userlan: ')}\n")
        return False
    if program.returncode:
        raise ApiError(f"the game inside the LAN did not find the others: {reason}")
    for line in told.splitlines():
        click.echo(f"   {line}")
    click.echo()
    return True
