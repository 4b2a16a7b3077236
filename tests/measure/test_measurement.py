"""Measurements as values: read without torch, found by their file, and true to what they announce."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from made_up import cell, make_entry, make_record
from person_keypoints import find_keypoints
from subjects import make_subject

import zoo.measure
from zoo.errors import UsageError
from zoo.measure import memory, train_memory
from zoo.measure.measurement import Measurement, measurement, measurements, metrics
from zoo.results.outcome import add_part
from zoo.results.record import Record
from zoo.results.table import frame
from zoo.train import worst_batch

NAMES = ["accuracy", "noise", "speed", "memory", "complexity", "onnx_latency", "train_memory"]
QUICK = ("speed.images=1", "speed.warmup=0")


def test_the_registry_is_read_without_torch() -> None:
    code = """
import sys
from zoo.measure.measurement import measurements, metrics
print(*measurements())
print(*metrics())
print(*[name for name in ("torch", "torchvision", "hydra", "cv2", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, published, heavy = done.stdout.split("\n")[:3]
    assert names.split() == NAMES, "in the order of a run"
    assert published.split() == list(metrics())
    assert heavy == ""


def test_every_measurement_says_what_it_is() -> None:
    assert [item.name for item in measurements().values()] == list(measurements()) == NAMES
    assert all(item.about and not item.about.endswith(".") for item in measurements().values())
    assert len({item.order for item in measurements().values()}) == len(NAMES)
    columns = [column.name for item in measurements().values() for column in item.columns]
    assert len(set(columns)) == len(columns)
    assert {name: item.version for name, item in measurements().items()} == {
        "accuracy": None,  # that of the protocol
        "noise": 1,
        "speed": 2,
        "memory": 2,
        "complexity": 1,
        "onnx_latency": 1,
        "train_memory": 2,
    }


def test_where_published_numbers_are_measured() -> None:
    assert {metric: (name, place.key) for metric, (name, place) in metrics().items()} == {
        "box_AP": ("accuracy", "box_AP"),
        "box_AP50": ("accuracy", "box_AP50"),
        "box_AP75": ("accuracy", "box_AP75"),
        "mask_AP": ("accuracy", "mask_AP"),
        "mask_AP50": ("accuracy", "mask_AP50"),
        "mask_AP75": ("accuracy", "mask_AP75"),
        "keypoint_AP": ("accuracy", "keypoint_AP"),
        "keypoint_AP50": ("accuracy", "keypoint_AP50"),
        "keypoint_AP75": ("accuracy", "keypoint_AP75"),
        "fps": ("speed", "fps"),
        "latency_ms": ("speed", "latency_ms.p50"),
        "params_m": ("complexity", "params"),
        "flops_b": ("complexity", "macs"),
        "params": ("complexity", "params"),
        "gmacs": ("complexity", "macs"),
        "onnx_latency_ms": ("onnx_latency", "onnx_latency_ms.p50"),
        "train_memory_gb": ("train_memory", "train_memory_gb"),
        "train_memory_mb": ("train_memory", "train_memory_gb"),
    }
    bound = {metric for metric, (_, place) in metrics().items() if place.hardware_bound}
    assert bound == {"fps", "latency_ms", "onnx_latency_ms", "train_memory_gb", "train_memory_mb"}


def test_an_unknown_name_names_the_closest() -> None:
    assert measurement("speed").name == "speed"
    with pytest.raises(UsageError, match=r"measure: no 'sped' \(closest: speed") as caught:
        measurement("sped")
    assert caught.value.next_step == f"choose one of {', '.join(NAMES)}"


# --- what a run gives -----------------------------------------------------------------------------

ENTRIES = dict.fromkeys(NAMES, "shapes_mask_rcnn_r10_fpn") | {"onnx_latency": "shapes_yolov8_p"}
"""Measurement -> an entry that has all of its numbers."""


DEAR = {"onnx_latency"}
"""Measured in a file of its own as well."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.nightly if n in DEAR else ()) for n in NAMES])
def test_what_is_announced_is_given(
    few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class NoDevice:
        def __init__(self, _: object) -> None:
            pass

        def restart(self) -> None:
            pass

        def result(self) -> dict[str, int]:
            return {"peak_allocated_bytes": 2**30, "peak_reserved_bytes": 2**31}

    if name == "train_memory":  # which watches a GPU
        monkeypatch.setattr(memory, "DevicePeak", NoDevice)
        monkeypatch.setattr(train_memory, "STEPS", 1)
        monkeypatch.setattr(train_memory, "WORST_STEPS", 1)
        monkeypatch.setattr(worst_batch, "RATIOS", (1.0,))
    asked = measurement(name)
    subject = make_subject(ENTRIES[name], few_shapes, tmp_path, QUICK)
    values = asked.run(find_keypoints(subject) if name == "accuracy" else subject)
    measured = list(_dotted(values))
    for metric, place in asked.metrics.items():
        assert place.key in measured, metric
    for column in asked.columns:
        if column.published:
            assert set(column.keys) <= asked.metrics.keys(), column.name
        else:
            assert set(column.keys) & set(measured), column.name
    if asked.count is not None:
        assert asked.count in measured
    record = make_record(measured={})
    add_part(record, asked, values)
    assert record.parts[name].values == list(values)
    assert record.parts[name].images == (None if asked.count is None else 1)
    assert Record.from_json(record.to_json(), where="record").measured == values


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def test_accuracy_leaves_predictions_and_the_others_nothing(few_shapes: Path, tmp_path: Path) -> None:
    for name, left in (("complexity", []), ("accuracy", ["predictions.json"])):
        measurement(name).run(make_subject(ENTRIES[name], few_shapes, tmp_path, QUICK))
        assert [path.name for path in tmp_path.iterdir()] == left


# --- one more -------------------------------------------------------------------------------------

EXAMPLE = """
from zoo.measure.measurement import Column, Measurement

MEASUREMENT = Measurement(
    name="energy",
    about="energy of one image",
    order=14,
    version=1,
    run=lambda subject: {"energy_j": 0.25 * len(subject.dataset)},
    columns=(Column(name="energy", keys=("energy_j",), decimals=3),),
)
"""


@pytest.fixture
def energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Measurement]:
    """A measurement that lies in one file of its own, and nowhere else."""
    (tmp_path / "energy.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.setattr(zoo.measure, "__path__", [*zoo.measure.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "zoo.measure.energy", raising=False)
    for cached in (measurements, metrics):
        cached.cache_clear()
    yield measurement("energy")
    sys.modules.pop("zoo.measure.energy", None)
    for cached in (measurements, metrics):
        cached.cache_clear()


def test_a_file_is_all_that_a_measurement_needs(energy: Measurement, few_shapes: Path, tmp_path: Path) -> None:
    assert list(measurements())[:3] == ["accuracy", "energy", "noise"]
    values = energy.run(make_subject("shapes_retinanet_r10_fpn", few_shapes, tmp_path))
    assert values == {"energy_j": 1.0}
    (row,) = frame([make_record(measured=values)], {"mmdet_a": make_entry(cell("37.4"))}).to_dict("records")
    assert row["energy"] == "1.000"


def test_it_is_gone_again() -> None:
    assert list(measurements()) == NAMES
