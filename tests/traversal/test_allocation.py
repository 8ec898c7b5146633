"""Port allocation (RFC 4787 4.2) is told rightly under noise, loss and reordering, and chance is not taken for order."""

from __future__ import annotations

from random import Random

import pytest

from userlan.traversal.allocation import Mapped, estimate

HOST = "198.51.100.1"


def mapped(ports: list[int], spacing: float = 0.01, inside: int = 0) -> list[Mapped]:
    return [Mapped(inside, HOST, port, number * spacing) for number, port in enumerate(ports)]


@pytest.mark.parametrize("step", [1, 2, -1, -2, 7, 256, -64])
@pytest.mark.parametrize("others", [0.0, 50.0, 266.0])
def test_a_step_is_told_whatever_others_take(step: int, others: float) -> None:
    """48 to 266 new mappings a second were seen at busy NATs."""
    right = 0
    for seed in range(50):
        chance = Random(seed)
        port, ports = chance.randrange(20_000, 50_000), []
        for _ in range(10):
            port += step * (1 + sum(chance.random() < others * 0.001 for _ in range(10)))
            ports.append(port % 65536)
        found = estimate(mapped(ports))
        right += (found.kind, found.step) == ("incremental", step)
    assert right >= 48, "the noise of one run may hide the step now and then, not oftener"


def test_the_others_rate_is_estimated() -> None:
    chance, port, ports = Random(1), 30_000, []
    for _ in range(400):
        port += 1 + sum(chance.random() < 0.1 for _ in range(10))
        ports.append(port)
    assert estimate(mapped(ports, 0.01)).rate == pytest.approx(100, rel=0.2)
    assert estimate(mapped(list(range(100, 120)))).rate == 0.0


def test_packets_that_overtake_each_other_do_not_hide_the_step() -> None:
    found = estimate(mapped([40_120, 40_124, 40_122, 40_126, 40_130, 40_128, 40_132]))
    assert (found.kind, found.step) == ("incremental", 2)


def test_an_allocator_that_wraps_round_is_still_incremental() -> None:
    found = estimate(mapped([65_532, 65_533, 65_534, 65_535, 1024, 1025, 1026]))
    assert (found.kind, found.step) == ("incremental", 1)


def test_ports_are_preserved_but_for_one_that_was_taken() -> None:
    mappings = [Mapped(port, HOST, port, 0.0) for port in (40_000, 41_111, 52_345)] + [Mapped(41_000, HOST, 1025, 0.0)]
    found = estimate(mappings)
    assert found.kind == "preserving"
    assert found.fit == 0.75


def test_the_first_mapping_of_a_socket_keeps_its_port_and_the_others_step() -> None:
    """A NAT that preserves while it can and whose mapping depends on the far end."""
    mappings = mapped([2001, 2002, 2003, 2004, 2005, 2006], inside=41_000)
    assert estimate([Mapped(41_000, HOST, 41_000, -1.0), Mapped(41_001, HOST, 41_001, -0.5), *mappings]).kind == "incremental"


def test_random_ports_are_no_progression_and_no_block() -> None:
    for seed in range(300):
        chance = Random(seed)
        found = estimate(mapped([chance.randrange(1024, 65536) for _ in range(10)]))
        assert found.kind == "random", seed
        assert 1 <= found.low <= found.high <= 65_535


def test_a_range_of_random_ports_is_bounded() -> None:
    chance = Random(3)
    found = estimate(mapped([chance.randrange(20_000, 30_000) for _ in range(12)]))
    assert found.kind == "random"
    assert 17_000 < found.low <= 20_800
    assert 29_200 <= found.high < 33_000


@pytest.mark.parametrize("size", [128, 256, 512, 1024, 2048])
def test_a_carriers_block_is_told_and_bounded(size: int) -> None:
    right = 0
    for seed in range(100):
        chance = Random(seed)
        start = chance.randrange(4, 60_000 // size) * size
        found = estimate(mapped(chance.sample(range(start, start + size), 12)))
        right += found.kind == "chunked" and found.low <= start + size // 4 and found.high >= start + size * 3 // 4 - 1
        assert found.high - found.low < 4 * size
    assert right >= 95


def test_a_pool_of_addresses_has_a_sequence_for_each() -> None:
    one = [Mapped(0, "198.51.100.1", 5_000 + number, number * 0.1) for number in range(6)]
    two = [Mapped(0, "198.51.100.2", 31_000 + number, number * 0.1 + 0.05) for number in range(5)]
    found = estimate([*one, *two])
    assert (found.kind, found.step) == ("incremental", 1)


def test_few_mappings_tell_nothing() -> None:
    assert estimate([]).kind == estimate(mapped([1, 2, 3])).kind == "unknown"
    assert estimate(mapped([7, 7, 7, 7, 7])).kind != "incremental"
