"""The matrix itself, with a few seeds of a few cells: that it runs to its end and knows good from bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.traversal.__main__ import chosen, main
from tests.bench.traversal.cell import Result
from tests.bench.traversal.kinds import KINDS, pairs
from tests.bench.traversal.population import SHARES, direct_rate, plain_rate, report, weights
from tests.bench.traversal.tables import IMPOSSIBLE_COST, Cell, line, matrix

MET, FAILED = Result(True, 0.1, 0.9, 4, "udp"), Result(False, packets=40)


def test_a_few_cells_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cells.json"
    status = main(["--seeds", "2", "--jobs", "1", "--cells", "O-SR,PDF-PDF,MOV-DBL", "--json", str(file)])
    assert status == 0, capsys.readouterr().out
    rows = json.loads(file.read_text())
    assert [row["cell"] for row in rows] == ["O-SR", "PDF-PDF", "MOV-DBL"]
    for row in rows:
        assert (row["seeds"], row["direct"], row["theory"], row["bad"]) == (2, 1.0, 1.0, False)
        assert 0 < row["median_ms"] <= row["p95_ms"] < row["start_ms"] + 1000
        assert 0 < row["packets"] < IMPOSSIBLE_COST
    printed = capsys.readouterr().out
    assert "| PDF-PDF | 100.0 % | 100.0 % |" in printed


def test_a_cell_that_stays_behind_theory_is_marked() -> None:
    good, poor = (Cell(KINDS["PDF"], KINDS["PDF"], False, results) for results in ((MET,) * 50, (MET,) * 40 + (FAILED,) * 10))
    assert (good.bad, poor.bad, poor.direct) == (False, True, 0.8)
    cheap = Cell(KINDS["SR"], KINDS["SR"], False, (FAILED,) * 3)
    dear = Cell(KINDS["SR"], KINDS["SR"], False, (FAILED, Result(False, packets=IMPOSSIBLE_COST + 1)))
    assert (cheap.theory, cheap.bad, dear.bad) == (0.0, False, True)
    assert "**80!**" in matrix([poor])
    assert "| – |" in line(cheap)


def test_the_cells_are_all_pairs_and_can_be_chosen() -> None:
    count = len(KINDS)
    assert len(chosen("")) == len(pairs()) == count * (count + 1) // 2
    assert chosen("SR-PDF,O-O") == [("PDF", "SR"), ("O", "O")]
    assert len(chosen("SR-")) == count
    with pytest.raises(SystemExit, match="no cell"):
        chosen("NOTHING-SR")


def test_the_population_is_whole_and_weights_the_cells() -> None:
    assert sum(share.per_cent for share in SHARES.values()) == pytest.approx(100)
    assert set(SHARES) == set(KINDS)
    assert sum(weights().values()) == pytest.approx(1)
    cells = [Cell(first, second, False, (FAILED if first.name == "PDF" == second.name else MET,)) for first, second in pairs()]
    rates = direct_rate(cells)
    assert rates.direct == pytest.approx(1 - (SHARES["PDF"].per_cent / 100) ** 2)
    assert rates.losses[0][0] == "PDF-PDF"
    assert rates.milliseconds == pytest.approx(100)
    assert "PDF-PDF 13.69" in report(rates)
    assert 0.70 < plain_rate() < 0.95, "plain hole punching reaches what others report of it"


def test_what_is_direct_without_udp() -> None:
    assert Cell(KINDS["PDF"], KINDS["PDF"], True, (MET,)).theory == 1.0
    assert Cell(KINDS["NOU"], KINDS["PDF"], False, (MET,)).theory == 1.0
    assert Cell(KINDS["WEB"], KINDS["PDF"], False, (FAILED,)).theory == 0.0
