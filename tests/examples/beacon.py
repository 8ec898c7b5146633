"""Members of a kind find each other by broadcasts, as games do: no server knows who is there.

Each one says its name to everybody every half second, and prints a line for each other one that it hears.
"""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

import userlan

PORT = 47_000
INTERVAL = 0.5
"""Seconds."""
GREETING = b"beacon "


class Beacon(DatagramProtocol):
    """One that calls and listens; ``wanted`` others, and it is done."""

    transport: Any

    def __init__(self, lan: userlan.Lan, wanted: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._lan = lan
        self._wanted = wanted
        self._heard: set[str] = set()

    def call(self) -> None:
        """To everybody in the networks of this member."""
        self.transport.write(GREETING + self._lan.own().name.encode(), ("255.255.255.255", PORT))

    def datagramReceived(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Somebody called. Who it is, the tunnel says, and not the datagram."""
        peer = self._lan.peer_at(address[0])
        if peer is None or not datagram.startswith(GREETING) or peer.name in self._heard:
            return
        self._heard.add(peer.name)
        print(f"{peer.name} is there, at {peer.ipv4}", flush=True)
        self.call()     # it hears of us now, and not half a second later
        if len(self._heard) >= self._wanted and not self.done.called:
            self.done.callback(None)


async def call(reactor: Any, state: str, name: str, invite: str, others: int) -> None:
    """Join, and call until so many others have answered."""
    async with userlan.Member(reactor, state, name=name, listen=["127.0.0.1:0"]) as member:
        await member.join(invite)
        beacon = Beacon(member.lan, others)
        member.datagram_port(beacon, PORT)
        calling = LoopingCall(beacon.call)
        calling.clock = reactor
        calling.start(INTERVAL)
        await beacon.done
        await task.deferLater(reactor, 2 * INTERVAL, calling.stop)     # the others are to hear us as well


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, help="folder of this member's key")
    parser.add_argument("--name", required=True, help="its nickname")
    parser.add_argument("--others", type=int, default=1, help="end when so many have been heard")
    parser.add_argument("invite")
    told = parser.parse_args()
    task.react(lambda reactor: ensureDeferred(call(reactor, told.state, told.name, told.invite, told.others)))


if __name__ == "__main__":
    main()
