"""What a measurement is: a value that names what it needs, how it runs, and what a table shows of it.

Each is one file of this folder with a `MEASUREMENT`; none of them imports torch before it runs, so that
names and columns can be read by the quick commands.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError, closest
from zoo.types import Json

if TYPE_CHECKING:
    import torch

    from zoo.data.batching import PlannedBatch
    from zoo.data.coco import CocoGroundTruth
    from zoo.data.loader import ImageDataset
    from zoo.models.detectors.base import Detector
    from zoo.runtime.distributed import DistributedContext
    from zoo.train.config import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured, and how: the values that a run hands to its measurements.

    Attributes:
        detector: detector in eval mode, on its device, as the protocol folds and lays it out.
        fresh: makes another detector with the same weights, not folded, on the CPU.
        dataset: images that are evaluated.
        ground_truth: annotations of these images.
        batches: which images go through the detector together.
        precision: of convolutions and matrix products.
        context: processes that share the work.
        workers: processes that decode images.
        seed: of every random generator.
        run_dir: folder of the run.
        protocol: composed protocol.
        options: settings of the run that a measurement may ask for, by its name.
        recipe: how the entry is trained; None where it has no schedule.
    """

    detector: Detector
    fresh: Callable[[], Detector]
    dataset: ImageDataset
    ground_truth: CocoGroundTruth
    batches: Sequence[PlannedBatch]
    precision: str
    context: DistributedContext
    workers: int
    seed: int
    run_dir: Path
    protocol: Mapping[str, Any]
    options: Mapping[str, Any]
    recipe: Recipe | None

    @property
    def device(self) -> torch.device:
        """Where the detector is."""
        return self.detector.device


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the tables.

    Attributes:
        name: header.
        keys: dotted keys of `measured`, of which the first that a record has is shown; or the published metric where
            `published` is set.
        decimals: digits shown behind the point; None for text.
        scale: factor from the measured to the shown unit.
        published: whether the column shows the printed number.
    """

    name: str
    keys: tuple[str, ...]
    decimals: int | None = None
    scale: float = 1.0
    published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A published metric, and where a record has its measured value.

    Attributes:
        key: dotted key of `measured`.
        scale: factor from the measured to the published unit.
        hardware_bound: whether the number belongs to the machine, so that only ratios may be compared.
    """

    key: str
    scale: float = 1.0
    hardware_bound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One kind of number that a run can give.

    Attributes:
        name: name in the setting `measure`.
        about: one line for `--help`.
        order: place in a run and in the tables.
        version: version of what its numbers mean; None for that of the protocol.
        run: measures; returns keys of `measured`.
        refuses: why it cannot be measured on this subject, as the end of a sentence; None where it can.
        metrics: published metrics that it gives a value for.
        columns: columns of the tables.
        collective: whether every process takes part, or the first alone.
        alone: whether it is made only where no other run of a sweep is on the device.
        in_turns: whether it takes turns with those of other runs, where a sweep interleaves them: then it comes first.
        count: dotted key of the number of images, where more of them make the same number better.
        optional: whether tables leave its columns empty where a row has no such number.
    """

    name: str
    about: str
    order: int
    version: int | None
    run: Callable[[Subject], dict[str, Json]]
    refuses: Callable[[Subject], str | None] = lambda _: None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    collective: bool = False
    alone: bool = False
    in_turns: bool = False
    count: str | None = None
    optional: bool = False


@cache
def measurements() -> dict[str, Measurement]:
    """Every measurement by name, in the order of a run: one a file of this folder."""
    package = importlib.import_module("zoo.measure")
    modules = [importlib.import_module(f"zoo.measure.{info.name}") for info in pkgutil.iter_modules(package.__path__)]
    found = [module.MEASUREMENT for module in modules if hasattr(module, "MEASUREMENT")]
    return {measurement.name: measurement for measurement in sorted(found, key=lambda item: item.order)}


@cache
def metrics() -> dict[str, tuple[str, Metric]]:
    """Published metric -> the measurement that gives it, and where."""
    return {
        metric: (measurement.name, place)
        for measurement in measurements().values()
        for metric, place in measurement.metrics.items()
    }


def measurement(name: str) -> Measurement:
    """The measurement of a name. Raises UsageError where there is none."""
    known = measurements()
    if name not in known:
        message = f"measure: no {name!r} ({closest(name, known)})"
        raise UsageError(message, next_step=f"choose one of {', '.join(known)}")
    return known[name]
