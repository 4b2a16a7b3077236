"""The accuracy metric: from detections as models give them to points, and to COCO's results file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from zoo.data.coco import CocoGroundTruth
from zoo.data.detections import Detections
from zoo.errors import DataError, UsageError, ZooError
from zoo.measure.coco_eval.metric import Accuracy
from zoo.measure.coco_eval.summary import Rounding
from zoo.models.boxes import BoxConvention
from zoo.types import Evaluator, Rle


def square_mask(left: int, top: int, side: int) -> Rle:
    bitmap = np.zeros((100, 100), dtype=np.uint8, order="F")
    bitmap[top : top + side, left : left + side] = 1
    encoded: Any = coco_mask.encode(bitmap)
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


CLASSES = ["cat", "bird", "dog"]


@pytest.fixture
def ground_truth(tmp_path: Path) -> CocoGroundTruth:
    return make_ground_truth(tmp_path, cat=1, bird=3, dog=7)


def make_ground_truth(folder: Path, **ids: int) -> CocoGroundTruth:
    """Two images; a cat (32 x 32) in the first, two dogs (10 x 10, 40 x 40) in the second, no bird.

    Args:
        ids: of the categories, in the order of the file.
    """
    boxes = [(10, "cat", [0, 0, 32, 32]), (20, "dog", [0, 0, 10, 10]), (20, "dog", [50, 50, 40, 40])]
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 100} for i in (20, 10)],
        "categories": [{"id": i, "name": name} for name, i in ids.items()],
        "annotations": [
            {
                "id": position + 1,
                "image_id": image,
                "category_id": ids[category],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": square_mask(box[0], box[1], box[2]),
            }
            for position, (image, category, box) in enumerate(boxes)
        ],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return CocoGroundTruth.load(path).with_categories(CLASSES)


def found(boxes: Any, scores: Any, labels: Any, masks: list[Rle] | None = None) -> Detections:
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
    )


def feed(metric: Accuracy) -> None:
    """The cat and the large dog are found, the small dog is not."""
    cat = found([[0, 0, 32, 32]], [0.9], [0], [square_mask(0, 0, 32)])
    dogs = found(
        [[50, 50, 90, 90], [0, 60, 9, 70]], [0.8, 0.3], [2, 1], [square_mask(50, 50, 40), square_mask(0, 60, 9)]
    )
    metric.update([10, 20], [cat, dogs])


@pytest.mark.parametrize("evaluator", ["vectorized", "pycocotools"])
def test_points_by_hand(ground_truth: CocoGroundTruth, evaluator: Evaluator) -> None:
    metric = Accuracy(ground_truth, evaluator=evaluator, iou_types=("bbox", "segm"))
    feed(metric)
    result = metric.result()
    half = 51 / 101 * 100  # one of two dogs: precision 1 at 51 of 101 recalls
    for prefix in ("box", "mask"):
        assert result["per_class"][f"{prefix}_AP"] == {
            "cat": pytest.approx(100),
            "bird": None,
            "dog": pytest.approx(half),
        }
        assert result[f"{prefix}_AP"] == result[f"{prefix}_AP50"] == pytest.approx((100 + half) / 2)
        assert result[f"{prefix}_AR_100"] == pytest.approx(75)
        assert result[f"{prefix}_AP_small"] == pytest.approx(50)  # the cat, 32 x 32, is small and medium
        assert result[f"{prefix}_AR_medium"] == pytest.approx(100)
        assert result[f"{prefix}_AP_large"] is None
    assert len(result) == 2 * 12 + 1
    json.dumps(result)  # plain numbers throughout


@pytest.mark.parametrize("evaluator", ["vectorized", "pycocotools"])
def test_the_ids_of_categories_do_not_matter(tmp_path: Path, evaluator: Evaluator) -> None:
    results = []
    for ids in ({"cat": 1, "bird": 3, "dog": 7}, {"dog": 3, "cat": 2, "bird": 1}, {"cat": 90, "bird": 5, "dog": 1}):
        metric = Accuracy(make_ground_truth(tmp_path, **ids), evaluator=evaluator, iou_types=("bbox", "segm"))
        feed(metric)
        assert metric.columns().category_id.tolist() == [ids["cat"], ids["dog"], ids["bird"]]
        results.append(metric.result())
    assert results[1] == results[2] == results[0]
    assert results[0]["per_class"]["box_AP"]["cat"] == pytest.approx(100)
    assert results[0]["per_class"]["box_AP"]["dog"] == pytest.approx(51 / 101 * 100)


def test_both_evaluators_give_the_same_dictionary(ground_truth: CocoGroundTruth) -> None:
    ours = Accuracy(ground_truth, iou_types=("bbox", "segm"))
    theirs = Accuracy(ground_truth, evaluator="pycocotools", iou_types=("bbox", "segm"))
    rng = np.random.default_rng(0)
    for image_id in (10, 20):
        corner, extent = rng.uniform(0, 60, (40, 2)), rng.uniform(5, 40, (40, 2))
        masks = [square_mask(int(x), int(y), int(w)) for (x, y), (w, _) in zip(corner, extent, strict=True)]
        boxes = np.concatenate([corner, corner + extent], axis=1)
        detections = found(boxes, rng.random(40), rng.integers(0, 3, 40), masks)
        ours.update([image_id], [detections])
        theirs.update([image_id], [detections])
    assert ours.result() == theirs.result()


def test_without_detections(ground_truth: CocoGroundTruth) -> None:
    metric = Accuracy(ground_truth)
    metric.update([10], [found([], [], [])])
    assert metric.result()["box_AP"] == 0
    assert metric.result() == Accuracy(ground_truth, evaluator="pycocotools").result()


def test_reset_forgets(ground_truth: CocoGroundTruth) -> None:
    metric = Accuracy(ground_truth)
    feed(metric)
    metric.reset()
    assert len(metric.columns()) == 0


def test_extent_is_a_float32_difference(ground_truth: CocoGroundTruth) -> None:
    metric, inclusive = Accuracy(ground_truth), Accuracy(ground_truth, convention=BoxConvention(inclusive=True))
    x1, x2 = np.float32(0.1), np.float32(70.3)
    for each in (metric, inclusive):
        each.update([10], [found([[x1, x1, x2, x2]], [0.7], [2])])
    columns = metric.columns()
    assert columns.category_id.tolist() == [7]
    assert columns.score.tolist() == [float(np.float32(0.7))]
    assert columns.bbox.tolist() == [[float(x1), float(x1), float(x2 - x1), float(x2 - x1)]]
    assert columns.bbox[0, 2] != float(x2) - float(x1)
    assert inclusive.columns().bbox[0, 2] == float(x2 - x1 + np.float32(1))


def test_half_precision_is_taken(ground_truth: CocoGroundTruth) -> None:
    metric = Accuracy(ground_truth)
    detections = found([[0, 0, 32, 32]], [0.5], [0])
    detections.boxes, detections.scores = detections.boxes.bfloat16(), detections.scores.half()
    metric.update([10], [detections])
    assert metric.result()["per_class"]["box_AP"]["cat"] == pytest.approx(100)


def test_predictions_read_back_to_the_same_result(ground_truth: CocoGroundTruth, tmp_path: Path) -> None:
    metric = Accuracy(ground_truth, iou_types=("bbox", "segm"))
    feed(metric)
    path = tmp_path / "run" / "predictions.json"
    metric.write_predictions(path)
    rows = json.loads(path.read_text())
    columns = metric.columns()
    assert [list(row) for row in rows] == [["image_id", "category_id", "bbox", "score", "segmentation"]] * 3
    assert [row["bbox"] for row in rows] == columns.bbox.tolist()
    assert [row["score"] for row in rows] == columns.score.tolist()
    assert [row["segmentation"] for row in rows] == columns.segmentation
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(10, 1), (20, 7), (20, 3)]
    assert list(path.parent.iterdir()) == [path]


def test_predictions_of_nothing_and_of_many(ground_truth: CocoGroundTruth, tmp_path: Path) -> None:
    metric = Accuracy(ground_truth)
    path = tmp_path / "predictions.json"
    metric.write_predictions(path)
    assert json.loads(path.read_text()) == []
    many = 20_000
    metric.update([10], [found(np.tile([0, 0, 1, 1], (many, 1)), np.linspace(0, 1, many), np.zeros(many))])
    metric.write_predictions(path)
    rows = json.loads(path.read_text())
    assert [row["score"] for row in rows] == metric.columns().score.tolist()
    assert "segmentation" not in rows[0]


def test_a_folder_that_cannot_be_written_to(ground_truth: CocoGroundTruth, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot write"):
        Accuracy(ground_truth).write_predictions(tmp_path / "file" / "predictions.json")


def test_errors_teach(ground_truth: CocoGroundTruth) -> None:
    with pytest.raises(DataError, match="labels 0 to 80, but the annotations have 3 classes"):
        Accuracy(ground_truth).update([10], [found([[0, 0, 1, 1]] * 2, [0.5, 0.4], [0, 80])])
    with pytest.raises(ZooError, match="image 10 has 1 detections and 0 masks"):
        Accuracy(ground_truth, iou_types=("segm",)).update([10], [found([[0, 0, 1, 1]], [0.5], [0])])
    with pytest.raises(UsageError, match="no evaluator 'colums'") as raised:
        Accuracy(ground_truth, evaluator="colums")  # type: ignore[arg-type]
    assert "vectorized" in raised.value.next_step


def test_rounding_is_of_what_is_evaluated_not_of_what_is_written(ground_truth: CocoGroundTruth, tmp_path: Path) -> None:
    # A wrong box just behind the right one: with five decimals they tie, and the one that came first wins.
    cats = found([[50, 50, 82, 82], [0.0004, 0, 32, 32]], [0.900001, 0.900004], [0, 0])
    written, points = [], []
    for rounding in (None, Rounding(box=3, score=5)):
        metric = Accuracy(ground_truth, rounding=rounding)
        metric.update([10], [cats])
        metric.write_predictions(tmp_path / "predictions.json")
        written.append((tmp_path / "predictions.json").read_bytes())
        points.append(metric.result()["per_class"]["box_AP"]["cat"])
    assert written[0] == written[1]
    assert points == pytest.approx([100.0, 50.0])


@pytest.mark.parametrize(("rounding", "expected"), [(None, 0.0), (Rounding(box=3, score=5), 10.0)])
def test_boxes_and_scores_have_decimals_of_their_own(
    ground_truth: CocoGroundTruth, rounding: Rounding | None, expected: float
) -> None:
    # A little less than half of the cat; with three decimals it is half, and counts at the lowest of ten thresholds.
    metric = Accuracy(ground_truth, rounding=rounding)
    metric.update([10], [found([[0, 0, 32, 15.9996]], [0.9], [0])])
    assert metric.result()["per_class"]["box_AP"]["cat"] == pytest.approx(expected)


def test_rounding_is_that_of_decimal_text() -> None:
    numbers = np.random.default_rng(0).uniform(0, 640, 20_000).astype(np.float32).astype(np.float64)
    scores = numbers / 640
    scores = scores.astype(np.float32).astype(np.float64)
    assert numbers.round(3).tolist() == [round(number, 3) for number in numbers.tolist()]
    assert scores.round(5).tolist() == [round(score, 5) for score in scores.tolist()]
