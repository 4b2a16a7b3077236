"""The kinds of errors of a made-up detector: they account for every false positive."""

from __future__ import annotations

from pathlib import Path

import pytest
import scored_set

from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.errors import ERROR_KINDS, find_errors
from zoo.measure.coco_eval.evaluate import evaluate
from zoo.measure.score.results_file import read_predictions


def test_kinds_account_for_every_false_positive(tmp_path: Path) -> None:
    predictions, annotations = scored_set.write(tmp_path, scored_set.detections())
    many = CocoGroundTruth.load(annotations)
    found = read_predictions(predictions, many).columns
    errors, result = find_errors(many, found), evaluate(many, found, iou_type="bbox")
    assert errors.ap50 == pytest.approx(result.stats[1] * 100)
    assert errors.hits + sum(errors.counts[kind] for kind in ERROR_KINDS if kind != "missed") == len(found)
    assert min(errors.cost.values()) >= -1e-9
    assert result.mean_pr_curve(0.5).mean() * 100 == pytest.approx(errors.ap50)
    assert result.mean_pr_curve(0.75).mean() == pytest.approx(result.stats[2])
    assert errors.ap50_without(*ERROR_KINDS) == 100
    print(errors.counts, errors.cost)
