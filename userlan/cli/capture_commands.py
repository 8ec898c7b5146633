"""``userlan capture``: the packets of the LAN, into a file or as text.

The node sends pcapng, this command writes it as it comes: the file is opened with the user's rights, and ends with whole blocks
whatever happens to the node. At Ctrl-C the node is asked for the last blocks, what was counted.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

import click

from userlan.cli.client import ApiError, Client
from userlan.cli.main import Settings
from userlan.driver.pcapng import Blocks, FormatError

CHUNK = 1 << 18
"""Octets that are read at once."""

FLUSH_INTERVAL = 1.0
"""Seconds after which a file has what was captured."""

Take = Callable[[bytes], None]
"""Takes whole blocks."""


@click.command()
@click.option("-w", "--write", "target", metavar="FILE", help="Write pcapng to FILE; -: to standard output.")
@click.option("-c", "--count", type=click.IntRange(1), help="End after so many packets.")
@click.option("--snaplen", type=click.IntRange(1, 65535), default=65535, show_default=True, help="Octets of each packet to record.")
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.pass_obj
def capture(settings: Settings, target: str | None, count: int | None, snaplen: int, words: tuple[str, ...]) -> None:
    """The packets to and from the members, decrypted, and those that are dropped, with the reason; until Ctrl-C.

    \b
    Without -w they are shown as text. A FILTER chooses:
      peer ben           host 25.1.2.3      net 25.0.0.0/8     port 5353, port 5000-5010
      src, dst (before host, net, port or a name)              in, out
      ip, ip6, tcp, udp, icmp, icmp6, igmp, etherip            broadcast, multicast, unicast
      dropped            and, or, not, ( )

    \b
    Examples:
      userlan capture peer ben and not port 22
      userlan capture -w lan.pcapng dropped or multicast
      userlan capture -w - | wireshark -k -i -
    """
    blocks = Blocks()
    show = None if target is not None else _text(blocks)
    client = Client(settings.state)
    with contextlib.ExitStack() as stack:
        stack.callback(client.close)
        first = client.request("capture", {"filter": " ".join(words), "count": count, "snaplen": snaplen})
        if show is not None:
            take, flush = show, sys.stdout.flush
        else:
            file = stack.enter_context(_opened(str(target)))
            take, flush = lambda whole: _written(file, whole), file.flush
        where = f" to {target}" if target not in (None, "-") else ""
        receiving = stack.enter_context(Receiving(client.socket, blocks, take, flush, target == "-"))
        click.echo(f"capturing{where}: Ctrl-C ends", err=True)
        began = time.monotonic()
        complete = receiving.run(first)
    click.echo(summary(blocks, time.monotonic() - began, complete), err=True)
    if not complete:
        raise ApiError("the node went away; what was captured until then is whole")


class Receiving:
    """One capture's stream; while it is entered, an interrupt asks for its end."""

    def __init__(self, connection: socket.socket, blocks: Blocks, take: Take, flush: Callable[[], object], at_once: bool) -> None:
        """``at_once``: who reads what is written wants to see it at once."""
        self._socket = connection
        self._blocks = blocks
        self._take = take
        self._flush = flush
        self._at_once = at_once
        self._ending = False
        self._flushed = time.monotonic()

    def __enter__(self) -> Receiving:
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, first: bytes) -> bool:
        """Until the node ends it; whether it did so in order. Raises ApiError."""
        try:
            self._receive(first)
            while True:
                if not select.select([self._socket], [], [], FLUSH_INTERVAL)[0]:
                    self._flush()
                    continue
                data = self._socket.recv(CHUNK)
                if not data:
                    return self._blocks.ended
                self._receive(data)
        except BrokenPipeError:
            raise
        except ConnectionError:
            return False
        except FormatError as error:
            raise ApiError(f"the node sent what is no capture: {error}") from None
        except OSError as error:
            raise ApiError(f"the capture cannot be written: {error.strerror}") from None

    def _receive(self, data: bytes) -> None:
        self._take(self._blocks.feed(data))
        now = time.monotonic()
        if self._at_once or now - self._flushed >= FLUSH_INTERVAL:
            self._flush()
            self._flushed = now

    def _end(self, *_: object) -> None:
        """Ask the node for the end."""
        if self._ending:
            raise KeyboardInterrupt     # asked twice: do not wait
        self._ending = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


def summary(blocks: Blocks, seconds: float, complete: bool) -> str:
    """One line about what was captured."""
    packets = blocks.packets
    words = [f"{packets} packet{'' if packets == 1 else 's'} captured in {seconds:.1f} s"]
    if complete:
        words.append(f"{blocks.counts.received} seen")
        if blocks.counts.lost:
            words.append(f"{blocks.counts.lost} lost, since they came faster than they were taken: a filter or --snaplen helps")
    return ", ".join(words)


def _opened(target: str) -> BinaryIO:
    if target == "-":
        if sys.stdout.isatty():
            raise ApiError("pcapng is nothing for a terminal: -w FILE, or a pipe into wireshark or tshark")
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb", CHUNK)
    try:
        return open(target, "wb", CHUNK)
    except OSError as error:
        raise ApiError(f"{target} cannot be written: {error.strerror}") from None


def _written(file: BinaryIO, whole: bytes) -> None:
    file.write(whole)


def _text(blocks: Blocks) -> Take:
    """Shows packets as lines; ApiError where scapy is missing."""
    from userlan.cli.capture_text import Lines

    lines = Lines()

    def take(whole: bytes) -> None:
        for recorded in blocks.packets_of(whole):
            click.echo(lines.line(recorded))

    return take


COMMANDS: dict[str, click.Command] = {"capture": capture}
