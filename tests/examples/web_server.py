"""A web site that exists on the LAN alone: no port of this computer is opened for it.

It makes the network ``examples`` and prints its invite; then it serves until it is ended.
"""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

import userlan


class Greeting(Resource):
    """Tells each visitor who it is: the source address is proven by the tunnel."""

    isLeaf = True

    def __init__(self, lan: userlan.Lan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._lan = lan

    def render_GET(self, request: Request) -> bytes:  # Twisted's name
        """``hello, NAME``."""
        address: Any = request.getClientAddress()  # type: ignore[no-untyped-call]  # Twisted's
        visitor = self._lan.peer_at(address.host)
        return f"hello, {visitor.name if visitor is not None else 'stranger'}\n".encode()


async def serve(reactor: Any, state: str, listen: str) -> None:
    """Until the program is ended."""
    async with userlan.Member(reactor, state, name="site", listen=[listen], embedded_mediator=True) as member:
        site: Any = Site(Greeting(member.lan))  # type: ignore[no-untyped-call]  # Twisted's
        await member.server_endpoint(8000).listen(site)
        networks = member.networks
        print(await (member.invite("examples") if "examples" in networks else member.create("examples")), flush=True)
        await Deferred()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, help="folder of this member's key")
    parser.add_argument("--listen", default="127.0.0.1:0", help="ADDRESS:PORT of its tunnels; 0.0.0.0:41414 for others' computers")
    told = parser.parse_args()
    task.react(lambda reactor: ensureDeferred(serve(reactor, told.state, told.listen)))


if __name__ == "__main__":
    main()
