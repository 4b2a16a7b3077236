"""Many processes file records in one results folder at the same time: nothing that was measured is lost."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from made_up import MACHINE, make_record

from zoo.results.ledger import Ledger
from zoo.results.record import Record

PAIRS = 8
TIMED = {"fps": 60.0, "latency_ms": {"p50": 16.0}}

RUNS: list[dict[str, Any]] = [
    {"measured": {"box_AP": 37.41}},
    {"measured": {**TIMED, "timed": {"rounds": 3, "images": 64}}},
    {"measured": {**TIMED, "fps": 1.0, "timed": {"rounds": 1, "images": 2}}},
    {"measured": {"box_AP": 12.0}, "conditions": ("data.limit=2",), "images": 2, "partial": True},
    {"status": "blocked"},
]
"""What the processes file of a row at the same moment: whole and partial, of different measurements."""


def _file_all(results: Path, run: dict[str, Any], barrier: Barrier) -> None:
    try:
        for pair in range(PAIRS):
            record = make_record(f"mmdet_{pair:02}", **run)
            barrier.wait()
            Ledger(results).file(record)
    except BaseException:
        barrier.abort()  # so that no other waits
        raise


def _at_once(results: Path, *runs: dict[str, Any]) -> None:
    """Each of the runs in a process of its own, row by row at the same moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["made_up"])
    barrier = context.Barrier(len(runs))
    processes = [context.Process(target=_file_all, args=(results, run, barrier)) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(runs)


def test_no_part_of_a_row_is_lost_and_the_whole_is_kept(tmp_path: Path) -> None:
    _at_once(tmp_path, *RUNS)
    for pair in range(PAIRS):
        row = Record.read(tmp_path / "records" / MACHINE / f"mmdet_{pair:02}.json")
        assert sorted(row.parts) == ["accuracy", "speed"]
        assert (row.measured["box_AP"], row.measured["fps"], row.parts["speed"].images) == (37.41, 60.0, 64)
        partial = Record.read(tmp_path / "local" / MACHINE / f"mmdet_{pair:02}+limit-2.json")
        assert partial.measured["box_AP"] == 12.0
