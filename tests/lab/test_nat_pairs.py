"""Every pair of the lab's NATs with real processes: those that can meet are direct, the others go by the relay. The table is printed."""

from __future__ import annotations

import json
import shutil

import attrs
import pytest

from tests.lab import pairs
from tests.lab.nats import KINDS, ONLY_443
from tests.lab.network import Lab, unavailable
from userlan.traversal.ends import achievable

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[pairs.Pair, pairs.Cell]:
    """The whole table at once."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("pairs")
    with Lab(folder) as lab:
        found = pairs.measure(lab, folder, pairs.kinds(pairs.NAMES))
    print("\n" + pairs.table(found))
    return found


def test_all_pairs_come_together_as_expected(cells: dict[pairs.Pair, pairs.Cell]) -> None:
    wrong = {f"{one} × {other}": attrs.asdict(cell) for (one, other), cell in cells.items() if not cell.right}
    assert not wrong, json.dumps(wrong, indent=1)


def test_the_table_is_whole() -> None:
    """At least twelve kinds, each with each."""
    assert len(pairs.NAMES) >= 12
    assert len(pairs.EXPECTED) == len(pairs.NAMES) * (len(pairs.NAMES) + 1) // 2
    assert set(pairs.NAMES) <= {kind.name for kind in KINDS}


def test_the_table_is_what_the_theory_allows() -> None:
    """Written by hand it agrees with what follows from the kinds' behaviours; but a firewall for ports is no NAT: ports are no axis."""
    kinds = {kind.name: kind for kind in KINDS}
    for (one, other), cell in pairs.EXPECTED.items():
        sides = [kinds[name] for name in (one, other)]
        if ONLY_443 in sides or cell == "~":
            continue
        if all(side.ipv6 for side in sides):
            assert cell == "U"
            continue
        transport = "udp" if all(side.nat.udp.passes for side in sides) else "tcp"
        rate = achievable(sides[0].nat, sides[1].nat, transport)  # type: ignore[arg-type]  # one of the two
        if any(side.open for side in sides):
            rate = 1.0
        assert cell == ("R" if rate < 0.5 else transport[0].upper()), (one, other, rate)
