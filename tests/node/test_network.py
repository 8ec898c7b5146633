"""Whole networks in virtual time: nodes, a mediator, NATs, losses, deaths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, PORT, Sink, Source, VirtualLan, counters
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat, NatBehaviour
from userlan.control.mediation import LinkState
from userlan.lan.addresses import ipv6_of
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import NetworkLost, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.status import connections, snapshot
from userlan.wire.endpoint import Endpoint

FAR = LinkProfile(delay=0.02)


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def two_homes(lan: VirtualLan) -> tuple[Node, Node]:
    """Two nodes behind ordinary home routers."""
    anna = lan.node("anna", Nat(lan.internet, "198.51.100.1").inside, "192.168.1.2", profile=FAR)
    ben = lan.node("ben", Nat(lan.internet, "203.0.113.1").inside, "192.168.1.2", profile=FAR)
    lan.ready(anna, ben)
    return anna, ben


def test_two_homes_meet_directly_and_ping(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben, seconds=3)
    state, path = anna.peers.shown(ben.key)
    assert (state, path) == ("direct", "udp")
    assert lan.ping(anna, ben.roster.own_ipv4) < 0.1
    assert lan.ping(ben, anna.ipv6) < 0.1
    peer = snapshot(anna, lan.world.now)["peers"][0]
    assert (peer["name"], peer["endpoint"], peer["networks"]) == ("ben", "203.0.113.1:41414", ["home"])
    assert peer["rtt_ms"] == pytest.approx(80, abs=5)


def test_the_connections_of_a_node_have_their_peers_names(lan: VirtualLan) -> None:
    """``userlan status --connections --json``: every value is one that JSON has."""
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    sink = Sink(lan, ben, 80)
    source = Source(lan, anna, ben.roster.own_ipv4, 80, bytes(100_000))
    lan.world.run_until(lambda: len(sink.data) == 100_000, 30)
    told = connections(anna, lan.world.now)
    (row,) = (row for row in told["connections"] if row["remote_port"] == 80)
    assert json.loads(json.dumps(told)) | {"connections": None} == told | {"connections": None}
    assert (told["total"], row["peer"], row["passive"]) == (len(told["connections"]), "ben", False)
    assert told["refused"] == 0
    assert row["local_port"] == source.connection.local[1]
    assert row["octets_sent"] == 100_000
    assert row["rtt"] == pytest.approx(0.080, abs=0.02)
    (other,) = (row for row in connections(ben, lan.world.now)["connections"] if row["local_port"] == 80)
    assert (other["peer"], other["passive"], other["octets_received"]) == ("anna", True, 100_000)


def test_one_lan_uses_the_private_addresses(lan: VirtualLan) -> None:
    home = Nat(lan.internet, "198.51.100.1")
    anna = lan.node("anna", home.inside, "192.168.1.2")
    ben = lan.node("ben", home.inside, "192.168.1.3")
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben, seconds=3)
    assert anna.peers.shown(ben.key) == ("direct", "lan")


def test_a_first_packet_needs_no_second_try(lan: VirtualLan) -> None:
    lan.mediator_attachment.listen(PORT + 1, 1)
    for via in (0, 1):      # so that the nodes know what their NATs do by the time when they meet
        lan.mediator.listening(via, MEDIATOR_HOST, PORT + via)
    anna, ben = two_homes(lan)
    secret = lan.network(anna)
    number = ben.join("home", lan.mediator.public_key, secret, lan.world.now)
    lan.finish(ben, number)
    began = lan.world.now
    lan.direct(anna, ben, seconds=3)
    assert lan.world.now - began < 0.4


def test_a_transfer_survives_the_mediator_and_the_node_comes_back(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    data = bytes(range(256)) * 20_000
    sink = Sink(lan, ben, 80)
    Source(lan, anna, ben.roster.own_ipv4, 80, data)
    lan.world.run_until(lambda: len(sink.data) > 500_000, 30)
    lan.kill_mediator()
    lan.world.run_until(lambda: sink.done, 120)
    assert bytes(sink.data) == data
    lan.world.run(60)
    assert anna.peers.shown(ben.key)[0] == "direct"
    link = anna.links[lan.mediator.public_key]
    assert link.state is not LinkState.READY
    lan.start_mediator()
    lan.world.run_until(lambda: link.state is LinkState.READY, 60)
    assert anna.roster.peers[ben.key].ipv4 == ben.roster.own_ipv4


def test_a_vanished_peer_is_offline_and_its_connection_ends(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    sink = Sink(lan, ben, 80)
    source = Source(lan, anna, ben.roster.own_ipv4, 80, bytes(5_000_000))
    lan.world.run_until(lambda: len(sink.data) > 1_000_000, 10)
    lan.kill("ben")
    lan.until_state(anna, ben, "offline", seconds=60)
    lan.world.run_until(lambda: source.error is not None, 600)
    peer = snapshot(anna, lan.world.now)["peers"][0]
    assert (peer["state"], peer["path"], peer["rtt_ms"]) == ("offline", "none", None)
    assert peer["last_seen"] > 0


def test_a_reader_whose_peer_vanished_is_told_too(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    Sink(lan, ben, 80)
    waiting = Source(lan, anna, ben.roster.own_ipv4, 80, b"")
    waiting.rest = memoryview(b"a request")
    waiting.push = lambda: None  # type: ignore[method-assign]  # it only waits for an answer
    lan.world.run(1.0)
    lan.kill("ben")
    lan.world.run_until(lambda: waiting.error is not None, 180)


def test_a_restarted_node_reaches_its_peer_with_the_mediator_dead(lan: VirtualLan) -> None:
    anna = lan.node("anna", lan.internet, "198.51.100.1", profile=FAR, key=bytes(range(32)))
    ben = lan.node("ben", lan.internet, "203.0.113.1", profile=FAR)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    memory = Memory.load(anna.save().dump())
    lan.kill_mediator()
    lan.kill("anna")
    lan.world.run(30)
    again = lan.node("anna", lan.internet, "198.51.100.1", profile=FAR, key=bytes(range(32)), memory=memory)
    assert again.roster.own_ipv4
    lan.direct(again, seconds=5)
    lan.until_state(again, ben, "direct", seconds=5)
    assert lan.ping(again, ben.ipv6) < 0.1


def test_udp_blocked_everything_goes_by_framed_tcp(lan: VirtualLan) -> None:
    blocked = Nat(lan.internet, "198.51.100.1", behaviour=NatBehaviour(blocked=frozenset({"udp"})))
    anna = lan.node("anna", blocked.inside, "192.168.1.2", profile=FAR)
    ben = lan.node("ben", lan.internet, "203.0.113.1", profile=FAR)
    lan.ready(anna, ben, seconds=15)
    assert snapshot(anna, lan.world.now)["mediator"]["path"] == "tcp"
    lan.network(anna, ben)
    lan.direct(anna, ben, seconds=15)
    assert anna.peers.shown(ben.key) == ("direct", "tcp")


def test_wrong_secret_is_refused_and_forgotten(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna)
    wrong = NetworkSecret(bytes(16))
    refused = lan.finish(ben, ben.join("home", lan.mediator.public_key, wrong, lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert refused.code == "wrong-secret"
    assert "home" not in ben.keyring
    assert not ben.roster.networks


def test_a_mediator_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    lan.kill_mediator()
    anna = lan.node("anna", lan.internet, "198.51.100.1")
    refused = lan.finish(anna, anna.create("home", lan.mediator.public_key, NetworkSecret(bytes(16)), lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert MEDIATOR_HOST in refused.text
    assert "\n" not in refused.text


def test_an_eviction_is_obeyed_spread_and_rotates_the_secret(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    carla = lan.node("carla", lan.internet, "203.0.113.7", profile=FAR)
    lan.ready(carla)
    old = lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    lan.finish(anna, anna.evict("home", carla.key, lan.world.now))
    lan.world.run_until(lambda: carla.key not in ben.roster.peers, 10)
    lan.world.run_until(lambda: "home" not in carla.keyring, 10)
    assert any(isinstance(event, NetworkLost) for event in lan.events(carla))
    assert carla.key not in anna.roster.peers
    for node in (anna, ben):
        held = node.keyring.get("home")
        assert held is not None
        assert held.secrets[0] != old
    assert anna.keyring.get("home").secrets[0] == ben.keyring.get("home").secrets[0]  # type: ignore[union-attr]
    refused = lan.finish(carla, carla.join("home", lan.mediator.public_key, old, lan.world.now))
    assert isinstance(refused, RequestRefused)
    lan.world.run(200)      # a rekey under the new secret
    assert lan.ping(anna, ben.ipv6) < 0.1


def test_an_eviction_spreads_from_peer_to_peer_without_the_mediator(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    carla = lan.node("carla", lan.internet, "203.0.113.7", profile=FAR)
    lan.ready(carla)
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    lan.kill_mediator()
    anna.evict("home", carla.key, lan.world.now)
    lan.world.run_until(lambda: carla.key not in ben.roster.peers, 10)
    assert anna.keyring.serial("home") == ben.keyring.serial("home") == 1


def test_forged_inner_sources_are_dropped_and_counted(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    carla = lan.node("carla", lan.internet, "203.0.113.7", profile=FAR)
    lan.ready(carla)
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    forged = carla.host
    carla.host.add_address(ben.ipv6)
    before = counters(anna.switch).get("source-forged", 0)
    forged.ping(anna.ipv6, 9, 1, b"", lan.world.now, source=ben.ipv6)
    lan.world.run(1)
    assert counters(anna.switch)["source-forged"] == before + 1


def test_a_mediator_cannot_read_or_join(lan: VirtualLan) -> None:
    """A hostile mediator lists a member of its own: without the secret no tunnel comes up."""
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    spy = lan.node("spy", lan.internet, "203.0.113.66", profile=FAR)
    lan.ready(spy)
    lan.finish(spy, spy.create("elsewhere", lan.mediator.public_key, NetworkSecret(bytes(16)), lan.world.now))
    network = lan.directory.network("home")
    assert network is not None
    lan.directory.add_member(network.identifier, spy.key, "spy", 0.0)
    lan.kill_mediator()
    lan.start_mediator()
    lan.world.run_until(lambda: spy.key in anna.roster.peers, 90)
    spy.device.add_peer(anna.key)
    spy.device.initiate(anna.key, [Endpoint("udp", "198.51.100.1", 41414)], lan.world.now)
    lan.world.run(10)
    assert anna.peers.shown(spy.key)[0] != "direct"


def test_nicknames_and_leaving(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    for number in ben.nick("benjamin", lan.world.now):
        lan.finish(ben, number)
    lan.world.run_until(lambda: anna.roster.name_of(ben.key) == "benjamin", 5)
    assert anna.lookup.resolver.find("benjamin.home.internal").key == ben.key
    ben.renamed("benjamin")
    assert ben.lookup.own_info().name == "benjamin"
    lan.finish(ben, ben.leave("home", lan.world.now))
    lan.world.run_until(lambda: ben.key not in anna.roster.peers, 5)
    assert not ben.roster.peers


def test_a_clean_stop_shows_offline_at_once(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    ben.stop(lan.world.now)
    lan.world.run(0.2)
    lan.kill("ben")
    lan.until_state(anna, ben, "offline", seconds=15)


def test_a_changed_address_is_followed(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    attachment = lan.attachments["ben"]
    other = Nat(lan.internet, "203.0.113.99")
    attachment.unplug()
    attachment.plug(other.inside, "10.0.0.5")
    ben.set_local_endpoints([Endpoint("udp", "10.0.0.5", 41414)], lan.world.now)
    lan.world.run(8)
    assert lan.ping(anna, ben.ipv6) < 0.2
    peer = anna.device.peer(ben.key)
    assert peer is not None
    assert peer.endpoint is not None
    assert peer.endpoint.host == "203.0.113.99"


def test_addresses_follow_the_key() -> None:
    assert ipv6_of(bytes(32))[:6] == bytes.fromhex("fd756c616e00")
