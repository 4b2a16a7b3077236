"""What `zoo explain` does to have a trial of every switch: the run it begins with, re-scorings, changed runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.catalog.switches import Switch
from zoo.coco_tasks import iou_types_of
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.errors import DataError, ZooError
from zoo.results.explain import Untried
from zoo.results.identity import slug
from zoo.results.ledger import Ledger, all_records
from zoo.results.record import Record
from zoo.results.run_folder import PREDICTIONS, RunFolders, taken
from zoo.results.trials import ACCURACY, accuracy_of, rescored, rules_of, trials_of

if TYPE_CHECKING:
    from zoo.measure.score.rescore import StoredRun


def settings_of(entry: str, overrides: Sequence[str], results_dir: Path, run_dir: Path = Path()) -> RunSettings:
    """The settings of an evaluation's accuracy.

    Args:
        entry: full name of a row.
        overrides: as on the command line, `key=value`.
        results_dir: folder of records.
        run_dir: folder of the run.
    """
    asked = [*(item for item in overrides if not item.startswith("measure=")), f"measure={ACCURACY}"]
    config = compose(entry, asked)
    return RunSettings.from_config(config, overrides=asked, run_dir=run_dir, default_results=results_dir)


def this_machine(settings: RunSettings) -> str:
    """The name of the machine that a run would be filed under."""
    from zoo.runtime.distributed import local_device
    from zoo.runtime.hardware import fingerprint, resolve_device

    return fingerprint(local_device(resolve_device(settings.asked.device))).id


def first_run(settings: RunSettings, machine: str | None) -> Record:
    """The newest run of a composition and condition with the published weights, on a machine where it has been there.

    Args:
        settings: of the run.
        machine: the one to prefer; None: any.

    Raises:
        ZooError: there is none on any machine.
    """
    found = [record for record in all_records(settings.results_dir) if _is_run_of(settings, record)]
    if not found:
        command = " ".join(("zoo run", settings.entry.name, *settings.overrides, f"measure={ACCURACY}"))
        message = f"no run of {settings.new_record().label} in {settings.results_dir}"
        raise ZooError(message, next_step=f"run `{command}` first")
    return max(found, key=lambda record: (record.hardware_id == machine, record.parts[ACCURACY].finished))


def _is_run_of(settings: RunSettings, record: Record) -> bool:
    if record.status != "measured" or ACCURACY not in record.parts or record.trained or record.other_weights:
        return False
    ours, theirs = settings.identity, record.identity
    # By what differs from the row: what a row says of itself beyond that may be more by now than it was then.
    conditions = {item for item in theirs.conditions if not item.startswith("device=")}
    device = settings.asked.device.partition(":")[0]
    return (
        record.entry == settings.entry.name
        and (theirs.scheme, theirs.row, conditions) == (ours.scheme, ours.row, set(ours.conditions))
        and record.parts[ACCURACY].version == settings.parts["protocol"]["version"]
        and device in ("auto", theirs.condition.get("device"))
    )


@dataclass(kw_only=True)
class TrialRuns:
    """Makes the trials of a run that are not in the ledger yet, each of which is filed as soon as it is there.

    Attributes:
        settings: of the run.
        overrides: what the command line said.
        record: the run.
        can_run: whether this is the machine of the record, so that changed runs can be made here.
        run_dir: folder with the detections of the run; None looks for it.
        seconds: time after which no further run is begun; None: no limit.
    """

    settings: RunSettings
    overrides: Sequence[str]
    record: Record
    can_run: bool
    run_dir: Path | None = None
    seconds: float | None = None
    _begun: float = field(default_factory=time.monotonic)
    _longest: float = 0.0

    def make(self, switches: Sequence[Switch]) -> list[Untried]:
        """Make what is missing, those that only score again first; says which could not be made, and why.

        Raises:
            KeyboardInterrupt: everything that was finished is filed.
        """
        records = list(all_records(self.settings.results_dir))
        there = {trial.switch for trial in trials_of(self.record, records, switches)}
        missing = sorted((one for one in switches if one.name not in there), key=lambda switch: switch.tier)
        untried = []
        for number, switch in enumerate(missing, start=1):
            print(f"[{number}/{len(missing)}] {switch.name}", end="", file=sys.stderr, flush=True)
            begun = time.monotonic()
            reason = self._try(switch)
            took = time.monotonic() - begun
            print(f": not tried, {reason}" if reason else f": {took:.1f} s", file=sys.stderr, flush=True)
            if reason:
                untried.append(Untried(switch=switch.name, reason=reason))
            elif switch.tier > 1:
                self._longest = max(self._longest, took)
        return untried

    def _try(self, switch: Switch) -> str | None:
        """Make one trial; why not where it cannot be made."""
        if not switch.applied(self.record.protocol.config):
            return "the row has no such setting, or has that value"
        if switch.device not in (None, self.record.identity.condition.get("device")):
            return f"it needs device={switch.device}"
        attempt: Callable[[Switch], str | None] = self._rescore if switch.tier == 1 else self._run
        try:
            return attempt(switch)
        except ZooError as error:
            return error.message

    def _rescore(self, switch: Switch) -> str | None:
        if rules_of(switch, self.stored) == self.stored.own_rules():
            return "the row has that value"
        Ledger(self.settings.results_dir).file(rescored(self.record, switch, self.stored))
        return None

    def _run(self, switch: Switch) -> str | None:
        if not self.can_run:
            return f"it has to run on {self.record.hardware_id}"
        if self.seconds is not None and time.monotonic() - self._begun + self._longest > self.seconds:
            return "the time was up: run the same command again to go on"
        from zoo import pipeline

        entry, changes = self.settings.entry.name, switch.applied(self.record.protocol.config)
        folder = Path("outputs", entry, f"explain_{slug(switch.name)}")
        overrides = [*self.overrides, *changes]
        settings = settings_of(entry, overrides, self.settings.results_dir, folder)
        with taken(folder):
            record, _ = pipeline.run(settings)
        return None if record.status == "measured" else str(record.reason)

    @cached_property
    def stored(self) -> StoredRun:
        """The detections of the run. Raises DataError: they are not there, or are those of another run."""
        from zoo.config.build import open_data
        from zoo.data.dataset import open_dataset
        from zoo.measure.coco_eval.summary import Rounding
        from zoo.measure.score.rescore import StoredRun
        from zoo.measure.score.results_file import read_predictions

        data, rounding = self.settings.asked.data, self.settings.parts["protocol"].get("rounding")
        folder = self.run_dir or self._find_run_dir()
        truth = open_data(data, self.settings.row_classes).ground_truth
        run = StoredRun(
            truth=truth,
            detections=read_predictions(folder / PREDICTIONS, truth).columns,
            iou_types=iou_types_of(self.record.measured),
            rounding=None if rounding is None else Rounding(**rounding),
            root=data.root or open_dataset(data.name, data.split).root,
        )
        again, numbers = run.score(run.own_rules()), accuracy_of(self.record)
        if any(again.get(key) != value for key, value in numbers.items()):
            message = f"{folder / PREDICTIONS} has the detections of another run than {self.record.label}"
            raise DataError(message, next_step="name the folder of that run with --run DIR")
        return run

    def _find_run_dir(self) -> Path:
        """The folder of the run among those that lie here. Raises DataError."""
        run = RunFolders().of(self.record)
        if run is None:
            message = "the detections of the run are not below outputs/ or multirun/"
            raise DataError(message, next_step="name its folder with --run DIR, or run the row again")
        return run.folder
