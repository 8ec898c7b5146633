"""Many runs, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

from tests.bench.traversal.cell import Result, Setting, run
from tests.bench.traversal.kinds import KINDS
from tests.bench.traversal.tables import Cell

Job = tuple[str, str, int, Setting]


def work(job: Job) -> tuple[Job, Result]:
    """One run, in a process of its own."""
    first, second, seed, setting = job
    try:
        return job, run(KINDS[first], KINDS[second], seed, setting)
    except Exception as error:
        raise AssertionError(f"{first}-{second}, seed {seed}: {error!r}") from error


def measure(names: Sequence[tuple[str, str]], seeds: Sequence[int], jobs: int, setting: Setting) -> list[Cell]:
    """All runs of some cells."""
    todo: list[Job] = [(first, second, seed, setting) for first, second in names for seed in seeds]
    results: dict[tuple[str, str], list[Result]] = {pair: [] for pair in names}
    if jobs > 1:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            done = pool.imap(work, todo, chunksize=max(1, min(20, len(seeds))))
            for (first, second, *_), result in done:
                results[first, second].append(result)
    else:
        for (first, second, *_), result in map(work, todo):
            results[first, second].append(result)
    return [Cell(KINDS[first], KINDS[second], setting.tcp_only, tuple(results[first, second])) for first, second in names]
