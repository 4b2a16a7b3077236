"""Front door 1: `python -m zoo.bench entry=ENTRY [override ...]`, with `--multirun` a sweep.

Hydra composes the run; this module answers for what users see: names are checked before anything
is composed, a failing job is reported at once and does not stop the others, and the exit status is
0 measured, 1 not measured, 2 usage.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.entry import conf_dir, entry_names, resolve, unknown_entry
from zoo.errors import UsageError, ZooError, closest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from zoo.record import Record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments)
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted\nnext: run the same command again", file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    multirun = any(argument in ("-m", "--multirun") for argument in arguments)
    if not any(
        argument.startswith("-") and argument.lstrip("-") in ("help", "h", "hydra-help", "version")
        for argument in arguments
    ):
        arguments = _named_entries(arguments, multirun)
    sweep_dir = _sweep_dir(arguments) if multirun else None
    if sweep_dir is not None:
        arguments = [*arguments, f"hydra.sweep.dir={sweep_dir}"]
    started = time.time()
    statuses = _hydra(arguments)
    if sweep_dir is None:
        return max(statuses, default=0)
    return _summary(sweep_dir, started)


def _named_entries(arguments: list[str], multirun: bool) -> list[str]:
    """The arguments with every entry's full name; `--multirun` without one means the whole zoo.

    Raises:
        UsageError: no entry, an unknown one, or a pattern that fits none.
    """
    named = [i for i, argument in enumerate(arguments) if argument.startswith("entry=")]
    if not named:
        if multirun:
            return [*arguments, "entry=glob(*)"]
        raise UsageError("no entry named", next_step="add entry=NAME (see `zoo list`), or --multirun for the whole zoo")
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob
    from hydra.errors import HydraException

    checked = list(arguments)
    for i in named:
        try:
            value = OverridesParser.create().parse_override(arguments[i]).value()
        except HydraException as error:
            raise UsageError(f"{arguments[i]}: {error}", next_step="quote the override for the shell") from None
        if isinstance(value, Glob):
            if not value.filter(entry_names()):
                raise unknown_entry(" ".join(value.include))
        elif isinstance(value, ChoiceSweep):
            checked[i] = "entry=" + ",".join(_full_name(str(name)) for name in value.list)
        else:
            checked[i] = f"entry={_full_name(str(value))}"
    return checked


def _full_name(model: str) -> str:
    name, others = resolve(model)
    if others:
        print(f"{model}: running {name}; also in the zoo: {', '.join(others)}", file=sys.stderr)
    return name


def _sweep_dir(arguments: Sequence[str]) -> Path:
    """Where this sweep's jobs leave their records: the user's choice, or a folder named by the time."""
    key = "hydra.sweep.dir="
    given = [argument.removeprefix(key) for argument in arguments if argument.startswith(key)]
    return Path(given[-1] if given else f"multirun/{datetime.now():%Y-%m-%d_%H-%M-%S}").absolute()


def _hydra(arguments: Sequence[str]) -> list[int]:
    """Hand over to Hydra; returns the exit status of every job that ran in this process."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    statuses: list[int] = []

    def job(config: DictConfig) -> int:
        statuses.append(_job(config))
        return statuses[-1]

    sys.argv = [sys.argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's own printer
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _usage_error(error) from None
    return statuses


def _usage_error(error: Exception) -> UsageError:
    """What Hydra says of an override, in one line, with the closest names."""
    import re

    text = " ".join(str(error).split())
    next_step = "see conf/config.yaml for the overrides, and the folders beside it for the options"
    missing = re.search(r"Could not find '([\w/]+)/([^']+)'", text)
    if missing:
        group, option = missing.groups()
        known = [path.stem for path in (conf_dir() / group).glob("*.yaml")]
        return UsageError(f"no option {option!r} of {group} ({closest(option, known)})", next_step=next_step)
    key = re.search(r"Could not override '([^']+)'|No match in the defaults list|Key '(\w+)' is not in struct", text)
    if key and key[1]:
        known = _config_keys()
        return UsageError(f"no setting {key[1]!r} ({closest(key[1], known)})", next_step=next_step)
    return UsageError(text, next_step=next_step)


def _config_keys() -> list[str]:
    """Every setting that can be overridden, dotted: of the top level, of data and of the protocol."""
    import yaml

    def keys(node: Any, prefix: str) -> list[str]:
        if not isinstance(node, dict):
            return []
        return [name for key, value in node.items() for name in (f"{prefix}{key}", *keys(value, f"{prefix}{key}."))]

    config = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    top = {key: value for key, value in config.items() if key not in ("defaults", "hydra")}
    data = yaml.safe_load((conf_dir() / "data" / "coco2017.yaml").read_text(encoding="utf-8"))
    return keys(top, "") + keys(data, "data.")


def _job(config: DictConfig) -> int:
    """One run. Never raises but for Ctrl-C: the others of a sweep go on."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from zoo.record import results_dir
    from zoo.settings import RunSettings

    hydra_config = HydraConfig.get()
    plain: Any = OmegaConf.to_container(config, resolve=True)
    try:
        settings = RunSettings.from_config(
            plain,
            overrides=list(hydra_config.overrides.task),
            run_dir=Path(hydra_config.runtime.output_dir),
            default_results=results_dir(),
        )
        from zoo import pipeline

        record = pipeline.run(settings)
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    _report(record, settings.run_dir)
    return 0 if record.status == "measured" else 1


def _report(record: Record, run_dir: Path) -> None:
    """The row and its diff on stdout; what went wrong on stderr, its last line the next step."""
    from zoo.diff import catalogued, render_diff

    if record.status == "measured":
        print(render_diff([record], catalogued([record])))
        print(f"record: {run_dir / 'record.json'}")
    else:
        print(f"{record.status.upper()} {record.entry}: {record.reason}", file=sys.stderr)
        print(f"next: {record.next_step}", file=sys.stderr)


def _summary(sweep_dir: Path, started: float) -> int:
    """A table of the sweep's records; the exit status of the whole.

    Read from the records, so that it holds for jobs that ran in other processes or on other machines.
    """
    from tabulate import tabulate

    from zoo.record import Record

    files = sorted(path for path in sweep_dir.rglob("record.json") if path.stat().st_mtime >= started - 1)
    records = sorted((Record.read(path) for path in files), key=lambda record: record.entry)
    rows = [
        (
            record.entry,
            record.status.upper(),
            _short(record.measured.get("box_AP")),
            _short(record.measured.get("fps")),
            _short(record.times.get("seconds")),
            record.reason or "",
        )
        for record in records
    ]
    measured = sum(record.status == "measured" for record in records)
    print()
    print(tabulate(rows, headers=("entry", "status", "box AP", "fps", "seconds", "reason")))
    print(f"{measured} of {len(records)} measured; records under {sweep_dir}")
    return 0 if records and measured == len(records) else 1


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
