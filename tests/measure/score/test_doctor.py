"""The doctor names each classic mistake, and nothing where there is none."""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_set
from scored_set import IDS, NAMES, Floats, Rows, detections, with_boxes, with_categories

from zoo.coco_tasks import TASKS
from zoo.measure.coco_eval.summary import Rounding
from zoo.measure.score.doctor import unmatched_names
from zoo.measure.score.score import Rules, Score, score_file


def score(folder: Path, rows: Any, rules: Rules | None = None) -> Score:
    return score_file(*scored_set.write(folder, rows), rules)


def said(found: Score) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.refused) for finding in found.findings]


def test_a_clean_file_has_pycocotools_numbers_and_no_finding(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = score(tmp_path, detections())
    assert said(found) == []
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "annotations.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "predictions.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = [None if value < 0 else value * 100 for value in evaluation.stats.tolist()]
    assert [found.numbers[f"box_{name}"] for name in TASKS["bbox"].stats] == expected
    assert 20 < found.numbers["box_AP"] < 60, "a fair detector"


MOVED: dict[str, tuple[str, Any]] = {
    "corners": ("xyxy", lambda corner, extent, _: (corner, corner + extent)),
    "centres": ("centre", lambda corner, extent, _: (corner + extent / 2, extent)),
    "rows before columns": ("axes", lambda corner, extent, _: (corner[::-1], extent[::-1])),
    "corners, rows first": ("axes", lambda corner, extent, _: (corner[::-1], (corner + extent)[::-1])),
    "shares": ("normalised", lambda corner, extent, size: (corner / size, extent / size)),
    "YOLO's own": ("normalised", lambda corner, extent, size: ((corner + extent / 2) / size, extent / size)),
    "stretched": ("resized", lambda corner, extent, size: (corner * 416 / size, extent * 416 / size)),
    "fitted": ("resized", lambda corner, extent, size: (corner * 640 / max(size), extent * 640 / max(size))),
    "letterboxed": ("resized", lambda corner, extent, size: _letterboxed(corner, extent, size, 640)),
    "short side": ("resized", lambda corner, extent, size: _by_short_side(corner, extent, size)),
    "any factor": ("resized", lambda corner, extent, _: (corner * 0.8, extent * 0.8)),
}


def _letterboxed(corner: Floats, extent: Floats, size: Floats, side: int) -> tuple[Floats, Floats]:
    factor = side / max(size)
    return corner * factor + (side - size * factor) / 2, extent * factor


def _by_short_side(corner: Floats, extent: Floats, size: Floats) -> tuple[Floats, Floats]:
    factor = min(800 / min(size), 1333 / max(size))
    return corner * factor, extent * factor


@pytest.mark.parametrize("mistake", MOVED)
def test_boxes_that_are_written_otherwise_are_refused(mistake: str, tmp_path: Path) -> None:
    kind, change = MOVED[mistake]
    found = score(tmp_path, with_boxes(change))
    assert said(found)[0] == (kind, True)
    assert not found.numbers
    assert {refused for _, refused in said(found)} == {True}, "what follows from it is not said as well"


def test_a_resize_that_leaves_most_images_alone_is_refused(tmp_path: Path) -> None:
    """Three images in four are as large as what the detector gets: fitted into that, their boxes stay."""
    document = json.loads(json.dumps(scored_set.truth()))
    for image in document["images"]:
        if image["id"] % 4:
            image["width"] = image["height"] = 1024
    sizes = {image["id"]: max(image["width"], image["height"]) for image in document["images"]}
    rows = detections()
    for row in rows:
        row["bbox"] = [side * 1024 / sizes[row["image_id"]] for side in row["bbox"]]
    predictions, truth = scored_set.write(tmp_path, rows)
    truth.write_text(json.dumps(document))
    assert ("resized", True) in said(score_file(predictions, truth))


SHIFTED: dict[str, Any] = {
    "from 0": lambda category: category - 1,
    "one too many": lambda category: category + 1,
    "positions from 0": lambda category: IDS.index(category),
    "positions from 1": lambda category: IDS.index(category) + 1,
    "another order": lambda category: IDS[(3 * IDS.index(category) + 2) % len(IDS)],
}


@pytest.mark.parametrize("shift", SHIFTED)
def test_category_ids_that_mean_others_are_refused(shift: str, tmp_path: Path) -> None:
    found = score(tmp_path, with_categories(SHIFTED[shift]))
    assert said(found)[0] == ("label shift", True)
    assert not found.numbers


def test_names_count_before_ids(tmp_path: Path) -> None:
    names = dict(zip(IDS, NAMES, strict=True))
    clean = score(tmp_path, detections()).numbers
    named = [{**row, "category_name": names[row["category_id"]], "category_id": 0} for row in detections()]
    found = score(tmp_path, named)
    assert said(found) == [("ids beside names", False)]
    assert found.numbers == clean
    strange = [{**row, "category_name": names[row["category_id"]].replace("couch", "sofa")} for row in detections()]
    found = score(tmp_path, strange)
    assert said(found)[0] == ("names", True)
    assert "sofa" in found.findings[0].message


def test_an_entry_whose_classes_are_called_otherwise_is_refused(tmp_path: Path) -> None:
    rules = Rules(classes=tuple("motorbike" if name == "motorcycle" else name for name in NAMES))
    found = score(tmp_path, detections(), rules)
    assert said(found) == [("names", True)]
    assert "'motorcycle' is 'motorbike' to the model" in found.findings[0].message


@pytest.mark.parametrize(
    ("model", "annotated", "refused"),
    [
        (("cat", "dog"), ("cat", "dog"), False),
        (("cat", "dog"), ("cat", "forklift"), False),
        (("cat", "dog"), ("forklift", "pallet"), True),
        (("cat", "traffic light"), ("cat", "Traffic_Light"), True),
        (("person", "airplane"), ("person", "aeroplane"), True),
    ],
)
def test_two_class_lists(model: tuple[str, ...], annotated: tuple[str, ...], refused: bool) -> None:
    assert (unmatched_names(model, annotated) is not None) is refused


def test_an_entry_is_scored_by_its_classes_and_rounding(tmp_path: Path) -> None:
    whole = score(tmp_path, detections())
    part = score(tmp_path, detections(), Rules(classes=("dog", "cat", "zebra"), rounding=Rounding(box=1, score=2)))
    per_class = part.numbers["per_class"]["box_AP"]
    assert list(per_class) == ["cat", "dog"]
    assert part.classes == 2
    assert per_class["cat"] == pytest.approx(whole.numbers["per_class"]["box_AP"]["cat"], abs=2)
    assert per_class["cat"] != whole.numbers["per_class"]["box_AP"]["cat"], "rounded"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["score", "bbox"])
def test_numbers_that_are_not_finite_are_refused(value: float, key: str, tmp_path: Path) -> None:
    rows = detections()
    rows[7][key] = value if key == "score" else [1.0, 2.0, value, 4.0]
    found = score(tmp_path, rows)
    assert said(found) == [("NaN", True)]
    assert "position 7" in found.findings[0].message


def test_negative_sizes_are_refused(tmp_path: Path) -> None:
    rows = detections()
    rows[3]["bbox"][2] = -4.0
    assert said(score(tmp_path, rows)) == [("negative size", True)]


def test_a_threshold_is_a_warning(tmp_path: Path) -> None:
    found = score(tmp_path, [row for row in detections() if row["score"] >= 0.3])
    assert said(found) == [("threshold", False)]
    assert found.numbers["box_AP"] > 0


def test_a_cap_is_a_warning_and_no_threshold(tmp_path: Path) -> None:
    found = score(tmp_path, _best(5))
    assert said(found) == [("cap", False)]
    assert "exactly 5 detections" in found.findings[0].message


def _best(limit: int) -> Rows:
    taken: Counter[int] = Counter()
    kept = []
    for row in sorted(detections(), key=lambda row: -row["score"]):
        taken[row["image_id"]] += 1
        if taken[row["image_id"]] <= limit:
            kept.append(row)
    return kept


def test_doubles_are_a_warning(tmp_path: Path) -> None:
    found = score(tmp_path, [*detections(), *detections()[:9]])
    assert said(found) == [("doubles", False)]
    assert found.findings[0].message.startswith("9 of ")


def test_boxes_outside_are_a_warning(tmp_path: Path) -> None:
    rows = detections()
    for row in rows[:6]:
        row["bbox"][0] += 800
    found = score(tmp_path, rows)
    assert said(found) == [("outside", False)]
    assert found.findings[0].message.startswith("6 of ")


def test_some_unknown_images_are_left_out_and_all_are_refused(tmp_path: Path) -> None:
    clean = score(tmp_path, detections()).numbers
    strangers = [{**row, "image_id": 10_000} for row in detections()[:5]]
    found = score(tmp_path, [*detections(), *strangers])
    assert said(found) == [("unknown images", False)]
    assert found.numbers == clean
    found = score(tmp_path, [{**row, "image_id": row["image_id"] + 10_000} for row in detections()])
    assert said(found) == [("unknown images", True)]


def test_unknown_categories(tmp_path: Path) -> None:
    clean = score(tmp_path, detections()).numbers
    strangers = [{**row, "category_id": 77} for row in detections()[:5]]
    found = score(tmp_path, [*detections(), *strangers])
    assert said(found) == [("unknown categories", False)]
    assert found.numbers == clean
    far = np.random.default_rng(0)
    found = score(tmp_path, with_categories(lambda _: int(far.integers(500, 600))))
    assert said(found) == [("names", True)]


def test_images_without_detections_are_a_warning(tmp_path: Path) -> None:
    found = score(tmp_path, [row for row in detections() if row["image_id"] <= 30])
    assert said(found) == [("images without detections", False)]


def test_no_detection_at_all_is_a_warning(tmp_path: Path) -> None:
    found = score(tmp_path, [])
    assert said(found) == [("empty", False)]
    assert found.numbers["box_AP"] == 0


def test_a_detector_of_chance_is_refused_nothing(tmp_path: Path) -> None:
    """No reading is clearly better where none is any good."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        rows = with_boxes(lambda _, __, size: (rng.uniform(0, 0.5, 2) * size, rng.uniform(0.1, 0.5, 2) * size))
        rows = [{**row, "category_id": int(rng.choice(IDS))} for row in rows]
        assert not any(refused for _, refused in said(score(tmp_path, rows)))
