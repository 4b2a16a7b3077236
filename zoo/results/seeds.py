"""Runs of one recipe with several seeds as one result: mean, spread and verdict over the seeds.

What was trained here lies apart from the rows of published weights, by seed:
`trained/seed_<N>/records/<hardware>/<entry>.json` in the results folder. A recipe is an entry, a resolved
configuration, the data that was trained and evaluated on, and the weights before the first step; seeds
of one recipe on one machine are draws of one random variable.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.results.record import Ledger, Record
from zoo.results.verdict import hardware_id, trained_here


def seed_ledger(results_dir: Path, seed: int) -> Ledger:
    """The records of what was trained with one seed."""
    return Ledger(results_dir / "trained" / f"seed_{seed}")


def trained_records(results_dir: Path) -> list[Record]:
    """Every record of a training, sorted by seed."""
    folders = (results_dir / "trained").glob("seed_*/records")
    found = [record for folder in folders for record in Ledger(folder.parent).records()]
    return sorted(found, key=lambda record: (record.seed, hardware_id(record), record.entry))


def all_records(results_dir: Path) -> list[Record]:
    """The rows of a results folder: of published weights, and of trainings, a row for each recipe."""
    return [*Ledger(results_dir).records(), *over_seeds(trained_records(results_dir))]


def over_seeds(records: Iterable[Record]) -> list[Record]:
    """One record for each recipe: that of its last run, with the mean of every AP and AR over the seeds.

    `measured` then holds `draws` too (metric -> a value for each seed), and `protocol.training` the
    `seeds`. A run that was not measured stays as it is.
    """
    recipes: dict[Any, list[Record]] = {}
    for i, record in enumerate(records):
        recipes.setdefault(_recipe(record) if record.status == "measured" else i, []).append(record)
    return [_merged(runs) for runs in recipes.values()]


def with_seeds(record: Record, results_dir: Path) -> Record:
    """A record of a training together with those of other seeds in a results folder; any other as it is."""
    if record.status != "measured" or not trained_here(record):
        return record
    try:
        others = trained_records(results_dir)
    except UsageError:  # a damaged record of another run must not cost this one
        return record
    recipe = _recipe(record)
    same = [other for other in others if other.status == "measured" and _recipe(other) == recipe]
    return _merged(sorted([record, *(other for other in same if other.seed != record.seed)], key=lambda run: run.seed))


def label(record: Record) -> str:
    """How a record is called in tables: its entry, and of a training the number of its seeds."""
    if not trained_here(record):
        return record.entry
    seeds = (record.protocol.get("training") or {}).get("seeds", [record.seed])
    return f"{record.entry} (trained, {len(seeds)} seed{'s' if len(seeds) > 1 else ''})"


def spread(record: Record, metric: str) -> float | None:
    """The sample standard deviation of a metric over the seeds; None where there is one draw of it at most."""
    draws = (record.measured.get("draws") or {}).get(metric, ())
    return statistics.stdev(draws) if len(draws) > 1 else None


def _recipe(record: Record) -> str:
    """What runs have in common that differ in their seed alone."""
    training = record.protocol.get("training") or {}
    init_from = training.get("init_from")
    return json.dumps(
        [
            *(record.entry, hardware_id(record), record.protocol.get("version"), record.protocol.get("config_sha256")),
            {name: value for name, value in record.data.items() if name != "files_sha256"},
            *(training.get("images"), training.get("annotations_sha256")),
            init_from.get("sha256") if isinstance(init_from, dict) else init_from,
        ],
        sort_keys=True,
    )


def _merged(runs: Sequence[Record]) -> Record:
    """The last of some runs of one recipe, with the means over all of them."""
    if len(runs) == 1:
        return runs[0]
    last = max(runs, key=lambda run: str(run.times.get("finished", "")))
    draws = {
        metric: [run.measured[metric] for run in runs]
        for metric in last.measured
        if metric.startswith(("box_", "mask_")) and all(run.measured.get(metric) is not None for run in runs)
    }
    means = {metric: statistics.fmean(values) for metric, values in draws.items()}
    kept = {name: value for name, value in last.measured.items() if name != "per_class"}
    training = {**last.protocol["training"], "seeds": [run.seed for run in runs]}
    return dataclasses.replace(
        last,
        measured={**kept, **means, "draws": draws},
        protocol={**last.protocol, "training": training},
        verdict={},
    )
