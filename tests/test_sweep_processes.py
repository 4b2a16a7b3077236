"""Jobs of a sweep in processes of their own: whatever becomes of one, there is a record and the sweep goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sweep_jobs import ENTRY, carried_out_by, job

from zoo.results.record import Record
from zoo.sweep import process
from zoo.sweep.gpus import one_of
from zoo.sweep.job import OUT_OF_MEMORY, Job
from zoo.sweep.process import run_apart


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def failed() -> Record:
    """The record of the run's folder, which the results have too."""
    record = Record.read(Path("run/record.json"))
    (filed,) = Path("results").rglob("*.json")
    assert Record.read(filed).reason == record.reason
    assert record.status == "failed"
    assert record.hardware is not None
    return record


@pytest.mark.parametrize(("ending", "said"), [("SIGKILL", "for want of memory"), ("SIGSEGV", "SIGSEGV")])
def test_a_process_that_dies(monkeypatch: pytest.MonkeyPatch, ending: str, said: str) -> None:
    carried_out_by(monkeypatch, f"print('loading'); print('evaluating'); os.kill(os.getpid(), signal.{ending})")
    assert run_apart(job()) == 1
    reason = failed().reason
    assert reason is not None
    assert said in reason.splitlines()[0]
    assert reason.splitlines()[1:] == ["loading", "evaluating"]


def test_a_process_that_leaves_without_a_record_by_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out_by(monkeypatch, "print('assertion failed in a library'); os._exit(134)")
    assert run_apart(job()) == 1
    record = failed()
    assert record.reason == "its process ended by exit status 134\nassertion failed in a library"
    alone = f"zoo run {ENTRY} results.dir=results device=cpu batch_size=8 data.limit=8"
    assert record.next_step == f"run `{alone}` by itself; its log is {Path('run').absolute() / 'log.txt'}"


def test_a_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out_by(monkeypatch, "subprocess.Popen(['sleep', '60']); print('slow'); time.sleep(60)")
    begun = time.monotonic()
    assert run_apart(job(timeout_min=0.01)) == 1
    assert time.monotonic() - begun < 30
    assert failed().reason == "it was not done within 0.01 minutes (sweep.timeout_min)\nslow"
    assert not [child for child in psutil.Process().children(recursive=True) if child.name() == "sleep"]


def test_too_little_memory_is_tried_again_with_half_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"print(job['overrides'][-1]); sys.exit({OUT_OF_MEMORY} * (job['config']['batch_size'] > 2))"
    carried_out_by(monkeypatch, code)
    assert run_apart(job()) == 0
    lines = Path("run/log.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("batch_size")] == ["batch_size=4", "batch_size=2"]
    assert lines[-2:] == ["too much for the memory: again with batch_size=2", "batch_size=2"]


def test_no_smaller_batch_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out_by(monkeypatch, f"print(job['config']['batch_size']); sys.exit({OUT_OF_MEMORY})")
    assert run_apart(job()) == 1
    assert Path("run/log.txt").read_text(encoding="utf-8").split("\n")[-2] == "1"


def test_a_training_keeps_the_batch_of_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out_by(monkeypatch, f"print('once'); sys.exit({OUT_OF_MEMORY})")
    training = job()
    training = Job(
        config={**training.config, "run": {**training.config["run"], "name": "train"}},
        overrides=training.overrides,
        run_dir=training.run_dir,
    )
    assert run_apart(training) == 1
    assert Path("run/log.txt").read_text(encoding="utf-8") == "once\n"


def test_ctrl_c_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out_by(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: (print('told to end'), sys.exit(1))); print('begun'); time.sleep(60)",
    )

    def interrupt() -> None:
        log = Path("run/log.txt")
        while not (log.is_file() and "begun" in log.read_text(encoding="utf-8")):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT) if os.name == "nt" else os.kill(os.getpid(), signal.SIGINT)

    # A shell in the background starts its commands with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            run_apart(job())
    finally:
        signal.signal(signal.SIGINT, before)
    assert Path("run/log.txt").read_text(encoding="utf-8") == "begun\ntold to end\n"
    assert not Path("results").exists()


def test_a_job_ends_with_its_sweep() -> None:
    """The real process of a job: the end of its input is that of the sweep."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    asked = job()
    asked = Job(config={**asked.config, "data": {**asked.config["data"], "limit": None}}, **_rest(asked))
    with subprocess.Popen(
        process.COMMAND, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write(asked.to_json() + "\n")
        child.stdin.flush()
        next(line for line in child.stderr if line.startswith("protocol"))  # it is about to compute
        child.stdin.close()
        assert child.wait(60) == 1
        assert "interrupted by SIGTERM" in child.stderr.read()
    assert json.loads(Path("run/record.json").read_text(encoding="utf-8"))["reason"] == "interrupted"


def _rest(asked: Job) -> dict[str, Any]:
    return {"overrides": asked.overrides, "run_dir": asked.run_dir}


def test_gpus_are_dealt_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5")
    with one_of([0, 1]) as first:
        with one_of([0, 1]) as second:
            assert {first, second} == {"4", "GPU-5"}
            third: list[str] = []

            def wait() -> None:
                with one_of([0, 1]) as name:
                    third.append(name)

            waiting = threading.Thread(target=wait)
            waiting.start()
            waiting.join(0.5)
            assert third == [], "both are taken"
        waiting.join(10)
        assert third == [second]


def test_a_job_with_a_gpu_of_its_own_never_falls_back_to_the_cpu() -> None:
    job = Job(config={"device": "auto", "batch_size": 2}, overrides=("batch_size=2",), run_dir="run")
    assert job.on_a_gpu() == Job(config={"device": "cuda", "batch_size": 2}, overrides=job.overrides, run_dir="run")
