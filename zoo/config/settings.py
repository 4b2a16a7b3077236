"""What a run was asked for, checked before anything is loaded.

`Settings` is the schema of a composed configuration without its parts; `RunSettings` is what a run makes of
it, with every "auto" that does not depend on the machine resolved. Nothing here knows Hydra's types: a plain
nested mapping goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from zoo import schema
from zoo.catalog.entry import Checkpoint, Entry, entry_names, read_entry
from zoo.checkpoints.fetch_checkpoint import portable_path
from zoo.config.compose import PART_GROUPS, compose
from zoo.config.overrides import check_kinds
from zoo.config.paths import PATH_SETTINGS
from zoo.data.folder import complete
from zoo.errors import UsageError
from zoo.measure.measurement import measurement
from zoo.results.identity import Identity, Role, identify, role_of
from zoo.results.ledger import Ledger
from zoo.results.record import ProtocolRecord, Record, Times
from zoo.runtime.provenance import bare_names, code_state, now
from zoo.schema import Minimum, Pattern
from zoo.train.config import Recipe, TrainConfig
from zoo.train.schedule import Schedule
from zoo.types import Evaluator, Precision

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
    """

    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSettings:
    """How much is timed; "auto" takes many images on a GPU, few on a CPU.

    Attributes:
        warmup: images before the clock starts.
        images: images of a round.
        rounds: rounds, of which the median is reported.
    """

    warmup: Annotated[int, Minimum(0)] | Auto = "auto"
    images: Count | Auto = "auto"
    rounds: Count = 3


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
    """

    timeout_min: Annotated[float, Minimum(0)] | None = None
    gpus: tuple[Annotated[int, Minimum(0)], ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One run of one entry.

    Attributes:
        entry: row.
        asked: settings as they were given.
        config: everything that was composed, as it was.
        parts: composed configuration of each part, by group.
        identity: what differs from the row, and under which condition it is measured.
        overrides: what the command line said, without what only says how the run is carried out.
        measure: names of the measurements.
        precision: precision of convolutions and matrix products in evaluation.
        batch_size: images at a time while accuracy is measured. A model that is trained first is evaluated one by
            one: the batch size that is asked for is that of its training.
        recipe: how the entry is trained; None where it has no schedule.
        train: the training that comes first; None evaluates published weights.
        row_classes: names of the row's object classes, in label order.
        classes: those of the model: the row's, and those of other data that it is trained on. A file of the user's
            own has its own ones when it is evaluated.
        results_dir: folder of records and tables.
        run_dir: folder of this run's record and predictions.
        standing: whether other measurements that were asked for were made before, and stand.
    """

    entry: Entry
    asked: Settings
    config: Mapping[str, Any]
    parts: Mapping[str, Any]
    identity: Identity
    overrides: tuple[str, ...]
    measure: tuple[str, ...]
    precision: str
    batch_size: int
    recipe: Recipe | None
    train: TrainConfig | None
    row_classes: tuple[str, ...]
    classes: tuple[str, ...]
    results_dir: Path
    run_dir: Path
    standing: bool = False

    def begins_with(self, checkpoint: Checkpoint) -> bool:
        """Whether a training begins with this file."""
        return (
            self.recipe is not None and self.recipe.initial is not None and self.recipe.initial.urls == checkpoint.urls
        )

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        *,
        overrides: Iterable[str],
        run_dir: Path,
        default_results: Path,
        own: Mapping[str, Any] | None = None,
    ) -> RunSettings:
        """Settings from a composed configuration.

        Args:
            config: plain nested mapping, all interpolations resolved.
            overrides: what the command line said, as `key=value`.
            run_dir: folder of this run.
            default_results: used where `results.dir` is null.
            own: that of the row itself, for the same kind of run; None composes it. See `is_of_the_row`.

        Raises:
            UsageError: a value that nothing can be done with, of which the message names the key; or the name is
                that of an entry, or of another run.
        """
        config = {**config, "data": complete(config["data"])}
        asked = _settings(config)
        entry = Entry.from_mapping(config["entry"], read_entry(config["entry"]["name"]).parts)
        _refuse_name_of_an_entry(asked.name)
        training = isinstance(asked.run, TrainSettings)
        own = own or compose(entry.name, ["run=train"] if training else [])
        overrides = tuple(overrides)
        check_kinds(config, own, overrides)
        recipe = _recipe(config, asked)
        own_data = tuple(own["data"]["classes"])
        row_classes = entry.classes or own_data
        settings = cls(
            entry=entry,
            asked=asked,
            config=config,
            parts={group: config.get(group) for group in PART_GROUPS},
            identity=identify(_resolved(config, asked, recipe), _resolved(own, *_of_the_row(own))),
            overrides=tuple(override for override in overrides if _matters(override, training)),
            measure=tuple(measurement(name).name for name in _list(asked.measure)),
            precision="fp32" if asked.precision == "auto" else asked.precision,
            batch_size=1 if training or asked.batch_size == "auto" else asked.batch_size,
            recipe=recipe,
            train=_train(config, asked, recipe, run_dir) if isinstance(asked.run, TrainSettings) else None,
            row_classes=row_classes,
            classes=asked.data.classes if training and asked.data.classes != own_data else row_classes,
            results_dir=asked.results.dir or default_results,
            run_dir=run_dir,
        )
        if asked.name is not None:
            Ledger(settings.results_dir).refuse_taken_name(settings.new_record(), asked.checkpoint.path)
        return settings

    def new_record(self) -> Record:
        """The record of the run before anything is measured."""
        protocol = self.parts["protocol"]
        return Record(
            entry=self.entry.name,
            zoo=self.entry.zoo,
            identity=self.identity,
            overrides=list(self.overrides),
            protocol=ProtocolRecord(
                name=protocol["name"], version=protocol["version"], config=_without_folders(self.config)
            ),
            code=code_state(),
            times=Times(started=now()),
            seed=self.asked.seed,
            name=self.asked.name,
        )


def is_of_the_row(overrides: Iterable[str]) -> bool:
    """Whether what was composed with some overrides is the row's own composition, so that it need not be made twice.

    The device is no part of that: it is known when the run begins.
    """
    return not any(_matters(override, training=True) for override in overrides if not override.startswith("device="))


def _without_folders(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration whose paths name no folder of this machine: records are for everybody."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found[key] = _without_folders(value, f"{prefix}{key}.")
        else:
            path = Path(value).expanduser() if value is not None and f"{prefix}{key}" in PATH_SETTINGS else None
            found[key] = portable_path(path) if path is not None and path.is_absolute() else value
    return found


def _settings(config: Mapping[str, Any]) -> Settings:
    """The settings of a composed configuration. Raises UsageError."""
    block = {key: value for key, value in config.items() if key not in (*PART_GROUPS, "entry")}
    return schema.build(Settings, block, "", "see `zoo run --help` for the settings")


def _refuse_name_of_an_entry(name: str | None) -> None:
    """Raise UsageError where a run is to be called as a row of the catalogue is."""
    if name in entry_names():
        raise UsageError(f"name={name}: an entry of the catalogue has that name", next_step="choose another name")


def _matters(override: str, training: bool) -> bool:
    """Whether an override is worth repeating: it touches the row or its condition."""
    key = override.split("=", 1)[0].lstrip("+~").split("@")[0].replace("/", ".")
    if key == "entry" or key.startswith("hydra"):
        return False
    return role_of(key, training=training) in (Role.ROW, Role.CONDITION)


def _of_the_row(own: Mapping[str, Any]) -> tuple[Settings, Recipe | None]:
    asked = _settings(own)
    return asked, _recipe(own, asked)


def _resolved(config: Mapping[str, Any], asked: Settings, recipe: Recipe | None) -> dict[str, Any]:
    """A configuration with its "auto" values as they are meant; the device is known when the run begins."""
    schedule = recipe.schedule if recipe is not None and isinstance(asked.run, TrainSettings) else None
    precision: str = asked.precision
    batch_size, run = asked.batch_size, dict(config["run"])
    if precision == "auto":
        precision = "fp32" if schedule is None else schedule.precision
    if batch_size == "auto":
        batch_size = 1 if schedule is None else schedule.batch_size
    if schedule is not None and run["micro_batch_size"] == "auto":
        run["micro_batch_size"] = schedule.images_per_gpu
    return {**config, "device": None, "precision": precision, "batch_size": batch_size, "run": run}


def _recipe(config: Mapping[str, Any], asked: Settings) -> Recipe | None:
    if not config.get("schedule"):
        return None
    schedule, initial = Schedule.from_mapping(config["schedule"]), config.get("initial")
    as_asked = asked.precision in ("auto", schedule.precision)
    return Recipe(
        schedule=schedule,
        initial=Checkpoint.from_mapping(initial, "initial") if initial else None,
        precision=schedule.precision if asked.precision == "auto" else asked.precision,
        loss_scale=schedule.loss_scale if as_asked else None,
    )


def _train(config: Mapping[str, Any], asked: Settings, recipe: Recipe | None, run_dir: Path) -> TrainConfig:
    if recipe is None:
        message = f"{config['entry']['name']} has no schedule to be trained by"
        raise UsageError(message, next_step="choose one with schedule=NAME (see conf/schedule)")
    run = asked.run
    assert isinstance(run, TrainSettings)  # noqa: S101 - the caller has looked
    return TrainConfig(
        recipe=recipe,
        batch_size=recipe.schedule.batch_size if asked.batch_size == "auto" else asked.batch_size,
        micro_batch_size=None if run.micro_batch_size == "auto" else run.micro_batch_size,
        scale_lr=run.scale_lr,
        max_steps=run.max_steps,
        checkpoint_every=run.checkpoint_every,
        evaluate_every=run.evaluate_every,
        resume=run.resume,
        seed=asked.seed,
        run_dir=run_dir,
        identity={group: bare_names(config.get(group)) for group in PART_GROUPS if group != "protocol"},
    )


def _list(measure: tuple[str, ...] | str) -> tuple[str, ...]:
    """One measurement needs no list."""
    names = (measure,) if isinstance(measure, str) else measure
    if not names:
        raise UsageError("measure: [] names nothing", next_step="give a list such as [accuracy,speed]")
    return names
