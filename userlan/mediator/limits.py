"""Limits: how much one session, key, source address or network may ask of the mediator."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import NamedTuple


class Limits(NamedTuple):
    """The mediator's caps; each stops the abuse that its comment names. Times in seconds, rates a second."""

    #: Live control sessions: memory (about 12 KiB each with its TCP and tunnel).
    sessions: int = 20_000
    #: Live sessions of keys that are in no network: made-up keys cannot use up ``sessions`` for the members.
    strangers: int = 2_000
    #: Tunnels of keys that were never seen in a network; as many again as strangers, for those that come and go.
    visitors: int = 4_000
    #: Messages a second and at once of one session; beyond it the session is read more slowly, nobody else waits.
    message_rate: float = 20.0
    message_burst: float = 100.0
    #: Frames without a readable message a second and at once, before the session is closed.
    rubbish_rate: float = 0.1
    rubbish_burst: float = 10.0
    #: Bytes that wait for a session's connection to take them: a full network, an eviction and 10,000 changes of
    #: presence. A slower reader is closed.
    outgoing: int = 2 * 1024 * 1024
    #: Bytes of the greatest message from a node that has not greeted yet.
    greeting_frame: int = 16 * 1024
    #: Seconds from the connection to ``Hello``.
    greeting: float = 10.0
    #: Seconds that a challenge can be answered (Argon2id runs before ``Join``, so a signature is all that is due).
    challenge: float = 30.0
    #: TCP connections that one key may ask for a second and at once: it needs one, and must not fill the backlog.
    opening_rate: float = 1.0
    opening_burst: float = 10.0
    #: Networks owned by one key.
    networks_owned: int = 16
    #: Networks that one key is a member of (``control.messages.MAX_NETWORKS``).
    networks_joined: int = 64
    #: Members of one network (``control.messages.MAX_MEMBERS``).
    members: int = 1024
    #: Applicants of one network that wait for its owner's word (``control.messages.MAX_APPLICANTS``), and as many denied ones that are
    #: told so; the one denied longest ago is forgotten beyond it.
    applicants: int = 64
    #: Networks that one key waits for at once.
    applications: int = 16
    #: Applications from one source address a second and at once: each one is told to an owner, and kept.
    apply_rate: float = 1 / 60
    apply_burst: float = 8.0
    #: Seconds for which a denied key is told so and cannot apply again.
    denied: float = 600.0
    #: Networks made from one source address a second and at once: keys cost nothing, addresses do.
    create_rate: float = 1 / 60
    create_burst: float = 32.0
    #: Nicknames changed by one key a second and at once: each is told to all members.
    nick_rate: float = 0.2
    nick_burst: float = 5.0
    #: Words of one key on its NAT a second and at once: each makes its pairs due again. Networks change, but seldom.
    reachability_rate: float = 0.1
    reachability_burst: float = 6.0
    #: Words of one key on its own endpoints and its relays a second and at once: each is looked at for all of its pairs.
    change_rate: float = 0.5
    change_burst: float = 20.0
    #: Failed joins by one key, and from one source address (an office, a school), before a wait is asked for.
    failures_key: int = 3
    failures_address: int = 20
    #: The first and the greatest wait; it doubles with each further failure.
    wait_first: float = 2.0
    wait_last: float = 900.0
    #: Keys and addresses whose failures are remembered; the one that failed longest ago is forgotten beyond it.
    remembered: int = 20_000


class TokenBucket:
    """At most ``burst`` at once and ``rate`` a second in the long run."""

    __slots__ = ("_burst", "_rate", "_tokens", "updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self.updated = now

    def take(self, now: float) -> bool:
        """Takes one token if there is one."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def ready_at(self, now: float) -> float:
        """The moment from which ``take`` says yes."""
        self._refill(now)
        return now if self._tokens >= 1.0 else now + (1.0 - self._tokens) / self._rate + 1e-6

    @property
    def full_at(self) -> float:
        """The moment from which the bucket is as a new one."""
        return self.updated + (self._burst - self._tokens) / self._rate

    def _refill(self, now: float) -> None:
        if now > self.updated:
            self._tokens = min(self._burst, self._tokens + (now - self.updated) * self._rate)
            self.updated = now


class Buckets:
    """A token bucket for each of many names, the full ones forgotten; ``cap`` bounds what strangers can fill."""

    def __init__(self, rate: float, burst: float, cap: int) -> None:
        self._rate = rate
        self._burst = burst
        self._cap = cap
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def take(self, name: bytes, now: float) -> bool:
        """Takes one token from a name's bucket if there is one."""
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            bucket = TokenBucket(self._rate, self._burst, now)
        self._buckets[name] = bucket
        self._forget(now)
        return bucket.take(now)

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget(self, now: float) -> None:
        """Drops the least recently used while it is full again, or there are too many."""
        while self._buckets:
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._cap and self._buckets[oldest].full_at > now:
                return
            if len(self._buckets) == 1:
                return
            self._buckets.popitem(last=False)


class _Failures(NamedTuple):
    number: int
    until: float
    last: float


class Attempts:
    """Failed proofs, by key and by source address, and how long to wait for the next try.

    ``free`` failures cost nothing; then the wait doubles from ``first`` to ``last`` seconds. Failures are forgotten
    after twice ``last`` seconds without one.
    """

    def __init__(self, free: int, first: float, last: float, cap: int) -> None:
        self._free = free
        self._first = first
        self._last = last
        self._cap = cap
        self._failures: OrderedDict[bytes, _Failures] = OrderedDict()

    def wait(self, name: bytes, now: float) -> float:
        """Seconds until a try is let in again, 0 when it is now."""
        failures = self._failures.get(name)
        return 0.0 if failures is None else max(0.0, failures.until - now)

    def failed(self, name: bytes, now: float) -> None:
        """A proof was wrong."""
        before = self._failures.pop(name, None)
        count = 1 if before is None or now - before.last > 2 * self._last else before.number + 1
        beyond = count - self._free
        wait = min(self._last, self._first * 2.0 ** min(beyond - 1, 32)) if beyond > 0 else 0.0
        self._failures[name] = _Failures(count, now + wait, now)
        while len(self._failures) > self._cap:
            self._failures.popitem(last=False)

    def succeeded(self, name: bytes) -> None:
        """A proof was right: earlier failures were slips."""
        self._failures.pop(name, None)

    def __len__(self) -> int:
        return len(self._failures)


def source_name(host: str) -> bytes:
    """What counts as one source address: an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return mapped.packed if mapped is not None else address.packed[:8]
    return address.packed
