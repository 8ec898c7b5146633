"""The coordinator and its three methods against a router in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.traversal.port_mapping.router import EXTERNAL, GATEWAY, OWN, PORT, Router, World
from userlan.traversal.port_mapping.mapper import LEAST_RENEWAL, LONGEST_RENEWAL, NOTHING, RETRY_INTERVAL, State
from userlan.traversal.port_mapping.methods import HttpRequest
from userlan.wire.endpoint import TCP, UDP, Endpoint

BOTH = (Endpoint(UDP, EXTERNAL, PORT), Endpoint(TCP, EXTERNAL, PORT))
BY_PORT = {(UDP, PORT): PORT, (TCP, PORT): PORT}


def only(*methods: str, **options: Any) -> World:
    return World(speaks=frozenset(methods), **options)


@pytest.mark.parametrize(("speaks", "expected", "within"), [
    (("pcp", "nat-pmp", "upnp"), "pcp", 0.0),
    (("nat-pmp", "upnp"), "nat-pmp", 0.6),
    (("upnp",), "upnp", 0.6),
    (("pcp",), "pcp", 0.0),
])  # fmt: skip
def test_the_best_that_answers_is_used(speaks: tuple[str, ...], expected: str, within: float) -> None:
    world = only(*speaks)
    world.run(within)
    assert world.mapper.mapped == (expected, BOTH)
    assert world.router.mapped == BY_PORT
    assert len(world.changes) == 1
    assert world.mapper.state is State.MAPPED


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_renewed_in_time_and_given_back(method: str) -> None:
    """RFC 6887 11.2.1, RFC 6886 3.3: at half the lifetime, however long it goes on."""
    world = only(method, lifetime=300)
    world.run(2)
    before = len(world.router.heard)
    world.run(3600)
    renewals = len(world.router.heard) - before
    assert 3600 / LONGEST_RENEWAL * 2 <= renewals <= 3600 / 150 * 3 + 3
    assert world.changes == [(method, BOTH)], "nothing has changed"
    world.mapper.stop(world.now)
    world.carry()
    assert world.router.mapped == {}
    assert world.mapper.mapped == NOTHING


class Unheard(Router):
    """One that maps, and whose answers about mappings do not arrive."""

    def datagram(self, data: bytes, port: int, now: float) -> bytes | None:
        answer = super().datagram(data, port, now)
        return None if port == 5351 and data[1] else answer


@pytest.mark.parametrize("method", ["pcp", "nat-pmp"])
def test_what_was_asked_for_is_given_back_before_the_answer_is_there(method: str) -> None:
    """RFC 6887 15, RFC 6886 3.4: the router may have mapped it already, and would keep it for its whole lifetime."""
    world = World(Unheard(speaks=frozenset((method,))))
    world.run(1)
    assert world.router.mapped == BY_PORT
    assert world.mapper.mapped == NOTHING
    world.mapper.stop(world.now)
    world.carry()
    assert world.router.mapped == {}


@pytest.mark.parametrize("method", ["pcp", "nat-pmp"])
def test_a_router_that_restarted_without_a_word_is_noticed(method: str) -> None:
    """RFC 6887 8.5, RFC 6886 3.6: its epoch begins anew; what was not renewed yet is asked for, too."""
    world = only(method)
    world.run(100)
    world.router.restart(world.now)
    world.run(LONGEST_RENEWAL)
    assert world.router.mapped == BY_PORT


def test_an_announced_restart_is_followed_at_once() -> None:
    """RFC 6887 14.1.3."""
    world = only("pcp")
    world.run(100)
    world.router.restart(world.now)
    world.mapper.received(world.router.announcement(world.now), GATEWAY, 5351, world.now)
    world.carry()
    assert world.router.mapped == BY_PORT
    sent = world.sent
    for _ in range(10):
        world.mapper.received(world.router.announcement(world.now), GATEWAY, 5351, world.now)
        world.carry()
    assert world.sent == sent, "what is no news causes nothing"


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_another_external_address_is_told(method: str) -> None:
    world = only(method)
    world.run(2)
    world.router.external = "203.0.113.99"
    world.run(LONGEST_RENEWAL)
    assert {endpoint.host for endpoint in world.mapper.mapped.endpoints} == {"203.0.113.99"}
    assert len(world.changes) == 2


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_a_port_that_is_taken(method: str) -> None:
    world = only(method, taken=frozenset({(UDP, PORT)}))
    world.run(2)
    udp, tcp = world.mapper.mapped.endpoints
    assert udp.port != PORT
    assert tcp.port == PORT
    assert world.router.mapped == {(UDP, udp.port): PORT, (TCP, PORT): PORT}
    world.run(2 * LONGEST_RENEWAL)
    assert world.mapper.mapped.endpoints == (udp, tcp), "the same is asked for again"


def test_igd_2_chooses_the_port_itself() -> None:
    """WANIPConnection:2, 2.5.20 (AddAnyPortMapping)."""
    service = "urn:schemas-upnp-org:service:WANIPConnection:2"
    world = only("upnp", taken=frozenset({(UDP, PORT)}), service=service)
    world.run(2)
    assert world.mapper.mapped.endpoints[0].port == PORT + 1
    assert "upnp AddAnyPortMapping" in world.router.heard


def test_a_router_with_permanent_leases_only() -> None:
    """WANIPConnection:1, error 725."""
    world = only("upnp", permanent_only=True)
    world.run(2)
    assert world.mapper.mapped == ("upnp", BOTH)
    refusals = world.router.heard.count("upnp AddPortMapping")
    world.run(LONGEST_RENEWAL)
    assert world.router.heard.count("upnp AddPortMapping") == refusals + 2, "it is not asked for a lease again"


def test_who_refuses_is_passed_over() -> None:
    world = World(refuses=frozenset({"pcp"}))
    world.run(2)
    assert world.mapper.mapped.method == "nat-pmp"
    world = World(refuses=frozenset({"pcp", "nat-pmp"}))
    world.run(2)
    assert world.mapper.mapped.method == "upnp"
    world = World(refuses=frozenset({"pcp", "nat-pmp", "upnp"}))
    world.run(2)
    assert world.mapper.mapped == NOTHING
    assert world.mapper.state is State.GIVEN_UP


def test_silence_costs_little_and_is_asked_again_much_later() -> None:
    world = only()
    world.run(60)
    assert world.mapper.state is State.GIVEN_UP
    assert world.sent < 30
    assert world.changes == []
    sent = world.sent
    world.run(RETRY_INTERVAL - 60)
    assert world.sent == sent
    world.router.speaks = frozenset({"nat-pmp"})
    world.run(70)
    assert world.mapper.mapped.method == "nat-pmp"


def test_what_gets_lost_is_asked_again() -> None:
    """RFC 6886 3.1, RFC 6887 8.1.1."""
    for method in ("pcp", "nat-pmp", "upnp"):
        world = only()
        world.run(0.1)
        world.router.speaks = frozenset({method})
        world.run(6)
        assert world.mapper.mapped == (method, BOTH)


def test_a_router_that_falls_silent_has_nothing_mapped_for_us() -> None:
    world = only("pcp", "upnp")
    world.run(1)
    world.router.speaks = frozenset({"upnp"})
    world.run(LONGEST_RENEWAL + 30)
    assert world.mapper.mapped.method == "upnp"
    world.lost = lambda one: isinstance(one, HttpRequest)
    world.run(LONGEST_RENEWAL + 30)
    assert world.mapper.mapped == NOTHING


def test_another_network_begins_anew_and_the_same_does_not() -> None:
    world = World()
    sent = world.sent
    world.mapper.network(GATEWAY, OWN, PORT, world.now)
    world.carry()
    assert world.sent == sent
    world.mapper.network("10.0.0.1", "10.0.0.9", PORT, world.now)
    assert world.mapper.mapped == NOTHING
    assert world.mapper.changed()
    assert {one.host for one in world.mapper.outgoing() if not isinstance(one, HttpRequest)} == {"10.0.0.1", "239.255.255.250"}
    world.mapper.network(None, "", PORT, world.now)
    assert world.mapper.state is State.IDLE
    assert world.mapper.outgoing() == []
    assert world.mapper.deadline() is None


def test_only_the_gateway_is_believed() -> None:
    world = only()
    router = Router()
    for one in world.mapper.outgoing():
        raise AssertionError(one)
    for _ in range(2):
        world.mapper.received(router.announcement(world.now), "192.168.1.66", 5351, world.now)
    assert world.mapper.outgoing() == []
    world.mapper.received(router.announcement(world.now), GATEWAY, 5351, world.now)
    assert world.mapper.outgoing() != []


def test_over_ipv6_there_is_pcp_alone() -> None:
    world = only()
    world.mapper.network("fe80::1%2", "2001:db8::20", PORT, world.now)
    (probe,) = world.mapper.outgoing()
    assert not isinstance(probe, HttpRequest)
    assert probe.data[8:24] == bytes.fromhex("20010db8000000000000000000000020")


@pytest.mark.parametrize("method", ["pcp", "nat-pmp"])
def test_a_router_that_restarts_with_each_answer_is_not_asked_with_each(method: str) -> None:
    """RFC 6887 8.5, RFC 6886 3.6: each epoch contradicts the one before, and every answer would be another reason to ask."""
    epochs = iter(range(10**9, 0, -(10**5)))

    class Liar(Router):
        def datagram(self, data: bytes, port: int, now: float) -> bytes | None:
            self.started = now - next(epochs)
            return super().datagram(data, port, now)

    world = World(Liar(speaks=frozenset((method,))))
    world.run(600)
    assert world.mapper.mapped.endpoints == BOTH
    assert world.sent < 20 + 600 / LEAST_RENEWAL * 7


def test_forged_announcements_of_an_address_are_few_changes() -> None:
    """RFC 6886 3.2.1: anybody on the link can send them from the router's address, and each change is told to all members."""
    world = only("nat-pmp")
    world.run(30)
    for number in range(1000):
        world.router.external = f"198.18.{number >> 8}.{number & 255}"
        world.mapper.received(world.router.datagram(b"\0\0", 5351, world.now) or b"", GATEWAY, 5350, world.now)
        world.run(0.01)
        if world.mapper.changed():
            world.changes.append(world.mapper.mapped)
    assert 1 < len(world.changes) <= 4
