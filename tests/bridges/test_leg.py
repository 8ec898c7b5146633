"""How much a leg reads at once: what suits the leg that it is written to."""

from __future__ import annotations

from typing import Any

import pytest

from bridges.leg import UNITS_A_READ, WIDE_READ, Leg


class Transport:
    """What a leg sees of one: a kernel socket's read size, or the super-segment of a connection of the LAN."""

    def __init__(self, unit: int | None = None) -> None:
        self.bufferSize = 65_536
        if unit is not None:
            self.unit = unit


def leg(direct: bool, unit: int | None = None) -> Leg:
    owner: Any = None
    made = Leg(owner)
    made.transport = Transport(unit)
    made.direct = direct
    return made


@pytest.mark.parametrize(
    ("target", "size"),
    [
        (leg(True), WIDE_READ),
        (leg(False, 61_560), UNITS_A_READ * 61_560),
        (leg(False, 1_360), UNITS_A_READ * 1_360),
        (leg(False, 0), WIDE_READ),
        (leg(False), WIDE_READ),
    ],
)
def test_a_kernel_socket_is_read_in_what_suits_the_other_side(target: Leg, size: int) -> None:
    """Whole super-segments for the LAN: a read of 64 KB would make one and a small rest of it."""
    source = leg(True)
    source.widen(target)
    assert source.transport.bufferSize == size


def test_a_connection_of_the_lan_has_units_of_its_own() -> None:
    source = leg(False, 61_560)
    source.widen(leg(True))
    assert source.transport.bufferSize == 65_536
