"""Detections as users handle them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from zoo.data.detections import Detection, Detections
from zoo.data.rle import encode_window
from zoo.errors import DataError

SIZE = (40, 60)
BOXES = [[10.0, 20.0, 30.0, 35.5], [0.0, 0.0, 8.0, 4.0], [40.0, 5.0, 59.0, 39.0]]


def found(masks: bool = False, path: Path | None = None) -> Detections:
    corners = [(int(box[1]), int(box[0])) for box in BOXES]
    outlines = [encode_window(np.ones((4, 6), dtype=bool), corner, SIZE) for corner in corners]
    return Detections(
        boxes=torch.tensor(BOXES),
        scores=torch.tensor([0.9, 0.5, 0.25]),
        labels=torch.tensor([1, 0, 1]),
        masks=outlines if masks else None,
        classes=("cat", "dog"),
        path=path,
    )


def test_a_sequence_of_detections() -> None:
    first, *others = found()
    assert first == Detection(box=(10.0, 20.0, 30.0, 35.5), score=first.score, label=1, name="dog")
    assert first.score == pytest.approx(0.9)
    assert [other.name for other in others] == ["cat", "dog"]
    assert found()[-1].box == (40.0, 5.0, 59.0, 39.0)
    with pytest.raises(IndexError, match="no detection 3 of 3"):
        found()[3]
    assert Detections(torch.tensor(BOXES[:1]), torch.tensor([0.5]), torch.tensor([7]))[0].name == "7"


def test_keypoints_travel_with_their_boxes_and_into_cocos_format() -> None:
    points = torch.arange(3 * 17 * 3, dtype=torch.float32).reshape(3, 17, 3)
    persons = replace(found(), keypoints=points)
    part = persons[[2, 0]]
    assert part.keypoints is not None
    assert torch.equal(part.keypoints, points[[2, 0]])
    first = persons[0]
    assert first.keypoints is not None
    assert (len(first.keypoints), first.keypoints[1]) == (17, (3.0, 4.0, 5.0))
    assert persons.above(0.4).cpu().to_coco(7, [1, 2])[1]["keypoints"] == points[1].flatten().tolist()
    assert "keypoints" not in found().to_coco(7, [1, 2])[0]


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (slice(1, None), [1, 2]),
        (torch.tensor([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        (torch.tensor([2, 0]), [2, 0]),
        ([], []),
    ],
)
def test_a_part_of_them(chosen: slice | torch.Tensor | list[int], kept: list[int]) -> None:
    part, whole = found(masks=True)[chosen], found(masks=True)
    assert part.boxes.tolist() == [BOXES[i] for i in kept]
    assert part.scores.tolist() == [whole.scores[i].item() for i in kept]
    assert part.masks == [(whole.masks or [])[i] for i in kept]
    assert part.classes == whole.classes


def test_above_keeps_the_score_itself() -> None:
    assert len(found().above(0.5)) == 2
    assert len(found().above(0.51)) == 1
    nothing = found().above(1.0)
    assert (len(nothing), list(nothing), len(nothing.above(0.0)), tuple(nothing.boxes.shape)) == (0, [], 0, (0, 4))


def test_repr() -> None:
    assert repr(found()) == "Detections(3: dog 0.90, cat 0.50, dog 0.25)"
    four = Detections(torch.zeros(4, 4), torch.zeros(4), torch.zeros(4, dtype=torch.int64))
    assert repr(four) == "Detections(4: 0 0.00, 0 0.00, 0 0.00, ...)"
    assert repr(four[:0]) == "Detections(0)"


def test_drawn_on_an_array() -> None:
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    drawn = np.asarray(found().draw(image))
    assert drawn.shape == image.shape
    assert not image.any(), "the caller's image stays as it is"
    same_hue, other = drawn[39, 50], drawn[4, 0]
    assert same_hue.any()
    assert tuple(same_hue) == tuple(drawn[35, 20]), "one colour a label"
    assert tuple(other) != tuple(same_hue)
    assert not np.asarray(found()[:0].draw(image)).any()


def test_masks_are_drawn() -> None:
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    inside = np.asarray(found(masks=True).draw(image))[22, 13]
    assert inside.any()
    assert not np.asarray(found().draw(image))[22, 13].any()
    with pytest.raises(DataError, match="height, width"):
        found(masks=True).draw(image.transpose(1, 0, 2).copy())


def test_keypoints_are_drawn_with_their_limbs() -> None:
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    points = torch.full((1, 17, 3), 25.0)
    points[0, 5, :2], points[0, 6, :2] = torch.tensor([14.0, 30.0]), torch.tensor([26.0, 30.0])  # the shoulders
    one = replace(found()[:1], keypoints=points)
    plain = np.asarray(found()[:1].draw(image))
    assert np.asarray(one.draw(image))[30, 20].any()
    assert not plain[30, 20].any()
    few = np.asarray(replace(one, keypoints=points[:, 5:7]).draw(image))
    assert few[30, 14].any()
    assert not few[30, 20].any(), "which of them are joined is known of COCO's alone"


def test_drawn_on_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((*SIZE, 3), (0, 0, 200), dtype=np.uint8))
    drawn = np.asarray(found(path=path).draw())
    assert drawn[39, 0].tolist() == [200, 0, 0], "RGB"
    png = found(path=path)._repr_png_()
    assert png is not None
    assert png.startswith(b"\x89PNG")
    path.unlink()
    assert found(path=path)._repr_png_() is None
    assert found()._repr_png_() is None
    with pytest.raises(DataError, match="which file") as unknown:
        found().draw()
    assert "draw(image)" in unknown.value.next_step


def test_coco_results_of_inclusive_boxes_are_a_pixel_wider() -> None:
    assert replace(found(), inclusive=True).to_coco(7, [1, 18])[0]["bbox"] == [10.0, 20.0, 21.0, 16.5]


def test_coco_results_are_what_pycocotools_reads() -> None:
    rows = found(masks=True).to_coco(7, [1, 18])
    assert rows == found(masks=True).to_coco(7, {"cat": 1, "dog": 18})
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(7, 18), (7, 1), (7, 18)]
    assert rows[0]["bbox"] == [10.0, 20.0, 20.0, 15.5]
    truth = COCO()
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in ((1, "cat"), (18, "dog"))]
    image = {"id": 7, "file_name": "7.png", "height": SIZE[0], "width": SIZE[1]}
    truth.dataset = {"images": [image], "categories": categories, "annotations": []}  # type: ignore[list-item, typeddict-item]
    truth.createIndex()
    assert truth.loadRes(rows).loadAnns([1])[0]["area"] > 0
    assert "segmentation" not in found().to_coco(7, [1, 18])[0]
    for ids in ([1], {"cat": 1}):
        with pytest.raises(DataError, match="'dog'"):
            found().to_coco(7, ids)


def test_between_processes() -> None:
    assert pickle.loads(pickle.dumps(found())).classes == ("cat", "dog")
