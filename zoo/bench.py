"""Front door 1: `python -m zoo.bench entry=ENTRY [override ...]`, with `--multirun` a sweep.

Hydra composes the run; this module answers for what users see: names are checked before anything
is composed, a failing job is reported at once and does not stop the others, and the exit status is
0 measured, 1 not measured, 2 usage.
"""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import conf_dir
from zoo.config.comments import groups, options
from zoo.config.compose import search_path
from zoo.config.launchers import check_launcher
from zoo.config.overrides import HELP, INFORMATION, MULTIRUN, check, settings, usage_error
from zoo.errors import ZooError
from zoo.front_door import answer_for
from zoo.measure.measurement import measurements
from zoo.sweep.job import Job, run
from zoo.terminal import width_of

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sweep = any(argument in MULTIRUN for argument in arguments)
    going_on = "\nnext: run the same command again" + (" with resume=true: what is done stands" if sweep else "")
    return answer_for(lambda: _run(arguments), interrupted=going_on)


def _run(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if any(argument in HELP for argument in arguments):
        print(usage())
        return 0
    checked = check(arguments)
    check_launcher(checked.given)
    if "run=train" in arguments:
        # Intel's MKL otherwise sums in an order that depends on where in memory the numbers happen to lie.
        os.environ.setdefault("MKL_CBWR", "AUTO")
    if checked.sweep_dir is None or any(argument in INFORMATION for argument in arguments):
        return max(_hydra(checked.given, run), default=0)
    from zoo.sweep.ahead import look_up, refuse_faulty
    from zoo.sweep.sweep import Sweep, number_of_jobs

    refuse_faulty(checked.given, checked.sweep_dir)
    sweep = Sweep(checked.sweep_dir, jobs=number_of_jobs(checked.given), lost=look_up(checked.given))
    with sweep.at_work():
        _hydra(checked.given, sweep.carry_out)
    return sweep.summary()


def usage() -> str:
    """The help text: usage, settings, groups of settings and measurements."""
    head = """usage: zoo run ENTRY [ENTRY ...] [setting=value ...] [-m]
       python -m zoo.bench entry=ENTRY [setting=value ...] [--multirun]

Measures rows of the catalogue and writes record.json and predictions.json; see
`zoo list` for the names. -m runs several entries, or a list of values
(seed=0,1,2), one after another. --cfg job prints the composed configuration.
Settings, what they take, [their defaults]:
"""
    width = min(width_of(sys.stdout) or 100, 100)

    def item(name: str, about: str) -> list[str]:
        return textwrap.wrap(f"  {name}: {about}", width, subsequent_indent=" " * 6, break_long_words=False)

    lines = [line for key, about in settings().items() for line in item(key, about)]
    lines.append("\nGroups: GROUP=OPTION takes another part, GROUP.KEY=VALUE changes one of its")
    lines.append("settings (`zoo show ENTRY --settings` lists those of a row; a changed row is")
    lines.append("filed under another name):\n")
    for group, about in groups().items():
        lines += item(f"{group}.*", f"{about} [{' | '.join(options(group))}]")
    lines.append("\nMeasurements:\n")
    lines += [line for name, measured in measurements().items() for line in item(name, measured.about)]
    return f"{head}\n" + "\n".join(lines)


def _hydra(arguments: Sequence[str], carry_out: Callable[[Job], int]) -> list[int]:
    """Hand over to Hydra; returns the exit status of every job that was carried out from this process."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    statuses: list[int] = []

    def job(config: DictConfig) -> int:
        statuses.append(carry_out(_job(config)))
        return statuses[-1]

    sys.argv = [sys.argv[0], *arguments, *search_path()]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, not to Hydra's own printer
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise usage_error(error, arguments) from None
    except BrokenExecutor as error:  # a launcher's, when one of its processes was killed
        print(f"error: a job was killed, and its launcher ended ({error})", file=sys.stderr)
    except OSError as error:  # a job's own errors are its own
        message = f"cannot make the folder of a run: {error.filename or ''} {error.strerror or error}"
        raise ZooError(message, next_step="choose another with hydra.run.dir=DIR or hydra.sweep.dir=DIR") from None
    return statuses


def _job(config: DictConfig) -> Job:
    """What Hydra composed."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    of_hydra = HydraConfig.get()
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return Job(config=plain, overrides=tuple(of_hydra.overrides.task), run_dir=of_hydra.runtime.output_dir)


if __name__ == "__main__":
    sys.exit(main())
