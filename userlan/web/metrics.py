"""What Prometheus is told of a node: built at each scrape from the status and the counters, so that nothing is counted twice.

Names follow Prometheus' conventions: base units (bytes, seconds), ``_total`` for what only grows. Peers are labelled by nickname; a
second one of the same name gets the beginning of its key. Text format 0.0.4, by prometheus_client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

STATES = ("connecting", "direct", "relayed", "offline")
FRESH = 1.0
"""Seconds for which a scrape is told again: whoever can connect may ask, and each answer takes milliseconds, more with many members."""
PATHS = ("udp", "tcp", "lan", "relay", "none")

Counters = Mapping[str, Mapping[str, int]]
"""How often what happened, by part of the node and event."""


class Metrics:
    """Of one node. ``status``: as ``userlan status --json``; ``tcp``: connections of the LAN, and octets that they buffer."""

    def __init__(
        self,
        version: str,
        status: Callable[[], dict[str, Any]],
        counters: Callable[[], Counters],
        tcp: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(version, status, counters, tcp))
        ProcessCollector(registry=self._registry)
        self._clock = clock
        self._until = float("-inf")
        self._text = b""

    def __call__(self) -> bytes:
        """The text of one scrape."""
        now = self._clock()
        if now >= self._until:
            self._text, self._until = generate_latest(self._registry), now + FRESH
        return self._text


class _NodeCollector(Collector):
    def __init__(
        self, version: str, status: Callable[[], dict[str, Any]], counters: Callable[[], Counters], tcp: Callable[[], tuple[int, int]]
    ) -> None:
        self._version, self._status, self._counters, self._tcp = version, status, counters, tcp

    def describe(self) -> list[Metric]:
        """Nothing ahead of a scrape: no status is taken for it."""
        return []

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        own = status["self"]
        node = {"version": self._version, "name": own["name"], "ipv4": own["ipv4"] or "", "ipv6": own["ipv6"]}
        yield InfoMetricFamily("userlan_node", "This node.", value=node)
        connected = status["mediator"]["state"] == "connected"
        yield GaugeMetricFamily("userlan_mediator_connected", "Whether the mediator is connected.", value=float(connected))
        yield from _networks(status["networks"])
        yield from _peers(status["peers"])
        connections, buffered = self._tcp()
        yield GaugeMetricFamily("userlan_tcp_connections", "TCP connections of this node on the LAN.", value=connections)
        yield GaugeMetricFamily("userlan_tcp_buffered_bytes", "What these connections hold in memory.", value=buffered)
        events = CounterMetricFamily(
            "userlan_events", "What was dropped, refused or noticed, by part of the node and event.", labels=("part", "event")
        )
        for part, counted in self._counters().items():
            for event, count in sorted(counted.items()):
                events.add_metric((part, event), count)
        yield events


def _networks(networks: list[dict[str, Any]]) -> Iterator[Metric]:
    yield GaugeMetricFamily("userlan_networks", "Networks that this node is a member of.", value=len(networks))
    members = GaugeMetricFamily("userlan_network_members", "Members of a network, this node among them.", labels=("network",))
    for network in networks:
        members.add_metric((network["name"],), len(network["members"]))
    yield members


def _peers(peers: list[dict[str, Any]]) -> Iterator[Metric]:
    states = GaugeMetricFamily("userlan_peers", "Peers by state.", labels=("state",))
    for state in STATES:
        states.add_metric((state,), sum(peer["state"] == state for peer in peers))
    yield states
    paths = GaugeMetricFamily("userlan_peer_path", "1 for the path by which a peer is reached.", labels=("peer", "path"))
    received = CounterMetricFamily("userlan_peer_receive_bytes", "Octets of the tunnel from a peer.", labels=("peer",))
    sent = CounterMetricFamily("userlan_peer_transmit_bytes", "Octets of the tunnel to a peer.", labels=("peer",))
    trip = GaugeMetricFamily("userlan_peer_round_trip_seconds", "Round trip to a peer that is reached.", labels=("peer",))
    seen = GaugeMetricFamily("userlan_peer_last_seen_timestamp_seconds", "When a peer was heard last.", labels=("peer",))
    known: set[str] = set()
    for peer in peers:
        name = peer["name"] if peer["name"] not in known else f"{peer['name']} {peer['key'][:8]}"
        known.add(name)
        for path in PATHS:
            paths.add_metric((name, path), float(peer["path"] == path))
        received.add_metric((name,), peer["rx_bytes"])
        sent.add_metric((name,), peer["tx_bytes"])
        if peer["rtt_ms"] is not None:
            trip.add_metric((name,), peer["rtt_ms"] / 1000)
        if peer["last_seen"] is not None:
            seen.add_metric((name,), peer["last_seen"])
    yield from (paths, received, sent, trip, seen)
