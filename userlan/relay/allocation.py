"""Channels and their two ends: who is bound where, by what proof, for how long.

An end's life::

    absent ──BIND, MAC right, counter new──▶ unproven ──BIND from there with the cookie, or by TCP──▶ proven
                                              ▲  at most 3x what came                                  │
                                              └───────────── BIND from another address ────────────────┘
    silent for IDLE ──▶ absent          both ends absent ──▶ the channel is forgotten

A newer BIND moves an end at once: a computer that changes from Wi-Fi to a mobile network says so itself, with its own secret. Until the new
address has echoed its cookie it gets no more than three times what came from it (RFC 9000, 8.1), so that nobody can point the
other end's stream at a victim. The address that was proven before does not come back by itself: old BINDs are refused by their counter.

A datagram that comes before the other end is there is kept for ``HELD_FOR`` where it is small (a handshake's): both ends are told of each
other at one moment, but do not bind at one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from hashlib import blake2s
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from userlan.control import grants
from userlan.control.grants import Grant
from userlan.relay import datagrams
from userlan.relay.datagrams import BIND_SIZE, BOUND_SIZE, COOKIE_SIZE, Bind, Bound
from userlan.relay.quota import Quota, Rates
from userlan.wire.endpoint import UDP, Endpoint

IDLE = 90.0
"""Seconds without a BIND after which an end is absent: three keepalives at their slowest, and some time."""
AMPLIFICATION = 3
"""Octets sent for each one received before an address is proven (RFC 9000, 8.1)."""
HELD_FOR = 2.0
"""Seconds that a small datagram waits for the other end to bind: its BIND and one retransmission."""
HELD_DATAGRAMS = 2
HELD_SIZE = 256
"""Datagrams of one channel and octets of each that wait so: a handshake's initiation has 160 with the header."""
COOKIE_TIME = 120.0
"""Seconds after which the secret of cookies is replaced; the one before is taken as long again."""


class Limits(NamedTuple):
    """A relay's caps. ``channels``: about 2 KB each. ``channels_of_client``: a member of 16 networks of 64. ``binds``: a second from one
    source address, and at once; an office behind one NAT restarts. ``client_rate``, ``channel_rate``: octets a second, 0: none."""

    channels: int = 20_000
    channels_of_client: int = 1_024
    bind_rate: float = 50.0
    bind_burst: float = 500.0
    sources: int = 8_192
    client_rate: float = 25e6
    channel_rate: float = 25e6


class End:
    """One end of a channel. ``budget``: octets that may still go to an unproven address."""

    __slots__ = ("budget", "client", "counter", "endpoint", "expires", "proven")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.endpoint: Endpoint | None = None
        self.counter = -1
        self.proven = False
        self.budget = 0
        self.expires = 0.0


class Client:
    """What one client (by the tag in its grants) uses over all its channels."""

    __slots__ = ("channels", "quota")

    def __init__(self, rate: float, now: float) -> None:
        self.quota = Quota(rate, now)
        self.channels = 0


class Channel:
    """A pair's. ``held``: datagrams for an end that is not there yet."""

    __slots__ = ("ends", "header", "held", "held_until", "quota", "tags")

    def __init__(self, header: bytes, tags: tuple[bytes, bytes], ends: tuple[End, End], quota: Quota) -> None:
        self.header = header
        self.tags = tags
        self.ends = ends
        self.quota = quota
        self.held: list[tuple[int, bytes]] = []
        self.held_until = 0.0


class Answer(NamedTuple):
    """A BOUND for ``endpoint``; ``arrived``: the channel and role of an end that is there now."""

    datagram: bytes
    arrived: tuple[Channel, int] | None


class Allocations:
    """All channels of a relay. ``channels``: by the header of their data."""

    def __init__(self, entropy: Callable[[int], bytes], limits: Limits, counters: Counter[str]) -> None:
        self.limits = limits
        self.channels: dict[bytes, Channel] = {}
        self.keys: dict[bytes, bytes] = {}
        """Pool keys by their ids."""
        self._order: OrderedDict[bytes, float] = OrderedDict()
        """Headers, the one that was bound longest ago first, with that time."""
        self._clients: dict[bytes, Client] = {}
        self._streams: dict[Endpoint, set[End]] = {}
        """Ends bound by framed TCP, by the connection; bounded by ``channels``."""
        self._binds = Rates(limits.bind_rate, limits.bind_burst, limits.sources)
        self._counters = counters
        self._entropy = entropy
        self._cookie_secrets = (entropy(32), entropy(32))
        self._cookies_until = -1.0

    def __len__(self) -> int:
        return len(self.channels)

    def limit(self, rate: float) -> None:
        """Another rate for each client, at once, and for each channel, from its next BIND on; octets a second, 0: none."""
        self.limits = self.limits._replace(client_rate=rate, channel_rate=rate)
        for client in self._clients.values():
            client.quota.rate = rate

    @property
    def clients(self) -> int:
        """Clients with a channel."""
        return len(self._clients)

    def bind(self, datagram: bytes, source: Endpoint, now: float, wall: float, orphaned: Callable[[bytes], bool]) -> Answer | None:
        """A BIND came; None: silence. ``wall``: seconds since 1970. ``orphaned(key id)``: that mediator cannot be reached."""
        bind = datagrams.decode_bind(datagram)
        key = self.keys.get(bind.grant[: grants.ID_SIZE]) if bind is not None else None
        if bind is None or key is None:
            self._counters["bind-unknown"] += 1
            return None
        grant = grants.opened(key, bind.grant)
        if grant is None:
            self._counters["bind-forged"] += 1
            return None
        secret = grants.secret_of(key, bind.grant, bind.role)
        if not datagrams.authentic(secret, datagram):
            self._counters["bind-forged"] += 1
            return None
        if not self._binds.allow(_network(source.host), now):       # counted where it is genuine: sources can be forged
            self._counters["bind-too-many"] += 1
            return None
        name = grants.channel_of(key, grant)
        status, flags, newest, arrived = self._admit(name, grant, bind, source, now, wall, orphaned)
        bound = Bound(name, bind.counter, status, flags, newest, self._cookie(name, bind.role, source, now))
        return Answer(datagrams.encode_bound(bound, secret), arrived)

    def _admit(
        self, name: bytes, grant: Grant, bind: Bind, source: Endpoint, now: float, wall: float, orphaned: Callable[[bytes], bool]
    ) -> tuple[int, int, int, tuple[Channel, int] | None]:
        """Status, flags and newest counter of the answer, and who is there now."""
        if wall > grant.expiry and (wall > grant.expiry + grants.GRACE or not orphaned(grant.key_id)):
            self._counters["bind-expired"] += 1
            return datagrams.EXPIRED, 0, 0, None
        channel = self._channel(name, grant, now)
        if channel is None:
            self._counters["bind-full"] += 1
            return datagrams.FULL, 0, 0, None
        end, other = channel.ends[bind.role], channel.ends[1 - bind.role]
        if bind.counter <= end.counter:
            self._counters["bind-stale"] += 1
            return datagrams.STALE, 0, end.counter, None
        end.counter = bind.counter
        channel.quota.rate = _least(grant.rate, self.limits.channel_rate)
        self._order[channel.header] = now
        self._order.move_to_end(channel.header)
        flags = self._place(end, name, bind, source, now)
        if other.endpoint is not None and now < other.expires:
            flags |= datagrams.PRESENT
        return datagrams.BOUND, flags, end.counter, (channel, bind.role)

    def _place(self, end: End, name: bytes, bind: Bind, source: Endpoint, now: float) -> int:
        """Bind an end to where its BIND came from; the answer's flags."""
        moved = end.endpoint is not None and now < end.expires and end.endpoint != source
        end.expires = now + IDLE
        if end.endpoint != source:
            self._leave(end)
            end.endpoint, end.proven, end.budget = source, False, 0
            if source.transport != UDP:
                self._streams.setdefault(source, set()).add(end)
        if not end.proven and (source.transport != UDP or self._echoed(bind.cookie, name, bind.role, source, now)):
            end.proven = True
        if not end.proven:
            end.budget += AMPLIFICATION * BIND_SIZE - BOUND_SIZE
        self._counters["ends-moved"] += moved
        return (datagrams.VALIDATED if end.proven else 0) | (datagrams.MOVED if moved else 0)

    # --- channels ----------------------------------------------------------------------------------------------------

    def _channel(self, name: bytes, grant: Grant, now: float) -> Channel | None:
        header = datagrams.data_header(name)
        channel = self.channels.get(header)
        if channel is not None:
            return channel
        self.expire(now)
        known = [self._clients.get(tag) for tag in grant.tags]
        if any(one is not None and one.channels >= self.limits.channels_of_client for one in known):
            return None
        if len(self.channels) >= self.limits.channels:
            return None
        ends = tuple(End(self._client(tag, now)) for tag in grant.tags)
        quota = Quota(_least(grant.rate, self.limits.channel_rate), now)
        channel = self.channels[header] = Channel(header, grant.tags, (ends[0], ends[1]), quota)
        self._order[header] = now
        return channel

    def _client(self, tag: bytes, now: float) -> Client:
        client = self._clients.get(tag)
        if client is None:
            client = self._clients[tag] = Client(self.limits.client_rate, now)
        client.channels += 1
        return client

    def deadline(self) -> float | None:
        """When ``expire`` has something to do."""
        return next(iter(self._order.values())) + IDLE if self._order else None

    def expire(self, now: float) -> None:
        """Forget the channels of which neither end has bound for long, and the ends that have not."""
        while self._order:
            header, bound_at = next(iter(self._order.items()))
            if bound_at + IDLE > now:
                return
            del self._order[header]
            channel = self.channels.pop(header)
            for end in channel.ends:
                self._leave(end)
            self._counters["channels-expired"] += 1
            for tag in channel.tags:
                client = self._clients[tag]
                client.channels -= 1
                if not client.channels:
                    del self._clients[tag]

    def way_lost(self, endpoint: Endpoint) -> None:
        """A framed TCP connection has ended: who was bound by it is absent until it binds again (nothing is opened towards clients)."""
        for end in self._streams.pop(endpoint, ()):
            end.endpoint = None

    def _leave(self, end: End) -> None:
        """An end is not where it was any more."""
        if end.endpoint is not None and end.endpoint.transport != UDP:
            others = self._streams.get(end.endpoint)
            if others is not None:
                others.discard(end)
                if not others:
                    del self._streams[end.endpoint]

    # --- cookies -----------------------------------------------------------------------------------------------------

    def _cookie(self, name: bytes, role: int, source: Endpoint, now: float) -> bytes:
        if now >= self._cookies_until:
            fresh = self._cookies_until + COOKIE_TIME < now
            self._cookie_secrets = (self._entropy(32), self._entropy(32) if fresh else self._cookie_secrets[0])
            self._cookies_until = now + COOKIE_TIME
        return _cookie(self._cookie_secrets[0], name, role, source)

    def _echoed(self, cookie: bytes, name: bytes, role: int, source: Endpoint, now: float) -> bool:
        if cookie == datagrams.NO_COOKIE or now >= self._cookies_until + COOKIE_TIME:
            return False
        return any(compare_digest(cookie, _cookie(secret, name, role, source)) for secret in self._cookie_secrets)


def _cookie(secret: bytes, name: bytes, role: int, source: Endpoint) -> bytes:
    """What proves that its bearer receives at an address (RFC 9000, 8.1.4: of the address, and of nothing that is kept)."""
    where = f"{source.transport} {source.host} {source.port} {source.via}".encode()
    return blake2s(name + bytes((role,)) + where, key=secret, digest_size=COOKIE_SIZE).digest()


def _least(granted: int, own: float) -> float:
    """The smaller of two rates of which 0 is no limit."""
    return min((rate for rate in (float(granted), own) if rate > 0), default=0.0)


def _network(host: str) -> bytes:
    """What counts as one source address: an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return mapped.packed if mapped is not None else address.packed[:8]
    return address.packed
