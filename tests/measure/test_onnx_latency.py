"""Latency of an exported network: what is reported of the times, and the whole run that takes them."""

from __future__ import annotations

import json
import sys
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
from zoo.run.warm_up import WarmUpRule
from zoo.runtime.hardware import fingerprint


def test_percentiles_are_of_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = iter(range(1, 21))  # milliseconds of ten rounds of two images
    asked = []

    def time_phases(_: object, sample: object, precision: str) -> PhaseTimes:
        asked.append((sample, precision))
        return PhaseTimes(pre=0.001, model=next(networks) / 1e3, post=0.5)

    def time_image(_: object, sample: object, precision: str) -> float:
        warmed.append((sample, precision))
        return 1.0

    warmed: list[object] = []
    monkeypatch.setattr(timing, "time_phases", time_phases)
    monkeypatch.setattr(timing, "time_image", time_image)
    samples: Any = ["a", "b"]
    detector = cast(OnnxDetector, SimpleNamespace(input_shape=(640, 640), threads=3, device=torch.device("cpu")))
    rule = WarmUpRule(window=2, tolerance=None, most=2)
    assert onnx_latency(detector, samples, rule=rule, rounds=10) == {
        "onnx_latency_ms": {
            "p50": pytest.approx(10.5),
            "p90": pytest.approx(18.1),
            "p95": pytest.approx(19.05),
            "p99": None,
            "n": 20,
            "phases_ms": {"pre": pytest.approx(1.0), "model": pytest.approx(10.5), "post": pytest.approx(500.0)},
            "timed": {"rounds": 10, "images": 2},
            "input": [1, 3, 640, 640],
            "cpu": fingerprint(torch.device("cpu")).device,
            "onnxruntime": version("onnxruntime"),
            "threads": 3,
        }
    }
    assert asked == [("a", "fp32"), ("b", "fp32")] * 10
    assert warmed == [("a", "fp32"), ("a", "fp32"), ("b", "fp32")]


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
    assert found["p50"] > 0
    assert (found["n"], found["p95"]) == (6, None), "of six times"
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
