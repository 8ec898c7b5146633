"""Many runs, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice

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


def measure(names: Sequence[tuple[str, str]], seeds: Sequence[int], jobs: int, setting: Setting) -> Iterator[Cell]:
    """All runs of some cells; each cell when it is done, in order."""
    todo: list[Job] = [(first, second, seed, setting) for first, second in names for seed in seeds]
    with ExitStack() as stack:
        results: Iterator[tuple[Job, Result]] = map(work, todo)
        if jobs > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(jobs))
            results = pool.imap(work, todo, chunksize=max(1, min(20, len(seeds))))
        for first, second in names:
            yield Cell(KINDS[first], KINDS[second], setting.tcp_only, tuple(result for _, result in islice(results, len(seeds))))
