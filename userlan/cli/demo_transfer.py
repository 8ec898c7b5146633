"""``userlan demo``: a file through the proxy, half of it after the mediator was killed."""

from __future__ import annotations

import hashlib
import os
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import click

from userlan.cli.client import ApiError
from userlan.cli.demo_processes import Process, serve
from userlan.cli.output import byte_count

FILM = "shared/film.bin"
"""Where it lies in the demo's folder."""
FILE_SIZE = 64 << 20
"""Bytes of the file that is moved: long enough for a steady speed, a second's work."""
BLOCK = 1 << 18
"""Bytes read at once."""


def show_transfer(folder: Path, mediator: Process, nodes: dict[str, Process], stack: ExitStack) -> None:
    """Half of the file comes with the mediator, the other half after it was killed."""
    expected = _film(folder / FILM)
    port, visitors = serve(folder / "shared", stack)
    click.echo("4. anna shares a folder, ben fetches a file through the proxy; half-way the mediator is killed")
    nodes["anna"].call("expose", service=str(port), port=8000, name="films")
    click.echo(f"   anna$ python3 -m http.server {port} & userlan expose {port} --as 8000 --name films")
    proxy = nodes["ben"].call("status")["bridges"]["proxy"]
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
    seen = ", ".join(sorted(visitors))
    click.echo(f"   the server saw its visitor as {seen}: ben's own address, so its log and its rules can tell peers apart\n")


def _film(path: Path) -> str:
    """A file that does not repeat; its SHA-256."""
    path.parent.mkdir()
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(FILE_SIZE >> 20):
            part = block[number:] + block[:number]
            file.write(part)
            digest.update(part)
    return digest.hexdigest()
