"""What a run was asked for, checked before anything is loaded.

`RunSettings` is what a run makes of a composed configuration, with every "auto" that does not depend on the machine
resolved. Nothing here knows Hydra's types: a plain nested mapping goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.catalog.entry import Checkpoint, Entry, entry_names, read_entry
from zoo.checkpoints.fetch_checkpoint import portable_path
from zoo.config.compose import PART_GROUPS, compose
from zoo.config.overrides import check_kinds
from zoo.config.paths import PATH_SETTINGS
from zoo.config.settings import Settings, TrainSettings, read_settings
from zoo.data.folder import complete
from zoo.errors import UsageError
from zoo.measure.measurement import measurement
from zoo.results.identity import Identity, Role, identify, role_of
from zoo.results.ledger import Ledger
from zoo.results.record import ProtocolRecord, Record, Times
from zoo.runtime.provenance import bare_names, code_state, now
from zoo.train.config import Recipe, TrainConfig
from zoo.train.schedule import Schedule


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
            own: what `row_config` gives; None composes it.

        Raises:
            UsageError: a value that nothing can be done with, of which the message names the key; or the name is
                that of an entry, or of another run.
        """
        config = {**config, "data": complete(config["data"])}
        asked = read_settings(config)
        entry = Entry.from_mapping(config["entry"], read_entry(config["entry"]["name"]).parts)
        _refuse_name_of_an_entry(asked.name)
        training = isinstance(asked.run, TrainSettings)
        own = own or row_config(entry.name, training=training)
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


def row_config(name: str, *, training: bool) -> dict[str, Any]:
    """The composed configuration of a row as it is published, for a run that evaluates it or one that trains it."""
    return compose(name, ["run=train"] if training else [])


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
    asked = read_settings(own)
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
