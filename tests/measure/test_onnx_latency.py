"""Latency of an exported network: what is reported of the times, and the whole run that takes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from command_lines import last_wins

from zoo import bench
from zoo.measure.onnx_latency import onnx_latency
from zoo.run import timing
from zoo.run.onnx_export import OnnxDetector
from zoo.run.timing import PhaseTimes
from zoo.runtime.hardware import fingerprint


def test_percentiles_are_of_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def time_phases(*_: object, **options: object) -> Iterator[tuple[int, PhaseTimes]]:
        asked.update(options)
        for i, milliseconds in enumerate((10, 20, 30, 40)):
            yield i // 2, PhaseTimes(pre=0.001, model=milliseconds / 1e3, post=0.5)

    monkeypatch.setattr(timing, "time_phases", time_phases)
    detector = cast(OnnxDetector, SimpleNamespace(input_shape=(640, 640), threads=3, device=torch.device("cpu")))
    assert onnx_latency(detector, [], warmup=2, rounds=2) == {
        "onnx_latency_ms": {
            "p50": pytest.approx(25.0),
            "p95": pytest.approx(38.5),
            "phases_ms": {"pre": pytest.approx(1.0), "model": pytest.approx(25.0), "post": pytest.approx(500.0)},
            "timed": {"rounds": 2, "images": 2},
            "input": [1, 3, 640, 640],
            "cpu": fingerprint(torch.device("cpu")).device,
            "onnxruntime": version("onnxruntime"),
            "threads": 3,
        }
    }
    assert asked == {"warmup": 2, "rounds": 2, "precision": "fp32"}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["zoo.bench"])


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and record."""
    where = ["device=cpu", "measure=[onnx_latency]", "results.dir=results", "hydra.run.dir=run"]
    status = bench.main(last_wins(*where, *arguments))
    return status, json.loads(Path("run/record.json").read_text(encoding="utf-8"))


@pytest.mark.nightly
@pytest.mark.long
@pytest.mark.usefixtures("alone")
def test_a_whole_run_leaves_the_file_and_its_latency(tiny_coco: Path) -> None:
    small = ["backbone=csp_p", "protocol.transform.size_rule.long=64", "schedule.mosaic.side=64", "batch_size=2"]
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    timed = ["speed.images=2", "speed.warmup=1", "speed.rounds=3"]
    data = f"data.root={tiny_coco}"
    status, record = run(
        "entry=ultralytics_yolov8n", "run=train", "run.max_steps=1", "precision=fp32", data, *same, *small, *timed
    )
    assert (status, record["reason"]) == (0, None)
    assert Path("run/model.onnx").stat().st_size > 1_000_000
    found = record["measured"]["onnx_latency_ms"]
    assert 0 < found["p50"] <= found["p95"]
    assert found["input"] == [1, 3, 64, 64]
    assert found["timed"] == {"rounds": 3, "images": 2}
    assert found["cpu"] == record["hardware"]["cpu"]["name"]
    assert "latency_ms" not in record["measured"]
    assert record["times"]["stages"]["onnx_latency"] > 0
    assert record["verdict"]["onnx_latency_ms"]["published"] == "80.4"
    assert record["verdict"]["latency_ms"]["published"] == "0.99"


@pytest.mark.usefixtures("alone")
def test_what_cannot_be_exported_is_skipped_or_blocks(
    tiny_coco: Path, faster_rcnn_pth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = "entry=mmdet_faster_rcnn_r50_fpn_1x"
    where = [f"data.root={tiny_coco}", f"checkpoint.path={faster_rcnn_pth}", "data.limit=1"]
    small = ["protocol.transform.size_rule={long:128,short:96}"]
    status, record = run(entry, *where, *small, "measure=[accuracy,onnx_latency]")
    assert (status, record["status"]) == (0, "measured")
    assert record["skipped"]["onnx_latency"].startswith("onnx_latency needs a network that can be exported: ")
    assert list(record["parts"]) == ["accuracy"]
    capsys.readouterr()
    status, record = run(entry, *where, *small, "measure=[onnx_latency]")
    assert (status, record["status"]) == (1, "blocked")
    assert "a TwoStageDetector cannot be exported to ONNX" in record["reason"]
    assert record["measured"] == {}
    assert "next: leave onnx_latency out of measure" in capsys.readouterr().err
