"""Each axis of RFC 4787 is measured rightly behind simulated NATs, with two addresses, with a relay, and with one address only."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.sim.link import LinkProfile
from tests.sim.nat_behaviour import (
    ADDRESS,
    ADDRESS_AND_PORT,
    ADDRESS_INCREMENTAL,
    ADDRESS_RANDOM,
    ARBITRARY,
    CARRIER,
    CHUNKED,
    CHUNKED_SYMMETRIC,
    ENDPOINT_INDEPENDENT,
    FULL_CONE,
    HOME_ROUTER,
    INCREMENTAL,
    INCREMENTAL_SYMMETRIC,
    MASQUERADE,
    OPEN,
    PRESERVING,
    RANDOM,
    RANDOM_PORT_CONE,
    RESTRICTED_CONE,
    SYMMETRIC,
    WITHOUT_UDP,
    NatBehaviour,
)
from tests.traversal.vantages import HOME, Place
from userlan.traversal.asking import Point
from userlan.traversal.netcheck import SLOW_LONGEST, SOCKETS, Netcheck, Seen
from userlan.traversal.observation import Reply, Seal
from userlan.wire.endpoint import Endpoint

BOXES = {
    "home": HOME_ROUTER,
    "full cone": FULL_CONE,
    "restricted": RESTRICTED_CONE,
    "random port": RANDOM_PORT_CONE,
    "masquerade": MASQUERADE,
    "symmetric": SYMMETRIC,
    "incremental": INCREMENTAL_SYMMETRIC,
    "by two": replace(INCREMENTAL_SYMMETRIC, step=2),
    "downwards": replace(INCREMENTAL_SYMMETRIC, step=-1),
    "chunked": replace(CHUNKED_SYMMETRIC, chunk=256),
    "address, by one": ADDRESS_INCREMENTAL,
    "address, random": ADDRESS_RANDOM,
    "carrier": CARRIER,
    "independent, by one": NatBehaviour(allocation=INCREMENTAL),
}


@pytest.mark.parametrize("hosts", [2, 1])
@pytest.mark.parametrize("name", BOXES)
def test_mapping_filtering_and_allocation(name: str, hosts: int) -> None:
    """RFC 4787 4.1, 4.2.1, 5; one address and a relay are as good as two addresses."""
    box = BOXES[name]
    found = Place(box, hosts=hosts, relay=hosts == 1).measure()
    udp = found.nat.udp
    assert (udp.mapping, udp.allocation) == (box.mapping, box.allocation), found.evidence
    if box.mapping != ADDRESS_AND_PORT:
        assert udp.filtering == box.filtering, found.evidence
    if box.allocation == INCREMENTAL:
        assert udp.step == box.step
    assert found.nat.confidence >= 0.9
    assert found.nat.translated is True


@pytest.mark.parametrize("name", ["home", "full cone", "restricted", "symmetric", "incremental"])
def test_one_address_alone_tells_what_it_can_and_says_what_it_assumes(name: str) -> None:
    box = BOXES[name]
    found = Place(box, hosts=1).measure()
    assert found.nat.udp.mapping == box.mapping
    if box.mapping == ENDPOINT_INDEPENDENT:
        assert "only one address was asked" in found.evidence["mapping"][0]
        assert found.nat.confidence < 0.9
        filtering = ADDRESS if box.filtering == ENDPOINT_INDEPENDENT else box.filtering
        assert found.nat.udp.filtering == filtering
    if name == "full cone":
        assert "it may be endpoint-independent" in found.evidence["filtering"][1]


@pytest.mark.parametrize("early", ["harmless", "moves"])
def test_what_an_early_packet_does(early: str) -> None:
    assert Place(replace(HOME_ROUTER, early=early)).measure().nat.early == early


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpin(hairpin: bool) -> None:
    """RFC 4787 6."""
    assert Place(replace(HOME_ROUTER, hairpin=hairpin)).measure().nat.hairpin is hairpin


def test_a_pool_of_addresses() -> None:
    """RFC 4787 4.1: arbitrary pooling."""
    box = NatBehaviour(allocation=RANDOM, pooling=ARBITRARY)
    assert Place(box, pool=("198.51.100.2", "198.51.100.3", "198.51.100.4")).measure().nat.pooling == "arbitrary"
    assert Place(HOME_ROUTER).measure().nat.pooling == "single"


def test_an_address_of_the_internet_is_not_translated() -> None:
    found = Place(None).measure()
    assert found.nat.translated is False
    assert found.nat.udp.filtering == ENDPOINT_INDEPENDENT
    assert found.nat.hairpin is None
    assert HOME in found.evidence["translated"][0]


@pytest.mark.parametrize("inner", [HOME_ROUTER, RESTRICTED_CONE])
def test_a_nat_behind_a_nat(inner: NatBehaviour) -> None:
    """What the first router alone has let out does not open the second one."""
    found = Place(inner, outer=HOME_ROUTER).measure()
    assert found.nat.nested is True
    assert found.nat.udp.filtering == ADDRESS_AND_PORT
    assert Place(HOME_ROUTER).measure().nat.nested is False


def test_a_filter_that_is_open_anyway_tells_nothing_of_nesting() -> None:
    assert Place(FULL_CONE, outer=FULL_CONE).measure().nat.nested is None


def test_udp_is_blocked() -> None:
    found = Place(WITHOUT_UDP).measure()
    assert found.nat.udp.passes is False
    assert found.nat.tcp.passes is True
    assert found.nat.tcp.mapping == ENDPOINT_INDEPENDENT
    assert found.nat.tcp.allocation == PRESERVING


def test_tcp_is_blocked() -> None:
    place = Place(replace(HOME_ROUTER, blocked=frozenset({"tcp"})))
    found = place.measure()
    assert (found.nat.udp.passes, found.nat.tcp.passes) == (True, False)
    assert place.took <= 3.0


def test_without_any_network_nothing_is_claimed() -> None:
    place = Place(replace(HOME_ROUTER, blocked=frozenset({"udp", "tcp"})))
    found = place.measure()
    assert found.nat.udp.passes is True
    assert found.nat.confidence == 0.0
    assert "is there a network at all" in found.evidence["udp"][-1]


@pytest.mark.parametrize("step", [1, 2])
def test_tcp_has_a_policy_of_its_own(step: int) -> None:
    """RFC 5382 4: the same box may treat TCP otherwise."""
    tcp = NatBehaviour(mapping=ADDRESS_AND_PORT, allocation=INCREMENTAL, step=step)
    found = Place(replace(HOME_ROUTER, tcp=tcp)).measure()
    assert (found.nat.udp.mapping, found.nat.tcp.mapping) == (ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT)
    assert (found.nat.tcp.allocation, found.nat.tcp.step) == (INCREMENTAL, step)


@pytest.mark.parametrize(("box", "ipv6"), [(HOME_ROUTER, "firewall"), (replace(HOME_ROUTER, ipv6=OPEN), "open")])
def test_ipv6_is_open_or_behind_a_firewall(box: NatBehaviour, ipv6: str) -> None:
    """RFC 6092: most home routers let in only what was asked for."""
    assert Place(box, ipv6=True).measure().nat.ipv6 == ipv6


def test_no_ipv6() -> None:
    assert Place(HOME_ROUTER).measure().nat.ipv6 == "none"


def test_a_good_line_is_done_soon_and_mapping_and_allocation_in_two_round_trips() -> None:
    place = Place(HOME_ROUTER, profile=LinkProfile(delay=0.04))
    place.measure()
    assert place.sufficient <= 2 * 0.1 + 0.001
    assert place.took <= 1.5
    assert place.asker.sent < 80


def test_the_first_answer_waits_for_the_other_host() -> None:
    """It alone tells an address-dependent mapping from an endpoint-independent one, and may be farther away."""
    place = Place(ADDRESS_RANDOM, hosts=1, relay=True, profile=LinkProfile(delay=0.02))
    far = place.server.others[0]
    far.up.profile = far.down.profile = LinkProfile(delay=0.05)
    place.asker.start(place.points, place.own, others=True)
    place.world.run_until(lambda: place.asker.sufficient_at > 0, 1.0)
    assert place.asker.check is not None
    assert place.asker.check.result().nat.udp.mapping == ADDRESS
    assert not place.asker.check.done


def test_the_first_answer_does_not_wait_long_for_a_host_that_is_dead() -> None:
    place = Place(HOME_ROUTER, hosts=1, relay=True, profile=LinkProfile(delay=0.02))
    dead = place.server.others[0]
    dead.up.profile = dead.down.profile = LinkProfile(loss=1.0)
    place.measure()
    assert place.sufficient <= 0.5


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_line_is_done_in_some_seconds_and_right(seed: int) -> None:
    """Ten per cent lost each way, and 30 ms of jitter that lets packets overtake each other."""
    place = Place(replace(INCREMENTAL_SYMMETRIC, step=2), seed=seed, profile=LinkProfile(delay=0.06, jitter=0.03, loss=0.1))
    found = place.measure(seconds=6.0)
    assert place.sufficient <= 1.0
    assert found.nat.udp.mapping == ADDRESS_AND_PORT
    assert (found.nat.udp.allocation, found.nat.udp.step) == (INCREMENTAL, 2), found.evidence


def test_a_satellite_line_is_told_to_the_end() -> None:
    """A round trip of 0.8 s: the filter's silences last longer than most measurements do in all."""
    place = Place(HOME_ROUTER, profile=LinkProfile(delay=0.4))
    found = place.measure(seconds=SLOW_LONGEST + 0.1)
    assert place.sufficient <= 2 * 0.9
    assert found.nat.udp.filtering == ADDRESS_AND_PORT, found.evidence
    assert place.asker.check is not None
    assert not place.asker.check.cut


@pytest.mark.parametrize("seed", range(10))
def test_who_is_slow_has_not_refused(seed: int) -> None:
    """Answers come after 0.1 to 2 s, as from a computer that is busy: that is not taken for the strictest filter."""
    place = Place(replace(HOME_ROUTER, filtering=ENDPOINT_INDEPENDENT), seed=seed, profile=LinkProfile(delay=0.05, jitter=1.0))
    found = place.measure(seconds=SLOW_LONGEST + 0.1)
    assert found.nat.udp.filtering != ADDRESS_AND_PORT, found.evidence


@pytest.mark.parametrize("seed", range(5))
def test_others_take_ports_meanwhile(seed: int) -> None:
    """48 to 266 new mappings a second were seen; the step shows all the same, and so does the rate, within a factor of two."""
    found = Place(replace(INCREMENTAL_SYMMETRIC, load=120.0), seed=seed).measure()
    assert (found.nat.udp.allocation, found.nat.udp.step) == (INCREMENTAL, 1), found.evidence
    assert 60 <= found.nat.udp.rate <= 240


def test_the_block_is_bounded() -> None:
    found = Place(replace(CHUNKED_SYMMETRIC, chunk=256)).measure()
    assert found.nat.udp.allocation == CHUNKED
    assert found.nat.udp.high - found.nat.udp.low < 1024


def test_each_answer_shows_its_evidence() -> None:
    found = Place(HOME_ROUTER).measure()
    assert all(found.evidence.values())
    assert "main" not in found.evidence
    assert f"was seen as {HOME}:41414" in "\n".join(found.evidence["mapping"])


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "224.0.0.251", "0.0.0.0", "::1", "255.255.255.255"])
def test_a_vantage_that_lies_does_not_have_the_own_network_asked_by_hairpin(host: str) -> None:
    """It says where this computer is seen, and two sockets send there to each other."""
    key, point = b"k" * 32, Endpoint("udp", "203.0.113.1", 41414)
    seal = Seal(key)
    known = Seen(frozenset(), lambda via, transport: 0)
    check = Netcheck([Point(key, point)], frozenset(), range(1, SOCKETS + 1), known, Random(1).randbytes, 0.0)
    now = 0.0
    targets: set[str] = set()
    for _ in range(40):
        for burst in check.datagrams(now):
            targets.add(burst.endpoint.host)
            request = seal.read_request(burst.data)
            if request is not None and burst.endpoint.host == point.host:
                reply = seal.reply(Reply(request.transaction, host, 5353, bytes(8), 0))
                check.receive(reply, burst.endpoint, now)
        now += 0.1
        check.tick(now)
    assert targets == {point.host}
