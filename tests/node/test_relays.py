"""Relays in a node: what a mediator may make it send to, and what the node tells of them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.relay.lan import SYMMETRIC, RelayedLan
from tests.relay.test_pairs import relayed_pair
from tests.sim.nat import HOME_ROUTER
from userlan.control import grants
from userlan.control.meeting import RelayDelays, RelayInfo, RelayOffer, RelayOffers, RelayPool, ServerEndpoint
from userlan.node.memory import Memory
from userlan.node.relays import Relays
from userlan.node.status import snapshot

OWN, PEER, MEDIATOR, KEY = (bytes([number]) * 32 for number in (1, 2, 3, 4))


def offer(*endpoints: ServerEndpoint) -> RelayOffer:
    told = grants.for_end(KEY, grants.seal(KEY, OWN, PEER, 2e9), 0)
    return RelayOffer(RelayInfo(b"\x05" * 32, "r", endpoints), *told)


def made(observed: str = "198.51.100.1", host: str = "203.0.113.1") -> Relays:
    relays = Relays(OWN, Random(1).randbytes, 1.7e9)
    relays.met(MEDIATOR, observed, host)
    return relays


def targets(relays: Relays, now: float = 1.0) -> set[str]:
    relays.tick(now)
    return {burst.endpoint.host for burst in relays.datagrams(now)}


@pytest.mark.parametrize("host", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "240.0.0.1", "192.168.1.1", "127.0.0.1", "ff02::1", "name"])
def test_a_mediator_cannot_name_targets_that_no_relay_can_have(host: str) -> None:
    relays = made()
    relays.said(MEDIATOR, RelayOffers(PEER, (offer(ServerEndpoint(host, 41414), ServerEndpoint("203.0.113.9", 41414)),)), 1.0)
    assert targets(relays) == {"203.0.113.9"}
    relays = made()
    relays.said(MEDIATOR, RelayPool((RelayInfo(b"\x05" * 32, "r", (ServerEndpoint(host, 41414),)),)), 1.0)
    assert targets(relays, 5.0) == set()


def test_a_relay_beside_the_mediator_in_the_own_network_is_used() -> None:
    relays = made("192.168.1.2", "192.168.1.1")
    relays.said(MEDIATOR, RelayOffers(PEER, (offer(ServerEndpoint("192.168.1.1", 41414)),)), 1.0)
    assert targets(relays) == {"192.168.1.1"}


def test_offers_survive_in_the_memory() -> None:
    relays = made()
    relays.said(MEDIATOR, RelayOffers(PEER, (offer(ServerEndpoint("203.0.113.9", 41414)),)), 1.0)
    memory = Memory()
    relays.save(memory)
    again = Relays(OWN, Random(1).randbytes, 1.7e9)
    again.restore(Memory.load(memory.dump()))
    assert again.client.save() == relays.client.save()
    again.start([PEER], 1.0)
    assert targets(again) == {"203.0.113.9"}


def test_each_mediator_is_told_of_its_own_relays_alone() -> None:
    relays = made()
    assert relays.report(MEDIATOR) is None
    relays.said(MEDIATOR, RelayPool((RelayInfo(b"\x05" * 32, "r", (ServerEndpoint("203.0.113.9", 1),)),)), 1.0)
    relays.delays[b"\x05" * 32] = 0.1
    relays.delays[b"\x06" * 32] = 0.2
    assert relays.report(MEDIATOR) == RelayDelays({b"\x05" * 32: 0.1})


def test_the_status_names_the_relay(tmp_path: Path) -> None:
    lan, anna, _ = relayed_pair(tmp_path)
    lan.world.run(1.0)
    (peer,) = snapshot(anna, lan.world.now)["peers"]
    assert (peer["state"], peer["path"], peer["relay"]) == ("relayed", "relay", "near")
    assert peer["rtt_ms"] is not None


def test_a_pair_that_can_meet_directly_does_not_stay_on_the_relay(tmp_path: Path) -> None:
    lan = RelayedLan(tmp_path, behaviour=HOME_ROUTER)
    lan.relay("near", "203.0.113.1")
    lan.world.run(2.0)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)


def test_a_direct_pair_keeps_one_binding_at_rest_and_falls_back_on_it(tmp_path: Path) -> None:
    lan = RelayedLan(tmp_path, behaviour=HOME_ROUTER)
    for number in (1, 2):
        lan.relay(f"r{number}", f"203.0.113.{number}")
    lan.world.run(2.0)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run(90.0)
    assert len(anna.relays.client.endpoints(ben.key)) == 1
    for box in lan.boxes.values():      # both routers are replaced by ones through which nothing direct passes
        box.behaviour = SYMMETRIC
        box.reboot()
    lan.until_state(anna, ben, "relayed", 30.0)
    lan.until_state(ben, anna, "relayed", 30.0)
