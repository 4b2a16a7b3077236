"""One run of one row, by its composed configuration: here, or in a process of its own.

`python -m zoo.sweep.job` takes a job as JSON in the first line of its standard input; further lines grant it turns
(`zoo.runtime.turns`). The end of that input means that whoever started it is gone; then it ends as well, as by SIGTERM.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DeviceError, ZooError
from zoo.front_door import answer_for
from zoo.runtime.turns import Turn, Turns, turns

if TYPE_CHECKING:
    from zoo.config.run_settings import RunSettings

OUT_OF_MEMORY = 4
"""Exit status of a process whose device had too little memory: nobody but the sweep sees it."""

_GRACE = 20.0
"""Seconds that a run has to leave its record after its sweep is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run.

    Attributes:
        config: composed configuration, all interpolations resolved.
        overrides: what the command line said, as `key=value`.
        run_dir: folder of the run.
        own: composed configuration of the row itself, see `row_config`; None where nobody has made it yet.
    """

    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    run_dir: str
    own: Mapping[str, Any] | None = None

    def settings(self) -> RunSettings:
        """The settings of the run. Raises UsageError as `RunSettings.from_config` does."""
        from zoo.config.run_settings import RunSettings, is_of_the_row
        from zoo.results.ledger import results_dir

        return RunSettings.from_config(
            self.config,
            overrides=self.overrides,
            run_dir=Path(self.run_dir),
            default_results=results_dir(),
            own=self.config if is_of_the_row(self.overrides) else self.own,
        )

    def on_a_gpu(self) -> Job:
        """The same on the GPU that it was dealt: where that is not there, `auto` would measure a CPU unnoticed."""
        return replace(self, config={**self.config, "device": "cuda"})

    def with_batch_size(self, size: int) -> Job:
        """The same at another batch size."""
        others = tuple(override for override in self.overrides if not override.startswith("batch_size="))
        changed = {**self.config, "batch_size": size}
        return replace(self, config=changed, overrides=(*others, f"batch_size={size}"))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """A job from what `to_json` gave."""
        loaded = json.loads(text)
        return cls(**{**loaded, "overrides": tuple(loaded["overrides"])})


def run(job: Job, *, out_of_memory: int = 1) -> int:
    """Carry out a job and say how it ended. Raises nothing but KeyboardInterrupt: the others of a sweep go on.

    Args:
        job: the job.
        out_of_memory: exit status where the device had too little memory.

    Returns:
        The exit status.
    """
    run_dir = Path(job.run_dir)
    try:
        settings = job.settings()
        from zoo import pipeline
        from zoo.console import conclude
        from zoo.results.outcome import is_out_of_memory
        from zoo.results.run_folder import taken
        from zoo.results.seeds import with_other_seeds
        from zoo.runtime.distributed import is_main_process

        rest = _rest(settings) if settings.asked.resume else settings
        if rest is None:
            return 0
        with taken(settings.run_dir) if is_main_process() else nullcontext():
            record, filed = pipeline.run(rest)
    except KeyboardInterrupt:
        print(f"kept: {run_dir}{_going_on(job.config)}", file=sys.stderr)
        raise
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    except Exception as error:  # before there was a record to tell it
        report = run_dir / "traceback.txt"
        report.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"error: unexpected {type(error).__name__}: {error}\nnext: report this with {report}", file=sys.stderr)
        return 1
    if filed is not None:
        conclude(record, with_other_seeds(record, settings.results_dir), filed, settings.run_dir)
    if is_out_of_memory(record):
        return out_of_memory
    return 0 if record.status == "measured" else 1


def _rest(settings: RunSettings) -> RunSettings | None:
    """What `resume` leaves of a run; None where that is nothing: then its record is in the folder as well."""
    from zoo.config.remaining import remaining
    from zoo.console import announce_rest
    from zoo.results.run_folder import leave_standing
    from zoo.runtime.distributed import is_main_process, local_device
    from zoo.runtime.hardware import fingerprint, resolve_device

    try:
        hardware = fingerprint(local_device(resolve_device(settings.asked.device)))
    except DeviceError:  # of which the run makes a record
        return settings
    left = remaining(settings, hardware)
    if is_main_process():
        announce_rest(settings.entry.name, left.standing, left.reasons, left.path)
    if left.record is None or left.reasons:
        return replace(settings, measure=tuple(left.reasons), standing=bool(left.standing))
    if is_main_process():
        leave_standing(settings.run_dir, left.record)
    return None


def _going_on(config: Mapping[str, Any]) -> str:
    """How an interrupted training goes on from its last checkpoint."""
    training = config["run"]["name"] == "train"
    return "; go on from its last checkpoint with run.resume=true and hydra.run.dir= that folder" if training else ""


def main() -> int:
    """Carry out the job that stands in the first line of the standard input; returns its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=listen, args=(turns(),), daemon=True).start()
    return answer_for(lambda: run(job, out_of_memory=OUT_OF_MEMORY), interrupted="")


def listen(own: Turns) -> None:
    """Take every further line of the standard input as a turn; at its end, end this process."""
    for line in sys.stdin:
        own.grant(Turn.from_json(line))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
