"""What one row of a published table means, and the catalogue of all rows.

An entry is one YAML file under `conf/entry/`: the parts it is composed of, its checkpoint and its
published cells. Hydra composes the parts; this module reads the same file without Hydra, so that
`zoo list` and `zoo show` answer at once. The dataclasses below are the schema of the `entry:` block.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml

from zoo.coco_tasks import TASKS
from zoo.errors import UsageError, closest
from zoo.files import PACKAGE, PROJECT
from zoo.schema import OneOf, Pattern, build

NEXT_STEP = "correct the YAML; its keys are documented in zoo/catalog/entry.py"
"""What to do about a mistake in an entry."""

ZOO_ORDER = ("mmdet", "paddle", "ultralytics", "jwyang", "torchvision")
"""The published zoos. Where several have a model of the same name, the first of these is meant."""

ZOO_CATALOG = "ZOO_CATALOG"
"""Environment variable: folders with an `entry/` and further config groups, separated as in PATH."""

ZOO_DEFAULT = "/zoo@entry"
"""The item of an entry's defaults list that names its zoo: a file of `conf/zoo/`, merged below the entry's block."""

COUNT = "parameters"
"""The unit of what is counted one by one."""

METRICS = {
    **{metric: "AP points" for task in TASKS.values() for metric in task.printed},
    "fps": "images/s",
    "latency_ms": "ms",
    "train_memory_gb": "GB",
    "train_memory_mb": "MB",
    "hours_per_epoch": "h",
    "params_m": "M",
    "flops_b": "B",
    "params": COUNT,
    "gmacs": "GMAC",
    "file_size_mib": "MiB",
}
"""The columns that published tables have, with their units."""

Sha256 = Annotated[str, Pattern("[0-9a-f]{64}", "64 lower-case hex digits")]
Sha256Prefix = Annotated[str, Pattern("[0-9a-f]{6,64}", "6 to 64 lower-case hex digits")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where the published weights are and how they are told from any other file.

    Attributes:
        urls: mirrors of one and the same file, in order of preference; none where it is not published.
        format: name of the reader (a module of `zoo.checkpoints.readers`).
        keymap: name of the key map (a module of `zoo.checkpoints.keymaps`).
        keys: name of the list of its keys and shapes, where another entry's file has the same; see
            `zoo.catalog.keys`.
        sha256_prefix: first hex digits of the sha256, where the publisher put them into the file name.
        sha256: all 64 hex digits, where the publisher gives it.
    """

    format: str
    keymap: str
    urls: tuple[str, ...] = ()
    keys: str | None = None
    sha256_prefix: Sha256Prefix | None = None
    sha256: Sha256 | None = None

    @classmethod
    def from_mapping(cls, block: Any, where: str = "checkpoint") -> Checkpoint:
        """A checkpoint from the block `where` of a YAML. Raises UsageError as `Entry.from_mapping` does."""
        return build(cls, block, where, NEXT_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """One number as a published table prints it.

    Attributes:
        metric: a key of `METRICS`.
        text: the digits as printed; the last decimal is the unit of the number's precision.
        source: the document that prints it; two sources may disagree.
        line: line number in the source, from 1; None where it has no lines.
        hardware: device that a speed or a memory figure was taken on; None for other metrics.
        publisher: who prints it, where it is not the zoo itself: others' claims are shown, and do not judge the row.
        protocol: how they measured it, where it is not the row's own way.
    """

    metric: Annotated[str, OneOf(METRICS)]
    text: Annotated[str, Pattern(r"\d+(\.\d+)?", "a number as printed")]
    source: str
    line: int | None = None
    hardware: str | None = None
    publisher: str | None = None
    protocol: str | None = None

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def decimals(self) -> int:
        """Digits after the point: "37.4" has 1."""
        return max(0, -int(Decimal(self.text).as_tuple().exponent))

    @property
    def shown_decimals(self) -> int:
        """Digits after the point of a measured number beside it: two more, and none of a count of whole things."""
        return 0 if METRICS[self.metric] == COUNT else self.decimals + 2

    @property
    def half_unit(self) -> float:
        """Half of the last printed decimal: what rounding alone may hide."""
        return 0.5 * 10.0**-self.decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of a published table.

    Attributes:
        name: `<zoo>_<model>`; also the name of its YAML file.
        zoo: name of the published collection.
        upstream: name that the original gives the model.
        checkpoint: published weights.
        published: printed cells of the row, from every source.
        license: licence of the weights, as an SPDX identifier.
        classes: names of the categories it was trained on, in label order; empty for all of the data set's.
        parts: config group -> chosen option ("backbone" -> "resnet50").
        seed_sigma: metric -> standard deviation over training seeds, in its unit, where it was measured.
    """

    name: str
    zoo: str
    upstream: str
    checkpoint: Checkpoint
    license: str
    published: tuple[PublishedCell, ...] = ()
    classes: tuple[str, ...] = ()
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seed_sigma: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> str:
        """The name without its zoo."""
        return self.name.removeprefix(self.zoo + "_")

    @property
    def published_metrics(self) -> tuple[str, ...]:
        """The metrics that have a published cell, in table order."""
        printed = {cell.metric for cell in self.published}
        return tuple(metric for metric in METRICS if metric in printed)

    def cells(self, metric: str) -> tuple[PublishedCell, ...]:
        """The published cells of one metric, one per source."""
        return tuple(cell for cell in self.published if cell.metric == metric)

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any], parts: Mapping[str, str] | None = None) -> Entry:
        """An entry from the `entry:` block of its YAML.

        Raises:
            UsageError: a key is missing, unknown, or holds what it cannot hold.
        """
        entry = build(cls, {**_mapping(block, "entry"), "parts": dict(parts or {})}, "entry", NEXT_STEP)
        if not entry.name.startswith(entry.zoo + "_"):
            raise _schema_error(f"entry.name: {entry.name!r} does not begin with its zoo, {entry.zoo!r}")
        return entry


def _mapping(block: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(block, Mapping):
        raise _schema_error(f"{where}: {block!r} is not a mapping")
    return block


def _schema_error(message: str) -> UsageError:
    return UsageError(message, next_step=NEXT_STEP)


def conf_dir() -> Path:
    """The folder of config groups: beside the package in a checkout, inside it when installed."""
    beside = PROJECT / "conf"
    return beside if beside.is_dir() else PACKAGE / "conf"


def own_catalogues() -> list[Path]:
    """The folders of config groups that `ZOO_CATALOG` names: catalogues of one's own, beside the package's.

    Raises:
        UsageError: there is no such folder.
    """
    folders = [Path(name).expanduser().absolute() for name in os.environ.get(ZOO_CATALOG, "").split(os.pathsep) if name]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{ZOO_CATALOG}: no folder {folder}", next_step="correct the variable, or unset it")
    return folders


def config_files(group: str) -> list[Path]:
    """The options of a config group, of the package and of catalogues of one's own, sorted by name.

    Raises:
        UsageError: two folders have an option of the same name, and it would be chance which of them counts.
    """
    found: dict[str, Path] = {}
    for folder in (conf_dir(), *own_catalogues()):
        for path in (folder / group).glob("*.yaml"):
            first = found.setdefault(path.stem, path)
            if first != path:
                raise UsageError(f"{group} {path.stem!r} is there twice: {first} and {path}", next_step="rename one")
    return sorted(found.values(), key=lambda path: path.stem)


def config_file(group: str, option: str) -> Path | None:
    """The file of an option; None where no folder has it."""
    folders = [conf_dir(), *own_catalogues()]
    return next((path for folder in folders if (path := folder / group / f"{option}.yaml").is_file()), None)


def entry_names() -> list[str]:
    """All entries of the catalogue, sorted."""
    return [path.stem for path in config_files("entry")]


def read_entry(name: str) -> Entry:
    """One entry, read from its YAML without Hydra.

    Raises:
        UsageError: there is no such entry, or its YAML is faulty (the message names the file).
    """
    path = config_file("entry", name)
    if path is None:
        raise unknown_entry(name)
    try:
        document = read_yaml(path)
        entry = Entry.from_mapping(_with_shared(document), _parts(document))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}", next_step="correct the file") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", next_step=error.next_step) from None
    if entry.name != name:
        raise UsageError(f"{path}: entry.name is {entry.name!r}", next_step="give file and entry the same name")
    return entry


def _with_shared(document: Mapping[str, Any]) -> dict[str, Any]:
    """The `entry:` block of a document, on top of what all rows of its zoo share (its line `/zoo@entry: ZOO`)."""
    block: dict[str, Any] = dict(_mapping(document.get("entry") or {}, "entry"))
    for item in document.get("defaults") or ():
        if isinstance(item, Mapping) and ZOO_DEFAULT in item:
            shared = _zoo_facts(item[ZOO_DEFAULT])
            checkpoint = {**(shared.get("checkpoint") or {}), **(block.get("checkpoint") or {})}
            block = {**shared, **block, "checkpoint": checkpoint}
    return block


def _zoo_facts(zoo: str) -> dict[str, Any]:
    path = config_file("zoo", zoo)
    if path is None:
        known = [file.stem for file in config_files("zoo")]
        raise _schema_error(f"{ZOO_DEFAULT}: no zoo {zoo!r} ({closest(zoo, known)})")
    return _shared_facts(path)


@cache
def _shared_facts(path: Path) -> dict[str, Any]:
    """What a file of `conf/zoo/` says, on top of those that its defaults list names."""
    own = dict(read_yaml(path))
    below: dict[str, Any] = {}
    for option in own.pop("defaults", ()):
        below |= _zoo_facts(option)
    return below | own


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The mapping that a YAML file of the catalogue holds, empty where it holds none.

    Raises:
        yaml.YAMLError: the file is not YAML.
    """
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506 - a safe loader
    return document if isinstance(document, Mapping) else {}


def _loader() -> type:
    """The C parser where PyYAML was built with it: ten times as fast, the same result."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _parts(document: Mapping[str, Any]) -> dict[str, str]:
    """group -> option, from the `override /group: option` lines of a defaults list."""
    overrides = [item for item in document.get("defaults") or () if isinstance(item, Mapping)]
    prefix = "override /"
    return {
        key.removeprefix(prefix): option for item in overrides for key, option in item.items() if key.startswith(prefix)
    }


def read_entries() -> Iterator[Entry]:
    """All entries, sorted by name."""
    return (read_entry(name) for name in entry_names())


def unknown_entry(name: str) -> UsageError:
    """The error for a name that no entry has: it lists the closest ones."""
    names = entry_names()
    models = {model: candidates[0] for model, candidates in _by_model().items()}
    return UsageError(
        f"no entry {name!r}; {closest(name, [*names, *models])}",
        next_step="see `zoo list` for all entries",
    )


def _by_model() -> dict[str, list[str]]:
    """Name without zoo -> the entries that have it, the preferred zoo first."""
    found: dict[str, list[str]] = {}
    for name in entry_names():
        found.setdefault(name.split("_", 1)[1], []).append(name)

    def rank(name: str) -> tuple[int, str]:
        zoo = name.split("_", 1)[0]
        return (ZOO_ORDER.index(zoo) if zoo in ZOO_ORDER else len(ZOO_ORDER), name)

    return {model: sorted(candidates, key=rank) for model, candidates in found.items()}


def resolve(model: str) -> tuple[str, list[str]]:
    """The entry that a MODEL names: an entry, or the part after the zoo's name.

    Returns:
        The entry's name, and the other zoos' entries of the same model.

    Raises:
        UsageError: nothing has that name; the message lists the closest ones.
    """
    if model in entry_names():
        return model, []
    candidates = _by_model().get(model)
    if not candidates:
        raise unknown_entry(model)
    return candidates[0], candidates[1:]
