"""The node's own commands for the local API (those of the bridges are the bridges')."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, inlineCallbacks
from twisted.internet.threads import deferToThread

from userlan.app.pinging import Pinging
from userlan.driver.bridge import CommandError
from userlan.driver.local import LocalServer, Reply
from userlan.lan.addresses import text
from userlan.lan.invite import Invite
from userlan.lan.names import UnknownName, check_network, check_nick
from userlan.lan.secrets import NetworkSecret
from userlan.node import diagnosis
from userlan.node.membership import RefusalError
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
        self._identifiers = itertools.cycle(range(FIRST_IDENTIFIER, FIRST_IDENTIFIER + 0x4000))

    def register(self, server: LocalServer) -> None:
        """Offer all of them."""
        server.register("hello", lambda arguments: {"key": text(self.node.ipv6)})
        server.register("status", lambda arguments: self.program.status())
        server.register("connections", lambda arguments: self.program.connections())
        server.register("netcheck", self.netcheck)
        server.register("doctor", self.doctor)
        server.register("down", self.down)
        server.register("create", self.create)
        server.register("join", self.join)
        server.register("leave", self.leave)
        server.register("invite", self.invite)
        server.register("evict", self.evict)
        server.register("nick", self.nick)
        server.register_streaming("ping", self.ping)
        server.register_streaming("nc", self.nc)

    # --- networks ----------------------------------------------------------------------------------------------------

    def down(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Stop, after the answer has left."""
        self.program.reactor.callLater(0.05, self.program.stop)
        return {}

    @inlineCallbacks
    def create(self, arguments: dict[str, Any]) -> Any:
        """Make a network; its invite."""
        network = _checked(check_network, _text(arguments, "network"))
        mediator = self._mediator()
        secret = yield self._secret(arguments.get("password"), network, mediator)
        yield self._request(lambda now: self.node.create(network, mediator, secret, now))
        return self._invite(network)

    @inlineCallbacks
    def join(self, arguments: dict[str, Any]) -> Any:
        """Join by invite, or by name and password."""
        now = self.program.reactor.seconds()
        fresh = None
        if arguments.get("invite"):
            invite = _checked(Invite.parse, _text(arguments, "invite"))
            if invite.network is None:
                raise CommandError("this link names no network: it is a mediator's address, not an invite")
            network, mediator = invite.network, invite.mediator_key
            if mediator not in self.node.links:
                fresh = mediator
            try:
                self.node.mediators.add(invite.mediator, now, self._is_embedded(mediator))
            except RefusalError as error:
                raise CommandError(str(error)) from None
            self.program.resolve(mediator)
            given = invite.secret
        else:
            network, mediator, given = _checked(check_network, _text(arguments, "network")), self._mediator(), None
        try:
            if given is not None:
                secret = NetworkSecret(given)
            else:
                secret = yield self._secret(arguments.get("password"), network, mediator)
            done = yield self._request(lambda now: self.node.join(network, mediator, secret, now))
        except CommandError:
            if fresh is not None:
                self.node.mediators.remove(fresh, self.program.reactor.seconds())
            raise
        own = self.node.lookup.own_info()
        known = self.node.roster.networks.get(network)
        return {
            "network": network,
            "name": done.name or own.name,
            "ipv4": text(own.ipv4) if own.ipv4 else None,
            "members": len(known.members) if known is not None else 1,
        }

    @inlineCallbacks
    def leave(self, arguments: dict[str, Any]) -> Any:
        """Leave a network."""
        network = _text(arguments, "network").lower()
        yield self._request(lambda now: self.node.leave(network, now))
        return {"network": network}

    def invite(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The invite of a network that this node is in."""
        return self._invite(_text(arguments, "network").lower())

    def invites(self) -> dict[str, str]:
        """Those of all networks that have admitted this node, by name."""
        held = {network: self.node.keyring.get(network) for network in self.node.keyring}
        return {network: self._invite(network)["invite"] for network, one in held.items() if one is not None and one.confirmed}

    @inlineCallbacks
    def evict(self, arguments: dict[str, Any]) -> Any:
        """Put a member out."""
        member = _text(arguments, "member")
        network = arguments.get("network")
        answer = _checked(self.node.lookup.resolver.find, member)
        owned = [name for name, known in self.node.roster.networks.items() if known.owner == self.node.key]
        if network is None:
            shared = [name for name in owned if answer.key in self.node.roster.networks[name].members]
            if len(shared) != 1:
                which = "none of your networks has that member" if not shared else f"say from which: {', '.join(shared)}"
                raise CommandError(f"{member} cannot be evicted: {which}")
            network = shared[0]
        yield self._request(lambda now: self.node.evict(str(network), answer.key, now))
        return {"name": member, "network": network}

    @inlineCallbacks
    def nick(self, arguments: dict[str, Any]) -> Any:
        """Rename this node."""
        name = _checked(check_nick, _text(arguments, "name"))
        try:
            numbers = self.node.nick(name, self.program.reactor.seconds())
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.program.runner.touch()
        # All are waited for from now on: mediators answer in any order.
        yield gatherResults([self._wait(number) for number in numbers], consumeErrors=True).addErrback(_first_error)
        self.node.renamed(name)
        self.program.runner.touch()
        return {"name": name}

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
        answer = _checked(self.node.lookup.resolver.find, _text(arguments, "peer"))
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
        peer, port = _text(arguments, "peer"), int(arguments.get("port", 0))
        _checked(self.node.lookup.resolver.find, peer)
        try:
            yield self.program.splice(self.program.lan.client_endpoint(peer, port), reply)
        except CommandError:
            raise
        except Exception as error:
            raise CommandError(f"{peer}:{port} cannot be reached: {_reason(error)}") from None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _mediator(self) -> bytes:
        key = self.node.mediators.primary()
        if key is None:
            raise CommandError("this node knows no mediator: `userlan up --mediator URL`, or join by a whole invite")
        return key

    def _is_embedded(self, key: bytes) -> bool:
        return self.program.embedded is not None and self.program.embedded.public_key == key

    def _invite(self, network: str) -> dict[str, Any]:
        held = self.node.keyring.get(network)
        if held is None:
            known = ", ".join(sorted(self.node.keyring)) or "none"
            raise CommandError(f"this node is in no network {network!r} (it is in: {known})")
        link = self.program.mediator_links(held.mediator)
        return {"invite": str(Invite(link.endpoints, link.mediator_key, network, held.secrets[0].value)), "network": network}

    def _secret(self, password: Any, network: str, mediator: bytes) -> Deferred[NetworkSecret]:
        """From the password (half a second of Argon2id, in a thread), or a fresh one."""
        if password:
            found: Deferred[NetworkSecret] = deferToThread(NetworkSecret.from_password, str(password), network, mediator)
            return found.addErrback(_as_command_error)
        import os

        fresh: Deferred[NetworkSecret] = Deferred()
        fresh.callback(NetworkSecret.generate(os.urandom))
        return fresh

    def _request(self, ask: Callable[[float], int]) -> Deferred[Any]:
        try:
            number = ask(self.program.reactor.seconds())
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.program.runner.touch()
        return self._wait(number)

    def _wait(self, number: int) -> Deferred[Any]:
        def called_off(_: Deferred[Any]) -> None:
            self.program.waiting.pop(number, None)

        waiting: Deferred[Any] = Deferred(called_off)
        self.program.waiting[number] = waiting
        return waiting


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandError(f"the argument {name!r} is missing")
    return value


def _checked(parse: Callable[[str], Any], written: str) -> Any:
    """A parser's value; its ValueError (one line) as a command's."""
    try:
        return parse(written)
    except (ValueError, UnknownName) as error:
        raise CommandError(str(error)) from None


def _as_command_error(failure: Any) -> Any:
    failure.trap(ValueError)
    raise CommandError(failure.getErrorMessage())


def _first_error(failure: Any) -> Any:
    failure.trap(FirstError)
    return failure.value.subFailure


def _reason(error: Exception) -> str:
    """Twisted's errors in plain words."""
    words = {
        "ConnectionRefusedError": "connection refused: nothing is exposed at that port",
        "TimeoutError": "no answer in time",
        "TCPTimedOutError": "no answer in time",
        "NoRouteError": "it is offline",
    }
    return words.get(type(error).__name__, str(error))
