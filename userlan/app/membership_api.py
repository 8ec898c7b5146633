"""Who is in which network, as commands of the local API: create, join, leave, owners' words, names, and whom this node blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, inlineCallbacks
from twisted.logger import Logger

from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands
from userlan.driver.threads import in_thread
from userlan.lan.addresses import key_bytes, key_text, text
from userlan.lan.invite import Invite
from userlan.lan.names import UnknownName, check_network, check_nick
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import Admitted, ApplicantCame, ApplicantGone, ApplicationRefused, MemberUnapproved
from userlan.node.requests import RefusalError
from userlan.node.status import applicants, unapproved

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram


class MembershipApi:
    """Commands of one node."""

    log = Logger()

    def __init__(self, program: NodeProgram) -> None:
        self.program = program
        self.node = program.node
        self._fresh: set[bytes] = set()
        """Mediators that came with an invite by which this node has not joined yet."""

    def register(self, server: Commands) -> None:
        """Offer all of them."""
        server.register("create", self.create)
        server.register("join", self.join)
        server.register("leave", self.leave)
        server.register("invite", self.invite)
        server.register("evict", self.evict)
        server.register("nick", self.nick)
        server.register("lock", lambda arguments: self.lock(arguments, True))
        server.register("unlock", lambda arguments: self.lock(arguments, False))
        server.register("password", self.password)
        server.register("applicants", self.applicants)
        server.register("approve", lambda arguments: self.judge(arguments, True))
        server.register("deny", lambda arguments: self.judge(arguments, False))
        server.register("block", self.block)
        server.register("unblock", self.unblock)
        server.register("blocked", self.blocked)

    def happened(self, event: object) -> None:
        """An event of the node's, if it is one of these: for the log, and for the person in front of this computer."""
        match event:
            case ApplicantCame() if self.program.lan.companions is not None and key_text(event.key) in self.program.lan.companions.ours:
                judged = self.judge({"member": key_text(event.key), "network": event.network}, True)
                judged.addErrback(lambda failure: self.log.failure("a companion of this node was not approved", failure))
            case ApplicantCame():
                self.log.info("{name} asks to join {network}", name=event.name, network=event.network)
                subject = f"applicant {event.network} {key_text(event.key)}"
                self.program.lan.tell_news("member", f"{event.name} wants to join {event.network}", "Approve or deny it.", subject)
            case ApplicantGone():
                self.program.lan.withdraw_news(f"applicant {event.network} {key_text(event.key)}")
            case MemberUnapproved():
                what = "the mediator lists {name} in {network}, whom its owner has not approved: not let in ({key})"
                self.log.warn(what, name=event.name, network=event.network, key=key_text(event.key))
            case Admitted():
                self.log.info("a member of {network}: its owner has approved", network=event.network)
                self.program.lan.tell_news("member", f"You are in {event.network}", "Its owner has approved.", f"member {event.network}")
            case ApplicationRefused():
                self.log.warn("no member of {network}: {reason}", network=event.network, reason=event.reason)
                self.program.lan.tell_news("member", f"You are not in {event.network}", event.reason, f"member {event.network}")

    # --- making, joining, leaving ------------------------------------------------------------------------------------

    @inlineCallbacks
    def create(self, arguments: dict[str, Any]) -> Any:
        """Make a network; its invite. ``approval``: its owner approves new members."""
        network, approval = checked(check_network, text_of(arguments, "network")), arguments.get("approval") is True
        mediator = self._mediator()
        secret = yield self._secret(arguments.get("password"), network, mediator)
        yield self._request(lambda now: self.node.create(network, mediator, secret, now, approval))
        return self._invite(network)

    @inlineCallbacks
    def join(self, arguments: dict[str, Any]) -> Any:
        """Join by invite, or by name and password."""
        now = self.program.reactor.seconds()
        if arguments.get("invite"):
            invite = checked(Invite.parse, text_of(arguments, "invite"))
            if invite.network is None:
                raise CommandError("this link names no network: it is a mediator's address, not an invite")
            network, mediator = invite.network, invite.mediator_key
            if mediator not in self.node.links:
                self._fresh.add(mediator)
            try:
                self.node.mediators.add(invite.mediator, now, self._is_embedded(mediator))
            except RefusalError as error:
                self._fresh.discard(mediator)
                raise CommandError(str(error)) from None
            self.program.resolve(mediator)
            given = invite.secret
        else:
            network, mediator, given = checked(check_network, text_of(arguments, "network")), self._mediator(), None
        try:
            if given is not None:
                secret = NetworkSecret(given)
            else:
                secret = yield self._secret(arguments.get("password"), network, mediator)
            done = yield self._request(lambda now: self.node.join(network, mediator, secret, now))
        except CommandError:
            self._not_needed(mediator)
            raise
        self._fresh.discard(mediator)
        if done.waiting:
            return {"network": network, "waiting": True, "owner": done.name}
        own = self.node.lookup.own_info()
        known = self.node.roster.networks.get(network)
        return {
            "network": network,
            "waiting": False,
            "name": done.name or own.name,
            "ipv4": text(own.ipv4) if own.ipv4 else None,
            "members": len(known.members) if known is not None else 1,
        }

    @inlineCallbacks
    def leave(self, arguments: dict[str, Any]) -> Any:
        """Leave a network, or stop waiting for it. ``later``: it is done, and the mediator hears of it when it is back."""
        network = text_of(arguments, "network").lower()
        done = yield self._request(lambda now: self.node.leave(network, now))
        return {"network": network, "later": done.later}

    def invite(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The invite of a network that this node is in."""
        return self._invite(text_of(arguments, "network").lower())

    # --- the owner's words -------------------------------------------------------------------------------------------

    def invites(self) -> dict[str, str]:
        """Those of all networks that have admitted this node, by name."""
        invites = {}
        for network in self.node.keyring:
            held = self.node.keyring.get(network)
            with suppress(CommandError):        # of a mediator that was given up
                if held is not None and held.confirmed:
                    invites[network] = self._invite(network)["invite"]
        return invites

    @inlineCallbacks
    def evict(self, arguments: dict[str, Any]) -> Any:
        """Put a member out. ``later``: as of ``leave``."""
        member = text_of(arguments, "member")
        network = arguments.get("network")
        key = self._peer(member)
        owned = [name for name, known in self.node.roster.networks.items() if known.owner == self.node.key]
        if network is None:
            shared = [name for name in owned if key in self.node.roster.networks[name].members]
            if len(shared) != 1:
                which = "none of your networks has that member" if not shared else f"say from which: {', '.join(shared)}"
                raise CommandError(f"{member} cannot be evicted: {which}")
            network = shared[0]
        done = yield self._request(lambda now: self.node.evict(str(network), key, now))
        return {"name": member, "network": network, "later": done.later}

    @inlineCallbacks
    def lock(self, arguments: dict[str, Any], locked: bool) -> Any:
        """Close a network to new members, or open it."""
        network = text_of(arguments, "network").lower()
        yield self._request(lambda now: self.node.asked(self.node.membership.owner.lock(network, locked, now), now))
        return {"network": network, "locked": locked}

    @inlineCallbacks
    def password(self, arguments: dict[str, Any]) -> Any:
        """Give a network another password; its new invite. ``later``: as of ``leave``."""
        network, password = text_of(arguments, "network").lower(), text_of(arguments, "password")
        held = self.node.keyring.get(network)
        if held is None:
            raise CommandError(f"this node is in no network {network!r}")
        secret = yield self._secret(password, network, held.mediator)
        done = yield self._request(lambda now: self.node.asked(self.node.membership.owner.password(network, secret, now), now))
        return {**self._invite(network), "later": done.later}

    def applicants(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Who waits for this node's word, in all of its networks."""
        owned = sorted(self.node.membership.applications.applicants)
        return [{"network": network, **row} for network in owned for row in applicants(self.node, network)]

    def _listed(self) -> list[dict[str, Any]]:
        """Who is listed without approval in this node's own networks, and does not wait for it."""
        waiting = {(row["network"], row["key"]) for row in self.applicants({})}
        owned = sorted(name for name, known in self.node.roster.networks.items() if known.owner == self.node.key)
        rows = [{"network": network, **row} for network in owned for row in unapproved(self.node, network)]
        return [row for row in rows if (row["network"], row["key"]) not in waiting]

    @inlineCallbacks
    def judge(self, arguments: dict[str, Any], approved: bool) -> Any:
        """Take an applicant in, or deny it; it is named by its name or key. Who is listed without approval can be approved, too."""
        written, network = text_of(arguments, "member"), arguments.get("network")
        rows = [
            row
            for row in (*self.applicants({}), *(self._listed() if approved else ()))
            if written in (row["key"], row["name"]) or written.lower() == row["name"]
            if network is None or row["network"] == str(network).lower()
        ]
        if not rows:
            where = f" to join {network}" if network is not None else ""
            raise CommandError(f"nobody called {written!r} waits{where}: see `userlan applicants`")
        if len({row["key"] for row in rows}) > 1:
            raise CommandError(f"{len(rows)} who wait are called {written!r}: name one by its key, see `userlan applicants --json`")
        if len(rows) > 1:
            raise CommandError(f"{written} waits for {' and '.join(row['network'] for row in rows)}: say which")
        name, key = rows[0]["network"], key_bytes(rows[0]["key"])
        yield self._request(lambda now: self.node.asked(self.node.membership.owner.judge(name, key, approved, now), now))
        return {"network": name, "name": rows[0]["name"], "key": rows[0]["key"]}

    # --- this node alone ---------------------------------------------------------------------------------------------

    def block(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Have nothing to do with a peer."""
        key = self._peer(text_of(arguments, "peer"))
        name = self.node.roster.name_of(key)
        return self._blocking(self.node.blocking.block, key, name)

    def unblock(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Take a peer back, whether it is a member at present or not."""
        written = text_of(arguments, "peer")
        key = self.node.blocking.blocked.find(written) or self._peer(written)
        return self._blocking(self.node.blocking.unblock, key, self.node.roster.name_of(key) or written)

    def blocked(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Whom this node blocks, by the names that they have now, or had as members."""
        kept = self.node.blocking.blocked.save()
        return [{"name": self.node.roster.name_of(key_bytes(key)) or name, "key": key} for key, name in kept.items()]

    @inlineCallbacks
    def nick(self, arguments: dict[str, Any]) -> Any:
        """Rename this node. ``later``: a mediator, and the members by it, hears of it when it is back."""
        name = checked(check_nick, text_of(arguments, "name"))
        try:
            numbers = self.node.nick(name, self.program.reactor.seconds())
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.program.runner.touch()
        # All are waited for from now on: mediators answer in any order.
        done = yield gatherResults([self._wait(number) for number in numbers], consumeErrors=True).addErrback(_first_error)
        self.node.renamed(name)
        self.program.runner.touch()
        return {"name": name, "later": any(one.later for one in done)}

    # --- inside ------------------------------------------------------------------------------------------------------

    def _blocking(self, change: Callable[[bytes, float], None], key: bytes, name: str) -> dict[str, Any]:
        try:
            change(key, self.program.reactor.seconds())
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from None
        self.program.runner.touch()
        self.program.lan.members_changed()
        return {"name": name, "key": key_text(key)}

    def _peer(self, written: str) -> bytes:
        """A member's key, by that or by its name or address."""
        try:
            key = key_bytes(written)
        except ValueError:
            key = b""
        if key in self.node.roster.peers:
            return key
        found: bytes = checked(self.node.lookup.resolver.find, written).key
        return found

    def _not_needed(self, mediator: bytes) -> None:
        """A join has failed: its mediator goes, unless it was there before, or another join at it has succeeded or is under way."""
        keyring = self.node.keyring
        held = any(one.mediator == mediator for network in keyring if (one := keyring.get(network)) is not None)
        if mediator in self._fresh and not held and not self.node.membership.requests.of(mediator):
            self._fresh.discard(mediator)
            self.node.mediators.remove(mediator, self.program.reactor.seconds())

    def _mediator(self) -> bytes:
        key = self.node.mediators.primary()
        if key is None:
            raise CommandError("this node knows no mediator: `userlan up --mediator URL`, or join by a whole invite")
        return key

    def _is_embedded(self, key: bytes) -> bool:
        return self.program.embedded is not None and self.program.embedded.public_key == key

    def _invite(self, network: str) -> dict[str, Any]:
        held = self.node.keyring.get(network)
        if held is None or network in self.node.membership.applications.waiting:
            known = ", ".join(sorted(self.node.roster.networks)) or "none"
            raise CommandError(f"this node is in no network {network!r} (it is in: {known})")
        link = self.program.mediator_links(held.mediator)
        return {"invite": str(Invite(link.endpoints, link.mediator_key, network, held.secrets[0].value)), "network": network}

    def _secret(self, password: Any, network: str, mediator: bytes) -> Deferred[NetworkSecret]:
        """From the password (half a second of Argon2id, in a thread), or a fresh one."""
        if password:
            found = in_thread(self.program.reactor, NetworkSecret.from_password, str(password), network, mediator)
            return found.addErrback(_as_command_error)
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


def text_of(arguments: dict[str, Any], name: str) -> str:
    """A text argument; CommandError where it is missing."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandError(f"the argument {name!r} is missing")
    return value


def checked(parse: Callable[[str], Any], written: str) -> Any:
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
