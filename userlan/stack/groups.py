"""Multicast groups: what sockets want to hear, what the host therefore accepts, and how routers learn of it.

IGMPv3 (RFC 3376; now STD 100, RFC 9776) and MLDv2 (RFC 3810; STD 101, RFC 9777), the host's side::

    socket.join(group, sources)          a query                      another member's report (older versions)
           │                                │                                  │
           ▼                                ▼                                  ▼
    wishes: group → socket → Filter      igmp.parse, mld.parse ──▶ Reporter (one for each protocol)
           │ merged (RFC 3376 3.2)                                      │ state changes at once, again at random
           ▼                                                            │ answers after a random delay
    state: group → Filter ── change ──────────────────────────────────▶ ▼
           │                                                         Host.packets
           ▼
    admits(packet): the host takes it; hears(socket, …): this socket does

**Filters.** Each socket wants of a group either some sources alone (INCLUDE) or all but some (EXCLUDE). The host wants
what any of its sockets wants: one filter for each group. A packet is taken when the host's filter admits its source, and
reaches exactly those sockets on its port whose own does. 224.0.0.1 and ff02::1 are always heard by the host (a socket
must join them as any other) and never told of (RFC 3376 5, RFC 3810 6); neither are IPv6 groups of scope 0 and 1, which
never leave a host. Broadcasts (255.255.255.255, and those of the host's links: ``Host.add_broadcast``) are no groups: every socket
on the port hears them.

**A kernel beside the stack** (``sharing``) is one more that wishes: what it reports is consumed here (``wishes``), told by
the host's own reporters, and ``kernel_hears`` says which packets it gets a copy of.

**Telling.** A change of the host's filter is told at once and again, ``robustness`` times in all, at random within
1 s. Joins and leaves take no time argument: what they change is compared when the host is drained, so that many in a
row make one report. A general query is answered with all groups, one for a group (and sources) with that, after a
random part of the time that the query allows; queries that come meanwhile join the answer (RFC 3376 5.2). No filter
keeps a query out.

**Older queriers.** While one was heard of late (robustness × query interval + response time), the host speaks its
version: a report for each group, no sources, a timer for each, silent when another member has reported (RFC 2236,
RFC 2710). Robustness and interval are the last newest-version querier's.

**Lightweight hosts** (RFC 5790) leave out EXCLUDE with sources. This host has it, and so understands both kinds of
router: to one that is lightweight, an exclusion is a plain join.

**Limits.** Memberships and sources are the program's own: ``HostConfig.max_memberships`` and ``max_group_sources``.
What a peer can cause: one pending answer for each group that was joined, of at most 256 sources (``reporter``), and so
many answers a second (``HostConfig.group_answers_a_second``), each of at most 1,280 octets. A forged query can cost
filters for as long as an older version's timer runs, at most 70 minutes, never the membership.

**Why no state in the sockets.** They are many and the groups few; a socket that is closed is looked for in the groups,
which costs nothing while there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from userlan.stack import errors
from userlan.stack.addresses import ALL_HOSTS, Addresses, is_group, is_martian, is_multicast
from userlan.stack.config import HostConfig
from userlan.stack.errors import StackError
from userlan.stack.filters import NOTHING, Filter, merged
from userlan.stack.limiter import TokenBucket
from userlan.stack.reporter import Reporter
from userlan.stack.wishes import Wishes
from userlan.wire import igmp, mld
from userlan.wire.membership import Member, Query
from userlan.wire.numbers import PROTOCOL_IGMP
from userlan.wire.superpacket import SuperPacket

if TYPE_CHECKING:
    from userlan.stack.udp import UdpSocket

LARGEST_LOCAL_SCOPE = 1
"""Of IPv6 groups: reserved and interface-local, which stay in one host (RFC 4291 2.7, RFC 7346 2)."""


def stays_here(group: bytes) -> bool:
    """Whether no packet to this group may come from or go to the network."""
    return len(group) == 16 and group[1] & 0x0F <= LARGEST_LOCAL_SCOPE


class Groups:
    """The memberships of a host. ``packets`` drains both protocols' reports."""

    def __init__(
        self, config: HostConfig, addresses: Addresses, entropy: Callable[[int], bytes], counters: Counter[str]
    ) -> None:
        self._config = config
        self._addresses = addresses
        self._counters = counters
        self._wishes: dict[bytes, dict[UdpSocket, Filter]] = {}
        self._kernel: Wishes | None = None
        self._memberships = 0
        self._state: dict[bytes, Filter] = {}
        self._igmp, self._mld = (
            Reporter(
                dialect,
                source,
                entropy,
                TokenBucket(config.group_answers_a_second, config.group_answer_burst),
                counters,
            )
            for dialect, source in ((igmp, self._ipv4_source), (mld, self._ipv6_source))
        )

    # ------------------------------------------------------------------ the program's calls

    def join(self, socket: UdpSocket, group: bytes, sources: Iterable[bytes] | None, exclude: Iterable[bytes]) -> None:
        """The socket wants ``sources`` alone, or (None) all but ``exclude``; replaces what it wanted (RFC 3376 2).

        Raises StackError: not-a-group, no-address, too-many.
        """
        wish = Filter(True, frozenset(exclude)) if sources is None else Filter(False, frozenset(sources))
        if not is_multicast(group) or (socket.address is not None and len(socket.address) != len(group)):
            raise StackError(errors.NOT_A_GROUP, "what is to be joined is no multicast group of the socket's family")
        if any(len(source) != len(group) or is_group(source) or is_martian(source) for source in wish.sources):
            raise StackError(errors.NO_ADDRESS, "a source to hear, or not to, is no host's address of the group's family")
        if len(wish.sources) > self._config.max_group_sources:
            limit = self._config.max_group_sources
            raise StackError(errors.TOO_MANY, f"no more than {limit} sources of a group can be told apart")
        if wish == NOTHING:
            self._drop(socket, group)
            return
        members = self._wishes.get(group, {})
        if socket not in members:
            if self._memberships >= self._config.max_memberships:
                raise StackError(errors.TOO_MANY, f"no more than {self._config.max_memberships} memberships can be held")
            self._memberships += 1
        members[socket] = wish
        self._wishes[group] = members
        self._merge(group)

    def leave(self, socket: UdpSocket, group: bytes) -> None:
        """Raises StackError: not-a-member."""
        if socket not in self._wishes.get(group, {}):
            raise StackError(errors.NOT_A_MEMBER, "the socket has not joined that group")
        self._drop(socket, group)

    def closed(self, socket: UdpSocket) -> None:
        """A socket wants nothing any more."""
        for group in [group for group, members in self._wishes.items() if socket in members]:
            self._drop(socket, group)

    # ------------------------------------------------------------------ a kernel's wishes

    def share(self, fixed: Iterable[bytes], querier: bytes | None = None) -> None:
        """A kernel wants what it will report, and the groups ``fixed`` in any case. ``querier``: see ``Wishes``."""
        self._kernel = Wishes(self._config, fixed, self._counters, querier)
        for group in self._kernel.groups:
            self._merge(group)

    def unshare(self) -> None:
        """The sockets are alone again."""
        kernel, self._kernel = self._kernel, None
        for group in kernel.groups if kernel is not None else ():
            self._merge(group)

    def kernel_says(self, packet: SuperPacket) -> None:
        """A report or leave of the kernel's. Raises WireError when malformed."""
        message = igmp.parse(packet) if packet.version == 4 else mld.parse(packet)
        for group in self._kernel.hear(message) if self._kernel is not None else ():
            self._merge(group)

    def kernel_hears(self, packet: SuperPacket) -> bool:
        """Whether the kernel wants a packet that is to a group or broadcast, and admitted."""
        if self._kernel is None or stays_here(packet.destination):
            return False
        everybody = self._addresses.of_everybody(packet.destination)
        return everybody or self._kernel.of(packet.destination).admits(packet.source)

    def kernel_queries(self, now: float) -> list[SuperPacket]:
        """What the kernel is to be asked."""
        if self._kernel is None:
            return []
        queries, gone = self._kernel.queries(now)
        for group in gone:
            self._merge(group)
        return queries

    # ------------------------------------------------------------------ who hears what

    def admits(self, packet: SuperPacket) -> bool:
        """Whether the host takes a packet from the network to a group or broadcast.

        Filters are about what is sent to a group, not about its router, who asks at the group's own address.
        """
        destination = packet.destination
        if self._addresses.of_everybody(destination):
            return True
        state = self._state.get(destination)
        if state is None or stays_here(destination):
            return False
        return state.admits(packet.source) or self.takes(packet)

    def hears(self, socket: UdpSocket, destination: bytes, source: bytes) -> bool:
        """Whether a socket on the right port takes a datagram to this group or broadcast."""
        if destination in self._addresses.broadcasts:
            return True
        members = self._wishes.get(destination)
        wish = None if members is None else members.get(socket)
        return wish is not None and wish.admits(source)

    # ------------------------------------------------------------------ from and to the network

    @staticmethod
    def takes(packet: SuperPacket) -> bool:
        """Whether a packet is one of IGMP's or MLD's."""
        return (packet.protocol == PROTOCOL_IGMP and packet.version == 4) or mld.is_mld(packet)

    @staticmethod
    def from_nobody(packet: SuperPacket) -> bool:
        """Whether a packet has 0.0.0.0 as its source and may: a switch that queries has no address (RFC 4541 2.1.1)."""
        return packet.protocol == PROTOCOL_IGMP and packet.source == igmp.NOBODY

    def receive(self, packet: SuperPacket, now: float) -> None:
        """A message to this host. Raises WireError when malformed, or to be ignored."""
        message = igmp.parse(packet) if packet.version == 4 else mld.parse(packet)
        reporter = self._igmp if packet.version == 4 else self._mld
        if isinstance(message, Query):
            reporter.query(message, now)
        elif isinstance(message, Member):
            reporter.heard(message, now)
        else:
            self._counters["group-message-ignored"] += 1

    @property
    def pending(self) -> bool:
        """Whether ``packets`` would have something to do."""
        return self._igmp.pending or self._mld.pending

    def packets(self, now: float) -> list[SuperPacket]:
        """The reports that are due."""
        packets: list[SuperPacket] = []
        for reporter in (self._igmp, self._mld):
            reporter.settle(now)
            packets += reporter.outgoing
            reporter.outgoing.clear()
        return packets

    def joined(self) -> tuple[bytes, ...]:
        """The groups that are told to others."""
        return tuple(group for group in self._state if group not in ALL_HOSTS and not stays_here(group))

    def reports(self) -> list[SuperPacket]:
        """All groups, in reports of the newest versions: for whoever has not heard the earlier ones, whatever older queriers there are."""
        return self._igmp.current() + self._mld.current()

    def deadline(self) -> float | None:
        first, second = self._igmp.deadline(), self._mld.deadline()
        if self._kernel is not None:
            third = self._kernel.deadline()
            first = third if first is None else min(first, third)
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    def tick(self, now: float) -> None:
        self._igmp.tick(now)
        self._mld.tick(now)

    # ------------------------------------------------------------------ inside

    def _drop(self, socket: UdpSocket, group: bytes) -> None:
        members = self._wishes.get(group, {})
        if members.pop(socket, None) is None:
            return
        self._memberships -= 1
        if not members:
            del self._wishes[group]
        self._merge(group)

    def _merge(self, group: bytes) -> None:
        """The host's own filter for a group, after a wish has changed."""
        wishes = [*self._wishes.get(group, {}).values()]
        if self._kernel is not None:
            wishes.append(self._kernel.of(group))
        state = merged(wishes)
        if state == self._state.get(group, NOTHING):
            return
        if state == NOTHING:
            del self._state[group]
        else:
            self._state[group] = state
        if group not in ALL_HOSTS and not stays_here(group):
            (self._igmp if len(group) == 4 else self._mld).change(group, state)

    def _ipv4_source(self) -> bytes:
        """RFC 3376 4.2.13: an own address, or 0.0.0.0."""
        return self._addresses.source_for(igmp.ALL_REPORTS) or igmp.NOBODY

    def _ipv6_source(self) -> bytes:
        """RFC 3810 5.2.13: a link-local address, or ::."""
        return next((own for own in self._addresses if len(own) == 16 and mld.is_link_local(own)), mld.NOBODY)
