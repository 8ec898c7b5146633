"""The node's own commands for the local API (those of the bridges are the bridges'; who is in which network: ``membership_api``)."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, inlineCallbacks

from userlan.app.local_services import local_services
from userlan.app.membership_api import MembershipApi, checked, text_of
from userlan.app.pinging import Pinging
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands, Reply
from userlan.lan.addresses import text
from userlan.node import diagnosis
from userlan.node.nat_report import report

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

MAX_PINGS = 64
"""Pings that run at once for commands; each holds an identifier and a timer."""
NETCHECK_PATIENCE, NETCHECK_POLL = 6.0, 0.05
"""Seconds: twice the longest measurement, and between two looks whether it is done."""
FIRST_IDENTIFIER = 0x8000
"""ICMP identifiers of the command line's pings; the node's own echoes use a lower one."""


class Api:
    """Commands of one node."""

    def __init__(self, program: NodeProgram) -> None:
        self.program = program
        self.node = program.node
        self.membership = MembershipApi(program)
        self._identifiers = itertools.cycle(range(FIRST_IDENTIFIER, FIRST_IDENTIFIER + 0x4000))
        self._told_to_end = False

    def register(self, server: Commands) -> None:
        """Offer all of them."""
        server.register("hello", self.hello)
        server.register("status", lambda arguments: self.program.status())
        server.register("connections", lambda arguments: self.program.connections())
        server.register("netcheck", self.netcheck)
        server.register("doctor", self.doctor)
        server.register("path", self.program.ways.path)
        server.register("advice", self.program.advice.advice)
        server.register("local-services", lambda arguments: local_services(self.program))
        server.register("down", self.down)
        self.membership.register(server)
        server.register("page", self.page)
        server.register("invite-qr", self.invite_qr)
        server.register_streaming("watch", self.program.watching.watch)
        server.register_streaming("ping", self.ping)
        server.register_streaming("nc", self.nc)

    # --- the node ----------------------------------------------------------------------------------------------------

    def hello(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Who answers, and whether it is about to end: then it is of no use to whoever wants to go on with it."""
        ending = self._told_to_end or self.program.ending
        return {"key": text(self.node.ipv6), "process": os.getpid(), "ending": ending}

    def down(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Stop, after the answer has left."""
        self._told_to_end = True
        self.program.reactor.callLater(0.05, lambda: self.program.stop().addErrback(self.program.stop_failed))
        return {}

    def invite_qr(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The invite as a QR code (ISO/IEC 18004): ``size`` modules a side, without the quiet zone, ``rows`` of ``0`` and ``1`` (dark)."""
        import segno

        found = self.membership.invite(arguments)
        rows = ["".join("1" if module else "0" for module in row) for row in segno.make(found["invite"], error="m", micro=False).matrix]
        return {"size": len(rows), "rows": rows, **found}

    @inlineCallbacks
    def page(self, arguments: dict[str, Any]) -> Any:
        """Where the local page is, with a token that lets a browser in, once. A node that is just starting is waited for."""
        yield self.program.when_started()
        page = self.program.page
        if page is None:
            raise CommandError("this node has no page: see page.listen in the configuration")
        return {"url": page.url(), "listen": page.listen}

    def netcheck(self, arguments: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Measure the NAT anew, and tell."""
        watch, reactor = self.node.reachability, self.program.reactor
        now = reactor.seconds()
        if not watch.measure(now, at_once=True):
            raise CommandError("no mediator that could be asked is connected: see `userlan status`")
        done: Deferred[dict[str, Any]] = Deferred()
        self.program.runner.tick(now)

        def look() -> None:
            if not watch.measuring or reactor.seconds() > now + NETCHECK_PATIENCE:
                done.callback(report(self.node))
            else:
                reactor.callLater(NETCHECK_POLL, look)

        look()
        return done

    def doctor(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What ``userlan doctor`` judges; ``peer``: of whom, as it is written, or nothing."""
        written, now, wall = str(arguments.get("peer") or ""), self.program.reactor.seconds(), time.time()
        asked = diagnosis.peer(self.node, written, now, wall) if written else None
        member = self.program.lan.peer_at(asked["address"]) if asked is not None and "address" in asked else None
        bridges = {
            name: bridge.diagnosis(member) for name, bridge in self.program.bridges.items() if hasattr(bridge, "diagnosis")
        }
        return {
            "status": self.program.status(),
            "mediator": diagnosis.mediator(self.node, now, wall),
            "netcheck": report(self.node),
            "peer": asked,
            "port": self.program.port,
            "mtu": self.node.host.mtu,
            "bridges": bridges,
        }

    # --- reaching ----------------------------------------------------------------------------------------------------

    def ping(self, arguments: dict[str, Any], reply: Reply) -> None:
        """Echo requests; each answer is an item."""
        if len(self.program.echoes) >= MAX_PINGS:
            raise CommandError(f"{MAX_PINGS} pings run already")
        answer = checked(self.node.lookup.resolver.find, text_of(arguments, "peer"))
        count = arguments.get("count")
        pinging = Pinging(
            self.program,
            reply,
            next(self._identifiers),
            answer.key,
            answer.name,
            answer.addresses[0],
            int(count) if count else None,
            float(arguments.get("interval", 1.0)),
            int(arguments.get("size", 56)),
            float(arguments.get("timeout", 5.0)),
        )
        reply.on_cancel(pinging.stop)
        pinging.start()

    @inlineCallbacks
    def nc(self, arguments: dict[str, Any], reply: Reply) -> Any:
        """Connect to a peer's port and hand the bytes through."""
        peer, port = text_of(arguments, "peer"), int(arguments.get("port", 0))
        checked(self.node.lookup.resolver.find, peer)
        try:
            yield self.program.splice(self.program.lan.client_endpoint(peer, port), reply)
        except CommandError:
            raise
        except Exception as error:
            raise CommandError(f"{peer}:{port} cannot be reached: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Twisted's errors in plain words."""
    words = {
        "ConnectionRefusedError": "connection refused: nothing is exposed at that port",
        "TimeoutError": "no answer in time",
        "TCPTimedOutError": "no answer in time",
        "NoRouteError": "it is offline",
    }
    return words.get(type(error).__name__, str(error))
