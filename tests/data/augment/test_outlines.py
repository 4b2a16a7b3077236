"""Outlines of objects as Ultralytics' label files hold them, on polygons that can be drawn on paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data.augment import ultralytics
from zoo.data.augment.labels import Objects
from zoo.data.augment.outlines import POINTS, fill_outlines, merge_parts, resample
from zoo.data.coco import CocoGroundTruth

SQUARE = [0.0, 0, 4, 0, 4, 4, 0, 4]


def points(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, dtype=np.float64)


def read(folder: Path, *objects: dict[str, Any], size: tuple[int, int] = (10, 20)) -> Objects:
    """What is read of one image of (height, width) with these annotations."""
    rows = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0, **given}
        for i, given in enumerate(objects, start=1)
    ]
    image = {"id": 1, "file_name": "1.png", "height": size[0], "width": size[1]}
    categories = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": [image], "categories": categories, "annotations": rows}), encoding="utf-8")
    truth = CocoGroundTruth.load(path)
    return ultralytics.LABELS.read(truth, 0, np.flatnonzero(ultralytics.LABELS.select_objects(truth)))


def test_a_box_is_the_extent_of_its_outline(tmp_path: Path) -> None:
    labels = read(tmp_path, {"segmentation": [[1, 2, 5, 2, 5, 8]], "bbox": [0, 0, 9, 9], "category_id": 2})
    assert labels.labels.tolist() == [1]
    np.testing.assert_allclose(labels.boxes, [[0.05, 0.2, 0.25, 0.8]], rtol=1e-6)
    assert labels.outlines.shape == (1, POINTS, 2)
    np.testing.assert_array_equal(labels.outlines.min(axis=1), labels.boxes[:, :2])
    np.testing.assert_array_equal(labels.outlines.max(axis=1), labels.boxes[:, 2:])


def test_coordinates_have_six_digits(tmp_path: Path) -> None:
    labels = read(tmp_path, {"segmentation": [[1, 1, 2, 1, 2, 2]]}, size=(3, 30))
    np.testing.assert_array_equal(labels.boxes, np.array([[0.0333333, 0.333333, 0.0666667, 0.666667]], np.float32))


def test_crowds_empty_boxes_and_doubles_are_left_out(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        {"segmentation": [SQUARE], "iscrowd": 1},
        {"segmentation": [SQUARE], "bbox": [0, 0, 0, 4]},
        {"segmentation": [SQUARE]},
        {"segmentation": [SQUARE]},
        {"segmentation": [SQUARE], "category_id": 2},
    )
    assert labels.labels.tolist() == [0, 1]


def test_an_object_without_polygons_is_its_box(tmp_path: Path) -> None:
    rle = {"size": [10, 20], "counts": [200]}
    labels = read(tmp_path, {"bbox": [2, 1, 6, 4]}, {"bbox": [4, 5, 10, 5], "segmentation": rle})
    np.testing.assert_allclose(labels.boxes, [[0.1, 0.1, 0.4, 0.5], [0.2, 0.5, 0.7, 1.0]], rtol=1e-6)


def test_an_image_without_objects(tmp_path: Path) -> None:
    labels = read(tmp_path)
    assert (labels.labels.shape, labels.boxes.shape, labels.outlines.shape) == ((0,), (0, 4), (0, POINTS, 2))


def test_two_parts_are_linked_where_they_are_closest() -> None:
    left, right = points((0, 0), (2, 0), (2, 2), (0, 2)), points((5, 9), (3, 2), (5, 2))
    # (2, 2) and (3, 2): each part starts and ends there.
    expected = points((2, 2), (0, 2), (0, 0), (2, 0), (2, 2), (3, 2), (5, 2), (5, 9), (3, 2))
    np.testing.assert_array_equal(merge_parts([left, right]), expected)


def test_the_way_back_takes_the_other_side_of_a_part_in_between() -> None:
    first, last = points((0, 0), (1, 0), (0, 1)), points((9, 0), (9, 1), (8, 0))
    between = points((3, 0), (5, 1), (6, 0), (5, -1))  # linked at its first and third vertex
    expected = points(
        *((1, 0), (0, 1), (0, 0), (1, 0)),
        *((3, 0), (5, 1), (6, 0)),
        *((8, 0), (9, 0), (9, 1), (8, 0)),
        *((6, 0), (5, -1), (3, 0)),
    )
    np.testing.assert_array_equal(merge_parts([first, between, last]), expected)


def test_descending_links_keep_their_numbers_when_a_part_is_reversed() -> None:
    first, last = points((0, 0), (1, 0), (0, 1)), points((9, 0), (9, 1), (8, 0))
    between = points((5, -1), (6, 0), (5, 1), (3, 0))  # linked at vertices 3 and 1, in this order
    # Reversed, vertices 1 and 3 are (5, 1) and (5, -1): not where the parts are closest.
    expected = points(
        *((1, 0), (0, 1), (0, 0), (1, 0)),
        *((5, 1), (6, 0), (5, -1)),
        *((8, 0), (9, 0), (9, 1), (8, 0)),
        *((5, -1), (3, 0), (5, 1)),
    )
    np.testing.assert_array_equal(merge_parts([first, between, last]), expected)


def test_resampled_outlines_keep_their_vertices() -> None:
    square = np.array(SQUARE, dtype=np.float32).reshape(-1, 2)
    outline = resample(square)
    assert outline.shape == (POINTS, 2)
    np.testing.assert_array_equal(outline[[0, -1]], square[[0, 0]])
    for vertex in square:
        assert (outline == vertex).all(axis=1).any()
    # 995 places over 4 sides, and between them 5 vertices; two neighbours are never further apart than a step.
    assert np.abs(np.diff(outline, axis=0)).max() == pytest.approx(4 * 4 / 994, rel=1e-5)


def test_outlines_of_many_vertices_are_thinned() -> None:
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    outline = resample(circle)
    assert outline.shape == (POINTS, 2)
    np.testing.assert_allclose(np.hypot(*outline.T), 1, atol=1e-5)


def test_filled_outlines_are_cut_to_whole_pixels_and_to_the_image() -> None:
    square = resample(np.array([[1.9, 1.2], [3.9, 1.2], [3.9, 2.7], [1.9, 2.7]], dtype=np.float32))
    beyond = resample(np.array([[3, -2], [9, -2], [9, 1], [3, 1]], dtype=np.float32))
    assert fill_outlines(np.stack((square, beyond)), (4, 5)).tolist() == [
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]
