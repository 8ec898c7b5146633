"""Bonjour across the LAN: services announced by multicast DNS (RFC 6762, 6763) on one member's computer appear on the others'.

::

    this computer's programs ── its own link ── LocalSide ─ Offers  ─▶ LanSide ── the LAN ── members, and kernels attached to it
      (avahi, browsers …)                                 ◀─ Remotes ─

    Link        one member of one link: Responder, Querier, Cache; sans-IO      mdns_link.py, _responder, _querier, _cache
    messages    names, records, datagrams                                       mdns_wire.py, mdns_records.py
    sides       the sockets of the two links                                    mdns_sides.py
    Offers      local services → LAN, exposed on demand                         mdns_offers.py
    Remotes     services of members → this computer, forwarded on demand        mdns_remote.py

On the LAN a node is an ordinary multicast DNS responder at its own virtual address: members that have a kernel there (a TAP, ``run``)
see its services with their own avahi, and are seen. Locally the services of members lead to a loopback alias and leave the computer in
no way, unless ``physical: advertise`` asks for it.

While the whole computer is attached to the LAN its programs speak there themselves: then nothing is relayed but what is exposed by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from bridges.expose import ExposeBridge
from bridges.folders import FoldersBridge
from bridges.mdns_link import AskedFor, Event
from bridges.mdns_offers import Offers
from bridges.mdns_querier import Seen
from bridges.mdns_records import subtype_of
from bridges.mdns_remote import Remotes
from bridges.mdns_responder import Conflict
from bridges.mdns_settings import MdnsOptions
from bridges.mdns_sides import LanSide, LocalSide, Side
from bridges.mdns_wire import Name, fold
from bridges.on_demand import OnDemand
from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.interfaces import Interface, interfaces
from userlan.driver.lan import Lan, PeerInfo

LOOK_INTERVAL = 10.0
"""Seconds between two looks at this computer's interfaces."""
GREET_INTERVAL = 60.0
"""Seconds after which a member that is reached again is greeted again."""
AGAIN_DELAY, AGAIN_INTERVAL = 2.0, 10.0
"""Seconds from a member's being reached to the announcements to all, by when it has told which groups it hears: a kernel behind its node
takes those, and not the greeting, which is its node's. And between two times: one for all who come meanwhile."""
MAX_SUBTYPES_ASKED = 64
"""Subtypes that are asked for on one side since somebody on the other one asks for them."""


class MdnsBridge:
    """The bridge ``mdns``."""

    name: ClassVar[str] = "mdns"
    Options: ClassVar[type[msgspec.Struct]] = MdnsOptions
    _log = Logger()

    def __init__(
        self, lan: Lan, options: MdnsOptions, store: BridgeStore, interfaces: Callable[[], list[Interface]] = interfaces
    ) -> None:
        self.lan = lan
        self._options = options
        self._lan_side = LanSide(lan, self._on_lan)
        self._local_side = LocalSide(
            lan.reactor, self._locally, options.browse, options.advertise, interfaces, options.interfaces
        )
        self._offers = Offers(lan, options, self._lan_side, self._local_side)
        self._remotes = Remotes(lan, options, self._lan_side, self._local_side)
        self._look = LoopingCall(self._look_around)
        self._look.clock = lan.reactor
        self._unobserve: list[Callable[[], object]] = []
        self._greeted: dict[str, float] = {}
        self._again: Any = None
        self._again_at = float("-inf")
        self._subtypes: dict[tuple[Side, Name], None] = {}
        self._told = ""
        self._error = ""

    def start(self) -> Deferred[None]:
        """Listen on both sides. What cannot be had is told by the status: the node runs without it."""
        if self._look.running or not self._options.enabled:
            return succeed(None)
        OnDemand.of(self.lan).join(self)
        try:
            self._lan_side.open()
        except CannotListenError as error:
            self._error = f"multicast DNS on the LAN: {error}"
            self._log.warn("{error}", error=self._error)
            return succeed(None)
        self._unobserve = [self.lan.observe(self._members_changed), self.lan.observe_reached(self._reached)]
        for source in (ExposeBridge.of(self.lan), FoldersBridge.of(self.lan)):
            if source is not None:
                self._unobserve.append(source.observe(self._offers.refresh))
        self._look.start(LOOK_INTERVAL)
        self._local_side.run()
        self._members_changed()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Take everything back. Idempotent."""
        if self._look.running:
            self._look.stop()
        for unobserve in self._unobserve:
            unobserve()
        self._unobserve.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._offers.close()
        self._remotes.close()
        self._lan_side.close()
        self._local_side.close()
        return OnDemand.of(self.lan).leave(self)

    def status(self) -> object:
        """What is offered, how many are shown, what is wrong."""
        offered, shown = self._offers.listing(), self._remotes.listing()
        error = self._error or self._local_side.error
        if not offered and not shown and not error:
            return None
        text = f"{len(offered)} offered, {len(shown)} of members: `userlan services`" + (f"  ({error})" if error else "")
        counters = {"lan": dict(self._lan_side.link.counters), "local": dict(self._local_side.link.counters)}
        return {"text": text, "offered": offered, "found": len(shown), "error": error, "counters": counters}

    def diagnosis(self, peer: PeerInfo | None) -> dict[str, object]:
        """What is relayed at all, what members offer, and what of this computer is held back by the patterns."""
        options = self._options
        return {
            "enabled": options.enabled,
            "show": options.show,
            "offer": list(options.offer),
            "deny": list(options.deny),
            "with": options.policy.describe(),
            "admits": None if peer is None else options.policy.admits(self.lan, peer),
            "error": self._error or self._local_side.error,
            "attached": self._offers.attached,
            "services": self._remotes.listing(),
            "offered": self._offers.listing(),
            "held_back": self._offers.held_back(),
        }

    def commands(self) -> dict[str, CommandHandler]:
        """``services`` lists what members offer."""
        return {"services": lambda arguments: self._remotes.listing()}

    # -- what happens

    def _on_lan(self, event: Event) -> None:
        if isinstance(event, Seen):
            self._remotes.seen(event)
        elif isinstance(event, Conflict):
            self._offers.conflict(event.key)
        else:
            self._asked_for(event, self._local_side, self._offers.kinds)

    def _locally(self, event: Event) -> None:
        if isinstance(event, Seen):
            self._offers.seen(event)
        elif isinstance(event, Conflict):
            self._remotes.conflict(event.key)
        else:
            self._asked_for(event, self._lan_side, self._remotes.kinds)

    def _asked_for(self, event: AskedFor, other: Side, kinds: Callable[[], set[Name]]) -> None:
        """Somebody looks for a subtype: no browsing tells which there are, so the other side is asked for it (RFC 6763 7.1)."""
        under = subtype_of(event.name)
        if under is None or fold(under[1]) not in kinds() or (other, fold(event.name)) in self._subtypes:
            return
        if len(self._subtypes) < MAX_SUBTYPES_ASKED:
            self._subtypes[other, fold(event.name)] = None
            other.link.querier.browse(event.name, other.now())
            other.touch()

    def _members_changed(self) -> None:
        keys = {peer.key for peer in self.lan.members()}
        for origin in self._lan_side.link.cache.origins():
            if origin not in keys:
                self._lan_side.link.querier.forget(origin)
        self._greeted = {key: when for key, when in self._greeted.items() if key in keys}
        self._refresh()

    def _reached(self, peer: PeerInfo) -> None:
        """There is a way to a member again: neither has heard what the other one said meanwhile."""
        now = self.lan.reactor.seconds()
        address = peer.ipv4 or peer.ipv6
        if address and now - self._greeted.get(peer.key, float("-inf")) >= GREET_INTERVAL:
            self._greeted[peer.key] = now
            self._lan_side.link.greet(address)
            self._lan_side.touch()
            if self._again is None:
                delay = max(AGAIN_DELAY, self._again_at + AGAIN_INTERVAL - now)
                self._again = self.lan.reactor.callLater(delay, self._announce_again)

    def _announce_again(self) -> None:
        self._again = None
        self._again_at = self.lan.reactor.seconds()
        self._lan_side.link.responder.again(self._again_at)
        self._lan_side.touch()

    def _look_around(self) -> None:
        own = self.lan.own()
        changed = self._local_side.look(tuple(address for address in (own.ipv4, own.ipv6) if address))
        if self._local_side.error != self._told:
            self._told = self._local_side.error
            if self._told:
                self._log.warn("{error}", error=self._told)
        if changed:
            self._remotes.moved()
            self._refresh()

    def _refresh(self) -> None:
        own: Any = self.lan.own()
        attached = self.lan.attached or bool({own.ipv4, own.ipv6} & self._local_side.own)
        self._offers.attached = self._remotes.attached = attached
        self._remotes.refresh()
        self._offers.refresh()
        self._lan_side.touch()
