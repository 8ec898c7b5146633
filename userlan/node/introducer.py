"""Members introduce members: what the mediator does, done by whoever knows both, when no mediator is there.

Each member tells the others, by one datagram on the virtual LAN, at which endpoint it sees them and which candidates it has itself. Who
misses a peer asks two members that can be reached and share a network with it; one that has a tunnel to it introduces the two, with start
delays from its own round trips, so that both first packets leave together::

    A (has moved)                      C (knows both)                        B
    |<──────── PeerSight ────────────────>|<──────────── PeerSight ─────────────>|      whenever a tunnel comes up
    |── PeerSight, Meet(B) ──────────────>|                                      |
    |<── Introduce(B, delay a, plan a) ───|─── Introduce(A, delay b, plan b) ───>|
    |<════════════════════ punching, as with a mediator ════════════════════════>|

A datagram may be lost: who asked asks again with the next attempt. The tunnels in between authenticate who speaks.

Trust: an introducing member is as little believed as a mediator. It may name only members of a network that all three are in; its
introductions go through the same rules and budgets for targets (``traversal.candidates``, ``punching``), and are limited by themselves.
Of a plan it may say nothing: an honest one knows nothing to predict from, and what a thousand nodes could be made to search by one
datagram each is no other than a mediator's to say. What it claims of this node's own address is believed where it can be so: a private
one only of a member that is reached by a private one itself.
It in turn tells of a member only what it sees itself, and private candidates only where both may share a private network
(``mediator.reach``).

Limits: one question about a peer in 2 s, to two members; introductions given: 2 a second and ten at once for each who asks, one pair in
2 s unless one of the two has moved; introductions taken: 2 a second and 20 at once from each member.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from math import inf
from typing import NamedTuple

import msgspec

from userlan.control.frames import decode_datagram, encode_datagram
from userlan.control.meeting import Introduce, PeerSight
from userlan.control.messages import CONTROL_PORT, MAX_CANDIDATES, Candidate, Meet, Message
from userlan.lan.roster import Roster
from userlan.mediator.limits import Buckets
from userlan.mediator.matchmaker import MAX_ONE_WAY, PAIR_INTERVAL, SLACK, TOKEN_SIZE
from userlan.mediator.reach import Sight, accepted, named, scope
from userlan.node.peers import PeerLink, PeerState
from userlan.stack.errors import StackError
from userlan.stack.host import Host
from userlan.stack.udp import UdpSocket
from userlan.traversal.candidates import is_private
from userlan.traversal.nat import UNKNOWN, NatBehaviour
from userlan.traversal.step import Plan
from userlan.tunnel.device import Device
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

ASKED = 2
"""Members asked at once about one peer: one of them may not know it either."""
ASK_INTERVAL = 2.0
"""Seconds between two questions about one peer; a punch has had its first second by then."""
GIVE_RATE, GIVE_BURST = 2.0, 10.0
"""Introductions a second, and at once, that one member gets here: it comes back and has ten peers to find."""
TAKE_RATE, TAKE_BURST = 2.0, 20.0
"""Introductions a second, and at once, that are taken from one member."""
MAX_NAMES = 1024
"""Members with a bucket of their own, questions and pairs remembered: those of a full network."""
MAX_SIGHTS = 4096
"""Members whose candidates are kept, about 1 KiB each; beyond it the one told of longest ago is forgotten."""
MAX_DATAGRAM = 4096
"""Octets of a message that is read: an introduction with all candidates has 1,000."""
NO_PLAN = Plan()
SOMEWHERE = "192.0.2.0"
"""An address of the documentation's (RFC 5737): nobody's."""
NOWHERE = Candidate(SOMEWHERE, CONTROL_PORT, UDP, "observed")


class Introduced(NamedTuple):
    """A member introduces a peer. ``observed``: the own host as that member sees it."""

    introducer: bytes
    message: Introduce
    observed: str


class _Told(NamedTuple):
    """What a member said of itself, and where it sees us."""

    candidates: tuple[Candidate, ...]
    nat: NatBehaviour
    sees_us_at: str


class Introducer:
    """Of one node. Times are monotonic seconds."""

    def __init__(
        self, host: Host, roster: Roster, device: Device, links: Mapping[bytes, PeerLink], entropy: Callable[[int], bytes]
    ) -> None:
        self.candidates: tuple[Candidate, ...] = ()
        """The own ones, as the mediators are told."""
        self.nat: NatBehaviour = UNKNOWN
        self.counters: Counter[str] = Counter()
        self._host = host
        self._roster = roster
        self._device = device
        self._links = links
        self._entropy = entropy
        self._socket: UdpSocket = host.udp_bind(CONTROL_PORT)
        self._told: OrderedDict[bytes, _Told] = OrderedDict()
        self._asked: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._given: OrderedDict[tuple[bytes, bytes], tuple[float, dict[bytes, Sight]]] = OrderedDict()
        self._give = Buckets(GIVE_RATE, GIVE_BURST, MAX_NAMES)
        self._take = Buckets(TAKE_RATE, TAKE_BURST, MAX_NAMES)
        self._introduced: list[Introduced] = []
        self._ciphers: dict[bytes, tuple[str, ...]] = {}        # bounded by the roster

    def owns(self, socket: UdpSocket) -> bool:
        """Whether a socket of the host is this part's."""
        return socket is self._socket

    # --- asking ------------------------------------------------------------------------------------------------------

    def tell(self, key: bytes, now: float) -> None:
        """Say to a peer that can be reached at which endpoint it is seen, and where this node could be met. One that is reached by a relay
        is seen nowhere; what the NAT does is told to it all the same: it is the answer to why there is a relay."""
        link, endpoint = self._links.get(key), self._endpoint(key)
        if endpoint is not None:
            seen = Candidate(endpoint.host, endpoint.port, TCP if endpoint.transport == TCP else UDP, "observed")
        elif link is not None and link.state is PeerState.RELAYED:
            seen = NOWHERE
        else:
            return
        self._say(key, PeerSight(seen, self.candidates[:MAX_CANDIDATES], self.nat, self._device.ciphers), now)

    def behaves(self, nat: NatBehaviour, now: float) -> None:
        """What the own NAT does, as far as is known: the others hear of another class, not of more confidence in the same one."""
        if nat is self.nat:
            return
        before, self.nat = self.nat, nat
        if _class_of(before) != _class_of(nat):
            self.tell_all(now)

    def tell_all(self, now: float) -> None:
        """The own candidates or behaviour changed."""
        for key, link in self._links.items():
            if link.state in (PeerState.DIRECT, PeerState.RELAYED):
                self.tell(key, now)

    def ask(self, wanted: bytes, now: float) -> bool:
        """Ask members to introduce this node to a peer; False where nobody can be asked now."""
        peer = self._roster.peers.get(wanted)
        before, turn = self._asked.get(wanted, (now - ASK_INTERVAL, 0))
        if peer is None or now - before < ASK_INTERVAL:
            return False
        helpers = sorted(
            (link.rtt or MAX_ONE_WAY, key)
            for key, link in self._links.items()
            if key != wanted and link.state in (PeerState.DIRECT, PeerState.RELAYED) and self._share(key, wanted)
        )
        if not helpers:
            return False
        for number in range(min(ASKED, len(helpers))):
            _, key = helpers[(turn + number) % len(helpers)]
            self.tell(key, now)
            self._say(key, Meet(wanted), now)
        self._asked[wanted] = (now, turn + ASKED)
        self._asked.move_to_end(wanted)
        if len(self._asked) > MAX_NAMES:
            self._asked.popitem(last=False)
        return True

    # --- hearing -----------------------------------------------------------------------------------------------------

    def readable(self, now: float) -> None:
        """Datagrams came."""
        while (received := self._socket.receive()) is not None:
            key = self._roster.key_at(received.source[0])
            if key is None or key not in self._roster.peers or len(received.payload) > MAX_DATAGRAM:
                self.counters["unread"] += 1
                continue
            message = decode_datagram(bytes(received.payload))
            if isinstance(message, PeerSight):
                if message.ciphers is not None:
                    self._ciphers[key] = message.ciphers
                self._told[key] = _Told(accepted(message.candidates), message.nat, message.observed.host)
                self._told.move_to_end(key)
                if len(self._told) > MAX_SIGHTS:
                    self._told.popitem(last=False)
            elif isinstance(message, Meet):
                self._introduce(key, message.peer, now)
            elif isinstance(message, Introduce):
                self._hear(key, message, now)
            else:
                self.counters["unread"] += 1

    def ciphers(self) -> dict[bytes, tuple[str, ...]]:
        """What members said of the ciphers that they take, by key. Drained."""
        ciphers, self._ciphers = self._ciphers, {}
        return ciphers

    def introduced(self) -> list[Introduced]:
        """Introductions by members, within the limits. Drained."""
        introduced, self._introduced = self._introduced, []
        return introduced

    def forget(self, key: bytes) -> None:
        """A member left the roster."""
        self._told.pop(key, None)
        self._asked.pop(key, None)

    def nat_of(self, key: bytes) -> NatBehaviour | None:
        """What a member says that its NAT does; None: it has said nothing."""
        told = self._told.get(key)
        return told.nat if told is not None else None

    def candidates_of(self, key: bytes) -> tuple[Candidate, ...]:
        """Where a member says that it could be met."""
        told = self._told.get(key)
        return told.candidates if told is not None else ()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _hear(self, introducer: bytes, message: Introduce, now: float) -> None:
        if not self._share(introducer, message.peer) or not self._take.take(introducer, now):
            self.counters["introductions-refused"] += 1
            return
        if message.plan != NO_PLAN:
            self.counters["plans-refused"] += 1
            message = msgspec.structs.replace(message, plan=NO_PLAN)
        self._introduced.append(Introduced(introducer, message, self._seen_at(introducer)))

    def _seen_at(self, introducer: bytes) -> str:
        """The own host as a member sees it, as far as it is believed; else one of the Internet's, with which nothing private fits."""
        told, endpoint = self._told.get(introducer), self._endpoint(introducer)
        near = endpoint is not None and is_private(endpoint.host)
        if told is None or scope(told.sees_us_at) == "unusable" or (scope(told.sees_us_at) != "public" and not near):
            return SOMEWHERE
        return told.sees_us_at

    def _introduce(self, asker: bytes, wanted: bytes, now: float) -> None:
        """Both are told of each other at once, where this node has a tunnel to each."""
        pair = (min(asker, wanted), max(asker, wanted))
        if asker == wanted or not self._share(asker, wanted) or not self._give.take(asker, now):
            self.counters["meetings-refused"] += 1
            return
        first, second = self._sight(asker, now), self._sight(wanted, now)
        if first is None or second is None or self._lately(pair, {asker: first, wanted: second}, now):
            self.counters["meetings-not-given"] += 1
            return
        ways = [min((self._links[key].rtt or 0.0) / 2, MAX_ONE_WAY) for key in (asker, wanted)]
        latest, token = max(ways) + SLACK, self._entropy(TOKEN_SIZE)
        self._say(asker, Introduce(wanted, named(second, first), latest - ways[0], token, first=asker < wanted), now)
        self._say(wanted, Introduce(asker, named(first, second), latest - ways[1], token, first=wanted < asker), now)
        self.counters["introductions"] += 1

    def _lately(self, pair: tuple[bytes, bytes], sights: dict[bytes, Sight], now: float) -> bool:
        """Whether a pair was introduced a moment ago; not, where one of the two is seen elsewhere since: of two that move at once each
        asks, and who asks first is told of where the other one was."""
        at, seen = self._given.get(pair, (-inf, None))
        if now - at < PAIR_INTERVAL and seen == sights:
            return True
        self._given[pair] = (now, sights)
        self._given.move_to_end(pair)
        if len(self._given) > MAX_NAMES:
            self._given.popitem(last=False)
        return False

    def _sight(self, key: bytes, now: float) -> Sight | None:
        """Where this node sees a member whose tunnel is up, by its own address."""
        endpoint, peer = self._endpoint(key), self._device.peer(key)
        if endpoint is None or peer is None or not peer.has_session(now):
            return None
        told = self._told.get(key)
        return Sight(Endpoint(endpoint.transport, endpoint.host, endpoint.port), told.candidates if told is not None else (), False)

    def _endpoint(self, key: bytes) -> Endpoint | None:
        """Where a reachable member is seen; a relay's address says nothing of it."""
        link, peer = self._links.get(key), self._device.peer(key)
        if link is None or peer is None or peer.endpoint is None or link.state is not PeerState.DIRECT:
            return None
        return None if peer.endpoint.transport == RELAY else peer.endpoint

    def _share(self, one: bytes, other: bytes) -> bool:
        """Whether two members have a network in common, in which this node is, too."""
        peers = self._roster.peers
        return one in peers and other in peers and not set(peers[one].networks).isdisjoint(peers[other].networks)

    def _say(self, key: bytes, message: Message, now: float) -> None:
        peer = self._roster.peers.get(key)
        if peer is None:
            return
        try:
            self._socket.send(encode_datagram(message), (peer.ipv6, CONTROL_PORT), now)
        except StackError as error:
            self.counters[error.reason] += 1


def _class_of(nat: NatBehaviour) -> NatBehaviour:
    """Without what grows by and by."""
    udp, tcp = (msgspec.structs.replace(policy, lifetime=0.0, rate=0.0) for policy in (nat.udp, nat.tcp))
    return msgspec.structs.replace(nat, confidence=0.0, udp=udp, tcp=tcp)
