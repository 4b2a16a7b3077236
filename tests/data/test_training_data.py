"""Which images and objects are trained on, what is seen of them, and in what order they come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from zoo.data.augment import Augmentation, MultiScale, View
from zoo.data.coco import CocoGroundTruth
from zoo.data.training import Draw, Example, TrainingBatches, TrainingDataset, TrainingOrder
from zoo.errors import DataError, UsageError
from zoo.types import Sample, Target

FIXED = Augmentation(multi_scale=MultiScale(mode="fixed", scales=((100, 80),)), flip=0.0)


def annotation(image: int, box: list[float], **more: Any) -> dict[str, Any]:
    values = {"image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    x, y, w, h = box
    return values | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]} | more


def make(
    folder: Path, sizes: list[tuple[int, int]], annotations: list[dict[str, Any]]
) -> tuple[CocoGroundTruth, list[Path]]:
    """A data set of grey images of (height, width), with ids from 1."""
    images = [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)]
    for image, (height, width) in zip(images, sizes, strict=True):
        ramp = np.arange(width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
        cv2.imwrite(str(folder / str(image["file_name"])), ramp)
    document = {
        "images": images,
        "annotations": [{"id": i, **row} for i, row in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    (folder / "train.json").write_text(json.dumps(document), encoding="utf-8")
    truth = CocoGroundTruth.load(folder / "train.json")
    return truth, [folder / name for name in truth.file_names]


def example(dataset: TrainingDataset, image: int = 0, place: int = 0) -> tuple[Sample, Target]:
    found = dataset[Draw(image, 0, place)]
    assert isinstance(found, tuple)
    return found


def test_objects_that_are_not_trained_on(tmp_path: Path) -> None:
    box = [10.0, 10.0, 20.0, 20.0]
    dropped = [
        annotation(1, box, iscrowd=1),
        annotation(1, box, ignore=1),
        annotation(1, box, area=0.0),
        annotation(1, [10, 10, 0.5, 20]),
        annotation(1, [10, 10, 20, 0.5]),
        annotation(1, [70, 10, 20, 20]),  # beyond the right edge
        annotation(1, [-20, 10, 20, 20]),  # up to the left edge
    ]
    truth, files = make(tmp_path, [(40, 60)], [*dropped, annotation(1, [-5, 30, 20, 20], category_id=7)])
    sample, target = example(TrainingDataset(truth, files, FIXED, seed=0))
    assert sample.image_id == 1
    assert target.labels.tolist() == [1]
    assert target.boxes.tolist() == [[0, 50.25, 25, 67]]  # x 5/3, y 67/40, clipped to 100 x 67


def test_images_that_are_not_trained_on(tmp_path: Path) -> None:
    box = [1.0, 1.0, 20.0, 20.0]
    rows = [annotation(1, box), annotation(3, box), annotation(4, box, category_id=7), annotation(5, box, iscrowd=1)]
    truth, files = make(tmp_path, [(40, 60), (40, 60), (31, 60), (40, 60), (40, 60)], rows)
    every = TrainingDataset(truth, files, FIXED, seed=0)
    assert every.image_ids.tolist() == [1, 4, 5]  # 2 shows nothing, 3 is too low
    assert len(example(every, image=2)[1].boxes) == 0  # nothing but a crowd: background
    cats = TrainingDataset(truth.with_categories(["cat"]), files, FIXED, seed=0)
    assert cats.image_ids.tolist() == [1, 5]
    with pytest.raises(DataError, match="no image of the training set"):
        TrainingDataset(truth.with_categories(["dog"]).subset(2), files, FIXED, seed=0)


def test_boxes_are_scaled_by_x_and_y_apart() -> None:
    view = View(original=(30, 50), resized=(48, 81), crop=(0, 0, 48, 81), flipped=False)
    assert view.scale == (81 / 50, 48 / 30)
    boxes = view.boxes(np.array([[10, 10, 40, 40]], dtype=np.float32))
    assert boxes.tolist() == [[np.float32(10) * np.float32(1.62), 16, np.float32(40) * np.float32(1.62), 48]]


def test_a_mirrored_view_has_mirrored_boxes_pixels_and_masks() -> None:
    view = View(original=(4, 6), resized=(4, 6), crop=(0, 0, 4, 6), flipped=True)
    image = np.arange(24, dtype=np.uint8).reshape(4, 6, 1).repeat(3, 2)
    assert np.array_equal(view.pixels(image), image[:, ::-1])
    assert view.boxes(np.array([[0, 1, 2, 3]], dtype=np.float32)).tolist() == [[4, 1, 6, 3]]
    bitmap = np.zeros((1, 4, 6), dtype=np.uint8)
    bitmap[0, 1:3, 0:2] = 1
    assert view.masks(bitmap)[0, 1].tolist() == [0, 0, 0, 0, 1, 1]


def test_a_crop_shifts_and_clips() -> None:
    view = View(original=(10, 10), resized=(10, 10), crop=(2, 3, 4, 5), flipped=False)
    boxes = view.boxes(np.array([[0, 0, 5, 5], [4, 3, 20, 20], [0, 0, 2, 2]], dtype=np.float32))
    assert boxes.tolist() == [[0, 0, 2, 3], [1, 1, 5, 4], [0, 0, 0, 0]]
    assert view.pixels(np.zeros((10, 10, 3), dtype=np.uint8)).shape == (4, 5, 3)
    assert view.masks(np.ones((2, 10, 10), dtype=np.uint8)).shape == (2, 4, 5)


def test_masks_come_with_their_boxes(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10]), annotation(1, [0, 0, 1, 1], iscrowd=1)])
    flipping = Augmentation(multi_scale=MultiScale(mode="fixed", scales=((120, 80),)), flip=1.0)
    sample, target = example(TrainingDataset(truth, files, flipping, seed=0, masks=True))
    assert target.masks is not None
    assert tuple(target.masks.shape) == (1, *sample.pixels.shape[:2]) == (1, 80, 120)
    rows, columns = target.masks[0].nonzero().T
    assert target.boxes.tolist() == [[60, 10, 100, 30]]
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert torch.stack(found).float().sub(target.boxes[0]).abs().max() <= 2


def draws(rule: MultiScale, count: int = 400) -> set[tuple[int, int]]:
    generator = np.random.default_rng(0)
    return {rule.draw(generator) for _ in range(count)}


def test_scales() -> None:
    assert draws(MultiScale(mode="fixed", scales=((1333, 800),))) == {(1333, 800)}
    six = tuple((1333, short) for short in range(640, 801, 32))
    assert draws(MultiScale(mode="choice", scales=six)) == set(six)
    assert draws(MultiScale(mode="range", scales=((1333, 646), (1333, 640)))) == {(1333, s) for s in range(640, 647)}
    ratio = draws(MultiScale(mode="ratio", scales=((640, 640),), ratio=(0.8, 1.2)), 4000)
    assert {long - short for long, short in ratio} == {0}
    assert {long for long, _ in ratio} == set(range(512, 768))


@pytest.mark.parametrize(
    "block",
    [
        {"mode": "fixed"},
        {"mode": "sometimes", "scales": [[1, 1]]},
        {"mode": "range", "scales": [[1, 1]]},
        {"mode": "fixed", "scales": [[1]]},
        {"mode": "choice", "scales": []},
    ],
)
def test_faulty_scales(block: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"schedule\.multi_scale"):
        MultiScale.from_mapping(block)


def test_a_crop_without_an_object_is_drawn_again(tmp_path: Path) -> None:
    rows = [annotation(1, [1, 1, 90, 90]), annotation(2, [0, 0, 200, 200]), annotation(3, [1, 1, 4, 4])]
    truth, files = make(tmp_path, [(200, 200), (200, 200), (200, 100)], rows)
    crop = Augmentation(multi_scale=MultiScale(mode="fixed", scales=((200, 200),)), crop=64)
    dataset = TrainingDataset(truth, files, crop, seed=0)
    seen = [example(dataset, place=place) for place in range(30)]
    assert all(len(target.boxes) >= 1 and sample.pixels.shape == (64, 64, 3) for sample, target in seen)
    assert {sample.image_id for sample, _ in seen} == {1, 2}  # never the high one among the wide


def test_no_crop_shows_an_object(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [1, 1, 4, 4], iscrowd=1)])
    crop = Augmentation(multi_scale=MultiScale(mode="fixed", scales=((60, 40),)), crop=32)
    found = TrainingDataset(truth, files, crop, seed=0)[Draw(0, 0, 0)]
    assert isinstance(found, DataError)
    assert "show no object" in found.message


WIDE = np.array([True] * 7 + [False] * 4)


def images(order: TrainingOrder, step: int) -> list[list[int]]:
    return [[draw.image for draw in part] for part in order.step(step)]


def test_a_part_is_all_wide_or_all_high() -> None:
    order = TrainingOrder(WIDE, batch_size=4, part_size=2, seed=0)
    assert order.steps_per_epoch == 3  # 4 + 2 parts
    for epoch in range(3):
        parts = [part for step in range(3) for part in images(order, 3 * epoch + step)]
        assert all(WIDE[part].all() or not WIDE[part].any() for part in parts)
        assert {image for part in parts for image in part} == set(range(11))
    assert images(order, 0) != images(order, 3)


def test_every_place_has_a_draw_of_its_own() -> None:
    order = TrainingOrder(WIDE, batch_size=4, part_size=2, seed=0, repeat=3)
    assert order.steps_per_epoch == 9  # 21 wide ones in 11 parts, 12 high ones in 6
    every = [draw for step in range(18) for part in order.step(step) for draw in part]
    assert len({(draw.epoch, draw.place) for draw in every}) == len(every) == 72
    assert [order.step(7)] == [TrainingOrder(WIDE, batch_size=4, part_size=2, seed=0, repeat=3).step(7)]
    with pytest.raises(ValueError, match="does not split"):
        TrainingOrder(WIDE, batch_size=4, part_size=3, seed=0)


def flat(batches: Iterator[list[list[Example]]]) -> list[list[tuple[int, int, float]]]:
    return [
        [(s.image_id, int(s.pixels.sum()), float(t.boxes.sum())) for part in step for s, t in part] for step in batches
    ]


def test_workers_and_processes_and_where_it_begins_change_nothing(tmp_path: Path) -> None:
    sizes = [(40, 60)] * 3 + [(60, 40)] * 2
    truth, files = make(tmp_path, sizes, [annotation(i, [3.0 * i, 5, 20, 20]) for i in range(1, 6)])
    rule = MultiScale(mode="range", scales=((80, 40), (80, 60)))
    dataset = TrainingDataset(truth, files, Augmentation(multi_scale=rule), seed=0)
    order = TrainingOrder(dataset.wide, batch_size=4, part_size=2, seed=0)
    whole = flat(TrainingBatches(dataset, order)(0, 5))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert flat(TrainingBatches(dataset, order, workers=2)(0, 5)) == whole
    assert torch.equal(torch.get_rng_state(), state)  # the model's stream of random numbers is left alone
    assert flat(TrainingBatches(dataset, order)(3, 5)) == whole[3:]
    halves = [flat(TrainingBatches(dataset, order, rank=rank, processes=2)(0, 5)) for rank in range(2)]
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


def test_a_damaged_image_stops_with_its_name(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [1, 1, 20, 20])])
    files[0].write_bytes(b"")
    dataset = TrainingDataset(truth, files, FIXED, seed=0)
    order = TrainingOrder(dataset.wide, batch_size=1, part_size=1, seed=0)
    with pytest.raises(DataError, match=r"1\.png"):
        list(TrainingBatches(dataset, order)(0, 1))
