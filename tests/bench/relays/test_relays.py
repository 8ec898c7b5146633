"""The comparison itself: the data are whole, and no choice is better than the best."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.bench.relays.__main__ import main
from tests.bench.relays.choice import compare, savings
from tests.bench.relays.sites import RELAY_SITES, load
from userlan.mediator.relay_ranking import NEAR_SECONDS, NEAR_SHARE


def test_the_matrix_is_whole_and_symmetric() -> None:
    names, rtt = load()
    assert len(names) == 43
    for a in names:
        for b in names:
            assert rtt[a, b] == rtt[b, a]
            assert (0.0015 < rtt[a, b] < 0.4) if a != b else rtt[a, b] == 0
    assert rtt["West Europe", "Southeast Asia"] == pytest.approx(0.156, abs=0.001)
    assert set(RELAY_SITES) <= set(names)


def test_the_pairs_relay_is_near_the_best_and_beats_a_home_relay() -> None:
    """The ranking may pick any that is as good as the best within its bounds and the measurements' noise."""
    names, rtt = load()
    pairs = compare(names, rtt, RELAY_SITES)
    assert len(pairs) == 43 * 42 // 2
    for pair in pairs:
        assert pair.least <= min(pair.home_a, pair.home_b, pair.ours)
        assert pair.ours <= pair.least * 1.05 / 0.95 * (1 + NEAR_SHARE) + NEAR_SECONDS + 1e-9
    saved = savings(pairs)
    assert saved["the best relay"].mean <= 0 <= saved["the better of both homes"].p90
    assert saved["one of both homes, by chance"].mean > 3


def test_the_table_the_lines_and_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["--draws", "1", "--csv", str(tmp_path / "pairs.csv"), "--plot", str(tmp_path / "relays.png")]) == 0
    assert "43 sites, 903 pairs, 10 relays" in capsys.readouterr().out
    with (tmp_path / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 903
    assert {row["relay"] for row in rows} <= set(RELAY_SITES)
    assert (tmp_path / "relays.png").read_bytes().startswith(b"\x89PNG")
    assert main(["--relays", "Atlantis"]) == 1
