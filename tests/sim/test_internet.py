"""The simulated datagram network keeps its promises."""

from __future__ import annotations

import pytest

from tests.sim.internet import Attachment, Internet
from tests.sim.link import LinkProfile
from tests.sim.nat import ADDRESS, ADDRESS_AND_PORT, ENDPOINT_INDEPENDENT, Nat, NatBehaviour
from tests.sim.nat_behaviour import INCREMENTAL
from tests.sim.talker import Talker, udp
from tests.sim.world import World
from userlan.wire.endpoint import Endpoint


def test_bursts_are_cut_and_joined_and_take_the_delay_of_both_links() -> None:
    world = World()
    internet = Internet(world)
    alice, bob = Talker(), Talker()
    internet.attach(alice, "192.0.2.1", profile=LinkProfile(delay=0.020))
    internet.attach(bob, "192.0.2.2", profile=LinkProfile(delay=0.005))
    alice.say(b"a" * 250, udp("192.0.2.2"), segment=100)
    world.run(1)
    assert [(len(data), segment, source) for data, segment, source, _ in bob.got] == [(250, 100, udp("192.0.2.1"))]
    assert bob.got[0][3] == pytest.approx(1000.025)


def test_deadlines_are_met_in_virtual_time() -> None:
    world = World()
    core = Talker(repeat_every=0.5)
    Internet(world).attach(core, "192.0.2.1")
    world.run(2.2)
    assert core.ticks == pytest.approx([1000.5, 1001.0, 1001.5, 1002.0])


def test_the_same_seed_takes_the_same_course() -> None:
    def course(seed: int) -> list[bytes]:
        world = World(seed)
        internet = Internet(world)
        alice, bob = Talker(), Talker()
        profile = LinkProfile(delay=0.01, jitter=0.02, loss=0.2, duplicate=0.1, reorder=0.2, corrupt=0.1)
        internet.attach(alice, "192.0.2.1", profile=profile)
        internet.attach(bob, "192.0.2.2")
        for number in range(100):
            alice.say(b"%03d" % number, udp("192.0.2.2"))
            world.run(0.001)
        world.run(1)
        return bob.texts()

    assert course(3) == course(3) != course(4)


def test_bandwidth_and_queue() -> None:
    world = World()
    internet = Internet(world)
    alice, bob = Talker(), Talker()
    sender = internet.attach(alice, "192.0.2.1", profile=LinkProfile(delay=0.0, rate=8000.0, queue=450))
    internet.attach(bob, "192.0.2.2")
    for _ in range(10):
        alice.say(bytes(100), udp("192.0.2.2"))
    world.run(5)
    assert [round(time - 1000, 3) for *_, time in bob.got] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sender.up.counters["queue-full"] == 5


def home(internet: Internet, address: str, behaviour: NatBehaviour) -> tuple[Nat, Talker, Attachment]:
    nat, core = Nat(internet, address, behaviour=behaviour), Talker()
    return nat, core, nat.inside.attach(core, "192.168.1.2")


@pytest.mark.parametrize(
    ("filtering", "same_host_other_port", "other_host"),
    [(ENDPOINT_INDEPENDENT, True, True), (ADDRESS, True, False), (ADDRESS_AND_PORT, False, False)],
)
def test_filtering(filtering: str, same_host_other_port: bool, other_host: bool) -> None:
    world = World()
    internet = Internet(world)
    _, inside, _ = home(internet, "198.51.100.1", NatBehaviour(filtering=filtering))
    known, neighbour, stranger = Talker(), Talker(), Talker()
    internet.attach(known, "192.0.2.1")
    internet.attach(neighbour, "192.0.2.1", port=5000)
    internet.attach(stranger, "192.0.2.9")
    inside.say(b"hello", udp("192.0.2.1", 5000))
    world.run(0.1)
    assert [source for _, _, source, _ in neighbour.got] == [udp("198.51.100.1")]
    neighbour.say(b"answer", udp("198.51.100.1"))
    known.say(b"port", udp("198.51.100.1"))
    stranger.say(b"host", udp("198.51.100.1"))
    world.run(0.1)
    expected = {b"answer"} | ({b"port"} if same_host_other_port else set()) | ({b"host"} if other_host else set())
    assert set(inside.texts()) == expected


def test_mapping_address_and_port_dependent_gives_each_far_end_a_port() -> None:
    world = World()
    internet = Internet(world)
    _, inside, _ = home(internet, "198.51.100.1", NatBehaviour(mapping=ADDRESS_AND_PORT, allocation=INCREMENTAL, step=2))
    far = [Talker(), Talker()]
    for index, core in enumerate(far):
        internet.attach(core, f"192.0.2.{index + 1}")
        inside.say(b"x", udp(f"192.0.2.{index + 1}"))
    world.run(0.1)
    ports = [core.got[0][2].port for core in far]
    assert ports[1] - ports[0] == 2


def test_two_homes_punch_through_and_the_mapping_expires() -> None:
    world = World()
    internet = Internet(world)
    nat_a, alice, _ = home(internet, "198.51.100.1", NatBehaviour(timeout=30))
    _, bob, _ = home(internet, "203.0.113.1", NatBehaviour(timeout=30))
    alice.say(b"lost", udp("203.0.113.1"))
    world.run(0.1)
    bob.say(b"through", udp("198.51.100.1"))
    world.run(0.1)
    assert (bob.texts(), alice.texts()) == ([], [b"through"])
    world.run(31)
    bob.say(b"too late", udp("198.51.100.1"))
    world.run(0.1)
    assert alice.texts() == [b"through"]
    assert nat_a.counters["no-mapping"] == 1


@pytest.mark.parametrize("hairpin", [True, False])
def test_neighbours_reach_each_other_directly_and_by_hairpin_only_if_the_box_does_it(hairpin: bool) -> None:
    world = World()
    internet = Internet(world)
    nat, alice, _ = home(internet, "198.51.100.1", NatBehaviour(hairpin=hairpin, filtering=ENDPOINT_INDEPENDENT))
    carol, server = Talker(), Talker()
    nat.inside.attach(carol, "192.168.1.3", port=5000)
    internet.attach(server, "192.0.2.1")
    alice.say(b"direct", udp("192.168.1.3", 5000))
    carol.say(b"map", udp("192.0.2.1"))
    world.run(0.1)
    assert carol.texts() == [b"direct"]
    alice.say(b"hairpin", udp("198.51.100.1", 5000))
    world.run(0.1)
    assert (b"hairpin" in carol.texts()) is hairpin


def test_nested_nats_and_ipv6_past_them() -> None:
    world = World()
    internet = Internet(world)
    carrier = Nat(internet, "198.51.100.1")
    inner = Nat(carrier.inside, "100.64.0.9")
    alice, server = Talker(), Talker()
    inner.inside.attach(alice, "192.168.1.2", "2001:db8:1::2")
    internet.attach(server, "192.0.2.1", "2001:db8:2::1")
    alice.say(b"4", udp("192.0.2.1"))
    alice.say(b"6", udp("2001:db8:2::1"))
    world.run(0.1)
    assert {source.host for _, _, source, _ in server.got} == {"198.51.100.1", "2001:db8:1::2"}
    for _, _, source, _ in list(server.got):
        server.say(b"back", source)
    world.run(0.1)
    assert alice.texts() == [b"back", b"back"]


def test_framed_tcp_passes_where_udp_is_blocked_and_loses_nothing() -> None:
    world = World()
    internet = Internet(world)
    nat = Nat(internet, "198.51.100.1", LinkProfile(loss=0.3), NatBehaviour(blocked=frozenset({"udp"})))
    alice, server = Talker(), Talker()
    nat.inside.attach(alice, "192.168.1.2")
    listener = internet.attach(server, "192.0.2.1")
    alice.say(b"udp", listener.endpoint())
    for number in range(20):
        alice.say(b"%d" % number, listener.endpoint("tcp"))
    world.run(8)        # a SYN may be lost
    assert b"".join(server.texts()) == b"".join(b"%d" % number for number in range(20))
    caller = server.got[0][2]
    assert (caller.transport, caller.host) == ("tcp", "198.51.100.1")
    server.say(b"answer", caller)
    server.say(b"to its listener", Endpoint("tcp", "198.51.100.1", 41414))
    world.run(1)
    assert [(data, source) for data, _, source, _ in alice.got] == [(b"answer", listener.endpoint("tcp"))]


def test_two_cores_on_one_port_and_a_move_to_another_segment() -> None:
    world = World()
    internet = Internet(world)
    node, mediator, far = Talker(b"n"), Talker(b"m"), Talker()
    shared = internet.attach(node, "192.0.2.1")
    shared.cores.append(mediator)
    internet.attach(far, "192.0.2.2")
    for text in (b"n1", b"m1", b"?"):
        far.say(text, udp("192.0.2.1"))
        world.run(0.1)
    assert (node.texts(), mediator.texts(), shared.counters["unowned"]) == ([b"n1"], [b"m1"], 1)
    shared.plug(Nat(internet, "203.0.113.1").inside, "192.168.1.2")
    node.say(b"moved", udp("192.0.2.2"))
    far.say(b"n2", udp("192.0.2.1"))
    world.run(0.1)
    assert far.got[-1][2].host == "203.0.113.1"
    assert node.texts() == [b"n1"]


def test_a_core_whose_deadline_stays_in_the_past_is_found_out() -> None:
    class Stuck(Talker):
        def deadline(self) -> float | None:
            return 999.0

    world = World()
    Internet(world).attach(Stuck(), "192.0.2.1")
    with pytest.raises(AssertionError, match="spins"):
        world.run(1)


def test_each_core_of_a_process_numbers_its_own_sockets_and_what_is_listened_with_is_alls() -> None:
    world = World()
    internet = Internet(world)
    node, mediator, far = Talker(b"n"), Talker(b"m"), Talker()
    here = internet.attach(node, "192.0.2.1")
    here.cores.append(mediator)
    here.listen(443, via=9)
    internet.attach(far, "192.0.2.2")
    for core in (node, mediator):
        core.say(b"x", udp("192.0.2.2", via=1))
        core.say(b"x", udp("192.0.2.2", via=9))
    world.run(0.1)
    assert {source.port for source in far.sources()} == {node.opened["udp", 1], mediator.opened["udp", 1], 443}
    far.say(b"anything", udp("192.0.2.1", mediator.opened["udp", 1]))
    far.say(b"n to the port of all", udp("192.0.2.1", 443))
    world.run(0.1)
    assert (mediator.sources()[-1].via, mediator.texts()) == (1, [b"anything"])
    assert (node.sources()[-1].via, node.texts()) == (9, [b"n to the port of all"])
