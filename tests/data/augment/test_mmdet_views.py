"""Which images and objects are trained on, what is seen of them, and in what order they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from labeled_images import annotation, make

from zoo.data.augment.mmdet import training_set
from zoo.data.augment.settings import MultiScale
from zoo.data.augment.training_set import Example, TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.loader import TrainLoader
from zoo.data.sampler import AspectRatioBatchSampler, SampleIndex
from zoo.errors import DataError
from zoo.types import Sample, Target


def fixed(truth: CocoGroundTruth, files: list[Path], long: int = 100, short: int = 80, **more: Any) -> TrainingSet:
    scales = MultiScale(mode="fixed", scales=((long, short),))
    return training_set(truth, files, multi_scale=scales, **{"flip": 0.0, "seed": 0, "masks": False, **more})


def example(dataset: TrainingSet, image: int = 0, place: int = 0) -> tuple[Sample, Target]:
    found = dataset[SampleIndex(image, 0, place)]
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
    sample, target = example(fixed(truth, files))
    assert sample.image_id == 1
    assert target.labels.tolist() == [1]
    assert target.boxes.tolist() == [[0, 50.25, 25, 67]]  # x 5/3, y 67/40, clipped to 100 x 67


def test_the_smallest_images_and_objects_that_are_trained_on(tmp_path: Path) -> None:
    rows = [annotation(1, [10, 10, 1, 20]), annotation(1, [10, 10, 20, 1]), annotation(2, [10, 10, 5, 5])]
    truth, files = make(tmp_path, [(32, 60), (60, 31)], rows)
    dataset = fixed(truth, files)
    assert len(dataset) == 1
    assert example(dataset)[1].boxes.shape == (2, 4)


def test_labels_go_by_name_whatever_the_ids(tmp_path: Path) -> None:
    rows = [annotation(1, [5, 5, 20, 20]), annotation(1, [30, 5, 20, 20], category_id=7)]
    truth, files = make(tmp_path, [(40, 60)], rows)
    for names, labels in ((["cat", "dog"], [0, 1]), (["dog", "cat"], [1, 0])):
        _, target = example(fixed(truth.with_categories(names), files))
        assert target.labels.tolist() == labels
        assert target.boxes[:, 0].tolist() == pytest.approx([25 / 3, 50])


def test_images_that_are_not_trained_on(tmp_path: Path) -> None:
    box = [1.0, 1.0, 20.0, 20.0]
    rows = [annotation(1, box), annotation(3, box), annotation(4, box, category_id=7), annotation(5, box, iscrowd=1)]
    truth, files = make(tmp_path, [(40, 60), (40, 60), (31, 60), (40, 60), (40, 60)], rows)
    every = fixed(truth, files)
    assert every.images.image_ids.tolist() == [1, 4, 5]  # 2 shows nothing, 3 is too low
    assert len(example(every, image=2)[1].boxes) == 0  # nothing but a crowd: background
    cats = fixed(truth.with_categories(["cat"]), files)
    assert cats.images.image_ids.tolist() == [1, 5]
    with pytest.raises(DataError, match="0 images, left out: 2 without an annotation; 0 objects"):
        fixed(truth.with_categories(["dog"]).subset(2), files)


def test_masks_come_with_their_boxes(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10]), annotation(1, [0, 0, 1, 1], iscrowd=1)])
    sample, target = example(fixed(truth, files, 120, 80, flip=1.0, masks=True))
    assert target.masks is not None
    assert tuple(target.masks.shape) == (1, *sample.pixels.shape[:2]) == (1, 80, 120)
    rows, columns = target.masks[0].nonzero().T
    assert target.boxes.tolist() == [[60, 10, 100, 30]]
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert torch.stack(found).float().sub(target.boxes[0]).abs().max() <= 2


def test_objects_without_a_mask_are_told_before_the_first_step(tmp_path: Path) -> None:
    box: list[float] = [10, 5, 20, 10]
    crowd = annotation(1, box, iscrowd=1, segmentation=None)
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, box), crowd, annotation(1, box, segmentation=None)])
    with pytest.raises(DataError, match="1 of 2 objects to train on are without a segmentation, such as annotation 3"):
        fixed(truth, files, masks=True)
    assert len(example(fixed(truth, files))[1].boxes) == 2


def test_a_crop_without_an_object_is_drawn_again(tmp_path: Path) -> None:
    rows = [annotation(1, [1, 1, 90, 90]), annotation(2, [0, 0, 200, 200]), annotation(3, [1, 1, 4, 4])]
    truth, files = make(tmp_path, [(200, 200), (200, 200), (200, 100)], rows)
    dataset = fixed(truth, files, 200, 200, crop=64, flip=0.5)
    seen = [example(dataset, place=place) for place in range(30)]
    assert all(len(target.boxes) >= 1 and sample.pixels.shape == (64, 64, 3) for sample, target in seen)
    assert {sample.batch_shape for sample, _ in seen} == {(64, 64)}
    assert {sample.image_id for sample, _ in seen} == {1, 2}  # never the high one among the wide


def test_crops_are_padded_to_their_square_and_grouped_by_orientation(tmp_path: Path) -> None:
    rows = [annotation(image, [1, 1, 20, 20]) for image in (1, 2, 3)]
    truth, files = make(tmp_path, [(40, 60), (60, 40), (50, 50)], rows)
    dataset = fixed(truth, files, 64, 64, crop=64, flip=0.0)
    assert dataset.is_landscape.tolist() == [True, False, True]  # a square image is one of the wide
    for image, size in enumerate([(43, 64, 3), (64, 43, 3), (64, 64, 3)]):
        sample, _ = example(dataset, image=image)
        assert (sample.pixels.shape, sample.batch_shape) == (size, (64, 64))
    uncropped, _ = example(fixed(truth, files, 64, 64))
    assert uncropped.batch_shape is None


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    box = [1.0, 1.0, 20.0, 20.0]
    rows = [annotation(1, box), annotation(1, box, iscrowd=1), annotation(1, box, iscrowd=1, area=0.0)]
    rows += [annotation(1, box, area=0.0), annotation(3, box), annotation(3, box), annotation(4, [70, 1, 20, 20])]
    truth, files = make(tmp_path, [(40, 60), (40, 60), (31, 60), (40, 60)], rows)
    account = fixed(truth, files).images.account
    assert (account.images, account.objects) == (2, 1)
    assert account.images_left_out == {"without an annotation": 1, "with a side below 32 pixels": 1}
    left_out = {"in images left out": 2, "crowds": 2, "without an area": 1, "outside their image": 1}
    assert account.objects_left_out == left_out
    assert str(account) == (
        "2 images, left out: 1 without an annotation, 1 with a side below 32 pixels; 1 objects, left out: 2 in images "
        "left out, 2 crowds, 1 without an area, 1 outside their image"
    )


def test_a_training_without_an_object_stops(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [1, 1, 4, 4], iscrowd=1)])
    with pytest.raises(DataError, match="1 images; 0 objects, left out: 1 crowds"):
        fixed(truth, files)


def test_no_crop_shows_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.data.augment.training_set.MAX_DRAWS", 3)
    truth, files = make(tmp_path, [(400, 600)], [annotation(1, [1, 1, 1, 1])])
    found = fixed(truth, files, 600, 400, crop=8)[SampleIndex(0, 0, 0)]
    assert isinstance(found, DataError)
    assert "show no object" in found.message


def flat(batches: Iterator[list[list[Example]]]) -> list[list[tuple[int, int, float]]]:
    return [
        [(s.image_id, int(s.pixels.sum()), float(t.boxes.sum())) for part in step for s, t in part] for step in batches
    ]


def test_workers_and_processes_and_where_it_begins_change_nothing(tmp_path: Path) -> None:
    sizes = [(40, 60)] * 3 + [(60, 40)] * 2
    truth, files = make(tmp_path, sizes, [annotation(i, [3.0 * i, 5, 20, 20]) for i in range(1, 6)])
    rule = MultiScale(mode="range", scales=((80, 40), (80, 60)))
    dataset = training_set(truth, files, multi_scale=rule, seed=0, masks=False)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=4, micro_batch_size=2, seed=0)
    whole = flat(TrainLoader(dataset, sampler)(0, 5))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert flat(TrainLoader(dataset, sampler, workers=2)(0, 5)) == whole
    assert torch.equal(torch.get_rng_state(), state)  # the model's stream of random numbers is left alone
    assert flat(TrainLoader(dataset, sampler)(3, 5)) == whole[3:]
    halves = [flat(TrainLoader(dataset, sampler, rank=rank, world_size=2)(0, 5)) for rank in range(2)]
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


def test_a_damaged_image_stops_with_its_name(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [1, 1, 20, 20])])
    files[0].write_bytes(b"")
    dataset = fixed(truth, files)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=1, micro_batch_size=1, seed=0)
    with pytest.raises(DataError, match=r"1\.png"):
        list(TrainLoader(dataset, sampler)(0, 1))


def test_an_image_of_another_size_than_annotated_stops_with_both(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60), (40, 60)], [annotation(i, [1, 1, 20, 20]) for i in (1, 2)])
    cv2.imwrite(str(files[1]), np.zeros((20, 30, 3), dtype=np.uint8))  # shrunk after it was annotated
    dataset = fixed(truth, files)
    assert not isinstance(dataset[SampleIndex(0, 0, 0)], DataError)
    found = dataset[SampleIndex(1, 0, 0)]
    assert isinstance(found, DataError)
    assert f"{files[1].name}: 30 x 20 pixels, and the annotations were made for 60 x 40 pixels" in str(found)


def test_an_image_too_thin_to_be_resized_is_named(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(32, 90_000)], [annotation(1, [1, 1, 20, 20])])
    found = fixed(truth, files)[SampleIndex(0, 0, 0)]
    assert isinstance(found, DataError)
    assert f"{files[0].name}: no training view can be made of 90000 x 32 pixels" in str(found)
