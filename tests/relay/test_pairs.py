"""Whole pairs over relays, with real nodes, mediators and relays in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import Sink, Source
from tests.relay.lan import SYMMETRIC, RelayedLan
from tests.sim.nat import NatBehaviour
from tests.sim.nat_behaviour import WEB_ONLY, WITHOUT_UDP
from userlan.control.meeting import ServerEndpoint
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import TCP, UDP

MEBIBYTE = 1 << 20


def relayed_pair(tmp_path: Path, behaviour: NatBehaviour = SYMMETRIC) -> tuple[RelayedLan, Node, Node]:
    """Two members of one network behind such boxes, and three relays that they have measured."""
    lan = RelayedLan(tmp_path, behaviour=behaviour)
    lan.relay("near", "203.0.113.1", 0.01)
    lan.relay("middle", "203.0.113.2", 0.05)
    lan.relay("far", "203.0.113.3", 0.09)
    lan.world.run(2.0)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.world.run(6.0)
    lan.network(anna, ben)
    lan.until_state(anna, ben, "relayed")
    lan.until_state(ben, anna, "relayed")
    return lan, anna, ben


def longest_gap(lan: RelayedLan, sink: Sink, until: int, seconds: float) -> float:
    """The longest time for which nothing of a transfer arrived, until ``until`` octets have."""
    gap, last, count = 0.0, lan.world.now, len(sink.data)
    end = lan.world.now + seconds
    while len(sink.data) < until and lan.world.now < end:
        lan.world.run(0.02)
        if len(sink.data) > count:
            gap, last, count = max(gap, lan.world.now - last), lan.world.now, len(sink.data)
    return max(gap, lan.world.now - last) if count < until else gap


def test_two_nodes_behind_symmetric_nats_talk_by_the_relay_nearest_to_both(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    assert lan.relay_of(anna, ben) == lan.relay_of(ben, anna) == "near"
    assert lan.ping(anna, ben.ipv6) == pytest.approx(0.12, abs=0.001)      # 20 ms to the Internet and 10 ms to the relay, each way twice
    delays = {info.name: anna.relays.delays[info.key] for info in anna.relays.pool}
    assert delays == pytest.approx({"near": 0.06, "middle": 0.14, "far": 0.22})


def test_a_tunnel_by_a_relay_is_there_a_moment_after_the_introduction(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.kill("ben")
    lan.world.run(1.0)
    again = lan.member("ben", 2, memory=Memory.load(ben.save().dump()), key=lan.keys["ben"])
    began = lan.world.now
    lan.until_state(again, anna, "relayed")
    assert lan.world.now - began < 1.0


def test_when_a_relay_dies_in_mid_transfer_the_next_one_carries_it_on_within_three_seconds(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    data = bytes(range(256)) * (3 * MEBIBYTE // 256)
    sink = Sink(lan, ben, 80)
    Source(lan, anna, ben.ipv6, 80, data)
    lan.world.run_until(lambda: len(sink.data) > MEBIBYTE // 2)
    lan.kill_relay("near")
    gap = longest_gap(lan, sink, len(data), 30.0)
    assert bytes(sink.data) == data
    assert gap < 3.0
    assert lan.relay_of(anna, ben) == lan.relay_of(ben, anna) == "middle"


def test_both_of_the_two_bound_relays_die_and_the_third_carries_on(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    sink = Sink(lan, ben, 80)
    data = b"x" * (3 * MEBIBYTE)
    Source(lan, anna, ben.ipv6, 80, data)
    lan.world.run_until(lambda: len(sink.data) > MEBIBYTE // 2)
    lan.kill_relay("near")
    lan.kill_relay("middle")
    longest_gap(lan, sink, len(data), 60.0)
    assert bytes(sink.data) == data
    assert lan.relay_of(anna, ben) == "far"


def test_a_relayed_tunnel_goes_on_without_the_mediator(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.kill_mediator()
    lan.world.run(300.0)
    assert lan.relay_of(anna, ben) == "near"
    assert lan.ping(anna, ben.ipv6) == pytest.approx(0.12, abs=0.001)


def test_nodes_that_restart_without_a_mediator_bind_again_by_what_they_remember(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.kill_mediator()
    memories = {node.name: Memory.load(node.save().dump()) for node in (anna, ben)}
    lan.kill("anna")
    lan.kill("ben")
    lan.world.run(30.0)
    anna = lan.member("anna", 1, memory=memories["anna"], key=lan.keys["anna"])
    ben = lan.member("ben", 2, memory=memories["ben"], key=lan.keys["ben"])
    began = lan.world.now
    lan.until_state(anna, ben, "relayed", 10.0)
    lan.until_state(ben, anna, "relayed", 10.0)
    assert lan.world.now - began < 3.0
    assert lan.relay_of(anna, ben) == "near"


def test_a_relay_that_restarts_without_its_mediator_goes_on_with_the_key_that_it_kept(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    relay, _ = lan.relays["near"]
    lan.kill_mediator()
    for name in ("near", "middle", "far"):
        lan.kill_relay(name)
    lan.world.run(20.0)
    lan.relay("near", "203.0.113.1", key=lan.keys["near"], pool_keys=relay.pool_keys)
    lan.world.run_until(lambda: bool(anna.relays.client.endpoints(ben.key)), 90.0)
    lan.until_state(anna, ben, "relayed", 60.0)


def test_nodes_without_udp_reach_the_relay_by_framed_tcp(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path, WITHOUT_UDP)
    sink = Sink(lan, ben, 80)
    data = b"y" * MEBIBYTE
    Source(lan, anna, ben.ipv6, 80, data)
    lan.world.run_until(lambda: len(sink.data) == len(data), 30.0)
    assert lan.relays["near"][0].status()["channels"] == 1


def test_nodes_that_may_only_use_tcp_443_reach_a_relay_that_listens_there(tmp_path: Path) -> None:
    lan = RelayedLan(tmp_path, behaviour=WEB_ONLY)
    lan.mediator_attachment.listen(443, 1)
    relay = lan.relay("web", "203.0.113.1")
    lan.relays["web"][1].listen(443, 1)
    relay.set_endpoints([ServerEndpoint("203.0.113.1", 41414, UDP), ServerEndpoint("203.0.113.1", 443, TCP)], lan.world.now)
    lan.world.run(2.0)
    lan.url = lan.at_port(443)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.world.run(6.0)
    lan.network(anna, ben)
    lan.until_state(anna, ben, "relayed")
    assert lan.ping(anna, ben.ipv6) > 0
