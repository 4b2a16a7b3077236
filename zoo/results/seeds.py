"""Runs of one recipe with several seeds as one result: mean, spread and verdict over the seeds.

A recipe is an entry under one condition, the data that was trained and evaluated on, and the weights before
the first step; seeds of one recipe on one machine are draws of one random variable.
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from zoo.coco_tasks import TASKS
from zoo.errors import UsageError
from zoo.results.ledger import Ledger
from zoo.results.record import Record


def rows(results_dir: Path) -> list[Record]:
    """The rows of a results folder: of published weights, and of trainings, a row for each recipe."""
    return aggregate_seeds(Ledger(results_dir).records())


def aggregate_seeds(records: Iterable[Record]) -> list[Record]:
    """The same records with one for each trained recipe: its last run, with the mean of every AP and AR over the seeds.

    `measured` then holds `per_seed` too (metric -> a value for each seed), and `protocol.training` the `seeds`.
    """
    recipes: dict[str, list[Record]] = {}
    for i, record in enumerate(records):
        trained = record.trained and record.status == "measured"
        recipes.setdefault(_recipe(record) if trained else str(i), []).append(record)
    return [_merged(sorted(runs, key=lambda run: run.seed)) for runs in recipes.values()]


def with_other_seeds(record: Record, results_dir: Path) -> Record:
    """A record of a training together with those of other seeds in a results folder; any other as it is."""
    if record.status != "measured" or not record.trained:
        return record
    ledger = Ledger(results_dir)
    try:
        filed = [*ledger.records(), *ledger.attempts()]
    except UsageError:  # a damaged record of another run must not cost this one
        return record
    recipe = _recipe(record)
    others = [other for other in filed if other.trained and other.status == "measured" and _recipe(other) == recipe]
    return _merged(sorted([record, *(o for o in others if o.seed != record.seed)], key=lambda run: run.seed))


def label(record: Record) -> str:
    """How a record is called in tables: its row and condition, and of a training the number of its seeds."""
    if not record.trained:
        return record.label
    seeds = (record.protocol.training or {}).get("seeds", [record.seed])
    count = len(seeds) if isinstance(seeds, Sequence) else 1
    differences = [item for item in record.identity.differences if not item.startswith("seed=")]
    words = ", ".join((*differences, "trained", f"{count} seed{'s' if count > 1 else ''}"))
    return f"{record.name or record.entry} ({words})"


def without_seeds(called: str) -> str:
    """What `label` gives, without the number of seeds: it grows, and the row stays the same."""
    return re.sub(r", \d+ seeds?\)$", ")", called)


def per_seed(record: Record, metric: str) -> list[float]:
    """The values of a metric, one a seed; one alone where only one seed is known."""
    values = record.measured.get("per_seed")
    drawn = values.get(metric) if isinstance(values, Mapping) else None
    alone = record.number(metric)
    return list(drawn) if drawn else [] if alone is None else [alone]


def spread(record: Record, metric: str) -> float | None:
    """The sample standard deviation of a metric over the seeds; None where there is one draw of it at most."""
    values = per_seed(record, metric)
    return statistics.stdev(values) if len(values) > 1 else None


def _recipe(record: Record) -> str:
    """What runs have in common that differ in their seed alone."""
    training = record.protocol.training or {}
    init_from = training.get("init_from")
    identity, data = record.identity, record.data
    return json.dumps(
        [
            *(record.entry, record.hardware_id, record.protocol.version, identity.scheme, identity.row),
            {key: value for key, value in identity.condition.items() if key != "seed"},
            [data.name, data.split, data.images, data.annotations_sha256] if data else None,
            *(training.get("images"), training.get("annotations_sha256")),
            init_from.get("sha256") if isinstance(init_from, Mapping) else init_from,
        ],
        sort_keys=True,
    )


def _merged(runs: Sequence[Record]) -> Record:
    """The last of some runs of one recipe, with the means over all of them."""
    if len(runs) == 1:
        return runs[0]
    last = max(runs, key=lambda run: run.times.finished or "")
    drawn = {
        metric: [run.number(metric) for run in runs]
        for metric in last.measured
        if metric.startswith(tuple(f"{task.prefix}_" for task in TASKS.values()))
    }
    complete = {
        metric: [value for value in values if value is not None]
        for metric, values in drawn.items()
        if None not in values
    }
    means = {metric: statistics.fmean(values) for metric, values in complete.items()}
    kept = {name: value for name, value in last.measured.items() if name != "per_class"}
    training = {**(last.protocol.training or {}), "seeds": [run.seed for run in runs]}
    return dataclasses.replace(
        last,
        measured={**kept, **means, "per_seed": complete},
        protocol=dataclasses.replace(last.protocol, training=training),
        verdict={},
    )
