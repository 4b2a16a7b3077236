"""The noise floor: evaluations that must agree, and how far they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENTRY
from subjects import SMALL, make_subject

from zoo.config.compose import compose
from zoo.measure import accuracy
from zoo.measure.noise import MEASUREMENT


def one_dnn() -> bool:
    return bool(torch._C._get_mkldnn_enabled())


def test_the_floor_is_the_largest_difference_of_two_runs(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    numbers = iter(({"box_AP": 37.4, "box_AP50": 58.0, "box_AP_small": None}, {"box_AP": 37.41, "box_AP50": 58.0}) * 3)

    class Metric:
        def result(self) -> dict[str, Any]:
            return {"box_AP_small": None, "per_class": {}, **next(numbers)}

    def evaluated(_subject: Any) -> Metric:
        seen.append((torch.get_num_threads(), one_dnn()))
        return Metric()

    monkeypatch.setattr(accuracy, "evaluated", evaluated)
    before = torch.get_num_threads(), one_dnn()
    found: Any = MEASUREMENT.run(make_subject(ENTRY, tiny_coco, tmp_path, SMALL))["noise"]
    assert found["floor"] == {"box_AP": pytest.approx(0.01), "box_AP50": 0.0}
    assert seen[:2] == [before, before], "the first two are equal in everything"
    assert {threads for threads, _ in seen} >= {1, 2}
    assert seen[-1] == (before[0], False)
    assert (torch.get_num_threads(), one_dnn()) == before
    assert [run["how"] for run in found["runs"]][:2] == ["as evaluated", "repeated"]
    assert found["runs"][0]["box_AP"] == 37.4


def test_a_detector_is_really_evaluated_each_time(tiny_coco: Path, tmp_path: Path) -> None:
    found: Any = MEASUREMENT.run(make_subject(ENTRY, tiny_coco, tmp_path, SMALL))["noise"]
    aps = [run["box_AP"] for run in found["runs"]]
    assert len(aps) >= 3
    assert found["floor"]["box_AP"] == max(aps) - min(aps)


def test_the_run_mode_measures_nothing_else_unless_asked() -> None:
    assert compose(ENTRY, ["run=noise"])["measure"] == ["noise"]
    assert compose(ENTRY, ["run=noise"])["run"] == compose(ENTRY)["run"], "published weights, evaluated"
    assert compose(ENTRY, ["run=noise", "measure=[noise,accuracy]"])["measure"] == ["noise", "accuracy"]
    assert "noise" not in compose(ENTRY)["measure"]
