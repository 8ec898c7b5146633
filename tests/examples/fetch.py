"""A page of a member, by its name: Twisted's own HTTP client over the LAN's endpoints."""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Protocol
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

import userlan


@implementer(IAgentEndpointFactory)
class OverTheLan:
    """Where an Agent connects to: members, and nobody else."""

    def __init__(self, member: userlan.Member) -> None:
        self._member = member

    def endpointForURI(self, uri: URI) -> Any:  # Twisted's name
        """The member's port."""
        return self._member.client_endpoint(uri.host.decode(), uri.port)


class Page(Protocol):
    """The whole body of a response."""

    def __init__(self) -> None:
        self.complete: Deferred[bytes] = Deferred()
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data

    def connectionLost(self, reason: object = None) -> None:
        self.complete.callback(self._data)


async def fetch(reactor: Any, state: str, invite: str, url: str) -> None:
    """Join, ask, print, leave the process."""
    async with userlan.Member(reactor, state, name="reader", listen=["127.0.0.1:0"]) as member:
        await member.join(invite)
        agent: Any = Agent.usingEndpointFactory(reactor, OverTheLan(member))  # type: ignore[no-untyped-call]  # Twisted's
        response = await agent.request(b"GET", url.encode())
        page = Page()
        response.deliverBody(page)
        print((await page.complete).decode(), end="", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True, help="folder of this member's key")
    parser.add_argument("invite")
    parser.add_argument("url", help="http://MEMBER:PORT/…")
    told = parser.parse_args()
    task.react(lambda reactor: ensureDeferred(fetch(reactor, told.state, told.invite, told.url)))


if __name__ == "__main__":
    main()
