"""What is known of a job before a process is started for it: no torch is imported to know it."""

from __future__ import annotations

from pathlib import Path

from zoo.config.remaining import remaining
from zoo.config.settings import RunSettings
from zoo.results.ledger import results_dir
from zoo.results.run_folder import taken
from zoo.sweep.job import Job
from zoo.sweep.machine import machine


def settled(job: Job) -> bool:
    """Whether nothing of a job is left to do; then the record that has it all is in the folder of the run as well.

    Raises:
        ZooError: the job's settings are those of no run, or the disk refuses.
    """
    run_dir = Path(job.run_dir)
    settings = RunSettings.from_config(
        job.config, overrides=list(job.overrides), run_dir=run_dir, default_results=results_dir()
    )
    if not settings.asked.resume:
        return False
    hardware = machine(settings.asked.device)
    if hardware is None:
        return False
    left = remaining(settings, hardware)
    if left.record is None or left.reasons:
        return False
    with taken(run_dir):
        left.record.write(run_dir / "record.json")
    return True
