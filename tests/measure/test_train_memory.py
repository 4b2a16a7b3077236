"""The memory of training: what is counted, and what happens where it cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENTRY
from made_up import cell, make_entry, make_record
from subjects import SMALL, make_subject

from zoo import bench
from zoo.measure import memory, train_memory
from zoo.measure.train_memory import MEASUREMENT, WORST_STEPS, published_gigabytes
from zoo.results.diff import diff_rows, render_diff
from zoo.results.verdict import judge


def peaks(megabytes: int) -> dict[str, int]:
    return {"peak_allocated_bytes": megabytes * 2**20 + 99, "peak_reserved_bytes": 2 * megabytes * 2**20}


def test_ordinary_steps_are_taken_and_then_the_worst_batch_while_the_peak_is_watched(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    plain_step = torch.optim.SGD.step

    class Counter:
        """A device that takes 1 MB in the first step, 2 in the second and so on, and notes what happened when."""

        def __init__(self, device: torch.device) -> None:
            seen.append("begin")

        def restart(self) -> None:
            seen.append("restart")

        def result(self) -> dict[str, int]:
            seen.append("result")
            return peaks(seen.count("result"))

    def step(self: torch.optim.SGD, *arguments: Any) -> Any:
        seen.append("step")
        return plain_step(self, *arguments)

    monkeypatch.setattr(memory, "DevicePeak", Counter)
    monkeypatch.setattr(train_memory, "STEPS", 4)
    monkeypatch.setattr(torch.optim.SGD, "step", step)
    subject = make_subject(ENTRY, tiny_coco, tmp_path, SMALL)
    before = {name: tensor.clone() for name, tensor in subject.detector.state_dict().items()}
    measured = MEASUREMENT.run(subject)
    assert seen == ["begin", *["step", "result", "restart"] * (4 + WORST_STEPS)]
    assert measured == {
        "train_memory_gb": 7 / 1024,
        "train_memory": {
            "images_per_gpu": 2,
            "precision": "fp32",
            "ordinary": {
                "steps": 4,
                "largest_input": [64, 64],
                "mean_allocated_bytes": 5 * 2**19 + 99,
                **peaks(4),
            },
            "worst_batch": {"steps": WORST_STEPS, "input": [64, 64], "objects": [93, 93], **peaks(7)},
        },
    }
    trained = subject.fresh().state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in trained.items())
    measured_on = subject.detector.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in measured_on.items()), "a model of its own"
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_what_it_needs(tiny_coco: Path, tmp_path: Path) -> None:
    assert MEASUREMENT.refuses(make_subject(ENTRY, tiny_coco, tmp_path, SMALL)) == "needs a CUDA device"


@pytest.mark.parametrize(
    ("allocated", "gigabytes"),
    [(2**30, 1.0), (2**30 - 1, 1023 / 1024), (4_194_304_000, 3.90625), (0, 0.0)],  # whole MB of 2^20
)
def test_the_unit_of_the_tables(allocated: int, gigabytes: float) -> None:
    assert published_gigabytes(allocated) == gigabytes


def run(coco: Path, weights: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    sizes = ["protocol.transform.size_rule={long:128,short:96}"]
    where = [f"data.root={coco}", f"checkpoint.path={weights}", "results.dir=results", "hydra.run.dir=run"]
    status = bench.main([f"entry={ENTRY}", "device=cpu", *sizes, *where, *arguments])
    return status, json.loads(Path("run/record.json").read_text(encoding="utf-8"))


def test_on_a_cpu_the_rest_is_measured(
    tiny_coco: Path,
    faster_rcnn_pth: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])
    status, record = run(tiny_coco, faster_rcnn_pth, "measure=[complexity,train_memory]")
    assert (status, record["status"]) == (0, "measured")
    assert record["measured"]["params"] > 0
    assert record["skipped"] == {"train_memory": "train_memory needs a CUDA device"}
    assert list(record["parts"]) == ["complexity"]
    assert "warning: train_memory is not measured: train_memory needs a CUDA device" in caplog.text
    status, record = run(tiny_coco, faster_rcnn_pth, "measure=train_memory")
    assert (status, record["status"]) == (1, "blocked")
    assert record["reason"] == "train_memory needs a CUDA device"


def test_what_could_not_be_measured_is_blocked_alone() -> None:
    entry = make_entry(cell("37.4"), cell("4.0", metric="train_memory_gb", hardware="V100"))
    record = make_record(skipped={"train_memory": "needs CUDA"})
    found = judge(record, entry)
    assert [found[metric].verdict for metric in ("box_AP", "train_memory_gb")] == ["EXACT", "BLOCKED"]
    assert found["train_memory_gb"].reason == "needs CUDA"
    assert "| train_memory_gb | BLOCKED    | h200-sxm | 4.0 GB      | V100 " in render_diff(
        diff_rows([record], {"mmdet_a": entry})
    )
    record.measured = {"box_AP": 37.41, "train_memory_gb": 3.9}
    assert judge(record, entry)["train_memory_gb"].verdict == "NOT-COMPARED"
