"""The settings of a run: the schema of a composed configuration without its parts. Reading them imports little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from zoo import schema
from zoo.config.compose import PART_GROUPS
from zoo.errors import UsageError
from zoo.schema import Minimum, Pattern
from zoo.types import Evaluator, Mode, Precision

Count = Annotated[int, Minimum(1)]
Auto = Literal["auto"]
RunName = Annotated[
    str, Pattern(r"[A-Za-z][A-Za-z0-9._-]{0,59}", "a letter, then at most 59 letters, digits, dots, _ and -")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """The split that is trained on.

    Attributes:
        split: its name, such as "train2017".
        annotations: annotation file, relative to the root.
        images: folder of images, relative to the root.
        limit: number of images, the first by id; null for all.
    """

    split: str
    annotations: str
    images: str
    limit: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where the images are.

    Attributes:
        name: data set.
        split: split that is evaluated, such as "val2017".
        num_images: number of images of the whole split.
        annotations: annotation file, relative to the root.
        images: folder of images, relative to the root.
        root: folder in COCO's own layout; null for the cache, filled on first use.
        limit: number of images, the first by id; null for all.
        classes: category names in the order of a detector's labels.
        annotations_sha256: split -> hash of its annotation file; other files are other data. Of a split that is
            not here nothing is known: its numbers are compared with nothing.
        annotations_size: split -> bytes and number of annotations of that file; only messages name them.
        train: split that is trained on; null where the data set has none.
    """

    name: str
    split: str
    num_images: Count
    annotations: str
    images: str
    root: Path | None = None
    limit: Count | None = None
    classes: tuple[str, ...]
    annotations_sha256: Mapping[str, str] = field(default_factory=dict)
    annotations_size: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    train: SplitSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """Which weights are measured, where it is not the published file from its own addresses.

    Attributes:
        path: file of your own, instead of the published one.
        url: another address of the published file.
        classes: names of the classes of your own file, in the order of its labels, where it does not say them itself;
            null for those that it names, or the row's.
    """

    path: Path | None = None
    url: str | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSettings:
    """How much is timed; "auto" takes many images on a GPU, few on a CPU.

    Attributes:
        warmup: how often an image of each padded shape is run before the clock starts; "auto" until its times settle.
        images: images of a round.
        rounds: rounds, of which the median is reported.
    """

    warmup: Annotated[int, Minimum(0)] | Auto = "auto"
    images: Count | Auto = "auto"
    rounds: Annotated[int, Minimum(3)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsSettings:
    """Where records and tables are kept.

    Attributes:
        dir: folder; null for results/ of the project.
    """

    dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """How the runs of a sweep (-m) are carried out.

    Attributes:
        timeout_min: minutes that a run may take; null for any number.
        gpus: GPUs that are dealt out, one to a run, such as [0,1,2,3]; a launcher says how many run at a time.
        interleave: runs whose timed rounds take turns on their device; 1 for each by itself.
    """

    timeout_min: Annotated[float, Minimum(0)] | None = None
    gpus: tuple[Annotated[int, Minimum(0)], ...] = ()
    interleave: Count = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """Evaluate the published weights.

    Attributes:
        name: "evaluate".
    """

    name: Literal["evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Train the entry by its schedule, then evaluate it.

    Attributes:
        name: "train".
        max_steps: steps after which the training is cut short; such a run is not the entry any more.
        checkpoint_every: steps between two checkpoints.
        resume: whether to go on from the newest checkpoint of hydra.run.dir.
        evaluate_every: epochs between two evaluations; null evaluates at the end only.
        micro_batch_size: images in one forward pass, each with losses of its own; "auto" takes the recipe's.
        scale_lr: whether the learning rate follows the batch size where it is not the recipe's.
    """

    name: Literal["train"]
    max_steps: Count | None = None
    checkpoint_every: Count = 1000
    resume: bool = False
    evaluate_every: Count | None = None
    micro_batch_size: Count | Auto = "auto"
    scale_lr: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run that belong to no part.

    Attributes:
        name: what to call the run, which is then filed under that name; null makes a name of what differs from the row.
        measure: what to measure, such as [accuracy,speed].
        resume: whether to leave out what is measured already and still stands.
        device: "auto", "cpu", "cuda" or "cuda:N"; "auto" takes the first GPU where there is one.
        precision: of convolutions and matrix products; "auto" is fp32, and in training what the recipe says.
        batch_size: images at a time; "auto" is 1, what the zoos publish, or the recipe's in training.
        mode: "eager", or "graph": on a GPU, everything whose shapes follow from the input's as one CUDA graph for each
            of them. A training runs in eager mode, and what it made is evaluated in this one.
        seed: seed of every random generator.
        workers: processes that decode images; 0 decodes in the main one; "auto" depends on the device.
        image_cache_gb: GB of the disk in which decoded and resized images are kept for the runs that follow; null
            keeps none.
        evaluator: "vectorized" (our own) or "pycocotools", which gives the same bits many times as slowly.
        checkpoint: weights.
        data: images.
        speed: how much is timed.
        results: where records are kept.
        sweep: how the runs of a sweep are carried out.
        run: whether the model is trained first.
    """

    name: RunName | None = None
    measure: tuple[str, ...] | str = ("accuracy", "speed", "memory", "complexity")
    resume: bool = False
    device: Annotated[str, Pattern(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:N")] = "auto"
    precision: Precision | Auto = "auto"
    batch_size: Count | Auto = "auto"
    mode: Mode = "eager"
    seed: Annotated[int, Minimum(0)] = 0
    workers: Annotated[int, Minimum(0)] | Auto = "auto"
    image_cache_gb: Annotated[float, Minimum(0)] | None = None
    evaluator: Evaluator = "vectorized"
    checkpoint: CheckpointSettings
    data: DataSettings
    speed: SpeedSettings
    results: ResultsSettings
    sweep: SweepSettings = SweepSettings()
    run: EvaluateSettings | TrainSettings


def read_settings(config: Mapping[str, Any]) -> Settings:
    """The settings of a composed configuration. Raises UsageError."""
    block = {key: value for key, value in config.items() if key not in (*PART_GROUPS, "entry")}
    if block.get("mode") == "compiled":
        tried = "torch.compile took longer than eager mode where it was tried (5.6 for 4.6 ms, R50-FPN, fp16, H200)"
        message = f"mode=compiled is not offered: {tried}"
        raise UsageError(message, next_step="choose mode=graph on a GPU, or mode=eager")
    return schema.build(Settings, block, "", "see `zoo run --help` for the settings")
