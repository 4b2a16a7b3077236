"""What a run was asked for, checked before anything is loaded.

The dataclasses are the schema of the top level of a composed configuration. Nothing here knows
Hydra: a plain nested mapping goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from zoo.catalog.entry import Checkpoint, Entry, read_entry
from zoo.errors import UsageError, closest
from zoo.runtime.provenance import bare_names
from zoo.train.config import Recipe, TrainConfig
from zoo.train.schedule import PRECISIONS, Schedule

MEASUREMENTS = ("accuracy", "speed", "memory", "complexity", "onnx_latency", "train_memory")
EVALUATORS = ("columns", "pycocotools")

Evaluator = Literal["columns", "pycocotools"]

PART_GROUPS = ("detector", "backbone", "neck", "head", "loss", "schedule", "initial", "protocol")
"""Config groups an entry is composed of. A run that changes one is no longer that entry."""

RUN_OPTIONS = ("protocol.fold_batch_norm", "protocol.channels_last")
"""Options inside a part that change how it runs, not what it computes."""

CARRYING_OUT = ("resume", "checkpoint_every", "evaluate_every")
"""Options of a training that change when it writes what, not what comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """The split that is trained on.

    Attributes:
        split: "train2017".
        annotations: file, relative to the root.
        images: folder, relative to the root.
        limit: the first so many images; None for all.
    """

    split: str
    annotations: str
    images: str
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where the images are.

    Attributes:
        name: of the data set.
        split: "val2017".
        whole: images of the whole split.
        annotations: file, relative to the root.
        images: folder, relative to the root.
        root: a folder in COCO's own layout; None for the cache.
        limit: the first so many images; None for all.
        classes: category names in the order of a detector's labels.
        train: the split that is trained on; None where the data set has none.
    """

    name: str
    split: str
    whole: int
    annotations: str
    images: str
    root: Path | None
    limit: int | None
    classes: tuple[str, ...]
    train: SplitSettings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSettings:
    """How much is timed; None lets the device decide.

    Attributes:
        warmup: untimed images.
        images: timed images a round.
        rounds: of which the median is reported.
    """

    warmup: int | None
    images: int | None
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One run of one entry.

    Attributes:
        entry: the row.
        config: everything that was composed, as it was.
        parts: composed configuration of each part, by group.
        changes: overrides that make this another model or protocol than the entry's.
        measure: what to measure.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of convolutions and matrix products in evaluation.
        batch_size: images at a time while accuracy is measured; speed is always timed one by one. A model that is
            trained first is evaluated one by one too: the batch size asked for is that of its training.
        seed: of every random generator.
        workers: processes that decode images; None lets the device decide.
        evaluator: "columns" (our own) or "pycocotools".
        checkpoint_path: a file of the user's own.
        checkpoint_url: another address of the published file.
        data: where the images are.
        speed: how much is timed.
        recipe: how the entry is trained; None where it has no schedule.
        train: how the recipe is carried out first; None evaluates published weights.
        results_dir: where records and tables are kept.
        run_dir: where this run's record and predictions go.
    """

    entry: Entry
    config: Mapping[str, Any]
    parts: Mapping[str, Any]
    changes: tuple[str, ...]
    measure: tuple[str, ...]
    device: str
    precision: str
    batch_size: int
    seed: int
    workers: int | None
    evaluator: Evaluator
    checkpoint_path: Path | None
    checkpoint_url: str | None
    data: DataSettings
    speed: SpeedSettings
    recipe: Recipe | None
    train: TrainConfig | None
    results_dir: Path
    run_dir: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """Category names in label order: the entry's own, or all of the data set's."""
        return self.entry.classes or self.data.classes

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, overrides: Iterable[str], run_dir: Path, default_results: Path
    ) -> RunSettings:
        """Settings from a composed configuration.

        Args:
            config: plain nested mapping, all interpolations resolved.
            overrides: what the command line said, as `key=value`.
            run_dir: this run's folder.
            default_results: used where `results.dir` is null.

        Raises:
            UsageError: a value that nothing can be done with; the message names its key.
        """
        parts = {group: config.get(group) for group in PART_GROUPS}
        data, speed, checkpoint = config["data"], config["speed"], config["checkpoint"]
        measure = config["measure"]
        recipe = _recipe(config)
        training = config["run"]["name"] == "train"
        return cls(
            entry=Entry.from_mapping(config["entry"], read_entry(config["entry"]["name"]).parts),
            config=config,
            parts=parts,
            changes=tuple(override for override in overrides if _changes_entry(override)),
            measure=tuple(_one_of("measure", name, MEASUREMENTS) for name in _list("measure", measure)),
            device=_device(config["device"]),
            precision=_precision(config) or "fp32",
            batch_size=1 if training else _auto("batch_size", config["batch_size"], least=1) or 1,
            seed=_integer("seed", config["seed"], least=0),
            workers=_auto("workers", config["workers"], least=0),
            evaluator=cast("Evaluator", _one_of("evaluator", config["evaluator"], EVALUATORS)),
            checkpoint_path=_path(checkpoint["path"]),
            checkpoint_url=checkpoint["url"],
            data=DataSettings(
                name=data["name"],
                split=data["split"],
                whole=data["whole"],
                annotations=data["annotations"],
                images=data["images"],
                root=_path(data["root"]),
                limit=None if data["limit"] is None else _integer("data.limit", data["limit"], least=1),
                classes=tuple(data["classes"]),
                train=_split(data.get("train")),
            ),
            speed=SpeedSettings(
                warmup=_auto("speed.warmup", speed["warmup"], least=0),
                images=_auto("speed.images", speed["images"], least=1),
                rounds=_integer("speed.rounds", speed["rounds"], least=1),
            ),
            recipe=recipe,
            train=_train(config, recipe, run_dir) if training else None,
            results_dir=_path(config["results"]["dir"]) or default_results,
            run_dir=run_dir,
        )


def without_null(override: str) -> str:
    """An override as Hydra takes it: it has no word for "none of this group" but the deletion `~group`."""
    group, _, option = override.partition("=")
    return f"~{group}" if group in PART_GROUPS and option == "null" else override


def _changes_entry(override: str) -> bool:
    """Whether an override touches what makes the entry the entry."""
    key = override.split("=", 1)[0].lstrip("+~").split("@")[0].replace("/", ".")
    group = key.split(".")[0]
    cut_short = key == "run.max_steps" and not override.endswith("=null")
    return (group in PART_GROUPS and key not in RUN_OPTIONS) or key.startswith("entry.") or cut_short


def _split(block: Mapping[str, Any] | None) -> SplitSettings | None:
    if block is None:
        return None
    limit = block["limit"]
    return SplitSettings(
        split=block["split"],
        annotations=block["annotations"],
        images=block["images"],
        limit=None if limit is None else _integer("data.train.limit", limit, least=1),
    )


def _recipe(config: Mapping[str, Any]) -> Recipe | None:
    if not config.get("schedule"):
        return None
    schedule, initial = Schedule.from_mapping(config["schedule"]), config.get("initial")
    asked = _precision(config)
    return Recipe(
        schedule=schedule,
        initial=Checkpoint.from_mapping(initial, "initial") if initial else None,
        precision=asked or schedule.precision,
        loss_scale=schedule.loss_scale if asked in (None, schedule.precision) else None,
    )


def _train(config: Mapping[str, Any], recipe: Recipe | None, run_dir: Path) -> TrainConfig:
    if recipe is None:
        message = f"{config['entry']['name']} has no schedule to be trained by"
        raise UsageError(message, next_step="choose one with schedule=NAME (see conf/schedule)")
    run = config["run"]

    def optional(key: str) -> int | None:
        return None if run[key] is None else _integer(f"run.{key}", run[key], least=1)

    return TrainConfig(
        recipe=recipe,
        batch_size=_auto("batch_size", config["batch_size"], least=1) or recipe.schedule.batch_size,
        micro_batch_size=_auto("run.micro_batch_size", run["micro_batch_size"], least=1),
        scale_lr=_flag("run.scale_lr", run["scale_lr"]),
        max_steps=optional("max_steps"),
        checkpoint_every=_integer("run.checkpoint_every", run["checkpoint_every"], least=1),
        evaluate_every=optional("evaluate_every"),
        resume=_flag("run.resume", run["resume"]),
        seed=_integer("seed", config["seed"], least=0),
        run_dir=run_dir,
        identity={group: bare_names(config.get(group)) for group in PART_GROUPS if group != "protocol"},
    )


def _precision(config: Mapping[str, Any]) -> str | None:
    """What the run asks for; None leaves it to the recipe."""
    precision = config["precision"]
    return None if precision == "auto" else _one_of("precision", precision, PRECISIONS)


def _list(key: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise _bad(key, value, "a list such as [accuracy,speed]")
    return value


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(
            f"{key}: no {value!r} ({closest(str(value), known)})", next_step=f"choose of {', '.join(known)}"
        )
    return str(value)


def _integer(key: str, value: Any, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _bad(key, value, f"a whole number, {least} or more")
    return value


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(key, value, "true or false")
    return value


def _auto(key: str, value: Any, *, least: int) -> int | None:
    return None if value == "auto" else _integer(key, value, least=least)


def _path(value: Any) -> Path | None:
    return None if value is None else Path(str(value)).expanduser()


def _device(value: Any) -> str:
    name, _, index = str(value).partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and not (name == "cuda" and index.isdigit())):
        raise _bad("device", value, "auto, cpu, cuda or cuda:N")
    return str(value)


def _bad(key: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"{key}: {value!r} is not {expected}", next_step=f"give {key} as {expected}")
