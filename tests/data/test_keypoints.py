"""Keypoints of annotations: how they are read, what is refused, and the data set of COCO's persons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from zoo.config.build import open_data
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.data import dataset
from zoo.data.coco import CocoGroundTruth
from zoo.data.keypoints import FLIP_PAIRS, KEYPOINT_NAMES, SKELETON, flipped_order
from zoo.data.splits import Split
from zoo.errors import DataError

POINTS = [number for i in range(17) for number in (i, i + 0.5, 2 if i % 3 else 0)]


def document(*annotations: dict[str, Any], **category: Any) -> dict[str, Any]:
    """One image and annotations of it, with `category` in that of persons."""
    row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "1.png", "height": 30, "width": 40}],
        "categories": [{"id": 1, "name": "person", **category}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": i, **row, **more} for i, more in enumerate(annotations, 1)],
    }


def load(folder: Path, *annotations: dict[str, Any], **category: Any) -> CocoGroundTruth:
    (folder / "a.json").write_text(json.dumps(document(*annotations, **category)), encoding="utf-8")
    return CocoGroundTruth.load(folder / "a.json")


def test_keypoints_are_read_with_their_count(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"keypoints": POINTS, "num_keypoints": 11}, {"keypoints": POINTS}, {"category_id": 2}]
    truth = load(tmp_path, *rows, keypoints=list(KEYPOINT_NAMES))
    assert truth.keypoints is not None
    assert truth.num_keypoints is not None
    assert truth.keypoints.shape == (3, 17, 3)
    assert truth.keypoints[0].ravel().tolist() == POINTS
    assert not truth.keypoints[2].any()
    assert truth.num_keypoints.tolist() == [11, 11, 0], "as the file says, or as many as are labelled"
    assert truth.keypoint_names == KEYPOINT_NAMES
    assert truth.has_person_keypoints
    persons = truth.with_categories(["person"])
    assert persons.require_keypoints().shape == (2, 17, 3)
    assert truth.uncounted("keypoints").tolist() == [False, False, True]
    assert not truth.uncounted("bbox").any()


def test_annotations_without_keypoints_have_none(tmp_path: Path) -> None:
    truth = load(tmp_path, {}, {"keypoints": []})
    assert (truth.keypoints, truth.num_keypoints, truth.has_person_keypoints) == (None, None, False)
    assert not truth.uncounted("keypoints").any()
    with pytest.raises(DataError, match="no keypoints"):
        truth.require_keypoints()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"keypoints": [1, 2]}, "annotation 2 whose 'keypoints' is not a list of x, y, visibility"),
        ({"keypoints": "none"}, "annotation 2 whose 'keypoints' is not a list"),
        ({"keypoints": [*POINTS[:-1], "2"]}, "annotation 2 whose 'keypoints' has something that is no number"),
        ({"keypoints": [*POINTS[:-1], float("nan")]}, "no number within an image's reach"),
        ({"keypoints": [2e9, *POINTS[1:]]}, "no number within an image's reach"),
        ({"keypoints": POINTS, "num_keypoints": -1}, "annotation 2 whose 'num_keypoints' is no number of keypoints"),
        ({"keypoints": POINTS, "num_keypoints": 1.5}, "num_keypoints"),
    ],
)
def test_what_is_no_keypoints(row: dict[str, Any], fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=fault):
        load(tmp_path, {"keypoints": POINTS}, row)


def test_keypoints_of_different_numbers_are_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = load(tmp_path, {"keypoints": POINTS}, {"keypoints": POINTS[:12]})
    assert truth.keypoints is None
    assert "annotations have 4 or 17 keypoints" in caplog.text


def test_a_flip_exchanges_left_and_right() -> None:
    assert [(KEYPOINT_NAMES[a], KEYPOINT_NAMES[b]) for a, b in FLIP_PAIRS][:2] == [
        ("left_eye", "right_eye"),
        ("left_ear", "right_ear"),
    ]
    assert flipped_order(17) == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    with pytest.raises(ValueError, match="5 keypoints"):
        flipped_order(5)
    assert len({*map(frozenset, SKELETON)}) == 19


@pytest.fixture
def persons(tmp_path: Path) -> Path:
    """A folder in COCO's layout with an image of a person."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    cv2.imwrite(str(tmp_path / "val2017" / "1.png"), np.zeros((30, 40, 3), dtype=np.uint8))
    file = tmp_path / "annotations" / "person_keypoints_val2017.json"
    file.write_text(json.dumps(document({"keypoints": POINTS})), encoding="utf-8")
    return tmp_path


def opened(folder: Path, overrides: list[str]) -> Split:
    config = compose("shapes_retinanet_r10_fpn", ["data=coco2017_keypoints", *overrides])
    settings = RunSettings.from_config(config, overrides=(), run_dir=folder, default_results=folder)
    return open_data(settings.asked.data, ("person",))


def test_cocos_persons_are_known_in_the_cache(persons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "fetch_coco", lambda split: persons if split == "val2017" else None)
    split = opened(persons, [])
    assert (split.known, split.partial, split.ground_truth.category_names) == (True, True, ["person"])
    assert split.ground_truth.require_keypoints().shape == (1, 17, 3)


def test_cocos_persons_of_another_folder_are_not_taken_for_them(
    persons: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = opened(persons, [f"data.root={persons}"])
    assert not split.known
    assert "may be another file than that of coco2017_keypoints val2017: its hash is on no record" in str(
        split.difference
    )
    assert "may be another file" in caplog.text


def test_lists_of_points_are_no_list_of_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotation 1 whose 'keypoints' has something that is no number"):
        load(tmp_path, {"keypoints": [[1, 2, 2], [3, 4, 2], [5, 6, 2]]})
