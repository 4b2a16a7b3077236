"""Examples that YOLOv8 is trained on: the same for the same place in the training, and what the recipe says."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from labeled_images import annotation, make

from zoo.data.augment.settings import MosaicSettings
from zoo.data.augment.training_set import Example, TrainingSet
from zoo.data.augment.ultralytics import training_set
from zoo.data.coco import CocoGroundTruth
from zoo.data.loader import TrainLoader
from zoo.data.sampler import AspectRatioBatchSampler, SampleIndex
from zoo.errors import DataError, UsageError
from zoo.schema import build

STILL: dict[str, Any] = {
    "side": 64,
    "close_mosaic": 1,
    "copy_paste": 0.0,
    "mixup": 0.0,
    "scale": 0.0,
    "translate": 0.0,
    "hue": 0.0,
    "saturation": 0.0,
    "value": 0.0,
    "flip": 0.0,
}
"""Nothing is random but the mosaic; of two epochs the second is without."""
LIVELY: dict[str, Any] = {
    "copy_paste": 0.3,
    "mixup": 0.5,
    "scale": 0.5,
    "translate": 0.1,
    "hue": 0.015,
    "saturation": 0.7,
    "value": 0.4,
    "flip": 0.5,
}


def dataset(coco: Path, *, seed: int = 0, masks: bool = False, **changes: float) -> TrainingSet:
    return of(load(coco), coco, seed=seed, masks=masks, **changes)


def load(coco: Path) -> CocoGroundTruth:
    return CocoGroundTruth.load(coco / "annotations" / "instances_val2017.json")


def of(truth: CocoGroundTruth, coco: Path, *, seed: int = 0, masks: bool = False, **changes: float) -> TrainingSet:
    files = [coco / "val2017" / name for name in truth.file_names]
    settings = build(MosaicSettings, {**STILL, **changes}, "schedule.mosaic", "correct it")
    return training_set(truth, files, settings, epochs=2, seed=seed, masks=masks)


def test_run_lengths_are_no_outlines_to_learn_a_mask_from(tmp_path: Path) -> None:
    runs = {"size": [40, 60], "counts": [0, 40, 2360]}
    truth, _ = make(tmp_path, [(40, 60)], [annotation(1, [0, 0, 1, 40], segmentation=runs)])
    with pytest.raises(DataError, match="1 of 1 objects to train on are without polygons, such as annotation 1"):
        of(truth, tmp_path, masks=True)
    of(truth, tmp_path)


def example(data: TrainingSet, index: SampleIndex) -> Example:
    made = data[index]
    assert isinstance(made, tuple)
    return made


def same(one: Example, other: Example) -> bool:
    pairs = (
        (one[0].pixels, other[0].pixels),
        (one[1].boxes, other[1].boxes),
        (one[1].labels, other[1].labels),
    )
    return all(torch.equal(*pair) for pair in pairs)


def test_an_example_depends_on_its_place_alone(tiny_coco: Path) -> None:
    data, again = dataset(tiny_coco, **LIVELY), dataset(tiny_coco, **LIVELY)
    places = [SampleIndex(0, 0, 0), SampleIndex(0, 0, 1), SampleIndex(0, 1, 0)]
    made = [example(data, place) for place in places]
    assert all(same(one, example(again, place)) for one, place in reversed(list(zip(made, places, strict=True))))
    assert not any(same(*pair) for pair in itertools.combinations(made, 2))
    assert not same(made[0], example(dataset(tiny_coco, seed=1, **LIVELY), places[0]))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_wherever_a_training_begins(tiny_coco: Path, workers: int) -> None:
    data = dataset(tiny_coco, **LIVELY)
    order = AspectRatioBatchSampler(data.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    assert order.steps_per_epoch == 2
    whole = list(TrainLoader(data, order)(0, 4))
    late = list(TrainLoader(data, order, workers=workers)(2, 4))
    for (expected,), (got,) in zip(whole[2:], late, strict=True):
        assert all(same(one, other) for one, other in zip(expected, got, strict=True))


def test_a_mosaic_has_the_objects_of_four_images_inside_the_square(tiny_coco: Path) -> None:
    data = dataset(tiny_coco, masks=True)
    seen = set()
    for place in range(20):
        sample, target = example(data, SampleIndex(place % 3, 0, place))
        assert (sample.pixels.shape, sample.batch_shape, sample.image_id) == ((64, 64, 3), (64, 64), place % 3 + 1)
        assert len(target.labels) == len(target.boxes) <= 4
        assert bool(((target.boxes >= 0) & (target.boxes <= 64)).all())
        assert target.masks is not None
        for (x1, y1, x2, y2), mask in zip(target.boxes.tolist(), target.masks, strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            extent = (columns.min(), rows.min(), columns.max(), rows.max())
            assert extent == pytest.approx((x1, y1, min(x2, 63), min(y2, 63)), abs=1.01)
        seen.add(len(target.labels))
    assert max(seen) > 1


def test_the_last_epochs_see_single_images(tiny_coco: Path) -> None:
    # 48 x 64 pixels, enlarged by nothing: 8 rows of grey above and below. COCO's box is (4, 5, 20, 25).
    sample, target = example(
        dataset(tiny_coco, **{**LIVELY, "scale": 0.0, "translate": 0.0, "flip": 0.0}), SampleIndex(0, 1, 0)
    )
    assert target.boxes.tolist() == [pytest.approx([4, 13, 24, 38], abs=1e-3)]
    assert target.labels.tolist() == [1]
    grey = sample.pixels[:8].float()
    assert bool((grey == grey[0, 0]).all())


def test_images_without_objects_are_trained_on_too(tiny_coco: Path) -> None:
    truth = load(tiny_coco)
    truth.is_crowd[truth.image_index == 0] = True
    data = of(truth, tiny_coco)
    assert len(data) == 3
    sample, target = example(data, SampleIndex(0, 1, 0))
    assert (len(target.boxes), sample.image_id) == (0, 1)
    truth.is_crowd[:] = True
    with pytest.raises(DataError, match=r"3 images; 0 objects, left out: \d+ crowds"):
        of(truth, tiny_coco)


def test_flips_and_colours(tiny_coco: Path) -> None:
    plain, flipped = (example(dataset(tiny_coco, flip=p), SampleIndex(0, 1, 0)) for p in (0.0, 1.0))
    assert torch.equal(flipped[0].pixels, plain[0].pixels.flip(1))
    assert flipped[1].boxes.tolist() == [pytest.approx([40, 13, 60, 38], abs=1e-3)]
    dark = [
        example(dataset(tiny_coco, seed=s, value=0.9), SampleIndex(0, 1, 0))[0].pixels.float().mean() for s in range(8)
    ]
    assert max(dark) > 1.3 * min(dark)


def test_an_image_that_is_missing_is_an_error(tiny_coco: Path, tmp_path: Path) -> None:
    data = dataset(tiny_coco)
    data.images.files = [tmp_path / "none.png"] * 3
    order = AspectRatioBatchSampler(data.is_landscape, batch_size=1, micro_batch_size=1, seed=0)
    with pytest.raises(DataError, match="no such image"):
        next(iter(TrainLoader(data, order)(0, 1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sidee": 640}, ".*'sidee' .*side"),
        ({"side": None}, "missing side"),
        ({"mixup": -0.1}, "mixup: -0.1 is not a number, 0 or more"),
        ({"flip": True}, "flip: True"),
    ],
)
def test_faulty_settings_name_their_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"schedule\.mosaic.*{message}"):
        build(MosaicSettings, {**STILL, **changes}, "schedule.mosaic", "correct it")
