"""The metrics, read back by Prometheus' own parser."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.web.harness import Scene
from userlan.web.metrics import FRESH, Metrics


def peer(name: str, key: str, state: str = "offline", **more: Any) -> dict[str, Any]:
    row = {"name": name, "key": key, "state": state, "path": "none", "rtt_ms": None, "rx_bytes": 0, "tx_bytes": 0, "last_seen": None}
    return row | more


STATUS = {
    "self": {"name": "nas", "ipv4": "25.1.2.3", "ipv6": "fd75::1"},
    "mediator": {"state": "connected"},
    "networks": [{"name": "home", "members": ["a", "b", "c"]}],
    "peers": [
        peer("ben", "k" * 43, "direct", path="udp", rtt_ms=12.5, rx_bytes=1000, tx_bytes=2000, last_seen=1700000000.5),
        peer("ben", "l" * 43),
        peer('"\\\n', "m" * 43, "relayed", path="relay"),
    ],
}


def metrics(status: dict[str, Any]) -> Metrics:
    counters = {"stack": {"checksum": 3}, "flooding": {"storm": 2, "no-listener": 0}}
    return Metrics("1.2.3", lambda: status, lambda: counters, lambda: (4, 5000))


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by name and labels; each has a HELP and a TYPE."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        assert family.type != "unknown"
        for sample in family.samples:
            at = (sample.name, tuple(sorted(sample.labels.items())))
            assert at not in found, "told twice"
            found[at] = sample.value
    return found


def test_who_asks_again_at_once_gets_the_same() -> None:
    """Whoever can connect may ask, and the status of many members takes a while."""
    now, taken = [100.0], []

    def status() -> dict[str, Any]:
        taken.append(now[0])
        return STATUS

    told = Metrics("1.2.3", status, dict, lambda: (0, 0), lambda: now[0])
    assert told() == told()
    assert taken == [100.0]
    now[0] += FRESH
    told()
    assert taken == [100.0, 100.0 + FRESH]


def test_what_is_told() -> None:
    told = read(metrics(STATUS)())
    assert told["userlan_node_info", (("ipv4", "25.1.2.3"), ("ipv6", "fd75::1"), ("name", "nas"), ("version", "1.2.3"))] == 1
    assert told["userlan_mediator_connected", ()] == 1
    assert told["userlan_networks", ()] == 1
    assert told["userlan_network_members", (("network", "home"),)] == 3
    states = {state: told["userlan_peers", (("state", state),)] for state in ("direct", "relayed", "connecting", "offline")}
    assert states == {"direct": 1, "relayed": 1, "connecting": 0, "offline": 1}
    assert told["userlan_peer_receive_bytes_total", (("peer", "ben"),)] == 1000
    assert told["userlan_peer_transmit_bytes_total", (("peer", "ben"),)] == 2000
    assert told["userlan_peer_round_trip_seconds", (("peer", "ben"),)] == 0.0125
    assert told["userlan_peer_last_seen_timestamp_seconds", (("peer", "ben"),)] == 1700000000.5
    assert told["userlan_peer_path", (("path", "udp"), ("peer", "ben"))] == 1
    assert told["userlan_peer_path", (("path", "relay"), ("peer", "ben"))] == 0
    assert told["userlan_events_total", (("event", "checksum"), ("part", "stack"))] == 3
    assert told["userlan_events_total", (("event", "storm"), ("part", "flooding"))] == 2
    assert told["userlan_tcp_connections", ()] == 4
    assert told["userlan_tcp_buffered_bytes", ()] == 5000


def test_two_peers_of_one_name_and_a_name_that_is_no_text() -> None:
    told = read(metrics(STATUS)())
    assert ("userlan_peer_receive_bytes_total", (("peer", "ben " + "l" * 8),)) in told
    assert ("userlan_peer_receive_bytes_total", (("peer", '"\\\n'),)) in told
    assert ("userlan_peer_round_trip_seconds", (("peer", "ben " + "l" * 8),)) not in told


def test_they_are_told_without_a_session_where_they_are_switched_on(scene: Scene) -> None:
    """To programs of this computer, not to other pages: nobody else can read them, nor a name that was made to resolve to it."""
    scene.let_in()
    assert scene.get("/metrics").code == 404
    scene.loop.result(scene.page.stop())
    scene.page = scene.begin(metrics=metrics(STATUS))
    scene.cookie = ""
    answer = scene.get("/metrics")
    assert answer.code == 200
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert read(answer.body)["userlan_networks", ()] == 1
    assert scene.get("/metrics", {"Host": "evil.example"}).code == 421
    assert scene.get("/metrics", {"Sec-Fetch-Site": "cross-site"}).code == 403
    assert scene.get("/metrics", {"Origin": "https://evil.example"}).code == 403
    assert scene.get("/").code == 403
