"""torchvision's training views: what is trained on, and inputs and targets that are bit-equal to the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labeled_images import annotation, make
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from zoo.data.augment.settings import FixedSizeCrop, HFlip, ViewTransform
from zoo.data.augment.torchvision import PreparedViews, training_set
from zoo.data.coco import CocoGroundTruth
from zoo.data.images import PillowDecoder
from zoo.data.preprocess import Preprocess
from zoo.data.resamplers import OnDevice
from zoo.data.sampler import SampleIndex
from zoo.data.size_rules import FixedSize, KeepRatio, SizeRule
from zoo.errors import DataError
from zoo.models.layers.normalize import TensorNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.types import Sample, Target

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def views(
    truth: CocoGroundTruth,
    files: list[Path],
    *transforms: ViewTransform,
    size_rule: SizeRule | None = None,
    keypoints: bool = False,
) -> PreparedViews:
    rule = size_rule or KeepRatio(long=133, short=80, rounding="down")
    transform = Preprocess(rule, OnDevice(), decoder=PillowDecoder())
    return training_set(truth, files, transforms, transform=transform, seed=0, masks=True, keypoints=keypoints)


def example(dataset: PreparedViews, image: int) -> tuple[Sample, Target]:
    found = dataset[SampleIndex(image, 0, image)]
    assert isinstance(found, tuple)
    return found


def person(image: int, box: list[float], seed: int, labelled: int = 17, **more: Any) -> dict[str, Any]:
    """An annotation with 17 keypoints inside its box, the first so many labelled."""
    x, y, width, height = box
    places = np.random.default_rng(seed).uniform(0, 1, (17, 2)) * (width, height) + (x, y)
    visibility = np.where(np.arange(17) < labelled, 2.0, 0.0)[:, None]
    points = np.where(visibility > 0, np.concatenate((places, visibility), axis=1), 0)
    return annotation(image, box, keypoints=points.ravel().tolist(), num_keypoints=labelled, **more)


@pytest.mark.parametrize("square", [False, True])
def test_inputs_and_targets_are_the_originals(tmp_path: Path, square: bool) -> None:
    """Of two images, one of them flipped by hand, in one batch."""
    sizes = [(61, 97), (120, 45)]
    rows = [person(1, [10.3, 5.7, 40.1, 30.2], 0), person(1, [50.0, 20.0, 60.0, 60.0], 1, 12)]
    rows.append(person(2, [3.3, 7.9, 30.0, 99.9], 2))
    truth, files = make(tmp_path, sizes, rows)
    rule, fixed = (FixedSize(height=96, width=96), (96, 96)) if square else (None, None)
    dataset = views(truth, files, HFlip(kind="hflip", probability=1.0), size_rule=rule, keypoints=True)
    examples = [example(dataset, image) for image in range(2)]
    normalizer = TensorNormalizer(MEAN, STD, "rgb", PadToMultiple(32))
    batch = normalizer([sample for sample, _ in examples], torch.device("cpu"))

    images, targets = [], []
    for image, (_, width) in enumerate(sizes):
        loaded = dataset.images.load(image).hflip()
        images.append(torch.from_numpy(loaded.pixels[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255)
        assert loaded.keypoints is not None
        assert loaded.size[1] == width
        targets.append(
            {
                "boxes": torch.from_numpy(loaded.boxes),
                "masks": torch.from_numpy(loaded.bitmaps()),
                "keypoints": torch.from_numpy(loaded.keypoints),
            }
        )
    original = GeneralizedRCNNTransform(80, 133, MEAN, STD, fixed_size=fixed).train()
    expected, wanted = original(images, targets)
    assert torch.equal(batch.images, expected.tensors)
    assert [geometry.size for geometry in batch.geometries] == expected.image_sizes
    for (_, target), original_target in zip(examples, wanted, strict=True):
        assert torch.equal(target.boxes, original_target["boxes"])
        assert target.masks is not None
        assert torch.equal(target.masks, original_target["masks"])
        assert target.keypoints is not None
        assert torch.equal(target.keypoints, original_target["keypoints"])


def test_operations_come_before_the_preprocessing(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10, 5, 20, 10])])
    crop = FixedSizeCrop(kind="fixed_size_crop", size=(80, 80), fill=(1, 2, 3))
    sample, target = example(views(truth, files, crop, size_rule=FixedSize(height=40, width=40)), 0)
    assert sample.pixels.shape == (80, 80, 3)  # the device resizes them
    assert (sample.size, sample.scale) == ((40, 40), (0.5, 0.5))
    assert sample.pixels[79, 79].tolist() == [3, 2, 1]
    assert target.boxes.tolist() == [[5, 2.5, 15, 7.5]]
    assert target.masks is not None
    assert target.masks.shape == (1, 40, 40)


def test_what_is_trained_on(tmp_path: Path) -> None:
    """An image needs a box of more than a pixel, if only of a crowd; an object something of its box in the image."""
    box = [10.0, 10.0, 20.0, 20.0]
    rows = [
        annotation(1, box),
        annotation(1, [55.0, 35.0, 20.0, 20.0]),
        annotation(1, [60.0, 10.0, 5.0, 5.0]),
        annotation(2, box, iscrowd=1, segmentation={"size": [40, 60], "counts": [2400]}),
        annotation(3, [10.0, 10.0, 1.0, 20.0]),
    ]
    truth, files = make(tmp_path, [(40, 60)] * 4, rows)
    dataset = views(truth, files)
    assert dataset.images.image_ids.tolist() == [1, 2]
    account = dataset.images.account
    assert account.images_left_out == {"without a box whose sides are longer than 1 pixel": 2}
    left_out = {"in images left out": 1, "crowds": 1, "of whose box nothing lies in the image": 1}
    assert account.objects_left_out == left_out
    _, target = example(dataset, 0)
    assert target.boxes.tolist() == [[20, 20, 60, 60], [110, 70, 120, 80]]  # twice as large, cut at the image's end
    _, background = example(dataset, 1)
    assert background.boxes.shape == (0, 4)
    assert background.masks is not None
    assert background.masks.shape == (0, 80, 120)
    assert background.keypoints is None


def test_keypoints_are_trained_on_images_with_ten_of_them(tmp_path: Path) -> None:
    box = [10.0, 10.0, 20.0, 20.0]
    rows = [person(1, box, 0, 4), person(1, box, 1, 6), person(2, box, 2, 9), annotation(3, box)]
    truth, files = make(tmp_path, [(40, 60)] * 3, rows)
    dataset = views(truth, files, keypoints=True)
    assert dataset.images.image_ids.tolist() == [1]
    assert dataset.images.account.images_left_out == {"with fewer than 10 labelled keypoints": 2}
    assert views(truth, files).images.image_ids.tolist() == [1, 2, 3]


def test_keypoints_have_to_be_there(tmp_path: Path) -> None:
    truth, files = make(tmp_path, [(40, 60)], [annotation(1, [10.0, 10.0, 20.0, 20.0])])
    with pytest.raises(DataError, match="no keypoints"):
        views(truth, files, keypoints=True)
